"""Training: optimizers that add their updates to a graph, layers, and a model with fit, evaluate, predict and save.

optimizers.py   GradientDescent, Momentum, RMSProp, Adam, AdamW: one graph operation that updates all variables
clipping.py     gradients brought below a limit
schedules.py    learning rates by step: StepDecay, Exponential, Cosine, OneCycle
layers.py       Dense, Conv2D, pooling, BatchNorm, Dropout, ...: small recipes of graph ops with variables
initializers.py initial values of weights
model.py        Model: a stack of layers with a loss
training.py     its training loop
data.py         examples by batches: arrays and generators
photographs.py  photographs in folders, decoded in threads
callbacks.py    early stopping, TensorBoard, a base class for others
checkpoint.py   all state of a training run in one file, written atomically
history.py      metrics per epoch: CSV and a picture
freezing.py     variables to constants: the trained model as a plain graph
"""

from __future__ import annotations

from . import initializers, layers, schedules
from .callbacks import Callback, EarlyStopping, TensorBoard
from .data import Batch
from .freezing import freeze
from .history import History
from .model import Model
from .optimizers import Adam, AdamW, GradientDescent, Momentum, Optimizer, RMSProp
from .photographs import Folder, flip, folder, shift

__all__ = [
    "Adam", "AdamW", "Batch", "Callback", "EarlyStopping", "Folder", "GradientDescent", "History", "Model", "Momentum", "Optimizer",
    "RMSProp", "TensorBoard", "flip", "folder", "freeze", "initializers", "layers", "schedules", "shift",
]  # fmt: skip
