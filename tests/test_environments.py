"""A backend under another interpreter: real ones, which have none of our own dependencies.

PyTorch is too large for these tests, so `whisperx` in them is a small package that answers as
WhisperX does and lets faster-whisper do the work, with real weights. WhisperX itself is run where
`DROPSCRIBE_TEST_WHISPERX` names the interpreter of an environment that has it: `dropscribe
backends install whisperx` makes one.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropscribe import settings
from dropscribe.backends import environments, installation, listing
from dropscribe.backends.whisperx_words import AlignedWord, fill_in_times, split_sentences
from dropscribe.errors import DropscribeError, EnvironmentFaultError
from dropscribe.supervisor import worker_process
from dropscribe.transcript import Transcript
from talk import FASTER, KENNEDY, PATIENCE, Talk, of, said, whisperx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dropscribe.settings import Settings

DATA = Path(__file__).parent / "data"
OURS = ("structlog", "watchdog", "shtab", "dropscribe", "__editable__", "_dropscribe", "mlx")
"""What the other interpreter must do without: our dependencies that its engine does not bring, and
us."""

STUB = {
    "whisperx/__init__.py": "",
    "whisperx/vads/__init__.py": "",
    "whisperx/vads/vad.py": "class Vad: pass",
    "whisperx/alignment.py": "DEFAULT_ALIGN_MODELS_TORCH = {}; DEFAULT_ALIGN_MODELS_HF = {}",
    "whisperx/asr.py": """
        import types
        import faster_whisper

        class Pipeline:
            def __init__(self, model, vad_model):
                self.model, self.vad_model = model, vad_model
                self.options = types.SimpleNamespace(initial_prompt=None)

            def transcribe(self, audio, batch_size, language, task):
                found = []
                for part in self.vad_model({"waveform": self.vad_model.preprocess_audio(audio)}):
                    sound = audio[int(part["start"] * 16000) : int(part["end"] * 16000)]
                    made, _ = self.model.transcribe(sound, language=language, task=task, without_timestamps=True)
                    found.append({"text": "".join(s.text for s in made), "avg_logprob": -0.5, **part})
                return {"segments": found, "language": language}

        def load_model(folder, device, compute_type, vad_model, threads, local_files_only):
            model = faster_whisper.WhisperModel(folder, device, compute_type=compute_type, cpu_threads=threads)
            return Pipeline(model, vad_model)
    """,
    "whisperx-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: whisperx\nVersion: 0.1\n",
}


def bare_python(folder: Path) -> Path:
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with nothing but the standard library."""
    return str(bare_python(tmp_path_factory.mktemp("bare") / "venv"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with the stub, and of ours only what WhisperX would bring: no structlog, no
    watchdog.
    """
    python = bare_python(tmp_path_factory.mktemp("other") / "venv")
    (packages,) = python.parent.parent.glob("lib/python3*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(OURS) and entry.suffix != ".pth" and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    for name, text in STUB.items():
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return str(python)


@pytest.fixture
def talk() -> Iterator[Talk]:
    made = Talk()
    yield made
    made.worker.kill()


# The border


def test_the_worker_starts_with_the_standard_library_alone(bare: str) -> None:
    environments.probe_interpreter(bare)
    files = "(getattr(m, '__file__', None) or '' for m in sys.modules.values())"
    program = f"import sys; print([f for f in {files} if 'site-packages' in f and '/dropscribe/' not in f])"
    done = subprocess.run(environments.build_command(bare, program), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_job_is_done_under_another_interpreter_in_the_same_process(
    talk: Talk, other: str, tiny_en: Path, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    talk.ask(tiny_en, whisperx(other), FASTER, operation="transcribe", path=str(DATA / "jfk.opus"), spool=str(spool))
    found = talk.until("finished", "failed", "exit")
    (ready, again) = of(found, "ready")
    assert ready["pid"] == again["pid"] == talk.worker.pid
    assert [name for name, _ in found if name not in {"ready", "log", "decoding"}] == [
        "decoded",  # once: it went there before it began
        "loaded",
        "planned",
        "window",
        "finished",
    ]
    (loaded,) = of(found, "loaded")
    assert (loaded["backend"], loaded["reason"]) == ("whisperx", "a test")
    assert loaded["versions"]["whisperx"] == "0.1"
    (window,) = of(found, "window")
    words = [word for segment in window["segments"] for word in segment["words"]]
    assert said(words) == KENNEDY
    assert {word["probability"] for word in words} == {None}
    times = [t for word in words for t in (word["start"], word["end"])]
    assert times == sorted(times)
    talk.ask(tiny_en, whisperx(other), FASTER)  # the model stays, and so does the interpreter
    found = talk.until("finished", "failed", "exit")
    assert [name for name, _ in found] == ["loaded", "finished"]
    assert of(found, "loaded")[0]["load_s"] == 0
    assert not spool.exists()


def test_it_ends_with_its_parent_and_can_be_killed(talk: Talk, other: str, tiny_en: Path) -> None:
    talk.ask(tiny_en, whisperx(other))
    talk.until("finished")
    stdin = talk.worker._process.stdin
    assert stdin is not None
    stdin.close()
    assert talk.until("exit")[-1][1]["how"] == "exit code 0"
    another = Talk()
    another.ask(tiny_en, whisperx(other))
    another.until("loaded")
    os.kill(another.worker.pid, signal.SIGKILL)
    assert another.until("exit")[-1][1]["how"] == "signal SIGKILL"


def test_what_cannot_be_used_is_reported_and_the_next_one_taken(
    talk: Talk, bare: str, other: str, tiny_en: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\necho 'Unknown option: -P' >&2\nexit 2\n")
    old.chmod(0o755)
    cases = {
        str(tmp_path / "gone"): "No such file",
        str(old): "Unknown option: -P",
        bare: "No module named",
    }
    for python, words in cases.items():
        talk.ask(tiny_en, whisperx(python), FASTER)
        found = talk.until("finished", "failed", "exit")
        (fallback,) = of(found, "fallback")
        assert (fallback["backend"], fallback["code"]) == ("whisperx", "backend-broken")
        assert words in fallback["reason"]
        (loaded,) = of(found, "loaded")
        assert loaded["backend"] == "faster-whisper"
        assert fallback["reason"] in loaded["reason"]
        assert {facts["pid"] for facts in of(found, "ready")} <= {talk.worker.pid}
    talk.ask(tiny_en, whisperx(bare))  # and when nothing is left, that is said
    (failed,) = of(talk.until("finished", "failed", "exit"), "failed")
    assert (failed["fault"], failed["code"]) == ("environment", "backend-broken")
    assert "dropscribe backends install whisperx" in failed["cure"]


def test_a_model_that_neither_can_load_fails_as_the_first_one_said(talk: Talk, other: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json", "vocabulary.txt", "model.bin"):
        (tmp_path / "model" / name).write_text("{}")
    talk.ask(tmp_path / "model", FASTER, whisperx(other))
    found = talk.until("finished", "failed", "exit")
    assert [facts["backend"] for facts in of(found, "fallback")] == ["faster-whisper", "whisperx"]
    (failed,) = of(found, "failed")
    assert (failed["fault"], failed["code"]) == ("environment", "model-unusable")
    assert failed["message"].startswith("The model in") or failed["message"]


def test_the_daemon_falls_back_across_interpreters(other: str, tiny_en: Path, tmp_path: Path) -> None:
    """`auto`, and the CTranslate2 of our own environment is broken: a package before it on the
    path cannot load.
    """
    broken = tmp_path / "broken" / "ctranslate2"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libctranslate2.so.4: undefined symbol')\n")
    inbox, outbox = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    (inbox / "talk.opus").write_bytes((DATA / "jfk.opus").read_bytes())
    environ = os.environ | {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(broken.parent), *sys.path))),
        "DROPSCRIBE_INBOX": str(inbox),
        "DROPSCRIBE_OUTBOX": str(outbox),
        "DROPSCRIBE_STATE": str(tmp_path / "state"),
        "DROPSCRIBE_LOGS": str(tmp_path / "logs"),
        "DROPSCRIBE_MODEL": str(tiny_en),
        "DROPSCRIBE_SETTLE_SECONDS": "0",
        "DROPSCRIBE_WHISPERX_PYTHON": other,
    }
    command = [sys.executable, "-m", "dropscribe", "run", "--once"]
    subprocess.run(command, env=environ, check=True, timeout=PATIENCE, capture_output=True)
    made = Transcript.from_json((outbox / "talk.json").read_bytes())
    assert made.engine.backend == "whisperx"
    assert made.engine.options["backend"] == "auto"
    (notice,) = [n for n in made.warnings if n.code == "word-times-filled-in"]
    assert "22 words" in notice.detail
    assert 0 <= notice.start < notice.end <= made.duration
    events = [json.loads(line) for line in (tmp_path / "logs" / "dropscribe.jsonl").read_text().splitlines()]
    (fallback,) = [e for e in events if e["event"] == "backend.fallback"]
    assert (fallback["backend"], fallback["code"]) == ("faster-whisper", "backend-broken")
    (loaded,) = [e for e in events if e["event"] == "model.loaded"]
    assert loaded["reason"].startswith("the fall-back when faster-whisper fails: ")
    assert not [e for e in events if e["event"] in {"worker.died", "job.engine_failed"}]


# Words without times


def test_words_without_times_share_what_is_left_between_the_others() -> None:
    words = [
        AlignedWord("aa"),
        AlignedWord("b", 1.0, 2.0, 0.9),
        AlignedWord("cc"),
        AlignedWord("cc"),
        AlignedWord("d", 5.0, 6.0, 0.8),
        AlignedWord("e"),
    ]
    filled = fill_in_times(words, 8.0)
    assert [(w.word, w.start, w.end) for w in filled] == [
        ("aa", 0.0, 1.0),
        ("b", 1.0, 2.0),
        ("cc", 2.0, 3.5),
        ("cc", 3.5, 5.0),
        ("d", 5.0, 6.0),
        ("e", 6.0, 8.0),
    ]
    assert [math.isnan(w.score) for w in filled] == [True, False, True, True, False, True]
    assert fill_in_times([], 3.0) == []
    backwards = fill_in_times(
        [AlignedWord("a", 4.0, 5.0, 1.0), AlignedWord("b"), AlignedWord("c", 2.0, 3.0, 1.0)], 6.0
    )
    assert (backwards[1].start, backwards[1].end) == (5.0, 5.0)


def test_sentences_end_with_a_full_stop_unless_a_small_letter_follows() -> None:
    words = [AlignedWord(w) for w in ("Hello.", "It", "is", "3", "p.m.", "now,", "“he", "said.”", "Why?", "because")]
    assert [" ".join(w.word for w in s) for s in split_sentences(words)] == [
        "Hello.",
        "It is 3 p.m. now, “he said.”",
        "Why? because",
    ]


# Making the environment


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, textwrap.dedent(text))
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]))


TORCHAUDIO = """
    from pathlib import Path
    if list(Path(__file__).parent.glob("lib/_torchaudio*.so")):
        raise OSError("Could not load this library: _torchaudio.abi3.so")
"""


class Shop:
    """A folder of small wheels for real pip, in place of a registry; and the settings to install
    with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        self.pins = folder / "pins.txt"
        self.pins.write_text("torch==1.0\ntorchaudio==1.0\nwhisperx==0.1\n")
        self.settings: Settings = settings.load({"state": folder / "state"}, {"HOME": str(folder)}).settings
        wheel(folder, "torch", "1.0", {"torch/__init__.py": "__version__ = '1.0+cpu'\n"})
        wheel(
            folder,
            "torchaudio",
            "1.0",
            {"torchaudio/__init__.py": TORCHAUDIO, "torchaudio/lib/_torchaudio.abi3.so": "built for CUDA"},
        )
        self.offer("import torchaudio")

    def offer(self, alignment: str) -> None:
        files = STUB | {"whisperx/asr.py": "", "whisperx/alignment.py": alignment}
        wheel(self.folder, "whisperx", "0.1", {k: v for k, v in files.items() if "dist-info" not in k})

    def install(self) -> Path:
        self.said.clear()
        # This Python also where it is too new for WhisperX: the small wheels run on any.
        return installation.install_environment(self.settings, self.said.append, sys.executable, pins=self.pins)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path)), ("PIP_CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no uv: pip is in every Python
    return Shop(tmp_path)


def test_an_environment_is_made_whole_or_not_at_all(shop: Shop) -> None:
    assert environments.find_interpreter(shop.settings) is None
    place = environments.environment_folder(shop.settings)
    shop.offer("import torchaudio; import nonesuch")
    with pytest.raises(DropscribeError, match=r"does not hold together: ModuleNotFoundError.*nonesuch"):
        shop.install()
    assert environments.find_interpreter(shop.settings) is None
    shop.offer("import torchaudio")  # the half-made one is in the way of nothing
    assert shop.install() == place
    assert shop.said[-1] == "whisperx is installed, with PyTorch 1.0+cpu."
    python = environments.find_interpreter(shop.settings)
    assert python == place / "bin" / "python"
    environments.probe_interpreter(str(python))
    assert not list(place.glob("lib/python3*/site-packages/torchaudio/lib/_torchaudio*"))
    assert [p.name for p in place.parent.iterdir() if p.is_dir()] == ["whisperx"]
    shop.install()
    assert shop.said == [f"whisperx is installed in {place}."]

    (broken,) = place.glob("lib/python3*/site-packages/whisperx/asr.py")
    broken.unlink()
    shop.install()
    assert "is broken: it is made again" in shop.said[0]
    assert broken.exists()

    assert python is not None
    python.unlink()
    python.symlink_to("/gone/with/an/update/python")
    shop.install()
    environments.probe_interpreter(str(python))

    shop.pins.write_text(shop.pins.read_text() + "nonesuch==3\n")  # a newer list that cannot be had
    with pytest.raises(DropscribeError, match="failed with exit code 1"):
        shop.install()
    assert environments.find_interpreter(shop.settings) == python  # the old one still serves
    environments.probe_interpreter(str(python))
    assert installation.remove_environment(shop.settings)
    assert not installation.remove_environment(shop.settings)
    assert environments.find_interpreter(shop.settings) is None
    assert not [p for p in place.parent.iterdir() if p.is_dir()]


def test_two_at_once_do_not_meet(shop: Shop) -> None:
    parent = environments.environment_folder(shop.settings).parent
    parent.mkdir(parents=True)
    with installation.lock_folder(parent), pytest.raises(DropscribeError, match="Another process"):
        shop.install()


def test_the_pins_name_versions_and_nothing_else() -> None:
    lines = [line for line in installation.PINS.read_text().splitlines() if not line.startswith("#")]
    names = [line.split("==")[0] for line in lines]
    assert all("==" in line and "://" not in line and "@" not in line for line in lines)
    assert {"whisperx", "torch", "torchaudio", "faster-whisper", "ctranslate2", "av", "onnxruntime"} <= set(names)
    assert not {"torchcodec", "torchvision", "triton"} & set(names)
    assert not [name for name in names if name.startswith("nvidia")]


def test_the_list_says_what_is_there_and_why(other: str, tmp_path: Path) -> None:
    def rows(**more: str) -> dict[str, listing.BackendRow]:
        chosen = settings.load({"state": tmp_path, **more}, {"HOME": str(tmp_path)}).settings
        return {row.backend: row for row in listing.list_backends(chosen)}

    found = rows(backend="whisperx", whisperx_python=other)
    assert found["whisperx"].versions["whisperx"] == "0.1"
    assert found["whisperx"].device in {"cpu", "gpu"}
    assert found["whisperx"].python == other
    assert found["whisperx"].chosen
    assert found["whisperx"].why == "taken: set by the setting `backend`"
    assert found["faster-whisper"].installed
    assert found["faster-whisper"].why == "the setting `backend` is whisperx"
    found = rows(whisperx_python=str(tmp_path / "gone"))
    assert "cannot be asked" in found["whisperx"].error
    found = rows()
    assert not found["whisperx"].installed
    assert "dropscribe backends install whisperx" in found["whisperx"].why


def test_whisperx_that_is_not_installed_is_named_with_its_cure(tmp_path: Path) -> None:
    chosen = settings.load({"state": tmp_path, "backend": "whisperx"}, {"HOME": str(tmp_path)}).settings
    with pytest.raises(EnvironmentFaultError, match="dropscribe backends install whisperx"):
        worker_process.make_request(chosen, download=False)
