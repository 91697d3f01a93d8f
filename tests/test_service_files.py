"""The service file: what it says, for which interpreter, and that other programs read it the same way."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dropscribe import service
from dropscribe.errors import Exit, UsageError
from dropscribe.service import (
    Platform,
    ServiceError,
    Spec,
    find_stable_interpreter,
    make_spec,
)
from dropscribe.service.systemd import quote_word, write_command
from service_managers import GOLDEN, ODD, render_example


@pytest.mark.parametrize("platform", GOLDEN)
def test_the_golden_file_is_what_is_rendered(platform: Platform) -> None:
    assert render_example(platform) == GOLDEN[platform].read_bytes(), "run `python tests/service_managers.py`"


EXPECTED_PLIST = {
    "Label": "app.dropscribe",
    "ProgramArguments": [
        "/Users/ada/.local/share/uv/tools/dropscribe/bin/python",
        "-m",
        "dropscribe",
        "run",
        "--wait",
    ],
    "EnvironmentVariables": {
        "PATH": "/Users/ada/.local/bin:/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    },
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


DOCUMENTED: dict[str, type | tuple[type, ...]] = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": (bool, dict),
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "Umask": (int, str),
    "StandardOutPath": str,
    "StandardErrorPath": str,
}
"""Type of each key that we write, as Apple's manual page launchd.plist(5) has it."""
KEEP_ALIVE = {"SuccessfulExit", "NetworkState", "PathState", "OtherJobEnabled", "Crashed", "AfterInitialDemand"}
PROCESS_TYPES = {"Background", "Standard", "Adaptive", "Interactive"}


def test_the_property_list_is_as_apples_manual_has_it() -> None:
    found = plistlib.loads(render_example("macos"))
    for key, value in found.items():
        assert isinstance(value, DOCUMENTED[key]), key
        assert not isinstance(value, bool) or DOCUMENTED[key] is not int, key
    assert found["KeepAlive"].keys() <= KEEP_ALIVE
    assert found["ProcessType"] in PROCESS_TYPES
    assert all(isinstance(word, str) for word in found["ProgramArguments"])
    assert all(isinstance(value, str) for value in found["EnvironmentVariables"].values())
    assert all(found[key].startswith("/") for key in ("StandardOutPath", "StandardErrorPath"))
    assert found["ExitTimeOut"] > 0
    assert found["ThrottleInterval"] > 0


@pytest.mark.skipif(shutil.which("plistutil") is None, reason="plistutil (libplist-utils) is not installed")
def test_a_second_parser_reads_the_same_property_list(tmp_path: Path) -> None:
    odd = Spec(ODD, Path("/tmp/ü/<&>.log"), (("DROPSCRIBE_PROMPT", "<Ä> & 100%"),))
    for name, content in {
        "golden": render_example("macos"),
        "odd": service.choose_manager("macos").render(odd),
    }.items():
        source, binary = tmp_path / f"{name}.plist", tmp_path / f"{name}.bin"
        source.write_bytes(content)
        subprocess.run(["plistutil", "-i", source, "-o", binary, "-f", "bin"], check=True, timeout=60)
        assert binary.read_bytes().startswith(b"bplist00")
        assert plistlib.loads(binary.read_bytes()) == plistlib.loads(content)


def test_odd_paths_come_back_from_the_property_list() -> None:
    found = plistlib.loads(service.choose_manager("macos").render(Spec(ODD, Path("/tmp/ü <&>.log"))))
    assert found["ProgramArguments"] == [ODD, "-m", "dropscribe", "run", "--wait"]
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
            ("PATH", "/home/ada/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"),
            ("DROPSCRIBE_INBOX", f"{tmp_path}/in"),
            ("DROPSCRIBE_MODEL", "large-v3"),
            ("DROPSCRIBE_OUTBOX", "/home/ada/Out"),
            ("DROPSCRIBE_WHISPERX_PYTHON", f"{tmp_path}/x/bin/python"),
            ("HF_HOME", "/big/hub"),
            ("XDG_CONFIG_HOME", "/home/ada/.config"),
        ),
        arguments=("-m", "dropscribe", "run", "--wait"),
        label="app.dropscribe",
    )


def test_what_leads_to_a_gpu_or_through_a_proxy_is_kept_but_for_passwords() -> None:
    kept = {
        "CUDA_VISIBLE_DEVICES": "1",
        "LD_LIBRARY_PATH": "/opt/cudnn/lib",
        "NO_PROXY": "a,b",
        "SSL_CERT_FILE": "/etc/our-ca.pem",
        "http_proxy": "http://ada@proxy:3128",
    }
    secret = {"HTTPS_PROXY": "http://ada:hush@proxy:3128", "all_proxy": "ada:hush@proxy", "HTTP_PROXY": "http://[:x@"}
    others = {"HOME": "/home/ada", "LD_PRELOAD": "/x.so", "PYTHONPATH": "/y"}
    spec = make_spec(kept | secret | others, "/v/bin/python", logs=Path("/l"), platform="linux")
    assert dict(spec.environment[1:]) == kept
    notes = service.list_notes(kept | secret | others)
    assert [note.split(" ")[0] for note in notes] == ["HTTPS_PROXY", "HTTP_PROXY", "all_proxy"]
    assert "hush" not in str(notes)


@pytest.mark.parametrize("platform", GOLDEN)
def test_the_variables_of_an_installed_file_are_read_back(platform: Platform, tmp_path: Path) -> None:
    manager = service.choose_manager(platform, home=tmp_path, environ={}, uid=501)
    assert manager.read_environment() is None
    wanted = (("PATH", "/a b:/c"), ("DROPSCRIBE_PROMPT", 'Ä = 50% of "$HOME" \\n'), ("HF_HOME", "/hub"))
    manager.path().parent.mkdir(parents=True)
    manager.path().write_bytes(manager.render(Spec("/bin/python", Path("/l"), wanted)))
    assert manager.read_environment() == dict(wanted)
    manager.path().write_bytes(b"<plist> of nothing")
    assert manager.read_environment() == {}


def test_differing_variables_are_named_and_no_address_is_shown() -> None:
    installed = {"PATH": "/a", "DROPSCRIBE_INBOX": "/in", "DROPSCRIBE_WEBHOOK": "https://x/secret"}
    here = {"PATH": "/a", "DROPSCRIBE_MODEL": "tiny", "DROPSCRIBE_INBOX": "/other"}
    assert service.compare_environments(installed, here) == (
        "DROPSCRIBE_INBOX (in the service: /in)",
        "DROPSCRIBE_MODEL (not in the service)",
        "DROPSCRIBE_WEBHOOK (in the service: another one)",
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
