"""Some windows that faster-whisper encodes and decodes at once."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens

from dropscribe.backends.ctranslate2_languages import to_array
from dropscribe.backends.drafts import Draft, decode_with_retries, merge_pieces, to_raw_segments
from dropscribe.backends.letters import MEDIAN_WIDTH, TOKEN_SECONDS, spell_text
from dropscribe.backends.number_normalisation import Number, build_context, find_numbers, has_figures
from dropscribe.backends.results import EngineWord, build_segments, copy_window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from dropscribe.backends import Options, Window
    from dropscribe.backends.encodings import KeptEncodings
    from dropscribe.transcript import Segment

BEAMS = 5
HYPOTHESES = 5
"""Of which the likeliest is kept, when sampling. Both numbers are faster-whisper's defaults."""
LIKELIER = 0.5
"""Probability from which on a figure is likelier than everything else together."""


class Batch:
    """Encoded and decoded windows. Made by a thread of its own, used by the backend's."""

    def __init__(
        self,
        model: Any,
        seed: Callable[[int], None],
        kept: KeptEncodings,
        scorers: Executor,
        audio: NDArray[np.float32],
        windows: Sequence[Window],
        part: tuple[int, int],
        options: Options,
        *,
        hear: Callable[[int, NDArray[np.float32]], None] | None = None,
    ) -> None:
        """Encode and decode windows. Words are timed too, but in windows that are retried or have
        a number.

        Args:
            model: A `WhisperModel`.
            seed: Makes what is sampled next depend on the given number alone.
            kept: What the encoder made of some of the windows already.
            scorers: Threads that score a text while its words are timed: a window that is alone has
                two workers of the model for that.
            audio: The recording.
            windows: All of its windows.
            part: The first window of this batch, and one past the last.
            options: What is asked for.
            hear: Gets the first window's number and what the encoder made of all of them, to hear
                their languages.
        """
        self.first, last = part
        self._model = model
        self._seed = seed
        self._scorers = scorers
        self._windows = windows[self.first : last]
        self._retry = options.retry
        self._tokenizer = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task=options.task, language=options.language
        )
        self._language = "en" if options.task == "translate" else options.language or ""
        prompt = options.initial_prompt
        self._prompt: list[int] = self._tokenizer.encode(f" {prompt.strip()}") if prompt else []
        self._prefix: list[int] = model.get_prompt(self._tokenizer, self._prompt, without_timestamps=True)
        self._suppressed = list(get_suppressed_tokens(self._tokenizer, [-1]))
        extractor = model.feature_extractor
        samples = [copy_window(audio, window) for window in self._windows]
        self._encoded = self._encode(samples, [kept.take(audio, window) for window in self._windows])
        self._frames = [-(-len(sound) // extractor.hop_length) for sound in samples]
        self._encoded_on_cpu: NDArray[np.float32] | None = None
        if hear is not None:
            hear(self.first, self._read_encodings())
        decoded = self._generate(self._encoded, len(samples), beam_size=BEAMS)
        self.drafts = [self._to_draft(each, 0.0) for each in decoded]
        self.pending: dict[int, list[Number]] = {}
        """Rows whose words wait for `normalise_numbers`, with the numbers in them."""
        self._words: dict[int, list[EngineWord]] = {}
        for row, draft in enumerate(self.drafts):
            if draft.is_suspicious and self._retry:
                continue
            if options.normalise_numbers and (numbers := self._find_numbers(draft)):
                self.pending[row] = numbers
            else:
                self._words[row] = self._time_words(row, draft)

    def normalise_numbers(self, drafts: Mapping[int, Draft]) -> None:
        """Write numbers in figures where `drafts`, of whole chains by their places, make that
        likelier; time words.

        A word becomes a figure where that, after the texts around, is likelier than everything
        else together; and all of them do if that makes the window's text likelier. (The MLX engine
        rescores again after those that became figures; here each time would cost a tenth of the
        window.)
        """
        with_figures = [
            place for place, draft in sorted(drafts.items()) if draft.is_trusted and has_figures(draft.text)
        ]
        for row, numbers in self.pending.items():
            draft = self.drafts[row]
            # The engine adds three tokens: the start of a prompt, that there are no timestamps,
            # and the text's end.
            room = self._model.max_length - 3 - len(self._tokenizer.sot_sequence) - len(draft.tokens)
            context = build_context(self.first + row, drafts, with_figures, self._prompt, room)
            if context and draft.is_trusted:
                self.drafts[row] = self._write_figures(row, numbers, context)
            self._words[row] = self._time_words(row, self.drafts[row])

    def finish(self, first: int = 0) -> list[tuple[Window, list[Segment]]]:
        """Decode suspicious windows again, and return each window from the `first` on with its
        segments.
        """
        if first >= len(self._windows):
            return []
        drafts = decode_with_retries(self._decode, len(self._windows), retry=self._retry)
        rows = list(enumerate(zip(self._windows, drafts, strict=True)))[first:]
        return [
            (window, build_segments(window, to_raw_segments(draft, self._time_words(row, draft))))
            for row, (window, draft) in rows
        ]

    def _encode(self, samples: Sequence[NDArray[np.float32]], kept: Sequence[Any | None]) -> Any:
        """Return the encoder's output for all windows, made of what was `kept` where that is."""
        extractor = self._model.feature_extractor
        # The silence that fills a window up is part of the sound: zeros in the mel spectrogram,
        # which no sound has, cost up to two more words in a hundred.
        new = [
            extractor(sound, padding=extractor.n_samples - len(sound))
            for sound, old in zip(samples, kept, strict=True)
            if old is None
        ]
        encoded = self._model.encode(np.stack(new)) if new else None
        if len(new) == len(samples):
            return encoded
        if len(samples) == 1:
            return kept[0]
        made = iter(to_array(encoded) if encoded is not None else ())
        rows = [next(made) if old is None else to_array(old)[0] for old in kept]
        return ctranslate2.StorageView.from_array(np.stack(rows))

    def _find_numbers(self, draft: Draft) -> list[Number]:
        words, pieces = self._tokenizer.split_to_word_tokens(draft.tokens)
        return find_numbers(words, pieces, self._language)

    def _write_figures(self, row: int, numbers: Sequence[Number], context: Sequence[int]) -> Draft:
        """Return the draft of a row with those of its numbers in figures that are likelier so
        after `context`.
        """
        draft = self.drafts[row]
        start = [self._tokenizer.sot_prev, *context, *self._tokenizer.sot_sequence]
        left = list(numbers)
        while left:
            tokens, places = self._replace_numbers(draft.tokens, left)
            probabilities = self._score(row, start, tokens)
            likely = [number for number, place in zip(left, places, strict=True) if probabilities[place] > LIKELIER]
            if len(likely) == len(left):
                is_better = np.log(probabilities).sum() > np.log(self._score(row, start, draft.tokens)).sum()
                text = self._tokenizer.decode(tokens).strip()
                return dataclasses.replace(draft, tokens=tokens, text=text) if is_better else draft
            left = likely
        return draft

    def _replace_numbers(self, tokens: Sequence[int], numbers: Sequence[Number]) -> tuple[list[int], list[int]]:
        """Return the tokens with figures for the numbers, and where each figure begins."""
        new: list[int] = []
        places, edge = [], 0
        for number in numbers:
            new += tokens[edge : number.first]
            places.append(len(new))
            new += self._tokenizer.encode(f" {number.figure}")
            edge = number.last
        return [*new, *tokens[edge:]], places

    def _decode(self, rows: Sequence[int], temperature: float) -> list[Draft]:
        """Return what the beam search found; or sample, each of `rows` alone and from its own
        seed.
        """
        if not temperature:
            return [self.drafts[row] for row in rows]
        drafts = []
        for row in rows:
            self._seed(10 * self._windows[row].index + round(5 * temperature))
            (found,) = self._generate(
                self._read_encoding(row),
                1,
                beam_size=1,
                num_hypotheses=HYPOTHESES,
                sampling_topk=0,
                sampling_temperature=temperature,
            )
            drafts.append(self._to_draft(found, temperature))
        return drafts

    def _generate(self, encoded: Any, rows: int, **how: Any) -> Any:
        return self._model.model.generate(
            encoded,
            [self._prefix] * rows,
            max_length=self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            **how,
        )

    def _to_draft(self, found: Any, temperature: float) -> Draft:
        tokens = found.sequences_ids[0]
        return Draft(
            tokens=[token for token in tokens if token < self._tokenizer.eot],
            text=self._tokenizer.decode(tokens).strip(),
            # The score is the mean over the tokens without the end of the text, whose probability
            # is in it.
            avg_logprob=found.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech_prob=found.no_speech_prob,
            temperature=temperature,
        )

    def _time_words(self, row: int, draft: Draft) -> list[EngineWord]:
        """Return the words with their times from the decoder's attention."""
        if row in self._words:
            return self._words[row]
        if draft.is_silent or not draft.tokens:
            return []
        texts, pieces = self._tokenizer.split_to_word_tokens(draft.tokens)
        start = self._tokenizer.sot_sequence
        scored = self._scorers.submit(self._score, row, start, draft.tokens)
        parts = spell_text(texts, pieces, self._tokenizer.encode, self._model.max_length - len(start) - 2)
        timed = [self._time_tokens(row, part.tokens) for part in parts]
        probabilities = scored.result()
        edges = [0, *itertools.accumulate(map(len, pieces))]
        words = []
        for part, starts in zip(parts, timed, strict=True):
            for index, (begin, end) in enumerate(itertools.pairwise(part.edges), part.first):
                probability = float(probabilities[edges[index] : edges[index + 1]].mean())
                words.append(EngineWord(texts[index], starts[begin], starts[end], probability))
        return merge_pieces(words)

    def _time_tokens(self, row: int, tokens: list[int]) -> list[float]:
        """Return the seconds at which each token begins, and at last where the last one ends."""
        (found,) = self._model.model.align(
            self._read_encoding(row),
            self._tokenizer.sot_sequence,
            [tokens],
            [self._frames[row]],
            median_filter_width=MEDIAN_WIDTH,
        )
        starts = dict(reversed(found.alignments))  # of each token its first step
        return [TOKEN_SECONDS * starts[index] for index in range(len(tokens) + 1)]

    def _score(self, row: int, start: list[int], tokens: list[int]) -> NDArray[np.float64]:
        """Return the probability of each token after `start`.

        Two frames leave nothing to align, which would take a third of the time.
        """
        (found,) = self._model.model.align(self._read_encoding(row), start, [tokens], [2], median_filter_width=1)
        return np.clip(np.array(found.text_token_probs, np.float64), 1e-30, 1.0)

    def _read_encoding(self, row: int) -> Any:
        """Return the encoder's output for one window. Two threads may ask at once: both get the same."""
        return ctranslate2.StorageView.from_array(self._read_encodings()[row : row + 1])

    def _read_encodings(self) -> NDArray[np.float32]:
        """Return the encoder's output for all windows, in this process's memory."""
        if self._encoded_on_cpu is None:
            self._encoded_on_cpu = to_array(self._encoded)
        return self._encoded_on_cpu
