"""A model called by the names that its file has for its inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .errors import FeedError, GraphError
from .graph.foreign import adopt_items
from .graph.hints import guess_inputs, guess_outputs, shown
from .graph.signatures import SERVING_DEFAULT, Signature

if TYPE_CHECKING:
    from .graph.builder import Graph, Tensor
    from .graph.session import Session

__all__ = ["Call", "array_of", "calls_of"]

Values: TypeAlias = "dict[str, np.ndarray[Any, Any]]"


class Call:
    """One signature of a model: ``call(x=array)`` or ``call({"x": array})`` gives a dict of arrays by output name.

    ``inputs``, ``outputs``: the file's names -> tensors of the graph (``dtype``, ``shape``). A single input may be given without
    its name. Where every input and output states the same fixed batch (one item, or some images), a multiple of it is run in parts.
    """

    def __init__(self, session: Session, name: str, signature: Signature) -> None:
        self.name, self._session = name, session
        graph = session.graph
        self.inputs: dict[str, Tensor] = {n: graph.tensor(t) for n, t in signature.inputs.items()}
        self.outputs: dict[str, Tensor] = {n: graph.tensor(t) for n, t in signature.outputs.items()}

    def __call__(self, *arguments: Any, **named: Any) -> Values:
        if len(arguments) + bool(named) != 1:
            raise FeedError(f"signature '{self.name}' takes one array, one dict, or its inputs by name ({self._taken})")
        return self.run(arguments[0] if arguments else named)

    def run(self, given: Any) -> Values:
        """The outputs for an array, or for a dict by the names of inputs. FeedError for a missing or unknown name."""
        feeds = self._feeds(given)
        parts = self._parts(feeds)
        if parts is None:
            return self._once(feeds)
        results = [self._once({n: v[at : at + parts] for n, v in feeds.items()}) for at in _starts(feeds, parts)]
        return {n: np.concatenate([r[n] for r in results]) for n in self.outputs}

    def _once(self, feeds: Mapping[str, Any]) -> Values:
        values = self._session.run(list(self.outputs.values()), {self.inputs[n]: v for n, v in feeds.items()})
        return dict(zip(self.outputs, map(np.asarray, values), strict=True))

    def _feeds(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            if len(self.inputs) != 1:
                raise FeedError(f"the model takes {len(self.inputs)} inputs; pass a dict by name: {self._taken}")
            return {next(iter(self.inputs)): given}
        unknown = [n for n in given if n not in self.inputs]
        if unknown:
            raise FeedError(f"the model has no input {shown(unknown[0])}; it takes {self._taken}")
        missing = [n for n, t in self.inputs.items() if n not in given and t.op.type != "PlaceholderWithDefault"]
        if missing:
            raise FeedError(f"input {shown(missing[0])} is missing; the model takes {self._taken}")
        return dict(given)

    @property
    def _taken(self) -> str:
        return ", ".join(f"{n!r} {t.type}" for n, t in self.inputs.items())

    def _parts(self, feeds: dict[str, Any]) -> int | None:
        """The fixed batch, if what is given is another multiple of it; None where the graph runs it at once."""
        batches = {(t.shape or (None,))[0] for t in (*self.inputs.values(), *self.outputs.values())}
        fixed = next(iter(batches)) if len(batches) == 1 else None
        # A first axis of another size than 1 is surely a batch where images are taken, else it may be anything.
        images = any(t.type.rank == 4 for t in self.inputs.values())
        if not fixed or (fixed > 1 and not images) or len(feeds) != len(self.inputs):
            return None
        for name, value in feeds.items():
            feeds[name] = array_of(value, f"input {shown(name)}") if not isinstance(value, str | bytes) else value
        counts = {np.shape(v)[:1] for v in feeds.values()}
        ranks = all(np.ndim(v) == self.inputs[n].type.rank for n, v in feeds.items())
        if len(counts) != 1 or not ranks or (count := counts.pop()[0]) == fixed or not count:
            return None
        if count % fixed:
            raise FeedError(f"the graph takes {fixed} images at once, got {count}, which is no multiple")
        return fixed


def array_of(value: Any, what: str) -> np.ndarray[Any, Any]:
    """An array of what a user gives: of NumPy, of another library, or lists. FeedError for what is none."""
    try:
        return np.asarray(adopt_items(value, what))
    except GraphError as error:
        raise FeedError(str(error)) from None
    except Exception as error:  # lists of different lengths; an object's own __array__ may raise anything
        raise FeedError(f"{what} is not a regular array: {error}") from error


def _starts(feeds: Mapping[str, Any], step: int) -> range:
    return range(0, len(next(iter(feeds.values()))), step)


def calls_of(session: Session, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()) -> dict[str, Call]:
    """The signatures of a session's graph by name; 'serving_default' is made of the names given if the file has none.

    Without names it is what the graph shows: its placeholders, and the results that nothing reads.
    """
    graph = session.graph
    found = {name: Call(session, name, signature) for name, signature in graph.signatures.items()}
    if SERVING_DEFAULT not in found:
        made = _default(graph, inputs, outputs)
        found[SERVING_DEFAULT] = Call(session, SERVING_DEFAULT, made)
    return found


def _default(graph: Graph, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Signature:
    frozen = graph.freeze()
    ins, outs = inputs or guess_inputs(frozen), outputs or guess_outputs(frozen)
    return Signature({n: n for n in ins}, {n: n for n in outs})
