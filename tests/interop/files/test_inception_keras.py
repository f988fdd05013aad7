"""Inception v3 with random weights and batch norm statistics, in every form that Keras, TensorFlow and tf2onnx write."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

from .written import Value, agrees, distance, litert, randomize

tf = pytest.importorskip("tensorflow", reason="the writer of these files")
keras = pytest.importorskip("keras", reason="the writer of these files")

SIZE, CLASSES = (107, 96), 12


@functools.cache
def _net(library: str) -> tuple[Any, Value, Value]:
    """The network, photographs as numbers from -1 to 1, its logits."""
    module = pytest.importorskip(library, reason="the writer of these files")
    model = module.applications.InceptionV3(
        weights=None, input_shape=(*SIZE, 3), classes=CLASSES, classifier_activation=None
    )
    randomize(model, 21)
    x = np.random.default_rng(4).uniform(-1, 1, (2, *SIZE, 3)).astype(np.float32)
    return model, x, np.asarray(model(x, training=False))


def _function(model: Any) -> Any:
    spec = [tf.TensorSpec([None, *SIZE, 3], tf.float32, name="x")]
    return tf.function(lambda x: {"logits": model(x, training=False)}, input_signature=spec)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("form", ["m.keras", "m.h5", "m.weights.h5"])
def test_a_saved_model(library: str, form: str, tmp_path: Path) -> None:
    model, x, expected = _net(library)
    if form == "m.weights.h5":
        model.save_weights(tmp_path / form)
        (tmp_path / "m.json").write_text(model.to_json())
    else:
        model.save(tmp_path / form)
    agrees(tmp_path / form, [x], [expected])


def test_weights_alone(tmp_path: Path) -> None:
    """As keras.applications gives them away: the network is the one that kigraph builds."""
    model, x, expected = _net("tf_keras")
    model.save_weights(tmp_path / "w.h5")
    loaded = ki.load(tmp_path / "w.h5")
    found = loaded.session.run("logits:0", {"input:0": _squared(x)})
    assert distance(found, np.asarray(model_of(299)(_squared(x), training=False))) <= 1e-5
    assert expected.shape[1] == found.shape[1]


@functools.cache
def model_of(size: int) -> Any:
    """The same weights for squares."""
    found = pytest.importorskip("tf_keras").applications.InceptionV3(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None
    )
    found.set_weights(_net("tf_keras")[0].get_weights())
    return found


def _squared(x: Value) -> Value:
    return np.resize(x, (1, 299, 299, 3))


def test_a_folder(tmp_path: Path) -> None:
    model, x, expected = _net("keras")
    module = tf.Module()
    module.model, module.call = model, _function(model)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.call)
    agrees(tmp_path / "m", {"x": x}, {"logits": expected})


def test_a_frozen_graph(tmp_path: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model, x, expected = _net("keras")
    frozen = convert_variables_to_constants_v2(_function(model).get_concrete_function())
    (tmp_path / "m.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    session = ki.Session(ki.load(tmp_path / "m.pb").graph)
    assert distance(session.run(frozen.outputs[0].name, {frozen.inputs[0].name: x}), expected) <= 1e-5


@pytest.mark.parametrize("half", [False, True])
def test_a_tflite_file(half: bool, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="computes what is expected")
    model, x, expected = _net("keras")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if half:
        converter.optimizations, converter.target_spec.supported_types = [tf.lite.Optimize.DEFAULT], [tf.float16]
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    feeds = {model.inputs[0].name.split(":")[0]: x[:1]}
    found = litert(tmp_path / "m.tflite", feeds)
    agrees(tmp_path / "m.tflite", feeds, found)
    assert half or distance(next(iter(found.values())), expected[:1]) <= 1e-5


@pytest.mark.parametrize(("opset", "layout"), [(11, "NHWC"), (15, "NCHW"), (18, "NHWC")])  # 20 s each
def test_tf2onnx(opset: int, layout: str, tmp_path: Path) -> None:
    tf2onnx = pytest.importorskip("tf2onnx", reason="the writer of these files")
    model, x, expected = _net("keras")
    turned = {"inputs_as_nchw": ["x"]} if layout == "NCHW" else {}
    spec = [tf.TensorSpec([None, *SIZE, 3], tf.float32, name="x")]
    tf2onnx.convert.from_function(
        _function(model), input_signature=spec, opset=opset, output_path=str(tmp_path / "m.onnx"), **turned
    )
    fed = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if turned else x
    agrees(tmp_path / "m.onnx", [fed], [expected])
