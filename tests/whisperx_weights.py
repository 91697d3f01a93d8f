"""Small random weights of the kinds that WhisperX takes next to Whisper's, made where PyTorch is.

usage: PYTHON_OF_WHISPERX tests/whisperx_weights.py FOLDER

Makes `aligner` (wav2vec2), `refused` (the same with a checkpoint that holds more than weights) and `diarizer` (a
pyannote pipeline that hears one speaker, always).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyannote.audio import __version__
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import XVectorMFCC
from pyannote.audio.models.segmentation import PyanNet
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

CONFIG = f"""
version: {__version__}
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    segmentation: $model/segmentation
    embedding: $model/embedding
    plda: $model/plda
params:
  clustering: {{method: centroid, min_cluster_size: 1, threshold: 0.7}}
  segmentation: {{min_duration_off: 0.0}}
"""
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")
SHAPE = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
FRONT = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}


class Extra:
    """Something that is no weight."""


def aligner(folder: Path) -> None:
    folder.mkdir(parents=True)
    vocabulary = {sign: number for number, sign in enumerate((*SPECIAL, *"abcdefghijklmnopqrstuvwxyz'"))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(vocabulary), **SHAPE, **FRONT)).save_pretrained(folder)


def refused(folder: Path, good: Path) -> None:
    shutil.copytree(good, folder)
    (folder / "model.safetensors").unlink()
    torch.save({"extra": Extra()}, folder / "pytorch_model.bin")


def save(model: Any, folder: Path) -> None:
    kept = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    kept["pytorch-lightning_version"] = "2.0.0"
    model.on_save_checkpoint(kept)
    folder.mkdir(parents=True)
    torch.save(kept, folder / "pytorch_model.bin")


def diarizer(folder: Path) -> None:
    frames = {"duration": 10.0, "warm_up": (0.0, 0.0)}
    network = PyanNet(
        lstm={"hidden_size": 8, "num_layers": 1, "bidirectional": True, "monolithic": True, "dropout": 0.0},
        linear={"hidden_size": 8, "num_layers": 1},
    )
    network.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        classes=["a", "b", "c"],
        powerset_max_classes=2,
        permutation_invariant=True,
        **frames,
    )
    network.build()
    with torch.no_grad():
        network.classifier.bias[1] += 10
    save(network, folder / "segmentation")
    voice = XVectorMFCC(dimension=16)
    voice.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, classes=None, **frames
    )
    voice.build()
    save(voice, folder / "embedding")
    (folder / "plda").mkdir()
    np.savez(folder / "plda/xvec_transform.npz", mean1=np.zeros(16), mean2=np.zeros(16), lda=np.eye(16))
    np.savez(folder / "plda/plda.npz", mu=np.zeros(16), tr=np.eye(16), psi=np.ones(16))
    (folder / "config.yaml").write_text(CONFIG)


def main() -> None:
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    aligner(folder / "aligner")
    refused(folder / "refused", folder / "aligner")
    diarizer(folder / "diarizer")


if __name__ == "__main__":
    main()
