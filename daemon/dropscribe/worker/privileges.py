"""Rights that the worker gives up before it reads anything a stranger sent.

On Linux no program that it might be made to start gains rights by a setuid or setgid bit
(`no_new_privs`; it outlives `exec`, so also under another interpreter). The daemon itself keeps
that: hooks may need it, for mail. macOS has no such call for a process that is not sandboxed.

Not given up: memory that is written and executed. CTranslate2 computes with machine code that
oneDNN makes at run time; numba, which comes with mlx-whisper, cannot even be imported without.
(Tried with PR_SET_MDWE.)
"""

from __future__ import annotations

import contextlib
import sys

_PR_SET_NO_NEW_PRIVS = 38
"""linux/prctl.h."""


def give_up() -> None:
    """Give them up, for this process and all that it starts. Where that cannot be done, work goes on."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # a C library without prctl
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
