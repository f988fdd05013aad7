"""How exact each precision is: right answers, agreement with float64, errors of the logits, on photographs.

    python -m benchmarks.precision_accuracy                                    the flowers of KIGRAPH_SHARED, 120 photographs
    python -m benchmarks.precision_accuracy --images 10 --only kigraph,kigraph-bf16
    python -m benchmarks.precision_accuracy --int8 mine.onnx --json out/accuracy.json
    python -m benchmarks.precision_accuracy --model NET --photographs FOLDER   a folder for each class

kigraph in fp32, bf16 and int8 and the other runtimes of ``make bench-peers`` that are installed here, each in a process of its
own, one after the other. The truth is the network in float64 on the numpy backend; it is kept in the cache folder. Right
answers are those whose first class is the photograph's folder, as the model's label file numbers the classes.
largest, RMS: errors of the logits over all photographs and classes, in their own unit, each image's less their mean.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import flowers
from .peers.contenders import CONTENDERS, absent, contender, missing_files
from .peers.rounds import answers, errors
from .peers.shared_parts import about_here, existing_file, left, prepare, progress, truth_in_cache
from .peers.worker import Worker

__all__ = ["main", "measured", "row_of", "table"]

Array = np.ndarray[Any, Any]
#: Modes of kigraph whose speed differs, and their answers hardly.
_APART = ("avx2",)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = [c.name for c in CONTENDERS]
    parser.add_argument(
        "--model", type=existing_file, metavar="FILE", help="a trained network (default: the flowers network)"
    )
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="JPEG files in a folder for each class")
    parser.add_argument(
        "--labels", type=existing_file, metavar="FILE", help="the names of the classes, one a line, in their order"
    )
    parser.add_argument("--images", type=_count, metavar="N", help="photographs (default: all)")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(known)}")
    parser.add_argument(
        "--int8", type=existing_file, metavar="FILE", help="a quantised ONNX file of the network (default: made once)"
    )
    parser.add_argument("--tflite", type=existing_file, metavar="FILE", help="a quantised TFLite file of the network")
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="threads of one run (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def row_of(logits: Array, truth: Array, labels: Sequence[int] | None) -> dict[str, Any]:
    """What is said of the logits (images, classes): ``rounds.errors``, and "right" where the labels are known."""
    row = errors(logits, truth)
    if labels is not None:
        row["right"] = int((logits.argmax(-1) == np.asarray(labels)).sum())
    return row


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """The figures of everybody, and of the truth itself."""
    names = _names(args.only)
    missing = absent(names, int8_given=args.int8 is not None)
    names = left(names, missing)
    own = args.model is None and args.photographs is None
    paths = flowers.photographs(args.photographs, args.images)
    if not paths or (args.model is None and flowers.trained() is None):
        raise SystemExit(
            f"there is no trained network or no photograph in {flowers.shared()}; expected both; remedy: set KIGRAPH_SHARED, "
            "or give --model FILE --photographs FOLDER"
        )
    args.photographs, args.images = args.photographs or flowers.shared() / "photos" / "flowers", len(paths)
    labels = _labels(args.labels, paths, own)
    failed: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="kigraph-accuracy-") as folder,
        progress(3 + len(paths) + len(names)) as tick,
    ):
        network, problem = prepare(args, Path(folder), names, tick)
        lacking = missing_files(network, names, problem)
        missing |= lacking
        names = left(names, lacking)
        truth, _ = truth_in_cache(network, tick)
        rows = {"float64": row_of(truth, truth, labels)}
        notes = {}
        for name in names:
            tick(f"answers of {name}")
            try:
                worker = Worker(name, network.folder, args.threads, 1)
                try:
                    rows[name] = row_of(answers(worker, network, network.count)[0], truth, labels)
                    notes[name] = worker.note
                finally:
                    worker.close()
            except RuntimeError as error:
                failed[name] = str(error)
        tick("the machine")
        return about_here([]) | {
            "network": network.title, "images": network.count, "rows": rows, "notes": notes, "absent": missing, "failed": failed
        }  # fmt: skip


def _names(only: str | None) -> list[str]:
    known = [c.name for c in CONTENDERS]
    asked = [name for name in known if name not in _APART] if only is None else only.split(",")
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return asked


def _labels(file: Path | None, paths: Sequence[Path], own: bool) -> list[int] | None:
    """The number of each photograph's class; None where the classes are not known."""
    if file is None and own:
        file = flowers.shared() / "models" / "inception_v3_flowers" / "labels.txt"
    if file is None or not file.is_file():
        return None
    classes = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = flowers.labels_of(paths, classes)
    if found is None:
        print(f"right answers are not counted: {file} lacks a folder's name among its classes", file=sys.stderr)
    return found


def table(result: dict[str, Any]) -> str:
    """Lines for a terminal."""
    titles = {name: "float64 (truth)" if name == "float64" else contender(name).title for name in result["rows"]}
    width = max(len(title) for title in titles.values())
    lines = [
        f"{'':{width}} {'right':>12} {'as float64':>12} {'largest':>9} {'RMS':>9}   (logits' RMS {_spread(result):.3g})"
    ]
    for name, row in result["rows"].items():
        right = f"{row['right']} of {row['images']}" if "right" in row else "-"
        lines.append(
            f"{titles[name]:{width}} {right:>12} {row['same_top1']:>5} of {row['images']:<3} {row['largest']:>9.2e} {row['rms']:>9.2e}"
        )
    lines += [f"left out: {contender(name).title}: {reason}" for name, reason in result["absent"].items()]
    lines += [f"failed: {contender(name).title}: {reason}" for name, reason in result["failed"].items()]
    lines += [f"{contender(name).title}: {note}" for name, note in result["notes"].items() if note]
    lines.append(f"{result['network']}; {result['images']} photographs; commit {result['commit']}, {result['date']}")
    return "\n".join(lines)


def _spread(result: dict[str, Any]) -> float:
    return float(result["rows"]["float64"]["logits_rms"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; prints the table."""
    args = _parser().parse_args(arguments)
    try:
        result = measured(args)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 2
        raise
    print(table(result))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
