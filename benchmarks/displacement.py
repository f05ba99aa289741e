"""The DROID protocol's error: how far the planned motion as a whole lies from the true one (paper section 6.1)."""

from __future__ import annotations

import numpy as np

from lamplan.robot import RobotSpec

# Columns of an arm's action: their metric, unit and share of the sum.
PARTS = (("delta_xyz", "m", slice(0, 3)), ("delta_rotation", "rad", slice(3, 6)), ("delta_gripper", "1", slice(6, 7)))


def displacement_errors(robot: RobotSpec, plans: np.ndarray, states: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """{(metric, unit): (N,)}: L1 of summed planned (N, H, 7) minus summed true actions, the latter from states (N, H+1, 7).

    `delta_xyz` is the number published for DROID: |.| summed over three axes, not a Euclidean distance.
    """
    moved = robot.differences(states).sum(axis=1)
    apart = np.abs(plans.sum(axis=1) - moved)
    return {(metric, unit): apart[:, columns].sum(axis=1) for metric, unit, columns in PARTS}
