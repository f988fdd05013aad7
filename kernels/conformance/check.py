"""Checks one kernel on one case: right values, nothing written out of bounds, the same bits twice."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn, TypeVar

import numpy as np

from .. import settings
from ..backends import get_backend
from ..devices import Device
from ..errors import KernelError
from ..kernel import Kernel, Query
from ..tensor import STRING, Array
from .case import Case
from .memory import GuardedArray, GuardedBytes
from .truth import MismatchError, compare, tolerance, truth

__all__ = ["ConformanceError", "FixedConstants", "Outcome", "check_kernel", "process_seed", "unsupported"]

NDArray = np.ndarray[Any, Any]
T = TypeVar("T")


class ConformanceError(AssertionError):
    """A kernel breaks its contract; the message has the kernel, the case, the seed and what was wrong."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A passed check. ``worst``: largest error as a share of what is allowed. ``refused``: why bind said no."""

    worst: float = 0.0
    refused: str | None = None


class FixedConstants:
    """Constants over given arrays. The arrays become read-only: packing must not change them."""

    def __init__(self, values: Mapping[int, NDArray]) -> None:
        self._values = {i: np.array(v, order="C") for i, v in values.items()}
        for value in self._values.values():
            value.flags.writeable = False
        self._packed: dict[tuple[int, str], Any] = {}

    def value(self, index: int) -> NDArray:
        return self._values[index]

    def packed(self, index: int, layout: str, pack: Callable[[NDArray], T]) -> T:
        if (index, layout) not in self._packed:
            self._packed[index, layout] = pack(self._values[index])
        result: T = self._packed[index, layout]
        return result


@cache
def process_seed() -> int:
    """KIGRAPH_TEST_SEED, else a number drawn once per process."""
    seed = settings.TEST_SEED.get()
    return secrets.randbits(32) if seed is None else seed


def unsupported(kernel: Kernel, case: Case) -> str | None:
    """None if the kernel claims to serve the case, else why not."""
    if kernel.contract is not case.contract:
        return f"the kernel is for {kernel.contract.name}"
    strided_inputs, strided_outputs = case.strided
    if strided_inputs and not kernel.strided_inputs:
        return "takes no strided inputs"
    if strided_outputs and not kernel.strided_outputs:
        return "takes no strided outputs"
    if kernel.spreads and case.tags & {"nan", "large"}:
        return "lets values that are not finite, or nearly so, reach outputs nearby"
    return kernel.refusal(case.query())


def check_kernel(kernel: Kernel, case: Case, *, seed: int | None = None, device: Device | None = None) -> Outcome:
    """Runs the kernel on the case with random inputs and judges it; raises ConformanceError.

    Every array and the workspace are between guard bytes; outputs and workspace hold NaN bytes before the first run
    and zeros before the second, which must give the same bits. ``device``: the backend's own by default.
    """
    seed = process_seed() if seed is None else seed
    return _Check(kernel, case, seed, device or get_backend(kernel.backend).device()).run()


def _same(a: NDArray, b: NDArray) -> bool:
    """Equal bits, or equal texts."""
    return a.tolist() == b.tolist() if a.dtype == STRING else a.tobytes() == b.tobytes()


class _Check:
    def __init__(self, kernel: Kernel, case: Case, seed: int, device: Device) -> None:
        self.kernel, self.case, self.seed, self.device = kernel, case, seed, device

    def fail(self, what: str, cause: BaseException | None = None) -> NoReturn:
        raise ConformanceError(
            f"kernel {self.kernel} on {self.case}: {what}. Repeat with KIGRAPH_TEST_SEED={self.seed}"
        ) from cause

    def run(self) -> Outcome:
        if (reason := unsupported(self.kernel, self.case)) is not None:
            raise ValueError(f"kernel {self.kernel} does not serve {self.case}: {reason}")
        values = self.case.generate(self.seed)
        wanted = truth(self.case, values, None if self.kernel.near_exact else self.kernel.precision)
        if self.kernel.evaluate is not None:
            return self.judge(self.twice_dynamic(values), wanted)
        if not self.case.guarded:
            return self.judge(self.twice_plain(values), wanted)
        try:
            outputs = self.twice_guarded(values)
        except _RefusedError as refusal:
            return Outcome(refused=str(refusal))
        return self.judge(outputs, wanted)

    def judge(self, outputs: list[NDArray], wanted: list[NDArray]) -> Outcome:
        worst = 0.0
        if len(outputs) != len(wanted):
            self.fail(f"gave {len(outputs)} outputs, expected {len(wanted)}")
        for number, (got, want) in enumerate(zip(outputs, wanted, strict=True)):
            try:
                worst = max(worst, compare(got, want, tolerance(self.case, got.dtype, self.kernel.tolerance)))
            except MismatchError as error:
                self.fail(f"output {number}: {error}")
        return Outcome(worst)

    def twice_dynamic(self, values: list[NDArray]) -> list[NDArray]:
        assert self.kernel.evaluate is not None
        first, second = (list(self.kernel.evaluate(values, self.case.params)) for _ in range(2))
        if not all(_same(a, b) for a, b in zip(first, second, strict=True)):
            self.fail("two runs gave different bits")
        return first

    def twice_plain(self, values: list[NDArray]) -> list[NDArray]:
        """Strings: Python objects, so without guards."""
        query = self.case.query()
        assert self.kernel.prepare is not None
        prepared = self.kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))
        results = []
        for _ in range(2):
            inputs, outputs = [v.copy() for v in values], [np.zeros(t.dims, t.dtype) for t in query.outputs]
            prepared.bind(inputs, outputs, None)()
            if not all(_same(a, b) for a, b in zip(inputs, values, strict=True)):
                self.fail("an input was changed")
            results.append(outputs)
        if not all(_same(a, b) for a, b in zip(*results, strict=True)):
            self.fail("two runs gave different results")
        return results[0]

    def twice_guarded(self, values: list[NDArray]) -> list[NDArray]:
        case, query = self.case, self.case.query()
        prepared = self.prepare(query, values)
        inputs = [GuardedArray(self.device, spec.type, spec.memory) for spec in case.inputs]
        if case.inplace is None:
            outputs = [GuardedArray(self.device, t, case.memory) for t in query.outputs]
        else:
            outputs = [inputs[case.inplace]]
        workspace = GuardedBytes(self.device, prepared.workspace_bytes)
        arguments: list[Array] = [None if i in prepared.absorbed else guarded.array for i, guarded in enumerate(inputs)]
        try:
            run = prepared.bind(
                arguments, [o.array for o in outputs], workspace.array if prepared.workspace_bytes else None
            )
        except KernelError as error:
            if "misaligned" in (case.memory, *(i.memory for i in case.inputs)):
                raise _RefusedError(str(error)) from None
            self.fail(f"bind refused arrays that supports() had accepted: {error}", error)
        results = []
        for fill in (0xFF, 0x00):
            for guarded in (*outputs, workspace):
                guarded.fill(fill)
            for guarded, value in zip(inputs, values, strict=True):
                guarded.write(value)
            try:
                run()
                self.device.synchronize()
            except Exception as error:
                self.fail(f"the run raised {type(error).__name__}: {error}", error)
            results.append(self.collect(inputs, outputs, workspace, values))
        if not all(_same(a, b) for a, b in zip(*results, strict=True)):
            self.fail("two runs on outputs and workspace of different old content gave different bits")
        return results[0]

    def prepare(self, query: Query, values: list[NDArray]) -> Any:
        assert self.kernel.prepare is not None
        prepared = self.kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))
        if prepared.workspace_bytes < 0 or not prepared.absorbed <= query.constants:
            self.fail(
                f"prepared with workspace_bytes {prepared.workspace_bytes}, absorbed {sorted(prepared.absorbed)} "
                f"of the constants {sorted(query.constants)}"
            )
        return prepared

    def collect(
        self, inputs: list[GuardedArray], outputs: list[GuardedArray], workspace: GuardedBytes, values: list[NDArray]
    ) -> list[NDArray]:
        """The outputs, once inputs and guards have been found untouched."""
        results = []
        for what, arrays in (("output", outputs), ("workspace", [workspace]), ("input", inputs)):
            for number, guarded in enumerate(arrays):
                found, damage = guarded.read()
                if damage:
                    self.fail(f"{what} {number}: {damage}")
                if what == "output":
                    results.append(found)
                elif what == "input" and number != self.case.inplace and found.tobytes() != values[number].tobytes():
                    self.fail(f"input {number} was changed")
        return results


class _RefusedError(Exception):
    """bind refused a misaligned array, as it may."""
