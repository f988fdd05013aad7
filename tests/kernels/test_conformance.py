"""Every kernel of every backend that this machine has, on every case that it claims to serve."""

from __future__ import annotations

from typing import Any

import pytest

from kigraph.kernels.backends import HOST_FAMILY, backend_names, get_backend
from kigraph.kernels.conformance import CASES, MEASURED, Case, check_kernel, gaps, supported_cases
from kigraph.kernels.contracts import CONTRACTS
from kigraph.kernels.contracts.gradients import BACKWARD
from kigraph.kernels.kernel import Kernel
from kigraph.kernels.numerics import Numerics

FAMILIES = (*backend_names(), HOST_FAMILY)


def _pairs() -> list[Any]:
    found: list[Any] = []
    for name in FAMILIES:
        status = get_backend(name).status()
        if not status.available:
            reason = f"backend {name} cannot be used here: {status.detail}"
            found.append(pytest.param(None, None, id=name, marks=pytest.mark.skip(reason=reason)))
            continue
        for kernel in get_backend(name).kernels():
            found += [pytest.param(kernel, case, id=f"{kernel}-{case}") for case in supported_cases(kernel)]
    return found


@pytest.mark.parametrize(("kernel", "case"), _pairs())
def test_kernel(kernel: Kernel, case: Case) -> None:
    outcome = check_kernel(kernel, case)
    if outcome.refused:
        assert "misaligned" in case.id


@pytest.mark.parametrize("name", FAMILIES)
def test_every_kernel_serves_a_case(name: str) -> None:
    """In sessions of its precision; kernels say what they support without a device. tf32 and bf16: test_cupy_gpu.py."""
    checked_elsewhere = {"encode_jpeg", "encode_png"}  # by decoding, in test_images.py
    try:
        kernels = [k for k in get_backend(name).kernels() if k.name not in checked_elsewhere]
    except ImportError as error:
        pytest.skip(f"backend {name} cannot be imported here: {error}")
    assert [str(k) for k in kernels if not supported_cases(k, Numerics(precision=k.precision or "fp32"))] == []


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != HOST_FAMILY])
def test_hot_set_is_complete(name: str) -> None:
    if not get_backend(name).status().available:
        pytest.skip(f"backend {name} cannot be used here: {get_backend(name).status().detail}")
    forward_only = BACKWARD if name == "cupy" else ()
    assert set(gaps(name)) <= set(forward_only)


def test_case_ids_are_unique() -> None:
    assert len({str(case) for case in (*CASES, *MEASURED)}) == len(CASES) + len(MEASURED)


def test_every_contract_has_cases_and_a_kernel() -> None:
    with_cases = {case.contract for case in CASES}
    without = [c.name for c in CONTRACTS if c not in with_cases]
    assert without == ["encode_jpeg", "encode_png"], "add cases to kernels/conformance/cases/<family>.py"
    served = {k.contract for name in ("numpy", HOST_FAMILY) for k in get_backend(name).kernels()}
    missing = [c.name for c in CONTRACTS if c not in served]
    assert missing == [], "write a kernel in kernels/numpy/<family>.py (hot contracts) or kernels/host/<family>.py"


@pytest.mark.parametrize("contract", [c for c in CONTRACTS if c.hot], ids=lambda c: c.name)
def test_hot_contracts_meet_the_hard_tags(contract: Any) -> None:
    """Empty, NaN, strided and two-thread cases exist for every hot contract, so that no kernel gets by without them."""
    tags = {tag for case in CASES if case.contract is contract for tag in case.tags}
    assert {"empty", "nan", "strided", "threads", "tail"} <= tags
