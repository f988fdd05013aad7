"""``kigraph profile``: where the time of a model goes, step by step."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import KigraphError
from ..progress import Bar
from .options import Commands, add_command, add_json, add_model_options, filled, open_model, whole
from .output import clean, note, print_json, print_table, writable

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..graph.profile import Profile

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph profile inception.pb --threads 1
kigraph profile inception.pb --image dog.jpg --runs 50 --top 0
kigraph profile inception.pb --trace out.json        # open it at https://ui.perfetto.dev
kigraph profile inception.pb --draw out.html         # the graph, coloured by time
"""
_WARM_UP = 2


def register(commands: Commands) -> None:
    parser = add_command(
        commands, "profile", "show where a model's time goes: time, GFLOP/s and roofline of every step", _EXAMPLES
    )
    parser.add_argument("--image", type=filled, metavar="PHOTO", help="run on this photograph (default: noise)")
    parser.add_argument(
        "--batch", type=whole(1, 1024), default=1, metavar="N", help="images at once, without --image (default: 1)"
    )
    parser.add_argument(
        "-n", "--runs", type=whole(1, 1_000_000), default=20, metavar="N", help="runs that count (default: 20)"
    )
    parser.add_argument(
        "--top",
        type=whole(0, 1_000_000_000),
        default=25,
        metavar="N",
        help="steps that the table shows; 0: all (default: 25)",
    )
    parser.add_argument("--order", choices=("time", "run"), default="time", help="of the steps (default: time)")
    parser.add_argument(
        "--trace", type=filled, metavar="FILE", help="write a Chrome trace (JSON), for Perfetto or chrome://tracing"
    )
    parser.add_argument(
        "--draw", type=filled, metavar="PICTURE", help="draw the graph coloured by time: *.html, *.svg or *.dot"
    )
    add_json(parser)
    add_model_options(parser, positional=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..machine import describe

    for name, suffixes in (("draw", (".html", ".svg", ".dot")), ("trace", (".json",))):
        path = getattr(args, name)
        if path is not None and Path(path).suffix.lower() not in suffixes:  # known before anything is measured
            raise KigraphError(f"--{name} {path}: the name must end in {' or '.join(suffixes)}")
        if path is not None:
            writable(path)
    model, resolved = open_model(args)
    fetch, feeds = _feeds(model, args)
    with Bar("running", args.runs + _WARM_UP, quiet=args.json) as bar:
        if not bar.visible and not args.json:
            note(f"{args.runs + _WARM_UP} runs ...")
        bar.update(0)  # before the plan is compiled
        progress = bar.update if bar.visible else None
        profile = model.session.profile(fetch, feeds, runs=args.runs, warm_up=_WARM_UP, progress=progress)
    written = []
    try:
        if args.trace is not None:
            written.append(profile.write_trace(args.trace))
        if args.draw is not None:
            written.append(profile.draw(args.draw, title=clean(resolved.path.name)))
    except OSError as error:
        raise KigraphError(f"{error.filename}: cannot be written: {error.strerror}") from None
    machine = describe()
    if args.json:
        document = {"machine": machine.to_json(), "weights": str(resolved), "model": model.name, **profile.to_json()}
        print_json(document | {"files": [str(path) for path in written]})
        return 0
    print(f"{machine}\n{resolved}\n")
    _print(profile, args.top or None, args.order)
    for path in written:
        print(path)
    return 0


def _feeds(model: Classifier, args: argparse.Namespace) -> tuple[str, dict[Any, Any]]:
    """What to fetch and to feed: a photograph through the whole graph, or noise into the network."""

    card = model.require_card()
    if args.image is None:
        if model.fixed_batch not in (None, args.batch):
            raise KigraphError(f"this graph takes {model.fixed_batch} image at once")
        return card.output, {card.input: model.noise(args.batch)}
    if args.batch != 1:
        raise KigraphError("--image is one image; leave out --batch")
    from ..vision.decode import image_header, read_image, to_pixels

    if card.encoded is not None:
        data = read_image(args.image)
        header = image_header(data, name=args.image)
        if header.format == "JPEG" and header.orientation == 1:
            return card.output, {card.encoded: data}
        assert card.pixels is not None
        return card.output, {card.pixels: to_pixels(args.image)}
    return card.output, {card.input: model.prepare([args.image])}


def _print(profile: Profile, top: int | None, order: str) -> None:
    steps = profile.slowest(top) if order == "time" else profile.steps[:top]
    print_table(profile.COLUMNS, [profile.cells(s) for s in steps], right=(3, 4, 5, 6, 7))
    if len(steps) < len(profile.steps):
        rest = profile.steps_seconds - sum(s.seconds for s in steps)
        print(f"... {len(profile.steps) - len(steps)} steps more, {rest * 1e3:.3f} ms: --top 0")
    print()
    print_table(("kernel", "steps", "ms", "share"), profile.kernel_cells(), right=(1, 2, 3))
    print(f"\n{profile.summary()}")
    print(
        "of roof: the least time for the step's work on this machine over its time; more than 100 %: fewer multiplications"
    )
    print("than direct convolution needs, or data that came from the caches.")
