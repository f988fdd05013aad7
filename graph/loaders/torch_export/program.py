"""The JSON of an exported program, checked, and its weights as literals that stay in the archive.

Layout of an archive (torch/export/pt2_archive): NAME/models/MODEL.json, NAME/data/weights/MODEL_weights_config.json with the
weights beside it as raw members, NAME/data/constants likewise. Types are numbered as in torch/_export/serde/schema.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ....kernels.tensor import DType, TensorType
from ...formats.archive import Archive
from ...formats.json_text import check_json
from ...formats.limits import Budget, brief
from ...formats.source import Source
from ...ir import Literal
from ..weights import widen_bfloat16

__all__ = ["Program", "read_program", "tensor_type"]

_MAX_JSON = 256 << 20
_BFLOAT16 = 13
DTYPES: Mapping[int, DType] = {
    n: np.dtype(name)
    for n, name in (
        (1, "uint8"), (2, "int8"), (3, "int16"), (4, "int32"), (5, "int64"), (6, "float16"), (7, "float32"), (8, "float64"),
        (12, "bool"), (_BFLOAT16, "float32"),
    )
}  # fmt: skip
_AGAIN = "Export it again: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')."


@dataclass(frozen=True, slots=True)
class Program:
    """``graph`` and ``signature``: of the JSON. ``values``: constants of the program by the name of their array."""

    graph: Mapping[str, Any]
    signature: Mapping[str, Any]
    values: Mapping[str, Literal]


def read_program(source: Source, archive: Archive, budget: Budget) -> Program:
    """The program and its constants. LoadError for another layout, or anything that does not fit."""
    names = [n for n in archive.members if n.count("/") == 2 and "/models/" in n and n.endswith(".json")]
    if len(names) != 1:
        old = "serialized_exported_program.json" in archive.members
        found = "the layout of PyTorch before 2.8" if old else f"{len(names)} programs"
        raise budget.error("the archive", found, "one program NAME/models/MODEL.json", _AGAIN)
    root, _, file = names[0].partition("/models/")
    program = _json(archive, names[0], budget)
    module = _dict(program, "graph_module", names[0], budget)
    graph, signature = (_dict(module, key, names[0], budget) for key in ("graph", "signature"))
    values: dict[str, Literal] = {}
    for kind in ("weights", "constants"):
        config = f"{root}/data/{kind}/{file.removesuffix('.json')}_{kind}_config.json"
        if config in archive.members:
            entries = _dict(_json(archive, config, budget), "config", config, budget)
            budget.item(config, 0, len(entries))
            for name, entry in entries.items():
                values[name] = _value(source, archive, f"{root}/data/{kind}/", entry, f"array {brief(name)}", budget)
    return Program(graph, signature, values)


def _json(archive: Archive, name: str, budget: Budget) -> dict[str, Any]:
    """The object in a member, which is counted before it is parsed."""
    data = archive.read(name, min(_MAX_JSON, budget.limits.max_bytes))
    check_json(data, f"member {name!r}", budget)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise budget.error(f"member {name!r}", f"no JSON: {error}"[:200], "JSON") from None
    if not isinstance(found, dict):
        raise budget.error(f"member {name!r}", type(found).__name__, "an object")
    return found


def _dict(found: Mapping[str, Any], key: str, where: str, budget: Budget) -> dict[str, Any]:
    value = found.get(key)
    if not isinstance(value, dict):
        raise budget.error(f"member {where!r}, {key}", brief(value), "an object", _AGAIN)
    return value


def _value(source: Source, archive: Archive, folder: str, entry: Any, where: str, budget: Budget) -> Literal:
    path, meta = (entry.get("path_name"), entry.get("tensor_meta")) if isinstance(entry, dict) else (None, None)
    if not isinstance(path, str) or not isinstance(meta, dict) or entry.get("use_pickle"):
        raise budget.error(where, brief(entry), "the name of a raw member and its type", _AGAIN)
    member = archive.stored(f"{folder}{path}")
    code = meta.get("dtype")
    if not isinstance(code, int) or code not in DTYPES:
        raise budget.error(where, f"element type {brief(code)}", f"one of {sorted(DTYPES)}")
    stored = np.dtype(np.uint16) if code == _BFLOAT16 else DTYPES[code]
    shape, strides = (_sizes(meta, key, where, budget) for key in ("sizes", "strides"))
    (offset,) = _sizes({"storage_offset": [meta.get("storage_offset", {"as_int": 0})]}, "storage_offset", where, budget)
    count = budget.tensor(shape, DTYPES[code].itemsize, where)
    last = sum((n - 1) * s for n, s in zip(shape, strides, strict=False))
    if len(shape) != len(strides) or (count and (offset + last + 1) * stored.itemsize > member.size):
        raise budget.error(where, f"{member.size} bytes", f"{brief(shape)} elements with strides {brief(strides)}")
    load = _loader(source, archive, member.name, offset, stored, shape, strides, last + 1 if count else 0)
    key = ("file", source, member.start + offset * stored.itemsize, code, shape, strides)
    return Literal.lazy(DTYPES[code], shape, load, key)


def _loader(
    source: Source, archive: Archive, name: str, offset: int, stored: DType, shape: tuple[int, ...],
    strides: tuple[int, ...], span: int,
) -> Callable[[], np.ndarray[Any, Any]]:  # fmt: skip
    def load() -> np.ndarray[Any, Any]:
        member = archive.stored(name)
        archive.check(member)
        raw = np.dtype(np.uint8) if stored == np.bool_ else stored
        flat = source.array(member.start + offset * raw.itemsize, raw, (span,))
        if not prod(shape):
            return np.empty(shape, np.float32 if stored == np.uint16 else stored)
        steps = tuple(s * raw.itemsize if n > 1 else 0 for n, s in zip(shape, strides, strict=True))
        window = np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False)
        dense = np.ascontiguousarray(window).reshape(shape)
        if stored == np.uint16:
            return widen_bfloat16(dense).reshape(shape)
        return dense != 0 if stored == np.bool_ else dense

    return load


def _sizes(meta: Mapping[str, Any], key: str, where: str, budget: Budget) -> tuple[int, ...]:
    found = meta.get(key)
    numbers = [d.get("as_int") if isinstance(d, dict) else None for d in found] if isinstance(found, list) else [None]
    if len(numbers) > 32 or any(type(n) is not int or not 0 <= n < 1 << 62 for n in numbers):
        raise budget.error(f"{where}, {key}", brief(found), "sizes from 0")
    return tuple(numbers)  # type: ignore[arg-type]


def tensor_type(meta: Any, where: str, budget: Budget) -> TensorType:
    """The type of a value; sizes that are symbols are unknown."""
    code = meta.get("dtype") if isinstance(meta, dict) else None
    sizes = meta.get("sizes") if isinstance(meta, dict) else None
    if not isinstance(code, int) or code not in DTYPES or code == _BFLOAT16 or not isinstance(sizes, list):
        raise budget.error(where, brief(meta), "sizes and an element type that NumPy has")
    if len(sizes) > 32:
        raise budget.error(where, f"{len(sizes)} axes", "at most 32")
    dims = tuple(d.get("as_int") if isinstance(d, dict) else None for d in sizes)
    if any(d is not None and (type(d) is not int or not 0 <= d < 1 << 62) for d in dims):
        raise budget.error(where, brief(sizes), "sizes from 0")
    return TensorType(DTYPES[code], dims)
