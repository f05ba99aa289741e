"""Training a decoder on a tiny world: what it learns, what it leaves as it was, what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lamplan import InputError, LatentActionModel
from lamplan.cli import main
from lamplan.models.decoder import Decoder, DecoderConfig
from lamplan.models.lpips import LPIPS
from lamplan.train.config import DecoderRecipe, load_config, load_decoder_recipe
from lamplan.train.data import frame_store
from lamplan.train.decoder import fit_decoder
from lamplan.train.loop import Budget
from lamplan.train.lpips_weights import weights_file
from lamplan.train.optimiser import OptimiserConfig
from tests import tiny

RECIPE = """
batch = 16
{more}
[decoder]
width = 24
depth = 1
heads = 2
[optimiser]
learning_rate = 5e-3
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.videos(tmp_path_factory.mktemp("data") / "videos", count=30)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    LatentActionModel(load_config(str(tiny.recipe(tmp_path))).lam).save(tmp_path / "tiny")
    return tmp_path / "tiny"


def decoder(tmp_path: Path, checkpoint: Path, data: Path, steps: int, more: str = "") -> int:
    path = tmp_path / "decoder.toml"
    path.write_text(RECIPE.format(more=more))
    return main(["decoder", str(checkpoint), "--config", str(path), "--data", str(data), "--steps", str(steps), "--threads", "1",
                 "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")])


def last(run: Path) -> dict[str, float]:
    return {row["name"]: float(row["value"]) for row in csv.DictReader((run / "curves.csv").open())}


def test_a_decoder_learns_to_show_what_was_seen_and_leaves_the_model_alone(
        tmp_path: Path, checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "README.md").write_text("# Card\n\n<!-- measured -->\nby hand\n")
    assert decoder(tmp_path, checkpoint, data, 200) == 0
    store = frame_store(data, tmp_path / "cache", 32, 4.0)
    held_out = store.validation(1, 64)
    mean = torch.from_numpy(store.data[:].mean(axis=0))
    squared = ((held_out[:, 0] - mean) / 255).square().mean((1, 2, 3))
    assert last(tmp_path / "run")["val/videos/psnr_db"] > (-10 * squared.log10()).mean().item() + 3
    lam, shown = LatentActionModel.load(checkpoint), Decoder.load(checkpoint)
    seen = shown.decode(lam.encode(held_out[:4, 0]))
    assert (seen.float() - held_out[:4, 0].float()).abs().mean() < 30
    assert (checkpoint / "model.safetensors").read_bytes() == model

    weights = (checkpoint / "decoder.safetensors").read_bytes()
    assert decoder(tmp_path, checkpoint, data, 200) == 0  # goes on from where it was: at the end
    assert (checkpoint / "decoder.safetensors").read_bytes() == weights
    card = (checkpoint / "README.md").read_text()
    assert card.startswith("# Card\n\n<!-- measured -->\nby hand\n") and card.count("## Decoder") == 1
    assert "- videos: 360 frames in 30 clips" in card and "| videos/psnr_db |" in card and "- decoder.width: 24" in card
    assert "wrote the decoder into" in capsys.readouterr().out


def test_a_decoders_run_folder_takes_no_other_run(
        tmp_path: Path, checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert decoder(tmp_path, checkpoint, data, 2) == 0 == decoder(tmp_path, checkpoint, data, 3)
    weights = (checkpoint / "decoder.safetensors").read_bytes()
    assert decoder(tmp_path, checkpoint, data, 3, "seed = 5") == 2 and "(seed: 0, now 5)" in capsys.readouterr().err
    rebuilt = LatentActionModel.load(checkpoint)
    rebuilt.encoder.norm.bias.data += 1
    rebuilt.save(checkpoint)
    assert decoder(tmp_path, checkpoint, data, 3) == 2 and "is of another run (encoder: " in capsys.readouterr().err
    assert (checkpoint / "decoder.safetensors").read_bytes() == weights


def test_folders_of_the_same_name_are_decoded_apart(tmp_path: Path, checkpoint: Path, data: Path) -> None:
    other = tiny.videos(tmp_path / "other" / "videos")
    recipe = DecoderRecipe(DecoderConfig(24, 1, 2), batch=4)
    fit_decoder(checkpoint, [data, other], recipe, budget=Budget(steps=1), run=tmp_path / "run", cache=tmp_path / "cache")
    assert {"val/videos/l1", "val/videos-2/l1"} <= set(last(tmp_path / "run"))
    assert "- videos-2: 72 frames in 6 clips" in (checkpoint / "README.md").read_text()


def test_lpips_is_used_where_its_weights_are_and_missed_with_a_sentence(
        tmp_path: Path, checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert decoder(tmp_path, checkpoint, data, 2, "perceptual = 1.0") == 2
    assert "LPIPS needs its weights" in capsys.readouterr().err

    torch.manual_seed(0)
    untrained = LPIPS()
    for head in untrained.heads:
        nn.init.constant_(head, 0.1)
    weights_file().parent.mkdir(parents=True)
    save_file(untrained.state_dict(), weights_file())
    seen: list[torch.Tensor] = []
    compare = LPIPS.forward

    def spied(self: LPIPS, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        seen.append(torch.stack([one.detach(), other.detach()]))
        return compare(self, one, other)

    monkeypatch.setattr(LPIPS, "forward", spied)
    assert decoder(tmp_path, checkpoint, data, 20, "perceptual = 1.0") == 0
    assert len(seen) == 20 and 0 < last(tmp_path / "run")["train/lpips"] < 4
    true = seen[0][1]
    assert true.shape[1] == 3 and -1 <= true.min() < -0.1 and true.max() <= 1


def test_recipes(tmp_path: Path) -> None:
    paper = load_decoder_recipe("paper")
    assert (paper.steps, paper.batch, paper.clip_frames, paper.decoder.causal, paper.perceptual) == (90_000, 512, 16, True, 1.0)
    assert paper.optimiser == OptimiserConfig("muon", 3e-4, 0.02, 0.01, 0.1333, 1.0)
    assert load_decoder_recipe("small").decoder.width == 128
    with pytest.raises(InputError, match="no recipe 'large': give the path of a TOML file or one of paper, small"):
        load_decoder_recipe("large")
    path = tmp_path / "decoder.toml"
    for text, told in (("decoder = 3", r"\[decoder\]: expected a table"), ("batch = 0", "batch is 0, expected 1 or more"),
                       ('parallel = "dpp"', "expected 'ddp' or 'fsdp'")):
        path.write_text(text + "\n")
        with pytest.raises(InputError, match=told):
            load_decoder_recipe(str(path))
