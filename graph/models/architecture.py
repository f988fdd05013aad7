"""The table of built-in networks.

A further one is a folder beside this file and a row here, or
a file in torch/ and a row of its table."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import LoadError
from ..formats.limits import load_error
from .torch import TITLES, build_torch, fits_torch
from .torch import Architecture as Stated

if TYPE_CHECKING:
    from ..builder import Graph
    from ..loaders.weights import WeightsFile

__all__ = ["ARCHITECTURES", "Architecture", "graph_of_weights"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that is built from weights. ``names``: what its arrays are called, for the user.

    fits: whether a file's arrays, by their names, are those of the network. build: the graph with the file's weights;
    LoadError for what is missing, does not fit, or is left over.
    """

    name: str
    names: str
    fits: Callable[[WeightsFile], bool]
    build: Callable[[WeightsFile], Graph]


def _is_inception_v3(stated: Stated) -> bool:
    return isinstance(stated, str) and re.fullmatch(r"(\w+/)?(\w+_)?inception_?v3(\..*)?", stated.strip()) is not None


def _fits_inception_v3(file: WeightsFile) -> bool:
    from .inception_v3.weights import naming_of

    return naming_of(file) is not None


def _build_inception_v3(file: WeightsFile) -> Graph:
    from .inception_v3.build import build_from_file

    return build_from_file(file)


ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture(
        "Inception v3",
        "torchvision or timm (Conv2d_1a_3x3.conv.weight), Keras (conv2d_1/kernel:0) or kigraph (conv/kernel)",
        _fits_inception_v3,
        _build_inception_v3,
    ),
    Architecture(TITLES, "torchvision or timm (the state dict's own)", fits_torch, build_torch),
)


def graph_of_weights(file: WeightsFile, stated: Stated | None = None) -> Graph:
    """The built-in network that a weights-only file belongs to, with the file's weights.

    stated: what the user says of the network (see ``torch.table.build_torch``); only for files whose arrays are PyTorch's.

    ``graph.metadata['family']`` says whose names the file has: 'torchvision', 'keras' or 'kigraph' for Inception v3, 'torch' for
    another network of torchvision or timm. LoadError if the arrays are those of no built-in network.
    """
    if "model_config" in file.metadata:
        from .keras import build_keras

        if stated is not None:
            raise load_error(
                file.file,
                "architecture",
                "it is in the file",
                "weights that do not say their network",
                "Leave architecture= out.",
            )
        return build_keras(file)
    if stated is not None and not _is_inception_v3(stated):
        return build_torch(file, stated)
    if stated is not None and not _fits_inception_v3(file):
        raise load_error(
            file.file, "the arrays", "those of another network", "those of Inception v3", "Leave architecture= out."
        )
    for architecture in ARCHITECTURES:
        if architecture.fits(file):
            return architecture.build(file)
    if file.metadata.get("form") == "keras-3":
        raise load_error(
            file.file, "the file", "Keras 3 weights without their architecture", "NAME.json or config.json beside NAME.weights.h5",
            "Write it with open('NAME.json', 'w').write(model.to_json()), or save the whole model: model.save('m.keras').",
        )  # fmt: skip
    known = "; ".join(f"{a.name} with the names of {a.names}" for a in ARCHITECTURES)
    raise LoadError(
        f"{file.file}: the arrays {', '.join(list(file.tensors)[:4])}, ... are those of no built-in network; known: {known}. Weights "
        "alone do not say their network: export another one with its operations (.pt2, .onnx, SavedModel, .keras), or say how its layers "
        "follow each other: ki.load(path, architecture=function), docs/model-files.md"
    )
