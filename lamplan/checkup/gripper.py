"""Range and sign of an arm's gripper: 0 is open and 1 closed."""

from __future__ import annotations

import numpy as np

from lamplan.checkup.finding import Section
from lamplan.checkup.survey import Survey

# A reading may pass its ends by a little noise.
SLACK = 0.1
METRES = 0.15
# A gripper that rests closes onto things of many sizes and opens to one width. A rest is this many equal readings, in shares of the range.
REST_STEPS, REST_SHARE = 3, 0.02
RESTS_NEEDED = 5
RELATED = 0.5


def check_gripper(survey: Survey) -> Section:
    """Range, which end is open, and whether commands and measured motion have one sign."""
    section = Section()
    if survey.kind != "arm":
        return section
    values = [episode.states[:, 6] for episode in survey.episodes]
    low, high = (float(end(np.concatenate(values))) for end in (np.min, np.max))
    if high - low < 1e-6:
        section.facts["gripper"] = f"never moves from {low:.3g}"
        section.note("gripper", f"it never moves from {low:.3g}", advice="a controller cannot learn what opening and closing do",
                     where=survey.name)
        return section
    section.facts["gripper"] = f"{low:.3g} to {high:.3g}"
    scale = _range(low, high, survey, section)
    if scale:
        _sign(values, low, high, survey, section)
    _commanded(survey, section)
    return section


def _range(low: float, high: float, survey: Survey, section: Section) -> bool:
    """Whether the readings are on the scale from 0 to 1 (or on part of it)."""
    if low >= -SLACK and METRES < high <= 1 + SLACK:
        return True
    if low >= -SLACK and high <= METRES:
        # A gripper that only ever opens or closes a little looks just like one that is measured in metres.
        section.note("gripper", f"readings from {low:.3g} to {high:.3g} look like metres between the fingers, or like very small motion",
                     "0 (open) to 1 (closed)", "divide by the widest opening and subtract from 1", survey.name)
    else:
        kind = "-1 to 1" if low >= -1 - SLACK and high <= 1 + SLACK else "a percentage or counts"
        advice = "map g to (g + 1) / 2" if kind == "-1 to 1" else "divide by the largest reading"
        section.trouble("gripper", f"readings from {low:.3g} to {high:.3g} look like {kind}", "0 (open) to 1 (closed)",
                        f"{advice}, and make 0 the open end", survey.name)
    return False


def _sign(values: list[np.ndarray], low: float, high: float, survey: Survey, section: Section) -> None:
    starts = np.array([(one[0] - low) / (high - low) for one in values])
    begins_low, begins_high = float((starts < 0.25).mean()), float((starts > 0.75).mean())
    spread = [_rest_spread(values, low, high, end) for end in (0, 1)]
    rests_low = None if None in spread else spread[0] < spread[1]  # type: ignore[operator]
    begins = True if begins_low > 0.8 else False if begins_high > 0.8 else None
    if begins is None or (rests_low is not None and rests_low != begins):
        section.facts["gripper"] += "; cannot tell which end is open"
    elif begins:
        section.facts["gripper"] += f"; 0 seems to be open ({begins_low:.0%} of the episodes begin there{_reason(rests_low)})"
    else:
        section.facts["gripper"] += f"; {high:.2g} seems to be open ({begins_high:.0%} of the episodes begin there{_reason(rests_low)})"
        report = section.note if rests_low is None else section.trouble
        report("gripper", f"{begins_high:.0%} of the episodes begin at the high end{_reason(rests_low)}: that end seems to be open",
               "0 open, 1 closed", "replace g by 1 - g if so, in states and commands", survey.name)


def _reason(rests: bool | None) -> str:
    return "" if rests is None else ", and it rests there at one width, at the other end at many"


def _rest_spread(values: list[np.ndarray], low: float, high: float, end: int) -> float | None:
    """Spread of the widths, as shares of the range, at which the gripper rests in one half of it; None where it rests too seldom."""
    found = []
    for one in values:
        share = (one - low) / (high - low)
        still = np.abs(np.diff(share)) < REST_SHARE
        runs = np.flatnonzero(np.convolve(still, np.ones(REST_STEPS - 1), "valid") == REST_STEPS - 1) + REST_STEPS - 1
        rests = share[runs]
        half = rests[rests > 0.5] if end else rests[rests <= 0.5]
        if len(half):
            found.append(float(np.median(half)))
    return float(np.ptp(np.quantile(found, [0.1, 0.9]))) if len(found) >= RESTS_NEEDED else None


def _commanded(survey: Survey, section: Section) -> None:
    told, moved = survey.aligned()
    if told.shape[1:] != (7,) or not len(told) or not told[:, 6].std() or not moved[:, 6].std():
        return
    reached = np.concatenate([episode.states[1:, 6] for episode in survey.episodes
                              if episode.actions is not None and len(episode.states) > 1])
    change, level = (float(np.corrcoef(told[:, 6], seen)[0, 1]) for seen in (moved[:, 6], reached))
    section.facts["gripper"] += f"; commands {told[:, 6].min():.3g} to {told[:, 6].max():.3g}, correlation with its change {change:.2f}"
    if min(change, level) < -RELATED and max(change, level) < RELATED:
        section.trouble("gripper", f"commands and measured motion have opposite signs (correlation {min(change, level):.2f})",
                        "a positive command closes, as does a growing state", "change the sign of one of them", survey.name)
    elif level > max(change + 0.2, RELATED):
        section.note("gripper", f"commands follow the width itself (correlation {level:.2f}), not its change ({change:.2f})",
                     "a change per step", "subtract the measured width from the commands", survey.name)
