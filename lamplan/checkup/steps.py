"""Episodes, steps and rate: how long the episodes are, how steady their clock runs, and whether the header says the same."""

from __future__ import annotations

import numpy as np

from lamplan.checkup.finding import Section
from lamplan.checkup.survey import Survey
from lamplan.logs.rate import RATE_TOLERANCE, rate_advice, same_rate, tolerance
from lamplan.robot import RobotSpec

# A window of the planner's usual horizon, 3 actions, has 4 frames.
SHORTEST = 4
# A step that takes this many usual ones is a gap: one action then spans the motion of several.
GAP = 2.5
UNEVEN = 0.2
# Opening a video to read its header takes time, and the headers of one log agree.
HEADERS_READ = 20


def check_steps(survey: Survey, robot: RobotSpec | None = None) -> Section:
    """Number and length of the episodes; their rate by clock, header and robot; gaps."""
    section, episodes = Section(), survey.episodes
    lengths = np.array([len(episode) for episode in episodes])
    seconds = sum(_duration_s(episode.times_s, len(episode), episode.rate_hz) for episode in episodes)
    read = f" (of which {survey.asked} were opened)" if survey.asked < survey.count else ""
    section.facts["episodes"] = (f"{survey.count}{read}, {lengths.sum()} steps, {seconds:.1f} s; {lengths.min()} to {lengths.max()} steps "
                                 f"each, {np.median(lengths):g} in the middle")
    short = lengths < SHORTEST
    if short.any():
        first = int(np.argmax(short))
        section.note("short", f"{short.sum()} of {len(lengths)} episodes have fewer than {SHORTEST} steps, this one {lengths[first]}",
                     f"at least {SHORTEST}, a plan of {SHORTEST - 1} actions", "use them as start and goal only", episodes[first].source)
    _rates(survey, section)
    _gaps(survey, section)
    _headers(survey, section)
    if robot is not None:
        _against(survey, robot, section)
    return section


def _duration_s(times_s: np.ndarray | None, steps: int, rate_hz: float) -> float:
    return steps / rate_hz if times_s is None else float(times_s[-1] - times_s[0])


def _rates(survey: Survey, section: Section) -> None:
    rates = np.array([episode.rate_hz for episode in survey.episodes])
    usual, clocks = float(np.median(rates)), sum(episode.times_s is not None for episode in survey.episodes)
    stated = sorted({episode.stated_hz for episode in survey.episodes if episode.stated_hz is not None})
    if clocks:
        headers = f"; the header says {' or '.join(f'{rate:g}' for rate in stated)} Hz" if stated else ""
        section.facts["rate"] = f"{usual:.4g} Hz by the clock of {clocks} episodes{headers}"
    else:
        section.facts["rate"] = f"{usual:.4g} Hz by the header or the format alone"
        section.note("rate", f"{survey.name} keeps no clock, so its rate of {usual:g} Hz cannot be tested",
                     advice="make sure that it was recorded at that rate: all speeds depend on it")
    for episode in survey.episodes:
        if not same_rate(episode.rate_hz, usual, tolerance(episode)):
            section.trouble("rate", f"{episode.rate_hz:.4g} Hz", f"{usual:.4g} Hz as in the other episodes",
                            "keep episodes of one rate in a log, or resample them", episode.source)
        if episode.stated_hz is not None and abs(episode.rate_hz / episode.stated_hz - 1) > RATE_TOLERANCE:
            section.trouble("header", f"the clock gives {episode.rate_hz:.4g} Hz", f"{episode.stated_hz:.4g} Hz, which the header states",
                            "find out which of them is wrong and correct it; the clock is believed here", episode.source)


def _gaps(survey: Survey, section: Section) -> None:
    uneven = total = 0
    for episode in survey.episodes:
        if episode.times_s is None:
            continue
        steps = np.diff(episode.times_s)
        usual = float(np.median(steps))
        gaps = np.flatnonzero(steps > GAP * usual)
        if len(gaps):
            worst = int(gaps[np.argmax(steps[gaps])])
            section.trouble("clock", f"{len(gaps)} gap(s) in the clock, the longest {steps[worst]:.3g} s",
                            f"{usual:.3g} s from step to step", "cut the episode there, or leave it out", episode.source, worst)
        uneven, total = uneven + int((abs(steps / usual - 1) > UNEVEN).sum()) - len(gaps), total + len(steps)
    if total and uneven > total / 20:
        section.note("clock", f"{uneven} of {total} steps are more than {UNEVEN:.0%} longer or shorter than the usual one",
                     "an even clock", "record from a control loop of fixed rate")


def _headers(survey: Survey, section: Section) -> None:
    found: dict[tuple[str, float], str] = {}
    for episode in survey.episodes[:HEADERS_READ]:
        for camera, rate_hz in episode.video_hz().items():
            if rate_hz and abs(rate_hz / episode.rate_hz - 1) > RATE_TOLERANCE:
                found.setdefault((camera, round(rate_hz, 2)), episode.source)
    if found:
        (_, rate_hz), where = next(iter(found.items()))
        cameras = ", ".join(sorted({camera for camera, _ in found}))
        section.note("header", f"the videos of {cameras} claim {rate_hz:g} Hz", "one frame per step of the log",
                     "nothing to do here, where frames are counted; a loader that believes the header gets the wrong stride", where)


def _against(survey: Survey, robot: RobotSpec, section: Section) -> None:
    others = [episode for episode in survey.episodes if not same_rate(episode.rate_hz, robot.rate_hz, tolerance(episode))]
    unfit = [(episode, advice) for episode in others if (advice := rate_advice(episode, robot))]
    if unfit:
        episode, advice = unfit[0]
        section.trouble("rate", f"recorded at {episode.rate_hz:g} Hz", f"{robot.rate_hz:g} Hz, at which {robot.name} acts", advice,
                        episode.source)
    elif others:
        section.note("rate", f"recorded at {others[0].rate_hz:.4g} Hz while {robot.name} acts at {robot.rate_hz:g} Hz",
                     advice=f"it is read at the steps nearest to every {1 / robot.rate_hz:g} s", where=others[0].source)
