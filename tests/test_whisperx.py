"""WhisperX itself, where `DROPSCRIBE_TEST_WHISPERX` names the interpreter of an environment that
has it.

`dropscribe backends install whisperx` makes such an environment. It has PyTorch in it, so the
other tests do without: see test_environments.py. The weights other than Whisper's are small and
random: what they find is nonsense in order.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe.backends import environments
from talk import FASTER, KENNEDY, Talk, of, said, whisperx

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PYTHON = os.environ.get("DROPSCRIBE_TEST_WHISPERX", "")

pytestmark = pytest.mark.skipif(not PYTHON, reason="DROPSCRIBE_TEST_WHISPERX names no interpreter that has WhisperX")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    subprocess.run([PYTHON, "-W", "ignore", HERE / "whisperx_weights.py", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def talk() -> Iterator[Talk]:
    made = Talk()
    yield made
    made.worker.kill()


def transcribed(
    talk: Talk, model: Path, folder: Path, *line: dict[str, Any], **more: Any
) -> list[tuple[str, dict[str, Any]]]:
    where = {"path": str(HERE / "data" / "jfk.opus"), "spool": str(folder / "spool")}
    talk.ask(model, *line, operation="transcribe", **where, **more)
    return talk.until("finished", "failed", "exit")


def test_without_an_aligner_the_times_are_filled_in(talk: Talk, tiny_en: Path, tmp_path: Path) -> None:
    found = transcribed(talk, tiny_en, tmp_path, whisperx(PYTHON))
    (loaded,) = of(found, "loaded")
    assert loaded["device"] in {"cpu int8", "gpu float16"}
    assert {"whisperx", "torch", "ctranslate2"} <= set(loaded["versions"])
    (window,) = of(found, "window")
    words = [word for segment in window["segments"] for word in segment["words"]]
    assert said(words) == KENNEDY
    assert {word["probability"] for word in words} == {None}
    assert all(segment["avg_logprob"] < 0 for segment in window["segments"])
    times = [t for word in words for t in (word["start"], word["end"])]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 11


def test_the_aligner_and_the_diarizer_do_their_part(talk: Talk, weights: Path, tiny_en: Path, tmp_path: Path) -> None:
    both = whisperx(PYTHON, aligner=str(weights / "aligner"), diarizer=str(weights / "diarizer"))
    (window,) = of(transcribed(talk, tiny_en, tmp_path, both), "window")
    words = [word for segment in window["segments"] for word in segment["words"]]
    assert said(words) == KENNEDY
    assert all(0 <= word["probability"] <= 1 for word in words)
    times = [t for word in words for t in (word["start"], word["end"])]
    assert times == sorted(times)
    speakers = {word["speaker"] for word in words} | {segment["speaker"] for segment in window["segments"]}
    assert speakers == {"SPEAKER_00"}


def test_windows_with_and_without_speakers_are_not_joined(
    talk: Talk, weights: Path, tiny_en: Path, tmp_path: Path
) -> None:
    (planned,) = of(transcribed(talk, tiny_en, tmp_path, whisperx(PYTHON)), "planned")
    spoken = {name: planned[name] for name in ("language", "language_probability")}
    resume = planned["plan"] | spoken | {"done": 1}
    for line, done in ((whisperx(PYTHON), 1), (whisperx(PYTHON, diarizer=str(weights / "diarizer")), 0)):
        found = transcribed(talk, tiny_en, tmp_path, line, resume=resume)
        assert [facts["done"] for facts in of(found, "planned")] == [done]


DIARIZED = """
from pathlib import Path
import numpy as np
from dropscribe import log_bridge
from dropscribe.backends import Options, Window
from dropscribe.backends.whisperx import WhisperX
from dropscribe.worker import decoding
log_bridge.sink = lambda *_: None
sound = decoding.decode(Path(sys.argv[4]), Path(sys.argv[5])).samples
backend = WhisperX(diarizer=sys.argv[3])
backend.load(Path(sys.argv[2]))
real, lengths = backend._diarizer, []
backend._diarizer = lambda samples: (lengths.append(len(samples)), real(samples))[1]
for part in (sound, sound, sound[:100000]):
    for windows in ([Window(0, 0, len(part))], [Window(0, 0, len(part) // 2)]):
        ((_, segments),) = backend.transcribe(part, windows, Options(language="en"))
        assert {s.speaker for s in segments} == {"SPEAKER_00"}
print(lengths, [len(sound), 100000])
"""


def test_who_speaks_is_found_out_once_a_recording(weights: Path, tiny_en: Path, tmp_path: Path) -> None:
    """Though a window with something suspicious is re-transcribed, in parts."""
    arguments = [str(tiny_en), str(weights / "diarizer"), str(HERE / "data" / "jfk.opus"), str(tmp_path / "spool")]
    command = environments.build_command(PYTHON, DIARIZED, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[176000, 100000] [176000, 100000]"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"aligner": "refused"}, "weights-refused", "holds more than weights (weights_only)"),
        ({"aligner": "nowhere"}, "model-missing", "The aligner"),
        ({"diarizer": "nowhere"}, "model-missing", "The diarizer"),
        ({"diarizer": "aligner"}, "model-unusable", "cannot be loaded"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_and_the_next_one_taken(
    options: dict[str, str], code: str, words: str, talk: Talk, weights: Path, tiny_en: Path
) -> None:
    talk.ask(tiny_en, whisperx(PYTHON, **{k: str(weights / v) for k, v in options.items()}), FASTER)
    found = talk.until("finished", "failed", "exit")
    (fallback,) = of(found, "fallback")
    assert (fallback["backend"], fallback["code"]) == ("whisperx", code)
    assert words in fallback["reason"]
    assert "\n" not in fallback["reason"]
    assert of(found, "loaded")[0]["backend"] == "faster-whisper"


AGAIN = """
import socket
socket.socket.connect = socket.getaddrinfo = None  # nobody is called
from pathlib import Path
import numpy as np
from dropscribe import log_bridge
from dropscribe.backends import Options, Window
from dropscribe.backends.whisperx import WhisperX
from dropscribe.worker import decoding
log_bridge.sink = lambda *_: None
sound = decoding.decode(Path(sys.argv[3]), Path(sys.argv[4])).samples
sound = np.concatenate([sound, sound, sound])
windows = [Window(i, i * 176000, i * 176000 + 176000) for i in range(3)]
backend = WhisperX()
backend._batch = 2
backend.load(Path(sys.argv[2]))
print(backend._batch, list(backend.detect_languages(sound, windows[:1])))
backend._batch = 2
all = list(backend.transcribe(sound, windows, Options(language="en")))
assert [w for w, _ in all] == windows and all[2][1][0].start >= 22
for done in range(4):
    assert list(backend.transcribe(sound, windows, Options(language="en"), done=done)) == all[done:], done
quiet = np.zeros(48000, np.float32)
print(len(list(backend.transcribe(quiet, [Window(0, 0, 48000)], Options(language="en")))))
"""


def test_work_that_goes_on_gives_what_was_not_done_yet(tiny_en: Path, tmp_path: Path) -> None:
    arguments = [str(tiny_en), str(HERE / "data" / "jfk.opus"), str(tmp_path / "spool")]
    command = environments.build_command(PYTHON, AGAIN, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == "" or done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["8 [{'en': 1.0}]", "1"]
