"""Textures of a scene, made by code: uint8 RGB, small so that a software renderer stays fast."""

from __future__ import annotations

import numpy as np

from envs.rover.noise import octaves, smooth_noise

GROUND_PX = 512
FACE_PX = 64

# Ground types as pairs of colours (low and high noise): grass, dry grass, earth, sand, gravel, asphalt.
GROUNDS = np.array(
    [
        [[50, 84, 34], [112, 142, 62]],
        [[126, 118, 58], [184, 170, 98]],
        [[84, 60, 40], [142, 106, 74]],
        [[176, 150, 106], [218, 196, 150]],
        [[96, 94, 92], [164, 160, 152]],
        [[56, 58, 64], [92, 94, 98]],
    ],
    dtype=np.float32,
)


def ground(rng: np.random.Generator) -> np.ndarray:
    """One picture (GROUND_PX, GROUND_PX, 3) of patches of three ground types; it can be repeated without a seam."""
    fine = octaves(rng, (24, 60, 150), GROUND_PX, fade=0.8)
    fine = np.clip((fine - 0.5) * 2.6 + 0.5, 0.0, 1.0)
    first, second = (np.clip((octaves(rng, (4, 10, 32), GROUND_PX) - 0.55) * 14.0, 0.0, 1.0) for _ in range(2))
    shares = np.stack([(1 - first) * (1 - second), first * (1 - second), second])
    weights = np.concatenate([shares * (1 - fine), shares * fine]).reshape(6, -1)
    types = GROUNDS[rng.permutation(len(GROUNDS))[:3]]
    picture = (weights.T @ types.swapaxes(0, 1).reshape(6, 3)).astype(np.uint8)
    # Pebbles, leaves and flowers: single texels in strong colours, cues of one's own motion close to the wheels.
    specks = rng.integers(len(picture), size=int(len(picture) * rng.uniform(0.004, 0.012)))
    picture[specks] = rng.uniform(30, 250, (5, 3)).astype(np.uint8)[rng.integers(5, size=len(specks))]
    return picture.reshape(GROUND_PX, GROUND_PX, 3)


def leaves(rng: np.random.Generator) -> np.ndarray:
    """Blotches of light and shade (FACE_PX, FACE_PX, 3)."""
    return _grey(0.45 + 0.55 * np.clip((octaves(rng, (9, 20, 40), FACE_PX, 0.8) - 0.5) * 2.5 + 0.5, 0, 1))


def bark(rng: np.random.Generator) -> np.ndarray:
    """Ridges along one axis (FACE_PX, FACE_PX, 3)."""
    ridges = smooth_noise(rng, 24, FACE_PX)[:1].repeat(FACE_PX, axis=0)
    return _grey(0.45 + 0.35 * ridges + 0.2 * octaves(rng, (8, 30), FACE_PX))


def stone(rng: np.random.Generator) -> np.ndarray:
    """Mottled grey (FACE_PX, FACE_PX, 3)."""
    return _grey(0.5 + 0.5 * octaves(rng, (4, 12, 32), FACE_PX, 0.7))


def bricks(rng: np.random.Generator) -> np.ndarray:
    """Rows of bricks with pale joints (FACE_PX, FACE_PX, 3)."""
    row, column = np.mgrid[:FACE_PX, :FACE_PX]
    course = row // 8
    brick = (column + 8 * (course % 2)) // 16 % 4
    tone = rng.uniform(0.55, 0.95, (8, 4))[course, brick]
    joint = (row % 8 == 0) | ((column + 8 * (course % 2)) % 16 == 0)
    return _grey(np.where(joint, 1.0, tone))


def planks(rng: np.random.Generator) -> np.ndarray:
    """Upright boards with dark gaps (FACE_PX, FACE_PX, 3)."""
    column = np.arange(FACE_PX)
    tone = rng.uniform(0.6, 1.0, 8)[column // 8] * np.where(column % 8 == 0, 0.35, 1.0)
    return _grey(tone[None] * (0.85 + 0.15 * smooth_noise(rng, 16, FACE_PX)))


def bands(rng: np.random.Generator) -> np.ndarray:
    """Broad light and dark bands with marks (FACE_PX, FACE_PX, 3): crates, barrels, sign boards."""
    row, column = np.mgrid[:FACE_PX, :FACE_PX]
    turn = row if rng.random() < 0.5 else row + column
    return _grey(np.where(turn // 16 % 2 == 0, 1.0, rng.uniform(0.3, 0.6)) * (0.85 + 0.15 * smooth_noise(rng, 12, FACE_PX)))


FACES = {"leaves": leaves, "bark": bark, "stone": stone, "bricks": bricks, "planks": planks, "bands": bands}


def _grey(values: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) from brightness (H, W) in 0..1; the geom's own colour tints it."""
    return np.repeat((np.clip(values, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
