"""One training loop for every network here: budget, schedule, curves, resuming. It reads top to bottom."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lamplan.errors import InputError, LamplanError

STATE = "state.pt"
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes of wall time (the schedule then follows the clock)."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.minutes) if value is not None]
        if len(given) != 1 or given[0] <= 0:
            raise InputError(f"a training budget is either a positive number of steps or of minutes, found steps {self.steps}, "
                             f"minutes {self.minutes}.")

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget that is spent, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else seconds / (60 * (self.minutes or 1)))


@dataclass(frozen=True)
class OptimiserConfig:
    learning_rate: float = 1e-3
    weight_decay: float = 0.04
    warmup: float = 0.05  # share of the budget
    clip_norm: float = 1.0


@dataclass(frozen=True)
class Trained:
    """What a training run came to: steps and wall time over all its resumptions, and the last validation."""

    steps: int
    minutes: float
    validation: dict[str, float]


def learning_rate(progress: float, config: OptimiserConfig) -> float:
    """Linear warm-up, then a cosine down to one hundredth."""
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 0.01)
    done = (progress - config.warmup) / (1 - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def train(module: nn.Module, loss: Callable[[int], tuple[Tensor, dict[str, Tensor]]], budget: Budget, out: Path, *,
          title: str, config: OptimiserConfig, seed: int, validate: Callable[[], dict[str, float]] | None = None,
          validate_every: int = 200, after_step: Callable[[], None] | None = None, save_seconds: float = 60.0,
          precision: Precision = "fp32") -> Trained:
    """Minimises `loss(step)` over the module's parameters, on the device where they are.

    `bf16` computes matrix products in that precision; weights, optimiser and losses stay in fp32.

    State, curves and TensorBoard files live in `out`; a run that was killed goes on from its last state. `loss` draws all
    its randomness from torch's global generator, which is seeded by (seed, step), and from the step itself: with a budget
    in steps a resumed run equals an uninterrupted one.
    """
    out.mkdir(parents=True, exist_ok=True)
    parameters = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
                                  lr=config.learning_rate)
    device = parameters[0].device
    step, seconds = _resume(out / STATE, module, optimiser, device)
    curves = _Curves(out, step)
    bar = tqdm(total=budget.steps, initial=step, desc=title, unit="step", dynamic_ncols=True, mininterval=1.0)
    last_save = started = time.monotonic()
    spent = seconds
    while budget.progress(step, spent) < 1.0:
        torch.manual_seed(seed * 1_000_003 + step)
        rate = learning_rate(budget.progress(step, spent), config)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            value, parts = loss(step)
        if not torch.isfinite(value):
            raise LamplanError(f"{title}: the loss is {value.item()} at step {step}; the last good state is in {out / STATE}. "
                               "Lower the learning rate, or look for damaged data.")
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimiser.step()
        if after_step is not None:
            after_step()
        step += 1
        spent = seconds + time.monotonic() - started
        bar.update()
        if step % 20 == 0:
            numbers = {name: part.item() for name, part in parts.items()}
            curves.add(step, spent, {"train/" + name: number for name, number in numbers.items()} | {"train/lr": rate})
            bar.set_postfix({**{name: f"{number:.4f}" for name, number in numbers.items()}, "spent": f"{spent / 60:.1f}min"}, refresh=False)
        if validate is not None and step % validate_every == 0:
            _report(curves, step, spent, validate(), title)
        if time.monotonic() - last_save > save_seconds:
            _save(out / STATE, module, optimiser, step, spent)
            last_save = time.monotonic()
    bar.close()
    last = validate() if validate is not None else {}
    _report(curves, step, spent, last, title)
    curves.close()
    _save(out / STATE, module, optimiser, step, spent)
    return Trained(step, spent / 60, last)


def _report(curves: _Curves, step: int, spent: float, numbers: dict[str, float], title: str) -> None:
    curves.add(step, spent, {"val/" + name: number for name, number in numbers.items()})
    tqdm.write(f"{title} step {step}: " + "  ".join(f"{name} {number:.4f}" for name, number in numbers.items()))


def _save(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, step: int, seconds: float) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save({"module": module.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "seconds": seconds}, temporary)
    os.replace(temporary, path)


def _resume(path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    try:
        state = torch.load(path, weights_only=True, map_location=device)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
    except Exception as error:  # whatever torch raises: the file is not a state of this run
        raise LamplanError(f"{path} cannot be resumed ({type(error).__name__}: {error}): it is damaged or belongs to another "
                           "configuration. Delete it to start over, or give another --out.") from None
    return int(state["step"]), float(state["seconds"])


class _Curves:
    """Scalars to TensorBoard and to `curves.csv` (step, seconds, name, value)."""

    def __init__(self, out: Path, step: int) -> None:
        self._tensorboard = SummaryWriter(str(out / "tensorboard"), purge_step=step or None)
        new = not (out / "curves.csv").exists()
        self._file = (out / "curves.csv").open("a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        if new:
            self._csv.writerow(["step", "seconds", "name", "value"])

    def add(self, step: int, seconds: float, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            self._tensorboard.add_scalar(name, value, step)
            self._csv.writerow([step, f"{seconds:.1f}", name, f"{value:.6g}"])
        self._file.flush()

    def close(self) -> None:
        self._tensorboard.close()
        self._file.close()
