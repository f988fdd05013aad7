"""A file on disk to a graph: graph files as they are, weights-only files through the built-in network that they belong to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CardError, LoadError
from .graph.hints import guess_inputs, guess_outputs
from .graph.signatures import SERVING_DEFAULT
from .kernels.records import dataclass
from .kernels.tensor import is_float

if TYPE_CHECKING:
    from .graph.builder import Graph
    from .graph.loaders import Loaded, LoadLimits
    from .graph.loaders.weights import WeightsFile
    from .graph.models.torch import Architecture
    from .weights.card import Card

__all__ = ["Opened", "card_for", "open_file"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was read. ``graph`` is None only where ``problem`` says why the weights fit no built-in network."""

    loaded: Loaded
    graph: Graph | None
    family: str
    problem: str = ""

    @property
    def path(self) -> str:
        return self.loaded.path

    @property
    def size(self) -> int:
        return self.loaded.size

    @property
    def sha256(self) -> str:
        return self.loaded.sha256

    @property
    def format(self) -> str:
        return self.loaded.family.title

    @property
    def weights(self) -> WeightsFile | None:
        return self.loaded.weights

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that a user would feed."""
        if self.graph is None:
            return ()
        called = self.graph.signatures.get(SERVING_DEFAULT)
        return self.loaded.inputs or (tuple(called.inputs) if called else guess_inputs(self.graph.freeze()))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that look like the model's results."""
        if self.graph is None:
            return ()
        called = self.graph.signatures.get(SERVING_DEFAULT)
        return self.loaded.outputs or (tuple(called.outputs) if called else guess_outputs(self.graph.freeze()))

    @property
    def parameters(self) -> int:
        """Number of weights: elements of all arrays, or of all constants of more than 16 elements and their biases."""
        if self.weights is not None:
            return self.weights.parameters
        if self.graph is None:
            return 0
        constants = (op.attrs.get("value") for op in self.graph.operations if op.type == "Const")
        return sum(c.type.size for c in constants if c is not None and is_float(c.dtype) and c.shape)


def open_file(
    path: str | os.PathLike[str],
    limits: LoadLimits | None = None,
    *,
    strict: bool = False,
    architecture: Architecture | None = None,
) -> Opened:
    """Reads a file of any supported format.

    ``strict``: weights that fit no built-in network raise LoadError; otherwise ``problem`` says so.
    architecture: what the user says of weights without a network; default: what timm's config.json beside them says.
    """
    from .graph.loaders import load

    loaded = load(path, limits)
    if loaded.graph is not None:
        if architecture is not None:
            raise LoadError(f"{loaded.path}: it has its network in it, so architecture= cannot be given; leave it out")
        return Opened(loaded, loaded.graph, str(loaded.graph.metadata.get("family", loaded.family.name)))
    assert loaded.weights is not None
    from .graph.collecting import uncollected
    from .graph.models import graph_of_weights

    try:
        if architecture is None:
            architecture = _mobile_named_beside(loaded)
        with uncollected():
            graph = graph_of_weights(loaded.weights, architecture)
    except LoadError as error:
        if strict:
            raise
        return Opened(loaded, None, loaded.weights.family, str(error))
    if graph.metadata.get("family") in ("torchvision", "torch"):
        _read_beside(graph, loaded.path)
    return Opened(loaded, graph, str(graph.metadata.get("family", loaded.weights.family)))


def card_for(
    opened: Opened, card: Card | str | os.PathLike[str] | None = None, changes: Mapping[str, Any] | None = None
) -> Card | None:
    """The weights card of a file: the one given, by name or as a JSON file; that beside the file; else what the file shows.

    changes: what is stated instead (see ``weights.card_file.changed``). CardError for a card that is not for this file.
    """
    from .weights.card import Card
    from .weights.card_file import card_beside, changed, read_card_file
    from .weights.cards import card_by_name, find_card
    from .weights.catalogue import is_known_size

    graph = opened.graph
    if graph is None:
        return None
    if card is None:
        found = card_beside(Path(opened.path), lambda: opened.loaded.sha256)
        if found is None:
            known = opened.loaded.remembered_sha256 if is_known_size(opened.size) else None
            found = find_card(graph, family=opened.family, sha256=known)
    elif isinstance(card, Card):
        found = card
    elif isinstance(card, os.PathLike) or (isinstance(card, str) and card.endswith(".json")):
        found = read_card_file(os.fspath(card), lambda: opened.loaded.sha256)
    elif isinstance(card, str):
        found = card_by_name(card, graph)
    else:
        raise CardError(f"card must be a ki.Card, the name of one or a card file, got {type(card).__name__}")
    return changed(found, graph, changes or {})


def _mobile_named_beside(loaded: Loaded) -> str | None:
    """What timm's config.json calls the network, where the arrays are those of several networks."""
    from .graph.models.torch import is_ambiguous
    from .weights.timm_config import named_in_config

    assert loaded.weights is not None
    return named_in_config(Path(loaded.path)) if is_ambiguous(loaded.weights) else None


def _read_beside(graph: Graph, path: str) -> None:
    """timm's config.json beside the weights says how images are prepared; without it the default is assumed."""
    from .weights.timm_config import read_timm_config

    metadata = graph.metadata
    config = read_timm_config(Path(path), str(metadata.get("model", "Inception v3")))
    if config is not None:
        shape = graph.tensor(metadata.get("output", "predictions:0")).shape
        classes = shape[-1] if shape else None
        if config.classes not in (None, 0, classes) and metadata.get("scores") != "values":
            raise LoadError(
                f"{Path(path).parent / 'config.json'}: num_classes {config.classes}, but the weights beside it have {classes} "
                "classes; they do not belong together. Move the weights to a folder of their own"
            )
        metadata["timm"] = config
