"""Random ops in a run: TensorFlow's own numbers where seeds are given, else numbers of a fresh seed.

A stateful op goes on where its last run in the session ended, as TensorFlow's kernels do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...kernels.room import require
from ..errors import GraphError, UnsupportedOpError
from ..ir import Node
from .philox import RESERVED, Stream, integers, normal, truncated_normal, uniform

__all__ = ["Streams", "draws"]

Value = np.ndarray[Any, Any]
Evaluate = Callable[[Sequence[Value]], tuple[Value, ...]]

_FLOATS: dict[str, Callable[[Stream, int, np.dtype[Any]], Value]] = {
    "RandomUniform": uniform, "RandomStandardNormal": normal, "TruncatedNormal": truncated_normal,
    "StatelessRandomUniform": uniform, "StatelessRandomNormal": normal, "StatelessTruncatedNormal": truncated_normal,
}  # fmt: skip
#: TensorFlow's numbers of algorithms: Philox, and whichever suits the device, which is Philox on a CPU.
_PHILOX = (1, 3)


class Streams:
    """Where the random ops of a session are, and how often others ran. Thread-safe."""

    def __init__(self) -> None:
        #: By the attributes of the node, which no pass copies: graphs inside of nodes may have nodes of one name.
        self._next: dict[int, tuple[Any, Stream]] = {}
        self._counts: dict[int, tuple[Any, int]] = {}
        self._lock = threading.Lock()

    def count(self, node: Node) -> int:
        """How often a node has asked before."""
        with self._lock:
            _, found = self._counts.get(id(node.attrs), (None, 0))
            self._counts[id(node.attrs)] = node.attrs, found + 1
            return found

    def take(self, node: Node, count: int) -> Stream:
        """The numbers for ``count`` elements; the node's next ones begin behind what TensorFlow sets aside for them."""
        with self._lock:
            _, found = self._next.get(id(node.attrs), (None, None))
            if found is None:
                seed, seed2 = int(node.attrs.get("seed", 0)), int(node.attrs.get("seed2", 0))
                if not seed and not seed2:
                    seed, seed2 = (int.from_bytes(os.urandom(8), "little") for _ in range(2))
                found = Stream.of_seeds(seed, seed2)
            self._next[id(node.attrs)] = node.attrs, found.skip(count * RESERVED)
        return found


def draws(node: Node, streams: Streams) -> Evaluate:
    """What computes a random node."""
    op = node.op.removesuffix("V2")
    if node.op == "StatelessRandomGetAlg":
        return lambda arrays: (np.array(1, np.int32),)
    if node.op == "StatelessRandomGetKeyCounter":
        return lambda arrays: _key_counter(Stream.of_seed(arrays[0]))

    def evaluate(arrays: Sequence[Value]) -> tuple[Value, ...]:
        shape = tuple(int(d) for d in arrays[0].reshape(-1))
        dtype = node.outputs[0].dtype
        if any(d < 0 for d in shape):
            raise GraphError(f"{node}: the shape {shape} has a negative size")
        count = int(np.prod([int(d) for d in shape], dtype=object))
        # Bits, units and their two normal numbers are whole arrays.
        require(count * max(dtype.itemsize, 4) * 8, f"{node} of shape {shape} needs")
        rest = arrays[1:]
        if node.op.endswith("V2"):
            stream, rest = _keyed(node, rest), rest[3:]
        elif op.startswith("Stateless"):
            stream, rest = Stream.of_seed(rest[0]), rest[1:]
        else:
            stream = streams.take(node, count)
        if op in _FLOATS:
            return (_FLOATS[op](stream, count, dtype).reshape(shape),)
        low, high = (int(v.reshape(())) for v in rest)
        if low >= high:
            raise GraphError(f"{node}: minval must be less than maxval, got {low} and {high}")
        return (integers(stream, count, low, high, dtype).reshape(shape),)

    return evaluate


def _keyed(node: Node, arrays: Sequence[Value]) -> Stream:
    key, counter, algorithm = arrays[:3]
    if int(algorithm.reshape(())) not in _PHILOX:
        raise UnsupportedOpError(
            f"{node}: algorithm {int(algorithm.reshape(()))} is not supported, expected 1 (Philox)"
        )
    low, high = (int(v) for v in counter.reshape(-1)[:2])
    return Stream(int(key.reshape(-1)[0]), low | high << 64)


def _key_counter(stream: Stream) -> tuple[Value, ...]:
    halves = [stream.counter & (1 << 64) - 1, stream.counter >> 64]
    return np.array([stream.key], np.uint64), np.array(halves, np.uint64)
