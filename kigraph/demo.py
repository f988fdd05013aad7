"""The demonstration: one photograph, Inception v3, every backend of this machine.

``make demo``, ``python -m kigraph.demo`` or ``kigraph demo``. Prints one table and writes demo.json and demo.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .demo_picture import BackendResult, draw_picture
from .errors import KigraphError
from .timing import measure
from .weights.catalogue import UNTRAINED

if TYPE_CHECKING:
    import numpy as np

    from .classifier import Classifier
    from .cli.options import Commands
    from .weights.store import Resolved

__all__ = ["BackendResult", "main", "register", "run", "sample_photograph"]

_EXAMPLES = """
kigraph demo
kigraph demo --image dog.jpg --backend cython,numba
KIGRAPH_WEIGHTS=classify_image_graph_def.pb kigraph demo --out results
"""


def register(commands: Commands) -> None:
    from .cli.options import add_command

    parser = add_command(commands, "demo", "classify a photograph on every backend; table, picture, JSON", _EXAMPLES)
    _add_options(parser)
    parser.set_defaults(run=run)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m kigraph.demo``: the same as ``kigraph demo``."""
    from .cli import main as cli_main

    return cli_main(["demo", *(sys.argv[1:] if argv is None else argv)])


def run(args: argparse.Namespace) -> int:
    from .cli.options import backend_names, offering
    from .cli.output import download_progress, note, print_json
    from .kernels.backends import available_backends
    from .kernels.settings import resolve_threads
    from .machine import backend_status, describe
    from .weights.store import resolve_weights

    image = Path(args.image) if args.image is not None else sample_photograph()
    with download_progress(args.json) as progress:
        resolved = resolve_weights(
            args.weights, allow_download=not args.no_download, allow_generated=True, progress=progress
        )
    if not resolved.trained and not args.json:
        note(
            f"{resolved.reason or 'no trained weights'}\nThe demo uses a generated file of the same network instead: {UNTRAINED}.\n"
        )
    names = backend_names(args.backend) or offering(args.precision, available_backends())
    results, problems = _measure_all(names, resolved, image, args)
    machine, threads = describe(), resolve_threads(args.threads)
    report = _report(results, problems, resolved, image, machine.to_json(), threads)
    if not resolved.trained:
        report["embedded"] = _embedded_answers(args)
    report["not_available"] = [b.to_json() for b in backend_status() if not b.available]
    if args.json:
        print_json(report)
    else:
        _print(results, problems, resolved, image, str(machine), threads, report)
    _write(Path(args.out), report, results, resolved, image, f"{machine.cpu}, {threads} threads", args.json)
    return 0 if results and not problems and report["agreement"]["same_top_1"] else 1


def _embedded_answers(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What the model that comes with kigraph says of the two pictures that come with it."""
    from .classifier import load
    from .weights.store import EMBEDDED

    model = load(EMBEDDED, threads=args.threads)
    answers = []
    for name in ("apple.png", "orange.png"):
        best = model.classify(EMBEDDED.parent / name, top=1)[0]
        answers.append({"image": name, "label": best.label, "probability": best.probability})
    return answers


def sample_photograph() -> Path:
    """``grace_hopper.jpg`` (US Navy, public domain) from matplotlib's sample data."""
    try:
        from matplotlib import cbook
    except ImportError:
        raise KigraphError(
            "the sample photograph comes with matplotlib, which is not installed. "
            "Remedy: pip install 'kigraph[plot]', or pass --image FILE"
        ) from None
    return Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))


def _add_options(parser: argparse.ArgumentParser) -> None:
    from .cli.options import add_json, add_precision, filled, whole

    parser.add_argument(
        "--image", type=filled, metavar="FILE", help="a photograph (default: grace_hopper.jpg of matplotlib)"
    )
    parser.add_argument(
        "-w",
        "--weights",
        type=filled,
        metavar="FILE",
        help="weight file or catalogue name (default: KIGRAPH_WEIGHTS, cache, download, else a generated untrained file)",
    )
    parser.add_argument(
        "--no-download", action="store_true", help="use a generated untrained file instead of downloading"
    )
    parser.add_argument(
        "-b", "--backend", type=filled, metavar="NAMES", help="backends to compare, as a,b (default: all usable here)"
    )
    parser.add_argument("-t", "--threads", type=whole(1, 1024), metavar="N", help="threads (default: all CPUs)")
    add_precision(parser)
    parser.add_argument(
        "-n",
        "--repeats",
        type=whole(1, 1_000_000),
        default=20,
        metavar="N",
        help="calls per backend, at most (default: 20)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=filled,
        default="out",
        metavar="FOLDER",
        help="where demo.json and demo.png go (default: out)",
    )
    add_json(parser)


def _measure_all(
    names: Sequence[str], resolved: Resolved, image: Path, args: argparse.Namespace
) -> tuple[list[BackendResult], dict[str, str]]:
    from .classifier import load
    from .cli.output import note
    from .vision.decode import read_image

    data = read_image(image)
    results: list[BackendResult] = []
    problems: dict[str, str] = {}
    for name in names:
        if not args.json:
            note(f"running on {name} ...")
        try:
            model = load(resolved.path, backend=name, threads=args.threads, precision=args.precision)
            scores: list[np.ndarray[Any, Any]] = []
            timing = measure(partial(_answer, model, data, scores), repeats=args.repeats)
            # "Inception v3 of 2015, the graph decodes JPEG" -> "Inception v3 of 2015"
            network = model.require_card().title.split(",")[0]
            results.append(BackendResult(name, network, model.name_scores(scores[-1]), scores[-1], timing))
        except KigraphError as error:
            problems[name] = str(error)
    return results, problems


def _answer(model: Classifier, data: bytes, scores: list[np.ndarray[Any, Any]]) -> None:
    """What is timed; the scores of the last call are kept."""
    scores[:] = [model.probabilities([data])[0]]


def _report(
    results: Sequence[BackendResult],
    problems: dict[str, str],
    resolved: Resolved,
    image: Path,
    machine: dict[str, Any],
    threads: int,
) -> dict[str, Any]:
    import numpy as np

    slowest = max((r.timing.median for r in results), default=0.0)
    rows = [
        {
            "backend": r.backend,
            **r.timing.to_json(),
            "images_per_s": r.images_per_second,
            "speed": slowest / r.timing.median,
            "labels": [label.to_json() for label in r.prediction],
        }
        for r in results
    ]
    spread = max((float(np.abs(r.probabilities - results[0].probabilities).max()) for r in results), default=0.0)
    return {
        "machine": machine,
        "threads": threads,
        "image": image.name,
        "network": results[0].network if results else None,
        "weights": {
            "path": str(resolved.path),
            "origin": resolved.origin,
            "trained": resolved.trained,
            "note": "" if resolved.trained else UNTRAINED,
        },
        "measured": "JPEG bytes to probabilities, one image at a time",
        "results": rows,
        "agreement": {
            "same_top_1": len({r.prediction[0].index for r in results}) <= 1,
            "largest_difference": spread,
        },
        "problems": problems,
    }


def _print(
    results: Sequence[BackendResult],
    problems: dict[str, str],
    resolved: Resolved,
    image: Path,
    machine: str,
    threads: int,
    report: dict[str, Any],
) -> None:
    from .cli.output import clean, print_table

    print(f"\none image at a time, from the bytes of the file to labels\n  machine     {clean(machine)}")
    if results:
        print(f"  network     {results[0].network}")
    print(f"  threads     {threads}\n  photograph  {clean(image.name)}\n  weights     {clean(resolved)}\n")
    rows: list[tuple[object, ...]] = []
    for r, row in zip(results, report["results"], strict=True):
        figures = (r.backend, f"{row['median_ms']:.1f}", f"{row['images_per_s']:.3g}", f"{row['speed']:.1f}x")
        for i, label in enumerate(r.prediction):
            short = label.label.split(",")[0]
            rows.append((*(figures if i == 0 else ("",) * 4), f"{label.probability:.2%}", short))
    print_table(("backend", "ms/image", "images/s", "speed", "top 5", ""), rows, right=(1, 2, 3, 4))
    if len(results) > 1:
        same = "the same best label" if report["agreement"]["same_top_1"] else "DIFFERENT best labels"
        print(
            f"\nall backends: {same}; probabilities differ by {report['agreement']['largest_difference']:.1e} at most"
        )
    for name, problem in problems.items():
        print(f"\n{name} failed: {clean(problem)}")
    for backend in report["not_available"]:
        print(f"\nnot here: {backend['name']}: {clean(backend['detail'])}. {clean(backend['remedy'])}")
    if not resolved.trained:
        print(f"\nNOTE: {UNTRAINED}.")
        print("Labels that mean something, from the small model that comes with kigraph (apples or oranges):")
        for row in report["embedded"]:
            print(f"  {row['image']}: {row['label']} ({row['probability']:.1%})")


def _write(
    folder: Path,
    report: dict[str, Any],
    results: Sequence[BackendResult],
    resolved: Resolved,
    image: Path,
    machine: str,
    quiet: bool,
) -> None:
    import json

    from .cli.output import writable

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("demo.json", "demo.png"):
            writable(folder / name)
        (folder / "demo.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise KigraphError(f"{error.filename}: cannot be written: {error.strerror}") from None
    written = ["demo.json"]
    if results:
        note = "" if resolved.trained else UNTRAINED
        if draw_picture(folder / "demo.png", results, image, results[0].network, machine, note):
            written.append("demo.png")
        elif not quiet:
            print("\nno picture: matplotlib is not installed (pip install 'kigraph[plot]')")
    if not quiet:
        print(f"\nwritten: {', '.join(str(folder / name) for name in written)}")


if __name__ == "__main__":
    sys.exit(main())
