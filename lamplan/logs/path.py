"""`path_of`: the poses between which a robot's actions lie, by what counts as an action for it and in its own frame.

Shapes: T steps, S numbers of a pose, A of an action.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from lamplan.errors import DataError
from lamplan.logs.episode import Episode
from lamplan.motion import composed, poses_in, turned
from lamplan.robot import RobotSpec

STILL_RAD = 0.03
"""A calibrated camera seems to turn by up to about this much within an episode by its noise; one on the wrist by much more."""


def path_of(episode: Episode, spec: RobotSpec) -> np.ndarray:
    """Poses (T, S) of which `spec.differences` gives the actions, between any two of them: the measured states, or where the commands alone
    lead from the origin; in the axes of the robot's camera where its actions are.

    DataError where the episode has no commands, or neither it nor robot.toml says how the camera stands.
    """
    if spec.source == "measured":
        return measured_path(episode, spec)
    commands = commands_of(episode, spec)
    assert commands is not None
    return composed(spec.kind, commands[:-1])


def measured_path(episode: Episode, spec: RobotSpec) -> np.ndarray:
    """The measured states (T, S) in the robot's frame."""
    axes, states = axes_of(episode, spec), np.asarray(episode.states, dtype=np.float64)
    return states if axes is None else poses_in(states, axes)


def commands_of(episode: Episode, spec: RobotSpec) -> np.ndarray | None:
    """The commands (T, A) in the robot's frame; None where there are none, and DataError where these are the robot's actions."""
    if episode.actions is None:
        if spec.source == "commanded":
            raise DataError(f"{episode.source} has no commands, but the actions of {spec.name} are the commanded ones; record them, or set "
                            "source = 'measured' under [action] in robot.toml.")
        return None
    axes, actions = axes_of(episode, spec), np.asarray(episode.actions, dtype=np.float64)
    if actions.shape != (len(episode), spec.action_dim):
        raise DataError(f"{episode.source}: commands of {spec.name} have shape {(len(episode), spec.action_dim)}, found {actions.shape}.")
    return actions if axes is None else turned(actions, axes.T)


def axes_of(episode: Episode, spec: RobotSpec) -> np.ndarray | None:
    """The axes (3, 3) of the robot's camera in the base frame, by the log or else by robot.toml; None where actions are in no camera's."""
    if spec.frame != "camera":
        return None
    found = episode.axes(spec.camera)
    if found is None:
        if spec.camera not in spec.axes:
            raise DataError(f"{episode.source} does not say how the camera '{spec.camera}' stands, in whose frame the actions of "
                            f"{spec.name} are; add its axes to [extrinsics] in robot.toml, or set frame = 'base' there.")
        return spec.axes[spec.camera]
    moved = float((Rotation.from_matrix(found[0]).inv() * Rotation.from_matrix(found)).magnitude().max())
    if moved > STILL_RAD:
        raise DataError(f"{episode.source}: the camera '{spec.camera}' turns by {moved:.2g} rad, and actions can only be said in the frame "
                        "of one that stands still: choose another, or set frame = 'base' in robot.toml.")
    return np.asarray(found[0])
