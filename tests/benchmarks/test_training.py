"""The benchmark of training: it runs the real loop, its shares add up, and its operations are those of the formula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import training
from benchmarks.operators import OperatorProfile
from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.report import Results
from lamplan.train import flops
from lamplan.train.config import load_config
from lamplan.train.distribution import Execution
from lamplan.train.flops import matrix_rate, training_flops
from lamplan.train.pretrain import Joint
from lamplan.train.timing import Seconds
from tests import tiny
from tests.train import cluster


def test_a_price_of_the_whole_batch_is_not_measured_in_parts(tmp_path: Path) -> None:
    config = cluster.recipe("sparse", micro_batch=2)
    trial = training.Trial(config, Execution(), torch.device("cpu"))
    with pytest.raises(InputError, match=r"a batch of 8 as a whole.*parts of 2: give --batch and --micro-batch the same number"):
        trial.measure(training.QUICK, lambda found, peak: None)
    assert training.Trial(cluster.recipe("sparse", micro_batch=8), Execution(), torch.device("cpu")).measure(
        training.QUICK, lambda found, peak: None)


@pytest.mark.parametrize("encode", ["once", "each_step"])
def test_it_measures_the_loop_and_its_shares_add_up(tmp_path: Path, encode: str) -> None:
    training.main(["--config", str(tiny.recipe(tmp_path)), "--encode", encode, "--micro-batch", "4", "--quick", "--device", "cpu",
                   "--out", str(tmp_path / "out")])
    results = Results.read(tmp_path / "out")
    name = f"tiny from {'features' if encode == 'once' else 'frames'}"
    for kind in ("", ", busy"):
        values = {row.metric: row.value for row in results.rows if row.name in (name, name + kind)}
        assert values["forward"] + values["backward"] + values["optimiser"] + values["outside"] == pytest.approx(1.0)
        assert 0 <= values["data"] <= values["outside"] < 1 and values["mfu"] > 0
        assert values["mfu"] == pytest.approx(values["clips_per_s"] * values["clip_flops"] / values["matrix_rate"])
    assert results.budget["encode"] == encode and results.budget["micro_batch"] == 4
    shares = {row.name: row.value for row in results.find(f"operators, {name}", "time")}
    assert sum(shares.values()) == pytest.approx(1.0) and shares["mm"] > 0 and "all others" in shares
    # What the operators do of a step's work is all of it, but for those too small to be shown.
    rates = {row.name: row.value for row in results.find(f"operators, {name}", "of the matrix rate")}
    assert 0 < sum(rate * shares[operator] for operator, rate in rates.items()) <= values["mfu"] * 1.001


def test_what_was_measured_is_kept_when_the_profile_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(profile: OperatorProfile) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OperatorProfile, "end", killed)
    with pytest.raises(KeyboardInterrupt):
        training.main(["--config", str(tiny.recipe(tmp_path)), "--quick", "--device", "cpu", "--out", str(tmp_path / "out")])
    assert {"mfu", "step_time", "matrix_rate"} <= {row.metric for row in Results.read(tmp_path / "out").rows}


def test_a_recipe_is_counted_without_being_run(tmp_path: Path) -> None:
    training.main(["--config", "wild-small", "--device", "meta", "--out", str(tmp_path / "small")])
    counted = {row.metric: row.value for row in Results.read(tmp_path / "small").rows}
    # By hand: 24 operations a token, layer and width squared, three times with the backward pass, are 1.81 GFLOP of world model
    # (192 tokens, 2 x 256) and 0.68 of inverse dynamics (192 tokens, 3 x 128); embeddings, heads, modulation and attention are the rest.
    assert set(counted) == {"clip_flops", "encoder"} and counted["clip_flops"] == pytest.approx(2.891e-3, rel=1e-3)
    training.main(["--config", "paper", "--device", "meta", "--assumed-rate", "100", "--out", str(tmp_path / "paper")])
    counted = {row.metric: row.value for row in Results.read(tmp_path / "paper").rows}
    assert counted["recipe_flops"] == pytest.approx(counted["clip_flops"] * 1024 * 30_000 / 1e6)
    assert counted["recipe at 100 TFLOP/s"] == pytest.approx(counted["recipe_flops"] * 1e6 / 100 / 3600)
    assert 0 < counted["encoder"] < counted["clip_flops"] / 4


def test_operations_of_a_linear_layer_are_counted_and_nothing_is_left_behind() -> None:
    layer = torch.nn.Linear(30, 20)
    x = torch.randn(10, 30, requires_grad=True)
    assert training_flops(layer, lambda: layer(x).sum()) == 3 * 2 * 10 * 30 * 20  # forward, and to weights and input
    assert layer.weight.grad is None and layer.training


def test_the_first_product_which_waits_for_a_library_tells_nothing_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    products = 0

    def timed(work: Callable[[], object], device: torch.device) -> Seconds:
        nonlocal products
        products += 1
        return Seconds(busy=5.0 if products == 1 else 0.5)

    monkeypatch.setattr(flops, "timed", timed)
    assert matrix_rate(torch.device("cpu"), "fp32", seconds=0.0) == 2 * 1024**3 / 0.5


def test_attention_counts_where_it_is_fused_too() -> None:
    layer, x = torch.nn.Linear(32, 96), torch.randn(2, 10, 32)

    def loss() -> torch.Tensor:
        q, k, v = layer(x).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v).sum()

    product = 2 * (2 * 4) * 10 * 10 * 8  # of two rows and four heads; forward two of them, backward five, as torch counts on a GPU
    assert training_flops(layer, loss) == 2 * 2 * 20 * 32 * 96 + 7 * product


def test_counting_leaves_a_discrete_codebook_as_it_was(tmp_path: Path) -> None:
    path = tiny.recipe(tmp_path)
    path.write_text(path.read_text().replace('kind = "noisy"\ndim = 8', 'kind = "discrete"\ndim = 8\nreset_after = 1'))
    model = LatentActionModel(load_config(str(path)).lam)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert training_flops(Joint(model), lambda: model.loss(torch.randn(2, 3, 16, 24))[0]) > 0
    model.bottleneck.after_step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_matrix_rate_is_that_of_this_machine() -> None:
    assert 1e8 < matrix_rate(torch.device("cpu"), "fp32", seconds=0.2) < 1e14
