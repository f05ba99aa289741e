"""What is shipped works: the checkpoint understands motion that it never saw, and both robots plan with it."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

import envs  # noqa: F401  registers the environments
from lamplan import CEM, InputError, LatentActionModel, LatentPlanner, Planner
from lamplan.cli import main
from lamplan.models.decoder import Decoder
from lamplan.presets import PRESETS

CHECKPOINT = Path("checkpoints/wild-small")
WORLDS = {"panda": ("lamplan/Tabletop-v0", {"task": "reach", "wrist": False}), "rover": ("lamplan/Rover-v0", {})}


@pytest.fixture(scope="module", params=sorted(WORLDS))
def play(request: pytest.FixtureRequest) -> tuple[str, np.ndarray]:
    """The robot's name and frames (T, H, W, 3) of recorded play from a held-out seed."""
    name, settings = WORLDS[request.param]
    world = gym.make(name, **settings)
    obs, _ = world.reset(seed=1_900_000)
    camera = "exterior_image" if request.param == "panda" else "front_image"
    frames, rng = [obs[camera]], np.random.default_rng(0)
    for _ in range(12):
        obs, *_ = world.step(world.unwrapped.random_motion(rng))  # type: ignore[attr-defined]
        frames.append(obs[camera])
    world.close()
    return request.param, np.stack(frames)


@torch.inference_mode()
def test_latents_of_unseen_play_carry_its_motion(root: Path, play: tuple[str, np.ndarray]) -> None:
    lam = LatentActionModel.load(root / CHECKPOINT)
    errors = lam.diagnose(lam.encode(torch.from_numpy(play[1])).unfold(0, 4, 1).permute(0, 3, 1, 2))
    assert errors["inferred"] < errors["copy"]
    assert errors["inferred"] < errors["shuffled"]


@torch.inference_mode()
def test_the_decoder_shows_what_was_seen(root: Path, play: tuple[str, np.ndarray]) -> None:
    lam, frames = LatentActionModel.load(root / CHECKPOINT), torch.from_numpy(play[1]).float()
    shown = Decoder.load(root / CHECKPOINT).decode(lam.encode(frames.to(torch.uint8))).float()
    assert shown.shape == frames.shape
    # Clearly nearer than a picture that has the scene's colour right and nothing else: coarse as it is, it shows what is where.
    assert (shown - frames).abs().mean() < 0.75 * (frames - frames.mean((0, 1, 2))).abs().mean()


def test_the_robot_plans_within_its_limits(root: Path, play: tuple[str, np.ndarray]) -> None:
    name, frames = play
    planner = Planner.load(root / CHECKPOINT, root / "controllers" / name, search=CEM(samples=32, iterations=3, elites=6))
    plan = planner.plan(frames[0], frames[3])
    assert plan.actions.shape == (3, planner.robot.action_dim)
    assert (plan.actions >= planner.robot.low).all() and (plan.actions <= planner.robot.high).all()
    assert plan.cost < plan.start_cost


def test_by_default_the_regression_proposes_and_the_model_corrects(root: Path, play: tuple[str, np.ndarray]) -> None:
    name, frames = play
    planner = Planner.load(root / CHECKPOINT, root / "controllers" / name)
    assert planner.search == PRESETS["guided"].search and planner.stride == 3
    plan = planner.plan(frames[0], frames[3])
    assert plan.actions.shape == (3, planner.robot.action_dim) and plan.cost < plan.start_cost
    following = planner.plan(frames[0], frames[3], running=plan.actions[0])
    assert following.actions.shape == (4, planner.robot.action_dim)
    np.testing.assert_allclose(following.actions[0], plan.actions[0], atol=1e-6)


def test_the_arm_plans_over_latents_and_in_time(root: Path, play: tuple[str, np.ndarray]) -> None:
    name, frames = play
    if name != "panda":
        pytest.skip("a rover's plan of eight steps is longer than the strides that the model has learned")
    paths = root / CHECKPOINT, root / "controllers" / name
    realtime = LatentPlanner.load(*paths)
    assert realtime.search == PRESETS["realtime"].search and realtime.stride == 3
    with pytest.raises(InputError, match="whole number from 1 on"):
        LatentPlanner.load(*paths, stride=0)
    plan = realtime.plan(frames[0], frames[3])
    assert plan.actions.shape == (3, 7) and plan.cost < plan.start_cost
    rounded = LatentPlanner.load(*paths, precision="bf16").plan(frames[0], frames[3])
    np.testing.assert_allclose(rounded.actions.sum(0)[:3], plan.actions.sum(0)[:3], atol=0.02)  # metres
    planner = Planner.load(*paths, search="paper", proposals="latent")
    planner.warmup(deadline_s=0.5, plans=1)
    assert len(planner.plan(frames[0], frames[3], deadline_s=0.5).cost_curve) < 15
    with pytest.raises(InputError, match="stride of 4"):
        LatentPlanner.load(*paths, stride=4)


def test_the_command_line_plans_in_real_time(root: Path, play: tuple[str, np.ndarray], tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    name, frames = play
    for file, frame in (("now.png", frames[0]), ("goal.png", frames[3])):
        Image.fromarray(frame).save(tmp_path / file)
    assert main(["plan", str(tmp_path / "now.png"), str(tmp_path / "goal.png"), "--robot", str(root / "controllers" / name),
                 "--checkpoint", str(root / CHECKPOINT), "--search", "realtime", "--precision", "bf16"]) == 0
    assert capsys.readouterr().out.startswith("Plan(3 steps")  # one latent for as many steps as the model has learned


def test_the_command_line_plans_from_proposals(root: Path, play: tuple[str, np.ndarray], tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    name, frames = play
    for file, frame in (("now.png", frames[0]), ("goal.png", frames[3])):
        Image.fromarray(frame).save(tmp_path / file)
    status = main(["plan", str(tmp_path / "now.png"), str(tmp_path / "goal.png"), "--robot", str(root / "controllers" / name),
                   "--checkpoint", str(root / CHECKPOINT), "--search", "paper", "--samples", "16", "--iterations", "2",
                   "--proposals", "latent", "--plot", str(tmp_path / "plan.png")])
    assert status == 0 and (tmp_path / "plan.png").stat().st_size > 0
    said = capsys.readouterr().out
    assert said.startswith("Plan(3 steps") and "step 2:" in said
