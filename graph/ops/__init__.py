"""The public op functions, with TensorFlow 1's signatures.

core.py: constants, placeholders, variables. math.py: arithmetic, matmul, reductions. array.py: shapes, slices, joins.
nn.py: convolutions, pooling, activations, images, strings. special.py: rarer activations and functions, einsum.
indexing.py: picking and placing by indices, running sums, quantised numbers. image.py: resizing, blocks of cells.
finding.py: where shapes depend on values; matrices. losses.py: cross-entropy, moments. building.py: what these are built with.
composed.py: activations that are no op of their own, for the builders of networks.

A function is public once its module's ``__all__`` lists it: it is then in this package and in ``kigraph``. Type checkers
read ``__init__.pyi``.
"""

from __future__ import annotations

from . import array, core, finding, image, indexing, losses, math, nn, special
from .array import getitem  # noqa: F401 - what tensor[key] calls
from .math import matmul_operator  # noqa: F401 - what a @ b calls

_MODULES = (core, array, math, nn, special, indexing, image, finding, losses)

__all__ = [name for module in _MODULES for name in module.__all__]  # pyright: ignore[reportUnsupportedDunderAll]

globals().update({name: getattr(module, name) for module in _MODULES for name in module.__all__})
