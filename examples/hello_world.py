"""Hello World: a constant string, taken out of a graph by a session.

python examples/hello_world.py
"""

from __future__ import annotations

import kigraph as ki


def main() -> None:
    graph = ki.Graph()
    with graph.as_default():
        hello = ki.constant("Hello World")

    # Nothing has run yet: hello is a tensor, a place in the graph where a value will be.
    print("the tensor:", hello)

    with ki.Session(graph) as session:
        value = session.run(hello)
    print("its value: ", value.decode())


if __name__ == "__main__":
    main()
