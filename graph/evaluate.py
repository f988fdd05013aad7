"""Evaluates ops with the reference backend: constant folding, and shapes that are computed from constants.

``evaluate`` computes one op immediately. A ``Fold`` is an op that is computed when a literal is read; the folds that it reads
are computed first, each once, without recursion. Inside ``shared_values()`` results are kept for the next literal, up to a
bound.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from ..kernels.backends import REFERENCE
from ..kernels.contracts.base import Contract
from ..kernels.devices import HOST
from ..kernels.errors import KigraphError
from ..kernels.kernel import Kernel, NoConstants, Query
from ..kernels.registry import select
from ..kernels.tensor import TensorType
from .errors import GraphError, located
from .ir import Key, Literal
from .opdefs import DESCRIBES, STRUCTURAL, NeedsValue, Resolved, Site, resolve

__all__ = ["SHARED_BYTES", "Fold", "computed", "evaluate", "shape_key", "shape_of", "shared_values"]

Value = np.ndarray[Any, Any]

#: Bytes of computed values that are kept inside ``shared_values()``.
SHARED_BYTES = 1 << 27
#: Bytes of results that a fold keeps permanently: shapes and the like, which are read repeatedly.
_SMALL = 1 << 10


def shape_key(value: Value) -> Key:
    """The key of a literal that holds the value of Shape, Size or Rank."""
    return Key("shape", value.dtype.str, value.shape, value.tobytes())


def shape_of(op: str, site: Site) -> Value | None:
    """The value of Shape, Size or Rank, which follow from the input's type alone; None if it is not known."""
    x = site.inputs[0]
    dtype = site.attr("out_type", np.dtype(np.int32))
    if op == "Rank":
        return None if x.rank is None else np.array(x.rank, np.int32)
    if not x.known:
        return None
    sizes = x.dims if op == "Shape" else (x.size,)
    if any(n > np.iinfo(dtype).max for n in sizes):
        raise GraphError(f"{op} '{site.name}': {x} has sizes that {dtype} does not hold; take out_type int64")
    return np.array(sizes if op == "Shape" else sizes[0], dtype)


def evaluate(site: Site, inputs: Sequence[Value | None]) -> tuple[Value, ...] | None:
    """The outputs of one op, or None if an input that it needs is not known or its op has no kernel."""
    if site.op in DESCRIBES:
        value = shape_of(site.op, site)
        return None if value is None else (value,)
    if site.op in STRUCTURAL or site.op == "PlaceholderWithDefault" or site.op.startswith("Assign"):
        return None
    try:
        return _evaluate(resolve(site), inputs)
    except NeedsValue:
        return None
    except KigraphError as error:
        raise located(error, site.op, site.name) from error.__cause__
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise GraphError(f"{site.op} '{site.name}': {error}") from error


def _evaluate(resolved: Resolved, inputs: Sequence[Value | None]) -> tuple[Value, ...] | None:
    values = resolved.pick(inputs)
    if any(v is None for v in values):
        return None
    arrays: list[Value] = [v for v in values if v is not None]
    contract, params = resolved.contract, resolved.params
    given = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    types = contract.check(given, params)
    wanted = resolved.outputs()
    if contract.view:
        return _all_outputs(resolved, inputs, wanted, [arrays[0].reshape(wanted[0].dims)])
    query = Query(contract, given, types, params)
    kernel = select(query, (REFERENCE,)).kernel
    if kernel.evaluate is not None:
        return kernel.evaluate(arrays, params)
    made = [o.reshape(t.dims) for o, t in zip(_run(kernel, query, arrays), wanted, strict=False)]
    return _all_outputs(resolved, inputs, wanted, made)


def _run(kernel: Kernel, query: Query, arrays: Sequence[Value]) -> list[Value]:
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, NoConstants())
    outputs = [np.empty(t.dims, t.dtype) for t in query.outputs]
    workspace = HOST.allocate(prepared.workspace_bytes) if prepared.workspace_bytes else None
    prepared.bind(arrays, outputs, workspace)()
    return outputs


def computed(contract: Contract[Any], params: Any, arrays: Sequence[Value]) -> list[Value]:
    """What a contract computes, by the reference backend: for writers, which tell other programs what an op does."""
    given = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    query = Query(contract, given, contract.check(given, params), params)
    return _run(select(query, (REFERENCE,)).kernel, query, arrays)


def _all_outputs(
    resolved: Resolved, inputs: Sequence[Value | None], wanted: Sequence[TensorType], computed: Sequence[Value]
) -> tuple[Value, ...] | None:
    """The kernel's outputs, then the forwarded ones; None if there are others."""
    forwarded = resolved.forwarded
    results = list(computed)
    for index in range(len(computed), len(wanted)):
        value = inputs[forwarded[index]] if index in forwarded else None
        if value is None:
            return None
        results.append(value)
    return tuple(results)


class Fold:
    """One op on constants, computed when a literal made of its ``output`` is read."""

    __slots__ = ("_kept", "inputs", "shared", "site")

    def __init__(self, site: Site, inputs: tuple[Literal, ...], *, shared: bool = True) -> None:
        self.site, self.inputs = site, inputs
        #: Whether more than one node reads a result, so that it is worth keeping.
        self.shared = shared
        self._kept: tuple[Value, ...] | None = None

    def output(self, index: int) -> Callable[[], Value]:
        """What reads one of the results."""
        return _Output(self, index)

    def operands(self) -> list[Fold]:
        """The folds whose results this one needs."""
        if self._kept is not None:
            return []
        return [x.load.fold for x in self.inputs if isinstance(x.load, _Output)]

    def compute(self, value_of: Callable[[Literal, bool], Value]) -> tuple[Value, ...]:
        """The results, from the values of the inputs, and whether these are worth keeping."""
        if self._kept is not None:
            return self._kept
        read = {id(x): value_of(x, self.shared) for x in dict.fromkeys(self.inputs)}
        values = [read[id(x)] for x in self.inputs]
        outputs = evaluate(replace(self.site, value_of=values.__getitem__), values)
        if outputs is None:
            raise GraphError(f"{self.site.op} '{self.site.name}' was taken for a constant, but cannot be computed")
        for array in outputs:
            array.flags.writeable = False  # it may have several readers
        if sum(a.nbytes for a in outputs) <= _SMALL:
            self._kept = outputs
        return outputs


class _Output:
    __slots__ = ("fold", "index")

    def __init__(self, fold: Fold, index: int) -> None:
        self.fold, self.index = fold, index

    def __call__(self) -> Value:
        values: _Values = getattr(_LOCAL, "values", None) or _Values()
        return values.of(self.fold)[self.index]


class _Values:
    """Results of folds and values of literals, those used last up to SHARED_BYTES. Of one thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Fold | Literal, tuple[Value, ...]] = OrderedDict()
        self._bytes = 0

    def of(self, wanted: Fold) -> tuple[Value, ...]:
        """The results of a fold. What is computed on the way is dropped after its last use, unless it is kept."""
        order, live = self._order(wanted)
        uses: dict[Fold, int] = {wanted: 1}
        for fold in order:
            for other in fold.operands():
                uses[other] = uses.get(other, 0) + 1

        def value_of(literal: Literal, shared: bool) -> Value:
            if isinstance(literal.load, _Output):
                return live[literal.load.fold][literal.load.index]
            found = self._find(literal)
            if found is None:
                found = (literal.array(),)
                if shared:
                    self._keep(literal, found)
            return found[0]

        for fold in order:
            operands = fold.operands()
            live[fold] = fold.compute(value_of)
            if fold.shared:
                self._keep(fold, live[fold])
            for other in operands:
                uses[other] -= 1
                if not uses[other]:
                    del live[other]
        return live[wanted]

    def _order(self, wanted: Fold) -> tuple[list[Fold], dict[Fold, tuple[Value, ...]]]:
        """What has to be computed, in order, and what is known."""
        order: dict[Fold, None] = {}
        live: dict[Fold, tuple[Value, ...]] = {}
        opened: set[Fold] = set()
        stack = [wanted]
        while stack:
            fold = stack[-1]
            if fold in order or fold in live:
                stack.pop()
            elif fold in opened:
                order[stack.pop()] = None
            elif (found := self._find(fold)) is not None:
                live[stack.pop()] = found
            else:
                opened.add(fold)
                stack += fold.operands()
        return list(order), live

    def _find(self, item: Fold | Literal) -> tuple[Value, ...] | None:
        found = self._kept.get(item)
        if found is not None:
            self._kept.move_to_end(item)
        return found

    def _keep(self, item: Fold | Literal, values: tuple[Value, ...]) -> None:
        if item in self._kept:
            return
        self._kept[item] = values
        self._bytes += sum(a.nbytes for a in values)
        while self._bytes > SHARED_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= sum(a.nbytes for a in gone)


class shared_values:  # noqa: N801 - reads like a function
    """``with shared_values():`` literals that are read inside share what is computed for them; dropped at the end."""

    __slots__ = ("_outermost",)

    def __enter__(self) -> None:
        self._outermost = getattr(_LOCAL, "values", None) is None
        if self._outermost:
            _LOCAL.values = _Values()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._outermost:
            _LOCAL.values = None


_LOCAL = threading.local()
