"""Cases of convolution and depthwise convolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np

from ...contracts.base import Contract, Tolerance
from ...contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from ...inception_v3 import CONVOLUTIONS, ConvLayer
from ...tensor import DType
from ..case import F16, F32, F64, PLACEMENTS, Case, Memory, tensor
from ..values import large, normal, not_finite, scaled, sparse_nan

__all__ = ["CASES", "conv_case", "inception_case"]


def conv_case(
    name: str,
    x: tuple[int, int, int, int],
    w: tuple[int, int, int],
    *,
    contract: Contract[Any] = CONV2D,
    dtype: DType = F32,
    constant: bool = True,
    bias: bool = True,
    values: Any = normal,
    x_memory: Memory = "dense",
    memory: Memory = "dense",
    threads: int = 1,
    tags: tuple[str, ...] = (),
    weights: Any = None,
    **params: Any,
) -> Case:
    """x NHWC; w (height, width, out), or (height, width, multiplier) if depthwise, scaled to give results near 1."""
    kh, kw, out = w
    cin = x[3]
    depthwise = contract is DEPTHWISE_CONV2D
    factor = 1 / sqrt(max(kh * kw * (1 if depthwise else cin), 1))

    def filters(rng: np.random.Generator, shape: tuple[int, ...], of: DType) -> Any:
        return weights(rng, shape, of) * of.type(factor)

    inputs = [
        tensor(x, values, dtype, memory=x_memory),
        tensor((kh, kw, cin, out), scaled(factor) if weights is None else filters, dtype, constant=constant),
    ]
    if bias:
        inputs.append(tensor((cin * out if depthwise else out,), normal, dtype, constant=constant))
    return Case(contract, name, tuple(inputs), Conv2DParams(**params), frozenset(tags), memory, threads)


def inception_case(layer: ConvLayer, *, batch: int = 1, threads: int = 1) -> Case:
    """A convolution of Inception v3 with its bias and ReLU."""
    suffix = ("" if batch == 1 else f"-batch{batch}") + ("" if threads == 1 else f"-threads{threads}")
    return conv_case(
        f"inception-{layer.name}{suffix}",
        (batch, layer.size, layer.size, layer.cin),
        (*layer.kernel, layer.cout),
        strides=(layer.stride, layer.stride),
        padding=layer.padding,
        activation="relu",
        threads=threads,
        tags=("inception",),
    )


#: A few of the real layers, one of each kind; benchmarks run all of them.
_TESTED_LAYERS = (
    "stem1", "stem2", "stem4", "A0.b1x1", "A0.b5_2", "A0.b3_3", "A0.pool", "B.b3", "C0.b7_1", "C1.b7_2", "C3.b7_3",
    "D.b3_2", "E0.b3_2a", "E0.b3_2b", "E0.d3_2", "E1.b1x1",
)  # fmt: skip

_WINDOWS = ((1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (1, 3), (3, 1), (2, 2), (4, 3), (7, 7))
#: (input channels, output channels) around vectors of 4, 8 and 16 and blocks of 48 to 80.
_CHANNELS = (
    (1, 1), (1, 16), (2, 3), (3, 32), (4, 4), (5, 7), (7, 8), (8, 9), (9, 15), (15, 16), (16, 17), (17, 31), (31, 33), (32, 48),
    (33, 63), (48, 64), (64, 65), (65, 80), (80, 96), (3, 130), (130, 3),
)  # fmt: skip


def _shapes() -> Iterator[Case]:
    for number, (cin, cout) in enumerate(_CHANNELS):
        size = 3 + number % 7
        yield conv_case(f"1x1-c{cin}-{cout}", (1, size, size + 1, cin), (1, 1, cout), tags=("tail",))
        yield conv_case(
            f"3x3-c{cin}-{cout}",
            (1, size, size + 4, cin),
            (3, 3, cout),
            padding="SAME",
            activation="relu",
            tags=("tail",),
        )
    for width in (*range(1, 20), 31, 33, 35):
        yield conv_case(f"3x3-width{width}", (1, 3, width, 8), (3, 3, 16), padding="SAME", tags=("tail",))
        yield conv_case(f"1x7-width{width}", (1, 2, width, 5), (1, 7, 18), padding="SAME", tags=("tail",))
    for kh, kw in _WINDOWS:
        for strides in ((1, 1), (2, 2), (1, 2), (3, 1)):
            for label, padding in (("same", "SAME"), ("valid", "VALID"), ("explicit", (2, 0, 1, 3))):
                yield conv_case(
                    f"{kh}x{kw}-s{strides[0]}{strides[1]}-{label}",
                    (1, 9, 10, 6),
                    (kh, kw, 10),
                    strides=strides,
                    padding=padding,
                    tags=("window",),
                )
    for dilations in ((2, 2), (1, 3), (3, 1)):
        for label, padding in (("same", "SAME"), ("valid", "VALID"), ("explicit", (3, 1, 0, 4))):
            for stride in (1, 2):
                yield conv_case(
                    f"3x3-d{dilations[0]}{dilations[1]}-s{stride}-{label}",
                    (1, 9, 11, 5),
                    (3, 3, 17),
                    strides=(stride, stride),
                    padding=padding,
                    dilations=dilations,
                    tags=("dilated",),
                )
    yield conv_case("window-larger-than-image", (1, 2, 3, 9), (5, 7, 12), padding="SAME", tags=("window",))
    yield conv_case("window-is-image", (2, 8, 8, 20), (8, 8, 11), tags=("window",))
    yield conv_case("stride-larger-than-window", (1, 11, 12, 7), (2, 2, 9), strides=(4, 5), padding="SAME")
    yield conv_case("padding-larger-than-window", (1, 3, 4, 6), (2, 2, 9), padding=(3, 4, 5, 2), tags=("window",))
    yield conv_case("one-pixel", (1, 1, 1, 33), (3, 3, 18), padding="SAME", tags=("window",))


def _empty() -> Iterator[Case]:
    for name, x, w, padding in (
        ("batch0", (0, 5, 5, 3), (3, 3, 4), "VALID"),
        ("height0", (1, 0, 5, 3), (3, 3, 4), "SAME"),
        ("width0", (1, 5, 0, 3), (1, 3, 4), "SAME"),
        ("cin0", (1, 5, 4, 0), (3, 3, 4), "SAME"),
        ("cout0", (1, 5, 4, 3), (3, 3, 0), "SAME"),
    ):
        yield conv_case(name, x, w, padding=padding, tags=("empty",))
        yield conv_case(f"{name}-fed", x, w, padding=padding, constant=False, bias=False, tags=("empty",))
    yield conv_case("cin0-relu", (2, 5, 4, 0), (1, 1, 19), activation="relu", tags=("empty",))


def _options() -> Iterator[Case]:
    for label, window, strides in (("1x1", (1, 1), 1), ("3x3", (3, 3), 1), ("3x3-s2", (3, 3), 2), ("1x7", (1, 7), 1)):
        base: dict[str, Any] = {"strides": (strides, strides), "padding": "SAME"}
        x, w = (2, 9, 13, 24), (*window, 40)
        for activation in ("none", "relu", "relu6"):
            for bias in (False, True):
                case = conv_case(
                    f"{label}-{activation}{'-bias' if bias else ''}", x, w, activation=activation, bias=bias,
                    values=scaled(4), tags=("epilogue",), **base,
                )  # fmt: skip
                yield replace(case, magnitude=4)
        yield conv_case(f"{label}-fed", x, w, constant=False, tags=("fed",), **base)
        yield conv_case(f"{label}-fed-no-bias", x, w, constant=False, bias=False, tags=("fed",), **base)
        for activation in ("none", "relu", "relu6"):
            yield conv_case(
                f"{label}-nan-{activation}", x, w, values=sparse_nan, activation=activation, tags=("nan",), **base
            )
        big = conv_case(f"{label}-large", x, w, values=large, bias=False, tags=("large",), **base)
        yield replace(big, tolerance=Tolerance(1e-6, 1e25))
        for threads in (1, 2):
            yield conv_case(
                f"{label}-threads{threads}", (1, 19, 21, 24), (*window, 72), threads=threads, tags=("threads",), **base
            )
        yield conv_case(f"{label}-batch5-threads2", (5, 9, 8, 24), w, threads=2, tags=("threads",), **base)
        for x_memory, memory in PLACEMENTS:
            yield conv_case(
                f"{label}-{x_memory}-to-{memory}",
                x,
                w,
                x_memory=x_memory,
                memory=memory,
                activation="relu",
                tags=("strided",),
                **base,
            )
        for dtype in (F16, F64):
            yield conv_case(f"{label}-{dtype}", (2, 6, 7, 5), (*window, 9), dtype=dtype, **base)
            yield conv_case(f"{label}-{dtype}-fed-relu6", (2, 6, 7, 5), (*window, 9), dtype=dtype, constant=False,
                            activation="relu6", values=scaled(4), **base)  # fmt: skip


def _depthwise() -> Iterator[Case]:
    options: dict[str, Any] = {"contract": DEPTHWISE_CONV2D}
    for channels in (1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65):
        yield conv_case(f"3x3-c{channels}", (1, 6, 7, channels), (3, 3, 1), padding="SAME", tags=("tail",), **options)
    for multiplier in (2, 3, 8):
        yield conv_case(f"m{multiplier}", (1, 6, 7, 5), (3, 3, multiplier), padding="SAME", **options)
    for kh, kw in ((1, 1), (3, 3), (5, 5), (1, 7), (2, 3)):
        for stride in (1, 2, 3):
            for label, padding in (("same", "SAME"), ("valid", "VALID"), ("explicit", (1, 0, 2, 1))):
                yield conv_case(
                    f"{kh}x{kw}-s{stride}-{label}", (2, 8, 9, 10), (kh, kw, 1), strides=(stride, stride), padding=padding,
                    tags=("window",), **options,
                )  # fmt: skip
    for size in (3, 5, 7):  # tiles of columns and rows, and what is left of them
        for stride in (1, 2):
            for width in (1, 4, 7, 9, 15):
                yield conv_case(f"{size}x{size}-s{stride}-width{width}", (1, 5, width, 21), (size, size, 1), padding="SAME",
                                strides=(stride, stride), activation="relu", tags=("tail",), **options)  # fmt: skip
        for strides, (dh, dw) in (
            ((1, 2), (1, 1)),
            ((2, 1), (1, 1)),
            ((1, 1), (2, 2)),
            ((1, 1), (1, 3)),
            ((2, 2), (1, 2)),
        ):
            yield conv_case(f"{size}x{size}-s{strides[0]}{strides[1]}-d{dh}{dw}", (2, 6, 10, 16), (size, size, 1),
                            padding="SAME", strides=strides, dilations=(dh, dw), tags=("window",), **options)  # fmt: skip
    for activation in ("none", "relu", "relu6"):
        yield conv_case(f"{activation}-no-bias", (2, 7, 7, 24), (3, 3, 1), bias=False, activation=activation,
                        values=scaled(4), **options)  # fmt: skip
        yield conv_case(f"nan-{activation}", (1, 7, 7, 24), (3, 3, 1), activation=activation, values=sparse_nan,
                        tags=("nan",), **options)  # fmt: skip
    yield conv_case(
        "dilated", (1, 9, 11, 12), (3, 3, 1), dilations=(2, 3), padding="SAME", tags=("dilated",), **options
    )
    yield conv_case("fed", (1, 9, 11, 12), (3, 3, 2), constant=False, padding="SAME", tags=("fed",), **options)
    yield conv_case("threads2", (3, 19, 11, 24), (3, 3, 1), padding="SAME", threads=2, tags=("threads",), **options)
    yield conv_case("batch0", (0, 9, 11, 12), (3, 3, 1), tags=("empty",), **options)
    yield conv_case("channels0", (1, 9, 11, 0), (3, 3, 1), tags=("empty",), **options)
    yield conv_case("multiplier0", (1, 9, 11, 4), (3, 3, 0), tags=("empty",), **options)
    yield conv_case("mobilenet", (1, 28, 28, 128), (3, 3, 1), padding="SAME", activation="relu6", **options)
    for x_memory, memory in PLACEMENTS:
        yield conv_case(f"{x_memory}-to-{memory}", (2, 7, 8, 20), (3, 3, 1), padding="SAME", x_memory=x_memory,
                        memory=memory, tags=("strided",), **options)  # fmt: skip
    for dtype in (F16, F64):
        yield conv_case(f"{dtype}", (2, 6, 7, 5), (3, 3, 2), dtype=dtype, padding="SAME", **options)


#: (label, strides, padding, dilations) that reach far beyond images of about 8 x 9, up to the end of 64 bits.
_FAR: tuple[tuple[str, Any, Any, Any], ...] = (
    ("stride-2e20", (2**20, 1), "SAME", (1, 1)),
    ("stride-2e32", (2**32, 2**32), "SAME", (1, 1)),
    ("stride-2e62", (2**62, 2**61), "VALID", (1, 1)),
    ("stride-2e62-same", (2**62, 1), "SAME", (1, 1)),
    ("dilation-2e20", (1, 1), "SAME", (2**20, 1)),
    ("dilation-2e40", (1, 2), "SAME", (2**40, 2**40)),
    ("dilation-2e60", (3, 1), "SAME", (2**60, 2**60 - 1)),
    ("padding-2e31", (2**30, 2**29), (2**31, 5, 2**31 + 3, 2**30), (1, 2)),
    ("padding-2e61", (2**59, 2**60), (2**61, 2**60, 2**60 + 2, 2**61), (1, 1)),
    ("all-far", (2**40, 2**40 - 1), (2**42, 2**42 + 1, 2**42 - 1, 2**42), (2**40, 2**40 - 1)),
)


def _far(contract: Contract[Any], out: int) -> Iterator[Case]:
    for label, strides, padding, dilations in _FAR:
        for constant in (True, False):
            yield conv_case(
                f"far-{label}{'' if constant else '-fed'}", (2, 8, 9, 5), (3, 3, out), contract=contract, strides=strides,
                padding=padding, dilations=dilations, constant=constant, tags=("far",),
            )  # fmt: skip


def _weights_not_finite(contract: Contract[Any], outs: tuple[int, ...]) -> Iterator[Case]:
    """Every multiplication counts, also those with padding."""
    for kh, kw in ((1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (2, 3)):
        for label, more in (
            ("same", {"padding": "SAME"}),
            ("explicit", {"padding": (3, 9, 2, 8)}),
            ("strided", {"padding": "SAME", "strides": (2, 1)}),
            ("dilated", {"padding": "SAME", "dilations": (1, 2)}),
        ):
            for out in outs:
                for constant in (True, False):
                    yield conv_case(
                        f"weights-{kh}x{kw}-{label}-{out}{'' if constant else '-fed'}", (2, 11, 12, 18), (kh, kw, out),
                        contract=contract, constant=constant, weights=not_finite, tags=("weights",), **more,
                    )  # fmt: skip


CASES: tuple[Case, ...] = (
    *_shapes(),
    *_far(CONV2D, 18),
    *_far(DEPTHWISE_CONV2D, 1),
    *_weights_not_finite(CONV2D, (20,)),
    *_weights_not_finite(DEPTHWISE_CONV2D, (1, 2)),
    *_empty(),
    *_options(),
    *(inception_case(layer) for layer in CONVOLUTIONS if layer.name in _TESTED_LAYERS),
    *(inception_case(layer, threads=2) for layer in CONVOLUTIONS if layer.name in ("A0.b3_3", "C1.b7_2", "E1.b1x1")),
    *(inception_case(layer, batch=3) for layer in CONVOLUTIONS if layer.name in ("C0.b7_2", "E0.b3_2a")),
    *_depthwise(),
)
