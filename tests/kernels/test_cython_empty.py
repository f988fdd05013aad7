"""Empty outputs of the C kernels: no preparation or loop may count the other sizes, which may be of any order."""

import numpy as np
import pytest

import kigraph as ki

_FAR = 2**40


@pytest.mark.parametrize(
    ("x", "w", "strides", "dilations"),
    [
        ((1, 2, 0, 1), (1, 7, 1, 1), (1, 2**52 - 1), (2**52 - 1, 1)),
        ((1, _FAR, 3, 0), (3, 3, 0, 0), (1, 1), (1, 1)),
        ((1, 1, 1, 0), (_FAR, 1, 0, 5), (1, 1), (1, 1)),
        ((1, 1, 1, 0), (_FAR, 1, 0, 0), (1, 1), (1, 1)),
        ((_FAR, 0, 4, 3), (3, 3, 3, 8), (1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_convolution_without_elements_returns_at_once(x, w, strides, dilations, threads):
    a, b = ki.placeholder("float32", x), ki.placeholder("float32", w)
    y = ki.conv2d(a, b, list(strides), "SAME", dilations=list(dilations))
    with ki.Session(backend="cython", threads=threads) as session:
        found = session.run(y, {a: np.zeros(x, np.float32), b: np.zeros(w, np.float32)})
    assert found.shape[3] == w[3]
    assert not found.any()


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_matrix_product_without_elements_lists_no_products(dtype):
    x = ki.placeholder(dtype, (_FAR, 0, 2))
    with ki.Session(backend="cython") as session:
        found = session.run(ki.matmul(x, x, transpose_b=True), {x: np.zeros((_FAR, 0, 2), dtype)})
    assert found.shape == (_FAR, 0, 0)


@pytest.mark.parametrize("shape", [(1, _FAR, 3, 0), (_FAR, 0, 3, 4), (_FAR, 3, 0, 2)])
def test_pooling_without_elements_returns_at_once(shape):
    x = ki.placeholder("float32", shape)
    y = ki.max_pool(x, 2, 1, "SAME")
    with ki.Session(backend="cython", threads=2) as session:
        found = session.run([y, ki.avg_pool(x, 2, 1, "SAME"), *ki.gradients(y, [x])], {x: np.zeros(shape, np.float32)})
    assert [f.shape for f in found] == [shape] * 3


@pytest.mark.parametrize("strides", [(2**62, 3), (2**61, 1), (2**60 + 2, 3), (1, 2**62)])
def test_gradients_of_a_stride_beyond_the_image(strides):
    x, w = (
        np.random.default_rng(3).standard_normal((2, 2, 5, 6, 3)).astype(np.float32),
        np.ones((3, 3, 3, 2), np.float32),
    )
    a, b = ki.placeholder("float32", x[0].shape), ki.placeholder("float32", w.shape)
    grads = ki.gradients(ki.conv2d(a, b, list(strides), "SAME"), [a, b])
    near = ki.gradients(ki.conv2d(a, b, [min(s, 64) for s in strides], [(0, 0), (1, 1), (1, 1), (0, 0)]), [a, b])
    far = ki.gradients(ki.conv2d(a, b, list(strides), [(0, 0), (1, 1), (1, 1), (0, 0)]), [a, b])
    with ki.Session(backend="cython") as session:
        same, got, wanted = (session.run(g, {a: x[0], b: w}) for g in (grads, far, near))
    assert [g.shape for g in same] == [a.shape, b.shape]
    for g, expected in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, expected, rtol=1e-5)
