"""What stands where in a scene, decided by a seed; no MuJoCo here."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from envs.rover.noise import smooth_noise

HALF_M = 20.0
"""The ground reaches from -HALF_M to HALF_M in x and y."""
ARENA_M = 12.0
"""A fence at |x| or |y| = ARENA_M encloses the part that the rover can reach."""
GRID = 65
"""Height samples per side of the ground."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One drawn shape: MuJoCo sizes in m, centre (x, y, z above the ground at the thing's foot) in m, yaw in rad."""

    shape: Literal["box", "cylinder", "ellipsoid"]
    size: tuple[float, float, float]
    offset: tuple[float, float, float]
    texture: str
    colour: Colour
    solid: bool = True


@dataclass(frozen=True)
class Thing:
    """An object on the ground at (x, y) m, turned by yaw rad, whose footprint is a box of half sizes `half` m, or a disc
    if `round` (radius half[0])."""

    x: float
    y: float
    yaw: float
    half: tuple[float, float]
    round: bool
    parts: tuple[Part, ...]

    @property
    def reach(self) -> float:
        return self.half[0] if self.round else math.hypot(*self.half)


@dataclass(frozen=True)
class Layout:
    """A whole scene: heights (GRID, GRID) in m with rows along y, things, and the light."""

    heights: np.ndarray
    things: tuple[Thing, ...]
    fence: tuple[Thing, ...]
    sky: tuple[Colour, Colour]
    sun_direction: tuple[float, float, float]
    sun: Colour
    ambient: Colour

    def height(self, x: float, y: float) -> float:
        """Height of the ground at (x, y) m, bilinear, in m."""
        column, row = ((np.clip(v, -HALF_M, HALF_M) + HALF_M) / (2 * HALF_M) * (GRID - 1) for v in (x, y))
        i, j = min(int(row), GRID - 2), min(int(column), GRID - 2)
        u, v = row - i, column - j
        h = self.heights
        return float((1 - u) * ((1 - v) * h[i, j] + v * h[i, j + 1]) + u * ((1 - v) * h[i + 1, j] + v * h[i + 1, j + 1]))


def make_layout(rng: np.random.Generator, roughness_m: float | None = None) -> Layout:
    """A random scene; `roughness_m` is the height of its broad swells (None: drawn, 0: flat inside the fence)."""
    swell = rng.uniform(0.1, 0.45) if roughness_m is None else roughness_m
    hue = rng.choice([0.28, 0.3, 0.24, 0.15, 0.09, 0.04])  # green, olive, then autumn
    things: list[Thing] = []
    for make, count in ((_wall, 8), (_tree, 24), (_pole, 16), (_box, 15), (_bush, 14), (_rock, 8)):
        for _ in range(rng.integers(int(0.8 * count), int(1.2 * count) + 1)):
            _place(rng, things, make(rng, hue))
    overcast = rng.random() < 0.4
    top = _hsv(rng.uniform(0.55, 0.64), 0.15 if overcast else rng.uniform(0.45, 0.75), rng.uniform(0.65, 0.95))
    low = _hsv(rng.choice([0.58, 0.08, 0.95]), rng.uniform(0.05, 0.3), rng.uniform(0.8, 1.0))
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.2)
    light = rng.uniform(0.4, 0.8) * (0.6 if overcast else 1.0)
    warm = rng.uniform(0.75, 1.0)
    return Layout(
        heights=_terrain(rng, swell),
        things=tuple(things),
        fence=_fence(rng, hue),
        sky=(top, low),
        sun_direction=(float(np.cos(azimuth) * np.cos(height)), float(np.sin(azimuth) * np.cos(height)), -float(np.sin(height))),
        sun=(light, light * (0.5 + 0.5 * warm), light * warm),
        ambient=(0.52, 0.52, 0.56) if overcast else (0.42, 0.42, 0.46),
    )


def _terrain(rng: np.random.Generator, swell_m: float) -> np.ndarray:
    ripple = 0.15 * swell_m
    inside = swell_m * smooth_noise(rng, 8, GRID) + ripple * smooth_noise(rng, 20, GRID)
    coordinate = np.linspace(-HALF_M, HALF_M, GRID)
    beyond = np.maximum(np.abs(coordinate)[None], np.abs(coordinate)[:, None]) - ARENA_M - 1.0
    hills = np.clip(beyond / (HALF_M - ARENA_M - 1.0), 0, 1) ** 1.5 * (0.5 + 4.5 * smooth_noise(rng, 7, GRID))
    return inside + hills


def _place(rng: np.random.Generator, things: list[Thing], thing: Thing) -> None:
    """Adds the thing where it leaves the others a gap that the rover can pass, if twenty tries find such a place."""
    reach, room = thing.reach + 0.9, ARENA_M - 0.8
    others = [(other.x, other.y, other.reach + reach) for other in things]
    for x, y in rng.uniform(-room, room, (20, 2)).tolist():
        if all(math.hypot(x - other_x, y - other_y) > gap for other_x, other_y, gap in others):
            things.append(replace(thing, x=x, y=y))
            return


def _tree(rng: np.random.Generator, hue: float) -> Thing:
    radius, trunk = rng.uniform(0.08, 0.22), rng.uniform(0.9, 2.2)
    wood = _hsv(0.08, rng.uniform(0.05, 0.6), rng.uniform(0.35, 0.95))
    crown = _hsv(hue + rng.normal(0, 0.03), rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.95))
    parts = [Part("cylinder", (radius, trunk / 2 + 0.3, 0), (0, 0, trunk / 2 - 0.3), "bark", wood)]
    for level in range(rng.integers(1, 4)):
        wide = rng.uniform(0.5, 1.1) * (1 - 0.2 * level)
        shift = rng.uniform(-0.25, 0.25, 2)
        offset = (float(shift[0]), float(shift[1]), trunk + 0.3 + 0.6 * level)
        parts.append(Part("ellipsoid", (wide, wide, wide * rng.uniform(0.6, 1.1)), offset, "leaves", crown, solid=False))
    return Thing(0.0, 0.0, rng.uniform(0, np.pi), (radius, radius), True, tuple(parts))


def _pole(rng: np.random.Generator, hue: float) -> Thing:
    radius, height = rng.uniform(0.05, 0.1), rng.uniform(1.0, 2.6)
    first, second = _vivid(rng), _vivid(rng)
    bands = int(rng.integers(2, 4))
    half = height / bands / 2
    parts = [
        Part("cylinder", (radius, half + (0.2 if k == 0 else 0), 0), (0, 0, (2 * k + 1) * half - (0.2 if k == 0 else 0)),
             "stone", first if k % 2 == 0 else second)
        for k in range(bands)
    ]
    if rng.random() < 0.5:
        wide = rng.uniform(0.2, 0.45)
        parts.append(Part("box", (0.03, wide, wide * 0.7), (0, 0, height), "bands", _vivid(rng), solid=False))
    return Thing(0.0, 0.0, rng.uniform(0, np.pi), (radius, radius), True, tuple(parts))


def _wall(rng: np.random.Generator, hue: float) -> Thing:
    long, thick, high = rng.uniform(0.8, 2.2), rng.uniform(0.08, 0.2), rng.uniform(0.35, 1.1)
    texture = str(rng.choice(["bricks", "planks", "stone"]))
    colour = _vivid(rng) if rng.random() < 0.6 else _hsv(rng.uniform(0.02, 0.1), rng.uniform(0.3, 0.7), rng.uniform(0.5, 0.95))
    part = Part("box", (long, thick, high + 0.3), (0, 0, high - 0.3), texture, colour)
    return Thing(0.0, 0.0, rng.uniform(0, np.pi), (long, thick), False, (part,))


def _box(rng: np.random.Generator, hue: float) -> Thing:
    size, high = rng.uniform(0.2, 0.45), rng.uniform(0.25, 0.6)
    texture = str(rng.choice(["bands", "planks", "stone"]))
    if rng.random() < 0.4:
        part = Part("cylinder", (size, high + 0.2, 0), (0, 0, high - 0.2), texture, _vivid(rng))
        return Thing(0.0, 0.0, rng.uniform(0, np.pi), (size, size), True, (part,))
    part = Part("box", (size, size, high + 0.2), (0, 0, high - 0.2), texture, _vivid(rng))
    return Thing(0.0, 0.0, rng.uniform(0, np.pi), (size, size), False, (part,))


def _bush(rng: np.random.Generator, hue: float) -> Thing:
    wide = rng.uniform(0.3, 0.7)
    colour = _hsv(rng.choice([hue, 0.3, 0.85, 0.12]) + rng.normal(0, 0.03), rng.uniform(0.5, 0.95), rng.uniform(0.4, 0.95))
    part = Part("ellipsoid", (wide, wide, wide * rng.uniform(0.8, 1.4)), (0, 0, 0.5 * wide), "leaves", colour)
    return Thing(0.0, 0.0, rng.uniform(0, np.pi), (wide, wide), True, (part,))


def _rock(rng: np.random.Generator, hue: float) -> Thing:
    wide = rng.uniform(0.25, 0.6)
    colour = _hsv(rng.uniform(0, 1), rng.uniform(0.0, 0.25), rng.uniform(0.4, 0.9))
    part = Part("ellipsoid", (wide, wide * rng.uniform(0.7, 1), wide), (0, 0, 0.3 * wide), "stone", colour)
    return Thing(0.0, 0.0, rng.uniform(0, np.pi), (wide, wide), True, (part,))


def _fence(rng: np.random.Generator, hue: float) -> tuple[Thing, ...]:
    """Hedges, board fences and brick walls all around, in pieces of 4 m so that each stretch looks different."""
    pieces = []
    long = ARENA_M / 6
    for side in range(4):
        for k in range(6):
            along = -ARENA_M + (2 * k + 1) * long
            x, y = ((along, ARENA_M), (along, -ARENA_M), (ARENA_M, along), (-ARENA_M, along))[side]
            texture = str(rng.choice(["leaves", "planks", "bricks", "stone"]))
            colour = _hsv(hue, 0.7, rng.uniform(0.35, 0.8)) if texture == "leaves" else _vivid(rng)
            # 0.9 m under the ground: the swells must not lift the foot of a piece into the air.
            high = rng.uniform(0.4, 1.0)
            part = Part("box", (long, 0.12, high + 0.9), (0, 0, high - 0.9), texture, colour)
            pieces.append(Thing(float(x), float(y), 0.0 if side < 2 else np.pi / 2, (long, 0.12), False, (part,)))
    return tuple(pieces)


def _vivid(rng: np.random.Generator) -> Colour:
    return _hsv(rng.uniform(0, 1), rng.uniform(0.55, 1.0), rng.uniform(0.6, 1.0))


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    return colorsys.hsv_to_rgb(float(hue) % 1.0, float(saturation), float(value))
