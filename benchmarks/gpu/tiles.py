"""Convolutions of random operands through a tile of choice, judged against float64: what first contact and sanitizers run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from kigraph.kernels import cupy as backend
from kigraph.kernels.conformance import Bound, Case, bind_case
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.contracts.precisions import error_bound
from kigraph.kernels.cupy import implicit_gemm
from kigraph.kernels.cupy.implicit_gemm import TILES, Tile
from kigraph.kernels.kernel import Kernel

__all__ = ["Check", "checks", "conv_kernel"]

NDArray = np.ndarray[Any, Any]


def conv_kernel(precision: str) -> Kernel:
    """The backend's convolution of that precision."""
    return next(k for k in backend.KERNELS if k.name == f"f32_conv2d_igemm_{precision}")


@dataclass(frozen=True, slots=True)
class Check:
    """One tile with K in ``splits`` parts; ``memory`` 'slice': gathers of 16 bytes, 'pitched': of single floats.

    Rows end inside every tile, channels are no multiple of a K-step, two images: 312 rows, K = 216, 68 columns.
    """

    tile: Tile
    splits: int
    memory: Any

    @property
    def name(self) -> str:
        """What runs: gathers of single floats take a smaller tile where this one has 128 rows."""
        tile, vector = self.build
        return f"{tile.precision.name} {tile.bm}x{tile.bn} {'16-byte' if vector == 4 else 'scalar'} gathers"

    @property
    def build(self) -> tuple[Tile, int]:
        """The tile that is launched, and the floats of a copy of A."""
        return (self.tile, 4) if self.memory == "slice" else (implicit_gemm.without_alignment(self.tile), 1)

    def case(self) -> Case:
        return conv_case(
            "odd", (2, 12, 13, 36), (3, 2, 68), padding="SAME", activation="relu", x_memory=self.memory, memory=self.memory
        )  # fmt: skip

    def bind(self, values: list[NDArray]) -> Bound:
        with patch.object(implicit_gemm, "choose_tile", lambda *_: (self.tile, self.splits)):
            return bind_case(conv_kernel(self.tile.precision.name), self.case(), values, backend.DEVICE)

    def error(self, seed: int = 0) -> tuple[float, float]:
        """(largest error as a share of sum |a| |b|, its bound); infinity for a NaN."""
        x, w, bias = values = self.case().generate(seed)
        (found,) = self.bind(values).results()
        rows, columns = _rows(x.astype(np.float64)), w.reshape(-1, 68).astype(np.float64)
        exact = np.maximum(rows @ columns + bias, 0)
        magnitude = np.abs(rows) @ np.abs(columns) + np.abs(bias)
        error = np.max(np.abs(found.reshape(-1, 68) - exact) / magnitude)
        bound = error_bound(self.tile.precision.name, rows.shape[1], self.splits)
        return float(error) if np.isfinite(error) else float("inf"), bound


def _rows(x: NDArray) -> NDArray:
    """The rows of the product that a 3 x 2 convolution with padding SAME and stride 1 is."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (0, 1), (0, 0)))
    taps = [padded[:, u : u + h, v : v + w] for u in range(3) for v in range(2)]
    return np.concatenate(taps, axis=3).reshape(n * h * w, 6 * c)


def checks() -> list[Check]:
    """Every tile of every precision with every gather that it is built for, K split and not."""
    found = []
    for tiles in TILES.values():
        for tile in tiles:
            for memory in ("slice", "pitched"):
                if Check(tile, 1, memory).build[0] is tile:
                    found += [Check(tile, splits, memory) for splits in (1, 3)]
    return found
