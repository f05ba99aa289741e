"""`check_recorded`: what a writer demands of an episode before anything of it is stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lamplan.errors import InputError
from lamplan.logs.robomimic import IMAGE
from lamplan.robot import RobotSpec


def check_recorded(robot: RobotSpec, frames: Mapping[str, np.ndarray], states: np.ndarray, actions: np.ndarray) -> None:
    """Raises InputError unless an episode has finite states and actions of the robot's width and an image of every camera per step."""
    length = len(states)
    wanted = {"states": (states, robot.state_dim), "actions": (actions, robot.action_dim)}
    for key, (values, width) in wanted.items():
        if values.shape != (length, width) or length == 0:
            raise InputError(f"{key} of {robot.name} must have shape (T, {width}), T the same for states and actions and "
                             f"at least 1; found {values.shape}.")
        if not np.isfinite(values).all():
            raise InputError(f"{key} hold a NaN or an infinity; an episode with one is not recorded.")
    if not frames:
        raise InputError(f"an episode needs the images of at least one camera, by observation key such as '{robot.camera}'.")
    for key, images in frames.items():
        if not key.endswith(IMAGE) or "/" in key:
            raise InputError(f"the observation key '{key}' must end in '{IMAGE}'.")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != length:
            raise InputError(f"'{key}' must be uint8 images ({length}, H, W, 3), one per state; found {images.dtype} {images.shape}.")
