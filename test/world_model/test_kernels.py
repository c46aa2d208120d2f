"""The fast form of the gated delta rule says what the naive one says, and its memory cannot explode."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sana_wm_ros.world_model.kernels import choose, form

# Triton's form has tests of its own: it needs a GPU or the interpreter.
KERNELS = {name: form(name).delta_memory for name in ("naive", "chunk", "portable")}
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


def inputs(
    frames: int, batch: int, heads: int, tokens: int, width: int, value: int, key_size: float, seed: int
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    shape = (frames, batch, heads)
    return [
        draw(*shape, tokens, width),
        draw(*shape, tokens, width) * key_size / (width * tokens) ** 0.5,
        draw(*shape, tokens, value),
        draw(*shape, tokens).sigmoid(),
        draw(*shape).sigmoid(),
        draw(batch, heads, value, width),
    ]


@SETTINGS
@given(
    chunks=st.lists(st.integers(1, 6), min_size=1, max_size=7).map(tuple),
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    tokens=st.integers(1, 7),
    width=st.integers(1, 9),
    value=st.integers(1, 5),
    bounded=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_fast_forms_equal_the_naive_one_with_gradients(
    chunks: tuple[int, ...],
    batch: int,
    heads: int,
    tokens: int,
    width: int,
    value: int,
    bounded: bool,
    seed: int,
) -> None:
    given_ = inputs(sum(chunks), batch, heads, tokens, width, value, 1.0, seed)
    results = {}
    for name, kernel in KERNELS.items():
        leaves = [tensor.clone().requires_grad_() for tensor in given_]
        out, state = kernel(*leaves, chunks, bounded)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(seed)
        weights = [torch.randn(x.shape, generator=generator) for x in (out, state)]
        ((out * weights[0]).sum() + (state * weights[1]).sum()).backward()
        results[name] = [out, state, *(leaf.grad for leaf in leaves)]
    for name in ("chunk", "portable"):
        for mine, truth in zip(results[name], results["naive"], strict=True):
            torch.testing.assert_close(mine, truth, atol=2e-4, rtol=2e-4)


def test_the_first_frame_is_worked_out_by_hand() -> None:
    """One token, width 1: M = g M0 (1 - k b k) + v b k with k 0.5, b 0.8, g 0.9, v 3, M0 2; read with q 4."""
    k, b, g, v, before, q = 0.5, 0.8, 0.9, 3.0, 2.0, 4.0
    after = g * before * (1 - k * b * k) + v * b * k  # 0.9 * 2 * 0.8 + 1.2 = 2.64
    assert after == pytest.approx(2.64)

    def of(value: float, *shape: int) -> Tensor:
        return torch.full(shape, value)

    for kernel in KERNELS.values():
        out, state = kernel(
            of(q, 1, 1, 1, 1, 1), of(k, 1, 1, 1, 1, 1), of(v, 1, 1, 1, 1, 1),
            of(b, 1, 1, 1, 1), of(g, 1, 1, 1),
            of(before, 1, 1, 1, 1), (1,), False,
        )  # fmt: skip
        assert state.item() == pytest.approx(2.64)
        assert out.item() == pytest.approx(4 * 2.64)


@pytest.mark.parametrize("kernel", [KERNELS["naive"], KERNELS["chunk"]], ids=["naive", "chunk"])
def test_autocast_does_not_touch_the_scan(kernel) -> None:  # type: ignore[no-untyped-def]
    given_ = inputs(6, 1, 2, 4, 8, 8, 1.0, 0)
    plain, _ = kernel(*given_, (2, 2, 2), True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = kernel(*given_, (2, 2, 2), True)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("key_size", [0.1, 10.0, 1e4])
def test_bounded_keys_make_every_transition_a_contraction(name: str, key_size: float) -> None:
    """Without writes the state after one frame is M0 A; with M0 = I it is the transition itself."""
    q, k, v, beta, decay, _ = inputs(1, 1, 3, 6, 8, 8, key_size, 4)
    start = torch.eye(8).expand(1, 3, 8, 8)
    _, transition = KERNELS[name](q, k, torch.zeros_like(v), beta, decay, start, (1,), True)
    eigenvalues = torch.linalg.eigvalsh(transition.double())
    assert eigenvalues.min() >= -1e-5 and eigenvalues.max() <= 1.0 + 1e-6


def test_unbounded_keys_can_explode_which_is_why_there_is_a_bound() -> None:
    q, k, v, beta, decay, _ = inputs(1, 1, 3, 6, 8, 8, 10.0, 4)
    start = torch.eye(8).expand(1, 3, 8, 8)
    _, transition = KERNELS["naive"](q, k, torch.zeros_like(v), beta, decay, start, (1,), False)
    assert torch.linalg.eigvalsh(transition.double()).min() < -1.0


def test_a_cpu_gets_the_chunk_form_and_the_reason() -> None:
    choice = choose(torch.device("cpu"))
    assert choice.name == "chunk" and "Triton is for CUDA" in choice.reason


@pytest.mark.parametrize(
    ("capability", "installed", "name", "words"),
    [
        ((9, 0), True, "triton", "Big GPU, compute capability 9.0"),
        ((7, 5), True, "chunk", "capability 7.5: below 8.0"),
        ((9, 0), False, "chunk", "Triton is not installed: pip install triton"),
    ],
)
def test_a_gpu_gets_triton_where_it_can_run(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], installed: bool, name: str, words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Big GPU")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: object() if installed else None)
    choose.cache_clear()
    try:
        choice = choose(torch.device("cuda", 0))
    finally:
        choose.cache_clear()
    assert choice.name == name and words in choice.reason


def test_an_unknown_form_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'fast'; there are naive, chunk, portable, triton"):
        form("fast")
