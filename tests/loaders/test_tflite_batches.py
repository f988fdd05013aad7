"""A TensorFlow Lite model of one item takes several at once only if no operator mixes or picks items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_files import Lite, ints

import kigraph as ki

Write = Callable[..., Path]
X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
PICKS: Mapping[int, Any] = {0: ("i32", 0), 1: ("i32", 0)}
KEEPS: Mapping[int, Any] = {0: ("i32", 1), 1: ("i32", 1)}
W = np.arange(8, dtype=np.float32).reshape(2, 4)

#: Operator, constants behind the input, shape of the result for one item, options, what one item gives, whether free.
CASES: dict[str, tuple[str, list[Any], tuple[int, ...], Mapping[int, Any], Callable[[Any], Any], bool]] = {
    "the first rows": ("STRIDED_SLICE", [ints([0, 0]), ints([1, 2]), ints([1, 1])], (1, 2), PICKS, lambda x: x[:1, :2], False),
    "all rows": ("STRIDED_SLICE", [ints([0, 0]), ints([0, 2]), ints([1, 1])], (1, 2), KEEPS, lambda x: x[:, :2], True),
    "mean of the items": ("MEAN", [ints([0])], (1, 4), {0: ("bool", True)}, lambda x: x.mean(0, keepdims=True), False),
    "mean of each item": ("MEAN", [ints([-1])], (1, 1), {0: ("bool", True)}, lambda x: x.mean(1, keepdims=True), True),
    "the first item": ("GATHER", [ints([0])], (1, 4), {0: ("i32", 0)}, lambda x: x[[0]], False),
    "some numbers": ("GATHER", [ints([0, 3])], (1, 2), {0: ("i32", 1)}, lambda x: x[:, [0, 3]], True),
    "a constant behind": ("CONCATENATION", [W[:1]], (1, 8), {0: ("i32", 1)}, lambda x: np.hstack([x, W[:1]]), False),
    "a constant added": ("ADD", [W[:1]], (1, 4), {}, lambda x: x + W[:1], True),
    "several rows added": ("ADD", [W], (2, 4), {}, lambda x: x + W, False),
    "dense": ("FULLY_CONNECTED", [W], (1, 2), {}, lambda x: x @ W.T, True),
    "rows made of one item": ("RESHAPE", [ints([2, 2])], (2, 2), {}, lambda x: x.reshape(2, 2), False),
    "turned": ("TRANSPOSE", [ints([1, 0])], (4, 1), {}, lambda x: x.T, False),
    "padded items": ("PAD", [ints([[1, 0], [0, 0]])], (2, 4), {}, lambda x: np.pad(x, [(1, 0), (0, 0)]), False),
    "padded numbers": ("PAD", [ints([[0, 0], [1, 0]])], (1, 5), {}, lambda x: np.pad(x, [(0, 0), (1, 0)]), True),
    "softmax": ("SOFTMAX", [], (1, 4), {0: ("f32", 0.0)}, lambda x: np.full_like(x, 0.25), True),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_items_stay_apart(write: Write, case: str) -> None:
    op, constants, shape, options, expected, free = CASES[case]
    model = Lite()
    x, y = model.tensor("x", (1, 4)), model.tensor("y", shape)
    model.op(op, [x, *(model.constant(f"c{i}", c) for i, c in enumerate(constants))], [y], options)
    loaded = ki.load(write(model.bytes([x], [y])))
    call = loaded.signatures["serving_default"]
    assert call.inputs["x"].shape == (None if free else 1, 4)
    np.testing.assert_allclose(call(X[:1])["y"], expected(X[:1]), rtol=1e-5)
    if free or shape[0] == 1:  # else one by one
        several = np.concatenate([expected(X[i : i + 1]) for i in range(3)])
        np.testing.assert_allclose(call(X)["y"], several, rtol=1e-5)
    else:
        with pytest.raises(ki.FeedError, match="shape"):
            call(X)


def test_a_table_of_words(write: Write) -> None:
    """The items are indices."""
    model = Lite()
    x, y = model.tensor("x", (1, 3), "int32"), model.tensor("y", (1, 3, 4))
    model.op("GATHER", [model.constant("table", W), x], [y], {0: ("i32", 0)})
    words = np.array([[0, 1, 0], [1, 1, 0]], np.int32)
    call = ki.load(write(model.bytes([x], [y]))).signatures["serving_default"]
    np.testing.assert_array_equal(call(words)["y"], W[words])
