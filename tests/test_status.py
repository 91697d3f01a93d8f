"""The status report and the answer about one file, as values."""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from dropscribe import settings
from dropscribe.cli import commands, requests
from dropscribe.errors import UsageError
from dropscribe.supervisor import lookup
from dropscribe.supervisor.explanation import Explanation, explain
from dropscribe.supervisor.journal import FILE_NAME, InboxFile, Journal
from dropscribe.supervisor.locks import Locks
from dropscribe.supervisor.status import OutageNote, StatusReport, read_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TALK = PurePath("talk.wav")


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """The settings of an empty home, which the commands also read."""
    for name in [name for name in os.environ if name.startswith(("DROPSCRIBE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = settings.load().settings
    loaded.inbox.mkdir(parents=True)
    loaded.state.mkdir(parents=True)
    return loaded


@pytest.fixture
def journal(chosen: settings.Settings) -> Iterator[Journal]:
    """A journal with one recording in its queue."""
    with Journal(chosen.state / FILE_NAME) as journal:
        (chosen.inbox / TALK).write_bytes(b"x")
        file = InboxFile(lookup.open_inbox(chosen).key(TALK), TALK, 1, 1)
        assert journal.enqueue(file, "aa", time.time() - 10)
        yield journal


@pytest.fixture
def daemon(chosen: settings.Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The locks of a running daemon."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    locks = Locks(chosen.state, chosen.inbox)
    yield
    locks.release()


def open_files() -> list[tuple[int, int]]:
    """Return device and inode of every file that this process has open."""
    found = []
    for path in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):
            stat = os.fstat(int(path.name))
            found.append((stat.st_dev, stat.st_ino))
    return found


def test_before_the_first_run_a_report_has_the_settings_and_nothing_else(chosen: settings.Settings) -> None:
    assert read_status(chosen) == StatusReport(
        running=False, paused=False, inbox=str(chosen.inbox), outbox=str(chosen.outbox), model="auto"
    )


def test_a_recording_that_a_killed_daemon_worked_on_counts_as_queued(
    chosen: settings.Settings, journal: Journal
) -> None:
    assert journal.claim("settings", time.time())
    report = read_status(chosen)
    assert (report.counts["queued"], report.counts["running"], report.current) == (1, 0, None)


def test_transcripts_of_uncertain_language_are_counted_and_why_tells_of_each(
    chosen: settings.Settings, journal: Journal
) -> None:
    recording = journal.claim("settings", time.time())
    assert recording is not None
    journal.finish(recording.id, [], time.time(), doubt=("language-uncertain", "Latin, or Portuguese."))
    assert read_status(chosen).language_uncertain == 1
    assert explain(chosen, chosen.inbox / TALK).reason.endswith("Latin, or Portuguese.")
    journal.finish(recording.id, [], time.time())  # made anew, with the language set
    assert read_status(chosen).language_uncertain == 0


@pytest.mark.usefixtures("daemon")
def test_the_time_left_follows_from_the_speed_so_far(chosen: settings.Settings, journal: Journal) -> None:
    recording = journal.claim("settings", time.time() - 30)
    assert recording is not None
    journal.set_meta(phase="decoding")
    current = read_status(chosen).current
    assert current is not None
    assert (current.file, current.phase, current.percent, current.eta_s) == ("talk.wav", "decoding", None, None)
    journal.set_meta(phase="transcribing")
    journal.save_checkpoint(recording, 1, {}, 15.0, 60.0)
    current = read_status(chosen).current
    assert current is not None
    assert (current.percent, current.audio_s, current.attempt) == (25.0, 60.0, 1)
    assert current.eta_s == pytest.approx(90, abs=15)


@pytest.mark.usefixtures("daemon")
def test_what_the_daemon_waits_for_is_in_the_report_and_in_the_answer(
    chosen: settings.Settings, journal: Journal
) -> None:
    journal.set_meta(trouble='{"code": "disk-full", "reason": "The disk is full.", "since": 5.0}')
    assert read_status(chosen).trouble == OutageNote("disk-full", "The disk is full.", 5.0)
    assert explain(chosen, chosen.inbox / TALK) == Explanation(
        "queued", "It waits in the queue; 0 come before it. The daemon waits: The disk is full."
    )


@pytest.mark.parametrize(
    "refuse",
    [
        partial(requests.retry, commands.Retry([Path("talk.wav")], all=False)),
        partial(requests.redo, commands.Redo([Path("talk.wav")], stale=False)),
        partial(requests.redo, commands.Redo([Path("never.wav")], stale=True)),
    ],
)
def test_a_command_that_refuses_leaves_the_journal_closed(
    chosen: settings.Settings, journal: Journal, refuse: Callable[[], int]
) -> None:
    journal.close()
    found = (chosen.state / FILE_NAME).stat()
    with pytest.raises(UsageError) as error:
        refuse()
    assert (found.st_dev, found.st_ino) not in open_files()
    assert error.tb is not None  # which keeps alive whatever the command has not closed


def test_why_counts_the_one_in_progress(chosen: settings.Settings, journal: Journal) -> None:
    claimed = journal.claim("settings", time.time())
    assert claimed is not None
    (chosen.inbox / "later.wav").write_bytes(b"y")
    file = InboxFile(lookup.open_inbox(chosen).key("later.wav"), PurePath("later.wav"), 1, 1)
    assert journal.enqueue(file, "bb", time.time() - 5)
    found = explain(chosen, chosen.inbox / "later.wav")
    assert found.reason.startswith("It waits in the queue; 1 comes before it.")
