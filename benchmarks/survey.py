"""`--dry-run`: what a benchmark on logs would read, what is missing for it, and where people get that."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.log_windows import LogReader, gather
from benchmarks.protocol import Protocol
from benchmarks.window_index import indexed, read_index
from lamplan.controllers import controller_folder
from lamplan.errors import DataError, LamplanError
from lamplan.lam import LatentActionModel
from lamplan.robot import RobotSpec

OPENED = 200  # episodes of a large log that are looked into
TOLD = 3  # reasons

Found = TypeVar("Found")


def survey(protocol: Protocol, args: argparse.Namespace) -> int:
    """Prints it; 0 where nothing is missing, else 1."""
    missing: list[str] = []
    robot = _try(missing, RobotSpec.load, args.robot)
    lam = _try(missing, LatentActionModel.load, args.checkpoint)
    if robot is not None and lam is not None:
        print(f"robot {robot.name}: {robot.kind}, {robot.rate_hz:g} Hz, camera {robot.camera}; model {args.checkpoint}")
        if robot.kind != protocol.kind:
            missing.append(f"a robot of kind '{protocol.kind}'; {robot.name} is of kind '{robot.kind}'")
        if not controller_folder(args.robot, args.checkpoint, robot).is_dir():
            missing.append(f"a controller: `lamplan fit LOG... --robot {args.robot} --checkpoint {args.checkpoint}`")
        for path in args.logs:
            missing += _log(protocol.reader(robot, args.camera, lam.config.encoder.image_size), path, args.held_out)
    if index := getattr(args, "index", None):
        missing += _index(protocol, index, args)
    missing += [] if args.logs else ["a log"]
    for one in missing:
        print(f"missing: {one}")
    print(f"\nWhere the data are:\n{protocol.where}")
    return 1 if missing else 0


def _log(reader: LogReader, path: Path, held_out: bool) -> list[str]:
    """Prints what a log holds, and returns what is missing."""
    missing: list[str] = []
    episodes = _try(missing, gather, [path], held_out)
    if episodes is None:
        return missing
    looked = sorted(set(np.linspace(0, len(episodes) - 1, min(OPENED, len(episodes))).astype(int).tolist()))
    windows, usable, reasons = 0, 0, []
    kinds: dict[str, None] = {}  # in order, each once
    for number in looked:
        try:
            episode = episodes[number]()
            kinds[f"{episode.rate_hz:.3g} Hz, cameras {', '.join(episode.cameras)}"] = None
            found, stride = reader.starts(episode), reader.stride(episode)
            kinds[f"a step is {stride} frame(s) of {reader.camera(episode)}: {episode.rate_hz / stride:.3g} Hz"] = None
            windows, usable = windows + found, usable + (found > 0)
            if not found:
                reasons.append(f"{episode.source} is too short: {len(episode)} frames")
        except DataError as error:
            reasons.append(str(error))
    print(f"{path}: {len(episodes)} episodes, {len(looked)} looked into; {usable} of these can be used and hold {windows} windows of "
          f"{reader.horizon} steps")
    for line in (*kinds, *(f"not usable: {reason}" for reason in reasons[:TOLD])):
        print(f"  {line}")
    return [] if usable else [f"an episode that can be used, in {path}"]


def _index(protocol: Protocol, path: Path, args: argparse.Namespace) -> list[str]:
    """Prints whether the windows of a published index are in the logs, and returns what is missing."""
    missing: list[str] = []
    places = _try(missing, read_index, path, protocol.horizon)
    episodes = _try(missing, gather, args.logs, args.held_out) if args.logs else None
    if places and episodes and _try(missing, indexed, episodes, places, path) is not None:
        print(f"{path}: {len(places)} windows, whose trajectories are all there")
    return missing


def _try(missing: list[str], step: Callable[..., Found], *given: object) -> Found | None:
    """What a step gives; its complaint goes to what is missing."""
    try:
        return step(*given)
    except LamplanError as error:
        missing.append(str(error))
        return None
