"""A world with a closed form: a point in a box, whose picture shows where it is, and dynamics that know this."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamplan.robot import RobotSpec
from lamplan.rollout import Past, Proposal

ROOT = Path(__file__).resolve().parents[2]
ROVER = RobotSpec.load(ROOT / "controllers/rover")
# The search's beginning is the DROID protocol's, whatever the shipped robot's prior is: these worlds test the loop, not the prior.
PANDA = replace(RobotSpec.load(ROOT / "controllers/panda"), prior_std=np.full(7, 0.1))
GREY_PER_M = 200.0  # position 0..1 m on each axis is brightness 0..200 of one colour


def picture(position: np.ndarray) -> np.ndarray:
    """(4, 4, 3) uint8 image of a point (3,) within the unit cube."""
    grey = np.clip(np.round(np.asarray(position) * GREY_PER_M), 0, 255).astype(np.uint8)
    return np.broadcast_to(grey, (4, 4, 3)).copy()


def encode(images: np.ndarray) -> np.ndarray:
    """Features (B, 1, 3): the position that a picture shows."""
    return images.mean(axis=(1, 2))[:, None] / GREY_PER_M


class PointDynamics:
    """Exact dynamics of the point, in the planner's protocol."""

    device = torch.device("cpu")

    def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
        return 100 * horizon

    def trimmed(self, images: Tensor) -> Tensor:
        return images

    def encode(self, images: Tensor) -> Tensor:
        return images.float().mean(dim=(-3, -2))[..., None, :] / GREY_PER_M

    def start(self, frames: Tensor) -> Past:
        return Past(frames[:, -1], None)

    def after(self, past: Past, action: Tensor) -> Past:
        return Past(self.rollout(past, action[:, None, None])[:, 0, 0], None)

    def rollout(self, past: Past, actions: Tensor) -> Tensor:
        return past.present[:, None, None] + actions[..., None, :3].cumsum(dim=2)

    def propose(self, past: Past, goal: Tensor) -> Proposal | None:
        return None


class PointWorld:
    """An arm that is a point: state (7,), of which only the position matters. Distance is to a goal 0.3 m along x."""

    robot_spec = PANDA

    def __init__(self) -> None:
        self.unwrapped = self
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        rng = np.random.default_rng(seed)
        self.state = np.zeros(7)
        self.state[:3] = rng.uniform(0.3, 0.4, size=3)
        self.goal = self.state.copy()
        self.goal[0] += 0.3
        goals = np.stack([picture(self.goal[:3])])
        return self.render_observation(), self._info() | {"goal_image": goals[-1], "goal_state": self.goal, "subgoal_images": goals}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self.state = self.state + PANDA.clip(action)
        return self.render_observation(), 0.0, False, False, self._info()

    def render_observation(self) -> dict[str, np.ndarray]:
        return {"exterior_image": picture(self.state[:3]), "proprio": self.state.astype(np.float32)}

    def simulate(self, actions: np.ndarray) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
        ends = self.state[:3] + np.asarray(actions)[..., :3].sum(axis=1)
        return [{"exterior_image": picture(end)} for end in ends], ends

    def random_motion(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-0.03, 0.03, size=7)

    def close(self) -> None:
        self.closed = True

    def _info(self) -> dict[str, Any]:
        distance = float(np.linalg.norm(self.goal[:3] - self.state[:3]))
        return {"distance_m": distance, "success": distance < 0.05}


class Straight:
    """A policy that heads straight for the goal it sees, whatever stands in between."""

    name = "regression"

    def reset(self) -> None:
        pass

    def decide(self, situation: Any) -> Any:
        from benchmarks.policies import Decision

        moves = np.zeros((len(situation.images), 7))
        moves[:, :3] = (encode(situation.goals) - encode(situation.images))[:, 0]
        return Decision(np.repeat(PANDA.split(moves, 3)[:, None], 3, axis=1))


