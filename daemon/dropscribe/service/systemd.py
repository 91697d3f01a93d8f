"""The service on Linux: a unit of the person's own systemd (`systemctl --user`).

Guarantees: nothing is written before systemd has answered; a note says so when the service would
end with the person's last login (lingering is off).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.service.manager import STOP_SECONDS, Outcome, Status
from dropscribe.service.tools import Answer, ServiceError, Tools, read_file, remove_file, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dropscribe.service.spec import Spec

UNIT = "dropscribe.service"

_TEMPLATE = """\
[Unit]
Description=Dropscribe: transcribes what is dropped into a folder
# Never give up: without this, five starts in ten seconds are the last.
StartLimitIntervalSec=0

[Service]
# The start has failed when the program cannot be run, and systemctl says so.
Type=exec
ExecStart={command}
{environment}
# As under launchd: every path is absolute, and `python -m` would import what lies in this folder.
WorkingDirectory=/

# Exit 0 is a stop on purpose. Exit 2 is an error in the settings: only a person can mend it. For another
# daemon on this inbox `--wait` waits, so that exit 5 does not come.
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=2

# SIGTERM to the daemon alone, which ends its worker in order; SIGKILL to all that is left then.
KillMode=mixed
TimeoutStopSec={stop}
# A worker that ran out of memory is replaced by the daemon. The default would stop the service.
OOMPolicy=continue

# Transcripts are private.
UMask=0077
# What a damaged recording might do to a decoder must not gain rights: the worker, which decodes, gives them up
# itself (no_new_privs). Not here: NoNewPrivileges, and everything that implies it for a person's own unit
# (RestrictSUIDSGID, LockPersonality, SystemCallArchitectures, ...), would also hold for hooks, and what sends
# mail is often setgid.
# Nothing that hides or freezes folders (ProtectSystem, ProtectHome, PrivateTmp): inbox and outbox may be
# anywhere, and a person's systemd needs user namespaces for them, which some systems forbid.
# No Nice, no CPUQuota: a transcript is waited for.

[Install]
WantedBy=default.target
"""
# What is written outside our own log goes to the journal: systemd's default, and it rotates.


def quote_word(text: str) -> str:
    """Return `text` as one word of a unit; quotes, backslashes and `%` keep their own meaning."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[A-Za-z0-9/._:-]+", text) else f'"{escaped}"'


def unquote_word(word: str) -> str:
    """Return the text that `quote_word` made a word of."""
    inner = re.fullmatch(r'"(.*)"', word.strip())
    return re.sub(r"\\(.)|%%", lambda m: m[1] or "%", inner[1]) if inner else word.strip()


def write_command(command: Sequence[str]) -> str:
    """Return `command` for ExecStart.

    systemd takes quotes and backslashes in a program's own path for a mistake, and cannot escape a
    `$` there; in the words after it both are possible. So such a path goes through `env`, which
    becomes the program.
    """
    program, *arguments = command
    if re.search(r"[\"'\\$]", program):
        program, arguments = "/usr/bin/env", list(command)
    return " ".join((quote_word(program), *(quote_word(word.replace("$", "$$")) for word in arguments)))


@dataclass(frozen=True, slots=True)
class Systemd:
    """See `dropscribe.service.Manager`."""

    tools: Tools
    home: Path
    uid: int
    name: str = "systemd"

    def render(self, spec: Spec) -> bytes:
        """Return the unit for `spec`."""
        lines = (f"Environment={quote_word(f'{name}={value}')}" for name, value in spec.environment)
        return _TEMPLATE.format(
            command=write_command(spec.command), environment="\n".join(lines), stop=STOP_SECONDS
        ).encode()

    def path(self) -> Path:
        """Return where systemd looks for a person's units."""
        config = self.tools.environ.get("XDG_CONFIG_HOME", "")
        return Path(config if config.startswith("/") else self.home / ".config") / "systemd/user" / UNIT

    def read_environment(self) -> dict[str, str] | None:
        """See `Manager.read_environment`."""
        if (content := read_file(self.path())) is None:
            return None
        lines = re.findall(r"^Environment=(.*)$", content.decode("utf-8", "replace"), re.MULTILINE)
        return dict(unquote_word(line).partition("=")[::2] for line in lines)

    def install(self, spec: Spec) -> Outcome:
        """See `Manager.install`."""
        content, before, was = self.render(spec), read_file(self.path()), self._show()
        if before != content:
            write_file(self.path(), content)
        self._systemctl("daemon-reload")
        self._systemctl("enable", "--now", UNIT, more=STOP_SECONDS)
        if was.get("ActiveState") == "active":
            self._systemctl("restart", UNIT, more=STOP_SECONDS)
        notes = self._list_notes()
        if before is None:
            return Outcome("installed", f"Installed as {self.path()}, and started.", notes)
        if before != content:
            return Outcome(
                "replaced", f"{self.path()} differed and was replaced; the service was started again.", notes
            )
        if was.get("ActiveState") == "active":
            return Outcome("restarted", f"It was installed already, as {self.path()}; it was started again.", notes)
        return Outcome("started", f"It was installed already, as {self.path()}; it was started.", notes)

    def uninstall(self) -> Outcome:
        """See `Manager.uninstall`."""
        if read_file(self.path()) is None:
            return Outcome("nothing", "It was not installed.")
        self._systemctl("disable", "--now", UNIT, more=STOP_SECONDS)
        remove_file(self.path())
        self._systemctl("daemon-reload")
        self._ask("reset-failed", UNIT)  # so that a crash of the past is not listed for ever; it may have had none
        return Outcome("uninstalled", f"Stopped, and {self.path()} removed.")

    def start(self) -> Outcome:
        """See `Manager.start`."""
        shown = self._require_installed()
        if shown.get("ActiveState") == "active":
            return Outcome("nothing", f"It is running already, as process {shown.get('MainPID')}.")
        self._systemctl("start", UNIT, more=STOP_SECONDS)
        return Outcome("started", "Started.", self._list_notes())

    def stop(self) -> Outcome:
        """See `Manager.stop`."""
        if self._require_installed().get("ActiveState") in {"inactive", "failed"}:
            return Outcome("nothing", "It was not running.")
        self._systemctl("stop", UNIT, more=STOP_SECONDS)
        return Outcome(
            "stopped", "Stopped; it starts again at the next login, or with the machine if lingering is on."
        )

    def restart(self) -> Outcome:
        """See `Manager.restart`."""
        self._require_installed()
        self._systemctl("restart", UNIT, more=STOP_SECONDS)
        return Outcome("restarted", "Started again.", self._list_notes())

    def status(self, spec: Spec | None = None) -> Status:
        """See `Manager.status`."""
        shown, content = self._show(), read_file(self.path())
        detail = f"{shown.get('ActiveState', 'unknown')} ({shown.get('SubState', 'unknown')})"
        if shown.get("Result", "success") != "success":
            detail += f", last result {shown['Result']} {shown.get('ExecMainStatus', '')}".rstrip()
        pid = int(shown.get("MainPID", "0"))
        return Status(
            installed=content is not None,
            running=shown.get("ActiveState") == "active",
            pid=pid or None,
            enabled=shown.get("UnitFileState") == "enabled",
            detail=detail,
            file=self.path(),
            differs=content is not None and spec is not None and content != self.render(spec),
        )

    def _ask(self, *arguments: str, more: float = 0.0) -> Answer:
        return self.tools.ask("systemctl", "--user", "--no-pager", *arguments, more=more)

    def _systemctl(self, *arguments: str, more: float = 0.0) -> Answer:
        answer = self._ask(*arguments, more=more)
        if not answer.code:
            return answer
        words = answer.words
        cure = f"Look at `systemctl --user status {UNIT}` and `journalctl --user -u {UNIT}`."
        if "not been booted with systemd" in words:
            cure = (
                "systemd does not run this machine (a container?): have `dropscribe run` started by whatever "
                "starts programs here."
            )
        elif "connect to bus" in words or "connect to user scope bus" in words:
            cure = (
                "This login cannot reach a systemd of its own, as it is after `sudo` or `su`: log in as "
                f"yourself, or set XDG_RUNTIME_DIR=/run/user/{self.uid}, and try again. In a container, have "
                "`dropscribe run` started by whatever starts programs there."
            )
        elif "does not exist" in words or "not found" in words:
            cure = (
                f"systemd may not look into {self.path().parent}: unset XDG_CONFIG_HOME, or set it for "
                "systemd too (environment.d), and try again."
            )
        raise ServiceError(f"`systemctl --user {arguments[0]}` failed: {words.rstrip('.')}.", cure)

    def _show(self) -> dict[str, str]:
        names = "ActiveState,SubState,MainPID,UnitFileState,Result,ExecMainStatus"
        lines = self._systemctl("show", UNIT, f"--property={names}").out.splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def _require_installed(self) -> dict[str, str]:
        if read_file(self.path()) is None:
            raise ServiceError("Dropscribe is not installed as a service.", "Run `dropscribe service install`.")
        return self._show()

    def _list_notes(self) -> tuple[str, ...]:
        try:
            answer = self.tools.ask("loginctl", "show-user", str(self.uid), "--property=Linger", "--value")
            linger = answer.out.strip()
        except ServiceError:
            linger = ""
        if linger == "yes":
            return ()
        lead = "Lingering is off:" if linger == "no" else "Whether lingering is on could not be learned. If not,"
        return (f"{lead} the service runs only while you are logged in. `loginctl enable-linger` turns it on.",)
