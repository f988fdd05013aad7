"""One file on one backend: what it is fed, and what its layers compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..classifier import Classifier, load
from ..errors import FetchError, KigraphError
from ..graph.signatures import SERVING_DEFAULT
from ..kernels.tensor import is_float, is_int
from ..weights.scores import probabilities_of
from .align import Value

if TYPE_CHECKING:
    from ..graph.builder import Operation, Tensor
    from ..graph.models.torch import Architecture

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
    """A model file and how it is run; the first of several is the reference. architecture: as for ``ki.load``."""

    path: str
    backend: str | None = None
    precision: str | None = None
    architecture: Architecture | None = None

    def __str__(self) -> str:
        return " ".join([self.path, *(f"[{part}]" for part in (self.backend, self.precision) if part)])

    def load(self) -> Classifier:
        return load(self.path, backend=self.backend, precision=self.precision, architecture=self.architecture)


class Grid(NamedTuple):
    """Integers from ``low`` to ``high`` that stand for reals: (integer - zero) * scale."""

    scale: float
    zero: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Run:
    """``layers``: values in the order of the graph; ``outputs``: by name; ``scores``: probabilities, if images were classified.

    ``grids``: of outputs that are integers and stand for reals.
    """

    title: str
    layers: tuple[Value, ...]
    outputs: Mapping[str, Array]
    scores: Array | None
    grids: Mapping[str, Grid]
    #: In what it multiplied (Session.precision).
    precision: str = "fp32"

    def real(self, name: str) -> Array:
        """An output as the reals that it stands for."""
        value, grid = self.outputs[name], self.grids.get(name)
        return value if grid is None else (value.astype(np.float64) - grid.zero) * grid.scale


def inputs_for(
    subjects: Sequence[Subject], models: Sequence[Classifier], images: Sequence[str], seed: int
) -> list[dict[str, Array]]:
    """The feeds of each model: the images as its card prepares them, or the same random numbers in its layout."""
    if images:
        return [{model.require_card().input: model.prepare(images)} for model in models]
    first = models[0]
    for subject, model in zip(subjects[1:], models[1:], strict=True):
        if len(model.inputs) != len(first.inputs):
            raise KigraphError(
                f"{subject} takes {len(model.inputs)} inputs, {subjects[0]} takes {len(first.inputs)}; they cannot be fed the same"
            )
    wanted = [_counterparts(first, model) for model in models]
    grids = [[_grid(m, m.inputs[n]) for n in names.values()] for m, names in zip(models, wanted, strict=True)]
    given = dict(zip(first.inputs, (next(filter(None, of), None) for of in zip(*grids, strict=True)), strict=True))
    drawn = _random(first, seed, given)
    feeds = []
    for subject, model, names in zip(subjects, models, wanted, strict=True):
        fed = {}
        for name, target in names.items():
            tensor = model.inputs[target]
            fed[target] = _arranged(
                drawn[name], tensor, f"{subject}: input {target!r}", _grid(model, tensor) or given[name]
            )
        feeds.append(fed)
    return feeds


def _counterparts(first: Classifier, model: Classifier) -> dict[str, str]:
    """The input of a model for each of the first: of the same name if all are the same, else in order."""
    if set(model.inputs) == set(first.inputs):
        return {name: name for name in first.inputs}
    return dict(zip(first.inputs, model.inputs, strict=True))


def _grid(model: Classifier, tensor: Tensor) -> Grid | None:
    grids: Mapping[str, tuple[float, int]] = model.graph.metadata.get("quantization", {})
    if tensor.name not in grids:
        return None
    info = np.iinfo(tensor.dtype)
    return Grid(*grids[tensor.name], int(info.min), int(info.max))


def _random(model: Classifier, seed: int, grids: Mapping[str, Grid | None]) -> dict[str, Array]:
    """Numbers for the inputs of the first model: reals on the integers' grid of an input that has one, else normal ones."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, tensor in model.inputs.items():
        shape = tensor.shape
        if shape is None:
            raise KigraphError(f"{model.name}: input {name!r} has no known shape; give images")
        sizes = model.card.preprocessing.size if model.card is not None else (224, 224)
        rows = iter(sizes)
        dims = tuple(d if d is not None else 2 if i == 0 else next(rows, 8) for i, d in enumerate(shape))
        if (grid := grids[name]) is not None:
            drawn[name] = (rng.integers(grid.low, grid.high, dims, endpoint=True) - grid.zero) * grid.scale
        elif is_float(tensor.dtype):
            drawn[name] = rng.standard_normal(dims).astype(tensor.dtype)
        elif tensor.dtype == np.bool_:
            drawn[name] = np.zeros(dims, np.bool_)  # not in training
        elif is_int(tensor.dtype):
            drawn[name] = rng.integers(0, 8, dims).astype(tensor.dtype)
        else:
            raise KigraphError(f"{model.name}: input {name!r} takes {tensor.dtype}; give images")
    return drawn


def _arranged(value: Array, tensor: Tensor, what: str, grid: Grid | None) -> Array:
    """The value in the layout that a tensor states, and in its integers if they stand for reals."""
    orders = [(*range(value.ndim),), *([_NCHW, _NHWC] if value.ndim == 4 else [])]
    for order in orders:
        shape = tuple(value.shape[i] for i in order)
        if tensor.shape is None or (
            len(tensor.shape) == len(shape) and all(a in (None, b) for a, b in zip(tensor.shape, shape, strict=True))
        ):
            turned = np.ascontiguousarray(value.transpose(order)).reshape(shape)
            if grid is not None and is_float(value.dtype) and is_int(tensor.dtype):
                steps: Array = np.clip(np.rint(turned / grid.scale) + grid.zero, grid.low, grid.high)
                return steps.astype(tensor.dtype)
            if is_float(value.dtype) != is_float(tensor.dtype):
                raise KigraphError(f"{what} takes {tensor.dtype}, the reference takes {value.dtype}; give images")
            return turned.astype(tensor.dtype)
    raise KigraphError(
        f"{what} has shape {tensor.shape}, the reference's has {value.shape}; they are not the same network"
    )


def run_subject(subject: Subject, model: Classifier, fed: Mapping[str, Array]) -> Run:
    """Runs a model twice: as it is always run, for the outputs, and with every layer fetched."""
    graph = model.graph
    feeds = {model.inputs[n] if n in model.inputs else graph.tensor(n): v for n, v in fed.items()}
    card = model.card
    if card is not None and card.input in fed:
        names = {card.output: card.output} if not graph.signatures else {n: n for n in model.outputs}
    else:
        names = {n: n for n in model.signatures[SERVING_DEFAULT].outputs}
    ends = {n: graph.tensor(t) for n, t in names.items()}
    outputs = dict(zip(ends, map(np.asarray, _computed(model, list(ends.values()), feeds)), strict=True))
    grids = {name: grid for name, tensor in ends.items() if (grid := _grid(model, tensor)) is not None}
    scores = probabilities_of(outputs[card.output], card) if card is not None and card.output in outputs else None
    ops = list(_layers(feeds, ends.values()))
    try:
        values = _computed(model, [op.outputs[0] for op in ops], feeds)
    except FetchError:  # a branch that is not taken has no values: the outputs are compared alone
        ops, values = [], []
    layers = tuple(Value(op.name, op.type, np.asarray(v)) for op, v in zip(ops, values, strict=True))
    return Run(
        str(subject),
        tuple(v for v in layers if v.value.ndim >= 2 and v.value.size),
        outputs,
        scores,
        grids,
        model.session.precision,
    )


def _computed(model: Classifier, fetches: Sequence[Tensor], feeds: Mapping[Tensor, Array]) -> list[Array]:
    """The values of the fetches; images that a graph of a fixed batch does not take at once are run in parts."""
    fixed, run = None if model.card is None else model.fixed_batch, model.session.run
    counts = {len(v) for v in feeds.values() if np.ndim(v)}
    if fixed is None or len(counts) != 1 or (count := counts.pop()) == fixed or count % fixed:
        return list(run(list(fetches), feeds))
    parts = [
        run(list(fetches), {t: v[at : at + fixed] if np.ndim(v) else v for t, v in feeds.items()})
        for at in range(0, count, fixed)
    ]
    # What does not depend on the images is the same in every part.
    return [
        np.concatenate(values) if np.ndim(values[0]) and len(values[0]) == fixed else values[0]
        for values in zip(*parts, strict=True)
    ]


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
