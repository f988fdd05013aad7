"""Inception v3.

layers.py   the network as a table: layers, blocks, the names that others give them (sizes: kernels/inception_v3.py)
weights.py  weights of torchvision, Keras or kigraph names for that table; seeded weights
files.py    whose names a file has, and the network that its arrays make
network.py  what is built: weights, options, head
build.py    the table as a graph; the frozen form of 2015
"""

from __future__ import annotations

__all__: list[str] = []
