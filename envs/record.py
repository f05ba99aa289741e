"""Records labelled logs of play in a simulated world: `python -m envs.record --env tabletop --episodes 100 --seed 0 --out play.hdf5`.

Episode i is decided by seed + i alone, so a recording that was killed goes on where it stopped, and any number of workers
gives the same log. Step t of an episode holds what was seen and measured, and the action then commanded. A log of another
seed or robot is not gone on with.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm import tqdm

import envs  # noqa: F401  (registers the worlds)
from lamplan.errors import InputError, LamplanError
from lamplan.logs import open_log, open_writer

WORLDS = {"tabletop": "lamplan/Tabletop-v0", "rover": "lamplan/Rover-v0"}
# Seeds from here on belong to benchmarks; recordings for training stay below.
FIRST_HELD_OUT_SEED = 1_000_000
SAME_START = 1e-3  # metres, radians or the gripper's: between a recorded episode's start and that of its seed

_world: gym.Env  # one per worker process: building it takes seconds


def record_episode(world: gym.Env, seed: int, steps: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Frames by camera (T, H, W, 3), states (T, S) and commanded actions (T, A) of one episode of play."""
    base: Any = world.unwrapped
    rng = np.random.default_rng([seed, 1])
    observation, _ = base.reset(seed=seed)
    observations, actions = [], []
    for _ in range(steps):
        observations.append(observation)
        actions.append(base.random_motion(rng))
        observation = base.step(actions[-1])[0]
    cameras = [key for key in observation if key.endswith("_image")]
    frames = {key: np.stack([seen[key] for seen in observations]) for key in cameras}
    return frames, np.stack([seen["proprio"] for seen in observations]), np.stack(actions)


def record(world_id: str, options: dict[str, Any], out: Path, episodes: int, seed: int, steps: int, workers: int) -> None:
    """Writes `episodes` episodes of play to `out`, leaving out those that an earlier run has finished."""
    if min(episodes, steps, workers) < 1 or seed < 0:
        raise InputError("episodes, steps and workers must be at least 1, and the seed at least 0.")
    if seed < FIRST_HELD_OUT_SEED < seed + episodes:
        raise InputError(f"seeds {seed} to {seed + episodes - 1} run into those held out for benchmarks (from {FIRST_HELD_OUT_SEED}).")
    out.parent.mkdir(parents=True, exist_ok=True)
    with gym.make(world_id, **options) as world:
        robot = world.unwrapped.robot_spec
        open_writer(out, robot, world_id).close()  # gathers what a killed run has finished
        with open_writer(out, robot, world_id) as log:
            finished = log.finished()
            if finished and out.exists():
                _check_seed(world, out, seed, min(finished), len(finished))
            missing = [index for index in range(episodes) if index not in finished]
            if not missing:
                print(f"{out} already holds {len(finished)} episodes from seed {seed} on: nothing was recorded; raise --episodes for more.")
                return
            with _episodes(world, world_id, options, [(index, seed + index, steps) for index in missing], workers) as recorded:
                for index, episode in tqdm(recorded, total=episodes, initial=episodes - len(missing), desc=out.name, unit="episode"):
                    frames, states, actions = episode
                    log.write_episode(frames, states, actions, index=index)


def _check_seed(world: gym.Env, out: Path, seed: int, first: int, count: int) -> None:
    """Raises InputError unless the first of the log's episodes, of index `first`, begins where its seed begins."""
    base: Any = world.unwrapped
    observation, _ = base.reset(seed=seed + first)
    apart = np.abs(open_log(out)[0].states[0] - observation["proprio"]).max()
    if apart > SAME_START:
        raise InputError(f"{out} holds {count} episodes that were not recorded from seed {seed}: the first begins {apart:.3f} away from "
                         "where that seed begins; give the --seed and --robot that they are of, or another --out.")


@contextmanager
def _episodes(world: gym.Env, world_id: str, options: dict[str, Any], jobs: list[tuple[int, int, int]], workers: int) -> Iterator[Any]:
    if workers == 1:
        yield ((index, record_episode(world, seed, steps)) for index, seed, steps in jobs)
        return
    # A renderer does not survive a fork.
    with multiprocessing.get_context("spawn").Pool(workers, _open, (world_id, options)) as pool:
        yield pool.imap_unordered(_run, jobs)


def _open(world_id: str, options: dict[str, Any]) -> None:
    global _world
    _world = gym.make(world_id, **options)


def _run(job: tuple[int, int, int]) -> tuple[int, Any]:
    index, seed, steps = job
    return index, record_episode(_world, seed, steps)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m envs.record", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--env", choices=sorted(WORLDS), required=True)
    parser.add_argument("--episodes", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the first episode")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file, or folder for a LeRobot data set; continued if unfinished")
    parser.add_argument("--steps", type=int, default=24, help="per episode")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--wrist", action="store_true", help="tabletop: record the wrist camera too")
    parser.add_argument("--robot", default="Panda", help="tabletop: another of robosuite's arms")
    chosen = parser.parse_args(arguments)
    options: dict[str, Any] = {"image_size": chosen.image_size}
    if chosen.env == "tabletop":
        options |= {"wrist": chosen.wrist, "robot": chosen.robot}
    try:
        record(WORLDS[chosen.env], options, chosen.out, chosen.episodes, chosen.seed, chosen.steps, chosen.workers)
    except LamplanError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
