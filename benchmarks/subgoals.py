"""Walks through a list of goal images without being told where the robot is."""

from __future__ import annotations

import numpy as np


class Subgoals:
    """The sub-goals of one episode, K encoded images (K, P, D), the last of them the goal.

    The next one is taken up once the present one looks reached, which is when the mean squared feature distance has fallen
    below `ratio` of what it was when this sub-goal was taken up, or after `patience` looks, so that one image that the
    robot cannot match does not hold it for ever. Both need the camera alone.
    """

    def __init__(self, features: np.ndarray, patience: int, ratio: float = 0.35) -> None:
        self.features, self.patience, self.ratio = features, patience, ratio
        self.index, self.waited = 0, 0
        self.first_distance: float | None = None

    def update(self, seen: np.ndarray) -> int:
        """Index of the sub-goal to head for, given the features (P, D) of the present image."""
        distance = self._distance(seen)
        if self.first_distance is None:
            self.first_distance = distance
        reached = distance <= self.ratio * self.first_distance or self.waited >= self.patience
        if reached and self.index + 1 < len(self.features):
            self.index, self.waited = self.index + 1, 0
            self.first_distance = self._distance(seen)
        self.waited += 1
        return self.index

    def _distance(self, seen: np.ndarray) -> float:
        return float(np.mean((seen - self.features[self.index]) ** 2))
