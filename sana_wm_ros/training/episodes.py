"""Recorded drives on disk: what the simulator writes and training reads, one ``.npz`` per drive.

Dimension letters: T raw frames at ``FRAME_RATE_HZ``, K bearing sectors. Poses are (x, y, yaw) of the
base, commands (vx, vy, yaw rate); metres, seconds, radians.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

FRAME_RATE_HZ = 8.0
FORMAT_VERSION = 1
CARD = "dataset.yaml"
"""Beside the drives of a set: what they are, how many, by which version of the simulator."""

Split = Literal["train", "validation", "test"]
VALIDATION_SEEDS, TEST_SEEDS = 900_000, 1_000_000
"""The first seed of validation and of test; those below validation are for training."""


class BadEpisode(ValueError):
    """A file that is not a whole, finite, consistent episode of this format."""


class WrongSplit(ValueError):
    """Drives of a split that may not be used for this."""


def split_of(seed: int) -> Split:
    """What a seed may be used for: train < 900 000 <= validation < 1 000 000 <= test."""
    if seed < 0:
        raise ValueError(f"seeds are integers from 0 on, got {seed}")
    if seed < VALIDATION_SEEDS:
        return "train"
    return "validation" if seed < TEST_SEEDS else "test"


def check_split(seeds: Iterable[int], *allowed: Split) -> None:
    """Raise ``WrongSplit`` that names the first seed of another split than those allowed."""
    for seed in seeds:
        if split_of(seed) not in allowed:
            raise WrongSplit(
                f"seed {seed} belongs to the {split_of(seed)} split, and this takes only "
                f"{' or '.join(allowed)}: train < {VALIDATION_SEEDS:,} <= validation < {TEST_SEEDS:,} <= test"
            )


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One drive.

    frames_THWC: uint8 RGB at the model's image size.
    poses_T3: true base pose at each frame. odom_T3: the pose that drifting odometry reported.
    commands_T3: the command held from this frame to the next, as commanded, whatever came of it.
    contact_T: the robot touched something since the frame before.
    clearance_TK: free distance from the base in K sectors, sector k centred on bearing 2 pi k / K; NaN where
        nobody measured it.
    intrinsics_4: fx, fy, cx, cy in pixels of ``frames_THWC``. T_base_camera_44: optical frame in base.
    open_loop: the driver never reacted to what happened. simulator: its version; another one would give
    another drive for the same seed.
    """

    frames_THWC: NDArray[np.uint8]
    poses_T3: NDArray[np.float32]
    odom_T3: NDArray[np.float32]
    commands_T3: NDArray[np.float32]
    contact_T: NDArray[np.bool_]
    clearance_TK: NDArray[np.float32]
    intrinsics_4: NDArray[np.float32]
    T_base_camera_44: NDArray[np.float32]
    seed: int
    family: str
    driver: str
    open_loop: bool
    simulator: int = 1

    def __len__(self) -> int:
        return len(self.frames_THWC)


_ARRAYS = (
    "frames_THWC poses_T3 odom_T3 commands_T3 contact_T clearance_TK intrinsics_4 T_base_camera_44".split()
)
_PER_FRAME = "poses_T3 odom_T3 commands_T3 contact_T clearance_TK".split()


def write_episode(path: Path, episode: Episode) -> None:
    """Write an episode so that a reader never sees half of it (written beside, then renamed)."""
    meta = {"version": FORMAT_VERSION, "seed": episode.seed, "family": episode.family}
    meta |= {"driver": episode.driver, "open_loop": episode.open_loop, "simulator": episode.simulator}
    beside = path.with_suffix(".tmp.npz")
    np.savez_compressed(beside, meta=json.dumps(meta), **{name: getattr(episode, name) for name in _ARRAYS})
    beside.replace(path)


def read_episode(path: Path) -> Episode:
    """Read and check an episode; ``BadEpisode`` names the file and what is wrong with it.

    Truncated files are refused, and foreign ones: of another seed than their name says, or not of the set
    that the card beside them (``CARD``, where there is one) describes.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
            arrays = {name: file[name] for name in _ARRAYS}
    except Exception as error:  # a truncated zip raises half a dozen unrelated types
        raise BadEpisode(f"{path}: not a readable episode ({type(error).__name__}: {error})") from error
    if meta.pop("version", None) != FORMAT_VERSION:
        raise BadEpisode(f"{path}: written by another version of the format; record it again")
    length = len(arrays["frames_THWC"])
    for name in _PER_FRAME:
        if len(arrays[name]) != length:
            raise BadEpisode(f"{path}: {name} has {len(arrays[name])} rows, expected {length}")
    for name, values in arrays.items():
        wrong = np.isinf(values) if name == "clearance_TK" else ~np.isfinite(values)
        if values.dtype.kind == "f" and wrong.any():
            raise BadEpisode(f"{path}: {name} holds values that are not finite")
    episode = Episode(**arrays, **meta)
    foreign = _foreign(path, episode)
    if foreign is not None:
        raise BadEpisode(f"{path}: does not belong here: {foreign}")
    return episode


def episode_path(folder: Path, seed: int) -> Path:
    """Where the drive of a seed lies in a set."""
    return folder / f"episode_{seed:07d}.npz"


def seeds_in(folders: Iterable[Path]) -> Iterator[int]:
    """The seeds of the drives in folders, by their files' names (``read_episode`` holds them to these)."""
    for folder in folders:
        for path in sorted(folder.rglob("episode_*.npz")):
            digits = path.stem.removeprefix("episode_")
            if digits.isdecimal():
                yield int(digits)


def read_card(folder: Path) -> dict[str, Any] | None:
    """The card of a set of drives, or None; ``BadEpisode`` for one that can't be read."""
    path = folder / CARD
    if not path.exists():
        return None
    return _read_card(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _read_card(path: Path, changed_ns: int) -> dict[str, Any]:
    try:
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadEpisode(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(card, dict) or not isinstance(card.get("config"), dict):
        raise BadEpisode(f"{path}: not the card of a set of drives (no 'config'); record the set again")
    return card


def _foreign(path: Path, episode: Episode) -> str | None:
    """Why a drive is not of the set it lies in, or None."""
    if path.name.startswith("episode_") and path.name != episode_path(path.parent, episode.seed).name:
        return f"it holds the drive of seed {episode.seed}"
    card = read_card(path.parent)
    if card is None:
        return None
    config = card["config"]
    size = (config.get("height"), config.get("width"))
    said = {
        "family": (episode.family, config.get("family")),
        "picture size": (tuple(episode.frames_THWC.shape[1:3]), size),
        "simulator version": (episode.simulator, card.get("simulator_version")),
    }
    for name, (found, expected) in said.items():
        if found != expected:
            return f"its {name} is {found}, the card {CARD} says {expected}"
    if card.get("split", split_of(episode.seed)) != split_of(episode.seed):
        return f"seed {episode.seed} is of the {split_of(episode.seed)} split, the card says {card['split']}"
    return None
