"""Random procedural textures, as RGB arrays: noise, clouds, stripes, checks, bricks, wood-like rings, spots."""

from __future__ import annotations

import colorsys

import numpy as np


def random_colour(rng: np.random.Generator, saturation: tuple[float, float] = (0.0, 0.8)) -> np.ndarray:
    """An RGB colour (3,) in 0..1, neither black nor blown out."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(0.25, 0.95)))


def smooth_noise(rng: np.random.Generator, size: int, cells: int, octaves: int = 3) -> np.ndarray:
    """Tileable value noise (size, size) in 0..1 whose largest blobs are size / cells wide."""
    total = np.zeros((size, size))
    for octave in range(octaves):
        n = min(cells * 2**octave, size)
        grid = rng.random((n, n))
        at = np.arange(size) * n / size
        i = at.astype(int)
        f = at - i
        f = f * f * (3.0 - 2.0 * f)
        j = (i + 1) % n
        rows = grid[i] * (1.0 - f)[:, None] + grid[j] * f[:, None]
        total += (rows[:, i] * (1.0 - f) + rows[:, j] * f) / 2**octave
    return (total - total.min()) / max(float(np.ptp(total)), 1e-9)


def _pattern(rng: np.random.Generator, size: int) -> np.ndarray:
    """A random pattern (size, size) in 0..1: where between two colours each texel lies."""
    y, x = np.mgrid[0:size, 0:size] / size
    kind = rng.choice(["noise", "clouds", "stripes", "checks", "bricks", "rings", "spots"])
    if kind == "noise":
        return smooth_noise(rng, size, int(rng.integers(8, 24)))
    if kind == "clouds":
        return smooth_noise(rng, size, int(rng.integers(2, 5)), octaves=5)
    if kind == "stripes":
        n = int(rng.integers(2, 9))
        wobble = 0.1 * smooth_noise(rng, size, 3)
        return 0.5 + 0.5 * np.sin(2.0 * np.pi * (n * x + wobble * n))
    if kind == "checks":
        n = int(rng.integers(1, 6))
        return ((np.floor(2 * n * x) + np.floor(2 * n * y)) % 2).astype(float)
    if kind == "bricks":
        n = int(rng.integers(3, 8))
        row = np.floor(2 * n * y)
        joint = ((2 * n * y) % 1 < 0.12) | ((n * x + 0.5 * (row % 2)) % 1 < 0.06)
        return np.where(joint, 1.0, 0.35 * smooth_noise(rng, size, 16))
    if kind == "rings":
        r = np.hypot(x - 0.5, 0.15 * (y - 0.5)) + 0.05 * smooth_noise(rng, size, 4)
        return 0.5 + 0.5 * np.sin(2.0 * np.pi * rng.uniform(6, 14) * r)
    spots = smooth_noise(rng, size, int(rng.integers(6, 16)), octaves=1)
    return (spots > rng.uniform(0.5, 0.75)).astype(float)


def random_texture(
    rng: np.random.Generator, size: int = 96, saturation: tuple[float, float] = (0.0, 0.8)
) -> np.ndarray:
    """A texture (size, size, 3) uint8: a random pattern between two random colours, with a little grain."""
    first = random_colour(rng, saturation)
    second = np.clip(first + rng.uniform(-0.4, 0.4) + 0.3 * (random_colour(rng, saturation) - first), 0.05, 1.0)
    mix = _pattern(rng, size)[:, :, None]
    image = first * (1.0 - mix) + second * mix + rng.normal(0.0, rng.uniform(0.0, 0.04), (size, size, 1))
    return (np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)


def random_sky(rng: np.random.Generator, size: int = 64) -> np.ndarray:
    """Six faces (6 * size, size, 3) uint8 of a sky box in MuJoCo's order (right, left, up, down, front, back): a gradient
    from horizon to zenith and clouds or stains on it."""
    zenith = random_colour(rng, (0.1, 0.7))
    horizon = np.clip(zenith + rng.uniform(0.0, 0.5), 0.0, 1.0)
    ground = random_colour(rng, (0.0, 0.4)) * 0.7
    # Texels of a side face run from the zenith edge down to the nadir edge.
    height = np.linspace(1.0, -1.0, size)[:, None, None]
    side = np.where(height > 0.0, horizon + (zenith - horizon) * np.clip(height, 0.0, 1.0), ground)
    amount = rng.uniform(0.0, 0.6)
    faces = []
    for face in range(6):
        image = np.broadcast_to(zenith, (size, size, 3)) if face == 2 else np.broadcast_to(side, (size, size, 3))
        image = np.broadcast_to(ground, (size, size, 3)) if face == 3 else image
        clouds = np.clip(2.0 * smooth_noise(rng, size, 3, octaves=4) - 0.9, 0.0, 1.0)[:, :, None] * amount
        clouds = clouds * (np.clip(height * 2.0, 0.0, 1.0) if face not in (2, 3) else float(face == 2))
        faces.append(image * (1.0 - clouds) + clouds)
    return (np.clip(np.concatenate(faces), 0.0, 1.0) * 255).astype(np.uint8)
