"""``kigraph classify``: labels for images."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, KigraphError, RunError
from .options import Commands, add_command, add_json, add_model_options, open_model, positive
from .output import clean, note, print_json, track

if TYPE_CHECKING:
    from ..model import Classifier, Prediction

__all__ = ["expand", "register", "run"]

#: Which files of a folder are images; a file named on the command line may have any name.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif")

_EXAMPLES = """
kigraph classify dog.jpg
kigraph classify photos/ 'more/**/*.jpg' --top 1
kigraph classify rose.png --weights flowers.pb --labels flowers.txt --json
curl -s https://example.org/cat.jpg | kigraph classify -
"""


def register(commands: Commands) -> None:
    parser = add_command(commands, "classify", "label images with a trained model", _EXAMPLES)
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="file, folder (its images), glob pattern, or - for standard input"
    )
    parser.add_argument("-k", "--top", type=positive, default=5, metavar="K", help="labels per image (default: 5)")
    add_json(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    paths = expand(args.images)
    model, resolved = open_model(args)
    if not args.json:
        note(f"{model.card.name if model.card else 'no card'} | {resolved} | {model.session.choice}")
        if model.card is not None and model.card.note:
            note(f"  {model.card.note}")
    answers: list[dict[str, Any]] = []
    failed = 0
    for path in track(paths, "classifying", args.json):
        try:
            prediction = _classify(model, path, args.top)
        except (ImageError, RunError) as error:
            failed += 1
            answers.append({"filename": path, "error": str(error)})
            if not args.json:
                note(f"kigraph: {type(error).__name__}: {error}")
            continue
        answers.append(prediction.to_json() | {"filename": path})
        if not args.json:
            print(f"{clean(path)}")
            for label in prediction:
                print(f"  {clean(label)}")
            sys.stdout.flush()
    if args.json:
        print_json(
            {
                "model": {
                    "path": str(resolved.path),
                    "origin": resolved.origin,
                    "trained": resolved.trained,
                    "card": model.card.to_json() if model.card else None,
                    "backend": str(model.session.choice),
                },
                "images": answers,
                "failed": failed,
            }
        )
    return 1 if failed else 0


def expand(arguments: list[str]) -> list[str]:
    """Files for arguments that may be files, folders or glob patterns, in order, each once."""
    import glob

    found: dict[str, None] = {}
    for argument in arguments:
        if argument == "-" or os.path.isfile(argument):
            found[argument] = None
        elif os.path.isdir(argument):
            names = sorted(n for n in os.listdir(argument) if n.lower().endswith(SUFFIXES))
            if not names:
                raise ImageError(f"{argument}: the folder has no images ({', '.join(SUFFIXES)})")
            found.update(dict.fromkeys(os.path.join(argument, n) for n in names))
        elif glob.has_magic(argument):
            matches = sorted(p for p in glob.glob(argument, recursive=True) if os.path.isfile(p))
            if not matches:
                raise ImageError(f"{argument}: no file matches this pattern")
            found.update(dict.fromkeys(matches))
        else:
            found[argument] = None  # reported with the others, as a file that cannot be read
    return list(found)


def _classify(model: Classifier, path: str, top: int) -> Prediction:
    if path != "-":
        return model.classify(path, top)
    data = sys.stdin.buffer.read()
    if not data:
        raise ImageError("standard input is empty")
    try:
        return model.classify(data, top)
    except KigraphError as error:
        raise ImageError(f"standard input: {error}") from None
