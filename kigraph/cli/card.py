"""``kigraph card``: how a model file is used, as JSON to keep beside it."""

from __future__ import annotations

import argparse

from ..errors import CardError
from .options import Commands, add_architecture, add_card_options, add_command, card_changes, file_of, filled
from .output import note, print_json

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph card model.onnx                                # what kigraph takes it for
kigraph card model.onnx --mean 0 --std 255 > model.card.json
kigraph classify dog.jpg -w model.onnx                 # uses the card beside the model
"""


def register(commands: Commands) -> None:
    summary = "print a model's card: input, output, size, scale and labels, to correct and keep beside the file"
    parser = add_command(commands, "card", summary, _EXAMPLES)
    parser.add_argument("file", type=filled, metavar="FILE", help="a model file, or 'demo'")
    parser.add_argument(
        "--labels", type=filled, metavar="FILE", help="label file or label set that the card is to hold"
    )
    add_card_options(parser)
    add_architecture(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from ..opening import card_for, open_file
    from ..vision.labels import LABEL_SETS, read_label_file
    from ..weights.card_file import card_document

    opened = open_file(file_of(args.file), strict=True, architecture=args.architecture)
    card = card_for(opened, args.card, card_changes(args))
    if card is None:
        raise CardError(
            f"{args.file}: it has not one image as input and one row of scores as output; say it with --input, --output and --size"
        )
    if args.labels in LABEL_SETS:
        card = replace(card, labels=args.labels, classes=())
    elif args.labels is not None:
        card = replace(card, classes=read_label_file(args.labels).names)
    if card.note:
        note(f"kigraph: {card.note}")
    print_json(card_document(card, opened.sha256))
    return 0
