"""Pairs of moments, and both ways of a controller, on episodes whose features are the robot's own states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import encoded_logs
from lamplan.errors import DataError, InputError
from lamplan.logs import Episode
from lamplan.models.controller import Controller, ControllerConfig
from lamplan.report.results import Row
from lamplan.robot import RobotSpec
from lamplan.train.controller import Recipe, fit_controller, scores
from lamplan.train.distribution import Execution
from lamplan.train.goal_regression import gain_on
from lamplan.train.labelled import (
    FEW,
    InferredPairs,
    MotionPairs,
    cross_splits,
    encode_moments,
    every_pair,
    infer_pairs,
    motion_pairs,
    split,
)
from lamplan.train.loop import Budget
from lamplan.train.optimiser import OptimiserConfig
from lamplan.train.verdict import Errors, held_out_errors, judge, measured
from lamplan.views import views

SPEC = RobotSpec.load(Path(__file__).parents[2] / "controllers" / "rover")


class Seer:
    """Stands for a latent action model whose latent is the motion itself; a picture's first two numbers say which moment it shows."""

    def __init__(self, states: list[np.ndarray]) -> None:
        self.states = states
        self.encoder = SimpleNamespace(pixel_mean=torch.zeros(1))
        self.config = SimpleNamespace(latent_dim=3, max_stride=1, encoder=SimpleNamespace(width=3, side=1))

    def sized(self, images: Tensor) -> Tensor:
        return images

    def encode(self, images: Tensor) -> Tensor:
        return torch.stack([torch.from_numpy(self.states[e][t]).float()[None] for e, t in images[:, 0, 0, :2].tolist()])

    def infer(self, s: Tensor, s_next: Tensor) -> Tensor:
        pairs = torch.stack([s[:, 0], s_next[:, 0]], dim=1).double().numpy()
        return torch.from_numpy(np.concatenate([SPEC.differences(pair) for pair in pairs])).float()

    def predict(self, past: Tensor, z: Tensor) -> Tensor:
        """The next state, where the latent is a motion."""
        s, (dx, dy, turn) = past[:, -1], z[:, -1].unbind(-1)
        yaw = s[:, 0, 2]
        step = [yaw.cos() * dx - yaw.sin() * dy, yaw.sin() * dx + yaw.cos() * dy, turn]
        return s + torch.stack(step, dim=-1)[:, None]


def world(count: int, steps: int) -> tuple[Seer, list[Episode]]:
    rng = np.random.default_rng(0)
    states = [np.cumsum(rng.normal(0, 0.2, (steps, 3)), axis=0) for _ in range(count)]

    def read(number: int, camera: str, at: np.ndarray) -> np.ndarray:
        return np.stack([np.array([number, t, 0], np.uint8).reshape(1, 1, 3) for t in at])

    return Seer(states), [Episode(s, None, 4.0, (SPEC.camera,), f"episode {n}", lambda camera, at, n=n: read(n, camera, at))
                          for n, s in enumerate(states)]


def pairs_of(count: int, steps: int, farthest: int) -> tuple[Seer, InferredPairs]:
    lam, episodes = world(count, steps)
    moments = encode_moments(episodes, lam, SPEC)  # type: ignore[arg-type]
    return lam, infer_pairs(motion_pairs(moments, SPEC, farthest), lam)  # type: ignore[arg-type]


def test_pairs_lie_within_reach_and_know_the_motion_between_them() -> None:
    lam, pairs = pairs_of(3, 12, 4)
    assert len(pairs) == 3 * (11 + 10 + 9 + 8)
    assert set(pairs.gap.tolist()) == {1, 2, 3, 4} and torch.equal(pairs.later - pairs.first, pairs.gap)
    now, later = pairs.frames()
    torch.testing.assert_close(pairs.moved, lam.infer(now, later), rtol=1e-2, atol=1e-2)  # the frames are in half precision
    torch.testing.assert_close(pairs.latents, pairs.moved, rtol=1e-2, atol=1e-2)
    assert torch.equal(pairs.first // 12, pairs.episode) and torch.equal(pairs.later // 12, pairs.episode)
    assert set(pairs.of([0, 2]).episode.tolist()) == {0, 2}


def test_frames_are_read_in_slices_and_not_an_episode_at_once() -> None:
    lam, episodes = world(2, 12)
    read: list[list[int]] = []

    def noted(one: Episode) -> Episode:
        return replace(one, read=lambda camera, at: (read.append(at.tolist()), one.read(camera, at))[1])

    moments = encode_moments([noted(one) for one in episodes], lam, SPEC, batch=5)  # type: ignore[arg-type]
    assert read == 2 * [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    torch.testing.assert_close(moments.features, encode_moments(episodes, lam, SPEC).features)  # type: ignore[arg-type]
    read.clear()
    lam, (long,) = world(1, 2 * encoded_logs.BATCH + 3)
    rivals = encoded_logs._encode(noted(long), SPEC, lam, "cpu")  # type: ignore[arg-type]
    assert [len(part) for part in read] == [encoded_logs.BATCH, encoded_logs.BATCH, 3]
    torch.testing.assert_close(rivals.features[:, 0], torch.from_numpy(lam.states[0]).half())


def damaged(one: Episode) -> Episode:
    def read(camera: str, at: np.ndarray) -> np.ndarray:
        if 7 in at:
            raise DataError(f"{one.source}: the picture at step 7 is damaged.")
        return one.read(camera, at)

    return replace(one, read=read)


def test_an_episode_of_damaged_pictures_is_left_out_and_the_others_keep_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    lam, episodes = world(4, 12)
    whole = motion_pairs(encode_moments(episodes, lam, SPEC), SPEC, 3)  # type: ignore[arg-type]
    episodes[1] = damaged(episodes[1])
    pairs = motion_pairs(encode_moments(episodes, lam, SPEC, batch=5), SPEC, 3)  # type: ignore[arg-type]
    assert "left out: episode 1: the picture at step 7 is damaged." in capsys.readouterr().err
    assert len(pairs.features) == 36 and set(pairs.episode.tolist()) == {0, 2, 3}
    rest = whole.of([0, 2, 3])
    for found, expected in zip(pairs.frames(), rest.frames(), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(pairs.moved, rest.moved) and torch.equal(pairs.episode, rest.episode)
    episodes[0] = damaged(episodes[0])
    with pytest.raises(DataError, match=r"^2 of 4 episodes are of no use, .*; the first: episode 0: the picture at step 7"):
        encode_moments(episodes, lam, SPEC)  # type: ignore[arg-type]


def test_where_nothing_is_left_to_measure_on_it_is_said_before_the_training() -> None:
    lam, episodes = world(4, 12)
    assert len(every_pair(episodes, lam, SPEC, "fp32")[0])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"none of the 1 episodes set apart .* has pictures that can be read"):
        every_pair([*episodes[:3], damaged(episodes[3])], lam, SPEC, "fp32")  # type: ignore[arg-type]


def test_pairs_are_spread_evenly_however_many_there_are() -> None:
    numbers = torch.arange(100, dtype=torch.int8).expand(500_000, 100).flatten()  # 50 million
    few = MotionPairs(torch.empty(0), numbers, numbers, numbers, numbers, numbers).at_most(501)
    assert few.first.tolist() == [int(row * (len(numbers) - 1) / 500) % 100 for row in range(501)]


def test_pairs_of_commands_know_what_was_told_between_them() -> None:
    lam, episodes = world(2, 6)
    rng, told = np.random.default_rng(5), replace(SPEC, source="commanded")
    commands = [rng.uniform(-0.3, 0.3, (6, 3)) for _ in episodes]
    told_episodes = [replace(one, actions=a) for one, a in zip(episodes, commands, strict=True)]
    pairs = motion_pairs(encode_moments(told_episodes, lam, told), told, 3)  # type: ignore[arg-type]
    for first, gap, episode, moved in zip(pairs.first % 6, pairs.gap, pairs.episode, pairs.moved, strict=True):
        x = y = yaw = 0.0
        for dx, dy, dyaw in commands[int(episode)][int(first) : int(first + gap)]:
            x, y, yaw = x + np.cos(yaw) * dx - np.sin(yaw) * dy, y + np.sin(yaw) * dx + np.cos(yaw) * dy, yaw + dyaw
        np.testing.assert_allclose(moved.numpy(), [x, y, yaw], atol=1e-6)


def test_an_episode_shorter_than_a_plan_still_gives_pairs() -> None:
    _, pairs = pairs_of(2, 3, 8)
    assert len(pairs) == 2 * (2 + 1) and pairs.gap[pairs.longest()].tolist() == [2, 2]


@pytest.mark.parametrize("count", [2, 3, FEW - 1, FEW, 25, 400])
def test_no_episode_is_learned_from_and_held_out(count: int) -> None:
    parts = split(count)
    assert parts.training and parts.validation and parts.test
    assert not set(parts.training) & {*parts.validation, *parts.test}
    assert sorted({*parts.training, *parts.validation, *parts.test}) == list(range(count))
    assert bool(set(parts.validation) & set(parts.test)) == (count < FEW)


def test_over_the_folds_every_episode_is_measured_on_once() -> None:
    every = cross_splits(11, 4)
    assert sorted(e for part in every for e in part.test) == list(range(11))
    for part in every:
        assert part.training and part.validation
        assert sorted([*part.training, *part.validation, *part.test]) == list(range(11))
    for count, folds in ((11, 1), (3, 4), (2, 2)):
        with pytest.raises(InputError, match="held out"):
            cross_splits(count, folds)


def test_both_ways_are_learned_and_their_errors_are_shares() -> None:
    torch.manual_seed(0)
    _, pairs = pairs_of(8, 12, 4)
    controller = Controller(ControllerConfig(24, 1, 2), 3, 1, 3, 3)
    before = scores(controller, pairs, 1)
    optimiser, rng = torch.optim.Adam(controller.parameters(), 3e-3), np.random.default_rng(3)
    for _ in range(150):
        some = torch.from_numpy(rng.integers(len(pairs), size=32))
        forwards, back = controller.both(pairs.frames(some)[0], pairs.moved[some], pairs.latents[some])
        loss = (forwards - pairs.latents[some]).square().mean() + (back - pairs.moved[some]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = scores(controller, pairs, 1)
    assert after["motion_error"] < 0.1 < before["motion_error"] and after["latent_error"] < 0.1 < before["latent_error"]
    assert after["error"] == pytest.approx((after["latent_error"] + after["motion_error"]) / 2)
    near = pairs.frames(slice(0, 5))[0]
    forwards, back = controller.both(near, pairs.moved[:5], pairs.latents[:5])
    torch.testing.assert_close(forwards, controller(near, pairs.moved[:5]))
    torch.testing.assert_close(back, controller.actions(near, pairs.latents[:5, None])[:, 0])


def test_what_is_not_believed_is_not_read_back_and_not_searched() -> None:
    torch.manual_seed(0)
    controller = Controller(ControllerConfig(24, 1, 2), 3, 1, 3, 3)
    s, latents = torch.randn(4, 1, 3), torch.randn(4, 2, 3)
    every = controller.actions(s, latents)
    controller.gain.copy_(torch.tensor([1.0, 0.5, 0.0]))
    controller.proposal_spread.copy_(torch.tensor([2.0, 2.0, 2.0]))
    torch.testing.assert_close(controller.actions(s, latents), every * controller.gain)
    assert controller.reach.tolist() == [2.0, 0.5, 0.0]


def test_a_fit_believes_only_what_latents_tell(tmp_path: Path) -> None:
    """Of the three numbers of an action the last is made of chance here: no latent has seen it."""
    lam, pairs = pairs_of(80, 16, 4)
    pairs.moved[:, 2] = torch.from_numpy(np.random.default_rng(7).normal(size=len(pairs))).float()
    recipe = Recipe(ControllerConfig(24, 1, 2), Budget(steps=300), 32, 0, OptimiserConfig(learning_rate=3e-3), Execution())
    controller, _ = fit_controller(lam, pairs, split(80), SPEC, recipe, tmp_path)  # type: ignore[arg-type]
    assert controller.gain[2] == 0 and (controller.gain[:2] > 0.8).all()
    assert scores(controller, pairs.of(split(80).validation), 1)["motion_error"] < 0.45, "chance counts for no more than standing still"


def test_few_episodes_cannot_say_what_to_believe() -> None:
    _, pairs = pairs_of(6, 8, 4)
    silent = torch.zeros_like(pairs.moved)
    assert gain_on(pairs, silent).eq(0).all() and gain_on(pairs.of([0, 1, 2, 3]), silent[: len(pairs.of([0, 1, 2, 3]))]).eq(1).all()


class Perfect:
    """A controller for `Seer`, both of whose ways are the identity, or off by a constant."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off

    def __call__(self, s: Tensor, actions: Tensor) -> Tensor:
        return actions + self.off

    def actions(self, s: Tensor, latents: Tensor) -> Tensor:
        return latents + self.off


def told(off: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """A goal regression for `Seer` that is off by a constant."""
    def regression(now: Tensor, goal: Tensor) -> Tensor:
        return Seer([]).infer(now, goal) + off

    return regression


@pytest.mark.parametrize(("off", "verdict"), [(0.0, "usable"), (5.0, "not usable")])
def test_a_perfect_controller_is_usable_and_one_that_is_far_off_is_not(off: float, verdict: str) -> None:
    lam, pairs = pairs_of(8, 12, 8)
    found = measured(held_out_errors(lam, Perfect(off), told(off), pairs, SPEC, pairs.usual()), SPEC)  # type: ignore[arg-type]
    assert found.verdict == verdict and found.episodes == 8
    rows = {(row.metric, row.name): row for row in found.rows}
    assert rows["delta_xy", "proposed"].value == pytest.approx(off * 2**0.5, abs=5e-3)
    assert rows["delta_xy, a step", "inferred latents"].value == pytest.approx(off * 2**0.5, abs=5e-3)
    assert rows["delta_xy, a step", "controller latents"].value == pytest.approx(2 * off * 2**0.5, abs=5e-3)  # both ways are off
    assert rows["delta_xy", "goal regression"].value == pytest.approx(off * 2**0.5, abs=5e-3)
    assert rows["delta_xy", "proposed"].n == 8  # episodes, not pairs
    still = pairs.moved[pairs.longest(), :2].norm(dim=1).mean().item()
    assert rows["delta_xy", "zero action"].value == pytest.approx(still, rel=1e-3)
    assert rows["next frame", "inferred"].value < 0.01 < rows["next frame", "copy"].value
    assert "the rule" in found.facts() and verdict in str(found)


def test_a_log_that_always_moves_alike_is_no_credit_to_the_model() -> None:
    lam, pairs = pairs_of(8, 12, 4)
    alike = replace(pairs, moved=torch.ones_like(pairs.moved) * pairs.gap[:, None])
    torch.testing.assert_close(alike.usual()[1:], torch.arange(1.0, 5.0)[:, None].expand(-1, 3))
    found = measured(held_out_errors(lam, Perfect(), told(), alike, SPEC, alike.usual()), SPEC)  # type: ignore[arg-type]
    rows = {(row.metric, row.name): row.value for row in found.rows}
    assert rows["delta_xy", "mean motion"] == pytest.approx(0.0, abs=1e-6) and rows["delta_xy", "mean motion - proposed"] < 0
    assert "worse than mean motion" in found.reason


def test_few_episodes_are_measured_by_pair_and_say_so() -> None:
    lam, pairs = pairs_of(2, 12, 3)
    found = measured(held_out_errors(lam, Perfect(), told(), pairs, SPEC, pairs.usual()), SPEC)  # type: ignore[arg-type]
    assert found.rows[0].n == pairs.longest().sum() and "narrower than the truth" in found.reason


def test_errors_of_several_folds_are_joined() -> None:
    lam, pairs = pairs_of(6, 12, 3)
    halves = [held_out_errors(lam, Perfect(), told(), pairs.of(part), SPEC, pairs.usual()) for part in ([0, 2, 4], [1, 3, 5])]  # type: ignore[arg-type]
    whole = held_out_errors(lam, Perfect(), told(), pairs, SPEC, pairs.usual())  # type: ignore[arg-type]
    for row, expected in zip(measured(Errors.joined(halves), SPEC).rows, measured(whole, SPEC).rows, strict=True):
        assert row.n == expected.n == 6 and row.value == pytest.approx(expected.value, abs=1e-6)


@pytest.mark.parametrize(("proposed", "gain", "seen", "verdict"), [
    (0.05, (0.04, 0.06), (0.01, 0.02), "usable"), (0.08, (0.01, 0.03), (0.01, 0.02), "barely better"),
    (0.05, (0.04, 0.06), (-0.01, 0.02), "barely better"), (0.1, (-0.01, 0.01), (0.01, 0.02), "barely better"),
    (0.1, (-0.01, 0.01), (-0.02, 0.02), "not usable")])
def test_the_verdict_follows_its_rule(proposed: float, gain: tuple[float, float], seen: tuple[float, float], verdict: str) -> None:
    def row(value: float, low: float, high: float) -> Row:
        return Row("", "", "", "", value, low, high, 9)

    assert judge(row(proposed, 0, 1), row(0.1, 0, 1), row(0, *gain), row(0, *seen))[0].startswith(verdict)


@pytest.mark.parametrize(("robot", "count"), [("panda", 5), ("rover", 1)])
def test_episodes_are_learned_from_in_the_views_that_are_planned_from(robot: str, count: int) -> None:
    spec = RobotSpec.load(Path(__file__).parents[2] / "controllers" / robot)
    pictures = np.random.default_rng(2).integers(0, 256, (7, 3, 16, 32, 3), np.uint8)
    episodes = [Episode(np.zeros((3, spec.state_dim)), None, 4.0, (spec.camera,), f"episode {n}", lambda camera, at, n=n: pictures[n][at])
                for n in range(7)]
    lam = SimpleNamespace(encoder=SimpleNamespace(pixel_mean=torch.zeros(1)), sized=lambda images: images,
                          encode=lambda images: images.flatten(1)[:, None])
    moments = encode_moments(episodes, lam, spec, batch=2)  # type: ignore[arg-type]
    for number, found in enumerate(moments.features.unflatten(0, (7, 3))):
        seen = views(torch.from_numpy(pictures[number]), spec.kind)
        assert len(seen) == count and torch.equal(found.flatten(1), seen[number % count].flatten(1).half()), number
