"""The rover: contract, accuracy of its motion, and scenes that can be driven."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.rover import RoverEnv
from envs.rover.drive import arc
from lamplan.errors import InputError


@pytest.fixture(scope="module")
def env():
    env = RoverEnv()
    yield env
    env.close()


def drive_open(env, actions):
    """Executes actions (K, 3); poses (K+1, 3) and infos."""
    poses, infos = [env.render_observation()["proprio"].astype(float)], []
    for action in actions:
        *_, info = env.step(action)
        poses.append(info["pose"])
        infos.append(info)
    return np.array(poses), infos


def test_follows_the_gymnasium_interface():
    env = gym.make("lamplan/Rover-v0", image_size=64).unwrapped
    check_env(env, skip_render_check=True)
    env.close()


def test_runs_in_a_vector_environment():
    envs = gym.make_vec("lamplan/Rover-v0", num_envs=2, vectorization_mode="sync", image_size=32)
    obs, info = envs.reset(seed=1)
    assert obs["front_image"].shape == (2, 32, 32, 3) and not np.array_equal(*obs["front_image"])
    assert info["goal_image"].shape == (2, 32, 32, 3) and len(info["expert_states"][0]) > 1
    envs.close()


def test_the_same_seed_gives_the_same_world_and_another_seed_another(env):
    first, info = env.reset(seed=3)
    again, info_again = env.reset(seed=3)
    other, _ = env.reset(seed=4)
    assert np.array_equal(first["front_image"], again["front_image"])
    assert np.array_equal(first["proprio"], again["proprio"])
    assert np.array_equal(info["goal_image"], info_again["goal_image"])
    assert np.abs(first["front_image"].astype(int) - other["front_image"]).mean() > 10


def test_images_show_something_and_motion_changes_them(env):
    obs, _ = env.reset(seed=5)
    image = obs["front_image"]
    assert image.dtype == np.uint8 and image.shape == (128, 128, 3)
    assert image.mean() > 30 and image.std() > 15
    start = env.get_state()
    turned = env.step(np.array([0.0, 0.0, 0.09]))[0]["front_image"]
    env.set_state(start)
    moved = env.step(np.array([0.25, 0.0, 0.0]))[0]["front_image"]
    assert np.abs(turned.astype(int) - image).mean() > 2
    assert np.abs(moved.astype(int) - image).mean() > 2


def test_reset_info_describes_the_goal(env):
    _, info = env.reset(seed=6)
    states = np.array(info["expert_states"])
    assert len(states) == len(info["expert_actions"]) + 1
    assert np.array_equal(states[0], info["pose"]) and np.array_equal(states[-1], info["goal_state"])
    assert np.array_equal(info["subgoal_images"][-1], info["goal_image"])
    driven = np.hypot(*np.diff(states[:, :2], axis=0).T).sum()
    assert info["distance_m"] - 1e-6 <= info["shortest_path_m"] + 0.2 and info["shortest_path_m"] <= driven + 1e-6
    assert not info["success"] and 3.0 < info["shortest_path_m"] < 10.5


@pytest.mark.parametrize("options", [None, {"goal_steps": 8}])
def test_replaying_the_expert_reaches_the_goal(env, options):
    _, info = env.reset(seed=7, options=options)
    if options:
        assert np.shape(info["expert_actions"]) == (8, 3)
    obs = None
    for action in info["expert_actions"]:
        obs, *_, last = env.step(action)
        assert not last["collision"]
    assert last["success"] and last["distance_m"] < 1e-6
    assert np.array_equal(obs["front_image"], info["goal_image"])


def test_set_state_restores_exactly(env):
    env.reset(seed=8)
    rng = np.random.default_rng(0)
    for _ in range(3):
        env.step(env.random_motion(rng))
    state, image = env.get_state(), env.render_observation()["front_image"]
    actions = rng.uniform([0.1, 0, -0.3], [0.3, 0, 0.3], (5, 3))
    first = [env.step(action)[0] for action in actions]
    env.set_state(state)
    assert np.array_equal(env.render_observation()["front_image"], image)
    for action, before in zip(actions, first, strict=True):
        now = env.step(action)[0]
        assert np.array_equal(now["proprio"], before["proprio"])
        assert np.array_equal(now["front_image"], before["front_image"])


def test_a_state_of_another_scene_is_refused(env):
    env.reset(seed=9)
    state = env.get_state()
    env.reset(seed=10)
    with pytest.raises(InputError, match="another scene"):
        env.set_state(state)


def test_simulate_equals_stepping_and_changes_nothing(env):
    env.reset(seed=11)
    candidates = np.random.default_rng(1).uniform([0.1, 0, -0.3], [0.3, 0, 0.3], (3, 4, 3))
    start = env.get_state()
    observations, finals = env.simulate(candidates)
    assert np.array_equal(env.get_state().physics, start.physics)
    for sequence, observation, final in zip(candidates, observations, finals, strict=True):
        env.set_state(start)
        for action in sequence:
            stepped, *_, info = env.step(action)
        assert np.array_equal(stepped["front_image"], observation["front_image"])
        assert np.array_equal(info["pose"], final)


@pytest.mark.parametrize("roughness_m", [0.0, 0.4])
def test_a_requested_displacement_comes_out(roughness_m):
    env = RoverEnv(image_size=16, roughness_m=roughness_m)
    env.reset(seed=12)
    errors = []
    for dx, dyaw in ((0.25, 0.0), (0.3, 0.2), (0.15, -0.3), (0.0, 0.3)):
        env.reset(seed=12)
        request = np.array([dx * np.cos(dyaw / 2), dx * np.sin(dyaw / 2), dyaw])
        poses, infos = drive_open(env, [request] * 6)
        assert not any(info["collision"] for info in infos)
        # The first step starts from rest and the robot skids a little sideways: neither is what is asked here.
        errors.append(env.robot_spec.differences(poses)[1:] - request)
    forward, _, yaw = np.abs(np.concatenate(errors)).mean(axis=0)
    assert forward < 0.015 and yaw < 0.02
    env.close()


def test_an_arc_has_the_requested_turn_and_the_chord_it_can_give():
    length, turn = arc(0.3, 0.0, 0.0)
    assert (length, turn) == (0.3, 0.0)
    length, turn = arc(0.2 * np.cos(0.15), 0.2 * np.sin(0.15), 0.3)
    assert turn == 0.3 and length * np.sin(0.15) / 0.15 == pytest.approx(0.2)
    assert arc(0.0, 0.1, 0.0)[0] == 0.0


def test_driving_into_something_is_reported_and_goes_on(env):
    env.reset(seed=13)
    collided = False
    for _ in range(120):
        _, _, terminated, truncated, info = env.step(np.array([0.3, 0.0, 0.0]))
        assert not terminated and not truncated
        collided = collided or info["collision"]
    assert collided


def test_wandering_stays_upright_and_mostly_free(env):
    rng = np.random.default_rng(2)
    collisions, moved = 0, []
    for seed in (14, 15):
        _, info = env.reset(seed=seed)
        for _ in range(100):
            before = info["pose"]
            _, _, terminated, _, info = env.step(env.random_motion(rng))
            assert not terminated
            collisions += info["collision"]
            moved.append(np.hypot(*(info["pose"] - before)[:2]))
    assert collisions <= 6
    assert 0.12 < np.mean(moved) < 0.3


@pytest.mark.parametrize("action", [np.zeros(2), np.array([np.nan, 0, 0])])
def test_a_bad_action_is_a_sentence(env, action):
    env.reset(seed=3)
    with pytest.raises(InputError, match="3 finite numbers"):
        env.step(action)


def test_bad_options_are_sentences(env):
    with pytest.raises(InputError, match="whole number"):
        env.reset(options={"goal_steps": 0})
    with pytest.raises(InputError, match="unknown reset option"):
        env.reset(options={"goal": 3})
