"""A matrix times a vector: [[1, 2], [-1, -2]] x [[10], [100]], on every backend of this machine.

python examples/matrix.py
"""

from __future__ import annotations

import kigraph as ki


def main() -> None:
    graph = ki.Graph()
    with graph.as_default():
        matrix = ki.constant([[1.0, 2.0], [-1.0, -2.0]])
        vector = ki.placeholder(ki.float32, shape=[2, 1])
        product = ki.matmul(matrix, vector)

    print(f"{matrix.shape} x {vector.shape} -> {product.shape}")
    for backend in ki.available_backends():
        with ki.Session(graph, backend=backend) as session:
            result = session.run(product, {vector: [[10.0], [100.0]]})
        print(f"{backend:>7}: {result.tolist()}")


if __name__ == "__main__":
    main()
