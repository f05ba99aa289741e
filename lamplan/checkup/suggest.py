"""A first `robot.toml` from what a robot did in its log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from lamplan.checkup.examine import Checkup, examine
from lamplan.checkup.survey import AXES, UNITS
from lamplan.errors import DataError, InputError
from lamplan.logs.check import MOTION_MARGIN
from lamplan.logs.rate import FASTER, fast_enough, same_rate
from lamplan.motion import differences
from lamplan.robot import RobotSpec

# Limits: this much beyond what 99 % of the steps did, and as far as the largest of them unless that is an outlier, several times as large.
MARGIN, ROBUST, OUTLIER = 1.2, 0.99, 3.0
# What an axis that never moves is allowed all the same: limits must leave some room.
LEAST = {"m": 1e-3, "rad": 5e-3, "1": 1e-2}
# A gripper cannot do more than open or close in one step.
MOST = {"m": np.inf, "rad": np.inf, "1": 1.0}
# A search must reach a little of every axis, even of one that is hardly used.
LEAST_STD = 0.05
BOX_MARGIN_M = 0.02
# Without these topics right, limits would be in the wrong units or of something else.
NEEDED = ("units", "width")


def suggest(found: Checkup, name: str, camera: str | None = None, rate_hz: float | None = None) -> str:
    """The text of a robot.toml. Raises DataError where the log's units are wrong, InputError for a camera or a rate that it has not."""
    survey = found.survey
    for finding in found.troubles:
        if finding.topic in NEEDED and (finding.topic == "units" or survey.kind is None):
            raise DataError(f"no robot.toml can be made from {survey.name}: {finding}")
    assert survey.kind is not None
    cameras = sorted({camera for episode in survey.episodes for camera in episode.cameras})
    if camera is not None and camera not in cameras:
        raise InputError(f"{survey.name} has no camera '{camera}'; it has {', '.join(cameras) or 'none'}.")
    own_hz = float(np.median([episode.rate_hz for episode in survey.episodes]))
    if rate_hz is not None and not (rate_hz > 0 and (same_rate(own_hz, rate_hz) or fast_enough(own_hz, rate_hz))):
        raise InputError(f"--rate is {rate_hz:g} Hz, but {survey.name} was recorded at {own_hz:.4g} Hz; give that rate, or "
                         f"{own_hz / FASTER:.4g} or less.")
    whole = rate_hz is None or same_rate(own_hz, rate_hz)
    rate_hz = _round_rate(own_hz) if whole or rate_hz is None else rate_hz
    episodes = survey.episodes if whole else [episode.resampled(rate_hz) for episode in survey.episodes]
    motion = np.concatenate([differences(survey.kind, episode.states) for episode in episodes if len(episode) > 1]
                            or [np.empty((0, survey.width))])
    if not len(motion):
        raise InputError(f"{survey.name} has no two steps that are {1 / rate_hz:g} s apart; choose a higher --rate.")
    told = np.concatenate([episode.actions for episode in episodes if episode.actions is not None] or [motion[:0]])
    low, high = limits(motion, told, survey.kind)
    mean, std = _prior(motion, low, high, survey.kind)
    places = np.concatenate([episode.states[:, :3] for episode in survey.episodes])
    steps = f"{len(motion)} steps of {len(episodes)} episodes of {Path(survey.name).name}"
    lines = [
        f"# Suggested from {steps}: read it through before a robot moves by it.",
        f"name = {_text(name)}", f"kind = {_text(survey.kind)}", f"rate_hz = {rate_hz:g}",
        f'frame = "{"base" if survey.kind == "arm" else "robot"}"', f"camera = {_text(camera or _likeliest(cameras, found))}", "",
        "[action]",
        f"names = [{', '.join(_text(f'd{axis}') for axis in AXES[survey.kind])}]",
        f"units = [{', '.join(map(_text, UNITS[survey.kind]))}]",
        f"# Per step of {1 / rate_hz:.4g} s: what 99 % of the motion and commands kept to, and a fifth more.",
        f"low  = {_numbers(low)}", f"high = {_numbers(high)}", "",
        "# Where the search starts: mean and spread of the measured motion.",
        "[prior]", f"mean = {_numbers(mean)}", f"std  = {_numbers(std)}",
    ]
    if survey.kind == "arm":
        box_low, box_high = _box(places)
        lines += ["", "# Metres in the base frame: where the hand has been, with 2 cm to the sides and above, but none below.",
                  "[workspace]", f"low  = {_numbers(box_low)}", f"high = {_numbers(box_high)}"]
    return "\n".join(lines) + "\n"


def new_robot(log: Path, name: str, folder: Path, camera: str | None = None, rate_hz: float | None = None) -> tuple[Path, Checkup]:
    """Writes `folder/robot.toml` and gives its path and what the log's check-up found. An older file is never replaced."""
    path = folder / "robot.toml"
    if path.exists():
        raise InputError(f"{path} exists; choose another name, or move it away.")
    found = examine(log)
    text = suggest(found, name, camera, rate_hz)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.toml")
    try:
        partial.write_text(text, encoding="utf-8")
        RobotSpec.load(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path, found


def limits(motion: np.ndarray, told: np.ndarray, kind: Literal["arm", "mobile"]) -> tuple[np.ndarray, np.ndarray]:
    """Low and high (A) of measured motion (n, A) and commands (m, A). An arm goes back as far as forth, whatever a short log shows; a
    mobile robot may have no reverse."""
    units = UNITS[kind]
    low, high = np.empty(len(units)), np.empty(len(units))
    for axis, unit in enumerate(units):
        ends = []
        for sign in (-1, 1):
            moved, asked = np.maximum(sign * motion[:, axis], 0), np.maximum(sign * told[:, axis], 0)
            usual = max(float(np.quantile(part[part > 0], ROBUST)) if part.any() else 0.0 for part in (moved, asked))
            # Measured motion may pass a limit by MOTION_MARGIN of half the range, which on one side alone is half of it; commands may not.
            most = max(float(asked.max(initial=0.0)), float(moved.max(initial=0.0)) / (1 + MOTION_MARGIN / 2))
            # A gripper moves seldom and then all the way, so that its largest motion is no outlier.
            kept = most if unit == "1" or most <= OUTLIER * usual else 0.0
            ends.append(max(min(MARGIN * usual, MOST[unit]), kept, LEAST[unit]))
        if kind == "arm" or min(ends) > max(ends) / 2 or max(ends) == LEAST[unit]:
            ends = [max(ends)] * 2
        low[axis], high[axis] = (sign * _round_up(end) for sign, end in zip((-1, 1), ends, strict=True))
    return low, high


def _prior(motion: np.ndarray, low: np.ndarray, high: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """An arm goes anywhere from where it is; a mobile robot drives on as it usually does."""
    inside = np.clip(motion, low, high)
    mean = np.zeros(len(low)) if kind == "arm" else inside.mean(axis=0)
    return _significant(mean), _significant(np.maximum(inside.std(axis=0), LEAST_STD * (high - low) / 2))


def _box(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(places, [0.005, 0.995], axis=0)
    low[:2] -= BOX_MARGIN_M
    return np.round(low, 3), np.round(high + BOX_MARGIN_M, 3)


def _likeliest(cameras: list[str], found: Checkup) -> str:
    """One that sees something, and from outside, where it shows the hand; one on the wrist moves with it."""
    cameras = [camera for camera in cameras if camera in found.cameras and not found.cameras[camera].dead] or cameras
    outside = [camera for camera in cameras if "wrist" not in camera and "hand" not in camera] or cameras
    return next((camera for camera in outside if "ext" in camera or "front" in camera), outside[0] if outside else "camera")


def _round_rate(rate_hz: float) -> float:
    nearest = round(rate_hz)
    return float(nearest) if abs(rate_hz - nearest) < 0.01 * rate_hz else round(rate_hz, 3)


def _round_up(value: float) -> float:
    """To two significant digits."""
    digit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / digit - 1e-9) * digit:.6g}")


def _significant(values: np.ndarray) -> np.ndarray:
    return np.array([float(f"{value:.2g}") for value in values])


def _numbers(values: np.ndarray) -> str:
    return "[" + ", ".join(repr(float(value) + 0.0) for value in values) + "]"


def _text(value: str) -> str:
    """A TOML string."""
    return '"' + "".join(f"\\u{ord(letter):04x}" if ord(letter) < 32 or letter in '"\\\x7f' else letter for letter in value) + '"'
