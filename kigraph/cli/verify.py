"""``kigraph verify``: is it the same network, in several files or on several backends?"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import KigraphError
from .options import Commands, add_command, add_json, backend_names, file_of, filled, positive, whole
from .output import clean, note, print_json, print_table, writable

if TYPE_CHECKING:
    from ..verify.report import Comparison, Report

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph verify model.h5 model.onnx                       # layer by layer, on random numbers
kigraph verify model.pb --backend numpy,cython,numba     # one file on several backends
kigraph verify model.pb --precision fp32,bf16 --image dog.jpg  # what a precision costs, layer by layer
kigraph verify model.pb model.int8.onnx --image dog.jpg  # what quantisation costs
kigraph verify a.pb b.tflite --image dog.jpg --image cat.jpg --tolerance 1e-2
kigraph verify a.pth b.onnx --json --draw layers.svg     # for a program; exit status 1 if they differ
"""


def register(commands: Commands) -> None:
    summary = "compare the same network in several files, or on several backends and precisions, layer by layer"
    parser = add_command(commands, "verify", summary, _EXAMPLES)
    parser.add_argument("files", nargs="+", type=filled, metavar="FILE", help="model files; the first is the reference")
    parser.add_argument(
        "-b",
        "--backend",
        type=filled,
        metavar="NAMES",
        help="backends to compare: numpy,cython; the first is the reference",
    )
    parser.add_argument(
        "--precision", type=filled, metavar="NAMES", help="precisions to compare: fp32,bf16; the first is the reference"
    )
    parser.add_argument("--image", action="append", default=[], type=filled, metavar="PHOTO", help="run on this photograph (may be given several times; default: random numbers)")  # fmt: skip
    parser.add_argument("--tolerance", type=_tolerance, metavar="T", help="relative L2 distance of the outputs up to which they are the same (default: 1e-4; tf32 1e-2, bf16 3e-2, int8 0.25)")  # fmt: skip
    parser.add_argument("--agreement", type=_share, metavar="SHARE", help="least share of images with the same first label (default: 1; tf32 0.99, bf16 0.98, int8 0.95)")  # fmt: skip
    parser.add_argument(
        "--top", type=positive, default=5, metavar="K", help="labels per image that are compared (default: 5)"
    )
    parser.add_argument("--rows", type=whole(0, 1_000_000), default=20, metavar="N", help="layers that the table shows; 0: all (default: the 20 worst)")  # fmt: skip
    parser.add_argument(
        "--seed", type=whole(0, 2**31), default=0, metavar="N", help="of the random numbers (default: 0)"
    )
    parser.add_argument("--draw", type=filled, metavar="PICTURE", help="draw the differences by layer: *.svg")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..verify import Subject, verify

    if args.draw is not None:
        if Path(args.draw).suffix.lower() != ".svg":
            raise KigraphError(f"--draw {args.draw}: the name must end in .svg")
        writable(args.draw)
    backends: list[str | None] = [*backend_names(args.backend)] or [None]
    precisions: list[str | None] = [p.strip() for p in (args.precision or "").split(",") if p.strip()] or [None]
    subjects = [Subject(file_of(f), b, p) for f in args.files for b in backends for p in precisions]
    if len(subjects) < 2:
        raise KigraphError("one file on one backend is compared with nothing: give a second file, or --backend a,b")
    progress = None if args.json else lambda title: note(f"running {title} ...")
    report = verify(
        subjects, args.image, tolerance=args.tolerance, agreement=args.agreement, top=args.top, seed=args.seed,
        progress=progress,
    )  # fmt: skip
    if args.draw is not None:
        try:
            report.draw(args.draw)
        except OSError as error:
            raise KigraphError(f"{args.draw}: cannot be written: {error.strerror}") from None
    if args.json:
        print_json(report.to_json())
        return 0 if report.ok else 1
    for comparison in report.comparisons:
        _print(report, comparison, args)
    if args.draw is not None:
        print(clean(args.draw))
    return 0 if report.ok else 1


def _print(report: Report, found: Comparison, args: argparse.Namespace) -> None:
    print(f"\n{clean(found.title)}, next to {clean(report.reference)}")
    print_table(report.COLUMNS, report.rows(found, args.rows or None), right=(2, 3, 4, 5))
    print(f"{len(found.layers)} layers paired, of {found.layers_here} and {found.layers_there}")
    if found.same_first is not None and found.same_top is not None:
        top = f"top {args.top}: {found.same_top:.1%}"
        print(f"first label the same for {found.same_first:.1%} of {report.images} images, {top}")
    limit = report.limit(found)
    worst = max((x for x in found.layers if x.worst is not None), key=lambda x: x.relative, default=None)
    if worst is not None:
        print(f"worst layer: {clean(worst.name)}, SQNR {worst.sqnr:.1f} dB; its worst element {worst.worst}")
    diverging = found.diverging(limit)
    if diverging is not None:
        where = f"{clean(diverging.name)} ({diverging.op}), relative {diverging.relative:.2e}"
        print(f"first layer beyond {limit:g}: {where}")
    print("the same" if found.same(limit) else "DIFFERENT")


def _share(text: str) -> float:
    value = _tolerance(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text[:40]!r}")
    return value


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value < math.inf):
        raise argparse.ArgumentTypeError(f"expected a number from 0, got {text[:40]!r}")
    return value
