"""Whether a mobile robot's yaw is the direction in which it drives."""

from __future__ import annotations

import numpy as np

from lamplan.checkup.finding import Section
from lamplan.checkup.survey import Survey

# Shorter steps than this share of the usual ones have no direction; so many others are needed.
MOVING_SHARE, STEPS_NEEDED = 0.3, 30
STEADY, BETTER, OFF_RAD = 0.8, 0.2, 0.5


def check_heading(survey: Survey) -> Section:
    """Compares yaw with the direction of motion; both ways of driving count alike."""
    section = Section()
    if survey.kind != "mobile":
        return section
    steps = np.concatenate([np.diff(episode.states[:, :2], axis=0) for episode in survey.episodes])
    # The chord of an arc points along the yaw in its middle.
    turned = [np.angle(np.exp(1j * np.diff(episode.states[:, 2]))) for episode in survey.episodes]
    yaw = np.concatenate([episode.states[:-1, 2] + turn / 2 for episode, turn in zip(survey.episodes, turned, strict=True)])
    length = np.linalg.norm(steps, axis=1)
    moving = length > MOVING_SHARE * np.quantile(length, 0.9)
    direction = np.arctan2(steps[:, 1], steps[:, 0])[moving]
    if moving.sum() < STEPS_NEEDED or abs(np.exp(2j * yaw[moving]).mean()) > 0.95:
        section.facts["yaw"] = "cannot tell: it moves too little, or always in one direction"
        return section
    with_yaw, against = (np.exp(2j * (direction - sign * yaw[moving])).mean() for sign in (1, -1))
    off = float(np.angle(with_yaw)) / 2
    if abs(against) > abs(with_yaw) + BETTER and abs(against) > STEADY:
        section.facts["yaw"] = "turns the wrong way round"
        section.trouble("yaw", f"the robot drives along the negative of its yaw (agreement {abs(against):.2f}, with yaw itself "
                        f"{abs(with_yaw):.2f})", "yaw counted anticlockwise from x", "change its sign", survey.name)
    elif abs(with_yaw) < STEADY:
        section.facts["yaw"] = f"cannot tell: the robot drives in all directions of its body (agreement {abs(with_yaw):.2f})"
    elif abs(off) > OFF_RAD:
        section.facts["yaw"] = f"is {off:+.2f} rad off the direction of driving"
        section.trouble("yaw", f"the robot drives {off:+.2f} rad off its yaw", "yaw 0 when it drives along x", f"add {off:+.2f} rad to it",
                        survey.name)
    else:
        section.facts["yaw"] = f"is the direction of driving (agreement {abs(with_yaw):.2f})"
    return section
