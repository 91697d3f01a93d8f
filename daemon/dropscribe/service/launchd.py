"""The service on macOS: an agent of launchd in the person's own session.

Guarantees: only `enable`, `bootout`, `print`, `bootstrap` and `kickstart` are used, never `load`
or `unload`; what `print` says decides, not another command's exit code; every wait has an end.
"""

from __future__ import annotations

import plistlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

from dropscribe.errors import UsageError
from dropscribe.service.manager import STOP_SECONDS, Outcome, Status
from dropscribe.service.spec import LABEL
from dropscribe.service.tools import Answer, ServiceError, Tools, make_folder, read_file, remove_file, write_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dropscribe.service.spec import Spec

_NOT_FOUND = 113
"""`launchctl print`: there is no such service."""
_BUSY = (5, 37)
"""`launchctl bootstrap`: "Input/output error" and "already in progress", while the old one ends."""
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further `bootstrap`."""
_POLL = 0.25
"""Seconds between two looks at a service that is ending."""


@dataclass(frozen=True, slots=True)
class Launchd:
    """See `dropscribe.service.Manager`."""

    tools: Tools
    home: Path
    uid: int
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    name: str = "launchd"

    def render(self, spec: Spec) -> bytes:
        """Return the property list for `spec`. Keys that are left out are named, with the reason."""
        return plistlib.dumps(
            {
                "Label": spec.label,
                # The interpreter itself (no `Program` next to it: the first argument says it all).
                "ProgramArguments": list(spec.command),
                # launchd gives PATH without Homebrew, and nothing of a shell's variables.
                "EnvironmentVariables": dict(spec.environment),
                # Started when it is loaded, which is at every login.
                "RunAtLoad": True,
                # Started again after a crash or a kill, not after exit 0. Nothing else in it:
                # `Crashed` or `NetworkState` next to it would be "or". A settings error (exit 2)
                # is tried every 30 s, which is cheap, and ends by itself once the settings are
                # corrected.
                "KeepAlive": {"SuccessfulExit": False},
                # Least seconds between two starts (launchd has 10): a crash loop costs battery.
                "ThrottleInterval": 30,
                # Seconds from SIGTERM to SIGKILL; unset it differed between systems, down to 5.
                "ExitTimeOut": STOP_SECONDS,
                # Background, Standard or unset throttle CPU and GPU several times over
                # (dryvist/nix-ai#916: 11 against 87 tokens/s; gitlab-runner#29089: 36:42 against
                # 5:48). For the same reason there is no Nice, no LowPriorityIO and no
                # LowPriorityBackgroundIO.
                "ProcessType": "Interactive",
                # 077 in octal; a property list has only decimal integers. Transcripts are private.
                "Umask": 0o077,
                # Only what a crash leaves: our own log is JSON, and rotated by us. launchd keeps
                # these files open, so a rotated one would be written on under its new name.
                "StandardOutPath": str(spec.crash_log),
                "StandardErrorPath": str(spec.crash_log),
                # WorkingDirectory: left at /. `python -m` imports what is in it.
                # LimitLoadToSessionType: left at Aqua, which has the person's disks and grants.
                # AbandonProcessGroup: left false, so that no worker outlives the daemon.
                # SoftResourceLimits: 256 open files are plenty; the worker asks for more itself.
                # EnableTransactions, EnablePressuredExit: would allow a SIGKILL during work.
                # WatchPaths, QueueDirectories: would start it per file and keep no model loaded.
            },
            sort_keys=False,
        )

    def path(self) -> Path:
        """Return where launchd looks for a person's agents at login."""
        return self.home / "Library/LaunchAgents" / f"{LABEL}.plist"

    def read_environment(self) -> dict[str, str] | None:
        """See `Manager.read_environment`. A file that somebody broke has none."""
        if (content := read_file(self.path())) is None:
            return None
        try:
            found = plistlib.loads(content)["EnvironmentVariables"]
            return {str(name): str(value) for name, value in found.items()}
        except (ValueError, KeyError, AttributeError, TypeError, ExpatError):
            return {}

    def install(self, spec: Spec) -> Outcome:
        """See `Manager.install`. One that did not change is only restarted, so that new code runs."""
        content, before, loaded = self.render(spec), read_file(self.path()), self._query() is not None
        # launchd makes the log file but not its folder, and without that starts nothing (exit 78).
        make_folder(spec.crash_log.parent)
        self._launchctl("enable", self._target)  # undoes a `disable`, which else makes bootstrap fail
        if before == content and loaded:
            self._kickstart()
            return Outcome("restarted", f"It was installed already, as {self.path()}; it was started again.")
        if before != content:
            write_file(self.path(), content)
        if loaded:
            self._bootout()
        self._bootstrap()
        if before is None:
            return Outcome("installed", f"Installed as {self.path()}, and started.")
        if before != content:
            return Outcome("replaced", f"{self.path()} differed and was replaced; the service was started again.")
        return Outcome("started", f"It was installed already, as {self.path()}; it was started.")

    def uninstall(self) -> Outcome:
        """See `Manager.uninstall`."""
        loaded, there = self._query() is not None, read_file(self.path()) is not None
        if loaded:
            self._bootout()
        remove_file(self.path())
        if not (loaded or there):
            return Outcome("nothing", "It was not installed.")
        return Outcome("uninstalled", f"Stopped, and {self.path()} removed.")

    def start(self) -> Outcome:
        """See `Manager.start`."""
        state = self._require_installed()
        if state is not None and state.running:
            return Outcome("nothing", f"It is running already, as process {state.pid}.")
        self._launchctl("enable", self._target)
        if state is None:
            self._bootstrap()
        else:
            self._kickstart()
        return Outcome("started", "Started.")

    def stop(self) -> Outcome:
        """See `Manager.stop`. Only what is not loaded is surely not started again: no signal."""
        if self._require_installed() is None:
            return Outcome("nothing", "It was not running.")
        self._bootout()
        return Outcome("stopped", "Stopped; it starts again at the next login.")

    def restart(self) -> Outcome:
        """See `Manager.restart`."""
        if self._require_installed() is None:
            return self.start()
        self._kickstart()
        return Outcome("restarted", "Started again.")

    def status(self, spec: Spec | None = None) -> Status:
        """See `Manager.status`."""
        state, content = self._query(), read_file(self.path())
        there = content is not None
        return Status(
            installed=there,
            running=state is not None and state.running,
            pid=state.pid if state else None,
            # A file in that folder is loaded at login. launchd's own list of the disabled is not
            # asked: `install` and `start` take the service off it.
            enabled=there,
            detail=state.detail if state else "not loaded",
            file=self.path(),
            differs=there and spec is not None and content != self.render(spec),
        )

    @property
    def _domain(self) -> str:
        if self.uid == 0:
            raise UsageError(
                "Dropscribe is a service of one person, not of root.",
                "Run the command without sudo, as yourself.",
            )
        return f"gui/{self.uid}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"

    def _launchctl(self, *arguments: str, allowed: tuple[int, ...] = (), more: float = 0.0) -> Answer:
        answer = self.tools.ask("launchctl", *arguments, more=more)
        if answer.code and answer.code not in allowed:
            raise self._make_error(arguments, answer)
        return answer

    def _make_error(self, arguments: tuple[str, ...], answer: Answer) -> ServiceError:
        cure = f"Look at `launchctl print {self._target}` and try again."
        if re.search(r"find domain|domain does not support", answer.words, re.IGNORECASE):
            cure = "Log in at the Mac's own screen (not only over ssh), and run the command there."
        elif answer.code in _BUSY and arguments[0] == "bootstrap":  # also what a session without a screen gets
            cure = f"{cure} Over ssh: log in at the Mac's own screen first."
        return ServiceError(f"`launchctl {arguments[0]}` failed: {answer.words}.", cure)

    def _query(self) -> _Loaded | None:
        answer = self._launchctl("print", self._target, allowed=(_NOT_FOUND,))
        return None if answer.code else _Loaded.parse(answer.out)

    def _require_installed(self) -> _Loaded | None:
        state = self._query()
        if state is None and read_file(self.path()) is None:
            raise ServiceError("Dropscribe is not installed as a service.", "Run `dropscribe service install`.")
        return state

    def _kickstart(self) -> None:
        """Start it again. One that launchd has let go of meanwhile is loaded."""
        answer = self._launchctl("kickstart", "-k", self._target, allowed=(_NOT_FOUND,), more=STOP_SECONDS)
        if answer.code:
            self._bootstrap()

    def _bootout(self) -> None:
        """Unload it and wait until it is gone: `bootout` may return when it has only begun to go."""
        limit = STOP_SECONDS + self.tools.patience
        end = self.clock() + limit
        # Its exit code says little: 3 when it is gone already, 36 while it is going.
        answer = self.tools.ask("launchctl", "bootout", self._target, more=STOP_SECONDS)
        while self._query() is not None:
            if self.clock() >= end:
                said = f" ({answer.words})" if answer.code else ""
                raise ServiceError(
                    f"launchd has not let go of the service within {limit:g} s{said}.",
                    "Try again; if it stays so, log out and in again.",
                )
            self.sleep(_POLL)

    def _bootstrap(self) -> None:
        """Load it, which starts it. For a while after `bootout` launchd may refuse with error 5."""
        arguments = ("bootstrap", self._domain, str(self.path()))
        for pause in (*_PAUSES, None):
            answer = self.tools.ask("launchctl", *arguments)
            if not answer.code:
                self._start_loaded()
                return
            if answer.code not in _BUSY or pause is None:
                break
            self.sleep(pause)
            if self._query() is not None:  # it was loaded after all, or by another command meanwhile
                return
        raise self._make_error(arguments, answer)

    def _start_loaded(self) -> None:
        """Start one that was loaded and has no process: launchd at times forgets `RunAtLoad`
        (openbase-community/openbase#15). Without `-k`, which would kill one that just begins.
        """
        state = self._query()
        if state is not None and not state.running:
            self._launchctl("kickstart", self._target)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A service that launchd knows."""

    running: bool
    pid: int | None
    detail: str

    @classmethod
    def parse(cls, text: str) -> _Loaded:
        """Read what `launchctl print` says; its own lines have one tab, those of its parts more."""
        found: dict[str, Any] = dict(re.findall(r"^\t([a-z ]+) = (.+)$", text, re.MULTILINE))
        state = found.get("state", "unknown")
        code = found.get("last exit code", "")
        failed = code and code != "0" and not code.startswith("(")
        return cls(
            running=state == "running",
            pid=int(found["pid"]) if found.get("pid", "").isdigit() else None,
            detail=f"{state}, last exit code {code}" if failed else state,
        )
