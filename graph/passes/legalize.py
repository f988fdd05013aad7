"""What changes what is run, not how fast: ops that no kernel serves as they are become ops that kernels serve.

The plan does so before any pass, also with ``skip_passes``, and so does whoever puts a branch's graph in place.
"""

from __future__ import annotations

from ..ir import Graph
from .expand_fused import expand_fused
from .legalize_layouts import legalize_layouts
from .split_groups import split_groups

__all__ = ["legalize"]


def legalize(graph: Graph) -> Graph:
    """Fused ops of other programs are taken apart, the channels go last, groups of channels apart; in this order."""
    return split_groups(legalize_layouts(expand_fused(graph)))
