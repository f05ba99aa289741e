"""World models as the planner takes them: the action-labelled one, and plans of a given shape."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.action_labelled import ActionLabelledWorldModel
from benchmarks.shapes import Shape
from lamplan.lam import LatentActionModel
from lamplan.precision import Precision
from lamplan.robot import RobotSpec
from lamplan.rollout import Context, Dynamics, Past, Proposal, WorldModelDynamics


class StandardisedActions:
    """The action map of a model that was told true actions: no latent in between."""

    def __init__(self, model: ActionLabelledWorldModel) -> None:
        self.model = model

    def context(self, s: Tensor) -> Context:
        return ()

    def latents(self, context: Context, actions: Tensor) -> Tensor:
        return self.model.standardise(actions)


class ActionLabelledDynamics(WorldModelDynamics):
    """The action-labelled world model behind the LAM's encoder. It plans from the present frame alone."""

    def __init__(self, lam: LatentActionModel, model: ActionLabelledWorldModel, precision: Precision = "fp32") -> None:
        super().__init__(lam, model.world_model, StandardisedActions(model), precision)


class Shaped:
    """Dynamics whose plan is a single action that `shape` spreads over `steps` steps; the search has horizon 1.

    It is imagined in as few equal motions as a model knows that has learned steps of up to `longest` frames. Where all goals lie a
    `whole_plan` away, the robot's prior tells about the way there too, and a proposal is joined with it, each by its precision.
    """

    def __init__(self, inner: Dynamics, shape: Shape, steps: int, robot: RobotSpec, longest: int = 1, whole_plan: bool = False) -> None:
        self.inner, self.shape, self.steps, self.robot, self.whole_plan = inner, shape, steps, robot, whole_plan
        self.strides = steps // max(stride for stride in range(1, longest + 1) if steps % stride == 0)

    @property
    def device(self) -> torch.device:
        return self.inner.device

    def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
        return self.inner.candidate_bytes(self.strides, slope)

    def trimmed(self, images: Tensor) -> Tensor:
        return self.inner.trimmed(images)

    def encode(self, images: Tensor) -> Tensor:
        return self.inner.encode(images)

    def start(self, frames: Tensor) -> Past:
        return self.inner.start(frames)

    def after(self, past: Past, action: Tensor) -> Past:
        return self.inner.after(past, action)

    def rollout(self, past: Past, actions: Tensor) -> Tensor:
        return self.inner.rollout(past, self.shape.driven(actions, self.steps, self.strides))

    def propose(self, past: Past, goal: Tensor) -> Proposal | None:
        seen = self.inner.propose(past, goal)
        if seen is None:
            return None
        device = seen.spread.device
        action = torch.from_numpy(self.shape.narrow(seen.displacement.cpu().double().numpy(), self.steps, self.robot)).float().to(device)
        proposal = Proposal(action, self.shape.narrow_spread(seen.spread, self.steps))
        if not self.whole_plan:
            return proposal
        mean, std = (torch.from_numpy(value).float().to(device) for value in (self.robot.prior_mean, self.robot.prior_std))
        return joined(proposal, Proposal(mean.expand_as(action), std))


def joined(one: Proposal, other: Proposal) -> Proposal:
    """What two normal estimates of the same motion say together: their product."""
    weight = other.spread.square() / (one.spread.square() + other.spread.square())
    return Proposal(torch.lerp(other.displacement, one.displacement, weight), one.spread * weight.sqrt())
