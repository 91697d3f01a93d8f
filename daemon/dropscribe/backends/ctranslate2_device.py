"""Where faster-whisper's model runs: a CUDA GPU where one works, else the CPU, and how its cores
are shared.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ctranslate2
import faster_whisper

from dropscribe.backends import gpu_trial
from dropscribe.log_bridge import Log

if TYPE_CHECKING:
    from pathlib import Path

_log = Log()


@dataclass(frozen=True, slots=True)
class CpuLimits:
    """How the processor is used."""

    threads: int = 8
    """Threads at most, unless a person asks for more."""
    workers: int = 4
    """Batches that are decoded at once, at most."""
    workers_for_large: int = 2
    """The same for large weights, for the memory of their batches."""
    threads_for_one: int = 4
    """Threads for a window that is alone: CTranslate2's own default."""


LIMITS = CpuLimits()


def share_threads(threads: int, batch: int, *, large: bool) -> tuple[int, int]:
    """Return how many batches are decoded at once on the CPU, and on how many threads each.

    Measured (base, int8, 16 windows, beam 5): two batches of 2 took 0.67 of the time of one batch
    of 4 on 2 cores, 0.73 on 4; four of 2 took 0.48 on 8 cores.

    Args:
        threads: Limit for all of them together; 0: none is set.
        batch: Limit for the windows of all of them together; 0: none is set.
        large: Whether the weights are large.
    """
    cores = threads or min(LIMITS.threads, _count_cores())
    most = min(LIMITS.workers_for_large if large else LIMITS.workers, batch or LIMITS.workers)
    workers = min(most, cores, max(2, cores // 2))
    return workers, cores // workers


def share_for_one(threads: int) -> tuple[int, int]:
    """Return how many calls are worked on at once for a window that is alone, and on how many threads
    each.

    All cores encode it. Measured (base, int8, 8 s of speech on 2 cores): 0.80 s, where two workers
    with one thread each took 1.08; but 8 windows took 8.5 s instead of 7.6.

    Args:
        threads: As for `share_threads`.
    """
    cores = threads or min(LIMITS.threads, _count_cores())
    return min(2, cores), min(LIMITS.threads_for_one, cores)


def load_on_gpu(folder: Path) -> tuple[Any, str] | None:
    """Return a `WhisperModel` on CUDA and the name of its device; None where CUDA does not work.

    See `gpu_trial`: where its libraries are not all there, CTranslate2 ends the process.
    """
    try:
        if not ctranslate2.get_cuda_device_count() or not gpu_trial.is_usable(folder):
            return None
        return gpu_trial.load(folder), f"gpu {gpu_trial.choose_number_format()}"
    except (RuntimeError, ValueError, StopIteration) as error:
        _log.warning("gpu.unusable", reason=str(error), instead="cpu")
        return None


def has_eight_bits() -> bool:
    """Return whether this processor computes in 8-bit integers."""
    return "int8" in ctranslate2.get_supported_compute_types("cpu")


def load_on_cpu(folder: Path, workers: int, threads: int) -> tuple[Any, str]:
    """Return a `WhisperModel` on the CPU, in 8-bit integers where it can, and the name of its
    device.
    """
    number_format = "int8" if has_eight_bits() else "float32"
    model = faster_whisper.WhisperModel(
        str(folder), device="cpu", compute_type=number_format, cpu_threads=threads, num_workers=workers
    )
    return model, f"cpu {number_format}"


def _count_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
