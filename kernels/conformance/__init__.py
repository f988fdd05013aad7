"""Proof that a kernel keeps its contract: cases, the truth and the judge. Shipped, so that plug-ins can use it, too.

    from kigraph.kernels.conformance import check_kernel, supported_cases

    @pytest.mark.parametrize("case", supported_cases(MY_KERNEL), ids=str)
    def test_my_kernel(case):
        check_kernel(MY_KERNEL, case)

Map of the folder::

    case.py      Case: a contract at given parameters, shapes, dtypes, values and kinds of memory
    values.py    random inputs: normal, NaN and infinities, the extremes, whole integer ranges, ...
    cases/       the cases, one file per contract file
    truth.py     the reference in a wider type, and the tolerance
    memory.py    arrays between guard bytes
    check.py     check_kernel: judges one kernel on one case
    bind.py      bind_case: one kernel on one case, to be run as often as wanted
    table.py     the table of ops, backends and element types
"""

from __future__ import annotations

from .bind import Bound, bind_case
from .case import Case, Input, tensor
from .cases import CASES, MEASURED, cases_of, measured_of
from .check import ConformanceError, Outcome, check_kernel, process_seed, unsupported
from .table import gaps, support_table, supported_cases

__all__ = [
    "CASES",
    "MEASURED",
    "Bound",
    "Case",
    "ConformanceError",
    "Input",
    "Outcome",
    "bind_case",
    "cases_of",
    "check_kernel",
    "gaps",
    "measured_of",
    "process_seed",
    "support_table",
    "supported_cases",
    "tensor",
    "unsupported",
]
