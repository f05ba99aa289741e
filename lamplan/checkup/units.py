"""Units of the states: metres or millimetres, radians or degrees, told by what a robot can reach and how fast it can move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lamplan.checkup.finding import Section
from lamplan.checkup.survey import AXES, Survey

# The hand of an arm on a table is within 2 m of its base, 5 m with a gantry; 100 is further than any in centimetres.
ARM_REACH_M, ARM_REACH_CM = 5.0, 100.0
# Steps of a mobile robot: nothing that this library plans for drives faster.
FASTEST_MOBILE_M_S = 15.0
# Angles that are written from -pi to pi, or from 0 to 2 pi, never pass this.
LARGEST_RAD = 2 * np.pi * 1.01
FASTEST_TURN_RAD_S = 15.0
ANGLES = {"arm": slice(3, 6), "mobile": slice(2, 3)}
PLACES = {"arm": slice(0, 3), "mobile": slice(0, 2)}


def to_si(survey: Survey) -> tuple[Section, Survey]:
    """Says which units the states are in, and gives the survey in metres and radians, so that no further check stumbles over that."""
    section, kind = Section(), survey.kind
    if kind is None:
        section.trouble("width", f"states of {survey.width} numbers", "7 of an arm [x y z, roll pitch yaw, gripper] or 3 of a mobile robot "
                        "[x y yaw]", "name the pose in the log (LeRobot: 'names' of observation.state), or convert it", survey.name)
        return section, survey
    states = np.concatenate([episode.states for episode in survey.episodes])
    length = _length_unit(survey, states, section)
    angle = _angle_unit(survey, states, section)
    if length == angle == 1.0:
        return section, survey
    scale = np.ones(survey.width)
    scale[PLACES[kind]], scale[ANGLES[kind]] = length, angle
    return section, replace(survey, episodes=[replace(episode, states=episode.states * scale) for episode in survey.episodes])


def _length_unit(survey: Survey, states: np.ndarray, section: Section) -> float:
    """Metres in one unit of the positions."""
    assert survey.kind is not None
    places = states[:, PLACES[survey.kind]]
    if survey.kind == "arm":
        far = float(np.quantile(np.linalg.norm(places, axis=1), 0.95))
        unit = 1.0 if far <= ARM_REACH_M else 0.01 if far <= ARM_REACH_CM else 0.001
        seen, expected = f"the hand is {far:.3g} units away from the base", f"up to {ARM_REACH_M:g} m"
    else:
        rate = np.concatenate([np.linalg.norm(np.diff(episode.states[:, :2], axis=0), axis=1) * episode.rate_hz
                               for episode in survey.episodes])
        fast = float(np.quantile(rate, 0.95))
        unit = 1.0 if fast <= FASTEST_MOBILE_M_S else 0.01 if fast <= 100 * FASTEST_MOBILE_M_S / 5 else 0.001
        seen, expected = f"the robot moves {fast:.3g} units per second", f"up to {FASTEST_MOBILE_M_S:g} m/s"
    name = {1.0: "metres", 0.01: "centimetres", 0.001: "millimetres"}[unit]
    moved = bool((np.ptp(places, axis=0) > 0).any())
    section.facts["lengths"] = f"{name} ({seen})" if moved else "cannot tell: no position ever changes"
    if unit != 1.0:
        section.trouble("units", f"{seen}: positions look like {name}", expected, f"multiply the positions by {unit:g}", survey.name)
    return unit


def _angle_unit(survey: Survey, states: np.ndarray, section: Section) -> float:
    """Radians in one unit of the angles."""
    assert survey.kind is not None
    part = ANGLES[survey.kind]
    angles = states[:, part]
    largest = float(np.abs(angles).max())
    steps = np.concatenate([np.diff(episode.states[:, part], axis=0) for episode in survey.episodes])
    wraps = {name: int((np.abs(np.abs(steps) - turn) < 0.05 * turn).sum()) for name, turn in (("radians", 2 * np.pi), ("degrees", 360.0))}
    rates = np.concatenate([np.abs(np.diff(episode.states[:, part], axis=0)).ravel() * episode.rate_hz for episode in survey.episodes])
    # A yaw that is counted on past a full turn is large in radians too; then the speed of turning tells.
    turning = float(np.quantile(rates[rates < 100 * 360], 0.95)) if len(rates) else 0.0
    degrees = largest > LARGEST_RAD and (wraps["degrees"] > wraps["radians"] or survey.kind == "arm" or turning > FASTEST_TURN_RAD_S)
    if largest == 0 or not np.ptp(angles, axis=0).any():
        section.facts["angles"] = "cannot tell: no angle ever changes"
        return 1.0
    name, axis = ("degrees" if degrees else "radians"), AXES[survey.kind][part][int(np.abs(angles).max(axis=0).argmax())]
    jumps = f"; {wraps[name]} jumps of a full turn" if wraps[name] else ""
    section.facts["angles"] = f"{name} ({axis} goes to {largest:.4g}{jumps})"
    if not degrees:
        return 1.0
    section.trouble("units", f"{axis} goes to {largest:.4g}: angles look like degrees", "radians, -pi to pi or 0 to 2 pi",
                    "multiply the angles by pi / 180", survey.name)
    return float(np.pi / 180)
