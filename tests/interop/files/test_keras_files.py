"""Networks of Keras 3 and tf_keras in every form that they are saved in."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

from .nets_keras import KERAS_3_ONLY, NETS, NO_TFLITE
from .written import Value, agrees, litert, randomize

tf = pytest.importorskip("tensorflow", reason="the writer of these files")
keras = pytest.importorskip("keras", reason="the writer of these files")

#: Layers that models/keras does not translate; every other form holds their operations.
NOT_BY_CONFIG = {"conv_lstm"}
#: An exported folder has its random layers on, so that its results are random: such a signature is refused.
RANDOM_EXPORT = {"lenet"}
#: tf_keras writes functions for every layer into a folder, and takes up to a minute for those with loops.
FOLDERS_OF_KERAS_2 = {"nested", "tabular", "text_conv", "transformer", "unet"}


def _values(model: Any, seed: int, batch: int = 2) -> list[Value]:
    rng = np.random.default_rng(seed)
    values = []
    for tensor in model.inputs:
        shape = (batch, *(size or 17 for size in tensor.shape[1:]))
        name = str(getattr(tensor.dtype, "name", tensor.dtype))
        values.append(
            rng.integers(0, 6, shape).astype(name) if name.startswith("int") else rng.normal(0, 1, shape).astype(name)
        )
    return values


@functools.cache
def _net(name: str) -> tuple[Any, list[Value], list[Value]]:
    seed = zlib.crc32(name.encode()) % 1000
    model = NETS[name](keras)
    randomize(model, seed)
    values = _values(model, seed)
    return model, values, _called(model, values)


def _called(model: Any, values: list[Value]) -> list[Value]:
    found = model(values if len(values) > 1 else values[0], training=False)
    return [np.asarray(v) for v in (found if isinstance(found, list | tuple) else [found])]


@pytest.mark.parametrize("name", sorted(set(NETS) - NOT_BY_CONFIG))
@pytest.mark.parametrize("form", ["m.keras", "m.h5", "m.weights.h5"])
def test_a_saved_model(name: str, form: str, tmp_path: Path) -> None:
    model, values, expected = _net(name)
    if form == "m.weights.h5":
        model.save_weights(tmp_path / form)
        (tmp_path / "m.json").write_text(model.to_json())
    else:
        model.save(tmp_path / form)
    agrees(tmp_path / form, values, expected)


@pytest.mark.parametrize("name", sorted(set(NETS) - RANDOM_EXPORT))
def test_an_exported_folder(name: str, tmp_path: Path) -> None:
    model, values, expected = _net(name)
    model.export(tmp_path / "m", verbose=False)
    signature = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"]
    inputs = list(signature.structured_input_signature[1])
    feeds = dict(zip(_ordered(inputs, model), values, strict=True))
    by_name = {k: v.numpy() for k, v in signature(**feeds).items()}
    assert len(by_name) == len(expected)
    agrees(tmp_path / "m", feeds, by_name)


def _ordered(names: list[str], model: Any) -> list[str]:
    order = [t.name.split(":")[0] for t in model.inputs]
    return order if set(order) == set(names) else names


@pytest.mark.parametrize("name", sorted(NETS))
def test_a_frozen_graph(name: str, tmp_path: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model, values, expected = _net(name)
    call = tf.function(lambda *v: model(list(v) if len(v) > 1 else v[0], training=False))
    frozen = convert_variables_to_constants_v2(
        call.get_concrete_function(*(tf.TensorSpec(t.shape, t.dtype) for t in model.inputs))
    )
    (tmp_path / "m.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    session = ki.Session(ki.load(tmp_path / "m.pb").graph)
    inputs = [t.name for t in frozen.graph.inputs if t.dtype != tf.resource]
    found = session.run([t.name for t in frozen.outputs], dict(zip(inputs, values, strict=True)))
    for result, value in zip(found, expected, strict=True):
        assert np.linalg.norm(result - value) <= 1e-5 * np.linalg.norm(value)


@pytest.mark.parametrize("name", sorted(set(NETS) - NO_TFLITE))
@pytest.mark.parametrize("how", ["float32", "float16", "dynamic", "integer"])
def test_a_tflite_file(name: str, how: str, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="computes what is expected")
    model, values, expected = _net(name)
    values, expected = [v[:1] for v in values], [v[:1] for v in expected]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if how != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if how == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if how == "integer":
        converter.representative_dataset = lambda: iter([[v[:1] for v in _values(model, s)] for s in range(12)])
    try:
        (tmp_path / "m.tflite").write_bytes(converter.convert())
    except Exception as error:
        pytest.skip(f"the converter refuses it: {str(error)[:200]}")
    feeds = dict(zip(_ordered([t.name for t in model.inputs], model), values, strict=True))
    # Dynamic and integer kernels round; a step more or less in one value is no other network.
    agrees(tmp_path / "m.tflite", feeds, litert(tmp_path / "m.tflite", feeds), 1e-5 if how[:5] == "float" else 2e-2)


@functools.cache
def _net_of_keras_2(name: str) -> tuple[Any, list[Value], list[Value]]:
    keras_2 = pytest.importorskip("tf_keras", reason="the writer of these files")
    model = NETS[name](keras_2)
    seed = zlib.crc32(name.encode()) % 1000
    randomize(model, seed)
    values = _values(model, seed)
    return model, values, _called(model, values)


@pytest.mark.parametrize("name", sorted(set(NETS) - KERAS_3_ONLY - NOT_BY_CONFIG))
@pytest.mark.parametrize("form", ["m.h5", "m.keras", "m.weights.h5"])
def test_a_file_of_keras_2(name: str, form: str, tmp_path: Path) -> None:
    model, values, expected = _net_of_keras_2(name)
    if form == "m.weights.h5":
        model.save_weights(tmp_path / form)
        (tmp_path / "m.json").write_text(model.to_json())
    else:
        model.save(tmp_path / form)
    agrees(tmp_path / form, values, expected)


@pytest.mark.parametrize("name", sorted(FOLDERS_OF_KERAS_2))
def test_a_folder_of_keras_2(name: str, tmp_path: Path) -> None:
    model, values, _ = _net_of_keras_2(name)
    model.save(tmp_path / "m", save_format="tf")
    signature = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"]
    feeds = dict(zip(_ordered(list(signature.structured_input_signature[1]), model), values, strict=True))
    agrees(tmp_path / "m", feeds, {k: v.numpy() for k, v in signature(**feeds).items()})


def test_random_layers_that_are_on(tmp_path: Path) -> None:
    _net("lenet")[0].export(tmp_path / "m", verbose=False)
    with pytest.raises(ki.LoadError, match="changes the variable"):
        ki.load(tmp_path / "m")
