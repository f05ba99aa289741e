"""The arm: how far its plans lie from the truth (DROID protocol, paper section 6.1) and how well they work in closed loop.

Open loop: H = 3, 300 samples, 15 iterations, 10 elites, 64 held-out episodes. Closed loop: receding horizon with a smaller, stated search,
and `lam_in_domain_realtime` with the defaults of `LatentPlanner`. On 2 cores the full open-loop search takes minutes per
episode; see --quick, --samples and --rows.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch

import envs  # noqa: F401  registers the environments
from benchmarks.arm_tasks import SEED_OFFSET, TASKS, run_task, simulators
from benchmarks.contenders import OVER_LATENTS, ROWS, Contenders, SearchBudget, Sources
from benchmarks.displacement import displacement_errors
from benchmarks.droid import HORIZON, QUICK, SEARCH
from benchmarks.filming import film_track, film_windows
from benchmarks.open_loop import decide_all
from benchmarks.options import benchmark_parser, chosen, guarded, positive_int
from benchmarks.run import Run
from benchmarks.windows import Recorder, cached, play
from lamplan.errors import InputError
from lamplan.report import Results
from lamplan.report.results import describe_device
from lamplan.robot import RobotSpec

PARTS = ("open_loop", "closed_loop")
FILMED = 2  # episodes per closed-loop task


def main(argv: list[str] | None = None) -> None:
    parser = benchmark_parser("manipulation", __doc__ or "", "controllers/panda", ROWS, PARTS)
    parser.add_argument("--samples", type=positive_int, help="open-loop candidates per iteration (300; 64 with --quick)")
    parser.add_argument("--iterations", type=positive_int, help="open-loop iterations (15; 4 with --quick)")
    parser.add_argument("--closed-samples", type=positive_int, help="closed-loop candidates per iteration (128; 32 with --quick)")
    parser.add_argument("--closed-iterations", type=positive_int, help="closed-loop iterations (6; 3 with --quick)")
    parser.add_argument("--closed-episodes", type=positive_int, help="closed-loop episodes per task (20; 2 with --quick)")
    parser.add_argument("--tasks", help=f"closed-loop tasks, of: {', '.join(TASKS)} (all; reach and forbidden_box with --quick)")
    parser.add_argument("--oracle-episodes", type=positive_int, help="open-loop episodes of the oracle (16; 1 with --quick)")
    args = parser.parse_args(argv)
    parts, rows, quick = chosen(args.part, PARTS, "part"), chosen(args.rows, ROWS, "rows"), args.quick
    tasks = chosen(args.tasks or ("reach,forbidden_box" if quick else ",".join(TASKS)), tuple(TASKS), "tasks")
    usual = QUICK if quick else SEARCH
    search = SearchBudget(args.samples or usual.samples, args.iterations or usual.iterations, usual.elites)
    closed_search = SearchBudget(args.closed_samples or (32 if quick else 128), args.closed_iterations or (3 if quick else 6), 10)
    oracle_search = SearchBudget(16, 2, 4) if quick else SearchBudget(32, 4, 8)
    oracle_episodes = args.oracle_episodes or (1 if quick else 16)
    # The simulator's own time is what costs here: in closed loop the oracle shows its way in a few episodes.
    closed_oracle_search, closed_oracle_episodes = SearchBudget(16, 2, 4), 0 if quick else 4

    sources = Sources.from_arguments(args)
    check_frame(sources.robot)
    results = Results.begin("manipulation", args.seed, describe_device(args.device), argv, open_loop=str(search),
                            closed_loop=str(closed_search), oracle_open_loop=f"{oracle_search}, {oracle_episodes} episodes",
                            oracle_closed_loop=f"{closed_oracle_search}, {closed_oracle_episodes} episodes a task")
    run = Run(results, args.out, args.batch)
    if "open_loop" in parts:
        open_loop(Contenders(sources, HORIZON, search, oracle_search), rows, args.episodes or (8 if quick else 64), oracle_episodes, run)
    if "closed_loop" in parts:
        contenders = Contenders(sources, HORIZON, closed_search, closed_oracle_search)
        for task in tasks:
            closed_loop(contenders, rows, task, args.closed_episodes or (2 if quick else 20), closed_oracle_episodes, run)
    if not results.rows:
        raise InputError(f"no row of {', '.join(rows)} can be measured in {', '.join(parts)}; choose others with --rows or --part.")
    run.finish()


def check_frame(robot: RobotSpec) -> None:
    """Raises InputError unless a robot's actions can be handed to the simulated arm as they are."""
    if robot.frame != "base":
        raise InputError(f"the simulated arm moves in its base frame; the actions of {robot.name} are in the frame of its {robot.frame}.")


def open_loop(contenders: Contenders, rows: list[str], episodes: int, oracle_episodes: int, run: Run) -> None:
    """Adds the open-loop rows, and videos of what the planners expected."""
    robot, policies = contenders.robot, contenders.build(rows)
    recorder = Recorder(lambda: make_env("reach", contenders.sources.image_size), play, robot.camera, HORIZON)
    windows = cached(run.out / "windows" / "tabletop.npz", recorder, episodes, run.seed)
    for policy in policies:
        mine = windows.first(oracle_episodes) if policy.name == "oracle" else windows
        decision, seconds = decide_all(policy, mine, recorder, run.batch, run.seed)
        for (metric, unit), errors in displacement_errors(robot, decision.actions, mine.states).items():
            run.results.add(policy.name, "open_loop", metric, unit, errors)
        run.results.add(policy.name, "open_loop", "plan_time", "s", np.full(len(mine), seconds))
        run.keep()
        if decision.predicted is not None:
            video = run.out / "videos" / f"open_loop_{policy.name}.mp4"
            run.videos.append(film_windows(mine.frames, decision.predicted, contenders.encode, video, policy.name, contenders.decode))
    recorder.close()


def closed_loop(contenders: Contenders, rows: list[str], task: str, episodes: int, oracle_episodes: int, run: Run) -> None:
    """Adds the rows of one task, and videos of its first episodes. No oracle episodes, no row of the oracle."""
    left_out = {"oracle"} if not oracle_episodes else set()
    if TASKS[task].setting.box_half_m is not None:
        left_out.update(OVER_LATENTS)  # whose candidates are no motions that could be kept from a box
    policies = contenders.build([row for row in rows if row not in left_out])
    first = run.seed + SEED_OFFSET
    seeds = {policy.name: range(first, first + (min(oracle_episodes, episodes) if policy.name == "oracle" else episodes))
             for policy in policies}
    with simulators(lambda name: make_env(name, contenders.sources.image_size), TASKS[task], min(run.batch, episodes)) as worlds:
        found = run_task(task, policies, worlds, seeds, contenders.robot.camera, contenders.encode, run.results)
    run.keep()
    for name, tracks in found.items():
        for i, track in enumerate(tracks[:FILMED]):
            if track.predicted or name == "regression":
                video = run.out / "videos" / f"{task}_{name}_{i}.mp4"
                run.videos.append(film_track(track, contenders.encode, video, f"{task}, {name}", contenders.decode))


def make_env(task: str, image_size: int) -> Any:
    """The tabletop world with the exterior camera alone."""
    return gym.make("lamplan/Tabletop-v0", task=task, image_size=image_size, wrist=False)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    guarded(main)
