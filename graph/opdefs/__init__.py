"""Op types of the graph: how each becomes a contract with parameters, and the types of its outputs.

base.py: Site, Lowered, OpDef. attributes.py: how an op states its attributes. channels.py: channels first or last.
The definitions: math.py, nn.py, windows.py, fused.py, resample.py, blocks.py, boxes.py, colours.py, array.py, slices.py,
passing.py, indexing.py, finding.py, quantization.py, quantized.py, gradients.py, strings.py, images.py, random.py, lists.py,
control.py. composed.py: activations made of ops. unserved.py: what is known of other ops. table.py: all definitions, OPDEFS.
resolve.py: the contract of a node.
"""

from __future__ import annotations

from ...kernels.tensor import TensorType
from .array import STRUCTURAL as _ARRAY_STRUCTURAL
from .attributes import Foreign
from .base import Lowered, NeedsValue, OpDef, Site
from .channels import CHANNELS, channels_last, last_attrs, last_order
from .control import BRANCHING, LOOPS, OF_PROGRAMS
from .control import CONTROL as _CONTROL
from .lists import LISTS
from .random import RANDOM
from .resolve import DESCRIBES, Known, Resolved, is_small, resolve, site_of
from .table import OPDEFS, OWN, opdef
from .unserved import SOURCES, WHY, stated_types

__all__ = [
    "BRANCHING",
    "CHANNELS",
    "CONTROL",
    "DESCRIBES",
    "LISTS",
    "LOOPS",
    "OF_PROGRAMS",
    "OPDEFS",
    "OWN",
    "RANDOM",
    "SOURCES",
    "STAGED",
    "STRUCTURAL",
    "WHY",
    "Foreign",
    "Known",
    "Lowered",
    "NeedsValue",
    "OpDef",
    "Resolved",
    "Site",
    "TensorType",
    "channels_last",
    "is_small",
    "last_attrs",
    "last_order",
    "opdef",
    "resolve",
    "site_of",
    "stated_types",
]

#: Control flow, random numbers, and lists of tensors.
CONTROL = _CONTROL | RANDOM | LISTS
#: Op types that have no kernel.
STRUCTURAL = _ARRAY_STRUCTURAL | CONTROL
#: Of these, what runs as a stage of its own (plan/staged.py).
STAGED = CONTROL - BRANCHING
