"""The trunk with its new head as one graph, and the card that goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import ops
from ..graph.builder import Graph, Tensor
from ..graph.ir import Literal
from ..graph.session import Session
from ..weights.card import LABELS_BESIDE, Card
from .head import Features, Head
from .trunk import IMAGES, Trunk

__all__ = ["RESULT", "head_scores", "join"]

#: The node with the probabilities, as retrained networks have it since TensorFlow's first example.
RESULT = "final_result"
_SCOPE = "retrained"


def join(
    trunk: Trunk, head: Head, classes: tuple[str, ...], constants: Mapping[str, np.ndarray[Any, Any]] | None = None
) -> tuple[Graph, Card]:
    """A graph from the model's own inputs to the probabilities of the new classes, and its card.

    constants: values that take the places of the model's own, by the names of their operations.
    Where only the input states a number of images, the new graph takes any number.
    """
    model, card = trunk.model, trunk.model.require_card()
    entry = model.graph.tensor(card.input)
    graph = Graph()
    given: dict[Tensor, Tensor] = {}
    with graph.as_default():
        for name, value in (constants or {}).items():
            literal = Literal.of(value)
            op = graph.create_op("Const", (), {"value": literal, "dtype": literal.dtype}, name, exact_name=True)
            given[model.graph.tensor(name)] = op.outputs[0]
        if entry.op.type == "Placeholder" and trunk.batch is None:
            attrs = dict(trunk.graph.tensor(IMAGES).op.attrs)
            start = graph.create_op("Placeholder", (), attrs, entry.op.name, exact_name=True)
            given[entry] = start.outputs[0]
        features = trunk.attach(graph, given)
        probabilities = _head(features, head)
    graph.metadata.update({k: v for k, v in model.graph.metadata.items() if k == "producer"})
    return graph, replace(
        card, name="retrained", title=f"{model.name}, retrained with kigraph: {len(classes)} classes", output=probabilities.name,
        input=entry.name, encoded=_name(model.graph, card.encoded), pixels=_name(model.graph, card.pixels),
        labels=LABELS_BESIDE, scores="probabilities", classes=classes, quantization=None,
    )  # fmt: skip


def _name(graph: Graph, tensor: str | None) -> str | None:
    return None if tensor is None else graph.tensor(tensor).name


def _head(features: Tensor, head: Head) -> Tensor:
    weights = ops.constant(head.weights, name=f"{_SCOPE}/weights")
    biases = ops.constant(head.biases, name=f"{_SCOPE}/biases")
    logits = ops.bias_add(ops.matmul(features, weights, name=f"{_SCOPE}/MatMul"), biases, name=f"{_SCOPE}/logits")
    return ops.softmax(logits, name=RESULT)


def head_scores(head: Head, features: Features, session_threads: int | None = None) -> np.ndarray[Any, Any]:
    """Probabilities (n, classes) float32 of the head, as the saved file computes them."""
    with Graph().as_default() as graph:
        x = ops.placeholder("float32", [None, head.weights.shape[0]], name="features")
        result = _head(x, head)
    session = Session(graph, threads=session_threads)
    parts = [session.run(result, {x: features[at : at + 4096]}) for at in range(0, len(features), 4096)]
    return np.concatenate(parts) if parts else np.zeros((0, head.weights.shape[1]), np.float32)
