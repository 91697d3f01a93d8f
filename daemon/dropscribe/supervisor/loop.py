"""The daemon: takes recordings from the inbox, has the worker transcribe them, puts the outputs
into the outbox.

Here is its loop, which drives the parts. Each of them owns its state: `intake` (files),
`scheduler` (who is next), `jobs` (the work in progress), `publisher` (outputs and failures),
`hooks`, `disposal` (sources that leave), `outage` (what is wrong around us) and `request_handler`
(what the command line asks for).

Guarantees: one thread, the one that calls `run`, owns every piece of state; other threads (events,
digests, the worker's pipes) and signal handlers only post messages to it. No model library is
imported and no connection opened in this process. What is in the journal is true after any crash:
each step is committed before the next begins.

The order of a recording's last steps: transcript into the journal, files into the outbox with the
JSON last, then `done`. A crash between any two repeats only the step it interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from dropscribe.backends import choice
from dropscribe.errors import DropscribeError, EnvironmentFaultError
from dropscribe.supervisor import outbox, recovery, requests, result_options, worker_process
from dropscribe.supervisor.afterlook import LookedAgain
from dropscribe.supervisor.digesting import Digested
from dropscribe.supervisor.disposal import Disposal
from dropscribe.supervisor.folders import make_folders
from dropscribe.supervisor.guests import Guests
from dropscribe.supervisor.hook_process import Ended
from dropscribe.supervisor.hooks import Hooks
from dropscribe.supervisor.inbox import Inbox
from dropscribe.supervisor.indexing import Indexer
from dropscribe.supervisor.intake import Intake, Wake
from dropscribe.supervisor.jobs import Jobs
from dropscribe.supervisor.journal import FILE_NAME, State
from dropscribe.supervisor.locks import Locks
from dropscribe.supervisor.mailbox import Mailbox
from dropscribe.supervisor.names import decode_name
from dropscribe.supervisor.notifications import Notifications
from dropscribe.supervisor.outage import Outage
from dropscribe.supervisor.publisher import Progress, Publisher
from dropscribe.supervisor.request_handler import RequestHandler
from dropscribe.supervisor.scheduler import Scheduler
from dropscribe.supervisor.source_moves import Left
from dropscribe.supervisor.together import Together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dropscribe.settings import Settings

BACKOFF = (5.0, 300.0)
"""Seconds before the first and, doubling, between the last tries while something of the
environment is wrong.
"""
TICK = 1.0
"""Seconds between two looks at requests and deadlines."""
MESSAGES_SECONDS = 0.2
"""Messages are taken for so long before the next look at requests, deadlines and the queue. Each of
ten thousand files that settle at once costs a write to the disk, and must not stop the work.
"""

Message = Wake | Digested | Ended | Left | LookedAgain | worker_process.Message
"""What other threads post to the loop."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to."""

    done: int
    failed: int
    waiting: int
    outage: DropscribeError | None
    hooks: tuple[str, ...] = ()
    """Why hooks failed, a sentence for each; they are tried again by the next run, or were given up."""


class Supervisor:
    """The daemon on one inbox."""

    def __init__(
        self,
        settings: Settings,
        *,
        once: bool = False,
        command: Sequence[str] | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Take the locks and open the journal.

        Args:
            settings: checked settings.
            once: end when everything that is there is worked off.
            command: replaces the real worker, in tests of faults that cannot be made for real.
            progress: called when something moved, for a person at a terminal.

        Raises:
            AlreadyRunningError: another daemon has this inbox or state.
            DropscribeError: a folder cannot be made, or the journal cannot be opened.
        """
        self._settings = settings
        self._once = once
        self._log = structlog.get_logger()
        self._messages = Mailbox[Message](lambda message: isinstance(message, Digested))
        self._stopping = ""
        self._paused = False
        self._begun = False
        make_folders(settings, ["state"])
        inbox = Inbox.of(settings)
        with ExitStack() as stack:
            try:
                stack.callback(Locks(settings.state, settings.inbox).release)
                self._journal = recovery.open_journal(settings.state / FILE_NAME, settings.outbox, inbox)
            except (OSError, sqlite3.OperationalError) as error:
                msg = f"The state in {settings.state} cannot be opened: {error}."
                raise DropscribeError(msg, "Look at the disk that holds it.") from None
            stack.enter_context(self._journal)
            self._make_new_folders()
            self._open = stack.pop_all()
        post = self._messages.post
        self._outage = Outage(settings, self._journal, BACKOFF)
        self._hooks = Hooks(settings, post, BACKOFF)
        self._disposal = Disposal(settings, post, BACKOFF)
        self._intake = Intake(settings, inbox, self._journal, post)
        self._indexer = Indexer(settings)
        self._notifications = Notifications(settings)

        def tell(moved: Progress) -> None:
            self._notifications.take(moved)
            progress(moved)

        self._together = Together(settings, self._journal)
        self._publisher = Publisher(
            settings,
            self._journal,
            self._intake,
            self._hooks,
            self._disposal,
            self._outage,
            self._indexer,
            self._together,
            tell,
        )
        self._scheduler = Scheduler(settings, self._journal, self._intake, self._publisher)
        self._jobs = Jobs(
            settings,
            self._journal,
            self._intake,
            self._scheduler,
            self._publisher,
            self._outage,
            post,
            command=command,
            progress=progress,
        )
        self._guests = Guests(settings, self._journal, self._jobs.call_off)
        self._requests = RequestHandler(
            settings, self._journal, self._intake, self._hooks, self._outage, self._jobs.call_off
        )

    def _make_new_folders(self) -> None:
        """Make the inbox and the outbox, unless they were used before: then their volume may not
        be there now.
        """
        used = {name: self._journal.get_meta(name) for name in ("inbox", "outbox")}
        new = [name for name in used if used[name] != decode_name(getattr(self._settings, name))]
        make_folders(self._settings, new)

    def close(self) -> None:
        """Close the journal and let go of the locks."""
        self._open.close()

    # The loop

    def stop(self, reason: str) -> None:
        """Ask the loop to end; safe from a signal handler and from any thread."""
        self._stopping = reason
        self._messages.post(Wake())

    def run(self) -> Summary:
        """Work until stopped (or, with `once`, until nothing is left). Returns what was done."""
        self._intake.start()
        try:
            while not self._stopping:
                self._tick()
                if self._once and self._is_finished():
                    break
                self._handle_messages()
        except Exception:
            # A fault of ours, or a journal damaged while open: the service starts us again, and
            # the start repairs it.
            self._stopping = "crash"
            self._log.exception("daemon.crashed")
            raise
        finally:
            self._end()
        counts, results = self._journal.recordings.count_by_state(), self._publisher.results
        waiting = counts[State.QUEUED] + counts[State.WAITING] + counts[State.PUBLISHING]
        outage = self._outage.error or self._intake.outage
        return Summary(results["done"], results["failed"], waiting, outage, self._hooks.problems)

    def _begin(self) -> None:
        """Tidy up after the last run. With the disk of the journal full this waits, as everything
        else does.
        """
        self._jobs.spool.make()
        removed = outbox.remove_temporary_files(self._settings.outbox)
        interrupted = self._journal.recordings.release_all()
        self._intake.requeue_running()
        choices = choice.choose_for_this_machine(self._settings)
        backend, reason = (choices[0].name, choices[0].reason) if choices else (None, "no backend is installed")
        self._journal.set_meta(
            pid=str(os.getpid()),
            started=str(time.time()),
            inbox=decode_name(self._settings.inbox),
            outbox=decode_name(self._settings.outbox),
            inbox_trouble="",
            backend=backend or "",
            backend_reason=reason,
            model=self._settings.model,
            settings=json.dumps(result_options.read_output_options(self._settings)),
            engine="",
            trouble="",
        )
        self._log.info(
            "daemon.started",
            pid=os.getpid(),
            inbox=str(self._settings.inbox),
            outbox=str(self._settings.outbox),
            backend=backend,
            reason=reason,
            model=self._settings.model,
            interrupted=interrupted,
            temporary_files_removed=removed,
            once=self._once,
        )
        self._hooks.start(self._journal)
        self._disposal.start(self._journal)
        self._together.start()
        self._begun = True

    def _end(self) -> None:
        self._intake.close()
        self._hooks.close()
        self._notifications.close()
        self._jobs.close(self._stopping)
        self._indexer.close()
        with contextlib.suppress(sqlite3.Error):
            self._journal.set_meta(pid="", engine="")
        self._log.info("daemon.stopped", reason=self._stopping or "all done", **self._publisher.results)

    def _time_to_sleep(self) -> float:
        """Return how many seconds the loop may wait for a message."""
        now = time.monotonic()
        return max(0.0, min(now + TICK, self._intake.next_due) - now)

    def _is_finished(self) -> bool:
        """Return whether nothing is left that could be done now."""
        if not self._intake.is_idle or self._jobs.busy or not self._messages.is_empty():
            return False
        if self._hooks.is_running or self._disposal.is_running:
            return False
        if self._outage.error is not None or self._paused or self._intake.outage:
            return True
        counts = self._journal.recordings.count_by_state()
        if counts[State.QUEUED] or counts[State.PUBLISHING] or self._hooks.is_due or self._together.is_due:
            return False
        return not self._disposal.is_due and not self._disposal.has_young

    def _tick(self) -> None:
        """Do whatever is due. A fault of the environment is logged, waited out and tried again."""
        try:
            if not self._begun:
                self._begin()
            self._read_requests()
            self._intake.tick()
            self._call_off_absent()
            self._guests.tick()
            if self._intake.take_profile_change():
                self._scheduler.rank_queue()
            self._jobs.watch()
            self._hooks.tick(self._journal)
            self._notifications.tick()
            if self._together.is_due and self._intake.is_idle and self._publisher.is_outbox_available():
                self._together.tick()
            if self._disposal.is_due and self._intake.is_there and self._publisher.is_outbox_available():
                self._disposal.tick(self._journal, self._intake.is_settling)
            self._disposal.look_at_moved(self._journal)
            self._dispatch()
        except EnvironmentFaultError as error:
            self._outage.begin(error)
        except sqlite3.OperationalError as error:
            self._jobs.drop()  # it may not have reached the worker
            self._outage.begin(self._journal_fault(error))

    def _handle_messages(self) -> None:
        """Wait for the next message and act on it, and on those that come right behind it.

        Where the worker has become free, the next look is due at once: it gets its next job.
        """
        message = self._messages.take(self._time_to_sleep())
        until = time.monotonic() + MESSAGES_SECONDS
        while message is not None and not self._stopping:
            was_busy = self._jobs.busy
            self._handle(message)
            if time.monotonic() >= until or (was_busy and not self._jobs.busy):
                return
            message = self._messages.take(0.0)

    def _handle(self, message: Message) -> None:
        try:
            if isinstance(message, worker_process.Message):
                self._jobs.handle_message(message)
            elif isinstance(message, Digested):
                if (taken := self._intake.accept(message)) is not None:
                    if taken.new:
                        self._scheduler.rank_new(taken.key)
                    self._jobs.handle_taken_in(taken)
            elif isinstance(message, Ended):
                self._hooks.save_end(self._journal, message)
                self._disposal.look_soon()
            elif isinstance(message, Left):
                self._intake.end_disposal(self._disposal.save_outcome(self._journal, message), message)
            elif isinstance(message, LookedAgain):
                self._disposal.save_look(self._journal, message, self._intake.set_state)
        except EnvironmentFaultError as error:
            self._outage.begin(error)
        except sqlite3.OperationalError as error:
            self._jobs.drop()
            self._outage.begin(self._journal_fault(error))

    def _journal_fault(self, error: sqlite3.Error) -> EnvironmentFaultError:
        if not (self._settings.state / FILE_NAME).exists():
            # What was opened is no file any more, and waiting does not bring it back.
            msg = f"The journal in {self._settings.state} was removed while it was used."
            raise DropscribeError(msg, "Started again, the daemon makes a new one from the outbox.") from error
        return EnvironmentFaultError(
            "journal-unwritable",
            f"The journal cannot be written: {error}.",
            f"Look at the disk that holds {self._settings.state}.",
        )

    def _read_requests(self) -> None:
        """Act on what the command line has asked for."""
        paused = requests.is_paused(self._settings.state)
        if paused != self._paused:
            self._paused = paused
            self._log.info("daemon.paused" if paused else "daemon.resumed")
            if paused:
                self._jobs.drop("paused")
        for request in requests.take_requests(self._settings.state):
            with contextlib.suppress(ValueError, OSError):  # a name that no file can have
                self._requests.act_on(request)

    def _call_off_absent(self) -> None:
        """Give up work on recordings that left the inbox, and what is left of their failures."""
        for key in self._intake.take_absent():
            self._jobs.call_off(key, "its recording left the inbox")
            self._intake.mark_gone(key)
        if self._publisher.is_outbox_available():
            for recording in self._intake.take_absent_failures():
                self._publisher.withdraw_failure(recording)

    def _dispatch(self) -> None:
        """Give the next recording to the worker, or publish what only needs publishing."""
        if self._paused:
            return
        if self._jobs.busy:
            self._dispatch_between()
            return
        missing = self._outage.code == "outbox-missing"
        if self._outage.error is not None:
            if self._outage.is_pausing and not (missing and self._publisher.is_outbox_available()):
                return
            self._journal.recordings.release_all()  # a journal that failed may have left one marked as running
        self._publisher.check_outbox()
        if missing:
            self._outage.end()
        for unpublished in self._journal.recordings.list_in(State.PUBLISHING, limit=1):
            self._publisher.publish(unpublished)
            self._intake.observe_again(unpublished)
            return
        if self._intake.outage:
            return
        first = self._scheduler.peek()
        if first is None:
            self._outage.end()
        elif claimed := self._scheduler.claim(first):
            self._jobs.begin(claimed)

    def _dispatch_between(self) -> None:
        """Let short work go between the windows of a long recording; have the next one prepared."""
        if self._outage.error is not None or self._intake.outage:
            return
        room = self._jobs.room
        if room is not None and (claimed := self._scheduler.claim_between(room)):
            self._jobs.begin(claimed, room)
        else:
            self._jobs.prepare()
