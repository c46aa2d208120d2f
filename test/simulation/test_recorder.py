"""Recorded drives: the same for the same seed, within limits, honest about contacts and odometry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.motion_models import violation
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation import dataset
from sana_wm_ros.simulation.dataset import BadDataset, Totals, record_dataset
from sana_wm_ros.simulation.drive import CommandSource, DriveConfig, draw_scene
from sana_wm_ros.simulation.drivers import DRIVERS, MIX
from sana_wm_ros.simulation.recorder import record_episode
from sana_wm_ros.training.episodes import (
    BadEpisode,
    Episode,
    WrongSplit,
    episode_path,
    read_episode,
    write_episode,
)

SEED = 1_000_000
PER_FRAME = "poses_T3 odom_T3 commands_T3 contact_T clearance_TK frames_THWC".split()

pytestmark = pytest.mark.usefixtures("pictures")


@pytest.fixture(scope="module")
def drives(pictures: None) -> dict[str, Episode]:
    """One drive of every driver, closed loop."""
    return {
        name: record_episode(SEED + i, DriveConfig(seconds=12.0, driver=name, open_loop=False))
        for i, name in enumerate(DRIVERS)
    }


def test_same_seed_gives_the_same_drive_bit_by_bit() -> None:
    config = DriveConfig(seconds=4.0)
    first, second = record_episode(SEED, config), record_episode(SEED, config)
    for name in PER_FRAME:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    other = record_episode(SEED + 1, config)
    assert (other.frames_THWC[0] != first.frames_THWC[0]).mean() > 0.5


def test_frames_are_whole_latent_frames_after_the_first(drives: dict[str, Episode]) -> None:
    assert {len(drive) for drive in drives.values()} == {97}  # 12 s at 8 Hz and the first
    assert len(record_episode(SEED, DriveConfig(seconds=1.3))) == 9  # 10.4 frames: two whole latent frames


@pytest.mark.parametrize("name", DRIVERS)
def test_commands_keep_the_robot_s_limits(drives: dict[str, Episode], name: str) -> None:
    commands_T3 = drives[name].commands_T3.astype(np.float64)
    assert violation(Robot(), commands_T3, np.zeros(3), 0.125) is None
    assert np.abs(commands_T3).sum() > 1.0  # it does drive


@pytest.mark.parametrize("name", DRIVERS)
def test_every_frame_shows_something_and_stays_out_of_walls(drives: dict[str, Episode], name: str) -> None:
    drive = drives[name]
    assert drive.frames_THWC.reshape(len(drive), -1).mean(axis=1).min() > 20.0
    assert drive.clearance_TK.min() > 0.19  # the robot's radius, less the give of a bumper


def test_open_loop_commands_ignore_what_happens() -> None:
    """A driver that is told of contacts and wrong poses at every tick commands what it commanded before."""
    config = DriveConfig(seconds=40.0, driver="careless", open_loop=True)
    seed, drive = next(
        (seed, found)
        for seed, found in ((seed, record_episode(seed, config)) for seed in range(SEED, SEED + 20))
        if found.contact_T.any()
    )
    first_hit = int(np.argmax(drive.contact_T))
    assert first_hit + 13 <= len(drive) <= first_hit + 18  # 2 s on, cut to whole latent frames
    source = CommandSource(draw_scene(seed, config), config.robot, 0.125)
    deaf = [source.next(0.125 * t, np.array([50.0, 50.0, 0.0]), True) for t in range(len(drive))]
    np.testing.assert_array_equal(np.array(deaf, np.float32), drive.commands_T3[:, [0, 2]])


def test_robot_does_as_commanded_until_it_hits_something() -> None:
    drive = record_episode(SEED + 2, DriveConfig(seconds=20.0, driver="tour", open_loop=True))
    assert not drive.contact_T.any()
    ideal_T3 = se2.integrate(drive.poses_T3[0], drive.commands_T3[:-1], 0.125)
    way = np.linalg.norm(np.diff(ideal_T3[:, :2], axis=0), axis=1).sum()
    off_T = np.linalg.norm(ideal_T3[:, :2] - drive.poses_T3[1:, :2], axis=1)
    assert way > 3.0 and off_T.max() < 0.1 + 0.03 * way  # latency and lag, and slip that adds up


def test_a_car_gets_about_without_turning_in_place() -> None:
    car = Robot(drive="ackermann")
    drive = record_episode(SEED + 4, DriveConfig(seconds=20.0, driver="tour", open_loop=False, robot=car))
    commands_T3 = drive.commands_T3.astype(np.float64)
    assert violation(car, commands_T3, np.zeros(3), 0.125) is None
    assert np.abs(commands_T3[np.abs(commands_T3[:, 0]) < 1e-6, 2]).max(initial=0.0) < 1e-6
    assert np.ptp(drive.poses_T3[:, :2], axis=0).max() > 1.5


def test_at_least_half_of_the_drives_are_open_loop() -> None:
    assert sum(share for _, open_loop, share in MIX if open_loop) >= 0.5
    assert {name for name, _, _ in MIX} == set(DRIVERS)


def test_contacts_happen_and_the_robot_comes_free(drives: dict[str, Episode]) -> None:
    config = DriveConfig(seconds=20.0, driver="wander", open_loop=False)
    contact_T = record_episode(SEED + 3, config).contact_T
    assert contact_T.any()
    assert not contact_T[int(np.argmax(contact_T)) :].all()


@pytest.mark.parametrize("name", DRIVERS)
def test_odometry_drifts_but_not_far(drives: dict[str, Episode], name: str) -> None:
    drive = drives[name]
    way = np.linalg.norm(np.diff(drive.poses_T3[:, :2], axis=0), axis=1).sum()
    turned = np.abs(np.diff(np.unwrap(drive.poses_T3[:, 2]))).sum()
    off_T3 = se2.between(drive.poses_T3, drive.odom_T3)
    np.testing.assert_allclose(off_T3[0], 0.0, atol=1e-6)
    assert np.abs(off_T3[-1]).sum() > 0.0
    assert np.linalg.norm(off_T3[-1, :2]) < 0.05 + 0.1 * way
    assert abs(off_T3[-1, 2]) < 0.03 + 0.05 * (turned + way)


def test_recording_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DriveConfig(seconds=1.0)
    whole = dataset.record_episode

    def stop_at_the_second(seed: int, config: DriveConfig) -> Episode:
        if seed == SEED + 1:
            raise KeyboardInterrupt
        return whole(seed, config)

    monkeypatch.setattr(dataset, "record_episode", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        record_dataset(tmp_path, first_seed=SEED, episodes=3, config=config, workers=1)
    before = episode_path(tmp_path, SEED).stat().st_mtime_ns
    monkeypatch.undo()
    totals = record_dataset(tmp_path, first_seed=SEED, episodes=3, config=config, workers=1)
    assert totals.episodes == 3 and totals.frames == 3 * 9
    assert episode_path(tmp_path, SEED).stat().st_mtime_ns == before
    assert read_episode(episode_path(tmp_path, SEED + 1)).seed == SEED + 1


def test_card_says_what_the_folder_holds_and_guards_it(tmp_path: Path) -> None:
    config = DriveConfig(seconds=1.0)
    record_dataset(tmp_path, first_seed=SEED, episodes=2, config=config, workers=1)
    card = yaml.safe_load((tmp_path / "dataset.yaml").read_text())
    assert card["seeds"] == {"first": SEED, "last": SEED + 1, "count": 2}
    assert card["config"]["family"] == "lab" and card["frames"] == 18
    assert card["hours"] == pytest.approx(18 / 8 / 3600, abs=1e-3)
    with pytest.raises(BadDataset, match="other|another folder"):
        record_dataset(tmp_path, first_seed=SEED, episodes=3, config=replace(config, seconds=2.0), workers=1)


def test_a_shard_that_was_cut_off_is_left_out_and_then_recorded_again(tmp_path: Path) -> None:
    config = DriveConfig(seconds=1.0)
    record_dataset(tmp_path, first_seed=SEED, episodes=2, config=config, workers=1)
    cut = episode_path(tmp_path, SEED)
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadEpisode, match=f"{cut.name}.*not a readable episode"):
        read_episode(cut)
    later = record_dataset(tmp_path, first_seed=SEED + 1, episodes=1, config=config, workers=1)
    assert later.broken == [cut.name] and later.episodes == 1
    totals = record_dataset(tmp_path, first_seed=SEED, episodes=2, config=config, workers=1)
    assert totals.broken == [] and totals.episodes == 2
    np.testing.assert_array_equal(read_episode(cut).frames_THWC, record_episode(SEED, config).frames_THWC)


def test_a_foreign_shard_is_refused_by_name_and_reason(tmp_path: Path) -> None:
    config = DriveConfig(seconds=1.0)
    record_dataset(tmp_path, first_seed=SEED, episodes=1, config=config, workers=1)
    own = read_episode(episode_path(tmp_path, SEED))
    for seed, changes, words in (
        (SEED + 1, {}, f"holds the drive of seed {SEED}"),
        (SEED, {"family": "varied"}, "its family is varied, the card dataset.yaml says lab"),
        (SEED, {"simulator": 1}, "its simulator version is 1, the card dataset.yaml says 3"),
        (SEED, {"frames_THWC": own.frames_THWC[:, :32]}, r"its picture size is \(32, 96\)"),
        (7, {"seed": 7}, "seed 7 is of the train split, the card says test"),
    ):
        path = episode_path(tmp_path, seed)
        write_episode(path, replace(own, **changes))  # type: ignore[arg-type]
        with pytest.raises(BadEpisode, match=words):
            read_episode(path)


def test_a_card_that_is_none_is_named(tmp_path: Path) -> None:
    path = episode_path(tmp_path, SEED)
    write_episode(path, record_episode(SEED, DriveConfig(seconds=1.0)))
    read_episode(path)  # no card: nothing is said about the set
    (tmp_path / "dataset.yaml").write_text("- a list")
    with pytest.raises(BadEpisode, match=r"dataset.yaml: not the card"):
        read_episode(path)


def test_one_folder_holds_one_split(tmp_path: Path) -> None:
    with pytest.raises(WrongSplit, match="seed 900000"):
        record_dataset(tmp_path, first_seed=899_999, episodes=2, config=DriveConfig(seconds=1.0), workers=1)


def test_two_processes_record_the_same_drives_as_one(tmp_path: Path) -> None:
    config = DriveConfig(seconds=1.0)
    record_dataset(tmp_path / "two", first_seed=SEED, episodes=2, config=config, workers=2)
    for seed in (SEED, SEED + 1):
        alone = record_episode(seed, config)
        together = read_episode(episode_path(tmp_path / "two", seed))
        np.testing.assert_array_equal(alone.frames_THWC, together.frames_THWC)


def test_an_empty_folder_counts_as_nothing() -> None:
    assert Totals().hours == 0.0
