"""Planned and true paths of a mobile robot, and how far they lie apart (paper section 6.2)."""

from __future__ import annotations

import numpy as np
from evo.core import metrics
from evo.core.trajectory import PosePath3D

from lamplan.motion import composed, mobile_motion

WAYPOINT_M = 0.25  # RECON's unit of length: published ATE and RPE are multiples of it


def follow(actions: np.ndarray) -> np.ndarray:
    """Poses (..., T, 3) [x, y (m), yaw (rad)] after each of T actions (dx, dy, dyaw in the robot's frame), from the origin."""
    return composed("mobile", actions)[..., 1:, :]


def as_seen_from_start(states: np.ndarray) -> np.ndarray:
    """World poses (..., T+1, 3) as poses (..., T, 3) in the frame of the first, which is left out: the protocol does not prepend it."""
    return mobile_motion(states[..., :1, :], states[..., 1:, :])


def ate_rpe(planned: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """ATE and RPE in metres of poses (T, 3) by the package `evo`: translation, rmse, delta one frame, no alignment."""
    pair = _path(true), _path(planned)
    absolute = metrics.APE(metrics.PoseRelation.translation_part)
    absolute.process_data(pair)
    relative = metrics.RPE(metrics.PoseRelation.translation_part, delta=1, delta_unit=metrics.Unit.frames, all_pairs=False)
    relative.process_data(pair)
    rmse = metrics.StatisticsType.rmse
    return float(absolute.get_statistic(rmse)), float(relative.get_statistic(rmse))


def path_errors(plans: np.ndarray, states: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """{(metric, unit): (N,)} of planned actions (N, H, 3) against true poses (N, H+1, 3), in metres and in RECON's waypoints."""
    planned, true = follow(plans), as_seen_from_start(states)
    ate, rpe = np.array([ate_rpe(p, q) for p, q in zip(planned, true, strict=True)]).T
    apart = planned[:, -1] - true[:, -1]
    end, yaw = np.linalg.norm(apart[:, :2], axis=1), np.abs((apart[:, 2] + np.pi) % (2 * np.pi) - np.pi)
    return {("ATE", "m"): ate, ("RPE", "m"): rpe, ("ATE_waypoints", "0.25 m"): ate / WAYPOINT_M,
            ("RPE_waypoints", "0.25 m"): rpe / WAYPOINT_M, ("end_distance", "m"): end, ("end_yaw", "rad"): yaw}


def _path(poses: np.ndarray) -> PosePath3D:
    """Positions alone, with one constant orientation, as the protocol hands them to `evo`."""
    flat = np.column_stack([poses[:, :2], np.zeros(len(poses))])
    return PosePath3D(positions_xyz=flat, orientations_quat_wxyz=np.tile([1.0, 0.0, 0.0, 0.0], (len(poses), 1)))
