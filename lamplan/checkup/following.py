"""Whether the commands are what the robot then did: their time, sign, size and frame."""

from __future__ import annotations

import numpy as np

from lamplan.checkup.finding import Section
from lamplan.checkup.survey import AXES, UNITS, Survey

LAGS = range(-4, 5)
PAIRS_NEEDED = 30
RELATED = 0.4
# How much better another lag must fit: the correlations of smooth motion at neighbouring steps differ little.
BETTER = 0.1
# Motion per command: a robot that lags behind its commands may do a tenth of them in a step, one told in other units does still less.
SMALLEST_GAIN, LARGEST_GAIN = 0.1, 10.0


def check_following(survey: Survey, turns: bool = True) -> Section:
    """Lag, sign and gain of the measured motion against the commands. The gripper has a check of its own; an arm's `turns` say nothing
    where its angles follow another convention."""
    section = Section()
    if survey.kind is None:
        return section
    told, moved = survey.aligned()
    judged = range(3 if survey.kind == "mobile" or not turns else 6)
    axes = [axis for axis in judged if told[:, axis].std() > 1e-9 and moved[:, axis].std() > 1e-9] if len(told) else []
    if len(told) < PAIRS_NEEDED or not axes:
        without = not any(episode.actions is not None for episode in survey.episodes)
        section.facts["commands"] = "none recorded" if without else f"cannot tell: {len(told)} steps with commands, {len(axes)} axes move"
        return section
    if _absolute(survey, section):
        return section
    by_lag = lag_correlations(survey, axes)
    best = max(by_lag, key=by_lag.__getitem__)
    clear = max(BETTER, 3 / np.sqrt(len(told)))
    lag = best if by_lag[best] > RELATED and by_lag[best] > by_lag[0] + clear else 0
    section.facts["commands"] = f"correlate {by_lag[0]:.2f} with the motion of the same step; best {by_lag[best]:.2f} at lag {best:+d}"
    if lag:
        advice = ("the log keeps each action one step too late: move them" if lag < 0 else
                  "the robot answers late, or the states are old: move the actions, or correct the time stamps")
        section.trouble("lag", f"the motion fits the actions best {abs(lag)} step(s) {'earlier' if lag < 0 else 'later'} (correlation "
                        f"{by_lag[lag]:.2f} against {by_lag[0]:.2f})", "action t between state t and state t + 1", advice, survey.name)
    elif by_lag[best] < RELATED / 2 and len(told) >= 200:
        section.note("commands", f"commands hardly correlate with motion at any lag (best {by_lag[best]:.2f})",
                     "a change of the pose per step, in the frame of the states", "compare their frame and meaning; the motion between the "
                     "states is what a controller is fitted to", survey.name)
    _gains(survey, lag, axes, section)
    return section


def lag_correlations(survey: Survey, axes: list[int]) -> dict[int, float]:
    """Mean absolute correlation over some axes of commands with the motion some steps later."""
    found = {}
    for lag in LAGS:
        told, moved = survey.aligned(lag)
        both = [abs(float(np.corrcoef(told[:, axis], moved[:, axis])[0, 1])) for axis in axes
                if len(told) > 2 and told[:, axis].std() > 1e-9 and moved[:, axis].std() > 1e-9]
        found[lag] = float(np.mean(both)) if both else 0.0
    return found


def _absolute(survey: Survey, section: Section) -> bool:
    """Whether the commands are poses to go to instead of changes."""
    pairs = [(episode.actions[:-1], episode.states[1:]) for episode in survey.episodes if episode.actions is not None]
    told, reached = (np.concatenate([pair[side][:, :2] for pair in pairs]) for side in (0, 1))
    spread = reached.var(axis=0).sum()
    explained = 1 - ((told - reached) ** 2).mean(axis=0).sum() / spread if spread > 0 else 0.0
    if explained < 0.8:
        return False
    section.facts["commands"] = f"poses to go to ({explained:.0%} of the next position explained)"
    section.trouble("commands", f"they are the poses to go to ({explained:.0%} of the next position explained)",
                    "changes of the pose per step", "subtract the measured pose from them, or leave the commands out of the log",
                    survey.name)
    return True


def _gains(survey: Survey, lag: int, axes: list[int], section: Section) -> None:
    assert survey.kind is not None
    told, moved = survey.aligned(lag)
    gains, wrong = [], []
    for axis in axes:
        correlation = float(np.corrcoef(told[:, axis], moved[:, axis])[0, 1])
        gain = float((told[:, axis] * moved[:, axis]).sum() / (told[:, axis] ** 2).sum())
        name, unit = f"d{AXES[survey.kind][axis]}", UNITS[survey.kind][axis]
        gains.append(f"{name} {gain:.2g}")
        if correlation < -RELATED:
            section.trouble("sign", f"{name}: commands and motion have opposite signs (correlation {correlation:.2f})", "one sign",
                            "change the sign of this command or of the state", survey.name)
        elif correlation > RELATED and not SMALLEST_GAIN <= gain <= LARGEST_GAIN:
            wrong.append(f"a command of 1 in {name} moved {gain:.3g} {unit}")
    section.facts["motion per command"] = ", ".join(gains)
    if wrong:
        bound = float(np.abs(told[:, axes]).max())
        section.trouble("command units", "; ".join(wrong) + f"; the largest command is {bound:.3g}",
                        "metres and radians per step, as the states",
                        "multiply the commands by the controller's scale, or leave them out of the log", survey.name)
