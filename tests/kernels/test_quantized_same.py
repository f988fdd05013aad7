"""Quantised layers give the same integers on every backend, number of threads and batch; image by image, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.kernels.backends import get_backend
from kigraph.kernels.conformance import Case, bind_case, check_kernel, process_seed, supported_cases
from kigraph.kernels.conformance.cases.quantized import of_all_sizes, qconv_case, qmatmul_case, qpool_case
from kigraph.kernels.conformance.cases.quantized_elements import ends
from kigraph.kernels.conformance.values import any_bits
from kigraph.kernels.contracts import quantized as q
from kigraph.kernels.registry import kernels_of

pytest.importorskip("numba", reason="compares all backends, numba among them")

NDArray = np.ndarray[Any, Any]
I8, U8, I32, F32 = (np.dtype(name) for name in ("int8", "uint8", "int32", "float32"))
BACKENDS = ("host", "numpy", "numba", "cython")


def results(case: Case, values: Sequence[NDArray]) -> dict[str, bytes]:
    """What every kernel of the CPU gives with one to four threads, and image by image."""
    found = {}
    for backend in BACKENDS:
        for kernel in kernels_of(backend, case.contract):
            if kernel.refusal(case.query()) is not None:
                continue
            device = get_backend(backend).device()
            for threads in (1, 2, 3, 4):
                (y,) = bind_case(kernel, replace(case, threads=threads), values, device).results()
                found[f"{kernel}, {threads} threads"] = y.tobytes()
            first, *rest = case.inputs
            one = replace(first, type=replace(first.type, shape=(1, *first.type.dims[1:])))
            parts = []
            for image in range(first.type.dims[0]):
                single = replace(case, inputs=(one, *rest))
                (y,) = bind_case(kernel, single, [values[0][image : image + 1], *values[1:]], device).results()
                parts.append(y.tobytes())
            found[f"{kernel}, one by one"] = b"".join(parts)
    return found


def check(case: Case, seed: int) -> None:
    found = results(case, case.generate(seed))
    wanted = found[next(iter(found))]
    assert [name for name, y in found.items() if y != wanted] == [], f"differ from {next(iter(found))}, {case}"


def sizes(most: int) -> Any:
    return st.integers(1, most)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    x=st.tuples(sizes(3), sizes(9), sizes(9), sizes(70)), window=st.tuples(sizes(4), sizes(4)), out=sizes(70),
    strides=st.tuples(sizes(3), sizes(3)), dilations=st.tuples(sizes(2), sizes(2)), dtype=st.sampled_from([I8, U8]),
    result=st.sampled_from([I8, U8, I32, F32]), hard=st.booleans(), depthwise=st.booleans(), seed=st.integers(0, 2**30),
)  # fmt: skip
def test_convolutions(
    x: Any, window: Any, out: int, strides: Any, dilations: Any, dtype: Any, result: Any, hard: bool, depthwise: bool, seed: int
) -> None:  # fmt: skip
    more: dict[str, Any] = {"multipliers": of_all_sizes, "values": ends, "weights": ends} if hard else {}
    out = out % 3 + 1 if depthwise else out
    case = qconv_case(
        "random", x, (*window, out), contract=q.QDEPTHWISE if depthwise else q.QCONV2D, dtype=dtype, result=result, padding="SAME",
        strides=strides, dilations=dilations, **more,
    )  # fmt: skip
    check(case, seed)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(m=sizes(40), k=sizes(300), n=sizes(140), dtype=st.sampled_from([I8, U8]), result=st.sampled_from([I8, U8, I32, F32]), seed=st.integers(0, 2**30))  # fmt: skip
def test_products(m: int, k: int, n: int, dtype: Any, result: Any, seed: int) -> None:
    check(qmatmul_case("random", m, k, n, dtype=dtype, result=result), seed)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    x=st.tuples(sizes(3), sizes(9), sizes(9), sizes(70)), window=st.tuples(sizes(4), sizes(4)), strides=st.tuples(sizes(3), sizes(3)),
    dtype=st.sampled_from([I8, U8]), halves=st.sampled_from(["even", "away", "up"]), count=st.booleans(),
    multiplier=st.sampled_from([1.0, 0.25, 0.7, 3.1]), seed=st.integers(0, 2**30),
)  # fmt: skip
def test_pools(
    x: Any, window: Any, strides: Any, dtype: Any, halves: Any, count: bool, multiplier: float, seed: int
) -> None:
    case = qpool_case(
        "random",
        x,
        window,
        strides,
        dtype=dtype,
        padding="SAME",
        halves=halves,
        count_include_pad=count,
        multiplier=multiplier,
    )
    check(case, seed)


def test_large_enough_for_several_threads() -> None:
    for dtype in (I8, U8):
        check(qconv_case("large", (2, 30, 31, 40), (3, 3, 70), dtype=dtype, padding="SAME"), process_seed())
        check(qmatmul_case("one row", 1, 2000, 2100, dtype=dtype), process_seed())
        check(qconv_case("large", (2, 30, 31, 70), (3, 3, 1), contract=q.QDEPTHWISE, dtype=dtype), process_seed())
        check(qpool_case("large", (2, 70, 71, 40), (3, 3), dtype=dtype), process_seed())


def test_without_dot_products_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that has AVX-512 and no VNNI multiplies numbers of 16 bits."""
    tile = pytest.importorskip("kigraph.kernels.numba.quantized_tile")
    targets = pytest.importorskip("kigraph.kernels.numba.targets")
    known = tile.features()
    monkeypatch.setattr(tile, "features", lambda: known - {"avx512vnni"})
    for contract in (q.QCONV2D, q.QMATMUL):
        (kernel,) = kernels_of("numba", contract)
        assert tile.group_of(targets.current()) == 2
        for case in supported_cases(kernel)[:: 1 if contract is q.QMATMUL else 3]:
            check_kernel(kernel, case)


def test_weights_that_are_no_constants_are_left_to_the_host_family() -> None:
    for contract in (q.QCONV2D, q.QDEPTHWISE):
        case = qconv_case("fed", (1, 3, 3, 2), (2, 2, 2), contract=contract, constant=False, values=any_bits)
        for kernel in kernels_of("numba", contract):
            assert "must be constants" in str(kernel.refusal(case.query()))
        assert [k for k in kernels_of("host", contract) if k.refusal(case.query()) is None]
