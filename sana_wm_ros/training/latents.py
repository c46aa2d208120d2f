"""Drives as the world model trains on them: encoded once per autoencoder, on the latent clock, cached.

Dimension letters: F latent frames (0.5 s), T raw frames, G stills, C channels, K sectors. Latent frame i
ends at raw frame ``i * frames_per_latent``; frame 0 is a single raw frame.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sana_wm_ros.training.episodes import BadEpisode, Episode, read_episode
from sana_wm_ros.training.frames import list_episodes
from sana_wm_ros.world_model.autoencoder import Autoencoder

STILL_EVERY = 4  # clips may begin at every fourth latent frame, whose single frame is encoded too


@dataclass(frozen=True, kw_only=True)
class LatentDrive:
    """One encoded drive.

    latents_FCHW, stills_GCHW: float16, normalised; still g is the single raw frame at the end of latent
    frame ``g * STILL_EVERY``, as a stream that begins there would see it. poses_T3, commands_T3: at the raw
    rate. contact_F: any raw frame of the latent frame was in contact. clearance_FK: at the latent frame's
    end, metres.
    """

    latents_FCHW: NDArray[np.float16]
    stills_GCHW: NDArray[np.float16]
    poses_T3: NDArray[np.float32]
    commands_T3: NDArray[np.float32]
    contact_F: NDArray[np.bool_]
    clearance_FK: NDArray[np.float32]
    intrinsics_4: NDArray[np.float32]
    T_base_camera_44: NDArray[np.float32]
    name: str
    driver: str
    family: str
    open_loop: bool

    def __len__(self) -> int:
        return len(self.latents_FCHW)


_ARRAYS = (
    "latents_FCHW",
    "stills_GCHW",
    "poses_T3",
    "commands_T3",
    "contact_F",
    "clearance_FK",
    "intrinsics_4",
    "T_base_camera_44",
)


def fingerprint(autoencoder: Autoencoder) -> str:
    """A short name of these exact weights, so that latents of another autoencoder are never mixed in."""
    digest = hashlib.sha256()
    for name, value in sorted(autoencoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def encode_drive(autoencoder: Autoencoder, episode: Episode, name: str) -> LatentDrive:
    """Encode a recorded drive; a tail shorter than a whole group is left out."""
    per_group = autoencoder.config.frames_per_latent
    count = 1 + (len(episode) - 1) // per_group
    frames = torch.from_numpy(episode.frames_THWC[: 1 + (count - 1) * per_group])
    ends = np.arange(count) * per_group
    still_frames = frames[torch.from_numpy(ends[::STILL_EVERY].copy())]
    with torch.no_grad():
        latents = autoencoder.encode(frames, first=True)
        repeated = still_frames[:, None].expand(-1, per_group, -1, -1, -1).contiguous()
        stills = autoencoder.normalise(autoencoder.encode_groups(repeated))
    later = episode.contact_T[1 : 1 + (count - 1) * per_group].reshape(-1, per_group).any(axis=1)
    return LatentDrive(
        latents_FCHW=latents.numpy().astype(np.float16),
        stills_GCHW=stills.contiguous().numpy().astype(np.float16),
        poses_T3=episode.poses_T3,
        commands_T3=episode.commands_T3,
        contact_F=np.concatenate([episode.contact_T[:1], later]),
        clearance_FK=episode.clearance_TK[ends],
        intrinsics_4=episode.intrinsics_4,
        T_base_camera_44=episode.T_base_camera_44,
        name=name,
        driver=episode.driver,
        family=episode.family,
        open_loop=episode.open_loop,
    )


def load_drives(
    autoencoder: Autoencoder,
    folders: list[Path],
    cache: Path,
    *,
    limit: int | None = None,
    on_drive: Callable[[int, int], None] | None = None,
    on_bad: Callable[[BadEpisode], None] | None = None,
) -> list[LatentDrive]:
    """All drives of the folders, encoded; what is in the cache is read, the rest is encoded and added.

    The cache holds one folder per autoencoder. A drive that is cut off or does not belong to its set is left
    out; ``on_bad`` is told its name and why.
    """
    paths = list_episodes(folders)[:limit]
    folder = cache / fingerprint(autoencoder)
    folder.mkdir(parents=True, exist_ok=True)
    drives: list[LatentDrive] = []
    for number, path in enumerate(paths):
        name = f"{path.parent.name}-{path.stem}"
        file = folder / f"{name}.npz"
        if file.exists():
            drives.append(_read(file))
        else:
            try:
                drive = encode_drive(autoencoder, read_episode(path), name)
            except BadEpisode as error:
                if on_bad is not None:
                    on_bad(error)
                continue
            _write(file, drive)
            drives.append(drive)
        if on_drive is not None:
            on_drive(number + 1, len(paths))
    return drives


def _write(file: Path, drive: LatentDrive) -> None:
    meta = {name: getattr(drive, name) for name in ("name", "driver", "family", "open_loop")}
    beside = file.with_suffix(".tmp.npz")
    np.savez(beside, meta=json.dumps(meta), **{name: getattr(drive, name) for name in _ARRAYS})
    beside.replace(file)


def _read(file: Path) -> LatentDrive:
    with np.load(file, allow_pickle=False) as stored:
        meta = json.loads(str(stored["meta"]))
        return LatentDrive(**{name: stored[name] for name in _ARRAYS}, **meta)
