"""Keyframe memory: which seen views are kept beside the window, and which of them each chunk looks up.

Camera poses alone decide both, once for all blocks; the blocks hold the keys and values that belong to
the places here. Only frames that a camera saw are ever kept, so imagining changes nothing.
Dimension letters: B batch, F latent frames, C chunks, K keyframes, R looked up per chunk, P points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sana_wm_ros.world_model import guide
from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.guide import FADE, within
from sana_wm_ros.world_model.rope import time_angles

EMPTY = -1
# Metres that the length of a change of heading counts: turning by 45 degrees is as new as 1 m.
HEADING_M = 1.3
# A view is probed by points along bearings across the picture (shares of its width) at these depths.
BEARINGS, DEPTHS_M = (0.1, 0.3, 0.5, 0.7, 0.9), (0.7, 1.5, 3.0, 6.0)
# Overlap (0 to 1, mean over points) below which a keyframe tells a chunk nothing and is not read.
LEAST_OVERLAP = 0.04
# What a keyframe's own overlap counts beside what it adds to those already taken.
OWN_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Keyframes:
    """Where the kept frames were seen: empty slots first, then from the oldest to the newest.

    numbers_BK: frame numbers, ``EMPTY`` where there is none. poses_BK44: camera poses relative to the
    anchor, in metres. latents_BKSC: what was seen, where imagined frames are guided by it (else no tokens).
    """

    numbers_BK: Tensor
    poses_BK44: Tensor
    latents_BKSC: Tensor

    @staticmethod
    def none(config: TransformerConfig, batch: int, device: torch.device) -> Keyframes:
        """A bank without any frame."""
        return Keyframes(
            numbers_BK=torch.full((batch, config.keyframes), EMPTY, device=device),
            poses_BK44=torch.eye(4, device=device).repeat(batch, config.keyframes, 1, 1),
            latents_BKSC=torch.zeros(
                batch,
                config.keyframes,
                config.tokens if config.keyframe_guide else 0,
                config.latent_channels,
                device=device,
            ),
        )

    def changed(self, change: Callable[[Tensor, int], Tensor]) -> Keyframes:
        """The same with ``change(tensor, its batch axis)`` applied to every tensor."""
        return Keyframes(
            numbers_BK=change(self.numbers_BK, 0),
            poses_BK44=change(self.poses_BK44, 0),
            latents_BKSC=change(self.latents_BKSC, 0),
        )


@dataclass(frozen=True, kw_only=True)
class Recall:
    """What the blocks need to know about one segment.

    Entries count the bank's K slots, then the segment's own frames. reads_BCR: the entries that each
    chunk looks up. valid_BCR: false where none was worth it. angles_BCR22P: what turns each
    to its time (``time_angles``). kept_BK: entries that make the bank after the segment, None
    where it stays as it is. guide_FBSX: inputs of frames that nobody saw (``guide``), zeros for the others;
    None where there is no guide.
    """

    reads_BCR: Tensor
    valid_BCR: Tensor
    angles_BCR22P: Tensor
    kept_BK: Tensor | None
    guide_FBSX: Tensor | None

    def mask(self, chunk: int, seen: int, tokens: int) -> Tensor:
        """Which keys a chunk's queries may see, (B, 1, 1, keys): ``seen`` frames, then those looked up."""
        valid_BR = self.valid_BCR[:, chunk]
        allowed = torch.cat([valid_BR.new_ones(valid_BR.shape[0], seen), valid_BR], 1)
        return allowed.repeat_interleave(tokens, 1)[:, None, None]


@torch.no_grad()
def recall(
    config: TransformerConfig,
    keyframes: Keyframes,
    track: CameraTrack,
    first_frame: int | Tensor,
    chunk_lengths: tuple[int, ...],
    observed_BFSC: Tensor,
) -> tuple[Recall, Keyframes]:
    """Choose for every chunk of a segment, and what is kept after it.

    observed_BFSC: latents of the segment's first frames, which a camera saw. They are offered to the bank one
    by one, each once its chunk is over: a chunk looks up what was kept before it began, whether it comes alone
    or with others. A tensor as ``first_frame`` stays an input where a pass is recorded; nothing is observed then.
    """
    B, K = keyframes.numbers_BK.shape
    device, observed = keyframes.numbers_BK.device, observed_BFSC.shape[1]
    numbers = (first_frame + torch.arange(observed, device=device)).expand(B, observed)
    numbers = torch.cat([keyframes.numbers_BK, numbers], 1)
    poses = torch.cat([keyframes.poses_BK44, track.poses_BF44[:, :observed]], 1)
    tokens = keyframes.latents_BKSC.shape[2]
    latents = torch.cat([keyframes.latents_BKSC, observed_BFSC[:, :, :tokens].float()], 1)
    places = torch.cat([poses[..., :3, 3], HEADING_M * poses[..., :3, 2]], -1)
    slots = torch.arange(K, device=device).expand(B, K)
    before, starts, start = [], [], 0
    for length in chunk_lengths:
        before.append(slots)
        starts.append(start)
        for frame in range(start, min(start + length, observed)):
            if first_frame + frame >= config.sink_frames:  # the sink is always seen
                slots = offered(slots, K + frame, numbers, places, 2 * config.window_frames)
        start += length

    kept_BCK = torch.stack(before, 1)
    first_C = first_frame + torch.tensor(starts, device=device)
    row = torch.arange(B, device=device)[:, None, None]
    numbers_BCK = numbers[row, kept_BCK]
    # Empty, or still inside the window.
    closed = (numbers_BCK == EMPTY) | (numbers_BCK >= first_C[:, None] - config.window_frames)
    ends = torch.tensor([*starts[1:], start], device=device) - 1
    views = torch.stack([track.poses_BF44[:, starts], track.poses_BF44[:, ends]], 2)
    overlap = view_overlap(config, views, poses[row, kept_BCK], track.intrinsics_B4)
    slots_BCR, valid_BCR = chosen(overlap.masked_fill(closed[..., None], 0.0), config.keyframe_reads)
    # All are moved to one time, just before the window: rotary positions know no longer distances.
    shift = (first_C - config.window_frames - 1)[:, None] - numbers_BCK.gather(2, slots_BCR)
    guided = None
    if config.keyframe_guide and observed < start:
        chunk_F = [chunk for chunk, length in enumerate(chunk_lengths) for _ in range(length)]
        guided = _guide(config, kept_BCK[:, chunk_F], numbers, poses, latents, track, observed)
    found = Recall(
        reads_BCR=kept_BCK.gather(2, slots_BCR),
        valid_BCR=valid_BCR,
        angles_BCR22P=time_angles(config, shift),
        kept_BK=slots if observed else None,
        guide_FBSX=guided,
    )
    if not observed:
        return found, keyframes
    rows = row[:, 0]
    return found, Keyframes(
        numbers_BK=numbers[rows, slots], poses_BK44=poses[rows, slots], latents_BKSC=latents[rows, slots]
    )


def _guide(
    config: TransformerConfig,
    kept_BFK: Tensor,
    numbers: Tensor,
    poses: Tensor,
    latents: Tensor,
    track: CameraTrack,
    observed: int,
) -> Tensor:
    """The guide of every frame from what was kept before its chunk, the window's frames too; none for seen ones."""
    row = torch.arange(kept_BFK.shape[0], device=kept_BFK.device)[:, None, None]
    kept_BFK, views = kept_BFK[:, observed:], track.poses_BF44[:, observed:].float()
    overlap = view_overlap(config, views[:, :, None], poses[row, kept_BFK], track.intrinsics_B4)
    empty = numbers[row, kept_BFK] == EMPTY
    slots_BFR, valid_BFR = chosen(overlap.masked_fill(empty[..., None], 0.0), guide.READS)
    entries = kept_BFK.gather(2, slots_BFR)
    moved = guide.moved(
        config, views, poses[row, entries].float(), latents[row, entries], valid_BFR, track.intrinsics_B4
    )
    return torch.cat([moved.new_zeros(observed, *moved.shape[1:]), moved])


def offered(slots_BK: Tensor, entry: int, numbers: Tensor, places: Tensor, one_visit: int) -> Tensor:
    """The bank's entries with one more frame and, once it is full, without the most redundant one.

    That is one of the two that lie closest together in place and heading. Of frames of one visit (at
    most ``one_visit`` apart) the newer goes, so that a way leaves a trail of evenly spaced frames; of
    frames of two visits the older goes, whose pose has drifted more and whose view may be outdated.
    """
    B, K = slots_BK.shape
    joined = torch.cat([slots_BK, slots_BK.new_full((B, 1), entry)], 1)
    row = torch.arange(B, device=joined.device)[:, None]
    place, number = places[row, joined], numbers[row, joined]
    # Rounded, here and below, so that among equals the first is taken and not whoever rounding favours.
    apart = ((place[:, :, None] - place[:, None]).square().sum(-1) * 1024.0).round()
    pairs = torch.ones(K + 1, K + 1, dtype=torch.bool, device=joined.device).triu(1)
    closest = apart.masked_fill(~pairs, torch.inf).flatten(1).argmin(1)
    older, newer = closest // (K + 1), closest % (K + 1)
    gap = number.gather(1, newer[:, None]) - number.gather(1, older[:, None])
    leaves = torch.where(gap[:, 0] > one_visit, older, newer)
    leaves = torch.where(number[:, 0] == EMPTY, 0, leaves)
    stay = torch.arange(K, device=joined.device)
    return joined.gather(1, stay + (stay >= leaves[:, None]))


def view_overlap(
    config: TransformerConfig, views_BCV44: Tensor, keyframes_BCK44: Tensor, intrinsics_B4: Tensor
) -> Tensor:
    """How well each keyframe shows each point that a chunk will look at, 0 to 1: (B, C, K, P).

    Points lie along bearings at several depths before each of the chunk's V poses. One counts as much as
    the keyframe has it in view, from as near and from the same side.
    """
    fx, fy, cx, cy = intrinsics_B4.float().unbind(-1)
    W, H = config.latent_width, config.latent_height
    share = torch.tensor(BEARINGS, device=fx.device)
    x = (W * share - 0.5 - cx[:, None]) / fx[:, None]
    rays = torch.stack([x, torch.zeros_like(x), torch.ones_like(x)], -1)
    depth = torch.tensor(DEPTHS_M, device=fx.device)
    points_BP3 = (rays[:, :, None] * depth[:, None]).flatten(1, 2)

    # Sums of products, not matrix products: those round differently for different numbers of rows.
    from_view = (views_BCV44[..., None, :3, :3] * points_BP3[:, None, None, :, None]).sum(-1).flatten(2, 3)
    centre = views_BCV44[..., None, :3, 3].expand(-1, -1, -1, points_BP3.shape[1], -1).flatten(2, 3)
    moved = (from_view + centre)[:, :, None] - keyframes_BCK44[..., None, :3, 3]
    seen = (keyframes_BCK44[..., None, :3, :3] * moved[..., None]).sum(-2)

    ahead = seen[..., 2].clamp(min=0.05)
    camera = (fx, fy, cx, cy)
    fx, fy, cx, cy = (value[:, None, None, None] for value in camera)
    inside = within(seen[..., 0] / ahead * fx + cx, W, FADE) * within(seen[..., 1] / ahead * fy + cy, H, FADE)
    near, far = from_view.norm(dim=-1)[:, :, None], seen.norm(dim=-1)
    same_side = (from_view[:, :, None] * moved).sum(-1) / (near * far).clamp(min=1e-6)
    as_near = torch.minimum(near, far) / torch.maximum(near, far)
    return torch.where(seen[..., 2] > 0.05, inside * same_side.clamp(min=0.0) * as_near, 0.0)


def chosen(overlap_BCKP: Tensor, reads: int) -> tuple[Tensor, Tensor]:
    """The slots (B, C, R) that together show most of the points, one after the other, and which count."""
    own = overlap_BCKP.mean(-1)
    best = torch.zeros_like(overlap_BCKP[:, :, 0])
    free, picks = torch.ones_like(own, dtype=torch.bool), []
    for _ in range(reads):
        gain = (overlap_BCKP - best[:, :, None]).clamp(min=0.0).mean(-1) + OWN_SHARE * own
        pick = (gain * 4096.0).round().masked_fill(~free, -1.0).argmax(2, keepdim=True)
        picks.append(pick)
        free = free.scatter(2, pick, False)
        best = torch.maximum(
            best, overlap_BCKP.gather(2, pick[..., None].expand_as(best[:, :, None]))[:, :, 0]
        )
    slots = torch.cat(picks, 2)
    return slots, own.gather(2, slots) >= LEAST_OVERLAP
