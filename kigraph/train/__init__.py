"""Training: optimizers that add their updates to a graph, layers, and a model with fit, evaluate, predict and save.

optimizers.py   GradientDescent, Momentum, RMSProp, Adam: one graph operation that updates all variables
layers.py       Dense, Conv2D, pooling, BatchNorm, Dropout, ...: small recipes of graph ops with variables
model.py        Model: a stack of layers with a loss; its training loop
checkpoint.py   all state of a training run in one file, written atomically
history.py      metrics per epoch: CSV and a picture
freezing.py     variables to constants: the trained model as a plain graph
"""

from __future__ import annotations

from . import layers
from .freezing import freeze
from .history import History
from .model import Model
from .optimizers import Adam, GradientDescent, Momentum, Optimizer, RMSProp

__all__ = ["Adam", "GradientDescent", "History", "Model", "Momentum", "Optimizer", "RMSProp", "freeze", "layers"]
