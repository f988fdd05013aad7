"""Exported programs of PyTorch: less common functions, activations, masks and outputs that are not computed, next to NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.errors import KigraphError
from tests.loaders.pt2_files import archive, call, program

Array = np.ndarray[Any, Any]


def load(folder: Path, nodes: Any, outputs: Any, inputs: Any) -> ki.Classifier:
    path = folder / "net.pt2"
    path.write_bytes(archive(program(nodes, outputs, inputs), {}))
    return ki.load(path, backend="numpy")


X = np.random.default_rng(7).standard_normal((2, 4, 6)).astype(np.float32)
D = X.astype(np.float64)
P = np.abs(D) + 0.1


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("op", "arguments", "want"),
    [
        ("tan", {}, np.tan(D)), ("atan", {}, np.arctan(D)), ("sinh", {}, np.sinh(D)), ("cosh", {}, np.cosh(D)), ("asinh", {}, np.arcsinh(D)),
        ("expm1", {}, np.expm1(D)), ("trunc", {}, np.trunc(D)), ("frac", {}, D - np.trunc(D)), ("isnan", {}, np.isnan(D)),
        ("celu", {"alpha": 0.7}, np.where(D > 0, D, 0.7 * np.expm1(D / 0.7))), ("elu", {"alpha": 1.5}, np.where(D > 0, D, 1.5 * np.expm1(D))),
        ("softplus", {"beta": 2.0, "threshold": 1.0}, np.where(D * 2 > 1, D, np.log1p(np.exp(2 * D)) / 2)),
        ("glu", {"dim": 1}, D[:, :2] * _sigmoid(D[:, 2:])), ("softshrink", {"lambd": 0.3}, np.sign(D) * np.maximum(np.abs(D) - 0.3, 0)),
        ("hardshrink", {"lambd": 0.3}, np.where(np.abs(D) > 0.3, D, 0)), ("threshold", {"threshold": 0.1, "value": -0.5}, np.where(D > 0.1, D, -0.5)),
        ("log_sigmoid", {}, np.log(_sigmoid(D))), ("softsign", {}, D / (1 + np.abs(D))), ("rrelu", {}, np.where(D > 0, D, D * (1 / 8 + 1 / 3) / 2)),
        ("logsumexp", {"dim": [0, 2]}, np.log(np.exp(D).sum((0, 2)))), ("logsumexp", {"dim": [1], "keepdim": True}, np.log(np.exp(D).sum(1, keepdims=True))),
        ("tril", {"diagonal": 1}, np.tril(D, 1)), ("triu", {"diagonal": -2}, np.triu(D, -2)), ("cumprod", {"dim": 2}, np.cumprod(D, 2)),
        ("any", {"dim": 1}, (D != 0).any(1)), ("all", {"dim": 1, "keepdim": True}, (D != 0).all(1, keepdims=True)),
    ],
)  # fmt: skip
def test_functions(op: str, arguments: dict[str, Any], want: Array, tmp_path: Path) -> None:
    model = load(tmp_path, [call(op, "y", self="$x", **arguments)], ["y"], {"x": X.shape})
    found = model.signatures["serving_default"](X)["output"]
    assert found.dtype == (want.dtype if want.dtype == bool else np.float32)
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("op", "arguments", "want"),
    [
        ("atan2", {"other": "$z"}, np.arctan2(D, P)), ("hypot", {"other": "$z"}, np.hypot(D, P)), ("lerp", {"end": "$z", "weight": 0.3}, D + (P - D) * 0.3),
        ("addcmul", {"tensor1": "$z", "tensor2": "$x", "value": 0.5}, D + 0.5 * P * D), ("addcdiv", {"tensor1": "$x", "tensor2": "$z"}, D + D / P),
    ],
)  # fmt: skip
def test_functions_of_two(op: str, arguments: dict[str, Any], want: Array, tmp_path: Path) -> None:
    model = load(tmp_path, [call(op, "y", self="$x", **arguments)], ["y"], {"x": X.shape, "z": X.shape})
    found = model.signatures["serving_default"]({"x": X, "z": P.astype(np.float32)})["output"]
    np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-6)


def test_a_side_without_end(tmp_path: Path) -> None:
    model = load(tmp_path, [call("hypot", "y", self="$x", other="$z")], ["y"], {"x": (4,), "z": (4,)})
    a, b = np.array([[np.inf, -np.inf, np.nan, 0], [np.inf, np.nan, 1, 0]], np.float32)
    found = model.signatures["serving_default"]({"x": a, "z": b})["output"]
    np.testing.assert_array_equal(found, np.hypot(a, b))


def test_numbers_instead_of_nan_and_infinity(tmp_path: Path) -> None:
    model = load(tmp_path, [call("nan_to_num", "y", self="$x", nan=1.0, posinf=2.0)], ["y"], {"x": (4,)})
    found = model.signatures["serving_default"](np.array([np.nan, np.inf, -np.inf, 5], np.float32))["output"]
    np.testing.assert_array_equal(found, np.array([1, 2, np.finfo(np.float32).min, 5], np.float32))


@pytest.mark.parametrize("eps", [None, 1e-2])
def test_rms_norm(eps: float | None, tmp_path: Path) -> None:
    node = call("rms_norm", "y", input="$x", normalized_shape=[4, 6], eps=eps)
    found = load(tmp_path, [node], ["y"], {"x": X.shape}).signatures["serving_default"](X)["output"]
    small = np.finfo(np.float32).eps if eps is None else eps
    np.testing.assert_allclose(found, D / np.sqrt((D**2).mean((1, 2), keepdims=True) + small), rtol=1e-5)


def test_masks_of_bools_and_shared_heads(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=s).astype(np.float32) for s in ((2, 4, 3, 5), (2, 2, 6, 5), (2, 2, 6, 5)))
    m = rng.normal(size=(2, 1, 3, 6)).astype(np.float32)
    m[..., 0] = 1  # no query without a key
    nodes = [
        call("gt.Scalar", "b", self="$m", other=0),
        call("scaled_dot_product_attention", "y", query="$q", key="$k", value="$v", attn_mask="$b", enable_gqa=True),
    ]
    shapes = {n: t.shape for n, t in (("q", q), ("k", k), ("v", v), ("m", m))}
    model = load(tmp_path, nodes, ["y"], shapes)
    found = model.signatures["serving_default"]({"q": q, "k": k, "v": v, "m": m})["output"]
    wide = [np.repeat(t.astype(np.float64), 2, 1) for t in (k, v)]
    scores = np.where(m > 0, q @ wide[0].swapaxes(2, 3) / np.sqrt(5), -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(found, e / e.sum(-1, keepdims=True) @ wide[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_grids_of_positions(indexing: str, tmp_path: Path) -> None:
    nodes = [call("meshgrid.indexing", ["a", "b"], tensors=["$x", "$z"], indexing=indexing)]
    model = load(tmp_path, nodes, ["a", "b"], {"x": (3,), "z": (4,)})
    x, z = np.arange(3, dtype=np.float32), np.arange(4, dtype=np.float32) * 10
    found = model.signatures["serving_default"]({"x": x, "z": z})
    for got, want in zip(found.values(), np.meshgrid(x, z, indexing=indexing), strict=True):
        np.testing.assert_array_equal(got, want)


def test_an_output_that_is_not_computed_refuses_its_readers_only(tmp_path: Path) -> None:
    nodes = [
        call("native_layer_norm", ("y", "mean", "rstd"), input="$x", normalized_shape=[6], eps=1e-5),
        call("add.Tensor", "z", self="$mean", other=1.0),
    ]
    model = load(tmp_path, nodes, ["y", "z"], {"x": X.shape})
    y = model.session.run("output", {"x": X})
    want = (D - D.mean(-1, keepdims=True)) / np.sqrt(D.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(KigraphError, match="not computed"):
        model.session.run("output_1", {"x": X})


def _positions(size: int, target: int, factor: float | None, kind: str, corners: bool) -> Array:
    scale = size / target if factor is None else 1 / factor
    i = np.arange(target)
    if kind == "nearest":
        return np.minimum(np.floor(i * scale), size - 1)
    if corners:
        return i * (size - 1) / max(target - 1, 1)
    return (i + 0.5) * scale - 0.5 if kind == "cubic" else np.maximum((i + 0.5) * scale - 0.5, 0)


def _weights(size: int, target: int, factor: float | None, kind: str, corners: bool) -> Array:
    """The matrix of one axis; a tap beyond an edge counts for the pixel at that edge."""
    found = np.zeros((target, size))
    for row, at in zip(found, _positions(size, target, factor, kind, corners), strict=True):
        low = int(np.floor(at))
        for tap in range(low - 1, low + 3):
            d = abs(at - tap)
            near = 1.25 * d**3 - 2.25 * d**2 + 1
            far = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            cubic = near if d <= 1 else far if d < 2 else 0
            weight = {"nearest": float(tap == at), "linear": max(1 - d, 0), "cubic": cubic}[kind]
            row[min(max(tap, 0), size - 1)] += weight
    return found


@pytest.mark.parametrize(
    ("op", "kind", "axes"),
    [
        ("upsample_nearest1d", "nearest", 1), ("upsample_nearest2d", "nearest", 2), ("upsample_nearest3d", "nearest", 3), ("upsample_linear1d", "linear", 1),
        ("upsample_bilinear2d", "linear", 2), ("upsample_trilinear3d", "linear", 3), ("upsample_bicubic2d", "cubic", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("factor", [None, 1.75, 0.6])
def test_resizing(
    op: str, kind: str, axes: int, corners: bool, factor: float | None, tmp_path: Path, seed: int
) -> None:
    """A factor states the positions, also where it gives no whole size; with corners the sizes do."""
    if kind == "nearest" and corners:
        pytest.skip("nearest has no corners")
    x = np.random.default_rng(seed).normal(size=(2, 3, *(7, 8, 4)[:axes])).astype(np.float32)
    sizes = [int(s * factor) if factor else t for s, t in zip(x.shape[2:], (11, 5, 6), strict=False)]
    arguments: dict[str, Any] = {} if kind == "nearest" else {"align_corners": corners}
    target = {"output_size": sizes} if factor is None else {"output_size": None, "scale_factors": [factor] * axes}
    node = call(f"{op}.vec", "y", input="$x", **target, **arguments)
    if factor is not None:
        node["inputs"][2]["arg"] = {"as_floats": [factor] * axes}
    found = load(tmp_path, [node], ["y"], {"x": x.shape}).signatures["serving_default"](x)["output"]
    want = x.astype(np.float64)
    for axis, target_size in enumerate(sizes, 2):
        matrix = _weights(x.shape[axis], target_size, None if corners else factor, kind, corners)
        want = np.moveaxis(np.tensordot(matrix, want, (1, axis)), 0, axis)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
