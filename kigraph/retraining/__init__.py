"""kigraph.retraining: a trained network learns the classes of a user's own photographs.

Map of the folder::

    running.py     retrain(): the whole run, step by step
    photos.py      a folder of photographs: classes, copies, and which photograph is for training, validation, test
    trunk.py       a classifier cut before its last dense layer
    features.py    what the trunk makes of each photograph, kept in the cache folder
    augment.py     variants of a photograph
    head.py        the new last layer: softmax regression, solved to convergence; lbfgs.py its solver
    joined.py      trunk and head as one graph, with its card
    measures.py    accuracy, its interval, confusion, mistakes
    page.py        the report in HTML
    result.py      Retrained, and the files that a run leaves
"""

from __future__ import annotations

from .result import Retrained
from .running import retrain

__all__ = ["Retrained", "retrain"]
