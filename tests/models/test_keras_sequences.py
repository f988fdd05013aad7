"""Recurrent layers and attention of Keras against plain NumPy in float64, masks included."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders.weights import TensorInfo, WeightsFile
from kigraph.graph.models import graph_of_weights
from kigraph.graph.session import Session

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(9)


def random(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32) * 0.5


def file_of(
    layers: Sequence[Mapping[str, Any]], arrays: Mapping[str, Sequence[Array]], shape: Sequence[int], dtype: str
) -> WeightsFile:
    start = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *shape], "dtype": dtype, "name": "x"}}
    text = json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": [start, *layers]}})
    groups = {k: tuple(f"{k}/w{i}:0" for i in range(len(v))) for k, v in arrays.items()}
    tensors = {
        n: TensorInfo(a.dtype, a.shape, "float32", lambda a=a: a, n)
        for k, names in groups.items()
        for n, a in zip(names, arrays[k], strict=True)
    }
    return WeightsFile("m.h5", "keras-h5", tensors, {"model_config": text, "layers": groups, "keras_version": "3.15.0"})


def run(layers: Sequence[Mapping[str, Any]], arrays: Mapping[str, Sequence[Array]], x: Array) -> Array:
    graph = graph_of_weights(file_of(layers, arrays, x.shape[1:], str(x.dtype)))
    name = layers[-1]["config"]["name"]
    return np.asarray(Session(graph, backend="numpy").run(name, {"x": x}))


def layer(kind: str, name: str = "layer", **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def lstm(x: Array, state: list[Array], w: Sequence[Array]) -> list[Array]:
    i, f, c, o = np.split(x @ w[0] + state[0] @ w[1] + w[2], 4, 1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(c)
    return [sigmoid(o) * np.tanh(c), c]


def gru(x: Array, state: list[Array], w: Sequence[Array]) -> list[Array]:
    (h,) = state
    xz, xr, xn = np.split(x @ w[0] + w[2][0], 3, 1)
    hz, hr, hn = np.split(h @ w[1] + w[2][1], 3, 1)
    z = sigmoid(xz + hz)
    return [z * h + (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn)]


def old_gru(x: Array, state: list[Array], w: Sequence[Array]) -> list[Array]:
    (h,), n = state, w[1].shape[0]
    xz, xr, xn = np.split(x @ w[0] + w[2], 3, 1)
    z, r = sigmoid(xz + h @ w[1][:, :n]), sigmoid(xr + h @ w[1][:, n : 2 * n])
    return [z * h + (1 - z) * np.tanh(xn + (r * h) @ w[1][:, 2 * n :])]


def simple(x: Array, state: list[Array], w: Sequence[Array]) -> list[Array]:
    return [np.tanh(x @ w[0] + state[0] @ w[1] + w[2])]


Step = Callable[[Array, list[Array], Sequence[Array]], list[Array]]
CELLS: dict[str, tuple[str, dict[str, Any], Step, int, Sequence[Sequence[int]]]] = {
    "lstm": ("LSTM", {}, lstm, 2, ([3, 16], [4, 16], [16])),
    "gru": ("GRU", {"reset_after": True}, gru, 1, ([3, 12], [4, 12], [2, 12])),
    "old gru": ("GRU", {"reset_after": False}, old_gru, 1, ([3, 12], [4, 12], [12])),
    "simple": ("SimpleRNN", {}, simple, 1, ([3, 4], [4, 4], [4])),
}


def sequence(
    step: Step, count: int, x: Array, w: Sequence[Array], mask: Array | None = None, back: bool = False
) -> Array:
    """Outputs of all steps, in the order in which they are made."""
    state, wide = [np.zeros((len(x), 4))] * count, [v.astype(float) for v in w]
    outputs: list[Array] = []
    for t in range(x.shape[1])[:: -1 if back else 1]:
        new = step(x[:, t].astype(float), state, wide)
        before = outputs[-1] if outputs else np.zeros_like(new[0])
        keep = np.ones((len(x), 1), bool) if mask is None else mask[:, t : t + 1]
        outputs.append(np.where(keep, new[0], before))
        state = [np.where(keep, a, b) for a, b in zip(new, state, strict=True)]
    return np.stack(outputs, 1)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_layers(cell: str, back: bool) -> None:
    kind, config, step, count, shapes = CELLS[cell]
    x, w = random(2, 5, 3), [random(*s) for s in shapes]
    want = sequence(step, count, x, w, back=back)
    config = {"units": 4, "go_backwards": back, **config}
    got = run([layer(kind, **config, return_sequences=True)], {"layer": w}, x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run([layer(kind, **config)], {"layer": w}, x), want[:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_masked_steps_change_nothing(cell: str) -> None:
    kind, config, step, count, shapes = CELLS[cell]
    index = np.array([[3, 0, 1, 0], [0, 2, 2, 1]], np.int32)
    table, w = random(4, 3), [random(*s) for s in shapes]
    layers = [
        layer("Embedding", "e", input_dim=4, output_dim=3, mask_zero=True),
        layer("Dropout", "d"),
        layer(kind, units=4, **config, return_sequences=True),
    ]
    want = sequence(step, count, table[index], w, index != 0)
    np.testing.assert_allclose(run(layers, {"e": [table], "layer": w}, index), want, rtol=1e-4, atol=1e-5)
    mean = run([*layers[:2], layer("GlobalAveragePooling1D", "gap")], {"e": [table]}, index)
    counted = (index != 0)[..., None]
    np.testing.assert_allclose(mean, (table[index] * counted).sum(1) / counted.sum(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul"])
def test_bidirectional(mode: str) -> None:
    shapes = CELLS["lstm"][4]
    x, w = random(2, 5, 3), [random(*s) for s in (*shapes, *shapes)]
    inner = layer("LSTM", "lstm", units=4, return_sequences=True)
    got = run([layer("Bidirectional", layer=inner, merge_mode=mode)], {"layer": w}, x)
    a, b = sequence(lstm, 2, x, w[:3]), sequence(lstm, 2, x, w[3:], back=True)[:, ::-1]
    want = {"concat": np.concatenate([a, b], -1), "sum": a + b, "ave": (a + b) / 2, "mul": a * b}[mode]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_time_distributed() -> None:
    x, w, bias = random(2, 3, 4, 5), random(5, 6), random(6)
    inner = layer("Dense", "dense", units=6, activation="relu")
    got = run(
        [layer("TimeDistributed", "t", layer=inner), layer("TimeDistributed", layer=layer("Flatten", "f"))],
        {"t": [w, bias]},
        x,
    )
    np.testing.assert_allclose(got, np.maximum(x @ w + bias, 0).reshape(2, 3, 24), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (layer("LSTM", units=4, stateful=True), "stateful True"),
        (layer("RNN", cell=layer("StackedRNNCells", "s")), "StackedRNNCells"),
        (layer("ConvLSTM1D", filters=4), "ConvLSTM1D"),
        (layer("Bidirectional", layer=layer("LSTM", "l", units=4), merge_mode="or"), "merge_mode 'or'"),
    ],
)
def test_what_is_refused(bad: dict[str, Any], found: str) -> None:
    w = [random(*s) for s in CELLS["lstm"][4]]
    count = 0 if bad["class_name"] in ("RNN", "ConvLSTM1D") else 2 if bad["class_name"] == "Bidirectional" else 1
    with pytest.raises(LoadError, match=found):
        graph_of_weights(file_of([bad], {"layer": w * count} if count else {}, (5, 3), "float32"))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("options", [{}, {"return_sequences": True}, {"return_sequences": True, "go_backwards": True}])
@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_of_any_length(cell: str, options: dict[str, Any], both: bool, masked: bool) -> None:
    """A loop gives what the steps one by one give, which the tests above hold against NumPy."""
    kind, config, _, _, shapes = CELLS[cell]
    inner = layer(kind, "r", units=4, **config, **options)
    layers = [
        layer("Embedding", "e", input_dim=4, output_dim=3, mask_zero=masked),
        layer("Bidirectional", "r", layer=inner) if both and "go_backwards" not in options else inner,
    ]
    count = 2 if layers[1]["class_name"] == "Bidirectional" else 1
    arrays = {"e": [random(4, 3)], "r": [random(*s) for s in shapes * count]}
    file = file_of(layers, arrays, (5,), "int32")
    config = json.loads(file.metadata["model_config"])
    config["config"]["layers"][0]["config"]["batch_input_shape"][1] = None
    changed = {**file.metadata, "model_config": json.dumps(config)}
    session = Session(graph_of_weights(WeightsFile(file.file, file.family, file.tensors, changed)), backend="numpy")
    for steps in (1, 5):
        index = RNG.integers(0, 4, (3, steps)).astype(np.int32)
        np.testing.assert_allclose(session.run("r", {"x": index}), run(layers, arrays, index), rtol=1e-5, atol=1e-6)


# --- attention ----------------------------------------------------------------------------------------------------------------


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention(causal: bool) -> None:
    heads, size, out = 2, 3, 4
    x = random(2, 5, 6)
    w = [random(6, heads, size), random(heads, size), random(6, heads, size), random(heads, size), random(6, heads, out),
         random(heads, out), random(heads, out, 6), random(6)]  # fmt: skip
    q, k, v = (np.einsum("btd,dhk->bhtk", x.astype(float), w[i]) + w[i + 1][:, None] for i in (0, 2, 4))
    scores = np.einsum("bhtk,bhsk->bhts", q, k) / np.sqrt(size)
    if causal:
        scores = np.where(np.tri(5, dtype=bool), scores, -np.inf)
    want = np.einsum("bhts,bhsk,hkd->btd", softmax(scores), v, w[6]) + w[7]
    functional = {
        "class_name": "Functional",
        "config": {
            "name": "m",
            "layers": [
                {"class_name": "InputLayer", "name": "x", "config": {"batch_shape": [None, 5, 6], "name": "x"}, "inbound_nodes": []},
                {"class_name": "MultiHeadAttention", "name": "a",
                 "config": {"name": "a", "num_heads": heads, "key_dim": size, "value_dim": out},
                 "inbound_nodes": [[["x", 0, 0, {"value": ["x", 0, 0], "use_causal_mask": causal}]]]},
            ],
            "input_layers": [["x", 0, 0]],
            "output_layers": [["a", 0, 0]],
        },
    }  # fmt: skip
    names = tuple(f"a/w{i}:0" for i in range(8))
    tensors = {n: TensorInfo(a.dtype, a.shape, "float32", lambda a=a: a, n) for n, a in zip(names, w, strict=True)}
    metadata = {"model_config": json.dumps(functional), "layers": {"a": names}, "keras_version": "2.15.0"}
    graph = graph_of_weights(WeightsFile("m.h5", "keras-h5", tensors, metadata))
    got = Session(graph, backend="numpy").run("a", {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
