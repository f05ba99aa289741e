"""A published planning protocol on robot logs: the program behind `benchmarks.droid` and `benchmarks.recon`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.contenders import PLANNERS, ROWS, Contenders, SearchBudget, Sources
from benchmarks.filming import film_windows
from benchmarks.log_windows import LogReader, LogWindows, gather
from benchmarks.open_loop import decide_all
from benchmarks.options import benchmark_parser, chosen, positive_int
from benchmarks.protocol import Part, Protocol
from benchmarks.run import Run
from benchmarks.survey import survey
from benchmarks.window_index import indexed, read_index
from lamplan.errors import InputError
from lamplan.report import Results
from lamplan.report.results import describe_device
from lamplan.robot import RobotSpec

# A log has no simulator for an oracle, and whether the model has seen such video before is not known here.
NAMES = {name.replace("lam_in_domain", "lam"): name for name in ROWS if name != "oracle"}
USUAL = tuple(name for name in NAMES if name not in ("behaviour_mean", "lam_wild", "action_labelled"))
RATE_APART = 0.15
QUICK_EPISODES = 8


def main(protocol: Protocol, description: str, robot: str, argv: list[str] | None = None) -> None:
    """Raises LamplanError for a user's mistake; with --dry-run ends with status 1 where something is missing."""
    parser = benchmark_parser(protocol.name, description, robot, tuple(NAMES), tuple(protocol.parts))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(rows=",".join(USUAL), part=next(iter(protocol.parts)))
    parser.add_argument("logs", nargs="*", type=Path, metavar="LOG", help="robot logs, of any format that `lamplan fit` reads")
    parser.add_argument("--camera", help="the camera to plan from (default: the robot's, or else the protocol's)")
    parser.add_argument("--held-out", action="store_true", help="only the last tenth of the episodes, which `lamplan fit` leaves out")
    if protocol.kind == "mobile":
        parser.add_argument("--index", type=Path, help="the published windows: navigation_eval.pkl")
    parser.add_argument("--samples", type=positive_int, help="candidates per iteration (default: the protocol's)")
    parser.add_argument("--iterations", type=positive_int, help="iterations (default: the protocol's)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be read and what is missing, and plan nothing")
    args = parser.parse_args(argv)
    if args.dry_run:
        sys.exit(survey(protocol, args))
    if not args.logs:
        raise InputError(f"no log given. The data that this protocol was published on:\n{protocol.where}")
    measure(protocol, args, argv)


def measure(protocol: Protocol, args: argparse.Namespace, argv: list[str] | None) -> None:
    """Plans on the windows of the logs and writes what came of it."""
    parts, rows = chosen(args.part, tuple(protocol.parts), "part"), chosen(args.rows, tuple(NAMES), "rows")
    usual = protocol.quick if args.quick else protocol.search
    search = SearchBudget(args.samples or usual.samples, args.iterations or usual.iterations, usual.elites)
    sources = Sources.from_arguments(args)
    robot = checked(sources.robot, protocol)
    reader = protocol.reader(robot, args.camera, sources.image_size)
    windows = read(protocol, args, reader)
    results = Results.begin(protocol.name, args.seed, describe_device(args.device), argv, search=str(search),
                            **described(windows, robot, reader))
    results.quoted = list(protocol.quoted)
    run = Run(results, args.out, args.batch)
    for number, name in enumerate(parts):
        # Only the planners know of the search's limits and the plan's shape: the other rows would repeat those of the first part.
        wanted = [row for row in rows if number == 0 or NAMES[row] in PLANNERS]
        measure_part(protocol, name, protocol.parts[name], wanted, sources, search, windows, run)
    run.finish()


def measure_part(protocol: Protocol, task: str, part: Part, rows: Sequence[str], sources: Sources, search: SearchBudget,
                 windows: LogWindows, run: Run) -> None:
    """Adds the rows of one part, and videos of what the planners expected."""
    searched = part.searched(sources.robot)
    outside = beyond(windows, searched)
    if outside:
        run.results.budget[f"{task}, beyond the search's limits"] = f"a true step of {outside} of {len(windows)} windows"
    contenders = Contenders(sources, protocol.horizon, search, search, part.shape, searched, protocol.cost, whole_plan=True)
    names = {NAMES[row]: row for row in rows}
    for policy in contenders.build(list(names)):
        policy.name = names[policy.name]
        decision, seconds = decide_all(policy, windows, None, run.batch, run.seed)
        for (metric, unit), errors in protocol.errors(sources.robot, decision.actions, windows.states).items():
            row = run.results.add(policy.name, task, metric, unit, errors, groups=windows.episodes)
            run.results.rows += protocol.derived(row)
        run.results.add(policy.name, task, "plan_time", "s", np.full(len(windows), seconds))
        run.keep()
        if decision.predicted is not None:
            video = run.out / "videos" / f"{task}_{policy.name}.mp4"
            run.videos.append(film_windows(windows.frames, decision.predicted, sources.encode, video, policy.name))


def checked(robot: RobotSpec, protocol: Protocol) -> RobotSpec:
    """The robot, if the protocol is one for its kind."""
    if robot.kind != protocol.kind:
        raise InputError(f"the {protocol.name} protocol is for robots of kind '{protocol.kind}'; {robot.name} is of kind '{robot.kind}'.")
    return robot


def read(protocol: Protocol, args: argparse.Namespace, reader: LogReader) -> LogWindows:
    """The published windows, or random ones, as many as the protocol has."""
    episodes = gather(args.logs, args.held_out)
    count = args.episodes or (QUICK_EPISODES if args.quick else protocol.episodes)
    if path := getattr(args, "index", None):
        places = read_index(path, protocol.horizon)[:count]
        return reader.chosen(indexed(episodes, places, path), args.seed)
    windows = reader.draw(episodes, count, args.seed)
    for reason in list(reader.refused.values())[:3]:
        print(f"left out: {reason}")
    return windows


def described(windows: LogWindows, robot: RobotSpec, reader: LogReader) -> dict[str, str]:
    """What was planned on, for the results file; said aloud where it is not the rate that the controller knows."""
    rates = Counter(np.round(windows.rates_hz, 2).tolist())
    steps = ", ".join(f"{rate:g} Hz" for rate in rates)
    told = {"windows": f"{len(windows)} of {reader.horizon} steps at {steps}, out of {len(set(windows.episodes.tolist()))} episodes"}
    if reader.refused:
        told["left out"] = f"{len(reader.refused)} episodes"
    if any(abs(rate / robot.rate_hz - 1) > RATE_APART for rate in rates):
        print(f"note: the windows step at {steps}, but {robot.name} and its controller act at {robot.rate_hz:g} Hz.")
    return told


def beyond(windows: LogWindows, searched: RobotSpec) -> int:
    """The windows in which the robot did what the search may not: no plan can be right there."""
    moves = searched.differences(windows.states)
    return int(((moves < searched.low) | (moves > searched.high)).any(axis=(1, 2)).sum())
