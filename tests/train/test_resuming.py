"""Whatever ends a run, the next one goes on from it and ends where an uninterrupted one does, bit for bit."""

from __future__ import annotations

import io
import math
import os
import pickle
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, Metadata

from lamplan.errors import InputError
from lamplan.train import loop
from lamplan.train.curves import Curves
from lamplan.train.snapshots import _Unpickler, settle
from lamplan.train.stop import Stop
from tests.train import cluster

STEPS = 8


def run(kind: str, out: Path, pause: float) -> None:
    """A training that saves at every step and waits for its data, so that a kill finds it in the middle."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the background job of a shell would ignore
    out.mkdir(exist_ok=True)
    sys.stdout = sys.stderr = (out / "said").open("w")
    assert loop.train.__kwdefaults__ is not None
    loop.train.__kwdefaults__["save_seconds"] = 0.0
    draw = cluster.Squares.draw

    def slowly(self: cluster.Squares, step: int, batch: int) -> torch.Tensor:
        time.sleep(pause)
        return draw(self, step, batch)

    cluster.Squares.draw = slowly  # type: ignore[method-assign]
    model = cluster.learn(cluster.recipe(kind, micro_batch=8), out, STEPS)
    torch.save(model.state_dict(), out / "final.pt")


def steps_done(out: Path) -> int:
    return max((int(path.name[5:]) for path in (out / "state").glob("step-*") if not path.suffix), default=0)


def killed_until_done(kind: str, out: Path, kills: int, seed: int) -> None:
    """Runs, kills without warning at a random moment, runs again; after that many kills lets it finish."""
    rng = np.random.default_rng(seed)
    for killed in range(kills):
        process = cluster.begin(run, kind, out, 0.01)
        wait_for = min(steps_done(out) + 1, (STEPS - 2) * (killed + 1) // kills)
        while steps_done(out) < wait_for and process.is_alive():
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))  # anywhere: in a step, in the writing of a snapshot or of a curve
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (out / "said").read_text()[-2000:]
    process = cluster.begin(run, kind, out, 0.0)
    process.join()
    assert process.exitcode == 0, (out / "said").read_text()[-2000:]


def compare(kind: str, out: Path, whole: Path) -> None:
    torch.set_num_threads(1)  # as `run`: another number of threads adds in another order
    finished = cluster.learn(cluster.recipe(kind, micro_batch=8), whole, STEPS).state_dict()
    assert cluster.losses(out) == cluster.losses(whole)
    for name, tensor in torch.load(out / "final.pt", weights_only=True).items():
        assert torch.equal(tensor, finished[name]), name
    assert not list((out / "state").glob("*.part")) and len(list((out / "state").iterdir())) <= 3


def test_killed_three_times_it_ends_as_if_never(tmp_path: Path) -> None:
    killed_until_done("discrete", tmp_path / "killed", 3, seed=0)  # whose codebook and counts are state as well
    compare("discrete", tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noisy", "sparse", "discrete"])
def test_killed_twenty_times_it_ends_as_if_never(kind: str, tmp_path: Path) -> None:
    killed_until_done(kind, tmp_path / "killed", 20, seed=1)
    compare(kind, tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_sigterm_and_ctrl_c_save_and_leave(number: signal.Signals, status: int, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    process = cluster.begin(run, "noisy", out, 0.1)
    while not steps_done(out) and process.is_alive():
        time.sleep(0.01)
    os.kill(process.pid or 0, number)
    process.join()
    said = (out / "said").read_text()
    assert process.exitcode == status, said
    assert f"{number.name} at step" in said and "Traceback" not in said
    assert 0 < steps_done(out) < STEPS
    process = cluster.begin(run, "noisy", out, 0.0)
    process.join()
    assert process.exitcode == 0
    compare("noisy", out, tmp_path / "whole")


def test_a_second_ctrl_c_ends_at_once() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.asked is signal.SIGINT
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        with Stop() as stop:
            assert stop.asked is None
            for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
                signal.raise_signal(number)
            assert stop.asked is signal.SIGTERM
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of a job in a shell's background
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.asked is None
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("budget", [{"steps": 0}, {"steps": -3}, {"minutes": 0.0}, {"minutes": math.nan}, {"minutes": math.inf},
                                    {}, {"steps": 3, "minutes": 1.0}])
def test_a_budget_that_means_nothing_is_refused(budget: dict[str, float]) -> None:
    with pytest.raises(InputError, match="a training budget is either a positive number of steps or of minutes"):
        loop.Budget(**budget)  # type: ignore[arg-type]


def test_curves_forget_what_lies_beyond_the_step_that_a_run_goes_on_from(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 0)
    for step in range(1, 6):
        curves.add(step, step / 10, {"train/loss": 1 / step})
    curves.add(5, 0.5, {"val/loss": 0.25})
    curves.close()
    with (tmp_path / "curves.csv").open("a") as file:
        file.write("6,0.6,train/lo")  # cut off by a kill
    again = Curves(tmp_path, 3)
    again.add(3, 9.9, {"train/loss": 7.0, "val/loss": 0.5})
    again.close()
    assert cluster.losses(tmp_path) == ["1,train/loss,1", "2,train/loss,0.5", "3,train/loss,0.333333333", "3,val/loss,0.5"]


class Reduced:
    """Pickles as a call, the way enumerations are written by Python before 3.11.4, and hostile files by anybody."""

    def __init__(self, call: object, *arguments: object) -> None:
        self.reduced = call, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.reduced  # type: ignore[return-value]


def test_an_index_names_members_of_enumerations_and_runs_nothing() -> None:
    def read(*reduced: object) -> object:
        return _Unpickler(io.BytesIO(pickle.dumps(Reduced(*reduced)))).load()

    assert read(getattr, _MEM_FORMAT_ENCODING, "TORCH_PRESERVE_FORMAT") is _MEM_FORMAT_ENCODING.TORCH_PRESERVE_FORMAT
    for hostile in ((getattr, Metadata, "__init__"), (getattr, _MEM_FORMAT_ENCODING, "__class__"), (os.system, "true"), (eval, "1")):
        with pytest.raises(pickle.UnpicklingError, match="no snapshot needs"):
            read(*hostile)


def test_other_runs_below_a_folder_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "fit-panda" / "state" / "step-00000003").mkdir(parents=True)
    settle(tmp_path, {"seed": "0"})
    (tmp_path / "fold-0-of-2" / "regression" / "state" / "step-00000003").mkdir(parents=True)
    settle(tmp_path, {"seed": "0"})
    with pytest.raises(InputError, match="seed: 0, now 1"):
        settle(tmp_path, {"seed": "1"})
    (tmp_path / "run.json").write_text('"x"')
    with pytest.raises(InputError, match="an older one"):
        settle(tmp_path, {"seed": "0"})
