"""Sliding windows without a sum over channels: pooling and depthwise convolution, on explicit vectors.

For every output pixel the kernel lists the addresses of the window's cells inside x, then folds them channel block by
channel block in registers: each input is read once per window, each output written once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import numpy as np
from llvmlite import ir

from ..contracts.geometry import WindowGeometry
from ..devices import align
from ..kernel import Query, Run
from ..records import dataclass
from ..tensor import Array, DType, is_float
from .arrays import pitch, scratch
from .crew import Task, task_kernel
from .jit import BYTE_POINTER, carray, inner, int64, intrinsic, pointer, scalar_type, void
from .targets import Target, current
from .threads import parallel, sequence, shares

__all__ = ["WindowRun", "plan_windows"]

#: mean_bias: a mean, then bias and clamp.
Fold = Literal["max", "mean", "mean_bias", "depthwise"]

_I64 = ir.IntType(64)

#: One task: output rows [first, end), counted over all images. Addresses in bytes, all else in elements. ``most``: cells of
#: a window that are listed at most. ``zeros``: address of the values of a pixel outside x, or 0 to leave such cells out.
_JOB = np.dtype(
    [(name, np.int64) for name in (
        "x", "pitch", "y", "y_pitch", "weights", "bias", "zeros", "cells", "most", "first", "end",
        "height", "width", "channels", "out_height", "out_width", "window_height", "window_width",
        "stride_y", "stride_x", "dilation_y", "dilation_x", "up_y", "up_x", "top", "left",
    )]
    + [("low", np.float64), ("high", np.float64), ("divisor", np.float64)]
)  # fmt: skip


class _Folder:
    """Emits ``(y, cells, count, channels, bias, low, high, divisor)``.

    ``cells``: array of int64 addresses; for depthwise ``count`` addresses of x, then as many of weights.
    """

    def __init__(self, module: ir.Module, dtype: DType, target: Target, fold: Fold) -> None:
        floats = {4: ir.FloatType(), 8: ir.DoubleType()}
        self.float, self.signed = is_float(dtype), dtype.kind == "i"
        self.element: Any = floats[dtype.itemsize] if self.float else ir.IntType(dtype.itemsize * 8)
        self.size, self.fold, self.target = dtype.itemsize, fold, target
        self.module = module
        arguments = [BYTE_POINTER, _I64.as_pointer(), _I64, _I64, BYTE_POINTER, *[self.element] * 3]
        name = f"kigraph_{fold}_{dtype}_{target.name}"
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.function.linkage = "internal"
        self.function.attributes.add("nounwind")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        channel: Any = _I64(0)
        lanes = target.lanes(self.size)
        for vectors, width in ((4, lanes), (1, lanes), (1, 1)):
            channel = self._blocks(channel, vectors, width)
        self.builder.ret_void()

    def _blocks(self, start: Any, vectors: int, lanes: int) -> Any:
        """All further blocks of vectors * lanes channels; returns the channel after them."""
        builder, entry = self.builder, self.builder.block
        head, body, done = (
            self.function.append_basic_block(f"{name}_{vectors}x{lanes}") for name in ("head", "body", "done")
        )
        builder.branch(head)
        builder.position_at_end(head)
        channel = builder.phi(_I64)
        channel.add_incoming(start, entry)
        after = builder.add(channel, _I64(vectors * lanes))
        builder.cbranch(builder.icmp_signed("<=", after, self.function.args[3]), body, done)
        builder.position_at_end(body)
        self._block(builder.mul(channel, _I64(self.size)), vectors, lanes)
        channel.add_incoming(after, builder.block)
        builder.branch(head)
        builder.position_at_end(done)
        return channel

    def _block(self, offset: Any, vectors: int, lanes: int) -> None:
        y, cells, count, _, bias, low, high, divisor = self.function.args
        builder = self.builder
        kind: Any = self.element if lanes == 1 else ir.VectorType(self.element, lanes)

        def load(base: Any, v: int) -> Any:
            at = builder.gep(base, [builder.add(offset, _I64(v * lanes * self.size))])
            return builder.load(builder.bitcast(at, kind.as_pointer()), align=self.size)

        def cell(index: Any) -> Any:
            return builder.inttoptr(builder.load(builder.gep(cells, [index])), BYTE_POINTER)

        depthwise = self.fold == "depthwise"
        first = bias if depthwise else cell(_I64(0))
        totals = [load(first, v) for v in range(vectors)]
        start, begin = builder.block, _I64(0 if depthwise else 1)
        loop, done = (self.function.append_basic_block(f"{name}_{vectors}x{lanes}") for name in ("cells", "folded"))
        builder.cbranch(builder.icmp_signed("<", begin, count), loop, done)
        builder.position_at_end(loop)
        t = builder.phi(_I64)
        t.add_incoming(begin, start)
        phis = [builder.phi(kind) for _ in totals]
        at = cell(t)
        weights = cell(builder.add(count, t)) if depthwise else None
        folded = []
        for v, (phi, total) in enumerate(zip(phis, totals, strict=True)):
            phi.add_incoming(total, start)
            value = load(at, v)
            folded.append(self._fold(phi, value, load(weights, v) if depthwise else None, kind))
            phi.add_incoming(folded[-1], loop)
        following = builder.add(t, _I64(1))
        t.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
        builder.position_at_end(done)
        for v, (total, end) in enumerate(zip(totals, folded, strict=True)):
            result: Any = builder.phi(kind)
            result.add_incoming(total, start)
            result.add_incoming(end, loop)
            totals[v] = result
        for v, result in enumerate(totals):
            place = builder.gep(y, [builder.add(offset, _I64(v * lanes * self.size))])
            if self.fold.startswith("mean"):
                result = builder.fdiv(result, self._splat(divisor, lanes))
            if self.fold == "mean_bias":
                result = builder.fadd(result, load(bias, v))
            finished = self._finish(result, self._splat(low, lanes), self._splat(high, lanes))
            builder.store(finished, builder.bitcast(place, kind.as_pointer()), align=self.size)

    def _fold(self, total: Any, value: Any, weight: Any, kind: Any) -> Any:
        builder = self.builder
        if self.fold.startswith("mean"):
            return builder.fadd(total, value)
        if weight is not None:
            if not self.target.fma:
                return builder.fadd(total, builder.fmul(value, weight))
            name = f"llvm.fma.{'' if kind is self.element else f'v{kind.count}'}f{self.size * 8}"
            fma = self.module.globals.get(name) or ir.Function(self.module, ir.FunctionType(kind, [kind] * 3), name)
            return builder.call(fma, [value, weight, total])
        if self.float:  # NaN wins, and stays
            wins = builder.or_(builder.fcmp_ordered(">", value, total), builder.fcmp_unordered("uno", value, value))
        elif self.signed:
            wins = builder.icmp_signed(">", value, total)
        else:
            wins = builder.icmp_unsigned(">", value, total)
        return builder.select(wins, value, total)

    def _finish(self, x: Any, low: Any, high: Any) -> Any:
        builder = self.builder
        if self.fold in ("max", "mean"):
            return x
        x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
        return builder.select(builder.fcmp_ordered(">", x, high), high, x)

    def _splat(self, value: Any, lanes: int) -> Any:
        if lanes == 1:
            return value
        word = ir.IntType(32)
        undefined = ir.Constant(ir.VectorType(self.element, lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, value, word(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(word, lanes), None))


def _fold_intrinsic(dtype: DType, target: Target, fold: Fold) -> Any:
    scalar = scalar_type(dtype)

    @intrinsic
    def fold_cells(
        typing_context: Any, y: Any, cells: Any, count: Any, channels: Any, bias: Any, low: Any, high: Any, divisor: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            y, cells, count, channels, bias, *rest = args
            function = _Folder(builder.module, dtype, target, fold).function
            y, bias = (builder.inttoptr(address, BYTE_POINTER) for address in (y, bias))
            builder.call(function, [y, builder.inttoptr(cells, _I64.as_pointer()), count, channels, bias, *rest])
            return context.get_dummy_value()

        return void(int64, int64, int64, int64, int64, scalar, scalar, scalar), codegen

    return fold_cells


@inner
def cells_inside(at: int, size: int, window: int, dilation: int) -> tuple[int, int]:
    """The cells [first, end) of a window that begins at ``at`` which are in [0, size)."""
    first = (dilation - 1 - at) // dilation if at < 0 else 0
    end = min((size - at + dilation - 1) // dilation, window) if at < size else 0
    return first, max(first, end)


@functools.cache
def _window_kernel(dtype: DType, target: Target, fold: Fold) -> Any:
    """Task kernel whose arguments are one job."""
    fold_cells = _fold_intrinsic(dtype, target, fold)
    size, scalar = dtype.itemsize, dtype.type
    depthwise = fold == "depthwise"

    @inner
    def list_cells(job: Any, cells: Any, image: int, y0: int, x0: int, u0: int, u1: int) -> int:
        """The cells of any window, those outside as zeros or left out; how many."""
        most, height, width, window_width = job.most, job.height, job.width, job.window_width
        step, weight_step = job.pitch * size, job.channels * size
        # Locals, as in window() below.
        first_cell, first_weight = job.x, job.weights
        count, v0, v1 = 0, 0, window_width
        if job.zeros == 0:
            v0, v1 = cells_inside(x0, width * job.up_x, window_width, job.dilation_x)
        for u in range(u0, u1):
            y = y0 + u * job.dilation_y
            row_inside = y >= 0 and y < height * job.up_y
            if y % job.up_y != 0:
                continue
            line = first_cell + (image * height + y // job.up_y) * width * step
            for v in range(v0, v1):
                x = x0 + v * job.dilation_x
                if x % job.up_x != 0:
                    continue
                inside = row_inside and x >= 0 and x < width * job.up_x
                cells[count] = line + x // job.up_x * step if inside else job.zeros
                if depthwise:
                    cells[most + count] = first_weight + (u * window_width + v) * weight_step
                count += 1
        if depthwise and count < most:
            for t in range(count):
                cells[count + t] = cells[most + t]
        return count

    @task_kernel(f"window-{fold}-{dtype}-{target.name}")
    def window(arguments: int) -> None:
        job = carray(pointer(arguments), 1, _JOB)[0]
        most = job.most
        cells = carray(pointer(job.cells), 2 * most, np.int64)
        # Neighbouring cells of the window are neighbours in x, and those outside are left out.
        plain = job.zeros == 0 and job.dilation_y == 1 and job.dilation_x == 1 and job.up_y == 1 and job.up_x == 1
        # Locals: the list of cells might alias the job, whose fields would then be loaded again for every cell.
        height, width, out_width, channels = job.height, job.width, job.out_width, job.channels
        window_height, window_width, stride_x, left = job.window_height, job.window_width, job.stride_x, job.left
        first_cell, first_output, cell_list, bias = job.x, job.y, job.cells, job.bias
        first_weight = job.weights
        step, out_step, weight_step = job.pitch * size, job.y_pitch * size, channels * size
        low, high, fixed_divisor = scalar(job.low), scalar(job.high), scalar(job.divisor)
        for row in range(job.first, job.end):
            image, i = row // job.out_height, row % job.out_height
            y0 = i * job.stride_y - job.top
            u0, u1 = 0, window_height
            if plain:
                u0 = max(-y0, 0)
                u1 = max(min(window_height, height - y0), u0)
            elif job.zeros == 0:
                u0, u1 = cells_inside(y0, height * job.up_y, window_height, job.dilation_y)
            for j in range(out_width):
                x0 = j * stride_x - left
                count = 0
                if plain:
                    v0 = max(-x0, 0)
                    across = max(min(window_width, width - x0) - v0, 0)
                    total = (u1 - u0) * across
                    line = first_cell + ((image * height + y0 + u0) * width + x0 + v0) * step
                    weights = first_weight + (u0 * window_width + v0) * weight_step
                    for _ in range(u0, u1):
                        for v in range(across):
                            cells[count] = line + v * step
                            if depthwise:
                                cells[total + count] = weights + v * weight_step
                            count += 1
                        line += width * step
                        weights += window_width * weight_step
                else:
                    count = list_cells(job, cells, image, y0, x0, u0, u1)
                divisor = fixed_divisor if fixed_divisor > 0 else scalar(count)
                to = first_output + (row * out_width + j) * out_step
                fold_cells(to, cell_list, count, channels, bias, low, high, divisor)

    return window


@dataclass(frozen=True, slots=True)
class WindowRun:
    """Binds one window op. Workspace: a list of cell addresses per task."""

    query: Query
    kernel: Any
    geometry: dict[str, float]
    tasks: int
    #: A pixel outside x, where such cells count; else empty.
    zeros: np.ndarray[Any, Any]

    @property
    def _cell_bytes(self) -> int:
        return align(2 * int(self.geometry["most"]) * 8)

    @property
    def workspace_bytes(self) -> int:
        return self.tasks * self._cell_bytes

    def bind(
        self,
        x: Array,
        y: Array,
        workspace: Array | None,
        keep: Sequence[object] = (),
        weights: int = 0,
        bias: int = 0,
        unknown: Array | None = None,
    ) -> Run:
        """``weights``, ``bias``: addresses, for depthwise; a mean_bias has a bias, too.

        ``unknown``: weights that each run checks first: zeros outside x add nothing where all weights are finite.
        """
        name, (out,) = self.query.contract.name, self.query.outputs
        x_address, x_pitch = pitch(f"input 0 of {name}", x, self.query.inputs[0])
        y_address, y_pitch = pitch(f"the output of {name}", y, out)
        work = scratch(workspace, self.workspace_bytes)
        jobs = np.zeros(self.tasks, _JOB)
        for field, value in self.geometry.items():
            jobs[field] = value
        jobs["x"], jobs["pitch"], jobs["y"], jobs["y_pitch"] = x_address, x_pitch, y_address, y_pitch
        jobs["weights"], jobs["bias"] = weights, bias
        jobs["zeros"] = self.zeros.ctypes.data if self.zeros.size else 0
        jobs["cells"] = work.ctypes.data + self._cell_bytes * np.arange(self.tasks)
        before: list[Run] = []
        if unknown is not None and self.zeros.size:

            def judge(unknown: Array = unknown) -> None:
                jobs["zeros"] = 0 if np.isfinite(unknown).all() else self.zeros.ctypes.data

            before.append(judge)
        runs: list[Run] = []
        if out.size:
            for index, (first, end) in enumerate(shares(out.dims[0] * out.dims[1], self.tasks)):
                jobs[index]["first"], jobs[index]["end"] = first, end
                runs.append(Task(self.kernel, jobs[index : index + 1]))
        return sequence([*before, parallel(runs, self.query.threads)], (x, y, work, jobs, self.zeros, *keep))


def geometry_fields(g: WindowGeometry) -> dict[str, int]:
    """A geometry in the names, and the order, of the kernels' jobs."""
    return {
        "height": g.size[0], "width": g.size[1], "channels": g.channels, "out_height": g.out[0], "out_width": g.out[1],
        "window_height": g.window[0], "window_width": g.window[1], "stride_y": g.strides[0], "stride_x": g.strides[1],
        "dilation_y": g.dilations[0], "dilation_x": g.dilations[1], "top": g.before[0], "left": g.before[1],
    }  # fmt: skip


def plan_windows(
    query: Query, fold: Fold, g: WindowGeometry, *, multiplies_padding: bool = False, **more: float
) -> WindowRun:
    """Compiles the kernel for a geometry; ``more``: low, high, divisor, or what differs from the geometry.

    ``multiplies_padding``: cells outside x count as zeros; else they are left out.
    """
    dtype, channels, (n, out_height) = query.inputs[0].dtype, g.channels, query.outputs[0].dims[:2]
    multiplies_padding &= g.padded
    most = prod(g.window) if multiplies_padding else min(g.window[0], g.size[0]) * min(g.window[1], g.size[1])
    geometry: dict[str, float] = {**geometry_fields(g), "up_y": 1, "up_x": 1, "most": most, **more}
    if query.outputs[0].size == 0:
        geometry["most"] = most = 0
    work = query.outputs[0].size * most
    shared = 4 * query.threads if query.threads > 1 else 1  # more than threads: see Gemm.plan
    tasks = max(1, min(shared, n * out_height, work // 100_000))
    zeros = np.zeros(channels if multiplies_padding else 0, dtype)
    return WindowRun(query, _window_kernel(dtype, current(), fold), geometry, tasks, zeros)
