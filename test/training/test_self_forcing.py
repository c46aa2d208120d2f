"""Self-forced training imagines as the model does in several steps, and teaches what it then remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch
from torch import Tensor

from sana_wm_ros.training.clips import ClipBatch, ClipSampler
from sana_wm_ros.training.latents import LatentDrive, load_drives
from sana_wm_ros.training.objective import Foretelling, Objective, camera_track, draw_steps, losses
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.training.world_model_trainer import WorldModelTrainer
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.heads import Heads
from sana_wm_ros.world_model.model import NavigationBatch, NavigationModel
from sana_wm_ros.world_model.sampler import shared_noise
from sana_wm_ros.world_model.transformer import SanaTransformer

SEEN, CHUNKS = 4, (1, 3, 2, 2, 2)
FORCED = Objective(self_forced_share=1.0)


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    torch.manual_seed(3)
    return Autoencoder(AutoencoderConfig(latent_channels=4, widths=(8, 8, 8)))


@pytest.fixture(scope="module")
def encoded(
    autoencoder: Autoencoder, drives: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[LatentDrive]:
    return load_drives(autoencoder, [drives], tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def clips(encoded: list[LatentDrive]) -> ClipBatch:
    return ClipSampler(encoded, per_latent=4, seed=0).batch(0, 2, sum(CHUNKS))


def model_of(autoencoder: Autoencoder, prediction: str) -> NavigationModel:
    torch.manual_seed(0)
    config = replace(tiny_training.TINY.model, prediction=prediction, chunk_frames=2)
    transformer = SanaTransformer(config)
    for block in transformer.parameters():
        torch.nn.init.normal_(block, std=0.15) if block.ndim > 1 else None  # nothing begins as zero
    return NavigationModel(
        transformer, Heads(tiny_training.TINY.heads, config.width, config.tokens), autoencoder
    )


def noised(model: NavigationModel, clips: ClipBatch) -> Tensor:
    """The seen latents, then the noise that imagination draws by itself."""
    noise = shared_noise(sum(CHUNKS) - SEEN, model.spec.latent_shape, SEEN, None)
    return torch.cat([clips.latents_BFCHW[:, :SEEN], noise.expand(2, -1, -1, -1, -1)], dim=1)


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("prediction", ["x0", "flow"])
def test_it_is_what_the_model_imagines_in_so_many_steps(
    autoencoder: Autoencoder, clips: ClipBatch, prediction: str, steps: int
) -> None:
    model = model_of(autoencoder, prediction)
    image = (model.spec.image_height, model.spec.image_width)
    track, x = camera_track(clips, image), noised(model, clips)
    with torch.no_grad():
        _, _, state = model.transformer(
            x[:, :SEEN], torch.zeros(1, 1), track.slice(0, SEEN), None, CHUNKS[:2], SEEN
        )
        batch = NavigationBatch(
            model=model,
            state=state,
            size=2,
            intrinsics_4=track.intrinsics_B4[0],
            anchor_44=torch.eye(4),
            last_poses_N44=track.poses_BF44[:, SEEN - 1],
        )
        _, rollout = batch.imagine(track.poses_BF44[:, SEEN:], steps=steps)
    out, read = Foretelling(model.transformer, model.heads)(x, torch.ones(1, 1), track, CHUNKS, SEEN, steps)
    torch.testing.assert_close(out[:, SEEN:], rollout.latents_NFCHW, atol=2e-5, rtol=2e-5)
    clearance = read.log_clearance_BFK[:, SEEN:].exp()
    torch.testing.assert_close(clearance, rollout.clearance_NFK, atol=2e-5, rtol=2e-5)


def test_the_truth_is_only_compared_with_and_never_shown(autoencoder: Autoencoder, clips: ClipBatch) -> None:
    model = model_of(autoencoder, "x0")
    told: list[Tensor] = []

    class Watched(Foretelling):
        def forward(self, noised: Tensor, *given: Any) -> Any:
            told.append(noised)
            return super().forward(noised, *given)

    def loss(some: ClipBatch) -> float:
        value, numbers = losses(
            Watched(model.transformer, model.heads),
            model.transformer.config,
            some,
            FORCED,
            image=(model.spec.image_height, model.spec.image_width),
            max_range_m=8.0,
            channel_weight_C=torch.ones(4),
            generator=torch.Generator().manual_seed(5),
        )
        assert "self_forced_error" in numbers and "blind_error" not in numbers
        return float(value.detach())

    context = int(clips.context_B[0])
    other = clips.latents_BFCHW.clone()
    other[:, context:] += 3.0
    assert loss(clips) != loss(replace(clips, latents_BFCHW=other))
    torch.testing.assert_close(told[0], told[1], atol=0, rtol=0)


def test_gradients_reach_what_was_seen_through_memory_but_not_through_imagined_latents(
    autoencoder: Autoencoder, clips: ClipBatch
) -> None:
    model = model_of(autoencoder, "x0")
    track = camera_track(clips, (model.spec.image_height, model.spec.image_width))
    x = noised(model, clips).requires_grad_(True)
    out, _ = Foretelling(model.transformer, model.heads)(x, torch.ones(1, 1), track, CHUNKS, SEEN, 2)
    out[:, -2:].square().sum().backward()
    assert x.grad is not None
    assert float(x.grad[:, :SEEN].abs().sum()) > 0
    assert float(x.grad[:, SEEN:].abs().sum()) == 0, "earlier chunks are remembered as they are"
    assert all(p.grad is not None for p in model.transformer.blocks.parameters())


def test_steps_are_drawn_as_often_as_asked_and_cost_other_trainings_no_random_number() -> None:
    random = torch.Generator().manual_seed(0)
    drawn = [draw_steps(0.3, random) for _ in range(600)]
    assert set(drawn) == {0, 2, 3, 4}
    assert sum(step > 0 for step in drawn) == pytest.approx(180, abs=40)
    before = random.get_state()
    assert draw_steps(0.0, random) == 0
    assert torch.equal(random.get_state(), before)


def trainer(autoencoder: Autoencoder, encoded: list[LatentDrive], out: Path, steps: int, share: float) -> Any:
    training = replace(
        tiny_training.TINY,
        objective=Objective(self_forced_share=share),
        frames_per_step=64,
        log_every_s=0.0,
        save_every_s=1e9,
    )
    return WorldModelTrainer(training, Schedule(steps=steps, warmup_steps=3), autoencoder, encoded, out)


def test_the_error_of_what_is_imagined_in_steps_falls(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path
) -> None:
    run = trainer(autoencoder, encoded, tmp_path / "run", 36, 1.0)
    run.run()
    errors = [row["self_forced_error"] for row in run.folder.rows() if "self_forced_error" in row]
    assert sum(errors[-10:]) < 0.9 * sum(errors[:10])


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path
) -> None:
    whole = trainer(autoencoder, encoded, tmp_path / "whole", 6, 0.5)
    whole.run()
    first = trainer(autoencoder, encoded, tmp_path / "parts", 6, 0.5)
    for _ in range(3):
        first.train_step()
    first.save()
    second = trainer(autoencoder, encoded, tmp_path / "parts", 6, 0.5)
    second.run()
    for one, other in zip(whole.modules.parameters(), second.modules.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
