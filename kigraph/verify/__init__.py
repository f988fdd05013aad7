"""kigraph.verify: is it the same network? Several files, or one file on several backends and precisions, layer by layer.

Map of the folder::

    __init__.py   verify(): runs all of them and compares each with the first
    runs.py       one file on one backend: its inputs, its layers' values
    align.py      which layer of one graph is which of another, by the values
    report.py     what was found: table, JSON, picture
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import KigraphError
from .align import align, closest
from .report import Comparison, Layer, Report, allowed
from .runs import Run, Subject, inputs_for, run_subject

__all__ = ["Report", "Subject", "verify"]

Array = np.ndarray[Any, Any]


def verify(
    subjects: Sequence[Subject | str | os.PathLike[str]],
    images: Sequence[str] = (),
    *,
    tolerance: float | None = None,
    agreement: float | None = None,
    top: int = 5,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Compares the layers and outputs of every subject with those of the first.

    images: photographs, which each model prepares by its own card; without them the inputs are random numbers, the same for
    all. tolerance: the relative L2 distance of an output up to which it counts as the same. agreement: the least share of images
    with the same first label. Their defaults follow from the precisions of the two runs: 1e-4 and all in fp32, more for bf16 and
    int8 (``report.allowed``). top: for how many labels the images' answers are compared. progress: gets a line before each run.
    KigraphError if the inputs cannot be the same.
    """
    listed = [s if isinstance(s, Subject) else Subject(os.fspath(s)) for s in subjects]
    if len(listed) < 2:
        raise KigraphError("verify compares at least two: files, or one file on several backends or precisions")
    models = [s.load() for s in listed]
    feeds = inputs_for(listed, models, images, seed)
    reference: Run | None = None
    found = []
    for subject, model, fed in zip(listed, models, feeds, strict=True):
        if progress is not None:
            progress(str(subject))
        run = run_subject(subject, model, fed)
        if reference is None:
            reference = run
        else:
            wanted = allowed(reference.precision, run.precision)
            given = (tolerance, agreement)
            limits = tuple(w if g is None else g for g, w in zip(given, wanted, strict=True))
            found.append(_compare(reference, run, images, top, (limits[0], limits[1])))
    assert reference is not None
    most = max(c.tolerance for c in found if c.tolerance is not None)
    return Report(str(listed[0]), tuple(found), most, len(images))


def _compare(a: Run, b: Run, images: Sequence[str], top: int, limits: tuple[float, float]) -> Comparison:
    layers = []
    for i, j in align(a.layers, b.layers):
        one, other = a.layers[i], b.layers[j]
        fitting = closest(one.value, other.value)
        if fitting is not None:  # as many numbers in another shape are another layer
            layers.append(Layer.of(one.name, other.name, one.op, one.value, fitting))
    outputs = []
    for (name, value), (other_name, other_value) in _pairs(a, b):
        fitting = closest(value, other_value)
        if fitting is None:
            raise KigraphError(
                f"output {name!r} of {a.title} has shape {value.shape}, {other_name!r} of {b.title} has {other_value.shape}; "
                "they are not the same network"
            )
        outputs.append(Layer.of(name, other_name, "output", value, fitting))
    return Comparison.of(b.title, tuple(layers), tuple(outputs), a, b, images, top, limits)


def _pairs(a: Run, b: Run) -> list[tuple[tuple[str, Array], tuple[str, Array]]]:
    """Outputs of the same name if all names are the same, else in order."""
    if len(a.outputs) != len(b.outputs):
        raise KigraphError(
            f"{a.title} has {len(a.outputs)} outputs, {b.title} has {len(b.outputs)}; they cannot be compared"
        )
    if set(a.outputs) == set(b.outputs):
        names = [(n, n) for n in a.outputs]
    else:
        names = list(zip(a.outputs, b.outputs, strict=True))
    return [((n, _value(a, n, b, m)), (m, _value(b, m, a, n))) for n, m in names]


def _value(run: Run, name: str, other: Run, other_name: str) -> Array:
    """Integers as reals, unless the other has integers and does not say what they stand for."""
    plain = other.outputs[other_name].dtype.kind in "iu" and other_name not in other.grids
    return run.outputs[name] if plain else run.real(name)
