"""kigraph.graph.models.keras: Keras models, from the config that a file holds to a graph.

network.py     the models of a config, called layer by layer; build_keras
config.py      the config as data: layers and their calls      variables.py   which variables a layer has
weights.py     which array of the file is which variable       facts.py       what a card needs to know
table.py       class -> what builds it: all layers that are known
building.py    one call of a layer: its config, weights and tensors
dense.py conv.py pooling.py norms.py activations.py shapes.py merge.py images.py attention.py recurrent.py discrete.py applications.py   layers
operations.py operations_shape.py arguments.py   functions on tensors (keras.ops, TFOpLambda)

A class of a config is only a name; nothing of a file is imported or run. Half precision (mixed_float16, mixed_bfloat16) is
computed in float32, which is closer to the exact result; ``graph.metadata['precision']`` says so.
"""

from __future__ import annotations

from .network import build_keras

__all__ = ["build_keras"]
