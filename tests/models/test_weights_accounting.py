"""Weights without an architecture: every array is accounted for, or the file is refused with what is left over."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.models import graph_of_weights
from kigraph.graph.models.inception_v3.layers import CONVS
from kigraph.graph.session import Session

Shapes = dict[str, Any]
RNG = np.random.default_rng(4)


def torch_shapes(fc: int | None = 5, aux: bool = True, name: str = "fc") -> Shapes:
    shapes: Shapes = {}
    for sized in CONVS:
        height, width, inputs, filters = sized.shape
        shapes[f"{sized.conv.torchvision}.conv.weight"] = (filters, inputs, height, width)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{sized.conv.torchvision}.bn.{part}"] = (filters,)
        shapes[f"{sized.conv.torchvision}.bn.num_batches_tracked"] = ()
    if aux:
        shapes |= {"AuxLogits.fc.weight": (5, 768), "AuxLogits.fc.bias": (5,)}
        for number, conv in enumerate([(128, 768, 1, 1), (768, 128, 5, 5)]):
            shapes[f"AuxLogits.conv{number}.conv.weight"] = conv
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"AuxLogits.conv{number}.bn.{part}"] = conv[:1]
    return shapes | ({} if fc is None else {f"{name}.weight": (fc, 2048), f"{name}.bias": (fc,)})


def prefixed(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def pools(graph: Any) -> tuple[str, str, bool]:
    """(op of the last block's pool, of the one before, whether padding counts)."""
    last, before = (graph.operation(f"mixed_{n}/tower_2/pool") for n in (10, 9))
    return last.type, before.type, bool(before.attrs.get("count_include_pad", False))


@pytest.mark.parametrize(
    ("shapes", "want"),
    [
        (torch_shapes(1000), ("AvgPool", "AvgPool", True)),
        (torch_shapes(1008, aux=True), ("AvgPool", "AvgPool", True)),
        # pytorch-fid: FIDInceptionA, C, E_1 (count_include_pad=False) and E_2 (max_pool2d).
        (torch_shapes(1008, aux=False), ("MaxPool", "AvgPool", False)),
    ],
    ids=["torchvision", "1008 own classes", "2015"],
)
def test_which_pools_torch_names_mean(keras_models: Any, shapes: Shapes, want: tuple[str, str, bool]) -> None:
    graph = graph_of_weights(keras_models.arrays_file({"all": shapes}))
    assert pools(graph) == want
    assert graph.metadata.get("variant") == ("2015" if want[0] == "MaxPool" else None)


@pytest.mark.parametrize(
    "shapes",
    [
        prefixed("module.", torch_shapes()),
        prefixed("model.", torch_shapes(aux=False)),
        prefixed("net.module._orig_mod.backbone.", torch_shapes()),
        {"n_averaged": (), **prefixed("module.", torch_shapes())},
        torch_shapes(name="fc.1"),
        torch_shapes(name="fc.head.out"),
        torch_shapes(name="last_linear"),
        {k: v for k, v in torch_shapes().items() if k != "fc.bias"},
    ],
    ids=["module", "model", "several", "swa", "sequential", "named", "last_linear", "no bias"],
)
def test_names_that_mean_the_same(keras_models: Any, shapes: Shapes) -> None:
    graph = graph_of_weights(keras_models.arrays_file({"all": shapes}))
    assert graph.tensor("predictions").shape == (None, 5)


def test_one_output_is_a_number(keras_models: Any) -> None:
    kernel, bias = RNG.standard_normal((1, 2048)).astype(np.float32), np.float32([3])
    shapes = torch_shapes(None) | {"fc.weight": kernel, "fc.bias": bias}
    graph = graph_of_weights(keras_models.arrays_file({"all": shapes}))
    assert (graph.metadata["output"], graph.metadata["scores"]) == ("logits:0", "logits")
    assert "predictions" not in graph
    x = RNG.uniform(0, 1, (2, 8, 8, 2048)).astype(np.float32)
    got = Session(graph, backend="numpy").run("logits:0", {"mixed_10/join:0": x})
    np.testing.assert_allclose(got, x.mean((1, 2), dtype=np.float64) @ kernel.T + 3, rtol=1e-4)


def test_features_without_a_classifier(keras_models: Any) -> None:
    graph = graph_of_weights(keras_models.arrays_file({"all": torch_shapes(None)}))
    assert graph.metadata["scores"] == "values"
    assert graph.tensor(graph.metadata["output"]).shape == (None, 2048)


TWO = {"fc.0.weight": (512, 2048), "fc.0.bias": (512,), "fc.3.weight": (5, 512), "fc.3.bias": (5,)}
NORM = {"fc.0.weight": (2048,), "fc.0.running_mean": (2048,), "fc.1.weight": (5, 2048), "fc.1.bias": (5,)}


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        (torch_shapes(512) | {"fc2.weight": (5, 512), "fc2.bias": (5,)}, r"2 that no layer.*'fc2.weight' \(5, 512\), 'fc2.bias'"),
        (torch_shapes(None) | TWO, "4 that no layer.*'fc.3.weight'.*one linear layer 'fc'"),
        (torch_shapes(None) | NORM, "'fc.0.running_mean'"),
        (torch_shapes() | {"fc.1.weight": (5, 2048)}, "'fc.1.weight'"),
        (torch_shapes() | {"criterion.weight": (5,)}, r"'criterion.weight' \(5,\)"),
        (torch_shapes() | {f"ema.{i}": (i,) for i in range(9)}, "9 that no layer.*'ema.4'.* and 4 more"),
        (prefixed("backbone.", torch_shapes(None)) | {"classifier.weight": (5, 2048)}, "'classifier.weight'"),
        (prefixed("model.", torch_shapes()) | prefixed("ema.", torch_shapes()), "2 networks, in 'ema.', 'model.'"),
        (torch_shapes(None, aux=False), "no 'fc' and no 'AuxLogits'"),
        (torch_shapes() | {"Mixed_7d.branch1x1.conv.weight": (1, 1, 1, 1)}, "'Mixed_7d"),
    ],
)  # fmt: skip
def test_torch_heads_that_are_not_known(keras_models: Any, shapes: Shapes, found: str) -> None:
    with pytest.raises(LoadError, match=found) as error:
        graph_of_weights(keras_models.arrays_file({"all": shapes}))
    assert any(way in str(error.value) for way in ("export it from its library", "Save the state dict"))


def test_kigraphs_own_names_are_counted_too(keras_models: Any) -> None:
    shapes: Shapes = {"logits/kernel": (2048, 3), "logits/bias": (3,)}
    for sized in CONVS:
        shapes[f"{sized.conv.path}/kernel"] = sized.shape
        shapes |= {f"{sized.conv.path}/{v}": sized.shape[3:] for v in ("beta", "mean", "variance")}
    assert "predictions" in graph_of_weights(keras_models.arrays_file({"all": shapes}))
    with pytest.raises(LoadError, match=r"1 that no layer.*'logits/scale' \(3,\)"):
        graph_of_weights(keras_models.arrays_file({"all": shapes | {"logits/scale": (3,)}}))


# --- Keras, weights only ----------------------------------------------------------------------------------------------------


def weights_only(
    keras_models: Any, change: Callable[[dict[str, Any]], Any], *, nested: bool = False, top: bool = True
) -> Any:
    """The groups of model.save_weights('w.h5'), Keras 2: all layers in order, most of them without arrays."""
    net, _ = keras_models.model(lambda net, x: x)
    groups = dict(net.arrays)
    if nested:
        groups = {"inception_v3": {k: v for arrays in groups.values() for k, v in arrays.items()}}
    if top:
        groups |= {"avg_pool": {}, "predictions": {"predictions/kernel": (2048, 5), "predictions/bias": (5,)}}
    change(groups)
    return keras_models.arrays_file(groups)


def rename(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(groups: dict[str, Any]) -> None:
        groups[new] = {k.replace(old, new): v for k, v in groups.pop(old).items()}

    return change


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "change", [lambda g: None, rename("avg_pool", "global_average_pooling2d_3"), lambda g: g.update(dropout={})]
)
def test_keras_weights_alone(keras_models: Any, change: Any, nested: bool) -> None:
    graph = graph_of_weights(weights_only(keras_models, change, nested=nested))
    assert graph.tensor("predictions").shape == (None, 5)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (rename("avg_pool", "global_max_pooling2d"), "'global_max_pooling2d'"),
        (lambda g: g.pop("avg_pool"), "no global average pooling"),
        (lambda g: g.update(flatten={}), "'flatten'"),
        (lambda g: g.update(rescaling={}), "'rescaling'"),
        (lambda g: g.update(activation_94={}), "'activation_94'"),
        (lambda g: g.update(average_pooling2d_9={}), "'average_pooling2d_9'"),
        (lambda g: g.update(dense={"dense/kernel": (5, 2), "dense/bias": (2,)}), r"2 that no layer.*'dense/kernel'"),
        (lambda g: g["predictions"].update({"predictions/scale": (5,)}), "'predictions/scale'"),
        (lambda g: g["predictions"].pop("predictions/bias"), "no 'predictions/bias'"),
        (lambda g: g.update(predictions={"predictions/kernel": (2048, 1), "predictions/bias": (1,)}), "one output"),
        (lambda g: g.update(predictions={"predictions/kernel": (51200, 5), "predictions/bias": (5,)}), "51200"),
        (lambda g: g.update(bn={"batch_normalization_94/beta": (5,)}), "95 batch normalisations"),
    ],
)  # fmt: skip
def test_keras_weights_that_may_mean_something_else(keras_models: Any, change: Any, found: str, nested: bool) -> None:
    with pytest.raises(LoadError, match=found) as error:
        graph_of_weights(weights_only(keras_models, change, nested=nested))
    assert "model.save('model.h5')" in str(error.value)


def test_keras_weights_without_top(keras_models: Any) -> None:
    """The network ends in a map, or where it has a pooling layer, in the average of that."""
    graph = graph_of_weights(weights_only(keras_models, lambda g: None, top=False))
    assert (graph.metadata["output"], graph.metadata["scores"]) == ("mixed_10/join:0", "values")
    graph = graph_of_weights(weights_only(keras_models, lambda g: g.update(avg_pool={}), top=False, nested=True))
    assert graph.tensor(graph.metadata["output"]).shape == (None, 2048)
    with pytest.raises(LoadError, match="no list of the layers that pool"):
        graph_of_weights(weights_only(keras_models, lambda g: None, top=False, nested=True))


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        (torch_shapes(1008, aux=False) | {"AuxLogits.n": ()}, "AuxLogits.n"),
        (torch_shapes(None, aux=False) | {"AuxLogits.n": ()}, "AuxLogits.n"),
        (torch_shapes(1000) | {"AuxLogits.my_attention.weight": (7, 7)}, "AuxLogits.my_attention.weight"),
        (torch_shapes(1000) | {"AuxLogits.conv1.conv.weight": (768, 128, 3, 3)}, "AuxLogits.fc.weight"),
        (prefixed("model.", torch_shapes(None)) | {"fc.weight": (5, 2048), "fc.bias": (5,)}, "outside of 'model.'"),
    ],
    ids=["one scalar", "a scalar alone", "another layer", "another shape", "a head outside"],
)
def test_no_array_decides_by_its_name_alone(keras_models: Any, shapes: Shapes, found: str) -> None:
    with pytest.raises(LoadError, match=re.escape(found)):
        graph_of_weights(keras_models.arrays_file({"all": shapes}))
