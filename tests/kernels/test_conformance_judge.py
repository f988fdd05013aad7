"""The judge is judged: kernels that are wrong in one way each must be found out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance import Case, ConformanceError, check_kernel, supported_cases, tensor
from kigraph.kernels.conformance.cases.matmul import matmul_case
from kigraph.kernels.conformance.truth import MismatchError, compare
from kigraph.kernels.conformance.values import normal, sparse_nan
from kigraph.kernels.contracts.base import Tolerance
from kigraph.kernels.contracts.elementwise import RELU
from kigraph.kernels.contracts.matmul import MATMUL
from kigraph.kernels.errors import KernelError, SettingsError
from kigraph.kernels.kernel import Constants, Kernel, Query, simple_kernel
from kigraph.kernels.tensor import Array, Params

Function = Callable[[Sequence[Array], Sequence[Array], Any], None]
CASE = Case(RELU, "plain", (tensor((5, 33), normal),))


def relu(function: Function, **options: Any) -> Kernel:
    return simple_kernel(RELU, "numpy", function, name="broken", **options)


def good(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    np.maximum(inputs[0], 0, out=outputs[0])


def wrong_at_the_end(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    good(inputs, outputs, params)
    outputs[0].flat[-1] += 1e-3


def leaves_the_tail(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    np.maximum(inputs[0][..., :32], 0, out=outputs[0][..., :32])


def accumulates(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    y = outputs[0]
    y += np.maximum(inputs[0], 0) - y


def changes_its_input(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    good(inputs, outputs, params)
    inputs[0].flat[0] = 1


def writes_past_the_end(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    good(inputs, outputs, params)
    y = outputs[0]
    np.lib.stride_tricks.as_strided(y, (y.shape[0], y.shape[1] + 1), y.strides)[-1, -1] = 3


def writes_before_the_start(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    good(inputs, outputs, params)
    np.lib.stride_tricks.as_strided(outputs[0], (2,), (-4,))[1] = 3


def drops_nan(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    np.fmax(inputs[0], 0, out=outputs[0])


def invents_infinity(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    good(inputs, outputs, params)
    outputs[0].flat[3] = np.inf


def raises(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    raise ZeroDivisionError("inside")


def test_a_right_kernel_passes() -> None:
    assert check_kernel(relu(good), CASE).worst == 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (wrong_at_the_end, r"1 of 165 elements are wrong, the first at \(4, 32\)"),
        (leaves_the_tail, "elements are wrong|different bits"),
        (accumulates, "elements are wrong|different bits"),
        (changes_its_input, "input 0 was changed"),
        (writes_past_the_end, "output 0: 4 bytes outside the array were written, the first at byte 660"),
        (writes_before_the_start, "output 0: 4 bytes outside the array were written, the first at byte -4"),
        (invents_infinity, "elements are wrong"),
        (raises, "the run raised ZeroDivisionError: inside"),
    ],
)
def test_a_broken_kernel_is_found(function: Function, message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_kernel(relu(function), CASE)


def test_a_dropped_nan_is_found() -> None:
    with pytest.raises(ConformanceError, match="elements are wrong"):
        check_kernel(relu(drops_nan), Case(RELU, "nan", (tensor((5, 33), sparse_nan),)))


def test_a_kernel_that_ignores_the_pitch_is_found() -> None:
    def dense(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
        y = np.lib.stride_tricks.as_strided(outputs[0], (outputs[0].size,), (4,))
        y[:] = np.maximum(inputs[0], 0).ravel()

    case = Case(RELU, "pitched", (tensor((5, 33), normal, memory="pitched"),), memory="pitched")
    check_kernel(relu(good, strided=True), case)
    with pytest.raises(ConformanceError, match=r"bytes outside the array were written.*strides \(152, 4\)"):
        check_kernel(relu(dense, strided=True), case)


def test_the_message_has_the_seed_that_repeats_it() -> None:
    with pytest.raises(ConformanceError, match=r"numpy.broken on relu\[plain\].*KIGRAPH_TEST_SEED=77"):
        check_kernel(relu(wrong_at_the_end), CASE, seed=77)


def test_seeds_repeat_and_differ() -> None:
    one, same, other = (CASE.generate(seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@dataclass
class PreparedMatMul:
    """A matrix product that can be wrong about its workspace and its constants."""

    absorbed: frozenset[int] = frozenset()
    workspace_bytes: int = 64
    overrun: int = 0
    reads_old_workspace: bool = False
    weights: Any = None
    lock: Any = field(default_factory=threading.Lock)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Callable[[], None]:
        assert workspace is not None
        a, b = inputs[0], self.weights if self.weights is not None else inputs[1]

        def run() -> None:
            outputs[0][...] = a @ b
            if self.reads_old_workspace:
                # The last bit, well inside the tolerance.
                first = outputs[0][0, 0]
                outputs[0][0, 0] = np.nextafter(first, np.float32(9)) if workspace[0] == 0 else first
            wide = np.lib.stride_tricks.as_strided(workspace, (workspace.size + self.overrun,), (1,))
            wide[:] = 1

        return run


def matmul(prepare: Callable[[Query, Constants], Any]) -> Kernel:
    return Kernel(MATMUL, "numpy", "broken", prepare=prepare)


WEIGHTS = matmul_case("weights", 4, 9, 5, constant=True)


def test_workspace_and_absorbed_constants_are_fine() -> None:
    check_kernel(matmul(lambda query, constants: PreparedMatMul()), WEIGHTS)
    check_kernel(matmul(lambda q, c: PreparedMatMul(frozenset([1]), weights=c.value(1))), WEIGHTS)


def test_an_overrun_workspace_is_found() -> None:
    with pytest.raises(ConformanceError, match="workspace 0: 1 bytes outside"):
        check_kernel(matmul(lambda query, constants: PreparedMatMul(overrun=1)), WEIGHTS)


def test_old_content_of_the_workspace_is_found() -> None:
    with pytest.raises(ConformanceError, match="different old content gave different bits"):
        check_kernel(matmul(lambda query, constants: PreparedMatMul(reads_old_workspace=True)), WEIGHTS)


def test_absorbing_what_is_not_constant_is_found() -> None:
    fed = matmul_case("fed", 4, 9, 5)
    with pytest.raises(ConformanceError, match=r"absorbed \[1\] of the constants \[\]"):
        check_kernel(matmul(lambda query, constants: PreparedMatMul(frozenset([1]))), fed)


def test_constants_cannot_be_changed_by_packing() -> None:
    def prepare(query: Query, constants: Constants) -> Any:
        constants.packed(1, "in place", lambda w: np.multiply(w, 2, out=w))
        return PreparedMatMul()

    with pytest.raises(ValueError, match="read-only"):
        check_kernel(matmul(prepare), WEIGHTS)


def test_refusing_in_bind_is_allowed_for_misaligned_arrays_only() -> None:
    class Refusing(PreparedMatMul):
        def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Any:
            raise KernelError("address 3 is no multiple of 4")

    kernel = matmul(lambda query, constants: Refusing())
    assert check_kernel(kernel, matmul_case("misaligned", 4, 9, 5, memory="misaligned")).refused
    with pytest.raises(ConformanceError, match=r"bind refused arrays that supports\(\) had accepted"):
        check_kernel(kernel, WEIGHTS)


def test_a_case_that_the_kernel_does_not_claim_is_an_error_of_the_caller() -> None:
    picky = relu(good, supports=lambda query: "only on Sundays")
    assert supported_cases(picky) == ()
    with pytest.raises(ValueError, match="only on Sundays"):
        check_kernel(picky, CASE)


def test_kernels_without_strides_get_no_strided_cases() -> None:
    assert not any(any(case.strided) for case in supported_cases(relu(good)))
    assert any(all(case.strided) for case in supported_cases(relu(good, strided=True)))


@pytest.mark.parametrize(
    ("got", "want", "ok"),
    [
        (1.0, 1.0 + 1e-7, True),
        (1.0, 1.001, False),
        (np.nan, np.nan, True),
        (np.nan, 1.0, False),
        (1.0, np.nan, False),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.inf, 1e39, True),  # the truth overflows float32
        (3.4e38, np.inf, False),
        (0.0, -0.0, True),
    ],
)
def test_compare(got: float, want: float, ok: bool) -> None:
    arrays = np.array([1, got], np.float32), np.array([1, want], np.float64)
    if ok:
        assert compare(*arrays, Tolerance(1e-6, 0)) <= 1
    else:
        with pytest.raises(MismatchError, match="1 of 2 elements are wrong"):
            compare(*arrays, Tolerance(1e-6, 0))


def test_the_seed_of_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.kernels.settings import TEST_SEED

    monkeypatch.setenv("KIGRAPH_TEST_SEED", "4294967295")
    assert TEST_SEED.get() == 4294967295
    monkeypatch.setenv("KIGRAPH_TEST_SEED", "-1")
    with pytest.raises(SettingsError, match="expected a whole number from 0 to 4294967295"):
        TEST_SEED.get()
