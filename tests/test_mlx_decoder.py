"""Decoding on MLX, part by part, compared with plain formulas and mlx-whisper's own functions."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe.backends import SAMPLE_RATE, Options, Window
from dropscribe.backends.factory import create_backend
from dropscribe.worker import decoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

pytestmark = pytest.mark.skipif(find_spec("mlx") is None, reason="mlx is not installed")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def engine(tiny_en_mlx: Path) -> Iterator[Any]:
    made: Any = create_backend("mlx")
    made.load(tiny_en_mlx)
    yield made
    made.close()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[NDArray[np.float32]]:
    spool = tmp_path_factory.mktemp("spool")
    names = ("conference.flac", "password.flac")
    return [np.array(decoding.decode(DATA / name, spool / name).samples) for name in names]


@pytest.fixture(scope="module")
def memory(engine: Any, sounds: list[NDArray[np.float32]]) -> Any:
    return engine._decoder.compute_memory(engine._encoder.encode(sounds))


def rules_of(engine: Any) -> tuple[Any, Any, NDArray[np.int32]]:
    from dropscribe.backends.mlx import build_rules

    tokenizer = engine._make_tokenizer("en", "transcribe")
    prefix = np.array([tokenizer.sot_sequence_including_notimestamps], np.int32)
    return tokenizer, build_rules(tokenizer, engine._model.dims.n_vocab, 0), prefix


def warped(costs: NDArray[np.float64]) -> list[int]:
    """Dynamic time warping cell by cell: the frame at which the cheapest path enters each
    token.
    """
    tokens, frames = costs.shape
    least = np.full((tokens + 1, frames + 1), np.inf)
    least[0, 0] = 0
    for i in range(1, tokens + 1):
        for j in range(1, frames + 1):
            least[i, j] = costs[i - 1, j - 1] + min(least[i - 1, j - 1], least[i - 1, j], least[i, j - 1])
    i, j, enters = tokens, frames, [0] * tokens
    while i > 0:
        enters[i - 1] = j - 1
        steps = [(least[i - 1, j - 1], i - 1, j - 1), (least[i - 1, j], i - 1, j), (least[i, j - 1], i, j - 1)]
        _, i, j = min(steps)
    return enters


def test_the_cheapest_path_is_that_of_plain_dynamic_time_warping() -> None:
    from dropscribe.backends.mlx_aligner import find_cheapest_path

    chance = np.random.default_rng(3)
    costs = chance.normal(size=(4, 9, 40)).astype(np.float32)
    lengths, widths = [9, 5, 1, 7], [40, 31, 12, 7]
    found = find_cheapest_path(costs, lengths, widths)
    for row, length, width, starts in zip(costs, lengths, widths, found, strict=True):
        assert starts.tolist() == warped(row[:length, :width].astype(np.float64))


def test_the_median_of_three_is_mirrored_at_the_ends() -> None:
    import mlx.core as mx

    from dropscribe.backends.mlx_aligner import filter_median

    values = np.random.default_rng(4).normal(size=(2, 3, 50)).astype(np.float32)
    mirrored = np.pad(values, ((0, 0), (0, 0), (1, 1)), mode="reflect")
    expected = np.median(np.lib.stride_tricks.sliding_window_view(mirrored, 3, axis=-1), axis=-1)
    assert np.array_equal(np.array(filter_median(mx.array(values))), expected)


def test_a_row_that_is_asked_for_twice_is_that_row() -> None:
    import mlx.core as mx

    from dropscribe.backends.mlx_layers import select_rows

    memory = [(mx.array([[1.0], [2.0]]), mx.array([[3.0], [4.0]]))]
    assert select_rows(memory, [0, 1], 2) is memory
    ((keys, values),) = select_rows(memory, [1, 1], 2)  # as many rows as there are, but not these
    assert (keys.tolist(), values.tolist()) == ([[2.0], [2.0]], [[4.0], [4.0]])


def test_the_spectrogram_is_that_of_the_sound_and_silence(engine: Any, sounds: list[NDArray[np.float32]]) -> None:
    import mlx_whisper.audio

    found = np.array(engine._encoder.compute_spectrogram(sounds))
    for sound, ours in zip(sounds, found, strict=True):
        whole = np.pad(sound, (0, 30 * SAMPLE_RATE - len(sound)))
        assert np.abs(ours - np.array(mlx_whisper.audio.log_mel_spectrogram(whole))).max() < 1e-5


def test_one_beam_is_the_greedy_text_of_mlx_whisper(
    engine: Any, sounds: list[NDArray[np.float32]], memory: Any
) -> None:
    import mlx_whisper.decoding

    tokenizer, rules, prefix = rules_of(engine)
    ours = engine._decoder.search(memory, np.tile(prefix, (2, 1)), rules, beams=1)
    beams = engine._decoder.search(memory, np.tile(prefix, (2, 1)), rules)
    options = mlx_whisper.decoding.DecodingOptions(language="en", without_timestamps=True, fp16=False)
    theirs = mlx_whisper.decoding.decode(engine._model, engine._encoder.encode(sounds), options)
    for our, five, their in zip(ours, beams, theirs, strict=True):
        assert our.tokens == their.tokens
        assert np.mean(our.logprobs) == pytest.approx(their.avg_logprob, abs=1e-3)
        assert our.no_speech_prob == pytest.approx(their.no_speech_prob, abs=1e-3)
        assert len(our.logprobs) == len(our.tokens) + 1
        assert np.mean(five.logprobs) >= np.mean(our.logprobs) - 1e-6
        assert tokenizer.eot not in five.tokens


def test_what_is_drawn_depends_on_the_seed_and_not_on_the_other_rows(engine: Any, memory: Any) -> None:
    from dropscribe.backends.mlx_layers import select_rows

    _, rules, prefix = rules_of(engine)
    decoder = engine._decoder
    both = decoder.sample(memory, np.tile(prefix, (2, 1)), rules, 1.0, [5, 6])
    alone = decoder.sample(select_rows(memory, [1], 2), prefix, rules, 1.0, [6])
    other = decoder.sample(select_rows(memory, [1], 2), prefix, rules, 1.0, [7])
    assert both[1].tokens == alone[0].tokens
    assert both[1].tokens != other[0].tokens


def test_texts_do_not_depend_on_how_many_windows_are_decoded_at_once(
    tiny_en_mlx: Path, sounds: list[NDArray[np.float32]]
) -> None:
    gap = np.zeros(SAMPLE_RATE, np.float32)
    recording = np.concatenate([sounds[0], gap, sounds[1], gap, sounds[0][: 2 * SAMPLE_RATE]])
    edges = [0, len(sounds[0]) + 8000, len(sounds[0]) + len(sounds[1]) + 24000, len(recording)]
    windows = [Window(k, a, b) for k, (a, b) in enumerate(itertools.pairwise(edges))]
    found = {}
    for batch in (1, 2, 3):
        made: Any = create_backend("mlx")
        made.load(tiny_en_mlx, batch=batch)
        found[batch] = [segments for _, segments in made.transcribe(recording, windows, Options(language="en"))]
        later = list(made.transcribe(recording, windows, Options(language="en"), done=1))
        assert later == list(zip(windows[1:], found[batch][1:], strict=True))
        made.close()
    for batch in (2, 3):
        for one, many in zip(found[1], found[batch], strict=True):
            assert [s.text for s in one] == [s.text for s in many]
            times = [[t for s in part for w in s.words for t in (w.start, w.end)] for part in (one, many)]
            assert times[0] == pytest.approx(times[1], abs=0.021)  # one step of the encoder


def test_a_prompt_longer_than_the_model_can_read_is_cut(engine: Any, sounds: list[NDArray[np.float32]]) -> None:
    options = Options(language="en", prompt="Conference rooms and passwords. " * 100)
    ((_, segments),) = engine.transcribe(sounds[0], [Window(0, 0, len(sounds[0]))], options)
    assert "conference" in segments[0].text.lower()


def test_a_window_twice_in_a_batch_as_on_a_gpu_gives_one_text(
    engine: Any, sounds: list[NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [Window(0, 0, len(sounds[0]))]
    ((_, alone),) = engine.transcribe(sounds[0], windows, Options(language="en"))
    monkeypatch.setattr(engine, "_gpu", True)
    ((_, twice),) = engine.transcribe(sounds[0], windows, Options(language="en"))
    assert [s.text for s in twice] == [s.text for s in alone]


def test_texts_scored_together_have_the_scores_they_have_alone(engine: Any, memory: Any) -> None:
    from dropscribe.backends.mlx_figures import list_figure_tokens
    from dropscribe.backends.mlx_layers import select_rows

    tokenizer, _, prefix = rules_of(engine)
    figures = list_figure_tokens(tokenizer.encoding, tokenizer.eot)
    start = prefix[0].tolist()
    before = [tokenizer.sot_prev, *tokenizer.encode(" Press 1 or 2."), *start]
    texts = [tokenizer.encode(" You are one of two persons."), tokenizer.encode(" Please enter 7.")]
    both = engine._decoder.score_texts(memory, [before, start], texts, tokenizer.eot, figures)
    for row, given in enumerate((before, start)):
        (alone,) = engine._decoder.score_texts(
            select_rows(memory, [row], 2), [given], [texts[row]], tokenizer.eot, figures
        )
        own, figure, sure = both[row]
        assert own == pytest.approx(alone[0], abs=1e-3)
        assert sure == pytest.approx(alone[2], abs=1e-3)
        assert len(own) == len(texts[row]) + 1
        assert (own < 0).all()
        assert {tokenizer.decode([token])[0] for token in figure.tolist()} == {" "}
    place = next(k for k, token in enumerate(texts[1]) if tokenizer.decode([token]).strip().isdigit())
    assert both[1][2][place] >= both[1][0][place]


def test_numbers_become_figures_as_in_the_texts_around_them_and_no_other_word_changes(engine: Any) -> None:
    """A reader that prefers figures after figures stands in for the model, which would want its
    own recording.
    """
    from dropscribe.backends.drafts import Draft
    from dropscribe.backends.mlx_decoder import TextScores
    from dropscribe.backends.mlx_figures import FigureNormaliser

    tokenizer, _, prefix = rules_of(engine)
    numbers = {tokenizer.encode(f" {word}")[0]: f" {k}" for k, word in enumerate(("one", "two", "six", "seven"), 1)}
    passes: list[int] = []

    def score(rows: Any, prefixes: Any, texts: Any, figures: Any) -> Any:
        passes.append(len(rows))
        found = []
        for before, text in zip(prefixes, texts, strict=True):
            own, best, sure, seen = [], [], [], bool(set(figures) & set(before))
            for token in [*text, tokenizer.eot]:
                number = numbers.get(token)
                own.append(-2.0 if number and seen else -1.0)
                best.append(tokenizer.encode(number or " 9")[0])
                sure.append(-0.1 if number and seen else -5.0)
                seen = seen or token in figures
            found.append(TextScores(np.array(own), np.array(best), np.array(sure)))
        return found

    def spelled(texts: list[str], most: int = 8, sure: float = -0.3) -> list[Draft]:
        drafts = [Draft(tokenizer.encode(text), text, sure, 0.0, 0.0) for text in texts]
        room = engine._model.dims.n_text_ctx
        return FigureNormaliser(tokenizer, prefix[0], np.array([], np.int32), room, score, most).normalise(drafts)

    first = [" Press two first.", " Press 9 for sales.", " Press one for help.", " Or two."]
    said = [*first, *first, " Then press one."]
    figures = [" Press 2 first.", first[1], " Press 1 for help.", " Or 2."]
    expected = [*figures, *figures, said[-1]]  # a chain of four begins again
    together = spelled(said)
    assert [draft.text for draft in together] == expected
    assert len(together[2].probabilities) == len(together[2].tokens)
    assert max(passes) == 8
    assert [draft.tokens for draft in spelled(said, 1)] == [draft.tokens for draft in together]
    passes.clear()
    without = [text for text in said if "9" not in text]
    assert [draft.text for draft in spelled(without)] == without
    assert [draft.text for draft in spelled(said, sure=-2.0)] == said  # suspicious texts change nothing
    assert not passes
