"""Training the world model lowers its loss, and goes on exactly where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training
import torch

from sana_wm_ros.training.clips import ClipSampler
from sana_wm_ros.training.guard import TrainingDiverged
from sana_wm_ros.training.latents import LatentDrive, load_drives
from sana_wm_ros.training.muon import orthogonalised, split_parameters
from sana_wm_ros.training.objective import camera_track, draw_chunks, draw_sigma
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.training.world_model_trainer import WorldModelTrainer
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig

TINY = replace(
    tiny_training.TINY,
    curriculum=((0.0, 8), (0.5, 12)),
    frames_per_step=24,
    log_every_s=0.0,
    save_every_s=1e9,
)


@pytest.fixture(scope="module")
def autoencoder(drives: Path) -> Autoencoder:
    model = Autoencoder(AutoencoderConfig(latent_channels=4, widths=(8, 8, 8)))
    from sana_wm_ros.training.frames import GroupPool

    pool = GroupPool([drives], per_group=4, slots=4, per_drive=8, steps_per_draw=1, seed=0)
    model.start_from_principal_components(pool.batch(0, 32))
    return model


@pytest.fixture(scope="module")
def encoded(
    autoencoder: Autoencoder, drives: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[LatentDrive]:
    return load_drives(autoencoder, [drives], tmp_path_factory.mktemp("cache"))


def trainer(
    autoencoder: Autoencoder, encoded: list[LatentDrive], out: Path, steps: int, **changes: object
) -> WorldModelTrainer:
    schedule = Schedule(steps=steps, warmup_steps=3)
    training = replace(TINY, **changes)  # type: ignore[arg-type]
    return WorldModelTrainer(training, schedule, autoencoder, encoded, out)


def weights(run: WorldModelTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.modules.parameters()])


def test_the_error_of_blind_futures_falls(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path
) -> None:
    run = trainer(autoencoder, encoded, tmp_path / "run", 36, curriculum=((0.0, 8),), frames_per_step=64)
    run.run()
    errors = [row["blind_error"] for row in run.folder.rows() if "blind_error" in row]
    assert sum(errors[-10:]) < 0.9 * sum(errors[:10])
    assert run.frames == 36 * 64


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path
) -> None:
    whole = trainer(autoencoder, encoded, tmp_path / "whole", 8)
    whole.run()
    first = trainer(autoencoder, encoded, tmp_path / "parts", 8)
    for _ in range(5):
        first.train_step()
    first.save()
    second = trainer(autoencoder, encoded, tmp_path / "parts", 8)
    assert second.step == 5
    second.run()
    assert torch.equal(weights(second), weights(whole))
    for name, value in whole.average.values.items():
        assert torch.equal(value, second.average.values[name])


def test_in_bf16_it_learns_the_same_and_weights_stay_fp32(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    full = trainer(autoencoder, encoded, tmp_path / "full", 6)
    mixed = trainer(autoencoder, encoded, tmp_path / "mixed", 6, precision="bf16")
    first = [run.train_step()["loss"] for run in (full, mixed)]
    assert first[0] != first[1] == pytest.approx(first[0], rel=0.02)
    gradients = [torch.cat([p.grad.flatten() for p in run.modules.parameters()]) for run in (full, mixed)]
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.99
    for run in (full, mixed):
        run.run()
    assert weights(mixed).dtype == torch.float32
    assert not torch.equal(weights(mixed), weights(full))
    assert float(torch.cosine_similarity(weights(mixed), weights(full), dim=0)) > 0.99


def test_bf16_is_refused_where_it_gains_nothing(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(ValueError, match="no AMX units.*use fp32"):
        trainer(autoencoder, encoded, tmp_path / "run", 1, precision="bf16")


def test_weights_that_are_not_finite_end_the_run_with_advice(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path
) -> None:
    run = trainer(autoencoder, encoded, tmp_path / "run", 99)
    run.guard.limit = 2
    with torch.no_grad():
        run.heads.out.bias.fill_(float("inf"))
    with pytest.raises(TrainingDiverged, match="Lower the learning rate"):
        run.run()


def test_every_parameter_is_trained(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path
) -> None:
    run = trainer(autoencoder, encoded, tmp_path / "run", 99)
    before = {name: p.detach().clone() for name, p in run.modules.named_parameters()}
    for _ in range(6):
        run.train_step()
    unmoved = [name for name, p in run.modules.named_parameters() if torch.equal(p, before[name])]
    assert unmoved == []


def test_clips_grow_with_the_training(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path
) -> None:
    run = trainer(autoencoder, encoded, tmp_path / "run", 100)
    assert run.clip_length() == 8
    lengths = []
    for run.step in range(60, 100):
        lengths.append(run.clip_length())
    assert set(lengths) == {8, 12}
    assert lengths.count(12) > lengths.count(8)


def test_a_boundary_of_chunks_lies_where_the_context_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    for context in (1, 2, 7, 19):
        chunks = draw_chunks(context, 20, 3, generator)
        ends = torch.tensor(chunks).cumsum(0).tolist()
        assert chunks[0] == 1
        assert context in ends
        assert ends[-1] == 20
        assert max(chunks) <= 3


def test_blind_clips_are_all_noise_and_others_share_noise_within_a_chunk() -> None:
    generator = torch.Generator().manual_seed(0)
    chunks = (1, 2, 3, 2)
    sigma = draw_sigma(200, 3, chunks, 0.7, generator)
    assert (sigma[:, :3] == 0).all()
    blind = (sigma[:, 3:] == 1).all(dim=1)
    assert 0.6 < float(blind.float().mean()) < 0.8
    assert (sigma[:, 3] == sigma[:, 4]).all()
    assert (sigma[:, 4] == sigma[:, 5]).all()
    assert (sigma[~blind, 5] != sigma[~blind, 6]).all()


def test_cameras_are_told_relative_to_the_clips_first_frame(encoded: list[LatentDrive]) -> None:
    clips = ClipSampler(encoded, per_latent=4, seed=0).batch(0, 3, 8)
    track = camera_track(clips, (64, 96))
    torch.testing.assert_close(track.poses_BF44[:, 0], torch.eye(4).expand(3, 4, 4), atol=1e-6, rtol=0)
    # 48 px of 96 are 3 of 6 latent pixels
    assert track.intrinsics_B4[0].tolist() == pytest.approx([3.0, 3.0, 47.5 / 16, 31.5 / 16], abs=0.5)


def test_muon_brings_singular_values_near_one_and_takes_only_matrices(
    autoencoder: Autoencoder, encoded: list[LatentDrive], tmp_path: Path
) -> None:
    matrix = torch.randn(24, 64, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.3
    run = trainer(autoencoder, encoded, tmp_path / "run", 1)
    matrices, others = split_parameters([run.transformer, run.heads])
    assert len(matrices) + len(others) == len(list(run.modules.parameters()))
    assert all(p.ndim >= 2 for p in matrices)
