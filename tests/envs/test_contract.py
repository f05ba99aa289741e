"""What every world of `envs` promises, checked on all of them and on every task."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs  # noqa: F401  (registers the worlds)
from lamplan.robot import RobotSpec

CASES = {
    **{f"tabletop-{task}": ("lamplan/Tabletop-v0", {"task": task, "wrist": task == "reach"})
       for task in ("reach", "reach_holding", "push", "grasp", "pick_place")},
    "rover": ("lamplan/Rover-v0", {}),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def world(request):
    name, options = request.param
    env = gym.make(name, **options)
    yield env.unwrapped
    env.close()


def play(world, seed: int, steps: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    actions = []
    for _ in range(steps):
        actions.append(world.random_motion(rng))
        world.step(actions[-1])
    return actions


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@pytest.mark.parametrize("world", [CASES["tabletop-reach"], CASES["rover"]], indirect=True, ids=["tabletop", "rover"])
def test_gymnasium_accepts_it(world):
    check_env(world, skip_render_check=True)


def test_the_seed_alone_decides_an_episode(world):
    observation, info = world.reset(seed=3)
    other, _ = world.reset(seed=4)
    play(world, seed=0, steps=2)
    again, info_again = world.reset(seed=3)
    assert_same(observation, again)
    for key in ("goal_image", "goal_state", "subgoal_images", "distance_m"):
        np.testing.assert_array_equal(info[key], info_again[key])
    camera = world.robot_spec.camera
    assert np.abs(observation[camera].astype(int) - other[camera]).mean() > 5


def test_observations_and_info_have_the_promised_form(world):
    observation, info = world.reset(seed=5)
    spec = world.robot_spec
    assert isinstance(spec, RobotSpec) and observation[spec.camera].shape == (128, 128, 3)
    assert observation["proprio"].shape == (spec.state_dim,) and observation["proprio"].dtype == np.float32
    assert info["goal_image"].shape == (128, 128, 3) and info["goal_image"].dtype == np.uint8
    assert info["goal_state"].shape == (spec.state_dim,)
    assert len(info["subgoal_images"]) >= 1
    np.testing.assert_array_equal(info["subgoal_images"][-1], info["goal_image"])
    assert isinstance(info["success"], bool) and not info["success"]
    assert isinstance(info["distance_m"], float) and info["distance_m"] > 0.05
    assert not np.array_equal(info["goal_image"], observation[spec.camera])
    _, reward, _, truncated, info = world.step(np.zeros(spec.action_dim, dtype=np.float32))
    assert np.isfinite(reward) and not truncated and {"success", "distance_m"} <= info.keys()


def test_a_restored_state_goes_on_bit_for_bit(world):
    world.reset(seed=6)
    play(world, seed=1, steps=3)
    state, before = world.get_state(), world.render_observation()
    actions = play(world, seed=2, steps=4)
    after = world.render_observation()
    world.set_state(state)
    assert_same(world.render_observation(), before)
    for action in actions:
        world.step(action)
    assert_same(world.render_observation(), after)


def test_simulating_equals_stepping_and_changes_nothing(world):
    world.reset(seed=8)
    before, state = world.render_observation(), world.get_state()
    rng = np.random.default_rng(0)
    plans = rng.uniform(world.robot_spec.low, world.robot_spec.high, (2, 3, world.robot_spec.action_dim))
    observations, proprio = world.simulate(plans)
    assert_same(world.render_observation(), before)
    for plan, observation, last in zip(plans, observations, proprio, strict=True):
        world.set_state(state)
        for action in plan:
            stepped = world.step(action)[0]
        assert_same(observation, stepped)
        np.testing.assert_allclose(last, stepped["proprio"], atol=1e-6)


def test_actions_beyond_the_limits_are_cut_to_them(world):
    world.reset(seed=9)
    state = world.get_state()
    within = world.step(world.robot_spec.high)[0]
    world.set_state(state)
    assert_same(world.step(3.0 * world.robot_spec.high)[0], within)


def test_play_moves_within_the_limits(world):
    world.reset(seed=10)
    start = world.render_observation()["proprio"]
    actions = np.array(play(world, seed=3, steps=8))
    spec = world.robot_spec
    assert np.all(actions >= spec.low - 1e-6) and np.all(actions <= spec.high + 1e-6)
    assert np.abs(world.render_observation()["proprio"][:2] - start[:2]).sum() > 0.02
