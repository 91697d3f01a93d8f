"""The one place that downloads from the hub.

Guarantees: importing this module imports no library that can open a connection, only `fetch_files`
does. It fetches no more than the files it is told to. Whatever goes wrong becomes one
`EnvironmentFaultError` with a stable code and a cure. HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT
and HF_HUB_OFFLINE count, as huggingface_hub reads them at its first import.

Written for huggingface_hub 1.1 to 2.4, and for 0.36 in WhisperX's own environment: only functions
that all of these have. Repositories in Xet storage come through hf_xet when it is installed, from
other hosts than HF_ENDPOINT; HF_HUB_DISABLE_XET=1 turns that off.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe.errors import EnvironmentFaultError
from dropscribe.log_bridge import Log
from dropscribe.models import hub_cache
from dropscribe.models.faults import NO_ROOM
from dropscribe.models.progress import DownloadMeter, Progress, make_bar, watch_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_log = Log()

_DISK = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO})
_ANSWER_S = 15.0
"""How long to wait for the first answer; the library's own limits hold after it."""


@dataclass(frozen=True, slots=True)
class FetchedFiles:
    """What was downloaded, not checked yet."""

    folder: Path
    """The snapshot in the hub's cache."""
    commit: str
    digests: Mapping[str, str | None]
    """By file, as the hub gives it: `sha256:HEX`, or `git:HEX` (the SHA-1 of a blob object)."""


def fetch_files(
    model: str,
    repo: str,
    revision: str,
    choose: Callable[[set[str]], list[str]],
    progress: Callable[[Progress], None] | None = None,
) -> FetchedFiles:
    """Bring files of a repository into the hub's cache, one after the other.

    What is in the cache already stays.

    Args:
        model: its name, for messages.
        repo: `owner/name`.
        revision: branch, tag or commit.
        choose: given the names in the repository, returns those to download, in that order.
        progress: see `ModelStore.resolve_model`.

    Raises:
        EnvironmentFaultError: `model-unknown`, `hub-refused`, `hub-unreachable`,
            `hub-interrupted`, `disk-full` or `cache-unusable`; see `ModelStore.resolve_model`.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars
    from huggingface_hub.utils.logging import set_verbosity_error

    # Progress and errors reach the person through this program: nothing else on stderr.
    disable_progress_bars()
    set_verbosity_error()
    with _translate_errors(model, repo, begun=False):
        info = HfApi().model_info(repo, revision=revision, timeout=_ANSWER_S, files_metadata=True)
    listing = {file.rfilename: file for file in info.siblings or ()}
    names = choose(set(listing))
    commit = str(info.sha)
    digests = {name: _read_digest(listing[name]) for name in names}
    sizes = {name: int(listing[name].size or 0) for name in names}
    folder = hub_cache.cache_folder(repo) / "snapshots" / commit
    _require_room(model, repo, sum(size for name, size in sizes.items() if not (folder / name).is_file()))

    total = sum(sizes.values())
    log = _log.bind(model=model, repo=repo, revision=commit, bytes=total)
    log.info("model.download_started")
    start = time.monotonic()
    meter = DownloadMeter(model, repo, total, progress)
    with _translate_errors(model, repo, begun=True):
        for name in names:
            with meter.follow_file(sizes[name]) as move:
                # By the name of the revision, not the commit: so other programs find the model in the cache too.
                file = _fetch_file(repo, name, revision, digests[name], move)
            if file.parent.name != commit:
                raise OSError(f"{repo} changed during the download")
    hub_cache.remove_stale(repo)
    log.info("model.downloaded", seconds=round(time.monotonic() - start, 1))
    return FetchedFiles(folder, commit, digests)


def _fetch_file(repo: str, name: str, revision: str, digest: str | None, move: Callable[[int], None]) -> Path:
    """Download one file, and call `move` with the bytes of it that are here."""
    from huggingface_hub import hf_hub_download

    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
        return Path(hf_hub_download(repo, name, revision=revision, tqdm_class=make_bar(move)))
    blob = (digest or "").rpartition(":")[2]
    with watch_size(hub_cache.cache_folder(repo) / "blobs" / f"{blob}.incomplete", move):
        return Path(hf_hub_download(repo, name, revision=revision))


def _read_digest(file: Any) -> str | None:
    if file.lfs is not None:
        return f"sha256:{file.lfs['sha256']}"
    return f"git:{file.blob_id}" if file.blob_id else None


def _require_room(model: str, repo: str, needed: int) -> None:
    """Refuse a download that cannot fit before it fills the disk."""
    place = hub_cache.cache_folder(repo)
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise EnvironmentFaultError(
            "disk-full",
            f"The model {model} needs {needed / 1e9:.1f} GB and {existing} has {free / 1e9:.1f} GB left.",
            "Make room, or set HF_HOME to another disk.",
        )


@contextlib.contextmanager
def _translate_errors(model: str, repo: str, *, begun: bool) -> Iterator[None]:
    """Turn what the library raises into an error with a cure. `begun`: the hub has answered."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except (OSError, RuntimeError, ValueError, HTTPError) as error:
        raise _explain_error(model, repo, error, begun=begun) from error


def _explain_error(model: str, repo: str, error: Exception, *, begun: bool) -> EnvironmentFaultError:
    import huggingface_hub.constants

    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    responses = (getattr(one, "response", None) for one in chain)
    status = next((response.status_code for response in responses if response is not None), None)
    # hf_xet gives its errors as text only.
    if any(getattr(one, "errno", None) in NO_ROOM for one in chain) or "No space left" in str(error):
        code = "disk-full"
        message = f"There is no room for the model {model} in {hub_cache.cache_folder(repo)}."
        cure = "Make room, or set HF_HOME to another disk."
    elif getattr(error, "errno", None) in _DISK:
        code = "cache-unusable"
        message = f"The hub's cache {hub_cache.cache_folder(repo)} cannot be written ({error})."
        cure = "Check that folder and its permissions."
    elif status in {401, 403}:
        # The hub answers so for repositories that do not exist, too: it must not reveal which private ones do.
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
