"""Smooth random signals: what makes every mover of the wild videos wander with persistence instead of jittering."""

from __future__ import annotations

import math

import numpy as np


class Wander:
    """A smooth random path through random way-points, as a function of time.

    Between two way-points the path eases in and out; the time between them is drawn from `persistence_s` (seconds), and
    with probability `hold` a way-point repeats the one before it, so that movers also rest. `start` fixes the first one.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        low: np.ndarray,
        high: np.ndarray,
        duration_s: float,
        persistence_s: tuple[float, float] = (0.6, 1.8),
        hold: float = 0.1,
        start: np.ndarray | None = None,
        speed: float | None = None,
    ):
        """`low`, `high` (D,): the box of way-points. `speed`: the largest mean speed between two of them, units per second."""
        low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        times = [0.0]
        points = [rng.uniform(low, high) if start is None else np.asarray(start, dtype=float)]
        while times[-1] < duration_s:
            gap = rng.uniform(*persistence_s)
            point = points[-1] if rng.random() < hold else rng.uniform(low, high)
            if speed is not None:
                gap = max(gap, float(np.linalg.norm(point - points[-1])) / speed)
            times.append(times[-1] + gap)
            points.append(point)
        self._times = np.array(times)
        self._points = np.stack(points)

    def __call__(self, t: float) -> np.ndarray:
        """The value (D,) at time `t` (s)."""
        k = int(np.clip(np.searchsorted(self._times, t, side="right") - 1, 0, len(self._times) - 2))
        x = min(max((t - self._times[k]) / (self._times[k + 1] - self._times[k]), 0.0), 1.0)
        # Half linear, half smooth step: no full stop at each way-point, yet no sharp corner in speed either.
        x = 0.5 * x + 0.5 * x * x * (3.0 - 2.0 * x)
        return self._points[k] + x * (self._points[k + 1] - self._points[k])


class Waves:
    """Sums of two sinusoids per channel in [-1, 1], with periods drawn from `period_s` (seconds)."""

    def __init__(self, rng: np.random.Generator, channels: int, period_s: tuple[float, float] = (0.8, 4.0)):
        self._rate = 2.0 * math.pi / rng.uniform(*period_s, size=(2, channels))
        self._phase = rng.uniform(0.0, 2.0 * math.pi, size=(2, channels))
        self._share = rng.uniform(0.3, 0.7, size=channels)

    def __call__(self, t: float) -> np.ndarray:
        """The values (channels,) at time `t` (s)."""
        waves = np.sin(self._rate * t + self._phase)
        return self._share * waves[0] + (1.0 - self._share) * waves[1]


class GroundPath:
    """A pose (x, y in m, yaw in rad) that drives forward with a wandering speed and turning rate inside a disc.

    Near the rim of the disc the path turns back towards the centre, so that a mover stays in view.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        duration_s: float,
        start: tuple[float, float, float],
        speed: tuple[float, float],
        radius: float,
        turn: float = 1.2,
        step_s: float = 0.05,
    ):
        """`speed`: range (m/s). `radius` (m) of the disc about the origin. `turn`: largest turning rate (rad/s)."""
        self._step_s = step_s
        drive = Wander(rng, np.array([speed[0], -turn]), np.array([speed[1], turn]), duration_s)
        x, y, yaw = start
        poses = [(x, y, yaw)]
        for k in range(math.ceil(duration_s / step_s) + 1):
            v, w = drive(k * step_s)
            if math.hypot(x, y) > radius:
                error = math.remainder(math.atan2(-y, -x) - yaw, 2.0 * math.pi)
                w = math.copysign(turn, error) if abs(error) > 0.3 else 0.0
            yaw += w * step_s
            x += v * math.cos(yaw) * step_s
            y += v * math.sin(yaw) * step_s
            poses.append((x, y, yaw))
        self._poses = np.array(poses)

    def __call__(self, t: float) -> np.ndarray:
        """The pose (3,) at time `t` (s)."""
        k = min(t / self._step_s, len(self._poses) - 1.001)
        i = int(k)
        return self._poses[i] + (k - i) * (self._poses[i + 1] - self._poses[i])
