"""The trained network and the photographs of flowers that measurements of accuracy use, where the checkout has them.

They lie in the folder that KIGRAPH_SHARED names, else in ../shared beside the checkout; everything here gives None or an empty
list without them. Packed files are unpacked once into the cache folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

__all__ = ["calibration", "int8_tflite", "labels_of", "photographs", "shared", "trained"]

SUFFIXES = (".jpg", ".jpeg")


def shared() -> Path:
    """The folder, which need not exist."""
    return Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[2] / "shared")


def trained() -> Path | None:
    """The trained Inception v3 as a GraphDef."""
    return _unpacked("models/inception_v3_flowers/frozen.pb.xz")


def int8_tflite() -> Path | None:
    """The same network as TensorFlow's converter quantised it."""
    return _unpacked("models/inception_v3_flowers_int8/int8.tflite.xz")


def _unpacked(name: str) -> Path | None:
    from .peers.quantised import unpacked

    packed = shared() / name
    return unpacked(packed) if packed.is_file() else None


def photographs(folder: Path | None = None, count: int | None = None) -> list[Path]:
    """JPEG files of a folder of classes, one of each class in turn, so that the first ``count`` are of all classes.

    folder: default: the 120 test photographs. Raises SystemExit for a folder without any.
    """
    where = folder or shared() / "photos" / "flowers"
    classes: dict[str, list[Path]] = {}
    for path in sorted(where.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            classes.setdefault(path.parent.name, []).append(path)
    if folder is not None and not classes:
        raise SystemExit(f"{folder} has no JPEG files in it or in its folders; expected a folder of photographs")
    found = [path for path in chain(*zip_longest(*classes.values())) if path is not None]
    return found[:count]


def calibration(count: int) -> list[Path]:
    """Photographs that are none of the test photographs."""
    folder = shared() / "photos" / "flowers_more"
    return photographs(folder, count) if folder.is_dir() else []


def labels_of(paths: Sequence[Path], classes: Sequence[str]) -> list[int] | None:
    """The number of each photograph's class, which its folder has for a name; None if one is no class."""
    numbers = {name: number for number, name in enumerate(classes)}
    found = [numbers.get(path.parent.name, -1) for path in paths]
    return None if -1 in found else found
