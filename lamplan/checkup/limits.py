"""Motion and commands against the limits of a robot, or without one against what any robot can do."""

from __future__ import annotations

import numpy as np

from lamplan.checkup.finding import Section
from lamplan.checkup.survey import AXES, Survey
from lamplan.errors import DataError
from lamplan.logs.check import moves_of, outside
from lamplan.logs.episode import Episode
from lamplan.logs.rate import at_rate, rate_advice
from lamplan.robot import RobotSpec

# No arm's hand and no robot on wheels that this library plans for moves faster.
FASTEST_M_S = {"arm": 5.0, "mobile": 15.0}
STILL_STEPS = 4
# The share of the hand's positions that may lie outside of the workspace before it is worth a word.
OUTSIDE_SHARE = 0.05


def check_motion(survey: Survey) -> Section:
    """Jumps of the position, and what never moves."""
    section, kind = Section(), survey.kind
    if kind is None:
        return section
    size = 3 if kind == "arm" else 2
    for episode, motion in zip(survey.episodes, survey.motions, strict=True):
        speeds = np.linalg.norm(motion[:, :size], axis=1) * episode.rate_hz
        if speeds.max() > FASTEST_M_S[kind]:
            step = int(speeds.argmax())
            far = speeds[step] / episode.rate_hz
            section.trouble("jump", f"the position jumps by {far:.3g} m to the next step ({speeds[step]:.3g} m/s)",
                            f"at most {FASTEST_M_S[kind]:g} m/s", "cut the episode there, or leave it out", episode.source, step)
        if len(episode) >= STILL_STEPS and not motion.any():
            section.trouble("still", f"the states stay the same for all {len(episode)} steps", "a robot that moves",
                            "leave this episode out: nothing is learned from it, and the state may not have been recorded", episode.source)
    still = [name for name, values in zip(AXES[kind], survey.motion.T, strict=True) if name != "gripper" and not values.any()]
    if still:
        section.note("still", f"no change of {', '.join(still)} in the whole log", advice="a controller learns nothing about that",
                     where=survey.name)
    return section


def check_robot(survey: Survey, robot: RobotSpec) -> Section:
    """Width, camera, commands and motion against `robot.toml`, each at the robot's rate and with the margins that `lamplan fit` allows."""
    section = Section()
    if survey.kind != robot.kind:
        section.trouble("robot", f"states of {survey.width} numbers", f"{robot.state_dim}, as {robot.name} of kind '{robot.kind}' has",
                        "choose another robot.toml", survey.name)
        return section
    for episode in survey.episodes:
        if robot.camera not in episode.cameras:
            section.trouble("camera", f"no camera '{robot.camera}', but {', '.join(episode.cameras) or 'none'}", "the one in robot.toml",
                            "name one of these in robot.toml", episode.source)
            break
    for episode in survey.episodes:
        if rate_advice(episode, robot) is None:  # any other rate is trouble of its own, in check_steps
            try:
                _ranges(at_rate(episode, robot), robot, section)
            except DataError as error:  # what is missing in one episode is missing in most
                section.trouble("actions", str(error))
                break
    if robot.workspace_low is not None and robot.workspace_high is not None:
        places = np.concatenate([episode.states[:, :3] for episode in survey.episodes])
        share = float(((places < robot.workspace_low) | (places > robot.workspace_high)).any(axis=1).mean())
        section.facts["workspace"] = f"{1 - share:.0%} of the positions lie in the box of {robot.name}"
        if share > OUTSIDE_SHARE:
            section.note("workspace", f"{share:.0%} of the positions lie outside of the box of {robot.name}",
                         f"at most {OUTSIDE_SHARE:.0%}", "a planner never goes there; widen the box if it should", survey.name)
    return section


def _ranges(episode: Episode, robot: RobotSpec, section: Section) -> None:
    for what, values, margin in moves_of(episode, robot):
        beyond = outside(values, robot, margin)
        for axis in np.unique(beyond[:, 1]).tolist():
            steps = beyond[beyond[:, 1] == axis, 0]
            step = int(steps[np.abs(values[steps, axis]).argmax()])
            found = f"the {what} {robot.names[axis]} is {values[step, axis]:.3g} {robot.units[axis]} ({len(steps)} such steps)"
            section.trouble("limits", found, f"{robot.low[axis]:g} to {robot.high[axis]:g}",
                            "check units and rate, or widen the limits in robot.toml", episode.source, step)
