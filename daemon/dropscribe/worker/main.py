"""The process that holds the model: reads one job a line on stdin, writes events as JSON lines on
stdout.

Guarantees: it touches no state but the spool files named in the job; it can be killed at any time;
it ends when its parent does (stdin closes), also in the middle of a job; nothing a library prints
can reach the protocol (the real stdout is kept separate and descriptor 1 points to stderr). Model
libraries are imported when the first job needs them.

It may run under another interpreter, which has none of our dependencies but what its own backend
brings (see `dropscribe.backends.environments`): this module and what it imports at its top are
standard library only. Such a backend is reached by becoming that interpreter (exec): same process,
same pipes, so that the parent sees one worker whose backends were tried in order. Parents give one
job at a time, so no line is lost by it.

What it does with a recording is in `dropscribe.worker.pipeline`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import resource
import sys
import tempfile
import threading
import traceback
from typing import TYPE_CHECKING, Any

from dropscribe import log_bridge, protocol
from dropscribe.backends import environments
from dropscribe.errors import EngineFaultError, EnvironmentFaultError, JobError
from dropscribe.worker import privileges
from dropscribe.worker.ahead import Ahead
from dropscribe.worker.engine import Engine, InterpreterChange, Refusal, Task
from dropscribe.worker.events import EventWriter, Reporter
from dropscribe.worker.interruptions import CalledOff, Interruptions

if TYPE_CHECKING:
    from dropscribe.protocol import BackendChoice

_FILES = 1024
"""Files that may be open at once."""


def main(handed: int | None = None) -> None:
    """Serve jobs until stdin closes.

    Args:
        handed: The descriptor of a file that says which interpreter this is and for what task it
            was started.
    """
    privileges.give_up()
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    writer = EventWriter(stream)
    _forward_log(writer)
    _allow_files()
    # numpy's threads wait busily for their next product of matrices, and there is always a small
    # one for the next window's spectrogram: with many short recordings they took a tenth of all
    # time. Read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    engine, task = Engine("", sys.executable), None
    if handed is not None:
        engine, task = _take_over(handed)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(lines,), daemon=True, name="stdin").start()
    writer.write(0, protocol.Ready(pid=os.getpid()))
    desk = _Desk(lines, engine, writer)
    if task is not None:
        desk.run(task.job, task)
    while True:
        desk.run(desk.interruptions.wait_for_job())


def _read_lines(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    # The parent closed our stdin or is gone. Work in progress is worth nothing without it.
    os._exit(0)


# Jobs


class _Desk:
    """Where jobs come in and are done."""

    def __init__(self, lines: queue.SimpleQueue[str], engine: Engine, writer: EventWriter) -> None:
        self._engine = engine
        self._writer = writer
        self.interruptions = Interruptions(lines, self._run_between, Ahead(alone=bool(engine.python)))

    def run(self, job: protocol.Job, task: Task | None = None) -> None:
        """Do a job; every way in which it can fail is reported as `Failed`.

        Args:
            job: The job.
            task: The same, where it was begun under another interpreter.
        """
        reporter = Reporter(self._writer, job.job, self.interruptions)
        detail = ""
        try:
            with self.interruptions.work_on(job.job):
                match job:
                    case protocol.UsageJob():
                        _report_usage(reporter)
                    case protocol.SpeakersJob():
                        _find_speakers(job, reporter)
                    case protocol.TranscribeJob() | protocol.PackJob() | protocol.CheckJob():
                        _run_task(task or Task(job), self._engine, reporter)
        except MemoryError:
            failure: JobError = EngineFaultError(
                "out-of-memory", "The engine ran out of memory.", "Choose a smaller model."
            )
        except JobError as error:
            failure = error
        except CalledOff:
            reporter.report(protocol.CalledOff())
            return
        except Exception as error:  # noqa: BLE001 (the one place: whatever a library raises is reported and work goes on)
            detail = traceback.format_exc()
            failure = EngineFaultError("engine-error", f"{type(error).__name__}: {error}.")
        else:
            return
        reporter.report(
            protocol.Failed(
                fault=failure.fault, code=failure.code, message=failure.message, cure=failure.cure, detail=detail
            )
        )

    def _run_between(self, job: protocol.Job) -> None:
        """Do a job in the middle of another one, whose model must stay as it is."""
        if isinstance(job, protocol.TranscribeJob | protocol.PackJob | protocol.CheckJob) and not self._engine.fits(
            job
        ):
            self._writer.write(job.job, protocol.Excluded(code="other-engine"))
        else:
            self.run(job)


def _run_task(task: Task, engine: Engine, reporter: Reporter) -> None:
    """Do a job that needs a model, under the interpreter of the backend that can do it."""
    while True:
        try:
            engine.choose(task)  # before a recording is decoded for nothing
            _dispatch(task, engine, reporter)
        except InterpreterChange as change:
            _change_interpreter(change.choice, task, engine, reporter)
        except ImportError as error:  # of what the work before the model needs: another interpreter may lack it
            choice = engine.choose(task)
            if choice is None or not engine.python:
                raise
            task.refuse(choice.name, error, reporter)
        else:
            return


def _dispatch(task: Task, engine: Engine, reporter: Reporter) -> None:
    match task.job:
        case protocol.TranscribeJob() as job:
            from dropscribe.worker import pipeline

            pipeline.transcribe_recording(job, task, engine, reporter)
        case protocol.PackJob() as job:
            from dropscribe.worker import packs

            packs.transcribe_pack(job, task, engine, reporter)
        case protocol.CheckJob():
            from dropscribe.worker import diagnostics

            diagnostics.check_engine(task, engine, reporter)


def _find_speakers(job: protocol.SpeakersJob, reporter: Reporter) -> None:
    from dropscribe.worker import pipeline

    pipeline.find_speakers(job, reporter)


def _report_usage(reporter: Reporter) -> None:
    from dropscribe.worker import diagnostics

    diagnostics.report_usage(reporter)


# Another interpreter


def _change_interpreter(choice: BackendChoice, task: Task, engine: Engine, reporter: Reporter) -> None:
    """Become the interpreter of a backend and go on with the task there. Returns when that cannot
    be.
    """
    engine.close()
    python = choice.python
    try:
        if python:
            environments.probe_interpreter(python)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            refusals = [dataclasses.asdict(refusal) for refusal in task.refusals]
            state = {"python": python, "home": engine.home, "job": protocol.encode_job(task.job)}
            json.dump(state | {"refusals": refusals}, file)
            file.seek(0)
            os.set_inheritable(file.fileno(), True)
            program, number = "worker.main(int(sys.argv[2]))", str(file.fileno())
            reporter.writer.become(
                environments.build_command(python or engine.home, program, number, alone=bool(python))
            )
    except EnvironmentFaultError as error:
        task.refuse(choice.name, error, reporter)
    except OSError as error:
        why = EnvironmentFaultError("backend-broken", f"{python} cannot be started: {error.strerror}.")
        task.refuse(choice.name, why, reporter)


def _take_over(handed: int) -> tuple[Engine, Task]:
    """Return what `_change_interpreter` wrote before it started this interpreter."""
    with os.fdopen(handed, encoding="utf-8") as file:
        state = json.load(file)
    job = protocol.decode_job(state["job"])
    assert not isinstance(job, protocol.EasyJob)  # noqa: S101 (it needs no backend)
    return Engine(state["python"], state["home"]), Task(job, [Refusal(**each) for each in state["refusals"]])


# The process


def _allow_files() -> None:
    """Have room for a whole pack: of each recording one or two files stay open. A Mac begins with
    256 in all.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FILES:
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (_FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard), hard)
        )


def _forward_log(writer: EventWriter) -> None:
    """Send what our own modules log here through the parent, which is the only writer of the
    log.
    """

    def forward(level: str, name: str, facts: dict[str, Any]) -> None:
        plain = {key: _to_plain(value) for key, value in facts.items()}
        writer.write(0, protocol.LogLine(level=level, name=name, facts=plain))

    log_bridge.sink = forward


def _to_plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
