"""Products in FP8 are what their quantisation says, close to bfloat16's, and refused where nothing multiplies them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sana_wm_ros.resources import share_path
from sana_wm_ros.world_model import fp8
from sana_wm_ros.world_model.checkpoint import load_model
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.precision import multiply_by
from sana_wm_ros.world_model.protocol import Rollout
from sana_wm_ros.world_model.toy import INTRINSICS, camera_path, pictures


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_row_keeps_three_bits_of_mantissa_whatever_its_size() -> None:
    rows = draw(6, 64) * torch.tensor([1e-6, 1e-3, 1.0, 30.0, 1e4, 1e8])[:, None]
    eighth, scale = fp8.quantised(rows)
    back = eighth.float() * scale
    # Half a unit in the last of three places is a sixteenth; the least numbers have less, half of 2^-9 of the scale.
    assert bool(((back - rows).abs() <= torch.maximum(rows.abs() / 16, scale * 2**-10)).all())
    assert torch.equal(eighth.float().abs().amax(1), torch.full((6,), 448.0))


def test_a_row_of_zeros_stays_zero() -> None:
    assert torch.equal(fp8.linear(torch.zeros(3, 16), draw(32, 16)), torch.zeros(3, 32))


def test_the_product_is_that_of_the_quantised_numbers() -> None:
    x, weight, bias = draw(5, 7, 32), draw(48, 32, seed=1), draw(48, seed=2)
    (rows, of_rows), (columns, of_columns) = fp8.quantised(x.flatten(0, 1)), fp8.quantised(weight)
    plain = functional.linear(rows.float() * of_rows, columns.float() * of_columns, bias).view(5, 7, 48)
    # The product comes out in bfloat16: eight bits, half of the last.
    torch.testing.assert_close(fp8.linear(x, weight, bias), plain, rtol=2**-8, atol=0.05)
    assert fp8.linear(x.bfloat16(), weight.bfloat16(), bias.bfloat16()).dtype == torch.bfloat16


def test_what_one_token_gives_does_not_depend_on_the_others() -> None:
    x, weight = draw(5, 32), draw(48, 32, seed=1)
    loud = torch.cat([x, 1e4 * draw(2, 32, seed=3)])
    assert torch.equal(fp8.linear(loud, weight)[:5], fp8.linear(x, weight))


class TestOnNano:
    """The shipped weights, whose blocks multiply in FP8 with torch's product for CPUs."""

    @pytest.fixture(scope="class")
    @staticmethod
    def model() -> NavigationModel:
        return load_model(share_path("models", "nano"))

    @staticmethod
    def imagined(model: NavigationModel) -> Rollout:
        context = model.start(INTRINSICS).extend(pictures(13), camera_path(13))
        return context.fork(1).imagine(camera_path(4, seed=1, batch=1))[1]

    def test_every_product_and_what_is_imagined_stay_near_bfloat16(self, model: NavigationModel) -> None:
        errors = []

        def compared(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            mine, truth = fp8.linear(x, weight, bias), functional.linear(x, weight, bias)
            errors.append(float((mine - truth).norm() / truth.norm()))
            return mine

        model.transformer.bfloat16()
        half = self.imagined(model)
        multiply_by(model.transformer, compared)
        eighth = self.imagined(model)
        # Four products in each of eight blocks, once for what was seen and once for what is imagined.
        assert len(errors) == 2 * 4 * 8
        assert 0.005 < max(errors) < 0.05
        difference = (eighth.latents_NFCHW - half.latents_NFCHW).norm() / half.latents_NFCHW.norm()
        assert 0.01 < float(difference) < 0.15
        assert float((eighth.collision_NF - half.collision_NF).abs().max()) < 0.1
        assert float((eighth.clearance_NFK - half.clearance_NFK).abs().mean()) < 0.15


def test_a_gpu_without_fp8_is_refused_by_its_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Middling GPU")
    reason = fp8.why_not(torch.device("cuda", 0))
    assert reason == "Middling GPU has compute capability 8.6; FP8 begins with 8.9"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_that_has_it_the_product_is_that_of_the_cpu() -> None:
    reason = fp8.why_not(torch.device("cuda"))
    if reason:
        pytest.skip(reason)
    x, weight, bias = draw(100, 96), draw(192, 96, seed=1), draw(192, seed=2)
    on_gpu = fp8.linear(x.cuda(), weight.cuda(), bias.cuda()).cpu()
    torch.testing.assert_close(on_gpu, fp8.linear(x, weight, bias), rtol=2**-7, atol=0.05)
