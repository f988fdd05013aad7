"""The benchmarks run, check what they time, print their table and draw their picture."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kigraph.kernels.conformance import Case, tensor
from kigraph.kernels.conformance.values import normal
from kigraph.kernels.contracts.base import Contract, Tolerance, items_of_first

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_few_benchmarks_end_to_end(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    result, picture = tmp_path / "bench.json", tmp_path / "bench.png"
    done = run(
        "pytest", "benchmarks", "-q", "-p", "no:cacheprovider", "--backends", "numpy", "-k", "E0.b3_2a or softmax",
        f"--benchmark-json={result}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conv2d[inception-E0.b3_2a]" in done.stdout
    records = json.loads(result.read_text())["benchmarks"]
    (conv,) = [r["extra_info"] for r in records if r["extra_info"]["op"] == "conv2d"]
    assert (conv["backend"], conv["kernel"], conv["weight"]) == ("numpy", "conv2d", 4)
    assert conv["gflops"] > 0
    assert conv.get("share_of_peak", 0.5) <= 1.1

    pytest.importorskip("matplotlib")
    done = run("benchmarks.plot", str(result), str(picture))
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_every_op_is_measured_and_right() -> None:
    pytest.importorskip("pytest_benchmark")
    done = run(
        "pytest", "benchmarks/test_every_op.py", "-q", "-p", "no:cacheprovider", "--backends", "numpy", "--benchmark-disable",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d{2,} passed in", done.stdout, re.MULTILINE), done.stdout  # none skipped


@pytest.mark.parametrize(
    ("arguments", "present", "absent"),
    [
        ((), "test_conv2d[stem1", "test_every_op"),
        (("-k", "log1p"), "test_every_op[log1p[", "test_conv2d"),
        (("-k", "log1p and not lrn_grad"), "test_every_op[log1p[", "test_conv2d"),
        (("-k", "not (stem1 or lrn)"), "test_conv2d[stem2", "test_every_op"),
        (("-k", "conv2d_input_grad"), "test_every_op[conv2d_input_grad[", "test_ops"),
        (("--every-op",), "test_every_op[decode_image[jpeg-800x600]-host]", "test_every_op[conv2d["),
    ],
)
def test_what_a_run_selects(arguments: tuple[str, ...], present: str, absent: str) -> None:
    pytest.importorskip("pytest_benchmark")
    done = run("pytest", "benchmarks", "-q", "-p", "no:cacheprovider", "--collect-only", "--backends=numpy", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert present in done.stdout
    assert absent not in done.stdout


def test_every_contract_with_cases_has_one_worth_measuring() -> None:
    from benchmarks.measured import measured_cases
    from kigraph.kernels.conformance import cases_of, measured_of
    from kigraph.kernels.contracts import CONTRACTS
    from kigraph.kernels.tensor import STRING

    for contract in CONTRACTS:
        cases = measured_cases(contract)
        assert bool(cases) == bool(cases_of(contract))
        for case in cases:
            query = case.query()
            if any(t.dtype == STRING for t in (*query.inputs, *query.outputs)):
                assert case in measured_of(contract)
                continue
            if "suppression" in contract.name:  # the pairs of boxes are the work
                assert case in measured_of(contract)
                continue
            # Of outputs whose size depends on values only the inputs are counted.
            known = all(t.known for t in query.outputs)
            moved = contract.bytes_moved(query.inputs, query.outputs if known else ())
            assert moved >= (2 << 20 if known else 1 << 19), (
                f"{case} moves {moved} bytes: give it more items, or add a case with measure=True"
            )


def _new_op(by_item: Any) -> Contract[Any]:
    return Contract("lrn", "y = x.", lambda inputs, params: (inputs[0],), by_item=by_item)


def test_a_new_op_is_measured_by_its_conformance_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import measured

    contract = _new_op(items_of_first)
    small, large, nan = (
        Case(contract, name, (tensor(shape, normal),), tags=frozenset(tags))
        for name, shape, tags in (("small", (2, 3), ()), ("large", (2, 64), ()), ("nan", (9, 99), ("nan",)))
    )
    monkeypatch.setattr(measured, "cases_of", lambda c: (small, large, nan))
    (case,) = measured.measured_cases(contract)
    assert (case.id, case.inputs[0].type.dims) == ("large-x4096", (8192, 64))
    monkeypatch.setattr(measured, "measured_of", lambda c: (small,))
    assert measured.measured_cases(contract) == (small,)


def test_only_items_that_never_mix_are_multiplied() -> None:
    from benchmarks.measured import grown

    for by_item in (None, lambda inputs, params, items: False):
        case = Case(_new_op(by_item), "rows", (tensor((2, 64), normal),))
        assert grown(case) is case


def test_results_without_a_picture(tmp_path: Path) -> None:
    result = tmp_path / "bench.json"
    result.write_text('{"benchmarks": []}')
    done = run("benchmarks.plot", str(result), str(tmp_path / "bench.png"))
    assert (done.returncode, done.stdout) == (0, "no picture: neither the network nor a convolution was timed\n")


def test_a_wrong_kernel_is_not_timed() -> None:
    from dataclasses import replace

    from benchmarks import support
    from kigraph.kernels.conformance.cases.matmul import matmul_case
    from kigraph.kernels.conformance.truth import MismatchError

    case = matmul_case("square", 8, 8, 8)
    bound = support.bind(case, "numpy")

    def wrong() -> None:
        bound.run()
        bound.outputs[0][3, 4] += 1e-3

    with pytest.raises(MismatchError, match=r"1 of 64 elements are wrong, the first at \(3, 4\)"):
        support.check(case, replace(bound, run=wrong))
    # A fast algorithm states a tolerance of its own.
    loose = replace(bound.kernel, tolerance=Tolerance(0, 2e-3))
    support.check(case, replace(bound, run=wrong, kernel=loose))


def test_the_default_run_does_not_collect_benchmarks(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getini("testpaths") == ["tests"]
