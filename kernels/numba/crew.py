"""Helper threads that take compiled tasks without the GIL, in well under a microsecond.

Waking a sleeping Python thread for work costs about 100 us, and Inception v3 has 108 parallel regions of
0.2 to 4 ms. So a helper first spins for a bounded time inside compiled code, and sleeps only if nothing came. A run
publishes a table of (function, argument) pairs and one atomic word, the ticket:

    ticket = batch number << 32 | tasks << 16 | next task

The thread that increments the ticket owns that task. The batch number makes a late helper's attempt fail, so it never
reads a table that is gone; the run returns when all its tasks are done.
"""

from __future__ import annotations

import functools
import math
import platform
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from llvmlite import ir

from ..devices import HOST
from .jit import compiled, inner, int64, intrinsic, types, void

__all__ = ["Crew", "Task", "task_kernel"]

_WORD = ir.IntType(64)
# Words of the mailbox, each on its own cache line.
_TICKET, _TABLE, _DONE, _ASLEEP, _SEATS, _WORDS = 0, 64, 128, 192, 256, 40
#: Seconds that a waiting loop spins before it gives up its core.
_PATIENCE = 200e-6


def task_kernel(name: str) -> Callable[[Any], Any]:
    """Decorator of a kernel that takes one int64, the address of its arguments."""
    return compiled(name, void(int64))


class Task:
    """A call of a task kernel with fixed arguments: from Python by ``task()``, from the crew by its address.

    ``arguments``: the array whose memory the kernel reads; ``keep``: what else its addresses point to.
    """

    __slots__ = ("_arguments", "_keep", "_kernel", "argument", "entry")

    def __init__(self, kernel: Any, arguments: np.ndarray[Any, Any], keep: object = None) -> None:
        self._kernel, self._arguments, self._keep = kernel, arguments, keep
        self.argument: int = arguments.ctypes.data
        (compilation,) = kernel.overloads.values()
        self.entry: int = compilation.library.get_pointer_to_function(compilation.fndesc.llvm_func_name)

    def __call__(self) -> None:
        self._kernel(self.argument)


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _WORD.as_pointer())


@intrinsic
def _load(typing_context: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word(builder, args[0]), "seq_cst", 8)

    return int64(int64), codegen


@intrinsic
def _store(typing_context: Any, address: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], _word(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return void(int64, int64), codegen


@intrinsic
def _add(typing_context: Any, address: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, args[0]), args[1], "seq_cst")

    return int64(int64, int64), codegen


@intrinsic
def _swap(typing_context: Any, address: Any, expected: Any, value: Any) -> Any:
    """Stores ``value`` if the word is ``expected``; returns whether it was."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        result = builder.cmpxchg(_word(builder, args[0]), args[1], args[2], "seq_cst", "seq_cst")
        return builder.extract_value(result, 1)

    return types.boolean(int64, int64, int64), codegen


@intrinsic
def _pause(typing_context: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            name = "llvm.x86.sse2.pause"
            hint = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.globals.get(name) or ir.Function(builder.module, hint, name), [])
        return context.get_dummy_value()

    return void(), codegen


@intrinsic
def _invoke(typing_context: Any, entry: Any, argument: Any) -> Any:
    """Calls a task kernel by address, in Numba's own calling convention."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function_type = context.call_conv.get_function_type(types.none, [types.int64])
        callee = builder.inttoptr(args[0], function_type.as_pointer())
        context.call_conv.call_function(builder, callee, types.none, [types.int64], [args[1]])
        return context.get_dummy_value()

    return void(int64, int64), codegen


@inner
def _work(box: int, batch: int) -> None:
    """Runs tasks of the batch until none is left to begin."""
    while True:
        ticket = _load(box + _TICKET)
        if ticket >> 32 != batch or ticket & 0xFFFF >= (ticket >> 16) & 0xFFFF:
            return
        if _swap(box + _TICKET, ticket, ticket + 1):
            pair = _load(box + _TABLE) + (ticket & 0xFFFF) * 16
            _invoke(_load(pair), _load(pair + 8))
            _add(box + _DONE, 1)


@functools.cache
def _functions() -> tuple[Any, Any, Any, Any]:
    """``run(box, table, tasks, helpers, spins)``, ``wait(box, tasks, spins)``, ``serve(box, spins)``, ``wake(box, most)``."""

    @compiled("crew-run", int64(int64, int64, int64, int64, int64))
    def run(box: int, table: int, tasks: int, helpers: int, spins: int) -> int:
        """Publishes a batch and works on it; 1 if it is finished, 0 if ``wait`` has to be called."""
        batch = ((_load(box + _TICKET) >> 32) + 1) & 0x7FFFFFFF
        _store(box + _TABLE, table)
        _store(box + _DONE, 0)
        _store(box + _SEATS, helpers)
        _store(box + _TICKET, batch << 32 | tasks << 16)
        _work(box, batch)
        for _ in range(spins):
            if _load(box + _DONE) == tasks:
                return 1
            _pause()
        return 0

    @compiled("crew-wait", int64(int64, int64, int64))
    def wait(box: int, tasks: int, spins: int) -> int:
        for _ in range(spins):
            if _load(box + _DONE) == tasks:
                return 1
            _pause()
        return 0

    @compiled("crew-serve", void(int64, int64))
    def serve(box: int, spins: int) -> None:
        """The loop of a helper, until no batch has come for a while; it then counts as asleep."""
        idle = 0
        while idle < spins:
            ticket = _load(box + _TICKET)
            if ticket & 0xFFFF < (ticket >> 16) & 0xFFFF:
                if _add(box + _SEATS, -1) > 0:
                    _work(box, ticket >> 32)
                idle = 0
            idle += 1
            _pause()
        _add(box + _ASLEEP, 1)

    @compiled("crew-wake", int64(int64, int64))
    def wake(box: int, most: int) -> int:
        """Takes up to ``most`` helpers off the count of sleepers; returns how many."""
        while True:
            asleep = _load(box + _ASLEEP)
            count = min(asleep, most)
            if count == 0 or _swap(box + _ASLEEP, asleep, asleep - count):
                return int(count)

    return run, wait, serve, wake


@functools.cache
def _spins() -> int:
    """Iterations of a waiting loop in _PATIENCE: a pause takes 5 to 50 ns, depending on the CPU."""
    wait, box, trial = _functions()[1], np.zeros(_WORDS, np.int64), 20_000
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        wait(box.ctypes.data, 1, trial)
        best = min(best, time.perf_counter() - start)
    return max(1000, int(trial * _PATIENCE / best))


class Crew:
    """Runs one batch at a time; ``run`` returns False if another thread's batch is running."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._box = HOST.allocate(_WORDS * 8).view(np.int64)
        self._box[...] = 0
        self._address: int = self._box.ctypes.data
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.helpers = 0

    def run(self, table: np.ndarray[Any, Any], threads: int) -> bool:
        """Runs the tasks of ``table``, (entry, argument) pairs, on at most ``threads`` threads, this one included."""
        if not self._busy.acquire(blocking=False):
            return False
        try:
            run, wait, _, wake = _functions()
            spins = _spins()
            count, helpers = len(table), threads - 1
            while self.helpers < helpers:
                threading.Thread(target=self._serve, name=f"kigraph-crew-{self.helpers}", daemon=True).start()
                self.helpers += 1
            if self._box[_ASLEEP // 8]:
                for _ in range(wake(self._address, helpers)):
                    self._bell.put(None)
            done = run(self._address, table.ctypes.data, count, helpers, spins)
            while not done:
                time.sleep(0)  # more threads than cores: let the one with the last task run
                done = wait(self._address, count, spins)
        finally:
            self._busy.release()
        return True

    def _serve(self) -> None:
        serve, spins, bell = _functions()[2], _spins(), self._bell
        while True:
            serve(self._address, spins)
            bell.get()
