"""Products whose b is no constant and is read where it lies: the bits of the packed ones, and one column as dot products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.devices import HOST
from kigraph.kernels.kernel import Query
from kigraph.kernels.registry import kernels_of
from kigraph.kernels.tensor import TensorType

core = pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")

NDArray = np.ndarray[Any, Any]
KERNEL = next(k for k in kernels_of("cython", MATMUL) if k.name == "matmul_igemm")
FLAGS = [(False, False), (True, False), (False, True), (True, True)]


def product(arrays: list[NDArray], params: MatMulParams, *, constant: bool = False, threads: int = 1) -> NDArray:
    types = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    constants = frozenset([1]) if constant else frozenset[int]()
    query = Query(MATMUL, types, MATMUL.check(types, params), params, constants, threads)
    assert KERNEL.prepare is not None
    prepared = KERNEL.prepare(query, FixedConstants({i: arrays[i] for i in constants}))
    y = np.full(query.outputs[0].dims, np.nan, arrays[0].dtype)
    inputs = [None if i in prepared.absorbed else a for i, a in enumerate(arrays)]
    prepared.bind(inputs, [y], HOST.allocate(max(prepared.workspace_bytes, 64)))()
    return y


def operands(rng: np.random.Generator, m: int, k: int, n: int, dtype: str, turned: tuple[bool, bool]) -> list[NDArray]:
    """a, b and bias of a product, a and b stored as the flags say."""
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    return [np.ascontiguousarray(x.T if t else x, dtype) for x, t in zip((a, b), turned, strict=True)] + [
        rng.standard_normal(n).astype(dtype)
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", FLAGS)
def test_the_bits_of_packed_weights(turned: tuple[bool, bool], dtype: str, seed: int) -> None:
    rng = np.random.default_rng((seed, 1))
    params = MatMulParams(*turned, activation="relu6")
    for m, k, n in (
        (1, 70, 300),
        (2, 129, 65),
        (5, 64, 2),
        (8, 200, 33),
        (9, 63, 150),
        (17, 1, 40),
        (64, 65, 97),
        (65, 30, 20),
    ):
        arrays = operands(rng, m, k, n, dtype, turned)
        want = product(arrays, params, constant=True).tobytes()
        for threads in (1, 2, 3):
            assert product(arrays, params, threads=threads).tobytes() == want, (m, k, n, threads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", FLAGS)
@pytest.mark.parametrize("k", [0, 1, 15, 16, 33, 1000])
def test_one_column(k: int, turned: tuple[bool, bool], dtype: str, seed: int) -> None:
    """Nearer to the exact sums than a chain of FMAs; the same bits whatever the threads, and for constant b."""
    rng = np.random.default_rng((seed, 2))
    params = MatMulParams(*turned)
    for m in (1, 3, 4, 70, 300):
        a, b, bias = arrays = operands(rng, m, k, 1, dtype, turned)
        got = product(arrays, params)
        for threads, constant in ((2, False), (3, False), (1, True), (2, True)):
            assert product(arrays, params, threads=threads, constant=constant).tobytes() == got.tobytes()
        wide = [x.astype(np.longdouble) for x in (a.T if turned[0] else a, b.T if turned[1] else b)]
        scale = np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(bias)
        error = np.abs(wide[0] @ wide[1] + bias - got)
        chain = k if turned[0] else k / 4 + 8
        assert (error <= chain * np.finfo(dtype).eps * scale + np.finfo(dtype).tiny).all()


def test_rows_of_one_column_do_not_mix(seed: int) -> None:
    rng = np.random.default_rng((seed, 3))
    a, b, bias = operands(rng, 131, 77, 1, "float32", (False, False))
    a[5, 3], a[9, 76], a[130, 0] = np.nan, np.inf, -np.inf
    for activation in ("none", "relu", "relu6"):
        params = MatMulParams(activation=activation)
        every = product([a, b, bias], params, threads=2)
        alone = np.concatenate([product([a[i : i + 1], b, bias], params) for i in range(len(a))])
        assert alone.tobytes() == every.tobytes()
        assert np.isnan(every[5]).all()
        assert np.isfinite(np.delete(every, [5, 9, 130])).all()


def test_infinities_and_nan_stay_in_their_places(seed: int) -> None:
    rng = np.random.default_rng((seed, 4))
    a, b, bias = operands(rng, 6, 70, 150, "float32", (False, False))
    b[69, 149], a[5, 2] = np.nan, np.inf
    got = product([a, b, bias], MatMulParams())
    assert np.isnan(got[:, 149]).all()
    assert np.isfinite(got[:5, :149]).all()
    assert not np.isfinite(got[5]).any()
