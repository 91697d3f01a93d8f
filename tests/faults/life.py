"""Everything that may happen to a daemon and its folders, a method each, for the state machine and the soak.

A method does nothing that would be impossible (there is no file to delete, the inbox is away): `may` says which of
them do something now.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe import profiles
from dropscribe.inbox import PROFILE
from faults.world import World, alive

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("a.wav", "a.mp3", "b.wav", "-b.wav", "c d.flac", "Caf\u00e9.wav", "sub/a.wav", "sub/b.mp3", "sub/deep/e.wav")
PROFILES = ("", 'language = "fi"', 'prompt = "Words."', "wrong = 1", 'formats = ["txt", "srt", "vtt", "md"]')
KINDS = ("good", "good", "good", "long", "bad", "crash", "crash once", "empty")


class Life(World):
    """A world in which anything may happen."""

    def __init__(self, folder: Path) -> None:
        """Make the folders; the outbox lies on a disk that can be filled, where that is possible."""
        super().__init__(folder, disk_bytes=16 << 20)
        self._number = itertools.count()
        self.paused = self.full = False

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
        return sorted(self.present()) if self.inbox_there else []

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
        return "" if kind == "empty" else "\n".join(lines)

    def create(self, name: str, kind: str) -> None:
        """Write a new recording, or over one that is there."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._text(kind))

    def append(self, name: str) -> None:
        with (self.inbox / name).open("a") as file:
            file.write(f"\nAnd more: {next(self._number)}.")

    def replace(self, name: str, kind: str) -> None:
        """Put another recording in the place of one, at one stroke."""
        new = self.folder / "new"
        new.write_text(self._text(kind))
        new.replace(self.inbox / name)

    def rename(self, name: str, other: str) -> None:
        (self.inbox / other).parent.mkdir(parents=True, exist_ok=True)
        (self.inbox / name).rename(self.inbox / other)

    def delete(self, name: str) -> None:
        (self.inbox / name).unlink()

    def duplicate(self, name: str, other: str) -> None:
        if name != other:
            (self.inbox / other).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.inbox / name, self.inbox / other)

    def touch(self, name: str) -> None:
        (self.inbox / name).touch()

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
        self.disturbances += 2  # one that crashes is begun anew at its last attempt, too

    def quiet(self) -> bool:
        """Return also whether all was taken up that was asked for, and that failed because of a profile."""
        requests = self.state / "requests"
        if requests.exists() and any(p.suffix == ".json" for p in requests.iterdir()):
            return False
        return super().quiet() and all(row.code != profiles.WRONG for row in self.rows())

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
        """Damage or remove the journal, and start: what the outbox tells is all that is known any more."""
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
        broken = self.broken()
        assert not broken, "\n".join([*broken, self.evidence()])
        self._no_orphans_but_one()

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
        else:
            found["live"] = self.live
            if self.outbox_there and self.inbox_there:
                found["lose_journal"] = self.lose_journal
        return found
