"""The facts that a hook is given: what came of a recording, for a program."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from dropscribe.settings import FACT, PREFIX
from dropscribe.supervisor.journal import HookWay, NewHook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dropscribe.settings import Settings
    from dropscribe.supervisor.journal import Recording
    from dropscribe.transcript import Transcript


def list_hooks_when_done(
    settings: Settings, recording: Recording, source: Path, files: Sequence[str], transcript: Transcript
) -> list[NewHook]:
    """Return the hooks that are to be run for a recording that is done.

    Args:
        settings: which hooks there are.
        recording: the recording.
        source: where its file is.
        files: what was written, relative to the outbox, the JSON last.
        transcript: its transcript.
    """
    paths = [str(settings.outbox / file) for file in files]
    facts = _describe(recording, "done", source, paths) | {
        "transcript": next((path for path in reversed(paths) if path.endswith(".json")), None),
        "duration": transcript.duration,
        "language": transcript.language,
        "recorded_at": transcript.source.recorded_at,
        "recorded_from": transcript.source.recorded_from,
        "backend": transcript.engine.backend,
        "model": transcript.engine.model,
        "words": len(transcript.text.split()),
        "passages": len(transcript.review or ()),
        "warnings": sorted({notice.code for notice in transcript.warnings}),
    }
    return _list_hooks(settings, HookWay.ON_DONE, facts)


def list_hooks_when_failed(
    settings: Settings, recording: Recording, source: Path, record: str, code: str, reason: str
) -> list[NewHook]:
    """Return the hooks that are to be run for a recording that failed.

    Args:
        settings: which hooks there are.
        recording: the recording.
        source: where its file is.
        record: the record of the failure, relative to the outbox.
        code: the stable name of the reason.
        reason: what happened, for a person.
    """
    facts = _describe(recording, "failed", source, [str(settings.outbox / record)])
    return _list_hooks(settings, HookWay.ON_FAILED, facts | {"code": code, "reason": reason})


def _describe(recording: Recording, event: str, source: Path, paths: Sequence[str]) -> dict[str, Any]:
    return {
        "event": event,
        "id": f"{recording.id}-{time.time_ns()}",
        "source": str(source),
        "name": recording.name.name,
        "relative": str(recording.name),
        "bytes": recording.size,
        "sha256": recording.sha256,
        "files": paths,
    }


def _list_hooks(settings: Settings, way: HookWay, facts: Mapping[str, Any]) -> list[NewHook]:
    text = json.dumps(facts)
    return [NewHook(each, text) for each in (way, HookWay.WEBHOOK) if getattr(settings, each)]


def format_variables(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts as variables: `DROPSCRIBE_FACT_SOURCE`, …; a list has a line for each item."""
    variables = {}
    for name, value in facts.items():
        text = "\n".join(value) if isinstance(value, list) else "" if value is None else str(value)
        variables[f"{PREFIX}{FACT}{name.upper()}"] = text.replace("\0", "\ufffd")
    return variables


def format_json(facts: Mapping[str, Any]) -> bytes:
    """Return the facts as JSON, with every text as UTF-8 takes it: names need not be."""
    return json.dumps(_replace_surrogates(facts), ensure_ascii=False).encode() + b"\n"


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _replace_surrogates(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    return as_utf8(value) if isinstance(value, str) else value


def as_utf8(text: str) -> str:
    """Return a text of the facts as UTF-8 takes it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
