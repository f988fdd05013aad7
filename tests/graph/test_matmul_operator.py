"""``a @ b`` on tensors gives what NumPy gives, shapes and values; ``ki.matmul`` keeps TensorFlow's rule."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import kigraph as ki

SHAPES = ((3,), (4, 3), (3, 5), (3, 3), (2, 4, 3), (2, 3, 5), (1, 3, 3), (7, 1, 3, 3), (0, 3), (3, 0))


def drawn(shape: tuple[int, ...], kind: str = "float32") -> np.ndarray:
    return np.random.default_rng().integers(-9, 9, shape).astype(kind)


@pytest.mark.parametrize(("left", "right"), list(itertools.product(SHAPES, SHAPES)), ids=str)
def test_it_is_numpy(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = drawn(left), drawn(right)
    graph = ki.Graph()
    with graph.as_default():
        x, y = ki.placeholder("float32", left), ki.placeholder("float32", right)
        try:
            expected = a @ b
        except ValueError:
            with pytest.raises(ki.errors.KigraphError):
                x @ y
            return
        product = x @ y
    assert product.shape == expected.shape
    got = ki.Session(graph, backend="numpy").run([product, x @ b, a @ y], {x: a, y: b})
    for value in got:
        np.testing.assert_array_equal(value, expected)
        assert np.shape(value) == expected.shape


def test_sizes_that_are_not_known_yet() -> None:
    graph = ki.Graph()
    with graph.as_default():
        x, v = ki.placeholder("float32", [None, None]), ki.placeholder("float32", [None])
        product, dot = x @ v, v @ v
    assert (product.shape, dot.shape) == ((None,), ())
    a, b = drawn((6, 2)), drawn((2,))
    session = ki.Session(graph, backend="numpy")
    np.testing.assert_array_equal(session.run(product, {x: a, v: b}), a @ b)
    assert session.run(dot, {v: b}) == b @ b


def test_gradients_flow_through_it() -> None:
    graph = ki.Graph()
    with graph.as_default():
        x, v = ki.placeholder("float32", [4, 3]), ki.placeholder("float32", [3])
        gx, gv = ki.gradients(ki.reduce_sum(x @ v), [x, v])
    a, b = drawn((4, 3)), drawn((3,))
    found = ki.Session(graph, backend="numpy").run([gx, gv], {x: a, v: b})
    np.testing.assert_array_equal(found[0], np.tile(b, (4, 1)))
    np.testing.assert_array_equal(found[1], a.sum(0))


def test_numbers_are_refused_and_matmul_still_refuses_vectors() -> None:
    with ki.Graph().as_default():
        x, v = ki.placeholder("float32", [4, 3]), ki.placeholder("float32", [3])
        with pytest.raises(ki.errors.GraphError, match="multiplied with \\*"):
            x @ 2.0
        with pytest.raises(ki.errors.GraphError, match="multiplied with \\*"):
            2.0 @ v
        with pytest.raises(ki.errors.KigraphError):
            ki.matmul(x, v)
