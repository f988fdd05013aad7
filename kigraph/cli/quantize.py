"""``kigraph quantize``: a float model as one of 8-bit integers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .options import Commands, add_command, add_json, add_model_options, filled, open_model, whole
from .output import clean, note, print_json, print_table, size_text, writable

if TYPE_CHECKING:
    from ..quantizing.result import Quantized

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph quantize model.pb --images photos/ -o model.int8.onnx
kigraph classify rose.jpg --weights model.int8.onnx          # and then: classify, serve, verify, ki.load
kigraph quantize model.onnx --images a/ b/ -o small.onnx --report small.html    # what each layer costs
kigraph quantize model.h5 --images photos/ -o small.onnx --agreement 1 --keep 'block1_*'
kigraph verify model.pb small.onnx --image rose.jpg --tolerance 0.1             # layer by layer
"""
#: quantizing.CALIBRATIONS, without importing NumPy for a help text.
_CALIBRATIONS = ("auto", "minmax", "percentile", "mse")
_WORST, _MOST_NOTES = 8, 20


def register(commands: Commands) -> None:
    summary = "write a float model as an ONNX file of 8-bit integers, which photographs are measured for"
    parser = add_command(commands, "quantize", summary, _EXAMPLES)
    parser.add_argument("--images", nargs="+", type=filled, required=True, metavar="IMAGE", help="photographs of the kind that the network is used for, 100 or more: folders, files, patterns, as for classify")  # fmt: skip
    parser.add_argument("-o", "--save", dest="target", type=filled, required=True, metavar="FILE", help="the new file: *.onnx; its card is written beside it")  # fmt: skip
    group = parser.add_argument_group("quantising")
    group.add_argument("--limit", type=whole(2, 100_000), default=200, metavar="N", help="photographs that are used at most (default: 200)")  # fmt: skip
    group.add_argument("--holdout", type=_share, default=0.25, metavar="SHARE", help="share of them that no range is measured on, for the comparison of answers (default: 0.25)")  # fmt: skip
    group.add_argument("--agreement", type=_agreement, default=0.995, metavar="SHARE", help="share of the held-out photographs whose first label must stay; layers that cost most stay float until it does (default: 0.995)")  # fmt: skip
    group.add_argument("--keep", type=filled, action="append", default=[], metavar="NAME", help="a layer that stays float, or a pattern of such; may be given several times")  # fmt: skip
    group.add_argument("--calibrate", choices=_CALIBRATIONS, default="auto", help="how ranges are chosen; auto: each as it measures best (default)")  # fmt: skip
    group.add_argument("--report", type=filled, metavar="PAGE", help="a page with what each layer costs: *.html")
    add_json(parser)
    add_model_options(parser, positional=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..quantizing import quantize

    for path in (args.target, *([args.report] if args.report else [])):
        writable(path)
    model, resolved = open_model(args)
    if not args.json:
        note(f"{model.card.name if model.card else 'no card'} | {resolved} | {model.session.choice}")
        if model.card is not None and model.card.note:
            note(f"  {model.card.note}")
    found = quantize(
        model, args.target, args.images, limit=args.limit, holdout=args.holdout, agreement=args.agreement, keep=args.keep,
        calibrate=args.calibrate, report=args.report, quiet=args.json,
    )  # fmt: skip
    if args.json:
        print_json(found.to_json())
    else:
        _print(found)
    return 1 if found.unreadable else 0


def _print(found: Quantized) -> None:
    integers = len(found.layers) - len(found.kept)
    print(f"file:      {clean(found.path)}")
    print(f"size:      {size_text(found.size)}, the float model {size_text(found.source_size)}")
    print(f"layers:    {integers} of {len(found.layers)} with 8-bit integers")
    print(
        f"agreement: {found.agreement:.1%}, {found.same} of {found.held} held-out photographs with the same first label"
    )
    if found.named:
        print(f"right:     {found.right} of {found.named} by their folder's name; the float model {found.right_float}")
    print(f"signal to quantisation noise at the scores: {_db(found.loss)} dB")
    if found.layers:
        print("\nlayers that cost most, each with integers alone:")
        rows = [(x.name, x.op, f"{x.weights:,}", _db(x.loss), _KEPT[x.kept]) for x in found.worst(_WORST)]
        print_table(("layer", "op", "weights", "dB", "computed in"), rows, right=(2, 3))
    if found.page is not None:
        print(f"report:    {clean(found.page)}")
    how = "as each measured best" if found.choice == "auto" else f"by {found.choice}"
    bias = "corrected" if found.corrected else "as they were"
    note(f"{found.calibrated} photographs measured; {len(found.values)} ranges chosen {how}; biases {bias}")
    if found.held < 100:
        note(f"{found.held} held-out photographs tell little of an agreement; 100 or more are better")
    for line in found.notes[:_MOST_NOTES]:
        note(f"kigraph: {clean(line)}")
    for _, reason in found.unreadable[:_MOST_NOTES]:
        note(f"kigraph: cannot be read: {clean(reason)}")
    more = len(found.unreadable) - _MOST_NOTES
    if more > 0:
        note(f"kigraph: and {more} more that cannot be read")


_KEPT = {"": "integers", "asked": "float, as asked", "agreement": "float, for the agreement"}


def _db(value: float) -> str:
    return f"{value:.1f}"


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, such as 0.25, got {text[:40]!r}")
    return value


def _agreement(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, such as 0.995, got {text[:40]!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
