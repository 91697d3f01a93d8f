"""A GPU whose libraries are not all there: tried once in a process of its own, said once, and the CPU taken.

The machine that tests this need not have a GPU: only CTranslate2's count of them is replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from dropscribe import log_bridge
from dropscribe.backends import Options, Window, ctranslate2_device, gpu_trial
from dropscribe.backends.faster_whisper import FasterWhisper

ABORTS = """
import os, sys
print("Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9}", file=sys.stderr)
print("Invalid handle. Cannot load symbol cudnnCreateTensorDescriptor", file=sys.stderr, flush=True)
os.abort()
"""
"""What CTranslate2 does without cuDNN, as its users report it."""


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, object]]]:
    """A machine that lists one GPU, and what is logged on it."""
    events: list[tuple[str, str, dict[str, object]]] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "daemon"))
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(log_bridge, "sink", lambda level, name, facts: events.append((level, name, facts)))
    return events


def put_before(folder: Path, module: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a child import `module` as this text."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[1] / 'daemon'}")


def test_libraries_that_end_the_process_cost_no_worker_and_are_said_once(
    tmp_path: Path, tiny_en: Path, monkeypatch: pytest.MonkeyPatch, said: list[tuple[str, str, dict[str, object]]]
) -> None:
    put_before(tmp_path / "stub", "faster_whisper", ABORTS, monkeypatch)
    engine = FasterWhisper()
    assert engine.load(tiny_en).device == "cpu int8"
    ((level, name, facts),) = said
    assert (level, name, facts["instead"]) == ("warning", "gpu.unusable", "cpu")
    assert facts["reason"] == (
        "Its libraries end the process (signal 6): Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9}"
    )
    assert gpu_trial.recall_reason() == facts["reason"]
    (tmp_path / "stub/faster_whisper.py").write_text("open('tried again', 'w')")
    assert engine.load(tiny_en).device == "cpu int8"
    assert len(said) == 1
    assert not Path("tried again").exists()
    windows = [Window(0, 0, 16_000)]
    list(engine.transcribe(np.zeros(16_000, dtype=np.float32), windows, Options(language="en")))
    engine.close()


def test_an_answer_holds_until_versions_variables_or_libraries_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[tuple[str, str, dict[str, object]]]
) -> None:
    put_before(tmp_path / "stub", "faster_whisper", ABORTS, monkeypatch)
    assert not gpu_trial.is_usable(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cudnn/lib")
    assert not gpu_trial.recall_reason()
    assert not gpu_trial.is_usable(tmp_path)
    assert len(said) == 2
    (tmp_path / "cache/dropscribe/gpu.json").write_text("{ damaged")
    assert not gpu_trial.is_usable(tmp_path)
    assert len(said) == 3


def test_what_ctranslate2_says_itself_is_the_reason(
    tiny_en: Path, said: list[tuple[str, str, dict[str, object]]]
) -> None:
    """The real library, which finds no GPU: as where the driver is too old."""
    assert ctranslate2_device.load_on_gpu(tiny_en) is None
    assert "CUDA" in str(said[0][2]["reason"])


@pytest.mark.parametrize(
    ("program", "reason", "lasts"),
    [
        ("pass", "", True),
        ("import sys; sys.exit('CUDA out of memory')", "CUDA out of memory", False),
        ("import sys; print('CUDA failed with error out of memory', file=sys.stderr); sys.exit(3)", "", False),
        ("import sys; print('no libcublas.so.12', file=sys.stderr); sys.exit(3)", "no libcublas.so.12", True),
        ("import time; time.sleep(60)", "It did not answer for 0.2 s.", False),
    ],
)
def test_what_will_not_last_is_not_kept(program: str, reason: str, lasts: bool) -> None:
    seconds = 0.2 if "sleep" in program else 60
    found = gpu_trial.try_out([sys.executable, "-c", program], seconds)
    assert found[1] is lasts
    assert reason in found[0]
