"""TFLite_Detection_PostProcess, the custom operator at the end of SSD detectors: boxes from offsets, then suppression.

As tensorflow/lite/kernels/detection_postprocess.cc in its usual form: one class for each box, all classes suppressed together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ...builder import Tensor
from ...formats.flatbuffers.flex import read_map
from .build import Converter, Refused, Use

__all__ = ["CUSTOM"]

_F32 = np.dtype(np.float32)


def _options(use: Use) -> dict[str, float]:
    try:
        return read_map(use.custom_options())
    except ValueError as error:
        raise Refused(str(error)) from None


def _post_process(use: Use) -> tuple[Tensor, ...]:
    """Inputs: offsets (1, n, 4), scores (1, n, classes), anchors (n, 4); results: boxes, classes, scores, their number."""
    options = _options(use)
    needed = {"max_detections", "num_classes", "nms_score_threshold", "nms_iou_threshold", *_SCALES}
    if missing := sorted(needed - options.keys()):
        raise Refused(f"without the option {missing[0]}")
    if options.get("use_regular_nms") or options.get("max_classes_per_detection", 1) != 1:
        raise Refused("classes suppressed one by one, or several for each box")
    most, classes, given = int(options["max_detections"]), int(options["num_classes"]), use.given(1).shape
    if len(given) != 3 or given[0] != 1 or not 0 < classes <= given[2] or not 0 < most <= 1 << 16:
        raise Refused(f"scores {given} of {classes} classes, {most} boxes")
    boxes = _boxes(use, options)
    scores = use.add("Reshape", [use.x(1), use.ints((given[1], given[2]))])
    scores = use.add("Slice", [scores, use.ints((0, given[2] - classes)), use.ints((-1, classes))])  # no background
    best = use.add("Max", [scores, use.ints((1,))], {"keep_dims": False})
    kind = use.add("ArgMax", [scores, use.ints(1)], {"output_type": np.dtype(np.int32)})
    least = np.nextafter(np.float32(options["nms_score_threshold"]), np.float32(-np.inf))  # what is equal is kept
    limits = [use.ints(most), use.scalar(options["nms_iou_threshold"]), use.scalar(float(least))]
    picked, count = use.all("NonMaxSuppressionV4", [boxes, best, *limits], {"pad_to_max_output_size": True}, 2)
    there = use.add("Less", [use.build.known(np.arange(most)), count])
    found = [
        _kept(use, use.add("ExpandDims", [there, use.ints(1)]), boxes, picked),
        _kept(use, there, use.add("Cast", [kind], {"DstT": _F32}), picked),
        _kept(use, there, best, picked),
        use.add("Cast", [count], {"DstT": _F32}),
    ]
    return tuple(use.add("ExpandDims", [t, use.ints(0)]) for t in found)


_SCALES = ("y_scale", "x_scale", "h_scale", "w_scale")


def _boxes(use: Use, options: Mapping[str, float]) -> Tensor:
    """(top, left, bottom, right) of all anchors, moved and resized by the offsets."""
    count = use.given(0).shape[1] if len(use.given(0).shape) == 3 else 0
    offsets = use.add("Reshape", [use.x(0), use.ints((count, 4))])
    moves = use.all("Split", [use.ints(1), offsets], {"num_split": 4}, 4)
    y, x, h, w = (
        use.add("Mul", [m, use.scalar(1 / options[s] if options[s] else math.inf)])
        for m, s in zip(moves, _SCALES, strict=True)
    )
    anchors = use.all("Split", [use.ints(1), use.x(2)], {"num_split": 4}, 4)
    lows, highs = [], []
    for move, size, at, side in ((y, h, anchors[0], anchors[2]), (x, w, anchors[1], anchors[3])):
        center = use.add("AddV2", [use.add("Mul", [move, side]), at])
        half = use.add("Mul", [use.add("Mul", [use.add("Exp", [size]), side]), use.scalar(0.5)])
        lows.append(use.add("Sub", [center, half]))
        highs.append(use.add("AddV2", [center, half]))
    return use.add("ConcatV2", [*lows, *highs, use.ints(1)], {"N": 4})


def _kept(use: Use, there: Tensor, values: Tensor, picked: Tensor) -> Tensor:
    """The values of the boxes that are left, zeros where there are less than the most."""
    taken = use.add("GatherV2", [values, picked, use.ints(0)], {"batch_dims": 0})
    return use.add("SelectV2", [there, taken, use.scalar(0)])


#: Custom operators by name.
CUSTOM: Mapping[str, Converter] = {"TFLite_Detection_PostProcess": _post_process}
