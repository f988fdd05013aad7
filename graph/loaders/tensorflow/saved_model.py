"""TensorFlow's SavedModel: saved_model.pb with graphs for several uses, and the checkpoint variables/ beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...builder import Graph
from ...formats.beside import open_beside
from ...formats.limits import Budget
from ...formats.protobuf.reader import Reader
from ...formats.saved_model import MetaGraph, SavedModel
from ...formats.source import Source
from .bundle import Bundle
from .meta_graph import graph_of

__all__ = ["looks_like_saved_model", "read_saved_model"]

_INDEX = "variables/variables.index"
_SERVE = "serve"
_MOST_LISTED = 8


def looks_like_saved_model(head: bytes) -> bool:
    """True if a schema version of 1 comes first, then a graph that begins with what is said of it."""
    if head[:3] != b"\x08\x01\x12":
        return False
    at = 3
    while at < min(len(head), 12) and head[at] > 0x7F:
        at += 1
    return head[at + 1 : at + 2] == b"\x0a"


def read_saved_model(source: Source, budget: Budget) -> Graph:
    """The graph for serving, with the values of its variables from the folder ``variables`` beside the file."""
    view, fill = source.space()
    reader = Reader(view, budget, "SavedModel", fill)
    proto = reader.read(SavedModel)
    if proto.saved_model_schema_version != 1:
        raise budget.error("SavedModel", f"schema version {proto.saved_model_schema_version}", "1")
    meta = _for_serving(proto.meta_graphs, budget)
    bundle = None
    if os.path.lexists(source.path.parent / _INDEX):
        index = open_beside(source.path, _INDEX, budget, "the checkpoint")
        bundle = Bundle.read(index, budget.of_another(index.name, index.size))
    graph = graph_of(meta, bundle, reader, source, budget)
    graph.metadata["family"] = "savedmodel"
    stored = () if bundle is None else (bundle.source, *bundle.files)
    graph.metadata["companions"] = (*stored, *graph.metadata["companions"])
    return graph


def _for_serving(graphs: Sequence[MetaGraph], budget: Budget) -> MetaGraph:
    """The graph with the tag 'serve' alone, else one with this tag, else the only one or the only one without tags."""
    tags = [tuple(g.meta_info_def.tags) if g.meta_info_def else () for g in graphs]
    for fits in (lambda t: t == (_SERVE,), lambda t: _SERVE in t, lambda t: len(tags) == 1, lambda t: not t):
        found = [g for g, t in zip(graphs, tags, strict=True) if fits(t)]
        if len(found) == 1:
            return found[0]
        if found:
            raise budget.error("SavedModel", f"{len(found)} graphs with the same tags", "one for serving")
    listed = "; ".join(", ".join(t)[:80] or "none" for t in tags[:_MOST_LISTED])
    raise budget.error(
        "SavedModel",
        f"{len(graphs)} graphs with the tags {listed}",
        f"one with the tag '{_SERVE}'",
        "Save it again with this tag.",
    )
