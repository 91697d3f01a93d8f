"""The journal: each transition, what a reader sees, and two names for one file."""

from __future__ import annotations

import sqlite3
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from dropscribe.supervisor.inbox import Inbox
from dropscribe.supervisor.journal import (
    HookWay,
    InboxFile,
    Journal,
    JournalError,
    LeavingState,
    NewHook,
    Recording,
    State,
)
from dropscribe.supervisor.outbox import Published

if TYPE_CHECKING:
    from collections.abc import Iterator

TALK, COPY = PurePath("a/talk.m4a"), PurePath("copy.wav")
key = Inbox(Path("/nowhere"), recursive=True, exclude=Path("/nowhere")).key


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite3")
    yield made
    made.close()


def queued(journal: Journal, name: PurePath = TALK, sha256: str = "aa", now: float = 1.0) -> Recording:
    assert journal.enqueue(InboxFile(key(name), name, 10, 20), sha256, now)
    return found(journal, name)


def found(journal: Journal, name: PurePath = TALK) -> Recording:
    recording = journal.recordings.find(key(name))
    assert recording is not None
    return recording


def claimed(journal: Journal, now: float = 2.0) -> Recording:
    recording = journal.claim("settings", now)
    assert recording is not None
    return recording


def test_work_that_is_planned_anew_keeps_the_windows_before(journal: Journal) -> None:
    queued(journal)
    recording = claimed(journal)
    for part in range(4):
        journal.save_checkpoint(recording, part, {"part": part}, 0.0, 60.0)
    journal.results.drop_checkpoints("aa:settings", after=2)
    assert journal.results.list_checkpoints("aa:settings") == [{"part": 0}, {"part": 1}, {"part": 2}]
    journal.results.drop_checkpoints("aa:settings")
    assert journal.results.list_checkpoints("aa:settings") == []


def test_a_recording_takes_every_step_to_done(journal: Journal) -> None:
    queued(journal)
    recording = claimed(journal)
    assert (recording.state, recording.attempts, recording.result) == (State.RUNNING, 1, "aa:settings")
    journal.save_checkpoint(recording, 0, {"plan": 1}, 0.0, 60.0)
    journal.save_checkpoint(recording, 1, {"window": 1}, 30.0, 60.0)
    assert journal.results.list_checkpoints("aa:settings") == [{"plan": 1}, {"window": 1}]
    assert (found(journal).done_s, found(journal).audio_s) == (30.0, 60.0)
    journal.store_result(recording, '{"text": "ä"}', 12.5, 3.0)
    assert journal.results.find("aa:settings") == '{"text": "ä"}'
    assert journal.results.list_checkpoints("aa:settings") == []
    assert found(journal).state == State.PUBLISHING
    assert journal.outputs.choose_base(found(journal)) == "a/talk"
    journal.finish(
        recording.id, [Published("a/talk.json", "d1"), Published("a/talk (2).txt", "d2", "a/talk.txt")], 4.0
    )
    assert found(journal).state == State.DONE
    assert journal.outputs.list_digests(recording.id) == {"a/talk.json": "d1", "a/talk (2).txt": "d2"}
    assert journal.outputs.list_displaced(recording.id) == {"a/talk (2).txt": "a/talk.txt"}
    assert journal.recordings.count_by_state()[State.DONE] == 1


def test_the_queue_is_first_come_first_served(journal: Journal) -> None:
    for number, name in enumerate(("c.wav", "a.wav", "b.wav")):
        queued(journal, PurePath(name), sha256=name, now=float(number))
    assert [str(claimed(journal).name) for _ in range(3)] == ["c.wav", "a.wav", "b.wav"]
    assert journal.claim("settings", 9.0) is None


def test_an_interruption_does_not_count_and_a_failure_does(journal: Journal) -> None:
    queued(journal, PurePath("first.wav"), "f", now=1.0)
    queued(journal, PurePath("second.wav"), "s", now=2.0)
    journal.recordings.release(claimed(journal).id)
    again = claimed(journal)
    assert (str(again.name), again.attempts) == ("first.wav", 1)
    journal.recordings.release(again.id, "worker-died", "It died.", at_end=5.0)
    assert str(claimed(journal).name) == "second.wav"
    last = claimed(journal)
    assert (str(last.name), last.attempts, last.reason) == ("first.wav", 2, "It died.")


def test_what_was_running_when_all_stopped_is_queued_again(journal: Journal) -> None:
    queued(journal)
    claimed(journal)
    assert journal.recordings.release_all() == 1
    assert (found(journal).state, found(journal).attempts) == (State.QUEUED, 0)
    assert journal.recordings.release_all() == 0


def test_a_failure_and_a_retry(journal: Journal) -> None:
    queued(journal)
    recording = claimed(journal)
    journal.fail(recording.id, "no-audio", "It has no sound.", Published("_failed/a/talk.m4a.error.txt", "dd"), 3.0)
    failed = found(journal)
    assert (failed.state, failed.code, failed.reason) == (State.FAILED, "no-audio", "It has no sound.")
    journal.recordings.retry(recording.id, 4.0)
    assert (found(journal).state, found(journal).attempts, found(journal).reason) == (State.QUEUED, 0, "")


def test_the_same_content_again_is_no_new_work_and_other_content_is(journal: Journal) -> None:
    recording = queued(journal)
    journal.finish(recording.id, [], 2.0)
    assert not journal.enqueue(InboxFile(key(TALK), TALK, 10, 99), "aa", 3.0)
    assert (found(journal).state, found(journal).mtime_ns) == (State.DONE, 99)
    assert journal.enqueue(InboxFile(key(TALK), TALK, 11, 100), "bb", 4.0)
    assert (found(journal).state, found(journal).id) == (State.QUEUED, recording.id)


def test_a_file_that_left_and_came_back_is_new_work(journal: Journal) -> None:
    queued(journal)
    journal.recordings.mark_gone([key(TALK)], 2.0)
    assert found(journal).state == State.GONE
    assert journal.enqueue(InboxFile(key(TALK), TALK, 10, 20), "aa", 3.0)
    assert found(journal).state == State.QUEUED


def test_leaving_does_not_touch_what_is_done(journal: Journal) -> None:
    journal.finish(queued(journal).id, [], 2.0)
    journal.recordings.mark_gone([key(TALK)], 3.0)
    assert found(journal).state == State.DONE


def test_a_file_that_cannot_be_read_is_reported_once(journal: Journal) -> None:
    assert journal.recordings.mark_waiting(InboxFile(key(TALK), TALK, 1, 2), "permission-denied", "No.", 1.0)
    assert not journal.recordings.mark_waiting(InboxFile(key(TALK), TALK, 1, 2), "permission-denied", "No.", 2.0)
    assert journal.recordings.mark_waiting(InboxFile(key(TALK), TALK, 1, 2), "unreadable", "Bad disk.", 3.0)
    assert journal.enqueue(InboxFile(key(TALK), TALK, 1, 2), "aa", 4.0)
    assert (found(journal).state, found(journal).reason) == (State.QUEUED, "")


def test_output_names_are_decided_once_and_never_shared(journal: Journal) -> None:
    names = ["a/talk.m4a", "a/talk.mp3", "a/Talk.wav", "a/talk.MP3", "b/talk.mp3"]
    made = [journal.outputs.choose_base(queued(journal, PurePath(n), sha256=n)) for n in names]
    assert made == ["a/talk", "a/talk.mp3", "a/Talk.wav", "a/talk.MP3 (2)", "b/talk"]
    assert [journal.outputs.choose_base(found(journal, PurePath(n))) for n in names] == made


def test_a_composed_and_a_decomposed_name_are_one_file(journal: Journal) -> None:
    queued(journal, PurePath("Caf\u00e9.m4a"))
    decomposed = PurePath("Cafe\u0301.m4a")
    assert not journal.enqueue(InboxFile(key(decomposed), decomposed, 10, 20), "aa", 2.0)
    assert str(found(journal, PurePath("Caf\u00e9.m4a")).name) == "Cafe\u0301.m4a"


def test_names_need_not_be_utf8(journal: Journal) -> None:
    name = PurePath("caf\udce9.m4a")
    recording = queued(journal, name)
    assert recording.name == name
    assert journal.outputs.choose_base(recording) == "caf\udce9"
    journal.finish(recording.id, [Published("caf\udce9.json", "d")], 2.0)
    assert journal.outputs.list_digests(recording.id) == {"caf\udce9.json": "d"}


def test_a_reader_sees_and_cannot_write(journal: Journal, tmp_path: Path) -> None:
    queued(journal)
    reader = Journal(tmp_path / "journal.sqlite3", readonly=True)
    assert [r.name for r in reader.recordings.list_in(State.QUEUED)] == [TALK]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.set_meta(x="1")
    reader.close()


def test_a_failed_transaction_leaves_nothing(journal: Journal) -> None:
    queued(journal)
    with pytest.raises(sqlite3.Error):
        journal.save_checkpoint(claimed(journal), None, {}, 0.0, 1.0)  # type: ignore[arg-type]
    assert found(journal).audio_s is None
    journal.set_meta(works="still")
    assert journal.get_meta("works") == "still"


def test_a_transaction_in_another_one_is_undone_with_it(journal: Journal) -> None:
    recording = queued(journal)

    def fail_halfway() -> None:
        with journal.transaction():
            journal.recordings.mark_done(recording.id, 2.0)
            journal.set_meta(model="base")
            raise RuntimeError("the end")

    with pytest.raises(RuntimeError, match="the end"):
        fail_halfway()
    assert (found(journal).state, journal.get_meta("model")) == (State.QUEUED, "")
    journal.set_meta(model="base")
    assert journal.get_meta("model") == "base"


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JournalError, match="newer version"):
        Journal(path)


def test_hooks_and_what_becomes_of_a_source(journal: Journal) -> None:
    number = queued(journal).id
    claimed(journal)
    journal.finish(
        number, [], 3.0, hooks=[NewHook(HookWay.ON_DONE, '{"a": 1}'), NewHook(HookWay.WEBHOOK, "{}")], after="archive"
    )
    assert journal.sources.list_due() == []  # its hooks come first
    first, second = journal.hooks.list_due(HookWay.ON_DONE, HookWay.WEBHOOK)
    journal.hooks.mark_succeeded(first.id)
    journal.hooks.mark_failed(second.id, "no", give_up=True)
    assert journal.hooks.list_due(HookWay.ON_DONE, HookWay.WEBHOOK) == []
    assert [h.problem for h in journal.hooks.list_given_up()] == ["no"]
    assert journal.sources.list_due() == []
    assert journal.hooks.retry(number) == 1
    assert journal.hooks.list_due(HookWay.WEBHOOK)[0].tries == 0
    assert journal.hooks.drop_all_but([HookWay.ON_DONE]) == 1
    (due,) = journal.sources.list_due()
    assert (due.way, due.state, due.place) == ("archive", "due", None)

    journal.sources.update(number, LeavingState.BEGUN, Path("/archive/caf\udce9.wav"))
    assert journal.sources.list_due()[0].place == Path("/archive/caf\udce9.wav")
    assert journal.sources.find_archived(number) is None
    journal.sources.update(number, LeavingState.MOVED, Path("/archive/caf\udce9.wav"))
    assert journal.sources.find_archived(number) == Path("/archive/caf\udce9.wav")
    assert list(journal.recordings.list_files()) == []
    journal.finish(number, [], 4.0, after="archive")  # asked for again
    assert journal.sources.list_due() == []

    # The same content under the same name again is a new recording.
    assert queued(journal, now=5.0).state == State.QUEUED
    assert journal.sources.find(number) is None
    assert len(list(journal.recordings.list_files())) == 1


def test_all_is_still_there_after_closing(journal: Journal, tmp_path: Path) -> None:
    queued(journal)
    journal.set_meta(model="base")
    journal.close()
    again = Journal(tmp_path / "journal.sqlite3")
    assert (again.get_meta("model"), found(again).state) == ("base", State.QUEUED)
    again.close()


def test_what_is_done_can_be_asked_for_again(journal: Journal) -> None:
    queued(journal)
    first = journal.claim("settings", 2.0, '{"model": "tiny"}')
    assert first is not None
    assert first.settings == '{"model": "tiny"}'
    journal.recordings.redo([(first.id, "too early")], 2.5, discard_results=True)
    assert (found(journal).state, found(journal).redo) == (State.RUNNING, "")
    journal.store_result(first, "{}", 1.0, 3.0)
    journal.finish(first.id, [Published("a/talk.json", "d1")], 4.0)

    journal.recordings.redo([(first.id, "the mark")], 5.0, discard_results=False)
    assert (found(journal).state, found(journal).redo) == (State.QUEUED, "the mark")
    assert claimed(journal, 6.0).result == "aa:settings"
    assert journal.results.find("aa:settings") == "{}"
    journal.recordings.release(first.id)
    journal.fail(first.id, "code", "reason", Published("_failed/x", "d"), 7.0)
    journal.recordings.redo([(first.id, "another")], 8.0, discard_results=True)
    assert (found(journal).redo, found(journal).attempts) == ("the mark", 0)
    assert claimed(journal, 9.0).discard_result
    assert journal.results.find("aa:settings") is None
    journal.finish(first.id, [], 10.0)
    assert (found(journal).state, found(journal).redo, found(journal).discard_result) == (State.DONE, "", False)


def test_what_leaves_before_it_is_done_again_stays_done(journal: Journal) -> None:
    for name in ("a.wav", "b.wav"):
        queued(journal, PurePath(name), sha256=name)
    journal.finish(claimed(journal).id, [], 3.0)
    journal.recordings.redo([(found(journal, PurePath("a.wav")).id, "mark")], 4.0, discard_results=True)
    assert journal.recordings.mark_gone([b"a.wav", b"b.wav"], 5.0) == {b"a.wav"}
    states = [(r.state, r.redo) for r in (found(journal, PurePath("a.wav")), found(journal, PurePath("b.wav")))]
    assert states == [(State.DONE, ""), (State.GONE, "")]


def test_another_content_that_leaves_before_it_is_done_is_not_done(journal: Journal) -> None:
    """Though it was to be done again before it was replaced: else it would be passed over when it comes back."""
    number = queued(journal).id
    journal.finish(claimed(journal).id, [], 3.0)
    journal.recordings.redo([(number, "mark")], 4.0, discard_results=True)
    queued(journal, sha256="bb", now=5.0)
    journal.recordings.release(claimed(journal, 6.0).id)
    assert journal.recordings.mark_gone([key(TALK)], 7.0) == set()
    assert (found(journal).state, found(journal).redo) == (State.GONE, "mark")
    assert queued(journal, sha256="bb", now=8.0).state == State.QUEUED
    journal.finish(claimed(journal, 9.0).id, [], 10.0)
    assert (found(journal).redo, found(journal).content_changed) == ("", False)


def test_what_cannot_be_read_and_leaves_before_it_is_done_again_is_not_done(journal: Journal) -> None:
    number = queued(journal).id
    journal.finish(claimed(journal).id, [], 3.0)
    journal.recordings.redo([(number, "mark")], 4.0, discard_results=True)
    journal.recordings.mark_waiting(InboxFile(key(TALK), TALK, 11, 21), "changing", "It is being changed.", 5.0)
    assert journal.recordings.mark_gone([key(TALK)], 6.0) == set()
    assert found(journal).state == State.GONE


@pytest.mark.parametrize(("missed", "redo"), [(True, "1970-01-01"), (False, "")])
def test_other_content_after_the_file_was_taken_away_is_another_recording(
    journal: Journal, missed: bool, redo: str
) -> None:
    """One that was changed in place is the same one still."""
    number = queued(journal).id
    journal.finish(claimed(journal).id, [Published("a/talk.txt", "d")], 86400.0 / 2)
    if missed:
        journal.recordings.mark_missing([key(TALK)])
    assert journal.recordings.list_missing() == ({key(TALK)} if missed else set())
    assert queued(journal, sha256="bb", now=90000.0).redo[:10] == redo
    assert (journal.recordings.list_missing(), journal.outputs.list_digests(number)) == (set(), {"a/talk.txt": "d"})


def test_a_file_that_was_taken_away_and_came_back_is_known(journal: Journal) -> None:
    queued(journal)
    journal.finish(claimed(journal).id, [], 3.0)
    journal.recordings.mark_missing([key(TALK)])
    assert not journal.enqueue(InboxFile(key(TALK), TALK, 10, 99), "aa", 4.0)
    assert (found(journal).state, found(journal).redo, journal.recordings.list_missing()) == (State.DONE, "", set())


def test_what_was_changed_and_then_taken_away_is_another_recording_when_it_comes_back(journal: Journal) -> None:
    """The outputs that are there are of the first content."""
    queued(journal)
    journal.finish(claimed(journal).id, [Published("a/talk.txt", "d")], 3.0)
    queued(journal, sha256="bb", now=4.0)
    journal.recordings.mark_gone([key(TALK)], 5.0)
    assert queued(journal, sha256="bb", now=6.0).redo


def begun(journal: Journal, name: PurePath, sha256: str) -> Recording:
    """Return a recording with a finished window, back in the queue."""
    queued(journal, name, sha256, now=float(len(journal.recordings.count_by_state())))
    recording = claimed(journal)
    journal.save_checkpoint(recording, 0, {"plan": 1}, 0.0, 60.0)
    journal.recordings.release(recording.id)
    return found(journal, name)


@pytest.mark.parametrize("way", ["at once", "while it changes", "after it left"])
def test_windows_of_a_content_that_is_no_more_are_dropped(journal: Journal, way: str) -> None:
    recording = begun(journal, TALK, "aa")
    if way == "while it changes":
        journal.recordings.mark_waiting(InboxFile(key(TALK), TALK, 11, 21), "changing", "It is being changed.", 5.0)
    elif way == "after it left":
        journal.recordings.mark_gone([key(TALK)], 5.0)
    assert recording.result == "aa:settings"
    assert journal.results.list_checkpoints("aa:settings") == [{"plan": 1}]
    queued(journal, sha256="bb", now=6.0)
    assert journal.results.list_checkpoints("aa:settings") == []


def test_windows_that_can_be_of_use_are_kept(journal: Journal) -> None:
    begun(journal, TALK, "aa")
    assert journal.enqueue(InboxFile(b"copy.wav", COPY, 10, 20), "aa", 3.0)
    queued(journal, sha256="bb", now=4.0)
    assert journal.results.list_checkpoints("aa:settings") == [{"plan": 1}]  # the copy goes on from there
    journal.recordings.mark_waiting(InboxFile(b"copy.wav", COPY, 10, 21), "changing", "It is being changed.", 5.0)
    assert journal.enqueue(InboxFile(b"copy.wav", COPY, 10, 22), "aa", 6.0)
    assert journal.results.list_checkpoints("aa:settings") == [{"plan": 1}]  # it was not changed after all


def test_failures_can_be_asked_for_by_their_code(journal: Journal) -> None:
    for code in ("one", "two", "three"):
        recording = queued(journal, PurePath(f"{code}.wav"), sha256=code)
        journal.fail(recording.id, code, "", Published(code, "d"), 3.0)
    assert {r.code for r in journal.recordings.list_failed({"one", "three", "four"})} == {"one", "three"}
