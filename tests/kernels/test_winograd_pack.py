"""The C code that transforms and packs weights for Winograd's and Cook-Toom's algorithms, next to NumPy: the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("kigraph.kernels.cython.winograd", reason="the C kernels are not built")

from kigraph.kernels.conformance import process_seed
from kigraph.kernels.cython import core, winograd_conv2d
from kigraph.kernels.cython.winograd import KINDS, pack
from kigraph.kernels.errors import KernelError, ShapeError

SEED = process_seed()
LANES = core.F32_LANES
Array = np.ndarray[Any, Any]


def transforms_of(kind: str) -> list[Array]:
    return [np.ones((1, 1)) if p is None else p.g for p in winograd_conv2d._points(kind)]


def weighted(row: Array, parts: Array) -> Array:
    """The sum in the order of the taps, in float64, without the factors that are zero."""
    total = np.zeros(parts.shape[1:])
    for factor, part in zip(row, parts, strict=True):
        if factor:
            total = total + factor * part
    return total


def expected(w: Array, swap: bool, transforms: list[Array], vectors: int) -> Array:
    taps = (w.transpose(1, 0, 2, 3) if swap else w).astype(np.float64)
    _, _, cin, cout = w.shape
    padded = -(-cout // LANES) * LANES
    whole = np.zeros((len(transforms[0]), len(transforms[1]), cin, padded), np.float32)
    for a, row in enumerate(transforms[0]):
        half = weighted(row, taps)
        for b, column in enumerate(transforms[1]):
            whole[a, b, :, :cout] = weighted(column, half)
    panels = [whole[..., i : i + vectors * LANES].ravel() for i in range(0, padded, vectors * LANES)]
    return np.concatenate([*panels, np.zeros(cin, np.float32)]).view(np.uint8)


def packed(
    w: Array, swap: bool, transforms: list[Array], vectors: int, threads: int = 1, largest: float = 2.0**64
) -> Array | None:
    points = len(transforms[0]) * len(transforms[1])
    out = np.full(4 * w.shape[2] * (points * (-(-w.shape[3] // LANES) * LANES) + 1), 0xAB, np.uint8)
    fits = pack(w, out, swap=swap, transforms=transforms, vectors=vectors, largest=largest, threads=threads)
    return out if fits else None


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("swap", [False, True])
def test_the_bits_are_those_of_numpy(kind: str, swap: bool) -> None:
    rng = np.random.default_rng(SEED)
    transforms = transforms_of(kind)
    taps = [t.shape[1] for t in transforms]
    for cin, cout in ((1, 1), (17, 2 * LANES + 1), (33, 3 * LANES), (5, 4 * LANES - 1), (0, 4), (4, 0)):
        w = rng.standard_normal((*(reversed(taps) if swap else taps), cin, cout)).astype(np.float32)
        w *= rng.choice(np.array([0, -0.0, 1e-42, 1e-20, 1, 1e12], np.float32), w.shape)
        for vectors in (1, 2, 3):
            want = expected(w, swap, transforms, vectors)
            for threads in (1, 2):
                got = packed(w, swap, transforms, vectors, threads)
                assert got is not None
                assert np.array_equal(got, want), (KINDS[kind], w.shape, vectors, threads, SEED)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_unfit_weights_are_found_wherever_they_are(value: float) -> None:
    rng = np.random.default_rng(SEED)
    transforms = transforms_of("winograd_4x4_3x3")
    w = rng.standard_normal((3, 3, 20, LANES + 3)).astype(np.float32)
    assert packed(w, False, transforms, 3) is not None
    for at in (0, w.size - 1, int(rng.integers(w.size))):
        wrong = w.copy()
        wrong.flat[at] = value
        assert packed(wrong, False, transforms, 3, threads=2) is None, (at, SEED)


def test_the_limit_is_of_transformed_weights() -> None:
    transforms = transforms_of("winograd_2x2_3x3")
    w = np.ones((3, 3, 1, 1), np.float32)
    most = float(np.abs(expected(w, False, transforms, 1).view(np.float32)).max())
    assert packed(w, False, transforms, 1, largest=most) is not None
    assert packed(w, False, transforms, 1, largest=np.nextafter(most, 0)) is None


def test_wrong_arguments_are_refused() -> None:
    transforms = transforms_of("cook_toom_4_3")
    w = np.ones((1, 3, 2, 2), np.float32)
    out = np.empty(4 * 2 * (6 * LANES + 1), np.uint8)
    given: dict[str, Any] = {"swap": False, "transforms": transforms, "vectors": 1, "largest": 1e9, "threads": 1}
    assert pack(w, out, **given)
    for wrong in ({"swap": True}, {"vectors": 0}, {"threads": 0}, {"transforms": [np.ones((1, 1)), np.ones((6, 8))]}):
        with pytest.raises(ValueError, match=r"taps|vectors"):
            pack(w, out, **{**given, **wrong})
    with pytest.raises(ShapeError):
        pack(w, out[:-1], **given)
    frozen = out.copy()
    frozen.flags.writeable = False
    with pytest.raises(KernelError, match="read-only"):
        pack(w, frozen, **given)
    with pytest.raises(KernelError):
        pack(w[:, ::-1], out, **given)
