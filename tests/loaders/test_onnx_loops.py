"""Branches, loops and recurrent layers of ONNX that are decided while they run, next to plain loops in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_files as files
import pytest

from kigraph.errors import LoadError
from kigraph.graph.loaders import load

F = np.float32
Value = np.ndarray[Any, Any]


def sigmoid(x: Value) -> Value:
    return 1 / (1 + np.exp(-x))


def run(path: Path, op: str, values: list[Value | None], outputs: int, **attrs: Any) -> list[Value]:
    """One node, all inputs but the first as constants."""
    names = ["" if v is None else f"x{i}" for i, v in enumerate(values)]
    constants = {k: v for k, v in list(zip(names, values, strict=True))[1:] if k and v is not None}
    wanted = [f"y{i}" for i in range(outputs)]
    first = values[0]
    assert first is not None
    content = files.model(
        [files.node(op, names, wanted, **attrs)], {"x0": (first.dtype, first.shape)}, wanted, constants
    )
    return list(files.run(path, content, wanted, {"x0": first}))


def lstm(
    x: Value, w: Value, r: Value, b: Value, lengths: Value, h: Value, c: Value, p: Value, clip: float
) -> tuple[Value, Value, Value]:
    """One direction, every sequence by itself."""
    steps, batch, hidden = len(x), x.shape[1], r.shape[1]
    y, h, c = np.zeros((steps, batch, hidden)), h.copy(), c.copy()
    for i in range(batch):
        for t in range(lengths[i]):
            gates = w @ x[t, i] + r @ h[i] + b[: 4 * hidden] + b[4 * hidden :]
            gi, go, gf, gc = np.split(gates, 4)
            pi, po, pf = np.split(p, 3)
            cut = lambda v: np.clip(v, -clip, clip)  # noqa: E731
            new = sigmoid(cut(gf + pf * c[i])) * c[i] + sigmoid(cut(gi + pi * c[i])) * np.tanh(cut(gc))
            h[i] = sigmoid(cut(go + po * new)) * np.tanh(new)
            c[i], y[t, i] = new, h[i]
    return y, h, c


@pytest.mark.parametrize("steps", [1, 5])
def test_lstm_with_all_inputs(tmp_path: Path, steps: int) -> None:
    """Both directions, lengths of the sequences, states before the first step, peepholes, clip."""
    rng = np.random.default_rng(3)
    batch, size, hidden = 3, 4, 2
    x = rng.standard_normal((steps, batch, size)).astype(F)
    w, r = rng.standard_normal((2, 4 * hidden, size)).astype(F), rng.standard_normal((2, 4 * hidden, hidden)).astype(F)
    b, p = rng.standard_normal((2, 8 * hidden)).astype(F), rng.standard_normal((2, 3 * hidden)).astype(F)
    h, c = rng.standard_normal((2, batch, hidden)).astype(F), rng.standard_normal((2, batch, hidden)).astype(F)
    lengths = np.array([steps, 0, max(steps - 2, 1)], np.int32)
    found = run(
        tmp_path / "m.onnx",
        "LSTM",
        [x, w, r, b, lengths, h, c, p],
        3,
        hidden_size=hidden,
        direction="bidirectional",
        clip=0.7,
    )
    for d in (0, 1):
        given = x.astype("d")
        if d:
            given = given.copy()
            for i, n in enumerate(lengths):
                given[:n, i] = given[:n, i][::-1]
        y, last_h, last_c = lstm(given, w[d], r[d], b[d], lengths, h[d].astype("d"), c[d].astype("d"), p[d], 0.7)
        if d:
            for i, n in enumerate(lengths):
                y[:n, i] = y[:n, i][::-1]
        np.testing.assert_allclose(found[0][:, d], y, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1][d], last_h, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[2][d], last_c, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("linear", [0, 1])
def test_gru_backwards_with_the_batch_first(tmp_path: Path, linear: int) -> None:
    rng = np.random.default_rng(4)
    batch, steps, size, hidden = 2, 4, 3, 5
    x = rng.standard_normal((batch, steps, size)).astype(F)
    w, r = rng.standard_normal((1, 3 * hidden, size)).astype(F), rng.standard_normal((1, 3 * hidden, hidden)).astype(F)
    b = rng.standard_normal((1, 6 * hidden)).astype(F)
    found = run(
        tmp_path / "m.onnx", "GRU", [x, w, r, b], 2, hidden_size=hidden, direction="reverse", layout=1,
        linear_before_reset=linear, activations=["HardSigmoid", "Softsign"], activation_alpha=[0.3], activation_beta=[0.4],
    )  # fmt: skip
    h, ys = np.zeros((batch, hidden)), np.zeros((batch, steps, hidden))
    gate: Callable[[Value], Value] = lambda v: np.clip(0.3 * v + 0.4, 0, 1)  # noqa: E731
    (wz, wr, wn), (rz, rr, rn), parts = np.split(w[0], 3), np.split(r[0], 3), np.split(b[0].astype("d"), 6)
    for t in reversed(range(steps)):
        z = gate(x[:, t] @ wz.T + h @ rz.T + parts[0] + parts[3])
        reset = gate(x[:, t] @ wr.T + h @ rr.T + parts[1] + parts[4])
        inner = reset * (h @ rn.T + parts[5]) if linear else (reset * h) @ rn.T + parts[5]
        new = x[:, t] @ wn.T + inner + parts[2]
        new = new / (1 + abs(new))
        h = (1 - z) * new + z * h
        ys[:, t] = h
    np.testing.assert_allclose(found[0][:, :, 0], ys, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1][:, 0], h, rtol=1e-4, atol=1e-5)


def test_an_activation_that_onnx_lacks_is_refused(tmp_path: Path) -> None:
    ones = np.ones((1, 2, 2), F)
    with pytest.raises(LoadError, match="activation 'Magic'"):
        run(tmp_path / "m.onnx", "RNN", [ones, ones, ones], 1, hidden_size=2, activations=["Magic"])


def test_the_file_of_a_layer_of_unknown_length_loads(tmp_path: Path) -> None:
    """The number of steps and the batch may differ from run to run; the axes of the result are known."""
    rng = np.random.default_rng(5)
    w, r = rng.standard_normal((1, 3, 2)).astype(F), rng.standard_normal((1, 3, 3)).astype(F)
    node = files.node("RNN", ["x", "w", "r"], ["y", "h"], hidden_size=3)
    content = files.model([node], {"x": (np.dtype(F), (None, None, 2))}, ["y", "h"], {"w": w, "r": r})
    (tmp_path / "m.onnx").write_bytes(content)
    assert load(tmp_path / "m.onnx").graph.tensor("y").shape in ((None, 1, None, 3), None)
    for steps, batch in ((3, 2), (1, 4)):
        x = rng.standard_normal((steps, batch, 2)).astype(F)
        y, last = files.run(tmp_path / "m.onnx", content, ["y", "h"], {"x": x})
        h = np.zeros((batch, 3))
        for t in range(steps):
            h = np.tanh(x[t] @ w[0].T + h @ r[0].T)
            np.testing.assert_allclose(y[t, 0], h, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(last[0], h, rtol=1e-4, atol=1e-5)


# --- branches and loops ----------------------------------------------------------------------------------------------------


def body(nodes: list[Any], inputs: list[str], outputs: list[str], types: dict[str, Any] | None = None) -> Any:
    return files.graph(nodes, {k: (types or {}).get(k, (None, None)) for k in inputs}, outputs)


def test_a_branch_that_is_computed(tmp_path: Path) -> None:
    """Both branches read values from outside, a constant among them; each has the shape that its branch makes."""
    then = body([files.node("Mul", ["x", "k"], ["a"])], [], ["a"])
    other = body([files.node("ReduceSum", ["x"], ["b"], keepdims=0)], [], ["b"])
    nodes = [
        files.node("ReduceMax", ["x"], ["m"], keepdims=0), files.node("Greater", ["m", "k"], ["c"]),
        files.node("If", ["c"], ["y"], then_branch=then, else_branch=other), files.node("Neg", ["y"], ["z"]),
    ]  # fmt: skip
    content = files.model(nodes, {"x": (np.dtype(F), (3,))}, ["z"], {"k": F(2)})
    for x, want in ((np.array([1, 5, 2], F), [-2, -10, -4]), (np.array([1, 0, 1], F), -2)):
        (z,) = files.run(tmp_path / "m.onnx", content, ["z"], {"x": x})
        np.testing.assert_array_equal(z, want)


def test_a_loop_whose_state_grows(tmp_path: Path) -> None:
    """The state gets an entry in each step; the loop ends by the number of steps or by its condition."""
    nodes = [
        files.node("Unsqueeze", ["i", "zero"], ["row"]), files.node("Concat", ["s", "row"], ["t"], axis=0),
        files.node("ReduceSum", ["t"], ["sum"], keepdims=0), files.node("Less", ["sum", "most"], ["on"]),
        files.node("Mul", ["sum", "factor"], ["scaled"]),
    ]  # fmt: skip
    inner = body(nodes, ["i", "c", "s"], ["on", "t", "scaled"])
    loop = files.node("Loop", ["n", "", "start"], ["last", "all"], body=inner)
    constants = {"zero": np.array([0]), "most": np.int64(9), "start": np.array([4])}
    inputs = {"n": (np.dtype("int64"), ()), "factor": (np.dtype("int64"), ())}
    content = files.model([loop], inputs, ["last", "all"], constants)
    for steps, last, scaled in ((2, [4, 0, 1], [40, 50]), (50, [4, 0, 1, 2, 3], [40, 50, 70, 100])):
        feeds = {"n": np.int64(steps), "factor": np.int64(10)}
        found = files.run(tmp_path / "m.onnx", content, ["last", "all"], feeds)
        np.testing.assert_array_equal(found[0], last)
        np.testing.assert_array_equal(found[1], scaled)


def test_a_scan_in_both_directions(tmp_path: Path) -> None:
    """A running sum over the columns from the end; what it makes is in columns again."""
    nodes = [files.node("Add", ["s", "x"], ["t"]), files.node("Identity", ["t"], ["y"])]
    scan = files.node(
        "Scan", ["start", "x0"], ["last", "sums"], body=body(nodes, ["s", "x"], ["t", "y"]), num_scan_inputs=1,
        scan_input_axes=[1], scan_input_directions=[1], scan_output_axes=[1], scan_output_directions=[1],
    )  # fmt: skip
    x = np.arange(6, dtype=F).reshape(2, 3)
    content = files.model([scan], {"x0": (np.dtype(F), (2, None))}, ["last", "sums"], {"start": np.zeros(2, F)})
    last, sums = files.run(tmp_path / "m.onnx", content, ["last", "sums"], {"x0": x})
    np.testing.assert_array_equal(last, x.sum(1))
    np.testing.assert_array_equal(sums, np.cumsum(x[:, ::-1], 1)[:, ::-1])


def test_bodies_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    inner = body([files.node("Identity", ["c"], ["on"])], ["i", "c"], ["on"])
    loop = files.node("Loop", ["n", "", "start"], ["last"], body=inner)
    content = files.model([loop], {"n": (np.dtype("int64"), ())}, ["last"], {"start": np.array([4])})
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(LoadError, match="found a body of 1 outputs; expected at least 2"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("depth", [3, 8])
def test_loops_inside_each_other_are_bounded(tmp_path: Path, depth: int) -> None:
    """The body of a loop is built several times, so that of a deep one very often."""
    names = ["i", "c", "s"]
    inner = body([files.node("Identity", ["c"], ["on"]), files.node("Add", ["s", "s"], ["t"])], names, ["on", "t"])
    for _ in range(depth - 1):
        loop = files.node("Loop", ["two", "", "s"], ["t"], body=inner)
        inner = body([files.node("Identity", ["c"], ["on"]), loop], names, ["on", "t"])
    node = files.node("Loop", ["two", "", "x"], ["y"], body=inner)
    content = files.model([node], {"x": (np.dtype(F), (1,))}, ["y"], {"two": np.int64(2)})
    if depth > 5:
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(LoadError, match="more than 5 loops inside each other"):
            load(tmp_path / "m.onnx")
        return
    (y,) = files.run(tmp_path / "m.onnx", content, ["y"], {"x": np.ones(1, F)})
    np.testing.assert_array_equal(y, [2.0 ** (2**depth)])
