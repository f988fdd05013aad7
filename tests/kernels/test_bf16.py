"""bf16 on the CPU: rounding against another library's bfloat16, kernels against the float64 of rounded operands and the bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.backends import available_backends, get_backend
from kigraph.kernels.bfloat16 import from_bits, is_bfloat16, round_to_bfloat16, to_bits
from kigraph.kernels.conformance import (
    Case,
    ConformanceError,
    bind_case,
    cases_of,
    check_kernel,
    supported_cases,
    tensor,
)
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.conformance.values import normal
from kigraph.kernels.contracts.conv2d import CONV2D
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.contracts.precisions import UNITS, error_bound
from kigraph.kernels.contracts.siblings import SIBLING_CONV2D, places
from kigraph.kernels.kernel import Kernel
from kigraph.kernels.numerics import Numerics
from kigraph.kernels.registry import legal_kernels

NDArray = np.ndarray[Any, Any]
BF16 = Numerics(precision="bf16")
#: The CPU's backends whose sessions may have bf16.
BACKENDS = [
    n for n in available_backends() if get_backend(n).device().name == "cpu" and "bf16" in get_backend(n).precisions()
]
KERNELS = [k for n in BACKENDS for k in get_backend(n).kernels() if k.precision == "bf16"]


def any_bits(seed: int, count: int) -> NDArray:
    """float32 of random bits, then every bfloat16, and what is next to halfway between two of them."""
    rng = np.random.default_rng(seed)
    upper = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    drawn = rng.integers(0, 1 << 32, count, dtype=np.uint32)
    return np.concatenate([drawn, *(upper | np.uint32(low) for low in (0, 0x7FFF, 0x8000, 0x8001))]).view(np.float32)


def test_rounding_is_that_of_ml_dtypes(seed: int) -> None:
    library = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    x = any_bits(seed, 1 << 18)
    with np.errstate(all="ignore"):
        wanted = x.astype(library.bfloat16)
    numbers = ~np.isnan(x)
    found = round_to_bfloat16(x)
    assert np.array_equal(found[numbers].view(np.uint32), wanted.astype(np.float32)[numbers].view(np.uint32))
    assert np.array_equal(to_bits(x)[numbers], wanted.view(np.uint16)[numbers])
    assert np.isnan(found[~numbers]).all()
    assert np.array_equal(np.signbit(found), np.signbit(x))


def test_rounding_by_arithmetic(seed: int) -> None:
    """The nearest of the multiples of the spacing, by rint, which takes halves to even."""
    x = np.random.default_rng(seed).standard_normal(10_000).astype(np.float32)
    x[:4] = [1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 1 + 2**-8 + 2**-23]
    _, exponents = np.frexp(x.astype(np.float64))
    spacing = np.exp2(exponents - 8.0)
    assert np.array_equal(round_to_bfloat16(x), np.rint(x / spacing) * spacing)
    assert round_to_bfloat16(x)[:4].tolist() == [1, 1 + 2**-6, -1, 1 + 2**-7]


def test_rounding_takes_any_array_and_keeps_it(seed: int) -> None:
    x = any_bits(seed, 5000)[: 4 * 66_000].reshape(-1, 4)
    kept = x.copy()
    wanted = round_to_bfloat16(x)
    assert x.tobytes() == kept.tobytes()
    assert is_bfloat16(wanted)
    assert not is_bfloat16(x)
    assert from_bits(to_bits(x)).tobytes() == wanted.tobytes()
    assert round_to_bfloat16(x[::3, ::-2]).tobytes() == wanted[::3, ::-2].tobytes()
    out = np.zeros((8, len(x)), np.float32).T[:, ::2]
    assert round_to_bfloat16(x, out) is out
    assert out.tobytes() == wanted.tobytes()
    assert round_to_bfloat16(x, x) is x
    assert x.tobytes() == wanted.tobytes()
    assert round_to_bfloat16(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert round_to_bfloat16(np.float32(1.001) * np.ones((), np.float32)) == 1
    for wrong in (np.zeros(3), np.zeros(3, np.int32)):
        with pytest.raises(TypeError, match="takes float32"):
            round_to_bfloat16(wrong)
    with pytest.raises(TypeError, match="expected float32"):
        round_to_bfloat16(x, np.zeros(3, np.float32))


def _pairs() -> list[Any]:
    """Every case; a third of them where another backend has the same kernel around its own of float32, which has all."""
    found: list[Any] = []
    for kernel in KERNELS:
        cases = supported_cases(kernel, BF16)
        again = kernel.name.endswith("_in_f32") and kernel.backend != "numpy"
        found += [pytest.param(kernel, c, id=f"{kernel}-{c}") for c in cases[:: 3 if again else 1]]
    return found


@pytest.mark.parametrize(("kernel", "case"), _pairs())
def test_kernel(kernel: Kernel, case: Case) -> None:
    """By the contract's own tolerance: only the sums may round."""
    outcome = check_kernel(kernel, case)
    if outcome.refused:
        assert "misaligned" in case.id


def test_the_backends_that_define_it_offer_it() -> None:
    assert "numpy" in BACKENDS
    assert {k.contract for k in KERNELS if k.backend == "numpy"} == {CONV2D, MATMUL}


def _patches(x: NDArray) -> NDArray:
    """The rows of the product that a 3 x 3 convolution with padding SAME and stride 1 is."""
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [padded[:, u : u + h, v : v + w] for u in range(3) for v in range(3)]
    return np.concatenate(taps, axis=3).reshape(n * h * w, 9 * c)


def _judge(found: NDArray, rows: NDArray, columns: NDArray) -> None:
    """Against the exact product of the operands as they were given: the bound, and errors as large as rounding makes them."""
    a, b = rows.astype(np.float64), columns.astype(np.float64)
    error = found.astype(np.float64) - a @ b
    assert np.max(np.abs(error) / (np.abs(a) @ np.abs(b))) <= error_bound("bf16", a.shape[1])
    spread = np.sqrt(np.mean(error**2) / np.mean(a**2 @ b**2)) / UNITS["bf16"]
    assert 0.3 < spread < 0.85


def test_few_inputs_are_nearly_exact(seed: int) -> None:
    """Where a backend splits the numbers of a first layer, its errors are far below those of rounded operands."""
    found = [k for k in KERNELS if k.near_exact]
    if not found:
        pytest.skip("no backend here splits numbers")
    for kernel in found:
        case = replace(conv_case("image", (1, 9, 11, 3), (3, 3, 40), bias=False, padding="SAME"), numerics=BF16)
        x, w = case.generate(seed)
        (got,) = bind_case(kernel, case, [x, w], get_backend(kernel.backend).device()).results()
        a, b = _patches(x).astype(np.float64), w.reshape(-1, 40).astype(np.float64)
        error = np.abs(got.reshape(-1, 40) - a @ b)
        assert (error <= 2.0**-14 * (np.abs(a) @ np.abs(b))).all()


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("constant", [True, False])
def test_the_error_is_within_the_bound(kernel: Kernel, constant: bool, seed: int) -> None:
    """As wide as the operands' rounding, no wider: a kernel of fp32 would be too exact, rounded sums too far off."""
    if kernel.contract is MATMUL:
        w = tensor((4032, 40), normal, constant=constant)
        case = Case(MATMUL, "long", (tensor((50, 4032), normal), w), MatMulParams(), numerics=BF16)
    elif kernel.contract is CONV2D:
        case = replace(conv_case("odd", (2, 9, 11, 20), (3, 3, 68), bias=False, padding="SAME"), numerics=BF16)
        case = replace(case, inputs=(case.inputs[0], replace(case.inputs[1], constant=constant)))
    else:
        pytest.skip("siblings: below")
    if (reason := kernel.refusal(case.query())) is not None:
        pytest.skip(reason)
    x, w_values = case.generate(seed)
    (found,) = bind_case(kernel, case, [x, w_values], get_backend(kernel.backend).device()).results()
    if kernel.contract is MATMUL:
        _judge(found, x, w_values)
    else:
        _judge(found.reshape(-1, 68), _patches(x), w_values.reshape(-1, 68))


def test_the_judge_sees_operands_that_are_not_rounded(seed: int) -> None:
    """A kernel of fp32 that says it is one of bf16, and one that rounds its sums, are wrong in some case."""
    honest = next(k for k in KERNELS if k.contract is CONV2D and k.backend == "numpy")
    exact = next(k for k in get_backend("numpy").kernels() if k.contract is CONV2D and k.precision is None)
    case = next(c for c in supported_cases(honest, BF16) if "tail" in c.tags)
    with pytest.raises(ConformanceError, match="elements are wrong"):
        check_kernel(replace(exact, precision="bf16"), case, seed=seed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_siblings_are_what_their_convolutions_are(backend: str, seed: int) -> None:
    """Bit by bit where the same kernel runs them; else within the sums' tolerance of rounded operands."""
    case = next(c for c in cases_of(SIBLING_CONV2D) if "threads" in c.tags and c.dtype == np.float32)
    case = replace(case, numerics=BF16)
    kernel = legal_kernels(case.query(), backend)[0]
    values = case.generate(seed)
    found = bind_case(kernel, case, values, get_backend(backend).device()).results()
    for place, y in zip(places(case.params), found, strict=True):  # type: ignore[arg-type]
        x, w, *bias = (values[i] for i in place.inputs)
        rows = round_to_bfloat16(x).astype(np.float64).reshape(-1, x.shape[3])
        wanted = rows @ round_to_bfloat16(w).reshape(w.shape[2:]).astype(np.float64)
        wanted = (wanted + bias[0] if bias else wanted).reshape(y.shape)
        low, high = {"none": (-np.inf, np.inf), "relu": (0, np.inf), "relu6": (0, 6)}[place.params.activation]
        np.testing.assert_allclose(y, np.clip(wanted, low, high), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("contract", [CONV2D, MATMUL], ids=lambda c: c.name)
def test_other_element_types_are_multiplied_as_they_are(backend: str, contract: Any) -> None:
    """float64 and float16 have more bits than bfloat16."""
    for case in cases_of(contract):
        if case.dtype in (np.dtype(np.float64), np.dtype(np.float16)) and "tail" in case.tags:
            legal = legal_kernels(replace(case, numerics=BF16).query(), backend)
            assert legal
            assert {k.precision for k in legal} == {None}


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_bits_for_an_image_in_any_batch_and_with_any_threads(backend: str, seed: int) -> None:
    case = replace(conv_case("batch", (3, 9, 11, 20), (3, 3, 68), padding="SAME"), numerics=BF16)
    values, device = case.generate(seed), get_backend(backend).device()
    kernel = next((k for k in legal_kernels(case.query(), backend) if k.precision == "bf16"), None)
    if kernel is None:
        pytest.skip(f"{backend} has only kernels of fp32 for this convolution")
    (whole,) = bind_case(kernel, case, values, device).results()
    for image in range(3):
        x = values[0][image : image + 1]
        single = replace(case, inputs=(tensor(x.shape, normal), *case.inputs[1:]), threads=1 + image)
        (alone,) = bind_case(kernel, single, [x, *values[1:]], device).results()
        assert alone.tobytes() == whole[image : image + 1].tobytes()
