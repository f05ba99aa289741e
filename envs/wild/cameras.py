"""Random camera paths: fixed, turning, circling, travelling, hand-held, and mounted on a moving body."""

from __future__ import annotations

import math

import mujoco
import numpy as np

from envs.wild.motion import GroundPath, Wander
from envs.wild.world import EyePose


def orbit_eye(
    rng: np.random.Generator,
    target: np.ndarray,
    distance: tuple[float, float],
    elevation: tuple[float, float],
    duration_s: float,
    still: float = 0.5,
    azimuth: tuple[float, float] = (-math.pi, math.pi),
) -> EyePose:
    """A camera about `target` (3,) m at a distance (m), an elevation and an azimuth (rad) drawn from the ranges. With
    probability `still` it stands; else it circles, comes and goes, pans, or shakes as if held by hand."""
    r, e, a = rng.uniform(*distance), rng.uniform(*elevation), rng.uniform(*azimuth)
    centre = np.asarray(target) + rng.normal(0.0, 0.06, 3) * r
    spread = np.zeros(6)
    if rng.random() >= still:
        kind = rng.choice(["circle", "dolly", "pan", "hand", "all"])
        if kind in ("circle", "all"):
            spread[0] = rng.uniform(0.3, 1.2)
        if kind in ("dolly", "all"):
            spread[1] = rng.uniform(0.1, 0.35) * r
        if kind in ("pan", "all"):
            spread[3:] = rng.uniform(0.1, 0.35) * r
        if kind == "hand":
            spread[:] = [0.06, 0.04 * r, 0.05, 0.04 * r, 0.04 * r, 0.04 * r]
    path = Wander(rng, -spread, spread, duration_s, persistence_s=(0.8, 3.0), hold=0.0)

    def eye(model: mujoco.MjModel, data: mujoco.MjData, t: float) -> tuple[np.ndarray, np.ndarray]:
        da, dr, de, *shift = path(t)
        angle, height, away = a + da, e + de, r + dr
        look = centre + np.array(shift)
        flat = away * math.cos(height)
        pos = centre + np.array([flat * math.cos(angle), flat * math.sin(angle), away * math.sin(height)])
        pos[2] = max(pos[2], 0.05)
        return pos, look

    return eye


def travelling_eye(rng: np.random.Generator, path: GroundPath, height: float, duration_s: float) -> EyePose:
    """A camera that follows a path on the ground at `height` (m), looking ahead and about."""
    glance = Wander(rng, np.array([-0.5, -0.25]), np.array([0.5, 0.15]), duration_s, persistence_s=(1.0, 3.0), hold=0.3)
    side = rng.choice([0.0, 0.0, 0.0, math.pi / 2, -math.pi / 2, math.pi])

    def eye(model: mujoco.MjModel, data: mujoco.MjData, t: float) -> tuple[np.ndarray, np.ndarray]:
        x, y, yaw = path(t)
        turn, tilt = glance(t)
        pos = np.array([x, y, height])
        return pos, pos + [math.cos(yaw + turn + side), math.sin(yaw + turn + side), tilt]

    return eye


def mounted_eye(body: str, offset: np.ndarray, ahead: np.ndarray) -> EyePose:
    """A camera on `body` at `offset` (3,) m, looking along `ahead` (3,), both in the body's frame."""

    def eye(model: mujoco.MjModel, data: mujoco.MjData, t: float) -> tuple[np.ndarray, np.ndarray]:
        frame = data.body(body)
        rotation = frame.xmat.reshape(3, 3)
        pos = frame.xpos + rotation @ offset
        return pos, pos + rotation @ ahead

    return eye


def look_quat(pos: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The unit quaternion (4,) of a camera at `pos` that looks at `target`, its x axis level."""
    z = np.asarray(pos, dtype=float) - target
    z /= max(float(np.linalg.norm(z)), 1e-9)
    x = np.cross([0.0, 0.0, 1.0], z)
    if np.linalg.norm(x) < 1e-6:
        x = np.array([1.0, 0.0, 0.0])
    x /= np.linalg.norm(x)
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([x, np.cross(z, x), z], axis=1).reshape(-1))
    return quat
