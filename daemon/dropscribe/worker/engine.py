"""The engine in memory: one backend with one model, chosen from those that a job allows.

Guarantees: standard library only at its top; the model stays in memory while jobs ask for the same
one; a backend that cannot be used is reported once a job and the next one tried; when none is
left, the job fails for the reason of the first one, which should have run.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dropscribe import __version__, backends, protocol
from dropscribe.backends import environments
from dropscribe.errors import EngineFaultError, EnvironmentFaultError, JobError, UsageError

if TYPE_CHECKING:
    from dropscribe.models.progress import Progress
    from dropscribe.models.stored import ModelFolder
    from dropscribe.protocol import BackendChoice
    from dropscribe.worker.events import Reporter

_PROGRESS_SECONDS = 0.5
"""The least time between two reports of a download."""


class InterpreterChange(Exception):  # noqa: N818 (it is no error)
    """The backend to try next is under another interpreter."""

    def __init__(self, choice: BackendChoice) -> None:
        super().__init__(choice.name)
        self.choice = choice


@dataclass(frozen=True, slots=True)
class Refusal:
    """A backend that cannot be used, and why."""

    backend: str
    fault: str
    code: str
    message: str
    cure: str


@dataclass(slots=True)
class Task:
    """A job that needs a model, and the backends that could not be used for it so far."""

    job: protocol.ModelJob
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, backend: str, error: JobError | ImportError, reporter: Reporter) -> None:
        """Note and report that a backend cannot be used."""
        if isinstance(error, ImportError):
            error = _broken(backend, error)
        self.refusals.append(Refusal(backend, error.fault, error.code, error.message, error.cure))
        reporter.report(protocol.Fallback(backend=backend, code=error.code, reason=error.message))

    def next_choice(self) -> BackendChoice:
        """Return the best backend that was not refused. Raises: JobError of the first one when
        none is left.
        """
        refused = {refusal.backend for refusal in self.refusals}
        for choice in self.job.request.backends:
            if choice.name not in refused:
                return choice
        first = self.refusals[0]
        kind = EnvironmentFaultError if first.fault == EnvironmentFaultError.fault else EngineFaultError
        raise kind(first.code, first.message, first.cure)


class Engine:
    """The backend of this process with its model; the next job may need another."""

    def __init__(self, python: str, home: str) -> None:
        """Nothing is loaded yet.

        Args:
            python: The interpreter that runs this process; empty for the daemon's own.
            home: The daemon's own interpreter.
        """
        self.python, self.home = python, home
        self._backend: backends.Backend | None = None
        self._loaded: protocol.Loaded | None = None
        self._loaded_for: tuple[Any, ...] | None = None

    @property
    def backend(self) -> backends.Backend:
        """The backend that `load` returned last."""
        assert self._backend is not None  # noqa: S101
        return self._backend

    @property
    def loaded(self) -> protocol.Loaded:
        """What is in memory since `load`, as it is reported again where it is still there."""
        assert self._loaded is not None  # noqa: S101
        return dataclasses.replace(self._loaded, load_s=0.0)

    def choose(self, task: Task) -> BackendChoice | None:
        """Return the next backend to try; None when what the job asks for is loaded.

        Raises:
            InterpreterChange: It is to be tried under another interpreter.
            JobError: None is left.
        """
        if self.fits(task.job):
            return None
        choice = task.next_choice()
        if choice.python != self.python:
            raise InterpreterChange(choice)
        return choice

    def load(self, task: Task, reporter: Reporter) -> backends.Backend:
        """Return the backend with its model loaded; tries the job's backends in order. Raises: as
        `choose`.
        """
        if self.fits(task.job):
            reporter.report(self.loaded)
            return self.backend
        self.close()
        while (choice := self.choose(task)) is not None:
            try:
                self._load(choice, task, reporter)
            except UsageError as error:  # the model's name: nothing that is in the queue is to blame
                why = EnvironmentFaultError("model-unknown", error.message, error.cure)
                task.refuse(choice.name, why, reporter)
            except (JobError, ImportError) as error:
                task.refuse(choice.name, error, reporter)
        return self.backend

    def fits(self, job: protocol.ModelJob) -> bool:
        """Return whether what the job asks for is loaded."""
        return self._backend is not None and self._loaded_for == _requirements(job)

    def _load(self, choice: BackendChoice, task: Task, reporter: Reporter) -> None:
        from dropscribe.backends import factory
        from dropscribe.models import store

        last = 0.0

        def progress(p: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_SECONDS or p.done_bytes >= p.total_bytes:
                last = time.monotonic()
                download = protocol.Downloading(model=p.model, repo=p.repo, done=p.done_bytes, total=p.total_bytes)
                reporter.report(download)

        request, safe = task.job.request, task.job.safe
        models = store.ModelStore()
        folder: ModelFolder = models.resolve_model(
            request.model, choice.name, download=request.download, progress=progress
        )
        started = time.monotonic()
        eight_bits = functools.partial(models.keep_eight_bits, folder)
        backend = factory.create_backend(choice.name, eight_bits=eight_bits, **choice.options)
        loaded = backend.load(folder.path, threads=request.threads, safe=safe, batch=request.batch)
        self._loaded = protocol.Loaded(
            backend=choice.name,
            reason=f"{choice.reason}: {task.refusals[-1].message}" if task.refusals else choice.reason,
            options=choice.options,
            device=loaded.device,
            multilingual=loaded.multilingual,
            model=folder.name,
            revision=folder.revision,
            folder=str(folder.path),
            versions={"dropscribe": __version__, **loaded.versions, **_read_versions()},
            load_s=round(time.monotonic() - started, 3),
        )
        store.mark_used(folder)
        reporter.report(self._loaded)
        self._backend, self._loaded_for = backend, _requirements(task.job)

    def close(self) -> None:
        """Give the model's memory back."""
        backend, self._backend, self._loaded_for = self._backend, None, None
        if backend is not None:
            backend.close()


def _requirements(job: protocol.ModelJob) -> tuple[Any, ...]:
    """Return what must be equal for a loaded model to be used for another job."""
    request = job.request
    return request.model, request.backends, request.threads, request.batch, job.safe


def _broken(name: str, error: ImportError) -> EnvironmentFaultError:
    cure = f"`dropscribe backends install {name}`." if name == environments.NAME else "Install Dropscribe again."
    if "executable stack" in str(error):  # ctranslate2 up to 4.5, under glibc 2.41
        cure = f"Its ctranslate2 is too old for this system: 4.6.3 or newer is needed. {cure}"
    return EnvironmentFaultError("backend-broken", f"The backend {name} cannot be imported: {error}.", cure)


def _read_versions() -> dict[str, str]:
    return {name: version(name) for name in ("av", "onnxruntime", "numpy")}
