"""Planning in the space of latent actions (the paper's open question 2): no real action is tried, only the found ones are translated."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from lamplan.asked import device_of
from lamplan.controllers import load_controller
from lamplan.costs import GoalCost
from lamplan.errors import InputError
from lamplan.judge import Constraint
from lamplan.lam import LatentActionModel
from lamplan.limits import Limits
from lamplan.models.controller import Controller
from lamplan.motion import between, composed
from lamplan.pace import most_in_flight
from lamplan.planner import Planner, check_stride
from lamplan.precision import Precision
from lamplan.presets import Preset
from lamplan.robot import RobotSpec
from lamplan.rollout import Context, Past, WorldModelDynamics
from lamplan.search import Found, Search, SearchSpace, box
from lamplan.views import Views

FARTHEST = 3.0
"""Standard deviations of the latents seen in the robot's own logs within which is searched."""
LEFT = 0.6
"""Share of what is left to the goal, as the inverse dynamics model sees it from the imagined end, that is added to a plan. All of it would
be too much: it errs too."""
NEAR_PROPOSAL = 0.3
"""Standard deviation, in the same unit, of a search that begins at the latent inferred between here and the goal."""


class Whitened:
    """An action map whose actions are latents in units of their spread in the robot's logs (B, N, Z)."""

    def __init__(self, controller: Controller) -> None:
        self.mean, self.basis = controller.latent_mean, controller.latent_basis

    def context(self, s: Tensor) -> Context:
        return ()

    def latents(self, context: Context, actions: Tensor) -> Tensor:
        return self.mean + actions @ self.basis.T

    def whiten(self, latents: Tensor) -> Tensor:
        return torch.linalg.solve(self.basis, (latents - self.mean)[..., None])[..., 0]


class LatentPlanner(Planner):
    """A `Planner` whose search moves latents, each of which is then translated, by the controller's way back, into the `stride` real
    actions that it stands for.

    The latents' normal distribution in the robot's logs is the prior: the search begins at its mean, or, with `proposals`, at the
    latent inferred between here and the goal. The robot's limits hold for the answer; its candidates are no real actions, so a
    constraint on actions is refused.

    Its defaults are the real-time mode, for a closed loop: one latent for as many steps as the model has learned, and few candidates
    around the inferred one.
    """

    def __init__(self, dynamics: WorldModelDynamics, controller: Controller, robot: RobotSpec, search: Search | Preset | str = "realtime",
                 seed: int = 0, proposals: bool = True, cost: GoalCost | None = None, stride: int = 1) -> None:
        self.real, self.controller = dynamics, controller
        self.map = Whitened(controller)
        super().__init__(dynamics.through(self.map), robot, search, seed, proposals=proposals, cost=cost, stride=stride)

    @classmethod
    def load(cls, checkpoint: str | Path, robot: str | Path, search: Search | Preset | str = "realtime",  # type: ignore[override]
             seed: int = 0, proposals: bool = True, cost: GoalCost | None = None, stride: int | None = None, device: str = "cpu",
             camera: str | None = None, precision: Precision = "fp32", compile: bool = False) -> LatentPlanner:
        """As `Planner.load`. The stride is by default the longest that the model has learned."""
        place = device_of(device)
        lam, spec = LatentActionModel.load(checkpoint).to(place), RobotSpec.load(robot, camera)
        stride = lam.config.max_stride if stride is None else stride
        check_stride(lam, stride)
        controller = load_controller(robot, checkpoint, lam, spec).to(place)
        dynamics = WorldModelDynamics(lam, lam.world_model, controller, precision, compile)
        return cls(dynamics, controller, spec, search, seed, proposals, cost, stride)

    def _wish(self, constraint: Constraint | None) -> None:
        if constraint is not None:
            raise InputError("planning in latent space knows no real actions before its end: plan with `Planner` under a constraint.")

    def _after(self, past: Past, running: Tensor) -> Past:
        return self.real.after(past, running)

    def _space(self, past: Past, seen: Views, limits: Limits) -> SearchSpace:
        width, device = len(self.map.mean), past.present.device
        begin = torch.zeros(len(past), self.search.horizon, width, device=device)
        if self.proposals:
            inferred = seen.mean(self.real.lam.infer(seen.present, seen.target))
            # The whole way in as many equal parts as there are latents.
            begin = self.map.whiten(inferred)[:, None].expand_as(begin) / self.search.horizon
        far = torch.full((width,), FARTHEST, device=device)
        return SearchSpace(box(-far, far), begin, torch.full_like(far, NEAR_PROPOSAL if self.proposals else 1.0))

    def _executed(self, found: Found, past: Past, seen: Views, predicted: Tensor, limits: Limits) -> Tensor:
        frames = torch.cat([past.present[:, None], predicted[:, :-1]], dim=1).flatten(0, 1)
        latents = self.map.latents((), found.actions.flatten(0, 1)[:, None])
        moved = limits(self.controller.actions(frames, latents)[:, 0].unflatten(0, (len(past), 1, -1)))[:, 0]
        return self._divided(limits(self._corrected(moved, seen)[:, None])[:, 0])

    def _corrected(self, moved: Tensor, seen: Views) -> Tensor:
        """The motions (B, H, A), the last of them prolonged by a share of what seems to be left to the goal where they are imagined to end.

        A latent and its translation are not the same motion: this looks at what the translated one leads to, in every view from its
        present frame alone.
        """
        target, views = seen.target, len(seen.present) // len(moved)
        actions, each = moved.repeat(views, 1, 1), most_in_flight(self.real, moved.shape[1])
        left = []
        for rows in torch.arange(len(actions), device=actions.device).split(each):
            end = self.real.rollout(self.real.begin(seen.present[rows], None), actions[rows, None])[:, 0, -1]
            left.append(self.controller.actions(end, self.real.lam.infer(end, target[rows])[:, None])[:, 0])
        path = composed(self.robot.kind, torch.stack([moved[:, -1], LEFT * seen.mean(torch.cat(left))], dim=1))
        return torch.cat([moved[:, :-1], between(self.robot.kind, path[:, 0], path[:, -1])[:, None]], dim=1)
