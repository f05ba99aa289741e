"""What a fitted controller is worth, on episodes that it never saw: Δxyz against doing nothing, and a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lamplan.lam import LatentActionModel
from lamplan.models.controller import Controller
from lamplan.models.goal_regression import GoalRegression
from lamplan.report.bootstrap import bootstrap_mean
from lamplan.report.results import Row
from lamplan.report.table import cell
from lamplan.robot import RobotSpec
from lamplan.train.goal_regression import errors_of
from lamplan.train.labelled import InferredPairs

MOST = 2048  # pairs that are measured on, of either kind
USABLE = 0.75
"""A motion read back from two pictures that errs by more than this share of the way is no good start for a plan."""
FEW_EPISODES = 5
"""Of fewer held-out episodes every pair counts as a sample of its own, and the interval is too narrow."""
RULE = (f"usable: the motion read back from two held-out pictures errs by at most {USABLE:.0%} of the way, and the frame imagined from the "
        "true action is nearer to the next one than the present frame is, both with 95 % confidence better than what needs no model (doing "
        "nothing, or always the log's mean motion, whichever errs less; the present frame); barely better than doing nothing: one of the "
        "two is; not usable: neither is.")


@dataclass(frozen=True)
class Errors:
    """Errors by pair, and whose episode it was: over whole plans (N) in metres, over single steps (M) in L1 of the next frame and in metres
    of the motion read back from a latent (`back`); and those of the motion read back from latents between pairs of any distance
    (K, A), and of the goal regression over whole plans (N, A)."""

    plan_episode: np.ndarray
    plan: dict[str, np.ndarray]
    proposal: np.ndarray
    regression: np.ndarray
    step_episode: np.ndarray
    step: dict[str, np.ndarray]
    back: dict[str, np.ndarray]

    @classmethod
    def joined(cls, parts: list[Errors]) -> Errors:
        def each(name: str) -> dict[str, np.ndarray]:
            return {key: np.concatenate([getattr(part, name)[key] for part in parts]) for key in getattr(parts[0], name)}

        plan_episode, proposal, regression, step_episode = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("plan_episode", "proposal", "regression", "step_episode"))
        return cls(plan_episode, each("plan"), proposal, regression, step_episode, each("step"), each("back"))


def whole_plans(pairs: InferredPairs) -> InferredPairs:
    """The pairs that errors over whole plans are measured on: chosen first, as of few pairs the longest need not be long."""
    return pairs.where(pairs.longest()).at_most(MOST)


@torch.inference_mode()
def held_out_errors(lam: LatentActionModel, controller: Controller, regression: GoalRegression, pairs: InferredPairs, spec: RobotSpec,
                    usual: Tensor) -> Errors:
    """Of the motion proposed from the latent between two frames a plan apart, of the goal regression's, of standing still, and of the
    mean motion of the episodes learned from (`usual`, by the number of steps (G + 1, A)); of the world model's next frame with
    the latent of the true action, the inferred one, none, and of the present frame; and of the motion of a single step, read back from
    the first two of these latents. On at most MOST pairs each."""
    far, steps, axes = whole_plans(pairs), pairs.where(pairs.gap == 1).at_most(MOST), spec.position
    parts: dict[str, list[Tensor]] = {"controller": [], "inferred": [], "zero": [], "copy": []}
    back: dict[str, list[Tensor]] = {"controller": [], "inferred": []}
    for rows in torch.arange(len(steps), device=steps.first.device).split(64):
        s, s_next = steps.frames(rows)
        inferred = steps.latents[rows]
        for name, z in (("controller", controller(s, steps.moved[rows])), ("inferred", inferred), ("zero", torch.zeros_like(inferred))):
            parts[name].append((lam.predict(s[:, None], z[:, None]) - s_next).abs().mean((1, 2)))
            if name in back:
                motion = controller.actions(s, z[:, None])[:, 0] - steps.moved[rows]
                back[name].append(motion[:, axes].norm(dim=1))
        parts["copy"].append((s - s_next).abs().mean((1, 2)))
    known = far.gap.clamp_max(len(usual) - 1)  # beyond the longest motion that was learned from it goes on as before
    regressed = errors_of(regression, far)
    errors = {"proposed": read_back(controller, far), "zero action": far.moved,
              "mean motion": far.moved - usual[known] * (far.gap / known)[:, None], "goal regression": regressed}
    plan = {name: by[:, axes].norm(dim=1).cpu().numpy() for name, by in errors.items()}
    step, read = ({name: torch.cat(values).cpu().numpy() for name, values in by.items()} for by in (parts, back))
    read["zero action"] = steps.moved[:, axes].norm(dim=1).cpu().numpy()
    proposal = read_back(controller, pairs.at_most(MOST))
    return Errors(far.episode.cpu().numpy(), plan, proposal.cpu().numpy(), regressed.cpu().numpy(), steps.episode.cpu().numpy(), step, read)


def read_back(controller: Controller, pairs: InferredPairs) -> Tensor:
    """Errors (N, A) of the motions read back from the latents between the two frames of all pairs."""
    return torch.cat([controller.actions(pairs.features[first].float(), z[:, None])[:, 0] - moved for first, z, moved in
                      zip(pairs.first.split(64), pairs.latents.split(64), pairs.moved.split(64), strict=True)])


@dataclass(frozen=True)
class Measured:
    """Rows with 95 % intervals over `episodes` held-out episodes, and what they come to. Prints itself."""

    rows: list[Row]
    verdict: str
    reason: str
    episodes: int

    def facts(self) -> dict[str, str]:
        """The rows and the verdict by name, for a card."""
        rows = {f"{row.metric} {row.name} ({row.unit})": f"{cell(row)}, n = {row.n}" for row in self.rows}
        return rows | {"verdict": f"{self.verdict}: {self.reason}", "the rule": RULE}

    def __str__(self) -> str:
        lines = [f"  {row.metric:<17} {row.name:<26} {cell(row)} {row.unit}, n = {row.n}" for row in self.rows]
        return "\n".join([*lines, f"  {self.verdict}: {self.reason}"])


def measured(errors: Errors, spec: RobotSpec, seed: int = 0) -> Measured:
    """The errors' means and the verdict. A sample is an episode's mean, or a pair where there are fewer than FEW_EPISODES."""
    rows: list[Row] = []

    def add(metric: str, unit: str, name: str, values: np.ndarray, episode: np.ndarray) -> Row:
        samples = _samples(values, episode)
        rows.append(Row(name, "held-out", metric, unit, *bootstrap_mean(samples, seed), n=len(samples)))
        return rows[-1]

    metric = "delta_xyz" if spec.kind == "arm" else "delta_xy"
    plan = {name: add(metric, "m", name, values, errors.plan_episode) for name, values in errors.plan.items()}
    rival = min(("zero action", "mean motion"), key=lambda name: plan[name].value)
    for name, values in errors.back.items():
        add(f"{metric}, a step", "m", name if name == "zero action" else f"{name} latents", values, errors.step_episode)
    gain = add(metric, "m", f"{rival} - proposed", errors.plan[rival] - errors.plan["proposed"], errors.plan_episode)
    for name, values in errors.step.items():
        add("next frame", "L1", name, values, errors.step_episode)
    seen = add("next frame", "L1", "copy - controller", errors.step["copy"] - errors.step["controller"], errors.step_episode)
    verdict, reason = judge(plan["proposed"], plan["zero action"], gain, seen, rival)
    episodes = len(np.unique(errors.plan_episode))
    if episodes < FEW_EPISODES:
        reason += f" With {episodes} held-out episode{'s' * (episodes > 1)} the intervals are narrower than the truth."
    return Measured(rows, verdict, reason, episodes)


def judge(proposed: Row, still: Row, gain: Row, seen: Row, rival: str = "zero action") -> tuple[str, str]:
    """The verdict by RULE and the numbers that decide it. `gain`, over the rival, and `seen` are paired differences, positive where the
    model is better."""
    share = proposed.value / still.value if still.value > 0 else float("inf")
    forwards, back = seen.ci_low > 0, gain.ci_low > 0
    word = ("usable" if forwards and back and share <= USABLE else
            "barely better than doing nothing" if forwards or back else "not usable")
    says = "better than" if back else "worse than" if gain.ci_high < 0 else "no different from"
    sees = "nearer to" if forwards else "farther from" if seen.ci_high < 0 else "no nearer to"
    return word, (f"the motion read back errs by {share:.0%} of the way, {says} {rival}, and the frame imagined from the true action "
                  f"is {sees} the next one than the present frame.")


def by_episode(values: np.ndarray, episode: np.ndarray) -> np.ndarray:
    """The mean of each episode's values (N,), in the order of the episodes' numbers."""
    return np.array([values[episode == number].mean() for number in np.unique(episode)])


def _samples(values: np.ndarray, episode: np.ndarray) -> np.ndarray:
    return values if len(np.unique(episode)) < FEW_EPISODES else by_episode(values, episode)
