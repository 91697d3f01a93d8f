"""Everything that may happen to a daemon and its folders, a method each, for the state machine and the soak.

A method does nothing that would be impossible (there is no file to delete, the inbox is away): `may` says which of
them do something now.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.supervisor import profiles, source_moves
from dropscribe.supervisor.journal import HookWay, Journal
from dropscribe.supervisor.recording_names import PROFILE
from faults.world import World, alive, fails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ("a.wav", "a.mp3", "b.wav", "-b.wav", "c d.flac", "Caf\u00e9.wav", "sub/a.wav", "sub/b.mp3", "sub/deep/e.wav")
PROFILES = (
    "",
    'language = "fi"',
    'prompt = "Words."',
    "wrong = 1",
    'formats = ["txt", "srt", "vtt", "md"]',
    'channels = ["Host", "Guest"]',
)
KINDS = ("good", "good", "good", "long", "bad", "crash", "crash once", "empty", "stereo")
WAYS = ("keep", "archive", "trash", "delete")

HOOK = """#!/bin/sh
line="$DROPSCRIBE_FACT_EVENT $DROPSCRIBE_FACT_ID $DROPSCRIBE_FACT_RELATIVE"
grep -qxF "$line" "$0.ran"
first=$?
echo "$line" >> "$0.ran"
exit $first
"""
"""Notes that it was run; the first time for each recording that is done or failed it fails."""


class Life(World):
    """A world in which anything may happen.

    It knows what a person has put into the inbox, and so what must be somewhere when the daemon has let it leave.
    """

    def __init__(self, folder: Path, after: str = "keep", *, hooks: bool = False) -> None:
        """Make the folders; the outbox is on a disk that can be filled, where that is possible.

        Args:
            folder: an empty folder for all of it.
            after: the setting, which `leave_or_keep` turns off and on.
            hooks: whether a program is run for each recording that is done or failed.
        """
        super().__init__(folder, disk_bytes=16 << 20)
        self._number = itertools.count()
        self.paused = self.full = False
        self.after, self._hooks = after, folder / "hook.sh"
        self._hooks.with_name("hook.sh.ran").touch()
        if hooks:
            self._hooks.write_text(HOOK)
            self._hooks.chmod(0o755)
            self.environ |= dict.fromkeys(["DROPSCRIBE_ON_DONE", "DROPSCRIBE_ON_FAILED"], str(self._hooks))
        self.environ |= {"DROPSCRIBE_AFTER": after, "XDG_DATA_HOME": str(folder / "data")}
        self._mine: dict[str, bytes] = {}
        """What is in the inbox as far as is known."""
        self._left: list[tuple[str, bytes]] = []
        """What the daemon let leave."""
        self._perhaps: list[bytes] = []
        """What a person overwrote or removed: the daemon may have let it leave just before."""
        self._forgotten = self._known = 0
        """How much of the log, and of `_left`, is older than the journal."""

    # What is so at present

    @property
    def living(self) -> bool:
        return self.process is not None

    @property
    def inbox_there(self) -> bool:
        return self.inbox.exists()

    @property
    def outbox_there(self) -> bool:
        return self.outbox.exists()

    def files(self) -> list[str]:
        self._look()
        return sorted(self._mine) if self.inbox_there else []

    def _look(self) -> None:
        """Learn what has left."""
        if self.inbox_there:
            there = self.present()
            self._left += [(name, self._mine.pop(name)) for name in sorted(self._mine.keys() - there.keys())]

    def _takes(self, name: str) -> None:
        """A person overwrites or removes a file, if it is still there."""
        self._look()
        if name in self._mine:
            self._perhaps.append(self._mine.pop(name))

    def texts(self) -> list[Path]:
        """Return the outputs a person may want to correct."""
        found = self.outbox.rglob("*.txt") if self.outbox_there else ()
        return sorted(p for p in found if p not in self.edited and not p.name.endswith(".error.txt"))

    # Recordings

    def _text(self, kind: str) -> str:
        number = next(self._number)
        lines = [f"Recording {number}, sentence {line}." for line in range(12 if kind == "long" else 3)]
        orders = {"bad": "!fail recording no-audio", "crash": "!crash", "crash once": "!until 1 !crash"}
        if kind in orders:
            lines[1] = orders[kind]
        if kind == "stereo":
            lines[0] = f"Stereo {number}."
        return "" if kind == "empty" else "\n".join(lines)

    def create(self, name: str, kind: str) -> None:
        """Write a new recording, or over one that is there."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = self._text(kind)
        self._takes(name)
        path.write_text(text)
        self._mine[name] = text.encode()

    # The daemon may let a file leave before what follows comes to it: then nothing happens.

    def append(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), (self.inbox / name).open("r+b") as file:
            old = file.read()
            self._takes(name)
            more = f"\nAnd more: {next(self._number)}.".encode()
            file.write(more)
            self._mine[name] = old + more

    def replace(self, name: str, kind: str) -> None:
        """Put another recording in the place of one, at one stroke."""
        new, text = self.folder / "new", self._text(kind)
        new.write_text(text)
        self._takes(name)
        new.replace(self.inbox / name)
        self._mine[name] = text.encode()

    def rename(self, name: str, other: str) -> None:
        (self.inbox / other).parent.mkdir(parents=True, exist_ok=True)
        self._takes(other)
        with contextlib.suppress(FileNotFoundError):
            (self.inbox / name).rename(self.inbox / other)
            data = (self.inbox / other).read_bytes()
            self._mine.pop(name, None)
            self._mine[other] = data

    def delete(self, name: str) -> None:
        self._takes(name)
        (self.inbox / name).unlink(missing_ok=True)

    def duplicate(self, name: str, other: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            data = (self.inbox / name).read_bytes()
            if name != other:
                (self.inbox / other).parent.mkdir(parents=True, exist_ok=True)
                self._takes(other)
                (self.inbox / other).write_bytes(data)
                self._mine[other] = data

    def touch(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.inbox / name)

    # Profiles and what is asked for again

    def write_profile(self, text: str) -> None:
        """Put a profile over all recordings, or take it away."""
        path = self.inbox / PROFILE
        path.write_text(text) if text else path.unlink(missing_ok=True)

    def redo(self, *, stale: bool) -> None:
        """Ask for all recordings again, or for those whose settings have changed."""
        new = self.state / "requests" / "new"
        new.parent.mkdir(exist_ok=True, parents=True)
        new.write_text(json.dumps({"redo": None, "stale": stale}))
        new.rename(new.with_name(f"{next(self._number)}.json"))
        self.disturbances += 2  # one that crashes is begun again at its last attempt, too

    def quiet(self) -> bool:
        """Return also whether every request was acted on, and every profile that was wrong was read again.

        And whether every hook has run, and every source that may leave has left.
        """
        requests = self.state / "requests"
        if requests.exists() and any(p.suffix == ".json" for p in requests.iterdir()):
            return False
        if not super().quiet() or any(row.code == profiles.WRONG for row in self.rows()):
            return False
        with Journal(self.state / "journal.sqlite3", readonly=True) as journal:
            return not (journal.sources.list_due(limit=1) or journal.hooks.list_due(*HookWay, limit=1))

    # Folders and disks

    def take_inbox(self) -> None:
        self.inbox.rename(self.folder / "in away")

    def bring_inbox(self) -> None:
        (self.folder / "in away").rename(self.inbox)

    def take_outbox(self) -> None:
        self.outbox.rename(self.disk / "out away")

    def bring_outbox(self) -> None:
        (self.disk / "out away").rename(self.outbox)

    def fill_disk(self) -> None:
        self.fill()
        self.full = True

    def free_disk(self) -> None:
        self.free()
        self.full = False

    def edit(self, path: Path) -> None:
        """Correct a text, as an editor does: a new file in the place of the old one."""
        data = path.read_bytes() + b"Corrected by hand.\n"
        new = self.disk / "corrected"
        try:
            new.write_bytes(data)
        except OSError:  # no room
            new.unlink()
            return
        new.replace(path)
        self.edited[path] = data

    # The daemon

    def live(self) -> None:
        self.start()

    def leave_or_keep(self) -> None:
        """Change the setting `after`, which takes a new start."""
        new = "keep" if self.environ["DROPSCRIBE_AFTER"] == self.after else self.after
        self.environ["DROPSCRIBE_AFTER"] = new
        if self.living:
            self.stop()
            self.live()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._no_orphans()

    def stop(self) -> None:
        code = self.signal(signal.SIGTERM)
        assert code == 0, f"SIGTERM gave {code}\n{self.evidence()}"
        self._no_orphans()

    def _no_orphans(self) -> None:
        workers = [e["pid"] for e in self.events("worker.started")]
        self.until(lambda: not any(map(alive, workers)))

    def kill_worker(self) -> None:
        """Kill the engine's process, as a system without memory does."""
        pids = [e["pid"] for e in self.events("worker.started")][-1:]
        for pid in filter(alive, pids):
            if Path(f"/proc/{pid}/cmdline").read_bytes().count(b"fake_worker.py"):
                os.kill(pid, signal.SIGKILL)
                self.disturbances += 1

    def pause(self) -> None:
        assert self.command("pause").returncode == 0
        self.paused = True
        self.disturbances += 1

    def resume(self) -> None:
        assert self.command("resume").returncode == (0 if self.living else 3)
        self.paused = False

    def lose_journal(self, how: str) -> None:
        """Damage or remove the journal, and start: what the outbox holds is all that is known any more."""
        path = self.state / "journal.sqlite3"
        if not path.exists():
            return
        match how:
            case "gone":
                path.unlink()
            case "cut":
                os.truncate(path, path.stat().st_size // 2)
            case _:
                path.write_bytes(os.urandom(path.stat().st_size))
        self.disturbances += 1
        self._look()
        self._known, self._forgotten = len(self._left), len(self.events("job.done", "job.failed"))
        self.live()

    # In the end

    def mend(self) -> None:
        """Bring back what was taken away and have the daemon live."""
        self.free_disk()
        for taken, bring in ((self.inbox_there, self.bring_inbox), (self.outbox_there, self.bring_outbox)):
            if not taken:
                bring()
        self.write_profile("")
        if self.paused:
            self.resume()
        if not self.living:
            self.live()

    def check(self) -> None:
        """Mend everything, wait until all is quiet, and hold the world to its promise."""
        self.mend()
        self.settle()
        self._look()
        broken = [*self.broken(), *self._astray(), *self._find_missed_hooks()]
        assert not broken, "\n".join([*broken, self.evidence()])
        self._no_orphans_but_one()

    def _astray(self) -> Iterator[str]:
        """Yield what is wrong about recordings that left: each is where it belongs, once, and has its outputs."""
        yield from (f"hidden {p}" for p in self.inbox.rglob(f"{source_moves.HIDDEN}*"))
        for name, data in self._mine.items():
            if (self.inbox / name).read_bytes() != data:
                yield f"{name!r} is not as it was put there"
        places = (self.folder / "Archive", self.folder / "data/Trash/files")
        kept = collections.Counter(p.read_bytes() for place in places for p in place.rglob("*") if p.is_file())
        least = collections.Counter(data for _, data in self._left if self.after != "delete")
        most = least + collections.Counter(self._perhaps)
        for data in kept.keys() | least.keys():
            if not least[data] <= kept[data] <= most[data]:
                yield f"{data[:40]!r} was kept {kept[data]} times, of {least[data]} to {most[data]}"
        made = {}
        for path in self.outbox.rglob("*.json"):
            transcript = json.loads(path.read_bytes())
            made[transcript["source"]["path"], transcript["source"]["sha256"]] = transcript["text"]
        for name, data in self._left[self._known :]:
            text = made.get((name, hashlib.sha256(data).hexdigest()))
            if fails(data) or text != " ".join(data.decode().splitlines()):
                yield f"{name!r} left, and its text is {text!r}"

    def _find_missed_hooks(self) -> Iterator[str]:
        """Yield what is wrong about hooks: each was run for each recording, twice as its first time fails."""
        if not self._hooks.exists():
            return
        runs = collections.Counter(self._hooks.with_name("hook.sh.ran").read_text().splitlines())
        runs_of = collections.Counter(tuple(line.split(" ", 2)[::2]) for line in runs)
        events = self.events("job.done", "job.failed")[self._forgotten :]
        for (event, file), times in collections.Counter((e["event"][4:], e["file"]) for e in events).items():
            if runs_of[event, file] < times:
                yield f"{file!r} was {event} {times} times, of which {runs_of[event, file]} were reported"
        for line, times in runs.items():
            if not 2 <= times <= 2 + self.disturbances and not self._forgotten:
                yield f"{line!r} was reported {times} times"

    def _no_orphans_but_one(self) -> None:
        workers = [e["pid"] for e in self.events("worker.started")]
        self.until(lambda: sum(map(alive, workers)) <= 1)

    def may(self) -> dict[str, Callable[..., None]]:
        """Return what could happen now, by name."""
        found: dict[str, Callable[..., None]] = {}
        if self.inbox_there:
            found |= {"create": self.create, "take_inbox": self.take_inbox, "write_profile": self.write_profile}
            if self.files():
                for made in (self.append, self.replace, self.rename, self.delete, self.duplicate, self.touch):
                    found[made.__name__] = made
        else:
            found["bring_inbox"] = self.bring_inbox
        if self.outbox_there:
            found["take_outbox"] = self.take_outbox
            if self.texts():
                found["edit"] = self.edit
        else:
            found["bring_outbox"] = self.bring_outbox
        if self.mounted:
            found |= {"free_disk": self.free_disk} if self.full else {"fill_disk": self.fill_disk}
        found |= {"resume": self.resume} if self.paused else {"pause": self.pause}
        found["redo"] = self.redo
        if self.living:
            found |= {"kill": self.kill, "stop": self.stop, "kill_worker": self.kill_worker}
            found["leave_or_keep"] = self.leave_or_keep
        else:
            found["live"] = self.live
            if self.outbox_there and self.inbox_there:
                found["lose_journal"] = self.lose_journal
        return found
