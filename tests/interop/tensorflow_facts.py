"""What TensorFlow says of its ops: the attributes of every op type that kigraph runs, with kinds and defaults.

``python tests/interop/tensorflow_facts.py`` writes tensorflow_ops.json anew; it needs TensorFlow (make interop).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["FILE", "facts", "stored"]

FILE = Path(__file__).parent / "tensorflow_ops.json"


def stored() -> dict[str, dict[str, list[Any]]]:
    """Op type -> attribute -> [kind], or [kind, default], or [kind, default or null, values that it may have]."""
    result: dict[str, dict[str, list[Any]]] = json.loads(FILE.read_text())
    return result


def facts(ops: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """The same from the TensorFlow that is installed; ops that it does not have are left out."""
    from tensorflow.python.framework import op_def_registry

    found = {op: op_def_registry.get(op) for op in sorted(ops)}
    return {
        op: {a.name: _attribute(a) for a in sorted(d.attr, key=lambda a: a.name)}
        for op, d in found.items()
        if d is not None
    }


def _attribute(attr: Any) -> list[Any]:
    result = [{"list(int)": "ints"}.get(attr.type, attr.type)]
    if attr.HasField("default_value"):
        result.append(_value(attr.default_value))
    if attr.HasField("allowed_values"):
        given = attr.allowed_values.list
        result += [
            *[None] * (2 - len(result)),
            sorted(_type(t) for t in given.type) or sorted(s.decode() for s in given.s),
        ]
    return result


def _type(number: int) -> str:
    import tensorflow as tf

    return str(tf.dtypes.as_dtype(number).name)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "type":
        return _type(value.type)
    if kind == "s":
        return value.s.decode()
    if kind == "f":
        return round(value.f, 9)
    if kind == "list":
        return list(value.list.i)
    if kind == "shape":
        return None if value.shape.unknown_rank else [d.size for d in value.shape.dim]
    return getattr(value, kind)


if __name__ == "__main__":
    from kigraph.graph.opdefs import OPDEFS

    lines = [f'"{op}": {json.dumps(attrs)}' for op, attrs in facts(OPDEFS).items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
