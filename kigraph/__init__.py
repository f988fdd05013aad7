"""kigraph: a tensor kernel library with a graph executor."""
