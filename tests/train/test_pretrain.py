"""Pretraining and fitting on a tiny world: what they learn, how they resume, what they refuse."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lamplan import CheckpointError, DataError, LatentActionModel, Planner, RobotSpec
from lamplan.cli import main
from lamplan.controllers import latents_fingerprint
from lamplan.errors import InputError, LamplanError
from lamplan.latents import DiscreteConfig
from lamplan.models.encoder import Encoder
from lamplan.models.masked import MaskedPrediction
from lamplan.train import loop
from lamplan.train import pretrain as pretraining
from lamplan.train.clips import Streaming
from lamplan.train.config import load_config
from lamplan.train.controller import fit
from lamplan.train.data import ClipStore, Sampler, frame_store
from lamplan.train.facts import distinct
from lamplan.train.joint import JointConfig
from lamplan.train.loop import Budget
from lamplan.train.optimiser import OptimiserConfig, Optimisers, learning_rate
from lamplan.train.pretrain import _diagnose, pretrain, standardise, train_encoder
from lamplan.train.snapshots import Snapshots
from lamplan.video import write_video
from tests import tiny
from tests.models import released
from tests.models.test_networks import scrambled
from tests.train import cluster

ROBOT = Path(__file__).parents[2] / "controllers" / "rover" / "robot.toml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.videos(tmp_path_factory.mktemp("data") / "videos", count=40)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, data: Path, recipe: Path) -> Path:
    out = tmp_path_factory.mktemp("out") / "tiny"
    pretrain(load_config(str(recipe)), [data], out, budget=Budget(steps=300))
    return out


def validation(run: Path, name: str) -> list[float]:
    with (run / "curves.csv").open() as file:
        return [float(row["value"]) for row in csv.DictReader(file) if row["name"] == name]


def test_pretraining_reports_what_tells_it_from_a_copier_and_beats_copying(checkpoint: Path) -> None:
    last = {key: validation(checkpoint / "run" / "lam", f"val/videos/{key}")[-1] for key in ("inferred", "shuffled", "zero", "copy")}
    assert last["inferred"] < last["copy"]
    assert last["inferred"] < last["shuffled"]
    assert list((checkpoint / "run" / "lam" / "tensorboard").iterdir())


def test_features_come_out_standardised(checkpoint: Path, data: Path) -> None:
    lam = LatentActionModel.load(checkpoint)
    frames = frame_store(data, checkpoint / "run" / "cache", 32, 4.0)
    measured_on = frames.read(frames.split(1, validation=False), 1)[:, 0]
    with torch.inference_mode():
        features = lam.encode(measured_on)
    assert features.mean((0, 1)).abs().max() < 1e-3
    assert (features.std((0, 1)) - 1).abs().max() < 1e-2


@pytest.mark.parametrize("streamed", [False, True])
def test_features_are_standardised_on_what_is_trained_on(streamed: bool, recipe: Path, tmp_path: Path) -> None:
    """The video that is held out is still and dark: it says nothing of the others."""
    lively = tiny.videos(tmp_path / "v", count=5)
    write_video(lively / "9.mp4", np.full((12, 32, 32, 3), 8, np.uint8), 4.0)
    torch.manual_seed(0)
    encoder = LatentActionModel(load_config(str(recipe)).lam).encoder.eval()
    with Streaming(workers=1) as streaming:
        open_store = streaming.store if streamed else frame_store
        source = open_store(lively, tmp_path / "cache", 32, 4.0)
        standardise(encoder, [source])  # type: ignore[list-item]
        assert source.validation(1, 9).max() < 30 and source.training(1, 60).float().amax((1, 2, 3, 4)).min() > 200
    frames = frame_store(lively, tmp_path / "cache", 32, 4.0)
    with torch.inference_mode():
        features = encoder(torch.from_numpy(np.array(frames.data[:60])))
    assert features.mean((0, 1)).abs().max() < 0.2 and (features.std((0, 1)) - 1).abs().max() < 0.2


def test_what_is_said_of_held_out_clips_does_not_depend_on_how_many_are_read_at_once() -> None:
    for kind in cluster.BOTTLENECKS:
        config, clips = cluster.recipe(kind), cluster.Squares().draw(0, 10).float()
        clips[8:] *= 4
        torch.manual_seed(0)
        lam = scrambled(LatentActionModel(config.lam))
        whole = lam.diagnose(clips)  # type: ignore[operator]
        for size in (1, 3, 64):
            found = _diagnose(lam, lam.encoder, clips, replace(config, validation_batch=size))  # type: ignore[arg-type]
            assert found == pytest.approx(whole, rel=1e-5) and found["shuffled"] != pytest.approx(found["inferred"], rel=2e-5)
        assert set(whole) - set(lam.diagnose(clips[:1])) == {"shuffled"}  # type: ignore[operator]


def test_a_saved_checkpoint_loads_as_it_was_and_the_encoder_is_frozen(checkpoint: Path, tmp_path: Path) -> None:
    lam = LatentActionModel.load(checkpoint)
    assert not any(parameter.requires_grad for parameter in lam.parameters())
    lam.save(tmp_path / "again")
    for name, tensor in LatentActionModel.load(tmp_path / "again").state_dict().items():
        assert torch.equal(tensor, lam.state_dict()[name]), name


def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(data: Path, recipe: Path, checkpoint: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    config, cache = load_config(str(recipe)), tmp_path / "cache"
    whole = pretrain(config, [data], tmp_path / "whole", budget=Budget(steps=24), encoder_from=checkpoint, cache=cache)

    class Killed(Exception):
        pass

    save = Snapshots.save

    def save_then_die(self: Snapshots, step: int, seconds: float) -> None:
        save(self, step, seconds)
        if step == 11:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Snapshots, "save", save_then_die)
        patch.setattr(loop.train, "__kwdefaults__", {**(loop.train.__kwdefaults__ or {}), "save_seconds": 0.0})
        pretrain(config, [data], tmp_path / "parts", budget=Budget(steps=24), encoder_from=checkpoint, cache=cache)
    assert not (tmp_path / "parts" / "config.json").exists()
    resumed = pretrain(config, [data], tmp_path / "parts", budget=Budget(steps=24), encoder_from=checkpoint, cache=cache)
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def test_going_on_from_a_checkpoint_keeps_its_encoder_and_moves_the_rest(
        data: Path, recipe: Path, checkpoint: Path, tmp_path: Path) -> None:
    before = LatentActionModel.load(checkpoint)
    config = load_config(str(recipe))
    after = pretrain(config, [data], tmp_path / "on", budget=Budget(steps=3), start=checkpoint, in_domain=[data], share=0.3)
    assert torch.equal(before.encoder.patches.weight, after.encoder.patches.weight)
    assert not torch.equal(before.world_model.embed.weight, after.world_model.embed.weight)


def test_another_world_model_learns_on_latents_that_stay_as_they_are(data: Path, recipe: Path, checkpoint: Path, tmp_path: Path) -> None:
    config = load_config(str(recipe))
    wider = replace(config, lam=replace(config.lam, world_model=replace(config.lam.world_model, width=48, depth=1)))
    out = tmp_path / "wider"
    after = pretrain(wider, [data], out, budget=Budget(steps=200), latents_from=checkpoint)
    assert latents_fingerprint(LatentActionModel.load(out)) == latents_fingerprint(LatentActionModel.load(checkpoint))
    assert after.config.world_model.width == 48
    last = {key: validation(out / "run" / "lam", f"val/videos/{key}")[-1] for key in ("inferred", "shuffled", "copy")}
    assert last["inferred"] < min(last["shuffled"], last["copy"])


def test_a_codebook_that_stays_counts_no_words(data: Path, recipe: Path, tmp_path: Path) -> None:
    config = load_config(str(recipe))
    config = replace(config, lam=replace(config.lam, bottleneck=DiscreteConfig(dim=8, codebook=16, codes=2, reset_after=1)))
    first = pretrain(config, [data], tmp_path / "first", budget=Budget(steps=3))
    after = pretrain(config, [data], tmp_path / "after", budget=Budget(steps=3), latents_from=tmp_path / "first")
    assert latents_fingerprint(after) == latents_fingerprint(first)


def test_a_run_folder_takes_no_other_run(data: Path, recipe: Path, checkpoint: Path, tmp_path: Path) -> None:
    config, cache, out = load_config(str(recipe)), tmp_path / "cache", tmp_path / "out"
    other_data = tiny.videos(tmp_path / "other" / "videos", count=12)
    given = {"config": config, "data": [data], "out": out, "budget": Budget(steps=2), "encoder_from": checkpoint, "cache": cache}
    first = pretrain(**given)  # type: ignore[arg-type]
    longer = pretrain(**given | {"budget": Budget(steps=3), "config": replace(config, recompute=True)})  # type: ignore[arg-type]
    assert not torch.equal(first.world_model.embed.weight, longer.world_model.embed.weight)
    weaker = replace(config, lam=replace(config.lam, bottleneck=replace(config.lam.bottleneck, weight=5e-3)))
    rebuilt = tmp_path / "rebuilt" / checkpoint.name
    lam = LatentActionModel.load(checkpoint)
    lam.encoder.norm.bias.data += 1
    lam.save(rebuilt)
    before = (out / "model.safetensors").read_bytes()
    changes: list[tuple[dict[str, object], str]] = [
        ({"config": weaker}, r"lam\.bottleneck\.weight: 1e-05, now 0\.005"),
        ({"config": replace(config, seed=7, batch=4)}, "batch: 8, now 4; seed: 0, now 7"),
        ({"data": [other_data]}, r"video 1: videos, 480 frames in 40 clips \(frames-\w+\), now videos, 144 frames"),
        ({"data": [data, other_data]}, "video 2: none, now videos-2, "),
        ({"in_domain": [data], "share": 0.4}, "--share: none, now 0.4 of videos-2"),
        ({"encoder_from": rebuilt}, r"--encoder-from: \w+, now \w+\)"), ({"encoder_from": None, "start": checkpoint}, "--from: none, now"),
        ({"precision": "bf16"}, "precision: fp32, now bf16")]
    for change, told in changes:
        with pytest.raises(InputError, match=rf"the state in .*run is of another run \(.*{told}.*: give another --out, or delete"):
            pretrain(**given | change)  # type: ignore[arg-type]
    assert (out / "model.safetensors").read_bytes() == before


def test_a_released_encoder_with_other_weights_is_another_run(data: Path, tmp_path: Path) -> None:
    weights = released.save_pt(tmp_path / "weights.pt", replace(released.TINY, depth=1))
    (tmp_path / "named.toml").write_text(NAMED.format(mode="doubled", weights=weights))
    config, out = load_config(str(tmp_path / "named.toml")), tmp_path / "out"
    pretrain(config, [data], out, budget=Budget(steps=1))
    moved = tmp_path / "moved.pt"
    weights.rename(moved)
    pretrain(replace(config, encoder_weights=str(moved)), [data], out, budget=Budget(steps=2))
    held = torch.load(moved, weights_only=True)
    held["target_encoder"] = {name: tensor + 1 for name, tensor in held["target_encoder"].items()}
    torch.save(held, moved)
    with pytest.raises(InputError, match=r"\(encoder weights: \w+, now \w+\)"):
        pretrain(replace(config, encoder_weights=str(moved)), [data], out, budget=Budget(steps=2))


def test_folders_of_the_same_name_are_told_apart(data: Path, recipe: Path, checkpoint: Path, tmp_path: Path) -> None:
    assert distinct(["a", "b", "a", "a-2", "a"]) == ["a", "b", "a-3", "a-2", "a-4"]
    other = tiny.videos(tmp_path / "other" / "videos", count=6)
    pretrain(load_config(str(recipe)), [data], tmp_path / "out", budget=Budget(steps=1), encoder_from=checkpoint, in_domain=[other])
    names = {row["name"] for row in csv.DictReader((tmp_path / "out" / "run" / "lam" / "curves.csv").open())}
    assert {"val/videos/copy", "val/videos-2/copy"} <= names
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- videos: 480 frames" in card and "- videos-2: 72 frames" in card


def test_latents_do_not_stay_where_their_encoder_learns(data: Path, recipe: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table \[joint\]"):
        pretrain(replace(load_config(str(recipe)), joint=JointConfig()), [data], tmp_path / "on", budget=Budget(steps=1),
                 latents_from=checkpoint)


def test_half_precision_rollouts_and_both_targets_train(data: Path, recipe: Path, tmp_path: Path) -> None:
    for target in ("pixels", "features"):
        config = load_config(str(recipe))
        config = replace(config, imagined=1.0, masked=replace(config.masked, target=target))  # type: ignore[arg-type]
        model = pretrain(config, [data], tmp_path / target, budget=Budget(steps=4), precision="bf16")
        assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in model.state_dict().values())
        names = {row["name"] for row in csv.DictReader((tmp_path / target / "run" / "lam" / "curves.csv").open())}
        assert {"val/videos/rollout", "val/videos/rollout_copy"} <= names


NAMED = tiny.RECIPE.replace("[encoder]", """[encoder]
name = "vjepa2-vitl"
mode = "{mode}"
weights = "{weights}"
""", 1)


@pytest.mark.parametrize("mode", ["doubled", "pairs", "causal"])
def test_a_released_encoder_is_read_kept_and_saved(mode: str, data: Path, tmp_path: Path) -> None:
    config = replace(released.TINY, depth=1)
    weights = released.save_pt(tmp_path / "weights.pt", config)
    (tmp_path / "named.toml").write_text(NAMED.format(mode=mode, weights=weights))
    pretrain(load_config(str(tmp_path / "named.toml")), [data], tmp_path / "out", budget=Budget(steps=2))
    assert "weights.pt, key 'target_encoder'; unused: pos_embed (1)" in (tmp_path / "out" / "README.md").read_text()
    assert "encoder" not in {folder.name for folder in (tmp_path / "out" / "run").iterdir()}
    weights.unlink()  # a checkpoint is whole: it needs the file no more
    lam = LatentActionModel.load(tmp_path / "out")
    assert (lam.config.encoder.mode, lam.config.encoder.rope, lam.config.encoder.tubelet) == (mode, "repeat", 2)
    assert torch.equal(lam.encoder.norm.weight, released.weights(config)["norm.weight"])
    steps = np.load(next((tmp_path / "out" / "run" / "cache").glob("features-*/starts.npy")))
    assert np.diff(steps).tolist() == [12] * 40  # steps at rate_hz, for pairs out of twice as many frames
    with torch.inference_mode():
        seen = lam.encode(torch.zeros(2, 3, 40, 32, 3, dtype=torch.uint8))
    assert seen.shape == (2, 3, 16, 24) and torch.isfinite(seen).all()


def test_a_released_encoder_needs_its_weights(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "named.toml"
    path.write_text('encoder = "vjepa2-vitl"\n')
    config = load_config(str(path))
    assert config.encoder_name == "vjepa2-vitl" and config.lam.encoder.width == 1024 and config.encoder_weights is None
    with pytest.raises(InputError, match=r"vjepa2-vitl is read from weights.*--encoder-weights"):
        pretrain(config, [data], tmp_path / "out", budget=Budget(steps=2))
    weights = released.save_pt(tmp_path / "weights.pt", released.TINY)
    command = ["pretrain", str(path), "--data", str(data), "--out", str(tmp_path / "out"), "--steps", "2"]
    with pytest.raises(InputError, match="not trained"):
        pretrain(replace(config, encoder_weights=str(weights)), [data], tmp_path / "out", budget=Budget(steps=2), encoder_only=True)
    path.write_text(NAMED.format(mode="doubled", weights=weights))  # one block, and a file of two
    assert main(command) == 2 and "unexpected blocks.1.norm1.weight" in capsys.readouterr().err
    path.write_text(NAMED.format(mode="doubled", weights="").replace('weights = ""', "").replace("depth = 1", "depth = 2", 1))
    assert main([*command, "--encoder-weights", str(weights)]) == 0
    path.write_text('encoder = "vjepa3"\n')
    assert main(command) == 2 and "no encoder 'vjepa3'" in capsys.readouterr().err
    path.write_text("encoder = 3\n")
    with pytest.raises(InputError, match="a released encoder's name or a table"):
        load_config(str(path))


def test_an_encoder_of_tubelets_learns_by_masked_prediction(data: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.toml").write_text(tiny.RECIPE.replace("[encoder]", '[encoder]\ntubelet = 2\nmode = "pairs"\nrope = "interleaved"'))
    lam = pretrain(load_config(str(tmp_path / "pairs.toml")), [data], tmp_path / "out", budget=Budget(steps=4))
    assert lam.encoder.feature_std.min() > 0


def test_what_a_stream_holds_out_goes_to_the_encoders_device(monkeypatch: pytest.MonkeyPatch, recipe: Path, tmp_path: Path) -> None:
    config, seen = load_config(str(recipe)), []
    far = Encoder(config.lam.encoder).to("meta")
    streamed = SimpleNamespace(weight=1.0, validation=lambda length, count: torch.zeros(4, length, 32, 32, 3, dtype=torch.uint8))
    monkeypatch.setattr(pretraining, "new_sampler", lambda *given, **more: SimpleNamespace(draw=None))
    monkeypatch.setattr(pretraining, "train", lambda *given, validate, **more: validate())
    monkeypatch.setattr(MaskedPrediction, "loss", lambda self, frames: seen.append(frames.device.type) or (torch.zeros(()), {}))
    train_encoder(far, [streamed], config, Budget(steps=1), tmp_path)  # type: ignore[list-item]
    assert seen == ["meta"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_pretraining_and_fitting_on_a_gpu(data: Path, recipe: Path, tmp_path: Path) -> None:
    pretrain(load_config(str(recipe)), [data], tmp_path / "lam", budget=Budget(steps=20), device="cuda", precision="bf16")
    robot = tmp_path / "rover"
    robot.mkdir()
    (robot / "robot.toml").write_bytes(ROBOT.read_bytes())
    log = tiny.log(tmp_path / "log.hdf5", RobotSpec.load(robot), episodes=10)
    found = fit([log], robot, tmp_path / "lam", budget=Budget(steps=20), run=tmp_path / "run", device="cuda")
    assert all(np.isfinite(row.value) for row in found["front_image"].rows)


def test_pretraining_opens_no_file_but_video_and_no_reader_of_logs(recipe: Path, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    """The latent action model saw no action: readers of logs cannot even be imported while it trains."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for video in data.iterdir():
        (folder / video.name).write_bytes(video.read_bytes())
    for decoy in ("actions.hdf5", "0.json", "manifest.jsonl", "0.npz"):
        (folder / decoy).write_text("actions")
    program = f"""
import sys
for name in ("h5py", "lamplan.logs", "lamplan.train.controller"):
    sys.modules[name] = None
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from lamplan.cli import main
status = main(["pretrain", {str(recipe)!r}, "--data", {str(folder)!r}, "--out", {str(tmp_path / "out")!r}, "--steps", "2"])
assert status == 0, status
touched = [path for path in opened if path.startswith({str(folder)!r}) and not path.endswith(".mp4")]
assert not touched, touched
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]


def test_fitting_a_controller_and_planning_with_it(checkpoint: Path, tmp_path: Path) -> None:
    robot = tmp_path / "rover"
    robot.mkdir()
    (robot / "robot.toml").write_bytes(ROBOT.read_bytes())
    spec = RobotSpec.load(robot)
    log = tiny.log(tmp_path / "log.hdf5", spec, episodes=40)
    result = fit([log], robot, checkpoint, budget=Budget(steps=150), run=tmp_path / "run")
    rows = {(row.metric, row.name): row.value for row in result["front_image"].rows}
    assert rows["next frame", "controller"] < rows["next frame", "zero"] and all(np.isfinite(value) for value in rows.values())
    assert (robot / "tiny" / "README.md").read_text().startswith("# Controller of rover")
    plan = Planner.load(checkpoint, robot).plan(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 3), np.uint8))
    assert plan.actions.shape == (1, 3)  # the default imagines one step, and this model's are of one frame

    other = LatentActionModel.load(checkpoint)
    other.world_model.embed.weight.data += 1
    other.save(tmp_path / checkpoint.name)
    Planner.load(tmp_path / checkpoint.name, robot)  # the latents are what they were
    other.inverse_dynamics.embed.weight.data += 1
    other.save(tmp_path / checkpoint.name)
    with pytest.raises(CheckpointError, match="fitted to other latents"):
        Planner.load(tmp_path / checkpoint.name, robot)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "robot.toml").write_bytes(ROBOT.read_bytes())
    with pytest.raises(CheckpointError, match="lamplan fit"):
        Planner.load(checkpoint, tmp_path / "empty")


def test_a_log_beyond_the_robots_limits_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    spec = RobotSpec.load(ROBOT)
    with pytest.raises(DataError, match="beyond rover's limits"):
        fit([tiny.log(tmp_path / "fast.hdf5", spec, scale=20.0)], ROBOT.parent, checkpoint, budget=Budget(steps=1), run=tmp_path / "run")
    assert not (ROBOT.parent / checkpoint.name).exists()


def test_a_bad_video_is_named_and_left_out_and_only_bad_ones_are_an_error(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for video in sorted(data.iterdir())[:2]:
        (folder / video.name).write_bytes(video.read_bytes())
    (folder / "broken.mp4").write_bytes(b"\x00" * 100)
    with pytest.warns(UserWarning, match=r"1 of 3 videos.*broken\.mp4"):
        store = frame_store(folder, tmp_path / "cache", 32, 4.0)
    assert store.data.shape == (24, 32, 32, 3)
    for video in ("0.mp4", "1.mp4"):
        (folder / video).write_bytes(b"")
    with pytest.raises(DataError, match="none of the 3 videos"):
        frame_store(folder, tmp_path / "cache", 32, 4.0)


def test_windows_stay_inside_their_clip_and_validation_clips_are_never_drawn() -> None:
    starts = np.arange(0, 601, 20)
    store = ClipStore(np.repeat(np.arange(30), 20), starts)
    sampler = Sampler([store], [1.0], 5, seed=0, where="test")
    drawn = torch.cat([sampler.draw(step, 64) for step in range(40)])
    assert (drawn == drawn[:, :1]).all()
    held_out = set(store.data[store.split(5, validation=True)])
    assert held_out and not held_out & set(drawn.unique().tolist())
    assert len(drawn.unique()) + len(held_out) == 30
    assert torch.equal(sampler.draw(7, 8), sampler.draw(7, 8))


def test_clips_in_a_devices_memory_are_read_as_from_disk() -> None:
    rng = np.random.default_rng(0)
    store = ClipStore(rng.integers(0, 255, (40, 3), dtype=np.uint8), np.array([0, 15, 40]))
    near = ClipStore(torch.from_numpy(store.data), store.starts)
    rows = rng.integers(0, 36, 9)
    assert torch.equal(store.read(rows, 4), near.read(rows, 4))
    assert store.to("cpu") is store


def test_shares_of_the_stores_are_kept() -> None:
    stores = [ClipStore(np.full(500, value), np.array([0, 250, 500])) for value in (0, 1)]
    drawn = torch.cat([Sampler(stores, [1, 3], 4, seed=0, where="test").draw(step, 100) for step in range(50)])
    assert abs(drawn.float().mean().item() - 0.75) < 0.02


def test_clips_too_short_get_a_sentence() -> None:
    with pytest.raises(DataError, match="no clip is long enough for windows of 9 frames"):
        Sampler([ClipStore(np.zeros(8), np.array([0, 4, 8]))], [1.0], 9, seed=0, where="test")


def test_learning_rate_warms_up_and_falls() -> None:
    config = OptimiserConfig(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(p, config) for p in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(1.0) and rates[-1] == pytest.approx(0.01)
    assert int(np.argmax(rates)) == 10


@pytest.mark.parametrize("bad", [{}, {"steps": 0}, {"minutes": -1.0}, {"steps": 1, "minutes": 1.0}])
def test_budgets_that_are_none_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="budget"):
        Budget(**bad)  # type: ignore[arg-type]


def test_a_nan_stops_training_and_keeps_the_last_state(tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1)

    def draw(index: int, size: int) -> torch.Tensor:
        return torch.full((size, 1), float("nan") if index == 3 else 1.0)

    with pytest.raises(LamplanError, match="loss is nan at step 3"):
        loop.train(module, draw, lambda part, step: (module(part).sum(), {}), Budget(steps=9), tmp_path, batch=2, title="t",
                   config=OptimiserConfig(), seed=0, save_seconds=0.0)
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["step-00000001", "step-00000002", "step-00000003"]
    assert torch.load(tmp_path / "bad-step-3-rank-0.pt", weights_only=True)[0].isnan().all()
    assert module.weight.isfinite().all()


@pytest.mark.parametrize("damaged", ["state.pt", "state/step-00000004/.metadata"])
def test_a_damaged_state_is_not_resumed(tmp_path: Path, damaged: str) -> None:
    (tmp_path / damaged).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / damaged).write_bytes(b"not a state")
    with pytest.raises(LamplanError, match="cannot be resumed"):
        loop.train(torch.nn.Linear(1, 1), lambda index, size: torch.zeros(1), lambda part, step: (torch.zeros(()), {}), Budget(steps=9),
                   tmp_path, batch=1, title="t", config=OptimiserConfig(), seed=0)


def test_muon_moves_the_hidden_matrices_and_adamw_all_else() -> None:
    torch.manual_seed(0)
    model = LatentActionModel(load_config(str(Path(__file__).parents[2] / "lamplan/configs/wild-small.toml")).lam)
    module = torch.nn.ModuleDict({"world_model": model.world_model, "bottleneck": model.bottleneck})
    muon, adamw = Optimisers(module, OptimiserConfig("muon", weight_decay=0.5)).parts
    moved = {id(p) for group in muon.param_groups for p in group["params"]}
    names = {name for name, p in module.named_parameters() if id(p) in moved}
    assert names and all(".blocks." in name and name.endswith("weight") for name in names)
    decay = {id(p): group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert all(decay[id(p)] == (0.5 if p.ndim > 1 else 0.0) for p in module.parameters() if id(p) not in moved)
    assert len(moved) + len(decay) == len(list(module.parameters()))
    matrix = torch.nn.Parameter(torch.zeros(32, 32))
    holder = torch.nn.Module()
    holder.blocks = torch.nn.ParameterList([matrix])
    optimisers = Optimisers(holder, OptimiserConfig("muon", weight_decay=0.0, warmup=0.0))
    matrix.grad = torch.randn(32, 32)
    optimisers.step(0.0)
    assert torch.linalg.svdvals(matrix.detach() / 0.02).sub(1).abs().max() < 0.5  # every direction moves alike


def test_recipes_by_name_and_with_mistakes(tmp_path: Path) -> None:
    assert load_config("wild-small").lam.encoder.image_size == 128
    paper = load_config("paper")
    assert (paper.steps, paper.batch, paper.clip_frames, paper.lam.rate_hz, paper.lam.latent_dim) == (30_000, 1024, 16, 4.0, 128)
    assert (paper.lam.world_model.width, paper.lam.world_model.depth, paper.lam.world_model.heads) == (1024, 24, 16)
    assert paper.optimiser == OptimiserConfig("muon", 6.25e-4, 0.02, 0.04, 0.1, 1.0) and paper.micro_batch == 8
    with pytest.raises(InputError, match="wild-small"):
        load_config("wild-huge")
    path = tmp_path / "bad.toml"
    path.write_text('[world_model]\nsize = "B"\ndepth = 6\n')
    sized = load_config(str(path)).lam.world_model
    assert (sized.width, sized.depth, sized.heads) == (768, 6, 12)
    path.write_text('[world_model]\nsize = "XL"\n')
    with pytest.raises(InputError, match="size 'XL' is not known; choose from S, B, L, H"):
        load_config(str(path))
    for text, told in (
            ('[optimiser]\nkind = "Muon"', r"\[optimiser\]: kind is 'Muon', expected 'adamw' or 'muon'"),
            ('[masked]\ntarget = "feature"', r"\[masked\]: target is 'feature', expected 'features' or 'pixels'"),
            ('encode = "eachstep"', "encode is 'eachstep', expected 'once' or 'each_step'"),
            ('parallel = "dpp"', "expected 'ddp' or 'fsdp'"),
            ("[lam]\nrate_hz = 10.0", r"unknown entries \['lam'\]; known are .*'rate_hz'"),
            ('rate_hz = "4"', "rate_hz is '4', expected a number"),
            ('encoder_weights = "w.pt"', r"unknown entries \['encoder_weights'\]"),
            ("imagined = 7", "bad.toml: imagined is 7, expected between 0 and 1"),
            ("batch = -4", "bad.toml: batch is -4, expected 1 or more"),
            ("batch = 4.5", "batch is 4.5, expected a whole number"),
            ('bottleneck = "sparse"', r"\[bottleneck\]: expected a table of entries, found 'sparse'"),
            ("bottleneck = {kind = []}", r"kind '\[\]' is not known"),
            ("joint = true", r"\[joint\]: expected a table of entries, found True"),
            ('world_model = "L"', r"\[world_model\]: expected a table"),
            ("compile = 1", "compile is 1, expected true or false")):
        path.write_text(text + "\n")
        with pytest.raises(InputError, match=told):
            load_config(str(path))
    path.write_text("[encoder]\nwidht = 3\n")
    with pytest.raises(InputError, match="unknown entries"):
        load_config(str(path))
