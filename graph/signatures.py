"""How a file says that it is called: its own names for the inputs and outputs of a graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from ..kernels.records import dataclass

__all__ = ["SERVING_DEFAULT", "SIGNATURES", "Signature", "read_signatures", "write_signatures"]

#: The key of the signature that is meant where none is named; TensorFlow's word.
SERVING_DEFAULT = "serving_default"


@dataclass(frozen=True, slots=True)
class Signature:
    """``inputs``, ``outputs``: the file's name of each, in its order -> the tensor of the graph, 'operation:index'."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


#: The constant with which a GraphDef, a format without signatures, keeps them.
SIGNATURES = "kigraph/signatures"


def write_signatures(signatures: Mapping[str, Signature]) -> bytes:
    """JSON: signature -> inputs and outputs -> name -> tensor."""
    return json.dumps(
        {n: {"inputs": dict(s.inputs), "outputs": dict(s.outputs)} for n, s in signatures.items()}
    ).encode()


def read_signatures(text: bytes) -> dict[str, Signature]:
    """What ``write_signatures`` wrote. ValueError for anything else; whether there are such tensors is not looked at."""
    try:
        found = json.loads(text.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("no object of signatures")
    made = {}
    for name, parts in found.items():
        inputs, outputs = (parts.get(k) if isinstance(parts, dict) else None for k in ("inputs", "outputs"))
        if not _are_names(inputs) or not _are_names(outputs):
            raise ValueError(f"signature {name[:80]!r} has no inputs and outputs by name")
        made[name] = Signature(inputs, outputs)
    return made


def _are_names(found: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(found, dict) and all(isinstance(t, str) for t in found.values())
