"""What a Keras config holds and cannot be translated exactly, or damaged, is refused: what, where, and a way out."""

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


def insert(layer: str, name: str, **values: Any) -> Callable[[Any], None]:
    """A layer between the pooling and the dense layer."""

    def change(net: Any) -> None:
        net.add(layer, name, ["gap"], **values)
        net.items["dense"]["inputs"] = [name]

    return change


REFUSED = {
    "Lambda": (insert("Lambda", "l", function=["4wEAAAA="]), "'l' .Lambda.*Python code.*never run"),
    "own class": (insert("my_package>Attention", "own"), "'my_package>Attention'"),
    "unknown class": (insert("LayerNormalisation", "ln"), r"'LayerNormalisation'.*\(LayerNormalization"),
    "TFOpLambda": (insert("TFOpLambda", "op", function="linalg.svd"), "operation 'linalg.svd'"),
    "gather of batches": (both(insert("TFOpLambda", "op", function="gather"), call("op", indices=[0], axis=1, batch_dims=1)), "batch_dims"),
    "alpha": (both(insert("TFOpLambda", "op", function="nn.selu"), call("op", alpha=2.0)), "alpha 2.0"),
    "string lookup": (insert("StringLookup", "s", vocabulary=["a"]), "StringLookup"),
    "hashing": (insert("Hashing", "h", num_bins=3), "Hashing"),
    "activation": (config("dense", activation="sparsemax"), "sparsemax.*sigmoid, "),
    "own activation": (config("dense", activation={"class_name": "function", "config": "act", "registered_name": "act"}), "act"),
    "own activation of a known name": (config("dense", activation={"class_name": "function", "config": "relu", "registered_name": "me>relu"}), "me>relu"),
    "dropout on": (both(insert("Dropout", "d", rate=0.5), call("d", training=True)), "'d'.*training=True"),
    "norm on": (both(insert("BatchNormalization", "n"), lambda net: net.arrays["n"].update(bn_arrays("n")), call("n", training=True)), "'n'.*training=True"),
    "renorm": (both(insert("BatchNormalization", "n", renorm=True), lambda net: net.arrays["n"].update(bn_arrays("n"))), "'n'.*renorm True"),
    "softmax axis": (insert("Softmax", "s", axis=5), "axis 5"),
    "int8": (config("dense", dtype={"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}), "quantised.*int8_from"),
    "LoRA": (config("dense", lora_rank=4), "lora_rank"),
    "units": (config("dense", units=6), r"'kernel' of shape \(2048, 5\); expected \(2048, 6\)"),
    "variance": (both(lambda n: n.add("Normalization", "n", ["input_1"], mean=0.0, variance=-1.0), connect("conv2d", "n")), "variance -1"),
    "scale": (both(lambda n: n.add("Rescaling", "r", ["input_1"], scale=1e39), connect("conv2d", "r")), "scale 1e"),
    "grey": (config("input_1", batch_input_shape=[None, 150, 150, 1], batch_shape=[None, 150, 150, 1]), r"\(3, 3, 1, 32\)"),
    "filters": (config("conv2d_93", filters=193), "'conv2d_93'.*193"),
    "epsilon": (config("batch_normalization_3", epsilon="x"), "'batch_normalization_3'.*epsilon"),
    "statistics of a batch": (call("batch_normalization_8", training=True), "'batch_normalization_8'.*training=True"),
    "sizes": (lambda net: net.items["mixed5"]["inputs"].append("mixed2"), "'mixed5'"),
}  # fmt: skip


def bn_arrays(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}/{v}": (2048,) for v in ("gamma", "beta", "moving_mean", "moving_variance")}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(keras_models: Any, case: str) -> None:
    change, found = REFUSED[case]
    net, output = keras_models.model(head)
    change(net)
    with pytest.raises(LoadError, match=found) as error:
        graph_of_weights(net.file(output, 2))
    assert "m.h5" in str(error.value)
    assert "export" in str(error.value) or case == "units"


@pytest.mark.parametrize("size", [9, 74])
def test_images_that_are_too_small(keras_models: Any, size: int) -> None:
    """The last block needs 75 pixels."""
    net, output = keras_models.model(head, shape=(None, size, size, 3))
    with pytest.raises(LoadError, match=r"m\.h5: layer '.*does not fit"):
        graph_of_weights(net.file(output, 3))


def test_keras_3_decides_about_training_itself(keras_models: Any) -> None:
    """It writes training=True for augmentation, and predict overrules it."""
    net, output = keras_models.model(head, lambda net, x: net.add("RandomFlip", "flip", [x]))
    call("flip", training=True)(net)
    assert "dense" in graph_of_weights(net.file(output, 3)).aliases
    with pytest.raises(LoadError, match="training=True"):
        graph_of_weights(net.file(output, 2))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda net: net.arrays["dense"].update({"dense/extra": (3,)}), "'dense'.*3 arrays; expected 2"),
        (
            lambda net: net.arrays.update(other={f"other/w{i}": (i,) for i in range(7)}),
            "those of 'other'",
        ),
        (lambda net: net.arrays["dense"].pop("dense/bias"), "'dense'.*1 arrays; expected 2"),
        (lambda net: net.arrays["conv2d_50"].clear(), "'conv2d_50'.*no arrays of that layer"),
        (lambda net: net.arrays["dense"].update({"dense/kernel": (100, 5)}), r"'kernel' of shape \(100, 5\).*2048"),
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
    assert "dense" in graph_of_weights(net.file(output, 3)).aliases


# --- hostile and damaged configs ------------------------------------------------------------------------------------------


def text_of(keras_models: Any, keras: int, change: Callable[[Any], Any]) -> Any:
    net, output = keras_models.model(head)
    return net.file(output, keras, lambda spec: change(spec["config"]))


@pytest.mark.parametrize("keras", [2, 3])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c.pop("layers"), "no 'layers'"),
        (lambda c: c["layers"].append(7), "a JSON object"),
        (lambda c: c["layers"].append(c["layers"][0]), "'input_1' twice"),
        (lambda c: c.pop("output_layers"), "output_layers"),
        (lambda c: c.update(output_layers=[]), "output_layers"),
        (lambda c: c.update(output_layers=[["no", 0, 0]]), "'no'.*of a layer"),
        (lambda c: c["layers"][-1].update(class_name=[1]), "class_name"),
        (lambda c: c["layers"][-1].update(module="evil.layers"), "evil.layers.Dense"),
        (lambda c: c["layers"][-1].update(registered_name="Custom>Dense"), "Custom>Dense"),
        (lambda c: c["layers"][1].update(inbound_nodes=c["layers"][-1]["inbound_nodes"]), "a cycle"),
        (lambda c: c["layers"][-1].update(inbound_nodes=[]), "one of 0 calls"),
        (lambda c: c["layers"][1].update(inbound_nodes=[{"args": [3.5], "kwargs": {}}]), "1 inputs|input"),
        (lambda c: c["layers"][-1].update(inbound_nodes=[[["gap", 0, 1, {}]]]), "output 1"),
        (lambda c: c["layers"][-1].update(inbound_nodes=[{"args": [{"class_name": "x"}]}]), "an argument of the class 'x'"),
        (lambda c: c["layers"].append({**c["layers"][0], "name": "second"}) or c["layers"][1].update(inbound_nodes=[]), "one of 0 calls"),
        (lambda c: c["layers"][0]["config"].update({"batch_shape": [0, -1], "batch_input_shape": [0, -1]}), "the shape"),
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
        ('{"class_name": "Sequential", "config": {"layers": []}}', "those of 'conv2d'"),
        ('{"class_name": "Sequential", "config": []}', "those of 'conv2d'"),
        (
            '{"class_name": "Functional", "config": {"layers": [], "input_layers": [], "output_layers": ["a", 0, 0]}}',
            "those of 'conv2d'",
        ),
        (" " * ((32 << 20) + 1), "characters"),
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
    with pytest.raises(LoadError, match="16 layers inside each other"):
        graph_of_weights(file)
