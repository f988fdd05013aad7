"""A card inside the graph: a string constant ``kigraph/card`` of JSON, which other programs ignore.

kigraph writes it into the files of models that it has trained, so that one file says everything: input, output, how pixels
become numbers, and the names of the classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import CardError
from ..graph.ir import Literal
from ..vision.labels import LabelSet, clean_label
from ..vision.normalize import Normalization, Preprocessing
from ..vision.resize import RESIZE_RULES

if TYPE_CHECKING:
    from ..graph.builder import Graph

__all__ = ["CARD_NODE", "card_text", "embedded_labels", "read_card_text", "scale_of"]

CARD_NODE = "kigraph/card"
_VERSION = 1
_MOST_BYTES = 1 << 20


def card_text(
    *, input: str, output: str, size: tuple[int, int], mean: float, std: float, rule: str, classes: Sequence[str] | None, title: str
) -> str:  # fmt: skip
    """The JSON of a card: pixels 0 to 255 become (pixel - mean) / std, resized to ``size`` (height, width) by ``rule``."""
    card = {
        "version": _VERSION, "title": title, "input": input, "output": output, "size": list(size), "mean": mean, "std": std,
        "rule": rule, "classes": None if classes is None else list(classes),
    }  # fmt: skip
    return json.dumps(card)


def read_card_text(graph: Graph) -> dict[str, Any] | None:
    """The checked content of the card in a graph; None if there is none. CardError if it is damaged."""
    if CARD_NODE not in graph:
        return None
    op = graph.operation(CARD_NODE)
    literal = op.attrs.get("value")
    if op.type != "Const" or not isinstance(literal, Literal) or literal.shape != () or literal.dtype != object:
        raise CardError(f"node '{CARD_NODE}' is {op.type}; expected a string constant")
    data = literal.array().item()
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError(f"{len(data)} bytes")
        card = json.loads(data)
        fits = isinstance(card, dict) and card["version"] == _VERSION and _texts_fit(card) and _numbers_fit(card)
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise CardError(f"the card in node '{CARD_NODE}' cannot be read: {error}") from None
    if not fits:
        raise CardError(f"the card in node '{CARD_NODE}' has wrong or missing entries")
    return dict(card)


def _texts_fit(card: dict[str, Any]) -> bool:
    return (
        all(isinstance(card[k], str) for k in ("title", "input", "output", "rule"))
        and card["rule"] in RESIZE_RULES
        and (card["classes"] is None or all(isinstance(c, str) for c in card["classes"]))
    )


def _numbers_fit(card: dict[str, Any]) -> bool:
    return (
        len(card["size"]) == 2
        and all(isinstance(n, int) and 1 <= n <= 8192 for n in card["size"])
        and all(isinstance(card[k], int | float) and math.isfinite(card[k]) for k in ("mean", "std"))
        and card["std"] != 0
    )


def scale_of(card: dict[str, Any]) -> Preprocessing:
    """How pixels become the model's input."""
    height, width = card["size"]
    mean, std = float(card["mean"]), float(card["std"])
    return Preprocessing((height, width), card["rule"], Normalization((mean,) * 3, (std,) * 3))


def embedded_labels(graph: Graph) -> LabelSet | None:
    """The class names in a graph's own card."""
    card = read_card_text(graph)
    if card is None or card["classes"] is None:
        return None
    return LabelSet("embedded", tuple(map(clean_label, card["classes"])))
