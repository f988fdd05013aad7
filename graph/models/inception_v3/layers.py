"""Inception v3 as a table: 94 convolutions, in the order in which every implementation creates them.

Paths are the node names of TensorFlow's 2015 graph; the other names are torchvision's. Filters, windows, strides and paddings
come from kernels/inception_v3.py by the layer's name there; here is how the layers are connected. Source: "Rethinking the
Inception Architecture for Computer Vision" (arXiv 1512.00567) as built in that graph. Concatenation order is the table's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ....kernels.inception_v3 import CONVOLUTIONS, POOLS

__all__ = ["CONVS", "FEATURES", "NETWORK", "Block", "Conv", "Pool", "Sized", "Step", "connect", "sized_convs"]

T = TypeVar("T")
#: Channels that the last block gives.
FEATURES = POOLS[-1].channels


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution without bias, batch normalisation, ReLU."""

    path: str
    torchvision: str
    filters: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


@dataclass(frozen=True, slots=True)
class Pool:
    """3x3 pooling. ``kind``: max or avg; 'last' is the pool of mixed_10, which implementations disagree on."""

    path: str
    kind: str
    stride: int = 1
    padding: str = "SAME"


@dataclass(frozen=True, slots=True)
class Block:
    """Branches side by side, concatenated. A Block without a path ends a branch and passes its parts on."""

    path: str
    branches: tuple[tuple[Step, ...], ...]


Step = Conv | Pool | Block

_CONVOLUTIONS = {layer.name: layer for layer in CONVOLUTIONS}
_POOLS = {layer.name: layer for layer in POOLS}


def _conv(path: str, torchvision: str, name: str) -> Conv:
    layer = _CONVOLUTIONS[name]
    return Conv(path, torchvision, layer.cout, layer.kernel, layer.stride, layer.padding)


def _pool(path: str, name: str, kind: str = "") -> Pool:
    layer = _POOLS[name]
    return Pool(path, kind or layer.kind, layer.stride, layer.padding)


def _chain(path: str, name: str, layers: Sequence[str]) -> tuple[Conv, ...]:
    """Convolutions one after the other: conv, conv_1, ... under ``path``; 1, 2, ... behind torchvision's ``name``."""
    return tuple(
        _conv(f"{path}/conv{f'_{i}' if i else ''}", f"{name}_{i + 1}", layer) for i, layer in enumerate(layers)
    )


def _pooled(path: str, name: str, block: str, kind: str = "") -> tuple[Step, ...]:
    """The branch that pools, then convolves."""
    pool = _pool(f"{path}/tower_2/pool", f"{block}.pool", kind)
    return pool, _conv(f"{path}/tower_2/conv", f"{name}.branch_pool", f"{block}.pool")


def _block_a(path: str, name: str, block: str) -> Block:
    """35x35."""
    return Block(
        path,
        (
            (_conv(f"{path}/conv", f"{name}.branch1x1", f"{block}.b1x1"),),
            _chain(f"{path}/tower", f"{name}.branch5x5", [f"{block}.b5_1", f"{block}.b5_2"]),
            _chain(f"{path}/tower_1", f"{name}.branch3x3dbl", [f"{block}.b3_{i}" for i in (1, 2, 3)]),
            _pooled(path, name, block),
        ),
    )


def _block_b(path: str, name: str) -> Block:
    """35x35 to 17x17."""
    return Block(
        path,
        (
            (_conv(f"{path}/conv", f"{name}.branch3x3", "B.b3"),),
            _chain(f"{path}/tower", f"{name}.branch3x3dbl", ["B.d1", "B.d2", "B.d3"]),
            (_pool(f"{path}/pool", "B.pool"),),
        ),
    )


def _block_c(path: str, name: str, block: str) -> Block:
    """17x17, factorised 7x7."""
    return Block(
        path,
        (
            (_conv(f"{path}/conv", f"{name}.branch1x1", f"{block}.b1x1"),),
            _chain(f"{path}/tower", f"{name}.branch7x7", [f"{block}.b7_{i}" for i in (1, 2, 3)]),
            _chain(f"{path}/tower_1", f"{name}.branch7x7dbl", [f"{block}.d7_{i}" for i in (1, 2, 3, 4, 5)]),
            _pooled(path, name, block),
        ),
    )


def _block_d(path: str, name: str) -> Block:
    """17x17 to 8x8."""
    return Block(
        path,
        (
            _chain(f"{path}/tower", f"{name}.branch3x3", ["D.b3_1", "D.b3_2"]),
            _chain(f"{path}/tower_1", f"{name}.branch7x7x3", [f"D.b7_{i}" for i in (1, 2, 3, 4)]),
            (_pool(f"{path}/pool", "D.pool"),),
        ),
    )


def _split(path: str, name: str, layer: str) -> Block:
    """1x3 and 3x1 side by side; their outputs are joined by the block around."""
    return Block(
        "",
        (
            (_conv(f"{path}/mixed/conv", f"{name}a", f"{layer}a"),),
            (_conv(f"{path}/mixed/conv_1", f"{name}b", f"{layer}b"),),
        ),
    )


def _block_e(path: str, name: str, block: str, pool: str = "") -> Block:
    """8x8, widened."""
    tower, tower_1 = f"{path}/tower", f"{path}/tower_1"
    single, double = f"{name}.branch3x3", f"{name}.branch3x3dbl"
    return Block(
        path,
        (
            (_conv(f"{path}/conv", f"{name}.branch1x1", f"{block}.b1x1"),),
            (*_chain(tower, single, [f"{block}.b3_1"]), _split(tower, f"{single}_2", f"{block}.b3_2")),
            (
                *_chain(tower_1, double, [f"{block}.d3_1", f"{block}.d3_2"]),
                _split(tower_1, f"{double}_3", f"{block}.d3_3"),
            ),
            _pooled(path, name, block, pool),
        ),
    )


NETWORK: tuple[Step, ...] = (
    _conv("conv", "Conv2d_1a_3x3", "stem1"),
    _conv("conv_1", "Conv2d_2a_3x3", "stem2"),
    _conv("conv_2", "Conv2d_2b_3x3", "stem3"),
    _pool("pool", "stem.pool1"),
    _conv("conv_3", "Conv2d_3b_1x1", "stem4"),
    _conv("conv_4", "Conv2d_4a_3x3", "stem5"),
    _pool("pool_1", "stem.pool2"),
    _block_a("mixed", "Mixed_5b", "A0"),
    _block_a("mixed_1", "Mixed_5c", "A1"),
    _block_a("mixed_2", "Mixed_5d", "A2"),
    _block_b("mixed_3", "Mixed_6a"),
    _block_c("mixed_4", "Mixed_6b", "C0"),
    _block_c("mixed_5", "Mixed_6c", "C1"),
    _block_c("mixed_6", "Mixed_6d", "C2"),
    _block_c("mixed_7", "Mixed_6e", "C3"),
    _block_d("mixed_8", "Mixed_7a"),
    _block_e("mixed_9", "Mixed_7b", "E0"),
    _block_e("mixed_10", "Mixed_7c", "E1", "last"),
)


def connect(
    x: T,
    conv: Callable[[Conv, T], T],
    pool: Callable[[Pool, T], T],
    join: Callable[[Block, Sequence[T]], T],
    network: Sequence[Step] = NETWORK,
) -> T:
    """Walks the table from the input ``x`` to the last block's output with the given meaning of each step."""

    def follow(steps: Sequence[Step], value: T) -> list[T]:
        for i, step in enumerate(steps):
            if isinstance(step, Conv):
                value = conv(step, value)
            elif isinstance(step, Pool):
                value = pool(step, value)
            else:
                parts = [part for branch in step.branches for part in follow(branch, value)]
                if not step.path:
                    assert i == len(steps) - 1
                    return parts
                value = join(step, parts)
        return [value]

    (result,) = follow(network, x)
    return result


@dataclass(frozen=True, slots=True)
class Sized:
    """A convolution with the shape of its kernel, height x width x inputs x filters."""

    conv: Conv
    shape: tuple[int, int, int, int]


def sized_convs(network: Sequence[Step] = NETWORK) -> tuple[Sized, ...]:
    """The convolutions of the table, or of its beginning, in its order."""
    found: list[Sized] = []

    def conv(step: Conv, channels: int) -> int:
        found.append(Sized(step, (*step.kernel, channels, step.filters)))
        return step.filters

    connect(3, conv, lambda step, channels: channels, lambda step, parts: sum(parts), network)
    return tuple(found)


CONVS: tuple[Sized, ...] = sized_convs()
