"""Draws a graph as DOT, SVG and HTML: J = 3 (a + b c) with its values, or the graph of a model file.

python examples/draw_graph.py [--out FOLDER] [MODEL]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import kigraph as ki


def formula() -> tuple[ki.Graph, dict[str, float]]:
    """The graph of J = 3 (a + b c), and the values of its inner tensors for one choice of inputs."""
    graph = ki.Graph()
    with graph.as_default():
        a = ki.placeholder(ki.float32, shape=[], name="a")
        b = ki.placeholder(ki.float32, shape=[], name="b")
        c = ki.placeholder(ki.float32, shape=[], name="c")
        u = ki.multiply(b, c, name="u")
        v = ki.add(a, u, name="v")
        j = ki.multiply(3.0, v, name="J")
    inputs = {"a": 5.0, "b": 3.0, "c": 2.0}
    with ki.Session(graph) as session:
        return graph, inputs | session.run({"u": u, "v": v, "J": j}, inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description="draw a graph as DOT, SVG and HTML")
    parser.add_argument("model", nargs="?", help="a model file; default: the formula J = 3 (a + b c)")
    parser.add_argument("--out", default="out", help="folder for the pictures (default: out)")
    args = parser.parse_args()

    if args.model:
        graph, values, title = ki.load(args.model).graph, {}, Path(args.model).name
    else:
        (graph, values), title = formula(), "J = 3 (a + bc)"

    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, draw in (("dot", ki.to_dot), ("svg", ki.to_svg), ("html", ki.to_html)):
        path = folder / f"graph.{suffix}"
        path.write_text(draw(graph, values=values, title=title), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
