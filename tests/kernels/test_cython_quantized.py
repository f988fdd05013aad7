"""The C kernels of quantised tensors next to integers and float64, on every instruction set: the same integers everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import quantized as ops
from kigraph.kernels.contracts.geometry import WindowGeometry
from kigraph.kernels.contracts.pool2d import MAX_POOL2D, Pool2DParams
from kigraph.kernels.kernel import NoConstants, Query
from kigraph.kernels.tensor import TensorType

core = pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")

from kigraph.kernels import cython  # noqa: E402 - after the check that it is built

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).parents[2]
#: Channels around the widths of vectors: 16, 32 and 64 bytes, and the pixels of blocks of four.
CHANNELS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 63, 64, 65, 96, 127, 128, 130, 255, 256, 257, 300)
TYPES = (np.int8, np.uint8)


def kernel_of(contract: Any) -> Any:
    (kernel,) = [k for k in cython.KERNELS if k.contract is contract]
    return kernel


def run(contract: Any, inputs: Sequence[Array], params: Any, out: Array | None = None, threads: int = 1) -> Array:
    """The output, written into ``out`` if given."""
    types = tuple(TensorType(a.dtype, a.shape) for a in inputs)
    query = Query(contract, types, contract.check(types, params), params, threads=threads)
    kernel = kernel_of(contract)
    assert kernel.refusal(query) is None
    y = np.empty(query.outputs[0].dims, query.outputs[0].dtype) if out is None else out
    prepared = kernel.prepare(query, NoConstants())
    prepared.bind(list(inputs), [y], np.zeros(prepared.workspace_bytes, np.uint8))()
    return y


def single(values: Any) -> Array:
    """Rounded to float32, as float64."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float64).astype(np.float32).astype(np.float64)


def clamped(v: Array, zero: int, low: int, high: int, dtype: Any, nearest: Callable[[Array], Array] = np.rint) -> Array:
    """NaN is low."""
    whole = np.where(np.isnan(v), -np.inf, nearest(np.clip(v, -1e6, 1e6)))
    return np.clip(whole + zero, low, high).astype(dtype)


def steps(x: Array, zero: int) -> Array:
    return x.astype(np.float64) - zero


def any_bytes(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    return rng.integers(0, 256, shape, np.uint8).view(dtype)


def bounds(rng: np.random.Generator, dtype: Any) -> tuple[int, int, int]:
    """Zero point, low and high."""
    info = np.iinfo(dtype)
    low, high = sorted(int(v) for v in rng.integers(info.min, info.max + 1, 2))
    if rng.random() < 0.5:
        low, high = int(info.min), int(info.max)
    return int(rng.choice([info.min, 0, info.max, rng.integers(info.min, info.max + 1)])), low, high


def zero_of(rng: np.random.Generator, dtype: Any) -> int:
    return bounds(rng, dtype)[0]


def multiplier_of(rng: np.random.Generator) -> float:
    return float(
        np.float32(rng.choice([1, 0.5, -1, 2.0 ** rng.uniform(-9, 2), 1e-30, 1e30, -(2.0 ** rng.uniform(-9, 2))]))
    )


def map_cases(rng: np.random.Generator, n: int) -> Iterator[tuple[Any, list[Array], Any, Array]]:
    """(contract, inputs, parameters, what is expected) of n elements."""
    for dtype in TYPES:
        for result in TYPES:
            x, b = any_bytes(rng, (n,), dtype), any_bytes(rng, (n,), dtype)
            zero, low, high = bounds(rng, result)
            za, zb, ma, mb = zero_of(rng, dtype), zero_of(rng, dtype), multiplier_of(rng), multiplier_of(rng)
            to = {"y_zero": zero, "low": low, "high": high, "dtype": np.dtype(result)}
            v = single(steps(x, za) * ma)
            yield (
                ops.REQUANTIZE,
                [x],
                ops.RequantizeParams(x_zero=za, multiplier=ma, **to),
                clamped(v, zero, low, high, result),
            )
            one = b[:1] if n and rng.random() < 0.3 else b
            v = single(v + single(steps(one, zb) * mb))
            params = ops.QAddParams(a_zero=za, b_zero=zb, a_multiplier=ma, b_multiplier=mb, **to)
            yield ops.QADD, [x, one], params, clamped(v, zero, low, high, result)
            v = single(steps(x, za) * steps(b[:1] if one is not b else b, zb) * ma)
            yield ops.QMUL, [x, one], ops.QMulParams(za, zb, ma, **to), clamped(v, zero, low, high, result)
            v = single(steps(one, zb) * steps(x, za) * ma)
            yield ops.QMUL, [one, x], ops.QMulParams(zb, za, ma, **to), clamped(v, zero, low, high, result)
        scale, zero = float(np.float32(2.0 ** rng.uniform(-9, 2))), zero_of(rng, dtype)
        wanted = single(steps(x, zero) * scale).astype(np.float32)
        yield ops.DEQUANTIZE_LINEAR, [x], ops.DequantizeLinearParams(scale, zero), wanted
        zero, low, high = bounds(rng, dtype)
        reals = (rng.standard_normal(n) * 90 * scale).astype(np.float32)
        halves = (rng.integers(-300, 300, n) + 0.5).astype(np.float32)
        odd = np.array(
            [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0, 2.0**31, -(2.0**31), 2.0**23 + 1], np.float32
        )
        for r, s in ((reals, scale), (halves, 1.0), (np.resize(odd, n), scale)):
            for divide in (False, True):
                with np.errstate(over="ignore"):
                    v = single(r.astype(np.float64) / s if divide else r.astype(np.float64) * single(1 / s))
                params = ops.QuantizeLinearParams(s, zero, low, high, np.dtype(dtype), divide)
                yield ops.QUANTIZE_LINEAR, [r], params, clamped(v, zero, low, high, dtype)


def quotient_cases(rng: np.random.Generator) -> Iterator[tuple[Any, list[Array], Any, Array]]:
    """Numbers whose quotients lie at and next to halves, for scales of all sizes and mantissas."""
    mantissas = [*rng.uniform(1, 2, 20), 1, 2 - 2.0**-23, 1 + 2.0**-23, 2 - 2.0**-22]
    for exponent in (-149, -140, -125, -61, -60, -59, -8, -3, 0, 59, 60, 61, 110):
        for mantissa in mantissas:
            scale = float(np.float32(mantissa * 2.0**exponent))
            x = ((np.arange(-300, 300) + 0.5) * scale).astype(np.float32)
            x = np.stack([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))])
            with np.errstate(over="ignore"):
                v = single(x.astype(np.float64) / scale)
            yield ops.QUANTIZE_LINEAR, [x], ops.QuantizeLinearParams(scale, 3), clamped(v, 3, -128, 127, np.int8)


def cells(x: Array, zero: int, g: WindowGeometry) -> Iterator[tuple[int, int, Array, Array]]:
    """(row, column, x less its zero point where the windows have that cell (0 outside x), whether it is inside) of each cell."""
    height, width = x.shape[1:3]
    rows, columns = (np.arange(o) * s - b for o, s, b in zip(g.out, g.strides, g.before, strict=True))
    for i in range(g.window[0]):
        for j in range(g.window[1]):
            r, q = rows + i * g.dilations[0], columns + j * g.dilations[1]
            inside = ((r >= 0) & (r < height))[:, None] & ((q >= 0) & (q < width))
            part = x[:, np.clip(r, 0, height - 1)][:, :, np.clip(q, 0, width - 1)].astype(np.int64) - zero
            yield i, j, np.where(inside[None, :, :, None], part, 0), inside[None, :, :, None]


def geometry(contract: Any, inputs: Sequence[Array], params: Any) -> WindowGeometry:
    types = tuple(TensorType(a.dtype, a.shape) for a in inputs)
    return WindowGeometry.of(types, contract.check(types, params), getattr(params, "windows", params))


def mean(x: Array, params: Any) -> Array:
    g = geometry(ops.QPOOL, [x], params)
    total, count = np.zeros((x.shape[0], *g.out, x.shape[3]), np.int64), np.zeros((1, *g.out, 1))
    for _, _, part, inside in cells(x, params.x_zero, g):
        total, count = total + part, count + inside
    divisor = float(np.prod(params.window)) if params.count_include_pad else count
    v = single(single(single(total) * params.multiplier) / divisor)

    def nearest(v: Array) -> Array:
        if params.halves == "even":
            return np.rint(v)
        up = np.ones(v.shape, bool) if params.halves == "up" else np.floor(v) + params.y_zero >= 0
        return np.where(v - np.floor(v) == 0.5, np.where(up, np.ceil(v), np.floor(v)), np.rint(v))

    return clamped(v, params.y_zero, params.low, params.high, x.dtype, nearest)


def sums(x: Array, w: Array, bias: Array, multiplier: Array, params: Any) -> Array:
    """Depthwise convolution."""
    g = geometry(ops.QDEPTHWISE, [x, w, bias, multiplier], params)
    total = np.zeros((x.shape[0], *g.out, *w.shape[2:]), np.int64)
    for i, j, part, _ in cells(x, params.x_zero, g):
        total += part[..., None] * w[i, j].astype(np.int64)
    total = (total.reshape(*total.shape[:3], -1) + bias).astype(np.uint64).astype(np.uint32).view(np.int32)
    if params.dtype == np.int32:
        return total
    with np.errstate(invalid="ignore"):
        v = single(single(total) * multiplier.astype(np.float64))
    if params.dtype == np.float32:
        return v.astype(np.float32)
    return clamped(v, params.y_zero, params.low, params.high, params.dtype)


def padding_of(rng: np.random.Generator, window: tuple[int, int]) -> Any:
    explicit = tuple(int(rng.integers(0, window[i // 2])) for i in range(4))
    return ["SAME", "VALID", explicit][rng.integers(3)]


def pool_case(rng: np.random.Generator) -> tuple[Any, list[Array], Any, Array]:
    window = [(3, 3), (2, 2), (1, 1), (5, 3), (8, 8), (1, 7), (12, 12), (3, 70), (13, 1)][rng.integers(9)]
    strides = [(1, 1), (2, 2), window, (1, 3), (3, 1)][rng.integers(5)]
    height, width = (int(rng.integers(k, k + 12)) for k in window)
    dtype = TYPES[rng.integers(2)]
    x = any_bytes(rng, (int(rng.integers(1, 3)), height, width, int(rng.choice(CHANNELS))), dtype)
    if rng.random() < 0.3:
        x[...] = rng.choice([np.iinfo(dtype).min, np.iinfo(dtype).max])  # the largest sums
    zero, low, high = bounds(rng, dtype)
    params = ops.QPoolParams(
        window, strides, padding_of(rng, window), bool(rng.integers(2)), zero_of(rng, dtype), zero, low, high,
        1.0 if rng.random() < 0.5 else multiplier_of(rng), ("even", "away", "up")[rng.integers(3)],
    )  # fmt: skip
    return ops.QPOOL, [x], params, mean(x, params)


def depthwise_case(rng: np.random.Generator) -> tuple[Any, list[Array], Any, Array]:
    window = [(3, 3), (5, 5), (1, 1), (2, 3), (7, 7), (1, 4), (12, 11)][rng.integers(7)]
    strides, dilations = [(1, 1), (2, 2), (1, 3)][rng.integers(3)], [(1, 1), (1, 1), (2, 1), (2, 3)][rng.integers(4)]
    height, width = ((k - 1) * d + 1 + int(rng.integers(0, 9)) for k, d in zip(window, dilations, strict=True))
    dtype, c, m = TYPES[rng.integers(2)], int(rng.choice(CHANNELS)), int(rng.choice([1, 1, 1, 2, 3, 4, 8]))
    x, w = any_bytes(rng, (int(rng.integers(1, 3)), height, width, c), dtype), any_bytes(rng, (*window, c, m), np.int8)
    bias = rng.integers(-(2**31), 2**31, c * m) if rng.random() < 0.2 else rng.integers(-20000, 20000, c * m)
    multiplier = (2.0 ** rng.uniform(-12, -6, c * m)).astype(np.float32)
    if rng.random() < 0.2:
        multiplier[rng.integers(0, c * m, 3)] = [np.inf, -1.0, 0.0]
    result = [np.int8, np.uint8, np.int8, np.uint8, np.int32, np.float32][rng.integers(6)]
    zero, low, high = bounds(rng, result) if result in TYPES else (0, -128, 127)
    params = ops.QConv2DParams(
        strides, padding_of(rng, window), dilations, zero_of(rng, dtype), zero, low, high, np.dtype(result)
    )
    inputs = [x, w, bias.astype(np.int32), multiplier]
    return ops.QDEPTHWISE, inputs, params, sums(*inputs, params)


def max_case(rng: np.random.Generator) -> tuple[Any, list[Array], Any, Array]:
    window = [(3, 3), (2, 2), (1, 5)][rng.integers(3)]
    dtype = TYPES[rng.integers(2)]
    x = any_bytes(rng, (2, int(rng.integers(5, 9)), int(rng.integers(5, 9)), int(rng.choice(CHANNELS))), dtype)
    params = Pool2DParams(window, (int(rng.integers(1, 3)), int(rng.integers(1, 3))), padding_of(rng, window))
    g = geometry(MAX_POOL2D, [x], params)
    most = np.full((x.shape[0], *g.out, x.shape[3]), -1000, np.int64)
    for _, _, part, inside in cells(x, 0, g):
        most = np.maximum(most, np.where(inside, part, -1000))
    return MAX_POOL2D, [x], params, most.astype(dtype)


@cache
def sweep(count: int, check: bool = True) -> str:
    """A digest of the outputs of random cases; with ``check`` each is compared to what is expected."""
    rng, digest = np.random.default_rng(20), hashlib.sha256()
    windows = [make(rng) for _ in range(count) for make in (pool_case, depthwise_case, max_case)]
    maps = [c for n in (0, 1, 15, 63, 64, 65, 200, 1000) for c in map_cases(rng, n)]
    for case in (*maps, *quotient_cases(rng), *windows):
        contract, inputs, params, wanted = case
        y = run(contract, inputs, params)
        digest.update(y.tobytes())
        if check:
            np.testing.assert_array_equal(y, wanted, f"{contract.name} of {[a.shape for a in inputs]}: {params}")
    return digest.hexdigest()


def test_random_uses() -> None:
    sweep(100)


@pytest.mark.parametrize("isa", [isa for isa in core.DOTS if isa != core.DOT_IN_USE])
def test_every_instruction_set_gives_the_same_integers(isa: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_cython_quantized as t\n"
        f"assert t.core.DOT_IN_USE == {isa!r}\n"
        "print(t.sweep(30, check=False))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "KIGRAPH_ISA": isa}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == sweep(30, check=False)


def sliced(shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    """(buffer, channels 3 .. of it) of that shape."""
    buffer = np.full((*shape[:-1], shape[-1] + 8), 77, dtype)
    return buffer, buffer[..., 3 : 3 + shape[-1]]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("make", [pool_case, depthwise_case, max_case])
def test_slices_and_threads(make: Callable[..., Any], threads: int) -> None:
    """Inputs and outputs may be channel slices; nothing beside the slice changes, and the integers stay."""
    rng = np.random.default_rng(threads)
    for _ in range(12):
        contract, inputs, params, wanted = make(rng)
        _, x = sliced(inputs[0].shape, inputs[0].dtype)
        x[...] = inputs[0]
        buffer, y = sliced(wanted.shape, wanted.dtype)
        run(contract, [x, *inputs[1:]], params, y, threads)
        np.testing.assert_array_equal(y, wanted)
        assert (buffer[..., :3] == 77).all()
        assert (buffer[..., 3 + y.shape[-1] :] == 77).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_maps_broadcast_in_place_in_slices_and_threads(threads: int) -> None:
    rng = np.random.default_rng(threads)
    a, b = any_bytes(rng, (3, 40, 41, 33), np.uint8), any_bytes(rng, (33,), np.uint8)
    params = ops.QAddParams(3, 200, 0.7, 0.4, 100, 20, 230, np.dtype(np.uint8))
    v = single(single(steps(a, 3) * single(0.7)) + single(steps(b, 200) * single(0.4)))
    wanted = clamped(v, 100, 20, 230, np.uint8)
    np.testing.assert_array_equal(run(ops.QADD, [a, b], params, threads=threads), wanted)
    buffer, y = sliced(a.shape, np.uint8)
    np.testing.assert_array_equal(run(ops.QADD, [a, b], params, y, threads), wanted)
    assert (buffer[..., :3] == 77).all()
    assert (buffer[..., 36:] == 77).all()
    run(ops.QADD, [a, b], params, a, threads)
    np.testing.assert_array_equal(a, wanted)


def test_windows_far_beyond_the_image() -> None:
    """Strides, windows and dilations to 2^40: what lies outside takes no time and no address."""
    rng = np.random.default_rng(5)
    x = any_bytes(rng, (1, 8, 9, 70), np.int8)
    for window in ((2**40, 3), (3, 2**40), (2**31, 2**31)):
        y = run(ops.QPOOL, [x], ops.QPoolParams(window, (1, 1), "SAME", x_zero=5, multiplier=0.5))
        total = (x.astype(np.int64) - 5).sum((1, 2) if min(window) > 3 else 1 if window[0] > 3 else 2)
        if min(window) > 3:
            np.testing.assert_array_equal(y[0, 4, 4], np.rint(single(single(total * 0.5) / 72))[0])
        elif window[0] > 3:
            inner = single(single((total[:, 3:6]).sum(1) * 0.5) / 24)
            np.testing.assert_array_equal(y[0, 2, 4], np.rint(inner)[0])
    w, bias = any_bytes(rng, (3, 3, 70, 1), np.int8), np.zeros(70, np.int32)
    far = ops.QConv2DParams((1, 1), "SAME", (2**40, 2**50), 5, dtype=np.dtype(np.int32))
    y = run(ops.QDEPTHWISE, [x, w, bias, np.ones(70, np.float32)], far)
    np.testing.assert_array_equal(y, (x.astype(np.int32) - 5) * w[1, 1, :, 0])
