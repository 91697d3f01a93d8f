"""Which names in the inbox are recordings, which are profiles, and which are neither."""

from __future__ import annotations

from pathlib import PurePath

# fmt: off
AUDIO = frozenset({
    ".3ga", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".awb", ".caf", ".flac", ".m4a",
    ".m4b", ".mka", ".mp2", ".mp3", ".mpga", ".oga", ".ogg", ".opus", ".qta", ".ra", ".spx", ".tta", ".wav",
    ".wave", ".weba", ".wma", ".wv",
})
VIDEO = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".webm", ".wmv",
})
# fmt: on
UNFINISHED = (".part", ".tmp", ".crdownload", ".download", ".icloud", ".partial")
PROFILE = "dropscribe.toml"
"""Name of a folder's profile; that of a recording is its name with `.toml`
(dropscribe.supervisor.profiles).
"""
FOREIGN_FOLDERS = frozenset({"@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"})
"""Folders that network drives put into every folder."""


def explain_refusal(relative: PurePath) -> str | None:
    """Return why a name is passed over, as half a sentence, or None when it may be a recording."""
    for part in relative.parts[:-1]:
        if is_ignored_folder(part):
            return f"lies in {part}, a folder that is passed over"
    name = relative.name
    if name.startswith((".", "~")):
        return "is hidden or temporary by its name"
    if name.lower().endswith(UNFINISHED):
        return "is an unfinished download by its name"
    if is_profile(name):
        return "is a profile: it tells how recordings are transcribed"
    if relative.suffix.lower() not in AUDIO | VIDEO:
        return f"is no recording by its name: {relative.suffix or 'no suffix'} is not among the known suffixes"
    return None


def is_ignored_folder(name: str) -> bool:
    """Return whether a folder of this name is passed over with all that is in it."""
    return name in FOREIGN_FOLDERS or name.startswith(".") or name.lower().endswith(UNFINISHED)


def is_profile(name: str) -> bool:
    """Return whether a file of this name holds settings of a folder or of a recording."""
    return name == PROFILE or (name.endswith(".toml") and PurePath(name[:-5]).suffix.lower() in AUDIO | VIDEO)
