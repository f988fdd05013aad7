"""Cases of quantised layers: whole ranges of integers, zero points at the ends, sums far into int32 and beyond."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import numpy as np

from ...contracts import quantized as q
from ...contracts.base import Contract
from ...tensor import DType
from ..case import F32, MEMORIES, PLACEMENTS, Case, Memory, Values, tensor
from ..values import any_bits
from .quantized_elements import CASES as ELEMENTS
from .quantized_elements import I8, I32, U8, ends

__all__ = ["CASES", "qconv_case", "qmatmul_case", "qpool_case"]

NDArray = np.ndarray[Any, Any]
Rng = np.random.Generator


def only(value: int) -> Values:
    """One integer everywhere."""
    return lambda rng, shape, dtype: np.full(shape, value, dtype)


def _biases(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    return rng.integers(-5000, 5000, shape).astype(dtype)


def _multipliers(terms: int) -> Values:
    """Of channels whose results fill the range of a byte, one in four more than that."""

    def make(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
        usual = 40 / (5000 * sqrt(max(terms, 1)))
        return (usual * rng.choice([0.5, 1.0, 1.5, 4.0], shape) * rng.uniform(0.9, 1.1, shape)).astype(dtype)

    return make


def of_all_sizes(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    """Multipliers from the least to the greatest, 1, a half and 0 among them."""
    return rng.choice(np.array([0, 1e-42, 2.0**-33, 2.0**-20, 1e-4, 0.5, 1, 3, 1e6, 3e38], dtype), shape)


def _product(
    x: tuple[int, ...], w: tuple[int, ...], out: int, terms: int, *, dtype: DType, result: DType, constant: bool, values: Values,
    weights: Values, biases: Values | None, multipliers: Values | None, x_memory: Memory,
) -> Any:  # fmt: skip
    """Inputs of a sum of products."""
    return (
        tensor(x, values, dtype, memory=x_memory),
        tensor(w, weights, I8, constant=constant),
        tensor((out,), biases or _biases, I32, constant=constant),
        tensor((out,), multipliers or _multipliers(terms), F32, constant=constant),
    )


def _numbers(dtype: DType, result: DType, params: dict[str, Any]) -> dict[str, Any]:
    """Zero points and bounds that a case does not state: inside the range, the whole range."""
    usual: dict[str, Any] = {"x_zero": 3 if dtype == I8 else 131, "dtype": result}
    if result in (I8, U8):
        info = np.iinfo(result)
        usual |= {"y_zero": -4 if result == I8 else 117, "low": info.min, "high": info.max}
    return {**usual, **params}


def qconv_case(
    name: str, x: tuple[int, int, int, int], w: tuple[int, int, int], *, contract: Contract[Any] = q.QCONV2D, dtype: DType = I8,
    result: DType | None = None, constant: bool = True, values: Values = any_bits, weights: Values = any_bits,
    biases: Values | None = None, multipliers: Values | None = None, x_memory: Memory = "dense", memory: Memory = "dense",
    threads: int = 1, tags: tuple[str, ...] = (), measure: bool = False, **params: Any,
) -> Case:  # fmt: skip
    """x NHWC; w (height, width, out), or (height, width, multiplier) if depthwise. ``result``: by default as x."""
    kh, kw, out = w
    cin, result = x[3], result or dtype
    depthwise = contract is q.QDEPTHWISE
    inputs = _product(
        x, (kh, kw, cin, out), cin * out if depthwise else out, kh * kw * (1 if depthwise else cin), dtype=dtype,
        result=result, constant=constant, values=values, weights=weights, biases=biases, multipliers=multipliers,
        x_memory=x_memory,
    )  # fmt: skip
    of = q.QConv2DParams(**_numbers(dtype, result, params))
    return Case(contract, name, inputs, of, frozenset(tags), memory, threads, measure=measure)


def qmatmul_case(
    name: str, m: int, k: int, n: int, *, batch: tuple[int, ...] = (), dtype: DType = I8, result: DType | None = None,
    constant: bool = True, values: Values = any_bits, weights: Values = any_bits, biases: Values | None = None,
    multipliers: Values | None = None, x_memory: Memory = "dense", memory: Memory = "dense", threads: int = 1,
    tags: tuple[str, ...] = (), measure: bool = False, **params: Any,
) -> Case:  # fmt: skip
    """x (..., m, k), w (k, n)."""
    result = result or dtype
    inputs = _product(
        (*batch, m, k), (k, n), n, k, dtype=dtype, result=result, constant=constant, values=values, weights=weights,
        biases=biases, multipliers=multipliers, x_memory=x_memory,
    )  # fmt: skip
    of = q.QMatMulParams(**_numbers(dtype, result, params))
    return Case(q.QMATMUL, name, inputs, of, frozenset(tags), memory, threads, measure=measure)


def qpool_case(
    name: str, x: tuple[int, int, int, int], window: tuple[int, int], strides: tuple[int, int] = (1, 1), *, dtype: DType = I8,
    values: Values = any_bits, x_memory: Memory = "dense", memory: Memory = "dense", threads: int = 1,
    tags: tuple[str, ...] = (), measure: bool = False, **params: Any,
) -> Case:  # fmt: skip
    """An average pool of x NHWC."""
    numbers = _numbers(dtype, dtype, params)
    del numbers["dtype"]
    of = q.QPoolParams(window, strides, **numbers)
    return Case(
        q.QPOOL,
        name,
        (tensor(x, values, dtype, memory=x_memory),),
        of,
        frozenset(tags),
        memory,
        threads,
        measure=measure,
    )


#: (dtype of x, zero point of x, x, w): the ends of the ranges, whose products are the largest that there are.
_SATURATED: tuple[tuple[str, DType, int, Values, Values], ...] = (
    ("i8-low", I8, 127, only(-128), only(-128)),
    ("i8-high", I8, -128, only(127), only(127)),
    ("i8-high-by-low", I8, -128, only(127), only(-128)),
    ("i8-zero0", I8, 0, only(-128), only(-128)),
    ("u8-low", U8, 255, only(0), only(-128)),
    ("u8-high", U8, 0, only(255), only(-128)),
    ("u8-high-by-high", U8, 0, only(255), only(127)),
    ("i8-ends", I8, 0, ends, ends),
    ("u8-ends", U8, 128, ends, ends),
)
_FORMATS = (
    ("i8-u8", I8, U8), ("u8-i8", U8, I8), ("u8-u8", U8, U8), ("i8-i32", I8, I32), ("u8-i32", U8, I32), ("i8-f32", I8, F32), ("u8-f32", U8, F32),
)  # fmt: skip


def _far(rng: Rng, shape: tuple[int, ...], dtype: DType) -> NDArray:
    """Biases near both ends of int32."""
    info = np.iinfo(np.int32)
    return rng.choice(np.array([info.min, info.max, info.max - 77, info.min + 77, 0], dtype), shape)


def _shared(contract: Contract[Any]) -> Iterator[Case]:
    """Both kinds of convolution."""
    out = 2 if contract is q.QDEPTHWISE else 11
    base: dict[str, Any] = {"contract": contract, "padding": "SAME"}
    for name, dtype, zero, values, weights in _SATURATED:
        yield qconv_case(
            f"saturated-{name}", (1, 4, 5, 35), (3, 3, out), dtype=dtype, x_zero=zero, values=values, weights=weights,
            tags=("large",), **base,
        )  # fmt: skip
    for name, dtype, result in _FORMATS:
        yield qconv_case(f"{name}", (2, 5, 6, 13), (3, 3, out), dtype=dtype, result=result, **base)
        yield qconv_case(f"{name}-s2", (2, 5, 6, 16), (3, 3, out), dtype=dtype, result=result, strides=(2, 2), **base)
    for result in (I8, U8, I32, F32):
        yield qconv_case(
            f"far-{result}", (1, 3, 4, 9), (3, 3, out), dtype=I8, result=result, biases=_far, tags=("large",), **base
        )
    for dtype in (I8, U8):
        yield qconv_case(
            f"multipliers-{dtype}", (1, 4, 5, 12), (3, 3, out + 13), dtype=dtype, multipliers=of_all_sizes, tags=("large",), **base
        )  # fmt: skip
        yield qconv_case(f"relu-{dtype}", (1, 4, 5, 12), (3, 3, out), dtype=dtype, low=60, high=100, y_zero=60, **base)
        info = np.iinfo(dtype)
        for x_zero, y_zero in ((info.min, info.max), (info.max, info.min)):
            yield qconv_case(
                f"zeros{x_zero}-{y_zero}-{dtype}", (1, 4, 5, 7), (3, 3, out), dtype=dtype, x_zero=x_zero, y_zero=y_zero, **base
            )  # fmt: skip
        yield qconv_case(f"fed-{dtype}", (2, 5, 6, 13), (3, 3, out), dtype=dtype, constant=False, tags=("fed",), **base)
    for kh, kw in ((1, 1), (3, 3), (1, 7), (7, 1), (2, 2), (5, 5)):
        for strides in ((1, 1), (2, 2), (1, 3)):
            for label, padding in (("same", "SAME"), ("valid", "VALID"), ("explicit", (2, 0, 1, 3))):
                yield qconv_case(
                    f"{kh}x{kw}-s{strides[0]}{strides[1]}-{label}", (1, 9, 10, 6), (kh, kw, out - 1), contract=contract,
                    strides=strides, padding=padding, dtype=U8 if kh > 1 else I8, tags=("window",),
                )  # fmt: skip
    for dilations in ((2, 2), (1, 3)):
        for label, padding in (("same", "SAME"), ("valid", "VALID"), ("explicit", (3, 1, 0, 4))):
            yield qconv_case(
                f"d{dilations[0]}{dilations[1]}-{label}", (1, 9, 11, 5), (3, 3, out), contract=contract, padding=padding,
                dilations=dilations, strides=(2, 1), tags=("dilated",),
            )  # fmt: skip
    yield qconv_case("window-larger-than-image", (1, 2, 3, 9), (5, 7, out), tags=("window",), **base)
    yield qconv_case("one-pixel", (1, 1, 1, 33), (3, 3, out), tags=("window",), **base)
    for name, x, w, padding in (
        ("batch0", (0, 5, 5, 3), (3, 3, 4), "VALID"),
        ("height0", (1, 0, 5, 3), (3, 3, 4), "SAME"),
        ("width0", (1, 5, 0, 3), (1, 3, 4), "SAME"),
        ("cin0", (1, 5, 4, 0), (3, 3, 4), "SAME"),
        ("out0", (1, 5, 4, 3), (3, 3, 0), "SAME"),
    ):
        yield qconv_case(name, x, w, contract=contract, padding=padding, tags=("empty",))
        yield qconv_case(f"{name}-fed", x, w, contract=contract, padding=padding, constant=False, tags=("empty",))
    for threads in (1, 2, 3):
        yield qconv_case(
            f"threads{threads}", (3, 17, 18, 40), (3, 3, 1 if contract is q.QDEPTHWISE else 70), threads=threads, tags=("threads",),
            **base,
        )  # fmt: skip
    for x_memory, memory in PLACEMENTS:
        yield qconv_case(
            f"{x_memory}-to-{memory}", (2, 5, 6, 21), (3, 3, out), x_memory=x_memory, memory=memory, tags=("strided",), **base
        )  # fmt: skip


def _convolutions() -> Iterator[Case]:
    for number, (cin, cout) in enumerate(
        ((1, 1), (1, 16), (2, 3), (3, 32), (4, 4), (5, 7), (8, 9), (9, 15), (15, 16), (16, 17), (17, 31), (31, 33), (33, 63), (64, 65), (3, 130), (130, 3)),
    ):  # fmt: skip
        size = 3 + number % 7
        dtype = (I8, U8)[number % 2]
        yield qconv_case(f"1x1-c{cin}-{cout}", (1, size, size + 1, cin), (1, 1, cout), dtype=dtype, tags=("tail",))
        yield qconv_case(
            f"3x3-c{cin}-{cout}", (1, size, size + 4, cin), (3, 3, cout), dtype=dtype, padding="SAME", tags=("tail",)
        )
    for name, dtype, zero, values, weights in _SATURATED:  # 255 * 128 * 67,000 is beyond 2^31: the sum wraps
        yield qconv_case(
            f"wraps-{name}", (1, 1, 2, 67_000), (1, 1, 2), dtype=dtype, result=I32, x_zero=zero, values=values,
            weights=weights, biases=_far, tags=("large",),
        )  # fmt: skip
    yield qconv_case("1x1-pitched", (2, 6, 7, 32), (1, 1, 24), x_memory="pitched", memory="pitched", tags=("strided",))
    yield qconv_case("inception-c0", (1, 17, 17, 192), (1, 7, 192), dtype=U8, padding="SAME", x_zero=0, y_zero=0, tags=("inception",))  # fmt: skip


def _depthwise() -> Iterator[Case]:
    for channels in (1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 65, 130):
        for m in (1, 2, 3):
            yield qconv_case(
                f"c{channels}-m{m}", (1, 5, 6, channels), (3, 3, m), contract=q.QDEPTHWISE, padding="SAME",
                dtype=(I8, U8)[channels % 2], tags=("tail",),
            )  # fmt: skip


def _products() -> Iterator[Case]:
    for number, (m, k, n) in enumerate(
        ((1, 1, 1), (1, 7, 5), (2, 3, 15), (3, 16, 16), (4, 17, 9), (5, 8, 31), (6, 9, 32), (7, 33, 33), (8, 64, 47), (13, 31, 63),
         (17, 128, 17), (33, 255, 7), (63, 257, 8), (64, 64, 64), (1, 300, 130), (129, 70, 1), (20, 513, 50))
    ):  # fmt: skip
        yield qmatmul_case(f"{m}x{k}x{n}", m, k, n, dtype=(I8, U8)[number % 2], tags=("tail",))
    for name, dtype, zero, values, weights in _SATURATED:
        more: dict[str, Any] = {"x_zero": zero, "values": values, "weights": weights, "tags": ("large",)}
        yield qmatmul_case(f"saturated-{name}", 3, 1030, 17, dtype=dtype, **more)
        yield qmatmul_case(f"wraps-{name}", 2, 67_000, 3, dtype=dtype, result=I32, biases=_far, **more)
    for name, dtype, result in _FORMATS:
        yield qmatmul_case(name, 5, 18, 19, dtype=dtype, result=result)
        yield qmatmul_case(f"{name}-fed", 5, 18, 19, dtype=dtype, result=result, constant=False, tags=("fed",))
    yield qmatmul_case("multipliers", 9, 40, 37, multipliers=of_all_sizes, tags=("large",))
    yield qmatmul_case("bounds", 9, 40, 37, low=-7, high=50)
    for name, m, k, n in (("m0", 0, 4, 5), ("k0", 4, 0, 5), ("n0", 4, 5, 0)):
        yield qmatmul_case(name, m, k, n, tags=("empty",))
    yield qmatmul_case("batch", 5, 9, 18, batch=(2, 3), tags=("batch",))
    yield qmatmul_case("batch-empty", 5, 9, 18, batch=(2, 0), tags=("empty",))
    for threads in (1, 2, 3):
        yield qmatmul_case(f"threads{threads}", 67, 190, 130, threads=threads, tags=("threads",))
        yield qmatmul_case(f"row-threads{threads}", 1, 500, 1001, threads=threads, tags=("threads",))
    for memory in MEMORIES:
        yield qmatmul_case(memory, 19, 33, 37, x_memory=memory, tags=("strided",))
        yield qmatmul_case(f"to-{memory}", 19, 33, 37, memory=memory, tags=("strided",))


def _pools() -> Iterator[Case]:
    for channels in (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 130):
        for dtype in (I8, U8):
            yield qpool_case(
                f"c{channels}-{dtype}", (1, 5, 6, channels), (3, 3), padding="SAME", dtype=dtype, tags=("tail",)
            )
    for halves in ("even", "away", "up"):
        for dtype in (I8, U8):
            for multiplier in (1.0, 0.37, 2.5):
                for count in (False, True):
                    yield qpool_case(
                        f"{halves}-{dtype}-x{multiplier}{'-counted' if count else ''}", (2, 9, 10, 11), (2, 2), (1, 2), padding="SAME",
                        dtype=dtype, multiplier=multiplier, count_include_pad=count, halves=halves,
                    )  # fmt: skip
            # A mean of the same type, as runtimes have it: half of all results are halfway.
            zero = -4 if dtype == I8 else 117
            yield qpool_case(f"{halves}-{dtype}-same", (2, 7, 8, 19), (1, 2), dtype=dtype, halves=halves, x_zero=zero, y_zero=zero)  # fmt: skip
    for window in ((1, 1), (3, 3), (1, 4), (4, 1), (8, 8)):
        for strides in ((1, 1), (2, 2), (4, 3)):
            for label, padding in (
                ("same", "SAME"),
                ("valid", "VALID"),
                ("explicit", (window[0] - 1, 0, 0, window[1] - 1)),
            ):
                yield qpool_case(
                    f"{window[0]}x{window[1]}-s{strides[0]}{strides[1]}-{label}", (2, 9, 10, 11), window, strides,
                    padding=padding, tags=("window",),
                )  # fmt: skip
    yield qpool_case("global", (3, 8, 8, 40), (8, 8), dtype=U8, tags=("window",))
    yield qpool_case("wide", (1, 40, 40, 3), (40, 40), values=only(127), x_zero=-128, tags=("window", "large"))
    yield qpool_case("far", (2, 8, 9, 18), (2**20, 2**20), padding="SAME", count_include_pad=True, tags=("far",))
    yield qpool_case("window-larger", (1, 2, 3, 5), (5, 7), padding="SAME", tags=("window",))
    yield qpool_case("bounds", (1, 6, 7, 33), (3, 3), padding="SAME", low=-20, high=11)
    yield qpool_case("batch0", (0, 5, 6, 7), (3, 3), tags=("empty",))
    yield qpool_case("channels0", (1, 5, 6, 0), (3, 3), tags=("empty",))
    for threads in (1, 2, 3):
        yield qpool_case(
            f"threads{threads}", (3, 17, 18, 40), (3, 3), padding="SAME", threads=threads, tags=("threads",)
        )
    for x_memory, memory in PLACEMENTS:
        yield qpool_case(
            f"{x_memory}-to-{memory}", (2, 7, 8, 21), (3, 3), (2, 1), padding="SAME", x_memory=x_memory, memory=memory, tags=("strided",)
        )  # fmt: skip


CASES: tuple[Case, ...] = (
    *_shared(q.QCONV2D),
    *_convolutions(),
    *_shared(q.QDEPTHWISE),
    *_depthwise(),
    *_products(),
    *_pools(),
    *ELEMENTS,
    qconv_case("layer", (12, 35, 35, 96), (3, 3, 96), padding="SAME", dtype=U8, x_zero=0, y_zero=0, measure=True),
    qconv_case("layer", (2, 73, 73, 192), (3, 3, 1), contract=q.QDEPTHWISE, padding="SAME", measure=True),
    qmatmul_case("logits", 32, 2048, 1001, measure=True),
    qpool_case("layer", (8, 35, 35, 192), (3, 3), padding="SAME", dtype=U8, x_zero=0, y_zero=0, measure=True),
)
