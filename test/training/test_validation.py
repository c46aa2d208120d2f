"""Validation measures against baselines worked out by hand, and export writes a model that loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sana_wm_ros.training.autoencoder_trainer import AutoencoderTrainer, AutoencoderTraining
from sana_wm_ros.training.card import detail_tables
from sana_wm_ros.training.contact_validation import path_gap
from sana_wm_ros.training.drive_check import (
    BASELINES,
    Ablation,
    nearest_views,
    place_correlation,
    places_seen,
    psnr,
)
from sana_wm_ros.training.episodes import Episode, read_episode, write_episode
from sana_wm_ros.training.export import (
    autoencoder_of_run,
    export,
    keep_autoencoder,
    kept_autoencoder,
    model_of_run,
)
from sana_wm_ros.training.futures import commanded
from sana_wm_ros.training.latents import load_drives
from sana_wm_ros.training.quality import judged
from sana_wm_ros.training.run_folder import BadRun, RunFolder
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.training.validation import Horizons, validate
from sana_wm_ros.training.world_model_trainer import WorldModelTrainer, WorldModelTraining
from sana_wm_ros.world_model.autoencoder import AutoencoderConfig
from sana_wm_ros.world_model.checkpoint import load_model
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.heads import HeadsConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, drive_maker: Callable[..., Episode]) -> tuple[Path, Path]:
    """A world model trained for two steps, and the drives to validate it on."""
    folder = tmp_path_factory.mktemp("run")
    data = folder / "drives"
    data.mkdir()
    for seed in range(3):
        drive = drive_maker(seed, frames=201)
        contact = np.zeros(201, dtype=bool)
        contact[60 if seed == 0 else 201 :] = True
        write_episode(data / f"{seed}.npz", replace(drive, contact_T=contact))
    images = AutoencoderConfig(latent_channels=4, widths=(8, 8, 8))
    settings = AutoencoderTraining(model=images, batch=2, slots=2, per_drive=50)
    AutoencoderTrainer(settings, Schedule(steps=1), [data], folder / "ae").run()
    autoencoder = autoencoder_of_run(folder / "ae")
    keep_autoencoder(autoencoder, folder / "wm")
    model = TransformerConfig(
        width=16,
        depth=2,
        heads=2,
        head_width=8,
        latent_channels=4,
        softmax_every=2,
        window_frames=4,
        timestep_width=16,
    )
    training = WorldModelTraining(
        model=model, heads=HeadsConfig(hidden=16, place_width=4), curriculum=((0.0, 8),)
    )
    encoded = load_drives(autoencoder, [data], folder / "latents")
    WorldModelTrainer(training, Schedule(steps=2), autoencoder, encoded, folder / "wm").run()
    return folder / "wm", data


def test_exporting_writes_a_model_that_loads_and_says_how_good_it_is(
    run: tuple[Path, Path], tmp_path: Path
) -> None:
    path, data = run
    result = export(
        path,
        tmp_path / "nano",
        validation=[data],
        data="Cylinders.",
        commands=["sana_wm train"],
        drives=2,
        seen=9,
        ahead_s=20.0,
    )
    loaded = load_model(tmp_path / "nano")
    model, facts = model_of_run(path)
    average = RunFolder(path=path).load()["average"]["values"]  # type: ignore[index]
    moved = average["heads.out.bias"][0] - model.heads.out.bias[0]
    assert float(moved) == pytest.approx(np.log(5.0), abs=1e-5)  # contact counted five times in training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(
            loaded.state_dict()[name], value, atol=2e-3, rtol=2e-3
        )  # stored in float16
    assert facts["steps"] == 2
    card = (tmp_path / "nano" / "MODEL_CARD.md").read_text()
    for word in (
        "Apache-2.0",
        "Cylinders.",
        "nearest view",
        "AUROC",
        "sana_wm train",
        "| 0.92 |",
        "seeds 1-2",
    ):
        assert word in card
    assert json.loads((tmp_path / "nano" / "validation.json").read_text())["training"]["steps"] == 2
    assert (tmp_path / "nano" / "film_strip.png").stat().st_size > 5000
    assert result["drives"] == 2
    assert len(result["psnr_db"]["model"]) == 6


def test_a_painted_cylinder_gives_the_expected_baselines(run: tuple[Path, Path]) -> None:
    path, data = run
    model, _ = model_of_run(path)
    result, films = validate(model, [data], drives=2, seen=9, ahead_s=20.0)
    table = result["psnr_db"]
    assert np.mean(table["autoencoder"]) > np.mean(table["last frame"])
    assert np.mean(table["nearest view"]) > np.mean(
        table["last frame"]
    )  # it turns on the spot: views come back
    assert [film.name.split(":")[0] for film in films] == ["median", "worst"]
    assert "perceptual" not in result
    # drives 1 and 2 never touch anything; drive 0 touches at raw frame 60, latent frame 15
    assert result["contact"]["starts"] == 1 + 2 * 4
    assert result["contact"]["contacts"] == [0, 1, 1]  # from latent frame 8 it is 3.5 s away


def test_how_different_pictures_look_is_told_beside_the_guesses(run: tuple[Path, Path]) -> None:
    """With the mean difference of pixels for a metric, worked out from the drives' own frames."""
    path, data = run
    model, _ = model_of_run(path)

    def apart(seen_THWC: np.ndarray, guess_THWC: np.ndarray) -> np.ndarray:
        return np.abs(seen_THWC.astype(float) - guess_THWC).mean((1, 2, 3))

    result, _ = validate(model, [data], drives=2, seen=9, ahead_s=20.0, contact_drives=0, perceptual=apart)
    found = result["perceptual"]
    assert found["horizons_s"] == [1.0, 2.0, 5.0, 10.0]
    frames = [read_episode(data / f"{seed}.npz").frames_THWC for seed in (1, 2)]
    now, then = 8 * 4, [8 * 4 + 8 * s for s in (1, 2, 5, 10)]
    by_hand = np.mean([apart(one[then], np.repeat(one[[now]], 4, 0)) for one in frames], axis=0)
    np.testing.assert_allclose(found["last frame"], by_hand, atol=1e-3)
    assert set(found) == {"horizons_s", "seen_places", "model", "autoencoder", *BASELINES}
    assert all(a < b for a, b in zip(found["autoencoder"], found["last frame"], strict=True))
    card = detail_tables(result | {"perceptual": found | {"metric": "mean difference"}})
    assert "| mean difference (0: looks equal) | 1 s | 2 s | 5 s | 10 s |" in card
    assert "| last frame | " + " | ".join(f"{v:.2f}" for v in found["last frame"]) + " |" in card


def test_the_commands_of_a_drive_lead_along_its_own_poses(drive_maker: Callable[..., Episode]) -> None:
    drive = drive_maker(1, frames=65)
    poses, base = commanded(drive, drive.commands_T3[16:], 5, 12, 4)
    assert poses.shape == (12, 4, 4)
    yaw = np.arctan2(
        poses[:, 1, 2].numpy(), poses[:, 0, 2].numpy()
    )  # the optical axis looks along the base's x
    np.testing.assert_allclose(np.sin(yaw), np.sin(drive.poses_T3[20:65:4, 2]), atol=1e-4)
    np.testing.assert_allclose(np.sin(base[:, 2]), np.sin(drive.poses_T3[20:65:4, 2]), atol=1e-4)


def test_the_nearest_view_is_the_one_that_looked_there(drive_maker: Callable[..., Episode]) -> None:
    drive = drive_maker(1, frames=65)
    poses = drive.poses_T3.copy()
    poses[48] = poses[7]
    assert nearest_views(replace(drive, poses_T3=poses), 5, [8], 4) == [7]


def test_a_place_is_back_when_it_was_seen_and_then_left_for_long_enough() -> None:
    x = np.array([0.0, 3.0, 6.0, 9.0, 6.0, 3.0, 0.0, 0.0])  # out and home again; metres
    poses = np.stack([x, np.zeros(8), np.zeros(8)], axis=1)
    place, back = places_seen(poses, seen=3, away=4)
    np.testing.assert_array_equal(
        place, [False, True, True, True, True]
    )  # of frames 3 to 7; 9 m was never seen
    # 6 m was left at frame 2 and is back at 4; 3 m: 1 and 5; home: 0 and 6, where the robot still is at 7
    np.testing.assert_array_equal(back, [False, False, True, True, True])


def test_goals_are_met_on_the_right_side_and_missing_measures_are_neither() -> None:
    horizons = [0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]
    result = {
        "horizons_s": horizons,
        "psnr_db": {"autoencoder": [27.0] * 7},
        "over_best_trivial_db": [1.0, 3.0, 2.9, 2.0, 1.5, 0.0, 0.0],
        "seen_places": {"over_best_trivial_db": [0, 0, 0, 0, 2.0, 1.5, float("nan")]},
        "controllability_db": 1.9,
        "permanence": {"drives": 4, "gain_db": 2.5, "standard_error_db": 0.5},
        "stand_still": {"ratio": 1.2},
        "clearance_ratio": {"1 s": 0.7},
        "contact": {
            "starts": 9,
            "horizons_s": [2.0, 5.0, 10.0],
            "auroc": {"collision head": [0.93, 0.8, 0.9]},
        },
    }
    rows = {row["measure"]: row for row in judged(result, "nano")}
    assert rows["over the best trivial at 1 s"]["met"] is True
    assert rows["over the best trivial at 2 s"]["met"] is False
    assert rows["over the best trivial at 60 s, places seen before"]["met"] is None
    assert rows["the same in standard errors"]["value"] == pytest.approx(5.0)
    assert rows["standing still: error at 60 s over 1 s"]["met"] is True
    assert rows["log-range error over last ranges, 1 s"]["met"] is False
    assert rows["log-range error over last ranges, 15 s"]["met"] is None
    assert rows["scores and true costs of candidates, Spearman"]["value"] is None
    assert {row["measure"]: row for row in judged(result, "small")}["standing still: error at 60 s over 1 s"][
        "met"
    ] is False


def test_horizons_take_the_frames_within_a_tenth_and_count_each_drive_once() -> None:
    horizons = Horizons(20, 0.5)
    assert horizons.seconds == [0.5, 1.0, 2.0, 5.0, 10.0]
    np.testing.assert_array_equal(horizons.lead_F[horizons.frames(5.0)], [4.5, 5.0, 5.5])
    values = np.zeros((2, 20))
    values[0, 8:11], values[1, 8:11] = [1.0, 2.0, 3.0], [10.0, 50.0, 50.0]
    counted = np.ones((2, 20), bool)
    counted[1, 9:] = False
    assert horizons.means(values, counted)[3] == pytest.approx((2.0 + 10.0) / 2)
    assert horizons.drives(counted) == [2, 2, 2, 2, 1]


def test_psnr_by_hand() -> None:
    black = torch.zeros((1, 2, 2, 3), dtype=torch.uint8)
    assert psnr(black + 51, black) == pytest.approx(20 * np.log10(5))  # an error of a fifth of the range


def test_the_gap_of_a_path_is_its_range_less_its_length() -> None:
    ranges = np.full(24, 5.0)
    ranges[6] = 1.5  # to the left of the start
    start = np.array([1.0, 1.0, np.pi / 2])
    ahead = np.array([[1.0, 3.0, 0.0]])
    left = np.array([[0.0, 1.0, 0.0]])
    assert path_gap(ranges, start, ahead) == pytest.approx(3.0)
    assert path_gap(ranges, start, left) == pytest.approx(0.5)


def test_what_is_not_a_finished_run_is_refused(tmp_path: Path, run: tuple[Path, Path]) -> None:
    with pytest.raises(BadRun, match="not a run folder"):
        model_of_run(tmp_path)
    with pytest.raises(BadRun, match="expected autoencoder"):
        autoencoder_of_run(run[0])
    assert kept_autoencoder(tmp_path) is None


def test_an_ablation_takes_what_it_names_and_leaves_the_weights() -> None:
    model = load_model("models/nano")
    assert Ablation().of(model) is model
    less = Ablation(keyframes=False, window=8).of(model)
    assert less.transformer.config.keyframes == 0
    assert not less.transformer.config.keyframe_guide
    assert less.transformer.config.window_frames == 8
    whole = model.transformer.state_dict()
    for name, value in less.transformer.state_dict().items():
        assert torch.equal(value, whole[name])


def test_place_embeddings_that_tell_distances_correlate_with_them() -> None:
    x = np.array([0.0, 1.0, 2.5, 6.0])
    poses = np.stack([x, np.zeros(4), np.zeros(4)], axis=1)
    angle = torch.from_numpy(x / 6.0)
    told = torch.stack([angle.cos(), angle.sin()], dim=1)  # on an arc: further apart the further away
    assert place_correlation(told, poses) > 0.9
    assert place_correlation(told[[2, 0, 3, 1]], poses) < 0.5
    assert np.isnan(place_correlation(torch.ones(4, 2), poses))
