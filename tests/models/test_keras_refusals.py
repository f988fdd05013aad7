"""A Keras model that is not exactly Inception v3 with a known head is refused: what differs, where, and a way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.models import graph_of_weights


def head(net: Any, x: str) -> str:
    x = net.add("GlobalAveragePooling2D", "gap", [x])
    return str(net.add("Dense", "dense", [x], {"kernel": (2048, 5), "bias": (5,)}, units=5, activation="softmax"))


def config(layer: str, **values: Any) -> Callable[[Any], None]:
    return lambda net: net.items[layer]["config"].update(values)


def swap(layer: str) -> Callable[[Any], None]:
    return lambda net: net.items[layer]["inputs"].reverse()


def connect(layer: str, *inputs: Any) -> Callable[[Any], None]:
    return lambda net: net.items[layer].update(inputs=list(inputs))


def kind(layer: str, name: str, **values: Any) -> Callable[[Any], None]:
    def change(net: Any) -> None:
        net.items[layer]["kind"] = name
        net.items[layer]["config"].update(values)

    return change


def call(layer: str, **values: Any) -> Callable[[Any], None]:
    return lambda net: net.items[layer].update(call=values)


def both(*changes: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda net: [change(net) for change in changes] and None


DIFFERENT_BLOCKS = {
    "kernel": (config("conv2d_7", kernel_size=[3, 1]), "'conv2d_7'.*kernel_size"),
    "strides": (config("conv2d_26", strides=[1, 1]), "'conv2d_26'.*strides"),
    "nothing of strides": (lambda net: net.items["conv2d_26"]["config"].pop("strides"), "'conv2d_26'.*strides None"),
    "padding": (config("conv2d_40", padding="valid"), "'conv2d_40'.*padding"),
    "dilation": (config("conv2d_40", dilation_rate=[2, 2]), "'conv2d_40'.*dilation_rate"),
    "groups": (config("conv2d_40", groups=2), "'conv2d_40'.*groups"),
    "channels first": (config("conv2d_40", data_format="channels_first"), "'conv2d_40'.*data_format"),
    "bias": (config("conv2d_1", use_bias=True), "'conv2d_1'.*use_bias"),
    "activation inside": (config("conv2d_1", activation="relu"), "'conv2d_1'.*activation"),
    "filters": (config("conv2d_93", filters=193), "'conv2d_93'.*filters 193"),
    "another activation": (config("activation_50", activation="swish"), "'activation_50'.*swish"),
    "ReLU of 6": (kind("activation_50", "ReLU", max_value=6.0), "'activation_50'.*max_value"),
    "epsilon of one": (config("batch_normalization_3", epsilon=1e-5), "epsilon"),
    "epsilon": (config("batch_normalization_3", epsilon="x"), "'batch_normalization_3'.*epsilon"),
    "norm's axis": (config("batch_normalization_3", axis=[1]), "'batch_normalization_3'.*axis"),
    "no centre": (config("batch_normalization_3", center=False), "'batch_normalization_3'.*center"),
    "another norm": (kind("batch_normalization_3", "LayerNormalization"), "LayerNormalization; expected BatchNormalization"),
    "separable": (kind("conv2d_40", "SeparableConv2D"), "93 convolutions"),
    "pool's kind": (kind("average_pooling2d_4", "MaxPooling2D"), "'average_pooling2d_4'.*AveragePooling2D"),
    "pool's size": (config("average_pooling2d_4", pool_size=[2, 2]), "'average_pooling2d_4'.*pool_size"),
    "pool's strides": (config("max_pooling2d_1", strides=[1, 1]), "'max_pooling2d_1'.*strides"),
    "order of branches": (swap("mixed3"), "mixed_3"),
    "axis of branches": (config("mixed5", axis=1), "'mixed5'.*axis 1"),
    "a sum": (kind("mixed5", "Add"), "'mixed5'.*Concatenate"),
    "one branch less": (lambda net: net.items["mixed10"]["inputs"].pop(0), "mixed_10|convolutions"),
    "a skipped block": (connect("conv2d_60", "mixed4"), "branches from|another|expected"),
    "trained statistics": (call("batch_normalization_8", training=True), "'batch_normalization_8'.*training=True"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT_BLOCKS)
def test_blocks_that_differ(keras_models: Any, case: str) -> None:
    change, found = DIFFERENT_BLOCKS[case]
    net, output = keras_models.model(head)
    change(net)
    with pytest.raises(LoadError, match=found) as error:
        graph_of_weights(net.file(output, 2))
    assert "README" in str(error.value)
    assert "m.h5" in str(error.value)


def insert(layer: str, name: str, **values: Any) -> Callable[[Any], None]:
    """A layer between the pooling and the dense layer."""

    def change(net: Any) -> None:
        net.add(layer, name, ["gap"], **values)
        net.items["dense"]["inputs"] = [name]

    return change


DIFFERENT_HEADS = {
    "Lambda": (insert("Lambda", "l", function=["4wEAAAA="]), "'Lambda'.*code"),
    "own class": (insert("my_package>Attention", "own"), "'my_package>Attention'"),
    "unknown class": (insert("LayerNormalization", "ln"), "'LayerNormalization'"),
    "TFOpLambda": (insert("TFOpLambda", "op", function="math.square"), "math.square"),
    "activation": (config("dense", activation="hard_sigmoid"), "hard_sigmoid.*sigmoid, tanh"),
    "own activation": (config("dense", activation={"class_name": "function", "config": "act", "registered_name": "act"}), "act"),
    "dropout on": (both(insert("Dropout", "d", rate=0.5), call("d", training=True)), "'d'.*training=True"),
    "norm on": (both(insert("BatchNormalization", "n"), call("n", training=True)), "'n'.*training=True"),
    "softmax axis": (insert("Softmax", "s", axis=1), "axis 1"),
    "relu below 0": (insert("ReLU", "r", max_value=6.0, negative_slope=0.0, threshold=-1.0), "threshold -1"),
    "int8": (config("dense", dtype={"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}), "int8_from"),
    "LoRA": (config("dense", lora_rank=4), "lora_rank"),
    "units": (config("dense", units=6), r"'dense/bias' of shape \(5,\); expected \(6\)"),
    "channels first": (config("gap", data_format="channels_first"), "channels_first"),
    "a sum of two": (both(insert("Add", "add"), connect("add", "gap", "gap")), "Add of 2 layers"),
    "two poolings": (both(insert("Concatenate", "cat"), connect("cat", "gap", "gap")), "GlobalAveragePooling2D"),
    "random crop": (both(lambda n: n.add("RandomCrop", "crop", ["input_1"], height=9), connect("conv2d", "crop")), "'RandomCrop'"),
    "variance": (both(lambda n: n.add("Normalization", "n", ["input_1"], mean=0.0, variance=-1.0), connect("conv2d", "n")), "variance -1"),
    "scale": (both(lambda n: n.add("Rescaling", "r", ["input_1"], scale=1e39), connect("conv2d", "r")), "scale 1e"),
    "grey": (config("input_1", batch_shape=[None, 150, 150, 1]), "150, 1"),
    "resizing": (both(lambda n: n.add("Resizing", "r", ["input_1"], height=99, width=99, interpolation="bicubic"), connect("conv2d", "r")), "bicubic"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT_HEADS)
def test_heads_that_are_not_known(keras_models: Any, case: str) -> None:
    change, found = DIFFERENT_HEADS[case]
    net, output = keras_models.model(head)
    change(net)
    with pytest.raises(LoadError, match=found) as error:
        graph_of_weights(net.file(output, 2))
    assert "README" in str(error.value) or case == "units"


@pytest.mark.parametrize("size", [9, 74])
def test_images_that_are_too_small(keras_models: Any, size: int) -> None:
    """The last block needs 75 pixels."""
    net, output = keras_models.model(head, shape=(None, size, size, 3))
    with pytest.raises(LoadError, match=r"m\.h5: the network: found .*does not fit"):
        graph_of_weights(net.file(output, 3))


def test_keras_3_decides_about_training_itself(keras_models: Any) -> None:
    """It writes training=True for augmentation, and predict overrules it."""
    net, output = keras_models.model(head, lambda net, x: net.add("RandomFlip", "flip", [x]))
    call("flip", training=True)(net)
    assert "predictions" in graph_of_weights(net.file(output, 3))
    with pytest.raises(LoadError, match="training=True"):
        graph_of_weights(net.file(output, 2))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda net: net.arrays["dense"].update({"dense/extra": (3,)}), r"1 that no layer.*'dense/extra' \(3,\)"),
        (
            lambda net: net.arrays.update(other={f"other/w{i}": (i,) for i in range(7)}),
            "7 that no layer.*'other/w4'.* and 2 more",
        ),
        (lambda net: net.arrays["dense"].pop("dense/bias"), "'dense'.*no array 'bias'"),
        (lambda net: net.arrays["conv2d_50"].clear(), "'conv2d_50'.*no array 'kernel'"),
        (lambda net: net.arrays["dense"].update({"dense/kernel": (100, 5)}), r"kernel \(100, 5\).*2048"),
        (lambda net: net.arrays["conv2d"].update({"conv2d/kernel": (3, 3, 1, 32)}), r"\(3, 3, 1, 32\)"),
    ],
)
def test_every_array_belongs_to_a_layer(keras_models: Any, change: Callable[[Any], Any], found: str) -> None:
    net, output = keras_models.model(head)
    change(net)
    with pytest.raises(LoadError, match=found):
        graph_of_weights(net.file(output, 3))


def test_what_inactive_layers_keep_is_no_array_too_many(keras_models: Any) -> None:
    net, output = keras_models.model(head)
    net.add("Dropout", "dropout", ["gap"], {"seed_generator_state": (2,)}, rate=0.5)
    net.items["dense"]["inputs"] = ["dropout"]
    assert "predictions" in graph_of_weights(net.file(output, 3))


# --- hostile and damaged configs ------------------------------------------------------------------------------------------


def text_of(keras_models: Any, keras: int, change: Callable[[Any], Any]) -> Any:
    net, output = keras_models.model(head)
    return net.file(output, keras, lambda spec: change(spec["config"]))


@pytest.mark.parametrize("keras", [2, 3])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c.pop("layers"), "'layers'.*a JSON list"),
        (lambda c: c["layers"].append(7), "a JSON object"),
        (lambda c: c["layers"].append(c["layers"][0]), "'input_1' twice"),
        (lambda c: c.pop("output_layers"), "output_layers"),
        (lambda c: c.update(output_layers=[]), "0 outputs"),
        (lambda c: c.update(output_layers=[["dense", 0, 0], ["gap", 0, 0]]), "2 outputs"),
        (lambda c: c.update(output_layers=[["no", 0, 0]]), "'no', which is no layer"),
        (lambda c: c["layers"][-1].update(class_name=[1]), "class_name"),
        (lambda c: c["layers"][-1].update(module="evil.layers"), "evil.layers.Dense"),
        (lambda c: c["layers"][-1].update(registered_name="Custom>Dense"), "Custom>Dense"),
        (lambda c: c["layers"][1].update(inbound_nodes=c["layers"][-1]["inbound_nodes"]), "a cycle"),
        (lambda c: c["layers"][-1].update(inbound_nodes=c["layers"][-1]["inbound_nodes"] * 2), "used 2 times"),
        (lambda c: c["layers"][-1].update(inbound_nodes=[]), "used 0 times"),
        (lambda c: c["layers"][1].update(inbound_nodes=[{"args": [3.5], "kwargs": {}}]), "1 inputs|input"),
        (lambda c: c["layers"][-1].update(inbound_nodes=[[["gap", 0, 1, {}]]]), "connection"),
        (lambda c: c["layers"][-1].update(inbound_nodes=[{"args": [{"class_name": "x"}]}]), "the argument"),
        (lambda c: c["layers"].append({**c["layers"][0], "name": "second"}) or c["layers"][1].update(inbound_nodes=[]), "used 0"),
        (lambda c: c["layers"][0]["config"].update({"batch_shape": [0, -1], "batch_input_shape": [0, -1]}), "the input's shape"),
    ],
)  # fmt: skip
def test_damaged_configs(keras_models: Any, keras: int, change: Callable[[Any], Any], found: str) -> None:
    with pytest.raises(LoadError, match=found):
        graph_of_weights(text_of(keras_models, keras, change))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ("1" * 10_000, "JSON|object"),
        ("null", "a JSON object"),
        ('{"class_name": "MyModel", "config": {}}', "a model of the class 'MyModel'"),
        ('{"class_name": "Sequential", "config": {"layers": []}}', "no layers"),
        ('{"class_name": "Sequential", "config": []}', "no layers"),
        (
            '{"class_name": "Functional", "config": {"layers": [], "input_layers": [], "output_layers": ["a", 0, 0]}}',
            "'a'",
        ),
        (" " * ((16 << 20) + 1), "characters"),
    ],
)
def test_text_that_is_no_model(keras_models: Any, text: str, found: str) -> None:
    file = keras_models.arrays_file({"conv2d": {"conv2d/kernel:0": np.zeros(3, np.float32)}}, model_config=text)
    with pytest.raises(LoadError, match=found):
        graph_of_weights(file)


def test_models_inside_each_other_without_end(keras_models: Any) -> None:
    spec: dict[str, Any] = {"class_name": "Dense", "config": {"name": "d", "units": 1}}
    for i in range(100):
        spec = {"class_name": "Sequential", "config": {"name": f"s{i}", "layers": [spec]}}
    file = keras_models.arrays_file({"s": {"s/kernel": (1, 1)}}, model_config=json.dumps(spec))
    with pytest.raises(LoadError, match="16 models inside each other"):
        graph_of_weights(file)
