"""kigraph.graph.models: built-in networks, for files that contain weights only.

architecture.py  the table of them, and which one a file's arrays belong to
inception_v3/    Inception v3
steps.py         what follows its blocks: pooling, a dense layer, softmax; nodes.py: what nodes are added with
torch/           networks of torchvision and timm
keras/           any Keras model, from the config in its file
"""

from __future__ import annotations

from .architecture import ARCHITECTURES, Architecture, graph_of_weights

__all__ = ["ARCHITECTURES", "Architecture", "graph_of_weights"]
