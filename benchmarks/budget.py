"""`python -m benchmarks.budget`: what a plan's accuracy costs in time. Open loop, the episodes of `benchmarks.manipulation`.

Ways: `cem` from the robot's prior; `proposal` alone, without any search; `proposals+cem`, `proposals+mppi` and `proposals+gradient` from
there; `latents` and `latents+gradient`, searches over latent actions that begin at the inferred one; `regression`, what was learned from
labels alone, and `guided`, a gradient from there, which is the planner's default. Each with several budgets, candidates x iterations.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.contenders import Sources
from benchmarks.displacement import displacement_errors
from benchmarks.manipulation import HORIZON, check_frame, make_env
from benchmarks.open_loop import decide_all
from benchmarks.options import benchmark_parser, chosen, guarded
from benchmarks.planned import Planned, Proposed
from benchmarks.policies import Constant, Policy
from benchmarks.regression import RegressionPolicy
from benchmarks.run import Run
from benchmarks.windows import Recorder, cached, play
from lamplan.controllers import load_controller, load_regression
from lamplan.costs import GoalCost
from lamplan.errors import InputError
from lamplan.latent_planner import LatentPlanner
from lamplan.planner import Planner
from lamplan.presets import preset, resized
from lamplan.report import Results
from lamplan.report.plots import trade_off
from lamplan.report.results import describe_device
from lamplan.rollout import LatentDynamics
from lamplan.search import CEM, MPPI, Gradient, Search

WAYS = ("zero", "proposal", "cem", "proposals+cem", "proposals+mppi", "proposals+gradient", "latents", "latents+gradient", "regression",
        "guided")
BUDGETS = "8x1,16x2,32x3,80x6,300x15"


def main(argv: list[str] | None = None) -> None:
    parser = benchmark_parser("budget", __doc__ or "", "controllers/panda", WAYS, ("budget",))
    parser.set_defaults(batch=1)  # plans are timed one by one, as a robot makes them
    parser.add_argument("--budgets", default=BUDGETS, help="comma-separated, candidates x iterations")
    args = parser.parse_args(argv)
    ways, budgets = chosen(args.rows, WAYS, "rows"), [budget(text) for text in args.budgets.split(",")]
    sources = Sources.from_arguments(args)
    check_frame(sources.robot)
    results = Results.begin("budget", args.seed, describe_device(args.device), argv, threads=torch.get_num_threads(), batch=args.batch)
    run = Run(results, args.out, args.batch)
    recorder = Recorder(lambda: make_env("reach", sources.image_size), play, sources.robot.camera, HORIZON)
    windows = cached(args.out / "windows" / "tabletop.npz", recorder, args.episodes or (8 if args.quick else 64), args.seed)
    lam = sources.lam
    place = sources.robot_folder, sources.checkpoint, lam, sources.robot
    regression = load_regression(*place).to(args.device) if {"regression", "guided"} & set(ways) else None
    dynamics = LatentDynamics(lam, load_controller(*place).to(args.device), args.precision, regression)
    for way in ways:
        for policy in policies(way, budgets, dynamics, sources):
            decision, seconds = decide_all(policy, windows, recorder, run.batch, run.seed)
            errors = displacement_errors(sources.robot, decision.actions, windows.states)["delta_xyz", "m"]
            run.results.add(policy.name, "budget", "delta_xyz", "m", errors)
            run.results.add(policy.name, "budget", "plan_time", "s", np.full(len(windows), seconds))
            run.keep()
    recorder.close()
    run.plots.append(trade_off(results.find("budget", "plan_time"), results.find("budget", "delta_xyz"), args.out / "plots" / "budget.png"))
    run.finish()


def budget(text: str) -> tuple[int, int]:
    """Candidates and iterations from `80x6`."""
    try:
        samples, iterations = (int(part) for part in text.split("x"))
    except ValueError:
        raise InputError(f"--budgets has '{text}'; write candidates x iterations, such as 80x6.") from None
    return samples, iterations


def policies(way: str, budgets: list[tuple[int, int]], dynamics: LatentDynamics, sources: Sources) -> list[Policy]:
    """One way of planning with every budget, named `WAY NxI`."""
    robot = sources.robot
    if way == "zero":
        return [Constant(way, np.zeros(robot.action_dim), HORIZON)]
    unguided = LatentDynamics(dynamics.lam, dynamics.controller, dynamics.precision)
    if way == "proposal":
        return [Proposed(unguided, robot, HORIZON)]
    if way == "regression":
        assert dynamics.regression is not None
        return [RegressionPolicy(dynamics.regression, dynamics.lam, robot, HORIZON, str(dynamics.device))]
    found: list[Policy] = []
    for samples, iterations in budgets:
        name = f"{way} {samples}x{iterations}"
        if way.startswith("latents"):
            search, cost = method(way, samples, iterations, 1), GoalCost("l1" if way.endswith("gradient") else "l2")
            planner: Planner = LatentPlanner(unguided, dynamics.controller, robot, search, cost=cost, stride=HORIZON)
        elif way == "guided":
            planner = Planner(dynamics, robot, resized(preset(way), samples, iterations), proposals=True, stride=HORIZON)
        else:
            planner = Planner(unguided, robot, method(way, samples, iterations, HORIZON), proposals=way != "cem")
        found.append(Planned(name, planner, None, HORIZON))
    return found


def method(way: str, samples: int, iterations: int, horizon: int) -> Search:
    """The search of a way: its forward rollouts are `samples` x `iterations`, or about as long where a gradient is taken."""
    if way.endswith("mppi"):
        return MPPI(samples, iterations, horizon)
    if way.endswith("gradient"):
        rate = 0.33 if way.startswith("latents") else 0.1
        return Gradient(max(1, samples // 16), max(1, 4 * iterations), horizon, rate)  # a gradient costs about four rollouts
    return CEM(samples, iterations, elites(samples), horizon)


def elites(samples: int) -> int:
    """Ten, as in the DROID protocol; of few candidates the best quarter."""
    return min(10, max(2, samples // 4))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    guarded(main)
