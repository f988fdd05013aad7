"""Products of quantised tensors: convolution as an implicit matrix product, and matrix product.

Rows are gathered block by block into words of bytes (VNNI: unsigned, pixels in the padding hold the zero point, and the zero point
times the sum of the weights is subtracted from the bias) or of 16-bit steps from the zero point. See quantized_tile.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..contracts.geometry import WindowGeometry
from ..contracts.quantized import QCONV2D, QMATMUL, QConv2DParams, QMatMulParams
from ..devices import align
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array
from .arrays import pitch, scratch
from .crew import Task, task_kernel
from .jit import carray, inner, pointer
from .quantized_finish import finish, finish_fields
from .quantized_tile import group_of, pack, product_tile
from .targets import Target, current
from .threads import parallel, sequence, shares
from .window import geometry_fields

__all__ = ["KERNELS", "constants_refusal"]

NDArray = np.ndarray[Any, Any]
#: Bytes of a block of gathered rows: it stays in the L2 cache while all panels pass over it.
_BLOCK_BYTES = 256 * 1024
#: Least multiply-adds of a task that pays.
_TASK_WORK = 4_000_000

#: One task: rows [row0, row1) and columns [column0, column1). Addresses and pitches of x in bytes; ``y_pitch`` in elements.
_JOB = np.dtype(
    [(name, np.int64) for name in (
        "x", "pitch", "b", "y", "y_pitch", "bias", "multiplier", "buffer", "buffer_step", "edge",
        "row0", "row1", "row_block", "column0", "column1", "columns", "words", "flip", "zero",
        "height", "width", "channels", "out_height", "out_width", "window_height", "window_width",
        "stride_y", "stride_x", "dilation_y", "dilation_x", "top", "left",
        "result", "low", "high", "y_zero", "item",
    )]
)  # fmt: skip


def _gather_kernel(group: int) -> Any:
    """``gather(job, row, rows)``: the inputs of ``rows`` output pixels as elements of words."""
    size, kind = (1, np.uint8) if group == 4 else (2, np.int16)

    @inner
    def put(target: int, count: int, source: int, flip: int, zero: int) -> None:
        """``count`` elements from ``source``, or from the padding if that is 0."""
        if count <= 0:
            return
        to = carray(pointer(target), count, kind)
        if source == 0:
            fill = kind(zero if size == 1 else 0)
            for i in range(count):
                to[i] = fill
            return
        of = carray(pointer(source), count, np.uint8)
        turned, less = np.uint8(flip), zero if size == 2 else 0
        for i in range(count):
            to[i] = kind((of[i] ^ turned) - less)

    @inner
    def gather(job: Any, row: int, rows: int) -> None:
        channels, step, width, across = job.channels, job.pitch, job.width, job.window_width
        flip, zero, first, buffer_step = job.flip, job.zero, job.x, job.buffer_step
        whole = job.dilation_x == 1 and step == channels
        plane = job.out_height * job.out_width
        image, rest = row // plane, row % plane
        i, j = rest // job.out_width, rest % job.out_width
        for r in range(rows):
            at = job.buffer + r * buffer_step
            x0 = j * job.stride_x - job.left
            for u in range(job.window_height):
                y = i * job.stride_y - job.top + u * job.dilation_y
                if y < 0 or y >= job.height:
                    put(at, across * channels, 0, flip, zero)
                    at += across * channels * size
                    continue
                line = first + (image * job.height + y) * width * step
                if whole:
                    v0 = min(max(0, -x0), across)
                    v1 = max(min(across, width - x0), v0)
                    put(at, v0 * channels, 0, flip, zero)
                    put(at + v0 * channels * size, (v1 - v0) * channels, line + (x0 + v0) * step, flip, zero)
                    put(at + v1 * channels * size, (across - v1) * channels, 0, flip, zero)
                    at += across * channels * size
                else:
                    for v in range(across):
                        x = x0 + v * job.dilation_x
                        put(at, channels, line + x * step if 0 <= x < width else 0, flip, zero)
                        at += channels * size
            j += 1
            if j == job.out_width:
                j = 0
                i += 1
                if i == job.out_height:
                    i = 0
                    image += 1

    return gather


@functools.cache
def _product_kernel(target: Target, group: int) -> Any:
    """Task kernel whose argument is one job."""
    tile, gather = product_tile(target, group), _gather_kernel(group)
    lanes, panel = target.lanes(4), target.panel
    most = (0, *target.rows)

    @inner
    def run(job: Any) -> None:
        row = job.row0
        while row < job.row1:
            rows = min(job.row_block, job.row1 - row)
            gather(job, row, rows)
            column = job.column0
            while column < job.column1:
                left = job.columns - column
                vectors = min(panel, (left + lanes - 1) // lanes)
                wide = min(left, vectors * lanes)
                b = job.b + column * job.words * 4
                tiles = (rows + most[vectors] - 1) // most[vectors]
                done = 0
                for t in range(tiles):  # heights differ by one at most
                    count = (rows - done) // (tiles - t)
                    tile(count, vectors, job.buffer + done * job.buffer_step, job.buffer_step, b, job.edge, job.words)
                    for r in range(count):
                        y = job.y + ((row + done + r) * job.y_pitch + column) * job.item
                        sums = job.edge + r * vectors * lanes * 4
                        finish(sums, job.bias + column * 4, job.multiplier + column * 4, y, wide, job)
                    done += count
                column += panel * lanes
            row += rows

    @task_kernel(f"quantized-{group}-{target.name}")
    def product(argument: int) -> None:
        run(carray(pointer(argument), 1, _JOB)[0])

    return product


def constants_refusal(query: Query) -> str | None:
    """Weights, bias and multipliers are packed when the kernel is prepared."""
    if not {1, 2, 3} <= query.constants:
        return "its weights, bias and multiplier must be constants"
    return None


@dataclass(frozen=True, slots=True)
class _Product:
    """Workspace of each task: the sums of a tile, then a block of gathered rows."""

    query: Query[Any]
    target: Target
    group: int
    geometry: dict[str, int]
    rows: int
    depth: int
    columns: int
    weights: NDArray
    bias: NDArray
    multiplier: NDArray

    @property
    def absorbed(self) -> frozenset[int]:
        return frozenset({1, 2, 3})

    @property
    def _words(self) -> int:
        return -(-self.depth // self.group)

    @property
    def _buffer_step(self) -> int:
        """Bytes between rows. Steps of 1 KB and its multiples would share few sets of the L1 cache."""
        step = align(max(self._words * 4, 1))
        return step + (64 if step % 1024 == 0 else 0)

    @property
    def _parts(self) -> tuple[int, int]:
        """Parts of the rows and of the panels."""
        most, panel = self.target.rows[-1], self.target.panel * self.target.lanes(4)
        work = self.rows * self.columns * self.depth
        tasks = max(1, min(self.query.threads, work // _TASK_WORK))
        of_rows = min(tasks, -(-self.rows // most))
        return of_rows, min(tasks // of_rows, -(-self.columns // panel))

    @property
    def _row_block(self) -> int:
        most, share = self.target.rows[-1], -(-self.rows // self._parts[0])
        return min(max(_BLOCK_BYTES // self._buffer_step // most * most, most), share)

    @property
    def _edge_bytes(self) -> int:
        return max(rows * v for v, rows in enumerate(self.target.rows, 1)) * self.target.vector_bytes

    @property
    def _task_bytes(self) -> int:
        return align(self._edge_bytes) + align(self._row_block * self._buffer_step)

    @property
    def workspace_bytes(self) -> int:
        return prod(self._parts) * self._task_bytes if self.query.outputs[0].size else 0

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, name = self.query, self.query.contract.name
        x, x_pitch = pitch(f"input 0 of {name}", inputs[0], query.inputs[0])
        y, y_pitch = pitch(f"the output of {name}", outputs[0], query.outputs[0])
        if query.outputs[0].size == 0:
            return parallel([])
        work = scratch(workspace, self.workspace_bytes)
        signed = query.inputs[0].dtype == np.int8
        flip, params = 128 if signed else 0, query.params
        fields = {
            **self.geometry, **finish_fields(params), "x": x, "pitch": x_pitch, "y": y, "y_pitch": y_pitch,
            "b": self.weights.ctypes.data, "bias": self.bias.ctypes.data, "multiplier": self.multiplier.ctypes.data,
            "buffer_step": self._buffer_step, "row_block": self._row_block, "columns": self.columns, "words": self._words,
            "flip": flip, "zero": params.x_zero + flip,
        }  # fmt: skip
        of_rows, of_columns = self._parts
        panel = self.target.panel * self.target.lanes(4)
        jobs = np.zeros(of_rows * of_columns, _JOB)
        for field, value in fields.items():
            jobs[field] = value
        places = [
            (rows, columns)
            for rows in shares(self.rows, of_rows)
            for columns in shares(-(-self.columns // panel), of_columns)
        ]
        kernel, tasks = _product_kernel(self.target, self.group), []
        for i, (rows, columns) in enumerate(places):
            jobs[i]["row0"], jobs[i]["row1"] = rows
            jobs[i]["column0"], jobs[i]["column1"] = columns[0] * panel, min(columns[1] * panel, self.columns)
            jobs[i]["edge"] = work.ctypes.data + i * self._task_bytes
            jobs[i]["buffer"] = jobs[i]["edge"] + align(self._edge_bytes)
            tasks.append(Task(kernel, jobs[i : i + 1], jobs))
        keep = (inputs, outputs, work, jobs, self.weights, self.bias, self.multiplier)
        return sequence([parallel(tasks, query.threads)], keep)


def _prepared(
    query: Query[Any], constants: Constants, params: QConv2DParams | QMatMulParams, geometry: dict[str, int]
) -> _Product:
    target, (w, y) = current(), (query.inputs[1], query.outputs[0])
    depth, columns = prod(w.dims[:-1]), w.dims[-1]
    group = group_of(target)
    _product_kernel(target, group)

    def packed(value: NDArray) -> NDArray:
        return pack(value.reshape(depth, columns), target, group)

    weights = constants.packed(1, f"numba-quantized-{group}-{target.name}", packed)
    bias = constants.value(2)
    if group == 4:  # bytes are unsigned: what the zero point adds is taken off here
        sums = constants.packed(
            1, "numba-quantized-sums", lambda value: value.reshape(depth, columns).sum(0, dtype=np.int64)
        )
        zero = params.x_zero + (128 if query.inputs[0].dtype == np.int8 else 0)
        bias = (bias - zero * sums).astype(np.int32)
    multiplier = np.ascontiguousarray(constants.value(3))
    return _Product(
        query,
        target,
        group,
        geometry,
        prod(y.dims[:-1]),
        depth,
        columns,
        weights,
        np.ascontiguousarray(bias),
        multiplier,
    )


def _prepare_conv(query: Query[QConv2DParams], constants: Constants) -> _Product:
    x, y, w = query.inputs[0].dims, query.outputs[0].dims, query.inputs[1].dims
    geometry = geometry_fields(WindowGeometry.between(x, y, w, query.params.windows))
    return _prepared(query, constants, query.params, geometry)


def _prepare_matmul(query: Query[QMatMulParams], constants: Constants) -> _Product:
    """Rows as the pixels of a 1x1 convolution."""
    rows, ones = prod(query.outputs[0].dims[:-1]), ("height", "out_height", "window_height", "window_width")
    steps = ("stride_y", "stride_x", "dilation_y", "dilation_x")
    geometry = {
        "width": rows,
        "out_width": rows,
        "channels": query.inputs[0].dims[-1],
        **dict.fromkeys((*ones, *steps), 1),
    }
    return _prepared(query, constants, query.params, geometry)


def _kernel(contract: Any, prepare: Any) -> Kernel:
    return Kernel(
        contract, "numba", f"{contract.name}_gemm", prepare=prepare, supports=constants_refusal, strided_inputs=True, strided_outputs=True,
    )  # fmt: skip


KERNELS = (_kernel(QCONV2D, _prepare_conv), _kernel(QMATMUL, _prepare_matmul))
