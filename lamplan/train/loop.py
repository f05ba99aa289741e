"""One training loop for every network here: budget, schedule, curves, resuming. It reads top to bottom."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lamplan.allocator import keep_freed_memory
from lamplan.errors import InputError, LamplanError
from lamplan.precision import products
from lamplan.train.batches import Ahead, Draw, Parts
from lamplan.train.best import Best, Patience
from lamplan.train.curves import Curves
from lamplan.train.distribution import ALONE, Execution, Spread, World, clip_gradients
from lamplan.train.flops import matrix_rate
from lamplan.train.optimiser import OptimiserConfig, Optimisers, learning_rate
from lamplan.train.progress import Progress
from lamplan.train.snapshots import Snapshots
from lamplan.train.stop import Stop

LOG_EVERY = 20  # steps

Loss = Callable[[Any, int], tuple[Tensor, dict[str, Tensor]]]
"""`loss(part, step)`: the loss of one part of a batch, and the numbers to show; what is drawn at random comes from torch's generator."""


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes of wall time (the schedule then follows the clock)."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.minutes) if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise InputError(f"a training budget is either a positive number of steps or of minutes, found steps {self.steps}, "
                             f"minutes {self.minutes}.")

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget that is spent, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else seconds / (60 * (self.minutes or 1)))


@dataclass(frozen=True)
class Trained:
    """What a training run came to: steps and wall time over all its resumptions, the validation of the weights in the module, how
    many processes shared the work in the end, and the step whose weights these are (the last one, unless it stops early)."""

    steps: int
    minutes: float
    validation: dict[str, float]
    processes: int
    kept: int


def train(module: nn.Module, draw: Draw, loss: Loss, budget: Budget, out: Path, *, batch: int, title: str, config: OptimiserConfig,
          seed: int, micro_batch: int | None = None, prepare: Callable[[list[Any]], list[Any]] | None = None,
          validate: Callable[[], dict[str, float]] | None = None, validate_every: int = 200, patience: Patience | None = None,
          after_step: Callable[[], None] | None = None, save_seconds: float = 60.0, keep: int = 3,
          execution: Execution | None = None, world: World = ALONE, clip_flops: float | None = None) -> Trained:
    """Minimises `loss` over the module's parameters, on the device where they are, on batches of `batch` clips.

    A batch is computed in parts of `micro_batch` clips (all at once by default), shared among the processes of `world`; each is
    `draw(index, micro_batch)` with the numbers 0, 1, 2, ... through the run. What torch's generator gives while a part's loss is
    computed depends on seed and number alone, so that data and noise are the same for any number of processes.
    `prepare` sees all parts of a step that fall to this process, and may change them, before the first is trained on;
    `after_step` follows every step of the optimiser. With `patience` the run may end before its budget, and the module is left
    with the weights of its best validation instead of its last ones. `clip_flops`, operations per clip, gives the progress line its MFU.

    Snapshots, curves and TensorBoard files live in `out`. A run that was killed goes on from its last snapshot; with a
    budget in steps it then equals an uninterrupted one, bit for bit on a CPU (a budget in minutes makes the schedule follow the clock).
    SIGTERM and Ctrl-C save and leave, with status 143 and 130. A loss that is not finite raises LamplanError, and the parts of that step
    are kept.
    With FSDP2 the module stays sharded at the end: `whole_state` collects it.
    """
    execution = execution or Execution()
    out.mkdir(parents=True, exist_ok=True)
    device = next(module.parameters()).device
    if device.type == "cpu":
        keep_freed_memory()
    parts = Parts(batch, micro_batch or batch, world)
    spread = Spread(module, execution, world)
    optimisers = Optimisers(module, config)
    best = None if patience is None else Best(module, patience, world)
    snapshots = Snapshots(out / "state", module, optimisers, world, keep, best)
    step, before = snapshots.resume()
    first = budget.progress(step, before)
    curves = Curves(out, step) if world.leads else None
    clip_share = None if clip_flops is None else clip_flops / (world.size * matrix_rate(device, execution.precision))
    progress = Progress(title, budget.steps, step, batch, clip_share, world.leads)
    ahead = Ahead(draw, parts, step, device)
    started = last_save = time.monotonic()
    spent = before

    def check() -> dict[str, float]:
        numbers = {} if validate is None else spread.run(validate)
        if not numbers:
            return {}
        if best is not None:
            best.see(step, numbers)
        if curves is not None:
            curves.add(step, spent, {"val/" + name: number for name, number in numbers.items()})
        progress.say(f"{title} step {step}: " + "  ".join(f"{name} {number:.4f}" for name, number in numbers.items()))
        return numbers

    try:
        with Stop() as stop:
            while (done := budget.progress(step, spent)) < 1.0 and not (best and best.exhausted):
                mine = ahead.step()
                autocast = products(device, execution.precision)
                if prepare is not None:
                    with autocast:
                        mine = spread.run(prepare, mine)
                values: list[Tensor] = []
                shown: list[dict[str, Tensor]] = []
                for k, part in enumerate(mine):
                    torch.manual_seed(seed * 1_000_003 + parts.index(step, k))
                    with spread.accumulating(last=k == parts.own - 1):
                        with autocast:
                            value, numbers = spread.run(loss, part, step)
                        (value / parts.own).backward()
                    values.append(value.detach())
                    shown.append({name: number.detach().float() for name, number in numbers.items()})
                norm = clip_gradients(optimisers.parameters, config.clip_norm)
                # One exchange of numbers a step keeps all processes of one mind: about the loss, a signal, and the clock.
                now = time.monotonic()
                leader = [before + now - started, float(now - last_save > save_seconds)] if world.leads else [0.0, 0.0]
                own = [torch.stack(values).mean().item() / world.size, float(stop.asked is not None)]
                mean, asked, spent, due = world.total([*own, *leader])
                if not (math.isfinite(mean) and math.isfinite(norm)):
                    dump = out / f"bad-step-{step}-rank-{world.rank}.pt"
                    torch.save(mine, dump)
                    raise LamplanError(f"{title}: the loss is {mean} at step {step} (norm of its gradient {norm}); the batch is in {dump}, "
                                       f"the last good states in {snapshots.folder}. Lower the learning rate, or look for damaged data.")
                optimisers.step(done)
                if after_step is not None:
                    torch.manual_seed(seed * 1_000_003 + step * parts.count)
                    after_step()
                step += 1
                progress.step()
                if step % LOG_EVERY == 0:
                    names = list(shown[0])
                    sums = world.total([torch.stack([part[name] for part in shown]).mean().item() for name in names])
                    losses = {name: number / world.size for name, number in zip(names, sums, strict=True)}
                    speed = progress.measure(ahead.waited)
                    if curves is not None:
                        trained = {"loss": mean, "lr": learning_rate(done, config), **losses}
                        curves.add(step, spent, {"train/" + name: number for name, number in trained.items()}
                                   | {"speed/" + name: number for name, number in speed.items()})
                    share = budget.progress(step, spent)
                    progress.show(losses, speed, (spent - before) * (1 - share) / max(share - first, 1e-9))
                if step % validate_every == 0 and budget.progress(step, spent) < 1.0:
                    check()
                snapshots.publish()
                if due or asked:
                    snapshots.save(step, spent)
                    last_save = time.monotonic()
                if asked:
                    snapshots.finish()
                    asked_by = stop.asked or signal.SIGTERM  # it may have been another process that was asked
                    progress.say(f"{title}: {asked_by.name} at step {step}; the state is in {snapshots.folder}, the same command goes on "
                                 "from it.")
                    sys.exit(128 + asked_by)
        if snapshots.last != step:
            snapshots.save(step, spent)
        snapshots.finish()
        last = {} if best and best.exhausted else check()
        if best is not None and validate is not None:
            best.restore()
            last = spread.run(validate)
    finally:
        ahead.close()
        snapshots.finish()
        progress.close()
        if curves is not None:
            curves.close()
    return Trained(step, spent / 60, last, world.size, best.step if best else step)
