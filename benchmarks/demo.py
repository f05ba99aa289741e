"""What `make demo` shows: both robots plan with the shipped checkpoint, in at most 10 minutes on 2 cores.

A few held-out episodes and a small search, so the numbers are rough; the benchmarks `manipulation` and `navigation` measure
in full. Prints the tables and writes tables, plots and videos into one page.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks import manipulation, navigation, recon
from benchmarks.contenders import Contenders, SearchBudget, Sources
from benchmarks.options import FIRST_HELD_OUT_SEED, guarded
from benchmarks.run import Run
from benchmarks.shapes import Arc, StraightLine
from lamplan.report import Results, table
from lamplan.report.html import write_report
from lamplan.report.results import current_commit, describe_device

ARM_ROWS = ["zero", "random", "regression", "lam_in_domain_realtime", "lam_in_domain_guided"]
ROVER_ROWS = ["zero", "random", "prior", "regression", "lam_in_domain", "lam_in_domain_guided"]
ARM_EPISODES, ARM_SEARCH = 8, SearchBudget(96, 6, 10)
REACHES, REACH_SEARCH = 2, SearchBudget(96, 5, 10)
ROVER_EPISODES, ROVER_SEARCH = 8, SearchBudget(120, 1, 5)
DRIVES, DRIVE_SEARCH = 1, SearchBudget(32, 1, 4)
NO_ORACLE = SearchBudget(1, 1, 1)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for the page, the plots and the videos")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/wild-small"))
    parser.add_argument("--controllers", type=Path, default=Path("controllers"), help="folder with the robots panda and rover")
    return parser


def command(argv: Sequence[str]) -> str:
    """What makes the run of these options again: `make demo` only where they are its own."""
    own = options().parse_args(argv) == options().parse_args([])
    return "make demo" if own else f"python -m benchmarks.demo {shlex.join(argv)}"


def main(argv: list[str] | None = None) -> None:
    args, asked = options().parse_args(argv), command(sys.argv[1:] if argv is None else argv)
    begun = time.monotonic()
    print(f"Arm: {ARM_EPISODES} plans with {ARM_SEARCH}, {REACHES} reaches with {REACH_SEARCH}.\n"
          f"Rover: {ROVER_EPISODES} plans with {ROVER_SEARCH}, {DRIVES} drive with {DRIVE_SEARCH}.\n"
          "On 2 cores this takes at most 10 minutes.")
    # Side by side, with half of the cores each: networks this small leave most of a second core idle, and wait for it.
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=share_cores, initargs=(2,)) as pool:
        parts = [pool.submit(demo_arm, args.controllers / "panda", args.checkpoint, args.out / "arm", asked),
                 pool.submit(demo_rover, args.controllers / "rover", args.checkpoint, args.out / "rover", asked)]
        runs = [part.result() for part in parts]
    for run in runs:
        run.keep()
        run.draw()
        print(f"\n{run.results.benchmark}\n\n{table(run.results)}")
    plots, videos = [plot for run in runs for plot in run.plots], [video for run in runs for video in run.videos]
    page = write_report([run.results for run in runs], args.out / "report.html", plots, videos, title="lamplan: first light")
    print("\n" + "\n".join(f"video:  {video}" for video in videos) + f"\nreport: {page}\n({time.monotonic() - begun:.0f} s)")


def share_cores(processes: int) -> None:
    """Settles torch in one of several processes."""
    torch.set_grad_enabled(False)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))


def demo_arm(robot: Path, checkpoint: Path, out: Path, asked: str) -> Run:
    """Open-loop plans and a few reaches of the Panda."""
    sources = Sources(robot, checkpoint, None, None, "cpu")
    run = begin("demo (Panda)", out, asked, open_loop=str(ARM_SEARCH), reach=str(REACH_SEARCH))
    manipulation.open_loop(Contenders(sources, manipulation.HORIZON, ARM_SEARCH, NO_ORACLE), ARM_ROWS, ARM_EPISODES, 0, run)
    contenders = Contenders(sources, manipulation.HORIZON, REACH_SEARCH, NO_ORACLE)
    manipulation.closed_loop(contenders, ["zero", "lam_in_domain_guided"], "reach", REACHES, 0, run)
    return run


def demo_rover(robot: Path, checkpoint: Path, out: Path, asked: str) -> Run:
    """Open-loop plans and a drive of the rover."""
    sources = Sources(robot, checkpoint, None, None, "cpu")
    run = begin("demo (rover)", out, asked, recon=str(ROVER_SEARCH), closed_loop=str(DRIVE_SEARCH))
    contenders = Contenders(sources, navigation.HORIZON, ROVER_SEARCH, NO_ORACLE, StraightLine(), cost=recon.COST, whole_plan=True)
    navigation.open_loop(contenders, ROVER_ROWS, "recon", ROVER_EPISODES, 0, run)
    contenders = Contenders(sources, navigation.HORIZON, DRIVE_SEARCH, NO_ORACLE, Arc(), cost=recon.COST)
    navigation.closed_loop(contenders, ["prior", "lam_in_domain_guided"], DRIVES, 0, run)
    return run


def begin(name: str, out: Path, asked: str, **budget: str) -> Run:
    """An empty run that says how it is made again."""
    return Run(Results(name, asked, current_commit(), describe_device("cpu"), FIRST_HELD_OUT_SEED, dict(budget)), out, batch=1)


if __name__ == "__main__":
    guarded(main)
