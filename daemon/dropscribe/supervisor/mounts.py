"""The file system that a folder is on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# fmt: off
NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "ncpfs", "9p", "sshfs", "fuse.sshfs",
    "fuse.rclone", "fuse.gvfsd-fuse",
})
# fmt: on
"""File systems that send no events for what another machine writes."""


def find_file_system(path: Path) -> str:
    """Return the type of the file system that holds `path` (`ext4`, `apfs`, `nfs`, …), or an empty
    string.
    """
    target = os.path.realpath(path)
    best, kind = "", ""
    for mount, name in _list_mounts():
        if (target == mount or target.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, name
    return kind


def _list_mounts() -> Iterator[tuple[str, str]]:
    if sys.platform == "linux":
        for line in Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines():
            _, mount, kind, *_ = line.split(" ")
            yield mount.replace("\\040", " "), kind
    elif sys.platform == "darwin":
        # "//user@nas/share on /Volumes/share (smbfs, nodev, nosuid)"
        try:
            listing = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            return
        for line in listing.splitlines():
            mount, _, flags = line.partition(" on ")[2].rpartition(" (")
            yield mount, flags.split(",")[0].rstrip(")")
