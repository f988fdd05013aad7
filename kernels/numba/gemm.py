"""Blocked matrix product c = clamp(a * b + bias) on packed weights: the engine of conv2d and matmul.

Rows of ``a`` are either rows in memory with one common step (a matrix, a 1x1 convolution), or gathered block by block
into the workspace (im2col of a block of output pixels, never of the whole image). Loops, from the outside: block of
rows, block of k, panel of columns, register tile. A block of ``a`` stays in the L2 cache while all panels pass over it.

Packed weights: panels of ``panel * lanes`` columns, each k-major, the last one zero-padded and, if narrower, with fewer
vectors. Every address and size of a task is one record of type JOB, so there is one compiled kernel per element type.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from ..devices import HOST, align
from ..kernel import Run
from ..records import dataclass
from ..tensor import DType
from .crew import Task, task_kernel
from .gather import JOB, gather_kernel
from .jit import carray, compiled, copy_bytes, inner, int64, pointer, void
from .targets import Target, current
from .tile import PREFETCHED, UNROLL, tile_intrinsic

__all__ = ["Gemm"]


#: 256, 384, 512 and 768 take 73.0, 71.5, 71.1 and 70.5 ms over the 94 convolutions of Inception v3.
_K_BLOCK = 512
_ROW_BLOCK_BYTES = 256 * 1024
#: Least multiply-adds of a task that pays (about 150 us), and the most tasks for each thread. More and
#: smaller tasks cost 5 % in gathering the same pixels several times.
_TASK_WORK, _TASKS_PER_THREAD = 12_000_000, 2
#: The bias of all blocks of k but the last.
_ZEROS = np.zeros(64)


@functools.cache
def gemm_kernel(dtype: DType, target: Target) -> Any:
    """Task kernel of (jobs, first, end, zeros): runs jobs [first, end). ``zeros``: address of a panel of zeros, the bias of
    all blocks of k but the last."""
    tile, gather = tile_intrinsic(dtype, target), gather_kernel(dtype)
    size, lanes = dtype.itemsize, target.lanes(dtype.itemsize)
    scalar = dtype.type
    most = (0, *target.rows)
    infinity, target_bytes = dtype.type(np.inf), target.vector_bytes

    @inner
    def run(job: Any, zeros: int) -> None:
        row = job.row0
        first_vectors = min(job.panel, (job.columns - job.column0 + lanes - 1) // lanes)
        while row < job.row1:
            rows = min(job.row_block, job.row1 - row)
            k0 = 0
            while True:
                k = min(job.k_block, job.k - k0)
                last = k0 + k >= job.k
                if job.buffer != 0:
                    gather(job, row, rows, k0, k0 + k)
                    a, lda = job.buffer, job.buffer_step * size
                else:
                    a, lda = job.a + (row * job.lda + k0) * size, job.lda * size
                low = scalar(job.low) if last else -infinity
                high = scalar(job.high) if last else infinity
                accumulate = int(k0 > 0)
                column = job.column0
                while column < job.column1:
                    left = job.columns - column
                    vectors = min(job.panel, (left + lanes - 1) // lanes)
                    b = job.b + (column * job.k + k0 * vectors * lanes) * size
                    bias = job.bias + column * size if last else zeros
                    tiles = (rows + most[vectors] - 1) // most[vectors]
                    # Each of the first tiles fetches its share of the lines of the panel that comes next.
                    following, ahead = column + job.panel * lanes, 0
                    if following < job.column1:
                        next_vectors = min(job.panel, (job.columns - following + lanes - 1) // lanes)
                        ahead = job.b + (following * job.k + k0 * next_vectors * lanes) * size - b
                    elif not last:
                        ahead = job.b + (job.column0 * job.k + (k0 + k) * first_vectors * lanes) * size - b
                    fetchers = UNROLL * vectors * target_bytes // (64 * PREFETCHED) if ahead != 0 else 0
                    done = 0
                    for t in range(tiles):  # heights differ by one at most
                        count = (rows - done) // (tiles - t)
                        at = a + done * lda
                        c = job.c + ((row + done) * job.ldc + column) * size
                        done += count
                        whole = left >= vectors * lanes
                        to, ldc = (c, job.ldc * size) if whole else (job.edge, vectors * lanes * size)
                        if not whole and k0 > 0:
                            for r in range(count):
                                copy_bytes(to + r * ldc, c + r * job.ldc * size, left * size)
                        tile(count, vectors, at, lda, b, to, ldc, k, bias, low, high, accumulate, ahead)
                        ahead = ahead + 64 * PREFETCHED if t + 1 < fetchers else 0
                        if not whole:
                            for r in range(count):
                                copy_bytes(c + r * job.ldc * size, to + r * ldc, left * size)
                    column += job.panel * lanes
                k0 += k
                if last:
                    break
            row += rows

    @task_kernel(f"gemm-{dtype}-{target.name}")
    def gemm(arguments: int) -> None:
        address, first, end, zeros = carray(pointer(arguments), 4, np.int64)
        jobs = carray(pointer(address), end, JOB)
        for index in range(first, end):
            run(jobs[index], zeros)

    return gemm


@functools.cache
def pack_kernel(dtype: DType, target: Target) -> Any:
    """``pack(source, k_step, column_step, k, columns, target, first, end)``: packs panels [first, end)."""
    lanes, panel = target.lanes(dtype.itemsize), target.panel
    size = dtype.itemsize

    @compiled(f"pack-{dtype}-{target.name}", void(*[int64] * 8))
    def pack(
        source: int, k_step: int, column_step: int, k: int, columns: int, packed: int, first: int, end: int
    ) -> None:
        for p in range(first, end):
            column = p * panel * lanes
            left = columns - column
            width = min(panel, (left + lanes - 1) // lanes) * lanes
            filled = min(left, width)
            for i in range(k):
                row = carray(pointer(packed + (column * k + i * width) * size), width, dtype)
                at = source + (i * k_step + column * column_step) * size
                if column_step == 1:
                    values = carray(pointer(at), filled, dtype)
                    for j in range(filled):
                        row[j] = values[j]
                else:
                    for j in range(filled):
                        row[j] = carray(pointer(at + j * column_step * size), 1, dtype)[0]
                for j in range(filled, width):
                    row[j] = 0

    return pack


@dataclass(frozen=True, slots=True)
class Gemm:
    """The plan of one product: block sizes, share of each thread, workspace. Compiles the kernels when made by ``plan``.

    ``gathered``: rows of a are gathered into the workspace. ``parts``: (parts of the rows, parts of the panels).
    """

    dtype: DType
    target: Target
    rows: int
    k: int
    columns: int
    gathered: bool
    parts: tuple[int, int]
    k_block: int
    row_block: int

    @classmethod
    def plan(cls, dtype: DType, rows: int, k: int, columns: int, threads: int, gathered: bool) -> Gemm:
        """Chooses blocks and shares, and compiles the kernel for this dtype and the current instruction set."""
        target = current()
        gemm_kernel(dtype, target)
        most = target.rows[-1]
        k_block = max(16, _ceil(_ceil(k, max(1, _ceil(k, _K_BLOCK))), 16) * 16)
        # More tasks than threads, so that the others need not wait for a thread that loses its core for a while.
        tasks = (
            threads * min(max(rows * k * columns // (threads * _TASK_WORK), 1), _TASKS_PER_THREAD) if threads > 1 else 1
        )
        parts = _split(rows, k, columns, tasks, most, target.panel * target.lanes(dtype.itemsize), gathered)
        share = _ceil(max(rows, 1), parts[0])
        fitting = max(most, _ROW_BLOCK_BYTES // (k_block * dtype.itemsize))
        row_block = min(_ceil(_ceil(share, _ceil(share, fitting)), most) * most, share)
        return cls(dtype, target, rows, k, columns, gathered, parts, k_block, row_block)

    @property
    def layout(self) -> str:
        """Names the packed form, apart from the shape of the matrix."""
        return f"{self.target.name}-{self.dtype}-{self.panel_columns}"

    @property
    def panel_columns(self) -> int:
        """Columns of a full panel."""
        return self.target.panel * self.target.lanes(self.dtype.itemsize)

    @property
    def buffer_step(self) -> int:
        """Elements between gathered rows. Steps of 1 KB and its multiples would share few sets of the L1 cache."""
        return self.k_block + (16 if self.k_block * self.dtype.itemsize % 1024 == 0 else 0)

    @property
    def packed_bytes(self) -> int:
        """Size of the packed weights."""
        return self.k * self.bias_bytes

    @property
    def bias_bytes(self) -> int:
        """Size of the bias, padded to whole vectors, as the tiles read it."""
        lanes = self.target.lanes(self.dtype.itemsize)
        return _ceil(self.columns, lanes) * lanes * self.dtype.itemsize

    @property
    def _edge_bytes(self) -> int:
        return align(max(rows * v for v, rows in enumerate(self.target.rows, 1)) * self.target.vector_bytes)

    @property
    def _task_bytes(self) -> int:
        gathered = align(self.row_block * self.buffer_step * self.dtype.itemsize) if self.gathered else 0
        return self._edge_bytes + gathered

    @property
    def workspace_bytes(self) -> int:
        """Scratch memory of one product: a part per task. No data is kept from one run to the next."""
        return self.parts[0] * self.parts[1] * self._task_bytes

    def pack(self, b: np.ndarray[Any, Any], transposed: bool = False) -> np.ndarray[Any, Any]:
        """The packed form of a dense (k, columns) matrix, or of a (columns, k) one."""
        packed = HOST.allocate_lasting(self.packed_bytes)
        for run in self.pack_tasks(b.ctypes.data, packed.ctypes.data, transposed, 1):
            run()
        return packed

    def pack_tasks(self, source: int, packed: int, transposed: bool, threads: int) -> list[Run]:
        """Packs from one address to another."""
        kernel = pack_kernel(self.dtype, self.target)
        steps = (1, self.k) if transposed else (self.columns, 1)
        panels = _ceil(self.columns, self.panel_columns)
        shares = min(threads, panels)
        return [
            functools.partial(
                kernel, source, *steps, self.k, self.columns, packed, panels * i // shares, panels * (i + 1) // shares
            )
            for i in range(shares)
        ]

    def pack_bias(self, bias: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
        """Bias with zeros up to whole vectors; only zeros if there is none."""
        result = HOST.allocate(self.bias_bytes)
        result[...] = 0
        if bias is not None:
            result[: bias.nbytes] = bias.view(np.uint8)
        return result

    def bias_run(self, bias: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> Run:
        """A callable that copies a bias that is not constant into ``bias_bytes`` of workspace."""

        def run() -> None:
            target[: bias.nbytes] = bias.view(np.uint8)
            target[bias.nbytes :] = 0

        return run

    def jobs(self, workspace: np.ndarray[Any, Any], **fields: float) -> np.ndarray[Any, Any]:
        """The tasks of one product; ``fields``: those of JOB that the caller knows."""
        row_parts, panel_parts = self.parts
        jobs = np.zeros(row_parts * panel_parts, JOB)
        for name, value in fields.items():
            jobs[name] = value
        panels = _ceil(self.columns, self.panel_columns)
        start = workspace.ctypes.data
        for index, job in enumerate(jobs):
            i, j = divmod(index, panel_parts)
            job["row0"], job["row1"] = self.rows * i // row_parts, self.rows * (i + 1) // row_parts
            job["column0"] = panels * j // panel_parts * self.panel_columns
            job["column1"] = min(panels * (j + 1) // panel_parts * self.panel_columns, self.columns)
            job["edge"] = start + index * self._task_bytes
            job["buffer"] = job["edge"] + self._edge_bytes if self.gathered else 0
        jobs["buffer_step"], jobs["k_block"], jobs["row_block"] = self.buffer_step, self.k_block, self.row_block
        jobs["k"], jobs["columns"], jobs["panel"] = self.k, self.columns, self.target.panel
        return jobs

    def matrix_rows(self, a: int, step: int) -> dict[str, float]:
        """Fields of JOB for rows that are ``step`` elements apart; gathered like the pixels of a 1x1 convolution."""
        ones = (
            "height",
            "out_height",
            "window_height",
            "window_width",
            "stride_y",
            "stride_x",
            "dilation_y",
            "dilation_x",
        )
        sizes = {"width": self.rows, "out_width": self.rows, "channels": self.k, "pitch": step}
        return {"a": a, "lda": step, **dict.fromkeys(ones, 1), **sizes}

    def tasks(self, jobs: np.ndarray[Any, Any], count: int) -> list[Run]:
        """Callables that run all the jobs, at most ``count`` of them."""
        if self.rows == 0 or self.columns == 0 or len(jobs) == 0:
            return []
        kernel = gemm_kernel(self.dtype, self.target)
        address, shares = _ZEROS.ctypes.data, min(count, len(jobs))
        bounds = [len(jobs) * i // shares for i in range(shares + 1)]
        return [
            Task(kernel, np.array((jobs.ctypes.data, a, b, address), np.int64), jobs)
            for a, b in itertools.pairwise(bounds)
        ]


def _split(rows: int, k: int, columns: int, tasks: int, most: int, panel: int, gathered: bool) -> tuple[int, int]:
    """Parts of the rows and of the panels with the least time of the slowest task.

    In units of one multiply-add per element of k: a gathered element costs about 4, a weight from the L3 cache about 13.
    """
    tiles, panels = max(1, _ceil(rows, most)), max(1, _ceil(columns, panel))
    best, parts = math.inf, (1, 1)
    for row_parts in range(1, min(tasks, tiles) + 1):
        panel_parts = min(tasks // row_parts, panels)
        height, width = _ceil(tiles, row_parts) * most, _ceil(panels, panel_parts) * panel
        cost = height * width + (4 * height if gathered else 0) + 13 * width
        if cost < best:
            best, parts = cost, (row_parts, panel_parts)
    return parts


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
