"""Short motions on held-out seeds, recorded once: the episodes of both open-loop protocols."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lamplan.errors import DataError

LONGEST_WARM_UP = 12  # steps
SAME_STATE = 1e-3  # metres or radians between a recorded start and its replay

Observation = dict[str, np.ndarray]
Begin = Callable[[Any, int, int], tuple[Observation, Iterator[np.ndarray]]]


def play(env: Any, seed: int, horizon: int) -> tuple[Observation, Iterator[np.ndarray]]:
    """A start somewhere within the environment's own play motion, which then goes on."""
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(int(rng.integers(1, LONGEST_WARM_UP + 1))):
        observation, *_ = env.step(env.unwrapped.random_motion(rng))
    return observation, (env.unwrapped.random_motion(rng) for _ in range(horizon))


def drive(env: Any, seed: int, horizon: int) -> tuple[Observation, Iterator[np.ndarray]]:
    """The rover's smooth drive of exactly `horizon` steps to the place of its goal image."""
    observation, info = env.reset(seed=seed, options={"goal_steps": horizon})
    return observation, iter(info["expert_actions"])


@dataclass(frozen=True)
class Windows:
    """N windows of H steps: frames (N, H+1, H', W', 3) uint8, states (N, H+1, S) and the seeds (N,) that make them again."""

    frames: np.ndarray
    states: np.ndarray
    seeds: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        return self.frames[:, 0]

    @property
    def goals(self) -> np.ndarray:
        return self.frames[:, -1]

    def __len__(self) -> int:
        return len(self.frames)

    def first(self, count: int) -> Windows:
        """The first windows, for a policy that cannot afford all."""
        return Windows(self.frames[:count], self.states[:count], self.seeds[:count])


class Recorder:
    """Records windows, and can put the simulator back to the start of each."""

    def __init__(self, make: Callable[[], Any], begin: Begin, camera: str, horizon: int) -> None:
        self._make, self._begin, self.camera, self.horizon = make, begin, camera, horizon
        self._env: Any = None

    @property
    def env(self) -> Any:
        """The one simulator behind all windows, made when first needed."""
        if self._env is None:
            self._env = self._make()
        return self._env

    def record(self, episodes: int, seed: int) -> Windows:
        """Windows from the seeds seed, seed+1, ..."""
        rows = [self._window(seed + i) for i in tqdm(range(episodes), desc="record held-out windows", unit="episode")]
        frames, states = (np.stack(column) for column in zip(*rows, strict=True))
        return Windows(frames, states, np.arange(seed, seed + episodes))

    def begins(self, windows: Windows) -> bool:
        """Whether the first window begins with the picture that this simulator shows there: as large, and of the same camera."""
        observation, _ = self._begin(self.env, int(windows.seeds[0]), self.horizon)
        return np.array_equal(observation[self.camera], windows.frames[0, 0])

    def at_start(self, windows: Windows, index: int) -> Any:
        """The simulator in the state in which window `index` begins."""
        seed = int(windows.seeds[index])
        observation, _ = self._begin(self.env, seed, self.horizon)
        apart = np.abs(observation["proprio"] - windows.states[index, 0]).max()
        if apart > SAME_STATE:
            raise DataError(f"replaying seed {seed} began {apart:.4f} away from the recorded start; the cached windows belong to "
                            "another version of the environment. Delete them and run again.")
        return self.env

    def close(self) -> None:
        """Closes the simulator, if one was needed."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _window(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        observation, actions = self._begin(self.env, seed, self.horizon)
        seen = [observation, *(self.env.step(action)[0] for action in actions)]
        return np.stack([one[self.camera] for one in seen]), np.stack([one["proprio"] for one in seen]).astype(np.float64)


def cached(path: Path, recorder: Recorder, episodes: int, seed: int) -> Windows:
    """The windows in `path`, recorded first if the file does not hold just these; every row of a table plans from the same. The file says
    nothing of camera and simulator: the beginning of its first window is played again, and has to look the same."""
    if path.exists():
        with np.load(path) as file:
            windows = Windows(**{field.name: file[field.name] for field in fields(Windows)})
        if windows.states.shape[:2] == (episodes, recorder.horizon + 1) and windows.seeds[0] == seed and recorder.begins(windows):
            return windows
    windows = recorder.record(episodes, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    np.savez_compressed(partial, **{field.name: getattr(windows, field.name) for field in fields(Windows)})
    os.replace(partial, path)
    return windows
