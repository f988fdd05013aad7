"""``kigraph bench``: how fast a model runs here, per backend and batch."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import KigraphError
from ..timing import measure
from .options import (
    Commands,
    add_command,
    add_json,
    add_model_options,
    backend_names,
    model_json,
    offering,
    open_model,
    whole,
)
from .output import note, print_json, print_table

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph bench
kigraph bench --backend cython,numba --batch 1,8 --threads 1
kigraph bench --weights mobilenet.pb --repeats 50 --json
"""


def register(commands: Commands) -> None:
    parser = add_command(commands, "bench", "measure a model on every backend of this machine", _EXAMPLES)
    parser.add_argument("--batch", type=_numbers, default=(1,), metavar="N,...", help="images at once (default: 1)")
    parser.add_argument(
        "-n",
        "--repeats",
        type=whole(1, 1_000_000),
        default=20,
        metavar="N",
        help="calls per figure, at most (default: 20)",
    )
    parser.add_argument(
        "--seconds", type=whole(1, 86_400), default=10, metavar="S", help="time per figure, about (default: 10)"
    )
    add_json(parser)
    add_model_options(parser, backend_help="backends to compare, as a,b (default: all that are usable here)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..kernels.backends import available_backends
    from ..kernels.settings import resolve_threads
    from ..machine import describe

    names = backend_names(args.backend) or offering(args.precision, list(available_backends()))
    results: list[dict[str, Any]] = []
    failed = 0
    source = ""
    described: dict[str, Any] = {}
    for name in names:
        model, resolved = open_model(args, backend=name)
        model.require_card()
        source, described = str(resolved), model_json(model, resolved)
        for batch in args.batch:
            if not args.json:
                note(f"measuring {name}, batch {batch} ...")
            entry: dict[str, Any] = {"backend": name, "batch": batch}
            try:
                entry |= _measure(model, batch, args.repeats, args.seconds)
            except KigraphError as error:
                failed += 1
                entry["error"] = str(error)
                if not args.json:
                    note(f"kigraph: {name}, batch {batch}: {error}")
            results.append(entry)
        del model  # its packed weights, before the next backend packs its own
    _add_speed(results)
    machine, threads = describe(), resolve_threads(args.threads)
    if args.json:
        print_json(
            {
                "machine": machine.to_json(),
                "threads": threads,
                "precision": described["precision"],
                "weights": source,
                "model": {key: described[key] for key in ("name", "path", "origin", "trained", "card")},
                "results": results,
                "failed": failed,
            }
        )
        return 1 if failed else 0
    print(f"{machine}; {threads} threads; {described['precision']}\n{source}\n")
    rows = [
        (
            r["backend"],
            r["batch"],
            f"{r['median_ms']:.1f}",
            f"{r['best_ms']:.1f}",
            f"{r['images_per_s']:.1f}",
            f"{r['speed']:.1f}x",
            r["runs"],
        )
        for r in results
        if "error" not in r
    ]
    columns = ("backend", "batch", "ms (median)", "ms (best)", "images/s", "speed", "runs")
    print_table(columns, rows, right=(1, 2, 3, 4, 5, 6))
    return 1 if failed else 0


def _measure(model: Classifier, batch: int, repeats: int, seconds: float) -> dict[str, Any]:
    """Times the network alone, from the preprocessed image to the scores."""

    card = model.require_card()
    if model.fixed_batch not in (None, batch):
        raise KigraphError(f"this graph takes {model.fixed_batch} image at once")
    images = model.noise(batch)
    timing = measure(lambda: model.session.run(card.output, {card.input: images}), repeats=repeats, budget=seconds)
    return timing.to_json() | {"images_per_s": batch / timing.median}


def _add_speed(results: list[dict[str, Any]]) -> None:
    rates = [r["images_per_s"] for r in results if "error" not in r]
    for r in results:
        if "error" not in r:
            r["speed"] = r["images_per_s"] / min(rates)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(whole(1, 1024)(part.strip()) for part in text.split(","))
