"""Which convention an arm's three angles follow, as far as the log can tell.

Two things tell: under the right convention the hand turns smoothly, where a wrong one sees jumps at the borders of the angles; and
the turns that were commanded are those that were measured.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from lamplan.checkup.finding import Section
from lamplan.checkup.survey import Survey

OURS = "Euler xyz about fixed axes"
CONVENTIONS = {OURS: "xyz", "Euler xyz about moving axes": "XYZ", "Euler zyx about fixed axes": "zyx", "Euler zyx about moving axes": "ZYX",
               "a rotation vector": ""}
# A hand that turns faster did not turn: it was lost sight of, or the convention is another one.
FASTEST_RAD_S = 10.0
# Commanded turns below this share of the larger ones are noise; so many of the others are needed.
TURNING_SHARE, TURNS_NEEDED = 0.2, 30
EXPLAINED, BETTER = 0.5, 0.1


def check_rotation(survey: Survey) -> Section:
    """Continuity and composition of the angles; says `cannot tell` where both fit more than one convention."""
    section = Section()
    if survey.kind == "arm":
        if not _jumps(survey, section):
            _composition(survey, section)
        _middle_angle(survey, section)
    return section


def rotations(angles: np.ndarray, convention: str) -> Rotation:
    """Orientations of angles (T, 3) in one of `CONVENTIONS`."""
    order = CONVENTIONS[convention]
    return Rotation.from_euler(order, angles) if order else Rotation.from_rotvec(angles)


def _jumps(survey: Survey, section: Section) -> bool:
    """Whether the angles contradict our convention, or jump in all of them."""
    largest = dict.fromkeys(CONVENTIONS, 0.0)
    place = "", 0
    for episode in survey.episodes:
        for name in CONVENTIONS:
            turning = rotations(episode.states[:, 3:6], name)
            speeds = (turning[1:] * turning[:-1].inv()).magnitude() * episode.rate_hz
            if speeds.max() > largest[name]:
                largest[name] = float(speeds.max())
                place = (episode.source, int(speeds.argmax())) if name == OURS else place
    if largest[OURS] <= FASTEST_RAD_S:
        return False
    best = min(largest, key=largest.__getitem__)
    where, step = place
    found = f"read as {OURS} the hand turns by {largest[OURS]:.3g} rad/s from here to the next step"
    if largest[best] < FASTEST_RAD_S and largest[best] < largest[OURS] / 3:
        section.facts["Euler convention"] = f"{best} (at most {largest[best]:.2g} rad/s; {OURS} gives {largest[OURS]:.3g})"
        section.trouble("Euler convention", f"{found}; as {best} it never turns faster than {largest[best]:.2g} rad/s", OURS,
                        "convert the angles", where, step)
    else:
        section.facts["Euler convention"] = "cannot tell: the orientation jumps in every convention"
        section.trouble("jump", found, f"at most {FASTEST_RAD_S:g} rad/s", "cut the episode there, or leave it out", where, step)
    return True


def _composition(survey: Survey, section: Section) -> None:
    explained = explained_turns(survey)
    if not explained:
        section.facts["Euler convention"] = "cannot tell: too few turns were commanded, and the angles never jump"
        return
    best = max(explained, key=explained.__getitem__)
    ours = explained[f"{OURS}, base frame"]
    alike = [name for name, share in explained.items() if share > explained[best] - BETTER / 2]
    if explained[best] < EXPLAINED:
        section.facts["Euler convention"] = f"cannot tell: no convention explains the commanded turns (best: {best}, {explained[best]:.0%})"
    elif ours < explained[best] - BETTER:
        section.facts["Euler convention"] = f"{best} ({explained[best]:.0%} of the turning explained; {OURS}, base frame: {ours:.0%})"
        section.trouble("Euler convention", f"commanded and measured turns agree as {best} ({explained[best]:.0%} explained), and not as "
                        f"{OURS} in the base frame ({ours:.0%})", f"{OURS}, turns in the base frame",
                        "convert the angles of the states, or the frame of the commands", survey.name)
    else:
        rivals = [name for name in alike if name != f"{OURS}, base frame"]
        named = ", or as ".join(rivals) if len(rivals) < 3 else f"{len(rivals)} other ways"
        others = f"; just as well as {named}" if rivals else "; no other fits as well"
        section.facts["Euler convention"] = f"{OURS}, base frame ({ours:.0%} of the commanded turns explained{others})"


def explained_turns(survey: Survey) -> dict[str, float]:
    """Share of the measured turning that the commands explain, at one common scale, by convention and frame; empty where too few turn."""
    pairs = [(episode.actions[:-1, 3:6], episode.states[:, 3:6]) for episode in survey.episodes
             if episode.actions is not None and episode.actions.shape[1] == 7]
    if not pairs:
        return {}
    told = np.concatenate([command for command, _ in pairs])
    size = np.linalg.norm(told, axis=1)
    turning = size > TURNING_SHARE * np.quantile(size, 0.95)
    if turning.sum() < TURNS_NEEDED or not size.any():
        return {}
    found = {}
    for name in CONVENTIONS:
        read = [rotations(angles, name) for _, angles in pairs]
        for frame in ("base", "tool"):
            turned = np.concatenate([_turns(now, frame).as_rotvec() for now in read])
            found[f"{name}, {frame} frame"] = _explained(told[turning], turned[turning])
    return found


def _turns(now: Rotation, frame: str) -> Rotation:
    """From each orientation to the next one."""
    return now[1:] * now[:-1].inv() if frame == "base" else now[:-1].inv() * now[1:]


def _explained(told: np.ndarray, turned: np.ndarray) -> float:
    power = float((turned**2).sum())
    if power == 0:
        return 0.0
    scale = max(0.0, float((told * turned).sum() / (told**2).sum()))
    return 1 - float(((turned - scale * told) ** 2).sum()) / power


def _middle_angle(survey: Survey, section: Section) -> None:
    for episode in survey.episodes:
        beyond = np.abs(episode.states[:, 4]) > np.pi / 2 + 0.02
        if beyond.any():
            step = int(np.argmax(beyond))
            section.note("Euler convention", f"the middle angle is {episode.states[step, 4]:.3g} rad", "-pi/2 to pi/2, as Euler xyz has it",
                         "make sure that it is no rotation vector", episode.source, step)
            return
