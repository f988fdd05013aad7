"""Keras' files in HDF5: .h5 of Keras 2 and 3 (weights only, or a whole model with 'model_weights'), and .weights.h5 of Keras 3.

Layout of Keras 2: the root attribute ``layer_names`` lists groups, each group's attribute ``weight_names`` lists its datasets.
HDF5 itself is read by the package hdf5, which follows no link out of the file. The description of a whole model (its
JSON can name code) is passed on as text: nothing is run or built from it here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from ..formats.hdf5 import Dataset, Group, Hdf5File
from ..formats.json_text import check_json
from ..formats.limits import Budget
from ..formats.source import Source
from .keras_config import config_beside
from .weights import TensorInfo, WeightsFile

__all__ = ["MODEL_TEXTS", "child", "keras3_arrays", "names", "read_keras_h5", "tensor_info"]

#: Attributes of the root group that Keras writes as one text each; metadata of the WeightsFile if they are there.
MODEL_TEXTS = ("model_config", "training_config", "keras_version", "backend")


def child(group: Group, path: str) -> Group | Dataset:
    """Follows a path of hard links, one name at a time; absolute and climbing paths have no meaning here."""
    budget = group.file.blocks.budget
    here: Group | Dataset = group
    parts = path.split("/")
    place = f"'{path[:200]}'"
    budget.depth(len(parts), f"'{path[:80]}'", 0)
    for part in parts:
        if part in ("", ".", ".."):
            raise budget.error(place, f"the part {part!r}", "names joined by '/'")
        if not isinstance(here, Group):
            raise budget.error(place, f"a dataset above {part!r}", "a group")
        here = here.child(part)
    return here


def names(group: Group, attribute: str) -> list[str]:
    """A list of names; Keras splits lists above 64 KB into attribute0, attribute1, ..."""
    if attribute in group.attributes:
        return group.texts(attribute)
    result: list[str] = []
    part = 0
    while f"{attribute}{part}" in group.attributes:
        result += group.texts(f"{attribute}{part}")
        part += 1
    return result


def tensor_info(dataset: Group | Dataset, name: str) -> TensorInfo:
    """A dataset as an array to be read later; ``name`` is a part of its key."""
    file = dataset.file
    if not isinstance(dataset, Dataset):
        raise file.blocks.budget.error(f"dataset '{name[:200]}'", "a group", "a dataset")
    load = dataset.open()
    return TensorInfo(dataset.dtype, dataset.shape, dataset.dtype.name, load, ("file", file.blocks.source, name))


def read_keras_h5(source: Source, budget: Budget) -> WeightsFile:
    """The arrays of a Keras file in HDF5, in the file's order: a whole model, or weights with or without a config beside.

    Keras 2: under their weight names ('conv2d_1/kernel:0'); ``metadata['layers']`` maps each layer's name to the names of its
    weights. Keras 3 (.weights.h5): under their paths ('layers/conv2d/vars/0'); ``metadata['form']`` is 'keras-3'. ``metadata``
    has those of MODEL_TEXTS that the file has, as text: 'model_config' and 'training_config' are JSON of the writer, not
    parsed here. Without 'model_config' the one of NAME.json or config.json beside the file is taken.
    """
    file = Hdf5File(source, budget)
    top = file.root
    whole = any(n in top.attributes for n in ("layer_names", "layer_names0")) or "model_weights" in top.links
    if whole:
        tensors, metadata = _keras2(top, budget)
    elif any(n in top.links for n in (*PATHS, "vars")):
        tensors, metadata = keras3_arrays(top, budget), {"form": "keras-3"}
    else:
        raise budget.error("the root group", "no attribute 'layer_names'", "a Keras weights file")
    if "model_config" not in metadata:
        metadata |= config_beside(source)
    for name in {*MODEL_TEXTS, "model_config"} & metadata.keys():
        check_json(metadata[name].encode("utf-8", "surrogatepass"), f"'{name}'", budget)
    if not tensors and "model_config" not in metadata:
        raise budget.error("the file", "no weights", "layers with weights")
    return WeightsFile(source.name, "keras-h5", MappingProxyType(tensors), MappingProxyType(metadata))


def _keras2(top: Group, budget: Budget) -> tuple[dict[str, TensorInfo], dict[str, Any]]:
    root: Group | Dataset = top
    if "layer_names" not in top.attributes and "layer_names0" not in top.attributes:
        root = top.child("model_weights")
    if not isinstance(root, Group):
        raise budget.error("'model_weights'", "a dataset", "a group")
    tensors: dict[str, TensorInfo] = {}
    layers: dict[str, tuple[str, ...]] = {}
    for layer in names(root, "layer_names"):
        if layer in layers:
            raise budget.error("'layer_names'", f"the layer {layer[:80]!r} twice", "unique names")
        group = child(root, layer)
        if not isinstance(group, Group):
            raise budget.error(f"layer '{layer[:80]}'", "a dataset", "a group")
        found = names(group, "weight_names")
        own: list[str] = []
        for name in found:
            # The name of a weight is unique in its layer only: models in models may have the same inside.
            unique = name if name not in tensors else f"{layer}/{name}"
            if unique in tensors:
                raise budget.error(f"layer '{layer[:80]}'", f"the weight {name[:80]!r} twice", "unique names")
            tensors[unique] = tensor_info(child(group, name), f"{layer}/{name}")
            own.append(unique)
        layers[layer] = tuple(own)
    texts = {name: text for name in MODEL_TEXTS if (text := _text(top, root, name)) is not None}
    return tensors, {"layers": MappingProxyType(layers), **texts}


def _text(top: Group, root: Group, name: str) -> str | None:
    found = top.text(name)
    return found if found is not None or root is top else root.text(name)


#: Groups of Keras 3 that hold layers; the others are those of the optimizer and of metrics.
PATHS = ("layers", "_layer_checkpoint_dependencies")


def keras3_arrays(top: Group, budget: Budget) -> dict[str, TensorInfo]:
    """The arrays of Keras 3 by path: every group 'vars' below the layers."""
    tensors: dict[str, TensorInfo] = {}
    seen: set[int] = set()
    waiting = [(top.child(name), name) for name in (*PATHS, "vars") if name in top.links][::-1]
    while waiting:
        here, path = waiting.pop()
        budget.nodes(f"'{path[:200]}'")
        budget.depth(path.count("/") // 2, f"'{path[:80]}'", 0)
        if isinstance(here, Dataset):
            tensors[path] = tensor_info(here, path)
            continue
        if id(here) in seen:
            raise budget.error(f"'{path[:200]}'", "a group that is linked twice", "groups of their own")
        seen.add(id(here))
        waiting += [(here.child(name), f"{path}/{name}") for name in reversed(list(here.links))]
    return tensors
