"""Plans made from one action: straight lines, arcs, and the regression's way of spreading a displacement."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.dynamics import Shaped
from benchmarks.oracle import Oracle
from benchmarks.policies import Situation
from benchmarks.shapes import Arc, Shape, StraightLine
from benchmarks.trajectories import follow
from lamplan.costs import GoalCost
from lamplan.rollout import Past, Proposal
from lamplan.search import Found, SearchSpace
from lamplan.search.base import Cost, Enough, never
from tests.benchmarks.fakes import PANDA, ROVER, PointDynamics


def test_straight_line_turns_only_at_its_end() -> None:
    action = torch.tensor([[[0.2, 0.05, 0.3]]])
    plan = StraightLine().spread(action, 8)
    assert plan.shape == (1, 8, 3)
    poses = follow(plan[0].numpy())
    np.testing.assert_allclose(poses[-1], [1.6, 0.4, 0.3], atol=1e-6)
    assert (plan[0, :-1, 2] == 0).all()


def test_arc_drives_a_circle() -> None:
    poses = follow(Arc().spread(torch.tensor([[0.2, 0.0, 0.1]]), 8).numpy())
    steps = np.linalg.norm(np.diff(poses[:, :2], axis=0), axis=1)
    np.testing.assert_allclose(steps, 0.2, atol=1e-6)
    assert poses[-1, 2] == pytest.approx(0.8)


@pytest.mark.parametrize("pose", [[1.5, 0.3, 0.4], [1.0, 0.0, 0.0], [1.2, -0.4, -0.6]])
def test_a_spread_pose_is_reached_where_the_limits_allow(pose: list[float]) -> None:
    np.testing.assert_allclose(follow(np.tile(ROVER.split(np.array(pose), 8), (8, 1)))[-1], pose, atol=1e-9)


def test_a_far_pose_is_approached_in_its_direction_within_the_limits() -> None:
    plan = np.tile(ROVER.split(np.array([8.0, 1.0, 0.2]), 8), (8, 1))
    assert (plan <= ROVER.high + 1e-12).all() and (plan >= ROVER.low - 1e-12).all()
    end = follow(plan)[-1]
    assert end[0] == pytest.approx(3.2, abs=0.1) and 0.2 < end[1] < 0.6


def test_an_arm_heads_straight_for_a_far_goal() -> None:
    plan = np.tile(PANDA.split(np.array([0.9, -0.45, 0.0, 0.0, 0.0, 0.0, 0.6]), 3), (3, 1))
    np.testing.assert_allclose(plan.sum(axis=0)[:3], [0.3, -0.15, 0.0])
    assert plan.sum(axis=0)[6] == pytest.approx(0.6)


def test_standing_still_is_no_division_by_zero() -> None:
    assert (PANDA.split(np.zeros(7), 3) == 0).all() and (ROVER.split(np.zeros(3), 8) == 0).all()


@pytest.mark.parametrize("strides", [8, 4, 2, 1])
@pytest.mark.parametrize("action", [[0.2, 0.05, 0.1], [0.15, -0.1, 0.0], [0.2, 0.0, -0.1]])
def test_a_shape_is_driven_to_its_own_end_in_any_number_of_parts(action: list[float], strides: int) -> None:
    told = torch.tensor([action], dtype=torch.float64)
    for shape in (StraightLine(), Arc()):
        end = follow(shape.spread(told, 8).numpy())[-1]
        poses = follow(shape.driven(told, 8, strides).numpy())
        assert len(poses) == strides
        np.testing.assert_allclose(poses[-1, :2], end[:2], atol=1e-9)
    # On the line's circle a robot that cannot slide ends turned by twice the bearing.
    turned = follow(StraightLine().driven(told, 8, strides).numpy())[-1, 2]
    assert turned == pytest.approx(2 * np.arctan2(action[1], action[0]), abs=1e-9)
    assert follow(Arc().driven(told, 8, strides).numpy())[-1, 2] == pytest.approx(8 * action[2], abs=1e-9)


def test_shaped_dynamics_imagine_the_whole_shape() -> None:
    inner = PointDynamics()
    past = inner.start(torch.zeros(1, 1, 1, 3))
    action = torch.tensor([0.1, 0.0, 0.02]).view(1, 1, 1, 3)
    imagined = Shaped(inner, Arc(), 8, ROVER).rollout(past, action)
    assert imagined.shape == (1, 1, 8, 1, 3)
    np.testing.assert_allclose(imagined[0, 0, -1, 0], [0.8, 0.0, 0.16], atol=1e-6)
    few = Shaped(inner, Arc(), 8, ROVER, longest=3)
    assert few.rollout(past, action).shape == (1, 1, 4, 1, 3)  # in motions of two steps: three do not make up eight


def test_a_proposal_is_joined_with_the_prior_where_goals_lie_a_whole_plan_away() -> None:
    class Sure(PointDynamics):
        def propose(self, past: Past, goal: torch.Tensor) -> Proposal:
            return Proposal(torch.tensor([[0.8, 0.4, 0.2]]), torch.tensor([0.16, 0.08, 0.1]))

    robot = replace(ROVER, prior_mean=np.array([0.2, 0.0, 0.0]), prior_std=np.array([0.02, 0.03, 0.2]))
    past = Sure().start(torch.zeros(1, 1, 1, 3))
    alone, together = (Shaped(Sure(), StraightLine(), 8, robot, whole_plan=whole).propose(past, past.present) for whole in (False, True))
    assert alone is not None and together is not None
    torch.testing.assert_close(alone.displacement, torch.tensor([[0.1, 0.05, 0.2]]))
    torch.testing.assert_close(alone.spread, torch.tensor([0.02, 0.01, 0.1]))
    # Equally sure of the first number: half-way, and surer. Nine parts of ten of the second, four of five of the turn.
    torch.testing.assert_close(together.displacement, torch.tensor([[0.15, 0.045, 0.16]]))
    torch.testing.assert_close(together.spread, torch.tensor([0.02 / 2**0.5, 0.01 * 0.9**0.5, 0.1 * 0.8**0.5]))


class Asking:
    """A search that asks what two plans cost, one to either side, and takes the first."""

    horizon = 1
    asked = torch.tensor([[[[0.2, 0.1, 0.05]], [[0.2, -0.1, 0.05]]]])

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator, enough: Enough = never) -> Found:
        self.costs = cost(self.asked)
        return Found(self.asked[:, 0], self.costs[:, 0], self.costs[None, :, 0])


@pytest.mark.parametrize("shape", [StraightLine(), Arc()])
def test_the_oracle_tries_the_motions_that_planners_imagine_by_their_cost(shape: Shape) -> None:
    class World:
        """A place that moves as it is told, and is seen from above."""

        unwrapped = property(lambda self: self)

        def simulate(self, actions: np.ndarray) -> tuple[list[dict[str, np.ndarray]], None]:
            return [{ROVER.camera: end} for end in actions.sum(axis=1)], None

    search, goal = Asking(), np.array([[[0.8, 0.4, 0.1]]])
    oracle = Oracle(lambda seen: np.asarray(seen).reshape(-1, 1, 3), ROVER, search, shape, 8, GoalCost("l1"))
    decision = oracle.decide(Situation(np.zeros((1, 1)), goal, 0, lambda b: World()))
    driven = shape.driven(search.asked[0], 8, 8)
    torch.testing.assert_close(search.costs[0], (driven.sum(1) - torch.tensor([0.8, 0.4, 0.1])).abs().mean(-1))
    assert (driven[..., 2] != 0).all()  # no wheeled robot gets aside without a turn
    np.testing.assert_allclose(decision.actions[0], shape.spread(search.asked[0, :1], 8)[0].numpy(), atol=1e-6)
