"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeAlias

from .output import download_progress, note

if TYPE_CHECKING:
    from ..model import Classifier
    from ..weights.store import Resolved

__all__ = ["Commands", "add_command", "add_json", "add_model_options", "open_model", "positive"]


#: What ``ArgumentParser.add_subparsers`` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(commands: Commands, name: str, summary: str, examples: str, **options: Any) -> argparse.ArgumentParser:
    """A subcommand with its help text and examples."""
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )


def add_model_options(
    parser: argparse.ArgumentParser, *, backend_help: str | None = None, positional: bool = False
) -> None:
    """Options of every command that runs a model: weights, labels, backend, threads.

    positional: the weights are an argument instead of an option.
    """
    group = parser.add_argument_group("model")
    names: dict[str, Any] = {"nargs": "?"} if positional else {"dest": "weights"}
    group.add_argument(
        *(("weights",) if positional else ("-w", "--weights")),
        **names,
        metavar="FILE",
        help="weight file, or a name of `kigraph weights list` (default: KIGRAPH_WEIGHTS, else the cache, else a download)",
    )
    group.add_argument(
        "--labels", metavar="FILE", help="label file or label set (default: what the weights' card says)"
    )
    group.add_argument("--card", metavar="NAME", help="weights card, where the automatic choice is wrong")
    group.add_argument("--no-download", action="store_true", help="fail instead of downloading weights")
    group = parser.add_argument_group("running")
    group.add_argument(
        "-b",
        "--backend",
        metavar="NAMES",
        help=backend_help
        or "numpy, cython, numba, cupy: one is strict, a,b is an order (default: KIGRAPH_BACKEND, else auto)",
    )
    group.add_argument(
        "-t", "--threads", type=positive, metavar="N", help="threads (default: KIGRAPH_NUM_THREADS, else all CPUs)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def open_model(args: argparse.Namespace, *, backend: str | None = None) -> tuple[Classifier, Resolved]:
    """The model that the options of ``add_model_options`` ask for."""
    from ..model import load
    from ..weights.store import resolve_weights

    with download_progress(args.json) as progress:
        resolved = resolve_weights(
            args.weights, allow_download=not args.no_download, allow_embedded=True, progress=progress
        )
    if resolved.origin == "embedded":
        note(
            f"no trained Inception v3 here: {resolved.reason}\n"
            "Using the small model that comes with kigraph: it knows apples and oranges, nothing else."
        )
    model = load(
        resolved.path,
        backend=backend or args.backend,
        threads=args.threads,
        labels=args.labels,
        card=args.card or None,
    )
    return model, resolved


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)
