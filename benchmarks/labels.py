"""`python -m benchmarks.labels LOG... --robot ROBOT`: how many labelled episodes a robot needs, on any log that `lamplan fit` reads.

So many of the episodes that are not measured on are drawn, a tenth of them (at least one) to say when to stop, and what `lamplan fit`
makes of them is measured: the motion that the `controller` reads back from the latent between two pictures a plan apart, which unlabelled
video taught; the `regression`, which begins as the inverse dynamics model that it taught; `from_nothing`, the same network without that
beginning; `mean`, the mean motion of these episodes, and `zero`. Beside it, how near the frame that the world model imagines from a true
action comes to the next one, with the controller's latent (`controller`), the inferred one (`inferred`) and none (`zero`), or as the
present frame is (`copy`). A sample is a held-out episode's mean over its pairs and the draws; how much the draws differ is not in the
intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.options import add_timing_options, guarded, out_folder, positive_int
from benchmarks.run import Run
from lamplan.controllers import untaught_regression
from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.models.controller import ControllerConfig
from lamplan.precision import PRECISIONS
from lamplan.report import Results
from lamplan.report.plots import trade_off
from lamplan.report.results import Row, describe_device
from lamplan.robot import RobotSpec
from lamplan.train.controller import Recipe, fit_once
from lamplan.train.distribution import Execution
from lamplan.train.goal_regression import errors_of, fit_regression
from lamplan.train.labelled import HELD_OUT_SHARE, InferredPairs, MotionPairs, Split, every_pair, open_episodes, split
from lamplan.train.loop import Budget
from lamplan.train.optimiser import OptimiserConfig
from lamplan.train.verdict import by_episode, whole_plans

MOTIONS = {"controller": "proposed", "regression": "goal regression", "mean": "mean motion", "zero": "zero action"}
FRAMES = ("controller", "inferred", "zero", "copy")
METRIC = "Euclidean motion error"  # not `delta_xyz`, with which arms' plans are measured: that is the sum over the axes
FEWEST = 2  # one to learn from, one to say when to stop


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labels", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="labelled logs; the last tenth of their episodes is measured on")
    parser.add_argument("--robot", type=Path, required=True, help="folder with the robot's robot.toml")
    parser.add_argument("--camera", help="one of the robot's cameras (default: its first)")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/wild-small"))
    parser.add_argument("--episodes", default="10,40,160,640", help="comma-separated: how many are labelled (default: 10,40,160,640)")
    parser.add_argument("--draws", type=positive_int, default=2, help="how often so many are drawn (default: 2)")
    parser.add_argument("--steps", type=positive_int, default=2000, help="of each training, at most (default: 2000)")
    parser.add_argument("--batch", type=positive_int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of the draws and the trainings")
    parser.add_argument("--out", type=out_folder, default=Path("runs/labels"),
                        help="results, plots and trainings; a killed run goes on from it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the matrix products in training (default: fp32)")
    add_timing_options(parser)
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)

    spec, lam = RobotSpec.load(args.robot, args.camera), LatentActionModel.load(args.checkpoint).to(args.device)
    episodes = open_episodes(args.logs, spec)
    whole = split(len(episodes))
    known = [number for number in range(len(episodes)) if number not in whole.test]
    sizes = counts(args.episodes, len(known))
    results = Results.begin("labels", args.seed, describe_device(args.device), argv, steps=args.steps, draws=args.draws,
                            held_out=len(whole.test), precision=args.precision, **({"note": args.note} if args.note else {}))
    run = Run(results, args.out, 1)
    goals, pairs = every_pair(episodes, lam, spec, args.precision)
    recipe = Recipe(ControllerConfig(), Budget(steps=args.steps), args.batch, args.seed, OptimiserConfig(), Execution(args.precision))
    sized: dict[str, list[tuple[Row, Row]]] = {}
    for size in sizes:
        found: dict[tuple[str, str, str], list[np.ndarray]] = {}
        for draw in range(args.draws):
            parts = drawn(known, whole.test, size, (args.seed, draw))
            for key, samples in measure(lam, pairs, goals, parts, spec, recipe, args.out / "fits" / f"{size}-{draw}").items():
                found.setdefault(key, []).append(samples)
        for (name, metric, unit), draws in found.items():
            row = results.add(f"{name} {size}", "labels", metric, unit, np.mean(draws, axis=0))
            sized.setdefault(metric, []).append((replace(row, metric="labelled episodes", unit="1", value=size), row))
        run.keep()
    for metric, rows in sized.items():
        costs, errors = zip(*rows, strict=True)
        run.plots.append(trade_off(list(costs), list(errors), args.out / "plots" / f"{metric.replace(' ', '_')}-by-episodes.png"))
    run.finish()


def counts(text: str, most: int) -> list[int]:
    """Numbers of episodes from `10,40`, each at least FEWEST and at most so many as the log has to give."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--episodes has '{text}'; write numbers of episodes, such as 10,40.") from None
    if wrong := [count for count in found if not FEWEST <= count <= most]:
        raise InputError(f"--episodes has {wrong[0]}; the logs have {most} that are not measured on, and a fit needs at least {FEWEST}.")
    return found


def drawn(known: Sequence[int], test: Sequence[int], count: int, seed: tuple[int, int]) -> Split:
    """So many of the known episodes by chance, a tenth of them to say when to stop. Of one seed the fewer are among the more."""
    chosen = [known[place] for place in np.random.default_rng(seed).permutation(len(known))[:count]]
    stops = max(1, round(count * HELD_OUT_SHARE))
    return Split(chosen[stops:], chosen[:stops], list(test))


def measure(lam: LatentActionModel, pairs: InferredPairs, goals: MotionPairs, parts: Split, spec: RobotSpec, recipe: Recipe,
            run: Path) -> dict[tuple[str, str, str], np.ndarray]:
    """What comes of these episodes' labels, by name, metric and unit: each held-out episode's mean (E,)."""
    fitted = fit_once(lam, pairs, goals, parts, spec, recipe, run)
    errors = fitted.errors(lam, pairs, parts, spec)
    torch.manual_seed(recipe.seed)
    blank = untaught_regression(lam.config.inverse_dynamics, lam, spec).to(goals.features.device)
    fit_regression(blank, goals, parts, spec, recipe.budget, run / "from-nothing", batch=recipe.batch, seed=recipe.seed,
                   optimiser=recipe.optimiser, execution=recipe.execution)
    motions = {name: errors.plan[row] for name, row in MOTIONS.items()}
    motions["from_nothing"] = errors_of(blank, whole_plans(pairs.of(parts.test)))[:, spec.position].norm(dim=1).cpu().numpy()
    return ({(name, METRIC, "m"): by_episode(values, errors.plan_episode) for name, values in motions.items()}
            | {(name, "next frame", "L1"): by_episode(errors.step[name], errors.step_episode) for name in FRAMES})


if __name__ == "__main__":
    guarded(main)
