"""Seeded Inception v3 in float64, layer by layer, evaluated here without any kernel of kigraph.

    python -m benchmarks.gpu.reference FILE.npz     # writes it; benchmarks.gpu_prepare does so as well

A layer is stored as fixed elements of it, a sum of every channel under fixed random signs, and its L2 norm, for each
image; logits and pool_3 are stored whole. So a file of 1 MB tells of every layer whether it is right.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.graph.builder import Graph, Operation
from kigraph.graph.models.inception_v3.build import build
from kigraph.graph.models.inception_v3.layers import NETWORK, Block
from kigraph.graph.models.inception_v3.weights import seeded_weights

from .inputs import images

__all__ = [
    "BATCH", "FEED", "LAYERS", "LOGITS", "POOL_3", "Layer", "Reference", "compute", "evaluate", "first_bits", "inside",
    "made_from", "network",
]  # fmt: skip

NDArray = np.ndarray[Any, Any]
Round = Callable[[NDArray], NDArray]

#: Images of the stored reference, and the seed of them and of the weights.
BATCH, SEED = 3, 0
FEED, POOL_3, LOGITS = "input:0", "pool_3:0", "logits:0"
#: Outputs of the stem's layers and of all blocks, in the network's order; then the pooled features and the scores.
LAYERS = (
    *(f"{step.path}/join:0" if isinstance(step, Block) else f"{step.path}:0" for step in NETWORK),
    POOL_3,
    LOGITS,
)
#: Elements of a layer that are stored for each image.
PICKED = 128


def network() -> Graph:
    """The network with seeded weights."""
    return build(seeded_weights(SEED))


def inside(graph: Graph, layer: str) -> tuple[str, ...]:
    """The convolutions and pools inside a block, in the graph's order; none if ``layer`` is not a block's output."""
    scope, _, join = layer.rpartition("/")
    if join != "join:0":
        return ()
    ops = [
        op for op in graph.operations if op.name.startswith(f"{scope}/") and op.type in ("Relu", "MaxPool", "AvgPool")
    ]
    return tuple(op.outputs[0].name for op in ops)


# --- the network in plain NumPy -------------------------------------------------------------------------------------


def _windows(x_nhwc: NDArray, window: Sequence[int], strides: Sequence[int], padding: str, fill: float) -> NDArray:
    """Every window of x as a view of (n, oh, ow, kh, kw, c); SAME pads with ``fill`` as TensorFlow does."""
    pads = [(0, 0)] * 4
    for axis, size, stride in ((1, window[0], strides[0]), (2, window[1], strides[1])):
        total = max((-(-x_nhwc.shape[axis] // stride) - 1) * stride + size - x_nhwc.shape[axis], 0)
        pads[axis] = (total // 2, total - total // 2) if padding == "SAME" else (0, 0)
    padded = np.pad(x_nhwc, pads, constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(padded, tuple(window), (1, 2))
    return views[:, :: strides[0], :: strides[1]].transpose(0, 1, 2, 4, 5, 3)


def _conv2d(op: Operation, x_nhwc: NDArray, w_hwio: NDArray) -> NDArray:
    kh, kw, cin, cout = w_hwio.shape
    windows = _windows(x_nhwc, (kh, kw), op.attrs["strides"][1:3], op.attrs["padding"], 0)
    # Image by image: the unrolled rows of three would take 0.4 GB.
    rows = [image.reshape(-1, kh * kw * cin) @ w_hwio.reshape(-1, cout) for image in windows]
    return np.stack(rows).reshape(*windows.shape[:3], cout)


def _pool(op: Operation, x_nhwc: NDArray) -> NDArray:
    """The average is that of the pixels that exist."""
    place = op.attrs["ksize"][1:3], op.attrs["strides"][1:3], op.attrs["padding"]
    if op.type == "MaxPool":
        return np.asarray(_windows(x_nhwc, *place, -np.inf).max((3, 4)))
    ones = np.ones((1, *x_nhwc.shape[1:3], 1))
    return np.asarray(_windows(x_nhwc, *place, 0).sum((3, 4)) / _windows(ones, *place, 0).sum((3, 4)))


def _output(op: Operation, inputs: Sequence[NDArray], rounded: Round) -> NDArray:
    x = inputs[0]
    match op.type:
        case "Conv2D":
            return _conv2d(op, rounded(x), rounded(inputs[1]))
        case "MatMul":
            return np.asarray(rounded(x) @ rounded(inputs[1]))
        case "FusedBatchNormV3":
            gamma, beta, mean, variance = inputs[1:]
            return np.asarray((x - mean) * (gamma / np.sqrt(variance + op.attrs["epsilon"])) + beta)
        case "BiasAdd":
            return np.asarray(x + inputs[1])
        case "Relu":
            return np.maximum(x, 0)
        case "MaxPool" | "AvgPool":
            return _pool(op, x)
        case "ConcatV2":
            return np.concatenate(inputs[:-1], int(inputs[-1]))
        case "Reshape":
            return x.reshape(inputs[1].astype(int))
    raise ValueError(f"{op.type} '{op.name}': the float64 reference does not know this op")


def first_bits(bits: int) -> Round:
    """Rounds to so many significant bits, ties to even: 8 are bfloat16's, 11 are TF32's."""

    def rounded(x: NDArray) -> NDArray:
        fraction, exponent = np.frexp(x)
        return np.asarray(np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits))

    return rounded


def evaluate(
    graph: Graph, feeds: Mapping[str, NDArray], fetches: Sequence[str], rounded: Round | None = None
) -> dict[str, NDArray]:
    """``fetches`` by name, computed in float64 from constants and feeds made float64.

    rounded: applied to both factors of every convolution and matrix product, as a GPU's tensor cores take them.
    Raises ValueError at an op that Inception v3 does not have.
    """
    wanted = {graph.tensor(name).op.name for name in fetches}
    needed, waiting = set(), list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [t.op.name for t in graph.operation(name).inputs]
    ops = [op for op in graph.operations if op.name in needed]
    last = {t.op.name: number for number, op in enumerate(ops) for t in op.inputs}
    values: dict[str, NDArray] = {}
    for number, op in enumerate(ops):
        if f"{op.name}:0" in feeds:
            values[op.name] = feeds[f"{op.name}:0"].astype(np.float64)
        elif op.type == "Const":
            values[op.name] = op.attrs["value"].array().astype(np.float64)
        else:
            values[op.name] = _output(op, [values[t.op.name] for t in op.inputs], rounded or np.asarray)
        for t in op.inputs:
            if last[t.op.name] == number and t.op.name not in wanted:
                values.pop(t.op.name, None)
    return {name: values[graph.tensor(name).op.name] for name in fetches}


# --- what is kept of it ---------------------------------------------------------------------------------------------


def _elements(flat: NDArray) -> NDArray:
    """PICKED elements of each row, all if there are no more than 2048.

    The stride is odd, so that all channels and columns are met, whatever power of two divides their number.
    """
    if flat.shape[1] <= 2048:
        return flat
    stride = (flat.shape[1] // PICKED - 1) | 1
    return flat[:, stride // 2 :: stride][:, :PICKED]


@lru_cache(maxsize=16)
def _signs(count: int) -> NDArray:
    return np.random.default_rng(count).choice([-1.0, 1.0], count)


@dataclass(frozen=True, slots=True)
class Layer:
    """What is known of a tensor (n, ..., c): elements (n, k), sums (n, c), norms (n,), largest (n,).

    sums: of each channel under fixed random signs. They differ by about the length of a channel's error, wherever the
    error is, while norms and plain sums hardly see a tile of pixels at a wrong place. largest: magnitude of an element.
    """

    elements: NDArray
    sums: NDArray
    norms: NDArray
    largest: NDArray

    @classmethod
    def of(cls, values: NDArray) -> Layer:
        wide = values.astype(np.float64, copy=False)
        flat, pixels = wide.reshape(len(wide), -1), wide.reshape(len(wide), -1, wide.shape[-1])
        return cls(_elements(flat), _signs(pixels.shape[1]) @ pixels, np.linalg.norm(flat, axis=1), np.abs(flat).max(1))

    def error(self, values: NDArray) -> float:
        """How far the first ``len(values)`` images are off, the worst of three; infinity for NaN or another shape.

        Elements: their difference over the image's largest magnitude. Sums: their difference over 4 times the root mean
        square of the channels' norms (the largest of a thousand sums is about 4 deviations off). Norm: its relative
        difference.
        """
        found, count = Layer.of(values), len(values)
        if (found.elements.shape, found.sums.shape) != (self.elements[:count].shape, self.sums[:count].shape):
            return float("inf")
        norms = self.norms[:count, None]
        # numpy's max hands on a NaN, Python's may not.
        off = float(
            np.max(
                [
                    (np.abs(found.elements - self.elements[:count]) / self.largest[:count, None]).max(),
                    (np.abs(found.sums - self.sums[:count]) / norms).max() * self.sums.shape[1] ** 0.5 / 4,
                    (np.abs(found.norms[:, None] - norms) / norms).max(),
                ]
            )
        )
        return off if np.isfinite(off) else float("inf")


#: Arrays of a Layer, as they are called in the file.
_PARTS = ("elements", "sums", "norms", "largest")


@dataclass(frozen=True, slots=True)
class Reference:
    """All layers by name, LAYERS and what is inside blocks. ``made_from``: a hash of the sources that it depends on."""

    layers: Mapping[str, Layer]
    made_from: str

    @property
    def batch(self) -> int:
        return len(self.layers[LOGITS].elements)

    def save(self, path: Path) -> None:
        """Writes a .npz: seed, batch, made_from, names, and <name>/elements, /sums, /norms, /largest of each."""
        arrays: dict[str, Any] = {
            "seed": SEED,
            "batch": self.batch,
            "made_from": self.made_from,
            "names": list(self.layers),
        }
        for name, layer in self.layers.items():
            arrays |= {f"{name}/{part}": getattr(layer, part) for part in _PARTS}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Reference | None:
        """What ``save`` wrote; None if there is no whole file, or one of other weights, images or layers."""
        try:
            with np.load(path, allow_pickle=False) as file:
                layers = {name: Layer(*(file[f"{name}/{part}"] for part in _PARTS)) for name in map(str, file["names"])}
                found = cls(layers, str(file["made_from"]))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return found if found.made_from == made_from() else None


def made_from() -> str:
    """A hash of the sources that decide the reference's numbers."""
    from kigraph.graph import models

    sources = [
        Path(__file__),
        Path(__file__).with_name("inputs.py"),
        *sorted(Path(models.__file__).parent.glob("*.py")),
    ]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:32]


def compute(batch: int = BATCH, graph: Graph | None = None) -> Reference:
    """Evaluates LAYERS and everything inside the blocks for the first images, one image at a time."""
    graph = graph or network()
    names = [name for layer in LAYERS for name in (*inside(graph, layer), layer)]
    found: list[dict[str, Layer]] = []
    for image in images(batch, SEED):
        values = evaluate(graph, {FEED: image[None]}, names)
        found.append({name: Layer.of(value) for name, value in values.items()})
    layers = {
        name: Layer(*(np.concatenate([getattr(one[name], part) for one in found]) for part in _PARTS)) for name in names
    }
    return Reference(layers, made_from())


if __name__ == "__main__":
    compute().save(Path(sys.argv[1]))
