"""Layers of Keras, one after the other, against plain NumPy in float64. Real Keras: test_keras_library.py."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders.weights import TensorInfo, WeightsFile
from kigraph.graph.models import graph_of_weights
from kigraph.graph.opdefs.table import OPDEFS
from kigraph.graph.session import Session

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(8)


def random(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def file_of(
    kind: str, config: dict[str, Any], arrays: Sequence[Array], shape: Sequence[int | None], keras: int
) -> WeightsFile:
    """A Sequential model of one layer in the form of Keras 2 (order) or Keras 3 (paths)."""
    dtype = config.pop("input", "float32")
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *shape], "dtype": dtype, "name": "x"}},
        {"class_name": kind, "config": {"name": "layer", **config}},
    ]
    text = json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": layers}})
    names = [f"layer/w{i}:0" for i in range(len(arrays))]
    if keras == 3:
        inside = config.get("inside", kind.lower() if kind.isupper() else None)
        snake = "".join(
            f"_{c}" if c.isupper() and i and not kind[i - 1].isupper() and not kind[i - 1].isdigit() else c
            for i, c in enumerate(kind)
        ).lower()
        names = [f"layers/{inside or snake}/vars/{i}" for i in range(len(arrays))]
    tensors = {
        n: TensorInfo(a.dtype, a.shape, a.dtype.name, lambda a=a: a, ("test", i))
        for i, (n, a) in enumerate(zip(names, arrays, strict=True))
    }
    metadata = {"model_config": text, "keras_version": f"{keras}.15.0"}
    metadata |= {"form": "keras-3"} if keras == 3 else {"layers": {"layer": tuple(names)}}  # type: ignore[dict-item]
    return WeightsFile("m.keras", "keras", tensors, metadata)


def run(kind: str, config: dict[str, Any], arrays: Sequence[Array], x: Array, keras: int = 2) -> Array:
    graph = graph_of_weights(file_of(kind, dict(config), arrays, x.shape[1:], keras))
    assert list(graph.signatures["serving_default"].inputs) == ["x"]
    assert list(graph.signatures["serving_default"].outputs) == ["layer"]
    return np.asarray(Session(graph, backend="numpy").run("layer", {"x": x}))


# --- convolutions and pools ------------------------------------------------------------------------------------------------


def padded(
    x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int], same: bool, value: float = 0
) -> Array:
    pairs = [(0, 0)]
    for n, k, s, d in zip(x.shape[1:-1], size, strides, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0) if same else 0
        pairs.append((total // 2, total - total // 2))
    return np.pad(x, [*pairs, (0, 0)], constant_values=value)


def windows(x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Any:
    """(place of the result, window) for every place."""
    out = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[1:-1], size, strides, dilation, strict=True)]
    for at in itertools.product(*map(range, out)):
        cut = tuple(
            slice(a * s, a * s + (k - 1) * d + 1, d) for a, s, k, d in zip(at, strides, size, dilation, strict=True)
        )
        yield at, x[(slice(None), *cut)], out


def conv(x: Array, w: Array, strides: Sequence[int], dilation: Sequence[int], same: bool, groups: int = 1) -> Array:
    x, w = padded(x.astype(float), w.shape[:-2], strides, dilation, same), w.astype(float)
    y = None
    for at, part, out in windows(x, w.shape[:-2], strides, dilation):
        y = np.zeros((len(x), *out, w.shape[-1])) if y is None else y
        per, made = w.shape[-2], w.shape[-1] // groups
        for g in range(groups):
            inputs = part[..., g * per : (g + 1) * per].reshape(len(x), -1)
            y[(slice(None), *at, slice(g * made, (g + 1) * made))] = inputs @ w[..., g * made : (g + 1) * made].reshape(
                -1, made
            )
    assert y is not None
    return y


CONVS = [
    ("Conv1D", {"kernel_size": [3], "strides": [2], "padding": "same"}, (9, 4), (3, 4, 5)),
    ("Conv2D", {"kernel_size": [3, 2], "strides": [2, 1], "padding": "same"}, (7, 6, 4), (3, 2, 4, 5)),
    ("Conv2D", {"kernel_size": [2, 3], "dilation_rate": [2, 2]}, (9, 8, 3), (2, 3, 3, 5)),
    ("Conv2D", {"kernel_size": [3, 3], "groups": 2}, (5, 6, 4), (3, 3, 2, 6)),
]


@pytest.mark.parametrize("keras", [2, 3])
@pytest.mark.parametrize(("kind", "config", "shape", "kernel"), CONVS)
def test_convolutions(
    kind: str, config: dict[str, Any], shape: tuple[int, ...], kernel: tuple[int, ...], keras: int
) -> None:
    x, w, bias = random(2, *shape), random(*kernel), random(kernel[-1])
    rank = len(shape) - 1
    want = conv(
        x, w, config.get("strides", [1] * rank), config.get("dilation_rate", [1] * rank), config.get("padding") == "same",
        config.get("groups", 1),
    ) + bias  # fmt: skip
    got = run(
        kind, {"filters": kernel[-1], **config, "activation": "relu", "inside": kind.lower()}, [w, bias], x, keras
    )
    np.testing.assert_allclose(got, np.maximum(want, 0), rtol=1e-4, atol=1e-4)


def test_a_causal_convolution_looks_back_only() -> None:
    x, w = random(2, 9, 3), random(3, 3, 4)
    got = run(
        "Conv1D",
        {"filters": 4, "kernel_size": [3], "padding": "causal", "dilation_rate": [2], "use_bias": False},
        [w],
        x,
    )
    want = conv(np.pad(x, [(0, 0), (4, 0), (0, 0)]), w, [1], [2], False)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_depthwise_and_separable() -> None:
    x, depth, point = random(2, 6, 5, 3), random(3, 3, 3, 2), random(1, 1, 6, 4)
    whole = np.zeros((3, 3, 3, 6), np.float32)
    for c in range(3):
        whole[:, :, c, 2 * c : 2 * c + 2] = depth[:, :, c]
    want = conv(x, whole, [1, 1], [1, 1], True)
    config = {"kernel_size": [3, 3], "padding": "same", "depth_multiplier": 2, "use_bias": False}
    np.testing.assert_allclose(run("DepthwiseConv2D", config, [depth], x), want, rtol=1e-4, atol=1e-4)
    got = run("SeparableConv2D", {**config, "filters": 4}, [depth, point], x)
    np.testing.assert_allclose(got, want @ point[0, 0], rtol=1e-4, atol=1e-4)


def test_transposed_convolutions_are_the_gradient_of_convolutions() -> None:
    x, w = random(1, 3, 4, 2), random(3, 2, 5, 2)
    got = run("Conv2DTranspose", {"filters": 5, "kernel_size": [3, 2], "strides": [2, 3], "use_bias": False}, [w], x)
    want = np.zeros((1, 7, 12, 5))
    for i, j in itertools.product(range(3), range(4)):
        want[:, 2 * i : 2 * i + 3, 3 * j : 3 * j + 2] += np.einsum("bc,hwoc->bhwo", x[:, i, j], w)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_channels_first() -> None:
    x, w = random(2, 3, 7, 6), random(3, 3, 3, 4)
    config = {"filters": 4, "kernel_size": [3, 3], "data_format": "channels_first", "use_bias": False}
    want = conv(x.transpose(0, 2, 3, 1), w, [1, 1], [1, 1], False).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(run("Conv2D", config, [w], x), want, rtol=1e-4, atol=1e-4)
    got = run("MaxPooling2D", {"pool_size": [2, 2], "data_format": "channels_first"}, [], x)
    np.testing.assert_array_equal(got, x[:, :, :6].reshape(2, 3, 3, 2, 3, 2).max((3, 5)))
    np.testing.assert_array_equal(
        run("Flatten", {"data_format": "channels_first"}, [], x), x.transpose(0, 2, 3, 1).reshape(2, -1)
    )


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(("kind", "shape"), [("Max", (7,)), ("Average", (7,)), ("Max", (7, 6)), ("Average", (7, 6))])
def test_pools(kind: str, shape: tuple[int, ...], same: bool) -> None:
    x = random(2, *shape, 3)
    rank = len(shape)
    config = {"pool_size": [3] * rank, "strides": [2] * rank, "padding": "same" if same else "valid"}
    wide = padded(x.astype(float), [3] * rank, [2] * rank, [1] * rank, same, np.nan)
    y = None
    for at, part, out in windows(wide, [3] * rank, [2] * rank, [1] * rank):
        y = np.zeros((2, *out, 3)) if y is None else y
        y[(slice(None), *at)] = (np.nanmax if kind == "Max" else np.nanmean)(part, tuple(range(1, rank + 1)))
    np.testing.assert_allclose(run(f"{kind}Pooling{rank}D", config, [], x), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pools(rank: int, keep: bool) -> None:
    x, axes = random(2, 4, 3, 5, 6)[(slice(None), *[slice(None)] * rank, *[0] * (3 - rank))], tuple(range(1, rank + 1))
    assert x.ndim == rank + 2
    np.testing.assert_allclose(
        run(f"GlobalAveragePooling{rank}D", {"keepdims": keep}, [], x),
        x.mean(axes, keepdims=keep),
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_array_equal(
        run(f"GlobalMaxPooling{rank}D", {"keepdims": keep}, [], x), x.max(axes, keepdims=keep)
    )


# --- dense layers and normalisations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_dense(shape: tuple[int, ...]) -> None:
    x, w, bias = random(4, *shape), random(5, 3), random(3)
    np.testing.assert_allclose(
        run("Dense", {"units": 3, "activation": "tanh"}, [w, bias], x, 3), np.tanh(x @ w + bias), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("equation", "bias_axes", "kernel", "bias"),
    [
        ("abc,cd->abd", "d", (5, 6), (6,)), ("...x,xy->...y", "y", (5, 6), (6,)), ("abc,cde->abde", "e", (5, 2, 3), (3,)),
        ("abc,bd->adc", None, (4, 6), None), ("abc,bcd->ad", "d", (4, 5, 2), (2,)), ("ab...,bc->ac...", "c", (4, 3), (3, 1)),
    ],
)  # fmt: skip
def test_einsum_dense(
    equation: str, bias_axes: str | None, kernel: tuple[int, ...], bias: tuple[int, ...] | None
) -> None:
    x, w = random(2, 4, 5), random(*kernel)
    arrays = [w] if bias is None else [w, random(*bias)]
    want = np.einsum(equation, x.astype(float), w.astype(float)) + (0 if bias is None else arrays[1])
    np.testing.assert_allclose(
        run("EinsumDense", {"equation": equation, "bias_axes": bias_axes}, arrays, x), want, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("shape", "axis"), [((5,), -1), ((4, 3, 5), 3), ((4, 3, 5), [1]), ((3, 5), 1), ((2, 3, 4, 5), -1)]
)
@pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False)])
def test_batch_normalisation(shape: tuple[int, ...], axis: Any, scale: bool, center: bool) -> None:
    x = random(2, *shape)
    at = (axis[0] if isinstance(axis, list) else axis) % x.ndim
    n = x.shape[at]
    gamma, beta, mean, variance = random(n), random(n), random(n), np.abs(random(n)) + 0.1
    arrays = [*([gamma] if scale else []), *([beta] if center else []), mean, variance]
    got = run("BatchNormalization", {"axis": axis, "epsilon": 1e-3, "scale": scale, "center": center}, arrays, x)
    wide = [
        v.astype(float).reshape([n if i == at else 1 for i in range(x.ndim)]) for v in (gamma, beta, mean, variance)
    ]
    want = (x - wide[2]) / np.sqrt(wide[3] + 1e-3) * (wide[0] if scale else 1) + (wide[1] if center else 0)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_other_normalisations() -> None:
    x = random(2, 4, 3, 6)
    wide = x.astype(float)
    gamma, beta = random(4, 6), random(4, 6)
    mean, variance = wide.mean((1, 3), keepdims=True), wide.var((1, 3), keepdims=True)
    want = (wide - mean) / np.sqrt(variance + 1e-2) * gamma[:, None] + beta[:, None]
    np.testing.assert_allclose(
        run("LayerNormalization", {"axis": [1, 3], "epsilon": 1e-2}, [gamma, beta], x), want, rtol=1e-4, atol=1e-4
    )
    parts = wide.reshape(2, 4, 3, 3, 2)
    parts = (parts - parts.mean((1, 2, 4), keepdims=True)) / np.sqrt(parts.var((1, 2, 4), keepdims=True) + 1e-3)
    got = run("GroupNormalization", {"groups": 3}, [gamma[0], beta[0]], x)
    np.testing.assert_allclose(got, parts.reshape(x.shape) * gamma[0] + beta[0], rtol=1e-4, atol=1e-4)
    want = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6) * gamma[0]
    np.testing.assert_allclose(
        run("RMSNormalization", {"inside": "rms_normalization"}, [gamma[0]], x, 3), want, rtol=1e-4, atol=1e-5
    )
    want = wide / np.sqrt((wide**2).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(run("UnitNormalization", {"axis": [1, 2]}, [], x), want, rtol=1e-4, atol=1e-5)


def test_statistics_of_the_config_and_of_adapt() -> None:
    x = random(2, 3, 4)
    config = {"axis": [-1], "mean": [[[1.0, 2.0, 3.0, 4.0]]], "variance": [[[1.0, 4.0, 9.0, 0.0]]]}
    want = (x - [1, 2, 3, 4]) / [1, 2, 3, 1e-7]
    np.testing.assert_allclose(run("Normalization", config, [], x), want, rtol=1e-4)
    mean, variance, count = random(3), np.abs(random(3)), np.zeros((), np.int64)
    got = run("Normalization", {"axis": [1]}, [mean, variance, count], x)
    np.testing.assert_allclose(got, (x - mean[:, None]) / np.sqrt(variance)[:, None], rtol=1e-4, atol=1e-5)
    got = run("Normalization", {"axis": None, "invert": True, "mean": 2.0, "variance": 9.0}, [], x)
    np.testing.assert_allclose(got, x * 3 + 2, rtol=1e-5)


def test_rescaling_takes_pixels() -> None:
    x = RNG.integers(0, 256, (2, 3, 3, 3)).astype(np.uint8)
    got = run("Rescaling", {"scale": 1 / 127.5, "offset": [-1.0, 0.0, 1.0], "input": "uint8"}, [], x)
    np.testing.assert_allclose(got, x / 127.5 + [-1, 0, 1], rtol=1e-5, atol=1e-6)


# --- activations, shapes ---------------------------------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x, "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6), "sigmoid": sigmoid,
    "tanh": np.tanh, "silu": lambda x: x * sigmoid(x), "swish": lambda x: x * sigmoid(x), "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)), "exponential": np.exp, "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "hard_tanh": lambda x: np.clip(x, -1, 1),
    "log_sigmoid": lambda x: np.log(sigmoid(x)), "tanh_shrink": lambda x: x - np.tanh(x),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0), "hard_shrink": lambda x: np.where(abs(x) > 0.5, x, 0),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2, "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x), "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
    "glu": lambda x: x[..., :3] * sigmoid(x[..., 3:]),
}  # fmt: skip
NEEDS = {"leaky_relu": "LeakyRelu", "elu": "Elu", "selu": "Selu"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    if NEEDS.get(name, "Relu") not in OPDEFS:
        pytest.skip(f"needs the op {NEEDS[name]}")
    x = random(3, 6) * 3
    np.testing.assert_allclose(
        run("Activation", {"activation": name}, [], x, 3), ACTIVATIONS[name](x.astype(float)), rtol=1e-4, atol=1e-5
    )


def test_activations_that_versions_compute_otherwise() -> None:
    x = random(3, 6) * 3
    for keras, slope in ((2, 5), (3, 6)):
        got = run("Activation", {"activation": "hard_sigmoid"}, [], x, keras)
        np.testing.assert_allclose(got, np.clip(x / slope + 0.5, 0, 1), rtol=1e-4, atol=1e-6)


def test_activation_layers() -> None:
    x, alpha = random(2, 3, 4) * 4, random(1, 4)
    np.testing.assert_allclose(
        run("PReLU", {"shared_axes": [1], "inside": "p_re_lu"}, [alpha], x, 3), np.where(x > 0, x, alpha * x), rtol=1e-5
    )
    np.testing.assert_allclose(run("ReLU", {"max_value": 2.0, "negative_slope": 0.5, "threshold": 1.0}, [], x),
                               np.where(x >= 1, np.minimum(x, 2), 0.5 * (x - 1)), rtol=1e-5)  # fmt: skip
    np.testing.assert_array_equal(run("ThresholdedReLU", {"theta": 0.7}, [], x), np.where(x > np.float32(0.7), x, 0))
    e = np.exp(x.astype(float))
    np.testing.assert_allclose(run("Softmax", {"axis": [1, 2]}, [], x), e / e.sum((1, 2), keepdims=True), rtol=1e-4)
    dense = {
        "units": 2,
        "activation": {"class_name": "ReLU", "config": {"max_value": 1.0}, "module": "keras.layers"},
        "use_bias": False,
    }
    w = random(4, 2)
    np.testing.assert_allclose(run("Dense", dense, [w], x), np.clip(x @ w, 0, 1), rtol=1e-4, atol=1e-5)


def test_layers_that_move_elements() -> None:
    x = random(2, 3, 4, 5)
    np.testing.assert_array_equal(run("Flatten", {}, [], x), x.reshape(2, -1))
    np.testing.assert_array_equal(run("Reshape", {"target_shape": [6, -1]}, [], x), x.reshape(2, 6, -1))
    np.testing.assert_array_equal(run("Permute", {"dims": [3, 1, 2]}, [], x), x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(run("RepeatVector", {"n": 3}, [], x[:, 0, 0]), np.repeat(x[:, :1, 0], 3, 1))
    np.testing.assert_array_equal(run("Cropping2D", {"cropping": [[1, 0], [1, 2]]}, [], x), x[:, 1:, 1:-2])
    np.testing.assert_array_equal(
        run("ZeroPadding2D", {"padding": [[1, 0], [0, 2]]}, [], x), np.pad(x, [(0, 0), (1, 0), (0, 2), (0, 0)])
    )
    np.testing.assert_array_equal(run("UpSampling1D", {"size": 2}, [], x[:, 0]), np.repeat(x[:, 0], 2, 1))
    np.testing.assert_array_equal(
        run("UpSampling3D", {"size": [2, 1, 3]}, [], x[..., None]), x[..., None].repeat(2, 1).repeat(3, 3)
    )
    for name in ("Dropout", "GaussianNoise", "RandomFlip", "RandomErasing", "ActivityRegularization"):
        np.testing.assert_array_equal(run(name, {}, [], x), x)


def test_categories() -> None:
    x = np.array([[0, 2, 2], [3, 1, 0]], np.int32)
    hot = np.eye(4, dtype=np.float32)[x]
    config = {"num_tokens": 4, "input": "int32"}
    np.testing.assert_array_equal(run("CategoryEncoding", config, [], x), hot.max(1))
    np.testing.assert_array_equal(run("CategoryEncoding", {**config, "output_mode": "count"}, [], x), hot.sum(1))
    np.testing.assert_array_equal(
        run("CategoryEncoding", {**config, "output_mode": "one_hot"}, [], x[:, :1]), hot[:, 0]
    )
    y = np.float32([[-2, 0.5], [0.75, 9]])
    got = run("Discretization", {"bin_boundaries": [-1.0, 0.5, 1.0], "output_mode": "int"}, [], y)
    np.testing.assert_array_equal(got, np.digitize(y, [-1, 0.5, 1]))
    table = random(5, 3)
    np.testing.assert_array_equal(
        run("Embedding", {"input_dim": 5, "output_dim": 3, "input": "int32"}, [table], x), table[x]
    )
    got = run(
        "IntegerLookup",
        {"vocabulary": [7, 3, 9], "input": "int64", "mask_token": None},
        [],
        np.array([[3, 4, 7, 9]], np.int64),
    )
    np.testing.assert_array_equal(got, [[2, 0, 1, 3]])


def test_layers_of_applications() -> None:
    x, gamma = random(2, 3, 4), random(4)
    np.testing.assert_allclose(
        run("LayerScale", {"init_values": 1e-6, "projection_dim": 4}, [gamma], x, 3), x * gamma, rtol=1e-6
    )
    np.testing.assert_array_equal(run("StochasticDepth", {"drop_path_rate": 0.5}, [], x), x)
    with pytest.raises(LoadError, match=r"that of keras\.applications"):
        run("LayerScale", {"init_values": 1e-6, "projection_dim": 4, "axis": 1}, [gamma], x, 3)
