"""Random graphs with the channels first, and ops of all kinds that work on axes between the convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.kernels.errors import KigraphError

__all__ = ["RandomGraph"]

NDArray = np.ndarray[Any, Any]
Made = Tensor | list[Tensor] | None


class RandomGraph:
    """``pool``: all tensors, the first one of them fed. Every number drawn comes from one generator."""

    def __init__(self, seed: int, steps: int = 12) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph()
        with self.graph.as_default():
            n, c, h, w = (int(self.rng.integers(1, most)) for most in (4, 6, 9, 9))
            if self.chance(5):
                h = w = 1
            known = (None if self.chance(2) else n, c, None if self.chance(3) else h, w)
            x = ops.placeholder("float32", known)
            self.feeds = {x: self.array(n, c, h, w)}
            self.pool: list[Tensor] = [x]
            for _ in range(steps):
                self._step()

    def array(self, *shape: int) -> NDArray:
        return (self.rng.random(shape, np.float32) - 0.4).astype(np.float32)

    def chance(self, of: int) -> bool:
        return bool(self.rng.integers(of) == 0)

    def pick(self, choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def like(self, t: Tensor) -> Tensor:
        """A tensor of the same type."""
        found: Tensor = self.pick([u for u in self.pool if u.dtype == t.dtype and u.shape == t.shape])
        return found

    def axis(self, t: Tensor) -> int:
        return int(self.rng.integers(-len(t.shape or ()), len(t.shape or ())))

    def add(self, op: str, inputs: list[Any], **attrs: Any) -> Tensor:
        made: Tensor = self.graph.create_op(op, [ops.building.convert(i) for i in inputs], attrs).outputs[0]
        return made

    def _step(self) -> None:
        t = self.pick(self.pool[-4:])
        if t.shape is None:
            return
        images = len(t.shape) == 4 and t.shape[1] is not None
        kind = self.pick(IMAGES if images and self.chance(3) else AXES if t.shape else ANY)
        try:
            made = kind(self, t)
        except KigraphError:  # a window that does not fit, say
            return
        self.pool += made if isinstance(made, list) else [] if made is None else [made]


def _conv(g: RandomGraph, t: Tensor) -> Made:
    c = (t.shape or ())[1] or 1
    size, groups = int(g.rng.integers(1, 4)), int(g.pick([d for d in range(1, c + 1) if c % d == 0]))
    w = g.array(size, size, c // groups, int(g.rng.integers(1, 5)) * groups)
    padding = g.pick(["SAME", "VALID", [[1, 0], [0, 2]]])
    return ops.conv2d(t, w, int(g.rng.integers(1, 3)), padding, data_format="NCHW")


def _depthwise(g: RandomGraph, t: Tensor) -> Made:
    w = g.array(3, 3, (t.shape or ())[1] or 1, int(g.rng.integers(1, 3)))
    return ops.depthwise_conv2d(t, w, 1, "SAME", data_format="NCHW")


def _max_pool(g: RandomGraph, t: Tensor) -> Made:
    return ops.max_pool(t, 2, int(g.rng.integers(1, 3)), "SAME", data_format="NCHW")


def _avg_pool(g: RandomGraph, t: Tensor) -> Made:
    return ops.avg_pool(t, [3, 2], 1, "SAME", data_format="NCHW")


def _bias(g: RandomGraph, t: Tensor) -> Made:
    return ops.bias_add(t, g.array((t.shape or ())[1] or 1), data_format="NCHW")


def _norm(g: RandomGraph, t: Tensor) -> Made:
    a, b, m, v = (g.array((t.shape or ())[1] or 1) for _ in range(4))
    return g.add("FusedBatchNormV3", [t, a, b, m, v + 1], epsilon=1e-3, is_training=False, data_format="NCHW")


def _unary(g: RandomGraph, t: Tensor) -> Made:
    made: Tensor = g.pick([ops.relu, ops.sigmoid, ops.relu6, ops.negative, ops.identity])(t)
    return made


def _binary(g: RandomGraph, t: Tensor) -> Made:
    """With a tensor of as many axes or fewer, or with a constant that is broadcast."""
    shape = t.shape or ()
    if g.chance(2):
        other = g.pick([u for u in g.pool if u.dtype == t.dtype and u.shape is not None and len(u.shape) <= len(shape)])
    else:
        dims = [d if d and g.chance(2) else 1 for d in shape]
        other = ops.constant(g.array(*dims[int(g.rng.integers(len(shape) + 1)) :]))
    pair = (t, other) if g.chance(2) else (other, t)
    made: Tensor = g.pick([ops.add, ops.multiply, ops.subtract, ops.maximum])(*pair)
    return made


def _transpose(g: RandomGraph, t: Tensor) -> Made:
    return ops.transpose(t, [int(p) for p in g.rng.permutation(len(t.shape or ()))])


def _concat(g: RandomGraph, t: Tensor) -> Made:
    return ops.concat([t, *(g.like(t) for _ in range(int(g.rng.integers(1, 3))))], g.axis(t))


def _split(g: RandomGraph, t: Tensor) -> Made:
    axis = g.axis(t)
    size = (t.shape or ())[axis]
    return list(ops.split(t, size if size < 4 else 1, axis)) if size else None


def _stack(g: RandomGraph, t: Tensor) -> Made:
    rank = len(t.shape or ())
    return ops.stack([t, g.like(t)], int(g.rng.integers(0, rank + 1))) if rank < 5 else None


def _unstack(g: RandomGraph, t: Tensor) -> Made:
    axis = g.axis(t)
    size = (t.shape or ())[axis]
    return list(ops.unstack(t, axis=axis)) if size and size < 4 else None


def _reduce(g: RandomGraph, t: Tensor) -> Made:
    rank = len(t.shape or ())
    axes = [int(a) for a in g.rng.permutation(rank)[: int(g.rng.integers(1, rank + 1))]]
    made: Tensor = g.pick([ops.reduce_mean, ops.reduce_max, ops.reduce_sum])(t, axes, keepdims=g.chance(2))
    return made


def _softmax(g: RandomGraph, t: Tensor) -> Made:
    return ops.softmax(t, axis=g.axis(t))


def _pad(g: RandomGraph, t: Tensor) -> Made:
    return ops.pad(t, g.rng.integers(0, 3, size=(len(t.shape or ()), 2)).astype(np.int32))


def _slice(g: RandomGraph, t: Tensor) -> Made:
    begin = [int(g.rng.integers(0, d or 1)) for d in t.shape or ()]
    return ops.slice(t, begin, [g.pick([-1, 1]) for _ in begin])


def _index(g: RandomGraph, t: Tensor) -> Made:
    def one(size: int | None) -> Any:
        return g.pick(
            [
                slice(None),
                0 if size else slice(None),
                slice(int(g.rng.integers(0, size or 1)), None),
                slice(None, None, -1),
            ]
        )

    shape = t.shape or ()
    made: Tensor = t[tuple(one(d) for d in shape[: int(g.rng.integers(1, len(shape) + 1))])]
    return made


def _tile(g: RandomGraph, t: Tensor) -> Made:
    return ops.tile(t, [int(i) for i in g.rng.integers(1, 3, size=len(t.shape or ()))])


def _ones(g: RandomGraph, t: Tensor) -> Made:
    """An axis of size 1 more or less."""
    rank, ones = len(t.shape or ()), [i for i, d in enumerate(t.shape or ()) if d == 1]
    if ones and g.chance(2):
        return ops.squeeze(t, ones[: int(g.rng.integers(1, 3))])
    return ops.expand_dims(t, int(g.rng.integers(-rank - 1, rank + 1))) if rank < 5 else None


def _reshape(g: RandomGraph, t: Tensor) -> Made:
    """All axes but the first become one, two become one, one becomes two, or the shape is computed."""
    sizes = [-1 if d is None else d for d in t.shape or ()]
    at = int(g.rng.integers(len(sizes)))
    match int(g.rng.integers(4)):
        case 0:
            return ops.reshape(t, [-1, int(np.prod(sizes[1:]))] if -1 not in sizes[1:] else [-1])
        case 1 if at + 1 < len(sizes):
            joined = sizes[at] * sizes[at + 1]
            return ops.reshape(t, [*sizes[:at], joined if joined > 0 else -1, *sizes[at + 2 :]])
        case 2 if len(sizes) < 5 and sizes[at] > 0:
            part = int(g.pick([f for f in range(1, sizes[at] + 1) if sizes[at] % f == 0]))
            return ops.reshape(t, [*sizes[:at], part, sizes[at] // part, *sizes[at + 1 :]])
    return ops.reshape(t, ops.stack([ops.shape(t)[0], -1]))


def _broadcast(g: RandomGraph, t: Tensor) -> Made:
    sizes = [d if d is None or d > 1 else int(g.rng.integers(1, 3)) for d in t.shape or ()]
    return None if None in sizes else ops.broadcast_to(t, [*([2] if len(sizes) < 4 and g.chance(3) else []), *sizes])


def _pick_or_describe(g: RandomGraph, t: Tensor) -> Made:
    axis = g.axis(t)
    match int(g.rng.integers(4)):
        case 0:
            return ops.cast(ops.argmax(t, axis), "float32")
        case 1 if (t.shape or ())[axis]:
            return ops.gather(t, g.pick([[0, 0], 0]), axis=axis)
        case 2:
            return ops.cast(ops.shape(t), "float32")
    return ops.where(ops.greater(t, 0.1), t, g.pick([g.like(t), ops.zeros_like(t)]))


IMAGES: list[Callable[[RandomGraph, Tensor], Made]] = [_conv, _conv, _depthwise, _max_pool, _avg_pool, _bias, _norm]
ANY: list[Callable[[RandomGraph, Tensor], Made]] = [_unary, _binary]
AXES: list[Callable[[RandomGraph, Tensor], Made]] = [
    *ANY, *ANY, _transpose, _transpose, _concat, _split, _stack, _unstack, _reduce, _reduce, _softmax, _pad, _slice,
    _index, _tile, _broadcast, _ones, _reshape, _reshape, _pick_or_describe,
]  # fmt: skip
