"""The command line as a person or a program meets it, without a model."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from dropscribe import formats, logs
from dropscribe.cli import commands, parser
from examples import TWO

MODEL_LIBRARIES = ("mlx", "mlx_whisper", "faster_whisper", "ctranslate2", "onnxruntime", "av", "numpy", "torch")


class Shell:
    """Runs `dropscribe` with everything it touches in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "DROPSCRIBE_SETTLE_SECONDS": "0",
        }
        self.inbox = folder / "Dropscribe" / "Inbox"
        self.outbox = folder / "Dropscribe" / "Outbox"

    def run(self, *arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "dropscribe", *arguments],
            env=self.environ | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_without_a_command_it_shows_what_there_is(shell: Shell) -> None:
    done = shell.run(code=2)
    assert done.stdout == ""
    assert "transcribe" in done.stderr


def test_the_module_can_be_run_and_tells_its_version(shell: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dropscribe", "--version"],
        env=shell.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("dropscribe ")


def test_a_run_over_an_empty_inbox_makes_the_folders_and_is_fine(shell: Shell) -> None:
    done = shell.run("run", "--once")
    assert "0 done, 0 failed" in done.stderr
    assert shell.inbox.is_dir()
    assert shell.outbox.is_dir()


def test_the_daemon_imports_no_model_library(shell: Shell) -> None:
    program = (
        "import sys; from dropscribe.cli.main import main; code = main(['run', '--once']);"
        f"print([m for m in {[*MODEL_LIBRARIES, 'rich.console']} if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=shell.environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_a_wrong_setting_is_a_usage_error_in_two_lines(shell: Shell) -> None:
    done = shell.run("run", "--once", code=2, DROPSCRIBE_BACKEND="torch")
    assert done.stderr.splitlines() == [
        "dropscribe: DROPSCRIBE_BACKEND: `backend` is 'torch'.",
        "            Write one of auto, mlx, faster-whisper, whisperx.",
    ]


def test_config_shows_values_and_where_they_come_from(shell: Shell) -> None:
    shown = json.loads(shell.run("config", "show", "--json", "--model", "tiny").stdout)
    assert shown["model"] == {"value": "tiny", "from": "--model"}
    assert shown["settle_seconds"] == {"value": 0.0, "from": "DROPSCRIBE_SETTLE_SECONDS"}
    assert 'model = "auto"' in shell.run("config", "show").stdout
    assert shell.run("config", "path").stdout.strip() == str(shell.folder / ".config/dropscribe/config.toml")
    assert "fine" in shell.run("config", "check").stderr


def test_what_config_shows_can_be_put_into_the_file(shell: Shell) -> None:
    path = shell.folder / ".config/dropscribe/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(shell.run("config", "show", "--prompt", 'say "Aalto"').stdout)
    shown = json.loads(shell.run("config", "show", "--json").stdout)
    assert shown["prompt"] == {"value": 'say "Aalto"', "from": str(path)}


def test_config_shows_what_holds_for_a_recording(shell: Shell) -> None:
    (shell.inbox / "a").mkdir(parents=True)
    path = shell.inbox / "a/dropscribe.toml"
    path.write_text('language = "fi"\n[replacements]\n"drop scribe" = "Dropscribe"\n')
    talk = str(shell.inbox / "a/talk.m4a")  # it need not be there yet
    shown = json.loads(shell.run("config", "show", talk, "--json", "--model", "tiny").stdout)
    assert shown["language"] == {"value": "fi", "from": str(path)}
    assert shown["replacements"] == {"value": {"drop scribe": "Dropscribe"}, "from": str(path)}
    assert shown["model"] == {"value": "tiny", "from": "--model"}
    assert shown["threads"] == {"value": 0, "from": "default"}
    assert 'replacements = {"drop scribe" = "Dropscribe"}' in shell.run("config", "show", talk).stdout
    folder, root = (
        json.loads(shell.run("config", "show", str(p), "--json").stdout) for p in (path.parent, shell.inbox)
    )
    assert (folder["language"]["value"], root["language"]["value"]) == ("fi", "auto")
    assert "does not lie in the inbox" in shell.run("config", "show", "/elsewhere.m4a", code=2).stderr
    assert "is a profile" in shell.run("why", str(path)).stdout


def test_config_check_looks_at_the_profiles(shell: Shell) -> None:
    shell.inbox.mkdir(parents=True)
    (shell.inbox / "dropscribe.toml").write_text('langage = "fi"\n')
    (shell.inbox / "talk.m4a.toml").write_text('on_done = "rm"\n')
    said = shell.run("config", "check", code=2).stderr
    assert f"{shell.inbox}/dropscribe.toml: there is no setting `langage`.\n    Did you mean `language`?\n" in said
    (shell.inbox / "dropscribe.toml").write_text("")
    assert "talk.m4a.toml" in shell.run("config", "check", code=2).stderr


def test_config_check_finds_a_program_that_is_not_there(shell: Shell) -> None:
    hook = {"DROPSCRIBE_ON_DONE": '["/nowhere/at/all", "x"]', "DROPSCRIBE_ON_FAILED": "true"}
    shell.environ |= hook
    said = shell.run("config", "check", code=2).stderr
    assert said.startswith("DROPSCRIBE_ON_DONE: `on_done`: /nowhere/at/all is not there or may not be executed.\n")
    assert "on_failed" not in said
    assert "/nowhere/at/all is not there" in shell.run("run", "--once").stderr  # and there was nothing to do


def test_a_model_that_nobody_knows_is_a_wrong_argument(shell: Shell) -> None:
    (shell.folder / "a.wav").touch()
    assert "bse" in shell.run("transcribe", "a.wav", "--model", "bse", code=2).stderr


def test_redo_of_what_is_not_done_says_what_is_the_matter(shell: Shell) -> None:
    shell.run("run", "--once")
    assert "is not done yet" in shell.run("redo", str(shell.inbox / "x.wav"), code=2).stderr
    assert "Give files, or --stale" in shell.run("redo", code=2).stderr
    assert "0 recordings" in shell.run("redo", "--stale").stderr


def test_status_without_a_daemon(shell: Shell) -> None:
    assert "not running" in shell.run("status", code=3).stdout
    shell.run("run", "--once")
    facts = json.loads(shell.run("status", "--json", code=3).stdout)
    assert facts["running"] is False
    assert facts["pid"] is None
    assert facts["counts"]["done"] == 0


def test_why_has_one_reason_for_any_path(shell: Shell) -> None:
    shell.run("run", "--once")
    for name in ("notes.txt", ".hidden.wav", "half.wav.part", "new.wav"):
        (shell.inbox / name).write_bytes(b"x")
    (shell.inbox / "link.wav").symlink_to(shell.inbox / "new.wav")
    (shell.inbox / "folder.wav").mkdir()
    reasons = {
        shell.folder / "elsewhere.wav": "does not lie in the inbox",
        shell.inbox / "notes.txt": ".txt is not among the known suffixes",
        shell.inbox / ".hidden.wav": "hidden or temporary",
        shell.inbox / "half.wav.part": "unfinished download",
        shell.inbox / "link.wav": "symbolic link",
        shell.inbox / "folder.wav": "not a regular file",
        shell.inbox / "never.wav": "no such file",
        shell.inbox / "new.wav": "daemon is not running",
    }
    assert {p: words in shell.run("why", str(p)).stdout for p, words in reasons.items()} == dict.fromkeys(
        reasons, True
    )
    assert json.loads(shell.run("why", "--json", str(shell.inbox / "notes.txt")).stdout)["state"] == "ignored"


def test_a_name_or_a_word_that_the_terminal_cannot_show_stops_nothing(shell: Shell) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    answer = json.loads(shell.run("why", "--json", name, PYTHONIOENCODING="utf-8:strict").stdout)
    assert (answer["file"], answer["state"]) == (name, "unknown")
    (shell.folder / "talk.json").write_text(TWO.to_json())
    done = shell.run("export", "talk.json", "--to", "txt", "-o", "\u2713", PYTHONIOENCODING="ascii:strict")
    assert done.stdout.splitlines() == ["\\u2713/talk.txt"]


def test_a_name_gives_the_terminal_no_orders(shell: Shell) -> None:
    """Whoever may drop files names them: an escape could clear the screen, or write what was never said."""
    shell.inbox.mkdir(parents=True)
    (shell.inbox / "a\x1b[2J\nb.wav").write_bytes(b"x")
    run = shell.run("run", "--once", code=1, DROPSCRIBE_MAX_GIGABYTES="1e-10")
    status = shell.run("status", code=3)
    assert "a\\x1b[2J\\nb.wav: failed" in run.stderr
    assert "Failed    a\\x1b[2J\\nb.wav (" in status.stdout
    assert "\x1b" not in run.stderr + status.stdout
    assert json.loads(shell.run("status", "--json", code=3).stdout)["failures"][0]["file"] == "a\x1b[2J\nb.wav"
    shown = [logs.render_line(line, colors=False) for line in shell.run("logs").stdout.splitlines()]
    assert any("file=a\\x1b[2J\\nb.wav" in line for line in shown)


def test_what_the_disk_refuses_is_one_line(shell: Shell) -> None:
    (shell.folder / "talk.json").write_text(TWO.to_json())
    (shell.folder / "file").touch()
    refused = "dropscribe: file/out: Not a directory."
    assert shell.run("export", "talk.json", "--to", "txt", "-o", "file/out", code=1).stderr.splitlines() == [refused]
    state = str(shell.folder / "file")
    assert shell.run("pause", code=1, DROPSCRIBE_STATE=state).stderr == f"dropscribe: {state}: File exists.\n"


def test_a_journal_without_content_is_reported_as_any_damaged_one(shell: Shell) -> None:
    """As it is for a moment while the first daemon makes it, and after a disk ran full."""
    path = shell.folder / ".local/state/dropscribe/journal.sqlite3"
    path.parent.mkdir(parents=True)
    path.touch()
    for command in (["status"], ["why", "talk.wav"], ["redo", "--stale"]):
        assert "journal" in shell.run(*command, code=1).stderr
    shell.run("run", "--once")
    shell.run("status", code=3)


def test_pause_and_resume_without_a_daemon(shell: Shell) -> None:
    shell.run("pause")
    assert "paused" in shell.run("status", code=3).stdout
    assert "not running" in shell.run("resume", code=3).stderr
    assert "paused" not in shell.run("status", code=3).stdout


def test_retry_of_what_did_not_fail_says_what_is_the_matter(shell: Shell) -> None:
    shell.run("run", "--once")
    assert "did not fail" in shell.run("retry", str(shell.inbox / "x.wav"), code=2).stderr
    assert "0 recordings" in shell.run("retry", "--all").stderr
    shell.run("retry", code=2)


def test_logs_are_json_lines_in_a_pipe(shell: Shell) -> None:
    assert "There is no log yet" in shell.run("logs", code=1).stderr
    shell.run("run", "--once")
    events = [json.loads(line)["event"] for line in shell.run("logs").stdout.splitlines()]
    assert events[0] == "daemon.started"
    assert events[-1] == "daemon.stopped"
    assert len(shell.run("logs", "-n", "1").stdout.splitlines()) == 1


def test_the_last_lines_of_the_log_may_be_none(shell: Shell) -> None:
    shell.run("run", "--once")
    assert shell.run("logs", "-n", "0").stdout == ""


@pytest.mark.parametrize(("environ", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_on_a_terminal_the_log_is_for_people(shell: Shell, environ: dict[str, str], colored: bool) -> None:
    shell.run("run", "--once")
    shown = on_a_terminal(shell, "logs", **environ)
    assert "daemon.started" in shown
    assert "{" not in shown.splitlines()[0]
    assert ("\x1b[" in shown) is colored


def on_a_terminal(shell: Shell, *arguments: str, **environ: str) -> str:
    """Run a command with a terminal for its standard output and return what it wrote there."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "dropscribe", *arguments]
    with subprocess.Popen(command, env=shell.environ | environ, cwd=shell.folder, stdout=its) as process:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # Linux reports the end of a terminal as EIO
            while more := os.read(ours, 1 << 16):
                shown += more
        os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_no_line_of_the_log_gives_the_terminal_orders() -> None:
    event = {
        "timestamp": "2026-08-20T09:10:11.5Z",
        "level": "error",
        "event": "job.failed",
        "file": "a \x1b[2J\nb.wav",
        "others": ["\x1b[2J"],
        "exception": "Traceback\n  FileNotFoundError: \x1b[2J",
    }
    first, *rest = logs.render_line(json.dumps(event), colors=False).splitlines()
    assert first.startswith("09:10:11 [error")
    assert "job.failed" in first
    assert rest == ["Traceback", "  FileNotFoundError: \\x1b[2J"]
    assert "\x1b" not in first
    assert logs.render_line("no JSON\n", colors=False) == "no JSON"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("run --once --model tiny", commands.Run(once=True, wait=False, flags={"model": "tiny"})),
        ("redo --stale", commands.Redo([], stale=True)),
        ("speakers a.wav A=B", commands.Speakers(Path("a.wav"), ["A=B"], json=False)),
        ("pause", commands.Pause()),
        ("models", commands.ListModels(None, json=False)),
        ("models quantize base --bits 4", commands.QuantizeModel("base", 4, None, json=False)),
        ("backends --json", commands.ListBackends(json=True)),
        (
            "config show a.wav --language fi",
            commands.Config("show", Path("a.wav"), json=False, flags={"language": "fi"}),
        ),
        ("", None),
    ],
)
def test_every_command_gets_its_own_arguments(line: str, command: commands.Command | None) -> None:
    found = parser.parse(line.split())
    assert (type(found), found) == (type(command), command)


@pytest.mark.parametrize(
    ("arguments", "spared"),
    [
        (["--help"], ["dropscribe.settings", "dropscribe.supervisor", "sqlite3", "structlog"]),
        (["status"], ["dropscribe.protocol", "dropscribe.models", "structlog", "watchdog", "tqdm"]),
        (["config", "show"], ["dropscribe.supervisor", "structlog"]),
    ],
)
def test_a_command_imports_what_it_needs_and_no_more(shell: Shell, arguments: list[str], spared: list[str]) -> None:
    program = (
        "import contextlib, io, sys; from dropscribe.cli.main import main\n"
        f"with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main({arguments})\n"
        f"print([m for m in {spared} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=shell.environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_models_list_shows_for_whisperx_the_models_that_it_shares(shell: Shell) -> None:
    rows = shell.run("models", "list", "--json", "--backend", "whisperx").stdout
    assert json.loads(rows)
    assert rows == shell.run("models", "list", "--json", "--backend", "faster-whisper").stdout


def test_models_list_needs_no_network_and_no_model(shell: Shell) -> None:
    rows = json.loads(shell.run("models", "list", "--json", HF_ENDPOINT="http://127.0.0.1:9").stdout)
    assert {row["backend"] for row in rows} == {"mlx", "faster-whisper", None}  # None runs the speakers' networks
    assert {row["used"] for row in rows} == {None}
    assert shell.run("models", "path", "nonesuch", code=2).stderr
    assert "models pull tiny" in shell.run("models", "path", "tiny", "--backend", "faster-whisper", code=1).stderr


def test_service_files_can_be_printed_for_either_system(shell: Shell) -> None:
    assert "app.dropscribe" in shell.run("service", "print", "--platform", "macos").stdout
    assert "[Service]" in shell.run("service", "print", "--platform", "linux").stdout


def test_a_report_for_an_issue_names_no_recording_and_no_person(shell: Shell) -> None:
    folder = shell.folder / ".local/state/dropscribe/logs"
    folder.mkdir(parents=True)
    lines = ["cut", json.dumps({"event": "job.done", "file": "secret talk.wav"}), json.dumps({"event": "x y secret"})]
    (folder / "dropscribe.jsonl").write_text("\n".join(lines))
    shell.environ |= {"DROPSCRIBE_BACKEND": "whisperx", "DROPSCRIBE_WEBHOOK": "https://example.org/secret"}
    report = shell.run("doctor", "--report", code=1).stdout
    assert "secret" not in report
    assert str(shell.folder) not in report
    assert "inbox: ~/Dropscribe/Inbox is not there yet" in report
    assert "DROPSCRIBE_WEBHOOK" in report
    if sys.platform == "linux":
        assert "Events at the end of the log: job.done 1" in report
    assert report.count("- [ ] ") > 8


@pytest.mark.skipif(sys.platform != "linux", reason="the service file is systemd's")
def test_doctor_checks_with_the_variables_of_the_installed_service(shell: Shell) -> None:
    (shell.folder / "ours").mkdir()
    unit = shell.folder / ".config/systemd/user/dropscribe.service"
    unit.parent.mkdir(parents=True)
    shell.environ["DROPSCRIBE_BACKEND"] = "whisperx"  # which is not there: no engine is loaded
    installed = {"DROPSCRIBE_INBOX": str(shell.folder / "ours"), "DROPSCRIBE_OUTBOX": str(shell.folder / "texts")}
    before, shell.environ = shell.environ, shell.environ | installed
    unit.write_text(shell.run("service", "print", "--platform", "linux").stdout)
    shell.environ = before
    checks = {
        c["name"]: c for c in json.loads(shell.run("doctor", "--json", code=1, CUDA_VISIBLE_DEVICES="1").stdout)
    }
    assert checks["variables"]["verdict"] == "note"
    assert "CUDA_VISIBLE_DEVICES (not in the service)" in checks["variables"]["detail"]
    assert f"DROPSCRIBE_INBOX (in the service: {shell.folder}/ours)" in checks["variables"]["detail"]
    assert checks["inbox"]["detail"].startswith(f"{shell.folder}/ours, read works")
    shell.environ |= installed
    checks = {c["name"]: c for c in json.loads(shell.run("doctor", "--json", code=1).stdout)}
    assert checks["variables"]["verdict"] == "ok"


@pytest.mark.parametrize("name", ["bash", "zsh", "tcsh"])
def test_completion(shell: Shell, name: str) -> None:
    assert "transcribe" in shell.run("completion", name).stdout


def test_transcribe_of_a_missing_file_says_so(shell: Shell) -> None:
    done = shell.run("transcribe", "nowhere.wav", code=1)
    assert "nowhere.wav" in done.stderr
    assert done.stdout == ""


def test_export_makes_any_format_from_the_json_alone(shell: Shell) -> None:
    (shell.folder / "talk.json").write_text(TWO.to_json())
    done = shell.run("export", "talk.json", "--to", "srt, csv")
    assert done.stdout.splitlines() == ["talk.srt", "talk.csv"]
    assert (shell.folder / "talk.csv").read_bytes() == formats.RENDERERS["csv"](TWO).encode()
    assert "eaf" in shell.run("export", "talk.json", "--to", "odt", code=2).stderr
    (shell.folder / "other.json").write_text("[]")
    assert "no transcript" in shell.run("export", "other.json", "--to", "srt", code=1).stderr
    assert "cannot be read" in shell.run("export", "gone.json", "--to", "srt", code=1).stderr


def test_a_model_that_a_daemon_uses_is_not_removed_unsaid(shell: Shell) -> None:
    repo = shell.folder / ".cache/huggingface/hub/models--Systran--faster-whisper-tiny"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt", "model.bin"):
        (snapshot / name).write_text(name)
    remove = ("models", "remove", "tiny", "--backend", "faster-whisper")
    environ = shell.environ | {"DROPSCRIBE_MODEL": "tiny", "DROPSCRIBE_BACKEND": "faster-whisper"}
    with subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "run"], env=environ, cwd=shell.folder, stderr=subprocess.PIPE, text=True
    ) as daemon:
        try:
            assert daemon.stderr is not None
            assert daemon.stderr.readline().startswith("Watching")
            until_running(shell)
            answer = shell.run(*remove, code=1, DROPSCRIBE_MODEL="tiny").stderr
            assert "running daemon uses the model tiny" in answer
            assert snapshot.is_dir()
        finally:
            daemon.terminate()
            daemon.wait()
    assert "other programs" in shell.run(*remove, code=2).stderr
    answer = shell.run(*remove, "--yes", "--json").stdout
    assert json.loads(answer)["path"] == str(snapshot)
    assert not repo.exists()
    assert "not on this machine" in shell.run(*remove, "--yes", code=1).stderr


def until_running(shell: Shell) -> None:
    """Wait until the daemon has its lock and its journal; the test's own time limit ends a wait for nothing."""
    while subprocess.run(
        [sys.executable, "-m", "dropscribe", "status"],
        env=shell.environ,
        cwd=shell.folder,
        capture_output=True,
        check=False,
    ).returncode not in {0, 4}:
        pass


def test_only_what_goes_by_a_name_is_quantised(shell: Shell) -> None:
    assert "quantised" in shell.run("models", "quantize", "a/b", "--bits", "4", code=2).stderr
    wrong = shell.run("models", "quantize", "base", "--bits", "4", "--backend", "faster-whisper", code=2)
    assert "when it loads a model" in wrong.stderr
