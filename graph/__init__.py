"""kigraph.graph: what to compute, when, and into which memory.

Map of the folder (arrows of import point down only)::

    loaders/ models/     the edge: weight files and built-in networks; nothing below imports them
    session.py           feeds and fetches to programs, threads, variables
    plan/                a compiled program: stages, kernels, buffers, explain()
    passes/              one file per rewrite, each a pure function Graph -> Graph
    ops.py               the public, typed op functions (matmul, conv2d, ...)
    builder.py           the only mutable part: Graph with its default stack and name scopes
    opdefs/              op type -> contract and parameters; shape inference
    rewrite.py           the one helper through which passes edit a graph
    ir.py                the immutable graph: Node, Port, Literal, Graph
    errors.py            the exceptions
"""

if __name__ != "kigraph.graph":
    raise ImportError(
        f"this folder is the package 'kigraph.graph', but it was imported as {__name__!r}; "
        "use 'import kigraph.graph' (or 'import kigraph as ki')."
    )

__all__: list[str] = []
