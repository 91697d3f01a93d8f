"""Settings for some recordings: a `dropscribe.toml` in a folder, a `talk.m4a.toml` next to one
recording.

A folder's profile applies to the recordings in it and below, the one next to a recording to that
recording alone. For each key the nearest wins, over everything that is set for all: file,
variables and flags.

Guarantees: whatever is in the inbox under such a name, reading it ends, follows no link, and gives
checked settings or one ProfileError that names the file, the key and the cure. Whoever may drop
files into the inbox may write profiles, so they hold only what shapes a transcript: none makes a
program run, changes a folder, decides what is kept, loads a file from elsewhere, or makes a model
be downloaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
import tomllib
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from dropscribe import settings
from dropscribe.errors import UsageError
from dropscribe.supervisor import result_options
from dropscribe.supervisor.inbox import DATALESS
from dropscribe.supervisor.recording_names import PROFILE, choose_suffixes, explain_refusal, is_profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dropscribe.settings import Loaded, Settings

KEYS = (
    "language",
    "languages",
    "mixed_languages",
    "model",
    "task",
    "prompt",
    "glossary",
    "replacements",
    "numbers",
    "fillers",
    *result_options.SUBTITLE_OPTIONS,
    "channels",
    "split_channels",
    "speakers",
    "together",
    "srt_speakers",
    "audio_track",
    "speech_threshold",
    "formats",
    "priority",
)
"""The settings that a profile may hold."""
MOST_BYTES = 1 << 16
"""A larger file is no profile."""
WRONG = "profile-wrong"
"""Code of the failure of a recording whose profile is wrong."""
FAULTS = frozenset(
    {WRONG, "model-missing", "model-damaged", "model-unknown", "model-unusable", "no-such-track", "speakers-missing"}
)
"""Failures that a profile is to blame for: what is set for all makes the queue wait instead."""
CORRECT_IT = "Correct or remove that file, and the recording is taken up again by itself."


class ProfileError(UsageError):
    """A profile is wrong, so it is not known how its recordings are to be transcribed."""


class Profiles:
    """The profiles of one inbox. A folder's is read once: to see changes, make another."""

    def __init__(self, general: Settings) -> None:
        """`general` is what holds for all recordings."""
        self._general = general
        self._folders: dict[PurePath, dict[str, Any] | ProfileError] = {}

    def resolve(self, recording: PurePath, origin: Mapping[str, str] | None = None) -> Loaded:
        """Return the settings in force for a recording, and where each value comes from.

        Args:
            recording: its path relative to the inbox.
            origin: where the general settings come from.

        Raises:
            ProfileError: one of its profiles is wrong.
        """
        own = recording.with_name(recording.name + ".toml")
        # What another program sent is in no folder of the inbox.
        return self._merge(PurePath() if recording.is_absolute() else recording.parent, own, origin)

    def resolve_folder(self, folder: PurePath, origin: Mapping[str, str] | None = None) -> Loaded:
        """Return what holds for the recordings of a folder that have no profile of their own. See
        `resolve`.
        """
        return self._merge(folder, None, origin)

    def list_changes(self, recording: PurePath, saved: str) -> list[str]:
        """Return the settings of a recording that have another value now than what was saved.

        None where nothing was saved, or where its profile is wrong.
        """
        if not saved:
            return []
        try:
            return result_options.list_changed_options(saved, self.resolve(recording).settings)
        except ProfileError:
            return []

    def _merge(self, folder: PurePath, own: PurePath | None, origin: Mapping[str, str] | None) -> Loaded:
        values: dict[str, Any] = {}
        origins = dict(origin or {})
        place = ""
        folders = [] if own is not None and own.is_absolute() else [*reversed(folder.parents), folder]
        for path in [*(parent / PROFILE for parent in folders), *([own] if own else [])]:
            found = _read(self._general.inbox / path) if path == own else self._read_folder(path)
            values |= found
            origins |= dict.fromkeys(found, str(self._general.inbox / path))
            if not found.keys().isdisjoint(("language", "languages", "task", "model", "formats")):
                place = f"{self._general.inbox / path}: "
        chosen = dataclasses.replace(self._general, **values)
        try:
            settings.check_language(chosen)
            settings.check_formats(chosen)
        except UsageError as error:
            raise ProfileError(place + error.message, error.cure) from None
        return settings.Loaded(chosen, origins)

    def _read_folder(self, path: PurePath) -> dict[str, Any]:
        if path not in self._folders:
            try:
                self._folders[path] = _read(self._general.inbox / path)
            except ProfileError as error:
                self._folders[path] = error
        found = self._folders[path]
        if isinstance(found, ProfileError):
            raise ProfileError(found.message, found.cure)
        return found


def check_all(general: Settings) -> Iterator[ProfileError]:
    """Yield what is wrong with the profiles in the inbox, each fault once."""
    profiles, suffixes = Profiles(general), choose_suffixes(general.suffixes)
    outbox, reported = os.path.realpath(general.outbox), set()
    for parent, folders, names in os.walk(os.path.realpath(general.inbox)):
        folder = PurePath(os.path.relpath(parent, os.path.realpath(general.inbox)))
        folders[:] = sorted(
            f
            for f in folders
            if general.recursive
            and explain_refusal(PurePath(f, "a.wav")) is None
            and os.path.join(parent, f) != outbox  # noqa: PTH118
        )
        for name in sorted((n for n in names if is_profile(n, suffixes)), key=lambda n: (n != PROFILE, n)):
            try:
                profiles.resolve_folder(folder) if name == PROFILE else profiles.resolve(
                    folder / name.removesuffix(".toml")
                )
            except ProfileError as error:
                if str(error) not in reported:
                    reported.add(str(error))
                    yield error


def _read(path: Path) -> dict[str, Any]:
    """Return the checked values of one profile; none where there is no such file. Raises:
    ProfileError.
    """
    try:
        data = _read_bytes(path)
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}.", "Grant access to it, or remove it.") from None
    if data is None:
        return {}
    try:
        table = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # broken TOML or UTF-8, a number of a thousand digits, a pit
        cure = 'Text stands in quotes, each setting on a line of its own: language = "de".'
        raise ProfileError(f"{path} is not valid TOML: {error or 'nested too deeply'}.", cure) from None
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KEYS:
            raise _refuse(path, key)
        try:
            values[key] = settings.parse_value(key, value, str(path))
            if key == "model":
                _check_model(values[key])
        except UsageError as error:
            message = error.message if error.message.startswith(str(path)) else f"{path}: `{key}`: {error.message}"
            raise ProfileError(message, error.cure) from None
    try:
        settings.check_languages(values.get("language", "auto"), values.get("languages", ()))
    except UsageError as error:
        raise ProfileError(f"{path}: {error.message}", error.cure) from None
    return values


def _check_model(model: str) -> None:
    from dropscribe.models.catalogue import check_name

    try:
        check_name(model)
    except UsageError as error:
        raise UsageError(
            error.message, f"{error.cure} It must be on this machine: a profile downloads none."
        ) from None


def _refuse(path: Path, key: str) -> ProfileError:
    shown = key if key.isprintable() and len(key) < 100 else ascii(key)[:100]
    if key in settings.FIELDS:
        why = (
            "a file dropped into the inbox may shape its transcript, but not the machine, its folders or what is kept"
        )
        cure = f"Put it into {settings.find_config_path()}. A profile may hold: {', '.join(KEYS)}."
        return ProfileError(f"{path}: `{key}` cannot be set in a profile: {why}.", cure)
    return ProfileError(f"{path}: there is no setting `{shown}`.", settings.suggest_key(key, KEYS))


def _read_bytes(path: Path) -> bytes | None:
    """Return what a regular file holds; None where there is none. Raises: OSError, ProfileError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
            return None
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EOPNOTSUPP}:  # a link; a socket, on a Mac
            raise ProfileError(f"{path} is no regular file.", "Put the file itself there, not a link.") from None
        raise
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ProfileError(f"{path} is no regular file.", "Put a file of settings there, or remove it.")
        if found.st_size > MOST_BYTES:
            raise ProfileError(f"{path} has more than {MOST_BYTES} bytes.", "Keep what its recordings need.")
        if getattr(found, "st_flags", 0) & DATALESS:
            raise ProfileError(f"{path} is in iCloud and not on this Mac.", "Download it in the Finder.")
        data = b""
        while len(data) <= MOST_BYTES and (more := os.read(descriptor, MOST_BYTES + 1)):
            data += more
    if len(data) > MOST_BYTES:
        raise ProfileError(f"{path} has more than {MOST_BYTES} bytes.", "Keep what its recordings need.")
    return data
