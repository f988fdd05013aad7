"""``kigraph inspect``: what is in a file, without running it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .options import Commands, add_architecture, add_command, add_json, file_of, filled
from .output import clean, print_json, print_table, size_text

if TYPE_CHECKING:
    from ..graph.builder import Graph
    from ..graph.loaders.weights import WeightsFile

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph inspect classify_image_graph_def.pb
kigraph inspect inception_v3_google-0cc3c7bd.pth --tensors
kigraph inspect model.pb --json
kigraph inspect from_the_internet.onnx --untrusted     # in a limited child process
"""


def register(commands: Commands) -> None:
    parser = add_command(
        commands, "inspect", "show a file's format, ops, inputs, outputs, parameters and card", _EXAMPLES
    )
    parser.add_argument("file", type=filled, metavar="FILE", help="a model or weights file, or 'demo'")
    parser.add_argument("--tensors", action="store_true", help="list every operation, or every array of a weights file")
    parser.add_argument(
        "--untrusted",
        action="store_true",
        help="read the file in a child process with limits of memory and time, for files of unknown origin",
    )
    add_json(parser)
    add_architecture(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.untrusted:
        from .limited import run_limited

        flags = ["--tensors"] * args.tensors + ["--json"] * args.json
        flags += ["--architecture", args.architecture] * (args.architecture is not None)
        return run_limited(["inspect", *flags, "--", file_of(args.file)], args.file)
    from ..opening import card_for, open_file

    opened = open_file(file_of(args.file), architecture=args.architecture)
    card = card_for(opened)
    report: dict[str, Any] = {
        "file": opened.path,
        "format": opened.format,
        "family": opened.family,
        "size": opened.size,
        "sha256": opened.sha256,
        "parameters": opened.parameters,
        "card": card.to_json() if card else None,
        "problem": opened.problem or None,
    }
    if opened.weights is not None:
        report |= _weights_report(opened.weights)
    if opened.graph is not None:
        report |= _graph_report(opened.graph, opened.inputs, opened.outputs)
    if args.json:
        print_json(report)
        return 0
    print(f"{clean(opened.path)}\n  format      {clean(opened.format)}")
    print(f"  size        {size_text(opened.size)} ({opened.size:,} bytes)\n  sha256      {opened.sha256}")
    print(f"  parameters  {opened.parameters:,}")
    for kind in ("inputs", "outputs"):
        for tensor in report.get(kind, ()):
            print(f"  {kind[:-1]:10}  {clean(tensor['name'])}  {tensor['dtype']} {_shape_text(tensor['shape'])}")
    if opened.problem:
        print(f"  problem     {clean(opened.problem)}")
    _print_random(report.get("random", []))
    print()
    print(
        f"card {clean_lines(str(card))}"
        if card
        else "card: none known; name input, output and preprocessing (kigraph card --help), or with ki.Card"
    )
    if opened.graph is not None and opened.weights is None:
        _print_ops(report["ops"])
    if args.tensors:
        _print_tensors(opened.graph, opened.weights)
    return 0


def clean_lines(text: str) -> str:
    """``clean`` for a text of several lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


def _print_random(found: list[dict[str, Any]]) -> None:
    """Ops that make every run's results others, by the input that switches them off."""
    by_switch: dict[str, list[str]] = {}
    for op in found:
        by_switch.setdefault(f"feed {op['off']} with {op['value']}" if op["off"] else "no input", []).append(op["name"])
    for switch, names in by_switch.items():
        shown = ", ".join(clean(n) for n in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        print(
            f"  random      {shown}: run by default, so that results differ from run to run; to switch off: {clean(switch)}"
        )


def _graph_report(graph: Graph, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> dict[str, Any]:
    from .random_ops import random_ops
    from .support import op_uses

    random = [
        {"name": r.name, "op": r.type, "off": r.off or None, "value": r.value if r.off else None}
        for r in random_ops(graph, outputs)
    ]
    return {
        "producer": graph.metadata.get("producer"),
        "operations": len(graph),
        "inputs": [_tensor(graph, name) for name in inputs],
        "outputs": [_tensor(graph, name) for name in outputs],
        "random": random,
        "ops": [{"op": use.op, "count": use.count, "support": dict(use.support)} for use in op_uses(graph)],
    }


def _weights_report(weights: WeightsFile) -> dict[str, Any]:
    arrays = [{"name": n, "dtype": t.stored, "shape": list(t.shape)} for n, t in weights.items()]
    return {"arrays": len(arrays), "tensors": arrays}


def _tensor(graph: Graph, name: str) -> dict[str, Any]:
    from ..kernels.tensor import dtype_name

    tensor = graph.tensor(name)
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"name": name, "dtype": dtype_name(tensor.dtype), "shape": shape}


def _shape_text(shape: list[int | None] | None) -> str:
    return "[...]" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def _print_ops(ops: list[dict[str, Any]]) -> None:
    backends = list(ops[0]["support"]) if ops else []
    total = sum(use["count"] for use in ops)
    print(f"\n{total:,} operations of {len(ops)} types")
    print_table(
        ("count", "op", *backends),
        [(u["count"], u["op"], *(u["support"][b] for b in backends)) for u in ops],
        right=(0,),
    )
    print("own: the backend's kernels; shared: the shared CPU family; plan: nothing to run;")
    print("run time: depends on a value that is only known then; -: not supported")


def _print_tensors(graph: Graph | None, weights: WeightsFile | None) -> None:
    print()
    if weights is not None:
        rows = [(n, t.stored, _shape_text(list(t.shape))) for n, t in weights.items()]
        print_table(("array", "stored as", "shape"), rows)
    elif graph is not None:
        print_table(
            ("operation", "op", "outputs"),
            [(op.name, op.type, " ".join(str(t.type) for t in op.outputs)) for op in graph.operations],
        )
