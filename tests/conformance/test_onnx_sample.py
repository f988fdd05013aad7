"""A sample of onnx's own tests: those of the ops that most networks have, and of what is hardest. All of them: make conformance."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("onnx")

#: Modules of onnx.backend.test.case.node; each makes the cases of one op when it is imported.
_NAMES = (
    "attention causal_conv_with_state compress conv convtranspose cast deformconv gathernd gemm gridsample gru if_ loop lstm matmul "
    "maxunpool nonmaxsuppression negativeloglikelihoodloss rnn roialign rotaryembedding scan softmax unique where"
)
MODULES = _NAMES.split()
#: Cases of one op that are run: the first, and others at even distances.
MOST = 8


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("onnx_nodes", Path(__file__).with_name("onnx_nodes.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cases(name: str) -> list[Any]:
    node = importlib.import_module("onnx.backend.test.case.node")
    before = len(node._NodeTestCases)
    try:
        importlib.import_module(f"onnx.backend.test.case.node.{name}")
    except ImportError:
        pytest.skip("this version of onnx has no tests of the op")
    made = list(node._NodeTestCases[before:])
    return made[:: -(-len(made) // MOST) or 1]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.filterwarnings("ignore")
def test_cases_of_onnx(module: str) -> None:
    script = _script()
    known = dict(line.split()[:2] for line in script.EXPECTED.read_text().splitlines())
    cases = _cases(module)
    if not cases:
        pytest.skip("the cases of the op were made by another test")
    wrong = []
    for case in cases:
        status, why = script.outcome(case.model, case.data_sets, case.rtol, case.atol)
        if status != "passed" and known.get(case.name) not in (status, "failed"):
            wrong.append(f"{case.name}: {status}: {why[:300]}")
    assert not wrong, "\n".join(wrong)
