"""The encoder that learns with the model: what moves, what is kept, how collapse shows, how it resumes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lamplan import InputError, LatentActionModel
from lamplan.models.encoder import EncoderConfig
from lamplan.train import loop
from lamplan.train.config import load_config
from lamplan.train.distribution import ALONE
from lamplan.train.joint import JointConfig, JointModel, collapse, kept_state
from lamplan.train.loop import Budget
from lamplan.train.pretrain import pretrain
from lamplan.train.snapshots import Snapshots
from lamplan.weights import module_fingerprint
from tests import tiny
from tests.train.cluster import Squares, recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.videos(tmp_path_factory.mktemp("data") / "videos", count=30)


def test_collapse_shows() -> None:
    torch.manual_seed(0)
    lively = collapse(torch.randn(32, 3, 16, 24))
    assert lively["feature_std"] == pytest.approx(1.0, abs=0.05) and lively["effective_rank"] > 22
    thin = collapse(torch.randn(32, 3, 16, 1) * torch.randn(24))
    assert thin["effective_rank"] == pytest.approx(1.0, abs=1e-2) and thin["feature_std"] > 0.1
    # Positions may differ as they like: where all clips look alike, nothing is said.
    dead = collapse(torch.randn(1, 3, 16, 24).expand(32, -1, -1, -1))
    assert dead["feature_std"] < 1e-5


def test_the_loss_teaches_the_encoder_and_its_target_follows() -> None:
    torch.manual_seed(0)
    model = LatentActionModel(recipe("noisy").lam)
    joint = JointModel(model, JointConfig(ema=0.75))
    before = {name: p.clone() for name, p in joint.target.named_parameters()}
    frames = Squares(images=True).draw(0, 6)
    value, shown = joint.loss(frames, imagined=False, price=None)
    value.backward()
    assert set(shown) == {"l1", "pixels", "nats"}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in joint.model.encoder.parameters())
    assert all(p.grad is None for p in joint.target.parameters())
    with torch.no_grad():
        for p in model.encoder.parameters():
            p += 1
    raw = joint.target.clip_tokens(frames).flatten(0, 2)
    joint.after_step(ALONE)
    for name, p in joint.target.named_parameters():
        torch.testing.assert_close(p, before[name] + 0.25)
    torch.testing.assert_close(joint.target.feature_mean, 0.01 * raw.mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(joint.target.feature_std, 0.99 + 0.01 * raw.std(0, correction=0), rtol=1e-4, atol=1e-6)
    assert torch.equal(joint.target.feature_std, model.encoder.feature_std)
    kept = kept_state(joint.state_dict())
    assert set(kept) == set(model.state_dict()) and torch.equal(kept["encoder.norm.bias"], joint.target.norm.bias)


def test_what_is_predicted_learns_to_paint_the_next_frame_and_features_stay_apart() -> None:
    torch.manual_seed(0)
    model = LatentActionModel(replace(recipe("noisy").lam, encoder=EncoderConfig(32, 8, 24, 1, 2)))
    joint, rng = JointModel(model, JointConfig(ema=0.9)), np.random.default_rng(0)
    frames = torch.from_numpy(np.stack([tiny.drive(rng, 4)[0] for _ in range(16)]))
    optimiser, painted = torch.optim.Adam([p for p in joint.parameters() if p.requires_grad], lr=3e-3), []
    for _ in range(80):
        value, shown = joint.loss(frames, imagined=False, price=None)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        joint.after_step(ALONE)
        painted.append(shown["pixels"].item())
    assert painted[-1] < 0.5 * painted[0]
    with torch.inference_mode():
        after = collapse(joint.target.clip(frames))
    assert after["feature_std"] > 0.1 and after["effective_rank"] > 3


def test_pixels_are_those_that_each_token_is_made_from() -> None:
    model = LatentActionModel(recipe("noisy").lam)
    frames = Squares(images=True).draw(0, 2)
    assert torch.equal(model.encoder.clip_pixels(frames)[1, 3], model.encoder.patchify(frames[1, 3:4])[0])


def test_joint_training_makes_a_new_encoder_and_says_how_its_features_are(
        data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "joint.toml").write_text(tiny.RECIPE + "[joint]\nema = 0.9\n")
    config = load_config(str(tmp_path / "joint.toml"))
    assert config.joint == JointConfig(ema=0.9)
    plain, cache = replace(config, joint=None), tmp_path / "cache"
    first = pretrain(plain, [data], tmp_path / "first", budget=Budget(steps=40), cache=cache)
    whole = pretrain(config, [data], tmp_path / "whole", budget=Budget(steps=30), start=tmp_path / "first", cache=cache)
    assert module_fingerprint(whole.encoder) != module_fingerprint(first.encoder)
    assert module_fingerprint(LatentActionModel.load(tmp_path / "whole").encoder) == module_fingerprint(whole.encoder)
    curves = {row["name"]: float(row["value"]) for row in csv.DictReader((tmp_path / "whole/run/lam/curves.csv").open())}
    assert 0.2 < curves["val/videos/feature_std"] < 2 and 1 < curves["val/videos/effective_rank"] <= 24
    assert {"train/l1", "train/pixels", "val/videos/inferred", "val/videos/copy"} <= set(curves)
    assert "- joint.ema: 0.9" in (tmp_path / "whole" / "README.md").read_text()

    # Interrupted at some step and begun again, it ends bit for bit where it did.
    save = Snapshots.save

    def saves(self: Snapshots, step: int, seconds: float) -> None:
        save(self, step, seconds)
        if step == 11:
            self.finish()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(Snapshots, "save", saves)
        patch.setattr(loop.train, "__kwdefaults__", {**(loop.train.__kwdefaults__ or {}), "save_seconds": 0.0})
        pretrain(config, [data], tmp_path / "parts", budget=Budget(steps=30), start=tmp_path / "first", cache=cache)
    resumed = pretrain(config, [data], tmp_path / "parts", budget=Budget(steps=30), start=tmp_path / "first", cache=cache)
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


@pytest.mark.parametrize("bad", [{"ema": 1.0}, {"ema": -0.1}, {"pixels": -1.0}])
def test_mistakes_in_the_recipe_get_a_sentence(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="joint training needs"):
        JointConfig(**bad)
