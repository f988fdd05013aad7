"""JPEG, pixel for pixel as TensorFlow's DecodeJpeg gives it: libjpeg-turbo through simplejpeg.

libjpeg forgives much and says so in warnings; TensorFlow takes its pixels all the same, but for a file that ends before its
end marker. Whether it does is determined here, from the order of the markers. Format: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any

import numpy as np

from ..contracts.strings import DecodeImageParams
from ..records import dataclass
from ..tensor import Array
from .image_files import MAX_SCANNED, MAX_SCANS, check_size, damaged, library, reason, refused
from .jpeg_recovery import recovered

__all__ = ["cropped_jpeg", "decode_jpeg", "jpeg_shape"]

_SOI, _EOI, _SOS, _APP14 = 0xD8, 0xD9, 0xDA, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Baseline, extended, progressive; the last two arithmetic-coded. TensorFlow refuses lossless and hierarchical ones.
_READABLE = frozenset([0xC0, 0xC1, 0xC2, 0xC9, 0xCA])
_PROGRESSIVE = frozenset([0xC2, 0xCA])
#: Markers on which libjpeg stops wherever they are: reserved, JPG, hierarchical.
_UNKNOWN = frozenset([*range(0x02, 0xC0), 0xC8, 0xDE, 0xDF, *range(0xF0, 0xFE)])
#: Tables: DHT, DAC, DQT, DRI.
_TABLES = frozenset([0xC4, 0xCC, 0xDB, 0xDD])
#: A marker that is followed by a segment or ends the picture: no stuffed byte, no restart.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])", re.DOTALL)
_MAX_SEGMENTS = 100_000


@dataclass(slots=True)
class _Markers:
    """What the markers say.

    ``adobe``: an APP14 segment; such files store CMYK inverted. ``whole``: the first scan has all components of a
    sequential frame, so it is the only one. ``late``: tables after such a scan.
    """

    frame: int = 0
    precision: int = 8
    height: int = 0
    width: int = 0
    components: int = 0
    sampling: bytes = b""  # of each component, across and down
    scans: int = 0
    whole: bool = False
    late: bool = False
    adobe: bool = False
    ended: bool = False
    stray: list[tuple[int, int]] = field(default_factory=list)  # bytes between segments before the first scan


def _markers(data: bytes) -> _Markers:
    found, at = _Markers(), 2
    for _ in range(_MAX_SEGMENTS):
        match = _MARKER.search(data, at)
        if match is None:
            return found
        if match.start() > at and not found.scans:
            found.stray.append((at, match.start()))
        marker, at = match[1][0], match.end()
        if marker in (_SOI, _EOI):  # a second start is an error of the decoder's
            found.ended = marker == _EOI
            return found
        length = int.from_bytes(data[at : at + 2], "big")
        content = data[at + 2 : at + min(length, 20)]
        if marker in _UNKNOWN:
            raise damaged("jpeg", f"it has the reserved marker 0x{marker:02x} at byte {match.start():,}")
        if marker in _FRAMES and found.frame:
            raise damaged("jpeg", f"it has a second frame at byte {match.start():,}")
        if marker in _FRAMES and len(content) >= 6:
            found.frame, found.precision, found.components = marker, content[0], content[5]
            found.sampling = content[7 : 6 + 3 * content[5] : 3]
            found.height, found.width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
        elif marker == _SOS:
            if found.whole:
                raise damaged("jpeg", f"it has a second scan at byte {match.start():,}; the first had all components")
            found.scans += 1
            if found.scans == 1 and content:
                found.whole = found.frame not in _PROGRESSIVE and content[0] >= found.components
        elif marker in _TABLES:
            found.late |= found.whole
        elif marker == _APP14 and not found.scans:
            found.adobe |= length >= 14 and content.startswith(b"Adobe")
        at += max(length, 2)
    raise refused(f"the JPEG has more than {_MAX_SEGMENTS:,} segments")


def _checked(data: bytes, channels: int, params: DecodeImageParams) -> _Markers:
    found = _markers(data)
    if not found.frame or not found.scans:
        raise refused("not a readable JPEG: it has no frame or no scan")
    if found.frame not in _READABLE or found.precision != 8:
        raise refused(
            f"the JPEG has frame type SOF{found.frame - 0xC0} with {found.precision} bits; "
            "read are baseline, extended and progressive ones with 8 bits"
        )
    if found.components not in (1, 3, 4):
        raise refused(f"the JPEG has {found.components} components; read are 1, 3 and 4")
    check_size(
        "jpeg", found.height, found.width, pixel_bytes=(channels or min(found.components, 3)) * params.dtype.itemsize
    )
    if found.scans > MAX_SCANS or found.scans * found.height * found.width > MAX_SCANNED:
        most = min(MAX_SCANS, MAX_SCANNED // (found.height * found.width))
        raise refused(f"the JPEG has {found.scans} scans; at most {most} are read for its size")
    if not found.ended and not params.try_recover_truncated:
        raise refused(
            "the JPEG is damaged or truncated: it ends without its end marker. "
            "Remedy: try_recover_truncated=True decodes what is there"
        )
    return found


def _check_scalable(height: int, width: int, ratio: int) -> None:
    """simplejpeg takes a size, not a ratio: refuses the few small sizes that two ratios give."""

    def scaled(eighths: int) -> tuple[int, int]:
        return -(-height * eighths // 8), -(-width * eighths // 8)

    wanted = 8 // ratio
    if scaled(wanted) in (scaled(wanted + 1), wanted > 1 and scaled(wanted - 1)):
        raise refused(
            f"a JPEG of {height} x {width} pixels is too small for ratio {ratio}; expected more than 6 a side"
        )


def _cmyk_to_rgb(cmyk: Array, inverted: bool) -> Array:
    """TensorFlow's conversion (core/lib/jpeg/jpeg_mem.cc): channel * black / 255 on inverted values."""
    rgb = np.empty((*cmyk.shape[:2], 3), np.uint8)
    for row, inks in zip(rgb, cmyk, strict=True):
        wide = inks.astype(np.int32)
        if not inverted:
            wide = 255 - wide
        row[:] = wide[:, :3] * wide[:, 3:] // 255
    return rgb


def _pixels(data: bytes, options: dict[str, Any], shape: tuple[int, ...], late: bool) -> Array:
    """Pixels of a JPEG, of one with warnings as well.

    simplejpeg takes an error after a warning for a warning and returns the buffer's old content; two buffers reveal that.
    """
    jpeg: Any = library("simplejpeg", "simplejpeg")
    try:
        return jpeg.decode_jpeg(data, **options)
    except (ValueError, LookupError) as error:
        if "subsampling" in str(error):
            raise refused("the JPEG has sampling factors that are not read; save it as 4:4:4 or 4:2:0") from None
        first = error
    if late:  # an error in them comes when all pixels are there
        raise damaged("jpeg", f"{reason(first)}, and it has tables after its only scan")
    try:
        zeros, ones = (
            jpeg.decode_jpeg(data, strict=False, buffer=np.full(shape, filler, np.uint8), **options)
            for filler in (0, 255)
        )
    except (ValueError, LookupError) as error:
        raise damaged("jpeg", reason(error)) from None
    if not np.array_equal(zeros, ones):
        raise damaged("jpeg", reason(first))
    return zeros


def decode_jpeg(data: bytes, channels: int, params: DecodeImageParams) -> Array:
    """Pixels (height, width, channels) uint8 of a JPEG; ``channels`` 0: 1 or 3 as in the file. Raises ImageError."""
    library("simplejpeg", "simplejpeg")
    if channels == 4:
        raise refused("a JPEG has no alpha; expected channels 0, 1 or 3, got 4")
    markers = _checked(data, channels, params)
    cmyk = markers.components == 4
    channels = channels or (1 if markers.components == 1 else 3)
    if cmyk and channels == 1:
        raise refused("a CMYK JPEG does not decode to 1 channel; expected channels 0 or 3")
    options: dict[str, Any] = {
        "colorspace": "CMYK" if cmyk else "GRAY" if channels == 1 else "RGB",
        "fastdct": params.dct_method != "INTEGER_ACCURATE",
        "fastupsample": not params.fancy_upscaling,
    }
    if params.ratio > 1:
        _check_scalable(markers.height, markers.width, params.ratio)
        # simplejpeg takes the smallest of libjpeg's sizes that is not below these: ceil(size / ratio), as in libjpeg.
        options["min_height"] = -(-markers.height // params.ratio)
        options["min_width"] = -(-markers.width // params.ratio)
    if markers.stray:  # libjpeg skips them, simplejpeg refuses them
        starts = [0, *(end for _, end in markers.stray)]
        ends = [*(start for start, _ in markers.stray), len(data)]
        data = b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))
    if not markers.ended:
        data = recovered(data)
    shape = tuple(-(-side // params.ratio) for side in (markers.height, markers.width))
    pixels = _pixels(data, options, (*shape, 4 if cmyk else channels), markers.late)
    return _cmyk_to_rgb(pixels, markers.adobe) if cmyk else pixels


def jpeg_shape(data: bytes) -> tuple[int, int, int]:
    """Height, width and number of channels that the head of a JPEG states. Raises ImageError."""
    found = _markers(data)
    if not found.frame or found.components not in (1, 3, 4):
        raise refused(
            f"not a readable JPEG: it has {'no frame' if not found.frame else f'{found.components} components'}"
        )
    check_size("jpeg", found.height, found.width)
    return found.height, found.width, found.components


def cropped_jpeg(data: bytes, channels: int, params: DecodeImageParams) -> Array:
    """The ``params.crop`` of a JPEG's pixels. Raises ImageError.

    TensorFlow decodes the columns of the crop alone, so where colours are halved across, smoothing sees no neighbours
    beyond them; that is refused.
    """
    assert params.crop is not None
    top, left, height, width = params.crop
    pixels = decode_jpeg(data, channels, params)
    if top + height > len(pixels) or left + width > pixels.shape[1]:
        raise refused(f"the crop {params.crop} is not inside of {len(pixels)} x {pixels.shape[1]} pixels")
    across = {s >> 4 for s in _markers(data).sampling}
    if len(across) > 1 and params.fancy_upscaling and width < pixels.shape[1]:
        raise refused(
            "DecodeAndCropJpeg of a JPEG whose colours have a lower resolution is not computed: its edges differ from those "
            "of the whole image. Remedy: DecodeJpeg and a slice, or fancy_upscaling=False"
        )
    return pixels[top : top + height, left : left + width]
