"""WhisperX's aligner and diarizer, loaded from this machine alone, and what went wrong as errors
for a person.
"""

from __future__ import annotations

import contextlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe.backends.engine_errors import to_load_error
from dropscribe.errors import EnvironmentFaultError

if TYPE_CHECKING:
    from dropscribe.errors import JobError

_REINSTALL = "`dropscribe backends install whisperx` makes its environment again."


def load_aligner(language: str, wanted: str | None, device: str) -> Any:
    """Return (model, metadata) of WhisperX's aligner.

    Args:
        language: Whisper's code.
        wanted: A wav2vec2 model, as a hub repository or a folder; None: WhisperX's own for the
            language.
        device: `cpu` or `cuda`.

    Raises:
        EnvironmentFaultError: `model-unknown`, `model-missing`, `weights-refused` or
            `model-unusable`.
    """
    import whisperx.alignment

    class WholeText:
        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    # WhisperX splits sentences with weights of nltk's that it would download; we split them
    # ourselves.
    whisperx.alignment.nltk_load = lambda _: WholeText()
    own = whisperx.alignment.DEFAULT_ALIGN_MODELS_TORCH | whisperx.alignment.DEFAULT_ALIGN_MODELS_HF
    name = wanted or own.get(language)
    if name is None:
        why = f"WhisperX has no aligner for the language {language}."
        raise EnvironmentFaultError("model-unknown", why, "Set `backends.whisperx.aligner`.")
    import torch
    import torchaudio

    if name in torchaudio.pipelines.__all__:
        file = Path(torch.hub.get_dir(), "checkpoints", getattr(torchaudio.pipelines, name)._path)  # noqa: SLF001
        if not file.is_file():
            raise _to_missing_error("The aligner", name, f"Put {file.name} into {file.parent}.")
        place = file
    else:
        place = _find_folder(name, "The aligner")
        name = str(place)
    try:
        return whisperx.alignment.load_align_model(language, device, model_name=name, model_cache_only=True)
    except Exception as error:  # a library of libraries
        raise _to_checkpoint_error(place, error) from error


def load_diarizer(wanted: str, device: str) -> Any:
    """Return WhisperX's diarization pipeline.

    Args:
        wanted: A pyannote pipeline, as a hub repository or a folder.
        device: `cpu` or `cuda`.

    Raises:
        EnvironmentFaultError: `model-missing`, `weights-refused` or `model-unusable`.
    """
    from whisperx.diarize import DiarizationPipeline

    folder = _find_folder(wanted, "The diarizer")
    try:
        return DiarizationPipeline(model_name=str(folder), device=device)
    except Exception as error:  # a library of libraries
        raise _to_checkpoint_error(folder, error) from error


def to_import_error(error: Exception) -> JobError:
    """Return why the environment cannot be imported, as EnvironmentFaultError `backend-broken`."""
    first = str(error).strip().partition("\n")[0]
    message = f"WhisperX's environment in {sys.prefix} does not hold together: {type(error).__name__}: {first}."
    return EnvironmentFaultError("backend-broken", message, _REINSTALL)


def find_versions(*names: str) -> dict[str, str]:
    """Return the versions of those of the distributions that are installed."""
    versions = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _find_folder(name: str, what: str) -> Path:
    """Return the folder of a model that is on this machine. Raises EnvironmentFaultError
    `model-missing`.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:  # not there, or no name of a repository
        cure = f"`hf download {name}` fetches it, with HF_TOKEN where its owner asks for one."
        raise _to_missing_error(what, name, cure) from error


def _to_missing_error(what: str, name: str, cure: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("model-missing", f"{what} {name} is not on this machine.", cure)


def _to_checkpoint_error(place: Path, error: Exception) -> JobError:
    """Return why a checkpoint of the aligner or the diarizer cannot be loaded."""
    text = _describe_causes(error)
    if "weights_only" in text or "Weights only load failed" in text:
        return EnvironmentFaultError(
            "weights-refused",
            f"PyTorch {version('torch')} refuses to read {place}: it holds more than weights (weights_only).",
            "Take one saved as safetensors or with plain weights only.",
        )
    return to_load_error(place, error)


def _describe_causes(error: BaseException) -> str:
    """Return what was raised, and what caused it, as text."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 10:
        parts.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    return "\n".join(parts)
