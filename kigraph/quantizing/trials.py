"""Networks that are tried: loaded from memory, so that a run that is killed leaves no file and nothing in a cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..classifier import Classifier
from ..graph.formats.protobuf.write import encode
from ..graph.packed.store import ConstantStore
from ..graph.session import Session
from ..opening import open_file
from .net import Net

if TYPE_CHECKING:
    from ..weights.card import Card

__all__ = ["content_of", "tried"]


def content_of(net: Net) -> list[bytes | memoryview]:
    """The bytes of the network's file, in pieces."""
    return encode(net.model())


def tried(net: Net, model: Classifier, card: Card) -> Classifier:
    """The network as a model with the labels, backend and threads of another one."""
    descriptor = os.memfd_create("kigraph-quantize.onnx")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            for piece in content_of(net):
                file.write(piece)
        opened = open_file(f"/proc/self/fd/{descriptor}", strict=True)
    finally:
        os.close(descriptor)
    graph, base = opened.graph, model.session
    assert graph is not None
    graph.stores["constants"] = ConstantStore()
    backend = ",".join(base.choice.order)
    session = Session(graph, backend, base.threads, tune="off", precision="fp32")
    return Classifier(graph, session, card, model.labels, model.path, max_pixels=model.max_pixels)
