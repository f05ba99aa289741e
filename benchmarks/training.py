"""`python -m benchmarks.training`: what a training step of a recipe costs in the real loop, and how near it comes to the device's speed.

Clips lie in memory, as features or, with --encode, as frames that the frozen encoder reads at every step, so that the figures are
those of the optimisation step. MFU is the operations counted for one clip, times clips per second, over the rate of square matrix
products that was measured in the same run, in the same precision. On a CPU the rows `busy` are of processor time, which other programs
prolong far less. Some steps more are profiled: which operators the time goes to, and at which share of that rate those that multiply run.

Operations are those of the model, without what fused attention on a GPU and `recompute` do a second time. With `--device meta` they are
counted and nothing is computed: with the hours that the whole recipe takes at an --assumed-rate.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import peak_gib
from benchmarks.operators import OperatorProfile
from benchmarks.options import add_timing_options, guarded, positive_int
from benchmarks.run import Run
from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.models.compiled import compile_blocks
from lamplan.precision import PRECISIONS, Precision, usual
from lamplan.report import Results
from lamplan.report.results import describe_device
from lamplan.train.batches import Ahead
from lamplan.train.config import PretrainConfig, load_config
from lamplan.train.distribution import Execution, Spread
from lamplan.train.features import clip_features
from lamplan.train.flops import matrix_rate, operations, training_operations
from lamplan.train.loop import Budget, train
from lamplan.train.optimiser import Optimisers
from lamplan.train.pretrain import Joint
from lamplan.train.timing import Seconds, now

POOL = 32  # clips in memory, from which batches are drawn
INSIDE = ("forward", "backward", "optimiser")
SHOWN = 14  # operators in the table, those that take longest
@dataclass(frozen=True)
class Steps:
    """Of a measurement: first those that are not counted (allocation, compilation), then those that are, then those that are profiled."""

    warm_up: int
    measured: int
    profiled: int

    @property
    def total(self) -> int:
        return self.warm_up + self.measured + self.profiled


QUICK = Steps(1, 2, 1)
ASSUMED_RATE = 0.4 * 989  # TFLOP/s


class Memory:
    """Clips of noise; the values change nothing about the work."""

    def __init__(self, config: PretrainConfig, device: torch.device) -> None:
        encoder, shape = config.lam.encoder, (POOL, config.clip_frames)
        if config.encode == "once":
            self.clips = torch.randn(*shape, encoder.side**2, encoder.width, device=device, dtype=torch.float16)
        else:
            self.clips = torch.randint(0, 256, (*shape, encoder.image_size, encoder.image_size, 3), device=device, dtype=torch.uint8)

    def draw(self, step: int, batch: int) -> Tensor:
        rows = np.random.default_rng(step).integers(POOL, size=batch)
        return self.clips[torch.from_numpy(rows).to(self.clips.device)]


class Clock:
    """Seconds of every step of the training loop, by what they were spent on; the device is waited for at each change."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps: list[dict[str, Seconds]] = []
        self._spent: dict[str, Seconds] = {}
        self._began = now(device)

    @contextmanager
    def on(self, owner: type, method: str, what: str) -> Iterator[None]:
        """While this lasts, calls of the method count as time spent on `what`."""
        plain = getattr(owner, method)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            began = now(self.device)
            result = plain(*arguments, **keywords)
            self._spent[what] = self._spent.get(what, Seconds()) + (now(self.device) - began)
            return result

        setattr(owner, method, counted)
        try:
            yield
        finally:
            setattr(owner, method, plain)

    def step(self) -> None:
        """Ends a step: all that was not counted is the rest."""
        moment = now(self.device)
        self.steps.append({**self._spent, "rest": moment - self._began - sum(self._spent.values(), Seconds())})
        self._spent, self._began = {}, moment


class Trial:
    """The real training loop of a recipe, on clips in memory, for as many steps as a measurement takes."""

    def __init__(self, config: PretrainConfig, execution: Execution, device: torch.device) -> None:
        if config.joint is not None:
            raise InputError("this measures recipes whose encoder is frozen: take [joint] out of the recipe.")
        torch.manual_seed(config.seed)
        self.config, self.execution, self.device = config, execution, device
        with device:
            self.model = LatentActionModel(config.lam)
        self.model.encoder.eval().requires_grad_(False)
        self.joint, self.memory = Joint(self.model), Memory(config, device)

    def operations(self) -> dict[str, float]:
        """Floating point operations of one clip by operator, in the recipe's mixture of teacher forcing and imagined rollouts."""
        counts: dict[str, float] = {}
        for imagined, share in ((False, 1 - self.config.imagined), (True, self.config.imagined)):
            if share:
                for name, count in training_operations(self.joint, partial(self._loss, self.memory.draw(0, 1), imagined)).items():
                    counts[name] = counts.get(name, 0.0) + share * count
        return counts

    def encoder_flops(self) -> int:
        """Those of one clip's way through the frozen encoder, if it goes that way."""
        return sum(operations(lambda: clip_features(self.model.encoder, self.memory.draw(0, 1))).values())

    def measure(self, steps: Steps, measured: Callable[[list[dict[str, Seconds]], float], None]) -> dict[str, float]:
        """Every operator's share of the time in the profiled steps; before those `measured` gets the seconds of every step by part, and the
        peak of memory in GiB.

        Once only: compilation and recomputation stay with the model.
        """
        if self.model.bottleneck.whole_batch and (self.config.micro_batch or self.config.batch) < self.config.batch:
            raise InputError(f"the recipe's bottleneck prices a batch of {self.config.batch} as a whole, beforehand, which is not measured "
                             f"of parts of {self.config.micro_batch}: give --batch and --micro-batch the same number.")
        config, clock, profiler = self.config, Clock(self.device), OperatorProfile(self.device)

        def loss(clip: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
            # The share of imagined steps is kept exactly, so that a few steps give the average that the operations are of.
            imagined = int((step - steps.warm_up + 1) * config.imagined) > int((step - steps.warm_up) * config.imagined)
            return self.model.loss(clip_features(self.model.encoder, clip), imagined)

        def after_step() -> None:
            self.model.bottleneck.after_step()
            clock.step()
            if len(clock.steps) == steps.warm_up + steps.measured:
                measured(clock.steps[steps.warm_up :], peak_gib(self.device))  # a profile takes memory of its own
                profiler.begin()
            elif len(clock.steps) == steps.total:
                profiler.end()

        if self.execution.compile:
            compile_blocks(self.model.encoder)
        with (tempfile.TemporaryDirectory() as folder, clock.on(Ahead, "step", "data"), clock.on(Spread, "run", "forward"),
              clock.on(Tensor, "backward", "backward"), clock.on(Optimisers, "step", "optimiser")):
            train(self.joint, self.memory.draw, loss, Budget(steps=steps.total), Path(folder), batch=config.batch,
                  micro_batch=config.micro_batch, title="training", config=config.optimiser, seed=config.seed, after_step=after_step,
                  execution=self.execution)
        return profiler.shares()

    def _loss(self, clip: Tensor, imagined: bool) -> Tensor:
        return self.model.loss(clip_features(self.model.encoder, clip), imagined)[0]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="wild-small", help="a shipped recipe's name or a TOML file")
    parser.add_argument("--encode", choices=["once", "each_step"], help="features in memory, or frames (default: the recipe's)")
    parser.add_argument("--batch", type=positive_int, help="clips per step on this device (default: the recipe's)")
    parser.add_argument("--micro-batch", type=positive_int, help="clips computed at once (default: the recipe's)")
    parser.add_argument("--recompute", action=argparse.BooleanOptionalAction, help="activations again in the backward pass instead of kept "
                        "(default: the recipe's)")
    parser.add_argument("--precision", choices=PRECISIONS, help="of matrix products (default: bf16 on a GPU, else fp32)")
    parser.add_argument("--episodes", type=positive_int, default=20, help="steps to measure (default: 20)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.measured} steps, after {QUICK.warm_up}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu",
                        help="torch's name of it, or `meta` to count only")
    parser.add_argument("--assumed-rate", type=float, default=ASSUMED_RATE, metavar="TFLOP/S",
                        help=f"with --device meta (default: {ASSUMED_RATE:g}, 40 %% of an H200's published 989 in bf16, dense)")
    add_timing_options(parser)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)

    recipe, device = load_config(args.config), torch.device(args.device)
    config = replace(recipe, seed=args.seed, encode=args.encode or recipe.encode, batch=args.batch or recipe.batch,
                     micro_batch=args.micro_batch or recipe.micro_batch)
    recipe_clips = (recipe.steps or 0) * recipe.batch  # whatever of it is measured here
    name = f"{Path(args.config).stem} from {'features' if config.encode == 'once' else 'frames'}"
    if device.type == "meta":
        results = Results.begin("training", args.seed, "meta (counted, not run)", argv)
        add_counted(results, name, Trial(config, Execution(), device), args.assumed_rate * 1e12, recipe_clips)
        Run(results, args.out, 1).finish()
        return
    precision: Precision = args.precision or usual(device.type)
    execution = Execution(precision, compile=config.compile,
                          recompute=config.recompute if args.recompute is None else args.recompute)
    steps = QUICK if args.quick else Steps(3, args.episodes, 10)
    if args.threads:
        torch.set_num_threads(args.threads)
    results = Results.begin("training", args.seed, describe_device(args.device), argv, precision=precision, encode=config.encode,
                            batch=config.batch, micro_batch=config.micro_batch or config.batch, threads=torch.get_num_threads(),
                            **({"note": args.note} if args.note else {}))
    rate = matrix_rate(device, precision, seconds=2.0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trial = Trial(config, execution, device)
    # A GPU's attention counts what it does a second time, going backwards, which is no part of an MFU.
    counts = (Trial(config, Execution(), torch.device("meta")) if device.type == "cuda" else trial).operations()
    run, mfu = Run(results, args.out, config.batch), {}

    def measured(found: list[dict[str, Seconds]], peak: float) -> None:
        add_rows(results, name, found, sum(counts.values()), config, rate, peak, recipe_clips)
        busy_s = float(np.mean([sum(step.values(), Seconds()).busy for step in found]))
        mfu.update({operator: config.batch * count / busy_s / rate for operator, count in counts.items()})
        run.keep()  # a profile of many kernels takes long to read

    add_operators(results, name, trial.measure(steps, measured), mfu)
    run.finish()


def add_rows(results: Results, name: str, found: list[dict[str, Seconds]], flops: float, config: PretrainConfig, rate: float,
             peak: float, recipe_clips: int) -> None:
    """What a benchmark of training reports, from the seconds of its steps by part. The mean over steps is that of their seconds."""
    for row, kind in ((name, "wall"), (f"{name}, busy", "busy")):
        steps = [{part: getattr(seconds, kind) for part, seconds in step.items()} for step in found]
        seconds = np.array([sum(step.values()) for step in steps])
        outside = np.array([sum(value for part, value in step.items() if part not in INSIDE) for step in steps])
        clips_per_s = config.batch * len(steps) / seconds.sum()
        for metric, unit, values in (
                ("step_time", "s", seconds), ("clips_per_s", "1/s", np.array([clips_per_s])),
                ("mfu", "share", np.array([clips_per_s * flops / rate])), ("outside", "share", outside / seconds),
                *((part, "share", np.array([step[part] for step in steps]) / seconds) for part in (*INSIDE, "data"))):
            results.add(row, "training", metric, unit, values)
        if recipe_clips:
            results.add(row, "training", "recipe", "device hours", np.array([recipe_clips / clips_per_s / 3600]))
    for metric, unit, value in (("clip_flops", "GFLOP", flops / 1e9), ("matrix_rate", "GFLOP/s", rate / 1e9), ("peak_memory", "GiB", peak)):
        results.add(name, "of the run", metric, unit, np.array([value]))


def add_operators(results: Results, name: str, shares: dict[str, float], mfu: dict[str, float]) -> None:
    """Where a step's time goes, operator by operator, from its share of the time and, of those that multiply, of the `mfu` of a step:
    how near each comes to the matrix rate while it runs."""
    task = f"operators, {name}"
    first = sorted(shares, key=lambda operator: -shares[operator])[:SHOWN]
    for operator in first:
        row = re.sub(r"_scaled_dot_product_(\w*)attention", r"\1attention", operator.removeprefix("aten::"))
        results.add(row, task, "time", "share", np.array([shares[operator]]))
        if operator in mfu:
            results.add(row, task, "of the matrix rate", "share", np.array([mfu[operator] / shares[operator]]))
    results.add("all others", task, "time", "share", np.array([1 - sum(shares[operator] for operator in first)]))


def add_counted(results: Results, name: str, trial: Trial, rate: float, recipe_clips: int) -> None:
    """What a recipe takes by its operations alone, and how long that is at an assumed rate."""
    clip, config = sum(trial.operations().values()), trial.config
    encoder = trial.encoder_flops() if config.encode == "each_step" else 0
    for metric, unit, value in (("clip_flops", "TFLOP", clip / 1e12), ("encoder", "TFLOP", encoder / 1e12)):
        results.add(name, "counted", metric, unit, np.array([value]))
    if recipe_clips:
        whole = clip * recipe_clips
        results.add(name, "counted", "recipe_flops", "EFLOP", np.array([whole / 1e18]))
        results.add(name, "counted", f"recipe at {rate / 1e12:g} TFLOP/s", "device hours", np.array([whole / rate / 3600]))


if __name__ == "__main__":
    guarded(main)
