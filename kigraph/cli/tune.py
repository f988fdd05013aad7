"""``kigraph tune``: measures the kernels of a model's layers and keeps what is fastest on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..progress import track
from .options import Commands, add_command, add_json, add_model_options, open_model
from .output import note, print_json, print_table

if TYPE_CHECKING:
    from ..classifier import Classifier
    from ..kernels.kernel import Query
    from ..kernels.tuning import Decision

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph tune inception.pb
kigraph tune inception.pb --backend cython --json
"""


def register(commands: Commands) -> None:
    parser = add_command(
        commands,
        "tune",
        "measure which kernels are fastest for a model's layers here, and keep that for all later runs",
        _EXAMPLES,
    )
    add_json(parser)
    add_model_options(parser, positional=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..kernels.backends import get_backend
    from ..kernels.tuning import Tuner, table_path
    from ..machine import describe

    model, resolved = open_model(args)
    layers = _layers(model)
    tuner = Tuner("full")
    decisions: list[tuple[Decision, int]] = []
    before = {}
    for layer in track(list(layers), "measuring", args.json):
        query, backend, kernel, count = layers[layer]
        decision = _measure(tuner, query, backend)
        if decision is not None:
            decisions.append((decision, count))
            before[decision.layer] = kernel
    tuner.save()
    backends = dict.fromkeys(d.kernel.backend for d, _ in decisions)
    paths = [str(table_path(name, get_backend(name).target())) for name in backends]
    saved = sum((d.times.get(before[d.layer], d.microseconds) - d.microseconds) * n for d, n in decisions) / 1e3
    if args.json:
        rows = [
            {"layer": d.layer, "count": n, "kernel": str(d.kernel), "before": before[d.layer], "microseconds": d.times}
            for d, n in decisions
        ]
        print_json(
            {
                "machine": describe().to_json(), "weights": str(resolved), "model": model.name, "layers": rows, "files": paths
            }
        )  # fmt: skip
        return 0
    print(f"{describe()}\n{resolved}\n")
    if not decisions:
        note("no layer of this model has a choice of kernels on this backend")
        return 0
    print_table(("layer", "x", "kernel", "ms", "the others"), [_row(d, n) for d, n in decisions], right=(1, 3))
    print(f"\nfor one image on one thread {saved:.2f} ms less than before; kept in {', '.join(paths)}")
    return 0


def _layers(model: Classifier) -> dict[str, tuple[Query, str, str, int]]:
    """By layer: the query, its backend, the kernel that runs it now, and how often the model has it."""
    from ..kernels.tuning import signature

    found: dict[str, tuple[Query, str, str, int]] = {}
    for step in model.plan().kernel_steps():
        assert step.query is not None
        assert step.kernel is not None
        layer = signature(step.query)
        if layer is not None:
            count = found[layer][3] if layer in found else 0
            found[layer] = (step.query, step.kernel.backend, step.kernel.name, count + 1)
    return found


def _measure(tuner: Any, query: Query, backend: str) -> Decision | None:
    from ..kernels.registry import legal_kernels

    decision: Decision | None = tuner.again(query, legal_kernels(query, backend))
    return decision


def _row(decision: Decision, count: int) -> tuple[object, ...]:
    _, _, image, window, *_ = decision.layer.split()
    values = dict(part.split("=") for part in decision.layer.split() if "=" in part)
    text = f"{image} * {window}" + (f" / {values['strides']}" if values.get("strides", "1,1") != "1,1" else "")
    others = sorted((t, name) for name, t in decision.times.items() if name != decision.kernel.name)
    against = ", ".join(f"{name} {t / 1e3:.3f}" for t, name in others)
    return text, count, decision.kernel.name, f"{decision.microseconds / 1e3:.3f}", against
