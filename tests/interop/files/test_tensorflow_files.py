"""Models that are plain TensorFlow: modules that were trained by a loop of the user's, functions with loops and branches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

from .written import agrees, litert

tf = pytest.importorskip("tensorflow", reason="the writer of these files")

RNG = np.random.default_rng(5)
W, V = (RNG.normal(0, 0.6, s).astype(np.float32) for s in ((6, 6), (6, 3)))


def trained(x: Any) -> Any:
    return tf.nn.softmax(tf.nn.relu(x @ W) @ V)


def repeated(x: Any) -> Any:
    """A loop whose number of steps depends on the values."""
    _, y = tf.while_loop(
        lambda i, y: (i < 5) & (tf.reduce_sum(y * y) > 0.5), lambda i, y: (i + 1, tf.tanh(y @ W * 0.5)), (0, x)
    )
    return y


def either(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: x @ V, lambda: tf.nn.relu(x @ W) @ V)


def summed(x: Any) -> Any:
    """A for loop over columns, of which AutoGraph makes a while loop."""
    total = tf.zeros_like(x[:, 0])
    for i in tf.range(tf.shape(x)[1]):
        total = total * 0.5 + x[:, i]
    return total[:, tf.newaxis] * V[0]


def chosen(x: Any) -> Any:
    values, places = tf.math.top_k(x, 2)
    return tf.concat([values, tf.gather(tf.constant(V), places[:, 0]), tf.one_hot(places[:, 1], 4)], 1)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {f.__name__: f for f in (trained, repeated, either, summed, chosen)}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_in_a_folder(name: str, sign: int, tmp_path: Path) -> None:
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": FUNCTIONS[name](x)}, input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")]
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.call)
    x = sign * np.abs(RNG.normal(0, 1, (3, 6))).astype(np.float32)
    agrees(tmp_path / "m", {"x": x}, {"y": module.call(x)["y"].numpy()})


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_in_a_tflite_file(name: str, sign: int, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="computes what is expected")
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": FUNCTIONS[name](x)}, input_signature=[tf.TensorSpec([3, 6], tf.float32, name="x")]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    x = sign * np.abs(RNG.normal(0, 1, (3, 6))).astype(np.float32)
    agrees(tmp_path / "m.tflite", {"x": x}, litert(tmp_path / "m.tflite", {"x": x}))


def test_a_tflite_file_with_variables(tmp_path: Path) -> None:
    """The converter keeps variables of a module that it does not freeze, and sets them in a graph of its own."""
    pytest.importorskip("ai_edge_litert", reason="computes what is expected")

    class Model(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.w = tf.Variable(tf.constant(V), name="w")

        @tf.function(input_signature=[tf.TensorSpec([3, 6], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def call(self, x: Any) -> Any:
            return {"y": x @ self.w}

    model = Model()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([model.call.get_concrete_function()], model)
    converter.experimental_enable_resource_variables = True
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    x = RNG.normal(0, 1, (3, 6)).astype(np.float32)
    agrees(tmp_path / "m.tflite", {"x": x}, litert(tmp_path / "m.tflite", {"x": x}))


def test_a_training_loop(tmp_path: Path) -> None:
    """Variables that a loop of the user's has changed, saved with a step that trains and one that answers."""

    class Model(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.w = tf.Variable(tf.constant(V), name="w")
            self.b = tf.Variable(tf.zeros([3]), name="b")
            self.steps = tf.Variable(0, name="steps")

        @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32), tf.TensorSpec([None], tf.int64)])  # type: ignore[untyped-decorator]
        def train(self, x: Any, labels: Any) -> Any:
            with tf.GradientTape() as tape:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x @ self.w + self.b)
                loss = tf.reduce_mean(losses)
            for variable, change in zip((self.w, self.b), tape.gradient(loss, (self.w, self.b)), strict=True):
                variable.assign_sub(0.1 * change)
            self.steps.assign_add(1)
            return {"loss": loss}

        @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def answer(self, x: Any) -> Any:
            return {"scores": tf.nn.softmax(x @ self.w + self.b), "class": tf.argmax(x @ self.w + self.b, 1)}

    model, x = Model(), RNG.normal(0, 1, (8, 6)).astype(np.float32)
    for _ in range(3):
        model.train(x, np.arange(8) % 3)
    tf.saved_model.save(model, str(tmp_path / "m"), signatures={"train": model.train, "serving_default": model.answer})
    found = agrees(tmp_path / "m", {"x": x}, {k: v.numpy() for k, v in model.answer(x).items()})
    assert "train" not in found.signatures


@pytest.mark.parametrize("name", ["repeated", "either", "summed"])
def test_tensorflow_runs_what_is_written(name: str, tmp_path: Path) -> None:
    """Loops and branches of a folder, written as a frozen graph with functions."""
    module = tf.Module()
    module.call = tf.function(
        lambda x: {"y": FUNCTIONS[name](x)}, input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")]
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.call)
    model = ki.load(tmp_path / "m")
    ki.save(model, tmp_path / "m.pb")
    x, call = RNG.normal(0, 1, (3, 6)).astype(np.float32), model.signatures["serving_default"]
    for value in (x, -x):
        expected = module.call(value)["y"].numpy()
        found = _run_graph(tmp_path / "m.pb", call.outputs["y"].name, {call.inputs["x"].name: value})
        assert np.linalg.norm(found - expected) <= 1e-6 * np.linalg.norm(expected)
        agrees(tmp_path / "m.pb", {"x": value}, {"y": expected})


def _run_graph(path: Path, output: str, feeds: dict[str, Any]) -> Any:
    """What TensorFlow computes with a GraphDef."""
    graph, proto = tf.Graph(), tf.compat.v1.GraphDef()
    proto.ParseFromString(path.read_bytes())
    with graph.as_default():
        tf.import_graph_def(proto, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        return session.run(output, feeds)
