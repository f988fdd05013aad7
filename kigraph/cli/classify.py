"""``kigraph classify``: labels for images."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, KigraphError, RunError
from ..kernels.records import dataclass
from ..progress import track
from .options import Commands, add_command, add_json, add_model_options, model_json, open_model, positive
from .output import clean, note, print_json

if TYPE_CHECKING:
    from ..classifier import Classifier, Prediction

__all__ = ["Below", "below", "expand", "register", "run"]

#: Which files of a folder are images; a file named on the command line may have any name.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif")

#: Most entries of folders that are counted, to say how many images were left out.
_MOST_SEEN = 100_000

_EXAMPLES = """
kigraph classify dog.jpg
kigraph classify apple.png --weights demo          # the small model that comes with kigraph
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
    model.require_card()
    answers: list[dict[str, Any]] = []
    failed = 0
    for path in track(paths, "classifying", args.json):
        try:
            prediction = _classify(model, path, args.top)
        except (ImageError, RunError) as error:
            failed += 1
            answers.append({"filename": path, "error": str(error)})
            if not args.json:
                note(f"kigraph: {type(error).__name__}: {' '.join(str(error).split())}")
            continue
        answers.append(prediction.to_json() | {"filename": path})
        if not args.json:
            print(f"{clean(path)}")
            for label in prediction:
                print(f"  {clean(label)}")
            sys.stdout.flush()
    left_out = [found for folder in dict.fromkeys(args.images) if (found := below(folder)) is not None]
    if args.json:
        print_json(
            {
                "model": model_json(model, resolved),
                "images": answers,
                "failed": failed,
                "not_looked_at": [found.to_json() for found in left_out],
            }
        )
    else:
        for found in left_out:
            note(f"kigraph: {found}")
    return 1 if failed else 0


def expand(arguments: list[str]) -> list[str]:
    """Files for arguments that may be files, folders or glob patterns, in order, each once.

    Of a folder its own images are taken, not those of folders inside of it; see ``below``. ImageError if there are none.
    """
    import glob

    found: dict[str, None] = {}
    for argument in arguments:
        if argument == "-" or os.path.isfile(argument):
            found[argument] = None
        elif os.path.isdir(argument):
            try:
                with os.scandir(argument) as entries:
                    names = sorted(e.name for e in entries if e.name.lower().endswith(SUFFIXES) and not e.is_dir())
            except OSError as error:
                raise ImageError(f"{argument}: the folder cannot be read: {error.strerror}") from None
            if not names:
                inside = below(argument)
                hint = f"; {inside.counted}: name those, or use {inside.pattern}" if inside else ""
                raise ImageError(f"{argument}: the folder has no images ({', '.join(SUFFIXES)}){hint}")
            found.update(dict.fromkeys(os.path.join(argument, n) for n in names))
        elif glob.has_magic(argument):
            matches = sorted(p for p in glob.glob(argument, recursive=True) if os.path.isfile(p))
            if not matches:
                raise ImageError(f"{argument[:200]}: no file matches this pattern")
            found.update(dict.fromkeys(matches))
        else:
            found[argument] = None  # reported with the others, as a file that cannot be read
    return list(found)


@dataclass(frozen=True, slots=True)
class Below:
    """Images in the folders inside of a folder. ``more``: there may be more, the count stopped."""

    folder: str
    images: int
    folders: int
    more: bool
    suffix: str

    @property
    def pattern(self) -> str:
        """A pattern that finds such images in all depths."""
        return repr(os.path.join(self.folder, "**", f"*{self.suffix}"))

    @property
    def counted(self) -> str:
        """How many images are where, in words."""
        return (
            f"{'at least ' if self.more else ''}{self.images} image{'s' * (self.images != 1)} in {self.folders} folder"
            f"{'s' * (self.folders != 1)} inside of it {'was' if self.images == 1 else 'were'} left out"
        )

    def __str__(self) -> str:
        return f"{self.folder}: {self.counted}: name those folders, or use {self.pattern}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {"folder": self.folder, "images": self.images, "folders": self.folders, "more": self.more}


def below(folder: str) -> Below | None:
    """What ``expand`` leaves out of a folder; None if that is nothing. Links to folders are not followed."""
    if folder == "-" or not os.path.isdir(folder):
        return None
    images = folders = seen = 0
    suffixes: Counter[str] = Counter()
    for at, (_, _, names) in enumerate(os.walk(folder)):
        seen += 1 + len(names)
        if at:
            found = [n for n in names if n.lower().endswith(SUFFIXES)]
            suffixes.update(os.path.splitext(n)[1] for n in found)
            images, folders = images + len(found), folders + bool(found)
        if seen > _MOST_SEEN:
            break
    if not images:
        return None
    return Below(folder, images, folders, seen > _MOST_SEEN, suffixes.most_common(1)[0][0])


def _classify(model: Classifier, path: str, top: int) -> Prediction:
    if path != "-":
        return model.classify(path, top)
    data = _standard_input()
    try:
        return model.classify(data, top)
    except KigraphError as error:
        raise ImageError(f"standard input: {error}") from None


def _standard_input() -> bytes:
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
