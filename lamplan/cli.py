"""The command line: `lamplan pretrain`, `decoder`, `shard`, `fit`, `plan`, `check`, `robot`."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from lamplan import __version__
from lamplan.asked import device_of
from lamplan.commands import check
from lamplan.commands.numbers import count, positive, seed
from lamplan.errors import InputError, LamplanError
from lamplan.files import try_folder
from lamplan.precision import PRECISIONS, usual
from lamplan.presets import Proposals
from lamplan.robot import robot_folder

if TYPE_CHECKING:
    from lamplan.train.loop import Budget


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. Status 0 when it did what was asked, 2 when the input or a path was at fault, which one sentence tells, 130 when
    Ctrl-C ended it."""
    options = _parser().parse_args(arguments)
    if getattr(options, "threads", None) is not None:
        torch.set_num_threads(options.threads)
    try:
        return options.run(options) or 0
    except LamplanError as error:
        print(f"lamplan {options.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read what was printed has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        print(f"lamplan {options.command}: {error.filename or 'a file'} cannot be read or written ({error.strerror or error}): give "
              "another path, or make room and rights for this one.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"lamplan {options.command}: stopped by Ctrl-C.", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lamplan", description="Plan robot motion with a world model learned from unlabelled video.")
    parser.add_argument("--version", action="version", version=f"lamplan {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    pretrain = commands.add_parser("pretrain", help="learn a latent action model from folders of video")
    pretrain.add_argument("config", nargs="?", default="wild-small", help="a shipped recipe's name or a TOML file (default: wild-small)")
    pretrain.add_argument("--data", type=Path, nargs="+", required=True,
                          help="folders of video or of shards, searched at any depth, or text files with one path a line")
    pretrain.add_argument("--in-domain", type=Path, nargs="+", default=[], help="folders of unlabelled video of the target worlds")
    pretrain.add_argument("--share", type=float, default=0.5, help="share of the clips drawn from --in-domain (default: 0.5)")
    pretrain.add_argument("--out", type=Path, required=True, help="the checkpoint folder to write; its run/ keeps curves and state")
    start = pretrain.add_mutually_exclusive_group()
    start.add_argument("--from", dest="start", type=Path, help="go on from this checkpoint, its frozen encoder included")
    start.add_argument("--encoder-from", type=Path, help="take only the frozen encoder of this checkpoint")
    start.add_argument("--latents-from", type=Path, help="keep encoder, inverse dynamics and bottleneck of this checkpoint, and with them "
                       "the controllers; only the recipe's world model learns")
    start.add_argument("--encoder-only", action="store_true", help="train only the encoder, for other runs' --encoder-from")
    start.add_argument("--encoder-weights", help="weights of a released encoder that the recipe names: a .pt file or a Hugging Face folder")
    pretrain.add_argument("--cache", type=Path, help="where frames, features and indices of shards are kept (default: OUT/run/cache)")
    _budget(pretrain, "the recipe's steps, else --minutes 30")
    pretrain.set_defaults(run=_pretrain)

    decoder = commands.add_parser("decoder", help="learn to show what a model predicts as pictures")
    decoder.add_argument("checkpoint", type=Path, help="the latent action model whose features are decoded; the decoder is written into it")
    decoder.add_argument("--config", default="small", help="a shipped recipe's name (small, paper) or a TOML file (default: small)")
    decoder.add_argument("--data", type=Path, nargs="+", required=True, help="as of pretrain")
    decoder.add_argument("--out", type=Path, help="where curves and state are kept (default: runs/decoder-CHECKPOINT)")
    decoder.add_argument("--cache", type=Path, help="where frames and indices of shards are kept (default: OUT/cache)")
    _budget(decoder, "the recipe's steps, else --minutes 20")
    decoder.set_defaults(run=_decoder)

    shard = commands.add_parser("shard", help="turn a folder of video into shards")
    shard.add_argument("folder", type=Path, help="a folder of video, searched at any depth, or a list of paths")
    shard.add_argument("--out", type=Path, required=True, help="the folder of shards to write, for pretrain --data")
    shard.add_argument("--size-mb", type=float, default=1000.0, help="largest size of a shard (default: 1000)")
    shard.add_argument("--dry-run", action="store_true", help="say what would be skipped and written, and write nothing")
    shard.set_defaults(run=_shard)

    fit = commands.add_parser("fit", help="fit a robot's controller to its logs")
    fit.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="robot logs with images: robomimic HDF5, LeRobot or RLDS")
    fit.add_argument("--robot", required=True, help="a folder with robot.toml, or its name under controllers/")
    fit.add_argument("--checkpoint", type=Path, default=Path("checkpoints/wild-small"))
    fit.add_argument("--out", type=Path, help="where curves and state are kept (default: runs/fit-ROBOT-CHECKPOINT)")
    fit.add_argument("--seed", type=seed, default=0)
    fit.add_argument("--folds", type=count, default=1, metavar="N", help="for few episodes: measure on all of them, by fitting N more "
                     "controllers, each without another fold")
    _budget(fit, "--steps 2000, less when nothing gets better any more")
    fit.set_defaults(run=_fit)

    plan = commands.add_parser("plan", help="plan once from one image towards another")
    plan.add_argument("obs", type=Path, help="the present image (PNG or JPEG)")
    plan.add_argument("goal", type=Path, nargs="+", help="the goal image, or sub-goals in the order in which they are to be reached")
    plan.add_argument("--robot", required=True, help="a folder with robot.toml, or its name under controllers/")
    plan.add_argument("--checkpoint", type=Path, default=Path("checkpoints/wild-small"))
    plan.add_argument("--search", default="guided", metavar="NAME", help="settings by name (default: guided, by gradient from the goal "
                      "regression's motion; realtime: over latent actions; paper: CEM, 300 samples x 15 iterations x 3 steps)")
    for name in ("samples", "iterations", "horizon"):
        plan.add_argument(f"--{name}", type=int, help="instead of that search's own")
    plan.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of imagined frames (default: fp32)")
    plan.add_argument("--seed", type=seed, default=0)
    plan.add_argument("--proposals", choices=get_args(Proposals), help="where to begin the search: at the robot's prior, where the inverse "
                      "dynamics model sees the goal, or where the goal regression does (default: as the search's name says)")
    plan.add_argument("--deadline", type=positive, metavar="SECONDS", help="end the search in time for the plan to be there after so long")
    plan.add_argument("--plot", type=Path, help="write a picture of the plan here (PNG); with a decoder, of what it imagines too")
    plan.set_defaults(run=_plan)

    check.add_commands(commands)

    for command in (pretrain, decoder):
        command.add_argument("--stream", action="store_true", help="decode video while training and keep nothing: for large corpora")
    for command in (pretrain, decoder, shard):
        command.add_argument("--workers", type=count, help="processes that decode video (default: the cores that are there)")
    for command in (pretrain, decoder, fit, plan):
        command.add_argument("--threads", type=count, help="CPU threads (default: torch's choice)")
    for command in (pretrain, decoder, fit):
        command.add_argument("--device", help="torch's name of the device to train on (default: cuda if there is one, else cpu)")
        command.add_argument("--precision", choices=PRECISIONS, help="of matrix products (default: bf16 on a GPU, else fp32)")
    return parser


def _budget(command: argparse.ArgumentParser, default: str) -> None:
    budget = command.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=positive, help=f"train for this long (default: {default})")
    budget.add_argument("--steps", type=count, help="train for this many steps")


def _pretrain(options: argparse.Namespace) -> None:
    from lamplan.train.config import load_config
    from lamplan.train.pretrain import pretrain

    config = load_config(options.config)
    if options.encoder_weights:
        config = replace(config, encoder_weights=options.encoder_weights)
    run = options.out / "run"
    with _training(options, run) as resources:
        pretrain(config, options.data, options.out, budget=_chosen_budget(options, config.steps, 30.0), in_domain=options.in_domain,
                 share=options.share, start=options.start, encoder_from=options.encoder_from, latents_from=options.latents_from,
                 encoder_only=options.encoder_only, cache=options.cache, **resources)
        if resources["world"].leads:
            print(f"wrote {options.out}; curves: tensorboard --logdir {run}")


def _decoder(options: argparse.Namespace) -> None:
    from lamplan.train.config import load_decoder_recipe
    from lamplan.train.decoder import fit_decoder

    recipe = load_decoder_recipe(options.config)
    run = options.out or Path("runs") / f"decoder-{options.checkpoint.resolve().name}"
    with _training(options, run) as resources:
        fit_decoder(options.checkpoint, options.data, recipe, budget=_chosen_budget(options, recipe.steps, 20.0), run=run,
                    cache=options.cache, **resources)
        if resources["world"].leads:
            print(f"wrote the decoder into {options.checkpoint}; curves: tensorboard --logdir {run}")


def _chosen_budget(options: argparse.Namespace, recipe: int | None, minutes: float | None = None) -> Budget:
    """The command line's budget, else the recipe's steps, else minutes."""
    from lamplan.train.loop import Budget

    given = options.steps is not None or options.minutes is not None
    steps = options.steps if given else recipe
    return Budget(steps=steps, minutes=options.minutes if given or steps else minutes)


@contextmanager
def _training(options: argparse.Namespace, run: Path) -> Iterator[dict[str, Any]]:
    """Device, precision, processes and stream of a training on video, as its function takes them."""
    from lamplan.train.clips import SKIPPED, Streaming
    from lamplan.train.distribution import joined

    with joined(_device(options)) as (world, device):
        try_folder(run)
        log = run / (SKIPPED if world.leads else f"rank{world.rank}-{SKIPPED}")
        with Streaming(log, options.workers) if options.stream else nullcontext() as stream:
            yield {"device": device, "precision": options.precision or usual(device), "world": world, "stream": stream}
        if stream:
            print(stream.skipped)


def _shard(options: argparse.Namespace) -> None:
    from lamplan.shards import report, shard

    print(report(shard(options.folder, options.out, options.size_mb, options.dry_run, options.workers), options.dry_run))


def _fit(options: argparse.Namespace) -> None:
    from lamplan.train.controller import fit

    robot = robot_folder(options.robot)
    run = options.out or Path("runs") / f"fit-{robot.name}-{options.checkpoint.resolve().name}"
    device = _device(options)
    found = fit(options.logs, robot, options.checkpoint, budget=_chosen_budget(options, 2000), run=run, seed=options.seed,
                folds=options.folds, device=device, precision=options.precision or usual(device))
    for camera, worth in found.items():
        print(f"{robot.name} through {camera}, on {worth.episodes} held-out episodes:\n{worth}")


def _plan(options: argparse.Namespace) -> None:
    from lamplan.images import read_image
    from lamplan.latent_planner import LatentPlanner
    from lamplan.models.decoder import Decoder, has_decoder
    from lamplan.planner import Planner
    from lamplan.presets import preset, resized

    if options.search == "realtime" and options.proposals:
        raise InputError(f"--proposals {options.proposals} means nothing with --search realtime, which begins at the latent inferred "
                         "between here and the goal: leave it out, or choose another search.")
    search = resized(preset(options.search), options.samples, options.iterations, options.horizon)
    common = {"seed": options.seed, "precision": options.precision}
    if options.search == "realtime":
        planner: Planner = LatentPlanner.load(options.checkpoint, robot_folder(options.robot), search, **common)
    else:
        planner = Planner.load(options.checkpoint, robot_folder(options.robot), search, proposals=options.proposals, **common)
    obs, goals = read_image(options.obs), [read_image(path) for path in options.goal]
    if options.plot:
        try_folder(options.plot.parent)
    if options.deadline is not None:
        planner.warmup(options.deadline, obs)
    plan = planner.plan(obs, goals, deadline_s=options.deadline)
    print(plan)
    if planner.robot.frame == "camera":
        print(f"in the frame of {planner.robot.camera}; `RobotSpec.to_base` turns it into the base's:")
    for step, action in enumerate(plan.actions):
        print(f"step {step}: " + "  ".join(f"{name} {value:+.4f} {unit}" for name, value, unit in
                                           zip(planner.robot.names, action, planner.robot.units, strict=True)))
    if options.plot:
        pictures = {"now": obs}
        if has_decoder(options.checkpoint):
            imagined = Decoder.load(options.checkpoint).decode(torch.from_numpy(plan.predicted)[None])[0].numpy()
            pictures |= {f"imagined, step {step}": image for step, image in enumerate(imagined, start=1)}
        plan.plot(options.plot, pictures | {f"goal {number}" if len(goals) > 1 else "goal": goal for number, goal in enumerate(goals, 1)})


def _device(options: argparse.Namespace) -> str:
    name = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    # Of several processes each has a device of its own, and would only take memory from this one.
    return str(device_of(name, hold="LOCAL_RANK" not in os.environ))


if __name__ == "__main__":
    sys.exit(main())
