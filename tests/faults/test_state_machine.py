"""Anything may happen in any order: at the end every recording has exactly one set of outputs, or one record.

Hypothesis makes up the sequences. DROPSCRIBE_SEQUENCES says how many (6), DROPSCRIBE_STEPS how long each is (12).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from faults.life import KINDS, NAMES, PROFILES, WAYS, Life
from faults.world import FAST

names, kinds = st.sampled_from(NAMES), st.sampled_from(KINDS)
which = st.integers(0, 99)


class Daemon(RuleBasedStateMachine):
    """The rules are the methods of `Life`; the invariant is asked for when all has been mended and is quiet."""

    @initialize(after=st.sampled_from(WAYS), hooks=st.booleans())
    def begin(self, after: str, *, hooks: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dropscribe-", dir=FAST))
        self.life = Life(self.folder / "world", after, hooks=hooks)
        self.life.live()

    def teardown(self) -> None:
        try:
            self.life.check()
        finally:
            self.life.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def pick(self, number: int) -> str:
        files = self.life.files() or NAMES  # what was there may have left since
        return files[number % len(files)]

    @precondition(lambda self: self.life.inbox_there)
    @rule(name=names, kind=kinds)
    def create(self, name: str, kind: str) -> None:
        self.life.create(name, kind)

    @precondition(lambda self: self.life.inbox_there)
    @rule(kind=kinds)
    def create_many(self, kind: str) -> None:
        for name in NAMES:
            self.life.create(name, kind)

    @precondition(lambda self: self.life.files())
    @rule(number=which)
    def append(self, number: int) -> None:
        self.life.append(self.pick(number))

    @precondition(lambda self: self.life.files())
    @rule(number=which, kind=kinds)
    def replace(self, number: int, kind: str) -> None:
        self.life.replace(self.pick(number), kind)

    @precondition(lambda self: self.life.files())
    @rule(number=which, other=names)
    def rename(self, number: int, other: str) -> None:
        self.life.rename(self.pick(number), other)

    @precondition(lambda self: self.life.files())
    @rule(number=which, other=names)
    def duplicate(self, number: int, other: str) -> None:
        self.life.duplicate(self.pick(number), other)

    @precondition(lambda self: self.life.files())
    @rule(number=which)
    def delete(self, number: int) -> None:
        self.life.delete(self.pick(number))

    @precondition(lambda self: self.life.files())
    @rule(number=which)
    def touch(self, number: int) -> None:
        self.life.touch(self.pick(number))

    @precondition(lambda self: self.life.texts())
    @rule(number=which)
    def edit(self, number: int) -> None:
        texts = self.life.texts()
        self.life.edit(texts[number % len(texts)])

    @precondition(lambda self: self.life.inbox_there)
    @rule(text=st.sampled_from(PROFILES))
    def write_profile(self, text: str) -> None:
        self.life.write_profile(text)

    @precondition(lambda self: self.life.after != "keep")
    @rule()
    def leave_or_keep(self) -> None:
        self.life.leave_or_keep()

    @rule(stale=st.booleans())
    def redo(self, *, stale: bool) -> None:
        self.life.redo(stale=stale)

    @rule()
    def take_or_bring_inbox(self) -> None:
        (self.life.take_inbox if self.life.inbox_there else self.life.bring_inbox)()

    @rule()
    def take_or_bring_outbox(self) -> None:
        (self.life.take_outbox if self.life.outbox_there else self.life.bring_outbox)()

    @precondition(lambda self: self.life.mounted)
    @rule()
    def fill_or_free_disk(self) -> None:
        (self.life.free_disk if self.life.full else self.life.fill_disk)()

    @rule()
    def pause_or_resume(self) -> None:
        (self.life.resume if self.life.paused else self.life.pause)()

    @precondition(lambda self: self.life.living)
    @rule(at_once=st.booleans())
    def kill(self, at_once: bool) -> None:
        self.life.kill()
        if at_once:
            self.life.live()

    @precondition(lambda self: self.life.living)
    @rule(at_once=st.booleans())
    def stop(self, at_once: bool) -> None:
        self.life.stop()
        if at_once:
            self.life.live()

    @precondition(lambda self: self.life.living)
    @rule()
    def kill_worker(self) -> None:
        self.life.kill_worker()

    @precondition(lambda self: not self.life.living)
    @rule()
    def live(self) -> None:
        self.life.live()

    @precondition(lambda self: "lose_journal" in self.life.may())
    @rule(how=st.sampled_from(["gone", "cut", "noise"]))
    def lose_journal(self, how: str) -> None:
        self.life.lose_journal(how)

    @rule()
    def check(self) -> None:
        self.life.check()


TestAnythingMayHappen = Daemon.TestCase
TestAnythingMayHappen.settings = settings(
    max_examples=int(os.environ.get("DROPSCRIBE_SEQUENCES", "6")),
    stateful_step_count=int(os.environ.get("DROPSCRIBE_STEPS", "12")),
    derandomize="DROPSCRIBE_SEQUENCES" not in os.environ,  # the short form is always the same
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a run takes seconds: none is spent on a shorter one
    suppress_health_check=list(HealthCheck),
)
