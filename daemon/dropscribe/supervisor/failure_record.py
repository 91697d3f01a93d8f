"""The text for a recording that could not be transcribed: what happened, and what to do."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath

_RECORD = """\
{name} could not be transcribed.

What happened: {reason}
Reason code:   {code}
Recording:     {source}
When:          {when}

The recording is untouched. It is tried again when it changes, or with:
    dropscribe retry {quoted}
"""


def format_failure(source: str, code: str, reason: str, when: str) -> str:
    """Return the text of the record of a failure; `source` is the recording's path as text."""
    name, quoted = PurePath(source).name, shlex.quote(source)
    return _RECORD.format(name=name, reason=reason, code=code, source=source, when=when, quoted=quoted)


def is_failure_record(source: str, text: str) -> bool:
    """Return whether a text is the record of a failure of this recording as we write it, whatever
    failed and when.
    """
    filler = {"code": "\0", "reason": "\0", "when": "\0"}
    pattern = re.escape(format_failure(source, **filler)).replace(re.escape("\0"), ".*")
    return re.fullmatch(pattern, text, re.DOTALL) is not None
