"""The RECON protocol's errors (paper section 6.2), from planned actions and true poses."""

from __future__ import annotations

import numpy as np

from benchmarks.trajectories import WAYPOINT_M, as_seen_from_start, ate_rpe, follow


def path_errors(plans: np.ndarray, states: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """{(metric, unit): (N,)} of planned actions (N, H, 3) against true poses (N, H+1, 3), in metres and in RECON's waypoints."""
    planned = [follow(actions) for actions in plans]
    true = [as_seen_from_start(poses) for poses in states]
    ate, rpe = np.array([ate_rpe(p, q) for p, q in zip(planned, true, strict=True)]).T
    end = np.array([np.linalg.norm(p[-1, :2] - q[-1, :2]) for p, q in zip(planned, true, strict=True)])
    turned = np.array([p[-1, 2] - q[-1, 2] for p, q in zip(planned, true, strict=True)])
    yaw = np.abs((turned + np.pi) % (2 * np.pi) - np.pi)
    return {("ATE", "m"): ate, ("RPE", "m"): rpe, ("ATE_waypoints", "0.25 m"): ate / WAYPOINT_M,
            ("RPE_waypoints", "0.25 m"): rpe / WAYPOINT_M, ("end_distance", "m"): end, ("end_yaw", "rad"): yaw}
