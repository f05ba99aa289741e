"""Frozen, dark and unreadable cameras, on a sample of the frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lamplan.checkup.finding import Section
from lamplan.checkup.survey import Survey
from lamplan.errors import LamplanError
from lamplan.logs.episode import Episode
from lamplan.robot import RobotSpec

# Frames of each camera that are looked at: a small log whole, of a large one runs of consecutive frames, evenly spread.
FRAMES_LOOKED_AT = 2_000
RUN = 16
# Brightness, 0 to 255: a covered lens or a dropped frame. In a dark room something still shines.
DARK, DARK_BRIGHTEST = 8.0, 40.0
# So many steps in a row without any change of a picture, while the robot moves in some of them, are no coincidence.
FROZEN_STEPS, MOVED_STEPS = 3, 2
# A step in which the robot moves more than this share of its usual motion.
MOVING_SHARE = 0.5
REPEATED_SHARE = 0.2
THUMBNAILS = 6


@dataclass
class Camera:
    """What was seen of one camera: its picture sizes (W, H), frames and steps looked at, what is wrong with it, and some frames by
    episode and step."""

    section: Section = field(default_factory=Section)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    episodes: int = 0
    frames: int = 0
    dark: int = 0
    moving_steps: int = 0
    repeated_steps: int = 0
    thumbnails: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def dead(self) -> bool:
        """Whether every frame is black: some data sets fill up the cameras that a recording did not have."""
        return 0 < self.frames == self.dark


def check_cameras(survey: Survey, robot: RobotSpec | None = None) -> tuple[Section, dict[str, Camera]]:
    """Looks at up to `FRAMES_LOOKED_AT` frames of each camera. What is wrong with one that the robot does not plan with is a note."""
    section, cameras = Section(), {name: Camera() for episode in survey.episodes for name in episode.cameras}
    if not cameras:
        section.trouble("camera", "no episode has a camera", "images of at least one", "record them: the model sees nothing else",
                        survey.name)
    complete = set(cameras)
    for episode in survey.episodes:
        if missing := complete - set(episode.cameras):
            section.trouble("camera", f"no frames of {', '.join(sorted(missing))}, only of {', '.join(episode.cameras) or 'no camera'}",
                            "the cameras of the other episodes", "leave this episode out", episode.source)
    usual = _usual_motion(survey)
    plan = looks([len(episode) for episode in survey.episodes])
    shown = set(np.linspace(0, len(plan) - 1, min(THUMBNAILS, len(plan))).round().astype(int).tolist())
    frames = sum(len(run) for _, runs in plan for run in runs)
    with tqdm(total=len(cameras) * frames, desc=f"look at {Path(survey.name).name}", unit="frame", dynamic_ncols=True, delay=2.0) as bar:
        for number, (place, runs) in enumerate(plan):
            episode = survey.episodes[place]
            moving = _moving(episode, survey.motions[place] if survey.motions else np.diff(episode.states, axis=0), usual)
            for name in episode.cameras:
                keep = f"{place}" if number in shown else ""
                _look(episode, name, runs, moving, cameras[name], keep)
                bar.update(sum(map(len, runs)))
    for name, seen in sorted(cameras.items()):
        section.facts |= _sum_up(name, seen, survey)
        needed = robot is None or name == robot.camera
        section.findings += seen.section.findings if needed else [replace(one, severity="note") for one in seen.section.findings]
    return section, cameras


def looks(lengths: list[int], frames: int = FRAMES_LOOKED_AT) -> list[tuple[int, list[np.ndarray]]]:
    """Which runs of consecutive steps of which episodes to look at: all of them where there are not too many, else evenly spread runs."""
    if sum(lengths) <= frames:
        return [(number, [np.arange(length)]) for number, length in enumerate(lengths)]
    chosen = np.unique(np.linspace(0, len(lengths) - 1, min(len(lengths), max(1, frames // RUN))).round().astype(int)).tolist()
    runs = max(1, frames // RUN // len(chosen))
    found = []
    for number in chosen:
        size = min(RUN, lengths[number])
        starts = np.unique(np.linspace(0, lengths[number] - size, min(runs, -(-lengths[number] // size))).round().astype(int))
        found.append((number, [np.arange(start, start + size) for start in starts.tolist()]))
    return found


def _usual_motion(survey: Survey) -> np.ndarray:
    """(A,): how much each number of the state usually changes in a step in which it changes at all."""
    motions = survey.motions or [np.diff(episode.states, axis=0) for episode in survey.episodes]
    size = np.abs(np.concatenate(motions)) if motions else np.empty((0, 1))
    return np.array([np.quantile(axis[axis > 0], 0.75) if (axis > 0).any() else np.inf for axis in size.T])


def _moving(episode: Episode, motion: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """(T-1,): whether the robot clearly moves between two steps."""
    return (np.abs(motion) > MOVING_SHARE * usual).any(axis=1)


def _look(episode: Episode, name: str, runs: list[np.ndarray], moving: np.ndarray, seen: Camera, keep: str) -> None:
    """Adds what the runs of one episode show; `keep` names the episode where a frame of it is to be shown."""
    dark: list[int] = []
    plain: list[int] = []
    frozen: list[tuple[int, int]] = []
    try:
        for run in runs:
            is_dark, is_plain, same = np.zeros(len(run), bool), np.zeros(len(run), bool), np.zeros(len(run) - 1, bool)
            last = None
            for start in range(0, len(run), RUN):
                frames = episode.frames(name, run[start : start + RUN])
                piece, flat = slice(start, start + len(frames)), frames.reshape(len(frames), -1)
                is_dark[piece] = (flat.mean(axis=1) < DARK) & (flat.max(axis=1) < DARK_BRIGHTEST)
                is_plain[piece] = np.ptp(flat, axis=1) == 0
                shown = frames if last is None else np.concatenate([last, frames])
                same[max(start - 1, 0) : start + len(frames) - 1] = (shown[1:] == shown[:-1]).all(axis=(1, 2, 3))
                last = frames[-1:]
                seen.sizes.add((frames.shape[2], frames.shape[1]))
                if keep:
                    middle = len(frames) // 2
                    seen.thumbnails[f"episode {keep}, step {run[start + middle]}"] = frames[middle]
                    keep = ""
            moves = moving[run[:-1]] & ~is_dark[1:]
            dark += run[is_dark].tolist()
            plain += run[~is_dark & is_plain].tolist()
            frozen += [(int(run[first]), length) for first, length in _still_runs(same, moves)]
            seen.frames += len(run)
            seen.moving_steps += int(moves.sum())
            seen.repeated_steps += int((same & moves).sum())
    except LamplanError as error:
        seen.section.trouble("unreadable", str(error) if episode.source in str(error) else f"{episode.source}: {error}")
        return
    seen.episodes += 1
    seen.dark += len(dark)
    where, say = f"{episode.source}, camera {name}", seen.section
    if dark:
        say.trouble("dark", f"{len(dark)} of {sum(map(len, runs))} frames are black", "a picture",
                    "check lens, exposure and recording; leave this episode out", where, dark[0])
    if plain:
        say.note("blank", f"{len(plain)} frames have a single colour", "a picture", "check the camera", where, plain[0])
    for step, length in frozen[:1]:
        say.trouble("frozen", f"the picture stays the same to the bit for {length} steps while the robot moves", "a picture that changes",
                    "leave this episode out; the camera hung, or its frames were written twice", where, step)


def _still_runs(same: np.ndarray, moves: np.ndarray) -> Iterator[tuple[int, int]]:
    """First step and length of the runs without change during which the robot moved."""
    needed = min(FROZEN_STEPS, len(same))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(int)))
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - first >= needed and moves[first:end].sum() >= min(MOVED_STEPS, needed):
            yield first, end - first


def _sum_up(name: str, seen: Camera, survey: Survey) -> dict[str, str]:
    """Facts of a camera; adds what only all of its frames together tell."""
    sizes = " and ".join(f"{width} x {height}" for width, height in sorted(seen.sizes)) or "no picture could be read"
    total = sum(len(episode) for episode in survey.episodes if name in episode.cameras)
    say = seen.section
    if seen.dead:
        say.findings = [one for one in say.findings if one.topic != "dark"]
        say.trouble("dark", f"camera {name} is black in all {seen.frames} frames", "a picture",
                    "plan with another camera: this one was covered, or was never there", survey.name)
    if len(seen.sizes) > 1:
        say.note("camera", f"pictures of {name} have several sizes: {sizes}", "one size", "nothing to do: they are scaled", survey.name)
    if seen.moving_steps >= 10 and seen.repeated_steps > REPEATED_SHARE * seen.moving_steps:
        share = seen.repeated_steps / seen.moving_steps
        say.note("repeated", f"{share:.0%} of the frames of {name} repeat the one before while the robot moves",
                 "a new picture at every step", "the camera is slower than the log, or hangs; record at its rate", survey.name)
    return {f"camera {name}": f"{sizes}; looked at {seen.frames} of {total} frames, in {seen.episodes} episodes"}
