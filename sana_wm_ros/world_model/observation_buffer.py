"""Stamped pictures and odometry in, the model's frame grid out: which picture, at which pose, in which group.

Time is the message stamps' and nothing else, so a live robot, a replayed bag and an offline tool get
the same frames from the same messages. For each time of the grid (8 Hz) the nearest picture is taken, with the pose
interpolated at that picture's own stamp; the first frame of a context stands alone and the others
come in groups of ``frames_per_latent``. Slower cameras repeat pictures, faster ones are thinned.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry.camera import Pinhole, camera_poses, cover_crop, fit_to_model
from sana_wm_ros.geometry.interpolation import interpolate_poses
from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.world_model.framing import cropped, scaled
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec


@dataclass(frozen=True, kw_only=True)
class BufferConfig:
    """When observations belong together. Seconds.

    max_image_gap_s, max_odometry_gap_s: a longer silence ends the context.
    max_disorder_s: a stamp further behind the newest one than this is a jump back in time, not disorder.
    keep_s: how much of the past is kept for rebuilding a context.
    max_start_s: a context that starts late (the node was inactive) starts with this much of the past.
    """

    max_image_gap_s: float = 0.6
    max_odometry_gap_s: float = 0.6
    max_disorder_s: float = 1.0
    keep_s: float = 70.0
    max_start_s: float = 20.0


@dataclass(frozen=True, kw_only=True)
class NewFrames:
    """Frames for ``Context.extend``, oldest first.

    frames_THWC: uint8 RGB at the model's size. poses_T44: camera-to-world in ``odom``.
    restart: they begin a new context (T = 1 + 4 k), and ``reason`` says why the old one ended.
    """

    frames_THWC: NDArray[np.uint8]
    poses_T44: FloatArray
    stamps_T: FloatArray
    restart: bool
    reason: str

    @property
    def end_stamp_s(self) -> float:
        """Stamp of the newest picture."""
        return float(self.stamps_T[-1])


@dataclass(frozen=True, kw_only=True)
class StampedMotion:
    """Planar pose (x, y, yaw) in ``odom`` and twist (vx, vy, yaw rate) of the base at a time."""

    stamp_s: float
    pose_3: FloatArray
    twist_3: FloatArray


@dataclass(frozen=True, kw_only=True)
class _Frame:
    stamp_s: float
    image_HWC: NDArray[np.uint8]
    pose_44: FloatArray


class ObservationBuffer:
    """Aligns one camera with planar odometry. All methods may be called from any thread.

    Counts of what was refused or repaired are in ``counts``; sentences for a log come from
    ``drain_notes``.
    """

    def __init__(
        self, spec: ModelSpec, T_base_camera_44: FloatArray, config: BufferConfig | None = None
    ) -> None:
        self._spec = spec
        self._config = config or BufferConfig()
        self._period_s = 1.0 / spec.frame_rate_hz
        self._decided_s = self._period_s / 8  # a picture this little before its grid time needs no rival
        self._T_base_camera_44 = _checked_transform(T_base_camera_44)
        self._lock = threading.Lock()
        self._notes: deque[str] = deque(maxlen=100)
        self._camera: Pinhole | None = None
        self._image_size: tuple[int, int] | None = None
        self.counts: Counter[str] = Counter()
        self._reset("nothing was seen yet")

    def _reset(self, reason: str) -> None:
        keep = int(self._config.keep_s * self._spec.frame_rate_hz)
        self._images: list[tuple[float, NDArray[np.uint8]]] = []
        self._odometry: list[StampedMotion] = []
        self._ready: deque[_Frame] = deque()
        self._taken: deque[_Frame] = deque(maxlen=keep)
        self._newest_image_s: float | None = None
        self._newest_odometry_s: float | None = None
        self._restart(reason)

    def _restart(self, reason: str) -> None:
        """End the context: later frames begin a new one."""
        self._ready.clear()
        self._taken.clear()
        self._grid_start_s: float | None = None
        self._grid_index = 0
        self._fresh = True
        self._reason = reason

    def clear(self, reason: str) -> None:
        """Forget all observations, for instance because time jumped back."""
        with self._lock:
            self._notes.append(f"{reason}: observations cleared")
            self._reset(reason)

    def set_camera(self, camera: Pinhole) -> None:
        """Intrinsics of the pictures as they are added; a change ends the context."""
        with self._lock:
            if camera == self._camera:
                return
            if self._camera is not None:
                self._end_context("the camera's intrinsics changed")
            self._camera = camera

    def set_extrinsics(self, T_base_camera_44: FloatArray) -> None:
        """Pose of the camera's optical frame in the base frame; a change ends the context."""
        transform = _checked_transform(T_base_camera_44)
        with self._lock:
            if not np.allclose(transform, self._T_base_camera_44, atol=1e-6):
                self._T_base_camera_44 = transform
                self._end_context("the camera's place on the robot changed")

    @property
    def T_base_camera_44(self) -> FloatArray:
        """Pose of the camera's optical frame in the base frame."""
        return self._T_base_camera_44

    @property
    def intrinsics(self) -> Intrinsics | None:
        """Intrinsics in pixels of the model's pictures, or None while picture or camera are missing.

        A camera given for another size of the same picture (binning, a resizing driver) is scaled; one
        for another shape of picture is refused with ``ValueError``.
        """
        with self._lock:
            if self._camera is None or self._image_size is None:
                return None
            camera = scaled(self._camera, *self._image_size)
        fitted, _ = fit_to_model(camera, self._spec.image_width, self._spec.image_height)
        return Intrinsics(fx=fitted.fx, fy=fitted.fy, cx=fitted.cx, cy=fitted.cy)

    def add_image(self, stamp_s: float, image_HWC: NDArray[np.uint8]) -> None:
        """Take in a picture, uint8 RGB of any size."""
        if image_HWC.ndim != 3 or image_HWC.shape[2] != 3 or image_HWC.dtype != np.uint8:
            raise ValueError(f"expected a uint8 picture (H, W, 3), got {image_HWC.dtype} {image_HWC.shape}")
        with self._lock:
            newest = self._accept_stamp("image", stamp_s, self._newest_image_s)
            if newest is None:
                return
            frame_HWC = self._framed(image_HWC)
            self._newest_image_s = newest
            place = bisect_left(self._images, stamp_s, key=lambda entry: entry[0])
            if place < len(self._images):
                if self._images[place][0] == stamp_s:
                    self.counts["image duplicate"] += 1
                    return
                if place == 0:
                    self.counts["image too late"] += 1
                    return
                self.counts["image out of order"] += 1
            self._images.insert(place, (stamp_s, frame_HWC))
            self._advance()

    def add_odometry(self, stamp_s: float, pose_3: FloatArray, twist_3: FloatArray) -> None:
        """Take in a planar pose (x, y, yaw) and twist (vx, vy, yaw rate)."""
        pose_3, twist_3 = np.asarray(pose_3, dtype=np.float64), np.asarray(twist_3, dtype=np.float64)
        with self._lock:
            for name, values in (("pose", pose_3), ("twist", twist_3)):
                if values.shape != (3,) or not np.isfinite(values).all():
                    self._count_once(f"odometry {name} not finite", f"odometry {name} {values} refused")
                    return
            newest = self._accept_stamp("odometry", stamp_s, self._newest_odometry_s)
            if newest is None:
                return
            self._newest_odometry_s = newest
            place = bisect_left(self._odometry, stamp_s, key=lambda motion: motion.stamp_s)
            if place < len(self._odometry):
                if self._odometry[place].stamp_s == stamp_s:
                    self.counts["odometry duplicate"] += 1
                    return
                self.counts["odometry out of order"] += 1
            motion = StampedMotion(stamp_s=stamp_s, pose_3=pose_3, twist_3=twist_3)
            self._odometry.insert(place, motion)
            self._advance()

    def take(self) -> NewFrames | None:
        """Frames that complete further latent frames since the last call, or None.

        When a context ended, the frames of the new one come with ``restart``: the caller starts anew.
        """
        group = self._spec.frames_per_latent
        with self._lock:
            count = len(self._ready)
            count = 1 + (count - 1) // group * group if self._fresh else count // group * group
            if count <= 0:
                return None
            frames = [self._ready.popleft() for _ in range(count)]
            self._taken.extend(frames)
            restart, self._fresh = self._fresh, False
            return _stack(frames, restart=restart, reason=self._reason if restart else "")

    def rebuild(self, seconds: float, reason: str) -> NewFrames | None:
        """The newest frames once more, at most ``seconds`` of them, to start a context anew with."""
        group = self._spec.frames_per_latent
        with self._lock:
            count = min(len(self._taken), int(seconds * self._spec.frame_rate_hz) + 1)
            if count == 0:
                return None
            count = 1 + (count - 1) // group * group
            return _stack(list(self._taken)[-count:], restart=True, reason=reason)

    @property
    def latest_motion(self) -> StampedMotion | None:
        """The newest odometry."""
        with self._lock:
            return self._odometry[-1] if self._odometry else None

    def image_age_s(self, now_s: float) -> float:
        """Seconds since the newest picture's stamp; infinite while there is none."""
        newest = self._newest_image_s
        return float("inf") if newest is None else now_s - newest

    def odometry_age_s(self, now_s: float) -> float:
        """Seconds since the newest odometry's stamp; infinite while there is none."""
        newest = self._newest_odometry_s
        return float("inf") if newest is None else now_s - newest

    def drain_notes(self) -> list[str]:
        """Sentences about what happened since the last call, for a log."""
        with self._lock:
            notes = list(self._notes)
            self._notes.clear()
            return notes

    def _count_once(self, name: str, sentence: str) -> None:
        """Count every time, say it the first time."""
        self.counts[name] += 1
        if self.counts[name] == 1:
            self._notes.append(f"{sentence} (said once; later ones are counted)")

    def _end_context(self, reason: str) -> None:
        if self._taken or self._ready:
            self._notes.append(f"{reason}: the context starts anew")
        self._restart(reason)

    def _accept_stamp(self, stream: str, stamp_s: float, newest_s: float | None) -> float | None:
        """The stream's newest stamp with this one, or None when the stamp is unusable."""
        if not np.isfinite(stamp_s) or stamp_s <= 0.0:
            name = f"{stream} without stamp"
            self._count_once(
                name, f"{stream} with stamp {stamp_s} refused: its driver must fill header.stamp"
            )
            return None
        if newest_s is None:
            return stamp_s
        if stamp_s < newest_s - self._config.max_disorder_s:
            reason = f"time jumped back by {newest_s - stamp_s:.1f} s ({stream})"
            self.counts["time jump"] += 1
            self._notes.append(f"{reason}: observations cleared")
            self._reset(reason)
            return stamp_s
        return max(stamp_s, newest_s)

    def _framed(self, image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture at the model's size: the middle, averaged over areas where it shrinks."""
        height, width = image_HWC.shape[:2]
        if self._image_size is not None and self._image_size != (width, height):
            was_width, was_height = self._image_size
            self._end_context(f"pictures changed from {was_width}x{was_height} to {width}x{height}")
            self._images.clear()
        self._image_size = (width, height)
        out = (self._spec.image_width, self._spec.image_height)
        return cropped(image_HWC, cover_crop(width, height, *out), *out)

    def _advance(self) -> None:
        """Fill the grid as far as pictures and odometry reach."""
        while self._images:
            if self._grid_start_s is None:
                self._grid_start_s, self._grid_index = self._images[0][0], 0
            due_s = self._grid_start_s + self._grid_index * self._period_s
            after = bisect_left(self._images, due_s - self._decided_s, key=lambda entry: entry[0])
            if after == len(self._images):
                break
            if after > 0 and self._gap_before(after):
                continue
            nearest = after
            if after > 0 and due_s - self._images[after - 1][0] < self._images[after][0] - due_s:
                nearest = after - 1
            if not self._take_into_grid(nearest):
                break
        self._prune()

    def _gap_before(self, after: int) -> bool:
        silence_s = self._images[after][0] - self._images[after - 1][0]
        if silence_s <= self._config.max_image_gap_s:
            return False
        del self._images[:after]
        self._end_context(f"no picture for {silence_s:.2f} s")
        return True

    def _take_into_grid(self, index: int) -> bool:
        """Give a picture its pose and its place; False while odometry has not come that far."""
        stamp_s, image_HWC = self._images[index]
        place = bisect_left(self._odometry, stamp_s, key=lambda motion: motion.stamp_s)
        if place == len(self._odometry):
            return False
        if place == 0 and self._odometry[0].stamp_s > stamp_s:
            self.counts["image before odometry"] += 1
            del self._images[: index + 1]
            self._grid_start_s = None
            return True
        around = self._odometry[max(place - 1, 0) : place + 1]
        silence_s = around[-1].stamp_s - around[0].stamp_s
        if around[-1].stamp_s > stamp_s and silence_s > self._config.max_odometry_gap_s:
            # Pictures inside the gap have no trustworthy pose: go on with the first one after it.
            self._images = [entry for entry in self._images if entry[0] >= around[-1].stamp_s]
            self._end_context(f"no odometry for {silence_s:.2f} s")
            return True
        stamps, poses = [motion.stamp_s for motion in around], [motion.pose_3 for motion in around]
        pose_3 = interpolate_poses(stamps, poses, stamp_s, max_gap_s=self._config.max_odometry_gap_s)[0]
        pose_44 = camera_poses(pose_3, self._T_base_camera_44)
        self._ready.append(_Frame(stamp_s=stamp_s, image_HWC=image_HWC, pose_44=pose_44))
        self._grid_index += 1
        del self._images[:index]  # the picture itself stays: a slow camera needs it again
        return True

    def _prune(self) -> None:
        """Keep memory bounded whatever arrives, and whether or not anybody takes frames."""
        rate_hz, group = self._spec.frame_rate_hz, self._spec.frames_per_latent
        while self._fresh and len(self._ready) > 1 + group + int(self._config.max_start_s * rate_hz):
            self._ready.popleft()
        keep_frames = int(self._config.keep_s * rate_hz)
        if len(self._ready) > keep_frames:
            while len(self._ready) > keep_frames:
                self._ready.popleft()
            self._taken.clear()
            self._fresh, self._reason = (
                True,
                f"frames of more than {self._config.keep_s:.0f} s were not taken",
            )
        if self._newest_odometry_s is not None:
            horizon_s = self._newest_odometry_s - self._config.keep_s
            if self._odometry[0].stamp_s < horizon_s - 1.0:
                self._odometry = [m for m in self._odometry if m.stamp_s >= horizon_s]
        if self._newest_image_s is not None and self._images:
            horizon_s = self._newest_image_s - 5.0  # pictures still waiting for odometry
            if self._images[0][0] < horizon_s:
                waiting = len(self._images)
                self._images = [entry for entry in self._images if entry[0] >= horizon_s]
                self.counts["image without odometry"] += waiting - len(self._images)
                self._end_context("pictures came without odometry")


def _checked_transform(T_44: FloatArray) -> FloatArray:
    T_44 = np.asarray(T_44, dtype=np.float64)
    if T_44.shape != (4, 4) or not np.isfinite(T_44).all():
        raise ValueError(f"camera extrinsics must be a finite 4x4 matrix, got {T_44!r}")
    return T_44


def _stack(frames: list[_Frame], *, restart: bool, reason: str) -> NewFrames:
    return NewFrames(
        frames_THWC=np.stack([frame.image_HWC for frame in frames]),
        poses_T44=np.stack([frame.pose_44 for frame in frames]),
        stamps_T=np.array([frame.stamp_s for frame in frames]),
        restart=restart,
        reason=reason,
    )
