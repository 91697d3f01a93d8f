"""The service, against programs that are real processes on PATH and play launchctl, systemctl and loginctl.

`python tests/test_service.py` writes the golden files in packaging/ anew.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import plistlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe import service
from dropscribe.errors import Exit, UsageError
from dropscribe.service import Outcome, ServiceError, Spec, Status, find_stable_interpreter, make_spec
from dropscribe.service.systemd import quote_word, write_command

if TYPE_CHECKING:
    from dropscribe.service import Manager, Platform

ROOT = Path(__file__).parents[1]
GOLDEN: dict[Platform, Path] = {
    "macos": ROOT / "packaging/launchd/app.dropscribe.plist",
    "linux": ROOT / "packaging/systemd/dropscribe.service",
}
HOMES = {"macos": Path("/Users/ada"), "linux": Path("/home/ada")}
LOGS = {"macos": "Library/Logs/dropscribe", "linux": ".local/state/dropscribe/logs"}
ODD = "/tmp/a 100% naïve/日本 'x'/$HOME \\ \"q\"/bin/python"

# Plays launchctl and systemctl by a state kept in a file; each call is written down.
FAKE = """#!{python} -IS
import json, os, sys, time
file = os.environ["FAKE_STATE"]
with open(file) as f:
    state = json.load(f)
name = os.path.basename(sys.argv[0])
words = [word for word in sys.argv[1:] if not word.startswith("--") or word == "--now"]
verb = words[0]

def end(code=0, out="", err=""):
    with open(file, "w") as f:
        json.dump(state, f)
    if out:
        print(out)
    if err:
        print(err, file=sys.stderr)
    sys.exit(code)

state["calls"].append([name, *words] if name == "loginctl" else words)
if state["hang"] == verb:
    with open(file, "w") as f:
        json.dump(state, f)
    time.sleep(600)
if state["errors"].get(verb):
    code, text = state["errors"][verb].pop(0)
    end(code, err=text)
{body}
end()
"""
LAUNCHCTL = """
if verb == "print":
    if state["going"]:  # booted out, but it takes a few looks until it is gone
        state["going"] -= 1
        state["loaded"] = state["going"] > 0
    if not state["loaded"]:
        end(113, err='Bad request.\\nCould not find service "app.dropscribe" in domain for user gui: 501')
    lines = ["\\tactive count = 1", "\\ttype = LaunchAgent", "\\tstate = " + state["state"], ""]
    lines += ["\\tendpoints = {", "\\t\\tstate = active", "\\t\\tpid = 1", "\\t}"]
    if state["pid"]:
        lines += ["\\tpid = " + str(state["pid"])]
    end(out="\\n".join(["gui/501/app.dropscribe = {", *lines, "\\tlast exit code = " + state["last"], "}"]))
if verb == "bootout":
    state["going"] = state["slow"] + 1
    if state["slow"]:
        end(36, err="Boot-out failed: 36: Operation now in progress")
if verb == "bootstrap":
    assert os.path.isfile(words[2])
if verb in ("bootstrap", "kickstart"):
    state.update(loaded=True, state="running", pid=state["pid"] + 1)
"""
SYSTEMCTL = """
assert sys.argv[1] == "--user"
unit = os.path.join(os.environ["HOME"], ".config/systemd/user/dropscribe.service")
if verb in ("enable", "disable") and not os.path.isfile(unit):
    end(1, err="Failed to " + verb + " unit: Unit file dropscribe.service does not exist.")
if verb == "show":
    sub = {"active": "running", "inactive": "dead", "failed": "failed"}[state["state"]]
    found = {"ActiveState": state["state"], "SubState": sub, "MainPID": state["pid"]}
    found |= {"UnitFileState": "enabled" if state["enabled"] else "", "ExecMainStatus": 2}
    found |= {"Result": state["last"]}
    end(out="\\n".join(f"{key}={value}" for key, value in found.items()))
if verb in ("enable", "disable"):
    state["enabled"] = verb == "enable"
if verb in ("start", "restart") or (verb == "enable" and state["state"] != "active"):
    state.update(state="active", pid=state["pid"] + 1)
if verb in ("stop", "disable"):
    state.update(state="inactive", pid=0)
if verb == "reset-failed":
    end(1, err="Unit dropscribe.service not loaded.")
"""
LOGINCTL = """
end(out=state["linger"])
"""
CALM = {
    "launchctl": {"loaded": False, "state": "not running", "last": "(never exited)", "going": 0, "slow": 0},
    "systemctl": {"state": "inactive", "last": "success", "enabled": False, "linger": "yes"},
}
NO_BUS = "Failed to connect to bus: No medium found"


class Machine:
    """A home, a PATH with only the fakes, and a clock that moves when someone sleeps."""

    def __init__(self, folder: Path, platform: Platform) -> None:
        self.home = folder / "home ä"
        self.bin, self.file = folder / "bin", folder / "state.json"
        self.home.mkdir()
        self.bin.mkdir()
        self.platform = platform
        self.now = 0.0
        self.slept: list[float] = []
        programs = {
            "macos": {"launchctl": LAUNCHCTL},
            "linux": {"systemctl": SYSTEMCTL, "loginctl": LOGINCTL},
        }
        for name, body in programs[platform].items():
            self.program(name, body)
        calm = CALM["launchctl" if platform == "macos" else "systemctl"]
        self.file.write_text(json.dumps({**calm, "pid": 0, "hang": "", "errors": {}, "calls": []}))
        self.spec = Spec("/opt/venv/bin/python", folder / "logs/crash.log", (("PATH", "/usr/bin:/bin"),))

    def program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(FAKE.replace("{python}", sys.executable).replace("{body}", body))
        path.chmod(0o755)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def manager(self, **given: Any) -> Manager:
        environ = {"PATH": str(self.bin), "HOME": str(self.home), "FAKE_STATE": str(self.file)}
        environ |= given.pop("environ", {})
        return service.choose_manager(
            self.platform,
            environ=environ,
            home=self.home,
            sleep=self.sleep,
            clock=lambda: self.now,
            **{"uid": 501, **given},
        )

    def set(self, **state: Any) -> None:
        self.file.write_text(json.dumps({**self.state(), **state}))

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text())
        return found

    def calls(self) -> list[str]:
        """Return the calls since the last time, without the words that are in all of them."""
        found = self.state()["calls"]
        self.set(calls=[])
        same = {"gui/501/app.dropscribe", "gui/501", "dropscribe.service", str(self.manager().path())}
        return [" ".join(word for word in words if word not in same) for words in found]


@pytest.fixture
def mac(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "macos")


@pytest.fixture
def linux(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "linux")


def example(platform: Platform) -> Spec:
    """Return what `service print` gives a person named Ada who installed with uv."""
    home = HOMES[platform]
    python = f"{home}/.local/share/uv/tools/dropscribe/bin/python"
    return make_spec({}, python, logs=home / LOGS[platform], platform=platform)


def rendered(platform: Platform) -> bytes:
    return service.choose_manager(platform, home=HOMES[platform], environ={}, uid=501).render(example(platform))


# The files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", GOLDEN)
def test_the_golden_file_is_what_is_rendered(platform: Platform) -> None:
    assert rendered(platform) == GOLDEN[platform].read_bytes(), "run `python tests/test_service.py`"


EXPECTED_PLIST = {
    "Label": "app.dropscribe",
    "ProgramArguments": [
        "/Users/ada/.local/share/uv/tools/dropscribe/bin/python",
        "-m",
        "dropscribe",
        "run",
    ],
    "EnvironmentVariables": {"PATH": "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
    "RunAtLoad": True,
    "KeepAlive": {"SuccessfulExit": False},
    "ThrottleInterval": 30,
    "ExitTimeOut": 20,
    "ProcessType": "Interactive",
    "Umask": 63,
    "StandardOutPath": "/Users/ada/Library/Logs/dropscribe/crash.log",
    "StandardErrorPath": "/Users/ada/Library/Logs/dropscribe/crash.log",
}


def test_the_property_list_holds_these_keys_and_no_other() -> None:
    assert plistlib.loads(GOLDEN["macos"].read_bytes()) == EXPECTED_PLIST


@pytest.mark.skipif(shutil.which("plistutil") is None, reason="plistutil (libplist-utils) is not installed")
def test_a_second_parser_reads_the_same_property_list(tmp_path: Path) -> None:
    odd = Spec(ODD, Path("/tmp/ü/<&>.log"), (("DROPSCRIBE_PROMPT", "<Ä> & 100%"),))
    for name, content in {"golden": rendered("macos"), "odd": service.choose_manager("macos").render(odd)}.items():
        source, binary = tmp_path / f"{name}.plist", tmp_path / f"{name}.bin"
        source.write_bytes(content)
        subprocess.run(["plistutil", "-i", source, "-o", binary, "-f", "bin"], check=True, timeout=60)
        assert binary.read_bytes().startswith(b"bplist00")
        assert plistlib.loads(binary.read_bytes()) == plistlib.loads(content)


def test_odd_paths_come_back_from_the_property_list() -> None:
    found = plistlib.loads(service.choose_manager("macos").render(Spec(ODD, Path("/tmp/ü <&>.log"))))
    assert found["ProgramArguments"] == [ODD, "-m", "dropscribe", "run"]
    assert found["StandardErrorPath"] == "/tmp/ü <&>.log"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("where", ["plain", "a 100% naïve 日本", 'o\'brien \\ $HOME "q"'])
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path, where: str) -> None:
    python = tmp_path / where / "bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    spec = Spec(str(python), Path("/tmp/crash.log"), (("DROPSCRIBE_PROMPT", '50% of "$HOME" \\n'),))
    unit = tmp_path / "dropscribe.service"
    unit.write_bytes(service.choose_manager("linux").render(spec))

    def verify() -> subprocess.CompletedProcess[str]:
        environ = {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        command = ["systemd-analyze", "verify", "--user", "--man=no", str(unit)]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)

    answer = verify()
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")
    if "'" not in where:  # there the program is `env`, and systemd does not look further
        python.unlink()
        assert f"Command {python} is not executable" in verify().stderr


def test_words_of_a_unit_are_quoted() -> None:
    assert quote_word("/usr/bin/python3.11") == "/usr/bin/python3.11"
    assert quote_word("PATH=a b") == '"PATH=a b"'
    assert quote_word('50% \\ "x"') == r'"50%% \\ \"x\""'
    assert quote_word(";") == '";"'
    assert write_command(("/a b/python", "-m", "x$y")) == '"/a b/python" -m "x$$y"'
    assert write_command(("/o'b/$x", "run")) == '/usr/bin/env "/o\'b/$$x" run'


@pytest.mark.parametrize("bad", ["/bin/py\nthon", "/bin/py\0", "/bin/\udcff", "", "python", "./python"])
def test_what_no_service_file_can_hold_is_refused(bad: str) -> None:
    with pytest.raises(UsageError) as caught:
        Spec(bad, Path("/tmp/crash.log"))
    assert caught.value.exit_code is Exit.USAGE


# What is to be run ----------------------------------------------------------------------------------------


def test_only_our_own_variables_are_kept_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    environ = {
        "PATH": "/home/ada/tricks",
        "LANG": "de_DE.UTF-8",
        "HF_HOME": "/big/hub",
        "HF_TOKEN": "hf_secret",
        "DROPSCRIBE_MODEL": "large-v3",
        "DROPSCRIBE_INBOX": "in",
        "DROPSCRIBE_OUTBOX": "~/Out",
        "DROPSCRIBE_LANGUAGE": "",
        "DROPSCRIBE_WHISPERX_PYTHON": "x/bin/python",
        "XDG_CONFIG_HOME": "/home/ada/.config",
        "XDG_SESSION_ID": "7",
        "XDG_RUNTIME_DIR": "/run/user/501",
    }
    assert make_spec(environ, "/v/bin/python", logs=Path("/l"), platform="linux") == Spec(
        interpreter="/v/bin/python",
        crash_log=Path("/l/crash.log"),
        environment=(
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
            ("DROPSCRIBE_INBOX", f"{tmp_path}/in"),
            ("DROPSCRIBE_MODEL", "large-v3"),
            ("DROPSCRIBE_OUTBOX", "/home/ada/Out"),
            ("DROPSCRIBE_WHISPERX_PYTHON", f"{tmp_path}/x/bin/python"),
            ("HF_HOME", "/big/hub"),
            ("XDG_CONFIG_HOME", "/home/ada/.config"),
        ),
        arguments=("-m", "dropscribe", "run"),
        label="app.dropscribe",
    )


def test_a_homebrew_path_becomes_the_link_that_outlives_an_upgrade(tmp_path: Path) -> None:
    keg = tmp_path / "Cellar/python@3.13/3.13.1"
    (keg / "bin").mkdir(parents=True)
    python = keg / "bin/python3.13"
    python.touch()
    assert find_stable_interpreter(str(python)) == str(python)  # no link: nothing better is known
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/python@3.13").symlink_to(keg)
    assert find_stable_interpreter(str(python)) == f"{tmp_path}/opt/python@3.13/bin/python3.13"


def test_the_python_of_a_virtual_environment_is_not_resolved(tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert find_stable_interpreter(str(python)) == str(python)


@pytest.mark.parametrize(
    "passing",
    [
        "/home/ada/.cache/uv/archive-v0/x1/bin/python",
        "/Users/ada/Library/Caches/uv/environments-v2/ab/bin/python",
        "/home/ada/.local/pipx/.cache/ab12/bin/python",
        "",
        "python3",
    ],
)
def test_an_interpreter_that_will_not_stay_is_refused(passing: str) -> None:
    with pytest.raises(UsageError):
        find_stable_interpreter(passing)


def test_the_platform_decides_and_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [service.choose_manager(name).name for name in ("macos", "linux")] == ["launchd", "systemd"]
    with pytest.raises(UsageError, match="plan9"):
        service.choose_manager("plan9")  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "platform", "freebsd14")
    with pytest.raises(ServiceError, match="freebsd14"):
        service.choose_manager()


# launchd ------------------------------------------------------------------------------------------------------


def test_launchd_installs(mac: Machine) -> None:
    path = mac.home / "Library/LaunchAgents/app.dropscribe.plist"
    assert mac.manager().install(mac.spec) == Outcome("installed", f"Installed as {path}, and started.")
    assert mac.state()["calls"] == [
        ["print", "gui/501/app.dropscribe"],
        ["enable", "gui/501/app.dropscribe"],
        ["bootstrap", "gui/501", str(path)],
    ]
    assert path.read_bytes() == mac.manager().render(mac.spec)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert mac.spec.crash_log.parent.is_dir()
    assert mac.manager().status(mac.spec) == Status(
        installed=True, running=True, pid=1, enabled=True, detail="running", file=path, differs=False
    )


def test_launchd_starts_an_unchanged_one_anew(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.calls()
    assert mac.manager().install(mac.spec).action == "restarted"
    assert mac.calls() == ["print", "enable", "kickstart -k"]


def test_launchd_replaces_one_that_differs_and_waits_until_the_old_one_is_gone(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.set(slow=3)
    mac.calls()
    other = dataclasses.replace(mac.spec, interpreter="/other/bin/python")
    assert mac.manager().status(other).differs
    mac.calls()
    assert mac.manager().install(other).action == "replaced"
    assert mac.calls() == ["print", "enable", "bootout", *["print"] * 4, "bootstrap"]
    assert mac.slept == [0.25] * 3
    assert plistlib.loads(mac.manager().path().read_bytes())["ProgramArguments"][0] == "/other/bin/python"


def test_launchd_loads_one_whose_file_is_there_already(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.manager().stop()
    mac.calls()
    assert mac.manager().install(mac.spec).action == "started"
    assert mac.calls() == ["print", "enable", "bootstrap"]


def test_launchd_that_never_lets_go_is_told_after_a_bounded_wait(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.set(slow=100_000)
    with pytest.raises(ServiceError, match=r"not let go of the service within 21 s \(Boot-out failed: 36"):
        mac.manager(patience=1.0).stop()
    assert mac.now == 21


def test_launchd_error_5_twice_and_then_fine(mac: Machine) -> None:
    mac.set(errors={"bootstrap": [[5, "Bootstrap failed: 5: Input/output error"]] * 2})
    assert mac.manager().install(mac.spec).action == "installed"
    assert mac.calls() == ["print", "enable", *["bootstrap", "print"] * 2, "bootstrap"]
    assert mac.slept == [0.5, 1.0]


def test_launchd_error_5_for_ever_is_told(mac: Machine) -> None:
    mac.set(errors={"bootstrap": [[5, "Bootstrap failed: 5: Input/output error"]] * 9})
    with pytest.raises(ServiceError) as caught:
        mac.manager().install(mac.spec)
    assert caught.value.message == "`launchctl bootstrap` failed: Bootstrap failed: 5: Input/output error."
    assert caught.value.cure == "Look at `launchctl print gui/501/app.dropscribe` and try again."
    assert mac.slept == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_launchd_over_ssh_without_a_session_says_where_to_go(mac: Machine) -> None:
    text = "Bootstrap failed: 125: Domain does not support specified action"
    mac.set(errors={"bootstrap": [[125, text]]})
    with pytest.raises(ServiceError, match="at the Mac's own screen"):
        mac.manager().install(mac.spec)
    assert mac.slept == []


def test_launchd_is_not_for_root(mac: Machine) -> None:
    with pytest.raises(UsageError, match="without sudo"):
        mac.manager(uid=0).install(mac.spec)
    assert mac.calls() == []
    assert not mac.manager().path().exists()


def test_launchd_start_stop_restart_uninstall(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.calls()
    assert mac.manager().start() == Outcome("nothing", "It is running already, as process 1.")
    assert mac.calls() == ["print"]
    assert mac.manager().restart().action == "restarted"
    assert mac.calls() == ["print", "kickstart -k"]
    assert mac.manager().stop().action == "stopped"
    assert mac.calls() == ["print", "bootout", "print"]
    assert mac.manager().stop() == Outcome("nothing", "It was not running.")
    stopped = mac.manager().status(mac.spec)
    assert (stopped.installed, stopped.running, stopped.detail) == (True, False, "not loaded")
    mac.calls()
    assert mac.manager().restart().action == "started"
    assert mac.calls() == ["print", "print", "enable", "bootstrap"]
    assert mac.manager().uninstall().action == "uninstalled"
    assert mac.calls() == ["print", "bootout", "print"]
    assert not mac.manager().path().exists()
    assert mac.manager().uninstall() == Outcome("nothing", "It was not installed.")


def test_launchd_starts_one_that_is_loaded_but_waits(mac: Machine) -> None:
    mac.manager().install(mac.spec)
    mac.set(state="spawn scheduled", pid=0, last="2")
    status = mac.manager().status()
    assert (status.running, status.pid, status.detail) == (False, None, "spawn scheduled, last exit code 2")
    mac.calls()
    assert mac.manager().start().action == "started"
    assert mac.calls() == ["print", "enable", "kickstart -k"]


# systemd ------------------------------------------------------------------------------------------------------


def test_systemd_installs(linux: Machine) -> None:
    path = linux.home / ".config/systemd/user/dropscribe.service"
    assert linux.manager().install(linux.spec) == Outcome("installed", f"Installed as {path}, and started.")
    assert linux.calls() == ["show", "daemon-reload", "enable --now", "loginctl show-user 501"]
    assert path.read_bytes() == linux.manager().render(linux.spec)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert linux.manager().status(linux.spec) == Status(
        installed=True, running=True, pid=1, enabled=True, detail="active (running)", file=path, differs=False
    )


def test_systemd_installs_again_and_replaces_one_that_differs(linux: Machine) -> None:
    linux.manager().install(linux.spec)
    linux.calls()
    assert linux.manager().install(linux.spec).action == "restarted"
    steps = ["show", "daemon-reload", "enable --now", "restart", "loginctl show-user 501"]
    assert linux.calls() == steps
    other = dataclasses.replace(linux.spec, interpreter="/other/bin/python")
    assert linux.manager().status(other).differs
    linux.calls()
    assert linux.manager().install(other).action == "replaced"
    assert linux.calls() == steps
    assert b"ExecStart=/other/bin/python -m dropscribe run\n" in linux.manager().path().read_bytes()


@pytest.mark.parametrize(
    ("linger", "lead"),
    [("no", "Lingering is off: the service"), ("", "Whether lingering is on could not be")],
)
def test_systemd_says_when_the_service_would_end_with_the_login(linux: Machine, linger: str, lead: str) -> None:
    linux.set(linger=linger)
    outcome = linux.manager().install(linux.spec)
    assert outcome.action == "installed"
    assert len(outcome.notes) == 1
    assert outcome.notes[0].startswith(lead)
    assert "`loginctl enable-linger`" in outcome.notes[0]


def test_systemd_without_loginctl_still_installs(linux: Machine) -> None:
    (linux.bin / "loginctl").unlink()
    outcome = linux.manager().install(linux.spec)
    assert (outcome.action, len(outcome.notes)) == ("installed", 1)


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        (NO_BUS, "XDG_RUNTIME_DIR=/run/user/501"),
        (
            "Failed to connect to user scope bus via local transport: $DBUS_SESSION_BUS_ADDRESS",
            "log in as your",
        ),
        ("System has not been booted with systemd as init system (PID 1). Can't operate.", "a container"),
    ],
)
def test_systemd_without_a_bus_writes_nothing_and_says_what_to_do(linux: Machine, said: str, cure: str) -> None:
    linux.set(errors={"show": [[1, said]]})
    with pytest.raises(ServiceError, match=cure) as caught:
        linux.manager().install(linux.spec)
    assert said.rstrip(".") in caught.value.message
    assert not (linux.home / ".config").exists()


def test_systemd_that_looks_elsewhere_says_so(linux: Machine) -> None:
    environ = {"XDG_CONFIG_HOME": str(linux.home / "elsewhere")}
    with pytest.raises(ServiceError, match="unset XDG_CONFIG_HOME"):
        linux.manager(environ=environ).install(linux.spec)


def test_systemd_start_that_fails_is_told_with_where_to_look(linux: Machine) -> None:
    linux.manager().install(linux.spec)
    linux.set(state="failed", pid=0, last="exit-code", errors={"start": [[1, "Job for it failed."]]})
    assert linux.manager().status().detail == "failed (failed), last result exit-code 2"
    with pytest.raises(ServiceError) as caught:
        linux.manager().start()
    assert str(caught.value) == (
        "`systemctl --user start` failed: Job for it failed. Look at `systemctl --user status "
        "dropscribe.service` and `journalctl --user -u dropscribe.service`."
    )


def test_systemd_start_stop_restart_uninstall(linux: Machine) -> None:
    linux.manager().install(linux.spec)
    linux.calls()
    assert linux.manager().start() == Outcome("nothing", "It is running already, as process 1.")
    assert linux.calls() == ["show"]
    assert linux.manager().restart().action == "restarted"
    assert linux.calls() == ["show", "restart", "loginctl show-user 501"]
    assert linux.manager().stop().action == "stopped"
    assert linux.calls() == ["show", "stop"]
    assert linux.manager().stop() == Outcome("nothing", "It was not running.")
    linux.calls()
    assert linux.manager().start().action == "started"
    assert linux.calls() == ["show", "start", "loginctl show-user 501"]
    assert linux.manager().uninstall().action == "uninstalled"
    assert linux.calls() == ["disable --now", "daemon-reload", "reset-failed"]
    assert not linux.manager().path().exists()
    assert linux.manager().uninstall() == Outcome("nothing", "It was not installed.")
    assert linux.calls() == []


# Both -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["macos", "linux"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.mark.parametrize("command", ["start", "stop", "restart"])
def test_what_is_not_installed_cannot_be_commanded(machine: Machine, command: str) -> None:
    with pytest.raises(ServiceError, match=r"not installed as a service\. Run `dropscribe service install`"):
        getattr(machine.manager(), command)()


def test_the_status_of_what_is_not_installed(machine: Machine) -> None:
    status = machine.manager().status(machine.spec)
    assert (status.installed, status.running, status.pid, status.enabled, status.differs) == (
        False,
        False,
        None,
        False,
        False,
    )


def test_a_program_that_hangs_is_ended(machine: Machine) -> None:
    verb = {"macos": "print", "linux": "show"}[machine.platform]
    machine.set(hang=verb)
    with pytest.raises(ServiceError, match=rf"{verb} .*gave no answer within 1 s"):
        machine.manager(patience=1.0).install(machine.spec)
    assert not machine.manager().path().exists()


def test_a_missing_program_is_told(machine: Machine) -> None:
    for program in machine.bin.iterdir():
        program.unlink()
    with pytest.raises(ServiceError, match="cannot be run here: No such file or directory"):
        machine.manager().install(machine.spec)
    assert not machine.manager().path().exists()


def test_a_folder_that_cannot_be_written_is_told(machine: Machine) -> None:
    machine.manager().path().parent.parent.mkdir(parents=True)
    machine.manager().path().parent.write_text("a file where the folder should be")
    with pytest.raises(ServiceError, match=r"cannot be (made|written)"):
        machine.manager().install(machine.spec)


# packaging/bootstrap.py -------------------------------------------------------------------------------------

BOOTSTRAP = ROOT / "packaging/bootstrap.py"


def bootstrap(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BOOTSTRAP), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_nothing_that_asks_for_pytorch_is_installed_with_its_dependencies() -> None:
    spec = importlib.util.spec_from_file_location("bootstrap", BOOTSTRAP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(line.startswith(("mlx-whisper", "torch")) for line in project["dependencies"])
    assert module.steps(project, ["starter"], mlx=False, editable=False) == [[f"{ROOT}[starter]"]]
    assert module.steps(project, ["starter"], mlx=True, editable=True) == [
        ["--editable", f"{ROOT}[starter]"],
        ["--no-deps", "mlx-whisper==0.4.3"],
    ]


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("echo 3.9.18", "needs Python 3.11 or newer, and"),
        ("echo 3.11.2; case $1 in -m) echo ensurepip is not available; exit 1;; esac", "apt install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_told(tmp_path: Path, says: str, told: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{says}\n")
    python.chmod(0o755)
    answer = bootstrap("demo", "--python", str(python), "--venv", str(tmp_path / "venv"))
    assert answer.returncode == 1
    assert told in answer.stdout
    assert not (tmp_path / "venv").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("Chapter 1")
    answer = bootstrap("test", "--venv", str(tmp_path))
    assert (answer.returncode, [path.name for path in tmp_path.iterdir()]) == (1, ["novel.txt"])
    assert "is no environment" in answer.stdout


def test_the_sample_is_small_and_can_be_decoded() -> None:
    import av

    path = ROOT / "daemon/dropscribe/sample.ogg"
    assert path.stat().st_size < 200_000
    with av.open(str(path)) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert 18 < seconds < 20


if __name__ == "__main__":
    for platform, path in GOLDEN.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rendered(platform))
