"""The autoencoder is causal, has no state, and knows its own shapes."""

from __future__ import annotations

import pytest
import torch

from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig, group_frames

TINY = AutoencoderConfig(image_height=32, image_width=48, latent_channels=8, widths=(8, 12, 16))


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(TINY)
    for parameter in model.parameters():  # the residual paths start at zero; here all of them must speak
        torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def frames(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 32, 48, 3), dtype=torch.uint8, generator=generator)


def test_the_first_latent_is_one_frame_and_each_later_one_four(model: Autoencoder) -> None:
    latents = model.encode(frames(1 + 4 * 3), first=True)
    assert latents.shape == (4, *TINY.latent_shape) == (4, 8, 2, 3)
    assert model.decode(latents).shape == (16, 32, 48, 3)
    assert model.decode(latents).dtype == torch.uint8


def test_a_stream_in_parts_gives_the_latents_of_the_whole(model: Autoencoder) -> None:
    clip = frames(1 + 4 * 5)
    parts = [model.encode(clip[:9], first=True), model.encode(clip[9:], first=False)]
    torch.testing.assert_close(torch.cat(parts), model.encode(clip, first=True), atol=1e-5, rtol=1e-5)


def test_a_later_frame_changes_no_earlier_latent(model: Autoencoder) -> None:
    clip = frames(1 + 4 * 3)
    changed = clip.clone()
    changed[9:] = 255 - changed[9:]
    before, after = model.encode(clip, first=True), model.encode(changed, first=True)
    torch.testing.assert_close(before[:3], after[:3], atol=1e-6, rtol=0)
    assert (before[3] - after[3]).abs().max() > 1e-3


def test_the_single_first_frame_fills_a_group_by_repetition() -> None:
    clip = frames(5)
    groups = group_frames(clip, 4, first=True)
    assert torch.equal(groups[0], clip[:1].expand(4, -1, -1, -1))
    assert torch.equal(groups[1], clip[1:5])


def test_folding_into_patches_and_back_loses_nothing(model: Autoencoder) -> None:
    groups = frames(8).unflatten(0, (2, 4))
    back = (model._unpatch(model.patches(groups)) + 1) * 127.5
    assert torch.equal(back.round().to(torch.uint8), groups)


def test_principal_components_already_reconstruct_pictures_of_low_rank() -> None:
    # every picture is one of five random pictures dimmed evenly: six components say it all
    random = torch.Generator().manual_seed(1)
    base = torch.randint(0, 200, (5, 1, 4, 32, 48, 3), generator=random)[:, :, :, :16, :16].repeat(
        1, 1, 1, 2, 3, 1
    )
    weights = torch.rand((5, 40, 1, 1, 1, 1), generator=random)
    groups = (base * weights / weights.sum(0)).sum(0).round().to(torch.uint8)
    model = Autoencoder(TINY)
    model.start_from_principal_components(groups)
    with torch.no_grad():
        pictures = (model.decode_groups(model.encode_groups(groups)) + 1) * 127.5
    assert float((pictures - groups.float()).abs().mean()) < 0.5
    normalised = model.normalise(model.encode_groups(groups))
    assert float(normalised.mean(dim=(0, 2, 3)).abs().max()) < 1e-2


def test_normalising_is_undone_exactly(model: Autoencoder) -> None:
    model.latent_mean.uniform_(-1, 1)
    model.latent_std.uniform_(0.5, 2)
    latents = torch.randn(3, *TINY.latent_shape)
    torch.testing.assert_close(model.unnormalise(model.normalise(latents)), latents)


@pytest.mark.parametrize(("count", "first"), [(4, True), (0, True), (5, False), (0, False)])
def test_a_broken_group_is_refused(model: Autoencoder, count: int, first: bool) -> None:
    with pytest.raises(ValueError, match="expected"):
        model.encode(frames(count), first=first)


def test_wrong_pictures_are_refused_by_name(model: Autoencoder) -> None:
    with pytest.raises(ValueError, match="expected"):
        model.encode(torch.zeros((5, 48, 32, 3), dtype=torch.uint8), first=True)
    with pytest.raises(TypeError, match="uint8"):
        model.encode(torch.zeros((5, 32, 48, 3)), first=True)
    with pytest.raises(ValueError, match="latents"):
        model.decode(torch.zeros((2, 8, 3, 3)))


@pytest.mark.parametrize("bad", [{"image_width": 100}, {"latent_channels": 0}, {"widths": (8, 8)}])
def test_an_impossible_size_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected|at least"):
        AutoencoderConfig(**bad)  # type: ignore[arg-type]
