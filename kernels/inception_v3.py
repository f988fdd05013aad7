"""The layers of Inception v3 (299 x 299 pixels) as facts: convolutions and pools in the order of the network.

The one table of them: conformance cases and benchmarks take their shapes from here, graph/models/inception_v3/layers.py the
filters, windows and strides of the network that it connects.
Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015). A = mixed..mixed_2, B = mixed_3,
C = mixed_4..mixed_7, D = mixed_8, E = mixed_9 and mixed_10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

__all__ = ["CONVOLUTIONS", "POOLS", "ConvLayer", "PoolLayer", "distinct_convolutions"]


class ConvLayer(NamedTuple):
    """A convolution of a ``size`` x ``size`` x ``cin`` image with ``cout`` filters; every one has a bias and a ReLU."""

    name: str
    cin: int
    size: int
    cout: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"

    @property
    def out(self) -> int:
        """Height and width of the result."""
        return -(-(self.size - (0 if self.padding == "SAME" else self.kernel[0] - 1)) // self.stride)

    @property
    def macs(self) -> int:
        """Multiply-adds of one image, padding counted."""
        return self.out**2 * self.cin * self.cout * self.kernel[0] * self.kernel[1]


class PoolLayer(NamedTuple):
    """A pool over a ``size`` x ``size`` x ``channels`` image."""

    name: str
    kind: Literal["max", "avg"]
    channels: int
    size: int
    window: int = 3
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"


def _stem() -> Iterator[ConvLayer]:
    yield ConvLayer("stem1", 3, 299, 32, (3, 3), 2, "VALID")
    yield ConvLayer("stem2", 32, 149, 32, (3, 3), 1, "VALID")
    yield ConvLayer("stem3", 32, 147, 64, (3, 3))
    yield ConvLayer("stem4", 64, 73, 80, (1, 1), 1, "VALID")
    yield ConvLayer("stem5", 80, 73, 192, (3, 3), 1, "VALID")


def _a(name: str, cin: int, pool: int) -> Iterator[ConvLayer]:
    yield ConvLayer(f"{name}.b1x1", cin, 35, 64)
    yield ConvLayer(f"{name}.b5_1", cin, 35, 48)
    yield ConvLayer(f"{name}.b5_2", 48, 35, 64, (5, 5))
    yield ConvLayer(f"{name}.b3_1", cin, 35, 64)
    yield ConvLayer(f"{name}.b3_2", 64, 35, 96, (3, 3))
    yield ConvLayer(f"{name}.b3_3", 96, 35, 96, (3, 3))
    yield ConvLayer(f"{name}.pool", cin, 35, pool)


def _b() -> Iterator[ConvLayer]:
    yield ConvLayer("B.b3", 288, 35, 384, (3, 3), 2, "VALID")
    yield ConvLayer("B.d1", 288, 35, 64)
    yield ConvLayer("B.d2", 64, 35, 96, (3, 3))
    yield ConvLayer("B.d3", 96, 35, 96, (3, 3), 2, "VALID")


def _c(name: str, mid: int) -> Iterator[ConvLayer]:
    yield ConvLayer(f"{name}.b1x1", 768, 17, 192)
    yield ConvLayer(f"{name}.b7_1", 768, 17, mid)
    yield ConvLayer(f"{name}.b7_2", mid, 17, mid, (1, 7))
    yield ConvLayer(f"{name}.b7_3", mid, 17, 192, (7, 1))
    yield ConvLayer(f"{name}.d7_1", 768, 17, mid)
    yield ConvLayer(f"{name}.d7_2", mid, 17, mid, (7, 1))
    yield ConvLayer(f"{name}.d7_3", mid, 17, mid, (1, 7))
    yield ConvLayer(f"{name}.d7_4", mid, 17, mid, (7, 1))
    yield ConvLayer(f"{name}.d7_5", mid, 17, 192, (1, 7))
    yield ConvLayer(f"{name}.pool", 768, 17, 192)


def _d() -> Iterator[ConvLayer]:
    yield ConvLayer("D.b3_1", 768, 17, 192)
    yield ConvLayer("D.b3_2", 192, 17, 320, (3, 3), 2, "VALID")
    yield ConvLayer("D.b7_1", 768, 17, 192)
    yield ConvLayer("D.b7_2", 192, 17, 192, (1, 7))
    yield ConvLayer("D.b7_3", 192, 17, 192, (7, 1))
    yield ConvLayer("D.b7_4", 192, 17, 192, (3, 3), 2, "VALID")


def _e(name: str, cin: int) -> Iterator[ConvLayer]:
    yield ConvLayer(f"{name}.b1x1", cin, 8, 320)
    yield ConvLayer(f"{name}.b3_1", cin, 8, 384)
    yield ConvLayer(f"{name}.b3_2a", 384, 8, 384, (1, 3))
    yield ConvLayer(f"{name}.b3_2b", 384, 8, 384, (3, 1))
    yield ConvLayer(f"{name}.d3_1", cin, 8, 448)
    yield ConvLayer(f"{name}.d3_2", 448, 8, 384, (3, 3))
    yield ConvLayer(f"{name}.d3_3a", 384, 8, 384, (1, 3))
    yield ConvLayer(f"{name}.d3_3b", 384, 8, 384, (3, 1))
    yield ConvLayer(f"{name}.pool", cin, 8, 192)


#: All 94 convolutions.
CONVOLUTIONS: tuple[ConvLayer, ...] = (
    *_stem(), *_a("A0", 192, 32), *_a("A1", 256, 64), *_a("A2", 288, 64), *_b(),
    *_c("C0", 128), *_c("C1", 160), *_c("C2", 160), *_c("C3", 192), *_d(), *_e("E0", 1280), *_e("E1", 2048),
)  # fmt: skip

#: All 14 pools. mixed_10 of the 2015 network takes the maximum where later ones average.
POOLS: tuple[PoolLayer, ...] = (
    PoolLayer("stem.pool1", "max", 64, 147, 3, 2, "VALID"),
    PoolLayer("stem.pool2", "max", 192, 71, 3, 2, "VALID"),
    PoolLayer("A0.pool", "avg", 192, 35),
    PoolLayer("A1.pool", "avg", 256, 35),
    PoolLayer("A2.pool", "avg", 288, 35),
    PoolLayer("B.pool", "max", 288, 35, 3, 2, "VALID"),
    *(PoolLayer(f"C{i}.pool", "avg", 768, 17) for i in range(4)),
    PoolLayer("D.pool", "max", 768, 17, 3, 2, "VALID"),
    PoolLayer("E0.pool", "avg", 1280, 8),
    PoolLayer("E1.pool", "max", 2048, 8),
    PoolLayer("head.pool", "avg", 2048, 8, 8, 1, "VALID"),
)


def distinct_convolutions() -> tuple[tuple[ConvLayer, int], ...]:
    """Every distinct convolution under the name of its first layer, with how often the network has it."""
    counts: dict[tuple[object, ...], int] = {}
    first: dict[tuple[object, ...], ConvLayer] = {}
    for layer in CONVOLUTIONS:
        counts[layer[1:]] = counts.get(layer[1:], 0) + 1
        first.setdefault(layer[1:], layer)
    return tuple((first[key], count) for key, count in counts.items())
