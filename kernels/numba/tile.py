"""The register tile of the matrix kernels, written in LLVM IR.

Formula, for ``rows`` rows of A and ``vectors`` vectors of columns, all addresses int64, all steps in bytes::

    c[r, :] = clamp((c[r, :] if accumulate else 0) + sum over k of a[r, k] * b[k, :] + bias[:], low, high)

    a     rows with a common step ``lda``, elements of a row adjacent
    b     packed panel: for each k the vectors x lanes weights, contiguous
    ahead bytes from b to what is needed next: PREFETCHED cache lines from b + ahead on are prefetched per UNROLL steps of k
    c     rows with a common step ``ldc``; all columns of the tile are written

LLVM does not keep an array of accumulators in registers, so every accumulator is an SSA value of vector type here.
The clamp lets NaN through. One function is emitted per number of rows, so short tiles cost only their rows.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir

from ..tensor import DType
from .jit import BYTE_POINTER, int64, intrinsic, scalar_type, void
from .targets import Target

__all__ = ["PREFETCHED", "UNROLL", "tile_intrinsic"]

_I32, _I64 = ir.IntType(32), ir.IntType(64)
#: Steps of k per loop iteration: 4 is 0-12 % faster than 1 (most for one vector) and compiles in 1.3x the time.
UNROLL = 4
#: Cache lines prefetched into L2 per loop iteration: a network's weights stream from L3 or memory once per image. Inception v3
#: takes 87.8 ms without, 82.0 with 2 and 84.0 with 4 lines (same core, batch 1).
PREFETCHED = 2
#: Rows per base pointer: [p], [p + lda], [p + 2 * lda] need no arithmetic on x86.
_GROUP = 3


class _Tile:
    """Emits one function ``(a, lda, b, c, ldc, k, bias, low, high, accumulate, ahead)``."""

    def __init__(self, module: ir.Module, dtype: DType, target: Target, rows: int, vectors: int) -> None:
        self.element: Any = ir.FloatType() if dtype == np.float32 else ir.DoubleType()
        self.size = dtype.itemsize
        self.lanes = target.lanes(self.size)
        self.vector = ir.VectorType(self.element, self.lanes)
        self.rows, self.vectors, self.fused = rows, vectors, target.fma
        pointer = BYTE_POINTER
        arguments = [pointer, _I64, pointer, pointer, _I64, _I64, pointer, self.element, self.element, _I64, _I64]
        self.function = ir.Function(
            module, ir.FunctionType(ir.VoidType(), arguments), f"kigraph_{target.name}_{dtype}_{rows}x{vectors}"
        )
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.function.attributes.add("nounwind")
        self.fma: Any = None
        if self.fused:
            name = f"llvm.fma.v{self.lanes}f{self.size * 8}"
            self.fma = module.globals.get(name) or ir.Function(
                module, ir.FunctionType(self.vector, [self.vector] * 3), name
            )
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self._emit()

    def _load(self, base: Any, offset: int) -> Any:
        at = self.builder.gep(base, [_I64(offset)])
        return self.builder.load(self.builder.bitcast(at, self.vector.as_pointer()), align=self.size)

    def _splat(self, value: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, value, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), None)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def _multiply_add(self, x: Any, y: Any, total: Any) -> Any:
        if self.fused:
            return self.builder.call(self.fma, [x, y, total])
        return self.builder.fadd(total, self.builder.fmul(x, y))

    def _opaque(self, pointer: Any) -> Any:
        """The same pointer without its history: else LLVM derives each row from the last and runs out of registers."""
        same = ir.InlineAsm(ir.FunctionType(BYTE_POINTER, [BYTE_POINTER]), "", "=r,0", side_effect=False)
        return self.builder.call(same, [pointer])

    def _prefetch(self) -> Any:
        module, name = self.function.module, "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [BYTE_POINTER, _I32, _I32, _I32])
        return module.globals.get(name) or ir.Function(module, kind, name)

    def _phis(self, values: list[Any], block: Any) -> list[Any]:
        phis = [self.builder.phi(value.type) for value in values]
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, block)
        return phis

    def _join(self, first: list[Any], first_block: Any, second: list[Any], second_block: Any) -> list[Any]:
        phis = self._phis(first, first_block)
        for phi, value in zip(phis, second, strict=True):
            phi.add_incoming(value, second_block)
        return phis

    def _emit(self) -> None:
        a, lda, b, c, ldc, k, bias, low, high, accumulate, ahead = self.function.args
        builder = self.builder
        c_rows = [c]
        for _ in range(1, self.rows):
            c_rows.append(builder.gep(c_rows[-1], [ldc]))
        step = builder.mul(lda, _I64(_GROUP))
        bases = [a]
        while len(bases) * _GROUP < self.rows:
            bases.append(self._opaque(builder.gep(bases[-1], [step])))
        totals = self._initial(c_rows, accumulate)
        main = builder.and_(k, _I64(-UNROLL))
        state = self._loop("main", UNROLL, main, lda, [*totals, *bases, b], ahead)
        state = self._loop("rest", 1, builder.sub(k, main), lda, state, None)
        self._finish(state[: self.rows * self.vectors], c_rows, bias, self._splat(low), self._splat(high))

    def _initial(self, c_rows: list[Any], accumulate: Any) -> list[Any]:
        """Accumulators: zero, or what an earlier block of k left in c."""
        builder, start = self.builder, self.builder.block
        load, ready = (self.function.append_basic_block(name) for name in ("load", "ready"))
        builder.cbranch(builder.icmp_signed("!=", accumulate, _I64(0)), load, ready)
        builder.position_at_end(load)
        loaded = [self._load(row, v * self.lanes * self.size) for row in c_rows for v in range(self.vectors)]
        builder.branch(ready)
        builder.position_at_end(ready)
        zero = ir.Constant(self.vector, None)
        return self._join([zero] * len(loaded), start, loaded, load)

    def _loop(self, name: str, unroll: int, count: Any, lda: Any, state: list[Any], ahead: Any) -> list[Any]:
        """``count`` steps of k, ``unroll`` per iteration; ``state`` = accumulators, bases of a, b."""
        builder, start = self.builder, self.builder.block
        body, done = (self.function.append_basic_block(name + suffix) for suffix in ("", "_done"))
        builder.cbranch(builder.icmp_signed(">", count, _I64(0)), body, done)
        builder.position_at_end(body)
        phis = self._phis([count, *state], start)
        left, *current = phis
        tiles = self.rows * self.vectors
        totals, bases, b = list(current[:tiles]), current[tiles:-1], current[-1]
        for u in range(unroll):
            weights = [self._load(b, (u * self.vectors + v) * self.lanes * self.size) for v in range(self.vectors)]
            for r in range(self.rows):
                row = builder.gep(bases[r // _GROUP], [builder.mul(lda, _I64(r % _GROUP))])
                at = builder.gep(row, [_I64(u * self.size)])
                value = self._splat(builder.load(builder.bitcast(at, self.element.as_pointer()), align=self.size))
                for v in range(self.vectors):
                    i = r * self.vectors + v
                    totals[i] = self._multiply_add(value, weights[v], totals[i])
        for line in range(PREFETCHED if ahead is not None else 0):
            at = builder.gep(builder.gep(b, [ahead]), [_I64(line * 64)])
            builder.call(self._prefetch(), [at, _I32(0), _I32(2), _I32(1)])  # read, into L2, data
        after = [
            *totals,
            *(builder.gep(base, [_I64(unroll * self.size)]) for base in bases),
            builder.gep(b, [_I64(unroll * self.vectors * self.lanes * self.size)]),
        ]
        left_after = builder.sub(left, _I64(unroll))
        for phi, value in zip(phis, [left_after, *after], strict=True):
            phi.add_incoming(value, body)
        builder.cbranch(builder.icmp_signed(">", left_after, _I64(0)), body, done)
        builder.position_at_end(done)
        return self._join(state, start, after, body)

    def _finish(self, totals: list[Any], c_rows: list[Any], bias: Any, low: Any, high: Any) -> None:
        builder = self.builder
        for v in range(self.vectors):
            offset = v * self.lanes * self.size
            add = self._load(bias, offset)
            for r, row in enumerate(c_rows):
                x = builder.fadd(totals[r * self.vectors + v], add)
                x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
                x = builder.select(builder.fcmp_ordered(">", x, high), high, x)
                at = builder.bitcast(builder.gep(row, [_I64(offset)]), self.vector.as_pointer())
                builder.store(x, at, align=self.size)
        builder.ret_void()


@functools.cache
def tile_intrinsic(dtype: DType, target: Target) -> Any:
    """``tile(rows, vectors, a, lda, b, c, ldc, k, bias, low, high, accumulate, ahead)`` for kernels; calls the right function."""
    scalar, word = scalar_type(dtype), int64

    @intrinsic
    def tile(
        typing_context: Any,
        rows: Any,
        vectors: Any,
        a: Any,
        lda: Any,
        b: Any,
        c: Any,
        ldc: Any,
        k: Any,
        bias: Any,
        low: Any,
        high: Any,
        accumulate: Any,
        ahead: Any,
    ) -> Any:
        signature = void(word, word, word, word, word, word, word, word, word, scalar, scalar, word, word)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            rows, vectors, a, lda, b, c, ldc, k, bias, low, high, accumulate, ahead = args
            a, b, c, bias = (builder.inttoptr(address, BYTE_POINTER) for address in (a, b, c, bias))
            arguments = [a, lda, b, c, ldc, k, bias, low, high, accumulate, ahead]
            done = builder.append_basic_block("tile_done")
            switch = builder.switch(builder.add(builder.mul(vectors, _I64(256)), rows), done)
            for v, most in enumerate(target.rows, 1):
                for r in range(1, most + 1):
                    function = _Tile(builder.module, dtype, target, r, v).function
                    block = builder.append_basic_block(f"tile_{r}x{v}")
                    switch.add_case(_I64(v * 256 + r), block)
                    with builder.goto_block(block):
                        builder.call(function, arguments)
                        builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, codegen

    return tile
