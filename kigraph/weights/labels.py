"""The names of a model's classes: given, in the file, or in a file beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LabelError
from ..graph.hints import shown
from ..vision.labels import LABEL_SETS, LabelSet, label_set, read_label_file
from .card import LABELS_BESIDE, LABELS_INSIDE, Card
from .embedded import embedded_labels
from .scores import classes_of

if TYPE_CHECKING:
    from ..graph.builder import Graph

__all__ = ["check_count", "find_labels"]

_LABEL_FILES = ("labels.txt", "output_labels.txt", "retrained_labels.txt", "labels.json")


def find_labels(
    graph: Graph, card: Card | None, labels: str | os.PathLike[str] | LabelSet | Sequence[str] | None, path: Path
) -> tuple[LabelSet | None, str]:
    """The labels, and which label file beside the model was not taken, and why."""
    if labels is not None:
        return _given(labels), ""
    if card is None:
        return None, ""
    if card.classes:
        return LabelSet("card", card.classes), ""
    if card.labels == LABELS_INSIDE:
        return embedded_labels(graph), ""
    timm = graph.metadata.get("timm")
    if timm is not None and timm.labels:
        return LabelSet("config.json", timm.labels), ""
    if card.labels != LABELS_BESIDE:
        return label_set(card.labels) if card.labels in LABEL_SETS else read_label_file(card.labels), ""
    rejected = []
    for name in (f"{path.stem}_labels.txt", f"{path.stem}.labels.txt", *_LABEL_FILES):
        if (path.parent / name).is_file():
            found = read_label_file(path.parent / name)
            # A file that happens to be there and does not fit belongs to another model.
            if (classes := _classes(graph, card)) in (None, len(found)):
                return found, ""
            rejected.append(f"{name} beside it has {len(found)} names, but {card.output} has {classes} outputs")
    return None, "; ".join(rejected)


def _given(labels: str | os.PathLike[str] | LabelSet | Sequence[str]) -> LabelSet:
    if isinstance(labels, LabelSet):
        return labels
    if isinstance(labels, str | os.PathLike):
        return label_set(str(labels)) if labels in LABEL_SETS else read_label_file(labels)
    if isinstance(labels, Sequence) and all(isinstance(name, str) for name in labels):
        return LabelSet("given", tuple(labels))
    raise LabelError(
        "labels must be a label file, the name of a label set, a LabelSet or a list of names, got "
        f"{type(labels).__name__} {shown(labels)}"
    )


def _classes(graph: Graph, card: Card) -> int | None:
    return classes_of(graph.tensor(card.output).shape, card)


def check_count(graph: Graph, card: Card, labels: LabelSet) -> None:
    """LabelError if the card's output has another number of classes than there are names."""
    classes = _classes(graph, card)
    if classes is not None and classes != len(labels):
        raise LabelError(
            f"label set {labels.name!r} has {len(labels)} names, but {card.output} has {classes} outputs; "
            "pass the labels of this model (labels=, or --labels)"
        )
