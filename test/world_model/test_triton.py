"""Triton's kernels say what the readable forms say, gradients included: on a GPU, or interpreted on the CPU in fp32."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sana_wm_ros.world_model import layers
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.kernels import form, naive, portable
from sana_wm_ros.world_model.kernels.tables import Tables
from sana_wm_ros.world_model.segment import Segment, make_segment
from sana_wm_ros.world_model.toy import TINY, drive, enliven, latents
from sana_wm_ros.world_model.transformer import SanaTransformer

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
if not ON_GPU and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET is not 1", allow_module_level=True)
pytest.importorskip("triton", reason="needs Triton")
from sana_wm_ros.world_model.kernels import triton_memory, triton_prepare  # noqa: E402

# The interpreter takes a second for what a GPU does in a millisecond.
SETTINGS = settings(max_examples=200 if ON_GPU else 8, deadline=None, derandomize=True)
FUSED = [portable, triton_prepare]
ORDERS = (layers.SCAN_ORDER, layers.ATTENTION_ORDER)


def memory_inputs(
    frames: int, batch: int, heads: int, tokens: int, width: int, value: int, key_size: float, seed: int
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    shape = (frames, batch, heads)
    tensors = [
        draw(*shape, tokens, width),
        draw(*shape, tokens, width) * key_size / (width * tokens) ** 0.5,
        draw(*shape, tokens, value),
        draw(*shape, tokens).sigmoid(),
        draw(*shape).sigmoid(),
        draw(batch, heads, value, width),
    ]
    return [tensor.to(DEVICE) for tensor in tensors]


def with_gradients(outputs: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    """The outputs, and the leaves' gradients of a fixed random mixture of them."""
    generator = torch.Generator().manual_seed(5)
    mixed = [(x * torch.randn(x.shape, generator=generator).to(x)).sum() for x in outputs]
    gradients = torch.autograd.grad(torch.stack(mixed).sum(), leaves, allow_unused=True)
    return [*outputs, *(g for g in gradients if g is not None)]


def remembered(
    kernel: Any, inputs: list[Tensor], chunks: tuple[int, ...], bounded: bool, ones: bool
) -> list[Tensor]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    arguments = [None if ones and i == 2 else leaf for i, leaf in enumerate(leaves)]
    out, state = kernel(*arguments, chunks, bounded)
    return with_gradients([out, state], leaves)


def assert_same(mine: list[Tensor], truth: list[Tensor], tolerance: float = 2e-4) -> None:
    assert len(mine) == len(truth)
    for a, b in zip(mine, truth, strict=True):
        scale = max(1.0, float(b.detach().abs().max()))
        torch.testing.assert_close(a.float() / scale, b.float() / scale, atol=tolerance, rtol=tolerance)


@SETTINGS
@given(
    chunks=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
    batch=st.integers(1, 2),
    heads=st.integers(1, 2),
    tokens=st.integers(1, 20),
    width=st.sampled_from([5, 8, 17, 24, 32]),
    value=st.sampled_from([1, 3, 24]),
    key_size=st.sampled_from([0.5, 4.0]),
    bounded=st.booleans(),
    ones=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_the_memory_equals_the_naive_one_with_gradients(
    chunks: tuple[int, ...], batch: int, heads: int, tokens: int, width: int, value: int, key_size: float,
    bounded: bool, ones: bool, seed: int,
) -> None:  # fmt: skip
    value = 1 if ones else value
    inputs = memory_inputs(sum(chunks), batch, heads, tokens, width, value, key_size, seed)
    mine = remembered(triton_memory.delta_memory, inputs, chunks, bounded, ones)
    assert_same(mine, remembered(naive.delta_memory, inputs, chunks, bounded, ones))


@pytest.mark.parametrize("width", [24, 32, 112])
@pytest.mark.parametrize("chunks", [(2, 1), (3,)], ids=["causal", "bidirectional"])
def test_the_memory_has_every_presets_head_width(width: int, chunks: tuple[int, ...]) -> None:
    """With more tokens than one block holds, so the loop over them runs more than once."""
    inputs = memory_inputs(sum(chunks), 1, 1, 18 if width == 112 else 35, width, width, 2.0, 3)
    mine = remembered(triton_memory.delta_memory, inputs, chunks, True, False)
    assert_same(mine, remembered(naive.delta_memory, inputs, chunks, True, False))


@pytest.mark.parametrize("key_size", [10.0, 1e4])
def test_bounded_keys_make_every_transition_a_contraction(key_size: float) -> None:
    """Without writes the state after one frame is M0 A; with M0 = I it is the transition itself."""
    q, k, v, beta, decay, _ = memory_inputs(1, 1, 2, 6, 8, 8, key_size, 4)
    start = torch.eye(8, device=DEVICE).expand(1, 2, 8, 8)
    _, after = triton_memory.delta_memory(q, k, torch.zeros_like(v), beta, decay, start, (1,), True)
    eigenvalues = torch.linalg.eigvalsh(after.double().cpu())
    assert eigenvalues.min() >= -1e-5 and eigenvalues.max() <= 1.0 + 1e-6


def placed_segment(width: int, batch: int, chunks: tuple[int, ...]) -> tuple[TransformerConfig, Segment]:
    config = TransformerConfig(
        width=2 * width, heads=2, head_width=width, depth=1, latent_height=2, latent_width=3
    )
    track = drive(batch, sum(chunks))
    track = type(track)(**{name: value.to(DEVICE) for name, value in vars(track).items()})
    return config, make_segment(config, track, 5, chunks)


def tables(segment: Segment, matrix_FBS44: Tensor) -> Tables:
    rope, camera_rope = segment.rope_pairs
    matrix = matrix_FBS44.flatten(0, 2).contiguous()
    return Tables(matrix=matrix, rope=rope, camera_rope=camera_rope)


@pytest.mark.parametrize("fused", FUSED, ids=["portable", "triton"])
@SETTINGS
@given(
    width=st.sampled_from([8, 24, 32]),
    batch=st.integers(1, 2),
    frames=st.integers(1, 3),
    order=st.sampled_from(ORDERS),
    norm=st.booleans(),
    relu=st.booleans(),
    turn_main=st.booleans(),
    plain=st.integers(0, 2),
    spare=st.sampled_from([0, 4]),
)
def test_preparing_equals_norm_relu_and_placing_with_gradients(
    fused: Any, width: int, batch: int, frames: int, order: tuple[int, ...], norm: bool, relu: bool, turn_main: bool,
    plain: int, spare: int,
) -> None:  # fmt: skip
    """``spare`` channels behind: projections come as slices of one wide product."""
    _, segment = placed_segment(width, batch, (frames,))
    channels = 4 * width
    x = torch.randn(frames, batch, 6, channels + spare, device=DEVICE, requires_grad=True)
    weight = (torch.rand(2, channels // 2, device=DEVICE) + 0.5).requires_grad_()
    given_ = x[..., :channels]
    relu = relu and norm

    heads = given_
    if norm:
        unit = layers.rms_normalised(given_.unflatten(-1, (2, -1)), weight, relu=relu)
        heads = unit.flatten(-2)
    heads = heads.unflatten(-1, (4, width))
    truth = [layers.placed(heads, segment.key_NEE, segment, order, turn_main)]
    truth += [heads[..., : 2 * plain, :].transpose(2, 3)] if plain else []
    out, plain_heads = fused.prepare(
        given_, weight if norm else None, tables(segment, segment.key_FBS44), 2,
        order=order, relu=relu, turn_main=turn_main, plain=plain,
    )  # fmt: skip
    mine = [out] if plain_heads is None else [out, plain_heads]
    assert_same(with_gradients(mine, [x, weight]), with_gradients(truth, [x, weight]))


@pytest.mark.parametrize("order", ORDERS, ids=["delta", "softmax"])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("fused", FUSED, ids=["portable", "triton"])
def test_taking_outputs_back_equals_the_plain_form_with_gradients(
    fused: Any, order: tuple[int, ...], scaled: bool
) -> None:
    _, segment = placed_segment(24, 2, (2, 1))
    shape = (3, 2, 6, 4, 24)
    inner = torch.randn([shape[axis] for axis in order], device=DEVICE, requires_grad=True)
    x = inner.permute([order.index(axis) for axis in range(5)])
    factor = torch.rand(3, 2, 6, 2, 1, device=DEVICE, requires_grad=True)
    truth = layers.unplaced(x, factor if scaled else None, segment)
    mine = fused.unplace(
        x, factor[..., 0].transpose(2, 3) if scaled else None, tables(segment, segment.query_FBS44)
    )
    leaves = [inner, factor]
    assert_same(with_gradients(list(mine), leaves), with_gradients(list(truth), leaves))


@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "published"])
@pytest.mark.parametrize("name", ["portable", "triton"])
def test_a_whole_pass_of_another_form_equals_the_usual_one(name: str, bounded: bool) -> None:
    """Chunk by chunk through the state, and the gradient of one parameter of every kind."""
    config = TransformerConfig(
        **{
            **vars(TINY),
            "depth": 2,
            "softmax_every": 2,
            "latent_height": 2,
            "latent_width": 3,
            "bounded_keys": bounded,
        }
    )
    torch.manual_seed(0)
    model = SanaTransformer(config)
    enliven(model)
    model.to(DEVICE)
    x = latents(1, 3)[..., :2, :3].to(DEVICE)
    whole = drive(1, 3)
    track = type(whole)(**{name: value.to(DEVICE) for name, value in vars(whole).items()})
    names = ["q_norm.weight", "k_norm_cam.weight", "conv_k.weight", "beta_proj.weight", "A_log", "qkv.weight"]
    weights = [model.blocks[0].attn.get_parameter(name) for name in names]

    def passes() -> list[Tensor]:
        first, _, state = model(x[:, :2], x.new_full((1, 1), 0.5), track.slice(0, 2), None, (2,))
        second, features, _ = model(x[:, 2:], x.new_full((1, 1), 0.5), track.slice(2, 3), state, (1,))
        return with_gradients([first, second, features], weights)

    truth = passes()
    for block in model.blocks:
        block.attn.form_name = name
    assert_same(passes(), truth)


@pytest.mark.parametrize(("capability", "width"), [(90, 112), (80, 32)])
def test_the_kernels_compile_for_gpus_that_are_not_here(checkout: Path, capability: int, width: int) -> None:
    """H100 and A100: all of them fit an SM's shared memory, and no bf16 kernel spills its registers."""
    program = checkout / "test" / "world_model" / "compile_kernels.py"
    surroundings = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(program), str(capability), str(width), "bf16"],
        capture_output=True, text=True, timeout=170, env=surroundings, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout)
    assert len(rows) == 10
    assert [row for row in rows if row["spilled"] or row["shared"] > 163 * 1024] == []


@pytest.mark.gpu
@pytest.mark.skipif(
    not ON_GPU, reason="needs a CUDA device: the interpreter returns garbage for bf16 products"
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("chunks", "batch", "heads", "tokens", "width"),
    [((3,) * 7, 1, 40, 880, 112), ((21,), 1, 20, 880, 112), ((2,) * 4, 64, 16, 48, 64), ((2,) * 12, 16, 8, 24, 24)],
    ids=["sana_wm streaming", "sana_wm bidirectional", "small", "nano"],
)  # fmt: skip
@pytest.mark.parametrize("ones", [False, True], ids=["values", "normaliser"])
def test_the_memory_on_a_gpu_at_real_shapes(
    dtype: torch.dtype, chunks: tuple[int, ...], batch: int, heads: int, tokens: int, width: int, ones: bool
) -> None:
    """bf16 within 2 % of the largest value of what fp32 says on the same rounded inputs."""
    inputs = memory_inputs(sum(chunks), batch, heads, tokens, width, 1 if ones else width, 2.0, 7)
    inputs[:3] = [x.to(dtype) for x in inputs[:3]]
    mine = remembered(triton_memory.delta_memory, inputs, chunks, True, ones)
    exact = [x.float() for x in inputs]
    truth = remembered(form("chunk").delta_memory, exact, chunks, True, ones)
    assert_same(mine, truth, 2e-2 if dtype == torch.bfloat16 else 5e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")
def test_preparing_on_a_gpu_in_bf16_at_real_shapes() -> None:
    config = TransformerConfig(
        width=2240, heads=20, head_width=112, depth=1, latent_height=22, latent_width=40, position_scale=1.0
    )
    track = drive(1, 3)
    track = type(track)(**{name: value.to(DEVICE) for name, value in vars(track).items()})
    segment = make_segment(config, track, 5, (3,))
    x = torch.randn(3, 1, 880, 4480, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.rand(2, 2240, device=DEVICE, requires_grad=True)
    unit = layers.rms_normalised(x.float().unflatten(-1, (2, -1)), weight, relu=True).flatten(-2)
    truth = layers.placed(unit.unflatten(-1, (40, 112)), segment.query_NEE, segment, layers.SCAN_ORDER, True)
    mine, _ = triton_prepare.prepare(
        x, weight, tables(segment, segment.query_FBS44), 20, order=layers.SCAN_ORDER, relu=True
    )
    assert mine.dtype == torch.bfloat16
    assert_same(with_gradients([mine], [x, weight]), with_gradients([truth], [x, weight]), 2e-2)
