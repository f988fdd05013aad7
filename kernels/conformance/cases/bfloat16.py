"""Cases of tensors that are bfloat16 in memory: float32 cases of other files with another first input, and some of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...contracts import elementwise as ops
from ...contracts.conv2d import Conv2DParams
from ...contracts.layout import CAST, PAD, TRANSPOSE, CastParams, PadParams, TransposeParams
from ...contracts.reduce import REDUCE_MEAN, ReduceParams
from ...contracts.siblings import SiblingParams
from ...tensor import BFLOAT16, DType, TensorType
from ..case import F32, MEMORIES, Case, Input, tensor
from ..values import normal, scaled, sparse_nan, special, stored
from . import concat, conv2d, matmul, pool2d, siblings

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]


def _stored(spec: Input) -> Input:
    return replace(spec, type=TensorType(BFLOAT16, spec.type.shape), values=stored(spec.values))


def _of(cases: Sequence[Case], every: int, *, whole: bool = False) -> Iterator[Case]:
    """Each ``every``-th float32 case and all with special tags; ``whole``: all inputs are bfloat16, not the first alone."""
    plain = [
        c for c in cases if not c.measure and all(i.type.dtype == F32 for i in c.inputs) and not c.inputs[0].constant
    ]
    for number, case in enumerate(plain):
        if case.numerics.precision == "fp32" and "large" not in case.tags and (
            number % every == 0 or case.tags & {"empty", "nan", "threads", "strided"}
        ):  # fmt: skip
            inputs = tuple(_stored(spec) if whole or i == 0 else spec for i, spec in enumerate(case.inputs))
            yield replace(case, id=f"bfloat16-{case.id}", inputs=inputs)


def _narrowing() -> Iterator[Case]:
    """Convolutions from float32 and from bfloat16 to bfloat16."""
    for case in (*_of(conv2d.CASES, 17), *_of(siblings.CASES, 5)):
        params = case.params
        assert isinstance(params, Conv2DParams | SiblingParams)
        yield case
        yield replace(case, id=f"{case.id}-narrow", params=replace(params, narrow=True))
        first = tensor(case.inputs[0].type.dims, normal, memory=case.inputs[0].memory)
        yield replace(
            case, id=f"{case.id}-first", inputs=(first, *case.inputs[1:]), params=replace(params, narrow=True),
            tags=case.tags - {"nan"},
        )  # fmt: skip


def _elementwise() -> Iterator[Case]:
    for contract in (ops.RELU, ops.RELU6):
        for size in (1, 7, 16, 31, 33, 64, 1000):
            yield Case(contract, f"bfloat16-{size}", (tensor((size,), stored(scaled(5)), BFLOAT16),))
        yield Case(
            contract, "bfloat16-special", (tensor((5, 7, 33), stored(special), BFLOAT16),), tags=frozenset(["nan"])
        )
        for memory in MEMORIES:
            x = tensor((2, 3, 5, 21), stored(normal), BFLOAT16, memory=memory)
            yield Case(contract, f"bfloat16-{memory}", (x,), memory=memory, tags=frozenset(["strided"]))
        yield Case(contract, "bfloat16-inplace", (tensor((3, 41), stored(normal), BFLOAT16),), inplace=0)
        yield Case(contract, "bfloat16-threads2", (tensor((9, 99, 101), stored(normal), BFLOAT16),), threads=2)
    for contract in (ops.ADD, ops.MUL, ops.MAXIMUM):
        for second in (BFLOAT16, F32):
            for label, a, b in (
                ("same", (2, 5, 7, 19), (2, 5, 7, 19)), ("channels", (2, 5, 7, 33), (33,)), ("one", (3, 45), ()),
                ("pixels", (2, 5, 7, 9), (2, 1, 1, 9)), ("wider", (7, 1), (7, 40)), ("empty", (0, 4), (4,)),
            ):  # fmt: skip
                pair = (tensor(a, stored(normal), BFLOAT16), tensor(b, stored(normal), second))
                yield Case(contract, f"bfloat16-{second.itemsize}-{label}", pair)
            pair = (tensor((3, 5, 33), stored(special), BFLOAT16), tensor((3, 5, 33), stored(special), second))
            yield Case(contract, f"bfloat16-{second.itemsize}-special", pair, tags=frozenset(["nan"]))
        for memory in MEMORIES:
            x, y = (tensor((2, 3, 5, 21), stored(normal), BFLOAT16, memory=memory) for _ in range(2))
            yield Case(contract, f"bfloat16-{memory}", (x, y), memory=memory, tags=frozenset(["strided"]))
        x, y = (tensor((3, 41), stored(normal), BFLOAT16) for _ in range(2))
        yield Case(contract, "bfloat16-inplace", (x, y), inplace=0)


def _layout() -> Iterator[Case]:
    for size in (1, 15, 16, 17, 63, 200, 5001):
        yield Case(CAST, f"to-bfloat16-{size}", (tensor((size,), scaled(3)),), CastParams(BFLOAT16))
        yield Case(CAST, f"from-bfloat16-{size}", (tensor((size,), stored(normal), BFLOAT16),), CastParams(F32))
    halves = np.array(
        [0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x00000001, 0x00008000, 0x807FFFFF, 0x7F800001], np.uint32
    )
    yield Case(
        CAST, "to-bfloat16-ties", (tensor((8,), lambda rng, shape, dtype: halves.view(dtype)),), CastParams(BFLOAT16)
    )
    for values in (special, sparse_nan):
        name = values.__name__
        yield Case(
            CAST, f"to-bfloat16-{name}", (tensor((7, 99), values),), CastParams(BFLOAT16), tags=frozenset(["nan"])
        )
        yield Case(CAST, f"from-bfloat16-{name}", (tensor((7, 99), stored(values), BFLOAT16),), CastParams(F32))
    for memory in MEMORIES:
        narrow, wide = (
            tensor((2, 3, 5, 21), stored(normal), BFLOAT16, memory=memory),
            tensor((2, 3, 5, 21), normal, memory=memory),
        )
        yield Case(CAST, f"from-bfloat16-{memory}", (narrow,), CastParams(F32), memory=memory)
        yield Case(CAST, f"to-bfloat16-{memory}", (wide,), CastParams(BFLOAT16), memory=memory)
    x = tensor((2, 4, 5, 7), stored(normal), BFLOAT16)
    for value in (0.0, -1.5):
        yield Case(PAD, f"bfloat16-{value}", (x,), PadParams(((0, 0), (1, 2), (3, 0), (0, 1)), value=value))
    for shape in ((2, 3, 75, 101), (1, 4, 103, 97), (1, 2, 130, 130), (1, 3, 4, 5)):
        image = tensor(shape, _different)
        yield Case(
            TRANSPOSE, f"image-{'x'.join(map(str, shape))}", (image,), TransposeParams((0, 2, 3, 1)), oracle=_moved
        )
    yield Case(TRANSPOSE, "bfloat16", (x,), TransposeParams((0, 3, 1, 2)))
    for shape, axes, keep in (
        ((2, 8, 8, 40), (1, 2), False),
        ((3, 1, 7, 33), (1, 2), True),
        ((1, 5, 5, 1000), (1, 2), False),
    ):
        for threads in (1, 2):
            name = f"bfloat16-{'x'.join(map(str, shape))}-{threads}"
            yield Case(
                REDUCE_MEAN, name, (tensor(shape, stored(normal), BFLOAT16),), ReduceParams(axes, keep), threads=threads
            )
    nans = tensor((2, 4, 5, 37), stored(sparse_nan), BFLOAT16)
    yield Case(REDUCE_MEAN, "bfloat16-nan", (nans,), ReduceParams((1, 2)), tags=frozenset(["nan"]))


def _different(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> NDArray:
    """Neighbouring integers as the bits of float32, so that no two are alike."""
    return (rng.permutation(int(np.prod(shape))).astype(np.int32) - 5000).view(dtype).reshape(shape)


def _moved(inputs: Sequence[NDArray], params: TransposeParams) -> Sequence[NDArray]:
    """Channel by channel, with other calls than the kernels have."""
    (x,) = inputs
    return [np.stack([x[:, c] for c in range(x.shape[1])], axis=-1)]


CASES: tuple[Case, ...] = (
    *_of(pool2d.CASES, 7), *_narrowing(), *_of(matmul.CASES, 9), *_of(concat.CASES, 4, whole=True), *_elementwise(), *_layout(),
)  # fmt: skip
