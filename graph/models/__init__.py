"""kigraph.graph.models: built-in networks.

inception_layers.py   Inception v3 as a table: layers, blocks, the names that others give them
inception_weights.py  weights of torchvision, Keras or kigraph names for that table; seeded weights
inception_v3.py       the table as a graph; options; the frozen form of 2015
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..builder import Graph
    from ..loaders.weights import WeightsFile

__all__ = ["graph_of_weights"]


def graph_of_weights(file: WeightsFile) -> Graph:
    """The built-in network that a weights-only file belongs to, with the file's weights.

    ``graph.metadata['family']`` says whose names the file has: 'torchvision', 'keras' or 'kigraph'. LoadError if the
    arrays are those of no built-in network.
    """
    from .inception_v3 import build_from_file

    return build_from_file(file)
