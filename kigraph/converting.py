"""A model from one file format to another, with its card, and proved to be the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .classifier import Classifier, load
from .errors import GraphError
from .graph.formats.source import Source
from .graph.hints import guess_outputs
from .graph.signatures import SERVING_DEFAULT
from .kernels.atomic_files import check_writable, replacing
from .opening import open_file
from .weights.card import Card
from .weights.card_file import card_document

if TYPE_CHECKING:
    from .graph.builder import Graph, Tensor
    from .graph.models.torch import Architecture
    from .verify import Report

__all__ = ["FORMATS", "Ends", "convert", "onnx_ends", "save", "write_card"]

#: What the suffix of the written file says.
FORMATS = {".pb": "TensorFlow frozen GraphDef", ".onnx": "ONNX", ".safetensors": "safetensors (weights only)"}
#: Ops whose outputs are places or values of the best scores.
_PICKING = frozenset(["ArgMax", "TopK", "TopKV2"])


def save(model: Classifier, path: str | os.PathLike[str]) -> Path:
    """Writes a loaded model, and its card beside it as 'NAME.card.json'; the suffix is one of FORMATS.

    A graph that decodes images itself is written whole as .pb, and from its decoded image on as .onnx. safetensors are for
    models whose own file has weights only. Raises GraphError for an op that the format does not have, OSError where nothing can
    be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise GraphError(f"cannot tell the format of '{target}'; expected a path that ends in {', '.join(FORMATS)}")
    check_writable(target)
    stale = _own_card(target)
    card = model.card
    if suffix == ".safetensors":
        _save_weights(model, target)
    elif suffix == ".pb":
        from .graph.writers.graphdef import save_graphdef

        save_graphdef(model.graph, target)
        card = _renamed(card, lambda tensor: model.graph.tensor(tensor).name)
    else:
        card = _save_onnx(model, target)
    if card is not None:
        write_card(model, card, target)
    elif stale is not None:
        stale.unlink(missing_ok=True)
    return target


def _own_card(target: Path) -> Path | None:
    """The card beside a file that is about to be replaced, if it is for that file alone."""
    beside = target.with_name(f"{target.name}.card.json")
    if not target.is_file() or not beside.is_file():
        return None
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return beside if isinstance(found, dict) and found.get("sha256") == Source(target).sha256 else None


def _save_weights(model: Classifier, target: Path) -> None:
    from .graph.writers.safetensors import save_safetensors

    weights = open_file(model.path).weights if model.path is not None else None
    if weights is None:
        raise GraphError(
            f"{model.name} holds its network, which safetensors cannot; write it as .onnx or .pb. Weights-only files can be "
            "written as safetensors"
        )
    save_safetensors(weights, target)


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a model's graph begins and ends as an ONNX file. ``names``: tensor -> what it is called in the file; ``card``: of the file."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    names: Mapping[str, str]
    card: Card | None


def onnx_ends(model: Classifier) -> Ends:
    """The ends of a model: those that the file itself names, else its card's; behind an image decoder."""
    graph, card = model.graph, model.card
    if card is not None and not graph.signatures:
        inputs = {card.input: card.input}
        outputs = {card.output: card.output, **{n: n for n in _beside(graph, card)}}
    else:
        called = model.signatures[SERVING_DEFAULT]
        inputs, outputs = ({n: t.name for n, t in ends.items()} for ends in (called.inputs, called.outputs))
    names = {graph.tensor(t).name: n.removesuffix(":0") for n, t in (*inputs.items(), *outputs.items())}
    if card is not None:
        card = replace(card, encoded=None, pixels=None)
        card = _renamed(card, lambda tensor: names.get(graph.tensor(tensor).name, tensor.removesuffix(":0")))
    return Ends(tuple(inputs.values()), tuple(outputs.values()), names, card)


def _save_onnx(model: Classifier, target: Path) -> Card | None:
    from .graph.writers.onnx import save_onnx

    ends = onnx_ends(model)
    save_onnx(model.graph, target, ends.outputs, ends.inputs, ends.names)
    return ends.card


def _beside(graph: Graph, card: Card) -> list[str]:
    """The other outputs of a graph without signatures, to which the card's input leads alone: what nothing reads, and the
    scores from which such an output picks the best.
    """
    start, taken = graph.tensor(card.input), graph.tensor(card.output)
    ends = dict.fromkeys([taken, *map(graph.tensor, guess_outputs(graph.freeze()))])
    scores = [t.op.inputs[0] for t in ends if t.op.type in _PICKING and not t.consumers()]
    found = [t for t in dict.fromkeys([*ends, *scores]) if t is not taken and t is not start]
    return [t.name for t in found if _leads(start, t)]


def _leads(start: Tensor, end: Tensor) -> bool:
    """Whether ``end`` needs ``start`` and no other placeholder."""
    seen, stack, met = set(), [end], False
    while stack:
        tensor = stack.pop()
        if tensor is start:
            met = True
        elif tensor.op not in seen:
            if tensor.op.type == "Placeholder":
                return False
            seen.add(tensor.op)
            stack += tensor.op.inputs
    return met


def _renamed(card: Card | None, name: Callable[[str], str]) -> Card | None:
    """The card with the names that its tensors have in another file."""
    if card is None:
        return None
    encoded, pixels = (None if t is None else name(t) for t in (card.encoded, card.pixels))
    return replace(card, input=name(card.input), output=name(card.output), encoded=encoded, pixels=pixels)


def write_card(model: Classifier, card: Card, target: Path) -> None:
    """The card with the classes' names, so that the new file needs no other beside it."""
    if model.labels is not None:
        card = replace(card, classes=model.labels.names, labels="file")
    beside = target.with_name(f"{target.name}.card.json")
    with replacing(beside, "w", encoding="utf-8", shared=True) as file:
        file.write(json.dumps(card_document(card, Source(target).sha256), indent=2) + "\n")


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    tolerance: float = 1e-4,
    architecture: Architecture | None = None,
) -> Report:
    """Writes the model of one file as another, and compares the two on random inputs; see ``verify``.

    architecture: which network the source is, if it has weights only (see ``load``). The report's ``ok`` says whether the written file computes the same.
    """
    from .verify import Subject, verify

    written = save(load(source, architecture=architecture), target)
    # weights written as weights say no more than before
    again = architecture if written.suffix.lower() == ".safetensors" else None
    subjects = [Subject(os.fspath(source), architecture=architecture), Subject(os.fspath(written), architecture=again)]
    return verify(subjects, tolerance=tolerance)
