"""Part 9: the tests that need a GPU, under pytest: kernels in every precision, random operands, sessions; $OUT/junit.xml.

    python -m benchmarks.gpu.suite [--seconds 65] [--dry]

--dry: a few of the same tests over the stand-in, to see that the tests themselves run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from kigraph.kernels import settings

from . import dry
from .record import Recorder, output_folder

__all__ = ["main", "record_report"]

ROOT = Path(__file__).resolve().parents[2]
#: With KIGRAPH_BACKEND=cupy the sessions of tests/graph run on the device.
_TESTS = (
    "tests/kernels/test_cupy_gpu.py",
    "tests/kernels/test_cupy_precision.py",
    "tests/graph/test_session.py",
    "tests/graph/test_stages.py",
    "tests/graph/test_feeds.py",
    "tests/graph/test_variables.py",
    "tests/kernels/test_conformance.py",
)
#: Of the conformance suite the backend's own kernels; nothing emulated.
_CHOSEN = "(cupy or graph) and not emulated"
_REHEARSED = (
    "graph or captured or misaligned_arrays or too_much or (test_every_tile and bf16 and 64x32 and slice) or "
    "(test_the_longest_sum and gpu and tf32)"
)
#: pytest gets SIGINT so long before the limit, and writes its report of what has run.
_GRACE = 6
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
    out.line("passed", passed, "tests", skipped_tests=skipped, failures=len(failed), ok=passed > 0 and not failed)
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
    command += [_REHEARSED if args.dry else _CHOSEN, *(_TESTS[:-1] if args.dry else _TESTS)]
    if not args.dry and importlib.util.find_spec("xdist"):
        command += ["-n", "8"]
    if not args.dry and importlib.util.find_spec("pytest_timeout"):
        command += ["--timeout", "30"]
    environment = {**os.environ, "KIGRAPH_BACKEND": "cupy"}
    if args.dry:
        environment["KIGRAPH_TEST_STAND_IN"] = "1"
    with Recorder("tests", dry=args.dry) as out:
        if importlib.util.find_spec("pytest") is None:
            out.skip("pytest", "pytest is not installed")
            return out.rate()
        start = time.perf_counter()
        with (
            tempfile.TemporaryFile("w+") as log,
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            ) as running,
        ):
            for stop in (signal.SIGINT, signal.SIGKILL):
                try:
                    running.wait(args.seconds - _GRACE if stop is signal.SIGINT else _GRACE)
                    break
                except subprocess.TimeoutExpired:
                    os.killpg(running.pid, stop)
            status = running.wait()
            log.seek(0)
            text = log.read()
        cut = time.perf_counter() - start > args.seconds - _GRACE
        last = (text.strip().splitlines() or ["no output"])[-1][:300]
        tags = {"status": status, "seconds": round(time.perf_counter() - start, 1), "seed": settings.TEST_SEED.get()}
        if cut:
            out.line("pytest", last, failed=f"stopped after {args.seconds - _GRACE:g} s", **tags)
        else:
            out.line("pytest", last, ok=status == 0, **tags)
        if report.is_file():
            record_report(out, report)
        if status:
            print(text[-3000:])
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
