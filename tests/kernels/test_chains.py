"""Chains of elementwise ops: their text, what they refuse, and that their bits are those of the ops one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import elementwise as ops
from kigraph.kernels.contracts.chains import CHAIN, ChainParams, Reach, check_chain, parse_chain, reach_of, registers_of
from kigraph.kernels.contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from kigraph.kernels.errors import DTypeError, ShapeError
from kigraph.kernels.kernel import Query
from kigraph.kernels.numerics import Numerics
from kigraph.kernels.registry import kernels_of
from kigraph.kernels.tensor import TensorType
from kigraph.kernels.tuning import signature

F32 = np.dtype(np.float32)
Array = np.ndarray[Any, Any]


def t(*shape: int, dtype: Any = F32) -> TensorType:
    return TensorType(np.dtype(dtype), shape)


class Values:
    """The constants of a query."""

    def __init__(self, arrays: list[Array]) -> None:
        self.arrays = arrays

    def value(self, index: int) -> Array:
        return self.arrays[index]

    def packed(self, index: int, layout: str, pack: Any) -> Any:
        return pack(self.arrays[index])


def run(
    kernel: Any, contract: Any, params: Any, arrays: list[Array], constants: tuple[int, ...] = (), threads: int = 1
) -> Array:
    types = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    query = Query(contract, types, contract.check(types, params), params, frozenset(constants), threads, Numerics())
    assert kernel.refusal(query) is None
    prepared = kernel.prepare(query, Values(arrays))
    y = np.empty(query.outputs[0].dims, query.outputs[0].dtype)
    size = prepared.workspace_bytes
    workspace = np.empty(size + 64, np.uint8)
    at = -workspace.ctypes.data % 64
    given = [None if i in prepared.absorbed else a for i, a in enumerate(arrays)]
    prepared.bind(given, [y], workspace[at : at + size] if size else None)()
    return y


def elementwise(contract: Any, *arrays: Array) -> Array:
    (kernel, *_) = kernels_of("cython", contract)
    return run(kernel, contract, contract.params(), list(arrays))


def test_the_text_of_a_chain() -> None:
    first, second = parse_chain("sigmoid(x);mul(x,t0)")
    assert (first.op, first.values, second.values) == ("sigmoid", ("x",), ("x", "t0"))
    assert parse_chain("add(a1,x);mul(t0,-2.5e-3)")[1].values == ("t0", -2.5e-3)
    assert registers_of(parse_chain("exp(x);neg(x);add(t0,t1)")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no step"),
        ("sigmoid(x", "is no step"),
        ("sinus(x)", "no step 'sinus' of 1 value"),
        ("mul(x)", "no step 'mul' of 1 value"),
        ("mul(x,t0)", "t0 is used before it is made"),
        ("mul(x,y)", "'y' is no value"),
        ("sigmoid(a0)", "reads neither x nor an earlier result"),
        ("add(x,a8)", "at most 16 steps, 8 operands"),
        (";".join(["neg(x)"] * 17), "at most 16 steps"),
        ("exp(x);neg(x);abs(x);sqrt(x);log(x);add(t0,t1);add(t2,t3);add(t4,t5);add(t6,t7)", "4 results at a time"),
    ],
)
def test_what_is_no_chain(text: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        ChainParams(text)


def test_operands_that_do_not_fit() -> None:
    whole = t(2, 3, 4, 5)
    for shape in ((3,), (2, 3, 1, 5), (2, 3, 4, 5, 1), (4, 5)):
        with pytest.raises(ShapeError, match="which does not fit"):
            check_chain("chain", "add(x,a0)", whole, [t(*shape)])
    with pytest.raises(ShapeError, match="has 1 operands, got 0"):
        CHAIN.check([whole], ChainParams("add(x,a0)"))
    with pytest.raises(DTypeError):
        CHAIN.check([whole, t(5, dtype="float64")], ChainParams("add(x,a0)"))
    with pytest.raises(DTypeError):
        CHAIN.check([t(3, dtype="int32")], ChainParams("neg(x)"))
    with pytest.raises(ShapeError, match="conv2d: the chain"):
        CONV2D.check([t(1, 5, 5, 3), t(1, 1, 3, 4), t(4)], Conv2DParams(finish="add(x,a0)"))


def test_how_operands_broadcast() -> None:
    whole = (2, 3, 4, 5)
    assert reach_of((5,), whole) == Reach(False, False, True)
    assert reach_of((2, 1, 1, 1), whole) == Reach(True, False, False)
    assert reach_of((1, 3, 4, 1), whole) == Reach(False, True, False)
    assert reach_of((2, 3, 4, 5), whole) == Reach(True, True, True)
    assert reach_of((), whole) == Reach(False, False, False)
    assert reach_of((1, 3, 1, 5), whole) is None


def test_bits_are_those_of_the_ops_one_after_the_other() -> None:
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((3, 5, 7, 37)) * 6).astype(F32)
    x.ravel()[:4] = np.nan, np.inf, -np.inf, -0.0
    one, three, sixth = (np.float32(v).reshape(()) for v in (1, 3, 1 / 6))
    (chain,) = kernels_of("cython", CHAIN)

    def of(text: str, *operands: Array) -> Array:
        return run(chain, CHAIN, ChainParams(text), [x, *operands])

    sigmoid = elementwise(ops.SIGMOID, x)
    np.testing.assert_array_equal(of("sigmoid(x);mul(x,t0)"), elementwise(ops.MUL, x, sigmoid))
    hard = elementwise(ops.MUL, elementwise(ops.RELU6, elementwise(ops.ADD, x, np.array(three))), np.array(sixth))
    text = f"add(x,3.0);relu6(t0);mul(t1,{1 / 6!r})"
    np.testing.assert_array_equal(of(text), hard)
    np.testing.assert_array_equal(of(f"{text};mul(x,t2)"), elementwise(ops.MUL, x, hard))
    np.testing.assert_array_equal(
        of(f"{text};mul(t2,t1)"),
        elementwise(ops.MUL, hard, elementwise(ops.RELU6, elementwise(ops.ADD, x, np.array(three)))),
    )
    scale = rng.standard_normal((3, 1, 1, 37)).astype(F32)
    added = elementwise(ops.ADD, elementwise(ops.MUL, x, scale), np.array(one))
    np.testing.assert_array_equal(of("mul(x,a0);add(t0,1.0);relu(t1)", scale), elementwise(ops.RELU, added))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("contract", [CONV2D, DEPTHWISE_CONV2D], ids=lambda c: c.name)
def test_convolutions_finish_with_the_same_bits(contract: Any, threads: int) -> None:
    """Every kernel: alone and then the chain, or with the chain on its tiles; several panels, passes and images."""
    rng = np.random.default_rng(2)
    cases = [
        ((2, 9, 11, 20), (3, 3, 20, 150)),
        ((1, 6, 5, 900), (1, 1, 900, 40)),
        ((1, 40, 3, 16), (1, 1, 16, 24)),
        ((2, 9, 9, 24), (1, 7, 24, 33)),
    ]
    for x_shape, w_shape in cases:
        if contract is DEPTHWISE_CONV2D:
            w_shape = (*w_shape[:3], 1)
        x = rng.standard_normal(x_shape).astype(F32)
        w = (rng.standard_normal(w_shape) / np.sqrt(np.prod(w_shape[:3]))).astype(F32)
        cout = w_shape[3] if contract is CONV2D else w_shape[2]
        bias = rng.standard_normal(cout).astype(F32)
        other, scale = (rng.standard_normal(s).astype(F32) for s in ((*x_shape[:3], cout), (x_shape[0], 1, 1, cout)))
        text = "add(x,a0);sigmoid(t0);mul(t0,t1);mul(t2,a1)"
        plain, finish = Conv2DParams(padding="SAME"), Conv2DParams(padding="SAME", finish=text)
        for kernel in kernels_of("cython", contract):
            types = tuple(TensorType(a.dtype, a.shape) for a in (x, w, bias))
            query = Query(contract, types, contract.check(types, plain), plain, frozenset({1, 2}), threads)
            if kernel.refusal(query) is not None:
                continue
            y = run(kernel, contract, plain, [x, w, bias], (1, 2), threads)
            summed = elementwise(ops.ADD, y, other)
            want = elementwise(ops.MUL, elementwise(ops.MUL, summed, elementwise(ops.SIGMOID, summed)), scale)
            got = run(kernel, contract, finish, [x, w, bias, other, scale], (1, 2), threads)
            np.testing.assert_array_equal(got, want, err_msg=f"{kernel} {x_shape} {w_shape}")


def test_a_chain_is_no_other_layer_for_tuning() -> None:
    """What follows costs the same after every kernel, so the choices that were measured without it hold."""
    types = (t(1, 9, 9, 8), t(3, 3, 8, 16), t(16))

    def layer(params: Conv2DParams, *operands: TensorType) -> str | None:
        inputs = (*types, *operands)
        return signature(Query(CONV2D, inputs, CONV2D.check(inputs, params), params, frozenset({1, 2})))

    assert layer(Conv2DParams()) == layer(Conv2DParams(finish="add(x,a0)"), t(1, 7, 7, 16))


def test_kernels_without_chains_say_so() -> None:
    types = (t(1, 5, 5, 3), t(1, 1, 3, 4))
    params = Conv2DParams(finish="sigmoid(x)")
    query = Query(CONV2D, types, CONV2D.check(types, params), params)
    found = kernels_of("numba", CONV2D) if _numba() else ()
    assert all("runs no chain of elementwise ops" in (k.refusal(query) or "") or k.precision for k in found)


def _numba() -> bool:
    from kigraph.kernels.backends import get_backend

    return get_backend("numba").status().available


def test_zeros_of_both_signs_are_two_numbers() -> None:
    x = np.array([-1, 2, -3, 4], np.float32)
    (kernel, *_) = kernels_of("cython", CHAIN)
    inf = np.inf
    for text, want in (
        ("add(x,0.0);leaky_relu(t0,-0.0);reciprocal(t1)", [inf, 0.5, inf, 0.25]),
        ("leaky_relu(x,0.0);maximum(t0,-0.0);reciprocal(t1)", [-inf, 0.5, -inf, 0.25]),
    ):
        assert run(kernel, CHAIN, ChainParams(text), [x]).tolist() == want


@pytest.mark.parametrize("shape", [(3, 40, 50, 1), (2, 31, 30, 3), (3000, 1), (5, 33, 1)])
def test_operands_of_one_channel_or_without_images(shape: tuple[int, ...]) -> None:
    """They are read where they lie, or image by image, where a block of the chain begins in the middle of one."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal(shape).astype(np.float32)
    (kernel, *_) = kernels_of("cython", CHAIN)
    for operand in (shape, (1, *shape[1:]), shape[1:], (*shape[:-1], 1), (shape[0], *[1] * (len(shape) - 1))):
        a = rng.standard_normal(operand).astype(np.float32)
        for threads in (1, 2):
            y = run(kernel, CHAIN, ChainParams("add(x,a0);relu(t0)"), [x, a], threads=threads)
            np.testing.assert_array_equal(y, np.maximum(x + a, 0))


def test_results_that_nobody_reads_need_a_register_too() -> None:
    kept = "relu(x);exp(x);neg(x);abs(x)"
    assert registers_of(parse_chain(f"{kept};add(t0,t1);add(t4,t2);add(t5,t3)")) == 4
    with pytest.raises(ShapeError, match="4 results at a time"):
        parse_chain(f"{kept};floor(x);add(t0,t1);add(t5,t2);add(t6,t3)")


@pytest.mark.parametrize("text", ["relu(x);neg(t00)", "add(x,a00)", "relu(x);neg(t\u0660)", f"add(x,a{'1' * 5000})"])
def test_names_of_values_have_one_spelling(text: str) -> None:
    with pytest.raises(ShapeError, match="is no value"):
        parse_chain(text)
