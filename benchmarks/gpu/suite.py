"""Part 9: the tests that need a GPU, under pytest: kernels in every precision, random operands, sessions; $OUT/junit.xml.

    python -m benchmarks.gpu.suite [--seconds 65] [--dry]

--dry: a few of the same tests over the stand-in, to see that the tests themselves run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from . import dry
from .record import Recorder, output_folder

__all__ = ["main", "record_report"]

ROOT = Path(__file__).resolve().parents[2]
_TESTS = (
    "tests/kernels/test_cupy_gpu.py", "tests/kernels/test_cupy_precision.py", "tests/graph/test_session.py",
    "tests/kernels/test_conformance.py",
)  # fmt: skip
#: Of the conformance suite only the backend's own kernels.
_CHOSEN = "cupy or session"
_REHEARSED = (
    "test_session or captured or misaligned_arrays or too_much or (test_every_tile and bf16 and 64x32 and slice) or "
    "(test_the_longest_sum and emulated and tf32)"
)
_LISTED = 20


def record_report(out: Recorder, report: Path) -> None:
    """Counts of a JUnit file, and one line for each of the first failed tests."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    passed = skipped = 0
    failed: list[tuple[str, str]] = []
    for case in cases:
        bad = next((x for tag in ("failure", "error") if (x := case.find(tag)) is not None), None)
        if bad is not None:
            failed.append((f"{case.get('classname')}::{case.get('name')}", bad.get("message") or ""))
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    out.line("passed", passed, "tests", skipped_tests=skipped, failed=len(failed), ok=passed > 0 and not failed)
    for name, message in failed[:_LISTED]:
        out.line("failed", name, message=message[:300], ok=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tests; 1 if one failed, or if they did not end in time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=65, help="for all tests together (default: %(default)s)")
    args = dry.parse(__doc__, arguments, parser)
    report = output_folder().resolve() / "junit.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-k"]
    command += [_REHEARSED if args.dry else _CHOSEN, *(_TESTS[:3] if args.dry else _TESTS)]
    if not args.dry and importlib.util.find_spec("xdist"):
        command += ["-n", "8"]
    if not args.dry and importlib.util.find_spec("pytest_timeout"):
        command += ["--timeout", "30"]
    environment = {**os.environ, "KIGRAPH_BACKEND": "cupy"}
    if args.dry:
        environment["KIGRAPH_TEST_STAND_IN"] = "1"
    with Recorder("tests", dry=args.dry) as out:
        start = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=args.seconds, check=False
            )
            status, text = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired as stopped:
            status, text = 124, (stopped.stdout or b"").decode(errors="replace")
        last = (text.strip().splitlines() or ["no output"])[-1][:300]
        out.line("pytest", last, status=status, seconds=round(time.perf_counter() - start, 1), ok=status == 0)
        if report.is_file():
            record_report(out, report)
        elif status:
            print(text[-3000:])
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
