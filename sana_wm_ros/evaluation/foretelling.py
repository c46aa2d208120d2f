"""What the model foretells from one moment of a recording, beside what was seen and what needs no model.

Dimension letters: T raw frames, F latent frames, M motions, L latent frames of the whole drive.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from sana_wm_ros.evaluation.metrics import Floats, Pictures, mean_view, nearest_view, psnr_db
from sana_wm_ros.world_model.protocol import Context, Intrinsics, WorldModel

BASELINES = ("last frame", "nearest view", "mean view")
MODEL = "imagined"
# The control: imagined under commands to stand still. A model that does not listen to motion fares no worse so.
STILL = "told to stand still"
# The second control: imagined under the motion of another start. Telling the two apart is what planning needs.
OTHER = "told another motion"


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A recording on the model's frame grid, T = 1 + k * frames_per_latent frames without a gap.

    frames_THWC: uint8 RGB at the model's size. poses_T44: measured camera poses. stamps_T: seconds.
    """

    frames_THWC: Pictures
    poses_T44: Floats
    stamps_T: Floats
    intrinsics: Intrinsics

    def __len__(self) -> int:
        return len(self.frames_THWC)


@dataclass(frozen=True, kw_only=True)
class Foretelling:
    """One start: what was seen afterwards, and each guess of it, per latent frame.

    start_s: seconds after the drive's first frame. now_HWC: the last frame of the context. guesses: name to
    pictures (F, H, W, 3). psnr: name to dB (F,), NaN beyond the other motion's end. clearance_FK, collision_F
    and uncertainty_F: the heads' word. latent_error: name to root mean square error of normalised latents (F,);
    empty where it was not asked for.
    """

    start_s: float
    now_HWC: Pictures
    lead_F: Floats
    seen_FHWC: Pictures
    guesses: dict[str, Pictures]
    psnr: dict[str, Floats]
    clearance_FK: Floats
    collision_F: Floats
    uncertainty_F: Floats
    latent_error: dict[str, Floats] = field(default_factory=dict)

    @property
    def controls(self) -> tuple[str, ...]:
        """The names of imaginations under motions that were not driven."""
        return tuple(name for name in (STILL, OTHER) if name in self.guesses)


def foretell(
    model: WorldModel,
    context: Context,
    drive: Drive,
    seen: int,
    other: int | None,
    horizon_s: float,
    seed: int,
) -> tuple[Foretelling, torch.Tensor]:
    """One start, and its imagined latents: driven, still and, where there is one, another motion."""
    group = model.spec.frames_per_latent
    now = seen * group
    ahead = min((len(drive) - 1 - now) // group, round(horizon_s / model.spec.latent_period_s))
    ends = now + group * np.arange(1, ahead + 1)
    motions = {MODEL: drive.poses_T44[ends], STILL: np.repeat(drive.poses_T44[now][None], ahead, axis=0)}
    known = ahead
    if other is not None:
        motions[OTHER], known = carried_motion(drive, now, other * group, ahead, group)
    poses_MF44 = torch.from_numpy(np.stack(list(motions.values()))).float()
    generator = torch.Generator().manual_seed(seed)
    _, rollout = context.fork(len(motions)).imagine(poses_MF44, generator=generator)
    past = drive.frames_THWC[: now + 1]
    guesses: dict[str, Pictures] = {
        name: model.decode(latents).cpu().numpy()[group - 1 :: group]
        for name, latents in zip(motions, rollout.latents_NFCHW, strict=True)
    }
    guesses |= {
        "last frame": np.repeat(past[-1:], ahead, axis=0),
        "nearest view": past[nearest_view(drive.poses_T44[: now + 1], drive.poses_T44[ends])],
        "mean view": np.repeat(mean_view(past)[None], ahead, axis=0),
    }
    seen_FHWC = drive.frames_THWC[ends]
    psnr = {name: psnr_db(seen_FHWC, guess) for name, guess in guesses.items()}
    if OTHER in psnr:
        psnr[OTHER][known:] = np.nan
    one = Foretelling(
        start_s=float(drive.stamps_T[now] - drive.stamps_T[0]),
        now_HWC=past[-1],
        lead_F=model.spec.latent_period_s * np.arange(1, ahead + 1),
        seen_FHWC=seen_FHWC,
        guesses=guesses,
        psnr=psnr,
        clearance_FK=rollout.clearance_NFK[0].double().cpu().numpy(),
        collision_F=rollout.collision_NF[0].double().cpu().numpy(),
        uncertainty_F=rollout.uncertainty_NF[0].double().cpu().numpy(),
    )
    return one, rollout.latents_NFCHW


def carried_motion(drive: Drive, now: int, there: int, ahead: int, group: int) -> tuple[Floats, int]:
    """The motion that followed ``there``, carried over to ``now`` (F, 4, 4); how many frames of it are known.

    Its last pose is held beyond the drive's end.
    """
    ends = np.minimum(there + group * np.arange(1, ahead + 1), (len(drive) - 1) // group * group)
    carry_44 = drive.poses_T44[now] @ np.linalg.inv(drive.poses_T44[there])
    return carry_44 @ drive.poses_T44[ends], min(ahead, (len(drive) - 1 - there) // group)


def latent_errors(
    one: Foretelling,
    seen: int,
    told_MFCHW: torch.Tensor,
    observed_LCHW: torch.Tensor,
    drive: Drive,
    group: int,
) -> dict[str, Floats]:
    """Root mean square error of each guess's latents against those that the camera's pictures gave, (F,)."""
    ahead = len(one.lead_F)
    truth_FCHW = observed_LCHW[seen + 1 : seen + 1 + ahead]
    ends = group * np.arange(seen + 1, seen + 1 + ahead)
    nearest = nearest_view(drive.poses_T44[: seen * group + 1], drive.poses_T44[ends])
    guesses = dict(zip((MODEL, *one.controls), told_MFCHW, strict=True))
    guesses |= {
        "last frame": observed_LCHW[seen].expand_as(truth_FCHW),
        "nearest view": observed_LCHW[torch.from_numpy(-(-nearest // group))],
        "mean view": observed_LCHW[: seen + 1].mean(0).expand_as(truth_FCHW),
    }
    errors = {
        name: (guess - truth_FCHW).double().square().flatten(1).mean(1).sqrt().cpu().numpy()
        for name, guess in guesses.items()
    }
    if OTHER in errors:
        errors[OTHER][np.isnan(one.psnr[OTHER])] = np.nan
    return errors
