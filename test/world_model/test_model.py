"""The planning protocol: what a context, its forks and their imagination promise."""

from __future__ import annotations

import re
import weakref

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sana_wm_ros.world_model.model import NavigationContext, NavigationModel
from sana_wm_ros.world_model.protocol import Intrinsics, Rollout, WorldModel
from sana_wm_ros.world_model.toy import INTRINSICS, camera_path, pictures, tiny_navigation_model

SEEN = 1 + 4 * 9


def close(mine: Rollout, theirs: Rollout, tolerance: float = 3e-5) -> None:
    for name, value in vars(mine).items():
        torch.testing.assert_close(value, getattr(theirs, name), atol=tolerance, rtol=1e-4)


def equal(mine: Rollout, theirs: Rollout) -> None:
    for name, value in vars(mine).items():
        assert torch.equal(value, getattr(theirs, name)), name


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def context(model: NavigationModel) -> NavigationContext:
    return model.start(INTRINSICS).extend(pictures(SEEN), camera_path(SEEN))


@pytest.fixture(scope="module")
def future() -> Tensor:
    """Three candidates, 24 latent frames, going on from where the drive ended."""
    end = camera_path(SEEN)[-1]
    steps = camera_path(25, seed=7, batch=3)
    return end @ torch.linalg.inv(steps[:, :1]) @ steps[:, 1:]


def test_it_is_a_world_model(model: NavigationModel) -> None:
    assert isinstance(model, WorldModel)
    assert model.spec.latent_period_s == 0.5
    assert model.spec.latent_shape == (5, 4, 6)


def test_a_context_counts_latent_frames_and_keeps_the_newest(model: NavigationModel) -> None:
    empty = model.start(INTRINSICS)
    assert empty.latent_frames == 0 and empty.last_latent_CHW is None
    one = empty.extend(pictures(1), camera_path(1))
    frames = pictures(8, seed=2)
    three = one.extend(frames, camera_path(8, seed=1))
    assert (one.latent_frames, three.latent_frames, empty.latent_frames) == (1, 3, 0)
    latest = model.autoencoder.encode(frames[4:], first=False)[0]
    assert three.last_latent_CHW is not None
    torch.testing.assert_close(three.last_latent_CHW, latest, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cuts", [(1,), (1, 17), (17,), (9, 17, 25)])
def test_extending_in_parts_equals_extending_at_once(
    model: NavigationModel, context: NavigationContext, future: Tensor, cuts: tuple[int, ...]
) -> None:
    """Cuts after whole chunks of two latent frames (8 raw frames), the first frame apart."""
    frames, poses, parts = pictures(SEEN), camera_path(SEEN), model.start(INTRINSICS)
    for start, stop in zip((0, *cuts), (*cuts, SEEN), strict=True):
        parts = parts.extend(frames[start:stop], poses[start:stop])
    assert parts.latent_frames == context.latent_frames == 10
    close(parts.fork(3).imagine(future)[1], context.fork(3).imagine(future)[1])


@pytest.mark.parametrize("steps", [1, 3])
def test_fork_then_imagine_equals_seeing_the_past_per_candidate(
    model: NavigationModel, context: NavigationContext, future: Tensor, steps: int
) -> None:
    _, together = context.fork(3).imagine(future, steps=steps, generator=seeded())
    for n in range(3):
        own = model.start(INTRINSICS).extend(pictures(SEEN), camera_path(SEEN))
        _, alone = own.fork(1).imagine(future[n : n + 1], steps=steps, generator=seeded())
        close(alone, together.select(torch.tensor([n])))


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("cut", [2, 16])
def test_imagining_in_two_calls_equals_one(
    context: NavigationContext, future: Tensor, cut: int, steps: int
) -> None:
    _, whole = context.fork(3).imagine(future, steps=steps, generator=seeded())
    generator = seeded()
    batch, first = context.fork(3).imagine(future[:, :cut], steps=steps, generator=generator)
    _, second = batch.imagine(future[:, cut:], steps=steps, generator=generator)
    close(Rollout.cat([first, second]), whole)


def test_imagining_leaves_context_and_batch_as_they_were(context: NavigationContext, future: Tensor) -> None:
    batch = context.fork(3)
    _, before = batch.imagine(future)
    _, again = batch.imagine(future)
    _, fresh = context.fork(3).imagine(future)
    equal(again, before)
    equal(fresh, before)


def test_the_same_seed_gives_the_same_rollout_and_another_seed_another(future: Tensor) -> None:
    noisy = tiny_navigation_model(blank_pure_noise=False)
    context = noisy.start(INTRINSICS).extend(pictures(5), camera_path(5))
    _, first = context.fork(3).imagine(future, generator=seeded(1))
    _, same = context.fork(3).imagine(future, generator=seeded(1))
    _, other = context.fork(3).imagine(future, generator=seeded(2))
    equal(same, first)
    assert (other.latents_NFCHW - first.latents_NFCHW).abs().max() > 0.01


def test_candidates_share_their_noise(future: Tensor) -> None:
    noisy = tiny_navigation_model(blank_pure_noise=False)
    context = noisy.start(INTRINSICS).extend(pictures(5), camera_path(5))
    same_way = future[:1].expand(3, -1, -1, -1)
    _, rollout = context.fork(3).imagine(same_way, steps=2, generator=seeded())
    torch.testing.assert_close(rollout.latents_NFCHW[1:], rollout.latents_NFCHW[:1].expand(2, -1, -1, -1, -1))


def test_other_ways_lead_to_other_views_only_from_where_they_part(
    context: NavigationContext, future: Tensor
) -> None:
    poses = future[:1].expand(2, -1, -1, -1).clone()
    poses[1, 8:] = future[1, 8:]
    _, rollout = context.fork(2).imagine(poses)
    apart = (rollout.latents_NFCHW[0] - rollout.latents_NFCHW[1]).flatten(1).abs().amax(1)
    assert apart[:8].max() < 1e-4 < 1e-3 < apart[8:].min()


def test_survivors_keep_their_state_bit_by_bit_and_go_on_as_before(
    context: NavigationContext, future: Tensor
) -> None:
    batch, first = context.fork(3).imagine(future[:, :8])
    index = torch.tensor([2, 0])
    kept = batch.select(index)
    assert kept.size == 2
    for mine, theirs in zip(kept.state.blocks, batch.state.blocks, strict=True):
        for name, value in vars(mine).items():
            axis = 1 if name in ("key_tail_EBSC", "mlp_tail_1BSC") else 0
            if isinstance(value, Tensor):
                assert torch.equal(value, getattr(theirs, name).index_select(axis, index)), name
    equal(first.select(index), Rollout(**{n: v[index] for n, v in vars(first).items()}))
    _, all_of_them = batch.imagine(future[:, 8:])
    _, survivors = kept.imagine(future[index, 8:])
    close(survivors, all_of_them.select(index))


def test_a_mask_selects_too(context: NavigationContext, future: Tensor) -> None:
    batch, _ = context.fork(3).imagine(future[:, :2])
    assert torch.equal(
        batch.select(torch.tensor([True, False, True])).last_poses_N44, batch.last_poses_N44[[0, 2]]
    )


def test_forking_copies_nothing(context: NavigationContext) -> None:
    batch = context.fork(1000)
    for mine, theirs in zip(batch.state.blocks, context.state.blocks, strict=True):
        for name, value in vars(mine).items():
            if isinstance(value, Tensor):
                assert value.data_ptr() == getattr(theirs, name).data_ptr(), name


class _PeakBytes(TorchDispatchMode):
    """The most bytes that tensors made inside were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._watch(tensor.untyped_storage())
        return out

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.alive:
            self.alive[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self.alive.pop(key)


def test_state_and_peak_memory_do_not_grow_with_the_horizon(context: NavigationContext) -> None:
    """15 s and 60 s; what is left of growth is the rollout itself, which was asked for."""
    start = context.fork(2)
    states, peaks = [], []
    for frames in (30, 120):
        poses = start.last_poses_N44[:, None].expand(-1, frames, -1, -1)
        with _PeakBytes() as watch:
            batch, rollout = start.imagine(poses)
        asked = sum(2 * value.numel() * value.element_size() for value in vars(rollout).values())
        states.append(batch.state.bytes)
        peaks.append(watch.peak - asked - 2 * poses.numel() * 8)
    assert states[0] == states[1]
    assert states[0] < peaks[0] and peaks[1] < 1.05 * peaks[0]


def test_state_does_not_grow_with_the_hours_driven(model: NavigationModel) -> None:
    context, sizes = model.start(INTRINSICS).extend(pictures(1), camera_path(1)), []
    for _ in range(4):
        context = context.extend(pictures(24), camera_path(24))
        sizes.append(context.state.bytes)
    assert sizes[1] == sizes[2] == sizes[3]


def test_imagined_numbers_are_what_they_are_called(context: NavigationContext, future: Tensor) -> None:
    _, rollout = context.fork(3).imagine(future[:, :5])
    assert rollout.latents_NFCHW.shape == (3, 5, 5, 4, 6)
    assert rollout.collision_NF.shape == rollout.uncertainty_NF.shape == (3, 5)
    assert rollout.clearance_NFK.shape == (3, 5, 24) and rollout.place_NFE.shape == (3, 5, 8)
    assert rollout.collision_NF.min() >= 0 and rollout.collision_NF.max() <= 1
    assert rollout.clearance_NFK.min() > 0 and rollout.clearance_NFK.max() <= 8.0
    assert rollout.uncertainty_NF.min() >= 0
    torch.testing.assert_close(rollout.place_NFE.norm(dim=-1), torch.ones(3, 5))


def test_decoding_gives_pictures(model: NavigationModel, context: NavigationContext, future: Tensor) -> None:
    _, rollout = context.fork(3).imagine(future[:, :2])
    shown = model.decode(rollout.latents_NFCHW[0])
    assert shown.shape == (8, 64, 96, 3) and shown.dtype == torch.uint8


def _broken(poses: Tensor, how: str) -> Tensor:
    poses = poses.clone()
    if how == "nan":
        poses[3, 0, 3] = torch.nan
    elif how == "scaled":
        poses[3, :3, :3] *= 1.1
    elif how == "mirrored":
        poses[3, :3, 0] *= -1
    elif how == "bottom":
        poses[3, 3, 0] = 0.5
    return poses


@pytest.mark.parametrize(
    ("frames", "poses", "words"),
    [
        (pictures(4), camera_path(4), "4 frames begin a context; expected 1 + k * 4"),
        (pictures(5), camera_path(4), "poses have shape (4, 4, 4)"),
        (pictures(5).float(), camera_path(5), "frames are torch.float32"),
        (pictures(5)[:, :32], camera_path(5), "(5, 32, 96, 3)"),
        (pictures(5)[0], camera_path(5), "(64, 96, 3)"),
        (pictures(5), _broken(camera_path(5), "nan"), "pose [3] is not finite"),
        (pictures(5), _broken(camera_path(5), "scaled"), "not rigid"),
        (pictures(5), _broken(camera_path(5), "mirrored"), "not rigid"),
        (pictures(5), _broken(camera_path(5), "bottom"), "not rigid"),
        (pictures(5), camera_path(5).long(), "poses are torch.int64"),
    ],
)
def test_bad_observations_are_refused_by_name(
    model: NavigationModel, frames: Tensor, poses: Tensor, words: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        model.start(INTRINSICS).extend(frames, poses)


def test_a_running_context_takes_whole_latent_frames_only(context: NavigationContext) -> None:
    for count in (1, 3, 5, 0):
        with pytest.raises(ValueError, match=f"{count} frames extend a context"):
            context.extend(pictures(count), camera_path(5)[:count])


def test_bad_plans_are_refused_by_name(context: NavigationContext, future: Tensor) -> None:
    batch = context.fork(3)
    bad = future.clone()
    bad[1, 4, 0, 0] = torch.inf
    with pytest.raises(ValueError, match=re.escape("pose [1, 4] is not finite")):
        batch.imagine(bad)
    with pytest.raises(ValueError, match=re.escape("expected (3, any, 4, 4)")):
        batch.imagine(future[:2])
    with pytest.raises(ValueError, match=re.escape("none of them 0")):
        batch.imagine(future[:, :0])
    with pytest.raises(ValueError, match="0 denoising steps"):
        batch.imagine(future, steps=0)
    for index in (torch.tensor([3]), torch.tensor([-1]), torch.tensor([], dtype=torch.long)):
        with pytest.raises(ValueError, match="expected some of 0 to 2"):
            batch.select(index)
    with pytest.raises(ValueError, match="0 candidates"):
        context.fork(0)


def test_nothing_can_be_imagined_from_nothing(model: NavigationModel) -> None:
    with pytest.raises(ValueError, match="nothing was seen yet"):
        model.start(INTRINSICS).fork(2)


@pytest.mark.parametrize("wrong", [{"fx": float("nan")}, {"fx": 0.0}, {"fy": -40.0}, {"fx": 900_000.0}])
def test_impossible_intrinsics_are_refused_by_name(model: NavigationModel, wrong: dict[str, float]) -> None:
    values = {"fx": 48.0, "fy": 48.0, "cx": 47.5, "cy": 31.5} | wrong
    with pytest.raises(ValueError, match=next(iter(wrong))):
        model.start(Intrinsics(**values))


def test_many_steps_land_on_clean_latents_whatever_the_network_predicts() -> None:
    """With flow = noise - x0 told exactly, any number of Euler steps ends at x0."""
    from sana_wm_ros.world_model.sampler import denoise, noise_levels

    clean, noise = torch.randn(1, 2, 3, 4, 5), torch.randn(1, 2, 3, 4, 5)
    for steps, shift in ((1, 1.0), (4, 8.0)):
        levels = noise_levels(steps, shift)
        flow, _ = denoise(noise, levels, "flow", lambda x, sigma: (noise - clean, x))
        straight, _ = denoise(noise, levels, "x0", lambda x, sigma: (clean, x))
        torch.testing.assert_close(flow, clean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(straight, clean, atol=1e-5, rtol=1e-5)
    # The published few-step levels: shift 8 of 1, 3/4, 1/2, 1/4.
    assert [round(1000 * level) for level in noise_levels(4, 8.0)] == [1000, 960, 889, 727, 0]
