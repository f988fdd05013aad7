"""Cards as JSON beside a model file, and what a user changes of a card.

``kigraph card FILE > model.card.json`` writes one. It is bound to the file by its SHA-256, so that the card of another file is
never taken.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CardError
from ..graph.hints import guess_inputs, guess_outputs, shown
from ..graph.signatures import SERVING_DEFAULT
from ..kernels.atomic_files import open_regular
from ..vision.labels import clean_label
from ..vision.normalize import CHANNELS, Normalization, Preprocessing
from ..vision.resize import RESIZE_RULES
from .card import LABELS_BESIDE, Card
from .guessed import guess_card

if TYPE_CHECKING:
    from ..graph.builder import Graph

__all__ = ["CARD_FILE", "card_beside", "card_document", "changed", "read_card_file"]

#: The name that goes with any model file of its folder; 'NAME.card.json' goes with NAME.pb, NAME.onnx ... only.
CARD_FILE = "model.card.json"
_MOST_BYTES = 4 << 20
_SCORES = ("probabilities", "logits", "sigmoid", "values")
_LAYOUTS = ("NHWC", "NCHW")


def card_document(card: Card, sha256: str) -> dict[str, Any]:
    """The content of a card file: ``card.to_json()`` and the SHA-256 of the model file that it is for."""
    return {"kigraph_card": 1, "sha256": sha256, **card.to_json()}


def card_beside(path: Path, sha256: Callable[[], str]) -> Card | None:
    """The card beside a model file, if there is one for it. CardError for one with its name that is for other content."""
    for name in (f"{path.name}.card.json", f"{path.stem}.card.json", CARD_FILE):
        beside = path.parent / name
        if not beside.is_file():
            continue
        stated, card = _read(beside)
        if stated == sha256():
            return card
        if name != CARD_FILE or path.stem == "model":
            raise CardError(
                f"{beside}: the card is for a file with SHA-256 {stated[:16]}..., {path.name} has {sha256()[:16]}...; if the model "
                f"has changed, write its card anew (kigraph card {path.name}), or remove the card"
            )
    return None


def read_card_file(path: str | Path, sha256: Callable[[], str]) -> Card:
    """The card in a JSON file, given by name. CardError if it is for other content, or wrong."""
    stated, card = _read(Path(path))
    if stated and stated != sha256():
        raise CardError(
            f"{path}: the card is for a file with SHA-256 {stated[:16]}..., this one has {sha256()[:16]}..."
        )
    return card


def _read(path: Path) -> tuple[str, Card]:
    try:
        with open_regular(path) as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CardError(f"{path}: the card cannot be read: {error.strerror or error}") from None
    if len(data) > _MOST_BYTES:
        raise CardError(f"{path}: larger than {_MOST_BYTES:,} bytes, the limit of a card")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CardError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(found, dict) or found.get("kigraph_card") != 1:
        raise CardError(f"{path}: no card; expected the JSON that `kigraph card FILE` prints (kigraph_card: 1)")
    return str(found.get("sha256", "")), _card(path, found)


class _Fields:
    """The fields of a card file; a wrong one is a CardError that names it."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self._path, self._values = path, values

    def fail(self, key: str, expected: str) -> CardError:
        return CardError(f"{self._path}: {key}: found {shown(self._values.get(key))}; expected {expected}")

    def within(self, key: str) -> _Fields:
        value = self._values.get(key)
        if not isinstance(value, dict):
            raise self.fail(key, "an object")
        return _Fields(self._path, value)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._values.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.fail(key, "a text")
        return value

    def optional(self, key: str) -> str | None:
        return None if self._values.get(key) is None else self.text(key)

    def one_of(self, key: str, known: Collection[str], default: str) -> Any:
        value = self._values.get(key, default)
        if not isinstance(value, str) or value not in known:
            raise self.fail(key, f"one of {', '.join(known)}")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key) or []
        if not isinstance(value, list) or not all(isinstance(c, str) for c in value):
            raise self.fail(key, "a list of names")
        return tuple(map(clean_label, value))

    def size(self, key: str) -> tuple[int, int]:
        value = self._values.get(key)
        if not isinstance(value, list) or len(value) != 2 or not all(type(n) is int and 0 < n < 1 << 15 for n in value):
            raise self.fail(key, "[height, width]")
        return (value[0], value[1])

    def three(self, key: str) -> tuple[float, float, float]:
        value = self._values.get(key)
        numbers = value if isinstance(value, list) else []
        good = [float(v) for v in numbers if type(v) in (int, float) and abs(v) <= sys.float_info.max]
        if len(good) != 3 or len(numbers) != 3 or (key == "std" and 0 in good):
            raise self.fail(key, "three numbers, for pixels from 0 to 255; a std is not 0")
        return (good[0], good[1], good[2])

    def pair(self, key: str) -> tuple[float, float] | None:
        value = self._values.get(key)
        if value is None:
            return None
        numbers = value if isinstance(value, list) else []
        if (
            len(numbers) != 2
            or not all(type(v) in (int, float) and math.isfinite(v) for v in numbers)
            or not numbers[0]
        ):
            raise self.fail(key, "[scale, zero]; the scale is not 0")
        return (float(numbers[0]), float(numbers[1]))

    def fraction(self, key: str) -> float:
        value = self._values.get(key, 1.0)
        if type(value) not in (int, float) or not 0 < value <= 1:
            raise self.fail(key, "a number up to 1")
        return float(value)


def _card(path: Path, found: Mapping[str, Any]) -> Card:
    card = _Fields(path, found)
    inner = card.within("preprocessing")
    size, scale = inner.size("size"), Normalization(inner.three("mean"), inner.three("std"))
    rule, channels = inner.one_of("rule", RESIZE_RULES, "half_pixel"), inner.one_of("channels", CHANNELS, "RGB")
    return Card(
        name=card.text("name", "given"),
        title=card.text("title", "a model with a card beside it"),
        input=card.text("input"),
        output=card.text("output"),
        preprocessing=Preprocessing(size, rule, scale, inner.fraction("crop"), channels),
        labels=card.text("labels", LABELS_BESIDE),
        scores=card.one_of("scores", _SCORES, "probabilities"),
        encoded=card.optional("encoded"),
        pixels=card.optional("pixels"),
        note=str(found.get("note", ""))[:1000],
        layout=card.one_of("layout", _LAYOUTS, "NHWC"),
        classes=card.names("classes"),
        quantization=card.pair("quantization"),
    )


def changed(card: Card | None, graph: Graph, changes: Mapping[str, Any]) -> Card | None:
    """The card with what a user stated instead: input, output, size, mean, std, rule, channels, layout, scores.

    Without a card one is made, for which the graph must show what is not stated. CardError for what is still missing.
    """
    stated = {k: v for k, v in changes.items() if v is not None}
    if not stated:
        return card
    base = card or _new(graph, stated)
    old = base.preprocessing
    norm = old.normalization
    preprocessing = replace(
        old,
        size=stated.get("size", old.size),
        rule=stated.get("rule", old.rule),
        channels=stated.get("channels", old.channels),
        normalization=Normalization(stated.get("mean", norm.mean), stated.get("std", norm.std)),
    )
    kept: dict[str, Any] = {k: stated[k] for k in ("input", "output", "layout", "scores") if k in stated}
    if "input" in stated:  # a graph that decodes images itself is entered behind its decoder
        kept.update(encoded=None, pixels=None)
    return replace(base, **kept, preprocessing=preprocessing, name=f"{base.name} (changed)", note="")


def _new(graph: Graph, stated: Mapping[str, Any]) -> Card:
    """A card from the graph's own ends and what is stated."""
    called = graph.signatures.get(SERVING_DEFAULT)
    frozen = graph.freeze()
    inputs = (stated["input"],) if "input" in stated else tuple(called.inputs) if called else guess_inputs(frozen)
    outputs = (stated["output"],) if "output" in stated else tuple(called.outputs) if called else guess_outputs(frozen)
    found = guess_card(graph, inputs, outputs)
    if found is not None:
        return found
    for what, names in (("input", inputs), ("output", outputs)):
        if len(names) != 1:
            listed = ", ".join(names[:8]) or "none"
            raise CardError(f"--{what} is needed: the graph has {len(names)} tensors that it could be ({listed})")
    shape = graph.tensor(inputs[0]).shape
    if "size" not in stated:
        raise CardError(f"--size is needed: {inputs[0]} has shape {shape}, which is no batch of images")
    scale = Normalization((127.5,) * 3, (127.5,) * 3)
    return Card(
        "given",
        "a model with a given card",
        inputs[0],
        outputs[0],
        Preprocessing(stated["size"], "half_pixel", scale),
        LABELS_BESIDE,
    )
