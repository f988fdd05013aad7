"""J = 3 (a + b c): a computation graph, the values inside it, and what happens when one is substituted.

python examples/formula.py
"""

from __future__ import annotations

import kigraph as ki


def build() -> ki.Graph:
    """The graph: u = b c, v = a + u, J = 3 v."""
    graph = ki.Graph()
    with graph.as_default():
        a = ki.placeholder(ki.float32, shape=[], name="a")
        b = ki.placeholder(ki.float32, shape=[], name="b")
        c = ki.placeholder(ki.float32, shape=[], name="c")
        u = ki.multiply(b, c, name="u")
        v = ki.add(a, u, name="v")
        ki.multiply(3.0, v, name="J")
    return graph


def main() -> None:
    inputs = {"a": 5.0, "b": 3.0, "c": 2.0}
    with ki.Session(build()) as session:
        u, v, j = session.run(["u", "v", "J"], inputs)
        print(f"a = 5, b = 3, c = 2:    u = bc = {u:g}    v = a + u = {v:g}    J = 3v = {j:g}")

        # Any tensor can be fed. With v given, nothing above it is computed, so a, b and c need no values.
        print(f"v replaced by 7:        J = {session.run('J', {'v': 7.0}):g}")

        # With u given, b and c are not needed, but a is.
        v, j = session.run(["v", "J"], {"a": 5.0, "u": 10.0})
        print(f"u replaced by 10:       v = {v:g}    J = {j:g}")


if __name__ == "__main__":
    main()
