"""``kigraph retrain``: a trained network learns the classes of one's own photographs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import FeedError
from .options import Commands, add_command, add_json, add_model_options, filled, open_model, whole
from .output import clean, note, print_json, print_table

if TYPE_CHECKING:
    from ..retraining import Retrained
    from ..retraining.result import Files
    from ..retraining.running import Options

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph retrain dogs/ -o dogs.pb                         # dogs/beagle/*.jpg, dogs/poodle/*.jpg, ...
kigraph retrain dogs/ -o dogs.pb --weights my_network.onnx
kigraph retrain dogs/ -o dogs.pb --augment 4             # four variants of each photograph as well
kigraph classify rex.jpg --weights dogs.pb               # and then: classify, serve, verify, convert, ki.load
"""
#: Classes up to which the terminal shows the confusion matrix, and letters of a label in it.
_MATRIX, _LETTERS = 12, 12
_MOST_NOTES = 20


def register(commands: Commands) -> None:
    parser = add_command(commands, "retrain", "teach a trained network the classes of one's own photographs", _EXAMPLES)
    parser.add_argument(
        "folder",
        type=filled,
        metavar="FOLDER",
        help="a folder with one sub-folder of photographs for each class, which is named by it",
    )
    parser.add_argument("-o", "--save", type=filled, required=True, metavar="FILE", help="the new model: *.pb; labels, card and a report are written beside it")  # fmt: skip
    group = parser.add_argument_group("training")
    group.add_argument("--validation", type=_percentage, default=10.0, metavar="PERCENT", help="photographs by which the penalty is chosen (default: 10)")  # fmt: skip
    group.add_argument("--testing", type=_percentage, default=10.0, metavar="PERCENT", help="photographs by which the accuracy is measured (default: 10)")  # fmt: skip
    group.add_argument("--l2", type=_penalty, metavar="X", help="strength of the L2 penalty (default: chosen by the validation loss)")  # fmt: skip
    group.add_argument("--class-weights", choices=("balanced", "none"), default="balanced", help="balanced: classes with few photographs count as much as others (default)")  # fmt: skip
    group.add_argument("--augment", type=whole(0, 32), default=0, metavar="N", help="train on N variants of each photograph, too: mirrored, cut, other light and colour (default: 0)")  # fmt: skip
    group.add_argument("--fine-tune", type=whole(0, 1000), default=0, metavar="BLOCKS", help="train the last BLOCKS of the trunk, too, with batch norm as it is (default: 0)")  # fmt: skip
    group.add_argument("--epochs", type=whole(1, 10_000), metavar="N", help="epochs of fine-tuning; the best is kept (default: 10)")  # fmt: skip
    group.add_argument("--learning-rate", type=_learning_rate, metavar="X", help="of fine-tuning (default: 0.001)")  # fmt: skip
    group.add_argument("--bottleneck", type=filled, metavar="TENSOR", help="the tensor whose values are the features (default: what the last dense layer reads)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an output that is there already")
    add_json(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..kernels.numerics import using_numerics
    from ..retraining.running import Options, files_of

    for name, given in (("--epochs", args.epochs), ("--learning-rate", args.learning_rate)):
        if given is not None and not args.fine_tune:
            raise FeedError(f"{name} is of fine-tuning: add --fine-tune BLOCKS, or leave it out")
    options = Options(
        args.validation / 100, args.testing / 100, args.l2, args.class_weights == "balanced", args.augment,
        args.fine_tune, args.epochs or 10, args.learning_rate or 0.001,
    )  # fmt: skip
    options.check()
    files = files_of(args.save)
    # The new layer and what is written are computed as the trunk is; int8 is a question about the trunk alone.
    with using_numerics(precision=None if args.precision == "int8" else args.precision):
        return _run(args, options, files)


def _run(args: argparse.Namespace, options: Options, files: Files) -> int:
    from ..retraining.running import Run

    model, resolved = open_model(args)
    if not args.json:
        runs = f"{model.session.choice} | {model.session.precision}"
        note(f"{model.card.name if model.card else 'no card'} | {resolved} | {runs}")
        if model.card is not None and model.card.note:
            note(f"  {model.card.note}")
    say = (lambda line: None) if args.json else note
    result = Run(args.folder, files, model, args.bottleneck, options, args.force, not args.json, say).result()
    if args.json:
        print_json(result.to_json())
    else:
        _print(result)
    return 1 if result.unreadable else 0


def _print(result: Retrained) -> None:
    counts = result.counts
    parts = ", ".join(f"{sum(counts[p])} {p}" for p in ("training", "validation", "testing"))
    print(f"{sum(counts['all'])} photographs of {len(result.classes)} classes: {parts}")
    if result.accuracy is None:
        print("accuracy: unknown, no photographs were kept for testing")
    else:
        low, high = (100 * share for share in result.interval)
        print(
            f"accuracy: {100 * result.accuracy:.1f} % ({result.right} of {result.total}); 95 % interval {low:.1f} to {high:.1f} %"
        )
        _print_confusion(result)
    print(f"model:  {clean(result.path)}")
    print(f"report: {clean(result.page)}")
    if result.resumed:
        note("nothing to do: the model is there already, of these photographs, weights and options")
    for line in result.notes[:_MOST_NOTES]:
        note(f"kigraph: {clean(line)}")
    for _, reason in result.unreadable[:_MOST_NOTES]:
        note(f"kigraph: cannot be read: {clean(reason)}")
    more = (
        len(result.unreadable)
        + len(result.notes)
        - len(result.unreadable[:_MOST_NOTES])
        - len(result.notes[:_MOST_NOTES])
    )
    if more:
        note(f"kigraph: and {more} more, listed in the report")


def _print_confusion(result: Retrained) -> None:
    """The matrix of few classes; of many the pairs that are confused most."""
    names, matrix = result.classes, result.confusion
    if len(names) <= _MATRIX:
        print("rows: classes; columns: answers")
        short = [name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}" for name in names]
        rows = [(name, *(str(n) if n else "." for n in row)) for name, row in zip(short, matrix.tolist(), strict=True)]
        print_table(("", *short), rows, right=range(1, len(names) + 1))
        return
    pairs = [(int(matrix[i, j]), i, j) for i, j in zip(*matrix.nonzero(), strict=True) if i != j]
    pairs.sort(key=lambda p: (-p[0], p[1], p[2]))
    if pairs:
        print_table(
            ("times", "class", "taken for"), [(n, names[i], names[j]) for n, i, j in pairs[:_MATRIX]], right=(0,)
        )


def _percentage(text: str) -> float:
    value = _number(text)
    if value is None or not 0 <= value <= 90:
        raise argparse.ArgumentTypeError(f"expected a percentage from 0 to 90, got {text[:40]!r}")
    return value


def _penalty(text: str) -> float:
    return _up_to(1_000_000, text)


def _learning_rate(text: str) -> float:
    return _up_to(10, text)


def _up_to(most: int, text: str) -> float:
    value = _number(text)
    if value is None or not 0 < value <= most:
        raise argparse.ArgumentTypeError(f"expected a number above 0, such as 0.001, up to {most:,}, got {text[:40]!r}")
    return value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
