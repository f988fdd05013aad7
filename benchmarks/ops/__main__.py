"""The command ``python -m benchmarks.ops``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before NumPy is loaded
    _first = argparse.ArgumentParser(add_help=False)
    _first.add_argument("--threads", default="1")
    for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, _first.parse_known_args()[0].threads)

from ..peers.shared_parts import ROOT, about_here, names_of, progress

__all__ = ["main", "run"]


def _parser() -> argparse.ArgumentParser:
    from .turns import CONTENDERS

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ops",
        description="Times single ops on kigraph, ONNX Runtime, PyTorch and NumPy, in turn: a whole call with arrays in and out, and "
        "kigraph's kernels alone. Results are compared with the reference backend first; who is wrong gets no time.",
        epilog="Rows: the ops of networks at one image, equal ones once; sizes that no network has; the ops of against_numpy. Nothing "
        "else should run meanwhile. Libraries that are not installed are left out.",
    )
    parser.add_argument(
        "-k", action="append", default=[], metavar="TEXT", help="only rows with this in their name; may be repeated"
    )
    parser.add_argument(
        "--contenders", type=names_of(CONTENDERS), metavar="NAME,...", help=f"of {', '.join(CONTENDERS)}; default: all"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--most", type=int, default=3, metavar="N", help="sizes of an op that a network brings, 0: all; default: 3"
    )
    parser.add_argument("--part", default="1/1", metavar="K/N", help="only the K-th of N parts of the rows")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each contender; default: 7")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a turn; default: 0.01")
    parser.add_argument("--quick", action="store_true", help="one size per network, 3 rounds of 3 ms; results in out/")
    parser.add_argument("--list", action="store_true", help="measure nothing: print the names of the rows")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help="for ops.json and ops.png; default: benchmarks/results, with --quick and --show out/",
    )  # fmt: skip
    parser.add_argument(
        "--show", type=Path, metavar="JSON", nargs="+",
        help="measure nothing: print and draw earlier results again; several files are put together",
    )  # fmt: skip
    return parser


def _rows(args: argparse.Namespace) -> list[Any]:
    from .listed import all_rows

    part, _, parts = args.part.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise SystemExit(f"--part {args.part!r}: expected K/N such as 2/6")
    rows = [r for r in all_rows(1 if args.quick else args.most) if not args.k or any(text in r.name for text in args.k)]
    return rows[int(part) - 1 :: int(parts)]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measures everything. A row that fails is told under "failed"."""
    from .turns import CONTENDERS, measure

    rows = _rows(args)
    rounds, seconds = args.rounds or (3 if args.quick else 7), args.seconds or (0.003 if args.quick else 0.01)
    result = about_here([])
    found: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    with progress(len(rows)) as tick:
        for row in rows:
            tick(row.name)
            try:
                found.append(measure(row, rounds, seconds, args.threads, args.contenders or CONTENDERS))
            except Exception as error:  # the rest is still worth measuring
                failed[row.name] = f"{type(error).__name__}: {error}"[:300]
    return result | {
        "rounds": rounds,
        "seconds_per_turn": seconds,
        "rows": found,
        "failed": failed,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("kigraph", "onnxruntime", "torch", "numpy"):
        module = sys.modules.get(name)
        if module is not None:
            found[name] = str(module.__version__).split("+")[0]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    from . import report

    args = _parser().parse_args(argv)
    if args.list:
        print("\n".join(row.name for row in _rows(args)))
        return 0
    out: Path = args.out or (ROOT / "out" if args.quick or args.show else ROOT / "benchmarks" / "results")
    result = report.merged([json.loads(p.read_text(encoding="utf-8")) for p in args.show]) if args.show else run(args)
    report.print_table(result)
    out.mkdir(parents=True, exist_ok=True)
    (out / "ops.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    try:
        report.draw(result, out / "ops.png")
    except SystemExit as problem:
        print(problem, file=sys.stderr)
    print(f"wrote {out / 'ops'}.json and .png")
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
