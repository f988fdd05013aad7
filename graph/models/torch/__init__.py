"""Networks of torchvision and timm, built from their state dicts: sizes from the arrays' shapes, the rest the family's rule.

arrays.py        the arrays of a file, and which of them were used
net.py           the vocabulary: convolution with batch norm and activation, pools, dense layers, attention
table.py         the networks, and by which arrays each is known
resnet.py   vgg.py   densenet.py   googlenet.py   squeezenet.py   shufflenet.py   mobilenet.py   mnasnet.py
efficientnet.py   regnet.py   convnext.py   vit.py   swin.py
"""

from __future__ import annotations

from .table import NETWORKS, TITLES, Network, build_torch, fits_torch

__all__ = ["NETWORKS", "TITLES", "Network", "build_torch", "fits_torch"]
