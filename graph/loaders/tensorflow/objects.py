"""The objects of a program, as a checkpoint of TensorFlow 2 has them: what their variables were called."""

from __future__ import annotations

from ...formats.protobuf.reader import Reader
from ...formats.tensor_bundle import ObjectGraph
from .bundle import OBJECT_GRAPH, Bundle

__all__ = ["full_names"]


def full_names(bundle: Bundle) -> dict[str, str]:
    """Name of a variable -> the key of its tensor, for the names that only one has. Empty without an object graph."""
    stored = bundle.entries.get(OBJECT_GRAPH)
    if stored is None or stored.stored != "string" or stored.shape:
        return {}
    data = stored.load().item()
    budget = bundle.budget
    graph = Reader(memoryview(data), budget, f"tensor '{OBJECT_GRAPH}'").read(ObjectGraph)
    found: dict[str, str] = {}
    twice: set[str] = set()
    for node in graph.nodes:
        for tensor in node.attributes:
            name, key = tensor.full_name, tensor.checkpoint_key
            if found.setdefault(name, key) != key:
                twice.add(name)
    return {name: key for name, key in found.items() if name and name not in twice and key in bundle.entries}
