"""`python -m benchmarks.encoders`: which self-supervised objective gives the better frozen features for the same minutes?

Trains the encoder of a recipe on the same video for the same time by each objective of masked prediction, then asks a ridge
regression on the frozen features how far the robot's hand moved over three steps. Labels serve this measurement alone. With --checkpoints
the encoders of these are asked as well, as they are: one before and one after joint training, say.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.options import chosen, guarded
from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.logs import open_log
from lamplan.models.encoder import Encoder
from lamplan.models.masked import MaskedConfig
from lamplan.report.results import Results
from lamplan.report.table import table
from lamplan.robot import RobotSpec
from lamplan.train.config import load_config
from lamplan.train.data import frame_store
from lamplan.train.loop import Budget
from lamplan.train.pretrain import standardise, train_encoder

STEPS = 3
OBJECTIVES = ("untrained", "features", "pixels")
RIDGE = (1e0, 1e1, 1e2, 1e3, 1e4)


@torch.inference_mode()
def movements(encoder: Encoder, log: Path, spec: RobotSpec, episodes: int) -> tuple[list[Tensor], list[Tensor]]:
    """Per episode: change of features (n, P·D) over three steps, and the hand's displacement (n, 3) in metres."""
    changes, moved = [], []
    for episode in open_log(log)[:episodes]:
        s = torch.cat([encoder(part) for part in torch.from_numpy(episode.frames(spec.camera)).split(64)]).flatten(1)
        steps = torch.from_numpy(spec.differences(episode.states)[:, :3]).float().cumsum(0)
        steps = torch.cat([torch.zeros(1, 3), steps])
        changes.append(s[STEPS:] - s[:-STEPS])
        moved.append(steps[STEPS:] - steps[:-STEPS])
    return changes, moved


def probe(changes: list[Tensor], moved: list[Tensor]) -> np.ndarray:
    """L1 errors (episodes held out,) in metres of ridge regression; its strength is chosen on a sixth of the other episodes."""
    held_out, choose = len(changes) // 3, len(changes) // 6
    fit = slice(0, len(changes) - held_out - choose)
    x, y = torch.cat(changes[fit]), torch.cat(moved[fit])
    gram = x @ x.T

    def errors(part: slice, strength: float) -> np.ndarray:
        weights = torch.linalg.solve(gram + strength * x.shape[1] / 100 * torch.eye(len(x)), y)
        return np.array([((c @ x.T) @ weights - m).abs().sum(1).mean().item() for c, m in zip(changes[part], moved[part], strict=True)])

    validation = slice(fit.stop, fit.stop + choose)
    best = min(RIDGE, key=lambda strength: errors(validation, strength).mean())
    return errors(slice(len(changes) - held_out, None), best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="wild-small")
    parser.add_argument("--data", type=Path, required=True, help="folder of unlabelled video")
    parser.add_argument("--log", type=Path, required=True, help="labelled log of the arm, for the measurement")
    parser.add_argument("--robot", type=Path, default=Path("controllers/panda"))
    parser.add_argument("--checkpoints", type=Path, nargs="+", default=[], help="folders whose encoders are measured too")
    parser.add_argument("--objectives", default=",".join(OBJECTIVES), help="comma-separated; none with an empty text")
    parser.add_argument("--minutes", type=float, default=4.0, help="training time of each objective")
    parser.add_argument("--episodes", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/encoders"))
    options = parser.parse_args()
    objectives = chosen(options.objectives, OBJECTIVES, "objectives") if options.objectives else []
    if not objectives and not options.checkpoints:
        raise InputError("nothing to measure: give --objectives or --checkpoints.")
    config, spec = load_config(options.config), RobotSpec.load(options.robot)
    frames = frame_store(options.data, options.cache, config.lam.encoder.image_size, config.lam.rate_hz)
    results = Results.begin("encoders", options.seed, "cpu", minutes=options.minutes, episodes=options.episodes)

    def measure(encoder: Encoder, name: str) -> list[Tensor]:
        changes, moved = movements(encoder.eval(), options.log, spec, options.episodes)
        results.add(name, "movement_probe", "delta_xyz", "m", probe(changes, moved))
        return moved

    for name in objectives:
        torch.manual_seed(options.seed)
        encoder = Encoder(config.lam.encoder)
        if name != "untrained":
            recipe = replace(config, seed=options.seed, masked=MaskedConfig(**{**asdict(config.masked), "target": name}))
            train_encoder(encoder, [frames], recipe, Budget(minutes=options.minutes), options.out / name)
        standardise(encoder, [frames])
        moved = measure(encoder, name)
    for folder in options.checkpoints:
        moved = measure(LatentActionModel.load(folder).encoder, folder.name)
    held_out = moved[-(len(moved) // 3) :]
    results.add("zero", "movement_probe", "delta_xyz", "m", np.array([m.abs().sum(1).mean().item() for m in held_out]))
    results.write(options.out)
    print(table(results))


if __name__ == "__main__":
    guarded(main)
