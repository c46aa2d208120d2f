"""Attention over a minute of tokens: the gated delta rule's forms against exact attention on the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sana_wm_ros.evaluation.timing import timed, usable_device
from sana_wm_ros.world_model.kernels import choose, form


@dataclass(frozen=True, kw_only=True)
class KernelSettings:
    """One block's attention: main and camera branch of ``heads`` each; the defaults are SANA-WM's at 60 s.

    chunk_frames: latent frames that see each other. precision: torch's float32 matrix products, for the chunk form.
    """

    frames: int = 121
    tokens: int = 880
    heads: int = 20
    width: int = 112
    batch: int = 1
    chunk_frames: int = 3
    runs: int = 5
    precision: str = "high"
    device: str = "cuda"


def measure_kernels(
    settings: KernelSettings, progress: Callable[[str], None] = lambda form: None
) -> dict[str, Any]:
    """Seconds of each form, forward and forward with backward, and how many times slower than the chosen one.

    ``difference`` is the largest error of the chosen form's output against the chunk form's, over its largest value.
    """
    device = usable_device(settings.device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(settings.precision)
    try:
        return _measure(settings, device, progress)
    finally:
        torch.set_float32_matmul_precision(before)


def _measure(
    settings: KernelSettings, device: torch.device, progress: Callable[[str], None]
) -> dict[str, Any]:
    inputs = _inputs(settings, device)
    choice = choose(device)
    calls: dict[str, Callable[[list[Tensor]], Tensor]] = {
        name: _delta(name, settings) for name in dict.fromkeys([choice.name, "chunk"])
    }
    calls["sdpa"] = _softmax
    results: dict[str, Any] = {"chosen": choice.name, "why": choice.reason}
    with torch.no_grad():
        mine, truth = calls[choice.name](inputs), calls["chunk"](inputs)
        results["difference"] = float((mine.float() - truth.float()).abs().max() / truth.float().abs().max())
        del mine, truth
    for name, call in calls.items():
        progress(name)
        results[name] = {
            "forward": timed(lambda call=call: _forward(call, inputs), device, settings.runs),
            "forward_backward": timed(lambda call=call: _both(call, inputs), device, settings.runs),
        }
    for name in ("chunk", "sdpa"):
        results[f"{name}_over_{choice.name}"] = {
            way: results[name][way]["p50"] / results[choice.name][way]["p50"]
            for way in ("forward", "forward_backward")
        }
    return results


def _inputs(settings: KernelSettings, device: torch.device) -> list[Tensor]:
    """Placed queries, keys and values, plain queries and keys, beta, decay, state, normaliser."""
    generator = torch.Generator(device).manual_seed(0)
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    F, B, H, S, D = settings.frames, settings.batch, settings.heads, settings.tokens, settings.width

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    scale = (D * S) ** -0.5
    q, k, v = (draw(F, B, 2 * H, S, D) for _ in range(3))
    plain_q, plain_k = draw(F, B, H, S, D).relu(), draw(F, B, H, S, D).relu()
    tokens = [q, k * scale, v, plain_q, plain_k * scale]
    rest = [
        draw(F, B, 2 * H, S).sigmoid(),
        (draw(F, B, 2 * H) + 5.0).sigmoid(),
        torch.zeros(B, 2 * H, D, D, device=device),
        torch.zeros(B, H, 1, D, device=device),
    ]
    return [x.to(kind).requires_grad_() for x in tokens] + [x.requires_grad_() for x in rest]


def _delta(name: str, settings: KernelSettings) -> Callable[[list[Tensor]], Tensor]:
    """A block's two memories: values of both branches, and the main branch's normaliser."""
    delta_memory = form(name).delta_memory
    whole, rest = divmod(settings.frames, settings.chunk_frames)
    chunks = (settings.chunk_frames,) * whole + ((rest,) if rest else ())

    def call(inputs: list[Tensor]) -> Tensor:
        q, k, v, plain_q, plain_k, beta, decay, state, normaliser = inputs
        out, _ = delta_memory(q, k, v, beta, decay, state, chunks, True)
        half = settings.heads
        sums, _ = delta_memory(
            plain_q, plain_k, None, beta[:, :, :half], decay[:, :, :half], normaliser, chunks, True
        )
        main = out[:, :, :half] / sums.clamp(min=0.1)
        return torch.cat([main.to(out.dtype), out[:, :, half:]], 2)

    return call


def _softmax(inputs: list[Tensor]) -> Tensor:
    """Exact attention of all tokens to all: what the memory replaces."""
    q, k, v = (x.permute(1, 2, 0, 3, 4).flatten(2, 3) for x in inputs[:3])
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def _forward(call: Callable[[list[Tensor]], Tensor], inputs: list[Tensor]) -> None:
    with torch.no_grad():
        call(inputs)


def _both(call: Callable[[list[Tensor]], Tensor], inputs: list[Tensor]) -> None:
    out = call(inputs)
    torch.autograd.grad(out.float().square().mean(), inputs, allow_unused=True)
