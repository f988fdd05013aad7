"""Cases of max and average pooling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ...contracts.base import Contract
from ...contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from ...inception_v3 import POOLS, PoolLayer
from ...tensor import DType
from ..case import F16, F32, F64, PLACEMENTS, Case, Memory, tensor
from ..values import any_bits, large, normal, scaled, sparse_nan

__all__ = ["CASES", "FAR_WINDOWS", "inception_case", "pool_case"]

#: (label, window, strides, padding) that reach far beyond images of about 8 x 9.
FAR_WINDOWS: tuple[tuple[str, Any, Any, Any], ...] = (
    ("2e12", (2**12, 2**12), (1, 1), "SAME"),
    ("2e20", (2**20, 2**20), (1, 2), "SAME"),
    ("2e32", (2**32, 3), (2**32, 1), "SAME"),
    ("2e61", (2**61, 2**61 - 1), (1, 1), "SAME"),
    ("explicit-2e40", (2**40, 2**40), (2**39, 2**38), (2**40 - 1, 2**40 - 3, 2**39, 2**40 - 2)),
    ("strides-2e62", (3, 3), (2**62, 2**62), "SAME"),
)


def pool_case(
    contract: Contract[Pool2DParams],
    name: str,
    x: tuple[int, int, int, int],
    window: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    *,
    dtype: DType = F32,
    values: Any = normal,
    x_memory: Memory = "dense",
    memory: Memory = "dense",
    threads: int = 1,
    tags: tuple[str, ...] = (),
    bias: bool = False,
    constant: bool = True,
    **params: Any,
) -> Case:
    """A pool of x NHWC; averages may have a bias and an activation."""
    extra = (tensor(x[3:], normal, dtype, constant=constant),) if bias else ()
    return Case(
        contract,
        name,
        (tensor(x, values, dtype, memory=x_memory), *extra),
        Pool2DParams(window, strides, **params),
        frozenset(tags),
        memory,
        threads,
    )


def inception_case(layer: PoolLayer, *, batch: int = 1, threads: int = 1) -> Case:
    """A pool of Inception v3."""
    suffix = ("" if batch == 1 else f"-batch{batch}") + ("" if threads == 1 else f"-threads{threads}")
    return pool_case(
        MAX_POOL2D if layer.kind == "max" else AVG_POOL2D,
        f"inception-{layer.name}{suffix}",
        (batch, layer.size, layer.size, layer.channels),
        (layer.window, layer.window),
        (layer.stride, layer.stride),
        padding=layer.padding,
        threads=threads,
        tags=("inception",),
    )


def _cases(contract: Contract[Pool2DParams]) -> Iterator[Case]:
    for channels in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130):
        yield pool_case(contract, f"c{channels}", (1, 5, 6, channels), (3, 3), padding="SAME", tags=("tail",))
    counts = (False, True) if contract is AVG_POOL2D else (False,)
    for window in ((1, 1), (2, 2), (3, 3), (5, 5), (1, 4), (4, 1), (8, 8)):
        for strides in ((1, 1), (2, 2), (1, 3), (4, 3)):
            for label, padding in (
                ("same", "SAME"),
                ("valid", "VALID"),
                ("explicit", (window[0] - 1, 0, 0, window[1] - 1)),
            ):
                for count in counts:
                    yield pool_case(
                        contract,
                        f"{window[0]}x{window[1]}-s{strides[0]}{strides[1]}-{label}{'-counted' if count else ''}",
                        (2, 9, 10, 11),
                        window,
                        strides,
                        padding=padding,
                        count_include_pad=count,
                        tags=("window",),
                    )
    for count in counts:
        suffix = "-counted" if count else ""
        yield pool_case(
            contract,
            f"window-larger{suffix}",
            (1, 2, 3, 5),
            (5, 7),
            padding="SAME",
            count_include_pad=count,
            tags=("window",),
        )
        yield pool_case(contract, f"one-pixel{suffix}", (1, 1, 1, 19), (3, 3), padding="SAME", count_include_pad=count)
        for label, window, strides, padding in FAR_WINDOWS:
            yield pool_case(
                contract, f"far-{label}{suffix}", (2, 8, 9, 18), window, strides, padding=padding,
                count_include_pad=count, tags=("far",),
            )  # fmt: skip
    yield pool_case(contract, "global", (3, 8, 8, 40), (8, 8), tags=("window",))
    yield pool_case(contract, "batch0", (0, 5, 6, 7), (3, 3), tags=("empty",))
    yield pool_case(contract, "channels0", (1, 5, 6, 0), (3, 3), tags=("empty",))
    yield pool_case(contract, "height0", (1, 0, 6, 5), (3, 3), padding="SAME", tags=("empty",))
    for label, window, strides in (("3x3", (3, 3), (1, 1)), ("3x3-s2", (3, 3), (2, 2)), ("2x2", (2, 2), (2, 2))):
        for padding in ("SAME", "VALID"):
            yield pool_case(
                contract, f"nan-{label}-{padding.lower()}", (2, 9, 9, 21), window, strides, padding=padding,
                values=sparse_nan, tags=("nan",),
            )  # fmt: skip
    for threads in (1, 2):
        yield pool_case(
            contract, f"threads{threads}", (3, 17, 18, 40), (3, 3), padding="SAME", threads=threads, tags=("threads",)
        )
    for x_memory, memory in PLACEMENTS:
        yield pool_case(
            contract, f"{x_memory}-to-{memory}", (2, 7, 8, 21), (3, 3), (2, 1), padding="SAME", x_memory=x_memory,
            memory=memory, tags=("strided",),
        )  # fmt: skip
    for dtype in (F16, F64):
        yield pool_case(contract, f"{dtype}", (2, 7, 8, 11), (3, 3), padding="SAME", dtype=dtype)
        yield pool_case(contract, f"{dtype}-nan", (2, 7, 8, 11), (2, 3), dtype=dtype, values=sparse_nan, tags=("nan",))


def _max_only() -> Iterator[Case]:
    def negative(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> Any:
        return -np.abs(large(rng, shape, dtype))

    yield pool_case(MAX_POOL2D, "negative", (1, 5, 6, 18), (3, 3), padding="SAME", values=negative, tags=("large",))
    for dtype in map(np.dtype, ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")):
        yield pool_case(
            MAX_POOL2D,
            f"{dtype}",
            (1, 6, 7, 35),
            (3, 3),
            (2, 2),
            padding="SAME",
            dtype=dtype,
            values=any_bits,
            tags=("large",),
        )


def _fused_average() -> Iterator[Case]:
    """Averages with a bias and an activation."""
    for channels in (1, 3, 8, 15, 16, 17, 33, 64, 130):
        yield pool_case(
            AVG_POOL2D, f"fused-c{channels}", (1, 5, 6, channels), (3, 3), padding="SAME", bias=True, activation="relu",
            tags=("tail",),
        )  # fmt: skip
    for activation in ("none", "relu", "relu6"):
        for bias in (False, True):
            for count in (False, True):
                name = f"{activation}{'-bias' if bias else ''}{'-counted' if count else ''}"
                case = pool_case(
                    AVG_POOL2D, f"epilogue-{name}", (2, 9, 7, 21), (3, 2), padding="SAME", bias=bias,
                    activation=activation, count_include_pad=count, values=scaled(9), tags=("epilogue",),
                )  # fmt: skip
                yield replace(case, magnitude=9)
        yield pool_case(
            AVG_POOL2D, f"nan-{activation}-bias", (1, 9, 9, 21), (3, 3), padding="SAME", bias=True, activation=activation,
            values=sparse_nan, tags=("nan",),
        )  # fmt: skip
    base: dict[str, Any] = {"bias": True, "activation": "relu", "padding": "SAME"}
    yield pool_case(AVG_POOL2D, "fused-fed", (1, 5, 6, 7), (3, 3), constant=False, tags=("fed",), **base)
    yield pool_case(AVG_POOL2D, "fused-threads2", (3, 17, 18, 40), (3, 3), threads=2, tags=("threads",), **base)
    yield pool_case(AVG_POOL2D, "fused-batch0", (0, 5, 6, 7), (3, 3), tags=("empty",), **base)
    yield pool_case(AVG_POOL2D, "fused-channels0", (1, 5, 6, 0), (3, 3), tags=("empty",), **base)
    for x_memory, memory in PLACEMENTS:
        yield pool_case(
            AVG_POOL2D, f"fused-{x_memory}-to-{memory}", (2, 7, 8, 21), (3, 3), x_memory=x_memory, memory=memory,
            tags=("strided",), **base,
        )  # fmt: skip
    for dtype in (F16, F64):
        yield pool_case(AVG_POOL2D, f"fused-{dtype}", (2, 7, 8, 11), (3, 3), dtype=dtype, **base)


CASES: tuple[Case, ...] = (
    *_cases(MAX_POOL2D),
    *_max_only(),
    *_cases(AVG_POOL2D),
    *_fused_average(),
    *(inception_case(layer) for layer in POOLS if layer.name not in ("A1.pool", "C1.pool", "C2.pool", "C3.pool")),
)
