"""The register tile of integer products, written in LLVM IR: c[r, :] = sum over k of dot(a[r, k], b[k, :]), int32, which wraps.

A step of k is a word of 32 bits that holds a group of elements: with VNNI four bytes (a unsigned, b signed, ``vpdpbusd``), else two
numbers of 16 bits (``pmaddwd``). Addresses and the step ``lda`` are bytes::

    a     rows with a common step ``lda``, words of a row adjacent
    b     packed panel: for each k the vectors x lanes words, contiguous
    c     dense rows of vectors x lanes sums
"""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from .jit import BYTE_POINTER, int64, intrinsic, void
from .targets import Target, features

__all__ = ["group_of", "pack", "product_tile"]

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_UNROLL = 2
#: Rows per base pointer (see tile.py).
_GROUP = 3
_VNNI = "llvm.x86.avx512.vpdpbusd.512"
#: ``pmaddwd`` by the bytes of a vector.
_MADD = {64: "llvm.x86.avx512.pmaddw.d.512", 32: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.sse2.pmadd.wd"}


def group_of(target: Target) -> int:
    """Elements in a word: 4 bytes where the CPU has their dot product, else 2 numbers of 16 bits."""
    return 4 if target.name == "avx512" and "avx512vnni" in features() else 2


@functools.cache
def _on_x86() -> bool:
    return bool(llvm.get_process_triple().startswith("x86_64"))


class _ProductTile:
    """Emits one function ``(a, lda, b, c, k)``."""

    def __init__(self, module: ir.Module, target: Target, group: int, rows: int, vectors: int) -> None:
        self.module, self.target, self.rows, self.vectors = module, target, rows, vectors
        self.lanes, self.group = target.lanes(4), group
        self.words = ir.VectorType(_I32, self.lanes)
        self.halves = ir.VectorType(_I16, 2 * self.lanes)
        arguments = [BYTE_POINTER, _I64, BYTE_POINTER, BYTE_POINTER, _I64]
        name = f"kigraph_dot{self.group}_{target.name}_{rows}x{vectors}"
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.function.attributes.add("nounwind")
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self._emit()

    def _declared(self, name: str, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(self.words, arguments)
        return self.module.globals.get(name) or ir.Function(self.module, kind, name)

    def _dot(self, total: Any, x: Any, weights: Any) -> Any:
        builder = self.builder
        if self.group == 4:
            # Operands of words are LLVM's older form, which newer versions make their own of.
            return builder.call(self._declared(_VNNI, [self.words] * 3), [total, x, weights])
        x, weights = (builder.bitcast(v, self.halves) for v in (x, weights))
        if _on_x86():
            madd = self._declared(_MADD[self.target.vector_bytes], [self.halves] * 2)
            return builder.add(total, builder.call(madd, [x, weights]))
        wide = ir.VectorType(_I32, 2 * self.lanes)
        products = builder.mul(builder.sext(x, wide), builder.sext(weights, wide))
        undefined = ir.Constant(wide, ir.Undefined)
        for first in (0, 1):
            picks = ir.Constant(self.words, [_I32(2 * lane + first) for lane in range(self.lanes)])
            total = builder.add(total, builder.shuffle_vector(products, undefined, picks))
        return total

    def _splat(self, value: Any) -> Any:
        undefined = ir.Constant(self.words, ir.Undefined)
        first = self.builder.insert_element(undefined, value, _I32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(self.words, None))

    def _opaque(self, pointer: Any) -> Any:
        """As in tile.py: else LLVM derives each row from the last and runs out of registers."""
        same = ir.InlineAsm(ir.FunctionType(BYTE_POINTER, [BYTE_POINTER]), "", "=r,0", side_effect=False)
        return self.builder.call(same, [pointer])

    def _emit(self) -> None:
        a, lda, b, c, k = self.function.args
        builder = self.builder
        step = builder.mul(lda, _I64(_GROUP))
        bases = [a]
        while len(bases) * _GROUP < self.rows:
            bases.append(self._opaque(builder.gep(bases[-1], [step])))
        zero = ir.Constant(self.words, None)
        main = builder.and_(k, _I64(-_UNROLL))
        state = self._loop("main", _UNROLL, main, lda, [*[zero] * (self.rows * self.vectors), *bases, b])
        state = self._loop("rest", 1, builder.sub(k, main), lda, state)
        for i, total in enumerate(state[: self.rows * self.vectors]):
            at = builder.gep(c, [_I64(i * self.lanes * 4)])
            builder.store(total, builder.bitcast(at, self.words.as_pointer()), align=4)
        builder.ret_void()

    def _loop(self, name: str, unroll: int, count: Any, lda: Any, state: list[Any]) -> list[Any]:
        """``count`` words of k, ``unroll`` per iteration; ``state`` = accumulators, bases of a, b."""
        builder, start = self.builder, self.builder.block
        body, done = (self.function.append_basic_block(name + suffix) for suffix in ("", "_done"))
        builder.cbranch(builder.icmp_signed(">", count, _I64(0)), body, done)
        builder.position_at_end(body)
        phis = [builder.phi(value.type) for value in (count, *state)]
        for phi, value in zip(phis, (count, *state), strict=True):
            phi.add_incoming(value, start)
        left, *current = phis
        tiles = self.rows * self.vectors
        totals, bases, b = list(current[:tiles]), current[tiles:-1], current[-1]
        size = self.lanes * 4
        for u in range(unroll):
            weights = []
            for v in range(self.vectors):
                at = builder.gep(b, [_I64((u * self.vectors + v) * size)])
                weights.append(builder.load(builder.bitcast(at, self.words.as_pointer()), align=4))
            for r in range(self.rows):
                row = builder.gep(bases[r // _GROUP], [builder.mul(lda, _I64(r % _GROUP))])
                at = builder.gep(row, [_I64(u * 4)])
                x = self._splat(builder.load(builder.bitcast(at, _I32.as_pointer()), align=4))
                for v in range(self.vectors):
                    i = r * self.vectors + v
                    totals[i] = self._dot(totals[i], x, weights[v])
        after = [
            *totals,
            *(builder.gep(base, [_I64(unroll * 4)]) for base in bases),
            builder.gep(b, [_I64(unroll * self.vectors * size)]),
        ]
        left_after = builder.sub(left, _I64(unroll))
        for phi, value in zip(phis, [left_after, *after], strict=True):
            phi.add_incoming(value, body)
        builder.cbranch(builder.icmp_signed(">", left_after, _I64(0)), body, done)
        builder.position_at_end(done)
        results = [builder.phi(value.type) for value in state]
        for phi, before, value in zip(results, state, after, strict=True):
            phi.add_incoming(before, start)
            phi.add_incoming(value, body)
        return results


@functools.cache
def product_tile(target: Target, group: int) -> Any:
    """``tile(rows, vectors, a, lda, b, c, k)`` for kernels; calls the right function."""

    @intrinsic
    def tile(typing_context: Any, rows: Any, vectors: Any, a: Any, lda: Any, b: Any, c: Any, k: Any) -> Any:
        signature = void(*[int64] * 7)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            rows, vectors, a, lda, b, c, k = args
            a, b, c = (builder.inttoptr(address, BYTE_POINTER) for address in (a, b, c))
            done = builder.append_basic_block("tile_done")
            switch = builder.switch(builder.add(builder.mul(vectors, _I64(256)), rows), done)
            for v, most in enumerate(target.rows, 1):
                for r in range(1, most + 1):
                    function = _ProductTile(builder.module, target, group, r, v).function
                    block = builder.append_basic_block(f"tile_{r}x{v}")
                    switch.add_case(_I64(v * 256 + r), block)
                    with builder.goto_block(block):
                        builder.call(function, [a, lda, b, c, k])
                        builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def pack(w: np.ndarray[Any, Any], target: Target, group: int) -> np.ndarray[Any, Any]:
    """The bytes of a (k, columns) int8 matrix as panels of words, zeros where a group or a vector is not full."""
    lanes = target.lanes(4)
    k, columns = w.shape
    words, width = -(-k // group), -(-columns // lanes) * lanes
    padded = np.zeros((words * group, width), np.int8 if group == 4 else np.int16)
    padded[:k, :columns] = w
    parts = []
    for at in range(0, width, target.panel * lanes):
        end = min(at + target.panel * lanes, width)
        parts.append(padded[:, at:end].reshape(words, group, end - at).transpose(0, 2, 1).ravel())
    return np.concatenate(parts).view(np.uint8) if parts else np.zeros(0, np.uint8)
