"""CAM++ as an ONNX graph: a voice as 192 numbers, out of a second or two of speech.

A convolutional front end over the spectrum, then a densely connected time-delay network in which the mean over the
window masks every layer. Source: Wang, Zheng, Chen, Cheng and Chen, "CAM++: A fast and efficient network for speaker
verification using context-aware masking" (2023).

The original adds the mean of each full second (100 frames after the first layer, which halves their number) to the
mean of the window. In a window of at most 2 s these are the same, and the graph relies on that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe.models.speakers.onnx_graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[Any]]

INPUT = "features"
"""Shape (windows, frames, 80): log mel energies every 10 ms less their mean over the window; at most `MAX_FRAMES`."""
OUTPUT = "embeddings"
"""Shape (windows, 192)."""
MAX_FRAMES = 200

_EPSILON = 1e-5  # of a batch normalisation
_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers of each block, and the dilation of their convolutions


def build_embedding(tensors: Tensors) -> bytes:
    """Return the ONNX file made of the network's tensors, named as in its checkpoint. Raises: KeyError."""
    graph = Graph()
    value = graph.add("Transpose", INPUT, perm=[0, 2, 1])
    value = graph.add("Unsqueeze", value, graph.weight(np.array([1])))  # (windows, 1, bins, frames)
    value = graph.add("Relu", _folded(graph, value, tensors, "head.conv1", "head.bn1", pads=[1, 1, 1, 1]))
    for stage in ("head.layer1", "head.layer2"):
        value = _residual(graph, value, tensors, f"{stage}.0", 2)
        value = _residual(graph, value, tensors, f"{stage}.1", 1)
    value = _folded(graph, value, tensors, "head.conv2", "head.bn2", pads=[1, 1, 1, 1], strides=[2, 1])
    channels = tensors["xvector.tdnn.linear.weight"].shape[1]
    value = graph.add("Reshape", graph.add("Relu", value), graph.weight(np.array([0, channels, -1])))
    name = "xvector.tdnn"
    value = _folded(graph, value, tensors, f"{name}.linear", f"{name}.nonlinear.batchnorm", pads=[2, 2], strides=[2])
    value = graph.add("Relu", value)
    for index, (layers, dilation) in enumerate(_BLOCKS, 1):
        for layer in range(1, layers + 1):
            more = _masked(graph, value, tensors, f"xvector.block{index}.tdnnd{layer}", dilation)
            value = graph.add("Concat", value, more, axis=1)
        name = f"xvector.transit{index}"
        value = graph.add("Relu", _norm(graph, value, tensors, f"{name}.nonlinear.batchnorm"))
        value = graph.conv(value, tensors[f"{name}.linear.weight"])
    value = graph.add("Relu", _norm(graph, value, tensors, "xvector.out_nonlinear.batchnorm"))
    value = _statistics(graph, value)
    value = _folded(graph, value, tensors, "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")
    graph.add("Squeeze", value, graph.weight(np.array([2])), output=OUTPUT)
    return graph.finish("embedding", {INPUT: ["windows", "frames", 80]}, {OUTPUT: ["windows", 192]})


def _scale(tensors: Tensors, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what a batch normalisation multiplies by and then adds."""
    mean, variance = (tensors[f"{name}.running_{each}"].astype(np.float64) for each in ("mean", "var"))
    scale = 1 / np.sqrt(variance + _EPSILON) * tensors.get(f"{name}.weight", np.ones_like(mean))
    return scale, tensors.get(f"{name}.bias", np.zeros_like(mean)) - mean * scale


def _folded(graph: Graph, value: str, tensors: Tensors, conv: str, norm: str, **attributes: list[int]) -> str:
    """Add a convolution with the batch normalisation that follows it."""
    scale, bias = _scale(tensors, norm)
    weight = tensors[f"{conv}.weight"]
    shaped = scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return graph.conv(value, weight * shaped, bias, **attributes)


def _norm(graph: Graph, value: str, tensors: Tensors, name: str) -> str:
    """Add a batch normalisation that no convolution comes before."""
    names = [f"{name}.{each}" for each in ("weight", "bias", "running_mean", "running_var")]
    return graph.add("BatchNormalization", value, *(graph.weight(tensors[n]) for n in names), epsilon=_EPSILON)


def _residual(graph: Graph, value: str, tensors: Tensors, name: str, stride: int) -> str:
    """Add two convolutions, and what goes around them."""
    strides = [stride, 1]
    inner = _folded(graph, value, tensors, f"{name}.conv1", f"{name}.bn1", pads=[1, 1, 1, 1], strides=strides)
    inner = _folded(graph, graph.add("Relu", inner), tensors, f"{name}.conv2", f"{name}.bn2", pads=[1, 1, 1, 1])
    if stride > 1:
        value = _folded(graph, value, tensors, f"{name}.shortcut.0", f"{name}.shortcut.1", strides=strides)
    return graph.add("Relu", graph.add("Add", inner, value))


def _masked(graph: Graph, value: str, tensors: Tensors, name: str, dilation: int) -> str:
    """Add one layer: a narrow and a dilated convolution, times a mask made of the means over the window."""
    value = graph.add("Relu", _norm(graph, value, tensors, f"{name}.nonlinear1.batchnorm"))
    value = graph.add("Relu", _folded(graph, value, tensors, f"{name}.linear1", f"{name}.nonlinear2.batchnorm"))
    cam = f"{name}.cam_layer"
    local = graph.conv(value, tensors[f"{cam}.linear_local.weight"], pads=[dilation, dilation], dilations=[dilation])
    mask = graph.add("GlobalAveragePool", value)
    # Twice the mean: of the window and of its only full second, see the head of this module.
    mask = graph.conv(mask, tensors[f"{cam}.linear1.weight"] * 2, tensors[f"{cam}.linear1.bias"])
    mask = graph.conv(graph.add("Relu", mask), tensors[f"{cam}.linear2.weight"], tensors[f"{cam}.linear2.bias"])
    return graph.add("Mul", local, graph.add("Sigmoid", mask))


def _statistics(graph: Graph, value: str) -> str:
    """Add mean and standard deviation (of a sample: n - 1) over time; shape (windows, 2 x features, 1)."""
    mean = graph.add("ReduceMean", value, axes=[2], keepdims=1)
    off = graph.add("Sub", value, mean)
    total = graph.add("ReduceSum", graph.add("Mul", off, off), graph.weight(np.array([2])), keepdims=1)
    size = graph.add("Shape", value, start=2, end=3)
    count = graph.add("Sub", graph.add("Cast", size, to=1), graph.weight(np.ones(1)))
    return graph.add("Concat", mean, graph.add("Sqrt", graph.add("Div", total, count)), axis=1)
