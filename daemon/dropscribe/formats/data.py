"""Transcripts as other programs' data: WhisperX, whisper.cpp and Podcasting 2.0 JSON, CSV and TSV.

Guarantees: field names and units are the other program's own; what this program does not know is
left out, never made up; the text of a segment and of its words is kept as it is, but for white
space.

WhisperX: `AlignedTranscriptionResult` in its `schema.py`, as its `WriteJSON` writes it.
whisper.cpp: `output_json` in `examples/cli/cli.cpp` with `--output-json-full`. Podcasting 2.0:
"Transcript File Format Details" of the podcast namespace, version 1.0.0. CSV: RFC 4180. TSV:
`WriteTSV` of OpenAI's whisper.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from dropscribe.formats.times import format_timestamp, to_milliseconds
from dropscribe.formats.utterances import join_tokens, split_utterances

if TYPE_CHECKING:
    from dropscribe.transcript import Segment, Transcript, Word


def render_whisperx_json(transcript: Transcript) -> str:
    """Return what WhisperX writes: seconds; words without spaces around them; `score` is the
    word's probability.
    """
    segments = []
    for segment in transcript.segments:
        converted: dict[str, Any] = {
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
            "words": [_convert_whisperx_word(w) for w in segment.words],
        }
        if segment.speaker is not None:
            converted["speaker"] = segment.speaker
        if segment.avg_logprob is not None:
            converted["avg_logprob"] = segment.avg_logprob
        segments.append(converted)
    words = [word for segment in segments for word in segment["words"]]
    return _dump_json({"segments": segments, "word_segments": words, "language": transcript.language})


def _convert_whisperx_word(word: Word) -> dict[str, Any]:
    converted: dict[str, Any] = {"word": word.word.strip(), "start": word.start, "end": word.end}
    if word.probability is not None:
        converted["score"] = word.probability
    if word.speaker is not None:
        converted["speaker"] = word.speaker
    return converted


def render_cpp_json(transcript: Transcript) -> str:
    """Return whisper.cpp's full JSON: times as text and in milliseconds, a token for each word.

    Words take the place of the model's tokens that whisper.cpp has, so `id` is -1, which is no
    token's, and `t_dtw` is -1, which is whisper.cpp's own mark for "not computed". The model's
    dimensions and `systeminfo` are not known here.
    """
    options = transcript.engine.options
    return _dump_json(
        {
            "params": {
                "model": transcript.engine.model,
                "language": options.get("language", transcript.language),
                "translate": options.get("task") == "translate",
            },
            "result": {"language": transcript.language},
            "transcription": [_convert_cpp_segment(segment) for segment in transcript.segments],
        }
    )


def _convert_cpp_segment(segment: Segment) -> dict[str, Any]:
    # Whisper's own text begins with a space; here only the words show it.
    joined = "".join(w.word for w in segment.words)
    converted: dict[str, Any] = {
        **_convert_cpp_times(segment.start, segment.end),
        "text": joined if joined.strip() == segment.text else f" {segment.text}",
        "tokens": [
            {
                "text": word.word,
                **_convert_cpp_times(word.start, word.end),
                "id": -1,
                **({} if word.probability is None else {"p": word.probability}),
                "t_dtw": -1.0,
            }
            for word in segment.words
        ],
    }
    if segment.speaker is not None:
        converted["speaker"] = segment.speaker
    return converted


def _convert_cpp_times(start: float, end: float) -> dict[str, Any]:
    begins, ends = to_milliseconds(start), to_milliseconds(end)
    return {
        "timestamps": {"from": format_timestamp(begins, ","), "to": format_timestamp(ends, ",")},
        "offsets": {"from": begins, "to": ends},
    }


def render_podcast_json(transcript: Transcript) -> str:
    """Return a Podcasting 2.0 transcript (`application/json`): seconds; a new segment where the
    speaker changes.
    """
    segments = []
    for said in split_utterances(transcript):
        speaker = {} if said.speaker is None else {"speaker": said.speaker}
        times = {"startTime": round(said.start, 3), "endTime": round(said.end, 3)}
        segments.append({**speaker, **times, "body": said.text})
    return _dump_json({"version": "1.0.0", "segments": segments})


def render_csv(transcript: Transcript) -> str:
    """Return CSV, a row for each segment and speaker: `start,end,speaker,text`, times in whole
    milliseconds.

    Whole milliseconds hold no decimal mark, which spreadsheets read differently in different
    countries.
    """
    out = io.StringIO()
    writer = csv.writer(out)  # "\r\n" and doubled quotes, as RFC 4180 has them
    writer.writerow(["start", "end", "speaker", "text"])
    for said in split_utterances(transcript):
        writer.writerow([to_milliseconds(said.start), to_milliseconds(said.end), said.speaker or "", said.text])
    return out.getvalue()


def render_tsv(transcript: Transcript) -> str:
    """Return the TSV of OpenAI's whisper: `start`, `end`, `text`; milliseconds; no quoting, and no
    speakers.
    """
    rows = (
        f"{to_milliseconds(u.start)}\t{to_milliseconds(u.end)}\t{join_tokens(u.tokens)}\n"
        for u in split_utterances(transcript)
    )
    return "start\tend\ttext\n" + "".join(rows)


def _dump_json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
