"""`python -m benchmarks.latency`: how long a plan takes, against the published way of planning and against the machine itself.

All in one run, one process, the same weights and seeds: this planner, a reference loop that plans as the published planners do
(`prefix_dynamics`), and the rate at which this machine multiplies matrices. Times are of whole plans, encoding included. A precision in
which the machine multiplies less than a fifth as fast as in the other is left out: a reference in it would flatter whatever is beside it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.machine import forget_peak, peak_gib
from benchmarks.options import add_timing_options, chosen, guarded, positive_int
from benchmarks.prefix_dynamics import PrefixDynamics
from benchmarks.run import Run
from benchmarks.soak import soak
from lamplan.controllers import has_regression, load_controller, load_regression, new_controller
from lamplan.errors import InputError
from lamplan.lam import LAMConfig, LatentActionModel
from lamplan.latents import NoisyConfig
from lamplan.models.controller import ControllerConfig
from lamplan.models.encoder import EncoderConfig
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.world_model import WorldModelConfig
from lamplan.planner import Planner
from lamplan.precision import PRECISIONS, Precision
from lamplan.presets import preset, resized
from lamplan.report import Results
from lamplan.report.results import describe_device
from lamplan.robot import RobotSpec
from lamplan.rollout import LatentDynamics
from lamplan.search import CEM
from lamplan.train.flops import matrix_rate, operations
from lamplan.train.timing import Seconds, timed
from lamplan.views import Views
from lamplan.weights import module_fingerprint

# ViT-L everywhere, 256 tokens, two frames of context: the sizes of the paper. Its weights are not public, so these are random.
PAPER = LAMConfig(
    encoder=EncoderConfig(image_size=256, patch=16, width=1024, depth=24, heads=16), bottleneck=NoisyConfig(dim=128),
    inverse_dynamics=InverseDynamicsConfig(width=1024, depth=4, heads=16),
    world_model=WorldModelConfig(width=1024, depth=24, heads=16, context=2, max_frames=16))
PARTS = ("full", "batches", "deadline", "soak")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=("wild-small", "paper"), default="wild-small",
                        help="`paper` has random weights of the paper's sizes")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/wild-small"))
    parser.add_argument("--robot", type=Path, default=Path("controllers/panda"))
    parser.add_argument("--part", default="full,batches,deadline", help=f"comma-separated, of: {', '.join(PARTS)}")
    parser.add_argument("--search", default="paper", help="settings by name; their samples, iterations and horizon may be replaced")
    parser.add_argument("--samples", type=positive_int)
    parser.add_argument("--iterations", type=positive_int)
    parser.add_argument("--horizon", type=positive_int)
    parser.add_argument("--repeats", type=positive_int, default=3, help="plans of the full budget, by each way of planning")
    parser.add_argument("--batches", default="1,4,16", help="episodes planned at once")
    parser.add_argument("--batch-samples", type=positive_int, default=32, help="candidates an iteration of the search by sampling, for "
                        "plans of several episodes")
    parser.add_argument("--deadline", type=float, default=0.25, help="seconds")
    parser.add_argument("--deadline-plans", type=positive_int, default=100)
    parser.add_argument("--soak", type=positive_int, default=10_000, help="plans of the default mode in a row, of the part `soak`; "
                        "with the same --out it goes on where it was stopped")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of all parts but `full`, which shows both")
    parser.add_argument("--compile", action="store_true",
                        help="imagine in bf16 with compiled blocks (pays on a GPU, and on a CPU with a unit for bf16)")
    add_timing_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    parts = chosen(args.part, PARTS, "part")
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    exact, robot = model(args.preset, args.checkpoint, args.robot, args.device)
    fast = rounded(exact, args.compile)
    dynamics = exact if args.precision == "fp32" else fast
    search = resized(preset(args.search), args.samples, args.iterations, args.horizon).search
    if not isinstance(search, CEM):
        raise InputError(f"'{args.search}' is no search by sampling, which is what is measured here; choose another --search.")
    results = Results.begin("latency", args.seed, describe_device(args.device), argv, preset=args.preset, threads=torch.get_num_threads(),
                            search=f"{search.samples} x {search.iterations} x H{search.horizon}", precision=args.precision,
                            **({"note": args.note} if args.note else {}))
    run = Run(results, args.out, 1)
    rates = {name: matrix_rate(torch.device(args.device), name, seconds=1.0) for name in PRECISIONS}
    for name, rate in rates.items():
        results.add(f"matrix product, {name}", "machine", "rate", "TFLOP/s", np.array([rate / 1e12]))
    if "full" in parts:
        full({"fp32": exact, "bf16": fast}, robot, search, native(rates), args.repeats, run)
    if "batches" in parts:
        few = replace(search, samples=args.batch_samples, iterations=3, elites=min(10, args.batch_samples))
        sampled = f"{few.samples} x {few.iterations}" + (", compiled" if args.compile else "")
        sizes = [int(b) for b in args.batches.split(",")]
        batches({sampled: Planner(dynamics, robot, few), "guided": guided(dynamics, robot)}, dynamics.lam, sizes, run,
                {sampled: plan_flops(exact, robot, few) / rates[args.precision]})
    if "deadline" in parts:
        deadline(dynamics, robot, search, args.deadline, args.deadline_plans, run)
    if "soak" in parts:
        networks = [part for part in (dynamics.lam, dynamics.controller, dynamics.regression) if part is not None]
        made_with = {"compiled": str(args.compile), "robot": robot.name, "weights": module_fingerprint(*networks)}
        soak(guided(dynamics, robot), picture(dynamics.lam, 2, args.seed), args.soak, run, made_with)
    run.finish()


def model(preset: str, checkpoint: Path, robot: Path, device: str) -> tuple[LatentDynamics, RobotSpec]:
    spec = RobotSpec.load(robot)
    if preset == "paper":
        lam = LatentActionModel(PAPER).eval().requires_grad_(False).to(device)
        controller = new_controller(ControllerConfig(width=1024, depth=2, heads=16), lam, spec).eval().requires_grad_(False)
        return LatentDynamics(lam, controller.to(device)), spec
    lam = LatentActionModel.load(checkpoint).to(device)
    controller = load_controller(robot, checkpoint, lam, spec).to(device)
    regression = load_regression(robot, checkpoint, lam, spec).to(device) if has_regression(robot, checkpoint, spec) else None
    return LatentDynamics(lam, controller, regression=regression), spec


def rounded(exact: LatentDynamics, compile: bool = False) -> LatentDynamics:
    """The same, imagining in bf16."""
    return LatentDynamics(exact.lam, exact.controller, "bf16", exact.regression, compile)


def guided(dynamics: LatentDynamics, robot: RobotSpec) -> Planner:
    """The default way of planning; without a goal regression it begins at the inferred latent's motion instead, which costs as much."""
    return Planner(dynamics, robot, "guided", proposals=True, stride=dynamics.lam.config.max_stride)


def native(rates: dict[Precision, float]) -> dict[Precision, float]:
    """The precisions to plan in, with their rates: not bf16 where the device has no unit for it, nor fp32 where that is what it has for
    all but matrices."""
    return {name: rate for name, rate in rates.items() if rate >= 0.2 * max(rates.values())}


def task(name: str, run: Run) -> str:
    """Tables hold the rows of several runs: which sizes and search a row is of."""
    budget = run.results.budget
    return f"{name}, ViT-L" + (f", {budget['search']}" if name == "one episode" else "") if budget["preset"] == "paper" else name


def picture(lam: LatentActionModel, episodes: int, seed: int) -> np.ndarray:
    size = lam.config.encoder.image_size
    return np.random.default_rng(seed).integers(0, 256, (episodes, size, size, 3), dtype=np.uint8)


def full(dynamics: dict[Precision, LatentDynamics], robot: RobotSpec, search: CEM, rates: dict[Precision, float], repeats: int,
         run: Run) -> None:
    """One episode with the whole budget, by this planner and by the reference, in each precision, where one frame is seen before it
    plans and where as many are as the world model can use, as in a closed loop.

    The ways take turns, so that whatever else the machine is doing falls on all of them; ratios are of `busy_time` (`Seconds.busy`) to
    that of this planner in its fastest precision, after as many frames.
    """
    exact = dynamics["fp32"]
    device, config = exact.device, exact.world_model.config
    context = min(config.context, config.max_frames - search.horizon)

    def ways_of(search: CEM) -> dict[str, Planner | Reference]:
        ours: dict[str, Planner | Reference] = {f"this planner, {name}": Planner(dynamics[name], robot, search) for name in rates}
        return ours | {f"reference, {name}": Reference(PrefixDynamics(exact, name == "bf16"), robot, search) for name in rates}

    ways = ways_of(search)
    ours = [name for name, way in ways.items() if isinstance(way, Planner)]
    latest = [picture(exact.lam, 1, run.seed + 2 + t) for t in range(context)]
    goal = picture(exact.lam, 1, run.seed + 1)
    histories = {"1 frame seen": latest[:1]} | ({f"{context} frames seen": latest} if context > 1 else {})
    times: dict[tuple[str, str], list[Seconds]] = {}
    peaks: dict[tuple[str, str], float] = {}
    of = task("one episode", run)
    for obs in histories.values():
        for way in ways_of(replace(search, iterations=1)).values():  # what is compiled or set up at a first plan is not of the times
            way.plan(obs, goal)
    for _ in tqdm(range(repeats), desc="one episode, every way"):
        for seen, obs in histories.items():
            for name, way in ways.items():
                forget_peak(device)
                times.setdefault((name, seen), []).append(timed(partial(way.plan, obs, goal), device))
                peaks[name, seen] = peak_gib(device)
    busy = {key: min(each.busy for each in all_took) for key, all_took in times.items()}
    for (name, seen), all_took in times.items():
        row = f"{name}, {seen}"
        run.results.add(row, of, "plan_time", "s", np.array([each.wall for each in all_took]))
        run.results.add(row, of, "busy_time", "s", np.array([each.busy for each in all_took]))
        best = min(busy[our, seen] for our in ours)
        run.results.add(row, of, "times as long", "1", np.array([busy[name, seen] / best]))
    for seen, obs in histories.items():
        counted = plan_flops(exact, robot, search, len(obs))
        for precision, rate in rates.items():
            name = f"this planner, {precision}"
            row = f"{name}, {seen}"
            run.results.add(row, of, "counted", "TFLOP", np.array([counted / 1e12]))
            run.results.add(row, of, "share of the matrix rate", "1", np.array([counted / busy[name, seen] / rate]))
    if device.type == "cuda":
        for (name, seen), peak in peaks.items():
            run.results.add(f"{name}, {seen}", of, "peak_memory", "GiB", np.array([peak]))
    else:
        run.results.add("the process, whatever its way", of, "peak_memory", "GiB", np.array([peak_gib(device)]))
    run.keep()


class Reference:
    """CEM around the reference rollout: all candidates of one episode in one batch."""

    def __init__(self, dynamics: PrefixDynamics, robot: RobotSpec, search: CEM) -> None:
        self.dynamics, self.robot, self.search = dynamics, robot, search

    @torch.no_grad()
    def plan(self, obs: list[np.ndarray], goal: np.ndarray, seed: int = 0) -> np.ndarray:
        """Actions (H, A) of one episode, from what was seen, oldest first."""
        device = self.dynamics.device
        *seen, target = (self.dynamics.encode(torch.from_numpy(image).to(device)) for image in (*obs, goal))
        frames = torch.stack(seen, dim=1)
        past = self.dynamics.start(frames)
        planner = Planner(self.dynamics, self.robot, self.search)  # for the beginning of its search alone
        limits = planner._limits(self.robot, obs, None, None, frames)
        space = planner._space(past, Views(past.present, planner._goals(target, frames), 1), limits)

        def cost(actions: torch.Tensor) -> torch.Tensor:
            return (self.dynamics.rollout(past, actions)[:, :, -1] - target[:, None]).square().mean((-1, -2))

        return self.search.minimise(cost, space, torch.Generator(device).manual_seed(seed)).actions[0].cpu().numpy()


def plan_flops(dynamics: LatentDynamics, robot: RobotSpec, search: CEM, seen: int = 1) -> float:
    """Floating-point operations of a plan's candidates after so many frames, counted on one portion of them."""
    few = 8
    frames = torch.zeros(1, seen, dynamics.world_model.patches, dynamics.lam.config.encoder.width, device=dynamics.device)
    actions = torch.zeros(1, few, search.horizon, robot.action_dim, device=dynamics.device)
    with torch.no_grad():
        past = dynamics.start(frames)
        counts = operations(lambda: dynamics.rollout(past, actions))
    return sum(counts.values()) / few * (search.samples * search.iterations + 2)


def batches(ways: dict[str, Planner], lam: LatentActionModel, sizes: list[int], run: Run, least: dict[str, float]) -> None:
    """Plans a second, on the clock and in processor time, where several episodes go through together; and how near a way comes to the
    seconds that a plan of its own would take `least`, at the rate of large matrix products."""
    of = task("several episodes", run)
    for way, planner in ways.items():
        for episodes in sizes:
            obs, goal = picture(lam, episodes, run.seed), picture(lam, episodes, run.seed + 1)
            planner.plan(obs, goal)
            several = [timed(partial(planner.plan, obs, goal), lam.encoder.pixel_mean.device) for _ in range(5)]
            row = f"{way}, {episodes} at once"
            for metric, kind in (("plans_per_second", "wall"), ("busy_plans_per_second", "busy")):
                seconds = np.array([getattr(each, kind) for each in several])
                run.results.add(row, of, metric, "1/s", episodes / seconds)
            if way in least:
                run.results.add(row, of, "share of the matrix rate", "1", episodes * least[way] / np.array([each.busy for each in several]))
    run.keep()


def deadline(dynamics: LatentDynamics, robot: RobotSpec, search: CEM, seconds: float, plans: int, run: Run) -> None:
    """How well a deadline is kept once warm, with the whole budget asked for, and how much of it there was time for."""
    planner = Planner(dynamics, robot, search, proposals=True)
    planner.warmup(deadline_s=seconds, image=picture(dynamics.lam, 1, 9)[0], plans=5)
    took, iterations, processor = [], [], []
    for i in tqdm(range(plans), desc=f"plans within {seconds:g} s"):
        obs, goal = picture(dynamics.lam, 1, 2 * i), picture(dynamics.lam, 1, 2 * i + 1)
        begun, worked = time.perf_counter(), time.process_time()
        plan = planner.plan(obs, goal, seed=i, deadline_s=seconds)
        took.append(time.perf_counter() - begun)
        processor.append(time.process_time() - worked)
        iterations.append(len(plan.cost_curve))
    name, of = f"deadline {seconds:g} s", task("deadline", run)
    run.results.add(name, of, "plan_time", "s", np.array(took))
    for quantile in (50, 99):
        run.results.add(f"{name}, p{quantile}", of, "plan_time_quantile", "s", np.array([np.percentile(took, quantile)]))
    run.results.add(name, of, "processor_time", "s", np.array(processor))
    run.results.add(name, of, "iterations", "1", np.array(iterations))
    run.keep()


if __name__ == "__main__":
    guarded(main)
