"""A box in the robot's base frame that the gripper must not enter: a wish that only a planner can be told."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from benchmarks.policies import Constraint

PENALTY = 100.0  # per point inside; feature costs are of order one, so any candidate outside wins
POINTS = 20  # of a motion, along which a striding planner goes up to a quarter of a metre: about a centimetre apart
MARGIN_M = 0.01  # kept from the box by the planner, since an executed step misses the commanded one by some millimetres


@dataclass(frozen=True)
class Boxes:
    """One axis-aligned box per episode: low and high corners (B, 3) in metres."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def between(cls, start: np.ndarray, goal: np.ndarray, half_m: float) -> Boxes:
        """Cubes of half edge `half_m` around the middles of the ways from start (B, 3) to goal (B, 3)."""
        middle = (start + goal) / 2
        return cls(middle - half_m, middle + half_m)

    def crossed(self, paths: list[np.ndarray]) -> np.ndarray:
        """Whether each path (T, 3), taken as straight pieces, enters its box: bool (B,)."""
        return np.array([bool(_inside(torch.from_numpy(_dense(path)), low, high).any())
                         for path, low, high in zip(paths, torch.from_numpy(self.low), torch.from_numpy(self.high), strict=True)])

    def constraint(self, positions: np.ndarray, rows: np.ndarray) -> Constraint:
        """Cost of candidates (B, N, H, A) that start at positions (B, 3) and whose first three numbers are metres moved.

        `rows` (B,) says which boxes belong to the B episodes that are asked for.
        """
        low, high, start = self.low[rows] - MARGIN_M, self.high[rows] + MARGIN_M, positions

        def cost(actions: Tensor) -> Tensor:
            def near(values: np.ndarray) -> Tensor:
                return torch.as_tensor(values, dtype=actions.dtype, device=actions.device)[:, None, None]

            ends = near(start) + actions[..., :3].cumsum(dim=2)
            begins = torch.cat([near(start).expand_as(ends[:, :, :1]), ends[:, :, :-1]], dim=2)
            share = torch.linspace(1 / POINTS, 1, POINTS, dtype=actions.dtype, device=actions.device)[:, None]
            points = (begins[..., None, :] + share * (ends - begins)[..., None, :]).flatten(2, 3)
            return PENALTY * _inside(points, near(low), near(high)).sum(dim=-1).to(actions.dtype)

        return cost


def _inside(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ((points > low) & (points < high)).all(dim=-1)


def _dense(path: np.ndarray) -> np.ndarray:
    """A path (T, 3) with points at most a few millimetres apart in between."""
    pieces = [np.linspace(a, b, 20, endpoint=False) for a, b in pairwise(path)]
    return np.concatenate([*pieces, path[-1:]])
