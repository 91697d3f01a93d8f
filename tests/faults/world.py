"""A daemon process, its folders, what may happen to them, and what must be true all the same.

`World` is what the tests of faults, the state machine and the soak have in common. The daemon is a real process
(daemon.py), its folders are real ones, its outbox is where possible on a disk of its own that can be filled.

The one promise, checked by `World.broken`: every recording in the inbox has exactly one complete set of outputs, made
from the content it has now, or exactly one record of its failure.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
import unicodedata
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import jsonschema

from dropscribe import formats
from dropscribe.supervisor import outbox
from dropscribe.supervisor.failures import ATTEMPTS
from dropscribe.supervisor.journal import Journal, Recording, State
from dropscribe.supervisor.names import OLD, failure_path
from dropscribe.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VALIDATOR = jsonschema.Draft202012Validator(json.loads((ROOT / "config/transcript.schema.json").read_text()))
PATIENCE = 120.0
"""Seconds after which waiting is given up; far more than a noisy machine needs."""
FAST = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
"""A folder in memory, for tests of order and loss: forcing thousands of files to a disk takes minutes."""
SUFFIXES = ("json", "srt", "txt", "vtt")


class NeverCameError(AssertionError):
    """Something that had to become true did not."""


class World:
    """One inbox, one outbox, one daemon that may be killed and started again."""

    def __init__(self, folder: Path, *, disk_bytes: int = 0, **environ: str) -> None:
        """Make the folders; the daemon is not started.

        Args:
            folder: an empty folder for all of it.
            disk_bytes: put the outbox on a disk of this size, where this process may mount one.
            environ: more variables for the daemon, and for its worker.
        """
        self.folder = folder
        self.inbox, self.disk, self.state = folder / "in", folder / "disk", folder / "state"
        self.outbox, self.logs, self.gates = self.disk / "out", folder / "logs", folder / "gates"
        for made in (self.inbox, self.disk, self.gates):
            made.mkdir(parents=True)
        self.mounted = bool(disk_bytes) and mount(self.disk, disk_bytes)
        self.outbox.mkdir()
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("DROPSCRIBE_")} | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "DROPSCRIBE_INBOX": str(self.inbox),
            "DROPSCRIBE_OUTBOX": str(self.outbox),
            "DROPSCRIBE_STATE": str(self.state),
            "DROPSCRIBE_LOGS": str(self.logs),
            "DROPSCRIBE_MODEL": "fake",
            "DROPSCRIBE_FORMATS": ",".join(SUFFIXES),
            "DROPSCRIBE_SETTLE_SECONDS": "0.1",
            "DROPSCRIBE_SCAN_SECONDS": "1",
            "DROPSCRIBE_LOG_MEGABYTES": "1000",
            "FAKE_COUNTS": str(folder / "counts"),
            "FAKE_GATES": str(self.gates),
            "FAKE_WORK": str(folder / "work.jsonl"),
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.edited: dict[Path, bytes] = {}
        """Outputs that a person has changed, and what they must still hold."""
        self.disturbances = 0
        """What may each have cost one window of work: kills, stops, pauses, full disks."""

    # The daemon

    def spawn(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start the daemon and do not wait for it."""
        with (self.folder / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "daemon.py"), "--backoff", "0.1", "0.5", *arguments],
                env=self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        return self.process

    def start(self, *arguments: str, **environ: str) -> None:
        """Start the daemon and wait until it looks after its inbox."""
        before = len(self.events("daemon.started"))
        self.spawn(*arguments, **environ)
        self.until(lambda: len(self.events("daemon.started")) > before)

    def start_with_one_done(self) -> None:
        """Start the daemon; `one.wav` is transcribed."""
        self.start()
        self.drop("one.wav", "One.")
        self.settle()

    def signal(self, number: int) -> int:
        """Send a signal that ends the daemon; return how it ended."""
        assert self.process is not None
        self.disturbances += 1
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def close(self) -> None:
        """End what still runs and take the disk away."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.mounted:
            unmount(self.disk)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `dropscribe …` on this world."""
        environ = self.environ | {"PYTHONPATH": str(ROOT / "daemon")}
        return subprocess.run(
            [sys.executable, "-m", "dropscribe", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def resident(self) -> int:
        """Return the daemon's resident memory in bytes."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    # What happens to the folders

    def drop(self, name: str, *lines: str) -> Path:
        """Write a recording; each line is a window of the worker that fails on demand."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def fill(self) -> None:
        """Fill the outbox's disk to the last byte."""
        fill(self.disk)

    def free(self) -> None:
        """Give the space back."""
        (self.disk / "filler").unlink(missing_ok=True)

    def open_gate(self, name: str) -> None:
        """Let recordings go on that wait at `!gate NAME`."""
        (self.gates / name).touch()

    # What is to be seen

    def until(self, holds: Callable[[], object], *, running: bool = True) -> None:
        """Wait for something to become true; fail with the log when it does not, or when the daemon ends."""
        limit = time.monotonic() + PATIENCE
        while not holds():
            ended = running and self.process is not None and self.process.poll() is not None
            if ended or time.monotonic() > limit:
                how = f"the daemon ended with {self.process.returncode}" if ended and self.process else "too late"
                raise NeverCameError(f"it never came: {how}\n{self.evidence()}")
            time.sleep(0.05)  # a look at the journal keeps the daemon from writing it

    def until_done(self, number: int) -> int:
        """Wait until so many recordings are done, however long it takes; return the most memory meanwhile.

        Patience is for the next one, not for all of them. Only the log is read: looking at the journal costs time.
        """
        done = most = 0
        limit = time.monotonic() + PATIENCE
        with (self.logs / "dropscribe.jsonl").open("rb") as log:
            while done < number:
                found = log.read().count(b'"event": "job.done"')
                done += found
                limit = time.monotonic() + PATIENCE if found else limit
                most = max(most, self.resident())
                if time.monotonic() > limit:
                    raise NeverCameError(f"{done} of {number} were done\n{self.evidence()}")
                time.sleep(0.05)
        return most

    def evidence(self) -> str:
        """Return what a person needs to find out what went wrong."""
        rows = [f"{r.path!r} {r.state} {r.code} {r.size} {r.mtime_ns} {r.attempts} {r.base!r}" for r in self.rows()]
        files = [f"{p.relative_to(self.folder)} {p.lstat().st_size}" for p in sorted(self.folder.rglob("*"))]
        log = self.log().splitlines()[-40:]
        said = (self.folder / "stderr").read_text(errors="replace")[-3000:]
        return "\n".join(["journal:", *rows, "files:", *files, "log:", *log, "stderr:", said])

    def log(self) -> str:
        path = self.logs / "dropscribe.jsonl"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return what the log says, without a line that is being written."""
        found = []
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if not names or event["event"] in names:
                    found.append(event)
        return found

    def rows(self) -> list[Recording]:
        """Return the journal's rows; none when it cannot be read at this moment."""
        try:
            journal = Journal(self.state / "journal.sqlite3", readonly=True)
        except sqlite3.Error:
            return []
        try:
            return journal.recordings.list_in(*State)
        except sqlite3.Error:
            return []
        finally:
            journal.close()

    def row(self, name: str) -> Recording:
        """Return the journal's row for a recording by its path in the inbox."""
        return next(row for row in self.rows() if row.path == os.fsencode(name))

    def present(self) -> dict[str, os.stat_result]:
        """Return the recordings that are in the inbox now, by path relative to it."""
        found = {}
        for folder, _, names in os.walk(self.inbox):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 (os.walk gives strings)
                if name.endswith((".wav", ".mp3", ".flac")) and not name.startswith((".", "~")):
                    with contextlib.suppress(FileNotFoundError):
                        found[os.path.relpath(path, self.inbox)] = os.lstat(path)
        return found

    def quiet(self) -> bool:
        """Return whether the journal knows every recording as it is now, and nothing is on its way."""
        rows = self.rows()
        if any(row.state not in {State.DONE, State.FAILED, State.GONE} for row in rows):
            return False
        known = {row.path: (row.size, row.mtime_ns) for row in rows if row.state != State.GONE}
        return all(known.get(os.fsencode(n)) == (s.st_size, s.st_mtime_ns) for n, s in self.present().items())

    def settle(self) -> None:
        """Wait until nothing is left to do."""
        self.until(self.quiet)

    def work(self) -> list[tuple[str, int, str]]:
        """Return every window the worker did: path, number, digest of the recording."""
        path = self.folder / "work.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(made[0], made[1], made[2]) for made in map(json.loads, lines)]

    def claimed(self, name: str) -> int:
        """Return how often a recording was given to a worker."""
        return [e["file"] for e in self.events("job.claimed")].count(name)

    def outputs(self) -> list[str]:
        """Return every file in the outbox."""
        return sorted(str(p.relative_to(self.outbox)) for p in self.outbox.rglob("*") if p.is_file())

    # The promise

    def broken(self) -> list[str]:
        """Return what breaks the promise, a sentence each; to be asked when all is quiet."""
        found = [f"temporary file {p}" for p in self.outbox.rglob(outbox.TEMPORARY + "*")]
        found += [f"edited {p} was changed" for p, data in self.edited.items() if _read(p) != data]
        said = (self.folder / "stderr").read_text(errors="replace")
        found += [said[said.index("Traceback") :]] if "Traceback" in said else []
        claims: dict[str, list[Path]] = {}
        for path in self.outbox.rglob("*.json"):
            if path in self.edited or path.relative_to(self.outbox).parts[0] == OLD:
                continue
            made = json.loads(path.read_text(encoding="utf-8"))
            claims.setdefault(made["source"]["path"], []).append(path)
            found += [f"{path}: {error.message}" for error in VALIDATOR.iter_errors(made)]
        for name in self.present():
            found += [f"{name!r}: {what}" for what in self._broken(name, claims.get(readable(name), []))]
        # A worker that opens a file just when another takes its place has worked on that one too early.
        often = 1 + self.disturbances + len(self.events("job.superseded"))
        often += any(e["attempt"] == ATTEMPTS for e in self.events("job.claimed"))  # the last one begins again
        done = collections.Counter(self.work())
        found += [f"{window} was done {times} times" for window, times in done.items() if times > often]
        return found

    def _broken(self, name: str, claims: Sequence[Path]) -> Iterator[str]:
        """Yield what is wrong about one recording, given the transcripts that say they are made from it."""
        data = (self.inbox / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        sets = [p for p in claims if json.loads(p.read_bytes())["source"]["sha256"] == digest]
        record = (self.outbox / failure_path(PurePath(name))).exists()
        if fails(data):
            if not record or sets:
                yield f"it fails and has a record: {record}, sets: {sets}"
            return
        if record or len(claims) != 1 or sets != claims:
            yield f"it has a record: {record}, sets: {sets}, of older content: {set(claims) - set(sets)}"
        for path in sets:
            transcript = Transcript.from_json(path.read_bytes())
            if transcript.text != " ".join(data.decode("utf-8", "replace").splitlines()):
                yield f"its text is {transcript.text!r}"
            chosen = transcript.engine.options["channels"]
            names = chosen if isinstance(chosen, list) and chosen else ["Speaker 1", "Speaker 2"]
            spoke = [segment.speaker for segment in transcript.segments]
            if any(spoke) and (transcript.source.channels, spoke) != (2, (names * len(spoke))[: len(spoke)]):
                yield f"its speakers are {spoke}"
            if any(spoke) != data.startswith(b"Stereo"):
                yield f"it has {transcript.source.channels} channels, its speakers are {spoke}"
            for suffix in set(SUFFIXES) - {"json"}:
                text = formats.RENDERERS[suffix](transcript).encode("utf-8", "replace")
                whole = [p for p in _list_versions(path, suffix) if p not in self.edited and p.read_bytes() == text]
                left_alone = [p for p in _list_versions(path, suffix) if p in self.edited]
                if len(whole) > 1 or not (whole or left_alone):
                    yield f"{path.stem}.{suffix} is there {len(whole)} times"


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _list_versions(path: Path, suffix: str) -> list[Path]:
    """Return the files of a set that have one suffix: the one with its own name, and any next to it."""
    stem = path.stem.removesuffix(" (2)")
    names = [f"{stem}.{suffix}", *(f"{stem} ({n}).{suffix}" for n in range(2, 10))]
    return [path.with_name(n) for n in names if path.with_name(n).exists()]


def four(*bases: str) -> list[str]:
    """Return the files of whole sets."""
    return sorted(f"{base}.{suffix}" for base in bases for suffix in SUFFIXES)


def fails(data: bytes) -> bool:
    """Return whether a recording of this content must end in a record of its failure."""
    return any(line.startswith((b"!fail", b"!crash")) for line in data.splitlines())


def readable(name: str) -> str:
    """Return a name as the outputs write it."""
    return os.fsencode(name).decode("utf-8", "replace")


def composed(name: str) -> str:
    """Return a name in NFC."""
    return unicodedata.normalize("NFC", name)


def mount(folder: Path, size: int) -> bool:
    """Put a small disk of its own at a folder; returns whether this process may."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "dropscribe-test", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def unmount(folder: Path) -> None:
    """Take a disk away again, whoever uses it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Fill a disk to the last byte."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    if sys.platform != "linux":
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return True
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
