"""How an op definition states its attributes, and what TensorFlow takes for one that is missing.

What an op does not list is refused by name, unless it begins with ``_``: those are hints of tools, which no op reads.
Types and counts that repeat what the inputs say must agree with them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, Protocol

import numpy as np

from ...kernels.records import dataclass
from ...kernels.tensor import DType, TensorType, dtype_name
from ..errors import GraphError, UnsupportedOpError
from ..ir import LIST, UNKNOWN

__all__ = [
    "ACTIVATION", "FALSE", "FINISH", "FORMAT", "I32", "I64", "REQUIRED", "TRUE", "Attr", "Foreign", "Row", "T", "check_attributes", "of", "types",
]  # fmt: skip


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


#: The default of an attribute that has none.
REQUIRED = _Required()

Kind = Literal[
    "bool", "int", "float", "string", "type", "shape", "tensor", "ints", "list", "list(type)", "list(float)", "list(string)",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attr:
    """One attribute of an op type. ``kind`` and ``default`` are TensorFlow's.

    ``of``: a type that must be that of this input. ``count``: a number that must be that of the inputs less ``count``.
    ``allowed``: the values that TensorFlow takes, or those of them that are served.
    ``own``: kigraph's, on an op type of TensorFlow; a file that uses TensorFlow's op type may not have it.
    """

    kind: Kind
    default: Any = REQUIRED
    of: int | None = None
    count: int | None = None
    allowed: tuple[Any, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """The value of an attribute that kigraph knows and TensorFlow does not, on a node of TensorFlow's from a file."""

    value: Any


class _Site(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def attrs(self) -> Mapping[str, Any]: ...
    @property
    def inputs(self) -> tuple[TensorType, ...]: ...


_KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("True or False", (bool, np.bool_, int, np.integer)),
    "int": ("an integer", (int, np.integer)),
    "float": ("a number", (float, int, np.floating, np.integer)),
    "string": ("a text", (str, bytes)),
    "type": ("an element type", (np.dtype,)),
}


_LISTS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "list(type)": ("element types", (np.dtype,)),
    "list(float)": ("numbers", (float, int, np.floating, np.integer)),
    "list(string)": ("texts", (str, bytes)),
}


def check_attributes(site: _Site, known: Mapping[str, Attr]) -> None:
    """UnsupportedOpError for an attribute that is unknown or has a value that is not served; GraphError for one that is
    of the wrong kind or contradicts the inputs."""
    for name, value in site.attrs.items():
        rule = known.get(name)
        if rule is None:
            if name[:1] != "_":
                _refuse_unknown(site, known, name, value)
        elif type(value) is Foreign and rule.kind == "type" and not rule.own:
            raise UnsupportedOpError(
                f"{site.op} '{site.name}': element type {value.value} ({name}) is not computed with; cast to float32 first, or "
                "feed a tensor downstream"
            )
        elif type(value) is Foreign:
            _refuse_unknown(site, {k: v for k, v in known.items() if not v.own}, name, value.value)
        elif rule.of is not None:
            if rule.of < len(site.inputs) and value is not site.inputs[rule.of].dtype:
                _check_type(site, name, value, rule.of)
        else:
            _check_value(site, name, value, rule)


def _text(value: Any) -> str:
    if isinstance(value, np.dtype):
        return "an element type that NumPy lacks" if value == UNKNOWN else dtype_name(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse_unknown(site: _Site, known: Mapping[str, Attr], name: str, value: Any) -> NoReturn:
    names = ", ".join(sorted(known)) or "none"
    raise UnsupportedOpError(
        f"{site.op} '{site.name}': attribute {name} = {_text(value)} is not known, so its effect is not either; "
        f"{site.op} has: {names}. Remove it from the node, or feed a tensor downstream of it"
    )


def _check_type(site: _Site, name: str, value: Any, index: int) -> None:
    dtype = site.inputs[index].dtype
    if not isinstance(value, np.dtype):
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must be an element type, got {_text(value)}")
    if value != dtype and UNKNOWN not in (value, dtype) and dtype != LIST:  # a TensorArray's flow is a float in files
        raise GraphError(
            f"{site.op} '{site.name}': attribute {name} is {dtype_name(value)}, but input {index} is {dtype_name(dtype)}; "
            "they must agree (use cast)"
        )


def _check_value(site: _Site, name: str, value: Any, rule: Attr) -> None:
    wanted = _KINDS.get(rule.kind)
    if wanted is not None and (
        not isinstance(value, wanted[1]) or (rule.kind in ("int", "float") and isinstance(value, bool))
        or (rule.kind == "bool" and value not in (0, 1))
    ):  # fmt: skip
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must be {wanted[0]}, got {_text(value)}")
    if rule.kind == "int" and not -(1 << 63) <= value < 1 << 63:
        raise GraphError(f"{site.op} '{site.name}': attribute {name} must be an integer of 64 bits, got {_text(value)}")
    if rule.kind == "float" and isinstance(value, int) and abs(value) > sys.float_info.max:
        raise GraphError(
            f"{site.op} '{site.name}': attribute {name} must be a number that a float holds, got {_text(value)}"
        )
    _check_list(site, name, value, rule)
    if rule.count is not None and value != len(site.inputs) - rule.count:
        given = len(site.inputs) - rule.count
        raise GraphError(f"{site.op} '{site.name}': attribute {name} is {value}, but it has {given} such inputs")
    if rule.allowed:
        plain = value.decode("latin-1") if isinstance(value, bytes) else value
        if plain not in rule.allowed and value is not UNKNOWN:
            possible = ", ".join(map(_text, rule.allowed))
            raise UnsupportedOpError(
                f"{site.op} '{site.name}': attribute {name} = {_text(value)} is not supported; possible: {possible}"
            )


def _check_list(site: _Site, name: str, value: Any, rule: Attr) -> None:
    """A shape, or a list."""
    if rule.kind in _LISTS:
        kind, of_entries = _LISTS[rule.kind]
        if not isinstance(value, (tuple, list)) or not all(isinstance(v, of_entries) for v in value):
            raise GraphError(f"{site.op} '{site.name}': attribute {name} must be a list of {kind}, got {_text(value)}")
    if (shape := rule.kind == "shape" and value is not None) or rule.kind == "ints":
        entries = (int, np.integer, type(None)) if shape else (int, np.integer)
        if not isinstance(value, (tuple, list)) or not all(isinstance(v, entries) for v in value):
            kind = "a tuple of sizes, None for unknown ones" if shape else "a list of integers"
            raise GraphError(f"{site.op} '{site.name}': attribute {name} must be {kind}, got {_text(value)}")


# --- what op definitions state their attributes with --------------------------------------------------------------------

Row = Mapping[str, Attr]


def of(index: int, default: Any = REQUIRED) -> Attr:
    """A type that must be that of input ``index``."""
    return Attr("type", default, of=index)


def types(*names: str) -> tuple[DType, ...]:
    """Element types by name."""
    return tuple(map(np.dtype, names))


FALSE, TRUE = Attr("bool", False), Attr("bool", True)
I32, I64 = types("int32", "int64")
#: What most ops have: T, the type of input 0.
T: Row = {"T": of(0)}
FORMAT = Attr("string", "NHWC", allowed=("NHWC", "NCHW"))
ACTIVATION: Row = {"activation": Attr("string", "none", allowed=("none", "relu", "relu6"))}
#: A chain of elementwise ops on the result (kernels/contracts/chains.py).
FINISH: Row = {"finish": Attr("string", "")}
