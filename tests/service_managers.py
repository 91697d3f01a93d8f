"""Service managers for tests: real processes on PATH that play launchctl, systemctl and loginctl.

`python tests/service_managers.py` writes the golden files in packaging/ again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dropscribe import service
from dropscribe.service import (
    Manager,
    Platform,
    Spec,
    make_spec,
)

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
if verb == "bootstrap" and state.get("forgets"):  # loaded, and no process
    state.update(forgets=0, loaded=True, state="not running", pid=0)
elif verb in ("bootstrap", "kickstart"):
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


def example(platform: Platform) -> Spec:
    """Return what `service print` gives a person named Ada who installed with uv."""
    home = HOMES[platform]
    python = f"{home}/.local/share/uv/tools/dropscribe/bin/python"
    return make_spec({"HOME": str(home)}, python, logs=home / LOGS[platform], platform=platform)


def render_example(platform: Platform) -> bytes:
    return service.choose_manager(platform, home=HOMES[platform], environ={}, uid=501).render(example(platform))


if __name__ == "__main__":
    for platform, path in GOLDEN.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render_example(platform))
