"""Which names in the inbox are recordings, which are profiles, and which are neither.

A name is only the first filter: what is inside is found out by the decoder. So the suffixes are those of every
container and bare stream that FFmpeg reads and that people are known to have speech in. Left out are suffixes that
mostly mean something else (`.mod`, `.bin`, `.dat`, `.bit`), bare samples whose rate nobody knows (`.raw`, `.pcm`,
`.alaw`, `.ulaw`), sound of games, and the small copies that cameras write next to a film (`.lrv`, `.thm`). The
setting `suffixes` adds and removes some. A name without a suffix may be anything: its first bytes decide
(`first_bytes`).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# fmt: off
AUDIO = frozenset({
    ".3ga", ".aa", ".aa3", ".aac", ".ac3", ".act", ".adts", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".awb",
    ".bwf", ".caf", ".dff", ".dsf", ".dss", ".dts", ".dtshd", ".eac3", ".ec3", ".flac", ".g722", ".gsm", ".loas",
    ".m4a", ".m4b", ".m4r", ".mka", ".mlp", ".mmf", ".mp1", ".mp2", ".mp3", ".mpa", ".mpc", ".mpga", ".nist",
    ".oga", ".ogg", ".oma", ".opus", ".qcp", ".qta", ".ra", ".rf64", ".shn", ".sln", ".snd", ".sph", ".spx", ".tak",
    ".thd", ".tta", ".voc", ".vqf", ".w64", ".wav", ".wave", ".weba", ".wma", ".wv",
})
VIDEO = frozenset({
    ".3g2", ".3gp", ".3gp2", ".3gpp", ".amv", ".asf", ".avi", ".divx", ".dv", ".dvr-ms", ".f4a", ".f4v", ".flv",
    ".gxf", ".insv", ".ismv", ".m2t", ".m2ts", ".m4v", ".mj2", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg",
    ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".ogx", ".qt", ".rm", ".rmvb", ".tod", ".ts", ".vob", ".vro", ".webm",
    ".wmv", ".wtv",
})
# fmt: on
SUFFIXES = AUDIO | VIDEO
"""Those of the default setting."""
DOWNLOADS = (
    *(".part", ".ytdl", ".aria2", ".crdownload", ".filepart", ".partial", ".download", ".!qb", ".opdownload"),
    *(".fdmdownload", ".dtapart", ".!ut", ".bc!", ".jc!", ".!bt", ".xltd", ".!sync"),
)
"""What browsers, yt-dlp, aria2, WinSCP, rclone, file sharing and download managers put behind the name of a file that
is not all there: as its name so far, or as the name of a second file that keeps count beside it. In lower case."""
UNFINISHED = (*DOWNLOADS, ".tmp", ".temp", ".icloud", ".downloading", ".uploading", ".incomplete", ".inprogress")
"""How an unfinished file's name may end. In lower case."""
UNFINISHED_FOLDERS = (*DOWNLOADS, ".tmp", ".icloud")
"""How a folder's name ends in which something is downloaded or saved. In lower case."""
SIDECARS = (
    *(".part", ".ytdl", ".aria2", ".crdownload", ".filepart", ".partial", ".download", ".!qB", ".st"),
    *(".lftp-pget-status", ".opdownload", ".fdmdownload"),
)
"""What is behind the whole name of a file in that of a second one beside it while the first is downloaded: `.st` is
axel's."""
_PIECE = re.compile(r"\.part-frag\d+(\.part)?$|\.sb-[0-9a-f]{8}-\w{6}$", re.IGNORECASE)
"""Of a fragment of yt-dlp, and of the file in which a Mac saves before it renames."""
_INTERMEDIATE = re.compile(r"\.(temp|f\d+[\w-]*|f(hls|dash|https?|mss|rtmp)[_-][\w-]+)$", re.IGNORECASE)
"""Before the suffix: what yt-dlp calls one stream before the streams are merged, and what it writes them into."""
PROFILE = "dropscribe.toml"
"""Name of a folder's profile; that of a recording is its name with `.toml` (dropscribe.supervisor.profiles)."""
FOREIGN_FOLDERS = frozenset({"@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"})
"""Folders that network drives put into every folder."""


class PassedOver(enum.StrEnum):
    """Why a file that a person may have meant to drop is passed over."""

    NAME = "name"
    """Its suffix is not among the known ones."""
    CONTENT = "content"
    """It has no suffix, and its first bytes are those of no recording."""
    UNFINISHED = "unfinished"
    """It is an unfinished download by its name."""
    LINK = "link"
    SPECIAL = "special"
    """A pipe, a socket or a device."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a name is passed over."""

    text: str
    """Half a sentence."""
    kind: PassedOver | None = None
    """None where nobody means such a file to be transcribed: hidden ones, profiles."""


def choose_suffixes(changes: Iterable[str]) -> frozenset[str]:
    """Return the known suffixes after the setting `suffixes`: `+.dat` adds one, `-.mp4` removes one."""
    found = set(SUFFIXES)
    for change in changes:
        (found.add if change[0] == "+" else found.discard)(change[1:])
    return frozenset(found)


def find_refusal(relative: PurePath, suffixes: frozenset[str] = SUFFIXES) -> Refusal | None:
    """Return why a name is passed over, or None when it may be a recording."""
    for part in relative.parts[:-1]:
        if is_ignored_folder(part):
            return Refusal(f"lies in {part}, a folder that is passed over")
    name = relative.name
    if name.startswith((".", "~")):
        return Refusal("is hidden or temporary by its name")
    suffix = find_suffix(name)
    if suffix in suffixes:
        if _INTERMEDIATE.search(name[: -len(suffix)]):
            why = "it would be merged with others; give it another name if it is to be transcribed"
            return Refusal(f"is a part of a download by its name: {why}", PassedOver.UNFINISHED)
        return None
    if is_unfinished(name):
        return Refusal("is an unfinished download by its name", PassedOver.UNFINISHED)
    if is_profile(name, suffixes):
        return Refusal("is a profile: it tells how recordings are transcribed")
    if suffix:
        why = f"{relative.suffix} is not among the known suffixes; the setting `suffixes` adds one"
        return Refusal(f"is no recording by its name: {why}", PassedOver.NAME)
    return None


def explain_refusal(relative: PurePath, suffixes: frozenset[str] = SUFFIXES) -> str | None:
    """Return why a name is passed over, as half a sentence, or None when it may be a recording."""
    refusal = find_refusal(relative, suffixes)
    return None if refusal is None else refusal.text


def find_suffix(name: str) -> str:
    """Return the suffix of a name in lower case; empty where what is behind the last point is no suffix.

    It is none when it begins with a digit, as no known one but `.3gp` and its kin, or has a space:
    `Meeting 2026.08.19`, `Talk by Dr. Who`.
    """
    _, point, last = name.lower().rpartition(".")
    if not point or not last or " " in last or (last[0].isdecimal() and f".{last}" not in SUFFIXES):
        return ""
    return f".{last}"


def is_unfinished(name: str) -> bool:
    """Return whether a name is that of a file that is not all there yet."""
    return name.lower().endswith(UNFINISHED) or _PIECE.search(name) is not None


def is_ignored_folder(name: str) -> bool:
    """Return whether a folder of this name is passed over with all that is in it."""
    return name in FOREIGN_FOLDERS or name.startswith(".") or name.lower().endswith(UNFINISHED_FOLDERS)


def is_profile(name: str, suffixes: frozenset[str] = SUFFIXES) -> bool:
    """Return whether a file of this name holds settings of a folder or of a recording."""
    return name == PROFILE or (name.endswith(".toml") and PurePath(name[:-5]).suffix.lower() in suffixes)
