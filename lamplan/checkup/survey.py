"""`Survey`: the numbers of a log's episodes, read once for all checks. Images stay in the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from lamplan.checkup.finding import Section
from lamplan.errors import LamplanError
from lamplan.logs.episode import Episode
from lamplan.logs.open import format_of
from lamplan.motion import differences
from lamplan.robot import ACTIONS, STATE_DIM

# Episodes of a larger log whose numbers are read, evenly spread over it.
EPISODES_READ = 1_000
KINDS: dict[int, Literal["arm", "mobile"]] = {7: "arm", 3: "mobile"}
AXES = {kind: tuple(name.removeprefix("d") for name in numbers) for kind, numbers in ACTIONS.items()}
UNITS = {kind: tuple(numbers.values()) for kind, numbers in ACTIONS.items()}


@dataclass(frozen=True)
class Survey:
    """What could be read of a log.

    count:    episodes in the log. asked: how many of them were opened.
    episodes: those that all further checks use: whole, finite, of the log's usual width, at least two steps long.
    section:  what there was to say about the others.
    """

    name: str
    form: str
    count: int
    asked: int
    episodes: list[Episode]
    section: Section

    @property
    def width(self) -> int:
        return self.episodes[0].states.shape[1] if self.episodes else 0

    @property
    def kind(self) -> Literal["arm", "mobile"] | None:
        """By the width of the states alone."""
        return KINDS.get(self.width)

    @cached_property
    def motions(self) -> list[np.ndarray]:
        """(T-1, A) of each episode, the motion between its states; empty where the kind of robot is not known."""
        kind = self.kind
        return [] if kind is None else [differences(kind, episode.states) for episode in self.episodes]

    @cached_property
    def motion(self) -> np.ndarray:
        """(n, A): `motions` of all episodes."""
        return np.concatenate(self.motions) if self.motions else np.empty((0, max(self.width, 1)))

    @cached_property
    def commands(self) -> np.ndarray:
        """(n, A): the commands of all episodes that have some."""
        kept = [episode.actions for episode in self.episodes if episode.actions is not None]
        return np.concatenate(kept) if kept else np.empty((0, max(self.width, 1)))

    def aligned(self, lag: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Commands (n, A) and the motion (n, A) measured `lag` steps after each of them, over all episodes that have commands."""
        commands, motions = [np.empty((0, max(self.width, 1)))], [np.empty((0, max(self.width, 1)))]
        for episode, motion in zip(self.episodes, self.motions, strict=True):
            if episode.actions is not None and len(motion) > abs(lag):
                told = episode.actions[:-1]
                commands.append(told[max(-lag, 0) : len(told) - max(lag, 0)])
                motions.append(motion[max(lag, 0) : len(motion) + min(lag, 0)])
        return np.concatenate(commands), np.concatenate(motions)


def read_survey(path: Path) -> Survey:
    """Raises DataError when the log cannot be opened at all; an episode that cannot be read is a finding."""
    form = format_of(path)
    return survey_of(form.read(path), str(path), form.NAME)


def survey_of(log: Sequence[Episode], name: str, form: str) -> Survey:
    """The same of episodes that are open already."""
    section, read = Section(), []
    numbers = np.unique(np.linspace(0, len(log) - 1, min(len(log), EPISODES_READ)).round().astype(int)) if len(log) else []
    for number in tqdm(numbers, desc=f"read {Path(name).name}", unit="episode", dynamic_ncols=True, delay=2.0):
        try:
            read.append(log[int(number)])
        except LamplanError as error:
            section.trouble("unreadable", str(error))
    usual = Counter(episode.states.shape[1:] for episode in read).most_common(1)
    episodes = [episode for episode in read if _usable(episode, usual[0][0], section)]
    if not len(log):
        section.trouble("episodes", f"{name} holds no episode", "at least one", "record some")
    return Survey(name, form, len(log), len(numbers), episodes, section)


def _usable(episode: Episode, usual: tuple[int, ...], section: Section) -> bool:
    where, states, actions = episode.source, episode.states, episode.actions
    before = len(section.findings)
    if states.ndim != 2 or states.shape[1:] != usual:
        section.trouble("width", f"states of shape {states.shape}", f"(T, {', '.join(map(str, usual))}) as in most episodes of this log",
                        "leave the episode out, or keep it in a log of its own", where)
    for key, values in ({"states": states} | ({} if actions is None else {"actions": actions})).items():
        if not np.isfinite(values).all():
            step = int(np.argwhere(~np.isfinite(values))[0, 0])
            section.trouble("NaN", f"{key} hold a NaN or an infinity", "finite numbers", "leave this episode out", where, step)
    if actions is not None and len(actions) != len(states):
        section.trouble("steps", f"{len(actions)} actions for {len(states)} states", "one of each per step",
                        "leave this episode out, or repeat the last action where only that one is missing", where)
    elif actions is not None and usual in ((7,), (3,)) and actions.shape[1:] != usual:
        section.trouble("width", f"actions of shape {actions.shape}", f"(T, {usual[0]}), a change of each number of the state",
                        "convert the commands, or leave them out: the motion between the states is then all that is used", where)
    if len(states) < 2:
        section.trouble("too short", f"{len(states)} step", "at least 2, between which the robot moves", "leave this episode out", where)
    return len(section.findings) == before


assert {STATE_DIM[kind]: kind for kind in STATE_DIM} == KINDS
