"""Products of random operands stay within their precision's bound, for short and long sums, split and not: on the GPU where
one is, and emulated on every machine."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

import kigraph.kernels.cupy as backend
from kigraph.kernels.conformance import Case, bind_case, tensor
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.conformance.values import normal
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.contracts.precisions import UNITS, error_bound
from kigraph.kernels.cupy import implicit_gemm
from kigraph.kernels.cupy.implicit_gemm import TILES, Tile
from kigraph.kernels.kernel import Kernel

NDArray = np.ndarray[Any, Any]
STATUS = backend.probe()
PLACES = [
    pytest.param("gpu", marks=pytest.mark.skipif(not STATUS.available, reason=f"no GPU: {STATUS.detail}")),
    pytest.param(
        "emulated", marks=pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++"))), reason="no C++ compiler")
    ),
]
#: The longest sum of Inception v3 has 3 x 3 x 448 terms.
LONG = 4032
#: Standard deviation of a product's error through the rounding of both operands, in units: between these. One rounding is off
#: by 0.29 units at the top of a binade and 0.58 at its bottom.
SPREAD = (0.3, 0.85)


def emulated() -> tuple[tuple[Kernel, ...], Any]:
    pytest.importorskip("kigraph.kernels.testing", reason="the emulation of CUDA is not in the wheel")
    from kigraph.kernels.testing.launcher import HostLauncher, kernel_table

    launcher = HostLauncher()
    return kernel_table(launcher), launcher.device


def kernel_of(place: str, contract: str, precision: str) -> tuple[Kernel, Any]:
    kernels, device = (backend.KERNELS, backend.DEVICE) if place == "gpu" else emulated()
    name = f"f32_{contract}_igemm_{precision}"
    return next(k for k in kernels if k.name == name), device


def judge(found: NDArray, rows: NDArray, columns: NDArray, precision: str, splits: int = 1) -> None:
    """``found`` against rows @ columns in float64: every element within the bound, the errors as large as they ought to be."""
    a, b = rows.astype(np.float64), columns.astype(np.float64)
    error = found.astype(np.float64) - a @ b
    worst = np.max(np.abs(error) / (np.abs(a) @ np.abs(b)))
    assert worst <= error_bound(precision, a.shape[1], splits)
    spread = np.sqrt(np.mean(error**2) / np.mean(a**2 @ b**2)) / UNITS[precision]
    if precision != "fp32":
        assert SPREAD[0] < spread < SPREAD[1]  # more would be another precision, less a better one than requested
    else:
        assert spread < 4 * np.sqrt(a.shape[1])


def patches(x: NDArray) -> NDArray:
    """The rows of the product that a 3 x 3 convolution with padding SAME and stride 1 is."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [padded[:, u : u + h, v : v + w] for u in range(3) for v in range(3)]
    return np.concatenate(taps, axis=3).reshape(n * h * w, 9 * c)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("splits", [1, 3, 16])
@pytest.mark.parametrize("precision", UNITS)
def test_the_longest_sum(place: str, precision: str, splits: int, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(implicit_gemm, "choose_tile", lambda *_: (TILES[precision][-1], splits))
    kernel, device = kernel_of(place, "matmul", precision)
    case = Case(MATMUL, "long", (tensor((50, LONG), normal), tensor((LONG, 40), normal, constant=True)), MatMulParams())
    x, w = case.generate(seed)
    (found,) = bind_case(kernel, case, [x, w], device).results()
    judge(found, x, w, precision, splits)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("memory", ["slice", "pitched"])
@pytest.mark.parametrize(
    "tile", [t for tiles in TILES.values() for t in tiles], ids=lambda t: f"{t.precision.name}-{t.bm}x{t.bn}"
)
def test_every_tile(
    place: str, tile: Tile, memory: Any, splits: int, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A convolution whose gathers are aligned ('slice') and not ('pitched')."""
    monkeypatch.setattr(implicit_gemm, "choose_tile", lambda *_: (tile, splits))
    precision = tile.precision.name
    kernel, device = kernel_of(place, "conv2d", precision)
    case = conv_case("odd", (2, 9, 11, 20), (3, 3, 68), bias=False, padding="SAME", x_memory=memory, memory=memory)
    x, w = case.generate(seed)
    (found,) = bind_case(kernel, case, [x, w], device).results()
    judge(found.reshape(-1, 68), patches(x), w.reshape(-1, 68), precision, splits)


@pytest.mark.parametrize("precision", UNITS)
def test_the_judge_sees_another_precision(precision: str, seed: int) -> None:
    """Errors of each other precision, and one lost K-step of 32 in the longest sum, are no errors of this one."""
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((50, LONG)), rng.standard_normal((LONG, 40))

    def errors_of(unit: float) -> NDArray:
        rounded = [v * (1 + unit * rng.uniform(-1, 1, v.shape) * np.sqrt(0.5)) for v in (x, w)]
        return rounded[0] @ rounded[1]

    judge(errors_of(UNITS[precision]) if precision != "fp32" else x @ w, x, w, precision)
    for other, unit in UNITS.items():
        if other != precision and not (precision == "fp32" and unit < UNITS["tf32"]):
            with pytest.raises(AssertionError):
                judge(errors_of(unit), x, w, precision)
    with pytest.raises(AssertionError):
        judge(x[:, 32:] @ w[32:], x, w, precision)
