"""The perceptual distance: equal to its authors' code, lowered by nothing but likeness, strict about its weights."""

import importlib.util

import cv2
import numpy as np
import pytest
import torch

from sana_wm_ros.evaluation.lpips import alexnet_lpips, shift_tolerant_lpips

# What the authors' own code (stlpips-pytorch 0.0.2) gives for `pair()`.
AUTHORS = np.array([0.0, 0.006165410857647657, 0.0058248587848884008, 0.006302024703472853])


def pair():
    """Noise, and the same with more noise; the first frames are equal."""
    random = np.random.default_rng(0)
    seen = random.integers(0, 255, (4, 64, 96, 3), dtype=np.uint8)
    guess = np.clip(seen + random.normal(0.0, 40.0, seen.shape), 0, 255).astype(np.uint8)
    guess[0] = seen[0]
    return seen, guess


def test_shift_tolerant_lpips_is_its_authors():
    assert shift_tolerant_lpips()(*pair()) == pytest.approx(AUTHORS, abs=1e-6)


def test_blur_that_psnr_forgives_looks_different():
    random = np.random.default_rng(1)
    tiles = random.integers(0, 255, (8, 12, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    blurred = cv2.GaussianBlur(tiles, (0, 0), 4.0)
    noisy = np.clip(tiles + random.normal(0.0, np.std(tiles.astype(float) - blurred), tiles.shape), 0, 255)
    lpips = shift_tolerant_lpips()
    same_psnr = [lpips(tiles[None], other[None].astype(np.uint8))[0] for other in (blurred, noisy)]
    assert same_psnr[0] > 2.0 * same_psnr[1]


def test_pictures_of_any_size_and_none_at_all():
    small = np.random.default_rng(2).integers(0, 255, (9, 20, 30, 3), dtype=np.uint8)
    lpips = shift_tolerant_lpips()
    assert (lpips(small, small[::-1])[[0, 1, 7, 8]] > 0).all()
    assert lpips(small[:0], small[:0]).shape == (0,)


def test_weights_of_something_else_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "stlpips_pytorch"
    folder = package / "weights" / "vST0.0"
    folder.mkdir(parents=True)
    torch.save({"net.slice1.0.weight": torch.zeros(3)}, folder / "alex_shift_tolerant.pth")
    spec = importlib.util.spec_from_file_location(
        "stlpips_pytorch", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    monkeypatch.setattr("sana_wm_ros.evaluation.lpips.find_spec", lambda name: spec)
    with pytest.raises(ValueError, match="not the weights of shift-tolerant LPIPS"):
        shift_tolerant_lpips()


def test_without_the_package_there_is_none(monkeypatch):
    monkeypatch.setattr("sana_wm_ros.evaluation.lpips.find_spec", lambda name: None)
    assert shift_tolerant_lpips() is None


def test_alexnet_lpips_reads_a_file_of_weights(tmp_path):
    pytest.importorskip("torchmetrics", reason="torchmetrics is in the extra eval")
    torchvision = pytest.importorskip("torchvision", reason="LPIPS needs torchvision")
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), tmp_path / "alexnet.pth")
    lpips = alexnet_lpips(tmp_path / "alexnet.pth")
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), dtype=np.uint8)
    assert lpips(frames, frames).tolist() == [0.0, 0.0]
    assert (lpips(frames, frames[::-1]) > 0).all()
