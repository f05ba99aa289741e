"""`Planner`: an observation and a goal image in, actions in the robot's own units out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamplan.allocator import keep_freed_memory
from lamplan.controllers import load_controller, load_regression
from lamplan.costs import AnyOf, GoalCost, Goals
from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.limits import Limits
from lamplan.models.prepared import Prepared, only_preparing
from lamplan.pace import Deadline, Pace, most_in_flight, wait_for
from lamplan.precision import Precision
from lamplan.presets import Preset, Proposals, chosen
from lamplan.ranks import split_over_ranks
from lamplan.robot import RobotSpec
from lamplan.rollout import Dynamics, LatentDynamics, Past, costs_of
from lamplan.search import Found, Search, SearchSpace
from lamplan.search.detour import detour
from lamplan.views import Views, views

NEAR_LIMIT = 0.01
"""An action this share of its range from a limit counts as at the limit."""
Constraint = Callable[[Tensor], Tensor]
"""A user's cost (B, N) on candidate actions (B, N, H, A), added to the distance to the goal."""
FeatureCost = Callable[[Tensor], Tensor]
"""A user's cost (b, n) on what candidates would see, the imagined frames (b, n, H, P, D) of some of them, added likewise."""


@dataclass(frozen=True)
class Plan:
    """What a planner found. Without a batch dimension when the observation had none.

    actions ([B,] H, A) in the robot's units; cost ([B]) distance of the imagined outcome from the goal (and a user's own costs);
    start_cost ([B]) the distance before moving; cost_curve (iterations[, B]) the best candidate's;
    predicted ([B,] H / stride, P, D) features of the imagined frames; limit_active ([B]) whether an action lies at one of the robot's
    limits; timings in seconds.
    """

    actions: np.ndarray
    cost: np.ndarray
    start_cost: np.ndarray
    cost_curve: np.ndarray
    predicted: np.ndarray
    limit_active: np.ndarray
    timings: dict[str, float]
    names: tuple[str, ...]

    def __str__(self) -> str:
        first = self.actions.reshape(-1, *self.actions.shape[-2:])[0, 0]
        action = ", ".join(f"{name} {value:+.3f}" for name, value in zip(self.names, first, strict=True))
        limits = ", at a limit" if np.any(self.limit_active) else ""
        return (f"Plan({self.actions.shape[-2]} steps, first: {action}; cost {np.mean(self.start_cost):.4f} -> {np.mean(self.cost):.4f}"
                f"{limits}; {sum(self.timings.values()):.2f} s)")

    def plot(self, path: str | Path, pictures: Mapping[str, np.ndarray] | None = None) -> None:
        """Writes a picture: cost over the search's iterations, and the planned actions; below them captioned images (H, W, 3) uint8,
        such as what `lamplan.models.decoder.Decoder` makes of `predicted`."""
        from lamplan.report.plan import plot_plan  # matplotlib only when somebody looks

        plot_plan(self.actions, self.cost_curve, self.start_cost, self.names, Path(path), pictures)


class Planner:
    """Model-predictive control in feature space: searches the actions whose imagined outcome looks most like the goal.

    `search` is a method with its settings, or the name of some in `lamplan.presets`, which bring their own `cost` unless one is given.
    Where an arm's search begins at a proposal, that is the mean over a few slightly shifted views of both pictures (`lamplan.views`).
    On a CPU the first planner makes the process keep memory that it frees (`lamplan.allocator`).
    """

    def __init__(self, dynamics: Dynamics, robot: RobotSpec, search: Search | Preset | str = "paper", seed: int = 0,
                 warm_start: bool = False, proposals: bool = False, cost: GoalCost | None = None, stride: int = 1) -> None:
        self.dynamics, self.robot, self.seed = dynamics, robot, seed
        named = chosen(search, cost)
        self.search, self.cost = named.search, named.cost
        self.warm_start, self.proposals, self.stride = warm_start, proposals, stride
        if stride < 1 or (stride > 1 and robot.change is not None):
            raise InputError(f"a planner's stride is 1 or more, and 1 for a robot whose change of action is limited; found {stride}.")
        self.searched = robot.over(stride)
        self._previous: Tensor | None = None
        self._pace, self._may_prepare = Pace(), Prepared.NOTHING
        if dynamics.device.type == "cpu":
            keep_freed_memory()

    @classmethod
    def load(cls, checkpoint: str | Path, robot: str | Path, search: Search | Preset | str = "guided", seed: int = 0,
             warm_start: bool = False, proposals: Proposals | None = None, cost: GoalCost | None = None, stride: int | None = None,
             device: str = "cpu", camera: str | None = None, precision: Precision = "fp32", compile: bool = False) -> Planner:
        """A planner from a checkpoint folder and a robot's folder, which holds `robot.toml` and a controller fitted to it.

        It looks through `camera`, by default the first that robot.toml names.

        `proposals` say where the search begins instead of at the prior in `robot.toml` ("none"): with "latent" at the motion that the
        inverse dynamics model sees between observation and goal, with "regression" at what the goal regression says, each with the spread
        that it showed when it was fitted. A search by name brings its own, and its own stride, unless others are given.

        With a `stride` one imagined step stands for so many of the robot's, which makes a plan so many times cheaper and longer: the
        search looks for the motion of `stride` steps, and the plan divides it among them. The model must have been trained for it
        (`max_stride` in its config.json).

        A `precision` of bf16 imagines in bf16, which pays on a GPU and on a CPU that multiplies in it (AVX-512 BF16, AMX). To `compile`
        what many candidates are imagined with takes a while of the first plan (or of `warmup`), and pays on a GPU, and on a CPU in bf16.
        """
        lam = LatentActionModel.load(checkpoint)
        spec = RobotSpec.load(robot, camera)
        named = chosen(search, cost)
        proposals = proposals or named.proposals
        if stride is None:
            # One action for several steps could not keep to a limit from step to step.
            stride = lam.config.max_stride if named.strides and spec.change is None else 1
        check_stride(lam, stride)
        controller = load_controller(robot, checkpoint, lam, spec).to(device)
        regression = load_regression(robot, checkpoint, lam, spec).to(device) if proposals == "regression" else None
        dynamics = LatentDynamics(lam.to(device), controller, precision, regression, compile)
        return cls(dynamics, spec, named, seed, warm_start, proposals != "none", stride=stride)

    def reset(self) -> None:
        """Forgets the previous plan, from which a warm start would begin."""
        self._previous = None

    def warmup(self, deadline_s: float | None = None, image: Any = None, plans: int = 3) -> None:
        """Plans a few times towards the picture it sees, so that the first real plans are as fast as the others, and a deadline is kept.

        Each time it has seen one frame more, as in a closed loop: what is compiled is so for every length of history up to `plans`. With a
        deadline it is done again with two candidates at once, for what is compiled for a second number of them is so for any; and once
        more, for what waits for a compiler tells nothing of how fast it is. `image` ([B,] H, W, 3) is any picture as the camera takes it,
        or one for each of the episodes that are planned together; a single black one by default.
        """
        image = np.zeros((256, 256, 3), np.uint8) if image is None else images_of(image, "image").cpu().numpy()
        held, warm = self._previous, self.warm_start

        def see(may_prepare: Prepared, pace: Callable[[], Pace]) -> None:
            self._may_prepare = may_prepare
            for seen in range(1, plans + 1):
                self._pace = pace()
                self.plan([image] * seen, image, deadline_s=deadline_s)

        self.warm_start = False
        try:
            see(Prepared.EVERYTHING, Pace)
            if deadline_s is not None:
                see(Prepared.CODE, lambda: Pace.of_two(deadline_s))  # graphs of two would never be replayed
                timed = Pace()
                see(Prepared.EVERYTHING, lambda: timed)
        finally:
            self._previous, self.warm_start, self._may_prepare = held, warm, Prepared.NOTHING

    @torch.no_grad()  # not inference mode: a search may follow the gradient of the cost
    def plan(self, obs: Any, goal: Any, seed: int | None = None, constraint: Constraint | None = None,
             feature_cost: FeatureCost | None = None, deadline_s: float | None = None, previous: Any = None,
             running: Any = None) -> Plan:
        """Plans from what the robot sees now towards a goal image.

        obs: a uint8 image (H, W, 3), a batch (B, H, W, 3), a list of such images or batches, oldest first (a short history),
        or a dict that has one of these under the robot's camera name; with the robot's state under `proprio` (([B,] S), as in
        `RobotSpec`), the hand also stays in the robot's workspace. goal: an image, a batch, or encoded features ([B,] P, D); a list
        of these is a sequence of sub-goals, `AnyOf` a choice. `constraint` and `feature_cost` add to the cost of candidates.
        `previous` ([B,] A) is the action before, for robots that limit its change (at rest otherwise). `running` ([B,] A) is an action
        that is just being executed: what will be seen at its end is imagined, the search begins there, and the plan has it as one
        action more, its first; `actions[1]` is the one to go on with.

        The same seed gives the same plan, unless there is a deadline: with `deadline_s` the search ends in time for the plan to be there so
        many seconds after the call, after one portion of candidates at least; `warmup` makes that exact, and compiles and captures what the
        plan uses, for it waits for neither. With `warm_start` the search begins at the previous plan, moved on by one step. Raises
        InputError, naming what was wrong, rather than return an action that is not finite.
        """
        begun = time.perf_counter()
        self._refuse(constraint)
        images, single = self._images(obs)
        frames = self.dynamics.encode(images)
        shifted = self.proposals and not any(is_encoded(one) for one in several(goal))
        every_goal = self._goals(goal, len(frames), shifted)
        goals = every_goal.episodes(slice(len(frames)))
        past = now = self.dynamics.start(frames)
        ahead = None if running is None else self._vector(running, self.robot.action_dim, "running", frames)
        if ahead is not None:
            past = self._after(now, ahead)
        seen = Views(self._presents(past, images[:, -1], ahead) if shifted else past.present, every_goal, len(frames))
        encoded = time.perf_counter()
        deadline = Deadline(begun, deadline_s, self._pace, partial(wait_for, frames.device))
        in_flight = self._pace.in_flight(most_in_flight(self.dynamics, self.search.horizon), deadline_s)

        def judge(imagined: Tensor, pick: slice) -> Tensor:
            distance = self.cost(imagined, goals.episodes(pick))
            return distance if feature_cost is None else distance + feature_cost(imagined)

        def cost(actions: Tensor) -> Tensor:
            begun = time.perf_counter()
            found = costs_of(self.dynamics, past, actions, judge, in_flight, lambda: deadline.time_for(in_flight))
            if deadline_s is not None and actions.shape[1] > 1:
                deadline.wait()
                self._pace.saw_candidates(max(1, int(torch.isfinite(found).sum())), time.perf_counter() - begun)
            return found if constraint is None else found + constraint(actions)

        generator = torch.Generator(frames.device).manual_seed(self.seed if seed is None else seed)
        limits = self._limits(obs, previous, ahead, frames)
        space = self._space(past, seen, limits)
        if self.proposals and constraint is not None:
            space = detour(constraint, space, generator)
        with only_preparing(self._may_prepare) if deadline_s is not None else nullcontext():
            found = self.search.minimise(split_over_ranks(cost), space, generator, deadline.iteration_over)
            searched = time.perf_counter()
            if not (torch.isfinite(found.actions).all() and torch.isfinite(found.cost).all()):
                raise InputError("the search found no finite plan: a constraint or the model's features returned a NaN or an infinity.")
            portions = [slice(b, b + in_flight) for b in range(0, len(frames), in_flight)]
            predicted = torch.cat([self.dynamics.rollout(past.episodes(part), found.actions[part, None])[:, 0] for part in portions])
            executed = self._executed(found, past, seen, predicted, limits)
        self._previous = found.actions
        if ahead is not None:
            executed, predicted = torch.cat([ahead[:, None], executed], 1), torch.cat([past.present[:, None], predicted], 1)
        # Single precision may round a limit up: clip once more in the robot's own numbers.
        actions = self.robot.clip(executed.cpu().double().numpy())
        near = NEAR_LIMIT * (self.robot.high - self.robot.low)
        at_limit = ((actions < self.robot.low + near) | (actions > self.robot.high - near)).any((1, 2))
        pick: Any = 0 if single else slice(None)
        plan = Plan(
            actions=actions[pick], cost=found.cost.cpu().numpy()[pick], start_cost=self.cost.now(now.present, goals).cpu().numpy()[pick],
            cost_curve=found.curve[:, pick].cpu().numpy(), predicted=predicted.cpu().numpy()[pick], limit_active=at_limit[pick],
            timings={"encode_s": encoded - begun, "search_s": searched - encoded, "finish_s": time.perf_counter() - searched},
            names=self.robot.names)
        deadline.plan_over()
        return plan

    def _refuse(self, constraint: Constraint | None) -> None:
        """Raises InputError for what this kind of planner cannot do."""

    def _after(self, past: Past, running: Tensor) -> Past:
        return self.dynamics.after(past, running)

    def _executed(self, found: Found, past: Past, seen: Views, predicted: Tensor, limits: Limits) -> Tensor:
        """The real actions (B, H, A) of what the search found."""
        return found.actions if self.stride == 1 else self._divided(found.actions)

    def _divided(self, motions: Tensor) -> Tensor:
        """Motions (B, H, A) of `stride` steps each as actions (B, H * stride, A)."""
        return self.robot.split(motions.double(), self.stride).float().repeat_interleave(self.stride, dim=1)

    def _limits(self, obs: Any, previous: Any, running: Tensor | None, frames: Tensor) -> Limits:
        """The limits from where the robot is, or from where it will be after the running action."""
        state = obs.get("proprio") if isinstance(obs, Mapping) else None
        position = None if state is None else self._vector(state, self.robot.state_dim, "proprio", frames)[:, :3]
        if running is not None:
            return Limits(self.searched, position if position is None else position + running[:, :3], running, frames.device)
        before = None if previous is None else self._vector(previous, self.robot.action_dim, "previous", frames)
        return Limits(self.searched, position, before, frames.device)

    def _vector(self, value: Any, width: int, name: str, frames: Tensor) -> Tensor:
        """What a user passed for each episode (B, width) or for the only one (width)."""
        vector = torch.as_tensor(np.asarray(value, dtype=np.float32), device=frames.device)
        vector = vector[None] if vector.ndim == 1 else vector
        if vector.shape != (len(frames), width) or not torch.isfinite(vector).all():
            raise InputError(f"{name} of {self.robot.name} holds {width} finite numbers for each of {len(frames)} observations, "
                             f"found shape {tuple(np.shape(value))}.")
        return vector

    def _space(self, past: Past, seen: Views, limits: Limits) -> SearchSpace:
        device, steps = past.present.device, self.search.horizon
        mean, std = (torch.as_tensor(v, dtype=torch.float32, device=device) for v in (self.searched.prior_mean, self.searched.prior_std))
        begin = mean.expand(len(past), steps, -1)
        if self.proposals:
            begin, std = (seen.mean(x) for x in self._proposed(seen, steps))
        if self.warm_start and self._previous is not None and self._previous.shape == begin.shape:
            begin = torch.cat([self._previous[:, 1:], begin[:, -1:]], dim=1)
        return SearchSpace(limits, begin, std)

    def _proposed(self, seen: Views, steps: int) -> tuple[Tensor, Tensor]:
        """Where a search of `steps` steps begins (V * B, steps, A), and its spread, seen from each view: straight to the goal, or from
        sub-goal to sub-goal."""
        targets = list(seen.goals.features.unbind(1)) if seen.goals.sequence else [seen.target]
        plan, spreads, now = [], [], Past(seen.present, None)
        for k, target in enumerate(targets):
            proposal = self.dynamics.propose(now, target)
            if proposal is None:
                raise InputError(f"{type(self.dynamics).__name__} cannot propose where to begin a search: plan with proposals=False.")
            count = (k + 1) * steps // len(targets) - k * steps // len(targets)
            action = self.searched.split(proposal.displacement.double(), max(1, count)).float()
            plan.append(action[:, None].expand(-1, count, -1))
            # Errors of independent steps add up to the spread of the whole motion.
            spreads.append((proposal.spread / max(1, count) ** 0.5).expand(len(target), count, -1))
            now = Past(target, None)
        return torch.cat(plan, dim=1), torch.cat(spreads, dim=1)

    def _images(self, obs: Any) -> tuple[Tensor, bool]:
        """Images (B, T, H, W, 3) of the history, and whether there was no batch dimension."""
        if isinstance(obs, Mapping):
            if self.robot.camera not in obs:
                raise InputError(f"the observation has no '{self.robot.camera}', the camera of {self.robot.name}; it has {sorted(obs)}.")
            obs = obs[self.robot.camera]
        history = [images_of(image, "obs") for image in (obs if isinstance(obs, Sequence) else [obs])]
        if not history or len({image.shape for image in history}) != 1:
            raise InputError(f"a history is a list of images of one shape, found {[tuple(image.shape) for image in history]}.")
        single = history[0].ndim == 3
        batch = torch.stack([image[None] if single else image for image in history], dim=1)
        return batch.to(self.dynamics.device), single

    def _presents(self, past: Past, images: Tensor, running: Tensor | None) -> Tensor:
        """The present frame (V * B, P, D) in every view of the images (B, H, W, 3)."""
        shifted = views(images, self.robot.kind)[1:]
        if not len(shifted):
            return past.present
        others = self.dynamics.start(self.dynamics.encode(shifted.flatten(0, 1))[:, None])
        if running is not None:
            others = self._after(others, running.repeat(len(shifted), 1))
        return torch.cat([past.present, others.present])

    def _goals(self, goal: Any, episodes: int, shifted: bool = False) -> Goals:
        """The goals of each episode, or (V * B) of each in every view."""
        given = several(goal)
        if not given:
            raise InputError("the list of goals is empty.")
        if not isinstance(goal, AnyOf) and len(given) > self.search.horizon:
            raise InputError(f"{len(given)} goals in a row for a plan of {self.search.horizon} steps: give the next "
                             f"{self.search.horizon} of them, or plan further.")
        return Goals(torch.stack([self._goal(one, episodes, shifted) for one in given], dim=1), sequence=not isinstance(goal, AnyOf))

    def _goal(self, goal: Any, episodes: int, shifted: bool) -> Tensor:
        if is_encoded(goal):
            features = torch.as_tensor(np.ascontiguousarray(goal) if isinstance(goal, np.ndarray) else goal).float()
            features = (features[None] if features.ndim == 2 else features).to(self.dynamics.device)
            if features.ndim != 3 or not torch.isfinite(features).all():
                raise InputError(f"an encoded goal holds finite features ([B,] P, D), found shape {tuple(features.shape)}; "
                                 "an image must be uint8.")
        else:
            image = images_of(goal, "goal")
            image = (image[None] if image.ndim == 3 else image).to(self.dynamics.device)
            features = self.dynamics.encode(views(image, self.robot.kind) if shifted else image)
        if features.shape[-3] not in (1, episodes):
            raise InputError(f"{features.shape[-3]} goals for {episodes} observations: give one goal, or one for each.")
        return features.expand(*features.shape[:-3], episodes, -1, -1).reshape(-1, *features.shape[-2:])


def check_stride(lam: LatentActionModel, stride: int) -> None:
    """Raises InputError where a model has not learned steps as long as a planner's."""
    if stride > lam.config.max_stride:
        raise InputError(f"this model was trained on steps of up to {lam.config.max_stride} frames (max_stride); a stride of {stride} "
                         "is beyond what it knows.")


def several(goal: Any) -> list[Any]:
    """The goals that a user gave, one or more."""
    return goal.goals if isinstance(goal, AnyOf) else list(goal) if isinstance(goal, list | tuple) else [goal]


def is_encoded(goal: Any) -> bool:
    """Whether a goal is features instead of a picture."""
    return (isinstance(goal, np.ndarray) and goal.dtype.kind == "f") or (isinstance(goal, Tensor) and goal.is_floating_point())


def images_of(value: Any, name: str) -> Tensor:
    """A uint8 tensor (H, W, 3) or (B, H, W, 3) of what a user passed as an image, or a sentence that says what is wrong."""
    try:
        # A copy: torch may not write to the user's.
        image = torch.as_tensor(np.array(value, order="C") if not isinstance(value, Tensor) else value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a uint8 image (H, W, 3) or a batch (B, H, W, 3), found {type(value).__name__}.") from None
    if image.dtype != torch.uint8:
        raise InputError(f"{name} must be uint8 (0 to 255), found {image.dtype}; multiply an image in 0..1 by 255 and convert it.")
    if image.ndim not in (3, 4) or image.shape[-1] != 3 or min(image.shape) == 0:
        raise InputError(f"{name} must have shape (H, W, 3) or (B, H, W, 3), found {tuple(image.shape)}.")
    return image
