"""The rover: ATE and RPE of its plans (RECON protocol, paper section 6.2) and how well they work in closed loop.

`recon`: H = 8 at 4 Hz, straight lines, 120 samples, 1 iteration, the mean of 5 elites, 100 held-out episodes. `arc`: the same
budget over circular arcs, the paths that a wheeled robot really drives. `closed_loop`: receding horizon over arcs along
sub-goal images.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch

import envs  # noqa: F401  registers the environments
from benchmarks.closed_loop import ClosedLoop, Setting, Track
from benchmarks.contenders import PLANNERS, ROWS, Contenders, SearchBudget, Sources
from benchmarks.filming import film_track, film_windows
from benchmarks.open_loop import decide_all
from benchmarks.options import benchmark_parser, chosen, guarded, positive_int
from benchmarks.recon import COST, HORIZON, SEARCH, as_recon_searches
from benchmarks.run import Run
from benchmarks.shapes import Arc, Shape, StraightLine
from benchmarks.trajectories import as_seen_from_start, follow, path_errors
from benchmarks.windows import Recorder, Windows, cached, drive
from lamplan.report import Results
from lamplan.report.plots import paths_from_above
from lamplan.report.results import describe_device

PARTS = ("recon", "arc", "closed_loop")
SHAPES: dict[str, Shape] = {"recon": StraightLine(), "arc": Arc()}
# Sub-goals lie about 2 m apart, 8 steps of driving; some patience is left for turning.
SETTING = Setting(plans=30, execute=2, patience=7, stops=True)
NEARER_M = 0.1  # by how much a drive must end nearer than it began
SEED_OFFSET = 100_000  # between the open-loop episodes and the closed-loop ones
FILMED = 2
DRAWN = 4  # open-loop episodes drawn from above


def main(argv: list[str] | None = None) -> None:
    parser = benchmark_parser("navigation", __doc__ or "", "controllers/rover", ROWS, PARTS)
    parser.add_argument("--samples", type=positive_int, default=SEARCH.samples, help="open-loop candidates")
    parser.add_argument("--iterations", type=positive_int, default=SEARCH.iterations, help="open-loop iterations")
    parser.add_argument("--closed-samples", type=positive_int, help="closed-loop candidates per iteration (64; 16 with --quick)")
    parser.add_argument("--closed-iterations", type=positive_int, help="closed-loop iterations (2; 1 with --quick)")
    parser.add_argument("--closed-episodes", type=positive_int, help="closed-loop episodes (20; 2 with --quick)")
    parser.add_argument("--oracle-episodes", type=positive_int, help="open-loop episodes of the oracle (25; 1 with --quick)")
    args = parser.parse_args(argv)
    parts, rows, quick = chosen(args.part, PARTS, "part"), chosen(args.rows, ROWS, "rows"), args.quick
    search = SearchBudget(args.samples, args.iterations, SEARCH.elites)
    closed_search = SearchBudget(args.closed_samples or (16 if quick else 64), args.closed_iterations or (1 if quick else 2), 5)
    oracle_search = SearchBudget(16, 1, 3) if quick else SearchBudget(32, 2, 4)
    oracle_episodes = args.oracle_episodes or (1 if quick else 25)
    # The simulator's own time is what costs here: in closed loop the oracle shows its way in a few episodes.
    closed_oracle_search, closed_oracle_episodes = SearchBudget(16, 1, 3), 0 if quick else 4

    sources = Sources.from_arguments(args)
    results = Results.begin("navigation", args.seed, describe_device(args.device), argv, open_loop=str(search),
                            closed_loop=str(closed_search), oracle_open_loop=f"{oracle_search}, {oracle_episodes} episodes",
                            oracle_closed_loop=f"{closed_oracle_search}, {closed_oracle_episodes} episodes")
    run = Run(results, args.out, args.batch)
    for part in (name for name in parts if name in SHAPES):
        searched = as_recon_searches(sources.robot) if part == "recon" else None
        contenders = Contenders(sources, HORIZON, search, oracle_search, SHAPES[part], searched, COST, whole_plan=True)
        # Only the planners know of the plan's shape: the other rows would repeat those of the first part.
        names = rows if part == "recon" else [row for row in rows if row in PLANNERS]
        open_loop(contenders, names, part, args.episodes or (8 if quick else 100), oracle_episodes, run)
    if "closed_loop" in parts:
        contenders = Contenders(sources, HORIZON, closed_search, closed_oracle_search, Arc(), cost=COST)
        closed_loop(contenders, rows, args.closed_episodes or (2 if quick else 20), closed_oracle_episodes, run)
    run.finish()


def open_loop(contenders: Contenders, rows: list[str], task: str, episodes: int, oracle_episodes: int, run: Run) -> None:
    """Adds the rows of one open-loop part, videos of what the planners expected, and pictures of the first paths."""
    recorder = Recorder(lambda: make_env(contenders.sources.image_size), drive, contenders.robot.camera, HORIZON)
    windows = cached(run.out / "windows" / "rover.npz", recorder, episodes, run.seed)
    plans = {}
    for policy in contenders.build(rows):
        mine = windows.first(oracle_episodes) if policy.name == "oracle" else windows
        decision, seconds = decide_all(policy, mine, recorder, run.batch, run.seed)
        for (metric, unit), errors in path_errors(decision.actions, mine.states).items():
            run.results.add(policy.name, task, metric, unit, errors)
        run.results.add(policy.name, task, "plan_time", "s", np.full(len(mine), seconds))
        run.keep()
        if policy.name not in ("zero", "random", "oracle"):
            plans[policy.name] = decision.actions
        if decision.predicted is not None:
            video = run.out / "videos" / f"{task}_{policy.name}.mp4"
            run.videos.append(film_windows(mine.frames, decision.predicted, contenders.encode, video, policy.name, contenders.decode))
    draw_paths(windows, plans, task, run)
    recorder.close()


def draw_paths(windows: Windows, plans: dict[str, np.ndarray], task: str, run: Run) -> None:
    """The first episodes from above: where the rover went, and where each plan (N, H, 3) would have led it."""
    for i in range(min(DRAWN, len(windows))):
        poses = {"true": as_seen_from_start(windows.states[i])} | {name: follow(actions[i]) for name, actions in plans.items()}
        paths = {name: np.concatenate([np.zeros((1, 2)), one[:, :2]]) for name, one in poses.items()}
        run.plots.append(paths_from_above(paths, run.out / "plots" / f"{task}_path_{i}.png", f"{task}, episode {i}"))


def closed_loop(contenders: Contenders, rows: list[str], episodes: int, oracle_episodes: int, run: Run) -> None:
    """Adds the closed-loop rows and videos of the first drives. No oracle episodes, no row of the oracle."""
    worlds = [make_env(contenders.sources.image_size) for _ in range(min(run.batch, episodes))]
    loop = ClosedLoop(worlds, contenders.robot.camera, contenders.encode, SETTING)
    first = run.seed + SEED_OFFSET
    for policy in contenders.build([row for row in rows if row != "oracle" or oracle_episodes]):
        count = min(oracle_episodes, episodes) if policy.name == "oracle" else episodes
        tracks, _ = loop.run(policy, range(first, first + count))
        add_rows(run.results, policy.name, tracks)
        run.keep()
        for i, track in enumerate(tracks[:FILMED]):
            if track.predicted or policy.name == "regression":
                video = run.out / "videos" / f"drive_{policy.name}_{i}.mp4"
                run.videos.append(film_track(track, contenders.encode, video, f"drive, {policy.name}", contenders.decode))
    for world in worlds:
        world.close()


def add_rows(results: Results, name: str, tracks: list[Track]) -> None:
    """SPL is success weighted by shortest over travelled path, zero for a failure."""
    final, first = (np.array([track.distance_m[i] for track in tracks]) for i in (-1, 0))
    success = np.array([track.success for track in tracks], dtype=float)
    travelled = np.array([track.path_m for track in tracks])
    shortest = np.array([track.shortest_path_m for track in tracks])
    task = "closed_loop"
    results.add(name, task, "success", "share", success)
    results.add(name, task, "collision", "share", np.array([track.collided for track in tracks]))
    results.add(name, task, "SPL", "1", success * shortest / np.maximum(travelled, shortest))
    results.add(name, task, "path_over_shortest", "1", travelled / shortest)
    results.add(name, task, "final_distance", "m", final)
    results.add(name, task, "nearer", "share", final < first - NEARER_M)


def make_env(image_size: int) -> Any:
    """The rover's world."""
    return gym.make("lamplan/Rover-v0", image_size=image_size)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    guarded(main)
