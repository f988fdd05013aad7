"""Depthwise convolution and average pooling of quantised tensors: per output pixel the sums of all channels, then their rounding."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ..contracts.geometry import WindowGeometry
from ..contracts.quantized import QDEPTHWISE, QPOOL, QConv2DParams, QPoolParams
from ..devices import align
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array
from .arrays import pitch, scratch
from .crew import Task, task_kernel
from .jit import carray, inner, pointer
from .quantized import constants_refusal
from .quantized_finish import finish, finish_fields, to_byte
from .targets import current
from .threads import parallel, sequence, shares
from .window import cells_inside, geometry_fields

__all__ = ["KERNELS"]

NDArray = np.ndarray[Any, Any]
#: Least sums of a task that pays.
_TASK_WORK = 200_000
_EVEN, _AWAY, _UP = 0, 1, 2
_HALVES = {"even": _EVEN, "away": _AWAY, "up": _UP}
_HALF = np.float32(0.5)
#: As in quantized_finish.py.
_MAGIC = np.float32(1.5 * 2**23)

#: One task: output rows [first, end), counted over all images. Addresses and pitch of x in bytes; ``y_pitch`` in elements.
_JOB = np.dtype(
    [(name, np.int64) for name in (
        "x", "pitch", "y", "y_pitch", "weights", "bias", "multiplier", "sums", "first", "end", "flip", "zero", "each", "halves",
        "height", "width", "channels", "out_height", "out_width", "window_height", "window_width",
        "stride_y", "stride_x", "dilation_y", "dilation_x", "top", "left",
        "result", "low", "high", "y_zero", "item",
    )]
    + [("factor", np.float32), ("divisor", np.float32)]
)  # fmt: skip


@inner
def _add_products(sums: Any, x: Any, w: Any, channels: int, each: int, flip: Any, zero: Any) -> None:
    """sums += (x - zero) * w, with ``each`` weights for a channel."""
    if each == 1:
        for c in range(channels):
            step = np.int32(np.int32(x[c] ^ flip) - zero)
            sums[c] = np.int32(sums[c] + np.int32(step * np.int32(w[c])))
        return
    for c in range(channels):
        step = np.int32(np.int32(x[c] ^ flip) - zero)
        for q in range(each):
            at = c * each + q
            sums[at] = np.int32(sums[at] + np.int32(step * np.int32(w[at])))


@inner
def _add_bytes(sums: Any, x: Any, channels: int, flip: Any) -> None:
    for c in range(channels):
        sums[c] = np.int32(sums[c] + np.int32(x[c] ^ flip))


@inner
def _rounded(v: Any, halves: int, zero: Any) -> Any:
    """v between the bounds of the result as a whole float32; a half goes where ``halves`` says."""
    whole = np.float32(np.float32(v + _MAGIC) - _MAGIC)
    up = np.float32(v + _HALF)
    if halves == _AWAY:
        up = up if np.float32(v - _HALF) + zero >= 0 else np.float32(v - _HALF)
    return up if abs(np.float32(v - whole)) == _HALF else whole


@inner
def _means(sums: Any, y: Any, channels: int, job: Any, count: int) -> None:
    """Sums of bytes as means of ``count`` cells; ``sums`` counts cells from 0, not from the zero point."""
    low, high, zero, halves = np.float32(job.low), np.float32(job.high), job.y_zero, job.halves
    less, factor, whole_zero = np.int32(count * job.zero), job.factor, np.float32(zero)
    divisor = job.divisor if job.divisor > 0 else np.float32(count)
    for c in range(channels):
        v = np.float32(np.float32(np.float32(np.int32(sums[c] - less)) * factor) / divisor)
        if halves != _EVEN:
            v = v if v > low else low
            v = v if v < high else high
            v = _rounded(v, halves, whole_zero)
        y[c] = to_byte(v, low, high, zero)


def _window_kernel_of(depthwise: bool) -> Any:
    @inner
    def run(job: Any) -> None:
        channels, step, each = job.channels, job.pitch, job.each
        flip, zero = np.uint8(job.flip), np.int32(job.zero)
        sums = carray(pointer(job.sums), channels * each, np.int32)
        for line in range(job.first, job.end):
            image, i = line // job.out_height, line % job.out_height
            y0 = i * job.stride_y - job.top
            u0, u1 = cells_inside(y0, job.height, job.window_height, job.dilation_y)
            for j in range(job.out_width):
                x0 = j * job.stride_x - job.left
                v0, v1 = cells_inside(x0, job.width, job.window_width, job.dilation_x)
                for c in range(channels * each):
                    sums[c] = 0
                for u in range(u0, u1):
                    row = (image * job.height + y0 + u * job.dilation_y) * job.width
                    for v in range(v0, v1):
                        x = carray(pointer(job.x + (row + x0 + v * job.dilation_x) * step), channels, np.uint8)
                        if depthwise:
                            at = job.weights + (u * job.window_width + v) * channels * each
                            w = carray(pointer(at), channels * each, np.int8)
                            _add_products(sums, x, w, channels, each, flip, zero)
                        else:
                            _add_bytes(sums, x, channels, flip)
                to = job.y + (line * job.out_width + j) * job.y_pitch * job.item
                if depthwise:
                    finish(job.sums, job.bias, job.multiplier, to, channels * each, job)
                else:
                    y = carray(pointer(to), channels, np.uint8)
                    _means(sums, y, channels, job, (u1 - u0) * (v1 - v0))

    return run


@functools.cache
def _window_kernel(depthwise: bool, target: str) -> Any:
    """Task kernel whose argument is one job."""
    run = _window_kernel_of(depthwise)

    @task_kernel(f"quantized-{'depthwise' if depthwise else 'pool'}-{target}")
    def windows(argument: int) -> None:
        run(carray(pointer(argument), 1, _JOB)[0])

    return windows


@dataclass(frozen=True, slots=True)
class _Windows:
    """Workspace: for each task the sums of one output pixel. ``constants``: weights, bias and multiplier of a convolution."""

    query: Query[Any]
    depthwise: bool
    fields: Mapping[str, Any]
    constants: tuple[NDArray, ...]
    sums: int

    @property
    def absorbed(self) -> frozenset[int]:
        return frozenset({1, 2, 3}) if self.depthwise else frozenset()

    @property
    def _tasks(self) -> int:
        y = self.query.outputs[0]
        work = y.size * (prod(self.query.inputs[1].dims[:2]) if self.depthwise else 9)
        return max(1, min(self.query.threads, y.dims[0] * y.dims[1], work // _TASK_WORK))

    @property
    def workspace_bytes(self) -> int:
        return self._tasks * align(self.sums * 4) if self.query.outputs[0].size else 0

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, name = self.query, self.query.contract.name
        x, x_pitch = pitch(f"input 0 of {name}", inputs[0], query.inputs[0])
        y, y_pitch = pitch(f"the output of {name}", outputs[0], query.outputs[0])
        if query.outputs[0].size == 0:
            return parallel([])
        work = scratch(workspace, self.workspace_bytes)
        flip = 128 if query.inputs[0].dtype == np.int8 else 0
        lines = shares(query.outputs[0].dims[0] * query.outputs[0].dims[1], self._tasks)
        jobs = np.zeros(len(lines), _JOB)
        places = {
            "x": x,
            "pitch": x_pitch,
            "y": y,
            "y_pitch": y_pitch,
            "flip": flip,
            "zero": query.params.x_zero + flip,
        }
        for field, value in {**self.fields, **places}.items():
            jobs[field] = value
        for field, array in zip(("weights", "bias", "multiplier"), self.constants, strict=False):
            jobs[field] = array.ctypes.data
        kernel, tasks = _window_kernel(self.depthwise, current().name), []
        for i, (first, end) in enumerate(lines):
            jobs[i]["first"], jobs[i]["end"] = first, end
            jobs[i]["sums"] = work.ctypes.data + i * align(self.sums * 4)
            tasks.append(Task(kernel, jobs[i : i + 1], jobs))
        return sequence([parallel(tasks, query.threads)], (inputs, outputs, work, jobs, self.constants))


def _prepare_depthwise(query: Query[QConv2DParams], constants: Constants) -> _Windows:
    x, w, y = query.inputs[0].dims, query.inputs[1].dims, query.outputs[0].dims
    geometry = geometry_fields(WindowGeometry.between(x, y, w, query.params.windows))
    fields: dict[str, Any] = {**geometry, **finish_fields(query.params), "each": w[3]}
    arrays = tuple(np.ascontiguousarray(constants.value(i)) for i in (1, 2, 3))
    _window_kernel(True, current().name)
    return _Windows(query, True, fields, arrays, y[3])


def _prepare_pool(query: Query[QPoolParams], constants: Constants) -> _Windows:
    params, x, y = query.params, query.inputs[0].dims, query.outputs[0].dims
    geometry = geometry_fields(WindowGeometry.between(x, y, params.window, params.windows))
    fields: dict[str, Any] = {
        **geometry, "each": 1, "item": 1, "y_zero": params.y_zero, "low": params.low - params.y_zero,
        "high": params.high - params.y_zero, "factor": np.float32(params.multiplier), "halves": _HALVES[params.halves],
        "divisor": float(prod(params.window)) if params.count_include_pad else 0.0,
    }  # fmt: skip
    _window_kernel(False, current().name)
    return _Windows(query, False, fields, (), y[3])


KERNELS = (
    Kernel(
        QDEPTHWISE, "numba", "quantized_depthwise", prepare=_prepare_depthwise, supports=constants_refusal, strided_inputs=True,
        strided_outputs=True,
    ),
    Kernel(QPOOL, "numba", "quantized_average_pool", prepare=_prepare_pool, strided_inputs=True, strided_outputs=True),
)  # fmt: skip
