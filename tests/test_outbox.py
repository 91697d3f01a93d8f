"""Names in the outbox, and files that are whole, ours, and never over a person's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe import crash
from dropscribe.supervisor import names, outbox

CONTENTS = {"json": "{}\n", "txt": "words\n", "srt": "1\n"}


def known(published: list[outbox.Published]) -> dict[str, str]:
    return {p.path: p.sha256 for p in published}


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_names_follow_their_template_and_stay_different() -> None:
    path = PurePath("a/Film.mkv")
    assert names.list_bases(path, "{stem}.{language}", "de")[:3] == [
        "a/Film.de",
        "a/Film.mkv.de",
        "a/Film.mkv (2).de",
    ]
    assert names.list_bases(path, "{name} {stem}", "de")[:2] == ["a/Film.mkv Film", "a/Film.mkv Film.mkv"]
    assert names.list_bases(PurePath("{stem}{x}.wav"), "{stem}.{language}", "en")[0] == "{stem}{x}.en"


def test_suffixes_are_appended_to_the_stem() -> None:
    assert names.list_bases(PurePath("a/b/Meeting 2026.08.19.m4a"))[:3] == [
        "a/b/Meeting 2026.08.19",
        "a/b/Meeting 2026.08.19.m4a",
        "a/b/Meeting 2026.08.19.m4a (2)",
    ]


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=300))
def test_no_name_is_too_long_for_a_disk(name: str) -> None:
    for base in names.list_bases(PurePath(f"x/{name}.m4a"))[:3]:
        assert len(os.fsencode(PurePath(base).name + ".error.txt")) <= names.NAME_BYTES


def test_long_names_stay_different() -> None:
    one, two = names.list_bases(PurePath("ä" * 120 + "1.m4a"))[0], names.list_bases(PurePath("ä" * 120 + "2.m4a"))[0]
    assert one != two
    assert one.startswith("ä" * 50)


def test_a_set_is_published_with_the_json_last(tmp_path: Path) -> None:
    published = outbox.publish(tmp_path, "sub/talk", CONTENTS, {})
    assert [p.path for p in published] == ["sub/talk.txt", "sub/talk.srt", "sub/talk.json"]
    assert files(tmp_path) == {"sub/talk.json": "{}\n", "sub/talk.srt": "1\n", "sub/talk.txt": "words\n"}


def test_publishing_again_replaces_what_is_ours(tmp_path: Path) -> None:
    first = outbox.publish(tmp_path, "talk", CONTENTS, {})
    again = outbox.publish(tmp_path, "talk", CONTENTS | {"txt": "better\n"}, known(first))
    assert [p.displaced_by for p in again] == [None, None, None]
    assert files(tmp_path)["talk.txt"] == "better\n"
    assert len(files(tmp_path)) == 3


def test_a_file_that_a_person_changed_is_left_alone(tmp_path: Path) -> None:
    first = outbox.publish(tmp_path, "talk", CONTENTS, {})
    (tmp_path / "talk.txt").write_text("corrected by hand\n")
    again = outbox.publish(tmp_path, "talk", CONTENTS | {"txt": "better\n"}, known(first))
    assert files(tmp_path)["talk.txt"] == "corrected by hand\n"
    assert files(tmp_path)["talk (2).txt"] == "better\n"
    assert outbox.Published("talk (2).txt", known(again)["talk (2).txt"], "talk.txt") in again
    third = outbox.publish(tmp_path, "talk", CONTENTS | {"txt": "best\n"}, known(again))
    assert files(tmp_path)["talk (2).txt"] == "best\n"
    assert len(third) == 3


def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text("mine")
    outbox.publish(tmp_path, "talk", CONTENTS, {})
    assert files(tmp_path)["talk.json"] == "mine"
    assert files(tmp_path)["talk (2).json"] == "{}\n"


@pytest.mark.parametrize(("point", "text"), [("written", "old"), ("renamed", "new")])
def test_a_file_is_whole_or_absent_wherever_it_is_killed(tmp_path: Path, point: str, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "talk.txt").write_text("old")
    program = "import sys, pathlib; from dropscribe.supervisor import outbox; "
    program += "outbox.write(pathlib.Path(sys.argv[1]), 'talk.txt', b'new')"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")],
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), crash.VARIABLE: f"{point} 1 {tmp_path}"},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    outbox.remove_temporary_files(tmp_path / "out")
    assert files(tmp_path / "out") == {"talk.txt": text}


def test_what_a_kill_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / "a" / f"{outbox.TEMPORARY}0123.tmp"
    left.parent.mkdir()
    left.write_text("half")
    (tmp_path / "a" / "talk.txt").write_text("whole")
    assert outbox.remove_temporary_files(tmp_path) == 1
    assert files(tmp_path) == {"a/talk.txt": "whole"}


def test_a_rename_that_fails_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "talk.txt").mkdir()
    with pytest.raises(IsADirectoryError):
        outbox.write(tmp_path, "talk.txt", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["talk.txt"]


def test_an_older_version_is_kept_once_and_without_what_a_person_changed(tmp_path: Path) -> None:
    first = known(outbox.publish(tmp_path, "a/talk", CONTENTS, {}))
    (tmp_path / "a/talk.srt").write_text("mine\n")
    for _ in range(2):  # killed and done again
        kept = outbox.keep_old_versions(tmp_path, "a/talk", first, "2026")
        assert kept == ["a/talk.txt", "a/talk.json"]
    second = outbox.publish(tmp_path, "a/talk", CONTENTS | {"txt": "better\n"}, first)
    assert outbox.keep_old_versions(tmp_path, "a/talk", first, "2026") == [
        "a/talk.json"
    ]  # of the text, the new one is there
    assert files(tmp_path) == {
        "_old/a/talk 2026.json": "{}\n",
        "_old/a/talk 2026.txt": "words\n",
        "a/talk.json": "{}\n",
        "a/talk.srt": "mine\n",
        "a/talk (2).srt": "1\n",
        "a/talk.txt": "better\n",
    }
    # Another one under the same mark, with a name of more parts.
    third = known(second) | known(outbox.publish(tmp_path, "a/talk", {"times.txt": "0 words\n"}, {}))
    outbox.keep_old_versions(tmp_path, "a/talk", third, "2026")
    assert {"_old/a/talk 2026 (2).txt", "_old/a/talk 2026.times.txt", "_old/a/talk 2026 (2).srt"} <= set(
        files(tmp_path)
    )


def test_only_files_as_we_wrote_them_are_removed(tmp_path: Path) -> None:
    ours = known(outbox.publish(tmp_path, "talk", CONTENTS, {}))
    (tmp_path / "talk.srt").write_text("mine\n")
    (tmp_path / "talk.json").unlink()
    outbox.remove_unchanged(tmp_path, ours)
    assert files(tmp_path) == {"talk.srt": "mine\n"}


def test_an_outbox_that_was_taken_away_is_not_made_again(tmp_path: Path) -> None:
    """As when its volume goes between two files of a set: the rest must not land in a folder in its place."""
    gone = tmp_path / "gone"
    for base in ("talk", "a/b/talk"):
        with pytest.raises(FileNotFoundError):
            outbox.publish(gone, base, {"txt": "Words.", "json": "{}"}, {})
    assert list(tmp_path.iterdir()) == []
    gone.mkdir()
    outbox.publish(gone, "a/b/talk", {"txt": "Words."}, {})
    assert (gone / "a/b/talk.txt").read_text() == "Words."
