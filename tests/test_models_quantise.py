"""A name with its bits is the model quantised once, for MLX."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from dropscribe.models.catalogue import name_quantised
from dropscribe.models.store import ModelStore
from model_files import COMMIT, FILES, NEEDED, TINY, cache_model, change_in_place, code_of, find_listing, small_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("models_home")


class TestQuantised:
    @pytest.fixture
    def tiny(self, tiny_en: Path, tmp_path: Path) -> Path:
        """The real tiny.en in the hub's cache."""
        pytest.importorskip("mlx.core")
        return cache_model(tmp_path, TINY, {name: (tiny_en / name).read_bytes() for name in NEEDED})

    @pytest.mark.parametrize(("bits", "smaller"), [(4, 3.0), (8, 1.7)])
    def test_a_name_with_its_bits_is_the_model_made_smaller_once(self, bits: int, smaller: float, tiny: Path) -> None:
        name = name_quantised("tiny.en", bits)
        with capture_logs() as logs:
            found = ModelStore().resolve_model(name, "mlx", download=False)
            again = ModelStore().resolve_model(name, "mlx", download=False)
        assert found == again
        assert [log["event"] for log in logs] == ["model.converting", "model.quantising"]
        assert (found.name, found.revision, found.origin) == (f"tiny.en-{bits}bit", COMMIT, "quantised")
        config = json.loads((found.path / "config.json").read_text())
        assert config["quantization"] == {"group_size": 64, "bits": bits}
        line = find_listing(name, "mlx")
        assert (line.origin, line.source, line.path) == ("quantised", f"{TINY}@{COMMIT}", found.path)
        assert line.bytes * smaller < find_listing("tiny.en", "mlx").bytes < line.bytes * 2 * smaller
        assert ModelStore().verify_model(name, "mlx").ok
        # It stays when what it was made of goes, and is made again when it is damaged.
        change_in_place(found.path / "weights.safetensors", keep_time=True)
        assert not ModelStore().verify_model(name, "mlx").ok
        assert ModelStore().find_path(name, "mlx") == found.path
        assert ModelStore().verify_model(name, "mlx").ok
        ModelStore().remove_model("tiny.en", "mlx")
        shutil.rmtree(tiny)
        assert ModelStore().resolve_model(name, "mlx", download=False) == found
        ModelStore().remove_model(name, "mlx")
        assert code_of(name, "mlx") == "model-missing"

    def test_other_backends_take_the_model_as_it_is(self, tmp_path: Path) -> None:
        snapshot = cache_model(tmp_path, TINY, FILES)
        found = ModelStore().resolve_model("tiny.en-4bit", "faster-whisper", download=False)
        assert (found.name, found.path) == ("tiny.en", snapshot)

    def test_a_model_that_cannot_be_quantised_is_unusable_and_leaves_nothing(self, tmp_path: Path) -> None:
        pytest.importorskip("mlx.core")
        small = small_model(tmp_path / "small")  # rows of 8 weights make no group of 64
        cache_model(tmp_path, TINY, {file.name: file.read_bytes() for file in small.iterdir()})
        assert code_of("tiny.en-4bit", "mlx") == "model-unusable"
        assert {path.name for path in (tmp_path / "own" / "mlx").iterdir()} == {
            ".lock",
            "Systran--faster-whisper-tiny.en@main",
        }
