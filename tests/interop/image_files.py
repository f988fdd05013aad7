"""Small image files of every kind, written byte by byte where Pillow cannot write them. Used with and without TensorFlow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

__all__ = ["adam7", "bmp", "chunk", "encoded", "files", "gif", "gif_frame", "lzw", "png", "recoded"]

NDArray = np.ndarray[Any, Any]
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(samples: NDArray, depth: int, rng: np.random.Generator) -> bytes:
    """Filtered rows of one pass: a random filter for every row."""
    height, width, count = samples.shape
    if depth == 16:
        packed = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    elif depth == 8:
        packed = samples.astype(np.uint8).reshape(height, -1)
    else:
        bits = np.unpackbits(samples.astype(np.uint8).reshape(height, width, 1), axis=2)[:, :, 8 - depth :]
        packed = np.packbits(bits.reshape(height, -1), axis=1)
    step = max(1, depth * count // 8)
    above = np.zeros(packed.shape[1] + step, np.int64)
    out = bytearray()
    for row in packed:
        now = np.concatenate([np.zeros(step, np.int64), row])
        a, b, c, x = now[:-step], above[step:], above[:-step], now[step:]
        p = a + b - c
        near = np.stack([abs(p - a), abs(p - b), abs(p - c)]).argmin(0)
        kind = int(rng.integers(0, 5))
        guess = (0 * a, a, b, (a + b) // 2, np.choose(near, [a, b, c]))[kind]
        out += bytes([kind]) + ((x - guess) % 256).astype(np.uint8).tobytes()
        above = now
    return bytes(out)


def adam7(samples: NDArray) -> Iterator[NDArray]:
    for y, x, dy, dx in _ADAM7:
        part = samples[y::dy, x::dx]
        if part.size:
            yield part


def png(
    samples: NDArray, depth: int, colour: int, *, interlaced: bool = False, before: bytes = b"", after: bytes = b"",
    seed: int = 0,
) -> bytes:  # fmt: skip
    """A PNG of (height, width, samples) numbers. ``before``: chunks between IHDR and IDAT; ``after``: before IEND."""
    rng = np.random.default_rng(seed)
    height, width, count = samples.shape
    assert count == _SAMPLES[colour]
    rows = b"".join(_rows(part, depth, rng) for part in (adam7(samples) if interlaced else [samples]))
    packed = zlib.compress(rows)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    cut = len(packed) // 2
    data = chunk(b"IDAT", packed[:cut]) + chunk(b"IDAT", packed[cut:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + after + chunk(b"IEND", b"")


def lzw(indices: NDArray, bits: int) -> bytes:
    """GIF's sub-blocks of uncompressed LZW codes: a clear code before the table would grow."""
    clear, size, codes = 1 << bits, bits + 1, []
    for at, index in enumerate(indices.ravel().tolist()):
        if at % ((1 << bits) - 2) == 0:
            codes.append(clear)
        codes.append(index)
    number = 0
    for at, code in enumerate([*codes, clear + 1]):
        number |= code << (at * size)
    data = number.to_bytes((size * (len(codes) + 1) + 7) // 8, "little")
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return bytes([bits]) + blocks + b"\0"


def gif_frame(
    indices: NDArray, *, left: int = 0, top: int = 0, palette: bytes = b"", transparent: int | None = None,
    disposal: int = 0, interlaced: bool = False, bits: int = 3, control: bool = True,
) -> bytes:  # fmt: skip
    height, width = indices.shape
    out = b""
    if control and (transparent is not None or disposal):
        out += b"\x21\xf9\x04" + struct.pack(
            "<BHB", disposal << 2 | (transparent is not None), 5, transparent or 0
        ) + b"\0"  # fmt: skip
    flags = (0x80 | (len(palette) // 3).bit_length() - 2 if palette else 0) | (0x40 if interlaced else 0)
    out += b"\x2c" + struct.pack("<HHHHB", left, top, width, height, flags) + palette
    if interlaced:
        indices = np.concatenate([indices[0::8], indices[4::8], indices[2::4], indices[1::2]])
    return out + lzw(indices, bits)


def gif(frames: Sequence[bytes], width: int, height: int, palette: bytes = b"", end: bytes = b"\x3b") -> bytes:
    flags = 0x80 | (len(palette) // 3).bit_length() - 2 if palette else 0
    return b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0) + palette + b"".join(frames) + end


def bmp(
    samples: NDArray, *, top_down: bool = False, offset: int = 54, header: int = 40, bits: int | None = None
) -> bytes:
    """A BMP of (height, width, 1, 3 or 4) bytes as stored in the file; ``offset``: where the pixels begin."""
    height, width, count = samples.shape
    padded = np.zeros((height, -(-width * count // 4) * 4), np.uint8)
    padded[:, : width * count] = samples.reshape(height, -1)
    rows = (padded if top_down else padded[::-1]).tobytes()
    start = b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits or 8 * count, *[0] * 6)
    return (start + info).ljust(offset, b"\x40")[:offset] + rows


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _smooth(height: int, width: int, count: int = 3, seed: int = 0) -> NDArray:
    rng = np.random.default_rng([seed, height, width])
    bands = [
        Image.fromarray(rng.integers(0, 256, (max(2, height // 6), max(2, width // 6)), np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for _ in range(count)
    ]
    noise = rng.integers(-9, 10, (height, width, count))
    pixels: NDArray = (np.stack([np.asarray(b) for b in bands], axis=2) + noise).clip(0, 255).astype(np.uint8)
    return pixels


def recoded(data: bytes, marker: int) -> bytes:
    """The same JPEG with its frame said to be of another kind (SOF9: arithmetic, SOF3: lossless, ...)."""
    at = next(i for i in range(2, len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC1, 0xC2))
    return data[: at + 1] + bytes([marker]) + data[at + 2 :]


def _sampled(data: bytes, *factors: int) -> bytes:
    """The same JPEG with other sampling factors in its frame: the pixels are another picture, the file is valid."""
    at = next(i for i in range(2, len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC1, 0xC2))
    out = bytearray(data)
    for i, factor in enumerate(factors):
        out[at + 11 + 3 * i] = factor
    return bytes(out)


def _without(data: bytes, marker: int) -> bytes:
    at = data.index(bytes([0xFF, marker]))
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def _jpegs() -> Iterator[tuple[str, bytes]]:
    for height, width in ((37, 53), (16, 16), (1, 1), (9, 40), (65, 7)):
        pixels = _smooth(height, width)
        for sampling in ("444", "422", "420", "440", "411"):
            yield f"{sampling}-{height}x{width}", simplejpeg.encode_jpeg(pixels, 85, "RGB", sampling)
        grey = np.ascontiguousarray(pixels[:, :, :1])
        yield f"grey-{height}x{width}", simplejpeg.encode_jpeg(grey, 85, "GRAY", "Gray")
    image = Image.fromarray(_smooth(45, 61, seed=1))
    for sampling in (0, 1, 2):
        yield f"progressive-{sampling}", encoded(image, "JPEG", progressive=True, subsampling=sampling)
    yield "progressive-grey", encoded(image.convert("L"), "JPEG", progressive=True)
    yield "restart", encoded(image, "JPEG", restart_marker_blocks=2)
    yield "restart-rows", encoded(image, "JPEG", restart_marker_rows=1, subsampling=0)
    yield "rgb", encoded(image, "JPEG", keep_rgb=True)
    yield "low-quality", encoded(image, "JPEG", quality=3)
    yield "high-quality", encoded(image, "JPEG", quality=100, subsampling=0)
    cmyk = Image.frombytes("CMYK", (35, 33), _smooth(33, 35, 4, seed=2).tobytes())
    yield "cmyk", encoded(cmyk, "JPEG")
    yield "cmyk-progressive", encoded(cmyk, "JPEG", progressive=True)
    yield "cmyk-no-adobe", _without(encoded(cmyk, "JPEG"), 0xEE)
    ycck = simplejpeg.encode_jpeg(np.ascontiguousarray(np.asarray(cmyk)), 85, "CMYK", "420")
    yield "ycck", ycck
    yield "ycck-no-adobe", _without(ycck, 0xEE)
    plain = encoded(image, "JPEG", subsampling=0)
    yield "comment", plain[:2] + b"\xff\xfe\x00\x06abcd" + plain[2:]
    yield "trailing", plain + b"trailing bytes"
    yield "stray", plain[:-2] + bytes(50) + plain[-2:]
    yield "stray-adobe", encoded(cmyk, "JPEG")[:2] + b"\xff\xee\x00\x0eAdobe" + bytes(7) + plain[2:]
    # the frame says other factors than the scan was written with: nonsense pixels, the same for everybody
    yield "factors-31", _sampled(plain, 0x31, 0x11, 0x11)
    yield "factors-14", _sampled(plain, 0x14, 0x11, 0x11)
    yield "factors-13", _sampled(plain, 0x13, 0x11, 0x11)
    yield "factors-42", _sampled(plain, 0x42, 0x11, 0x11)
    yield "factors-chroma", _sampled(plain, 0x11, 0x21, 0x21)
    yield "factors-mixed", _sampled(plain, 0x22, 0x21, 0x12)
    for name, marker in (("extended", 0xC1), ("lossless", 0xC3), ("arithmetic", 0xC9), ("hierarchical", 0xC5)):
        yield name, recoded(plain, marker)
    yield "arithmetic-progressive", recoded(encoded(image, "JPEG", progressive=True), 0xCA)
    at = plain.index(b"\xff\xc0")
    yield "12-bit", recoded(plain[: at + 4] + b"\x0c" + plain[at + 5 :], 0xC1)
    yield "two-components", _two_components(plain)


def _two_components(data: bytes) -> bytes:
    at, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    frame = data[at : at + 2] + b"\x00\x0e" + data[at + 4 : at + 9] + b"\x02" + data[at + 10 : at + 16]
    header = b"\xff\xda\x00\x0a\x02" + data[scan + 5 : scan + 9] + b"\x00\x3f\x00"
    return data[:at] + frame + data[at + 19 : scan] + header + data[scan + 14 :]


def _pngs() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(3)
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for colour, which in depths.items():
        for depth in which:
            top = 1 << depth
            # values that meet often, so that a transparent colour is met
            samples = rng.integers(0, top, (13, 11, _SAMPLES[colour]))
            samples[4:9] = samples[4, 0]
            samples[10, :, :] = samples[10, :, :1]
            palette = (
                chunk(b"PLTE", rng.integers(0, 256, 3 * min(256, top), np.uint8).tobytes()) if colour == 3 else b""
            )
            name = f"{['grey', '-', 'rgb', 'palette', 'grey-alpha', '-', 'rgba'][colour]}-{depth}"
            yield name, png(samples, depth, colour, before=palette)
            yield f"{name}-interlaced", png(samples, depth, colour, before=palette, interlaced=True)
            yield f"{name}-one-pixel", png(samples[:1, :1], depth, colour, before=palette, interlaced=True)
            for gamma in (45455, 100000, 52000, 220000):
                yield (
                    f"{name}-gamma-{gamma}",
                    png(samples, depth, colour, before=chunk(b"gAMA", struct.pack(">I", gamma)) + palette),
                )
            yield f"{name}-srgb", png(samples, depth, colour, before=chunk(b"sRGB", b"\0") + palette)
            if colour in (0, 2):
                key = chunk(b"tRNS", struct.pack(f">{_SAMPLES[colour]}H", *samples[4, 0].tolist()))
                yield f"{name}-transparent", png(samples, depth, colour, before=key)
                yield f"{name}-transparent-interlaced", png(samples, depth, colour, before=key, interlaced=True)
                high = chunk(b"tRNS", struct.pack(f">{_SAMPLES[colour]}H", *(samples[4, 0] | 0xFF00 if depth < 16 else samples[4, 0] ^ 1).tolist()))  # fmt: skip
                yield f"{name}-transparent-high-bits", png(samples, depth, colour, before=high)
                yield f"{name}-transparent-short", png(samples, depth, colour, before=chunk(b"tRNS", b"\0"))
            if colour == 3:
                some = rng.integers(0, 256, max(1, top // 2), np.uint8).tobytes()
                yield f"{name}-transparent", png(samples, depth, 3, before=palette + chunk(b"tRNS", some))
                yield f"{name}-transparent-first", png(samples, depth, 3, before=chunk(b"tRNS", some) + palette)
                yield f"{name}-transparent-long", png(samples, depth, 3, before=palette + chunk(b"tRNS", bytes(300)))
                yield f"{name}-short-palette", png(samples, depth, 3, before=chunk(b"PLTE", bytes(range(1, 4))))
                yield f"{name}-no-palette", png(samples, depth, 3)
    samples = rng.integers(0, 256, (9, 8, 3))
    plain = png(samples, 8, 2)
    bad = chunk(b"tEXt", b"a\0b")[:-1] + b"\0"
    yield "bad-crc-ancillary", png(samples, 8, 2, before=bad)
    yield "bad-crc-critical", png(samples, 8, 2, before=chunk(b"PLTE", bytes(3))[:-1] + b"\x77")
    yield "unknown-ancillary", png(samples, 8, 2, before=chunk(b"abCd", b"12"), after=chunk(b"zzZz", b""))
    yield "unknown-critical", png(samples, 8, 2, before=chunk(b"AbCd", b"12"))
    yield "unknown-critical-after", png(samples, 8, 2, after=chunk(b"AbCd", b"12"))
    yield "suggested-palette", png(samples, 8, 2, before=chunk(b"PLTE", bytes(30)))
    yield "palette-of-grey", png(samples[:, :, :1], 8, 0, before=chunk(b"PLTE", bytes(30)))
    yield "chromaticities", png(samples, 8, 2, before=chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)))  # fmt: skip
    yield "chromaticities-gamma", png(samples, 8, 2, before=chunk(b"gAMA", struct.pack(">I", 50000)) + chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)))  # fmt: skip
    yield "background", png(samples, 8, 2, before=chunk(b"bKGD", bytes(6)))
    yield "no-end", plain[:-12]
    yield "half-an-end", plain[:-4]
    yield "trailing", plain + b"trailing"
    yield (
        "two-palettes",
        png(samples[:, :, :1] % 2, 8, 3, before=chunk(b"PLTE", bytes(range(6))) + chunk(b"PLTE", bytes(6))),
    )
    yield "animated", png(samples, 8, 2, before=chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", bytes(26)), after=chunk(b"fdAT", bytes(9)))  # fmt: skip
    yield "split", png(samples, 8, 2).replace(b"IEND", b"IEND")
    yield "pillow-noise", encoded(Image.fromarray(_smooth(40, 33)), "PNG")


def _gifs() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(4)
    palette, other = (rng.integers(0, 256, 24, np.uint8).tobytes() for _ in range(2))
    full, part = rng.integers(0, 8, (10, 12)), rng.integers(0, 8, (4, 5))
    yield "still", gif([gif_frame(full)], 12, 10, palette)
    yield "still-interlaced", gif([gif_frame(full, interlaced=True)], 12, 10, palette)
    yield "still-local-palette", gif([gif_frame(full, palette=other)], 12, 10)
    yield "no-palette", gif([gif_frame(full)], 12, 10)
    yield "small-palette", gif([gif_frame(full)], 12, 10, palette[:12])
    yield "partial", gif([gif_frame(part, left=3, top=2)], 12, 10, palette)
    yield "larger-than-screen", gif([gif_frame(full)], 5, 4, palette)
    yield "zero-screen", gif([gif_frame(full)], 0, 0, palette)
    for disposal in range(4):
        frames = [gif_frame(full), gif_frame(part, left=3, top=2, transparent=2, disposal=disposal, palette=other)]
        frames += [
            gif_frame(part.T.copy(), left=1, top=4, interlaced=True, disposal=disposal),
            gif_frame(part, left=10, top=8),
        ]
        yield f"animated-{disposal}", gif(frames, 12, 10, palette)
    yield "partial-first", gif([gif_frame(part, left=1, top=1, transparent=3), gif_frame(full)], 12, 10, palette)
    yield "partial-only", gif([gif_frame(part, left=1), gif_frame(part[:2], top=3, left=2)], 12, 10, palette)
    comment = b"\x21\xfe\x05hello\x00"
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
    yield "extensions", gif([loop, comment, gif_frame(full), comment], 12, 10, palette)
    yield "no-trailer", gif([gif_frame(full), gif_frame(part)], 12, 10, palette, end=b"")
    yield "half-a-descriptor", gif([gif_frame(full), gif_frame(part)[:6]], 12, 10, palette, end=b"")
    yield "garbage-after", gif([gif_frame(full)], 12, 10, palette, end=b"\x99\x01")
    yield "trailing", gif([gif_frame(full)], 12, 10, palette) + b"trailing"
    yield "control-twice", gif([b"\x21\xf9\x04\x01\x00\x00\x02\x00", gif_frame(full), b"\x21\xf9\x04\x01\x00\x00\x02\x00", gif_frame(part, transparent=5)], 12, 10, palette)  # fmt: skip
    yield "no-frame", gif([comment], 12, 10, palette)
    yield "87a", b"GIF87a" + gif([gif_frame(full)], 12, 10, palette)[6:]
    yield "wide-codes", gif([gif_frame(full, bits=8)], 12, 10, palette)
    smooth = Image.fromarray(_smooth(60, 80))
    yield "pillow", encoded(smooth.convert("P"), "GIF")
    yield "pillow-large", encoded(Image.fromarray(_smooth(300, 400, seed=5)).quantize(200), "GIF")
    more = [Image.fromarray(_smooth(60, 80, seed=s)) for s in (1, 2)]
    yield "pillow-animated", encoded(smooth, "GIF", save_all=True, append_images=more)


def _bmps() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(5)
    for count in (1, 3, 4):
        for width in (1, 2, 3, 4, 5):
            samples = rng.integers(0, 256, (3, width, count), np.uint8)
            yield f"{8 * count}-{width}", bmp(samples)
            yield f"{8 * count}-{width}-top-down", bmp(samples, top_down=True)
        for offset, header in ((26, 12), (70, 56), (122, 108), (138, 124), (1078, 40)):
            yield f"{8 * count}-header-{header}", bmp(samples, offset=offset, header=header)
    yield "bits-12", bmp(samples[:, :, :1], bits=12)
    yield "bits-16", bmp(rng.integers(0, 256, (3, 4, 4), np.uint8), bits=16)
    yield "one-byte-more", bmp(samples) + b"\0"
    yield "one-byte-less", bmp(samples)[:-1]
    image = Image.fromarray(_smooth(9, 7))
    for mode in ("RGB", "RGBA", "L", "P", "1"):
        yield f"pillow-{mode}", encoded(image.convert(mode), "BMP")


def _webps() -> Iterator[tuple[str, bytes]]:
    image, four = Image.fromarray(_smooth(23, 31)), Image.fromarray(_smooth(23, 31, 4))
    yield "lossy", encoded(image, "WEBP", quality=70)
    yield "lossless", encoded(image, "WEBP", lossless=True)
    yield "alpha", encoded(four, "WEBP", quality=80)
    yield "alpha-lossless", encoded(four, "WEBP", lossless=True)
    yield "alpha-exact", encoded(four, "WEBP", lossless=True, exact=True)
    yield "alpha-opaque", encoded(image.convert("RGBA"), "WEBP", lossless=True)
    yield "animated", encoded(four, "WEBP", save_all=True, append_images=[four.rotate(180)], lossless=True)


def files() -> Iterator[tuple[str, str, bytes]]:
    """(kind, name, bytes) of all."""
    for kind, found in (("jpeg", _jpegs()), ("png", _pngs()), ("gif", _gifs()), ("bmp", _bmps()), ("webp", _webps())):
        for name, data in found:
            yield kind, name, data
    for name, data in (
        ("empty", b""),
        ("one-byte", b"\xff"),
        ("text", b"hello world, this is no image at all, really"),
    ):
        yield "none", name, data
