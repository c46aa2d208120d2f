"""Training the autoencoder gets better pictures, and goes on exactly where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sana_wm_ros.evaluation.lpips import shift_tolerant_lpips
from sana_wm_ros.training.autoencoder_trainer import (
    AutoencoderTrainer,
    AutoencoderTraining,
    reconstruction_psnr,
)
from sana_wm_ros.training.episodes import Episode, write_episode
from sana_wm_ros.training.frames import GroupPool, NoEpisodes
from sana_wm_ros.training.guard import TrainingDiverged
from sana_wm_ros.training.run_folder import BadRun
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.world_model.autoencoder import AutoencoderConfig

TINY = AutoencoderTraining(
    model=AutoencoderConfig(
        latent_channels=4, widths=(8, 8, 16), encoder_depths=(1, 1, 1), decoder_depths=(1, 1, 1)
    ),
    batch=4,
    slots=4,
    per_drive=6,
    save_every_s=1e9,
    log_every_s=0.0,
)


def weights(trainer: AutoencoderTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_pictures_get_better(drives: Path, tmp_path: Path) -> None:
    trainer = AutoencoderTrainer(TINY, Schedule(steps=40, warmup_steps=5), [drives], tmp_path / "run")
    groups = trainer.pool.batch(9999, 24)
    before, _ = reconstruction_psnr(trainer.model, groups)
    trainer.run()
    after, _ = reconstruction_psnr(trainer.averaged(), groups)
    assert after > before + 0.5
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    assert trainer.folder.rows()[-1]["step"] == 40


def test_an_interrupted_run_ends_as_an_uninterrupted_one(drives: Path, tmp_path: Path) -> None:
    schedule = Schedule(steps=12, warmup_steps=3)
    whole = AutoencoderTrainer(TINY, schedule, [drives], tmp_path / "whole")
    whole.run()
    first = AutoencoderTrainer(TINY, schedule, [drives], tmp_path / "parts")
    for _ in range(7):
        first.train_step()
    first.save()
    second = AutoencoderTrainer(TINY, schedule, [drives], tmp_path / "parts")
    assert second.step == 7
    second.run()
    assert torch.equal(weights(second), weights(whole))
    for name, value in whole.average.values.items():
        assert torch.equal(value, second.average.values[name])


def test_steps_that_are_not_finite_are_skipped_and_then_end_the_run(drives: Path, tmp_path: Path) -> None:
    trainer = AutoencoderTrainer(TINY, Schedule(steps=99), [drives], tmp_path / "run")
    with torch.no_grad():
        trainer.model.linear_up.bias.fill_(float("nan"))  # type: ignore[union-attr]
    before = trainer.model.linear_down.weight.clone()
    with pytest.raises(TrainingDiverged, match="not finite"):
        trainer.run()
    assert trainer.guard.total == trainer.guard.limit + 1
    assert torch.equal(trainer.model.linear_down.weight, before)


def test_drives_that_cannot_be_read_are_told_once_each_and_change_nothing_after_a_restart(
    drive_maker: Callable[..., Episode], tmp_path: Path
) -> None:
    for seed in range(4):
        write_episode(tmp_path / f"{seed}.npz", drive_maker(seed))
    for seed in (1, 2):
        (tmp_path / f"{seed}.npz").write_bytes(b"PK")
    told: list[str] = []

    def pool() -> GroupPool:
        return GroupPool(
            [tmp_path],
            per_group=4,
            slots=8,
            per_drive=3,
            steps_per_draw=1,
            seed=0,
            on_bad=lambda error: told.append(str(error)),
        )

    first = pool()
    for step in range(20):
        groups = first.batch(step, 4)
    assert sorted(words.partition(": ")[0] for words in told) == [str(tmp_path / f"{n}.npz") for n in (1, 2)]
    assert torch.equal(pool().batch(19, 4), groups)
    for seed in (0, 3):
        (tmp_path / f"{seed}.npz").write_bytes(b"PK")
    with pytest.raises(NoEpisodes, match=r"50 drives in a row could not be read; the last: .*\.npz: not a"):
        pool().batch(0, 1)


def test_a_folder_without_drives_or_with_another_run_is_refused(drives: Path, tmp_path: Path) -> None:
    with pytest.raises(NoEpisodes, match="no drives"):
        AutoencoderTrainer(TINY, Schedule(steps=1), [tmp_path], tmp_path / "run")
    with pytest.raises(NoEpisodes, match="not a folder"):
        AutoencoderTrainer(TINY, Schedule(steps=1), [tmp_path / "nowhere"], tmp_path / "other")
    AutoencoderTrainer(TINY, Schedule(steps=1), [drives], tmp_path / "mine")
    with pytest.raises(BadRun, match="batch"):
        AutoencoderTrainer(replace(TINY, batch=5), Schedule(steps=1), [drives], tmp_path / "mine")


def test_in_bf16_pictures_get_better_and_weights_stay_fp32(
    drives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    schedule = Schedule(steps=40, warmup_steps=5)
    runs = {
        precision: AutoencoderTrainer(
            replace(TINY, precision=precision), schedule, [drives], tmp_path / precision
        )
        for precision in ("fp32", "bf16")
    }
    groups = runs["fp32"].pool.batch(9999, 24)
    before, _ = reconstruction_psnr(runs["bf16"].model, groups)
    for run in runs.values():
        run.run()
    full, mixed = (reconstruction_psnr(run.averaged(), groups)[0] for run in runs.values())
    assert mixed > before + 0.15
    assert mixed == pytest.approx(full, abs=0.5)
    assert not torch.equal(weights(runs["fp32"]), weights(runs["bf16"]))
    assert weights(runs["bf16"]).dtype == torch.float32


def test_bf16_is_refused_where_it_gains_nothing(
    drives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(ValueError, match="no AMX units.*use fp32"):
        AutoencoderTrainer(replace(TINY, precision="bf16"), Schedule(steps=1), [drives], tmp_path / "run")


def test_how_pictures_look_is_learnt_where_somebody_can_tell(drives: Path, tmp_path: Path) -> None:
    lpips = shift_tolerant_lpips()
    if lpips is None:
        pytest.skip("stlpips-pytorch is in the extra eval")
    looks = {}
    for weight in (0.0, 3.0):
        settings = replace(TINY, perceptual_weight=weight)
        schedule = Schedule(steps=30, warmup_steps=3)
        run = AutoencoderTrainer(
            settings, schedule, [drives], tmp_path / str(weight), perceptual=lpips.distance
        )
        groups = run.pool.batch(9999, 8)
        run.run()
        with torch.no_grad():
            guess = run.averaged().decode_groups(run.averaged().encode_groups(groups))[:, -1]
        seen = (groups[:, -1].float() / 127.5 - 1).permute(0, 3, 1, 2)
        looks[weight] = float(lpips.distance(seen, guess.permute(0, 3, 1, 2)).mean())
    assert looks[3.0] < 0.98 * looks[0.0]
    with pytest.raises(ValueError, match="nobody can tell"):
        AutoencoderTrainer(settings, schedule, [drives], tmp_path / "nobody")
