"""Logits of a thousand and more: e ** 1000 overflows, so every softmax subtracts the largest first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kigraph as ki

ROWS = [
    [1000.0, -1000.0, 999.0, 0.0],
    [-1000.0, -1000.0, -1000.0, -1001.0],
    [3e4, 3e4, -3e4, 0.0],
    [-2e4, 0.0, 88.0, 89.0],
]


def softmax(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """In float64, on numbers that have been made small."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("last", [True, False], ids=["last-axis", "first-axis"])
def test_softmax(backend: str, dtype: str, last: bool) -> None:
    logits = np.array(ROWS)
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(dtype, [None, None], name="x")
        fetches = [ki.softmax(x, axis=-1 if last else 0), ki.log_softmax(x, axis=-1 if last else 0)]
    fed = (logits if last else logits.T).astype(dtype)
    soft, log = ki.Session(graph, backend=backend).run(fetches, {"x:0": fed})
    wanted = softmax(logits)
    np.testing.assert_allclose(soft if last else soft.T, wanted, rtol=1e-5, atol=1e-30)
    shifted = logits - logits.max(-1, keepdims=True)
    np.testing.assert_allclose(
        log if last else log.T, shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classifier(backend: str, dtype: str) -> None:
    """Product, bias and softmax, as at the end of a network; the passes may join what they like."""
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(dtype, [None, 4], name="x")
        weights, bias = ki.constant(np.eye(4) * 1000, dtype), ki.constant(np.array([1.0, 0, -1, 0]), dtype)
        y = ki.softmax(ki.bias_add(ki.matmul(x, weights), bias), name="y")
    fed = np.array([[1.0, -1, 0.999, 0], [-1, -1, -1, -1], [30, 30, -30, 0]]).astype(dtype)
    got = ki.Session(graph, backend=backend).run(y, {"x:0": fed})
    np.testing.assert_allclose(got, softmax(fed.astype("float64") * 1000 + [1, 0, -1, 0]), rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(got.sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy(backend: str, dtype: str) -> None:
    logits = np.array(ROWS)
    labels = np.array([1, 3, 0, 2], "int32")
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(dtype, [None, 4], name="x")
        loss = ki.sparse_softmax_cross_entropy_with_logits(labels, x)
        dense = ki.softmax_cross_entropy_with_logits(ki.constant(np.eye(4)[labels], dtype), x)
        fetches = [loss, dense, *ki.gradients(loss, [x]), *ki.gradients(dense, [x])]
    found = ki.Session(graph, backend=backend).run(fetches, {"x:0": logits.astype(dtype)})
    shifted = logits - logits.max(-1, keepdims=True)
    wanted = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(4), labels]
    for got in found[:2]:
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    for got in found[2:]:
        np.testing.assert_allclose(got, softmax(logits) - np.eye(4)[labels], rtol=1e-5, atol=1e-12)
