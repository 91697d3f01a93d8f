"""`dropscribe bench` as a person runs it, with real weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import huggingface_hub.constants
import pytest

from dropscribe import settings
from dropscribe.backends import choice
from dropscribe.cli import bench
from dropscribe.supervisor.loop import Supervisor

RECORDING = Path(__file__).parent / "data" / "password.flac"


def command(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it where no model is on the machine but those named."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DROPSCRIBE_", "HF_"))} | {
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_RUNTIME_DIR": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "DROPSCRIBE_MODELS": str(folder / "models"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "dropscribe", "bench", *arguments],
        env=clean | environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_measures_a_recording_and_leaves_nothing_behind(tmp_path: Path, tiny_en: Path) -> None:
    done = command(tmp_path, str(RECORDING), "--model", str(tiny_en), "--backend", "faster-whisper", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["backend"], row["model"], row["failure"]) == ("faster-whisper", str(tiny_en), "")
    assert row["device"] in {"cpu int8", "cpu float32"} or row["device"].startswith("gpu")
    assert row["load_s"] > 0
    assert row["speed"] == pytest.approx(row["audio_s"] / row["seconds"], rel=0.01)
    # More than the weights, less than a machine has: bytes, not kilobytes.
    assert (tiny_en / "model.bin").stat().st_size < row["memory_bytes"] < 1e11
    assert row["device_bytes"] is None
    left = [p for p in tmp_path.rglob("*") if p.is_file() and not {"fontconfig", "int8"} & {*p.parts}]
    assert [(p.suffix, p.stat().st_size) for p in left] == [(".used", 0)]  # when the model was used last


def test_without_a_recording_it_takes_the_sample(tmp_path: Path, tiny_en: Path) -> None:
    done = command(tmp_path, "--backend", "faster-whisper", DROPSCRIBE_MODEL=str(tiny_en), DROPSCRIBE_PROMPT="Hallo.")
    assert done.returncode == 0, done.stderr
    header, line = done.stdout.splitlines()
    assert header.split() == ["engine", "model", "device", "load", "speed", "memory"]
    assert " x " in line
    assert "1 of 1: faster-whisper" in done.stderr


def test_a_model_that_is_not_here_is_a_row_that_says_so(tmp_path: Path, tiny_en: Path) -> None:
    arguments = ["--model", "tiny", "--model", str(tiny_en), "--backend", "faster-whisper", "--json"]
    done = command(tmp_path, str(RECORDING), *arguments, HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 0
    missing, measured = json.loads(done.stdout)
    assert "is not on this machine" in missing["failure"]
    assert measured["speed"] > 0
    alone = command(tmp_path, str(RECORDING), *arguments[:2], *arguments[-3:])
    assert alone.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No model is on this machine"),
        (["--backend", "no such"], "invalid choice"),
        (["no such.wav"], "There is no recording"),
    ],
)
def test_what_cannot_be_measured_is_said(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = command(tmp_path, *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stdout == ""


def test_no_recording_is_said_once_and_not_for_every_model(tmp_path: Path, tiny_en: Path) -> None:
    (tmp_path / "noise.mp3").write_bytes(os.urandom(5000))
    done = command(tmp_path, str(tmp_path / "noise.mp3"), "--model", str(tiny_en), "--backend", "faster-whisper")
    assert done.returncode == 1
    assert "dropscribe: " in done.stderr
    assert done.stdout == ""


def test_a_running_daemon_is_reported_and_not_disturbed(tmp_path: Path, tiny_en: Path) -> None:
    chosen = settings.load(environ={"HOME": str(tmp_path)}).settings
    daemon = Supervisor(chosen)
    try:
        before = sorted((p, p.stat().st_mtime_ns) for p in chosen.state.rglob("*"))
        done = command(tmp_path, str(RECORDING), "--model", str(tiny_en), "--backend", "faster-whisper")
        assert done.returncode == 0, done.stderr
        assert "The daemon is running" in done.stderr
        assert sorted((p, p.stat().st_mtime_ns) for p in chosen.state.rglob("*")) == before
    finally:
        daemon.close()


def test_the_sample_is_whole_and_gone_afterwards() -> None:
    import av

    with bench.open_sample() as path:
        with av.open(str(path)) as container:
            seconds = sum(f.samples / f.sample_rate for f in container.decode(audio=0))
        assert 100 < seconds < 130
    assert not path.exists()
    assert Path(tempfile.gettempdir()).is_dir()


def test_every_model_that_is_here_is_taken_with_every_engine_that_reads_it(
    tmp_path: Path, tiny_en: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setenv("DROPSCRIBE_MODELS", str(tmp_path / "models"))
    store = tmp_path / "hf/hub/models--Systran--faster-whisper-tiny.en"
    shutil.copytree(tiny_en, store / "snapshots" / ("0" * 40))
    (store / "refs").mkdir()
    (store / "refs/main").write_text("0" * 40)
    chosen = settings.load(environ={"HOME": str(tmp_path)}).settings
    found = bench.choose_pairs(chosen)
    assert ("faster-whisper", "tiny.en") in found
    assert {name for name, _ in found} <= choice.find_installed(chosen)
    assert {model for _, model in found} >= {"tiny.en"}
    assert bench.choose_pairs(chosen, ["small"], "faster-whisper") == [("faster-whisper", "small")]
