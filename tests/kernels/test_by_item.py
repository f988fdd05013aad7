"""Contract.by_item: whatever it calls independent is, on the reference, for every case of every contract."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance import CASES, Case
from kigraph.kernels.conformance.truth import truth
from kigraph.kernels.contracts import CONTRACTS
from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.tensor import TensorType

#: Views have no kernels, and so no cases.
CLAIMED = [c for c in CONTRACTS if c.by_item is not None and not c.view]


def claims(contract: Contract[Any]) -> list[tuple[Case, frozenset[int]]]:
    """Cases with several items along axis 0, and for each the inputs that may have items by the contract's word."""
    found = []
    for case in CASES:
        if case.contract is not contract or case.oracle is not None:
            continue
        types = [i.type for i in case.inputs]
        for items in {frozenset([0]), frozenset(range(len(types)))}:
            counts = {types[i].dims[0] if types[i].dims else 0 for i in items}
            if (
                len(counts) == 1
                and counts.pop() > 1
                and contract.by_item
                and contract.by_item(types, case.params, items)
            ):
                found.append((case, items))
    return found


@pytest.mark.parametrize("contract", CLAIMED, ids=lambda c: c.name)
def test_items_are_independent(contract: Contract[Any], seed: int) -> None:
    found = claims(contract)
    assert found, "no case has several items"
    for case, items in found:
        values = case.generate(seed)
        whole = truth(case, values)
        for n in {0, len(values[0]) - 1}:
            alone = [v[n : n + 1] if i in items else v for i, v in enumerate(values)]
            inputs = tuple(
                replace(spec, type=TensorType(v.dtype, v.shape)) for spec, v in zip(case.inputs, alone, strict=True)
            )
            for got, want in zip(truth(replace(case, inputs=inputs), alone), whole, strict=True):
                assert got.shape == (1, *want.shape[1:]), case
                if got.dtype.kind in "fc":
                    np.testing.assert_allclose(got, want[n : n + 1], rtol=1e-6, atol=1e-6, err_msg=str(case))
                else:
                    assert (got == want[n : n + 1]).all(), case


def test_what_mixes_items_does_not_claim_otherwise() -> None:
    from kigraph.kernels.contracts import concat, conv2d, layout, matmul, normalization, reduce, softmax

    f32 = np.dtype(np.float32)

    def t(*shape: int) -> TensorType:
        return TensorType(f32, shape)

    refused: list[tuple[Contract[Any], list[TensorType], Any, set[int]]] = [
        (softmax.SOFTMAX, [t(4, 3)], softmax.SoftmaxParams(0), {0}),
        (softmax.SOFTMAX, [t(4)], softmax.SoftmaxParams(), {0}),
        (concat.CONCAT, [t(4, 3), t(4, 3)], concat.ConcatParams(0), {0, 1}),
        (concat.CONCAT, [t(4, 3), t(4, 3)], concat.ConcatParams(-2), {0, 1}),
        (concat.CONCAT, [t(4, 3), t(4, 3)], concat.ConcatParams(1), {0}),
        (reduce.REDUCE_SUM, [t(4, 3)], reduce.ReduceParams(), {0}),
        (reduce.REDUCE_MEAN, [t(4, 3)], reduce.ReduceParams((-2,), True), {0}),
        (matmul.MATMUL, [t(4, 3), t(3, 5)], matmul.MatMulParams(), {0, 1}),
        (matmul.MATMUL, [t(4, 3), t(4, 5)], matmul.MatMulParams(transpose_a=True), {0}),
        (matmul.MATMUL, [t(2, 4, 3), t(2, 3, 5)], matmul.MatMulParams(), {0}),
        (conv2d.CONV2D, [t(3, 9, 9, 3), t(3, 3, 3, 3)], conv2d.Conv2DParams(), {0, 1}),
        (conv2d.CONV2D, [t(3, 9, 9, 3), t(3, 3, 3, 3)], conv2d.Conv2DParams(), {1}),
        (normalization.BIAS_ADD, [t(4), t(4)], normalization.BIAS_ADD.params(), {0}),
        (layout.RESHAPE, [t(4, 6)], layout.ReshapeParams((8, 3)), {0}),
        (layout.TRANSPOSE, [t(4, 6)], layout.TransposeParams(), {0}),
        (layout.PAD, [t(4, 6)], layout.PadParams(((1, 0), (0, 0))), {0}),
    ]
    for contract, types, params, items in refused:
        assert contract.by_item is not None
        assert not contract.by_item(types, params, items), contract
    for contract in CONTRACTS:
        if contract.name in ("add", "maximum"):
            assert contract.by_item is not None
            assert not contract.by_item([t(4, 3), t(4, 3)], contract.params(), {0}), "a whole input along the items"
            assert not contract.by_item([t(4), t(4, 3)], contract.params(), {0, 1}), "broadcast to another axis"
            assert contract.by_item([t(4, 3), t(3)], contract.params(), {0})
            assert contract.by_item([t(3), t(4, 3)], contract.params(), {1})
            assert contract.by_item([t(4, 3), t(1, 3)], contract.params(), {0})


def test_views_keep_items_where_axis_0_stays() -> None:
    from kigraph.kernels.contracts import layout

    by_item = layout.RESHAPE.by_item
    assert by_item is not None
    x = [TensorType(np.dtype(np.float32), (4, 2, 3))]
    for shape, want in (((4, 6), True), ((-1, 6), True), ((4, 3, 2), True), ((24,), False), ((2, 12), False)):
        assert by_item(x, layout.ReshapeParams(shape), {0}) is want, shape


def test_ops_that_look_across_items_claim_nothing() -> None:
    counted = Counter(c.by_item is None for c in CONTRACTS)
    assert counted[True] > 10
    assert all(
        c.by_item is None for c in CONTRACTS if c.dynamic or c.name.endswith("_grad") or c.name in ("tile", "gather")
    )
