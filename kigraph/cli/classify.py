"""``kigraph classify``: labels for images, from one to whole archives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from ..errors import CardError, FeedError, ImageError, KigraphError, RunError
from ..progress import Pace
from .options import (
    Commands,
    add_command,
    add_json,
    add_model_options,
    card_changes,
    filled,
    model_json,
    open_model,
    positive,
    whole,
)
from .output import clean, note, print_json

if TYPE_CHECKING:
    from ..archive.listing import Listing
    from ..archive.run import Engine
    from ..classifier import Classified, Classifier, Prediction
    from ..weights.store import Resolved

__all__ = ["register", "run"]

#: archive.results.FORMATS, without importing NumPy for a help text.
_FORMATS = (".parquet", ".csv", ".jsonl")

_EXAMPLES = """
kigraph classify dog.jpg
kigraph classify apple.png --weights demo          # the small model that comes with kigraph
kigraph classify photos/ 'more/**/*.jpg' --top 1
kigraph classify rose.png --weights flowers.pb --labels flowers.txt --json
curl -s https://example.org/cat.jpg | kigraph classify -
kigraph classify photos/ --output labels.parquet --resume                 # may be killed, and given again
kigraph classify photos/ --output labels.csv --resume --retry-errors      # errors once more, labels stay
kigraph classify photos/ --output labels-3.csv --resume --shard 3/16      # the third of 16 machines
kigraph classify photos/ --output labels.parquet --engine ray --ray-address auto
"""


def register(commands: Commands) -> None:
    parser = add_command(commands, "classify", "label images with a trained model", _EXAMPLES)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="file, folder (all images below it, without hidden files and links to folders), glob pattern, or - for standard input",
    )
    parser.add_argument("-k", "--top", type=positive, default=5, metavar="K", help="labels per image (default: 5)")
    add_json(parser)
    group = parser.add_argument_group("archives")
    group.add_argument(
        "-o",
        dest="results",
        type=filled,
        metavar="FILE",
        help="(or --output FILE) write a row for each image, errors too: .parquet, .csv or .jsonl; an interrupted run keeps its rows",
    )
    group.add_argument(
        "--resume", action="store_true", help="go on with FILE if it exists; images with a row are skipped"
    )
    group.add_argument(
        "--retry-errors", action="store_true", help="with --resume: images whose row is an error are tried again"
    )
    group.add_argument(
        "--shard", type=filled, metavar="I/N", help="only part I of N, chosen by the path inside the folder: 3/16"
    )
    group.add_argument(
        "--batch", type=positive, metavar="N", help="images that go through the network together (default: 8)"
    )
    group.add_argument(
        "--workers", type=whole(1, 1024), metavar="N", help="threads that read and decode (default: one for each CPU)"
    )
    group.add_argument(
        "--progress",
        type=whole(0, 86_400),
        default=30,
        metavar="SECONDS",
        help="without a terminal: seconds between two lines of progress on standard error; 0 for none (default: 30)",
    )
    group.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="where it runs; ray needs --output (default: local)"
    )
    group.add_argument("--actors", type=positive, metavar="N", help="ray: processes (default: its CPUs / --threads)")
    group.add_argument("--ray-address", type=filled, metavar="ADDRESS", help="ray: a running cluster, or auto")
    add_model_options(parser, results=_FORMATS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..archive.listing import Shard, list_images

    _check(args)
    shard = Shard() if args.shard is None else Shard.parse(args.shard)
    listing = list_images(args.images, shard)
    try:
        model, resolved = open_model(args)
    except CardError as error:
        if args.output is not None and "." in args.output:
            error.add_note(f"--output FILE for results needs one of {', '.join(_FORMATS)}; any other name is a tensor")
        raise
    if not args.json:
        note(
            f"{model.card.name if model.card else 'no card'} | {resolved} | {model.session.choice} | {model.session.precision}"
        )
        if model.card is not None and model.card.note:
            note(f"  {model.card.note}")
    model.require_card()
    if args.results is not None:
        return _to_file(args, model, resolved, listing, shard)
    answers: list[dict[str, Any]] = []
    failed = 0
    with Pace(
        "classifying", len(listing.paths), every=args.progress, quiet=args.json or len(listing.paths) < 2
    ) as pace:
        for done, (path, answer) in enumerate(_answers(model, listing.paths, args), 1):
            failed += answer.error is not None
            answer_json = _json(path, answer)
            if args.json:
                answers.append(answer_json)
            else:
                _print(path, answer)
            pace.update(done, failed)
    if args.json:
        document = {"model": model_json(model, resolved), "images": answers, "failed": failed}
        print_json(document | _not_looked_at(listing))
    else:
        _print_notes(listing)
    return 1 if failed or listing.unreadable else 0


def _check(args: argparse.Namespace) -> None:
    """FeedError for options that need others."""
    if args.results is None:
        for name, given in (("--resume", args.resume), ("--engine ray", args.engine == "ray")):
            if given:
                raise FeedError(f"{name} needs --output FILE (.parquet, .csv or .jsonl)")
    elif "-" in args.images:
        raise FeedError("--output takes files and folders; standard input (-) has no name for its row")
    if args.retry_errors and not args.resume:
        raise FeedError("--retry-errors needs --resume, which goes on with the FILE that has the errors")
    if args.engine != "ray" and (args.actors or args.ray_address):
        raise FeedError("--actors and --ray-address need --engine ray")


def _to_file(args: argparse.Namespace, model: Classifier, resolved: Resolved, listing: Listing, shard: object) -> int:
    from ..archive.results import open_results
    from ..archive.rows import setup_of
    from ..archive.run import classify_to

    engine = _engine(args, model, resolved)
    setup = setup_of(model, args.top, shard)
    with open_results(args.results, setup, resume=args.resume, retry=args.retry_errors) as results:
        todo = sum(not results.done(path) for path in listing.paths)
        again = sum(results.has(path) and not results.done(path) for path in listing.paths) if args.retry_errors else 0
        if results.rows and not args.json:
            errors = f", {again:,} of them with an error that is tried again" if args.retry_errors else ""
            note(f"{args.results}: {results.rows:,} rows are there, {todo:,} images to go{errors}")
        before = results.rows - again
        try:
            with Pace("classifying", before + todo, before=before, every=args.progress, quiet=args.json) as pace:
                summary = classify_to(results, listing.paths, engine, progress=pace.update)
        except KeyboardInterrupt:
            note(f"\n{args.results}: {results.rows:,} rows are kept; the same command with --resume goes on")
            raise
        except OSError as error:
            error.add_note(f"{results.rows:,} rows are kept; the same command with --resume goes on")
            raise
    if args.json:
        document = {"model": model_json(model, resolved), "output": args.results, **summary.to_json()}
        print_json(document | _not_looked_at(listing))
    else:
        _print_notes(listing)
        labelled = summary.rows - summary.failed
        again_text = f", {summary.mended:,} of {summary.retried:,} errors mended" if args.retry_errors else ""
        note(
            f"{args.results}: {summary.rows:,} rows, {labelled:,} labelled, {summary.failed:,} errors, {summary.added:,} new"
            f"{again_text}"
        )
    return 1 if summary.failed or listing.unreadable else 0


def _engine(args: argparse.Namespace, model: Classifier, resolved: Resolved) -> Engine:
    from ..archive.run import local_engine

    if args.engine == "local":
        return local_engine(model, args.batch, args.workers)
    from pathlib import Path

    from ..archive.rays import ray_engine

    return ray_engine(
        Path(resolved.path).resolve(),
        actors=args.actors,
        threads=args.threads,
        address=args.ray_address,
        batch=args.batch,
        backend=args.backend,
        precision=args.precision,
        labels=model.labels,
        card=args.card,
        changes=card_changes(args),
    )


def _answers(model: Classifier, paths: list[str], args: argparse.Namespace) -> Iterator[tuple[str, Classified]]:
    """Answers in order; standard input, which is read when its turn comes, is one of them."""
    groups = ((standard, list(group)) for standard, group in groupby(paths, lambda path: path == "-"))
    return chain.from_iterable(
        ((path, _standard_input(model, args.top)) for path in group) if standard else _files(model, group, args)
        for standard, group in groups
    )


def _files(model: Classifier, paths: list[str], args: argparse.Namespace) -> Iterator[tuple[str, Classified]]:
    if len(paths) == 1:  # on all threads, and without those of a decoder: 20 ms sooner
        yield paths[0], _one(model, paths[0], args.top)
        return
    from ..archive.run import local_engine

    with closing(local_engine(model, args.batch, args.workers)(paths, args.top)) as answers:
        yield from zip(paths, answers, strict=True)


def _one(model: Classifier, path: str, top: int) -> Classified:
    from ..classifier import Classified

    try:
        return Classified(path, model.classify(path, top), None)
    except (ImageError, RunError) as error:
        return Classified(path, None, error)


def _standard_input(model: Classifier, top: int) -> Classified:
    from ..classifier import Classified

    try:
        return Classified("-", _classify_standard_input(model, top), None)
    except (ImageError, RunError) as error:
        return Classified("-", None, error)


def _classify_standard_input(model: Classifier, top: int) -> Prediction:
    data = _read_standard_input()
    try:
        return model.classify(data, top)
    except KigraphError as error:
        raise ImageError(f"standard input: {error}") from None


def _json(path: str, answer: Classified) -> dict[str, Any]:
    if answer.prediction is None:
        return {"filename": path, "error": str(answer.error)}
    return answer.prediction.to_json() | {"filename": path}


def _print(path: str, answer: Classified) -> None:
    if answer.prediction is None:
        note(f"kigraph: {type(answer.error).__name__}: {' '.join(str(answer.error).split())}")
        return
    print(f"{clean(path)}")
    for label in answer.prediction:
        print(f"  {clean(label)}")
    sys.stdout.flush()


def _print_notes(listing: Listing) -> None:
    for text in listing.notes:
        note(f"kigraph: {text}")


def _not_looked_at(listing: Listing) -> dict[str, Any]:
    unreadable = [{"folder": folder, "reason": reason} for folder, reason in listing.unreadable]
    others = [{"suffix": suffix, "images": count} for suffix, count in listing.by_suffix()]
    return {
        "not_read": others,
        "not_looked_at": unreadable + [{"folder": link, "reason": "a link to a folder"} for link in listing.links],
    }


def _read_standard_input() -> bytes:
    from ..vision.decode import MAX_FILE_BYTES

    if sys.stdin is None:
        raise ImageError("standard input is closed")
    try:
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"standard input: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"standard input: more than {MAX_FILE_BYTES:,} bytes, the limit for one image file")
    if not data:
        raise ImageError("standard input is empty")
    return data
