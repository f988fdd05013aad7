"""TensorFlow 1's names: what kigraph.compat.v1 finds.

dtypes.py shapes.py graph.py building.py   element types, shapes, the graph, how ops are added
math.py array.py nn.py random.py image.py  the ops
variables.py scopes.py initializers.py     Variable, get_variable
control.py                                 cond, while_loop, Print, Assert
layers.py losses.py train/                 tf.layers, tf.losses, tf.metrics, tf.train
session.py importing.py files.py summary.py running.py errors.py
names.py missing.py                        what each name is; what is not here
"""

from __future__ import annotations

__all__: list[str] = []
