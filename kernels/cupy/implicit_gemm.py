"""What convolution and matrix product share: the launches of the implicit-GEMM kernels, tiles, splits, packing.

Three precisions, never mixed up, each with kernels of its own name:

=======  ========================  ==========================================================
fp32     ``conv2d_fp32``           float32 products and sums (FFMA)
tf32     ``conv2d_tf32``           operands rounded to tf32 (10 bits), tensor cores, float32 sums
bf16     ``conv2d_bf16``           operands rounded to bf16 (7 bits), tensor cores, float32 sums
=======  ========================  ==========================================================

All of them read and write float32. A session has one precision, and only its kernels are legal: Kernel.refusal.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import pitch_of
from ..devices import align
from ..errors import KernelError
from ..kernel import Constants, Run
from ..tensor import Array
from .launch import MAX_ELEMENTS, Build, Function, Launch, Launcher, grid_for, pointer

__all__ = [
    "BUILDS",
    "PRECISIONS",
    "TILES",
    "ConvShape",
    "GemmPrepared",
    "Tile",
    "choose_tile",
    "conv_shape",
    "without_alignment",
]

#: Floats of K that a pipeline stage holds; mirrors implicit_gemm.cuh.
BK = 32
#: Columns of packed weights are padded to a multiple of the widest tile, so that one packing serves all tiles.
_COLUMN_UNIT = 128
_STAGES = 3
_SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)

_INT_FIELDS = (
    "n", "h", "w", "cin", "kh", "kw", "oh", "ow", "cout",
    "stride_h", "stride_w", "pad_top", "pad_left", "dilation_h", "dilation_w",
    "x_pitch", "y_pitch", "m", "k_padded", "n_padded", "steps", "split_steps", "activation", "vector_store",
)  # fmt: skip


class ConvShape(ctypes.Structure):
    """Mirrors ConvShape of implicit_gemm.cuh. Sizes are computed when prepared, pitches when bound."""

    _fields_ = tuple((name, ctypes.c_int) for name in _INT_FIELDS)


@dataclass(frozen=True, slots=True)
class Precision:
    """``throughput``: multiply-adds per cycle of a multiprocessor relative to FFMA's, as far as mma.sync reaches it."""

    name: str
    packed_bytes: int
    packer: str
    throughput: float


FP32 = Precision("fp32", 4, "pack_fp32", 1)
TF32 = Precision("tf32", 4, "pack_tf32", 5)
BF16 = Precision("bf16", 2, "pack_bf16_slots", 10)
PRECISIONS = {p.name: p for p in (FP32, TF32, BF16)}


@dataclass(frozen=True, slots=True)
class Tile:
    """What one thread block computes: ``bm`` x ``bn`` results.

    ``split``: (rows, columns) of results of a thread for fp32, (rows, columns) of warps of a block otherwise. ``efficiency``:
    share of the widest tile's speed, from the shared-memory traffic per multiply-add; not measured yet. ``resident``:
    blocks that must fit into a multiprocessor, which bounds the registers; as many as compile without spills.
    """

    precision: Precision
    bm: int
    bn: int
    split: tuple[int, int]
    resident: int
    efficiency: float

    @property
    def threads(self) -> int:
        a, b = self.split
        return self.bm // a * (self.bn // b) if self.precision is FP32 else 32 * a * b

    @property
    def shared_bytes(self) -> int:
        return _STAGES * BK * (self.bm * 4 + self.bn * self.precision.packed_bytes)

    def function(self, vector: int) -> Function:
        """The kernel that gathers ``vector`` (4 or 1) floats per copy."""
        names = ("THREAD_M", "THREAD_N") if self.precision is FP32 else ("WARPS_M", "WARPS_N")
        defines: list[tuple[str, str | int]] = [
            ("BLOCK_M", self.bm),
            ("BLOCK_N", self.bn),
            *zip(names, self.split, strict=True),
        ]
        resident = self.resident if vector == 4 else min(self.resident, 3)
        defines += [("GATHER", vector), ("PIPELINE", _STAGES), ("RESIDENT", resident)]
        if self.precision is TF32:
            defines.append(("TF32", 1))
        source = "conv2d.cu" if self.precision is FP32 else "conv2d_mma.cu"
        return Function(Build(source, tuple(defines)), f"conv2d_{self.precision.name}")


#: Widest first.
TILES: dict[str, tuple[Tile, ...]] = {
    "fp32": (
        Tile(FP32, 128, 128, (8, 8), 1, 1.0),
        Tile(FP32, 128, 64, (8, 8), 2, 0.95),
        Tile(FP32, 64, 64, (4, 8), 4, 0.8),
        Tile(FP32, 64, 32, (4, 4), 4, 0.6),
    ),
    "tf32": (
        Tile(TF32, 128, 128, (2, 4), 2, 1.0),
        Tile(TF32, 128, 64, (2, 2), 3, 0.9),
        Tile(TF32, 64, 64, (2, 2), 4, 0.7),
        Tile(TF32, 64, 32, (2, 2), 4, 0.5),
    ),
    "bf16": (
        Tile(BF16, 128, 128, (2, 4), 2, 1.0),
        Tile(BF16, 128, 64, (2, 2), 3, 0.9),
        Tile(BF16, 64, 64, (2, 2), 4, 0.7),
        Tile(BF16, 64, 32, (2, 2), 4, 0.5),
    ),
}

_PACK = Build("conv2d_pack.cu")
BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = (
    (_PACK, (*(p.packer for p in PRECISIONS.values()), "sum_splits")),
    *(
        (tile.function(vector).build, (tile.function(vector).name,))
        for tiles in TILES.values()
        for tile in tiles
        for vector in (4, 1)
        if vector == 4 or tile.bm < 128
    ),
)


def without_alignment(tile: Tile) -> Tile:
    """The tile to take when A is gathered by single floats: that needs more registers, so at most 64 rows."""
    return next(t for t in TILES[tile.precision.name] if t.bm < 128) if tile.bm >= 128 else tile


def choose_tile(precision: str, m: int, n: int, steps: int, multiprocessors: int) -> tuple[Tile, int]:
    """The tile, and into how many parts K is split, for an (m, n) result of ``steps`` K-steps.

    A model, not a measurement: blocks run in waves over the multiprocessors, a block costs its K-steps plus about six
    for filling the pipeline and storing; a split writes and reads its partial sums and is one launch more.
    """
    best: tuple[float, Tile, int] | None = None
    for tile in TILES[precision]:
        blocks = -(-m // tile.bm) * -(-n // tile.bn)
        # Cost in multiply-adds of one multiprocessor; 4 bytes of memory take as long as 7, a launch as long as 14,000.
        memory = 7 * tile.precision.throughput
        for wanted in _SPLITS:
            per_split = -(-steps // wanted) if steps else 0
            splits = -(-steps // per_split) if steps else 1
            if wanted > 1 and (per_split < 4 or splits != wanted):
                continue
            waves = -(-blocks * splits // multiprocessors)
            cost = waves * (per_split + 6) * tile.bm * tile.bn / tile.efficiency
            if splits > 1:
                cost += memory * 2 * splits * m * n / multiprocessors / BK + 14000 * tile.precision.throughput / BK
            if best is None or cost < best[0]:
                best = (cost, tile, splits)
    assert best is not None
    return best[1], best[2]


def conv_shape(**sizes: int) -> ConvShape:
    """A ConvShape with what follows from the sizes filled in."""
    shape = ConvShape(**sizes)
    shape.m = shape.n * shape.oh * shape.ow
    shape.steps = -(-shape.kh * shape.kw * shape.cin // BK)
    shape.k_padded = shape.steps * BK
    shape.n_padded = -(-shape.cout // _COLUMN_UNIT) * _COLUMN_UNIT
    return shape


class GemmPrepared:
    """An implicit GEMM made ready: inputs x, weights and optionally bias; tile, splits and packed weights are fixed."""

    def __init__(
        self, launcher: Launcher, precision: Precision, shape: ConvShape, constants: Constants, constant_weights: bool
    ) -> None:
        self._launcher = launcher
        self._precision = precision
        self._shape = shape
        self._tile, self._splits = choose_tile(
            precision.name, shape.m, shape.cout, shape.steps, launcher.multiprocessors
        )
        self._packed_bytes = shape.k_padded * shape.n_padded * precision.packed_bytes
        self._packed: Array | None = None
        partial = self._splits * shape.m * shape.cout * 4 if self._splits > 1 else 0
        self.workspace_bytes = align(partial)
        self.absorbed: frozenset[int] = frozenset()
        if constant_weights:
            self._packed = constants.packed(1, f"cupy.{precision.name}.k{BK}.n{_COLUMN_UNIT}", self._pack_constant)
            self.absorbed = frozenset((1,))
        else:
            self.workspace_bytes += self._packed_bytes

    @property
    def tile(self) -> Tile:
        return self._tile

    @property
    def splits(self) -> int:
        return self._splits

    def _pack_launch(self, weights: int, packed: int) -> Launch:
        s = self._shape
        return Launch(
            Function(_PACK, self._precision.packer),
            grid_for(s.k_padded * s.n_padded),
            256,
            (
                ctypes.c_void_p(weights),
                ctypes.c_void_p(packed),
                *map(ctypes.c_int, (s.kh * s.kw * s.cin, s.cout, s.k_padded, s.n_padded)),
            ),
        )

    def _pack_constant(self, value: np.ndarray[Any, Any]) -> Array:
        """The weights in the kernel's layout, in device memory."""
        device = self._launcher.device
        packed = device.allocate(self._packed_bytes)
        if value.size:
            raw = device.view(device.allocate(value.nbytes), 0, value.dtype, value.shape)
            device.upload(value, raw)
            launch = self._pack_launch(self._launcher.address(raw), self._launcher.address(packed))
            self._launcher.bind((launch,), (raw, packed))()
            device.synchronize()
        return packed

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        x, weights = inputs[:2]
        bias = inputs[2] if len(inputs) > 2 else None
        (y,) = outputs
        launcher = self._launcher
        shape = ConvShape.from_buffer_copy(self._shape)
        if shape.m == 0 or shape.cout == 0:
            return launcher.bind((), ())
        shape.x_pitch = pitch_of("cupy: the input", x)
        shape.y_pitch = pitch_of("cupy: the output", y)
        pixels = shape.n * shape.h * shape.w
        if max(pixels * shape.x_pitch, shape.m * shape.y_pitch) > MAX_ELEMENTS:
            raise KernelError(
                f"cupy: conv2d over {pixels} pixels with a pitch of {shape.x_pitch} spans more than 2^31 - 1 elements; "
                "run a smaller batch"
            )
        shape.split_steps = -(-shape.steps // self._splits) if shape.steps else 0
        splitting = self._splits > 1
        aligned = shape.y_pitch % 4 == 0 and launcher.address(y) % 16 == 0
        shape.vector_store = int(shape.cout % 4 == 0 and (splitting or aligned))
        if self.workspace_bytes and (workspace is None or launcher.address(workspace) % 16):
            raise KernelError(f"cupy: conv2d needs a workspace of {self.workspace_bytes} bytes, aligned to 64")
        partial = launcher.address(workspace) if workspace is not None and self.workspace_bytes else 0
        packed, launches = self._packed_weights(weights, partial)
        if bias is not None:
            pitch_of("cupy: the bias", bias)
        launches.append(self._product_launch(shape, x, packed, bias, y, partial))
        if splitting:
            launches.append(self._sum_launch(shape, partial, bias, y))
        return launcher.bind(launches, (*inputs, *outputs, workspace, self._packed))

    def _packed_weights(self, weights: Array, partial: int) -> tuple[int, list[Launch]]:
        """The address of the packed weights, and the launches that pack them in each run (in the workspace, after the partial sums)."""
        if self._packed is not None:
            return self._launcher.address(self._packed), []
        if pitch_of("cupy: the weights", weights) != self._shape.cout:
            raise KernelError("cupy: conv2d takes dense weights")
        packed = partial + self.workspace_bytes - self._packed_bytes
        if not self._packed_bytes:
            return packed, []
        return packed, [self._pack_launch(self._launcher.address(weights), packed)]

    def _product_launch(
        self, shape: ConvShape, x: Array, packed: int, bias: Array | None, y: Array, partial: int
    ) -> Launch:
        launcher = self._launcher
        vector = 4 if shape.cin % 4 == 0 and shape.x_pitch % 4 == 0 and launcher.address(x) % 16 == 0 else 1
        tile = self._tile if vector == 4 else without_alignment(self._tile)
        return Launch(
            tile.function(vector),
            (-(-shape.m // tile.bm) * -(-shape.cout // tile.bn), 1, self._splits),
            tile.threads,
            (
                pointer(launcher, x),
                ctypes.c_void_p(packed),
                pointer(launcher, bias),
                pointer(launcher, y),
                ctypes.c_void_p(partial or None),
                shape,
            ),
            tile.shared_bytes,
        )

    def _sum_launch(self, shape: ConvShape, partial: int, bias: Array | None, y: Array) -> Launch:
        sizes = (self._splits, shape.m, shape.cout, shape.y_pitch, shape.activation)
        return Launch(
            Function(_PACK, "sum_splits"),
            grid_for(shape.m * shape.cout),
            256,
            (
                ctypes.c_void_p(partial),
                pointer(self._launcher, bias),
                pointer(self._launcher, y),
                *map(ctypes.c_int, sizes),
            ),
        )
