"""`python -m tests.logs.fuzz FOLDER COUNT SEED [FORMAT ...]`: reads spoilt logs and prints what came of them as JSON.

A program of its own, so that a crash of the interpreter, a hang or a flood of memory is seen from outside.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from lamplan.errors import LamplanError
from lamplan.logs import open_log
from tests.logs import damage, helpers, made_lerobot, made_rlds, synthetic
from tests.logs.damage_hdf5 import CANARY

STEPS = 6
EPISODES = 20  # of a spoilt log that are read
FORMATS = {
    "droid": lambda folder: synthetic.droid(folder, STEPS),
    "franka": lambda folder: synthetic.franka(folder, STEPS),
    "recon": lambda folder: synthetic.recon(folder / "jackal.hdf5", STEPS),
    "recon_pictures": lambda folder: synthetic.recon_pictures(folder, STEPS),
    "start_goal": lambda folder: synthetic.start_goal(folder / "pair.npz"),
    "robomimic": lambda folder: helpers.write_log(folder / "log.hdf5", 2),
    "lerobot_v2": made_lerobot.write_lerobot2,
    "lerobot_v3": made_lerobot.write_lerobot3,
    "rlds": made_rlds.write_rlds,
}
FORBIDDEN = {
    "pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "ctypes.dlopen",
}


def peak_mb() -> float:
    """The most memory that this process has held. (`ru_maxrss` would also count what its parent held when it started this one.)"""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def watch(allowed: tuple[Path, ...]) -> list[str]:
    """Notes every attempt to run a program, to unpickle, to connect, or to write outside of `allowed`."""
    seen: list[str] = []

    def hook(event: str, arguments: tuple) -> None:
        if event in FORBIDDEN:
            seen.append(f"{event} {arguments}")
        elif event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) \
                and not any(Path(arguments[0]).is_relative_to(place) for place in allowed):
            seen.append(f"write {arguments[0]}")

    sys.addaudithook(hook)
    return seen


def read(folder: Path) -> None:
    """Everything that a training would read."""
    single = [path for path in folder.iterdir() if path.suffix in (".hdf5", ".npz")]
    log = open_log(single[0] if single else folder)
    # A damaged table of contents may name very many episodes; any of them may be asked for.
    for number in range(min(len(log), EPISODES)):
        episode = log[number]
        assert len(episode) == len(episode.states) > 0 and episode.states.dtype == np.float64
        assert np.isfinite(episode.states).all() and not (episode.states == CANARY).any()
        if episode.actions is not None:
            assert len(episode.actions) == len(episode)
            assert np.isfinite(episode.actions).all() or np.abs(episode.states).max() > 1e100
        assert 0 < episode.rate_hz < np.inf
        for camera in episode.cameras:
            axes = episode.axes(camera)
            assert axes is None or (axes.shape[1:] == (3, 3) and not (axes == CANARY).any())
            assert len(episode.frames(camera, np.array([0, len(episode) - 1]))) == 2
            assert len(episode.frames(camera)) == len(episode)


def main() -> None:
    root, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with h5py.File(root / "canary.h5", "w") as file:
        file["values"] = np.full((64, 64), CANARY)
    names = sys.argv[4:] or list(FORMATS)
    originals = {name: root / f"{name}.original" for name in names}
    for name in names:
        originals[name].mkdir()
        FORMATS[name](originals[name])
        read(originals[name])
    found, attempts = {}, watch((root, Path(os.environ["XDG_CACHE_HOME"]), Path(os.devnull)))
    for name in names:
        outcome = {"read": 0, "refused": 0, "slowest_s": 0.0}
        for number in range(count):
            rng = random.Random(f"{name}/{seed}/{number}")
            damage.copy(originals[name], root / "spoilt")
            damage.spoil(root / "spoilt", rng)
            (root / "now.txt").write_text(f"{name} {seed} {number}")
            began = time.process_time()
            try:
                read(root / "spoilt")
                outcome["read"] += 1
            except LamplanError as error:
                assert "spoilt" in str(error) and len(str(error)) < 3000, error
                outcome["refused"] += 1
            outcome["slowest_s"] = max(outcome["slowest_s"], time.process_time() - began)
        found[name] = outcome
    print(json.dumps({"formats": found, "attempts": attempts, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
