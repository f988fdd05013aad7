"""Optimizers, schedules and losses of kigraph beside those of Keras and PyTorch, on the same gradients.

``python tests/train/oracles.py keras`` and ``... torch``, each where that library is installed, write oracle_facts.json anew: what the
libraries compute from START and GRADIENTS. tests/interop/files/test_*_training.py compare with the libraries themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki
from kigraph.train import Adam, AdamW, GradientDescent, Momentum, Optimizer, RMSProp
from kigraph.train.schedules import Cosine, Exponential, OneCycle, StepDecay

__all__ = [
    "FACTS",
    "GRADIENTS",
    "KERAS",
    "NAMES",
    "SCHEDULES",
    "START",
    "TORCH",
    "Case",
    "by_keras",
    "by_kigraph",
    "by_torch",
]

Array = np.ndarray[Any, Any]
FACTS = Path(__file__).parent / "oracle_facts.json"
NAMES = ("dense/weights", "dense/bias")
_RNG = np.random.default_rng(5)
#: Values of the two variables, and their gradients in each of 6 steps; two are larger than the others.
START = [_RNG.standard_normal(shape).astype(np.float32) for shape in ((2, 3), (3,))]
GRADIENTS = [
    [(_RNG.standard_normal(v.shape) * (4 if step in (1, 4) else 1)).astype(np.float32) for v in START]
    for step in range(6)
]


@dataclass(frozen=True)
class Case:
    """``ours()``: an optimizer. ``theirs(library)``: the other library's; for torch a function of the parameters."""

    ours: Callable[[], Optimizer]
    theirs: Callable[[Any], Any]
    #: torch: how gradients are clipped before a step, and the schedule, each from the library.
    clip: Callable[[Any, Any], None] | None = None
    schedule: Callable[[Any, Any], Any] | None = None


def _adamw(keras: Any) -> Any:
    made = keras.optimizers.AdamW(0.03, weight_decay=0.1)
    made.exclude_from_weight_decay(var_names=["bias"])
    return made


KERAS: Mapping[str, Case] = {
    "sgd": Case(lambda: GradientDescent(0.05), lambda k: k.optimizers.SGD(0.05)),
    "momentum": Case(lambda: Momentum(0.05), lambda k: k.optimizers.SGD(0.05, momentum=0.9)),
    "rmsprop": Case(lambda: RMSProp(0.02), lambda k: k.optimizers.RMSprop(0.02)),
    "adam": Case(lambda: Adam(0.03), lambda k: k.optimizers.Adam(0.03)),
    "adamw": Case(lambda: AdamW(0.03, weight_decay=0.1), _adamw),
    "adamw-all": Case(
        lambda: AdamW(0.03, weight_decay=0.1, exclude_from_decay=()),
        lambda k: k.optimizers.AdamW(0.03, weight_decay=0.1),
    ),
    "sgd-decay": Case(
        lambda: GradientDescent(0.05, weight_decay=0.2, exclude_from_decay=()),
        lambda k: k.optimizers.SGD(0.05, weight_decay=0.2),
    ),
    "clip-value": Case(lambda: Adam(0.03, clip_value=0.7), lambda k: k.optimizers.Adam(0.03, clipvalue=0.7)),
    "clip-norm": Case(lambda: GradientDescent(0.05, clip_norm=1.5), lambda k: k.optimizers.SGD(0.05, clipnorm=1.5)),
    "global-clip-norm": Case(
        lambda: GradientDescent(0.05, global_clip_norm=2.5), lambda k: k.optimizers.SGD(0.05, global_clipnorm=2.5)
    ),
    "exponential": Case(
        lambda: Adam(Exponential(0.05, 3, 0.5)),
        lambda k: k.optimizers.Adam(k.optimizers.schedules.ExponentialDecay(0.05, 3, 0.5)),
    ),
    "step-decay": Case(
        lambda: GradientDescent(StepDecay(0.05, 2, 0.3)),
        lambda k: k.optimizers.SGD(k.optimizers.schedules.ExponentialDecay(0.05, 2, 0.3, staircase=True)),
    ),
    "cosine": Case(
        lambda: GradientDescent(Cosine(0.1, 5, warm_up=2, start=0.01, least=0.02)),
        lambda k: k.optimizers.SGD(
            k.optimizers.schedules.CosineDecay(0.01, 3, alpha=0.2, warmup_target=0.1, warmup_steps=2)
        ),
    ),
}

TORCH: Mapping[str, Case] = {
    "momentum": Case(lambda: Momentum(0.05), lambda t: lambda p: t.optim.SGD(p, 0.05, momentum=0.9)),
    "nesterov": Case(
        lambda: Momentum(0.05, nesterov=True), lambda t: lambda p: t.optim.SGD(p, 0.05, momentum=0.9, nesterov=True)
    ),
    # The libraries add epsilon in different places; a small one makes that no matter.
    "adam": Case(lambda: Adam(0.03, epsilon=1e-12), lambda t: lambda p: t.optim.Adam(p, 0.03, eps=1e-12)),
    "adamw": Case(
        lambda: AdamW(0.03, weight_decay=0.1, epsilon=1e-12, exclude_from_decay=()),
        lambda t: lambda p: t.optim.AdamW(p, 0.03, eps=1e-12, weight_decay=0.1),
    ),
    "clip-value": Case(
        lambda: GradientDescent(0.05, clip_value=0.7), lambda t: lambda p: t.optim.SGD(p, 0.05),
        clip=lambda t, p: t.nn.utils.clip_grad_value_(p, 0.7),
    ),
    "global-clip-norm": Case(
        lambda: GradientDescent(0.05, global_clip_norm=2.5), lambda t: lambda p: t.optim.SGD(p, 0.05),
        clip=lambda t, p: t.nn.utils.clip_grad_norm_(p, 2.5),
    ),
    "one-cycle": Case(
        lambda: Momentum(OneCycle(0.1, 6, 0.4)), lambda t: lambda p: t.optim.SGD(p, 0.1, momentum=0.9),
        schedule=lambda t, o: t.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=6, pct_start=0.4, cycle_momentum=False),
    ),
    "step-decay": Case(
        lambda: Momentum(StepDecay(0.05, 2, 0.3)), lambda t: lambda p: t.optim.SGD(p, 0.05, momentum=0.9),
        schedule=lambda t, o: t.optim.lr_scheduler.StepLR(o, 2, 0.3),
    ),
    "cosine": Case(
        lambda: GradientDescent(Cosine(0.1, 5, least=0.02)), lambda t: lambda p: t.optim.SGD(p, 0.1),
        schedule=lambda t, o: t.optim.lr_scheduler.CosineAnnealingLR(o, 5, eta_min=0.02),
    ),
}  # fmt: skip

#: Schedules that are compared step by step: ours, and Keras's.
SCHEDULES: Mapping[str, tuple[Any, Callable[[Any], Any]]] = {
    "exponential": (Exponential(0.3, 7, 0.4), lambda k: k.optimizers.schedules.ExponentialDecay(0.3, 7, 0.4)),
    "cosine": (
        Cosine(0.3, 20, 5),
        lambda k: k.optimizers.schedules.CosineDecay(0.0, 15, warmup_target=0.3, warmup_steps=5),
    ),
}


def by_kigraph(
    optimizer: Optimizer, start: Sequence[Array], steps: Sequence[Sequence[Array]], backend: str = "numpy"
) -> list[Array]:
    """The variables after the steps; each step's gradients are given."""
    with ki.Graph().as_default() as graph:
        variables = [ki.variable(v, name=n) for v, n in zip(start, NAMES, strict=False)]
        given = [ki.placeholder("float32", v.shape) for v in start]
        loss = ki.add_n([ki.reduce_sum(v * g) for v, g in zip(variables, given, strict=True)])
        step = optimizer.minimize(loss)
    session = ki.Session(graph, backend=backend)
    for number, gradients in enumerate(steps):
        session.run(step, {**dict(zip(given, gradients, strict=True)), **optimizer.feeds(number)})
    return [session.variable_value(v) for v in variables]


def by_keras(keras: Any, case: Case, start: Sequence[Array], steps: Sequence[Sequence[Array]]) -> list[Array]:
    variables = [keras.Variable(v, name=n.split("/")[-1]) for v, n in zip(start, NAMES, strict=False)]
    optimizer = case.theirs(keras)
    for gradients in steps:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    return [np.array(v.numpy()) for v in variables]


def by_torch(torch: Any, case: Case, start: Sequence[Array], steps: Sequence[Sequence[Array]]) -> list[Array]:
    parameters = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in start]
    optimizer = case.theirs(torch)(parameters)
    schedule = case.schedule(torch, optimizer) if case.schedule else None
    for gradients in steps:
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = torch.from_numpy(g.copy())
        if case.clip:
            case.clip(torch, parameters)
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return [p.detach().numpy() for p in parameters]


def _write(library: str) -> None:
    facts = json.loads(FACTS.read_text()) if FACTS.exists() else {}
    if library == "keras":
        import keras

        found = {n: by_keras(keras, c, START, GRADIENTS) for n, c in KERAS.items()}
    else:
        import torch

        found = {n: by_torch(torch, c, START, GRADIENTS) for n, c in TORCH.items()}
    facts[library] = {n: [[float(f"{x:.9g}") for x in v.ravel()] for v in values] for n, values in found.items()}
    text = ",\n".join(
        f' "{lib}": {{\n' + ",\n".join(f'  "{n}": {json.dumps(v)}' for n, v in sorted(of.items())) + "\n }"
        for lib, of in sorted(facts.items())
    )
    FACTS.write_text("{\n" + text + "\n}\n")


if __name__ == "__main__":
    _write(sys.argv[1])
