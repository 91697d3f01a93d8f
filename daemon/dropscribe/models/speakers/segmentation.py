"""pyannote's segmentation-3.0 as an ONNX graph: who of up to three people speaks in each frame of a chunk of sound.

SincNet (a filter bank with learned band edges, two convolutions), four bidirectional LSTM layers, two linear layers.
Sources: Bredin and Laurent, "End-to-end speaker segmentation for overlap-aware resegmentation" (2021); Plaquet and
Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization" (2023); Ravanelli and Bengio,
"Speaker recognition from raw waveform with SincNet" (2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.models.speakers.onnx_graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[Any]]

SAMPLE_RATE = 16_000
INPUT = "samples"
"""Shape (chunks, 1, samples)."""
OUTPUT = "log_probabilities"
"""Shape (chunks, frames, 7): nobody; one of three speakers; two of them (1 and 2, 1 and 3, 2 and 3)."""

_STRIDE = 10  # samples between two positions of the filter bank
_LEAST_HZ = 50.0  # lowest edge of a band, and its least width
_HALF = 125  # samples on each side of a filter's middle
_LAYERS = 4
_SLOPE = 0.01  # of a leaky rectifier below zero
_EPSILON = 1e-5  # of a normalisation


def build_segmentation(tensors: Tensors) -> bytes:
    """Return the ONNX file made of the network's tensors, named as in its checkpoint. Raises: KeyError."""
    graph = Graph()
    value = _norm(graph, INPUT, tensors, "sincnet.wav_norm1d")
    filters = sinc_filters(
        tensors["sincnet.conv1d.0.filterbank.low_hz_"], tensors["sincnet.conv1d.0.filterbank.band_hz_"]
    )
    value = graph.add("Abs", graph.conv(value, filters, strides=[_STRIDE]))
    for index in range(3):
        if index:
            name = f"sincnet.conv1d.{index}"
            value = graph.conv(value, tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        value = graph.add("MaxPool", value, kernel_shape=[3], strides=[3])
        value = graph.add("LeakyRelu", _norm(graph, value, tensors, f"sincnet.norm1d.{index}"), alpha=_SLOPE)
    value = graph.add("Transpose", value, perm=[2, 0, 1])  # (frames, chunks, features): what an LSTM takes
    for layer in range(_LAYERS):
        value = _lstm(graph, value, tensors, layer)
    for name in ("linear.0", "linear.1"):
        value = graph.add("LeakyRelu", _linear(graph, value, tensors, name), alpha=_SLOPE)
    value = graph.add("LogSoftmax", _linear(graph, value, tensors, "classifier"), axis=-1)
    graph.add("Transpose", value, perm=[1, 0, 2], output=OUTPUT)
    return graph.finish("segmentation", {INPUT: ["chunks", 1, "samples"]}, {OUTPUT: ["chunks", "frames", 7]})


def sinc_filters(low_hz: NDArray[Any], band_hz: NDArray[Any]) -> NDArray[np.float32]:
    """Return band passes, shape (filters, 1, 251), of which the latter half is the former a quarter wave later.

    A band pass is the difference of two low passes (sinc functions), under half a Hamming window on each side.
    """
    low = _LEAST_HZ + np.abs(low_hz).reshape(-1, 1)
    high = np.clip(low + _LEAST_HZ + np.abs(band_hz).reshape(-1, 1), _LEAST_HZ, SAMPLE_RATE / 2)
    # In single precision, as the reference computes them.
    window = np.hamming(2 * _HALF + 1)[:_HALF].astype(np.float32)
    angle = (2 * np.pi * np.arange(-_HALF, 0) / SAMPLE_RATE).astype(np.float32)
    even = (np.sin(high * angle) - np.sin(low * angle)) / (angle / 2) * window
    odd = (np.cos(low * angle) - np.cos(high * angle)) / (angle / 2) * window
    middle = 2 * (high - low)
    cosine = np.hstack([even, middle, even[:, ::-1]])
    sine = np.hstack([odd, np.zeros_like(middle), -odd[:, ::-1]])
    return (np.vstack([cosine / middle, sine / middle]))[:, None, :].astype(np.float32)


def _norm(graph: Graph, value: str, tensors: Tensors, name: str) -> str:
    scale, bias = graph.weight(tensors[f"{name}.weight"]), graph.weight(tensors[f"{name}.bias"])
    return graph.add("InstanceNormalization", value, scale, bias, epsilon=_EPSILON)


def _linear(graph: Graph, value: str, tensors: Tensors, name: str) -> str:
    product = graph.add("MatMul", value, graph.weight(tensors[f"{name}.weight"].T))
    return graph.add("Add", product, graph.weight(tensors[f"{name}.bias"]))


def _lstm(graph: Graph, value: str, tensors: Tensors, layer: int) -> str:
    """Add a bidirectional layer.

    PyTorch has its gates in the order input, forget, cell, output; ONNX input, output, forget, cell.
    """

    def gates(kind: str) -> NDArray[np.float32]:
        ways = [tensors[f"lstm.{kind}_l{layer}{way}"] for way in ("", "_reverse")]
        parts = [np.split(way, 4) for way in ways]
        return np.stack([np.concatenate([i, o, f, c]) for i, f, c, o in parts]).astype(np.float32)

    weights = [graph.weight(gates("weight_ih")), graph.weight(gates("weight_hh"))]
    bias = graph.weight(np.concatenate([gates("bias_ih"), gates("bias_hh")], axis=1))
    hidden = tensors[f"lstm.weight_hh_l{layer}"].shape[1]
    both = graph.add("LSTM", value, *weights, bias, hidden_size=hidden, direction="bidirectional")
    both = graph.add("Transpose", both, perm=[0, 2, 1, 3])  # (frames, chunks, ways, hidden)
    return graph.add("Reshape", both, graph.weight(np.array([0, 0, 2 * hidden])))
