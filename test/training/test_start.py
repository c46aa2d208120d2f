"""A training begins where another ended: from a model folder, from a run, and with new parts that are zero."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import TINY
from torch import nn

from sana_wm_ros.cli import benchmark_model
from sana_wm_ros.training.export import keep_autoencoder, model_of_run, start_of
from sana_wm_ros.training.latents import load_drives
from sana_wm_ros.training.run_folder import BadRun, RunFolder
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.training.world_model_trainer import WorldModelTrainer, WorldModelTraining, begin_with
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.checkpoint import save_model


@pytest.fixture(scope="module")
def run(drives: Path, tmp_path_factory: pytest.TempPathFactory) -> WorldModelTrainer:
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderConfig(latent_channels=4, widths=(8, 8, 8))).requires_grad_(False)
    keep_autoencoder(autoencoder, folder / "wm")
    encoded = load_drives(autoencoder, [drives], folder / "latents")
    trainer = WorldModelTrainer(TINY, Schedule(steps=2), autoencoder, encoded, folder / "wm")
    trainer.run()
    return trainer


def test_a_run_is_gone_on_with_from_its_averaged_weights(run: WorldModelTrainer, tmp_path: Path) -> None:
    start = start_of(tmp_path / "next", run.folder.path, WorldModelTraining())
    assert start.training.model == TINY.model
    assert start.weights is not None
    for name, value in run.average.values.items():
        assert torch.equal(start.weights[name], value)


def test_a_model_folder_is_gone_on_with_from_the_logits_that_training_had(
    run: WorldModelTrainer, tmp_path: Path
) -> None:
    model, _ = model_of_run(run.folder.path)
    save_model(tmp_path / "model", model)
    start = start_of(tmp_path / "next", tmp_path / "model", WorldModelTraining())
    assert start.weights is not None
    for name, value in run.average.values.items():
        torch.testing.assert_close(start.weights[name], value, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", ["a run", "a model folder"])
def test_a_fresh_start_takes_the_autoencoder_and_the_sizes_and_no_weights(
    run: WorldModelTrainer, tmp_path: Path, kind: str
) -> None:
    init = run.folder.path
    if kind == "a model folder":
        init = tmp_path / "model"
        save_model(init, model_of_run(run.folder.path)[0])
    start = start_of(tmp_path / "next", init, WorldModelTraining(), {"hidden": 24}, fresh=True)
    assert start.weights is None
    assert start.training.model == TINY.model
    assert (start.training.heads.hidden, start.training.heads.token_width) == (24, TINY.heads.token_width)
    for name, value in run.autoencoder.state_dict().items():
        torch.testing.assert_close(start.autoencoder.state_dict()[name], value)


def test_a_run_that_is_there_goes_on_whatever_init_says(run: WorldModelTrainer, tmp_path: Path) -> None:
    start = start_of(run.folder.path, tmp_path / "nowhere", WorldModelTraining())
    assert start.weights is None
    assert start.training.model == TINY.model
    with pytest.raises(BadRun, match="needs --init"):
        start_of(tmp_path / "next", None, WorldModelTraining())


def test_new_parts_may_only_begin_at_zero() -> None:
    old = {f"one.{name}": value for name, value in nn.Linear(3, 2).state_dict().items()}
    more = nn.ModuleDict({"one": nn.Linear(3, 2), "two": nn.Linear(3, 2)})
    nn.init.zeros_(more["two"].weight)
    with pytest.raises(BadRun, match="two.bias"):
        begin_with(more, old)
    nn.init.zeros_(more["two"].bias)
    begin_with(more, old)
    assert torch.equal(more["one"].weight, old["one.weight"])
    with pytest.raises(BadRun, match="three.weight"):
        begin_with(more, old | {"three.weight": torch.ones(1)})


def test_settings_that_came_later_do_not_end_a_run(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, {"rate": 1.0, "model": {"width": 8}})
    RunFolder.open(tmp_path, {"rate": 1.0, "model": {"width": 8, "guide": False}})
    with pytest.raises(BadRun, match="model"):
        RunFolder.open(tmp_path, {"rate": 1.0, "model": {"width": 16, "guide": False}})
    with pytest.raises(BadRun, match="rate"):
        RunFolder.open(tmp_path, {"rate": 2.0, "model": {"width": 8}})


def test_what_is_unknown_teaches_nothing(run: WorldModelTrainer) -> None:
    """Ranges that nobody measured (NaN) leave the clearance head as it is; the rest still learns."""
    from sana_wm_ros.training.objective import losses

    clips = run.clips.batch(0, 2, 8)
    blank = replace(clips, clearance_BFK=torch.full_like(clips.clearance_BFK, float("nan")))
    _, parts = losses(
        run.foretelling,
        TINY.model,
        blank,
        TINY.objective,
        image=run.image,
        max_range_m=8.0,
        channel_weight_C=run.channel_weight_C,
        generator=torch.Generator().manual_seed(0),
    )
    assert parts["clearance"] == 0.0
    assert parts["latent"] > 0.0


def test_a_training_may_go_on_with_larger_heads(run: WorldModelTrainer, tmp_path: Path) -> None:
    start = start_of(tmp_path / "next", run.folder.path, WorldModelTraining(), {"hidden": 24, "layers": 2})
    assert (start.training.heads.hidden, start.training.heads.layers) == (24, 2)
    assert start.training.heads.token_width == TINY.heads.token_width
    drives = run.clips.drives
    larger = WorldModelTrainer(
        start.training,
        Schedule(steps=1),
        start.autoencoder,
        drives,
        tmp_path / "next",
        start_from=start.weights,
    )
    features = torch.randn(
        1, 2, TINY.model.tokens, TINY.model.width, generator=torch.Generator().manual_seed(0)
    )
    _, heads = run.averaged()
    torch.testing.assert_close(
        larger.heads(features).log_clearance_BFK, heads(features).log_clearance_BFK, atol=1e-5, rtol=1e-5
    )


def test_a_run_is_measured_like_a_model_folder(run: WorldModelTrainer, tmp_path: Path) -> None:
    model, training = benchmark_model.opened(run.folder.path)
    assert (training["steps"], training["seed"]) == (2, TINY.seed)
    for name, value in run.averaged()[0].state_dict().items():
        assert torch.equal(model.transformer.state_dict()[name], value)
    save_model(tmp_path / "model", model)
    assert benchmark_model.opened(tmp_path / "model")[1] == {}
