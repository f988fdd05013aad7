"""Cases of the matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from ...contracts.base import Tolerance
from ...contracts.matmul import MATMUL, MatMulParams
from ...tensor import DType
from ..case import F16, F32, F64, MEMORIES, Case, Memory, tensor
from ..values import any_bits, large, normal, scaled, sparse_nan

__all__ = ["CASES", "matmul_case"]


def matmul_case(
    name: str,
    m: int,
    k: int,
    n: int,
    *,
    dtype: DType = F32,
    batch_a: tuple[int, ...] = (),
    batch_b: tuple[int, ...] = (),
    constant: bool = False,
    bias: bool = False,
    memory: Memory = "dense",
    tags: tuple[str, ...] = (),
    threads: int = 1,
    values: Any = normal,
    **params: Any,
) -> Case:
    """a (m, k) x b (k, n); b is scaled so that results are near 1 whatever k is."""
    p = MatMulParams(**params)
    weights = scaled(1 / sqrt(max(k, 1)))
    a = tensor((*batch_a, k, m) if p.transpose_a else (*batch_a, m, k), values, dtype, memory=memory)
    b = tensor((*batch_b, n, k) if p.transpose_b else (*batch_b, k, n), weights, dtype, constant=constant)
    c = (tensor((n,), normal, dtype, constant=constant),) if bias else ()
    return Case(MATMUL, name, (a, b, *c), p, frozenset(tags), memory, threads)


#: Around the tails of vectors of 8 and 16 floats, of tiles of 6, 8 and 14 rows, and of blocks of 64 to 256.
_SIZES = (
    (1, 1, 1), (1, 7, 5), (2, 3, 15), (3, 16, 16), (4, 17, 9), (5, 8, 31), (6, 9, 32), (7, 33, 33), (8, 64, 47), (9, 5, 48),
    (13, 31, 63), (14, 65, 64), (15, 2, 65), (16, 127, 80), (17, 128, 17), (31, 1, 96), (33, 255, 7), (63, 257, 8), (64, 64, 64),
    (65, 40, 129), (1, 300, 130), (129, 70, 1), (100, 513, 50),
)  # fmt: skip


def _cases() -> Iterator[Case]:
    for m, k, n in _SIZES:
        yield matmul_case(f"{m}x{k}x{n}", m, k, n, tags=("tail",))
    for m, k, n in _SIZES[3:20:4]:
        yield matmul_case(f"{m}x{k}x{n}-weights", m, k, n, constant=True, tags=("tail",))
        for activation in ("none", "relu", "relu6"):
            yield matmul_case(
                f"{m}x{k}x{n}-bias-{activation}",
                m,
                k,
                n,
                bias=True,
                constant=True,
                activation=activation,
                values=scaled(4),
                tags=("tail", "epilogue"),
            )
        for ta, tb in ((True, False), (False, True), (True, True)):
            flags = f"{'t' if ta else 'n'}{'t' if tb else 'n'}"
            yield matmul_case(f"{m}x{k}x{n}-{flags}", m, k, n, transpose_a=ta, transpose_b=tb, tags=("tail",))
            yield matmul_case(
                f"{m}x{k}x{n}-{flags}-weights", m, k, n, transpose_a=ta, transpose_b=tb, constant=True, bias=True
            )
    for m, k, n in ((3, 150, 300), (11, 90, 70), (40, 67, 33), (70, 130, 1), (5, 37, 1), (1, 200, 1)):
        for ta, tb in ((False, False), (True, False), (False, True), (True, True)):
            name = f"{m}x{k}x{n}-unpacked-{'t' if ta else 'n'}{'t' if tb else 'n'}"
            yield matmul_case(
                name, m, k, n, transpose_a=ta, transpose_b=tb, bias=True, activation="relu", tags=("tail",)
            )
    yield matmul_case("column-weights", 9, 75, 1, constant=True, bias=True, tags=("tail",))
    yield matmul_case("column-batch", 7, 90, 1, batch_a=(3,), batch_b=(3,), tags=("batch",))
    yield matmul_case("column-nan", 9, 75, 1, values=sparse_nan, tags=("nan",))
    yield matmul_case("bias-not-constant", 9, 17, 33, bias=True)
    yield from (
        matmul_case("m0", 0, 4, 5, tags=("empty",)),
        matmul_case("n0", 4, 5, 0, tags=("empty",)),
        matmul_case("k0", 4, 0, 5, tags=("empty",)),
        matmul_case("k0-bias-relu", 4, 0, 5, bias=True, activation="relu", tags=("empty",)),
        matmul_case("k0-weights-bias", 4, 0, 5, bias=True, constant=True, tags=("empty",)),
    )
    for name, batch_a, batch_b in (
        ("batch", (3,), (3,)),
        ("batch-2d", (2, 3), (2, 3)),
        ("batch-a", (4,), ()),
        ("batch-b", (), (4,)),
        ("batch-broadcast", (2, 1), (1, 3)),
        ("batch-one", (1,), (5,)),
    ):
        yield matmul_case(name, 7, 9, 18, batch_a=batch_a, batch_b=batch_b, tags=("batch",))
    yield matmul_case("batch-transposed", 7, 9, 18, batch_a=(3,), batch_b=(3,), transpose_a=True, transpose_b=True)
    yield matmul_case("batch-empty", 7, 9, 18, batch_a=(0,), tags=("empty",))
    yield matmul_case("batches-empty-broadcast", 7, 9, 18, batch_a=(1,), batch_b=(0,), tags=("empty",))
    for batch in ((0,), (2, 0), (0, 3)):
        name = "x".join(map(str, batch))
        yield matmul_case(f"batch-empty-{name}", 7, 9, 18, batch_a=batch, batch_b=batch, tags=("empty",))
        yield matmul_case(f"batch-empty-{name}-turned", 7, 9, 18, batch_a=batch, batch_b=batch, transpose_a=True,
                          transpose_b=True, threads=2, tags=("empty",))  # fmt: skip
    yield matmul_case("nan", 19, 30, 21, values=sparse_nan, tags=("nan",))
    yield matmul_case(
        "nan-weights-relu", 19, 30, 21, values=sparse_nan, constant=True, activation="relu", tags=("nan",)
    )
    yield matmul_case("nan-relu6", 19, 30, 21, values=sparse_nan, activation="relu6", tags=("nan",))
    big = matmul_case("large", 9, 20, 33, values=large, tags=("large",))
    yield replace(big, tolerance=Tolerance(1e-6, 1e25))
    for threads in (1, 2):
        yield matmul_case(f"threads{threads}", 130, 200, 150, threads=threads, tags=("threads",))
        yield matmul_case(
            f"weights-threads{threads}", 67, 190, 260, constant=True, bias=True, threads=threads, tags=("threads",)
        )
    yield matmul_case("row-threads2", 1, 500, 1001, constant=True, threads=2, tags=("threads",))
    yield matmul_case("row-fed-threads2", 1, 500, 1001, threads=2, tags=("threads",))
    yield matmul_case(
        "rows-fed-threads2", 40, 300, 60, transpose_a=True, transpose_b=True, threads=2, tags=("threads",)
    )
    yield matmul_case("column-threads2", 700, 300, 1, threads=2, tags=("threads",))
    for memory in MEMORIES:
        yield matmul_case(f"{memory}", 19, 33, 37, memory=memory, constant=True, bias=True, tags=("strided",))
    for dtype in (F16, F64, np.dtype(np.complex64), np.dtype(np.complex128)):
        yield matmul_case(f"{dtype}", 5, 18, 19, dtype=dtype)
        yield matmul_case(f"{dtype}-bias-tn", 5, 18, 19, dtype=dtype, bias=True, constant=True, transpose_a=True)
    for dtype in map(np.dtype, ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")):
        yield matmul_case(f"{dtype}", 5, 18, 19, dtype=dtype)
        yield matmul_case(f"{dtype}-wraps", 5, 18, 9, dtype=dtype, values=any_bits, bias=True, tags=("large",))


CASES: tuple[Case, ...] = (
    *_cases(),
    matmul_case("inception-logits", 1, 2048, 1008, constant=True, bias=True, tags=("inception",)),
    matmul_case("inception-logits-batch8", 8, 2048, 1001, constant=True, bias=True, tags=("inception",)),
)
