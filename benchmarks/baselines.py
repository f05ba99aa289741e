"""Trains the baselines that need labels, on the same logs as the controller: `python -m benchmarks.baselines --help`.

Writes OUT/action_labelled (weights and configuration) and OUT/behaviour.json (the logs' mean action).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.action_labelled import ActionLabelledWorldModel
from benchmarks.encoded_logs import EncodedEpisode, as_the_controller, encode_logs, sample_clips
from benchmarks.options import guarded, positive_int
from lamplan.lam import LatentActionModel
from lamplan.precision import PRECISIONS, Precision
from lamplan.robot import RobotSpec
from lamplan.train.config import PretrainConfig, load_config
from lamplan.train.distribution import Execution
from lamplan.train.loop import Budget, train
from lamplan.weights import module_fingerprint

VALIDATION_BATCHES = 8
ACTION_LABELLED, BEHAVIOUR = "action_labelled", "behaviour.json"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baselines", description=__doc__)
    parser.add_argument("--log", type=Path, nargs="+", required=True, help="labelled logs (HDF5), the ones the controller was fitted to")
    parser.add_argument("--robot", type=Path, required=True, help="folder with the robot's robot.toml")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the LAM whose encoder and size are used")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained baselines; a killed run goes on from it")
    parser.add_argument("--config", default="wild-small", help="the recipe that the LAM's world model was trained by: a shipped one's name "
                        "or a TOML file (default: wild-small)")
    parser.add_argument("--steps", type=positive_int, default=5000,
                        help="steps of the action-labelled world model: as many as the LAM had (default: 5000)")
    parser.add_argument("--clip-frames", type=positive_int, default=4, help="frames per clip of the action-labelled world model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the matrix products in training (default: fp32)")
    args = parser.parse_args(argv)

    robot = RobotSpec.load(args.robot)
    lam = LatentActionModel.load(args.checkpoint).to(args.device)
    training, held_out = as_the_controller(encode_logs(args.log, robot, lam, args.device))
    write_behaviour(args.out, robot, training, module_fingerprint(lam.encoder))
    train_action_labelled(training, held_out, robot, lam, load_config(args.config), Budget(steps=args.steps), args.out / ACTION_LABELLED,
                          args.clip_frames, args.seed, args.device, args.precision)
    print(f"baselines written to {args.out}")


def write_behaviour(out: Path, robot: RobotSpec, episodes: list[EncodedEpisode], encoder: str) -> None:
    """The mean recorded action, and which encoder and how many episodes the baselines know."""
    mean = torch.cat([episode.actions for episode in episodes]).mean(dim=0).tolist()
    out.mkdir(parents=True, exist_ok=True)
    partial = out / (BEHAVIOUR + ".part")
    partial.write_text(json.dumps({"robot": robot.name, "source": robot.source, "frame": robot.frame, "mean_action": mean,
                                   "episodes": len(episodes), "encoder": encoder}) + "\n")
    os.replace(partial, out / BEHAVIOUR)


def train_action_labelled(training: list[EncodedEpisode], held_out: list[EncodedEpisode], robot: RobotSpec, lam: LatentActionModel,
                          recipe: PretrainConfig, budget: Budget, out: Path, frames: int, seed: int, device: str,
                          precision: Precision) -> ActionLabelledWorldModel:
    """L1 under teacher forcing and over rollouts, in the shares and batches and by the optimiser of the LAM's own recipe."""
    torch.manual_seed(seed)
    model = ActionLabelledWorldModel.like(lam, robot.action_dim).to(device)
    actions = torch.cat([episode.actions for episode in training])
    model.action_mean.copy_(actions.mean(dim=0))
    model.action_scale.copy_(actions.std(dim=0).clamp_min(1e-3))

    def draw(step: int, size: int) -> tuple[Tensor, Tensor]:
        return sample_clips(training, size, frames, np.random.default_rng([seed, 3, step]))

    def loss(part: tuple[Tensor, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        clip, taken = part
        imagined = np.random.default_rng([seed, 5, step]).random() < recipe.imagined
        value = F.l1_loss(model.imagine(clip[:, 0], taken) if imagined else model(clip[:, :-1], taken), clip[:, 1:])
        return value, {"rollout_l1" if imagined else "l1": value.detach()}

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        clips = [sample_clips(held_out, recipe.batch, frames, np.random.default_rng([seed, 4, i])) for i in range(VALIDATION_BATCHES)]
        clip, taken = (torch.cat(column) for column in zip(*clips, strict=True))
        return {"l1": F.l1_loss(model(clip[:, :-1], taken), clip[:, 1:]).item(), "copy": F.l1_loss(clip[:, :-1], clip[:, 1:]).item(),
                "rollout": F.l1_loss(model.imagine(clip[:, 0], taken)[:, -1], clip[:, -1]).item(),
                "rollout_copy": F.l1_loss(clip[:, 0], clip[:, -1]).item()}

    train(model, draw, loss, budget, out, batch=recipe.batch, title=ACTION_LABELLED, config=recipe.optimiser,
          seed=seed, validate=validate, execution=Execution(precision))
    model.save(out)
    return model.eval().requires_grad_(False)


if __name__ == "__main__":
    guarded(main)
