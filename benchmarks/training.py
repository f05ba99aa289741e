"""`python -m benchmarks.training`: what a training step of a recipe costs in the real loop, and how near it comes to the device's speed.

Clips lie in memory, as features or, with --encode, as frames that the frozen encoder reads at every step, so that the figures are
those of the optimisation step. MFU is the operations counted for one clip, times clips per second, over the rate of square matrix
products that was measured in the same run, in the same precision.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.options import guarded, positive_int
from benchmarks.run import Run
from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.report import Results
from lamplan.report.results import describe_device
from lamplan.train.batches import Ahead
from lamplan.train.config import PretrainConfig, load_config
from lamplan.train.distribution import Execution, Precision, Spread
from lamplan.train.features import clip_features
from lamplan.train.flops import matrix_rate, synchronise, training_flops
from lamplan.train.loop import Budget, train
from lamplan.train.optimiser import Optimisers
from lamplan.train.pretrain import Joint

POOL = 32  # clips in memory, from which batches are drawn
WARM_UP = 3  # steps that are not counted: allocation, compilation
INSIDE = ("forward", "backward", "optimiser")


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
        self.device, self.steps = device, []  # type: ignore[var-annotated]
        self._spent: dict[str, float] = {}
        self._began = time.perf_counter()

    @contextmanager
    def on(self, owner: type, method: str, what: str) -> Iterator[None]:
        """While this lasts, calls of the method count as time spent on `what`."""
        plain = getattr(owner, method)

        def timed(*arguments: Any, **keywords: Any) -> Any:
            synchronise(self.device)
            began = time.perf_counter()
            result = plain(*arguments, **keywords)
            synchronise(self.device)
            self._spent[what] = self._spent.get(what, 0.0) + time.perf_counter() - began
            return result

        setattr(owner, method, timed)
        try:
            yield
        finally:
            setattr(owner, method, plain)

    def step(self) -> None:
        """Ends a step: all that was not counted is the rest."""
        now = time.perf_counter()
        self.steps.append({**self._spent, "rest": now - self._began - sum(self._spent.values())})
        self._spent, self._began = {}, now


def measure(config: PretrainConfig, execution: Execution, steps: int, device: torch.device) -> tuple[list[dict[str, float]], float]:
    """Seconds of every step of the real training loop by part, and the operations of one clip."""
    if config.joint is not None:
        raise InputError("this measures recipes whose encoder is frozen: take [joint] out of the recipe.")
    torch.manual_seed(config.seed)
    model = LatentActionModel(config.lam).to(device)
    model.encoder.eval().requires_grad_(False)
    joint, memory, clock = Joint(model), Memory(config, device), Clock(device)

    def loss(clip: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        # The share of imagined steps is kept exactly, so that a few steps give the average that the operations are of.
        return model.loss(clip_features(model.encoder, clip), int((step + 1) * config.imagined) > int(step * config.imagined))

    def flops(imagined: bool) -> int:
        return training_flops(joint, lambda: model.loss(clip_features(model.encoder, memory.draw(0, 1)), imagined)[0])

    def after_step() -> None:
        model.bottleneck.after_step()
        clock.step()

    operations = flops(False) * (1 - config.imagined) + (flops(True) * config.imagined if config.imagined else 0)
    with (tempfile.TemporaryDirectory() as folder, clock.on(Ahead, "step", "data"), clock.on(Spread, "run", "forward"),
          clock.on(Tensor, "backward", "backward"), clock.on(Optimisers, "step", "optimiser")):
        train(joint, memory.draw, loss, Budget(steps=WARM_UP + steps), Path(folder), batch=config.batch, micro_batch=config.micro_batch,
              title="training", config=config.optimiser, seed=config.seed, after_step=after_step, execution=execution)
    return clock.steps[WARM_UP:], operations


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="wild-small", help="a shipped recipe's name or a TOML file")
    parser.add_argument("--encode", choices=["once", "each_step"], help="features in memory, or frames (default: the recipe's)")
    parser.add_argument("--batch", type=positive_int, help="clips per step on this device (default: the recipe's)")
    parser.add_argument("--micro-batch", type=positive_int, help="clips computed at once (default: the recipe's)")
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="of matrix products (default: bf16 on a GPU, else fp32)")
    parser.add_argument("--episodes", type=positive_int, default=20, help="steps to measure (default: 20)")
    parser.add_argument("--quick", action="store_true", help="3 steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)

    config, device = load_config(args.config), torch.device(args.device)
    config = replace(config, seed=args.seed, encode=args.encode or config.encode, batch=args.batch or config.batch,
                     micro_batch=args.micro_batch or config.micro_batch)
    precision: Precision = "fp32" if device.type == "cpu" else "bf16"
    precision = args.precision or precision
    execution = Execution(precision, compile=config.compile, recompute=config.recompute)
    steps = 3 if args.quick else args.episodes
    results = Results.begin("training", args.seed, describe_device(args.device), argv, precision=precision, encode=config.encode,
                            batch=config.batch, micro_batch=config.micro_batch or config.batch, threads=torch.get_num_threads())
    rate = matrix_rate(device, precision, seconds=2.0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found, flops = measure(config, execution, steps, device)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident_peak()
    add_rows(results, Path(args.config).stem, found, flops, config.batch, rate, peak)
    Run(results, args.out, config.batch).finish()


def add_rows(results: Results, name: str, found: list[dict[str, float]], flops: float, batch: int, rate: float, peak: float) -> None:
    """What a benchmark of training reports, from the seconds of its steps by part. The mean over steps is that of their seconds."""
    seconds = np.array([sum(step.values()) for step in found])
    outside = np.array([sum(value for part, value in step.items() if part not in INSIDE) for step in found])
    data = np.array([step["data"] for step in found])
    for metric, unit, values in (
            ("step_time", "s", seconds), ("clips_per_s", "1/s", np.array([batch * len(found) / seconds.sum()])),
            ("mfu", "share", np.array([batch * len(found) * flops / seconds.sum() / rate])), ("outside", "share", outside / seconds),
            ("data_wait", "share", data / seconds), ("clip_flops", "GFLOP", np.array([flops / 1e9])),
            ("matrix_rate", "GFLOP/s", np.array([rate / 1e9])), ("peak_memory", "GiB", np.array([peak / 2**30]))):
        results.add(name, "training", metric, unit, values)
    for part in INSIDE:
        results.add(name, "parts", part, "share", np.array([step[part] for step in found]) / seconds)


def _resident_peak() -> float:
    """Bytes of memory that this process held at most; without a GPU everything lies there."""
    import resource

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


if __name__ == "__main__":
    guarded(main)
