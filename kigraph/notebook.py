"""What notebooks show of answers and models: tables with every text escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .graph.hints import shown

if TYPE_CHECKING:
    from .vision.labels import Label
    from .weights.card import Card

__all__ = ["card_rows", "model_html", "prediction_html", "prediction_text"]

#: Labels that the one line of a prediction names.
_IN_A_LINE = 3


def prediction_text(source: str, labels: Iterable[Label]) -> str:
    """One line: 'rose.jpg': 99.99% roses, 0.01% tulips."""
    found = list(labels)
    named = ", ".join(f"{label.probability:.2%} {shown(label.label)[1:-1]}" for label in found[:_IN_A_LINE])
    return f"{shown(source)}: {named or 'no labels'}{', ...' if len(found) > _IN_A_LINE else ''}"


def prediction_html(source: str, labels: Iterable[Label]) -> str:
    """The labels with their probabilities and bars of these."""
    from .graph.draw.tables import bar, block, table  # drawing is loaded when it is needed

    rows = [(label.label, f"{label.probability:.2%}", bar(label.probability)) for label in labels]
    return block(source, table(("label", "probability", ""), rows, right=(1,)))


def card_rows(card: Card) -> list[tuple[str, str]]:
    """A card as names and values."""
    where = "in the graph" if card.encoded else "before the graph"
    entrance = f"{card.encoded} (JPEG file), {card.pixels} (pixels)" if card.encoded else card.input
    rows = [
        ("card", f"{card.name}: {card.title}"),
        ("input", f"{entrance}, {card.layout}"),
        ("preprocessing", f"{card.preprocessing}, {where}"),
        ("output", f"{card.output} ({card.scores})"),
    ]
    return [*rows, ("note", card.note)] if card.note else rows


def model_html(heading: str, card: Card | None, rows: Iterable[tuple[str, str]]) -> str:
    """A classifier: its card as a table, and what else is known of it."""
    from .graph.draw.tables import block, definitions  # drawing is loaded when it is needed

    known = card_rows(card) if card is not None else [("card", "none: it cannot classify as it is; ki.Card says how")]
    return block(heading, definitions([*known, *rows]))
