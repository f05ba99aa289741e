"""Early stopping: the best weights are what is left, a run ends when nothing gets better, and a kill changes none of it."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lamplan.errors import LamplanError
from lamplan.train import loop
from lamplan.train.best import Patience
from lamplan.train.loop import Budget, Trained, train
from lamplan.train.optimiser import OptimiserConfig
from tests.train import cluster

CONFIG = OptimiserConfig(learning_rate=0.05, warmup=0.01, weight_decay=0.0)
PATIENCE = Patience("far", 4)


def overfit(out: Path, steps: int, pause: float = 0.0, patience: Patience | None = PATIENCE) -> tuple[nn.Linear, Trained]:
    """What is learned from says 3, what is held out says 1: on its way from 0 the weight first gets better, then worse."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)

    def draw(step: int, size: int) -> Tensor:
        time.sleep(pause)
        return torch.from_numpy(np.random.default_rng(step).normal(size=(size, 1))).float()

    def loss(x: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        value = (model(x) - 3 * x).square().mean()
        return value, {"squared": value}

    done = train(model, draw, loss, Budget(steps=steps), out, batch=8, title="overfit", config=CONFIG, seed=0,
                 validate=lambda: {"far": abs(model.weight.item() - 1)}, validate_every=1, patience=patience)
    return model, done


def curve(out: Path) -> list[float]:
    return [float(row.split(",")[2]) for row in cluster.losses(out) if ",val/far," in row]


def test_a_run_without_a_finite_score_has_no_best_weights(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    with pytest.raises(LamplanError, match="no validation of this run gave a finite 'far'"):
        train(module, lambda step, size: torch.ones(size, 1), lambda x, step: (module(x).square().mean(), {}), Budget(steps=9), tmp_path,
              batch=2, title="t", config=CONFIG, seed=0, validate=lambda: {"far": float("nan")}, validate_every=2, patience=PATIENCE)


def test_the_best_weights_are_left_and_the_run_ends_early(tmp_path: Path) -> None:
    model, done = overfit(tmp_path / "stopping", 200)
    assert done.kept > 5
    seen = curve(tmp_path / "stopping")
    assert done.steps == done.kept + PATIENCE.validations == len(seen) < 200
    assert done.validation["far"] == pytest.approx(min(seen)) and done.kept == 1 + seen.index(min(seen))
    endless, last = overfit(tmp_path / "endless", 200, patience=None)
    assert last.steps == last.kept == 200 and last.validation["far"] > done.validation["far"]
    assert not torch.equal(model.weight, endless.weight)


def test_the_same_command_again_finds_the_run_finished(tmp_path: Path) -> None:
    model, done = overfit(tmp_path, 200)
    seen = curve(tmp_path)
    again, second = overfit(tmp_path, 200)
    assert torch.equal(model.weight, again.weight) and curve(tmp_path) == seen
    assert (second.steps, second.kept, second.validation) == (done.steps, done.kept, done.validation)


def test_a_run_of_another_kind_is_not_resumed(tmp_path: Path) -> None:
    overfit(tmp_path, 5, patience=None)
    with pytest.raises(LamplanError, match="cannot be resumed"):
        overfit(tmp_path, 200)


def slowly(out: Path, pause: float) -> None:
    torch.set_num_threads(1)
    out.mkdir(exist_ok=True)
    sys.stdout = sys.stderr = (out / "said").open("w")
    assert loop.train.__kwdefaults__ is not None
    loop.train.__kwdefaults__["save_seconds"] = 0.0
    model, done = overfit(out, 200, pause)
    torch.save({**model.state_dict(), "kept": torch.tensor(done.kept)}, out / "final.pt")


def test_killed_while_it_waits_for_better_it_ends_as_if_never(tmp_path: Path) -> None:
    """Between the best step and the end, where weights are kept that are not the module's."""
    whole, done = overfit(tmp_path / "whole", 200)
    out = tmp_path / "killed"
    for wait_for in (done.kept // 2, done.kept + 2):
        process = cluster.begin(slowly, out, 0.05)
        while not list((out / "state").glob(f"step-{wait_for:08d}")) and process.is_alive():
            time.sleep(0.005)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (out / "said").read_text()[-2000:]
    process = cluster.begin(slowly, out, 0.0)
    process.join()
    final = torch.load(out / "final.pt", weights_only=True)
    assert torch.equal(final["weight"], whole.weight) and torch.equal(final["bias"], whole.bias)
    assert final["kept"] == done.kept and curve(out) == curve(tmp_path / "whole")
