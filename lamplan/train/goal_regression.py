"""The goal regression of a robot, from the same logs as its controller: the second thing that `lamplan fit` trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lamplan.models.goal_regression import GoalRegression
from lamplan.robot import RobotSpec
from lamplan.train.best import Patience
from lamplan.train.distribution import Execution
from lamplan.train.labelled import FARTHEST, PATIENCE, VALIDATE_EVERY, MotionPairs, Split
from lamplan.train.loop import Budget, Trained, train
from lamplan.train.optimiser import OptimiserConfig

WORTH = 0.05
"""Share of a motion's mean square that must be told for its number to be believed at all. Less is chance, which would open a gripper."""


ENOUGH = 5
"""Episodes: of two or three, in which a robot does one thing each, skill and chance look alike."""


def fit_regression(model: GoalRegression, pairs: MotionPairs, parts: Split, spec: RobotSpec, budget: Budget, run: Path, *,
                   batch: int, seed: int, optimiser: OptimiserConfig, execution: Execution) -> Trained:
    """Fits the model, on the device of the pairs, by smooth L1 on the displacement in units of its spread. A third of a batch are goals at
    the distance of a plan, a third the nearest tenth of `pairs`, among which a closed loop ends, and a third any of them.

    The weights kept are those with the least error, at a plan's distance, of what is believed on the validation episodes, which say its
    `gain`.
    """
    training, validation = pairs.of(parts.training), at_plans_distance(pairs.of(parts.validation), spec).at_most(512)
    plans, near = at_plans_distance(training, spec), nearest(training, spec)
    model.scale.copy_(plans.moved.std(0, unbiased=False).clamp_min(1e-3))

    def draw(step: int, size: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng((seed, 7, step))
        drawn = [(of, torch.from_numpy(rng.integers(len(of), size=count)).to(training.first.device))
                 for of, count in ((plans, size // 3), (near, size // 3), (training, size - 2 * (size // 3)))]
        now, goal = (torch.cat(frames) for frames in zip(*(of.frames(rows) for of, rows in drawn), strict=True))
        return now, goal, torch.cat([of.moved[rows] for of, rows in drawn])

    def loss(drawn: tuple[Tensor, Tensor, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        now, goal, moved = drawn
        value = F.smooth_l1_loss(model(now, goal) / model.scale, moved / model.scale)
        return value, {"smooth_l1": value}

    def said() -> Tensor:
        return errors_of(model, validation) + validation.moved

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        displacements = said()
        # As it will be believed: what it cannot see (a gripper, say) it learns by heart, and would say when to stop.
        errors = displacements * gain_on(validation, displacements) - validation.moved
        return {"error": F.smooth_l1_loss(errors / model.scale, torch.zeros_like(errors)).item(),
                "delta_m": errors[:, spec.position].norm(dim=1).mean().item(),
                "still_m": validation.moved[:, spec.position].norm(dim=1).mean().item()}

    done = train(model, draw, loss, budget, run, batch=batch, title=f"goal regression {spec.name} {spec.camera}", config=optimiser,
                 seed=seed, validate=validate, validate_every=VALIDATE_EVERY, patience=Patience("error", PATIENCE), execution=execution)
    model.eval().gain.copy_(gain_on(validation, said()))
    return done


def gain_on(pairs: MotionPairs, said: Tensor) -> Tensor:
    """`gain_of` what is said of these pairs; where they are of fewer than ENOUGH episodes all is believed, as nothing can be told."""
    return gain_of(said, pairs.moved) if len(pairs.episode.unique()) >= ENOUGH else torch.ones_like(said[0])


def gain_of(said: Tensor, moved: Tensor) -> Tensor:
    """By which factor (A) between 0 and 1 what is said (N, A) comes nearest to the motion (N, A), by least squares; 0 where even so it
    tells less than WORTH of it."""
    gain = ((said * moved).sum(0) / said.square().sum(0).clamp_min(1e-12)).clamp(0.0, 1.0)
    left = (gain * said - moved).square().sum(0) / moved.square().sum(0).clamp_min(1e-12)
    return gain * (left <= 1 - WORTH)


def at_plans_distance(pairs: MotionPairs, spec: RobotSpec) -> MotionPairs:
    """The pairs that lie a whole plan apart, or where episodes are shorter, the farthest ones up to there."""
    within = pairs.where(pairs.gap <= FARTHEST[spec.kind])
    return within.where(within.longest())


def nearest(pairs: MotionPairs, spec: RobotSpec) -> MotionPairs:
    """The tenth of the pairs (at least one) between which the robot moved least."""
    way = pairs.moved[:, spec.position].norm(dim=1)
    return pairs.where(way.argsort()[: -(-len(way) // 10)])


@torch.inference_mode()
def errors_of(model: GoalRegression, pairs: MotionPairs) -> Tensor:
    """Errors (N, A) of its displacements, in the action's units."""
    return torch.cat([model(*pairs.frames(rows)) - pairs.moved[rows]
                      for rows in torch.arange(len(pairs), device=pairs.first.device).split(64)])
