"""Pictures of apples and oranges, drawn by NumPy: the data of apples_or_oranges.py.

Colour alone does not tell them apart, on purpose: apples are red, yellow, green or orange-red with a blush, oranges are
orange, yellow, greenish or blood-red. What differs is the surface (smooth with streaks and a sharp highlight, or pitted
and dull), the outline (a dimple at the stem and a narrower base, or round) and the stem or its scar. Light, its colour,
background, size, place, rotation, occlusion, blur and noise vary.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["CLASSES", "SIZE", "render", "render_set"]

CLASSES = ("apple", "orange")
#: Height and width in pixels.
SIZE = 48

Array = np.ndarray[Any, np.dtype[np.float32]]


def render_set(count: int, seed: int) -> tuple[Array, np.ndarray[Any, np.dtype[np.int64]]]:
    """``count`` pictures (count, SIZE, SIZE, 3) float32 in [0, 1], and their classes (0 apple, 1 orange)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = (
        np.stack([render(int(label), rng) for label in labels]) if count else np.zeros((0, SIZE, SIZE, 3), np.float32)
    )
    return images, labels


def render(label: int, rng: np.random.Generator) -> Array:
    """One picture (SIZE, SIZE, 3) float32 in [0, 1] of an apple (0) or an orange (1)."""
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    image = _background(x, y, rng)
    u, v, radius = _placed(x, y, rng)
    outline = _outline(label, u, v, rng)
    inside = np.clip((outline - np.hypot(u, v)) * radius * SIZE / 2 + 0.5, 0, 1)
    image = _shadow(image, x, y, u, v, rng)
    fruit = _lit_surface(label, u / outline, v / outline, rng)
    image = image * (1 - inside[..., None]) + fruit * inside[..., None]
    image = _stem(label, image, u, v, rng)
    image = _occluded(image, x, y, rng)
    return _photographed(image, rng)


def _noise(rng: np.random.Generator, cells: int) -> Array:
    """Smooth noise in about [-1, 1]: a grid of random values, interpolated with smooth weights."""
    grid = rng.uniform(-1, 1, (cells + 2, cells + 2))
    at = np.linspace(0, cells, SIZE, endpoint=False)
    low = at.astype(int)
    t = at - low
    t = t * t * (3 - 2 * t)
    rows = grid[low] * (1 - t)[:, None] + grid[low + 1] * t[:, None]
    result: Array = (rows[:, low] * (1 - t) + rows[:, low + 1] * t).astype(np.float32)
    return result


def _rgb(hue: Any, saturation: Any, value: Any) -> Array:
    """HSV to RGB; hue in degrees, any shape."""
    h = (np.asarray(hue, np.float32)[..., None] / 60 + np.array([0, 4, 2], np.float32)) % 6
    pure = np.clip(np.abs(h - 3) - 1, 0, 1)
    s, v = np.asarray(saturation, np.float32)[..., None], np.asarray(value, np.float32)[..., None]
    result: Array = (v * (1 - s + s * pure)).astype(np.float32)
    return result


def _background(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Two colours, a gradient between them, and a texture: cloth, boards or foliage."""
    one, two = (_rgb(rng.uniform(0, 360), rng.uniform(0, 0.7), rng.uniform(0.15, 0.95)) for _ in range(2))
    angle = rng.uniform(0, 2 * np.pi)
    mix = (np.clip((x * np.cos(angle) + y * np.sin(angle)) * 0.5 + 0.5, 0, 1))[..., None]
    image = one * (1 - mix) + two * mix
    texture = sum(_noise(rng, int(c)) / (i + 1) for i, c in enumerate(rng.integers(2, 24, 3)))
    stripes = np.sin((x * np.sin(angle) - y * np.cos(angle)) * rng.uniform(5, 40)) * rng.choice([0, 0.1])
    result: Array = image * (1 + (rng.uniform(0, 0.35) * texture + stripes)[..., None]).astype(np.float32)
    return result


def _placed(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """Coordinates of the fruit: its centre is (0, 0), its radius 1, its stem at the top (v = -1), tilted."""
    radius = rng.uniform(0.45, 0.85)
    cx, cy = rng.uniform(-0.3, 0.3, 2)
    tilt = rng.normal(0, 0.5)
    a, b = (x - cx) / radius, (y - cy) / radius
    stretch = rng.uniform(0.93, 1.07)
    return (a * np.cos(tilt) + b * np.sin(tilt)) * stretch, (b * np.cos(tilt) - a * np.sin(tilt)) / stretch, radius


def _outline(label: int, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """The fruit's radius in every direction."""
    angle = np.arctan2(u, -v)  # 0 at the stem
    if label == 1:
        result: Array = 1 + 0.012 * np.sin(angle * rng.integers(2, 5) + rng.uniform(0, 6))
        return result.astype(np.float32)
    dimple = rng.uniform(0.02, 0.14) * np.exp(-((angle / rng.uniform(0.25, 0.5)) ** 2))
    base = rng.uniform(0.0, 0.12) * np.clip(-np.cos(angle), 0, 1) ** 2
    lobes = rng.uniform(0, 0.03) * np.cos(5 * angle) * np.clip(-np.cos(angle), 0, 1)
    apple: Array = (1 - dimple - base + lobes).astype(np.float32)
    return apple


def _colours(label: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Main hue, hue of the blush, saturation, value. The ranges of both fruits overlap on purpose."""
    if label == 0:
        main = rng.choice(
            [rng.normal(4, 8), rng.normal(28, 9), rng.normal(55, 12), rng.normal(90, 15)], p=[0.35, 0.3, 0.2, 0.15]
        )
        return main, rng.normal(8, 14), rng.uniform(0.55, 0.95), rng.uniform(0.5, 1.0)
    main = rng.choice(
        [rng.normal(28, 7), rng.normal(12, 6), rng.normal(48, 9), rng.normal(80, 15)], p=[0.5, 0.2, 0.18, 0.12]
    )
    return main, main + rng.normal(0, 14), rng.uniform(0.6, 1.0), rng.uniform(0.55, 1.0)


def _lit_surface(label: int, a: Array, b: Array, rng: np.random.Generator) -> Array:
    """The ball's surface under one light. a, b: position on the disc."""
    main, blush, saturation, value = _colours(label, rng)
    height = np.sqrt(np.clip(1 - a * a - b * b, 0, 1))
    patch = np.clip(_noise(rng, int(rng.integers(1, 4))) * 1.5 + rng.uniform(-0.6, 0.6), 0, 1)
    hue = main + (blush - main) * patch * rng.uniform(0, 1)
    bump_a = bump_b = np.zeros_like(a)
    if label == 1:
        pits = _noise(rng, int(rng.integers(14, 24))) + 0.6 * _noise(rng, 23)
        depth = rng.uniform(0.12, 0.4)
        bump_b, bump_a = (g * depth for g in np.gradient(pits))
        value = value * (1 + 0.05 * pits)
        shine, hardness = rng.uniform(0.05, 0.3), rng.uniform(4, 14)
    else:
        streaks = np.sin(np.arctan2(a, height + 0.3) * rng.uniform(8, 26) + 2 * _noise(rng, 4))
        hue = hue + streaks * rng.uniform(0, 9)
        specks = (rng.random(a.shape) < rng.uniform(0, 0.02)) * rng.uniform(0, 0.3)
        value = value * (1 + specks)
        shine, hardness = rng.uniform(0.15, 0.7), rng.uniform(18, 60)
    normal = np.stack([a + bump_a, b + bump_b, height + 1e-3], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.9, 0.3), rng.uniform(0.4, 1.0)])
    light /= np.linalg.norm(light)
    diffuse = np.clip(normal @ light, 0, 1)
    half = light + np.array([0, 0, 1.0])
    glint = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** hardness * shine
    ambient = rng.uniform(0.2, 0.55)
    colour = _rgb(hue, np.clip(saturation, 0, 1), np.clip(value, 0, 1) * np.ones_like(a))
    result: Array = (colour * (ambient + (1 - ambient) * diffuse)[..., None] + glint[..., None]).astype(np.float32)
    return result


def _shadow(image: Array, x: Array, y: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """A soft dark patch beside the fruit."""
    du, dv = rng.uniform(-0.3, 0.3), rng.uniform(0.1, 0.4)
    soft = np.exp(-np.clip(np.hypot(u - du, v - dv) - 0.85, 0, None) * 8) * rng.uniform(0, 0.6)
    result: Array = image * (1 - soft[..., None]).astype(np.float32)
    return result


def _stem(label: int, image: Array, u: Array, v: Array, rng: np.random.Generator) -> Array:
    """An apple's stem and leaf, an orange's scar; any of them may be out of sight."""
    if rng.random() < 0.45:
        return image
    if label == 0:
        bend = rng.uniform(-0.4, 0.4)
        along = (-v - 0.7) / rng.uniform(0.35, 0.6)
        mask = (np.abs(u - bend * along**2) < 0.05) & (along > 0) & (along < 1)
        colour = _rgb(rng.uniform(20, 60), 0.6, rng.uniform(0.2, 0.45))
        if rng.random() < 0.35:
            leaf = ((u - 0.3) / 0.3) ** 2 + ((v + 1.0 + 0.5 * (u - 0.3)) / 0.12) ** 2 < 1
            image = np.where(leaf[..., None], _rgb(rng.uniform(80, 130), 0.7, rng.uniform(0.3, 0.7)), image)
    else:
        mask = np.hypot(u - rng.uniform(-0.5, 0.5), v - rng.uniform(-0.7, 0.3)) < rng.uniform(0.06, 0.12)
        colour = _rgb(rng.uniform(40, 110), rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.6))
        if rng.random() < 0.25:
            leaf = ((u + 0.3) / 0.3) ** 2 + ((v + 1.0 - 0.5 * (u + 0.3)) / 0.12) ** 2 < 1
            image = np.where(leaf[..., None], _rgb(rng.uniform(80, 130), 0.7, rng.uniform(0.3, 0.7)), image)
    result: Array = np.where(mask[..., None], colour, image).astype(np.float32)
    return result


def _occluded(image: Array, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Up to two things in front: a leaf-like ellipse or a straight edge."""
    for _ in range(int(rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15]))):
        colour = _rgb(rng.uniform(0, 360), rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9))
        angle = rng.uniform(0, np.pi)
        a, b = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        if rng.random() < 0.6:
            ca, cb = rng.uniform(-0.8, 0.8, 2)
            mask = ((a - ca) / rng.uniform(0.15, 0.45)) ** 2 + ((b - cb) / rng.uniform(0.08, 0.25)) ** 2 < 1
        else:
            mask = a > rng.uniform(0.45, 0.9)
        image = np.where(mask[..., None], colour * (1 + 0.15 * _noise(rng, 8)[..., None]), image)
    return image.astype(np.float32)


def _photographed(image: Array, rng: np.random.Generator) -> Array:
    """Colour of the light, exposure, blur, noise, 8 bits."""
    image = image * rng.normal(1, 0.1, 3) * rng.uniform(0.6, 1.25)
    for _ in range(int(rng.integers(0, 3))):
        image = (np.roll(image, 1, 0) + 2 * image + np.roll(image, -1, 0)) / 4
        image = (np.roll(image, 1, 1) + 2 * image + np.roll(image, -1, 1)) / 4
    image = image + rng.normal(0, rng.uniform(0, 0.05), image.shape)
    result: Array = (np.round(np.clip(image, 0, 1) * 255) / 255).astype(np.float32)
    return result
