"""kigraph.graph.models: built-in networks, for files that contain weights only.

architecture.py  the table of them, and which one a file's arrays belong to
inception_v3/    Inception v3
steps.py         what may precede and follow a network: resizing, scaling, dense layers, pooling
keras_layers.py  these steps from a Keras config; nodes.py: what all of them add nodes with
"""

from __future__ import annotations

from .architecture import ARCHITECTURES, Architecture, graph_of_weights

__all__ = ["ARCHITECTURES", "Architecture", "graph_of_weights"]
