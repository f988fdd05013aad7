"""TensorFlow's checkpoints: named arrays (.index), and the graph of a training run with its checkpoint beside it (.meta)."""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import Any

from ...builder import Graph
from ...formats.beside import open_beside
from ...formats.limits import Budget
from ...formats.protobuf.reader import Reader
from ...formats.saved_model import MetaGraph
from ...formats.source import Source
from ..weights import WeightsFile
from .bundle import OBJECT_GRAPH, Bundle
from .meta_graph import graph_of
from .objects import full_names

__all__ = ["looks_like_meta_graph", "read_checkpoint", "read_meta_graph"]

#: Keys of what only training needs, in a checkpoint of objects: the optimizer's own, its slots, metrics, counters.
_TRAINING = re.compile(r"(.*/)?(optimizer|save_counter|keras_api/metrics|\.OPTIMIZER_SLOT)/.*")
#: Ends the keys of variables in a checkpoint of objects.
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def looks_like_meta_graph(head: bytes) -> bool:
    """True if what a graph says of itself comes first, and in it the ops that it has, its tags or TensorFlow's version.

    A GraphDef is asked for before this: it begins in the same way.
    """
    inner = _after_length(head, 1)
    if head[:1] == b"\x0a" and head[inner : inner + 1] == b"\x0a":  # a version of its own
        inner = _after_length(head, inner + 1) + head[inner + 1] if inner + 1 < len(head) else 0
    field = head[inner : inner + 1]
    if field == b"\x12":
        return head[:1] == b"\x0a" and head[_after_length(head, inner + 1) :][:1] == b"\x0a"
    return head[:1] == b"\x0a" and field in (b"\x22", b"\x2a") and head[inner + 1 : inner + 2] < b"\x80"


def _after_length(head: bytes, at: int) -> int:
    """Where a field's content begins whose length is at ``at``."""
    while at < len(head) and head[at] > 0x7F:
        at += 1
    return at + 1


def read_meta_graph(source: Source, budget: Budget) -> Graph:
    """The graph of a training run without what only training needs, with the values of the checkpoint beside the file."""
    prefix = source.path.name.removesuffix(".meta")
    # Until 2016 a checkpoint was one file, named as the prefix.
    names = [n for n in (f"{prefix}.index", prefix) if n and os.path.lexists(source.path.with_name(n))]
    bundle = None
    if names and names[0] != source.path.name:
        index = open_beside(source.path, names[0], budget, "the checkpoint")
        bundle = Bundle.read(index, budget.of_another(index.name, index.size))
    graph = _graph(source, bundle, budget)
    graph.metadata["companions"] = () if bundle is None else (bundle.source, *bundle.files)
    return graph


def _graph(source: Source, bundle: Bundle | None, budget: Budget) -> Graph:
    view, fill = source.space()
    reader = Reader(view, budget, "MetaGraphDef", fill)
    graph = graph_of(reader.read(MetaGraph), bundle, reader, source, budget)
    graph.metadata["family"] = "tf-metagraph"
    return graph


def read_checkpoint(source: Source, budget: Budget) -> Graph | WeightsFile:
    """The graph of the .meta file beside it with the checkpoint's values; without one the arrays of the checkpoint.

    The arrays of a program's objects have the names of their variables, if these are unique; what is an optimizer's or a
    metric's is left out.
    """
    bundle = Bundle.read(source, budget)
    name = f"{source.path.name.removesuffix('.index')}.meta"
    if not os.path.lexists(source.path.with_name(name)):
        return _arrays(source, bundle, budget)
    meta = open_beside(source.path, name, budget, "the graph")
    graph = _graph(meta, bundle, budget.of_another(meta.name, meta.size))
    graph.metadata["companions"] = (meta, *bundle.files)
    return graph


def _arrays(source: Source, bundle: Bundle, budget: Budget) -> WeightsFile:
    if bundle.unread:
        key, kind = next(iter(bundle.unread.items()))
        raise budget.error(f"tensor '{key[:200]}'", f"elements of type {kind}", "numbers or strings")
    called = {key: name for name, key in full_names(bundle).items()}
    kept = {key: tensor for key, tensor in bundle.entries.items() if key != OBJECT_GRAPH}
    if OBJECT_GRAPH in bundle.entries:
        kept = {key: tensor for key, tensor in kept.items() if not _TRAINING.fullmatch(key)}
    tensors = {called.get(key, key) if key.endswith(_VALUE) else key: tensor for key, tensor in kept.items()}
    if len(tensors) != len(kept):  # a name that is another one's key
        tensors = kept
    metadata: dict[str, Any] = {"companions": bundle.files}
    return WeightsFile(source.name, "tf-checkpoint", MappingProxyType(tensors), MappingProxyType(metadata))
