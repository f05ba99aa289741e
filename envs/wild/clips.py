"""Clip makers: from (seed, index) alone to the frames of one clip, of the wild mixture or of a benchmark's own world."""

from __future__ import annotations

from typing import Protocol

import gymnasium as gym
import mujoco
import numpy as np

import envs  # noqa: F401  (registers the benchmark's worlds)
from envs.wild.families import FAMILIES, draw_family
from envs.wild.render import Studio
from envs.wild.world import World
from lamplan.errors import InputError

DOMAINS = {"tabletop": "lamplan/Tabletop-v0", "rover": "lamplan/Rover-v0"}
# Seeds from here on belong to the benchmarks.
FIRST_HELD_OUT_SEED = 1_000_000
ATTEMPTS = 8
LEAST_MOTION = 0.8
LEAST_CONTRAST = 14.0


class ClipMaker(Protocol):
    """Makes the frames (T, H, W, 3) uint8 of any clip by its index."""

    def make(self, index: int) -> np.ndarray: ...

    def close(self) -> None: ...


def family_of(domain: str, seed: int, index: int) -> str:
    """The family of clip `index`, which is decided before anything is rendered."""
    return draw_family(np.random.default_rng([seed, index])) if domain == "wild" else domain


class WildClips:
    """Clips of the wild mixture."""

    def __init__(self, seed: int, frames: int, size: int, fps: float):
        self._seed, self._frames, self._fps = seed, frames, fps
        self._studio = Studio(size)
        # MuJoCo would write its warnings to a file in the working directory; `film` looks at the counts instead.
        mujoco.set_mju_user_warning(lambda message: None)

    def make(self, index: int) -> np.ndarray:
        """Frames (T, H, W, 3) uint8 of clip `index`; scenes in which too little can be seen to move are drawn again."""
        return self.make_family(family_of("wild", self._seed, index), index)

    def make_family(self, family: str, index: int) -> np.ndarray:
        """As `make`, of a stated family."""
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([self._seed, index, attempt])
            world = World(rng, duration_s=self._frames / self._fps)
            FAMILIES[family][1](world)
            frames = self._studio.film(world, self._frames, self._fps)
            if frames is not None and _lively(frames):
                return frames
        if frames is None:
            raise RuntimeError(f"clip {index} ({family}) stayed unstable in {ATTEMPTS} attempts; use another seed.")
        return frames

    def close(self) -> None:
        self._studio.close()


def _lively(frames: np.ndarray) -> bool:
    """Whether something is seen, and moves in at least two thirds of the steps. Both limits in grey levels."""
    grey = frames.mean(axis=3)
    change = np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))
    return float(np.quantile(change, 1 / 3)) > LEAST_MOTION and float(np.median(grey.std(axis=(1, 2)))) > LEAST_CONTRAST


class DomainClips:
    """Clips of a benchmark's world under its own aimless play; the actions are forgotten at once."""

    def __init__(self, domain: str, seed: int, frames: int, size: int, fps: float):
        options = {"wrist": False} if domain == "tabletop" else {}
        self._env = gym.make(DOMAINS[domain], image_size=size, **options)
        self._seed, self._frames = seed, frames
        spec = self._env.unwrapped.robot_spec  # type: ignore[attr-defined]
        self._camera = f"{spec.camera.removesuffix('_image')}_image"
        if abs(spec.rate_hz - fps) > 1e-6:
            raise InputError(
                f"the {domain} world runs at {spec.rate_hz:g} Hz, found --fps {fps:g}: leave --fps at {spec.rate_hz:g}."
            )

    def make(self, index: int) -> np.ndarray:
        """Frames (T, H, W, 3) uint8 of clip `index`."""
        base = self._env.unwrapped
        observation, _ = base.reset(seed=self._seed + index)
        rng = np.random.default_rng([self._seed, index])
        frames = [observation[self._camera]]
        while len(frames) < self._frames:
            observation, *_ = base.step(base.random_motion(rng))  # type: ignore[attr-defined]
            frames.append(observation[self._camera])
        return np.stack(frames)

    def close(self) -> None:
        self._env.close()
