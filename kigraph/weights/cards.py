"""Weights cards: what belongs to a set of weights besides the numbers.

Which tensor takes the image, how the image is resized and scaled, which tensor has the scores and what each of them means
differ from file to file, and a wrong choice gives plausible wrong labels instead of an error. So they are bound to the
weights: the card is chosen by the file's SHA-256 if it is a known one, else by the family of a weights-only file, else by
the graph's own nodes. It is shown by ``kigraph inspect`` and ``classify``, and can be overridden everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import CardError
from ..kernels.records import dataclass
from ..vision.normalize import INCEPTION, INCEPTION_2015, Normalization, Preprocessing
from .card import LABELS_BESIDE, LABELS_INSIDE, Card
from .catalogue import CATALOGUE
from .embedded import CARD_NODE, read_card_text, scale_of
from .guessed import guess_card
from .keras_card import keras_card
from .timm_card import with_timm
from .torch_card import torch_card

if TYPE_CHECKING:
    from ..graph.builder import Graph

__all__ = ["CARDS", "LABELS_BESIDE", "LABELS_INSIDE", "Card", "card_by_name", "find_card"]


@dataclass(frozen=True, slots=True)
class CardRule:
    """A card and how to recognise its graphs: ``build`` returns the card fitted to a graph, or None."""

    name: str
    recognises: str
    build: Callable[[Graph], Card | None]


def _op_types(graph: Graph) -> dict[str, str]:
    return {op.name: op.type for op in graph.operations}


def _shape(graph: Graph, tensor: str) -> tuple[int | None, ...] | None:
    return graph.tensor(tensor).shape


def _square(graph: Graph, tensor: str, default: int) -> tuple[int, int]:
    """Height and width of an image tensor where the graph states them, else ``default``."""
    shape = _shape(graph, tensor)
    if shape is not None and len(shape) == 4 and shape[1] and shape[2]:
        return (shape[1], shape[2])
    return (default, default)


def _classes(graph: Graph, tensor: str) -> int | None:
    shape = _shape(graph, tensor)
    return shape[-1] if shape else None


_JPEG_2015 = Card(
    name="inception-v3-2015",
    title="Inception v3 of 2015, the graph decodes JPEG",
    encoded="DecodeJpeg/contents:0",
    pixels="DecodeJpeg:0",
    input="Mul:0",
    output="softmax:0",
    preprocessing=Preprocessing((299, 299), "legacy", INCEPTION_2015),
    labels="imagenet-2015",
)


def _inception_2015(graph: Graph) -> Card | None:
    ops = _op_types(graph)
    if ops.get("DecodeJpeg") != "DecodeJpeg" or not {"DecodeJpeg/contents", "Mul", "softmax", "pool_3"} <= ops.keys():
        return None
    return _JPEG_2015


def _retrained_2015(graph: Graph) -> Card | None:
    ops = _op_types(graph)
    if ops.get("DecodeJpeg") != "DecodeJpeg" or not {"DecodeJpeg/contents", "Mul", "final_result"} <= ops.keys():
        return None
    return replace(
        _JPEG_2015,
        name="inception-v3-2015-retrained",
        title="Inception v3 of 2015 with a retrained last layer",
        output="final_result:0",
        labels=LABELS_BESIDE,
    )


def _retrained(graph: Graph) -> Card | None:
    """Later retraining scripts: a module's placeholder and ``final_result``, no JPEG decoding in the graph."""
    ops = _op_types(graph)
    for node, normalization in (
        ("Mul", INCEPTION_2015),
        ("input", INCEPTION),
        ("Placeholder", Normalization((0.0,) * 3, (255.0,) * 3)),
    ):
        if "final_result" in ops and ops.get(node) == "Placeholder":
            size = _square(graph, f"{node}:0", 299)
            return Card(
                name="retrained",
                title="a retrained image classifier",
                input=f"{node}:0",
                output="final_result:0",
                preprocessing=Preprocessing(size, "legacy", normalization),
                labels=LABELS_BESIDE,
                note=_CARD_LOST if "retrained/weights" in ops else "",
            )
    return None


#: Its trunk may have cut and scaled photographs in any way: the answers then differ from those of the report.
_CARD_LOST = (
    "the card of this model is missing: `kigraph retrain` wrote NAME.pb.card.json beside NAME.pb, copy both and the labels; "
    "assumed: the whole photograph, resized and scaled as by TensorFlow's retraining scripts"
)
_SLIM_OUTPUT = re.compile(r"(?:InceptionV\d|MobilenetV\d)/(?:Logits/)?Predictions/Reshape_1")


def _slim(graph: Graph, family: str, card: str, title: str) -> Card | None:
    ops = _op_types(graph)
    output = next((n for n in ops if n.startswith(family) and _SLIM_OUTPUT.fullmatch(n)), None)
    if output is None or ops.get("input") != "Placeholder":
        return None
    size = _square(graph, "input:0", 224 if family == "Mobilenet" else 299)
    known = _classes(graph, f"{output}:0") in (None, 1001)
    return Card(
        name=card,
        title=title,
        input="input:0",
        output=f"{output}:0",
        # slim's preprocess_for_eval: central 87.5 %, legacy bilinear, to [-1, 1].
        preprocessing=Preprocessing(size, "legacy", INCEPTION, crop=0.875),
        labels="imagenet-1001" if known else LABELS_BESIDE,
    )


def _built_in(
    name: str, title: str, rule: str, labels: str = "imagenet-1000", assumed: str = ""
) -> Callable[[Graph], Card | None]:
    """Weights-only files run in the built-in Inception v3; ``graph.metadata`` says with which head."""

    def build(graph: Graph) -> Card | None:
        found = graph.metadata
        output = str(found.get("output", "predictions:0"))
        if not {"input", output.partition(":")[0]} <= _op_types(graph).keys():
            return None
        card = Card(
            name=name,
            title=title,
            input="input:0",
            output=output,
            preprocessing=Preprocessing(_square(graph, "input:0", 299), rule, INCEPTION),
            labels=labels if _classes(graph, output) in (None, 1000) else LABELS_BESIDE,
            scores=found.get("scores", "probabilities"),
            note=str(found.get("assumed", assumed)),
        )
        if found.get("variant") == "2015":
            preprocessing = Preprocessing((299, 299), "half_pixel", INCEPTION)
            title_2015 = "Inception v3 of 2015, weights with torchvision's names"
            return replace(card, title=title_2015, preprocessing=preprocessing, labels="imagenet-2015", note="")
        timm = found.get("timm")
        return card if timm is None else with_timm(card, timm)

    return build


def _embedded(graph: Graph) -> Card | None:
    """A model that kigraph trained and saved."""
    found = read_card_text(graph)
    if found is None:
        return None
    return Card(
        name="kigraph",
        title=found["title"],
        input=found["input"],
        output=found["output"],
        preprocessing=scale_of(found),
        labels=LABELS_INSIDE if found["classes"] is not None else LABELS_BESIDE,
    )


CARDS: tuple[CardRule, ...] = (
    CardRule("kigraph", f"a card in the graph itself, node {CARD_NODE}", _embedded),
    CardRule("inception-v3-2015", "nodes DecodeJpeg, Mul, pool_3, softmax", _inception_2015),
    CardRule("inception-v3-2015-retrained", "nodes DecodeJpeg, Mul, final_result", _retrained_2015),
    CardRule(
        "inception-v3-slim",
        "nodes input, InceptionV3/Predictions/Reshape_1",
        lambda graph: _slim(graph, "Inception", "inception-v3-slim", "Inception of TensorFlow slim"),
    ),
    CardRule(
        "mobilenet-v1",
        "nodes input, MobilenetV1/Predictions/Reshape_1",
        lambda graph: _slim(graph, "Mobilenet", "mobilenet-v1", "MobileNet of TensorFlow slim"),
    ),
    CardRule("retrained", "a placeholder Mul, input or Placeholder, and final_result", _retrained),
    CardRule(
        "inception-v3-torchvision",
        "weights with torchvision's names",
        _built_in(
            "inception-v3-torchvision",
            "Inception v3, weights of torchvision",
            "torchvision",
            assumed="pixels scaled to [-1, 1], as for torchvision's own weights; the file does not say",
        ),
    ),
    CardRule(
        "inception-v3-keras",
        "weights with Keras' layers",
        _built_in(
            "inception-v3-keras",
            "Inception v3, weights of Keras applications",
            "keras_nearest",
            assumed="pixels scaled to [-1, 1], as keras.applications does; the file does not say",
        ),
    ),
    CardRule("torch", "a network of torchvision or timm, built from a state dict", torch_card),
    CardRule("keras", "a Keras model of one image input that scales pixels, or is known by name", keras_card),
    CardRule(
        "inception-v3-kigraph",
        "weights with kigraph's names",
        _built_in("inception-v3-kigraph", "Inception v3, weights saved by kigraph", "half_pixel"),
    ),
)

#: Cards that no graph shows by itself: the family of the weights decides.
_BY_FAMILY = {
    "torchvision": "inception-v3-torchvision",
    "keras": "inception-v3-keras",
    "keras-model": "keras",
    "torch": "torch",
    "kigraph": "inception-v3-kigraph",
}


def find_card(graph: Graph, *, family: str | None = None, sha256: str | None = None) -> Card | None:
    """The card of a graph: by checksum, then by family, then by nodes, then what the graph itself shows; else None."""
    by_hash = next((e.card for e in CATALOGUE if sha256 is not None and e.member is None and e.sha256 == sha256), None)
    name = by_hash or _BY_FAMILY.get(family or "")
    if name is not None:
        card = _rule(name).build(graph)
        if card is not None:
            return replace(card, note="") if by_hash else card
    for rule in CARDS:
        if rule.name not in _BY_FAMILY.values() and (card := rule.build(graph)) is not None:
            return card
    return guess_card(graph)


def card_by_name(name: str, graph: Graph) -> Card:
    """The card of that name fitted to a graph. CardError if it is unknown or its tensors are not there."""
    card = _rule(name).build(graph)
    if card is None:
        raise CardError(f"card {name!r} does not fit this graph: it is for {_rule(name).recognises}")
    return card


def _rule(name: str) -> CardRule:
    for rule in CARDS:
        if rule.name == name:
            return rule
    raise CardError(f"unknown card {name[:80]!r}; known: {', '.join(rule.name for rule in CARDS)}")
