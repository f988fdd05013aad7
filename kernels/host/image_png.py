"""PNG, sample for sample as libpng gives it to TensorFlow: chunks and transformations here, zlib inflates, Pillow undoes
the filters.

Pillow alone gives no 16-bit colour, drops the transparency of a colour key, and reads files that libpng refuses. What it
gets here is a plain PNG of 8 bits without compression, so only its filters and its interlacing are in use.
Format: PNG specification, 2nd edition. Transformations: libpng 1.6 as TensorFlow calls it (core/lib/png/png_io.cc).
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import field
from typing import Any

import numpy as np

from ..records import dataclass
from ..tensor import Array
from .image_files import bands, check_size, damaged, library, reason, refused

__all__ = ["decode_png"]

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _GREY_ALPHA: (8, 16), _RGB_ALPHA: (8, 16)}
#: First column and row of each of Adam7's passes, and the steps between columns and rows.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
#: libpng's limits: pixels a side, bytes of a chunk that is no image data.
_MAX_SIDE, _MAX_CHUNK = 1_000_000, 8_000_000
_MAX_CHUNKS = 100_000
#: 0.299 and 0.587 of 32768, rounded down; blue has the rest.
_WEIGHTS = (9797, 19234, 3737)
_SRGB_GAMMA = 45455
_COLOUR_BYTES = {b"gAMA": 4, b"sRGB": 1, b"cHRM": 32}


@dataclass(slots=True)
class _File:
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    palette: bytes | None = None
    transparency: bytes | None = None
    gamma: int | None = None
    stated: bool = False  # by gAMA
    standard: bool = False  # sRGB: its gamma takes precedence over that of gAMA
    chromatic: bool = False  # cHRM was there
    invalid: bool = False  # a wrong statement on colour: libpng ignores all that follow
    doubtful: bool = False  # cHRM that libpng may take for wrong
    unclear: bool = False  # so it is unknown whether a gamma counts
    profile: bool = False
    significant_bits: bool = False
    data: list[bytes] = field(default_factory=list)

    @property
    def samples(self) -> int:
        return _SAMPLES[self.colour]

    def passes(self) -> list[tuple[int, int]]:
        """(rows, columns) of every pass that has pixels."""
        if not self.interlaced:
            return [(self.height, self.width)]
        sizes = [(-(-(self.height - y) // dy), -(-(self.width - x) // dx)) for x, y, dx, dy in _PASSES]
        return [(rows, columns) for rows, columns in sizes if rows > 0 and columns > 0]

    def row_bytes(self, columns: int) -> int:
        return (columns * self.depth * self.samples + 7) // 8


def _header(content: bytes) -> _File:
    if len(content) != 13:
        raise damaged("png", f"its header has {len(content)} bytes, expected 13")
    width, height, depth, colour, method, filters, interlaced = struct.unpack(">IIBBBBB", content)
    if colour not in _SAMPLES or depth not in _DEPTHS[colour]:
        raise damaged("png", f"there is no colour type {colour} with {depth} bits")
    if method or filters or interlaced > 1:
        raise damaged("png", f"unknown compression {method}, filter {filters} or interlacing {interlaced}")
    check_size("png", height, width)
    if max(height, width) > _MAX_SIDE:
        raise refused(f"the png image has {height} x {width} pixels; at most {_MAX_SIDE:,} a side are read")
    return _File(width, height, depth, colour, bool(interlaced))


def _chunk(data: bytes, at: int) -> tuple[bytes, bytes, bool]:
    """Name and content of the chunk there, and whether its checksum is right."""
    if at + 12 > len(data):
        raise damaged("png", "it ends without IEND")
    length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
    if not kind.isalpha() or not kind.isascii():
        raise damaged("png", f"found {kind!r} where the name of a chunk belongs")
    if at + 12 + length > len(data):
        raise damaged("png", f"chunk {kind.decode()} has {length:,} bytes, the file ends before them")
    if length > _MAX_CHUNK and kind != b"IDAT":
        raise refused(f"chunk {kind.decode()} of the png image has {length:,} bytes; at most {_MAX_CHUNK:,} are read")
    content = data[at + 8 : at + 8 + length]
    whole = zlib.crc32(content, zlib.crc32(kind)) == int.from_bytes(data[at + 8 + length : at + 12 + length], "big")
    return kind, content, whole


def _read(data: bytes) -> _File:
    """The chunks that matter. What libpng refuses is refused, what it warns of and leaves out is left out."""
    file: _File | None = None
    at, open_data = 8, False
    for _ in range(_MAX_CHUNKS):
        kind, content, whole = _chunk(data, at)
        critical = not kind[0] & 0x20
        at += 12 + len(content)
        if not whole and critical:
            raise damaged("png", f"the checksum of chunk {kind.decode()} is wrong")
        if file is None:
            if kind != b"IHDR":
                raise damaged("png", f"it begins with chunk {kind.decode()}, expected IHDR")
            file = _header(content)
        elif kind == b"IDAT":
            if file.colour == _PALETTE and file.palette is None:
                raise damaged("png", "its palette is missing")
            if not file.data or open_data:
                file.data.append(content)
                open_data = True
        elif kind == b"IEND":
            if not file.data:
                raise damaged("png", "it has no image data")
            return file
        elif critical and kind != b"PLTE":
            raise damaged("png", f"unknown critical chunk {kind.decode()}")
        elif whole:
            _ancillary(file, kind, content)
        open_data = open_data and kind == b"IDAT"
    raise refused(f"the png image has more than {_MAX_CHUNKS:,} chunks")


def _ancillary(file: _File, kind: bytes, content: bytes) -> None:
    if kind == b"PLTE" and file.palette is not None:
        raise damaged("png", "it has two palettes")
    if file.data:  # after the image data nothing else counts
        return
    if kind == b"PLTE":
        _palette(file, content)
    elif kind == b"tRNS" and file.transparency is None:
        _transparency(file, content)
    elif kind in _COLOUR_BYTES:
        if file.palette is None and len(content) == _COLOUR_BYTES[kind] and not file.invalid:
            _colour_space(file, kind, content)
    elif kind == b"iCCP":
        file.profile = True
    elif kind == b"sBIT":
        file.significant_bits = True


def _palette(file: _File, content: bytes) -> None:
    wrong = len(content) % 3 or len(content) > 768
    if (not content and file.colour in (_RGB, _RGB_ALPHA)) or (file.colour == _PALETTE and (wrong or not content)):
        raise damaged("png", f"its palette has {len(content)} bytes")
    file.palette = content[: 3 << file.depth] if file.colour == _PALETTE else b""


def _transparency(file: _File, content: bytes) -> None:
    expected = {_GREY: len(content) == 2, _RGB: len(content) == 6, _PALETTE: bool(file.palette)}
    if file.colour == _PALETTE and file.palette and not 0 < len(content) <= len(file.palette) // 3:
        return
    if expected.get(file.colour, False):
        file.transparency = content


def _colour_space(file: _File, kind: bytes, content: bytes) -> None:
    """gAMA, sRGB and cHRM. A wrong or a second one leaves what is known, and makes all that follow void."""
    if kind == b"gAMA":
        gamma = int.from_bytes(content, "big")
        if not 16 <= gamma <= 625_000_000 or file.stated:
            file.invalid = True
        elif not file.standard:
            file.gamma, file.stated, file.unclear = gamma, True, file.doubtful
    elif kind == b"sRGB":
        if content[0] > 3 or file.standard:
            file.invalid = True
        else:
            file.gamma, file.standard, file.unclear = _SRGB_GAMMA, True, file.doubtful
    else:
        values = struct.unpack(">8I", content)
        if max(values) >= 2**31:
            return
        plausible = _plausible(values)
        file.invalid, file.doubtful = file.chromatic or plausible is False, plausible is None
        file.chromatic = True


def _plausible(values: tuple[int, ...]) -> bool | None:
    """Whether libpng takes chromaticities (x, y of white, red, green and blue, of 100,000) for possible; None: doubtful.

    libpng computes in rounded integers; clear of their errors it is a matter of signs: white is a mixture of the three.
    """
    if any(x + y > 100_000 for x, y in zip(values[::2], values[1::2], strict=True)) or values[1] < 5:
        return False
    points = np.array([(x, y, 100_000 - x - y) for x, y in zip(values[::2], values[1::2], strict=True)]).T / 100_000
    if values[1] < 1000 or abs(np.linalg.det(points[:, 1:])) < 0.01:
        return None
    shares = np.linalg.solve(points[:, 1:], points[:, 0] / points[1, 0])
    if shares.min() < -0.05:
        return False
    return True if shares.min() > 0.2 and shares.max() < 10 else None


def _inflated(file: _File) -> bytes:
    """The filtered rows of all passes."""
    wanted = sum(rows * (1 + file.row_bytes(columns)) for rows, columns in file.passes())
    inflate = zlib.decompressobj()
    try:
        rows = inflate.decompress(b"".join(file.data), wanted)
        more = inflate.decompress(inflate.unconsumed_tail, 1)  # none; but the checksum is verified
    except zlib.error as error:
        raise damaged("png", reason(error)) from None
    file.data.clear()
    if len(rows) != wanted:
        raise damaged("png", f"it has {len(rows):,} of {wanted:,} bytes of pixels")
    if more or not inflate.eof:
        raise damaged("png", f"its data go on after {wanted:,} bytes of pixels")
    return rows


def _lane(file: _File, rows: bytes, lane: int) -> bytes:
    """High (0) or low (1) bytes of the rows of 16-bit samples: filters never mix them."""
    out, at = [], 0
    for count, columns in file.passes():
        part = np.frombuffer(rows, np.uint8, count * (1 + file.row_bytes(columns)), at).reshape(count, -1)
        at += part.size
        out.append(np.concatenate([part[:, :1], part[:, 1 + lane :: 2]], axis=1).tobytes())
    return b"".join(out)


def _unfiltered(file: _File, rows: bytes) -> Array:
    """(height, width, samples) uint8 of at most 8 bits, unscaled."""
    pillow: Any = library("PIL.Image", "pillow")
    grey = file.colour in (_GREY, _PALETTE)
    depth = min(file.depth, 8)
    # Grey is passed as a palette, too: Pillow returns indices as they are, and scales grey.
    header = struct.pack(
        ">IIBBBBB", file.width, file.height, depth, _PALETTE if grey else file.colour, 0, 0, file.interlaced
    )
    plain = io.BytesIO()
    plain.write(b"\x89PNG\r\n\x1a\n")
    palette = bytes(768) if grey else b""
    for kind, content in ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")):
        if content or kind == b"IEND":
            plain.write(struct.pack(">I", len(content)) + kind)
            plain.write(content)
            plain.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))
    plain.seek(0)
    try:
        with pillow.open(plain, formats=["PNG"]) as image:
            image.load()
            return bands(image, np.empty((file.height, file.width, file.samples), np.uint8))
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, ...
        raise damaged("png", reason(error)) from None


def _plain(gamma: int) -> bool:
    """Whether libpng takes a gamma (of 100,000) for 1."""
    return 95_000 <= gamma <= 105_000


def _reciprocal(gamma: int) -> int:
    return int(1e10 / gamma + 0.5)


def _table(gamma: int, bits: int, shift: int) -> Array:
    """A power of every value of ``bits`` bits, by the value shifted down."""
    count, top = 1 << (bits - shift), (1 << bits) - 1
    steps = np.arange(count)
    if _plain(gamma):
        return (steps * top + count // 2) // (count - 1) if shift else steps
    return np.floor(top * (steps / (count - 1)) ** (gamma * 1e-5) + 0.5).astype(np.int64)


def _rounded(gamma: int, shift: int) -> Array:
    """What 16-bit grey becomes on its way to 8 bits, where libpng corrects the gamma: the nearest multiple of 257."""
    count = 1 << (16 - shift)
    middles = (np.arange(255) * 257 + 128) / 65535
    bounds = np.floor(65535 * middles ** (gamma * 1e-5) + 0.5).astype(np.int64)
    bounds = (bounds * (count - 1) + 32768) // 65535 + 1
    return np.searchsorted(bounds, np.arange(count), side="right") * 257


def _grey(file: _File, pixels: Array, bits: int) -> Array:
    """(height, width, 1) of (height, width, 3), weighted in fixed point; on linear light if the file states a gamma.

    ``bits``: of the output, 8 or 16. Without a gamma 8-bit samples are cut off, all others rounded.
    """
    if file.profile:
        raise refused(
            "the png image has a colour profile, on which grey depends. Remedy: decode to 3 channels, then make it grey"
        )
    if file.unclear:
        raise refused(
            "the png image has unusual chromaticities (cHRM), on which it depends whether its gamma counts for grey. "
            "Remedy: decode to 3 channels, then make it grey"
        )
    gamma, shift, half = file.gamma or 100_000, 0, int(file.depth == 16) << 14
    linear = back = None
    if not (_plain(gamma) and _plain(_reciprocal(gamma))):
        if file.depth == 16 and file.significant_bits:
            raise refused(
                "the png image has 16 bits, a gamma and a number of significant bits, on which grey depends. "
                "Remedy: decode to 3 channels, then make it grey"
            )
        size = max(file.depth, 8)
        shift, half = 5 if size > bits else 0, 1 << 14
        linear = _table(_reciprocal(gamma), size, shift)
        back = _table(_reciprocal(_reciprocal(gamma)), size, shift)
    out = np.empty((*pixels.shape[:2], 1), pixels.dtype)
    step = max(1, 2**18 // pixels.shape[1])
    for at in range(0, len(pixels), step):  # in bands: the weighted sums need 8 bytes a pixel
        red, green, blue = (pixels[at : at + step, :, i].astype(np.int64) for i in range(3))
        same, grey = (red == green) & (red == blue), red
        if linear is not None and back is not None:
            if shift:
                grey = _rounded(gamma * _reciprocal(gamma) // 100_000, shift)[grey >> shift]
            red, green, blue = (linear[c >> shift] for c in (red, green, blue))
        mixed = (_WEIGHTS[0] * red + _WEIGHTS[1] * green + _WEIGHTS[2] * blue + half) >> 15
        if back is not None:
            mixed = back[mixed >> shift]
        out[at : at + step, :, 0] = np.where(same, grey, mixed)
    return out


def _key(file: _File, pixels: Array) -> Array:
    """(height, width, 1): 0 where a pixel has the transparent colour, else the highest value. Before any scaling."""
    assert file.transparency is not None
    top = (1 << file.depth) - 1
    colour = np.frombuffer(file.transparency, ">u2") & top
    return np.where((pixels == colour).all(axis=2, keepdims=True), 0, top).astype(pixels.dtype)


def decode_png(data: bytes, channels: int, dtype: np.dtype[Any]) -> Array:
    """Pixels (height, width, channels) of a PNG; ``channels`` 0 keeps the file's: 1, 2 (grey and alpha), 3 or 4.

    dtype uint8, uint16 or float32 (16 bits of 65535). Raises ImageError.
    """
    library("PIL.Image", "pillow")
    file = _read(data)
    keyed = file.transparency is not None
    own = (4 if keyed else 3) if file.colour == _PALETTE else file.samples
    channels = channels or own
    check_size("png", file.height, file.width, pixel_bytes=max(channels, file.samples) * dtype.itemsize)
    rows = _inflated(file)
    if file.depth == 16:
        pixels = _unfiltered(file, _lane(file, rows, 0)).astype(np.uint16) << 8
        pixels |= _unfiltered(file, _lane(file, rows, 1))
    else:
        pixels = _unfiltered(file, rows)
    del rows
    return _typed(_converted(file, pixels, channels, 8 if dtype == np.uint8 else 16), file.depth, dtype)


def _converted(file: _File, pixels: Array, channels: int, bits: int) -> Array:
    """The file's samples as ``channels`` channels, 16 bits still 16."""
    alpha: Array | None = None
    if file.colour == _PALETTE:
        palette = np.zeros((256, 3), np.uint8)
        entries = np.frombuffer(file.palette or b"", np.uint8).reshape(-1, 3)
        palette[: len(entries)] = entries
        if file.transparency is not None and channels == 4:
            opacity = np.full((256, 1), 255, np.uint8)
            opacity[: len(file.transparency), 0] = np.frombuffer(file.transparency, np.uint8)
            palette = np.concatenate([palette, opacity], axis=1)
            return palette[pixels[:, :, 0]]
        colours = palette[pixels[:, :, 0]]
    else:
        if file.colour in (_GREY_ALPHA, _RGB_ALPHA):
            colours, alpha = pixels[:, :, :-1], pixels[:, :, -1:]
        else:
            colours = pixels
            if file.transparency is not None and channels == 4:
                alpha = _key(file, pixels)
        if file.depth < 8:
            scale = 255 // ((1 << file.depth) - 1)
            colours = colours * np.uint8(scale)
            alpha = alpha * np.uint8(scale) if alpha is not None else None
    if channels < 3 and colours.shape[2] == 3:
        colours = _grey(file, colours, bits)
    if channels >= 3 and colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    if channels % 2:
        return colours
    if alpha is None:
        alpha = np.full((*colours.shape[:2], 1), (1 << file.depth) - 1, colours.dtype)
    return np.concatenate([colours, alpha], axis=2)


def _typed(pixels: Array, depth: int, dtype: np.dtype[Any]) -> Array:
    if dtype == np.uint8:
        return np.ascontiguousarray(pixels) if depth < 16 else (pixels >> 8).astype(np.uint8)
    wide: Array = pixels if depth == 16 else pixels.astype(np.uint16) * np.uint16(257)
    return wide.astype(np.float32) * np.float32(1 / 65535) if dtype == np.float32 else np.ascontiguousarray(wide)
