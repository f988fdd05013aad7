"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import BackendError, WeightsError
from ..kernels.settings import PRECISIONS
from ..weights.catalogue import DEMO
from .output import download_progress, note

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..weights.store import Resolved

__all__ = [
    "ORDERS",
    "RESIZES",
    "Commands",
    "add_architecture",
    "add_card_options",
    "add_command",
    "add_json",
    "add_model_options",
    "add_precision",
    "backend_names",
    "card_changes",
    "divisors",
    "file_of",
    "filled",
    "image_size",
    "model_json",
    "offering",
    "open_model",
    "per_channel",
    "positive",
    "whole",
]


#: vision.RESIZE_RULES and vision.normalize.CHANNELS, without importing NumPy for a help text.
RESIZES = ("legacy", "half_pixel", "torchvision", "keras_nearest", "keras_bilinear")
ORDERS = ("RGB", "BGR", "L")

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
    parser: argparse.ArgumentParser,
    *,
    backend_help: str | None = None,
    positional: bool = False,
    results: Sequence[str] = (),
) -> None:
    """Options of every command that runs a model: weights, labels, backend, threads.

    positional: the weights are an argument, too. results: as for ``add_card_options``.
    """
    group = parser.add_argument_group("model")
    what = (
        f"weight file, '{DEMO}' for the small model that comes with kigraph, or a name of `kigraph weights list` "
        "(default: KIGRAPH_WEIGHTS, else the cache, else a download)"
    )
    if positional:
        group.add_argument("file", nargs="?", type=filled, metavar="FILE", help=what)
        what = "the same as an option"
    group.add_argument("-w", "--weights", type=filled, metavar="FILE", help=what)
    group.add_argument(
        "--labels", type=filled, metavar="FILE", help="label file or label set (default: what the weights' card says)"
    )
    add_architecture(group)
    add_card_options(parser, results)
    group.add_argument("--no-download", action="store_true", help="fail instead of downloading weights")
    group = parser.add_argument_group("running")
    group.add_argument(
        "-b",
        "--backend",
        type=filled,
        metavar="NAMES",
        help=backend_help
        or "numpy, cython, numba, cupy: one is strict, a,b is an order (default: KIGRAPH_BACKEND, else auto)",
    )
    group.add_argument(
        "-t",
        "--threads",
        type=whole(1, 1024),
        metavar="N",
        help="threads (default: KIGRAPH_NUM_THREADS, else all CPUs)",
    )
    add_precision(group)


def add_precision(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """``--precision``, of commands that run a model."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        metavar="NAME",
        help="fp32; bf16: faster on processors with bf16 instructions, less exact; int8: fails unless the model is quantised; "
        "tf32: on GPUs (default: KIGRAPH_PRECISION, else fp32; a quantised model always runs in its integers)",
    )


class _TensorOrResults(argparse.Action):
    """--output of a command that writes results, too: which of the two it is, the suffix says. ``const``: those of results."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        setattr(namespace, "results" if values.endswith(tuple(self.const or ())) else self.dest, values)


def add_architecture(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """``--architecture``."""
    parser.add_argument(
        "--architecture",
        type=filled,
        metavar="NAME",
        help="which network weights alone are of, where their arrays do not tell: timm/tf_efficientnet_b0, 'vit heads=4'",
    )


def add_card_options(parser: argparse.ArgumentParser, results: Sequence[str] = ()) -> None:
    """Options that say how a model is used, where the file does not say it, or is wrong.

    results: suffixes of files that the command writes; --output with one of these is such a file (``args.results``).
    """
    group = parser.add_argument_group("card (how the model is used; `kigraph card FILE` prints it)")
    group.add_argument(
        "--card", type=filled, metavar="NAME", help="the name of a card, or a JSON file that `kigraph card` wrote"
    )
    group.add_argument("--input", type=filled, metavar="TENSOR", help="the tensor that takes images")
    other = f"; a name that ends in {' or '.join(results)} is the file of results" if results else ""
    group.add_argument(
        "--output",
        type=filled,
        action=_TensorOrResults,
        const=tuple(results),
        metavar="TENSOR",
        help=f"the tensor with the scores{other}",
    )
    group.add_argument(
        "--size", type=image_size, metavar="HxW", help="size of the images that it takes: 224 or 224x224"
    )
    group.add_argument("--mean", type=per_channel, metavar="M", help="subtracted from pixels 0 to 255: 127.5, or R,G,B")
    group.add_argument("--std", type=divisors, metavar="S", help="what they are divided by then: 127.5, or R,G,B")
    group.add_argument("--resize", choices=RESIZES, help="how images are resized")
    group.add_argument("--channels", choices=ORDERS, help="order of the channels; L: grey")
    group.add_argument("--layout", choices=("NHWC", "NCHW"), help="order of the input's axes")
    group.add_argument("--scores", choices=("probabilities", "logits", "sigmoid"), help="what the output's numbers are")


def card_changes(args: argparse.Namespace) -> dict[str, Any]:
    """What the options of ``add_card_options`` change of a card."""
    names = ("input", "output", "size", "mean", "std", "channels", "layout", "scores")
    return {**{n: getattr(args, n) for n in names}, "rule": args.resize}


def image_size(text: str) -> tuple[int, int]:
    """'224' or '224x320' (height x width) as (height, width)."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(s.isascii() and s.isdecimal() and len(s) < 6 and 0 < int(s) < 1 << 15 for s in sides):
        raise argparse.ArgumentTypeError(f"expected 224 or 224x320 (height x width), got {text[:40]!r}")
    return (int(sides[0]), int(sides[-1]))


def per_channel(text: str) -> tuple[float, float, float]:
    """'127.5', or three numbers with commas between them, for red, green and blue."""
    try:
        numbers = [float(n) for n in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"expected a number, or three as R,G,B, got {text[:40]!r}")
    return (numbers[0], numbers[1], numbers[2])


def divisors(text: str) -> tuple[float, float, float]:
    """``per_channel`` without 0."""
    numbers = per_channel(text)
    if 0 in numbers:
        raise argparse.ArgumentTypeError(f"pixels are divided by it: expected numbers other than 0, got {text[:40]!r}")
    return numbers


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def open_model(args: argparse.Namespace, *, backend: str | None = None) -> tuple[Classifier, Resolved]:
    """The model that the options of ``add_model_options`` name. WeightsError if there is none."""
    from ..classifier import load
    from ..weights.store import resolve_weights

    named = getattr(args, "file", None)
    if named is not None and args.weights is not None:
        raise WeightsError(f"two weight files: FILE is {named[:80]!r} and --weights is {args.weights[:80]!r}; give one")
    with download_progress(args.json) as progress:
        resolved = resolve_weights(
            args.weights if named is None else named, allow_download=not args.no_download, progress=progress
        )
    model = load(
        resolved.path,
        backend=args.backend if backend is None else backend,
        threads=args.threads,
        labels=args.labels,
        card=args.card,
        changes=card_changes(args),
        architecture=args.architecture,
        precision=args.precision,
    )
    return model, resolved


def model_json(model: Classifier, resolved: Resolved) -> dict[str, Any]:
    """Which model gave the answers in a JSON document, and with what it runs."""
    return {
        "name": model.name,
        "path": str(resolved.path),
        "origin": resolved.origin,
        "trained": resolved.trained,
        "labelled": model.labelled,
        "labels": model.label_source,
        "note": model.label_note or None,
        "card": model.card.to_json() if model.card else None,
        "backend": str(model.session.choice),
        "precision": model.session.precision,
    }


def offering(precision: str | None, names: Sequence[str]) -> list[str]:
    """The backends that have the precision, all if none has; the others are named on standard error."""
    from ..kernels.backends import get_backend

    found = [n for n in names if precision is None or precision in get_backend(n).precisions()]
    if found:
        for name in names:
            if name not in found:
                why = get_backend(name).lacks(str(precision))
                note(f"kigraph: {name} is left out: it does not offer {precision}{f' ({why})' if why else ''}")
    return found or list(names)


def file_of(name: str) -> str:
    """The path for an argument that is a file, the name of the demo model, or that of a file in the cache."""
    from ..weights.store import named_weights

    found = named_weights(name, allow_download=False)
    return name if found is None else str(found.path)


def whole(low: int, high: int) -> Callable[[str], int]:
    """A type for argparse: a whole number from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or len(text) > 18 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, got {text[:40]!r}")
        return int(text)

    return parse


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"expected a whole number of at least 1 and at most 999999999, got {text[:40]!r}"
        )
    return int(text)


def backend_names(text: str | None) -> list[str]:
    """The backends of 'a, b', which a command runs one after the other; none without a text. BackendError if it has none."""
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not names:
        raise BackendError(f"--backend {text[:40]!r} names no backend")
    return names


def filled(text: str) -> str:
    """A text that is not empty: "$UNSET" in a script must not stand for the default."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a value, got {text[:40]!r}; leave the option out for its default")
    return text
