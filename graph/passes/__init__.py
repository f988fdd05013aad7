"""Rewrites of a graph before it is compiled: one file per pass, each one pure function Graph -> Graph.

PASSES is the order. ``optimize`` applies it; a pass can be skipped by name, and ``trace`` sees the graph after each. CHAINS and
STORAGE come last, and only where a session wants one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..errors import GraphError
from ..ir import Graph
from .commute_pools import commute_pools
from .fold_affine import fold_affine
from .fold_atrous import fold_atrous
from .fold_constants import fold_constants
from .fold_dropout import fold_dropout
from .fold_input_affine import fold_input_affine
from .fold_pads import fold_pads
from .fuse_activations import fuse_activations
from .fuse_chains import fuse_chains, has_chains
from .inner_graphs import inner_graphs
from .merge_siblings import merge_siblings
from .move_concats import move_concats
from .move_transposes import move_transposes
from .narrow_activations import narrow_activations
from .resolve_identities import resolve_identities

__all__ = ["CHAINS", "PASSES", "STORAGE", "Pass", "fuse", "has_chains", "optimize", "store_narrow"]

Pass = Callable[[Graph], Graph]

#: Every pass in the order of application. move_transposes and move_concats leave permuted and
#: split constants to fold_constants. fold_affine makes the fused ops that fuse_activations extends; commute_pools comes
#: before merge_siblings, which merges the 1x1 convolutions that it has moved. Each may be left out (tests/graph/test_passes.py).
PASSES: tuple[tuple[str, Pass], ...] = (
    ("resolve_identities", resolve_identities),
    ("move_transposes", move_transposes),
    ("move_concats", move_concats),
    ("inner_graphs", inner_graphs),
    ("fold_constants", fold_constants),
    ("fold_atrous", fold_atrous),
    ("fold_dropout", fold_dropout),
    ("fold_pads", fold_pads),
    ("fold_affine", fold_affine),
    ("fold_input_affine", fold_input_affine),
    ("fuse_activations", fuse_activations),
    ("commute_pools", commute_pools),
    ("merge_siblings", merge_siblings),
)

#: For sessions whose backend runs chains of elementwise ops; needs known shapes.
CHAINS: tuple[tuple[str, Pass], ...] = (("fuse_chains", fuse_chains),)

#: How tensors lie in memory, which is for sessions of precision bf16 whose backend keeps them so.
STORAGE: tuple[tuple[str, Pass], ...] = (("narrow_activations", narrow_activations),)


def optimize(graph: Graph, skip: Collection[str] = (), trace: Callable[[str, Graph], None] | None = None) -> Graph:
    """Applies all passes but those named in ``skip``; ``trace(name, graph)`` is called after each."""
    known = [name for name, _ in (*PASSES, *CHAINS, *STORAGE)]
    unknown = [name for name in skip if name not in known]
    if unknown:
        raise GraphError(f"no pass is called {', '.join(unknown)}; passes: {', '.join(known)}")
    return _applied(PASSES, graph, skip, trace)


def fuse(graph: Graph, skip: Collection[str] = (), trace: Callable[[str, Graph], None] | None = None) -> Graph:
    """Applies the passes of CHAINS but those named in ``skip``, after those of PASSES."""
    return _applied(CHAINS, graph, skip, trace)


def store_narrow(graph: Graph, skip: Collection[str] = (), trace: Callable[[str, Graph], None] | None = None) -> Graph:
    """Applies the passes of STORAGE but those named in ``skip``; no other pass may come after them."""
    return _applied(STORAGE, graph, skip, trace)


def _applied(
    passes: tuple[tuple[str, Pass], ...],
    graph: Graph,
    skip: Collection[str],
    trace: Callable[[str, Graph], None] | None,
) -> Graph:
    for name, function in passes:
        if name not in skip:
            graph = function(graph)
            if trace is not None:
                trace(name, graph)
    return graph
