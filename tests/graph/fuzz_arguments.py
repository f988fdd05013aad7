"""Random and hostile arguments for the public ops; fuzz_ops.py calls them."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

import numpy as np

import kigraph as ki
from kigraph.graph import ops

__all__ = ["Maker", "arguments"]

DTYPES = (
    "float32", "float32", "float32", "float64", "float16", "int32", "int64", "int8", "uint8", "uint16", "uint32", "uint64", "int16",
    "bool", "string", "complex64",
)  # fmt: skip
#: No number between 2**13 and 2**31: what is honest work must be little work.
NUMBERS = (0, 1, 2, 3, 4, 5, 7, 64, 1000, -1, -2, -4, -7, 2**31 - 1, 2**31, 2**32, 2**41, 2**62, 2**63 - 1, 2**63, 2**64, 2**70,
           -(2**31) - 1, -(2**63), -(2**63) - 1, -(2**70))  # fmt: skip
ODD = (None, True, 1.5, float("nan"), float("inf"), "3", b"3", "", [], {}, [1, [2]], np.int64(3), np.float32(2), np.array([2]),
       np.array(2**40), object, (1, None), [None], "float32", np.zeros((0,), "int32"))  # fmt: skip


class Maker:
    """Random arguments of one call, and the feeds of its placeholders."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.feeds: dict[str, Any] = {}
        self.hostility = rng.choice([0.0, 0.05, 0.15, 0.5])
        self.dtype = rng.choice(DTYPES)
        self.shape = self.dims()
        self.special = rng.random() < 0.2

    def odd(self) -> bool:
        return self.rng.random() < self.hostility

    def dims(self, rank: int | None = None) -> tuple[int, ...]:
        most = self.rng.choice([0, 1, 2, 3, 4, 4, 4, 5, 9]) if rank is None else rank
        return tuple(0 if self.rng.random() < 0.06 else self.rng.choice([1, 1, 2, 3, 5, 8]) for _ in range(most))

    def number(self, *usual: Any) -> Any:
        if self.odd():
            return self.rng.choice(ODD) if self.rng.random() < 0.3 else self.rng.choice(NUMBERS)
        return self.rng.choice(usual or (0, 1, 2, 3, -1))

    def numbers(self, *usual: Any, count: int | None = None) -> Any:
        """A list of numbers, mostly as many as the shape has axes."""
        if self.odd():
            count = self.rng.randint(0, 6)
        made = [self.number(*usual) for _ in range(len(self.shape) if count is None else count)]
        return self.rng.choice(ODD) if self.odd() and self.rng.random() < 0.3 else made

    def array(self, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(self.rng.getrandbits(32))
        if dtype == "string":
            made = np.empty(shape, object)
            for index in np.ndindex(*shape):
                made[index] = self.rng.choice([b"", b"a", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
            return made
        made = np.asarray(rng.integers(0, 5, shape) if dtype.startswith("u") else rng.integers(-4, 5, shape)).astype(
            dtype
        )
        if self.special and made.size and made.dtype.kind == "f":
            flat = made.reshape(-1)
            flat[rng.integers(0, made.size)] = rng.choice([np.nan, np.inf, -np.inf, -0.0, 65504])
        elif self.special and made.size and made.dtype.kind in "iu":
            made.reshape(-1)[rng.integers(0, made.size)] = rng.choice([np.iinfo(dtype).max, np.iinfo(dtype).min])
        return made

    def laid_out(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The same values in an unusual memory layout."""
        kind = self.rng.randrange(8)
        if kind == 0 and x.ndim:
            return x[::-1].copy()[::-1]
        if kind == 1:
            return np.asfortranarray(x)
        if kind == 2 and x.dtype != object:
            return x.astype(x.dtype.newbyteorder())
        if kind == 3 and x.dtype != object:
            buffer = np.zeros(x.nbytes + 1, np.uint8)[1:]
            made = buffer[: x.nbytes].view(x.dtype) if x.size else np.zeros(0, x.dtype)
            made = made.reshape(x.shape)
            made[...] = x
            return made
        if kind == 4 and x.ndim:
            wide = np.repeat(x, 2, axis=x.ndim - 1)
            return wide[..., ::2]
        if kind == 5:
            x.flags.writeable = False
        return x

    def tensor(self, dtype: str | None = None, shape: tuple[int, ...] | None = None) -> Any:
        """A constant, a placeholder with a feed, an array, or something odd."""
        if self.odd() and self.rng.random() < 0.4:
            return self.number()
        dtype = self.rng.choice(DTYPES) if dtype is None or self.odd() else dtype
        shape = self.dims() if shape is None or self.odd() else shape
        value = self.array(dtype, shape)
        kind = self.rng.randrange(4)
        if kind == 0:
            return self.laid_out(value)
        if kind == 1:
            return ki.constant(value)
        known: Any = shape if kind == 2 else self.rng.choice([None, [None] * len(shape)])
        if self.odd() and self.rng.random() < 0.1:
            known = [self.number(1, 2, None) for _ in shape]
        made = ki.placeholder(dtype, known)
        self.feeds[made.name] = self.laid_out(value)
        return made

    def indices(self, *usual: Any, count: int | None = None) -> Any:
        """Numbers that an op takes as a tensor: a list, a constant, or fed."""
        made = self.numbers(*usual, count=count)
        if self.rng.random() < 0.7:
            return made
        try:
            value = np.array(made, self.rng.choice(["int32", "int64"]))
        except (TypeError, ValueError, OverflowError):
            return made
        fed = ki.placeholder(value.dtype.name, self.rng.choice([None, value.shape]))
        self.feeds[fed.name] = value
        return fed


def _sizes(m: Maker) -> Any:
    return m.number(1, 2, 3) if m.rng.random() < 0.5 else m.numbers(1, 2, 3, count=m.rng.choice([2, 4]))


def _padding(m: Maker) -> Any:
    if m.rng.random() < 0.6:
        return m.rng.choice(["SAME", "SAME", "VALID"])
    if m.odd():
        return m.rng.choice(["same", "EXPLICIT", None, 3, [1, 2], [[0, 0], [1, 1], [1, 1], [0, 0]], (0, 1, 2, 1)])
    return [[0, 0], [m.number(0, 1, 2), m.number(0, 1, 2)], [m.number(0, 1, 2), m.number(0, 1, 2)], [0, 0]]


def _axes(m: Maker) -> Any:
    return m.rng.choice([None, m.number(), m.numbers(0, 1, -1, count=m.rng.randint(0, 2))])


def _same(m: Maker) -> Any:
    """A tensor that broadcasts with the others."""
    shape = tuple(1 if m.rng.random() < 0.2 else d for d in m.shape)
    return m.tensor(m.dtype, shape[m.rng.randint(0, len(shape)) if m.rng.random() < 0.2 else 0 :])


def _image(m: Maker) -> Any:
    m.shape = m.dims(4) if len(m.shape) != 4 else m.shape
    return m.tensor(m.dtype, m.shape)


def _filter(m: Maker) -> Any:
    channels = m.shape[3] if len(m.shape) == 4 else 1
    return m.tensor(m.dtype, (m.rng.choice([1, 2, 3, 5]), m.rng.choice([1, 2, 3]), channels, m.rng.choice([1, 2, 17])))


def _channels(m: Maker) -> Any:
    return m.tensor(m.dtype, m.shape[-1:])


def _shape_argument(m: Maker) -> Any:
    return m.indices(*(m.shape or (1,)), 0, 1, 2, -1)


#: What makes an argument: by op and name, else by name.
BY_OP: dict[tuple[str, str], Callable[[Maker], Any]] = {
    ("bias_add", "bias"): _channels,
    ("constant", "value"): lambda m: m.array(m.dtype, m.shape) if not m.odd() else m.number(),
    ("fill", "value"): lambda m: m.tensor(m.dtype, ()),
    ("gather", "indices"): lambda m: m.indices(0, 1, 0, 1, count=m.rng.randint(0, 3)),
    ("matmul", "b"): lambda m: m.tensor(m.dtype, (*m.shape[:-2], *m.shape[-2:][::-1])),
    ("pad", "paddings"): lambda m: [[m.number(0, 1, 2), m.number(0, 1)] for _ in m.shape],
    ("range", "start"): lambda m: m.number(0, 1, 5),
    ("resize_bilinear", "size"): lambda m: m.indices(1, 2, 3, 8, count=2),
    ("slice", "size"): lambda m: m.indices(0, 1, 2, -1),
    ("softmax_cross_entropy_with_logits", "labels"): lambda m: m.tensor(m.dtype, m.shape),
    ("sparse_softmax_cross_entropy_with_logits", "labels"): lambda m: m.tensor("int32", m.shape[:1]),
    ("split", "num_or_size_splits"): lambda m: m.number(1, 2) if m.rng.random() < 0.5 else m.numbers(0, 1, 2, count=2),
    ("tile", "multiples"): lambda m: m.indices(0, 1, 2, 3),
    ("transpose", "perm"): lambda m: m.rng.choice([None, m.rng.sample(range(len(m.shape)), len(m.shape)), m.numbers()]),
    ("where", "condition"): lambda m: m.tensor("bool", m.shape),
    ("string_join", "inputs"): lambda m: [m.tensor("string", m.shape) for _ in range(m.rng.randint(0, 3))],
}  # fmt: skip
BY_NAME: dict[str, Callable[[Maker], Any]] = {
    "align_corners": lambda m: m.rng.random() < 0.3,
    "axes": _axes,
    "axis": lambda m: m.number(0, 1, 2, -1),
    "begin": lambda m: m.indices(0, 1),
    "channels": lambda m: m.number(0, 1, 3),
    "constant_values": lambda m: m.number(0, 1.5, -1),
    "contents": lambda m: m.tensor("string", ()),
    "data_format": lambda m: "NHWC" if not m.odd() else m.rng.choice(["NCHW", "nhwc", None, 3]),
    "delta": lambda m: m.number(1, 2, -1),
    "dilations": lambda m: 1 if m.rng.random() < 0.5 else _sizes(m),
    "dims": _shape_argument,
    "dtype": lambda m: m.rng.choice([*DTYPES, np.float32, None]) if not m.odd() else m.rng.choice(ODD),
    "end": lambda m: m.indices(1, 2, -1, 5),
    "filter": _filter,
    "image": lambda m: m.tensor("uint8", m.dims(3)),
    "images": _image,
    "input_": lambda m: m.tensor(m.dtype, m.shape),
    "k": lambda m: m.number(0, 1, 2),
    "ksize": _sizes,
    "limit": lambda m: m.number(None, 5, 10, -3),
    "mean": _channels,
    "mode": lambda m: m.rng.choice(["CONSTANT", "REFLECT", "SYMMETRIC", "constant", "EDGE", None, 3]),
    "num": lambda m: m.number(None, 1, 2),
    "offset": _channels,
    "out_type": lambda m: m.rng.choice(["int32", "int64", "float32", None]),
    "output_type": lambda m: m.rng.choice(["int32", "int64", "int64", "float32", "uint8"]),
    "padding": _padding,
    "precision": lambda m: m.rng.choice([-1, 0, 3, 100, 1.5, None, "3"]),  # each digit is honest work
    "quality": lambda m: m.number(1, 50, 100, 0),
    "scale": _channels,
    "shape": _shape_argument,
    "strides": _sizes,
    "tensor": lambda m: m.tensor(m.dtype, m.shape),
    "value": lambda m: m.tensor(m.dtype, m.shape),
    "values": lambda m: [_same(m) for _ in range(m.rng.choice([1, 1, 2, 3, 0]))],
    "variance": _channels,
    "variance_epsilon": lambda m: m.number(0.001, 0, 1),
    "epsilon": lambda m: m.number(0.001, 0, 1),
}  # fmt: skip
IMAGES = frozenset({"avg_pool", "max_pool", "conv2d", "depthwise_conv2d", "fused_batch_norm", "resize_bilinear"})
FLOATS = frozenset(
    ["ceil", "cos", "erf", "exp", "floor", "log", "log1p", "log_softmax", "moments", "reciprocal", "rsqrt", "sigmoid", "sin", "softmax", "softplus", "sqrt", "tanh", "bias_add", "softmax_cross_entropy_with_logits", "sparse_softmax_cross_entropy_with_logits", "batch_normalization"]
)  # fmt: skip
FLAGS = frozenset(
    {"keepdims", "transpose_a", "transpose_b", "half_pixel_centers", "count_include_pad", "fancy_upscaling"}
)


def settle(op: str, m: Maker) -> None:
    """Shape and element type that suit an op, mostly."""
    if op in IMAGES:
        m.shape, m.dtype = m.dims(4), m.dtype if m.odd() else "float32"
    elif op == "matmul" and len(m.shape) < 2:
        m.shape = m.dims(m.rng.randint(2, 4))
    elif "cross_entropy" in op:
        m.shape = m.dims(2)
    if not m.odd():
        logical = op.startswith("logical") or op in ("reduce_any", "reduce_all")
        m.dtype = "bool" if logical else m.rng.choice(["float32", "float64"]) if op in FLOATS else m.dtype


def arguments(op: str, m: Maker) -> dict[str, Any]:
    """Keyword arguments for an op."""
    settle(op, m)
    made: dict[str, Any] = {}
    for name, parameter in inspect.signature(getattr(ops, op)).parameters.items():
        optional = parameter.default is not parameter.empty
        if name == "name" or parameter.kind is parameter.VAR_KEYWORD or (optional and m.rng.random() < 0.4):
            continue
        if name in FLAGS:
            made[name] = m.rng.random() < 0.5
        elif op in ("strided_slice",) and name in ("begin", "end", "strides"):
            made[name] = m.indices(0, 1, 2, -1, count=m.rng.randint(0, len(m.shape)))
        else:
            make = BY_OP.get((op, name)) or BY_NAME.get(name)
            made[name] = make(m) if make else _same(m) if m.rng.random() < 0.9 else m.tensor()
    return made
