"""The C kernels' functions of float32 next to float64: errors in units in the last place, special values, large angles, remainders.

Every instruction set is measured: the one in use here, the others by this file as a program under KIGRAPH_ISA.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import elementwise as ops
from kigraph.kernels.tensor import TensorType

core = pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")
from kigraph.kernels.cython import loops  # noqa: E402

Array = np.ndarray[Any, Any]
#: Function in float64, and the bound of the error: c/functions.h, contracts/elementwise.py.
FUNCTIONS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "exp": (np.exp, 1.1),
    "expm1": (np.expm1, 1.6),
    "log": (np.log, 0.9),
    "log1p": (np.log1p, 1.5),
    "tanh": (np.tanh, 2.5),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 2.5),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), 1.8),
    "erf": (np.vectorize(math.erf, otypes=[np.float64]), 1.3),
    "sin": (np.sin, 1.7),
    "cos": (np.cos, 1.7),
    "atan": (np.arctan, 2.0),
    "sqrt": (np.sqrt, 0.51),
    "erfc": (np.vectorize(math.erfc, otypes=[np.float64]), 10),
}
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38], np.float32
)


def mapped(op: str, *inputs: Array, dtype: Any = np.float32) -> Array:
    y = np.empty(np.broadcast_shapes(*(x.shape for x in inputs)), dtype)
    types = [TensorType(x.dtype, x.shape) for x in inputs]
    loops.bind_map(op, inputs, types, y, TensorType(y.dtype, y.shape))()
    return y


def samples() -> Array:
    """Floats of all exponents and signs, all floats of a small range, a dense grid where functions bend, special values."""
    everywhere = np.arange(0, 2**32, 54_013, dtype=np.uint64).astype(np.uint32).view(np.float32)
    all_of_some = np.arange(0x3F800000, 0x3F800000 + 30_000, dtype=np.uint32).view(np.float32)
    return np.concatenate([everywhere, all_of_some, np.linspace(-105, 90, 30_001, dtype=np.float32), SPECIAL])


def worst_error(op: str, x: Array) -> tuple[float, float]:
    """The largest error in units in the last place where the result is in the normal range, and where it is."""
    got = mapped(op, x)
    with np.errstate(all="ignore"):
        truth = FUNCTIONS[op][0](x.astype(np.float64))
        wanted = truth.astype(np.float32)
    assert np.array_equal(np.isnan(got), np.isnan(wanted)), op
    infinite = np.isinf(wanted) & (np.abs(truth) > 3.5e38)
    assert np.array_equal(got[infinite], wanted[infinite]), op
    assert np.array_equal(np.signbit(got[truth == 0]), np.signbit(truth[truth == 0])), op
    tiny = np.abs(truth) < 1.1754944e-38
    assert (np.abs(got[tiny] - truth[tiny]) <= 1.2e-38).all(), op
    normal = np.isfinite(wanted) & ~tiny
    unit = np.ldexp(1.0, np.frexp(truth[normal])[1] - 24)
    errors = np.abs(got[normal] - truth[normal]) / unit
    return float(errors.max()), float(x[normal][errors.argmax()])


@pytest.mark.parametrize("op", FUNCTIONS)
def test_errors(op: str) -> None:
    worst, at = worst_error(op, samples())
    assert worst <= FUNCTIONS[op][1], at


@pytest.mark.parametrize("isa", [isa for isa in core.ISAS if isa != core.ISA_IN_USE])
def test_errors_of_other_instruction_sets(isa: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "KIGRAPH_ISA": isa}
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, env=env, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[0] == isa


@pytest.mark.parametrize("op", ["exp", "log", "tanh", "sin", "floormod"])
@pytest.mark.parametrize("n", [1, 7, 16, 33, 2047, 2048, 2049, 4100])
def test_a_number_has_the_same_bits_wherever_it_stands(op: str, n: int) -> None:
    """Whole blocks, tails, and blocks with a number beyond the range of the fast formula."""
    x = np.random.default_rng(n).uniform(-20, 20, n).astype(np.float32)
    others = [np.full(n, 3.7, np.float32)] if op == "floormod" else []
    alone = np.concatenate([mapped(op, x[i : i + 1], *(o[:1] for o in others)) for i in range(n)])
    np.testing.assert_array_equal(mapped(op, x, *others).view(np.int32), alone.view(np.int32))
    with_one = x.copy()
    with_one[n // 2] = np.inf
    rest = np.arange(n) != n // 2
    np.testing.assert_array_equal(mapped(op, with_one, *others).view(np.int32)[rest], alone.view(np.int32)[rest])


@pytest.mark.parametrize("op", ["sin", "cos"])
def test_large_angles(op: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.uniform(1, 2, 5000) * 2.0 ** rng.integers(10, 128, 5000)).astype(np.float32)
    worst, at = worst_error(op, np.concatenate([x, -x, np.float32([71475.99, 71476, 71476.01])]))
    assert worst <= 1.7, at


@pytest.mark.parametrize("op", ["floormod", "truncmod"])
def test_remainders_are_exact(op: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(20_000) * 2.0 ** rng.integers(-20, 20, 20_000) for _ in range(2))
    whole = rng.integers(-50, 50, 20_000).astype(np.float32)
    near = np.nextafter((whole * 0.1).astype(np.float32), np.float32(rng.choice([-9, 9])))
    x0 = np.concatenate([a, a, whole * 0.1, near, np.repeat(SPECIAL, 12)]).astype(np.float32)
    x1 = np.concatenate([b, a * 3, np.full(20_000, 0.1), np.full(20_000, 0.1), np.tile(SPECIAL, 12)]).astype(np.float32)
    with np.errstate(all="ignore"):
        wanted = (np.mod if op == "floormod" else np.fmod)(x0, x1)
    got = mapped(op, x0, x1)
    np.testing.assert_array_equal(got, wanted)


def test_comparisons_give_bool() -> None:
    x, y = np.meshgrid(SPECIAL, SPECIAL)
    for op, function in {
        "equal": np.equal,
        "not_equal": np.not_equal,
        "less": np.less,
        "greater_equal": np.greater_equal,
    }.items():
        np.testing.assert_array_equal(mapped(op, x, y, dtype=bool), function(x, y))
    np.testing.assert_array_equal(mapped("is_nan", x, dtype=bool), np.isnan(x))
    np.testing.assert_array_equal(mapped("is_finite", x, dtype=bool), np.isfinite(x))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.int64])
def test_shifts(dtype: Any) -> None:
    most = 8 * np.dtype(dtype).itemsize - 1
    x = np.random.default_rng(0).integers(np.iinfo(dtype).min, np.iinfo(dtype).max, 300, dtype)
    bits = np.arange(300).astype(dtype) % np.array(most + 9, dtype)
    inside = np.clip(bits, 0, most).astype(dtype)
    np.testing.assert_array_equal(mapped("left_shift", x, bits, dtype=dtype), x << inside)
    np.testing.assert_array_equal(mapped("right_shift", x, bits, dtype=dtype), x >> inside)


def test_the_host_family_has_the_other_element_types(call: Any) -> None:
    x = np.linspace(-3, 3, 50)
    np.testing.assert_allclose(call(ops.SIN, [x], backend="cython")[0], np.sin(x), rtol=1e-14)


if __name__ == "__main__":
    for name, (_, bound) in FUNCTIONS.items():
        error, place = worst_error(name, samples())
        assert error <= bound, (name, error, place)
    print(core.ISA_IN_USE)
