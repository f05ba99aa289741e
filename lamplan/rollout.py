"""Imagining: what a robot would see after a sequence of its actions.

Shapes: B episodes, N candidates, H steps, T past frames, P patches, D features, A action, Z condition of the world model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lamplan.errors import InputError
from lamplan.graphs import Graphs
from lamplan.lam import LatentActionModel
from lamplan.models.compiled import compile_rollout
from lamplan.models.controller import Controller
from lamplan.models.goal_regression import GoalRegression
from lamplan.models.plain import is_plain
from lamplan.models.world_model import Memory, WorldModel
from lamplan.precision import Precision

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""What imagining is computed in: weights and whatever passes between them. Encoder, proposals, distances and search stay in fp32."""

FEW_BYTES = 2**30
"""Candidates that take less memory than this, by `candidate_bytes`, leave a GPU waiting for their kernels to be started: of ViT-L 8 over
three steps or 13 over one."""

IN_A_BLOCK, KEPT_FOR_SLOPE = 26, 40
"""Numbers of a token, in widths of the world model: what a block holds at once, and what each has kept until the slope is found. Both
measured: a ViT-L takes 0.9 to 1.1 times as much as is planned so without a slope, in fp32 and bf16, and 0.65 to 1 with one."""

Shape = tuple[int, int, int] | None
"""Of a `Past` all but its tensors: how many earlier frames there were, and layers of keys and values, own and shared."""

Context = tuple[Tensor, ...]
"""What an `ActionMap` reads actions against, from B frames: tensors (B, ...), or none."""


@dataclass(frozen=True)
class Past:
    """What all candidates of an episode share: the present frame (B, P, D), the memory of earlier frames, and what an action is read
    against at the present one (`ActionMap.context`)."""

    present: Tensor
    earlier: Memory | None
    context: Context = ()

    def __len__(self) -> int:
        return len(self.present)

    def episodes(self, pick: slice) -> Past:
        return Past(self.present[pick], self.earlier and self.earlier.each(lambda x: x[pick]), tuple(x[pick] for x in self.context))

    def apart(self) -> tuple[Shape, list[Tensor]]:
        """Its tensors, and the rest of it."""
        if self.earlier is None:
            return None, [self.present, *self.context]
        own, shared = self.earlier.keys_values, self.earlier.shared
        return (self.earlier.frames, len(own), len(shared)), [self.present, *(x for pair in own + shared for x in pair), *self.context]

    @staticmethod
    def joined(shape: Shape, tensors: list[Tensor]) -> Past:
        """The opposite of `apart`."""
        rest = iter(tensors)
        present, earlier = next(rest), None
        if shape is not None:
            own, shared = ([(next(rest), next(rest)) for _ in range(layers)] for layers in shape[1:])
            earlier = Memory(own, shape[0], shared)
        return Past(present, earlier, tuple(rest))


@dataclass(frozen=True)
class Proposal:
    """Where to begin a search: the motion (B, A) that seems to lead to the goal, in all, and how far around it to look, as a standard
    deviation (A)."""

    displacement: Tensor
    spread: Tensor


class ActionMap(Protocol):
    """Real actions to what the world model is conditioned on: a `Controller`, or the action itself for a labelled model."""

    def context(self, s: Tensor) -> Context: ...

    def latents(self, context: Context, actions: Tensor) -> Tensor: ...


class Dynamics(Protocol):
    """What a planner needs of a model. Everything goes in and comes out on its `device`."""

    @property
    def device(self) -> torch.device: ...

    def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
        """About how much memory one candidate takes while it is imagined, and until the `slope` of its cost has been found."""
        ...

    def trimmed(self, images: Tensor) -> Tensor:
        """What is looked at of uint8 images (B, T, H, W, 3), oldest first: as many of the last as `start` uses, as large as is encoded."""
        ...

    def encode(self, images: Tensor) -> Tensor:
        """Features (..., P, D) of uint8 images (..., H, W, 3)."""
        ...

    def start(self, frames: Tensor) -> Past:
        """The shared past from features (B, T, P, D), oldest first, the present frame last; of more frames than the model ever learned to
        look back, the last."""
        ...

    def after(self, past: Past, action: Tensor) -> Past:
        """The past as it will be, as far as can be imagined, when an action (B, A) that is being executed has ended."""
        ...

    def rollout(self, past: Past, actions: Tensor) -> Tensor:
        """All imagined frames (B, N, H, P, D) of actions (B, N, H, A)."""
        ...

    def propose(self, past: Past, goal: Tensor) -> Proposal | None:
        """What seems to lie between the present frame and the goal (B, P, D); None from a model that cannot tell."""
        ...


class WorldModelDynamics:
    """A world model driven by real actions through an `ActionMap`; imagined frames keep their keys and values.

    With a `precision` of bf16 it imagines with a copy of the weights in bf16. On the shipped model that moves an imagined frame by 1.5 % of
    the change that it shows, 5.4 % at most. With `compile` the blocks of (a copy of) the world model are compiled when many candidates
    first run through them, which takes a while and pays on a GPU, and on a CPU in bf16.
    """

    def __init__(self, lam: LatentActionModel, world_model: WorldModel, action_map: ActionMap, precision: Precision = "fp32",
                 compile: bool = False) -> None:
        if precision not in DTYPES:
            raise InputError(f"the precision of imagined frames is {' or '.join(DTYPES)}; found '{precision}'.")
        self.lam, self.precision, self.dtype = lam, precision, DTYPES[precision]
        self.world_model, self.action_map = (rounded(part, self.dtype) for part in (world_model, action_map))
        self.fast = self.world_model, self.action_map  # for the candidates of a search
        if compile:
            self.fast = copy.deepcopy(self.fast)
            for part in self.fast:
                if isinstance(part, nn.Module):
                    compile_rollout(part.requires_grad_(False), frozen=self.device.type == "cpu")
        self._graphs = Graphs(lambda shape, tensors: self._imagine(Past.joined(shape, tensors[1:]), tensors[0]))

    def through(self, action_map: ActionMap) -> WorldModelDynamics:
        """The same world model, compiled or not, driven through another map."""
        other = WorldModelDynamics(self.lam, self.world_model, action_map, self.precision)
        other.fast = self.fast[0], other.action_map
        return other

    @property
    def device(self) -> torch.device:
        return self.lam.encoder.pixel_mean.device

    def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
        config = self.world_model.config
        # Of every layer: what it kept, or between two steps the keys and values of the frames before, and of those with one more.
        kept = KEPT_FOR_SLOPE * horizon if slope else 5 if horizon == 1 else max(9, 4 * min(horizon, config.context))
        numbers = (config.depth * kept + IN_A_BLOCK) * config.width
        numbers += 2 * horizon * self.lam.config.encoder.width  # the frames themselves, one by one and together
        return self.dtype.itemsize * self.world_model.patches * numbers

    def trimmed(self, images: Tensor) -> Tensor:
        return self.lam.sized(images[:, -self.world_model.config.context :])

    def encode(self, images: Tensor) -> Tensor:
        return self.lam.encode(images)

    def start(self, frames: Tensor) -> Past:
        earlier = None
        frames = frames[:, -self.world_model.config.context :]
        for t in range(frames.shape[1] - 1):
            told = self.past_condition(frames[:, t], frames[:, t + 1])
            _, earlier = self.world_model.step(frames[:, t].to(self.dtype), told.to(self.dtype), earlier)
        return self.begin(frames[:, -1], earlier)

    def after(self, past: Past, action: Tensor) -> Past:
        s = past.present.to(self.dtype)  # and not past.context: a latent planner's past is read by latents, this action is real
        z = self.action_map.latents(self.action_map.context(s), action[:, None])[:, 0]
        following, earlier = self.world_model.step(s, z.to(self.dtype), past.earlier)
        return self.begin(following.float(), earlier)

    def begin(self, present: Tensor, earlier: Memory | None) -> Past:
        """A past from its parts, in line: code compiled for one history is then that of every one as long."""
        in_line = earlier and earlier.each(Tensor.contiguous)
        # Read once, however often a search asks: of a gradient search's iterations this was a fifth.
        return Past(present, in_line, self.action_map.context(present.to(self.dtype)))

    def past_condition(self, s: Tensor, s_next: Tensor) -> Tensor:
        """What the world model was told at a past frame: the latent inferred from the two frames."""
        return self.lam.infer(s, s_next)

    def rollout(self, past: Past, actions: Tensor) -> Tensor:
        few = actions.shape[0] * actions.shape[1] * self.candidate_bytes(actions.shape[2]) <= FEW_BYTES
        if few and actions.device.type == "cuda" and not is_plain():
            shape, tensors = past.apart()
            return self._graphs(shape, [actions, *tensors])
        return self._imagine(past, actions)

    def _imagine(self, past: Past, actions: Tensor) -> Tensor:
        episodes, candidates, horizon = actions.shape[:3]
        s = past.present.to(self.dtype)
        z = self.action_map.latents(past.context, actions[:, :, 0]).flatten(0, 1)
        s = s.repeat_interleave(candidates, dim=0)
        seen = past.earlier and past.earlier.as_shared()
        # One plan, or one with a gradient, is not worth another compilation.
        alone = len(s) == 1 or torch.is_grad_enabled()
        world_model, action_map = (self.world_model, self.action_map) if alone else self.fast
        frames = []
        for h in range(horizon):
            if h:
                z = action_map.latents(action_map.context(s), actions[:, :, h].reshape(-1, 1, actions.shape[-1]))[:, 0]
            s, seen = world_model.step(s, z.to(self.dtype), seen)
            frames.append(s)
        return torch.stack(frames, dim=1).float().unflatten(0, (episodes, candidates))

    def propose(self, past: Past, goal: Tensor) -> Proposal | None:
        return None  # a world model runs forwards only


class LatentDynamics(WorldModelDynamics):
    """The paper's way: controller, then the latent action model's world model. With a `regression` it is that which proposes."""

    def __init__(self, lam: LatentActionModel, controller: Controller, precision: Precision = "fp32",
                 regression: GoalRegression | None = None, compile: bool = False) -> None:
        super().__init__(lam, lam.world_model, controller, precision, compile)
        self.controller, self.regression = controller, regression

    def propose(self, past: Past, goal: Tensor) -> Proposal:
        """The regression's motion to the goal (B, P, D), or the latent inferred straight from the present frame to it, as the robot's
        own motion."""
        if self.regression is not None:
            return Proposal(self.regression(past.present, goal), self.regression.reach)
        z = self.lam.infer(past.present, goal)
        return Proposal(self.controller.actions(past.present, z[:, None])[:, 0], self.controller.reach)


def rounded(part: Any, dtype: torch.dtype) -> Any:
    """A copy of a network with weights of this type; what has them already, or is no network, is handed back as it is."""
    if not isinstance(part, nn.Module) or all(weight.dtype == dtype for weight in part.parameters()):
        return part
    return copy.deepcopy(part).to(dtype)


def costs_of(dynamics: Dynamics, past: Past, actions: Tensor, judge: Callable[[Tensor, slice], Tensor], in_flight: int,
             go_on: Callable[[], bool] = lambda: True) -> Tensor:
    """Costs (B, N) of candidates (B, N, H, A): what `judge` says of their imagined frames (b, n, H, P, D) of the episodes in a slice.

    At most `in_flight` candidates are imagined at once, and where the actions ask for a gradient its part is found before the next are, so
    that memory does not grow with their number. Before every portion but the first, `go_on` is asked; candidates that it left out cost
    infinity. Every episode's first candidates come first.
    """
    episodes, candidates = actions.shape[:2]
    together = min(episodes, in_flight)
    each = -(-candidates // -(-candidates // max(1, in_flight // together)))  # equal portions: a small last one takes as many calls
    portions = [(slice(b, b + together), slice(n, n + each)) for n in range(0, candidates, each) for b in range(0, episodes, together)]
    first = -(-episodes // together)
    costs = torch.full((episodes, candidates), torch.inf, device=actions.device)
    parts = []

    def portion(b: slice, some: Tensor) -> Tensor:
        return judge(dynamics.rollout(past.episodes(b), some), b)

    for i, (b, n) in enumerate(portions):
        if i >= first and not go_on():
            break
        parts.append(with_slope(partial(portion, b), actions[b, n]))
    for (b, n), part in zip(portions, parts, strict=False):
        costs[b, n] = part
    return costs


def with_slope(cost: Callable[[Tensor], Tensor], actions: Tensor) -> Tensor:
    """Costs (b, n) of actions (b, n, H, A), as a function of them that has the same value and slope here and nothing else behind it: what
    was computed on the way is free again, and a CUDA graph may be replayed for others."""
    if not (torch.is_grad_enabled() and actions.requires_grad):
        return cost(actions)
    own = actions.detach().requires_grad_()
    costs = cost(own)
    if not costs.requires_grad:
        return costs
    slope, = torch.autograd.grad(torch.where(torch.isfinite(costs), costs, 0.0).sum(), own)
    slope = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
    return costs.detach() + (slope * (actions - own.detach())).sum((-1, -2))
