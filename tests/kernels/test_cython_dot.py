"""Products of narrow numbers (kernels/cython/c/dot.h) on every instruction set of this machine, against float64 and integers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.cython import core
from kigraph.kernels.cython.dot import Dot
from kigraph.kernels.devices import HOST
from kigraph.kernels.settings import TEST_SEED
from kigraph.kernels.tensor import TensorType

Array = np.ndarray[Any, Any]
SEED = int(np.random.SeedSequence().generate_state(1)[0]) if TEST_SEED.get() is None else TEST_SEED.get()
BFLOAT16 = np.dtype("V2")
FLOAT, INT8, UINT8 = np.dtype("float32"), np.dtype("int8"), np.dtype("uint8")


@pytest.fixture
def rng() -> np.random.Generator:
    """Fresh numbers in every process; the seed is shown where a test fails."""
    print(f"KIGRAPH_TEST_SEED={SEED}")
    return np.random.default_rng(SEED)


def rounded(x: Array) -> Array:
    """float32 to the nearest bfloat16, halves to even, as float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def stored(x: Array) -> Array:
    return (rounded(x).view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16)


def widened(x: Array) -> Array:
    return (np.ascontiguousarray(x).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


@dataclass(frozen=True)
class Layer:
    """A convolution; pairs are (height, width). ``extra``: channels between the pixels of x and of y."""

    x: tuple[int, int, int, int]
    cout: int
    taps: tuple[int, int]
    out: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    extra: int = 0


LAYERS = {
    "1x1": Layer((2, 5, 7, 64), 80, (1, 1), (5, 7)),
    "1x1-few": Layer((1, 1, 1, 33), 17, (1, 1), (1, 1)),
    "one": Layer((1, 1, 1, 1), 1, (1, 1), (1, 1)),
    "3x3": Layer((2, 9, 8, 19), 40, (3, 3), (9, 8), before=(1, 1)),
    "3x3-lines": Layer((2, 6, 66, 32), 33, (3, 3), (6, 66), before=(1, 1)),
    "3x3-lines-inside": Layer((1, 7, 47, 32), 65, (3, 3), (5, 45), extra=0),
    "3x3-long": Layer((1, 13, 11, 96), 32, (3, 3), (13, 11), before=(1, 1), extra=7),
    "7x1-stride": Layer((1, 17, 16, 48), 16, (7, 1), (9, 8), strides=(2, 2), before=(3, 0)),
    "dilated": Layer((1, 11, 12, 5), 9, (3, 2), (8, 9), dilations=(2, 3), before=(1, 0)),
    "far": Layer((1, 3, 3, 4), 5, (2, 2), (6, 6), strides=(3, 3), before=(7, 5), extra=3),
    "first": Layer((1, 21, 23, 3), 32, (3, 3), (10, 11), strides=(2, 2)),
    "1x7": Layer((3, 5, 17, 64), 48, (1, 7), (5, 17), before=(0, 3)),
    "7x1-lines": Layer((1, 17, 33, 70), 33, (7, 1), (17, 33), before=(3, 0), extra=2),
    "5x5": Layer((5, 8, 8, 48), 20, (5, 5), (8, 8), before=(2, 2)),
    "stride-2": Layer((2, 15, 35, 64), 34, (3, 3), (7, 17), strides=(2, 2)),
    "stride-3": Layer((1, 16, 14, 40), 16, (4, 2), (6, 5), strides=(3, 3), before=(2, 1), dilations=(1, 2)),
    "dilated-wide": Layer((2, 9, 40, 32), 12, (3, 3), (9, 40), dilations=(2, 4), before=(2, 4)),
    "large": Layer((1, 40, 100, 128), 4, (3, 3), (40, 100), before=(1, 1)),
}


#: Instruction sets, and whether taps are read from cells: chosen for AMX alone, and tested on three more kinds of blocks.
WAYS = [(isa, False) for isa in core.DOTS]
WAYS += [(isa, True) for isa in core.DOTS if isa in ("amx", "avx512_vnni", "avx2", "portable")]


def windows(layer: Layer, x: Array, padding: float) -> Array:
    """(taps, n, h, w, channels): what each tap sees."""
    found = []
    for u in range(layer.taps[0]):
        for v in range(layer.taps[1]):
            at = [
                np.arange(layer.out[i]) * layer.strides[i] - layer.before[i] + (u, v)[i] * layer.dilations[i]
                for i in (0, 1)
            ]
            tap = np.full((x.shape[0], *layer.out, x.shape[3]), float(padding))
            inside = [(a >= 0) & (a < x.shape[i + 1]) for i, a in enumerate(at)]
            for row in np.flatnonzero(inside[0]):
                tap[:, row, inside[1]] = x[:, at[0][row]][:, at[1][inside[1]]]
            found.append(tap)
    return np.stack(found)


def sums(layer: Layer, x: Array, w: Array, zero: int = 0) -> Array:
    seen = windows(layer, x.astype(np.float64), zero) - zero
    return np.asarray(np.einsum("tnhwc,tco->nhwo", seen, w.reshape(-1, *w.shape[2:]).astype(np.float64)))


def pitched(shape: tuple[int, ...], extra: int, dtype: Any) -> Array:
    return np.zeros((*shape[:-1], shape[-1] + extra), dtype)[..., : shape[-1]]


def run(layer: Layer, isa: str, x: Array, w: Array, bias: Array, y: Array, *, threads: int, **options: Any) -> Array:
    types = [None if a is None else TensorType(a.dtype, a.shape) for a in (w, bias, options.get("multiplier"), y)]
    axes = [
        (layer.x[i + 1], layer.out[i], layer.taps[i], layer.strides[i], layer.dilations[i], layer.before[i])
        for i in (0, 1)
    ]
    dot = Dot(
        TensorType(x.dtype, x.shape),
        axes=axes,
        batch=layer.x[0],
        channels=layer.x[3],
        outs=[(*types, *options.get("limits", (-np.inf, np.inf)), options.get("y_zero", 0))],
        x_zero=options.get("x_zero", 0),
        steps=(layer.cout, 1),
        threads=threads,
        isa=isa,
        split=options.get("split", False),
        by_taps=options.get("by_taps"),
    )
    workspace = HOST.allocate(dot.workspace_bytes)
    dot.bind(x, [dot.pack(w)], [bias], [options.get("multiplier")], [y], workspace)()
    return y


@pytest.mark.parametrize(("isa", "by_taps"), WAYS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("narrow", [False, True], ids=["float32", "bfloat16"])
def test_bfloat16_is_near_float64(name: str, isa: str, narrow: bool, by_taps: bool, rng: np.random.Generator) -> None:
    """The operands rounded once, float32 sums, on one thread and two with the same bits."""
    layer = LAYERS[name]
    x = pitched(layer.x, layer.extra, np.float32)
    x[...] = rng.standard_normal(layer.x)
    w = rng.standard_normal((*layer.taps, layer.x[3], layer.cout)).astype(np.float32)
    bias = rng.standard_normal(layer.cout).astype(np.float32)
    want = np.maximum(sums(layer, rounded(x), rounded(w)) + bias, 0)
    shape, terms = want.shape, w[..., 0].size
    given = stored(x) if narrow else x
    if narrow and layer.extra:
        wide = pitched(layer.x, layer.extra, BFLOAT16)
        wide[...] = given
        given = wide
    found = []
    for threads in (1, 2):
        y = pitched(shape, layer.extra, BFLOAT16 if narrow else np.float32)
        got = run(layer, isa, given, w, bias, y, threads=threads, limits=(0.0, np.inf), by_taps=by_taps)
        found.append(widened(got) if narrow else np.array(got))
    bound = (terms + 2) * 2.0**-23 * (sums(layer, np.abs(rounded(x)), np.abs(rounded(w))) + np.abs(bias))
    bound += np.abs(want) * 2.0**-8 * narrow
    assert (np.abs(found[0] - want) <= bound + 1e-30).all()
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("isa", core.DOTS)
@pytest.mark.parametrize("name", ["first", "dilated", "far", "one"])
def test_two_parts_of_a_number_are_nearly_exact(name: str, isa: str, rng: np.random.Generator) -> None:
    layer = LAYERS[name]
    x = pitched(layer.x, layer.extra, np.float32)
    x[...] = rng.standard_normal(layer.x)
    w = rng.standard_normal((*layer.taps, layer.x[3], layer.cout)).astype(np.float32)
    bias = rng.standard_normal(layer.cout).astype(np.float32)
    want = sums(layer, x, w) + bias
    size = sums(layer, np.abs(x), np.abs(w)) + np.abs(bias)
    for threads in (1, 2):
        y = pitched(want.shape, layer.extra, np.float32)
        got = run(layer, isa, x, w, bias, y, threads=threads, split=True)
        assert (np.abs(got - want) <= 2.0**-15 * size).all()  # a part left out is 2^-16, rounding the lower ones 2^-17
    x[0, 0, 0, 0], x[-1, -1, -1, -1] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        want = sums(layer, x, np.abs(w))
    got = run(layer, isa, x, np.abs(w), bias, pitched(want.shape, layer.extra, np.float32), threads=1, split=True)
    finite = np.isfinite(want)
    assert np.isfinite(got[finite]).all()
    assert not np.isfinite(got[~finite]).any()


@pytest.mark.parametrize(("isa", "by_taps"), WAYS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("x_type", [INT8, UINT8], ids=str)
@pytest.mark.parametrize("extreme", [False, True], ids=["random", "extreme"])
def test_bytes_are_exact(
    name: str, isa: str, x_type: np.dtype[Any], extreme: bool, by_taps: bool, rng: np.random.Generator
) -> None:
    """Every integer, also where all products have the greatest size; requantised, as sums and as reals."""
    layer, info = LAYERS[name], np.iinfo(x_type)
    x = pitched(layer.x, layer.extra, x_type)
    w = np.full((*layer.taps, layer.x[3], layer.cout), -128, np.int8)
    x[...] = rng.choice([info.min, info.max]) if extreme else rng.integers(info.min, info.max + 1, layer.x)
    if not extreme:
        w = rng.integers(-128, 128, w.shape).astype(np.int8)
    zero = int(rng.choice([info.min, info.max, 3]))
    bias = rng.integers(-(2**20), 2**20, layer.cout).astype(np.int32)
    exact = sums(layer, x, w, zero) + bias
    multiplier = (rng.random(layer.cout) * 200 / max(np.abs(exact).max(), 1)).astype(np.float32)
    real = exact.astype(np.float32) * multiplier
    for y_type, y_zero, low, high in (
        ("int8", -7, -100, 127),
        ("uint8", 9, 9, 200),
        ("int32", 0, 0, 0),
        ("float32", 0, 0, 0),
    ):
        want = exact if y_type == "int32" else real
        if y_type.endswith("int8"):
            want = np.clip(np.rint(real), low - y_zero, high - y_zero) + y_zero
        for threads in (1, 2):
            y = pitched(exact.shape, layer.extra, y_type)
            run(
                layer, isa, x, w, bias, y, threads=threads, multiplier=multiplier, x_zero=zero, y_zero=y_zero,
                limits=(float(low - y_zero), float(high - y_zero)), by_taps=by_taps,
            )  # fmt: skip
            np.testing.assert_array_equal(y, want.astype(y_type))


@pytest.mark.parametrize("isa", core.DOTS)
def test_halves_go_to_the_even_number(isa: str) -> None:
    layer = Layer((1, 1, 4, 1), 1, (1, 1), (1, 4))
    x = np.array([1, 3, 5, 7], np.uint8).reshape(layer.x)
    y = np.zeros((1, 1, 4, 1), np.int8)
    half = np.array([0.5], np.float32)
    one, none = np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32)
    run(layer, isa, x, one, none, y, threads=1, multiplier=half, limits=(-128.0, 127.0))
    assert y.ravel().tolist() == [0, 2, 2, 4]


@pytest.mark.parametrize("isa", core.DOTS)
def test_what_is_not_finite_stays_so(isa: str) -> None:
    """NaN and infinity reach the outputs of their own pixel only; a NaN passes the limits."""
    layer = Layer((1, 1, 3, 40), 20, (1, 1), (1, 3))
    x = np.ones(layer.x, np.float32)
    x[0, 0, 0, 39], x[0, 0, 1, 0] = np.nan, np.inf
    y = np.zeros((1, 1, 3, 20), np.float32)
    w, bias = np.ones((1, 1, 40, 20), np.float32), np.zeros(20, np.float32)
    run(layer, isa, x, w, bias, y, threads=1, limits=(0.0, np.inf))
    assert np.isnan(y[0, 0, 0]).all()
    assert (y[0, 0, 1] == np.inf).all()
    assert (y[0, 0, 2] == 40).all()


def test_packed_weights_are_the_same_on_every_set(rng: np.random.Generator) -> None:
    """So a file of packed weights serves them all."""
    for dtype, x_type in ((np.float32, FLOAT), (np.int8, INT8)):
        w = rng.integers(-100, 100, (1, 3, 21, 50)).astype(dtype)
        types = (TensorType(w.dtype, w.shape), None, None, TensorType(np.dtype(np.float32), (1, 4, 4, 50)), 0.0, 1.0, 0)
        packed = [
            Dot(
                TensorType(x_type, (1, 4, 6, 21)), axes=[(4, 4, 1, 1, 1, 0), (6, 4, 3, 1, 1, 0)], batch=1, channels=21,
                outs=[types], x_zero=5 if dtype is np.int8 else 0, steps=(50, 1), isa=isa,
            ).pack(w)
            for isa in core.DOTS
        ]  # fmt: skip
        assert {p.tobytes() for p in packed} == {packed[0].tobytes()}


#: Few lines of many channels: less than a group's buffer holds one image, or a group would have fewer cells than a block.
FEW_LINES = (
    (Layer((2, 5, 31, 6784), 4, (3, 3), (3, 29)), UINT8),
    (Layer((1, 10, 31, 4224), 3, (8, 1), (3, 31)), BFLOAT16),
    (Layer((1, 3, 30, 12288), 3, (1, 1), (3, 30)), BFLOAT16),
    (Layer((1, 10, 16, 8192), 5, (8, 1), (3, 16)), UINT8),
)


@pytest.mark.parametrize("number", range(len(FEW_LINES)))
def test_few_lines_of_many_channels(number: int, rng: np.random.Generator) -> None:
    """Nothing outside of y is written, whatever groups the lines make."""
    layer, x_type = FEW_LINES[number]
    whole = rng.integers(0, 9, layer.x)
    w = rng.integers(-3, 4, (*layer.taps, layer.x[3], layer.cout))
    room = 4096
    is_bytes = x_type == UINT8
    x = whole.astype(np.uint8) if is_bytes else stored(whole.astype(np.float32))
    want = sums(layer, whole, w)
    for threads in (1, 3):
        around = np.full(want.size + 2 * room, -777, np.int32 if is_bytes else np.float32)
        y = around[room:-room].reshape(want.shape)
        bias = np.zeros(layer.cout, around.dtype)
        options = {"multiplier": np.ones(layer.cout, np.float32)} if is_bytes else {}
        run(
            layer,
            core.DOT_IN_USE,
            x,
            w.astype(np.int8 if is_bytes else np.float32),
            bias,
            y,
            threads=threads,
            **options,
        )
        np.testing.assert_array_equal(y, want)
        assert (around[:room] == -777).all()
        assert (around[-room:] == -777).all()


@pytest.mark.parametrize("isa", core.DOTS)
def test_memory_does_not_grow_with_rows_or_dilations(isa: str) -> None:
    def made(axes: list[tuple[int, ...]], taps: tuple[int, int], out: tuple[int, int], rows: tuple[int, int]) -> Dot:
        w, y = TensorType(FLOAT, (*taps, 64, 64)), TensorType(FLOAT, (1, *out, 64))
        outs = [(w, None, None, y, -np.inf, np.inf, 0)]
        x = TensorType(FLOAT, (1, *rows, 64))
        return Dot(x, axes=axes, batch=1, channels=64, outs=outs, steps=(64, 1), threads=1, isa=isa)  # type: ignore[arg-type]

    for rows in (1000, 10**6):
        assert made([(1, 1, 1, 1, 1, 0), (rows, rows, 1, 1, 1, 0)], (1, 1), (1, rows), (1, rows)).workspace_bytes < 6e6
    for dilation in (1, 5, 15, 100, 10**6, 2**40, 2**61):
        axes = [(16, 16, 3, 1, dilation, dilation), (16, 16, 3, 1, 1, 1)]
        assert made(axes, (3, 3), (16, 16), (16, 16)).workspace_bytes < 6e6


def test_refusals(rng: np.random.Generator) -> None:
    y = TensorType(np.dtype(np.float32), (1, 2, 2, 3))
    w = TensorType(np.dtype(np.float32), (1, 1, 4, 3))
    one = (w, None, None, y, 0.0, 1.0, 0)
    place: dict[str, Any] = {"axes": [(2, 2, 1, 1, 1, 0)] * 2, "batch": 1, "channels": 4, "steps": (3, 1)}
    x = TensorType(np.dtype(np.float32), (1, 2, 2, 4))
    with pytest.raises(ValueError, match="at most"):
        Dot(x, outs=[one] * 17, **place)
    dot = Dot(x, outs=[one], **place)
    data = rng.standard_normal(x.dims).astype(np.float32)
    with pytest.raises(Exception, match="packed weights: expected"):
        dot.bind(
            data,
            [np.zeros(64, np.uint8)],
            [None],
            [None],
            [np.zeros(y.dims, np.float32)],
            HOST.allocate(dot.workspace_bytes),
        )


_GUARDED = """
import ctypes, mmap, sys
import numpy as np
from tests.kernels.test_cython_dot import BFLOAT16, LAYERS, Layer, core, run

libc, PAGE = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
held = []

def at_the_end(shape, dtype):
    \"\"\"Zeros whose last byte is the last one before a page that cannot be read or written.\"\"\"
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = -(-size // PAGE) * PAGE
    block = mmap.mmap(-1, room + PAGE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(block))
    assert libc.mprotect(ctypes.c_void_p(begin + room), PAGE, 0) == 0
    held.append(block)
    return np.frombuffer(block, dtype, int(np.prod(shape)), room - size).reshape(shape)

layers = [l for l in LAYERS.values() if not l.extra]
layers += [Layer((1, 5, 5, c), 33, (1, 1), (5, 5)) for c in (32, 64, 96, 128)]
layers += [Layer((1, 3, 40, 32), 20, (3, 3), (1, 38)), Layer((2, 9, 37, 64), 16, (3, 3), (9, 37), before=(1, 1))]
for isa in core.DOTS:
    for layer in layers:
        for x_type, w_type, y_type, by_taps in (
            (BFLOAT16, "f4", BFLOAT16, False), ("f4", "f4", "f4", False), ("u1", "i1", "u1", False), ("i1", "i1", "i4", False),
            (BFLOAT16, "f4", BFLOAT16, True), ("f4", "f4", "f4", True), ("u1", "i1", "u1", True), ("i1", "i1", "i4", True),
        ):
            x, w = at_the_end(layer.x, x_type), np.zeros((*layer.taps, layer.x[3], layer.cout), w_type)
            y = at_the_end((layer.x[0], *layer.out, layer.cout), y_type)
            bias = at_the_end((layer.cout,), "f4" if w_type == "f4" else "i4")
            more = {} if w_type == "f4" else {"multiplier": at_the_end((layer.cout,), "f4"), "limits": (0.0, 9.0)}
            run(layer, isa, x, w, bias, y, threads=2, by_taps=by_taps, **more)
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages of memory as Linux does")
def test_nothing_is_read_or_written_beyond_an_array() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _GUARDED], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "done"
