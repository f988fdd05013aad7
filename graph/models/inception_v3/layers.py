"""Inception v3 as a table: 94 convolutions, in the order in which every implementation creates them.

Paths are the node names of TensorFlow's 2015 graph; the other names are torchvision's. Source: "Rethinking the Inception
Architecture for Computer Vision" (arXiv 1512.00567) as built in that graph. Concatenation order is the table's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["CONVS", "FEATURES", "NETWORK", "Block", "Conv", "Pool", "Sized", "Step", "connect", "sized_convs"]

T = TypeVar("T")
#: Channels that the last block gives.
FEATURES = 2048


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

_H3, _V3, _H7, _V7 = (1, 3), (3, 1), (1, 7), (7, 1)


def _block_a(path: str, name: str, pool_filters: int) -> Block:
    """35x35."""
    return Block(
        path,
        (
            (Conv(f"{path}/conv", f"{name}.branch1x1", 64),),
            (
                Conv(f"{path}/tower/conv", f"{name}.branch5x5_1", 48),
                Conv(f"{path}/tower/conv_1", f"{name}.branch5x5_2", 64, (5, 5)),
            ),
            (
                Conv(f"{path}/tower_1/conv", f"{name}.branch3x3dbl_1", 64),
                Conv(f"{path}/tower_1/conv_1", f"{name}.branch3x3dbl_2", 96, (3, 3)),
                Conv(f"{path}/tower_1/conv_2", f"{name}.branch3x3dbl_3", 96, (3, 3)),
            ),
            (Pool(f"{path}/tower_2/pool", "avg"), Conv(f"{path}/tower_2/conv", f"{name}.branch_pool", pool_filters)),
        ),
    )


def _block_b(path: str, name: str) -> Block:
    """35x35 to 17x17."""
    return Block(
        path,
        (
            (Conv(f"{path}/conv", f"{name}.branch3x3", 384, (3, 3), 2, "VALID"),),
            (
                Conv(f"{path}/tower/conv", f"{name}.branch3x3dbl_1", 64),
                Conv(f"{path}/tower/conv_1", f"{name}.branch3x3dbl_2", 96, (3, 3)),
                Conv(f"{path}/tower/conv_2", f"{name}.branch3x3dbl_3", 96, (3, 3), 2, "VALID"),
            ),
            (Pool(f"{path}/pool", "max", 2, "VALID"),),
        ),
    )


def _block_c(path: str, name: str, width: int) -> Block:
    """17x17, factorised 7x7."""
    return Block(
        path,
        (
            (Conv(f"{path}/conv", f"{name}.branch1x1", 192),),
            (
                Conv(f"{path}/tower/conv", f"{name}.branch7x7_1", width),
                Conv(f"{path}/tower/conv_1", f"{name}.branch7x7_2", width, _H7),
                Conv(f"{path}/tower/conv_2", f"{name}.branch7x7_3", 192, _V7),
            ),
            (
                Conv(f"{path}/tower_1/conv", f"{name}.branch7x7dbl_1", width),
                Conv(f"{path}/tower_1/conv_1", f"{name}.branch7x7dbl_2", width, _V7),
                Conv(f"{path}/tower_1/conv_2", f"{name}.branch7x7dbl_3", width, _H7),
                Conv(f"{path}/tower_1/conv_3", f"{name}.branch7x7dbl_4", width, _V7),
                Conv(f"{path}/tower_1/conv_4", f"{name}.branch7x7dbl_5", 192, _H7),
            ),
            (Pool(f"{path}/tower_2/pool", "avg"), Conv(f"{path}/tower_2/conv", f"{name}.branch_pool", 192)),
        ),
    )


def _block_d(path: str, name: str) -> Block:
    """17x17 to 8x8."""
    return Block(
        path,
        (
            (
                Conv(f"{path}/tower/conv", f"{name}.branch3x3_1", 192),
                Conv(f"{path}/tower/conv_1", f"{name}.branch3x3_2", 320, (3, 3), 2, "VALID"),
            ),
            (
                Conv(f"{path}/tower_1/conv", f"{name}.branch7x7x3_1", 192),
                Conv(f"{path}/tower_1/conv_1", f"{name}.branch7x7x3_2", 192, _H7),
                Conv(f"{path}/tower_1/conv_2", f"{name}.branch7x7x3_3", 192, _V7),
                Conv(f"{path}/tower_1/conv_3", f"{name}.branch7x7x3_4", 192, (3, 3), 2, "VALID"),
            ),
            (Pool(f"{path}/pool", "max", 2, "VALID"),),
        ),
    )


def _split(path: str, name: str) -> Block:
    """1x3 and 3x1 side by side; their outputs are joined by the block around."""
    return Block(
        "",
        (
            (Conv(f"{path}/mixed/conv", f"{name}a", 384, _H3),),
            (Conv(f"{path}/mixed/conv_1", f"{name}b", 384, _V3),),
        ),
    )


def _block_e(path: str, name: str, pool: str) -> Block:
    """8x8, widened."""
    return Block(
        path,
        (
            (Conv(f"{path}/conv", f"{name}.branch1x1", 320),),
            (Conv(f"{path}/tower/conv", f"{name}.branch3x3_1", 384), _split(f"{path}/tower", f"{name}.branch3x3_2")),
            (
                Conv(f"{path}/tower_1/conv", f"{name}.branch3x3dbl_1", 448),
                Conv(f"{path}/tower_1/conv_1", f"{name}.branch3x3dbl_2", 384, (3, 3)),
                _split(f"{path}/tower_1", f"{name}.branch3x3dbl_3"),
            ),
            (Pool(f"{path}/tower_2/pool", pool), Conv(f"{path}/tower_2/conv", f"{name}.branch_pool", 192)),
        ),
    )


NETWORK: tuple[Step, ...] = (
    Conv("conv", "Conv2d_1a_3x3", 32, (3, 3), 2, "VALID"),
    Conv("conv_1", "Conv2d_2a_3x3", 32, (3, 3), 1, "VALID"),
    Conv("conv_2", "Conv2d_2b_3x3", 64, (3, 3)),
    Pool("pool", "max", 2, "VALID"),
    Conv("conv_3", "Conv2d_3b_1x1", 80, (1, 1), 1, "VALID"),
    Conv("conv_4", "Conv2d_4a_3x3", 192, (3, 3), 1, "VALID"),
    Pool("pool_1", "max", 2, "VALID"),
    _block_a("mixed", "Mixed_5b", 32),
    _block_a("mixed_1", "Mixed_5c", 64),
    _block_a("mixed_2", "Mixed_5d", 64),
    _block_b("mixed_3", "Mixed_6a"),
    _block_c("mixed_4", "Mixed_6b", 128),
    _block_c("mixed_5", "Mixed_6c", 160),
    _block_c("mixed_6", "Mixed_6d", 160),
    _block_c("mixed_7", "Mixed_6e", 192),
    _block_d("mixed_8", "Mixed_7a"),
    _block_e("mixed_9", "Mixed_7b", "avg"),
    _block_e("mixed_10", "Mixed_7c", "last"),
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
