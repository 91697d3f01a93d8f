"""The jobs that transcribe no recording: whether the engine works here, and what memory it
took.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING

from dropscribe import backends, protocol

if TYPE_CHECKING:
    from dropscribe.worker.engine import Engine, Task
    from dropscribe.worker.events import Reporter


def check_engine(task: Task, engine: Engine, reporter: Reporter) -> None:
    """Load the model and send one second of a soft tone through it: shows that the engine works on
    this machine.
    """
    import numpy as np

    backend = engine.load(task, reporter)
    tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(backends.SAMPLE_RATE, dtype=np.float32) / backends.SAMPLE_RATE)
    started = time.monotonic()
    options = backends.Options(language="en")
    list(backend.transcribe(tone.astype(np.float32), [backends.Window(0, 0, len(tone))], options))
    reporter.report(protocol.Finished(seconds=round(time.monotonic() - started, 3)))


def report_usage(reporter: Reporter) -> None:
    """Report the most memory this process has held."""
    kilo = 1 if sys.platform == "darwin" else 1024  # getrusage(2) there counts bytes
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo
    mlx = sys.modules.get("mlx.core")
    device = int(mlx.get_peak_memory()) if mlx else None
    reporter.report(protocol.Finished(memory_bytes=memory, device_bytes=device))
