"""Both engines with real weights on real speech, and what they promise to the worker."""

from __future__ import annotations

import dataclasses
import itertools
import json
import platform
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe.backends import SAMPLE_RATE, Options, Window
from dropscribe.backends.choice import BUNDLED
from dropscribe.backends.ctranslate2_device import share_threads
from dropscribe.backends.engine_errors import to_engine_error
from dropscribe.backends.factory import create_backend
from dropscribe.backends.faster_whisper import FasterWhisper, divide_into_batches, fit_batch_to_chains
from dropscribe.backends.number_normalisation import CHAIN
from dropscribe.backends.results import EngineWord, RawSegment, build_segments
from dropscribe.errors import EngineFaultError, EnvironmentFaultError
from dropscribe.transcript import Segment, Word
from dropscribe.worker import decoding, vad
from dropscribe.worker.windows import cut_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from dropscribe import backends

DATA = Path(__file__).parent / "data"
KENNEDY = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def said(segments: list[Segment]) -> str:
    return "".join(c for c in " ".join(s.text for s in segments).lower() if c.isalnum() or c == " ")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """Two prompts with 9 s of silence between them: two windows, 17 s."""
    spool = tmp_path_factory.mktemp("spool")
    parts = [np.zeros(SAMPLE_RATE // 2, np.float32)]
    for name, pause in (("conference.flac", 9.0), ("password.flac", 0.5)):
        found = decoding.decode(DATA / name, spool / name)
        parts += [np.asarray(found.samples), np.zeros(int(pause * SAMPLE_RATE), np.float32)]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def kennedy(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """The memory map of the longer recording, as the worker has it."""
    return decoding.decode(DATA / "jfk.opus", tmp_path_factory.mktemp("spool") / "spool").samples


@pytest.fixture(scope="module")
def menu(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[np.float32], tuple[Window, Window]]:
    """Two prompts, of which tiny.en alone writes `Press 9` and `press one`."""
    samples = decoding.decode(DATA / "numbers.opus", tmp_path_factory.mktemp("spool") / "spool").samples
    border = int(2.9 * SAMPLE_RATE)
    return samples, (Window(0, 0, border), Window(1, border, len(samples)))


def model_of(name: str, request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue("tiny_en" if name == "faster-whisper" else "tiny_en_mlx")
    return folder


@pytest.fixture(scope="module", params=BUNDLED)
def engine(request: pytest.FixtureRequest) -> Iterator[backends.Backend]:
    """Each backend in turn with the same weights."""
    folder = model_of(request.param, request)
    made = create_backend(request.param)
    loaded = made.load(folder)
    assert loaded.multilingual is False
    assert loaded.device in {"cpu int8", "cpu float32", "gpu float16", "gpu int8_float32"}
    assert set(loaded.versions) >= ({"mlx", "mlx-whisper"} if request.param == "mlx" else {"faster-whisper"})
    yield made
    made.close()


def test_the_words_and_what_holds_for_all_of_them(engine: backends.Backend, kennedy: NDArray[np.float32]) -> None:
    window = Window(0, 0, len(kennedy))
    ((found, segments),) = engine.transcribe(kennedy, [window], Options(language="en"))
    assert found == window
    assert said(segments) == KENNEDY
    words = [w for s in segments for w in s.words]
    times = [t for w in words for t in (w.start, w.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= len(kennedy) / SAMPLE_RATE
    assert times[-1] == pytest.approx(10.5, abs=0.5)
    assert all(w.probability is not None and 0 <= w.probability <= 1 for w in words)
    for segment in segments:
        assert "".join(w.word for w in segment.words).strip() == segment.text
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
        assert segment.id == 0
        assert segment.avg_logprob is not None
        assert segment.avg_logprob < 0
        assert segment.no_speech_prob is not None
        assert 0 <= segment.no_speech_prob <= 1
    numbers = [v for s in segments for v in (s.start, s.end, s.avg_logprob, s.temperature, s.compression_ratio)]
    assert {type(v) for v in [*numbers, *times]} == {float}  # numpy's would not go into JSON
    assert all(round(t, 3) == t for t in times)


def test_a_window_alone_gives_what_it_gives_among_others(
    engine: backends.Backend, recording: NDArray[np.float32]
) -> None:
    windows = cut_windows(recording, vad.detect_speech(recording))
    assert len(windows) == 2
    options = Options(language="en")
    together = list(engine.transcribe(recording, windows, options))
    alone = [pair for window in reversed(windows) for pair in engine.transcribe(recording, [window], options)]
    assert together == alone[::-1]
    assert [said(segments) for _, segments in together] == [
        "you are currently the only person in this conference",
        "please enter your password followed by the pound key",
    ]
    for window, segments in together:
        assert all(window.start <= s.start * SAMPLE_RATE for s in segments)
        assert all(s.end * SAMPLE_RATE <= window.end for s in segments)


def test_what_is_omitted_from_a_window_is_not_transcribed(
    engine: backends.Backend, recording: NDArray[np.float32], kennedy: NDArray[np.float32]
) -> None:
    """The words after a gap have the times of the recording."""
    first, second = cut_windows(recording, vad.detect_speech(recording))
    sound = np.concatenate([recording[: first.end], kennedy, recording[second.start :]])
    gap = (first.end, first.end + len(kennedy))
    options = Options(language="en")
    ((_, found),) = engine.transcribe(sound, [Window(0, 0, len(sound), (gap,))], options)
    joined = np.concatenate([recording[: first.end], recording[second.start :]])
    ((_, expected),) = engine.transcribe(joined, [Window(0, 0, len(joined))], options)
    assert said(found) == said(expected)
    assert said(found).endswith("please enter your password followed by the pound key")
    words, others = ([w for s in segments for w in s.words] for segments in (found, expected))
    border, shift = gap[0] / SAMPLE_RATE, len(kennedy) / SAMPLE_RATE
    for word, other in zip(words, others, strict=True):
        assert word.start == pytest.approx(other.start + (shift if other.start >= border else 0.0), abs=0.002)
        assert word.end == pytest.approx(other.end + (shift if other.end > border else 0.0), abs=0.002)
    assert words[0].start < border < border + shift <= words[-1].start


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from dropscribe.backends import Options, Window
from dropscribe.backends.faster_whisper import FasterWhisper

def read_status(name):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) // 1024

engine = FasterWhisper()
engine.load(Path(sys.argv[1]), threads=2)
loaded = read_status("VmRSS")
sound = np.random.default_rng(0).normal(0, 0.01, 120 * 16000).astype(np.float32)
windows = [Window(k, 480000 * k, 480000 * (k + 1)) for k in range(4)]
list(engine.transcribe(sound, windows, Options(language="en", retry=False)))
print(loaded, read_status("VmHWM"), read_status("VmRSS"))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc's malloc does")
def test_what_decoding_takes_is_given_back(tiny_en: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY, tiny_en], capture_output=True, text=True, check=True)
    loaded, most, after = map(int, done.stdout.split())
    assert most > loaded + 150
    assert after < loaded + (most - loaded) / 2


def test_a_batch_of_any_size_and_work_that_goes_on_give_the_same(
    tiny_en: Path, recording: NDArray[np.float32], kennedy: NDArray[np.float32]
) -> None:
    """One window holds speech played backwards, which fails the checks until it is sampled."""
    sound = np.concatenate([recording, kennedy[::-1], kennedy])
    edges = [0, 4 * SAMPLE_RATE, len(recording), len(recording) + len(kennedy), len(sound)]
    windows = [Window(index, *pair) for index, pair in enumerate(itertools.pairwise(edges))]
    options = Options(language="en")
    made = []
    for batch, threads, done in ((4, 1, 0), (1, 0, 0), (2, 2, 0), (3, 2, 2), (4, 4, 0), (4, 1, 3)):
        engine = FasterWhisper()
        engine.load(tiny_en, batch=batch, threads=threads)
        made.append(list(engine.transcribe(sound, windows, options, done=done)))
        engine.close()
    whole = made[0]
    assert made[1:] == [whole, whole, whole[2:], whole, whole[3:]]
    assert [[segment.temperature for segment in segments][:1] for _, segments in whole][2] > [0.0]
    assert said(whole[3][1]) == KENNEDY


def test_numbers_are_spelled_as_in_the_windows_around(
    engine: backends.Backend, menu: tuple[NDArray[np.float32], tuple[Window, Window]]
) -> None:
    sound, (nine, one) = menu

    def transcribe(*windows: Window, normalise: bool = True) -> list[str]:
        found = engine.transcribe(sound, windows, Options(language="en", normalise_numbers=normalise))
        return [said(segments) for _, segments in found]

    sales, figures = transcribe(nine, one)
    assert sales == "press 9 for more entries"
    assert figures.endswith("press 1 now otherwise please press star now")
    words = figures.replace(" 1 ", " one ")
    if engine.name == "mlx":  # on a CPU it takes twenty seconds for a window
        return
    assert transcribe(one, one) == [words, words]
    assert transcribe(one, nine) == [figures, sales]
    assert transcribe(nine, one, normalise=False) == [sales, words]


def test_numbers_normalised_in_a_chain_depend_on_no_batch_and_no_kill(
    tiny_en: Path, menu: tuple[NDArray[np.float32], tuple[Window, Window]]
) -> None:
    sound, (nine, one) = menu
    line = [one, one, one, nine, one, one]
    windows = [dataclasses.replace(window, index=index) for index, window in enumerate(line)]
    made = []
    for batch, threads, done in ((2, 1, 0), (1, 1, 2), (3, 1, 5), (8, 1, 3), (4, 2, 1), (2, 2, 4)):
        engine = FasterWhisper()
        engine.load(tiny_en, batch=batch, threads=threads)
        found = list(engine.transcribe(sound, windows, Options(language="en"), done=done))
        made.append((done, found))
        engine.close()
    _, whole = made[0]
    for done, found in made:
        assert found == whole[done:]
    figures = [" 1 " in f" {said(segments)} " for _, segments in whole]
    assert figures == [True, True, True, False, False, False]  # the second chain has no figure of its own


@pytest.mark.parametrize(("batch", "expected"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (7, 4), (16, 16)])
def test_batches_and_chains_divide_each_other(batch: int, expected: int) -> None:
    assert fit_batch_to_chains(batch) == expected
    assert CHAIN % expected == 0 or expected % CHAIN == 0


@pytest.mark.parametrize(
    ("threads", "batch", "large", "expected"),
    [
        (1, 0, False, (1, 1)),
        (2, 0, False, (2, 1)),
        (3, 0, False, (2, 1)),
        (4, 0, False, (2, 2)),
        (6, 0, False, (3, 2)),
        (8, 0, False, (4, 2)),
        (16, 0, False, (4, 4)),
        (8, 0, True, (2, 4)),
        (8, 1, False, (1, 8)),
        (8, 3, False, (3, 2)),
    ],
)
def test_batches_at_once_share_the_threads(threads: int, batch: int, large: bool, expected: tuple[int, int]) -> None:
    assert share_threads(threads, batch, large=large) == expected


@pytest.mark.parametrize(
    ("windows", "batch", "workers", "expected"),
    [
        (0, 2, 2, [0]),
        (1, 2, 2, [0, 1]),
        (3, 2, 2, [0, 2, 3]),
        (9, 2, 2, [0, 2, 4, 6, 8, 9]),
        (10, 2, 2, [0, 2, 4, 6, 8, 9, 10]),
        (24, 16, 1, [0, 16, 24]),
    ],
)
def test_the_last_batches_are_shared_out(windows: int, batch: int, workers: int, expected: list[int]) -> None:
    assert divide_into_batches(windows, batch, workers) == expected


def test_a_recording_given_up_leaves_no_batch_behind(
    tiny_en: Path, recording: NDArray[np.float32], kennedy: NDArray[np.float32]
) -> None:
    """A caller that stops in the middle and then transcribes another recording gets the text of
    that one.
    """
    engine = FasterWhisper()
    engine.load(tiny_en, batch=2, threads=2)
    windows = [Window(index, 0, 4 * SAMPLE_RATE) for index in range(6)]
    first = engine.transcribe(recording, windows, Options(language="en"))
    next(first)
    del first
    ((_, segments),) = engine.transcribe(kennedy, [Window(0, 0, len(kennedy))], Options(language="en"))
    engine.close()
    assert said(segments) == KENNEDY


def test_a_prompt_and_translation_are_taken(engine: backends.Backend, recording: NDArray[np.float32]) -> None:
    window = Window(0, 0, 4 * SAMPLE_RATE)
    options = Options(language="en", task="translate", prompt="Conference calls, PINs.")
    ((_, segments),) = engine.transcribe(recording, [window], options)
    assert "conference" in said(segments)


def test_the_glossary_is_heeded_and_leaves_room_for_the_text(
    engine: backends.Backend, recording: NDArray[np.float32]
) -> None:
    window = Window(0, 0, 4 * SAMPLE_RATE)

    def transcribe(**options: Any) -> str:
        ((_, segments),) = engine.transcribe(recording, [window], Options(language="en", **options))
        return said(segments)

    assert transcribe().endswith("in this conference")
    assert transcribe(hotwords="Konferenz, Konferenz").endswith("in this konferenz")
    assert transcribe(hotwords="Aalto, " * 600, prompt="One, two, three. " * 300).endswith("in this conference")


def test_silence_gives_no_text(engine: backends.Backend) -> None:
    quiet = np.zeros(3 * SAMPLE_RATE, np.float32)
    ((_, segments),) = engine.transcribe(quiet, [Window(0, 0, len(quiet))], Options(language="en"))
    assert segments == []


def test_an_english_model_knows_its_language(engine: backends.Backend, kennedy: NDArray[np.float32]) -> None:
    windows = [Window(0, 0, len(kennedy) // 2), Window(1, len(kennedy) // 2, len(kennedy))]
    assert list(engine.detect_languages(kennedy, windows)) == [{"en": 1.0}, {"en": 1.0}]


def test_nothing_is_printed_and_no_address_is_looked_up(
    engine: backends.Backend,
    recording: NDArray[np.float32],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    list(engine.transcribe(recording, [Window(0, 0, 4 * SAMPLE_RATE)], Options(language="en")))
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_folder_that_cannot_be_loaded_is_reported_and_nothing_is_fetched(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_of(name, request)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("an address was looked up"))
    made = create_backend(name)
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    weights = max(cut.iterdir(), key=lambda f: f.stat().st_size)
    with weights.open("r+b") as file:
        file.truncate(10_000_000)
    unlike = tmp_path / "unlike"
    unlike.mkdir()
    (unlike / "config.json").write_text("{}")
    for bad in (cut, unlike, tmp_path / "nowhere"):
        with pytest.raises(EnvironmentFaultError) as caught:
            made.load(bad)
        assert caught.value.code == "model-unusable"
        assert caught.value.cure


def test_a_folder_without_a_tokenizer_is_not_completed_from_the_network(tiny_en: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_en, folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EnvironmentFaultError, match=r"tokenizer\.json"):
        create_backend("faster-whisper").load(folder)


MLX_HERE = pytest.mark.skipif(
    find_spec("mlx") is None or find_spec("mlx_whisper") is None, reason="mlx or mlx-whisper is not installed"
)


@MLX_HERE
@pytest.mark.parametrize("name", ["model.safetensors", "weights.npz"])
def test_every_layout_of_an_mlx_folder_is_read(
    name: str, tiny_en_mlx: Path, tmp_path: Path, recording: NDArray[np.float32]
) -> None:
    import mlx.core as mx

    weights: Any = mx.load(str(tiny_en_mlx / "weights.safetensors"))
    if name == "weights.npz":
        mx.savez(str(tmp_path / name), **weights)
    else:
        mx.save_safetensors(str(tmp_path / name), weights)
    shutil.copy(tiny_en_mlx / "config.json", tmp_path)
    made = create_backend("mlx")
    made.load(tmp_path)
    ((_, segments),) = made.transcribe(recording, [Window(0, 0, 4 * SAMPLE_RATE)], Options(language="en"))
    made.close()
    assert said(segments) == "you are currently the only person in this conference"


@MLX_HERE
def test_a_quantised_mlx_folder_is_read(tiny_en_mlx: Path, tmp_path: Path) -> None:
    import mlx.core as mx
    from mlx import nn

    from dropscribe.backends.mlx_weights import quantise_model

    weights: Any = mx.load(str(tiny_en_mlx / "weights.safetensors"))
    mx.save_safetensors(str(tmp_path / "model.safetensors"), quantise_weights(weights))
    config = json.loads((tiny_en_mlx / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization": {"group_size": 64, "bits": 8}}))
    (tmp_path / "ours").mkdir()
    quantise_model(tiny_en_mlx, tmp_path / "ours", 8)
    ours: Any = mx.load(str(tmp_path / "ours" / "weights.safetensors"))
    expected: Any = mx.load(str(tmp_path / "model.safetensors"))
    assert ours.keys() == expected.keys()
    assert all(mx.array_equal(ours[name], expected[name]) for name in expected)
    assert (tmp_path / "ours" / "config.json").read_text().split() == json.dumps(
        json.loads((tmp_path / "config.json").read_text()), indent=1
    ).split()
    with pytest.raises(ValueError, match="already"):
        quantise_model(tmp_path, tmp_path / "ours", 4)
    logits = []
    for folder in (tiny_en_mlx, tmp_path):
        made: Any = create_backend("mlx")
        made.load(folder)
        layer = made._model.decoder.blocks[0].attn.query
        assert isinstance(layer, nn.QuantizedLinear) is (folder == tmp_path)
        logits.append(np.array(made._model.logits(mx.array([[50257, 50362]]), mx.zeros((1, 1500, 384)))))
        made.close()
    assert np.corrcoef(logits[0].ravel(), logits[1].ravel())[0, 1] > 0.99


def quantise_weights(weights: dict[str, Any]) -> dict[str, Any]:
    """Return the weights as mlx-whisper's converter quantises them: every matrix, the tokens'
    among them.
    """
    import mlx.core as mx

    found = {}
    for name, array in weights.items():
        layer, _, part = name.rpartition(".")
        if part == "weight" and array.ndim == 2:
            found[name], found[f"{layer}.scales"], found[f"{layer}.biases"] = mx.quantize(array, 64, 8)
        else:
            found[name] = array
    return found


class TestWindow:
    WHOLE = Window(4, 100, 900, ((200, 300), (500, 700)))

    def test_its_edges_are_all_there_is_to_it(self) -> None:
        assert self.WHOLE.edges == [100, 200, 300, 500, 700, 900]
        assert Window.from_edges(4, self.WHOLE.edges) == self.WHOLE
        assert Window.from_edges(1, [100, 900]) == Window(1, 100, 900)
        assert Window(1, 100, 900).kept_spans == [(100, 900)]

    def test_a_cut_window_omits_what_the_whole_omits(self) -> None:
        assert self.WHOLE.cut(0, 250, 600) == Window(0, 250, 600, ((250, 300), (500, 600)))
        assert self.WHOLE.cut(0, 300, 500) == Window(0, 300, 500)


class TestBuildSegments:
    """What is made of an engine's raw answer."""

    WINDOW = Window(3, 10 * SAMPLE_RATE, 20 * SAMPLE_RATE)

    @staticmethod
    def raw(start: float, end: float, *words: tuple[str, float, float], text: str | None = None) -> RawSegment:
        said_ = "".join(w for w, _, _ in words) if text is None else text
        return RawSegment(start, end, said_, [EngineWord(w, s, e, 0.5) for w, s, e in words], -0.25, 1.5, 0.125, 0.2)

    def test_times_are_those_of_the_recording(self) -> None:
        raw = self.raw(0.5, 2.0, (" Ask", 0.5, 1.0), (" not.", np.float64(1.0), 2.00049))
        assert build_segments(self.WINDOW, [raw]) == [
            Segment(
                id=0,
                start=10.5,
                end=12.0,
                text="Ask not.",
                words=(Word(" Ask", 10.5, 11.0, 0.5), Word(" not.", 11.0, 12.0, 0.5)),
                avg_logprob=-0.25,
                compression_ratio=1.5,
                no_speech_prob=0.125,
                temperature=0.2,
            )
        ]

    def test_what_is_omitted_counts_in_the_times(self) -> None:
        window = Window(0, 10 * SAMPLE_RATE, 20 * SAMPLE_RATE, ((12 * SAMPLE_RATE, 15 * SAMPLE_RATE),))
        raw = self.raw(0, 5, (" a", 0.5, 2.0), (" b", 2.0, 2.5), (" c", 2.5, 9.0))
        (segment,) = build_segments(window, [raw])
        assert [(w.start, w.end) for w in segment.words] == [(10.5, 12), (15, 15.5), (15.5, 20)]

    def test_a_letter_that_was_cut_apart_costs_no_other_its_time(self) -> None:
        raw = dataclasses.replace(
            self.raw(0, 4, ("你", 0, 1), ("\ufffd", 1, 2), ("好", 2, 4)), text="你\ufffd\ufffd好"
        )
        (segment,) = build_segments(self.WINDOW, [raw])
        assert segment.text == "你好"
        assert [word.word for word in segment.words] == ["你", "好"]

    def test_times_outside_out_of_order_or_overlapping_are_put_right(self) -> None:
        raw = self.raw(0, 9, (" a", -1, 2), (" b", 1.5, 1.2), (" c", 1.4, 4), (" d", 3, 99))
        (segment,) = build_segments(self.WINDOW, [raw])
        assert [(w.start, w.end) for w in segment.words] == [(10, 11.5), (11.5, 11.5), (11.5, 13), (13, 20)]
        assert (segment.start, segment.end) == (10, 20)

    def test_a_later_segment_begins_after_the_one_before(self) -> None:
        first, second = build_segments(self.WINDOW, [self.raw(0, 4, (" a", 0, 4)), self.raw(3, 6, (" b", 3, 6))])
        assert first.end == second.start == 14

    def test_nothing_stays_of_segments_without_text_or_length(self) -> None:
        raws = [self.raw(1, 2, text="  "), self.raw(2, 2, text="Thanks."), self.raw(12, 14, (" Thanks.", 12, 14))]
        assert build_segments(self.WINDOW, raws) == []

    def test_segments_that_the_model_itself_does_not_believe_are_dropped(self) -> None:
        unlikely = self.raw(1, 2, (" You", 1, 2))
        unlikely.no_speech_prob, unlikely.words = 0.95, [EngineWord(" You", 1, 2, 0.03)]
        assert build_segments(self.WINDOW, [unlikely]) == []
        unlikely.no_speech_prob = 0.2
        assert [s.text for s in build_segments(self.WINDOW, [unlikely])] == ["You"]

    def test_words_that_are_not_the_text_are_left_out(self) -> None:
        (segment,) = build_segments(self.WINDOW, [self.raw(1, 2, (" na", 1, 1.5), ("\ufffd", 1.5, 2), text="naïve")])
        assert (segment.text, segment.words) == ("naïve", ())
        assert (segment.start, segment.end) == (11, 12)

    def test_numbers_that_json_has_not_become_null(self) -> None:
        raw = self.raw(1, 2, (" a", 1, 2))
        raw.avg_logprob, raw.no_speech_prob = float("-inf"), float("nan")
        (segment,) = build_segments(self.WINDOW, [raw])
        assert (segment.avg_logprob, segment.no_speech_prob) == (None, None)

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (MemoryError(), "out-of-memory"),
            (RuntimeError("CUDA failed with error out of memory"), "out-of-memory"),
            (RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory"), "out-of-memory"),
            (RuntimeError("cuDNN failed"), "engine-failed"),
        ],
    )
    def test_errors_of_the_engines(self, error: Exception, code: str) -> None:
        found = to_engine_error(error)
        assert isinstance(found, EngineFaultError)
        assert found.code == code


@pytest.mark.parametrize("name", ["faster-whisper", "mlx"])
def test_a_safe_load_is_on_the_cpu(name: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue("tiny_en_mlx" if name == "mlx" else "tiny_en")  # skips without MLX
    backend = create_backend(name)
    loaded = backend.load(folder, safe=True)
    assert loaded.device.startswith("cpu")
    backend.close()
