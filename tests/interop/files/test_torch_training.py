"""Training beside PyTorch, on fresh random numbers: optimizers, clipping, schedules, label smoothing, batch norm's gradient."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.ops.building import add_op
from kigraph.train import Model
from kigraph.train.layers import Dense

if "tensorflow" in sys.modules:  # Triton crashes in a process that has loaded TensorFlow
    pytest.skip("PyTorch and TensorFlow run in processes of their own: make test-interop", allow_module_level=True)
torch = pytest.importorskip("torch", reason="the library to compare with")
from ...train.oracles import START, TORCH, by_kigraph, by_torch  # noqa: E402

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("name", TORCH)
def test_optimizer(name: str) -> None:
    rng = np.random.default_rng()
    start = [rng.standard_normal(v.shape).astype(np.float32) for v in START]
    steps = [[(rng.standard_normal(v.shape) * 2).astype(np.float32) for v in start] for _ in range(6)]
    wanted = by_torch(torch, TORCH[name], start, steps)
    for got, want in zip(by_kigraph(TORCH[name].ours(), start, steps, "cython"), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_label_smoothing(smoothing: float) -> None:
    rng = np.random.default_rng()
    x, y = rng.standard_normal((19, 4)).astype(np.float32), rng.integers(0, 6, 19)
    model = Model([Dense(6)], (4,), label_smoothing=smoothing)
    kernel, bias = model.weights().values()
    logits = torch.from_numpy(x @ kernel + bias)
    want = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), label_smoothing=smoothing)
    assert model.evaluate(x, y)["loss"] == pytest.approx(float(want), rel=1e-5)


@pytest.mark.parametrize("backend", [b for b in ki.available_backends() if b != "cupy"])
def test_gradient_of_batch_norm(backend: str) -> None:
    rng = np.random.default_rng()
    x, dy = (rng.standard_normal((5, 7, 6, 9)).astype(np.float32) for _ in range(2))
    scale, offset = (rng.uniform(0.5, 2, 9).astype(np.float32) for _ in range(2))
    with ki.Graph().as_default() as graph:
        given = [ki.placeholder("float32", v.shape) for v in (x, scale, offset)]
        none = ki.constant(np.zeros(0, np.float32))
        y = add_op("FusedBatchNormV3", [*given, none, none], None, epsilon=1e-3, is_training=True)
        gradients = ki.gradients(ki.reduce_sum(y * dy), given)
    found = ki.Session(graph, backend=backend).run([y, *gradients], dict(zip(given, (x, scale, offset), strict=True)))
    image, gamma, beta = (torch.from_numpy(v).requires_grad_() for v in (x.transpose(0, 3, 1, 2).copy(), scale, offset))
    result = torch.nn.functional.batch_norm(image, None, None, gamma, beta, training=True, eps=1e-3)
    result.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    wanted = [
        result.detach().numpy().transpose(0, 2, 3, 1),
        image.grad.numpy().transpose(0, 2, 3, 1),
        gamma.grad,
        beta.grad,
    ]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, np.asarray(want), rtol=1e-4, atol=2e-5)
