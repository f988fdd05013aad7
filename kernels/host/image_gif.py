"""GIF and WebP, frame for frame as TensorFlow composes them.

GIF: blocks and composition here, Pillow undoes the compression of one frame after the other. The canvas is as large as the
largest frame, whatever the screen is said to be; every frame is drawn on the one before it, disposal or not; transparent
colours leave the canvas unchanged. Format: GIF89a. Composition: TensorFlow's core/lib/gif/gif_io.cc.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from ..errors import ImageError
from ..records import dataclass
from ..tensor import Array
from .image_files import bands, check_size, damaged, library, reason, refused
from .webp_header import webp_size

__all__ = ["decode_gif", "decode_webp"]

_MAX_FRAMES, _MAX_BLOCKS = 10_000, 1_000_000
_IMAGE, _EXTENSION, _CONTROL = 0x2C, 0x21, 0xF9
_INDICES = bytes(i for i in range(256) for _ in range(3))


@dataclass(frozen=True, slots=True)
class _Frame:
    left: int
    top: int
    width: int
    height: int
    interlaced: bool
    palette: bytes
    transparent: int | None
    data: bytes  # the size of codes, then sub-blocks


class _Reader:
    """Blocks of a GIF. EOFError where the file ends before they do."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.blocks = data, 6, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise EOFError
        self.at += count
        return self.data[self.at - count : self.at]

    def table(self, flags: int) -> bytes:
        return self.take(6 << (flags & 7)) if flags & 0x80 else b""

    def sub_blocks(self) -> bytes:
        """The first of them; the position ends after all."""
        first: bytes | None = None
        while True:
            self.blocks += 1
            if self.blocks > _MAX_BLOCKS:
                raise refused(f"the gif image has more than {_MAX_BLOCKS:,} blocks")
            content = self.take(self.take(1)[0])
            first = content if first is None else first
            if not content:
                return first


def _frames(data: bytes) -> list[_Frame]:
    """All frames. A file that ends inside or after a frame has those before, as in TensorFlow."""
    reader, frames, control = _Reader(data), [], None
    try:
        everywhere = reader.table(reader.take(7)[4])
        while True:
            kind = reader.take(1)[0]
            if kind == _EXTENSION:
                label, content = reader.take(1)[0], reader.sub_blocks()
                if label == _CONTROL and content and control is None:
                    control = content
                continue
            if kind != _IMAGE:
                break
            left, top, width, height, flags = struct.unpack("<HHHHB", reader.take(9))
            palette = reader.table(flags) or everywhere
            at = reader.at
            reader.take(1)
            reader.sub_blocks()
            shown = control is not None and len(control) == 4 and control[0] & 1
            transparent = control[3] if control is not None and shown else None
            compressed = data[at : reader.at]
            frames.append(_Frame(left, top, width, height, bool(flags & 0x40), palette, transparent, compressed))
            if width < 1 or height < 1:
                raise damaged("gif", f"a frame has {height} x {width} pixels")
            if len(frames) > _MAX_FRAMES:
                raise refused(f"the gif image has more than {_MAX_FRAMES:,} frames")
            control = None
    except EOFError:
        pass
    if not frames:
        raise damaged("gif", "it has no frame")
    return frames


def _indices(frame: _Frame) -> Array:
    """(height, width) uint8 of one frame, decompressed by Pillow as a still image."""
    pillow: Any = library("PIL.Image", "pillow")
    if not 2 <= frame.data[0] <= 8:
        raise damaged("gif", f"codes of {frame.data[0]} bits; expected 2 to 8")
    size = struct.pack("<HH", frame.width, frame.height)
    head = b"GIF89a" + size + b"\xf7\0\0" + _INDICES + b"\x2c" + bytes(4) + size + bytes([0x40 * frame.interlaced])
    try:
        with pillow.open(io.BytesIO(head + frame.data + b"\x3b"), formats=["GIF"]) as image:
            image.load()
            return bands(image, np.empty((frame.height, frame.width), np.uint8))
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ...
        raise damaged("gif", reason(error)) from None


def _draw(canvas: Array, frame: _Frame) -> None:
    if not frame.palette:
        raise damaged("gif", "a frame has no palette")
    rows, columns = max(0, len(canvas) - frame.top), max(0, canvas.shape[1] - frame.left)
    indices = _indices(frame)[:rows, :columns]
    palette = np.frombuffer(frame.palette, np.uint8).reshape(-1, 3)
    if indices.size and int(indices.max()) >= len(palette):
        raise damaged("gif", f"colour {int(indices.max())} of a palette of {len(palette)}")
    place = canvas[frame.top : frame.top + len(indices), frame.left : frame.left + indices.shape[1]]
    if frame.transparent is None:
        place[:] = palette[indices]
    else:
        opaque = indices != frame.transparent
        place[opaque] = palette[indices[opaque]]


def decode_gif(data: bytes, animated: bool, pixel_bytes: int = 3) -> Array:
    """Pixels (frames, height, width, 3) uint8; the first frame alone unless ``animated``. Raises ImageError."""
    library("PIL.Image", "pillow")
    frames = _frames(data)
    height, width = max(f.height for f in frames), max(f.width for f in frames)
    check_size("gif", height, width, len(frames), pixel_bytes)
    if not animated and all(f.height <= frames[0].height and f.width <= frames[0].width for f in frames):
        del frames[1:]  # they neither show nor make the canvas larger
    pixels = np.zeros((len(frames) if animated else 1, height, width, 3), np.uint8)
    for i, frame in enumerate(frames):
        if i >= len(pixels):  # it counts if it can be read
            _indices(frame)
            continue
        if i:
            pixels[i] = pixels[i - 1]
        _draw(pixels[i], frame)
    return pixels


def decode_webp(data: bytes, channels: int, animated: bool) -> Array:
    """Pixels (frames, height, width, 3 or 4) uint8; the first frame alone unless ``animated``. Raises ImageError."""
    pillow: Any = library("PIL.Image", "pillow")
    if len(data) < 30:
        raise damaged("webp", f"it has {len(data)} bytes")
    stated = webp_size(data)
    if stated is None:
        raise damaged("webp", f"it begins with chunk {data[12:16]!r}")
    check_size("webp", *stated[::-1])
    try:
        with pillow.open(io.BytesIO(data), formats=["WEBP"]) as image:
            own = len(image.getbands())
            frames = getattr(image, "n_frames", 1)
            moving = bool(getattr(image, "is_animated", False))
            size = (image.height, image.width)
            if moving and own != 4:
                raise refused("an animated webp image without alpha is not read: TensorFlow has no answer for it")
            if channels not in (0, own):
                raise refused(f"the webp image has {own} channels; expected channels 0 or {own}, got {channels}")
            frames = frames if animated else 1
            check_size("webp", *size, frames, own)
            pixels = np.empty((frames, *size, own), np.uint8)
            for i in range(frames):
                if i:
                    image.seek(i)
                bands(image, pixels[i])
    except ImageError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ...
        raise damaged("webp", reason(error)) from None
    return pixels
