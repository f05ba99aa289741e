"""The table world: does the arm do what it is told, and do the tasks mean what they say?"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  (registers the worlds)
from envs.gl import BACKENDS, RenderingError, choose_gl
from lamplan.errors import InputError

TABLETOP = "lamplan/Tabletop-v0"


@pytest.fixture(scope="module")
def reach():
    env = gym.make(TABLETOP, wrist=False)
    yield env.unwrapped
    env.close()


def make(**options):
    return gym.make(TABLETOP, wrist=False, **options).unwrapped


def displacement(world, action) -> np.ndarray:
    states = [world.world.arm.measure().vector()]
    world.step(np.asarray(action, dtype=np.float32))
    states.append(world.world.arm.measure().vector())
    return world.robot_spec.differences(np.array(states))[0]


@pytest.mark.parametrize("size_m", [0.03, 0.1])
def test_a_displacement_is_executed_within_its_step(reach, size_m):
    rng = np.random.default_rng(0)
    box = (reach.robot_spec.workspace_low + (0, 0, 0.08), reach.robot_spec.workspace_high)
    errors = []
    for seed in range(8):
        pose = reach.reset(seed=seed)[1]["ee_pose"]
        way = rng.uniform(*box) - pose[:3]
        action = np.concatenate([way / np.linalg.norm(way) * min(size_m, np.linalg.norm(way)), rng.uniform(-0.05, 0.05, 3), [0.3]])
        errors.append(np.abs(displacement(reach, action) - action))
    assert np.max(np.array(errors)[:, :3]) < 0.1 * size_m
    assert np.max(np.array(errors)[:, 3:6]) < 0.005
    assert np.max(np.array(errors)[:, 6]) < 0.1


def test_no_lag_is_carried_into_the_next_step(reach):
    reach.reset(seed=1)
    displacement(reach, [0, 0, -0.1, 0, 0, 0, 0])
    assert np.abs(displacement(reach, np.zeros(7))[:3]).max() < 0.003


def test_the_hand_stays_in_the_workspace(reach):
    reach.reset(seed=2)
    for _ in range(8):
        observation = reach.step(np.array([0.1, 0.1, -0.1, 0.1, 0.1, 0.1, 0], dtype=np.float32))[0]
    low, high = reach.robot_spec.workspace_low, reach.robot_spec.workspace_high
    assert np.all(observation["proprio"][:3] > low - 0.01) and np.all(observation["proprio"][:3] < high + 0.01)
    assert np.all(np.abs(observation["proprio"][3:6]) < 1.3)


def test_the_gripper_closes_and_opens_in_proportion(reach):
    reach.reset(seed=3)
    closures = [reach.step(np.array([0, 0, 0, 0, 0, 0, change], dtype=np.float32))[0]["proprio"][6]
                for change in (0.0, 0.5, 0.5, -0.25, -0.75)]
    np.testing.assert_allclose(closures, [0.0, 0.5, 1.0, 0.75, 0.0], atol=0.1)


@pytest.mark.parametrize("task", ["reach", "reach_holding", "push", "grasp", "pick_place"])
def test_the_expert_solves_the_task_through_step(task):
    world = make(task=task)
    solved = 0
    for seed in range(3):
        _, info = world.reset(seed=seed)
        start_m, goal_image = info["distance_m"], info["goal_image"]
        for action in world.expert():
            observation, reward, _, _, info = world.step(action)
        assert info["distance_m"] < 0.02 < start_m and reward == -info["distance_m"]
        assert np.abs(observation["exterior_image"].astype(int) - goal_image).mean() < 1.0
        solved += info["success"]
    assert solved == 3
    world.close()


def test_a_state_brings_its_scene_along(reach):
    before, _ = reach.reset(seed=6)
    state = reach.get_state()
    reach.reset(seed=7)
    reach.set_state(state)
    np.testing.assert_array_equal(reach.render_observation()["exterior_image"], before["exterior_image"])


def test_reach_keeps_to_the_asked_distance_with_subgoals_in_between(reach):
    _, info = reach.reset(seed=4, options={"distance_m": (0.45, 0.5)})
    assert 0.44 < info["distance_m"] < 0.51
    assert len(info["subgoal_images"]) == 3


def test_a_dropped_object_is_no_success():
    world = make(task="reach_holding")
    world.reset(seed=0)
    for action in world.expert():
        info = world.step(action)[4]
    assert info["success"]
    for _ in range(4):
        info = world.step(np.array([0, 0, 0, 0, 0, 0, -0.75], dtype=np.float32))[4]
    assert info["distance_m"] < 0.05 and not info["success"]
    world.close()


def test_play_covers_about_a_fifth_of_a_metre_in_three_steps(reach):
    moved = []
    for seed in range(4):
        reach.reset(seed=seed)
        rng, positions = np.random.default_rng(seed), []
        for _ in range(16):
            positions.append(reach.world.arm.measure().position)
            reach.world.step(reach.random_motion(rng).astype(np.float64))
        moved.append(np.abs(np.array(positions)[3:] - np.array(positions)[:-3]).sum(axis=1))
    assert 0.15 < np.mean(moved) < 0.26


def test_another_arm_by_name():
    world = make(robot="Sawyer")
    _, info = world.reset(seed=0)
    wanted = np.array([0.03, 0.0, -0.04, 0, 0, 0, 0.5]) if info["ee_pose"][0] < 0.6 else np.array([-0.03, 0.0, -0.04, 0, 0, 0, 0.5])
    done = displacement(world, wanted)
    np.testing.assert_allclose(done[:6], wanted[:6], atol=0.004)
    np.testing.assert_allclose(done[6], 0.5, atol=0.15)
    assert world.robot_spec.name == "sawyer"
    world.close()


def test_vectorised():
    worlds = gym.make_vec(TABLETOP, num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"}, wrist=False)
    observations, info = worlds.reset(seed=[1, 2])
    assert observations["exterior_image"].shape == (2, 128, 128, 3) and info["goal_image"].shape == (2, 128, 128, 3)
    observations, *_ = worlds.step(worlds.action_space.sample())
    assert observations["proprio"].shape == (2, 7)
    worlds.close()


def test_wrong_requests_are_told_in_a_sentence(reach):
    with pytest.raises(InputError, match="task is 'fly', expected one of reach"):
        make(task="fly")
    with pytest.raises(InputError, match="robot is 'R2D2', expected one of robosuite's single arms: Panda"):
        make(robot="R2D2")
    with pytest.raises(InputError, match="distance_m is"):
        reach.reset(options={"distance_m": (0.5, 0.2)})
    reach.reset(seed=0)
    for bad in (np.zeros(6), np.full(7, np.nan)):
        with pytest.raises(InputError, match="an action holds 7 finite numbers"):
            reach.step(bad)


def test_the_users_choice_of_renderer_is_kept(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "something")
    assert choose_gl() == "something"


def test_the_first_renderer_that_works_is_chosen(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr("envs.gl._works", lambda backend: backend == BACKENDS[1])
    assert choose_gl() == BACKENDS[1]
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr("envs.gl._works", lambda backend: False)
    with pytest.raises(RenderingError, match="apt-get install libosmesa6"):
        choose_gl()
