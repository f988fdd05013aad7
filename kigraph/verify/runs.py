"""One file on one backend: what it is fed, and what its layers compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..classifier import Classifier, load
from ..errors import KigraphError
from ..graph.signatures import SERVING_DEFAULT
from ..kernels.tensor import is_float, is_int
from ..weights.scores import probabilities_of
from .align import Value

if TYPE_CHECKING:
    from ..graph.builder import Operation, Tensor

__all__ = ["Run", "Subject", "inputs_for", "run_subject"]

Array = np.ndarray[Any, Any]

#: Ops whose results are no layers: they hand on values, or prepare shapes and constants.
_NO_LAYERS = frozenset(
    [
        "Identity",
        "IdentityN",
        "Reshape",
        "Squeeze",
        "ExpandDims",
        "Transpose",
        "StopGradient",
        "Cast",
        "Const",
        "Placeholder",
        "PlaceholderWithDefault",
        "Shape",
        "Pack",
        "Unpack",
        "StridedSlice",
        "Slice",
        "Split",
        "SplitV",
        "Fill",
        "Range",
        "NoOp",
        "VariableV2",
        "Snapshot",
        "CheckNumerics",
    ]
)
_NCHW, _NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model file and how it is run; the first of several is the reference."""

    path: str
    backend: str | None = None
    precision: str | None = None

    def __str__(self) -> str:
        return " ".join([self.path, *(f"[{part}]" for part in (self.backend, self.precision) if part)])

    def load(self) -> Classifier:
        return load(self.path, backend=self.backend, precision=self.precision)


@dataclass(frozen=True, slots=True)
class Run:
    """``layers``: values in the order of the graph; ``outputs``: by name; ``scores``: probabilities, if images were classified."""

    title: str
    layers: tuple[Value, ...]
    outputs: Mapping[str, Array]
    scores: Array | None


def inputs_for(
    subjects: Sequence[Subject], models: Sequence[Classifier], images: Sequence[str], seed: int
) -> list[dict[str, Array]]:
    """The feeds of each model: the images as its card prepares them, or the same random numbers in its layout."""
    if images:
        return [{model.require_card().input: model.prepare(images)} for model in models]
    first = models[0]
    drawn = _random(first, seed)
    feeds = [dict(drawn)]
    for subject, model in zip(subjects[1:], models[1:], strict=True):
        if len(model.inputs) != len(first.inputs):
            raise KigraphError(
                f"{subject} takes {len(model.inputs)} inputs, {subjects[0]} takes {len(first.inputs)}; they cannot be fed the same"
            )
        same_names = set(model.inputs) == set(drawn)
        fed = {}
        for name, mine in zip(drawn, model.inputs, strict=True):
            target = name if same_names else mine
            fed[target] = _arranged(drawn[name], model.inputs[target], f"{subject}: input {target!r}")
        feeds.append(fed)
    return feeds


def _random(model: Classifier, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, tensor in model.inputs.items():
        shape = tensor.shape
        if shape is None:
            raise KigraphError(f"{model.name}: input {name!r} has no known shape; give images")
        sizes = model.card.preprocessing.size if model.card is not None else (224, 224)
        rows = iter(sizes)
        dims = tuple(d if d is not None else 2 if i == 0 else next(rows, 8) for i, d in enumerate(shape))
        if is_float(tensor.dtype):
            drawn[name] = rng.standard_normal(dims).astype(tensor.dtype)
        elif is_int(tensor.dtype):
            drawn[name] = rng.integers(0, 8, dims).astype(tensor.dtype)
        else:
            raise KigraphError(f"{model.name}: input {name!r} takes {tensor.dtype}; give images")
    return drawn


def _arranged(value: Array, tensor: Tensor, what: str) -> Array:
    """The value in the layout that a tensor states."""
    orders = [(*range(value.ndim),), *([_NCHW, _NHWC] if value.ndim == 4 else [])]
    for order in orders:
        shape = tuple(value.shape[i] for i in order)
        if tensor.shape is None or (
            len(tensor.shape) == len(shape) and all(a in (None, b) for a, b in zip(tensor.shape, shape, strict=True))
        ):
            if is_float(value.dtype) != is_float(tensor.dtype):
                raise KigraphError(f"{what} takes {tensor.dtype}, the reference takes {value.dtype}; give images")
            return np.ascontiguousarray(value.transpose(order)).astype(tensor.dtype)
    raise KigraphError(
        f"{what} has shape {tensor.shape}, the reference's has {value.shape}; they are not the same network"
    )


def run_subject(subject: Subject, model: Classifier, fed: Mapping[str, Array]) -> Run:
    """Runs a model twice: as it is always run, for the outputs, and with every layer fetched."""
    graph, session = model.graph, model.session
    feeds = {graph.tensor(n): v for n, v in fed.items()}
    card = model.card
    if card is not None and card.input in fed:
        names = {card.output: card.output} if not graph.signatures else {n: n for n in model.outputs}
    else:
        names = {n: n for n in model.signatures[SERVING_DEFAULT].outputs}
    ends = {n: graph.tensor(t) for n, t in names.items()}
    outputs = dict(zip(ends, map(np.asarray, session.run(list(ends.values()), feeds)), strict=True))
    scores = probabilities_of(outputs[card.output], card) if card is not None and card.output in outputs else None
    ops = list(_layers(feeds, ends.values()))
    values = session.run([op.outputs[0] for op in ops], feeds)
    layers = tuple(Value(op.name, op.type, np.asarray(v)) for op, v in zip(ops, values, strict=True))
    return Run(str(subject), tuple(v for v in layers if v.value.ndim >= 2 and v.value.size), outputs, scores)


def _layers(feeds: Mapping[Tensor, Array], ends: Any) -> Iterator[Operation]:
    """The ops between feeds and outputs that compute numbers, in the graph's order."""
    needed: set[Operation] = set()
    stack = [t.op for t in ends if t not in feeds]
    graph = next(iter(feeds)).graph if feeds else next(iter(ends)).graph
    while stack:
        op = stack.pop()
        if op not in needed:
            needed.add(op)
            stack += [t.op for t in op.inputs if t not in feeds]
    moved: set[Operation] = set()
    for op in graph.operations:
        if op not in needed or not any(t in feeds or t.op in moved for t in op.inputs):
            continue
        moved.add(op)
        if op.type not in _NO_LAYERS and op.outputs and is_float(op.outputs[0].dtype):
            yield op
