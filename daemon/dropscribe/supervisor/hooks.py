"""Hooks: a command, or a message to a server, for each recording that is done or failed.

Guarantees: no shell; what is to be run is in the journal together with `done` or `failed`, so no
hook is lost with the daemon; one that was cut off by the daemon's end is run again, so each runs
at least once, and a hook may be run twice (with the same `id` in its facts); one of each kind at a
time, in order but for those that wait after a failure; transcribing never waits for them. A hook
that takes too long is ended with every process it started.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import structlog

from dropscribe import crash
from dropscribe.supervisor.hook_facts import as_utf8
from dropscribe.supervisor.hook_process import HookProcess
from dropscribe.supervisor.journal import HookWay

if TYPE_CHECKING:
    from collections.abc import Callable

    from dropscribe.settings import Settings
    from dropscribe.supervisor.hook_process import Ended
    from dropscribe.supervisor.journal import Journal


class Hooks:
    """The hooks of one daemon. Every method is called by the thread that owns the journal."""

    def __init__(self, settings: Settings, post: Callable[[Ended], None], pauses: tuple[float, float]) -> None:
        """`post` takes what ended, from another thread; `pauses` are the seconds after a first and
        a last failure.
        """
        self._settings = settings
        self._post = post
        self._pauses = pauses
        self._log = structlog.get_logger()
        self._running: dict[HookWay, HookProcess] = {}
        self._not_before: dict[int, float] = {}
        """time.monotonic() by hook."""
        self._look = True
        self._problems: dict[int, str] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps hooks from success that failed in this run, a sentence for each."""
        return tuple(self._problems.values())

    def start(self, journal: Journal) -> None:
        """Drop the hooks of an earlier run whose settings are gone; the others are run."""
        if dropped := journal.hooks.drop_all_but([way for way in HookWay if getattr(self._settings, way)]):
            self._log.info("hook.forgotten", count=dropped, reason="they are no longer set")

    def look_soon(self) -> None:
        """Look for hooks at the next tick: there may be more to run."""
        self._look = True

    @property
    def is_running(self) -> bool:
        """Whether a hook runs."""
        return bool(self._running)

    @property
    def is_due(self) -> bool:
        """Whether one could be started."""
        return self._look

    def tick(self, journal: Journal) -> None:
        """Start what is due."""
        now = time.monotonic()
        if any(until <= now for until in self._not_before.values()):
            self._not_before = {hook: until for hook, until in self._not_before.items() if until > now}
            self._look = True
        if not self._look:
            return
        for way in HookWay:
            if way not in self._running and getattr(self._settings, way):
                found = journal.hooks.list_due(way, limit=len(self._not_before) + 1)
                if (hook := next((h for h in found if h.id not in self._not_before), None)) is not None:
                    self._running[way] = HookProcess(self._settings, hook, self._post)
        self._look = False

    def save_end(self, journal: Journal, ended: Ended) -> None:
        """Save how a hook ended."""
        hook = ended.hook
        process = self._running.pop(hook.way, None)
        if process is not None:
            process.join()
        self._look = True
        crash.reach("hooked")
        relative = json.loads(hook.facts)["relative"]
        facts = {"hook": str(hook.way), "file": as_utf8(relative), "seconds": round(ended.seconds, 3)}
        if not ended.problem:
            journal.hooks.mark_succeeded(hook.id)
            self._problems.pop(hook.id, None)
            self._log.info("hook.done", **facts, output=ended.output or None)
            return
        tried = hook.tries + 1
        give_up = tried >= self._settings.hook_tries
        if not give_up:
            self._not_before[hook.id] = time.monotonic() + min(self._pauses[0] * 2**hook.tries, self._pauses[1])
        journal.hooks.mark_failed(hook.id, ended.problem, give_up=give_up)
        self._problems[hook.id] = f"`{hook.way}` for {facts['file']}: {ended.problem}"
        log = self._log.error if give_up else self._log.warning
        log("hook.failed", **facts, tried=tried, given_up=give_up, reason=ended.problem, output=ended.output or None)

    def close(self) -> None:
        """End what runs: it is run again at the next start."""
        for process in self._running.values():
            process.end()
