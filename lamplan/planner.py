"""`Planner`: an observation and a goal image in, actions in the robot's own units out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from lamplan.allocator import keep_freed_memory
from lamplan.asked import (
    answered,
    deadline_of,
    device_of,
    images_of,
    is_encoded,
    numbers_of,
    seed_of,
    several,
    state_of,
    stride_of,
)
from lamplan.controllers import load_controller, load_regression
from lamplan.costs import AnyOf, GoalCost, Goals
from lamplan.errors import InputError
from lamplan.judge import Constraint, FeatureCost, Judge
from lamplan.lam import LatentActionModel
from lamplan.limits import Limits
from lamplan.models.prepared import Prepared, only_preparing
from lamplan.pace import Deadline, Pace, most_in_flight, wait_for
from lamplan.precision import Precision
from lamplan.presets import Preset, Proposals, chosen
from lamplan.ranks import least_over_ranks, split_over_ranks
from lamplan.robot import RobotSpec
from lamplan.rollout import Dynamics, LatentDynamics, Past
from lamplan.search import Found, Search, SearchSpace
from lamplan.search.detour import detour
from lamplan.views import Views, views

BEYOND, LATE = 0.001, 0.1
"""A running action may lie this share of its range beyond a limit, and plans while warming up this share of their deadline too late, before
a word is said."""


@dataclass(frozen=True)
class Plan:
    """What a planner found. Without a batch dimension when the observation had none.

    actions ([B,] H, A) in the robot's units; cost ([B]) distance of the imagined outcome from the goal, with a user's own costs, end_cost
    ([B]) without them, start_cost ([B]) the distance before moving; cost_curve (iterations[, B]) the best candidate's, infinite where none
    had a cost; predicted ([B,] H / stride, P, D) features of the imagined frames, before them what will be seen at the end of a running
    action; limit_active ([B]) whether a limit of the robot's holds an action back; timings in seconds. Of a `LatentPlanner`, costs and
    frames are those of the latents that it found. late_s: seconds between the deadline and the plan, 0 where it was kept or there was none.
    """

    actions: np.ndarray
    cost: np.ndarray
    start_cost: np.ndarray
    end_cost: np.ndarray
    cost_curve: np.ndarray
    predicted: np.ndarray
    limit_active: np.ndarray
    timings: dict[str, float]
    names: tuple[str, ...]
    late_s: float = 0.0

    def __str__(self) -> str:
        first = self.actions.reshape(-1, *self.actions.shape[-2:])[0, 0]
        action = ", ".join(f"{name} {value:+.3f}" for name, value in zip(self.names, first, strict=True))
        said = ", at a limit" if np.any(self.limit_active) else ""
        worse, episodes = int(np.sum(self.end_cost >= self.start_cost)), np.size(self.cost)
        said += ", no better than standing still" + (f" in {worse} of {episodes}" if episodes > 1 else "") if worse else ""
        late = f", {self.late_s:.3f} s late" if self.late_s else ""
        return (f"Plan({self.actions.shape[-2]} steps, first: {action}; cost {np.mean(self.start_cost):.4f} -> {np.mean(self.cost):.4f}"
                f"{said}; {sum(self.timings.values()):.2f} s{late})")

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
        self.dynamics, self.robot, self.seed = dynamics, robot, seed_of(seed)
        named = chosen(search, cost)
        self.search, self.cost = named.search, named.cost
        self.warm_start, self.proposals, self.stride = warm_start, proposals, stride_of(stride)
        if stride > 1 and robot.change is not None:
            raise InputError(f"a planner's stride is 1 for a robot whose change of action is limited, found {stride}.")
        if warm_start and (stride > 1 or self.search.horizon < 2):
            raise InputError("a warm start begins at the previous plan without its first step: it needs a stride of 1 and a search over "
                             f"two steps or more, such as 'paper'; found a stride of {stride} and {self.search.horizon}.")
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
        place, named = device_of(device), chosen(search, cost)
        proposals = named.proposals if proposals is None else proposals
        if proposals not in get_args(Proposals):
            raise InputError(f"proposals are one of {', '.join(get_args(Proposals))}, found {proposals!r}.")
        lam = LatentActionModel.load(checkpoint)
        spec = RobotSpec.load(robot, camera)
        if stride is None:
            # One action for several steps could not keep to a limit from step to step.
            stride = lam.config.max_stride if named.strides and spec.change is None else 1
        check_stride(lam, stride)
        controller = load_controller(robot, checkpoint, lam, spec).to(place)
        regression = load_regression(robot, checkpoint, lam, spec).to(place) if proposals == "regression" else None
        dynamics = LatentDynamics(lam.to(place), controller, precision, regression, compile)
        return cls(dynamics, spec, named, seed, warm_start, proposals != "none", stride=stride)

    def reset(self) -> None:
        """Forgets the previous plan, from which a warm start would begin."""
        self._previous = None

    def warmup(self, deadline_s: float | None = None, image: Any = None, plans: int = 3) -> None:
        """Plans a few times towards the picture it sees, so that the first real plans are as fast as the others, and a deadline is kept.

        Each time it has seen one frame more, as in a closed loop, and at last with an action running: what is compiled is so for every
        length of history up to `plans`. With a deadline it is done again with two candidates at once, for what is compiled for a second
        number of them is so for any; and once more, for what waits for a compiler tells nothing of how fast it is. `image`
        ([B,] H, W, 3) is any picture as the camera takes it, or one for each of the episodes that are planned together; a single black one
        by default.
        """
        deadline_s = deadline_of(deadline_s)
        image = np.zeros((256, 256, 3), np.uint8) if image is None else images_of(image, "image", self.robot.camera).cpu().numpy()
        still = np.broadcast_to(self.robot.clip(np.zeros(self.robot.action_dim)), (*image.shape[:-3], self.robot.action_dim))
        held, warm_start = self._previous, self.warm_start

        def see(may_prepare: Prepared, pace: Callable[[], Pace]) -> list[Plan]:
            self._may_prepare, found = may_prepare, []
            for seen in range(1, plans + 1):
                self._pace = pace()
                found.append(self.plan([image] * seen, image, deadline_s=deadline_s))
            self._pace = pace()
            with suppress(InputError):  # of a model that has no position for one frame more, whose plans cannot do this either
                self.plan([image] * plans, image, deadline_s=deadline_s, running=still)
            return found

        self.warm_start = False
        try:
            see(Prepared.EVERYTHING, Pace)
            if deadline_s is not None:
                see(Prepared.CODE, lambda: Pace.of_two(deadline_s))  # graphs of two would never be replayed
                timed = Pace()
                warm = see(Prepared.EVERYTHING, lambda: timed)
                late = min(plan.late_s for plan in warm)
                if late > LATE * deadline_s:
                    warnings.warn(f"no plan was there in {deadline_s:g} s, the first after {deadline_s + late:.2f} s: allow more, or plan "
                                  "with fewer steps, smaller pictures or on a faster machine.", stacklevel=2)
        finally:
            self._previous, self.warm_start, self._may_prepare = held, warm_start, Prepared.NOTHING

    @torch.no_grad()  # not inference mode: a search may follow the gradient of the cost
    def plan(self, obs: Any, goal: Any, seed: int | None = None, constraint: Constraint | None = None,
             feature_cost: FeatureCost | None = None, deadline_s: float | None = None, previous: Any = None,
             running: Any = None) -> Plan:
        """Plans from what the robot sees now towards a goal image.

        obs: a uint8 image (H, W, 3), a batch (B, H, W, 3), a list of such images or batches, oldest first (a short history),
        or a dict that has one of these under the robot's camera name, or a list of such dicts; with the robot's state under `proprio`
        (([B,] S), as in `RobotSpec`; of a list the last counts), the hand also stays in the robot's workspace. goal: an image, a batch, or
        encoded features ([B,] P, D); a list of these is a sequence of sub-goals, `AnyOf` a choice. `constraint` and `feature_cost` add to
        the cost of candidates.
        `previous` ([B,] A) is the action before, for robots that limit its change (at rest otherwise). `running` ([B,] A) is an action
        that is just being executed: what will be seen at its end is imagined, the search begins there, and the plan has it as one
        action more, its first; `actions[1]` is the one to go on with.

        The same seed gives the same plan, unless there is a deadline: with `deadline_s` the search ends in time for the plan to be there so
        many seconds after the call, after one portion of candidates at least; `warmup` makes that exact, and compiles and captures what the
        plan uses, for it waits for neither. With `warm_start` the search begins at the previous plan, moved on by one step. Raises
        InputError, naming what was wrong, rather than return an action that is not finite.
        """
        begun, deadline_s = time.perf_counter(), deadline_of(deadline_s)
        seed, wish = self.seed if seed is None else seed_of(seed), self._wish(constraint)
        images, single = self._images(obs)
        frames = self.dynamics.encode(images)
        shifted = self.proposals and not any(is_encoded(one) for one in several(goal))
        every_goal = self._goals(goal, frames, shifted)
        goals = every_goal.episodes(slice(len(frames)))
        past = now = self.dynamics.start(frames)
        ahead = None if running is None else self._running(running, frames)
        if ahead is not None:
            past = self._after(now, ahead)
        seen = Views(self._presents(past, images[:, -1], ahead) if shifted else past.present, every_goal, len(frames))
        encoded = time.perf_counter()
        deadline = Deadline(begun, deadline_s, self._pace, partial(wait_for, frames.device))
        # Ranks share their work, and must agree on when it ends.
        agreed = partial(least_over_ranks, device=frames.device) if deadline_s is not None else int
        in_flight = {slope: agreed(self._pace.in_flight(most_in_flight(self.dynamics, self.search.horizon, slope), deadline_s))
                     for slope in (False, True)}
        judge = Judge(self.dynamics, past, goals, self.cost, feature_cost, wish, deadline, in_flight, agreed)
        generator = torch.Generator(frames.device).manual_seed(seed)
        limits = self._limits(self.searched, obs, previous, ahead, frames)
        space = self._space(past, seen, limits)
        if self.proposals and wish is not None:
            space = detour(wish, space, generator)
        with only_preparing(self._may_prepare) if deadline_s is not None else nullcontext():
            found = self.search.minimise(split_over_ranks(judge), space, generator, judge.enough)
            searched = time.perf_counter()
            predicted = torch.cat([self.dynamics.rollout(past.episodes(part), found.actions[part, None])[:, 0]
                                   for part in judge.portions(len(frames))])
            executed = self._executed(found, past, seen, predicted, limits)
        held_back = self._limits(self.robot, obs, previous, ahead, frames).active(executed)
        if ahead is not None:
            executed, predicted = torch.cat([ahead[:, None], executed], 1), torch.cat([past.present[:, None], predicted], 1)
        # Single precision may round a limit up: clip once more in the robot's own numbers.
        actions = self.robot.clip(executed.cpu().double().numpy())
        if not np.isfinite(actions).all():
            raise InputError("the plan found is not finite: the controller, or the model's features, returned a NaN or an infinity.")
        self._previous = found.actions
        pick: Any = 0 if single else slice(None)
        start_cost = self.cost.now(now.present, goals, self.search.horizon)
        end_cost = self.cost(predicted[:, None, -self.search.horizon :], goals)[:, 0]
        plan = Plan(
            actions=actions[pick], cost=found.cost.cpu().numpy()[pick], start_cost=start_cost.cpu().numpy()[pick],
            end_cost=end_cost.cpu().numpy()[pick], cost_curve=found.curve[:, pick].cpu().numpy(), predicted=predicted.cpu().numpy()[pick],
            limit_active=held_back.cpu().numpy()[pick],
            timings={"encode_s": encoded - begun, "search_s": searched - encoded, "finish_s": time.perf_counter() - searched},
            names=self.robot.names, late_s=deadline.late_s)
        deadline.plan_over()
        return plan

    def _wish(self, constraint: Constraint | None) -> Constraint | None:
        """A user's constraint as a cost of what is searched."""
        return constraint and (lambda candidates: answered("constraint", constraint(self._divided(candidates)), candidates[..., 0, 0]))

    def _after(self, past: Past, running: Tensor) -> Past:
        return self.dynamics.after(past, running)

    def _executed(self, found: Found, past: Past, seen: Views, predicted: Tensor, limits: Limits) -> Tensor:
        """The real actions (B, H, A) of what the search found."""
        return self._divided(found.actions)

    def _divided(self, motions: Tensor) -> Tensor:
        """Motions (..., H, A) of `stride` steps each as actions (..., H * stride, A)."""
        if self.stride == 1:
            return motions
        held = motions.detach()
        # Their slope as if an angle were divided as the other numbers are, which it nearly is: its own is none where nothing turns.
        steps = self.robot.split(held.double(), self.stride).float() + (motions - held) / self.stride
        return steps.repeat_interleave(self.stride, dim=-2)

    def _limits(self, robot: RobotSpec, obs: Any, previous: Any, running: Tensor | None, frames: Tensor) -> Limits:
        """A robot's limits from where it is, or from where it will be after the running action."""
        state = state_of(obs)
        position = None if state is None else self._vector(state, self.robot.state_dim, "proprio", frames)[:, :3]
        if running is not None:
            return Limits(robot, position if position is None else position + running[:, :3], running, frames.device)
        before = None if previous is None else self._vector(previous, self.robot.action_dim, "previous", frames)
        return Limits(robot, position, before, frames.device)

    def _vector(self, value: Any, width: int, name: str, frames: Tensor) -> Tensor:
        return numbers_of(value, name, (len(frames), width), self.robot.name).to(frames.device)

    def _running(self, value: Any, frames: Tensor) -> Tensor:
        """The action (B, A) that is just being executed: none that the robot could not."""
        action = self._vector(value, self.robot.action_dim, "running", frames)
        told = action.cpu().double().numpy()
        beyond = np.abs(told - self.robot.clip(told)) > BEYOND * (self.robot.high - self.robot.low)
        if beyond.any():
            episode, axis = np.argwhere(beyond)[0]
            raise InputError(f"the running action of {self.robot.name} has {self.robot.names[axis]} = {told[episode, axis]:g} "
                             f"{self.robot.units[axis]}, its limits are {self.robot.low[axis]:g} and {self.robot.high[axis]:g}: give what "
                             "the robot executes.")
        return action

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
        if isinstance(obs, Mapping) and isinstance(obs.get(self.robot.camera), Sequence):
            obs = obs[self.robot.camera]
        history = [images_of(image, "obs", self.robot.camera) for image in (obs if isinstance(obs, Sequence) else [obs])]
        if not history or len({image.shape for image in history}) != 1:
            raise InputError(f"a history is a list of images of one shape, found {[tuple(image.shape) for image in history]}.")
        single = history[0].ndim == 3
        batch = torch.stack([image[None] if single else image for image in history], dim=1)
        return self.dynamics.trimmed(batch.to(self.dynamics.device)), single

    def _presents(self, past: Past, images: Tensor, running: Tensor | None) -> Tensor:
        """The present frame (V * B, P, D) in every view of the images (B, H, W, 3)."""
        shifted = views(images, self.robot.kind)[1:]
        if not len(shifted):
            return past.present
        others = self.dynamics.start(self.dynamics.encode(shifted.flatten(0, 1))[:, None])
        if running is not None:
            others = self._after(others, running.repeat(len(shifted), 1))
        return torch.cat([past.present, others.present])

    def _goals(self, goal: Any, frames: Tensor, shifted: bool = False) -> Goals:
        """The goals of each episode whose frames (B, T, P, D) are seen, or (V * B) of each in every view."""
        given = several(goal)
        if not given:
            raise InputError("the list of goals is empty.")
        if not isinstance(goal, AnyOf) and len(given) > self.search.horizon:
            raise InputError(f"{len(given)} goals in a row for a search over {self.search.horizon} motions, each for one: give "
                             f"the next {self.search.horizon}, or search over more (`--horizon`, or `resized` of lamplan.presets).")
        return Goals(torch.stack([self._goal(one, frames, shifted) for one in given], dim=1), sequence=not isinstance(goal, AnyOf))

    def _goal(self, goal: Any, frames: Tensor, shifted: bool) -> Tensor:
        episodes, *one_frame = len(frames), *frames.shape[2:]
        if is_encoded(goal):
            features = torch.as_tensor(np.ascontiguousarray(goal) if isinstance(goal, np.ndarray) else goal).float()
            features = (features[None] if features.ndim == 2 else features).to(self.dynamics.device)
            if list(features.shape[1:]) != one_frame or not torch.isfinite(features).all():
                raise InputError(f"an encoded goal holds finite features ([B,] {', '.join(map(str, one_frame))}), found shape "
                                 f"{tuple(goal.shape)}; an image must be uint8.")
        else:
            image = images_of(goal, "goal", self.robot.camera).to(self.dynamics.device)
            image = self.dynamics.trimmed(image[None, None] if image.ndim == 3 else image[:, None])[:, 0]
            features = self.dynamics.encode(views(image, self.robot.kind) if shifted else image)
        if features.shape[-3] not in (1, episodes):
            raise InputError(f"{features.shape[-3]} goals for {episodes} observations: give one goal, or one for each.")
        return features.expand(*features.shape[:-3], episodes, -1, -1).reshape(-1, *features.shape[-2:])


def check_stride(lam: LatentActionModel, stride: int) -> None:
    """Raises InputError where a model has not learned steps as long as a planner's."""
    if stride > lam.config.max_stride:
        raise InputError(f"this model was trained on steps of up to {lam.config.max_stride} frames (max_stride); a stride of {stride} "
                         "is beyond what it knows.")
