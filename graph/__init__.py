"""kigraph.graph: what to compute, when, and into which memory.

Map of the folder (arrows of import point down only)::

    models/              the edge: built-in networks, for files that contain weights only
    writers/ loaders/    files of other programs: written, and read without trusting them
    gradients/           the backward graph: one gradient function per contract
    session.py           feeds and fetches to plans, threads, variables
    profile.py           times of a plan's steps: table, roofline, trace, picture
    draw/                DOT, SVG and HTML of a graph
    plan/                a compiled plan: stages, kernels, buffers, explain()
    packed/              packed weights: per graph in memory, and in the cache folder
    passes/              one file per rewrite, each a pure function Graph -> Graph
    rewrite.py           the one helper through which passes edit a graph
    ops/                 the public, typed op functions (matmul, conv2d, ...)
    feeds.py             what users feed: keys and values
    fetches.py           nested fetches and their results
    builder.py           the only mutable part: Graph with its default stack and name scopes; Operation and Tensor
    inference.py         what is known while a graph is built: types, small constants, entries of shapes
    values.py            what users write, as arrays, element types and shapes
    evaluate.py          one op immediately, with the reference backend
    formats/             how such files are laid out: Protocol Buffers, HDF5, zip, pickle; limits and budgets
    opdefs/              op type -> contract and parameters; shape inference
    ir.py                the immutable graph: Node, Port, Literal, Graph
    symbolic.py          what a tensor is to Python: operators, and what it refuses
    collecting.py        no cycles are looked for while a model is read and compiled
    signatures.py        how a file says that it is called
    hints.py errors.py   similar names; the exceptions
"""

if __name__ != "kigraph.graph":
    raise ImportError(
        f"this folder is the package 'kigraph.graph', but it was imported as {__name__!r}; "
        "use 'import kigraph.graph' (or 'import kigraph as ki')."
    )

__all__: list[str] = []
