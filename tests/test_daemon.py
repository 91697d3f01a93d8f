"""The whole path as a person uses it: the real daemon process, real weights, real recordings."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest

from dropscribe.cli import doctor
from dropscribe.formats.review import review
from dropscribe.transcript import Transcript
from dropscribe.worker import decoding
from talk import FASTER, Talk, of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
DATA = HERE / "data"
SPEECH, OTHER, *_ = sorted(DATA.glob("*.flac"))
SCHEMA = json.loads((HERE.parent / "config" / "transcript.schema.json").read_text(encoding="utf-8"))
PATIENCE = 180.0
"""Seconds after which a test gives up; far more than a noisy machine needs."""


class Daemon:
    """`dropscribe run` as a process, and its folders."""

    def __init__(self, folder: Path, model: Path, backend: str) -> None:
        self.inbox, self.outbox, self.logs = folder / "in", folder / "out", folder / "logs"
        self.folder = folder
        self.environ = os.environ | {
            "HOME": str(folder),
            "HF_HOME": str(folder / "hf"),
            "XDG_CACHE_HOME": str(folder / ".cache"),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "DROPSCRIBE_INBOX": str(self.inbox),
            "DROPSCRIBE_OUTBOX": str(self.outbox),
            "DROPSCRIBE_STATE": str(folder / "state"),
            "DROPSCRIBE_LOGS": str(self.logs),
            "DROPSCRIBE_MODEL": str(model),
            "DROPSCRIBE_BACKEND": backend,
            "DROPSCRIBE_SETTLE_SECONDS": "0.5",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dropscribe", "run"], env=self.environ | environ, stderr=subprocess.PIPE
        )
        self.until(lambda: self.events("inbox.watched"))

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        assert self.process.stderr is not None
        self.process.send_signal(number)
        code = self.process.wait(10)
        self.process.stderr.close()
        self.process = None
        return code

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dropscribe", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def until(self, holds: Callable[[], object]) -> None:
        """Wait for something to become true, and fail with the log when it does not."""
        limit = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > limit or (self.process is not None and self.process.poll() is not None):
                pytest.fail(f"it never came: {(self.logs / 'dropscribe.jsonl').read_text()[-4000:]}")
            time.sleep(0.05)

    def events(self, *names: str) -> list[dict[str, Any]]:
        path = self.logs / "dropscribe.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [e for e in map(json.loads, lines) if not names or e["event"] in names]

    def transcript(self, base: str) -> dict[str, Any]:
        """Wait for a transcript, check it against the schema and return it."""
        path = self.outbox / f"{base}.json"
        self.until(lambda: path.exists() or base in [Path(e["file"]).stem for e in self.events("job.failed")])
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.validate(made, SCHEMA)
        assert {p.suffix for p in path.parent.glob(f"{path.stem}.*")} == {".json", ".txt", ".srt", ".vtt"}
        return made

    def workers(self) -> list[int]:
        """Return the worker processes that this daemon has started and that still live."""
        pids = [e["pid"] for e in self.events("worker.started")]
        return [pid for pid in pids if alive(pid)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform == "linux":  # nobody may have waited for it yet
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


@pytest.fixture
def daemon(tmp_path: Path, tiny_en: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path, tiny_en, "faster-whisper")
    made.inbox.mkdir()
    yield made
    if made.process is not None:
        made.stop(signal.SIGKILL)


def test_whatever_way_a_recording_comes_it_is_transcribed_once(daemon: Daemon, tmp_path: Path) -> None:
    speech = SPEECH
    shutil.copy(speech, daemon.inbox / "there before.flac")
    daemon.start()
    first = daemon.transcript("there before")
    assert first["segments"]
    assert first["engine"]["backend"] == "faster-whisper"
    assert first["source"]["bytes"] == speech.stat().st_size
    transcript = Transcript.from_json(json.dumps(first))
    assert transcript.review == review(transcript)

    # Renamed into place, in a subfolder that comes with it.
    (tmp_path / "album" / "disc 1").mkdir(parents=True)
    shutil.copy(speech, tmp_path / "album" / "disc 1" / "song.flac")
    (tmp_path / "album").rename(daemon.inbox / "album")
    assert daemon.transcript("album/disc 1/song")["text"] == first["text"]

    # Copied slowly, with pauses shorter than the settling time.
    other = OTHER.read_bytes()
    with (daemon.inbox / "slow.flac").open("wb") as file:
        for part in range(8):
            file.write(other[part * len(other) // 8 : (part + 1) * len(other) // 8])
            file.flush()
            time.sleep(0.2)
    slow = daemon.transcript("slow")
    assert slow["source"]["bytes"] == len(other)

    # Not audio, by its name and by its content.
    (daemon.inbox / "notes.txt").write_text("not a recording")
    (daemon.inbox / "fake.mp3").write_bytes(os.urandom(20_000))
    daemon.until((daemon.outbox / "_failed" / "fake.mp3.error.txt").exists)
    assert "does not" not in daemon.command("why", str(daemon.inbox / "notes.txt")).stdout
    assert daemon.command("why", str(daemon.inbox / "fake.mp3")).stdout.startswith("Failed on ")

    claimed = [e["file"] for e in daemon.events("job.claimed")]
    assert sorted(claimed) == ["fake.mp3", "slow.flac", "there before.flac"]
    assert len(daemon.events("model.loaded")) == 1
    assert daemon.stop() == 0
    assert daemon.workers() == []

    # After a restart nothing is done again.
    daemon.start()
    shutil.copy(speech, daemon.inbox / "again.flac")
    daemon.transcript("again")
    assert len(daemon.events("job.claimed")) == len(claimed)
    said = (daemon.logs / "dropscribe.jsonl").read_text()
    assert max(first["text"].split(), key=len) not in said


def test_status_and_why_tell_what_happens(daemon: Daemon) -> None:
    daemon.start()
    facts = json.loads(daemon.command("status", "--json").stdout)
    assert facts["running"] is True
    assert facts["backend"] == "faster-whisper"
    assert facts["pid"] == daemon.process.pid if daemon.process else False
    shutil.copy(SPEECH, daemon.inbox / "talk.flac")
    daemon.transcript("talk")
    daemon.until(lambda: daemon.events("job.done"))
    assert daemon.command("why", str(daemon.inbox / "talk.flac")).stdout.startswith("Done on ")
    facts = json.loads(daemon.command("status", "--json").stdout)
    assert facts["counts"]["done"] == 1
    assert "cpu int8" in facts["engine"] or "cuda" in facts["engine"]
    second = daemon.command("run")
    assert second.returncode == 0
    assert "already running" in second.stderr


def test_a_model_without_work_gives_its_memory_back(daemon: Daemon) -> None:
    daemon.start(DROPSCRIBE_IDLE_MINUTES="0.01")
    shutil.copy(SPEECH, daemon.inbox / "talk.flac")
    daemon.transcript("talk")
    daemon.until(lambda: [e for e in daemon.events("worker.stopped") if e["reason"] == "idle"])
    assert daemon.workers() == []
    shutil.copy(OTHER, daemon.inbox / "next.flac")
    daemon.transcript("next")


def test_killed_in_the_middle_it_leaves_no_orphan_and_goes_on(daemon: Daemon) -> None:
    daemon.start()
    shutil.copy(SPEECH, daemon.inbox / "talk.flac")
    daemon.until(lambda: daemon.events("job.claimed"))
    daemon.stop(signal.SIGKILL)
    daemon.until(lambda: not daemon.workers())
    assert "the next start goes on" in daemon.command("why", str(daemon.inbox / "talk.flac")).stdout
    counts = json.loads(daemon.command("status", "--json").stdout)["counts"]
    assert (counts["queued"], counts["running"]) == (1, 0)
    daemon.start()
    daemon.transcript("talk")
    assert daemon.events("daemon.started")[-1]["interrupted"] == 1


def long_recording(folder: Path, parts: int, channels: int = 1, pause: int = 9) -> Path:
    """Return a recording of some parts with so many seconds between them: after 9 s a new window begins.

    With more channels than one, these take turns.
    """
    pieces = []
    for number in range(parts):
        decoded = decoding.decode((SPEECH, OTHER)[number % 2], folder / "spool")
        piece = np.zeros((len(decoded.samples) + pause * 16000, channels), np.float32)
        piece[: len(decoded.samples), number % channels] = decoded.samples
        pieces.append(piece)
    path = folder / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.concatenate(pieces) * 32767).astype("<i2").tobytes())
    return path


def test_windows_of_another_version_are_not_joined_with_ours(tiny_en: Path, tmp_path: Path) -> None:
    """An update in the middle of a long recording: a transcript names one version, and is of one."""
    talk = Talk()
    where = {"path": str(DATA / "jfk.opus"), "spool": str(tmp_path / "spool")}

    def planned(**more: Any) -> dict[str, Any]:
        talk.ask(tiny_en, FASTER, operation="transcribe", **where, **more)
        (found,) = of(talk.until("finished", "failed", "exit"), "planned")
        return found

    first = planned()
    spoken = {name: first[name] for name in ("language", "language_probability")}
    resume = first["plan"] | spoken | {"done": 1}
    assert planned(resume=resume)["done"] == 1
    for name in ("dropscribe", "ctranslate2"):
        assert name in first["plan"]["versions"]
        other = resume | {"versions": first["plan"]["versions"] | {name: "0"}}
        assert planned(resume=other)["done"] == 0
    talk.worker.kill()


@pytest.mark.parametrize(
    ("backend", "channels", "parts", "pause"),
    [("faster-whisper", 1, 3, 9), ("mlx", 1, 3, 9), ("faster-whisper", 2, 3, 9), ("faster-whisper", 1, 17, 4)],
)
def test_killed_after_each_window_it_ends_with_the_same_transcript(
    tmp_path: Path, backend: str, channels: int, parts: int, pause: int, request: pytest.FixtureRequest
) -> None:
    """Of a window of seven parts with 4 s between them, some of each pause is left out."""
    model = request.getfixturevalue("tiny_en_mlx" if backend == "mlx" else "tiny_en")
    recording = long_recording(tmp_path, parts, channels, pause)
    made = []
    for name in ("undisturbed", "killed"):
        (tmp_path / name / "in").mkdir(parents=True)
        shutil.copy(recording, tmp_path / name / "in")
        daemon = Daemon(tmp_path / name, model, backend)
        if name == "killed":
            daemon.environ["DROPSCRIBE_CRASH"] = f"checkpointed 2 {tmp_path}"
            assert [daemon.command("run", "--once").returncode for _ in range(2)] == [-signal.SIGKILL] * 2
        assert daemon.command("run", "--once").returncode == 0
        transcript = daemon.transcript("long")
        made.append({k: transcript[k] for k in ("text", "language", "segments", "warnings", "engine")})
        if name == "killed":
            assert [e["resumed_at"] for e in daemon.events("job.planned")] == [0, 1, 2]
            assert daemon.events("job.planned")[0]["windows"] == 3
            assert not list((daemon.folder / "state" / "spool").iterdir())
    assert made[0] == made[1]
    speakers = [segment.get("speaker") for segment in made[0]["segments"]]
    turns = ["Speaker 1", "Speaker 2", "Speaker 1"] if channels == 2 else [None]
    assert [speaker for speaker, _ in itertools.groupby(speakers)] == turns
    assert [segment["id"] for segment in made[0]["segments"]] == list(range(len(speakers)))


def test_while_it_runs_it_opens_no_connection(daemon: Daemon) -> None:
    """A hub on loopback that must not be asked for a model that is here."""
    with socket.socket() as hub:
        hub.bind(("127.0.0.1", 0))
        hub.listen()
        hub.setblocking(False)
        daemon.start(HF_ENDPOINT=f"http://127.0.0.1:{hub.getsockname()[1]}")
        shutil.copy(SPEECH, daemon.inbox / "talk.flac")
        daemon.transcript("talk")
        with pytest.raises(BlockingIOError):
            hub.accept()
    # onnxruntime's telemetry begins with a device number in the cache.
    assert not (daemon.folder / ".cache" / "Microsoft").exists()


def test_a_missing_model_is_said_and_recordings_wait(daemon: Daemon) -> None:
    daemon.start(DROPSCRIBE_MODEL="tiny", HF_ENDPOINT="http://127.0.0.1:9")
    shutil.copy(SPEECH, daemon.inbox / "talk.flac")
    daemon.until(lambda: daemon.events("daemon.waiting"))
    status = daemon.command("status")
    assert status.returncode == 4
    assert "tiny" in status.stdout
    assert "queue" in daemon.command("why", str(daemon.inbox / "talk.flac")).stdout
    assert not (daemon.outbox / "_failed").exists()


def test_transcribe_needs_no_daemon(daemon: Daemon, tmp_path: Path) -> None:
    speech = SPEECH
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    done = daemon.command("transcribe", str(speech), str(tmp_path / "bad.wav"), "-o", str(tmp_path / "made"))
    assert done.returncode == 1
    assert "bad.wav" in done.stderr
    assert sorted(Path(line).suffix for line in done.stdout.splitlines()) == [".json", ".srt", ".txt", ".vtt"]
    made = json.loads((tmp_path / "made" / f"{speech.stem}.json").read_text(encoding="utf-8"))
    jsonschema.validate(made, SCHEMA)
    shown = daemon.command("transcribe", str(speech), "--json")
    assert json.loads(shown.stdout)["text"] == made["text"]


def test_profiles_shape_transcripts_and_redo_brings_the_old_ones_up_to_date(daemon: Daemon) -> None:
    (daemon.inbox / "calls").mkdir()
    shutil.copy(SPEECH, daemon.inbox / "calls" / "talk.flac")
    shutil.copy(SPEECH, daemon.inbox / "plain.flac")
    daemon.start(DROPSCRIBE_SCAN_SECONDS="1")
    first = daemon.transcript("calls/talk")
    plain = daemon.transcript("plain")
    assert first["text"] == plain["text"]
    assert "person in this conference" in first["text"]
    daemon.until(lambda: len(daemon.events("job.done")) == 2)
    assert json.loads(daemon.command("status", "--json").stdout)["stale"] == []

    # A profile that is wrong: nothing of what is there is touched, and what comes waits for its correction.
    profile = daemon.inbox / "calls" / "dropscribe.toml"
    profile.write_text("glossary = conference\n")
    shutil.copy(OTHER, daemon.inbox / "calls" / "other.flac")
    record = daemon.outbox / "_failed" / "calls" / "other.flac.error.txt"
    daemon.until(record.exists)
    assert str(profile) in record.read_text()
    profile.write_text(
        'glossary = ["Asterisk", "conference bridge"]\n'
        'replacements = {"in this" = "inthis", "conference" = "video conference"}\n'
    )
    assert daemon.transcript("calls/other")["engine"]["options"]["glossary"] == ["Asterisk", "conference bridge"]
    assert not record.exists()

    daemon.until(lambda: len(daemon.events("job.done")) == 3)
    (stale,) = json.loads(daemon.command("status", "--json").stdout)["stale"]
    assert (stale["file"], stale["changed"]) == ("calls/talk.flac", ["glossary", "replacements"])
    assert "since then changed: glossary, replacements" in daemon.command("status").stdout
    why = daemon.command("why", str(daemon.inbox / "calls" / "talk.flac")).stdout
    assert "Since then changed: glossary, replacements; `dropscribe redo` makes it anew." in why
    assert "1 recording will be" in daemon.command("redo", "--stale").stderr
    daemon.until(lambda: len(daemon.events("job.done")) == 4)
    second = daemon.transcript("calls/talk")
    assert "person inthis video conference" in second["text"]
    for segment in second["segments"]:
        assert "".join(word["word"] for word in segment["words"]).strip() == segment["text"]
    said = [w["word"] for s in second["segments"] for w in s["words"]]
    assert " inthis" in said
    assert said.count(" video") == first["text"].count("conference")
    assert second["engine"]["options"]["replacements"] == {"in this": "inthis", "conference": "video conference"}
    (old,) = (daemon.outbox / "_old" / "calls").glob("talk *.json")
    assert json.loads(old.read_text()) == first
    assert json.loads(daemon.command("status", "--json").stdout)["stale"] == []
    assert daemon.stop() == 0


def test_a_profile_makes_nobody_download_and_keeps_nobody_waiting(daemon: Daemon) -> None:
    profile = daemon.inbox / "big" / "dropscribe.toml"
    profile.parent.mkdir()
    profile.write_text('model = "somebody/whisper-of-theirs"\n')
    shutil.copy(SPEECH, profile.parent / "talk.flac")
    with socket.socket() as hub:
        hub.bind(("127.0.0.1", 0))
        hub.listen()
        hub.setblocking(False)
        daemon.start(HF_ENDPOINT=f"http://127.0.0.1:{hub.getsockname()[1]}")
        record = daemon.outbox / "_failed" / "big" / "talk.flac.error.txt"
        daemon.until(record.exists)
        shutil.copy(OTHER, daemon.inbox / "other.flac")
        daemon.transcript("other")
        with pytest.raises(BlockingIOError):
            hub.accept()
    assert "dropscribe models pull somebody/whisper-of-theirs" in record.read_text()
    assert "model-missing" in record.read_text()
    assert not daemon.events("daemon.waiting")


def test_doctor_looks_at_everything_by_doing_it(daemon: Daemon) -> None:
    daemon.environ["DROPSCRIBE_AFTER"] = "archive"
    (daemon.inbox.parent / "Archive").mkdir()
    done = daemon.command("doctor", "--json")
    checks = {check["name"]: check["verdict"] for check in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert checks["archive"] == "ok"
    assert checks["engine"] == "ok"
    assert {
        "inbox",
        "outbox",
        "state",
        "events",
        "journal",
        "daemon",
        "service",
        "pytorch",
        "backend",
        "model",
    } <= set(checks)


def test_doctor_does_not_wait_for_a_folder_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor._check_folder("inbox", tmp_path / "none", "read").verdict == "note"
    assert doctor._check_folder("outbox", tmp_path, "write").verdict == "ok"
    monkeypatch.setattr(doctor, "_PROBE", "import signal; signal.pause()")
    monkeypatch.setattr(doctor, "PROBE_SECONDS", 0.2)
    found = doctor._check_folder("inbox", tmp_path, "read")
    assert found.verdict == "fail"
    assert "did not answer" in found.detail


def test_doctor_finds_a_hook_that_cannot_be_run(daemon: Daemon) -> None:
    daemon.environ |= {"DROPSCRIBE_ON_DONE": "/nowhere/at/all x", "DROPSCRIBE_ON_FAILED": "/bin/sh -c true"}
    done = daemon.command("doctor", "--json")
    checks = {check["name"]: check["verdict"] for check in json.loads(done.stdout)}
    assert (done.returncode, checks["on_done"], checks["on_failed"]) == (1, "fail", "ok")


def test_the_mlx_backend_goes_the_same_way(tmp_path: Path, tiny_en_mlx: Path) -> None:
    made = Daemon(tmp_path, tiny_en_mlx, "mlx")
    made.inbox.mkdir()
    shutil.copy(min(DATA.glob("*.flac"), key=lambda p: p.stat().st_size), made.inbox / "talk.flac")
    made.environ["DROPSCRIBE_LANGUAGE"] = "en"
    done = made.command("run", "--once")
    assert done.returncode == 0, done.stderr
    transcript = made.transcript("talk")
    assert transcript["engine"]["backend"] == "mlx"
    assert transcript["segments"][0]["words"]
