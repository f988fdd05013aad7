"""The table of converters: (domain, op type) -> function. Written out by family; node.py has an example of a converter."""

from __future__ import annotations

from collections.abc import Mapping

from . import (
    activations,
    arrays,
    attention,
    contrib,
    control,
    conv,
    finding,
    folding,
    indexing,
    losses,
    math,
    norm,
    pool,
    quant,
    quant_contrib,
    random,
    recurrent,
    reduce,
    resize,
    sampling,
    sequences,
    shapes,
    spectra,
)
from .node import Converter

__all__ = ["CONVERTERS"]

#: ONNX's own operators, in the order of the family's modules.
_OWN = (
    conv,
    pool,
    math,
    activations,
    arrays,
    indexing,
    shapes,
    reduce,
    norm,
    resize,
    quant,
    control,
    losses,
    attention,
    finding,
    recurrent,
    sampling,
    random,
    folding,
    spectra,
    sequences,
)

CONVERTERS: Mapping[tuple[str, str], Converter] = {
    # ONNX Runtime's optimiser writes this one under ONNX's own name.
    ("", "SimplifiedLayerNormalization"): contrib.CONTRIB["SimplifiedLayerNormalization"],
    **{("", name): function for module in _OWN for name, function in module.CONVERTERS.items()},
    **{
        ("com.microsoft", name): function
        for module in (quant_contrib, contrib)
        for name, function in module.CONTRIB.items()
    },
}
