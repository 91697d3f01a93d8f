"""The hub: where its cache is, and the one place that downloads from it.

Guarantees: importing this module imports no library that can open a connection, only `fetch` does; it fetches
no more than the files it is told to; whatever goes wrong becomes one `EnvironmentFaultError` with a stable
code and a cure. HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE count, as huggingface_hub reads
them at its first import.

Written for huggingface_hub 0.30 to 2.4: only functions that all of these have. Repositories in Xet storage come
through hf_xet when it is installed, from other hosts than HF_ENDPOINT; HF_HUB_DISABLE_XET=1 turns that off.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe.errors import EnvironmentFaultError
from dropscribe.log_bridge import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_log = Log()

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when a file does not fit."""
_DISK = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO})
_ANSWER_S = 15.0
"""How long to wait for the first answer; the library's own limits hold after it."""
_PROGRESS_S = 0.3
_STALE_S = 86400.0
"""An unfinished file that nobody has written to for so long belongs to a process that is gone."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is."""

    model: str
    repo: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was downloaded, not checked yet."""

    folder: Path
    """The snapshot in the hub's cache."""
    commit: str
    digests: Mapping[str, str | None]
    """By file, as the hub gives it: `sha256:HEX`, or `git:HEX` (the SHA-1 of a blob object)."""


def store(repo: str) -> Path:
    """Return the folder of the repository `repo` in the hub's cache, there or not."""
    import huggingface_hub.constants

    return Path(huggingface_hub.constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")


def fetch(
    model: str,
    repo: str,
    revision: str,
    choose: Callable[[set[str]], list[str]],
    progress: Callable[[Progress], None] | None = None,
) -> Fetched:
    """Bring files of a repository into the hub's cache, one after the other; what is there already stays.

    Args:
        model: its name, for messages.
        repo: `owner/name`.
        revision: branch, tag or commit.
        choose: given the names in the repository, returns those to download, in that order.
        progress: see `dropscribe.models.resolve`.

    Raises:
        EnvironmentFaultError: `model-unknown`, `hub-refused`, `hub-unreachable`, `hub-interrupted`, `disk-full`
            or `cache-unusable`; see `dropscribe.models.resolve`.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils import disable_progress_bars
    from huggingface_hub.utils.logging import set_verbosity_error

    # Progress and errors reach the person through this program: nothing else on stderr.
    disable_progress_bars()
    set_verbosity_error()
    with _errors(model, repo, begun=False):
        info = HfApi().model_info(repo, revision=revision, timeout=_ANSWER_S, files_metadata=True)
    listing = {file.rfilename: file for file in info.siblings or ()}
    names = choose(set(listing))
    sizes = {name: int(listing[name].size or 0) for name in names}
    folder = store(repo) / "snapshots" / str(info.sha)
    _want_room(model, repo, sum(size for name, size in sizes.items() if not (folder / name).is_file()))

    total = sum(sizes.values())
    log = _log.bind(model=model, repo=repo, revision=info.sha, bytes=total)
    log.info("model.download_started")
    start = time.monotonic()
    with _errors(model, repo, begun=True), _meter(model, repo, total, progress) as done:
        for name in names:
            # By the name of the revision, not the commit: so other programs find the model in the cache too.
            file = Path(hf_hub_download(repo, name, revision=revision))
            if file.parent.name != info.sha:
                raise OSError(f"{repo} changed during the download")
            done(sizes[name])
    for file in store(repo).glob("blobs/*.incomplete"):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > _STALE_S:
                file.unlink()
    log.info("model.downloaded", seconds=round(time.monotonic() - start, 1))
    return Fetched(folder, str(info.sha), {name: _digest(listing[name]) for name in names})


def forget(repo: str, commit: str) -> int:
    """Take one revision of a repository out of the cache; return the bytes that were its own.

    What another revision shares with it stays: huggingface_hub's own way of deleting knows what that is.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.utils.logging import set_verbosity_error

    set_verbosity_error()
    found = scan_cache_dir(store(repo).parent).delete_revisions(commit)
    found.execute()
    return int(found.expected_freed_size)


def _digest(file: Any) -> str | None:
    if file.lfs is not None:
        return f"sha256:{file.lfs['sha256']}"
    return f"git:{file.blob_id}" if file.blob_id else None


def _want_room(model: str, repo: str, needed: int) -> None:
    """Refuse a download that cannot fit before it fills the disk."""
    place = store(repo)
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise EnvironmentFaultError(
            "disk-full",
            f"The model {model} needs {needed / 1e9:.1f} GB and {existing} has {free / 1e9:.1f} GB left.",
            "Make room, or set HF_HOME to another disk.",
        )


@contextlib.contextmanager
def _meter(
    model: str, repo: str, total: int, progress: Callable[[Progress], None] | None
) -> Iterator[Callable[[int], None]]:
    """Report progress while the block runs; it calls what it is given with the size of each finished file.

    The sizes of the unfinished files on disk are watched: the one sign common to all versions of the library
    and to both ways it downloads, HTTP and Xet.
    """
    finished = 0

    def done(size: int) -> None:
        nonlocal finished
        finished += size

    if progress is None:
        yield done
        return

    def unfinished() -> dict[Path, tuple[int, int]]:
        found = {}
        for file in store(repo).glob("blobs/*.incomplete"):
            with contextlib.suppress(OSError):  # it was finished meanwhile
                stat = file.stat()
                found[file] = (stat.st_size, stat.st_mtime_ns)
        return found

    left = unfinished()
    stop = threading.Event()

    def watch() -> None:
        last = -1
        while not stop.wait(_PROGRESS_S):
            growing = sum(now[0] for file, now in unfinished().items() if left.get(file) != now)
            if (now := min(total, finished + growing)) > last:
                progress(Progress(model, repo, now, total))
                last = now

    thread = threading.Thread(target=watch, name="model-progress", daemon=True)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
    progress(Progress(model, repo, total, total))


@contextlib.contextmanager
def _errors(model: str, repo: str, *, begun: bool) -> Iterator[None]:
    """Turn what the library raises into an error with a cure. `begun`: the hub has answered once."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except (OSError, RuntimeError, ValueError, HTTPError) as error:
        raise _explained(model, repo, error, begun=begun) from error


def _explained(model: str, repo: str, error: Exception, *, begun: bool) -> EnvironmentFaultError:
    import huggingface_hub.constants

    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    responses = (getattr(one, "response", None) for one in chain)
    status = next((response.status_code for response in responses if response is not None), None)
    # hf_xet gives its errors as text only.
    if any(getattr(one, "errno", None) in NO_ROOM for one in chain) or "No space left" in str(error):
        code = "disk-full"
        message = f"There is no room for the model {model} in {store(repo)}."
        cure = "Make room, or set HF_HOME to another disk."
    elif getattr(error, "errno", None) in _DISK:
        code = "cache-unusable"
        message = f"The hub's cache {store(repo)} cannot be written ({error})."
        cure = "Check that folder and its permissions."
    elif status in {401, 403}:
        # The hub answers so for repositories that do not exist, too, lest it tell which private ones do.
        code = "hub-refused"
        message = f"The hub refused {repo} (status {status}): it is private or gated, or does not exist."
        cure = "Check the name, and set HF_TOKEN to a token that may read it."
    elif status == 404:
        code = "model-unknown"
        message = f"The hub has no {repo}, or not that revision of it."
        cure = "Check the name in the setting `model`."
    elif huggingface_hub.constants.HF_HUB_OFFLINE:
        code = "hub-unreachable"
        message = f"The model {model} is not on this machine, and HF_HUB_OFFLINE forbids asking the hub."
        cure = f"Unset it, then run `dropscribe models pull {model}`."
    else:
        code = "hub-interrupted" if begun else "hub-unreachable"
        what = "The download of {} broke off ({})." if begun else "The hub could not be asked for {} ({})."
        message = what.format(repo, f"status {status}" if status else type(error).__name__)
        cure = f"Check the network, then run `dropscribe models pull {model}`."
    return EnvironmentFaultError(code, message, cure)
