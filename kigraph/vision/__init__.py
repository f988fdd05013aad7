"""kigraph.vision: from an image file to the numbers that a network expects, and from its answer to labels.

Map of the folder::

    decode.py      bytes, paths, Pillow images or arrays -> uint8 pixels; every guard against hostile files
    files.py       which files of a folder are taken for photographs
    jpeg_header.py the header of an ordinary JPEG without Pillow
    pipeline.py    files decoded in threads, in order, a bounded number ahead of the network
    resize.py      the resizing rules of TensorFlow, torchvision and Keras, each exact, and the normalisation in one pass
    normalize.py   which range of numbers the weights were trained with; a card's preprocessing
    labels.py      label sets of 1000, 1001 and 1008 classes, and label files
"""

from __future__ import annotations

from .decode import ImageHeader, ImageLike, decode_image, image_header, read_image, to_pixels
from .labels import Label, LabelSet, label_set, read_label_file
from .normalize import Normalization, Preprocessing
from .resize import RESIZE_RULES, central_crop, resize

__all__ = [
    "RESIZE_RULES",
    "ImageHeader",
    "ImageLike",
    "Label",
    "LabelSet",
    "Normalization",
    "Preprocessing",
    "central_crop",
    "decode_image",
    "image_header",
    "label_set",
    "read_image",
    "read_label_file",
    "resize",
    "to_pixels",
]
