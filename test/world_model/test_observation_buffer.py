"""The observation buffer: the frame grid from any camera rate, and what ends a context."""

from __future__ import annotations

import numpy as np
import pytest

from sana_wm_ros.geometry.camera import Pinhole, base_to_optical
from sana_wm_ros.world_model.observation_buffer import BufferConfig, ObservationBuffer
from sana_wm_ros.world_model.protocol import ModelSpec

SPEC = ModelSpec(
    image_height=64,
    image_width=96,
    frame_rate_hz=8.0,
    frames_per_latent=4,
    latent_shape=(32, 4, 6),
    sectors=24,
    max_range_m=8.0,
    place_width=32,
)
START_S = 1000.0


def buffer(**config: float) -> ObservationBuffer:
    return ObservationBuffer(SPEC, base_to_optical((0.1, 0.0, 0.3), (0.0, 0.0, 0.0)), BufferConfig(**config))


def picture(value: float, height: int = 64, width: int = 96) -> np.ndarray:
    return np.full((height, width, 3), int(value) % 256, dtype=np.uint8)


def drive(
    target: ObservationBuffer,
    *,
    camera_hz: float,
    odometry_hz: float = 20.0,
    seconds: float,
    start_s: float = START_S,
    jitter_s: float = 0.0,
) -> None:
    """A robot at 1 m/s along x; each picture's grey value is its stamp in hundredths of a second (mod 256)."""
    rng = np.random.default_rng(0)
    images = start_s + np.arange(0, seconds, 1 / camera_hz)
    images[1:] += rng.uniform(-jitter_s, jitter_s, len(images) - 1)
    odometry = start_s + np.arange(0, seconds, 1 / odometry_hz)
    for stamp, kind in sorted([(s, "image") for s in images] + [(s, "odometry") for s in odometry]):
        if kind == "image":
            target.add_image(stamp, picture(round((stamp - START_S) * 100)))
        else:
            target.add_odometry(stamp, np.array([stamp - START_S, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]))


@pytest.mark.parametrize(("camera_hz", "jitter_s"), [(5, 0), (8, 0), (8, 0.02), (9.65, 0), (30, 0.005)])
def test_any_camera_rate_gives_the_eight_hertz_grid(camera_hz: float, jitter_s: float) -> None:
    target = buffer()
    drive(target, camera_hz=camera_hz, jitter_s=jitter_s, seconds=6.0)
    taken = target.take()
    assert taken is not None and taken.restart
    grid_s = START_S + np.arange(len(taken.stamps_T)) / 8
    # 6 s hold 48 grid times; the last whole group may still wait for a picture that proves "nearest".
    assert len(taken.stamps_T) in (41, 45)
    assert np.abs(taken.stamps_T - grid_s).max() <= 0.5 / camera_hz + 2 * jitter_s + 1e-9


def test_the_first_frame_is_single_and_later_ones_come_in_groups_of_four() -> None:
    target = buffer()
    lengths = []
    for piece in range(12):
        drive(target, camera_hz=8, seconds=0.25, start_s=START_S + 0.25 * piece)
        taken = target.take()
        lengths.append(0 if taken is None else len(taken.stamps_T))
    # Frames 0..23 arrive by twos: 1, then a group with every second pair; the newest one waits for odometry.
    assert lengths[0] == 1
    assert set(lengths[1:]) == {0, 4}
    assert sum(lengths) == 1 + 20


def test_each_frame_carries_the_pose_at_its_own_pictures_stamp() -> None:
    target = buffer()
    drive(target, camera_hz=5, odometry_hz=10, seconds=3.0)
    taken = target.take()
    assert taken is not None
    # Base at x = t, camera 0.1 m ahead and 0.3 m up, looking along x: the optical z axis is +x.
    np.testing.assert_allclose(taken.poses_T44[:, 0, 3], taken.stamps_T - START_S + 0.1, atol=1e-9)
    np.testing.assert_allclose(taken.poses_T44[:, 2, 3], 0.3)
    np.testing.assert_allclose(taken.poses_T44[:, :3, 2], [[1.0, 0.0, 0.0]] * len(taken.stamps_T), atol=1e-12)
    grey = taken.frames_THWC[:, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(grey, np.round((taken.stamps_T - START_S) * 100).astype(int) % 256)


def test_yaw_is_interpolated_the_short_way_across_pi() -> None:
    target = buffer()
    target.add_odometry(START_S - 0.05, np.array([0.0, 0.0, 3.1]), np.zeros(3))
    target.add_image(START_S, picture(0))
    target.add_odometry(START_S + 0.05, np.array([0.0, 0.0, -3.1]), np.zeros(3))
    target.add_image(START_S + 0.1, picture(0))
    taken = target.take()
    assert taken is not None
    # Halfway between 3.1 and -3.1 the short way is pi: forward points to -x.
    np.testing.assert_allclose(taken.poses_T44[0, :3, 2], [-1.0, 0.0, 0.0], atol=1e-9)


def test_the_same_messages_give_the_same_frames_however_often_somebody_takes() -> None:
    once, often = buffer(), buffer()
    parts = []
    for piece in range(10):
        for target in (once, often):
            drive(target, camera_hz=10, seconds=0.5, start_s=START_S + 0.5 * piece)
        taken = often.take()
        parts += [] if taken is None else [taken.stamps_T]
    whole = once.take()
    assert whole is not None
    np.testing.assert_array_equal(whole.stamps_T, np.concatenate(parts))


def test_a_gap_in_the_pictures_starts_a_new_context_and_says_so() -> None:
    target = buffer()
    drive(target, camera_hz=10, seconds=2.0)
    assert target.take() is not None
    drive(target, camera_hz=10, seconds=2.0, start_s=START_S + 3.0)
    taken = target.take()
    assert taken is not None and taken.restart
    assert "no picture for 1.10 s" in taken.reason
    assert taken.stamps_T[0] == START_S + 3.0
    assert any("no picture" in note for note in target.drain_notes())


def test_a_gap_in_the_odometry_starts_a_new_context_after_it() -> None:
    target = buffer()
    drive(target, camera_hz=10, seconds=2.0)
    target.take()
    for stamp in np.arange(2.0, 4.0, 0.1):
        target.add_image(START_S + stamp, picture(0))
    drive(target, camera_hz=10, seconds=2.0, start_s=START_S + 4.0)
    taken = target.take()
    assert taken is not None and taken.restart
    assert "no odometry for 2.0" in taken.reason
    assert taken.stamps_T[0] >= START_S + 4.0


def test_a_jump_back_in_time_clears_everything_and_says_so() -> None:
    target = buffer()
    drive(target, camera_hz=10, seconds=5.0)
    target.take()
    drive(target, camera_hz=10, seconds=2.0)
    taken = target.take()
    assert taken is not None and taken.restart
    assert "time jumped back" in taken.reason
    assert taken.stamps_T[0] == START_S
    assert any("observations cleared" in note for note in target.drain_notes())


def test_duplicates_and_disorder_are_tolerated_and_counted() -> None:
    tidy, untidy = buffer(), buffer()
    drive(tidy, camera_hz=10, seconds=3.0)
    stamps = START_S + np.arange(0, 3.0, 0.05)
    order = stamps.reshape(-1, 2)[:, ::-1].ravel()  # every two neighbours swapped
    untidy.add_odometry(START_S, np.zeros(3), np.array([1.0, 0.0, 0.0]))
    images = [0.0, 0.1, 0.3, 0.2, 0.2, 0.4, 0.6, 0.5, *np.arange(0.7, 3.0, 0.1)]
    for stamp in START_S + np.array(images):
        untidy.add_image(stamp, picture(round((stamp - START_S) * 100)))
    for stamp in order:
        for _ in range(2):
            untidy.add_odometry(stamp, np.array([stamp - START_S, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    expected, taken = tidy.take(), untidy.take()
    assert expected is not None and taken is not None
    length = min(len(expected.stamps_T), len(taken.stamps_T))
    assert length >= 21
    np.testing.assert_allclose(taken.stamps_T[:length], expected.stamps_T[:length])
    np.testing.assert_allclose(taken.poses_T44[:length], expected.poses_T44[:length], atol=1e-9)
    assert untidy.counts["image duplicate"] == 1
    assert untidy.counts["odometry duplicate"] > 30
    assert untidy.counts["odometry out of order"] == 29


def test_a_pose_that_is_not_finite_is_refused_and_counted_by_name() -> None:
    target = buffer()
    for _ in range(3):
        target.add_odometry(START_S, np.array([np.nan, 0.0, 0.0]), np.zeros(3))
    target.add_odometry(START_S, np.zeros(3), np.array([np.inf, 0.0, 0.0]))
    assert target.counts["odometry pose not finite"] == 3
    assert target.counts["odometry twist not finite"] == 1
    assert target.latest_motion is None
    assert len(target.drain_notes()) == 2


def test_messages_without_a_stamp_are_refused_with_advice() -> None:
    target = buffer()
    target.add_image(0.0, picture(0))
    assert target.counts["image without stamp"] == 1
    assert "header.stamp" in target.drain_notes()[0]


def test_memory_stays_bounded_whether_or_not_frames_are_taken() -> None:
    target = buffer(keep_s=5.0, max_start_s=2.0)
    for piece in range(20):
        drive(target, camera_hz=30, seconds=1.0, start_s=START_S + piece)
    assert len(target._ready) <= 21 and len(target._images) < 10 and len(target._odometry) <= 122
    taken = target.take()
    assert taken is not None and taken.end_stamp_s > START_S + 19.4
    for piece in range(20, 40):
        drive(target, camera_hz=30, seconds=1.0, start_s=START_S + piece)
        target.take()
    assert len(target._taken) <= 40


def test_pictures_without_odometry_do_not_pile_up() -> None:
    target = buffer()
    for stamp in np.arange(0, 30.0, 0.1):
        target.add_image(START_S + stamp, picture(0))
    assert len(target._images) <= 52
    assert target.counts["image without odometry"] > 200
    assert target.take() is None


def test_a_context_can_be_rebuilt_from_the_newest_frames_and_goes_on_in_step() -> None:
    target = buffer()
    drive(target, camera_hz=8, seconds=10.0)
    first = target.take()
    again = target.rebuild(3.0, "anchor too old")
    assert first is not None and again is not None and again.restart
    assert len(again.stamps_T) == 25  # 3 s at 8 Hz and the single first frame
    np.testing.assert_array_equal(again.stamps_T, first.stamps_T[-25:])
    drive(target, camera_hz=8, seconds=1.0, start_s=START_S + 10.0)
    more = target.take()
    assert more is not None and not more.restart
    assert more.stamps_T[0] == pytest.approx(again.stamps_T[-1] + 0.125)


def test_a_new_picture_size_starts_a_new_context() -> None:
    target = buffer()
    drive(target, camera_hz=10, seconds=2.0)
    target.take()
    for stamp in np.arange(2.0, 4.0, 0.1):
        target.add_odometry(START_S + stamp, np.zeros(3), np.zeros(3))
        target.add_image(START_S + stamp, picture(7, 480, 640))
    taken = target.take()
    assert taken is not None and taken.restart
    assert "96x64 to 640x480" in taken.reason


def test_intrinsics_follow_the_resize_and_the_crop() -> None:
    target = buffer()
    target.set_camera(Pinhole(fx=320.0, fy=320.0, cx=319.5, cy=239.5, width=640, height=480))
    assert target.intrinsics is None
    target.add_image(START_S, picture(0, 480, 640))
    intrinsics = target.intrinsics
    assert intrinsics is not None
    # 640x480 covers 96x64 at a scale of 0.15: the middle 640x427 is kept. Its centre stays in the middle.
    assert intrinsics.fx == pytest.approx(48.0)
    assert intrinsics.cx == pytest.approx(47.5)
    assert intrinsics.fy == pytest.approx(320 * 64 / 427)
    assert intrinsics.cy == pytest.approx(31.5, abs=0.1)


def test_a_camera_matrix_of_another_picture_shape_is_refused_by_name() -> None:
    target = buffer()
    target.set_camera(Pinhole(fx=320.0, fy=320.0, cx=319.5, cy=239.5, width=640, height=480))
    target.add_image(START_S, picture(0, 400, 1000))
    with pytest.raises(ValueError, match="640x480.*1000x400"):
        _ = target.intrinsics


def test_a_camera_matrix_of_the_same_picture_at_twice_the_size_is_scaled() -> None:
    whole, binned = buffer(), buffer()
    whole.set_camera(Pinhole(fx=160.0, fy=160.0, cx=159.5, cy=119.5, width=320, height=240))
    binned.set_camera(Pinhole(fx=320.0, fy=320.0, cx=319.5, cy=239.5, width=640, height=480))
    for target in (whole, binned):
        target.add_image(START_S, picture(0, 240, 320))
    assert whole.intrinsics == binned.intrinsics


def test_ages_are_infinite_until_something_came() -> None:
    target = buffer()
    assert target.image_age_s(START_S) == float("inf")
    drive(target, camera_hz=10, seconds=1.0)
    assert target.image_age_s(START_S + 1.5) == pytest.approx(0.6)
    assert target.odometry_age_s(START_S + 1.5) == pytest.approx(0.55)
