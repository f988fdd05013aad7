"""How an op of the graph becomes a contract with parameters.

An OpDef is looked up by the node's op type. ``lower`` maps one use of the op (a Site: attributes, input types, values
of constant inputs) to a contract, its parameters and the inputs that the kernel gets. Shape inference follows from the
contract's own rule, so there is one rule per op.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any, TypeVar

import numpy as np

from ...kernels.contracts.base import Contract, require_size
from ...kernels.errors import KigraphError
from ...kernels.records import dataclass
from ...kernels.tensor import DType, Params, Shape, TensorType, dtype_name, is_int
from ..errors import GraphError, UnsupportedOpError, located
from .attributes import Row, T, check_attributes
from .channels import channels_last, stated_types

__all__ = [
    "Lowered",
    "NeedsValue",
    "OpDef",
    "Site",
    "attr_dtype",
    "attr_ints",
    "entries",
    "ints",
    "one_int",
    "required",
    "simple",
]

V = TypeVar("V")

#: Uses that an op definition remembers: a network has a few of each op.
_MOST_KNOWN = 1024
_PLAIN = frozenset([bool, int, str, bytes, type(None)])


class NeedsValue(Exception):  # noqa: N818 - a signal, not an error
    """Lowering needs the value of an input that is not known yet (a shape that is computed or fed, say)."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


def _no_value(index: int) -> np.ndarray[Any, Any] | None:
    return None


def _no_sizes(index: int) -> Shape:
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """One use of an op."""

    name: str
    op: str
    attrs: Mapping[str, Any]
    inputs: tuple[TensorType, ...]
    #: Value of an input, or None if it is not known.
    value_of: Callable[[int], np.ndarray[Any, Any] | None] = _no_value
    #: Entries of an input that holds sizes (a vector or scalar of integers), None for what is not known of them.
    sizes_of: Callable[[int], Shape] = _no_sizes

    def attr(self, name: str, default: Any = None) -> Any:
        return self.attrs.get(name, default)

    def value(self, index: int) -> np.ndarray[Any, Any]:
        """The value of an input that lowering depends on; raises NeedsValue if it is not known."""
        if index >= len(self.inputs):
            raise GraphError(f"{self.op} '{self.name}' has {len(self.inputs)} inputs; input {index} is missing")
        value = self.value_of(index)
        if value is None:
            raise NeedsValue(index)
        return value

    def unsupported(self, what: str, remedy: str) -> UnsupportedOpError:
        return UnsupportedOpError(f"{self.op} '{self.name}': {what} is not supported; {remedy}")


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a kernel is to compute: the contract, its parameters, and which of the node's inputs it gets."""

    contract: Contract[Any]
    params: Params = Params()
    inputs: tuple[int, ...] | None = None

    def pick(self, of_node: Sequence[V]) -> tuple[V, ...]:
        """What belongs to the inputs that the kernel gets, from what belongs to the node's."""
        return tuple(of_node) if self.inputs is None else tuple(of_node[i] for i in self.inputs)


@dataclass(frozen=True, slots=True)
class OpDef:
    """One op type. ``arity``: least and most number of inputs.

    ``values``: inputs whose value, not only their type, lowering needs. ``forwards``: attributes -> the outputs that are
    just one of the inputs (output -> input). ``infer``: types of the outputs where the contract's rule does not say all of it.
    ``unknown``: types of the outputs while a needed value is unknown (default: one output, the first input's dtype).
    ``attributes``: all that the op has, as TensorFlow states them; default: T, the type of input 0. Others are refused by
    name.
    """

    name: str
    lower: Callable[[Site], Lowered]
    arity: tuple[int, int | None] = (1, 1)
    values: tuple[int, ...] = ()
    infer: Callable[[Site], tuple[TensorType, ...]] | None = None
    unknown: Callable[[Site], tuple[TensorType, ...]] | None = None
    forwards: Callable[[Mapping[str, Any]], Mapping[int, int]] = lambda attrs: {}
    attributes: Row = field(default_factory=lambda: T)
    #: Its contract is dynamic: said here for an op whose parameters are inputs, which may not be known before it runs.
    dynamic: bool = False
    #: What was found for uses that attributes and input types alone decide.
    _known: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def by_types(self) -> bool:
        """Whether attributes and input types alone decide the output types, so that equal ones need no second inference."""
        return not self.values and self.infer is None and self.unknown is None

    def lowered(self, site: Site) -> Lowered:
        """What a kernel is to compute. Raises NeedsValue, or an error of kigraph that names the node."""
        return self._remembered("lowered", site, self._lowered)

    def _lowered(self, site: Site) -> Lowered:
        self.check_arity(site)
        check_attributes(site, self.attributes)
        if channels_last(site) is not None:  # the plan has made another node of it (passes/legalize_layouts.py)
            raise site.unsupported(f"data_format {site.attrs['data_format']}", "transpose to channels last")
        return _ours(self.lower, site)

    def check_arity(self, site: Site) -> None:
        low, high = self.arity
        count = len(site.inputs)
        if count < low or (high is not None and count > high):
            wanted = str(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"
            raise GraphError(f"{self.name} '{site.name}' takes {wanted} inputs, got {count}")

    def types(self, site: Site) -> tuple[TensorType, ...]:
        """Types of the outputs, as far as they can be known."""
        return self._remembered("types", site, self._checked_types)

    def _remembered(self, what: str, site: Site, find: Callable[[Site], V]) -> V:
        """``find(site)``, which is not called again for equal attributes and types if it has asked for no value.

        A frozen Inception v3 has 3,900 uses of ops, 300 of them different.
        """
        spelled = _spelled(site.attrs)
        if spelled is None:
            return find(site)
        key = (what, spelled, site.inputs)
        found: V | None = self._known.get(key)
        if found is None:
            asked: list[int] = []
            found = find(_watched(site, asked))
            if not asked and len(self._known) < _MOST_KNOWN:
                self._known[key] = found
        return found

    def _checked_types(self, site: Site) -> tuple[TensorType, ...]:
        self.check_arity(site)
        check_attributes(site, self.attributes)
        first = channels_last(site)
        found = _ours(self._types, site) if first is None else self._types_of_first(*first)
        if self.infer is not None or self.unknown is not None:  # else the contract has looked
            _ours(lambda site: require_size(site.op, found), site)
        return found

    def _types_of_first(self, last: Site, order: tuple[int, ...]) -> tuple[TensorType, ...]:
        """Of an op with channels first, by the rule for channels last."""
        try:
            return stated_types(last.op, _ours(self._types, last), order)
        except KigraphError as error:
            error.add_note("shapes are given here with the channels last; the node has them first")
            raise

    def _types(self, site: Site) -> tuple[TensorType, ...]:
        try:
            if self.infer is not None:
                return self.infer(site)
            lowered = self.lower(site)
        except NeedsValue:
            if self.unknown is not None:
                return self.unknown(site)
            return (TensorType(site.inputs[0].dtype),)
        return lowered.contract.check(lowered.pick(site.inputs), lowered.params)


def _spelled(attrs: Mapping[str, Any]) -> Hashable | None:
    """Attributes as what tells them from others; None if one is not a plain value."""
    spelled = []
    for name, value in attrs.items():
        kind = type(value)
        if kind is float:
            spelled.append((name, kind, value.hex()))  # 0.0 and -0.0 are equal, and not the same attribute
        elif kind in _PLAIN or isinstance(value, np.dtype):
            spelled.append((name, kind, value))  # nor are True and 1
        elif kind is tuple and all(type(v) is int for v in value):
            spelled.append((name, kind, value))
        else:
            return None
    return tuple(spelled)


def _watched(site: Site, asked: list[int]) -> Site:
    """The site; ``asked`` gets the number of each input whose value is asked for."""

    def value_of(index: int) -> np.ndarray[Any, Any] | None:
        asked.append(index)
        return site.value_of(index)

    def sizes_of(index: int) -> Shape:
        asked.append(index)
        return site.sizes_of(index)

    return Site(site.name, site.op, site.attrs, site.inputs, value_of, sizes_of)


def _ours(function: Callable[[Site], V], site: Site) -> V:
    """Calls a rule of an op; any exception becomes an error of kigraph that names the node."""
    try:
        return function(site)
    except NeedsValue:
        raise
    except KigraphError as error:
        raise located(error, site.op, site.name) from error.__cause__
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise GraphError(f"{site.op} '{site.name}': {error}") from error


def simple(name: str, contract: Contract[Any], attributes: Row = T) -> OpDef:
    """An op that is its contract. Each parameter is the attribute of its name, a number with a default."""
    kinds: Mapping[str, Callable[[Any], Any]] = {"bool": bool, "int": int, "float": float}
    rules = [(f.name, kinds[attributes[f.name].kind], attributes[f.name].default) for f in fields(contract.params)]
    without = Lowered(contract) if not rules else None

    def lower(site: Site) -> Lowered:
        return without or Lowered(contract, contract.params(**{n: kind(site.attr(n, d)) for n, kind, d in rules}))

    return OpDef(name, lower, arity=contract.arity, attributes=attributes)


def ints(site: Site, index: int, what: str) -> tuple[int, ...]:
    """The value of an input that must be a scalar or a vector of integers."""
    value = site.value(index)
    if not is_int(value.dtype) or value.ndim > 1:
        raise GraphError(
            f"{site.op} '{site.name}': {what} must be a vector of integers, got {dtype_name(value.dtype)} of shape {value.shape}"
        )
    return tuple(int(v) for v in value.ravel())


def one_int(site: Site, index: int, what: str) -> int:
    """The value of an input that must be one integer."""
    values = ints(site, index, what)
    if len(values) != 1:
        raise GraphError(f"{site.op} '{site.name}': {what} must be one integer, got {len(values)}")
    return values[0]


def entries(site: Site, index: int) -> Shape:
    """Entries of a vector or scalar of integers as far as they are known; None if not even their number is."""
    if index >= len(site.inputs):
        raise GraphError(f"{site.op} '{site.name}' has {len(site.inputs)} inputs; input {index} is missing")
    if site.value_of(index) is not None:
        return ints(site, index, f"input {index}")
    known = site.sizes_of(index)
    if known is not None:
        return known
    shape = site.inputs[index].shape
    if shape == ():
        return (None,)
    # A vector that is longer than any shape is refused when its value is known.
    return (None,) * shape[0] if shape and shape[0] is not None and shape[0] <= 64 else None


def attr_ints(site: Site, name: str, count: int | None = None, default: Sequence[int] | None = None) -> tuple[int, ...]:
    """An attribute that must be a list of integers."""
    value = site.attrs.get(name, default)
    if type(value) is tuple and set(map(type, value)) == {int} and count in (None, len(value)):
        return _int64(site, name, value)
    if value is None or isinstance(value, (str, bytes)) or not all(isinstance(v, (int, np.integer)) for v in value):
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must be a list of integers, got {value!r}")
    if count is not None and len(value) != count:
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must have {count} entries, got {value!r}")
    return _int64(site, name, tuple(int(v) for v in value))


def _int64(site: Site, name: str, values: tuple[int, ...]) -> tuple[int, ...]:
    if any(not -(1 << 63) <= v < 1 << 63 for v in values):
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must have integers of 64 bits, got {values}")
    return values


def required(site: Site, name: str) -> int:
    """An attribute without a default that must be a number."""
    value = site.attrs.get(name)
    if not isinstance(value, (int, np.integer)):
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must be an integer, got {value!r}")
    return int(value)


def attr_dtype(site: Site, name: str, default: DType | None = None) -> DType:
    """An attribute that must be an element type."""
    value = site.attrs.get(name, default)
    if not isinstance(value, np.dtype):
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must be an element type, got {value!r}")
    return value
