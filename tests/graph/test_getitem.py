"""Indexing of tensors is that of NumPy, and keeps what is known of a shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.session import Session
from kigraph.kernels.errors import KigraphError
from kigraph.kernels.tensor import Shape

A = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
KEYS: list[Any] = [
    0, -1, np.int64(1), slice(None), slice(1, 3), slice(None, None, -1), slice(3, None, -2), slice(-100, 100), slice(5, 2),
    Ellipsis, None, (0, 1), (0, 1, 2), (slice(None), 1), (Ellipsis, 0), (0, Ellipsis), (None, Ellipsis, None), (1, Ellipsis, -1),
    (slice(None), slice(1, 3), slice(None, None, 2)), (slice(None), None, 1), (Ellipsis, slice(0, 0)), (slice(1, None), Ellipsis, 2, None),
    (slice(None, None, -1), slice(-2, None), slice(-1, -4, -1)), (), (None, 0, None, 1, None, 2, None),
    (0, 1, 2, Ellipsis), (slice(None),) * 3,
]  # fmt: skip


def fits(static: Shape, actual: tuple[int, ...]) -> bool:
    return static is None or (
        len(static) == len(actual) and all(s is None or s == a for s, a in zip(static, actual, strict=True))
    )


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("hidden", [0, 1, 2, 5, 7])
def test_getitem_is_numpys(graph: Graph, key: Any, hidden: int) -> None:
    x = ops.placeholder("float32", [None if hidden >> i & 1 else d for i, d in enumerate(A.shape)])
    y = x[key]
    wanted = A[key]
    assert fits(y.shape, wanted.shape)
    assert y.type.rank == wanted.ndim
    if not hidden:
        assert y.shape == wanted.shape
    np.testing.assert_array_equal(Session(graph, backend="numpy").run(y, {x: A}), wanted)


def test_getitem_keeps_what_is_known(graph: Graph) -> None:
    x = ops.placeholder("float32", [None, 4])
    assert x[:, 1:3].shape == (None, 2)
    assert x[0].shape == (4,)
    assert x[1:].shape == (None, 4)
    assert x[..., None].shape == (None, 4, 1)
    assert x[..., 0].shape == (None,)
    assert x[None, :, ::-2].shape == (1, None, 2)
    i = ops.placeholder("int32", [])
    assert x[i].shape == (4,)
    assert x[:, i].shape == (None,)
    assert x[:i, 2:].shape == (None, 2)
    assert ops.placeholder("float32")[0].shape is None


def test_getitem_by_tensors(graph: Graph) -> None:
    x, i, n = ops.placeholder("float32", [None, 3, 4]), ops.placeholder("int32", []), ops.placeholder("int64", [])
    made = [x[-1, i], x[:, 1:i], x[n - 1, ..., n], x[::i], x[i - 3], x[i:0:-1, n]]
    wanted = [A[-1, 2], A[:, 1:2], A[0, ..., 1], A[::2], A[-1], A[2:0:-1, 1]]
    for got, want in zip(Session(graph, backend="numpy").run(made, {x: A, i: 2, n: 1}), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("key", [1.0, "a", [0, 1], np.array([0]), True, slice("a", None), (Ellipsis, Ellipsis)])
def test_other_keys_are_refused(graph: Graph, key: Any) -> None:
    with pytest.raises(KigraphError):
        ops.placeholder("float32", [2, 3, 4])[key]
