"""Networks of torchvision and timm, built from their state dicts: sizes from the arrays' shapes, the rest the family's rule.

arrays.py        the arrays of a file, and which of them were used
net.py           the vocabulary: convolution with batch norm and activation, pools, dense layers, attention
table.py         the networks, and by which arrays each is known
resnet.py   vgg.py   densenet.py   googlenet.py   squeezenet.py   shufflenet.py   mobilenet.py   mnasnet.py
efficientnet.py   regnet.py   convnext.py   vit.py   swin.py   inception_v4.py
timm_mobile.py   EfficientNet, MobileNet, MNASNet with timm's names, which are built by name only
"""

from __future__ import annotations

from .net import ACTIVATIONS, Net
from .table import NETWORKS, OTHERS, TITLES, Architecture, Network, build_torch, fits_torch, is_ambiguous

__all__ = [
    "ACTIVATIONS",
    "NETWORKS",
    "OTHERS",
    "TITLES",
    "Architecture",
    "Net",
    "Network",
    "build_torch",
    "fits_torch",
    "is_ambiguous",
]
