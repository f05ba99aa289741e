"""`check_limits`: does a log belong to a robot?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lamplan.errors import DataError
from lamplan.logs.episode import Episode
from lamplan.logs.path import commands_of, measured_path
from lamplan.logs.rate import same_rate, tolerance
from lamplan.robot import RobotSpec

# Shares of half an action's range. Commands should keep to the limits; the motion they cause overshoots, most of all in contact:
# up to twice the limit is let pass, and a mistake of units (millimetres, degrees) still lies far beyond.
COMMAND_MARGIN = 0.01
MOTION_MARGIN = 1.0


def check_limits(episode: Episode, spec: RobotSpec) -> None:
    """Raises DataError unless rate, shapes, commands and measured motion of an episode agree with the robot."""
    where, states = episode.source, np.asarray(episode.states)
    commands = {} if episode.actions is None else {"actions": (np.asarray(episode.actions), spec.action_dim)}
    if not same_rate(episode.rate_hz, spec.rate_hz, tolerance(episode)):
        raise DataError(f"{where} was recorded at {episode.rate_hz:g} Hz, but {spec.name} acts at {spec.rate_hz:g} Hz; "
                        "record at that rate, or resample the log with `lamplan.logs.at_rate`.")
    for key, (values, width) in {**commands, "states": (states, spec.state_dim)}.items():
        if values.ndim != 2 or values.shape[1] != width:
            raise DataError(f"{where}: {key} of {spec.name} have shape (T, {width}), found {values.shape}.")
        if not np.isfinite(values).all():
            raise DataError(f"{where}: {key} hold a NaN or an infinity; leave this episode out.")
    for actions, _ in commands.values():
        if len(actions) != len(states):
            raise DataError(f"{where} has {len(actions)} actions for {len(states)} states; there must be one of each per step.")
    for what, values, margin in moves_of(episode, spec):
        _check_range(where, what, values, spec, margin)


def moves_of(episode: Episode, spec: RobotSpec) -> Iterator[tuple[str, np.ndarray, float]]:
    """What the robot was told and what it did, in its own frame, (n, A) each, and the margin by which that may pass the limits."""
    if (commands := commands_of(episode, spec)) is not None:
        yield "command", commands, COMMAND_MARGIN
    yield "measured motion", spec.differences(measured_path(episode, spec)), MOTION_MARGIN


def outside(values: np.ndarray, spec: RobotSpec, margin: float) -> np.ndarray:
    """(step, axis) (N, 2) of the values (T, A) beyond the robot's limits and a margin, a share of half an action's range."""
    slack = margin * (spec.high - spec.low) / 2
    return np.argwhere((values < spec.low - slack) | (values > spec.high + slack))


def _check_range(where: str, what: str, values: np.ndarray, spec: RobotSpec, margin: float) -> None:
    beyond = outside(values, spec, margin)
    if len(beyond):
        step, axis = map(int, beyond[0])
        raise DataError(f"{where}: the {what} '{spec.names[axis]}' is {values[step, axis]:.3g} {spec.units[axis]} at step {step}, beyond "
                        f"{spec.name}'s limits {spec.low[axis]:g} to {spec.high[axis]:g} ({len(beyond)} such values in the episode); "
                        "check the units and the rate of the log, or the limits in robot.toml.")
