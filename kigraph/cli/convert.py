"""``kigraph convert``: a model in another file format, proved to compute the same."""

from __future__ import annotations

import argparse

from ..errors import KigraphError
from .options import Commands, add_architecture, add_command, add_json, file_of, filled
from .output import clean, note, print_json, writable

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph convert model.h5 -o model.onnx
kigraph convert model.onnx -o model.pb                 # a TensorFlow frozen graph
kigraph convert weights.pth -o weights.safetensors     # weights only
kigraph convert weights.pth -o model.onnx --architecture timm/tf_efficientnet_b0
"""


def register(commands: Commands) -> None:
    summary = "write a model in another format, with its card, and prove that it computes the same"
    parser = add_command(commands, "convert", summary, _EXAMPLES)
    parser.add_argument("file", type=filled, metavar="FILE", help="a model file, or 'demo'")
    parser.add_argument("-o", "--output", type=filled, required=True, metavar="FILE", help="the new file: *.onnx, *.pb or *.safetensors")  # fmt: skip
    add_architecture(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..converting import convert

    writable(args.output)
    try:
        report = convert(file_of(args.file), args.output, architecture=args.architecture)
    except OSError as error:
        raise KigraphError(f"{args.output}: cannot be written: {error.strerror}") from None
    (found,) = report.comparisons
    worst = max((o.relative for o in found.outputs), default=0.0)
    if args.json:
        print_json({"file": args.output, "same": report.ok, "relative_difference": worst, "layers": len(found.layers)})
    else:
        print(clean(args.output))
        verdict = "computes the same" if report.ok else "DIFFERS"
        note(f"{verdict}: outputs within {worst:.1e} (relative L2) on random inputs, {len(found.layers)} layers paired")
    return 0 if report.ok else 1
