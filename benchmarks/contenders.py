"""The rows of both benchmarks, built from checkpoints and trained baselines as far as these exist."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from benchmarks.action_labelled import ActionLabelledWorldModel
from benchmarks.baselines import ACTION_LABELLED, BEHAVIOUR
from benchmarks.dynamics import ActionLabelledDynamics, Shaped
from benchmarks.filming import Decode
from benchmarks.oracle import Oracle
from benchmarks.planned import Begun, Planned, Proposed
from benchmarks.policies import Constant, Policy, Random
from benchmarks.regression import RegressionPolicy
from benchmarks.shapes import Shape
from lamplan.controllers import has_regression, load_controller, load_regression
from lamplan.costs import GoalCost
from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.latent_planner import LatentPlanner
from lamplan.models.decoder import Decoder, has_decoder
from lamplan.models.goal_regression import GoalRegression
from lamplan.planner import Planner
from lamplan.precision import Precision
from lamplan.robot import RobotSpec
from lamplan.rollout import Dynamics, LatentDynamics, WorldModelDynamics
from lamplan.search import CEM
from lamplan.weights import module_fingerprint

OVER_LATENTS = ("lam_in_domain_latents", "lam_in_domain_realtime")  # the second with the search of the real-time mode, whatever the budget
STRIDING = ("lam_in_domain_stride", *OVER_LATENTS)  # begin at proposals and imagine the whole horizon in one step
# From the goal regression's motion: by the search `guided`, whatever the budget, where the horizon is one step of the model; else by
# the protocol's search.
GUIDED = "lam_in_domain_guided"
DEFAULT = "lam_in_domain_default"  # as `Planner.load` plans for a robot whose protocols have plans of their own shape
JOINED = "regression_prior"  # where the shaped search of GUIDED begins, without the search
REGRESSING = ("regression", JOINED, GUIDED, DEFAULT)
PLANNERS = ("lam_in_domain", "lam_in_domain_proposals", GUIDED, DEFAULT, *STRIDING, "lam_wild", "action_labelled", "oracle")
ROWS = ("zero", "random", "prior", "behaviour_mean", "regression", JOINED, "proposal", *PLANNERS)
ENCODE_CHUNK = 64


@dataclass(frozen=True)
class SearchBudget:
    """Candidates per iteration, iterations, and how many of the best are kept."""

    samples: int
    iterations: int
    elites: int

    def __str__(self) -> str:
        return f"{self.samples} samples x {self.iterations} iterations, {self.elites} elites"

    def cem(self, horizon: int) -> CEM:
        return CEM(self.samples, self.iterations, min(self.elites, self.samples), horizon)


@dataclass(frozen=True)
class Sources:
    """Where the rows come from."""

    robot_folder: Path
    checkpoint: Path
    checkpoint_wild: Path | None
    baselines: Path | None
    device: str
    precision: Precision = "fp32"  # of imagined frames
    named: bool = False  # the rows were asked for by name, so that one without its weights is a mistake

    @classmethod
    def from_arguments(cls, args: argparse.Namespace) -> Sources:
        return cls(args.robot, args.checkpoint, args.checkpoint_wild, args.baselines, args.device, args.precision, args.named)

    @cached_property
    def robot(self) -> RobotSpec:
        return RobotSpec.load(self.robot_folder)

    @cached_property
    def lam(self) -> LatentActionModel:
        return LatentActionModel.load(self.checkpoint).to(self.device)

    @property
    def image_size(self) -> int:
        return self.lam.config.encoder.image_size

    @torch.inference_mode()
    def encode(self, images: np.ndarray) -> np.ndarray:
        """Features (M, P, D) of images (M, H, W, 3) by the checkpoint's encoder."""
        parts = torch.from_numpy(np.ascontiguousarray(images)).split(ENCODE_CHUNK)
        return torch.cat([self.lam.encode(part.to(self.device)).cpu() for part in parts]).numpy()

    @cached_property
    def decode(self) -> Decode | None:
        """Images (M, H, W, 3) of features (M, P, D), where the checkpoint has a decoder."""
        if not has_decoder(self.checkpoint):
            return None
        decoder = Decoder.load(self.checkpoint).to(self.device)
        return lambda features: decoder.decode(torch.from_numpy(features)).cpu().numpy()


class Contenders:
    """Builds policies for plans of `horizon` steps. A shape makes the planners search a single action spread over them; `searched`
    is the robot as their search sees it, with limits and prior of a protocol (by default the robot's own); `cost` is what a search
    minimises that brings no cost of its own (by default the planner's). Where a protocol's goals all lie a `whole_plan` away, a shaped
    search that begins at a proposal joins that with the prior."""

    def __init__(self, sources: Sources, horizon: int, search: SearchBudget, oracle: SearchBudget, shape: Shape | None = None,
                 searched: RobotSpec | None = None, cost: GoalCost | None = None, whole_plan: bool = False) -> None:
        self.sources, self.horizon, self.search, self.oracle, self.shape = sources, horizon, search, oracle, shape
        self.robot, self.encode, self.decode = sources.robot, sources.encode, sources.decode
        self.searched, self.cost, self.whole_plan = searched or sources.robot, cost, whole_plan

    def build(self, names: list[str]) -> list[Policy]:
        """The named rows. One that cannot be made is left out, and said to be; InputError where the user asked for it by name and its
        weights are missing."""
        for name in names if self.sources.named else ():
            if lacking := self._lacking(name):
                raise InputError(f"row {name} was asked for by name and cannot be made: {lacking}.")
        policies = []
        for name in names:
            reason = self._lacking(name) or self._out_of_place(name)
            if reason:
                print(f"row {name} left out: {reason}")
            else:
                policies.append(self._build(name))
        return policies

    def _lacking(self, name: str) -> str:
        """Which weights a row lacks, whatever is measured."""
        needs_baselines = name in ("behaviour_mean", "action_labelled")
        if needs_baselines and self.sources.baselines is None:
            return "no --baselines given"
        if name == "lam_wild" and self.sources.checkpoint_wild is None:
            return "no --checkpoint-wild given"
        if name in REGRESSING and not has_regression(self.sources.robot_folder, self.sources.checkpoint, self.robot):
            return "the controller has no goal regression; fit it again"
        return ""

    def _out_of_place(self, name: str) -> str:
        """Why a row is not one of this protocol's."""
        if name == JOINED and not (self.shape and self.whole_plan):
            return "the regression is joined with the prior in open-loop protocols of a mobile robot alone"
        if name == DEFAULT and (self.shape is None or self.whole_plan):
            return f"where a plan is as long as the model's longest step it is {GUIDED}, and for an open-loop protocol it is too short"
        if name in STRIDING and not self._strides:
            return f"the model has not learned to imagine {self.horizon} steps in one"
        return ""

    def _build(self, name: str) -> Policy:
        robot, horizon = self.robot, self.horizon
        if name == "zero":
            return Constant(name, np.zeros(robot.action_dim), horizon)
        if name == "random":
            return Random(robot, horizon)
        if name == "prior":
            return Constant(name, self.searched.prior_mean, horizon)
        if name == "behaviour_mean":
            return Constant(name, np.array(self._behaviour()["mean_action"]), horizon)
        if name == "regression":
            return RegressionPolicy(self._regression(), self.sources.lam, robot, self._straight_steps, self.sources.device)
        if name == JOINED:
            assert self.shape is not None  # `_out_of_place` has seen to it
            return Begun(name, self._shaped(self._dynamics(name), 1), self.searched, self.shape, horizon)
        if name == "oracle":
            return Oracle(self.encode, self.searched, self.oracle.cem(self._search_steps), self.shape, horizon, self.cost)
        if name == "proposal":
            return Proposed(self._dynamics(name), robot, self._straight_steps)
        if name in STRIDING:
            return Planned(name, self._striding(name), None, horizon)
        if name == DEFAULT:
            return Planned(name, self._guided(name, self.sources.lam.config.max_stride), None, horizon)
        return Planned(name, self._planner(name), self.shape, horizon)

    @property
    def _straight_steps(self) -> int:
        """Among how many steps the motion to the goal is divided by what does not search: a whole plan's; where only the first steps of a
        shaped one are executed, as many as the default planner's, or each look would leave most of the way to the next."""
        return self.sources.lam.config.max_stride if self.shape is not None and not self.whole_plan else self.horizon

    def _dynamics(self, name: str) -> WorldModelDynamics:
        device, lam, precision = self.sources.device, self.sources.lam, self.sources.precision
        if name == "action_labelled":
            self._behaviour()
            return ActionLabelledDynamics(lam, ActionLabelledWorldModel.load(self._baseline(ACTION_LABELLED)).to(device), precision)
        checkpoint = self.sources.checkpoint
        if name == "lam_wild" and self.sources.checkpoint_wild is not None:
            checkpoint = self.sources.checkpoint_wild
            lam = LatentActionModel.load(checkpoint).to(device)
        controller = load_controller(self.sources.robot_folder, checkpoint, lam, self.robot).to(device)
        return LatentDynamics(lam, controller, precision, self._regression() if name in REGRESSING else None)

    def _regression(self) -> GoalRegression:
        sources = self.sources
        return load_regression(sources.robot_folder, sources.checkpoint, sources.lam, self.robot).to(sources.device)

    def _planner(self, name: str) -> Planner:
        if name == GUIDED and self._strides:
            return self._guided(name, self.horizon)
        dynamics: Dynamics
        dynamics, proposals = self._dynamics(name), name in ("lam_in_domain_proposals", GUIDED)
        if self.shape is not None:
            # The action-labelled model was told single steps.
            longest = 1 if name == "action_labelled" else dynamics.lam.config.max_stride
            dynamics = self._shaped(dynamics, longest)
        return Planner(dynamics, self.searched, self.search.cem(self._search_steps), proposals=proposals, cost=self.cost)

    def _guided(self, name: str, stride: int) -> Planner:
        return Planner(self._dynamics(name), self.searched, "guided", proposals=True, stride=stride)

    def _shaped(self, dynamics: Dynamics, longest: int) -> Shaped:
        assert self.shape is not None
        return Shaped(dynamics, self.shape, self.horizon, self.searched, longest, self.whole_plan)

    def _striding(self, name: str) -> Planner:
        dynamics, search = self._dynamics(name), self.search.cem(1)
        if name == "lam_in_domain_stride":
            return Planner(dynamics, self.searched, search, proposals=True, stride=self.horizon)
        assert isinstance(dynamics, LatentDynamics)
        over_latents = "realtime" if name == "lam_in_domain_realtime" else search
        return LatentPlanner(dynamics, dynamics.controller, self.searched, over_latents, stride=self.horizon)

    @property
    def _strides(self) -> bool:
        """Whether the model can imagine the whole horizon in one step."""
        return self.shape is None and self.horizon <= self.sources.lam.config.max_stride

    @property
    def _search_steps(self) -> int:
        return self.horizon if self.shape is None else 1

    def _baseline(self, part: str) -> Path:
        assert self.sources.baselines is not None  # `_lacking` has seen to it
        return self.sources.baselines / part

    def _behaviour(self) -> dict[str, object]:
        """What the baselines were trained on, checked to fit this robot and this encoder."""
        path = self._baseline(BEHAVIOUR)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): give the --out folder of `python -m benchmarks.baselines`.") from None
        if found["robot"] != self.robot.name or found["encoder"] != module_fingerprint(self.sources.lam.encoder):
            raise InputError(f"the baselines in {self.sources.baselines} were trained for {found['robot']} and the encoder with "
                             f"fingerprint {found['encoder']}, not for {self.robot.name} and that of {self.sources.checkpoint}: train "
                             "them again with `python -m benchmarks.baselines`.")
        for key, now in (("source", self.robot.source), ("frame", self.robot.frame)):
            if found.get(key, now) != now:  # older ones do not say
                raise InputError(f"the baselines in {self.sources.baselines} were trained on actions of {key} '{found[key]}', but "
                                 f"robot.toml says '{now}': train them again with `python -m benchmarks.baselines`.")
        return found
