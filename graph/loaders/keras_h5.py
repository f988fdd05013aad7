"""Keras 2 weights in HDF5 (.h5): weights only, or a whole model with its weights under 'model_weights'.

Layout: the root attribute ``layer_names`` lists groups, each group's attribute ``weight_names`` lists its datasets.
HDF5 itself is read by the package hdf5, which follows no link out of the file. The description of a whole model (its
JSON can name code) is passed on as text: nothing is run or built from it here.
"""

from __future__ import annotations

from types import MappingProxyType

from ..formats.hdf5 import Dataset, Group, Hdf5File
from ..formats.limits import Budget
from ..formats.source import Source
from .weights import TensorInfo, WeightsFile

__all__ = ["MODEL_TEXTS", "child", "names", "read_keras_h5", "tensor_info"]

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
    """The arrays of a Keras 2 file under their weight names ('conv2d_1/kernel:0'), in the file's order.

    ``metadata['layers']`` maps each layer's name to the names of its weights. ``metadata`` has those of MODEL_TEXTS
    that the file has, as text: 'model_config' and 'training_config' are JSON of the writer, not parsed here.
    """
    file = Hdf5File(source, budget)
    top = file.root
    root: Group | Dataset = top
    if "layer_names" not in top.attributes and "layer_names0" not in top.attributes:
        if "model_weights" in top.links:
            root = top.child("model_weights")
        elif "layers" in top.links or "_layer_checkpoint_dependencies" in top.links:
            raise budget.error(
                "the file",
                "Keras 3 weights (.weights.h5)",
                "Keras 2 weights",
                "Save the whole model: model.save('model.h5').",
            )
        else:
            raise budget.error("the root group", "no attribute 'layer_names'", "a Keras weights file")
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
        weights = names(group, "weight_names")
        for name in weights:
            if name in tensors:
                raise budget.error(f"layer '{layer[:80]}'", f"the weight {name[:80]!r} twice", "unique names")
            tensors[name] = tensor_info(child(group, name), name)
        layers[layer] = tuple(weights)
    if not tensors:
        raise budget.error("the file", "no weights", "layers with weights")
    texts = {name: text for name in MODEL_TEXTS if (text := top.text(name)) is not None}
    metadata = MappingProxyType({"layers": MappingProxyType(layers), **texts})
    return WeightsFile(source.name, "keras-h5", MappingProxyType(tensors), metadata)
