"""Random graphs of the public API: every CPU backend with all passes against the reference without passes, in float64.

    python tests/graph/fuzz_graphs.py COUNT [SEED]

A graph ends in results that agree, or in errors of ours. Each number has a tolerance that follows from the graph: the
reference is computed in float64 and once more in float32 without passes; how far the two are apart measures how much
the graph itself magnifies rounding.
"""

from __future__ import annotations

import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki
from kigraph.graph.passes import PASSES

if __name__ == "__main__":  # run as a script, it is found from anywhere
    sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.graph.graph_recipes import Maker, Recipe
from tests.graph.graph_steps import STEPS

NDArray = np.ndarray[Any, Any]

EVERY_PASS = [name for name, _ in PASSES]
SECONDS = 5.0


class DisagreementError(AssertionError):
    """A backend's result is not the reference's."""


class SlowError(DisagreementError):
    """A graph took too long: a failure if it does so again, when Numba has compiled what it needs."""


def make(seed: int) -> Recipe:
    """The recipe of a seed."""
    return Maker(seed).make(STEPS)


def _run(recipe: Recipe, dtype: str, **options: Any) -> list[NDArray] | ki.KigraphError:
    try:
        graph, fetches, feeds = recipe.build(dtype)
        with ki.Session(graph, threads=1, **options) as session:
            return [np.asarray(v) for v in session.run(fetches, feeds)]
    except ki.KigraphError as error:
        return error


def _bound(exact: NDArray, rounded: NDArray) -> NDArray:
    """How far a float32 result may be from the exact one: its rounding, and a multiple of what the reference is off."""
    finite = np.isfinite(exact) & np.isfinite(rounded)
    off = np.abs(np.where(finite, rounded - exact, 0))
    scale = np.abs(exact[finite]).max(initial=0)
    worst: NDArray = (
        2e-5 * np.abs(np.where(finite, exact, 0)) + 20 * off + 20 * off.max(initial=0) + 2e-5 * scale + 1e-6
    )
    return worst


def _compare(what: str, found: NDArray, exact: NDArray, rounded: NDArray) -> None:
    if found.shape != exact.shape or found.dtype != rounded.dtype:
        raise DisagreementError(f"{what}: {found.dtype}{found.shape}, expected {rounded.dtype}{exact.shape}")
    with np.errstate(all="ignore"):
        bound = _bound(exact, rounded.astype(np.float64))
        # Where the reference itself is not finite in float32, or far off, another order may end elsewhere.
        judged = (np.isfinite(exact) & np.isfinite(rounded)) & (np.abs(exact) < 1e30)
        wrong = judged & ~(np.abs(found.astype(np.float64) - exact) <= bound)
        wrong |= np.isnan(exact) & np.isnan(rounded) & ~np.isnan(found)
        wrong |= np.isinf(exact) & (exact == rounded) & np.isfinite(found)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.ndim else ()
        raise DisagreementError(
            f"{what}: {int(wrong.sum())} of {wrong.size} wrong, at {at} {found[at]}, expected {exact[at]}"
        )


def check(seed: int, backends: Sequence[str] = ("cython", "numba")) -> Recipe:
    """Builds and runs the graph of a seed. Raises DisagreementError, or whatever foreign error comes out."""
    start = time.process_time()
    recipe = make(seed)
    exact = _run(recipe, "float64", backend="numpy", skip_passes=EVERY_PASS)
    rounded = _run(recipe, "float32", backend="numpy", skip_passes=EVERY_PASS)
    for backend in ("numpy", *backends):
        found = _run(recipe, "float32", backend=backend)
        if isinstance(found, ki.KigraphError) or isinstance(rounded, ki.KigraphError):
            if type(found) is not type(rounded):
                raise DisagreementError(f"{backend}: {found!r}, the reference {rounded!r}")
            continue
        assert not isinstance(exact, ki.KigraphError), exact
        for number, results in enumerate(zip(found, exact, rounded, strict=True)):
            _compare(f"{backend}, result {number}", *results)
    seconds = time.process_time() - start
    if seconds > SECONDS:
        raise SlowError(f"took {seconds:.1f} s of processor time, at most {SECONDS}")
    return recipe


def main(arguments: Sequence[str]) -> int:
    count, first = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    failures = 0
    warnings.simplefilter("error")
    for seed in range(first, first + count):
        try:
            try:
                check(seed)
            except SlowError:
                check(seed)
        except Exception as error:
            failures += 1
            at = "" if isinstance(error, DisagreementError) else "".join(traceback.format_exc()[-900:])
            print(f"{make(seed)}\n  {type(error).__name__}: {error}\n{at}", flush=True)
    print(f"{count} graphs from seed {first}, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
