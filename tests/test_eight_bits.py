"""CTranslate2's 8-bit weights are made once and kept."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe.backends import Options, Window
from dropscribe.backends.faster_whisper import FasterWhisper
from dropscribe.backends.letter_heads import link_model
from dropscribe.models import model_file, store
from dropscribe.worker import decoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dropscribe.models.stored import ModelFolder

DATA = Path(__file__).parent / "data"


@pytest.fixture
def model(tiny_en: Path, tmp_path: Path) -> ModelFolder:
    """A folder of one's own with tiny.en, and a place for what is made of it."""
    folder = tmp_path / "tiny.en"
    folder.mkdir()
    for file in tiny_en.iterdir():
        if file.suffix != ".bin":
            shutil.copy(file, folder)
    os.link(tiny_en / "model.bin", folder / "model.bin")
    return store.ModelStore(tmp_path / "home").resolve_model(str(folder), "faster-whisper", download=False)


def keep(model: ModelFolder) -> Path:
    kept = store.ModelStore(model.path.parent / "home").keep_eight_bits(model)
    assert kept is not None
    return kept


def test_with_the_kept_weights_every_text_time_and_probability_is_the_same(
    model: ModelFolder, tmp_path: Path
) -> None:
    samples = decoding.decode(DATA / "numbers.opus", tmp_path / "spool").samples
    windows = [Window(0, 0, min(len(samples), 480000))]
    found = []
    for kept in (None, keep(model)):
        engine = FasterWhisper(functools.partial(lambda given: given, kept))
        loaded = engine.load(model.path, threads=1)
        found.append((loaded, list(engine.transcribe(samples, windows, Options(language="en")))))
        engine.close()
    assert found[0] == found[1]
    assert found[0][1][0][1]


def test_the_model_is_loaded_from_the_kept_weights(model: ModelFolder) -> None:
    with link_model(model.path, keep(model)) as linked:
        assert (linked / "model.bin").samefile(keep(model))
        assert (linked / "tokenizer.json").samefile(model.path / "tokenizer.json")


def test_all_threads_encode_a_recording_of_one_window_and_its_text_is_the_same(
    model: ModelFolder, tmp_path: Path
) -> None:
    short = decoding.decode(DATA / "jfk.opus", tmp_path / "spool").samples
    long = np.concatenate([short] * 3)
    engine = FasterWhisper(functools.partial(keep, model))
    engine.load(model.path, threads=2)

    def transcribe(samples: NDArray[np.float32], count: int) -> tuple[int, list[Any]]:
        step = len(samples) // count
        windows = [Window(number, number * step, (number + 1) * step) for number in range(count)]
        found = list(engine.transcribe(samples, windows, Options(language="en")))
        return engine._share[1], found

    many = transcribe(long, 3)
    one = transcribe(short, 1)
    assert (many[0], one[0]) == (1, 2)
    assert one[1][0] == many[1][0]
    assert transcribe(long, 3) == many
    engine.close()


def test_they_take_half_the_room_of_the_model_and_are_made_once(model: ModelFolder) -> None:
    kept = keep(model)
    assert 0.5 < kept.stat().st_size / (model.path / "model.bin").stat().st_size < 0.6
    seen = kept.stat().st_ino
    assert keep(model).stat().st_ino == seen
    os.utime(model.path / "model.bin")
    assert keep(model).stat().st_ino != seen


def test_of_weights_in_8_bits_nothing_is_kept(model: ModelFolder, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    for file in model.path.iterdir():
        (folder / file.name).symlink_to(keep(model) if file.name == "model.bin" else file)
    models = store.ModelStore(tmp_path / "home")
    assert models.keep_eight_bits(models.resolve_model(str(folder), "faster-whisper", download=False)) is None


def test_a_place_that_cannot_be_written_costs_only_that(model: ModelFolder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert store.ModelStore(tmp_path / "file").keep_eight_bits(model) is None


def test_verifying_finds_damage_in_them_and_the_next_load_makes_them_again(
    model: ModelFolder, tmp_path: Path
) -> None:
    kept = keep(model)
    models = store.ModelStore(tmp_path / "home")
    name = str(model.path)
    assert models.verify_model(name, "faster-whisper").ok
    whole, times = kept.read_bytes(), kept.stat()
    with kept.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damage")
    os.utime(kept, ns=(times.st_atime_ns, times.st_mtime_ns))
    report = models.verify_model(name, "faster-whisper")
    assert [file.name for file in report.files if file.ok is False] == ["int8/model.bin"]
    assert keep(model).read_bytes() == whole


def test_removing_a_folder_of_ones_own_removes_only_them(model: ModelFolder, tmp_path: Path) -> None:
    kept = keep(model)
    removed = store.ModelStore(tmp_path / "home").remove_model(str(model.path), "faster-whisper")
    assert removed.path == kept.parent
    assert not kept.parent.exists()
    assert (model.path / "model.bin").is_file()


def test_a_model_with_matrices_in_16_bit_integers_is_left_as_it_is(model: ModelFolder) -> None:
    file = model_file.read_model_file(model.path / "model.bin")
    assert file.has_floats_alone
    changed = file.variables | {
        "encoder/layer_0/ffn/linear_0/weight": file.variables["decoder/embeddings/weight"].view("<i2")
    }
    assert not model_file.ModelFile(file.version, file.revision, changed, file.aliases).has_floats_alone
