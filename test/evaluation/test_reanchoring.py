"""What the benchmark says about moving the anchor is what the formulas promise."""

from __future__ import annotations

import pytest

from sana_wm_ros.evaluation.reanchoring import (
    ReanchoringSettings,
    SeenDrive,
    encoded,
    measure_reanchoring,
)
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.toy import INTRINSICS, camera_path, latents, pictures, tiny_navigation_model

SETTINGS = ReanchoringSettings(context_s=5.0, horizon_s=4.0, by_m=(1.0, 20.0), road_m=60.0, step_m=1.0)


@pytest.fixture(scope="module")
def toy() -> NavigationModel:
    return tiny_navigation_model()


def test_rotary_moves_change_nothing_and_homogeneous_ones_more_for_longer_moves(toy: NavigationModel) -> None:
    drive = SeenDrive(latents_FCHW=latents(1, 24)[0], poses_F44=camera_path(24), intrinsics=INTRINSICS)
    results = measure_reanchoring(toy, drive, SETTINGS)
    assert results["trained_with"] == "homogeneous"
    for leads in results["rotary"]["later"].values():
        assert list(leads) == ["0.5 s", "1 s", "2 s"] and max(leads.values()) < 1e-3
    short, long = results["homogeneous"]["later"].values()
    assert 1e-3 < short["2 s"] < long["2 s"]
    for translation in ("homogeneous", "rotary"):
        road = results[translation]["road"]
        assert set(road) == {"anchor follows", "anchor stays"}
        assert list(road["anchor follows"])[-1] == "60 m" and min(road["anchor follows"].values()) > 0
    rotary = results["rotary"]["road"]
    for place, norm in rotary["anchor follows"].items():
        assert norm == pytest.approx(rotary["anchor stays"][place], rel=1e-3)


def test_a_drive_too_short_for_its_context_is_refused(toy: NavigationModel) -> None:
    drive = SeenDrive(latents_FCHW=latents(1, 8)[0], poses_F44=camera_path(8), intrinsics=INTRINSICS)
    with pytest.raises(ValueError, match="the drive has 4 s; expected more than 5 s of context"):
        measure_reanchoring(toy, drive, SETTINGS)


def test_a_drive_is_encoded_on_the_latent_clock(toy: NavigationModel) -> None:
    """71 raw frames are 1 + 17 latent frames and two left over."""
    drive = encoded(toy, pictures(71), camera_path(71), INTRINSICS)
    assert drive.latents_FCHW.shape[0] == 18
    assert drive.poses_F44.equal(camera_path(71)[0:69:4])
