"""Models that are on this machine are found without the network, checked, listed and removed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dropscribe.errors import EnvironmentFaultError, UsageError
from dropscribe.models.catalogue import LAYOUTS, NAMES
from dropscribe.models.starter import PackagedFile, Starter
from dropscribe.models.store import ModelStore, mark_used
from model_files import COMMIT, FILES, NEEDED, TINY, cache_model, change_in_place, code_of, find_listing, small_model

pytestmark = pytest.mark.usefixtures("models_home")


class TestFolders:
    @pytest.mark.parametrize("weights", ["weights.safetensors", "weights.npz", "model.safetensors"])
    def test_every_mlx_layout_is_taken(self, tmp_path: Path, weights: str) -> None:
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "config.json").touch()
        (tmp_path / "m" / weights).touch()
        found = ModelStore().resolve_model(str(tmp_path / "m"), "mlx", download=False)
        assert (found.name, found.path, found.revision) == (str(tmp_path / "m"), tmp_path / "m", None)
        assert found.origin == "folder"

    def test_a_folder_that_is_gone_is_waited_for(self, tmp_path: Path) -> None:
        assert code_of(str(tmp_path / "gone")) == "model-missing"

    def test_a_folder_without_tokenizer_is_refused_because_it_would_need_the_network(self, tmp_path: Path) -> None:
        for name in NEEDED - {"tokenizer.json"}:
            (tmp_path / name).touch()
        with pytest.raises(EnvironmentFaultError, match=r"lacks tokenizer\.json") as caught:
            ModelStore().resolve_model(str(tmp_path), "faster-whisper", download=False)
        assert caught.value.code == "model-unusable"

    def test_a_name_is_not_taken_for_a_folder_of_the_current_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tiny.en").mkdir()
        monkeypatch.chdir(tmp_path)
        assert code_of("tiny.en") == "model-missing"

    def test_verify_says_that_it_cannot_judge_a_folder(self, tmp_path: Path) -> None:
        for name in NEEDED:
            (tmp_path / name).write_bytes(b"x")
        report = ModelStore().verify_model(str(tmp_path), "faster-whisper")
        assert report.ok
        assert {file.ok for file in report.files} == {None}


class TestCache:
    def test_a_cached_model_is_found_at_its_commit(self, tmp_path: Path) -> None:
        snapshot = cache_model(tmp_path, TINY, FILES)
        found = ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        assert (found.name, found.path, found.revision) == ("tiny.en", snapshot, COMMIT)
        assert found.origin == "cache"
        assert ModelStore().find_path("tiny.en", "faster-whisper") == snapshot

    def test_a_damaged_file_is_noticed_at_first_sight(self, tmp_path: Path) -> None:
        change_in_place(cache_model(tmp_path, TINY, FILES) / "tokenizer.json", keep_time=True)
        assert code_of("tiny.en") == "model-damaged"

    def test_a_file_changed_later_is_noticed_by_its_time(self, tmp_path: Path) -> None:
        snapshot = cache_model(tmp_path, TINY, FILES)
        ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        change_in_place(snapshot / "model.bin", keep_time=False)
        assert code_of("tiny.en") == "model-damaged"

    def test_what_was_checked_is_not_read_again_but_verify_does(self, tmp_path: Path) -> None:
        snapshot = cache_model(tmp_path, TINY, FILES)
        ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        change_in_place(snapshot / "model.bin", keep_time=True)
        assert ModelStore().resolve_model("tiny.en", "faster-whisper", download=False).path == snapshot

        report = ModelStore().verify_model("tiny.en", "faster-whisper")
        assert not report.ok
        assert {file.name: file.ok for file in report.files} == {name: name != "model.bin" for name in NEEDED}
        assert code_of("tiny.en") == "model-damaged"

    def test_a_half_downloaded_model_is_noticed_and_logged(self, tmp_path: Path) -> None:
        snapshot = cache_model(tmp_path, TINY, FILES)
        (snapshot / "model.bin").unlink()
        (snapshot.parents[1] / "blobs" / "0123.incomplete").touch()
        with capture_logs() as logs, pytest.raises(EnvironmentFaultError, match="only partly") as caught:
            ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        assert caught.value.code == "model-missing"
        assert logs == [
            {
                "event": "model.incomplete",
                "log_level": "warning",
                "model": "tiny.en",
                "repo": TINY,
                "missing": ["model.bin"],
                "pending": 1,
            }
        ]

    def test_a_model_stays_at_the_commit_it_was_first_used_at(self, tmp_path: Path) -> None:
        first = cache_model(tmp_path, TINY, FILES)
        ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        cache_model(tmp_path, TINY, FILES, commit="b" * 40)
        assert ModelStore().resolve_model("tiny.en", "faster-whisper", download=False).path == first
        shutil.rmtree(first)
        assert ModelStore().resolve_model("tiny.en", "faster-whisper", download=False).revision == "b" * 40

    def test_a_revision_can_be_asked_for(self, tmp_path: Path) -> None:
        first = cache_model(tmp_path, TINY, FILES)
        second = cache_model(tmp_path, TINY, FILES, commit="b" * 40)
        assert ModelStore().find_path(f"{TINY}@{COMMIT}", "faster-whisper") == first
        assert ModelStore().find_path(f"tiny.en@{'b' * 40}", "faster-whisper") == second

    def test_a_cache_that_may_not_be_written_still_serves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshot = cache_model(tmp_path, TINY, FILES)
        (tmp_path / "file").touch()
        monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path / "file" / "own"))
        with capture_logs() as logs:
            assert ModelStore().find_path("tiny.en", "faster-whisper") == snapshot
        assert [log["event"] for log in logs] == ["model.record_failed"]

    def test_the_list_shows_what_is_here_and_how_large(self, tmp_path: Path) -> None:
        snapshot = cache_model(tmp_path, TINY, FILES)
        lines = {(line.name, line.backend): line for line in ModelStore(starters={}).list_models()}
        assert len(lines) == len(NAMES) * len(LAYOUTS)
        here = lines["tiny.en", "faster-whisper"]
        assert (here.origin, here.path, here.bytes) == ("cache", snapshot, sum(map(len, FILES.values())))
        to_convert = lines["tiny.en", "mlx"]
        assert (to_convert.origin, to_convert.path, to_convert.bytes) == ("converted", None, 0)
        assert lines["base", "mlx"].origin is None

    def test_the_list_shows_where_a_model_came_from_and_when_it_was_last_used(self, tmp_path: Path) -> None:
        cache_model(tmp_path, TINY, FILES)
        cache_model(tmp_path, "somebody/fine-tuned", FILES)
        ModelStore().resolve_model("somebody/fine-tuned", "faster-whisper", download=False)
        found = ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        before = find_listing("tiny.en")
        mark_used(found)
        after = find_listing("tiny.en")
        assert (before.source, before.used) == (f"{TINY}@{COMMIT}", None)
        assert after.used is not None
        assert after.used == pytest.approx(found.path.lstat().st_mtime, abs=3600)
        assert dataclasses.replace(after, used=None) == before
        other = find_listing("somebody/fine-tuned")
        assert (other.origin, other.source) == ("cache", f"somebody/fine-tuned@{COMMIT}")

    def test_a_note_that_cannot_be_written_costs_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache_model(tmp_path, TINY, FILES)
        (tmp_path / "file").touch()
        monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path / "file" / "own"))
        found = ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        mark_used(found)
        assert find_listing("tiny.en").used is None


class TestRemoving:
    def test_a_model_that_others_share_is_removed_only_when_that_is_meant(self, tmp_path: Path) -> None:
        snapshot = cache_model(tmp_path, TINY, FILES)
        ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        with pytest.raises(UsageError, match="other programs"):
            ModelStore().remove_model("tiny.en", "faster-whisper")
        assert ModelStore().find_path("tiny.en", "faster-whisper") == snapshot
        removed = ModelStore().remove_model("tiny.en", "faster-whisper", shared=True)
        assert (removed.path, removed.bytes) == (snapshot, sum(map(len, FILES.values())))
        assert not list((tmp_path / "hf").rglob("model.bin"))
        assert not list((tmp_path / "own").rglob("*.json"))
        assert code_of("tiny.en") == "model-missing"

    def test_what_another_revision_needs_stays(self, tmp_path: Path) -> None:
        cache_model(tmp_path, TINY, FILES)
        ModelStore().resolve_model("tiny.en", "faster-whisper", download=False)
        other = FILES | {"config.json": b'{"other": 1}'}
        second = cache_model(tmp_path, TINY, other, commit="b" * 40)
        removed = ModelStore().remove_model("tiny.en", "faster-whisper", shared=True)
        assert removed.bytes == len(FILES["config.json"])
        assert ModelStore().find_path("tiny.en", "faster-whisper") == second
        assert ModelStore().verify_model("tiny.en", "faster-whisper").ok

    def test_a_folder_of_a_person_is_never_removed(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "mine")
        with pytest.raises(UsageError, match="yours"):
            ModelStore().remove_model(str(folder), "faster-whisper", shared=True)
        assert (folder / "model.bin").is_file()

    def test_a_model_that_is_not_here_cannot_be_removed(self) -> None:
        with pytest.raises(EnvironmentFaultError, match="not on this machine"):
            ModelStore().remove_model("tiny.en", "mlx", shared=True)


EARLIER = Path(__file__).parent / "data" / "models-0.1"


@pytest.fixture
def earlier(models_home: Path) -> Path:
    """The folder of models and records that version 0.1 left, with the times of its files."""
    own = models_home / "own"
    shutil.copytree(EARLIER, own)
    for record in own.glob("*/*/dropscribe.json"):
        for name, stamp in json.loads(record.read_text())["files"].items():
            os.utime(record.with_name(name), ns=(stamp["mtime_ns"], stamp["mtime_ns"]))
    return own


def starter_of(record: Path) -> Starter:
    """Return the starter packages, not installed now, from which version 0.1 unpacked a model."""
    known = json.loads(record.read_text())
    names = {stamp["digest"].removeprefix("sha256:"): name for name, stamp in known["files"].items()}
    files = {
        names[digest]: PackagedFile((("gone", names[digest]),), digest) for digest in json.loads(known["source"])
    }
    return Starter(files, known["revision"])


class TestModelsOfAnEarlierVersion:
    @pytest.mark.parametrize(
        ("name", "backend", "origin", "folder"),
        [
            ("tiny.en", "mlx", "converted", "mlx/Systran--faster-whisper-tiny.en@main"),
            ("tiny.en-4bit", "mlx", "quantised", "mlx/Systran--faster-whisper-tiny.en@main-4bit"),
            ("base", "faster-whisper", "starter", "ctranslate2/starter--base"),
            ("base", "mlx", "converted", "mlx/starter--base"),
        ],
    )
    def test_what_was_made_is_found_and_not_made_again(
        self, earlier: Path, name: str, backend: str, origin: str, folder: str
    ) -> None:
        store = ModelStore(starters={"base": starter_of(earlier / "ctranslate2/starter--base/dropscribe.json")})
        before = {path: path.stat().st_mtime_ns for path in earlier.rglob("*")}
        with capture_logs() as logs:
            found = store.resolve_model(name, backend, download=False)
        assert (found.path, found.revision, found.origin) == (earlier / folder, COMMIT, origin)
        assert store.verify_model(name, backend).ok
        assert logs == []
        assert {path: path.stat().st_mtime_ns for path in earlier.rglob("*")} == before

    def test_the_commit_that_was_recorded_is_kept(self, earlier: Path, models_home: Path) -> None:
        first = cache_model(models_home, TINY, FILES)
        cache_model(models_home, TINY, FILES, commit="b" * 40)
        assert ModelStore().find_path("tiny.en", "faster-whisper") == first

    def test_the_last_uses_are_listed(self, earlier: Path) -> None:
        used = (earlier / "mlx/Systran--faster-whisper-tiny.en@main/dropscribe.used").stat().st_mtime
        line = find_listing("tiny.en", "mlx")
        assert (line.used, line.source) == (used, f"{TINY}@{COMMIT}")
