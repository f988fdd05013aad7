"""Exported programs of PyTorch: pools with odd divisors, adaptive pools, single steps of recurrent layers, next to NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.errors import KigraphError
from tests.loaders.pt2_files import archive, call, program

Array = np.ndarray[Any, Any]


def _run(folder: Path, nodes: Any, outputs: Any, feeds: dict[str, Array]) -> list[Array]:
    path = folder / "net.pt2"
    path.write_bytes(archive(program(nodes, outputs, {n: v.shape for n, v in feeds.items()}), {}))
    return list(ki.load(path, backend="numpy").signatures["serving_default"](feeds).values())


def _normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("divisor", [None, 4])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [((3, 3), (2, 2), (1, 1)), ((2, 3), (2, 3), (1, 0)), ((3, 2), (3, 1), (0, 1))]
)
def test_average_pools(
    ceil: bool, divisor: int | None, kernel: Any, stride: Any, pad: Any, tmp_path: Path, seed: int
) -> None:
    """A window that ceil_mode adds counts pixels and padding, not what is beyond it."""
    x = _normal(seed, 2, 3, 10, 8)
    node = call(
        "avg_pool2d", "y", self="$x", kernel_size=list(kernel), stride=list(stride), padding=list(pad), ceil_mode=ceil,
        count_include_pad=True, divisor_override=divisor,
    )  # fmt: skip
    (found,) = _run(tmp_path, [node], ["y"], {"x": x})
    spans = []
    for size, k, s, p in zip(x.shape[2:], kernel, stride, pad, strict=True):
        count = (size + 2 * p - k + (s - 1 if ceil else 0)) // s + 1
        if ceil and (count - 1) * s >= size + p:
            count -= 1
        spans.append([(i * s - p, min(i * s - p + k, size + p)) for i in range(count)])
    want = np.zeros((2, 3, len(spans[0]), len(spans[1])))
    for i, (a, b) in enumerate(spans[0]):
        for j, (c, d) in enumerate(spans[1]):
            total = x[:, :, max(a, 0) : max(b, 0), max(c, 0) : max(d, 0)].astype(np.float64).sum((2, 3))
            want[:, :, i, j] = total / (divisor or (b - a) * (d - c))
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 1), (3, 4), (5, 7), (12, 3)])
def test_adaptive_max_pools(sizes: Any, tmp_path: Path, seed: int) -> None:
    x = _normal(seed, 2, 3, 12, 16)
    node = call("adaptive_max_pool2d", ("y", "places"), self="$x", output_size=list(sizes))
    (found,) = _run(tmp_path, [node], ["y"], {"x": x})
    for i, j in np.ndindex(*sizes):
        a, b = i * 12 // sizes[0], -((-(i + 1) * 12) // sizes[0])
        c, d = j * 16 // sizes[1], -((-(j + 1) * 16) // sizes[1])
        np.testing.assert_array_equal(found[:, :, i, j], x[:, :, a:b, c:d].max((2, 3)))


def test_padding_below_zero_takes_away(tmp_path: Path, seed: int) -> None:
    x = _normal(seed, 2, 4, 6)
    (found,) = _run(tmp_path, [call("pad", "y", self="$x", pad=[-1, 2, 0, -2], value=2.0)], ["y"], {"x": x})
    np.testing.assert_array_equal(found, np.pad(x[:, :2, 1:], ((0, 0), (0, 0), (0, 2)), constant_values=2))


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn_relu"])
def test_single_steps(kind: str, tmp_path: Path, seed: int) -> None:
    gates = {"lstm": 4, "gru": 3, "rnn_relu": 1}[kind]
    sizes = {
        "x": (2, 5),
        "h": (2, 3),
        "c": (2, 3),
        "w": (3 * gates, 5),
        "u": (3 * gates, 3),
        "a": (3 * gates,),
        "b": (3 * gates,),
    }
    feeds = {n: _normal(seed + i, *s) for i, (n, s) in enumerate(sizes.items()) if n != "c" or kind == "lstm"}
    weights = {"w_ih": "$w", "w_hh": "$u", "b_ih": "$a", "b_hh": "$b"}
    if kind == "lstm":
        nodes, outputs = [call("lstm_cell", ("y", "z"), input="$x", hx=["$h", "$c"], **weights)], ["y", "z"]
    else:
        nodes, outputs = [call(f"{kind}_cell", "y", input="$x", hx="$h", **weights)], ["y"]
    found = _run(tmp_path, nodes, outputs, feeds)
    d = {n: v.astype(np.float64) for n, v in feeds.items()}
    left, right = d["x"] @ d["w"].T + d["a"], d["h"] @ d["u"].T + d["b"]
    if kind == "lstm":
        i, f, g, o = np.split(left + right, 4, 1)
        cell = _sigmoid(f) * d["c"] + _sigmoid(i) * np.tanh(g)
        want = [_sigmoid(o) * np.tanh(cell), cell]
    elif kind == "gru":
        (r, z, n), (hr, hz, hn) = np.split(left, 3, 1), np.split(right, 3, 1)
        new = np.tanh(n + _sigmoid(r + hr) * hn)
        want = [new + _sigmoid(z + hz) * (d["h"] - new)]
    else:
        want = [np.maximum(left + right, 0)]
    for got, right_one in zip(found, want, strict=True):
        np.testing.assert_allclose(got, right_one, rtol=1e-5, atol=1e-6)


def test_instance_norm_with_running_statistics(tmp_path: Path, seed: int) -> None:
    x, mean, variance = _normal(seed, 2, 3, 4, 5), _normal(seed + 1, 3), np.abs(_normal(seed + 2, 3)) + 0.5
    node = call("instance_norm", "y", input="$x", running_mean="$m", running_var="$v", use_input_stats=False, eps=1e-3)
    (found,) = _run(tmp_path, [node], ["y"], {"x": x, "m": mean, "v": variance})
    want = (x - mean[:, None, None].astype(np.float64)) / np.sqrt(variance[:, None, None] + 1e-3)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["std_mean", "var_mean"])
def test_spread_and_mean(op: str, tmp_path: Path, seed: int) -> None:
    x = _normal(seed, 2, 4, 6)
    found = _run(
        tmp_path, [call(f"{op}.correction", ("s", "m"), self="$x", dim=[1], correction=1)], ["s", "m"], {"x": x}
    )
    d = x.astype(np.float64)
    want = d.std(1, ddof=1) if op == "std_mean" else d.var(1, ddof=1)
    np.testing.assert_allclose(found[0], want, rtol=1e-5)
    np.testing.assert_allclose(found[1], d.mean(1), rtol=1e-5, atol=1e-6)


def test_the_op_that_is_missing_is_named_not_the_join_behind_it(tmp_path: Path) -> None:
    nodes = [call("no_such_op", "a", self="$x"), call("cat", "y", tensors=["$a", "$x"], dim=0)]
    with pytest.raises(KigraphError, match="no_such_op"):
        _run(tmp_path, nodes, ["y"], {"x": np.zeros((2, 3), np.float32)})
