"""Batch normalisation by the batch's own statistics: its gradient against differences in float64, on every CPU backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.ops.building import add_op

Array = np.ndarray[Any, Any]
BACKENDS = [b for b in ki.available_backends() if b != "cupy"]
SHAPE = (3, 2, 2, 3)


def differences(session: ki.Session, loss: ki.Tensor, feeds: dict[Any, Array], of: ki.Tensor) -> Array:
    step, found = 1e-5, np.zeros_like(feeds[of])
    for at in np.ndindex(*found.shape):
        sides = []
        for sign in (1, -1):
            moved = feeds[of].copy()
            moved[at] += sign * step
            sides.append(float(session.run(loss, {**feeds, of: moved})))
        found[at] = (sides[0] - sides[1]) / (2 * step)
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("factor", [1.0, 0.25])
@pytest.mark.parametrize("through", [(0,), (0, 1, 2, 3, 4)], ids=["image", "all-results"])
def test_the_gradient_is_that_of_differences(backend: str, factor: float, through: tuple[int, ...]) -> None:
    rng = np.random.default_rng()
    with ki.Graph().as_default() as graph:
        given = [ki.placeholder("float64", list(SHAPE)), *(ki.placeholder("float64", [3]) for _ in range(4))]
        norm = add_op(
            "FusedBatchNormV3", given, None, epsilon=1e-2, is_training=True, exponential_avg_factor=factor
        ).op.outputs
        loss = ki.add_n([ki.reduce_sum(norm[i] * rng.standard_normal(norm[i].shape)) for i in through])
        wanted = given if factor != 1 and len(through) > 1 else given[:3]
        found = ki.gradients(loss, wanted)
    session = ki.Session(graph, backend=backend)
    feeds: dict[Any, Array] = {t: rng.uniform(0.5, 2, t.shape) for t in given}
    sources = [x for x, g in zip(wanted, found, strict=True) if g is not None]
    assert len(sources) == len(wanted)
    for source, got in zip(sources, session.run([g for g in found if g is not None], feeds), strict=True):
        np.testing.assert_allclose(got, differences(session, loss, feeds, source), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_channels_first_has_the_same_gradient(backend: str) -> None:
    rng = np.random.default_rng()
    x = rng.standard_normal((4, 5, 6, 3)).astype(np.float32)
    weights = rng.standard_normal(x.shape).astype(np.float32)
    scale = rng.uniform(0.5, 2, 3).astype(np.float32)
    found = []
    for order in ((0, 1, 2, 3), (0, 3, 1, 2)):
        with ki.Graph().as_default() as graph:
            image = ki.constant(x.transpose(order))
            gamma = ki.constant(scale)
            rest = [ki.constant(np.zeros(n, np.float32)) for n in (3, 0, 0)]
            y = add_op(
                "FusedBatchNormV3", [image, gamma, *rest], None, epsilon=1e-3, is_training=True,
                data_format="NHWC" if order[1] == 1 else "NCHW",
            )  # fmt: skip
            gradients = ki.gradients(ki.reduce_sum(y * weights.transpose(order)), [image, gamma])
            dx, d_scale = ki.Session(graph, backend=backend).run(gradients)
        found.append((dx.transpose(np.argsort(order)), d_scale))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_number_of_threads_gives_the_same_bits(backend: str) -> None:
    rng = np.random.default_rng()
    x = rng.standard_normal((8, 33, 31, 24)).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        with ki.Graph().as_default() as graph:
            image, gamma = ki.placeholder("float32", x.shape), ki.constant(np.ones(24, np.float32))
            rest = [ki.constant(np.zeros(n, np.float32)) for n in (24, 0, 0)]
            y = add_op("FusedBatchNormV3", [image, gamma, *rest], None, epsilon=1e-3, is_training=True)
            dx, d_scale = ki.gradients(ki.reduce_sum(ki.square(y) * y), [image, gamma])
            session = ki.Session(graph, backend=backend, threads=threads)
            results.append(session.run([*y.op.outputs[:5], dx, d_scale], {image: x}))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
