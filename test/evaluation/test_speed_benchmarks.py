"""The benchmarks of kernels, forking and video run whole at toy size on a CPU, and say so where a GPU is missing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from typer.testing import CliRunner

from sana_wm_ros.cli.main import app
from sana_wm_ros.evaluation import flops
from sana_wm_ros.evaluation.compile_benchmark import CompileSettings, measure_compile
from sana_wm_ros.evaluation.fork_benchmark import ForkSettings, measure_fork
from sana_wm_ros.evaluation.kernel_benchmark import KernelSettings, measure_kernels
from sana_wm_ros.evaluation.rollout_benchmark import denoiser_share, named_model
from sana_wm_ros.evaluation.video_benchmark import VideoSettings, measure_video
from sana_wm_ros.world_model.toy import TINY, tiny_navigation_model

TINY_KERNELS = KernelSettings(
    frames=5, tokens=6, heads=2, width=8, batch=2, chunk_frames=2, runs=2, device="cpu"
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_kernels_are_timed_both_ways_against_exact_attention() -> None:
    results = measure_kernels(TINY_KERNELS)
    assert results["chosen"] == "chunk" and results["difference"] == 0.0
    for form in ("chunk", "sdpa"):
        for way in ("forward", "forward_backward"):
            assert len(results[form][way]["all"]) == 2 and results[form][way]["p50"] > 0
    ratio = results["sdpa"]["forward"]["p50"] / results["chunk"]["forward"]["p50"]
    assert results["sdpa_over_chunk"]["forward"] == pytest.approx(ratio)
    assert torch.get_float32_matmul_precision() == "highest"  # left as it was


def test_forking_costs_less_than_encoding_anew() -> None:
    settings = ForkSettings(candidates=3, context_s=6.0, horizon_s=1.0, runs=2)
    results = measure_fork(tiny_navigation_model(), settings)
    assert results["ready_ratio"] > results["plan_ratio"] > 1.0
    assert results["fork"]["p50"] < results["encode_anew"]["p50"]


def test_a_clip_is_streamed_and_compared_with_diffusers() -> None:
    compare = importlib.util.find_spec("diffusers") is not None
    settings = VideoSettings(
        latent_frames=7, height=64, width=64, depth=4, heads=1, text_tokens=3, runs=1, compare=compare,
        device="cpu",
    )  # fmt: skip
    results = measure_video(settings)
    assert results["clip_s"] == 49 / 16  # 1 + 6 x 8 raw frames at 16 Hz
    for name in ("streaming", "diffusers") if compare else ("streaming",):
        entry = results[name]
        assert entry["times_real_time"] == pytest.approx(results["clip_s"] / entry["p50"])
        assert entry["peak_gib"] is None  # a CPU's allocator keeps no count


def test_the_denoisers_arithmetic_is_counted_and_its_share_known_only_of_known_gpus() -> None:
    per_frame = flops.denoiser_flops(TINY)
    # The linear maps alone: qkv and camera 7 C^2, gate, projections and rays 4 C^2, MLP 6 C^2 + taps 3 C^2.
    linear = 2 * TINY.tokens * TINY.depth * 19 * TINY.width**2
    assert linear < per_frame < 4 * linear
    share = denoiser_share(tiny_navigation_model(), 2, 1.0)
    assert share["denoiser_flops_60_s"] == pytest.approx(per_frame * 2 * 120)
    assert share["share_of_bf16_rate"] is None


def test_a_preset_stands_for_its_size_with_random_weights() -> None:
    small = named_model("small", torch.device("cpu"))
    count = sum(p.numel() for p in small.parameters())
    assert 30e6 < count < 60e6 and 48 <= small.transformer.config.tokens <= 64


@pytest.mark.parametrize("verb", ["kernels", "video"])
def test_a_missing_gpu_is_one_line(verb: str, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = CliRunner().invoke(app, ["benchmark", verb, "--force", "--out", str(tmp_path)])
    assert result.exit_code == 2 and "sees no usable GPU" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_verb_writes_what_the_page_reads(tmp_path: Path, page: ModuleType) -> None:
    words = "--device cpu --frames 3 --tokens 4 --heads 1 --width 8 --runs 1 --force --out".split()
    result = CliRunner().invoke(app, ["benchmark", "kernels", *words, str(tmp_path)])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "kernels_cpu.json").read_text())
    assert record["settings"]["frames"] == 3
    rows = {what: measured for what, measured, _ in page.rows(record)}
    assert rows["exact attention over the kernels, forward"].endswith(" x")


def test_trials_that_the_verb_drove_stand_on_the_page(tmp_path: Path, page: ModuleType) -> None:
    pytest.importorskip("mujoco", reason="the simulator is the extra 'sim': pip install 'sana_wm_ros[sim]'")
    words = "--only straight;mppi --trials 1 --first-seed 900002 --limit-s 5 --store".split()
    where = [str(tmp_path / "store"), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["benchmark", "navigation", *words, *where])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "navigation_nano.json").read_text())
    assert record["settings"]["limit_s"] == 5.0 and len(record["results"]["trials"]["straight"]) == 1
    assert "| straight | 1 | 0.00 [0.00, 0.79] | 0.00 |" in page.section(record)
    # Of the oracle's two arrivals in two trials, nano makes one; straight, none; contacts 2 against 10.
    group = record["results"]["groups"]["straight"]
    record["results"]["groups"] = {
        "oracle": group | {"success": 1.0, "trials": 2},
        "nano": group
        | {"success": 0.5, "contacts_per_100_m": 2.0, "whole planner": {"success": 0.75, "trials": 4}},
        "straight": group | {"contacts_per_100_m": 10.0},
    }
    rows = {what: (measured, goal) for what, measured, goal in page.rows(record)}
    assert rows["success of nano over the oracle's"] == ("0.50 (1 trials)", ">= 0.85")
    assert rows["success of nano over going straight"][0] == "straight never arrives"
    assert rows["contacts per 100 m of nano against going straight"] == ("2.0 against 10.0", "<= half")
    assert "whole planner 0.75 of 4" in page.groups_table(record)


def test_deadlines_of_a_live_drive_stand_on_the_page(page: ModuleType) -> None:
    loop = {
        "seconds": 600.0, "goals_reached": 20, "goals_given_up": 1, "plans": 590, "deadline_attainment": 0.995,
        "cycle_s": {"count": 590, "p50": 0.8, "p95": 0.89, "p99": 0.95},
    }  # fmt: skip
    rows = list(page.rows({"name": "live_nano", "settings": {}, "results": {"loop": loop}}))
    deadlines = "from goal to goal: plans that met their deadline"
    assert (deadlines, "99.5 % of 590", ">= 99 %") in rows
    assert ("from goal to goal: a planning cycle", "0.80 s p50, 0.89 s p95, 0.95 s p99", "") in rows


def test_a_compiled_step_is_timed_and_compared_with_the_one_that_runs() -> None:
    """torch's tracing backend stands for the compiler: minutes are for the figure, not for the test of who takes it."""
    model = tiny_navigation_model(depth=2, softmax_every=2, window_frames=3)
    results = measure_compile(model, CompileSettings(candidates=2, runs=2, backend="eager", aot=False))
    assert results["compiled"]["difference"] < 1e-4
    # Chunks are of two latent frames, imagination's passes of eight.
    assert results["step"]["frame_s"] == pytest.approx(results["step"]["p50"] / 2)
    assert results["imagination"]["frame_s"] == pytest.approx(results["imagination"]["p50"] / 8)
    ratio = results["imagination"]["frame_s"] / results["compiled"]["frame_s"]
    assert results["gain"] == pytest.approx(ratio)


def test_what_was_compiled_stands_on_the_page(page: ModuleType) -> None:
    step = {"frame_s": 0.002, "p50": 0.004}
    compiled = {"frame_s": 0.0015, "compile_s": 61.4, "difference": 2e-6}
    results = {
        "imagination": step,
        "step": step,
        "compiled": compiled,
        "aot_inductor": compiled,
        "gain": 1.333,
    }
    rows = {
        what: (measured, goal)
        for what, measured, goal in page.rows({"name": "compile_nano_cpu", "results": results})
    }
    assert (
        rows["the chunk step by torch.compile"][0]
        == "1.50 ms per latent frame, compiled in 61 s, differs by 2e-06"
    )
    assert rows["torch.compile over imagination as it is"] == ("1.33 x", ">= 1.2 x")


@pytest.fixture
def page(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "performance_page", checkout / "scripts/performance_page.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_nobody_measured_yet_stands_on_the_page_with_its_command(
    tmp_path: Path, page: ModuleType
) -> None:
    text = page.page(tmp_path)
    assert "| share of the GPU's bf16 rate | unmeasured | >= 30 % |" in text
    assert "`sana_wm benchmark video`" in text
    for goal in ("<= 1 s p95", ">= 30 %", ">= 10 Hz", ">= 20 x", ">= 2 x real time", ">= 3 x", ">= 10 x"):
        assert f"| unmeasured | {goal} |" in text


def test_a_measured_gpu_benchmark_is_no_longer_unmeasured(tmp_path: Path, page: ModuleType) -> None:
    forward = {"forward": {"p50": 0.001}, "forward_backward": {"p50": 0.004}}
    results = {
        "chosen": "triton", "why": "H200", "difference": 0.01, "triton": forward,
        "chunk_over_triton": {"forward": 3.5, "forward_backward": 4.0},
        "sdpa_over_triton": {"forward": 50.0, "forward_backward": 60.0},
    }  # fmt: skip
    record = {
        "name": "kernels_cuda", "command": "sana_wm benchmark kernels", "date": "2026-01-01", "commit": "abc",
        "hardware": {"cpu": "x", "cores": 16, "memory_gib": 128, "gpus": ["H200"]},
        "versions": {"python": "3.11", "torch": "2.13.0"}, "load_average": 0.1, "settings": {}, "results": results,
    }  # fmt: skip
    (tmp_path / "kernels_cuda.json").write_text(json.dumps(record))
    text = page.page(tmp_path)
    assert "| exact attention over the kernels, forward and backward | 60.0 x | >= 10 x |" in text
    assert "| triton, forward | 1.00 ms |  |" in text
    assert text.count("## kernels_cuda") == 1


def test_how_pictures_look_and_what_self_forcing_gave_stand_beside_the_whole_model(
    tmp_path: Path, page: ModuleType
) -> None:
    def keep(name: str, decibel: float, **settings: object) -> None:
        looks = {
            "metric": "ST-LPIPS", "horizons_s": [1.0], "model": [0.55], "last frame": [0.35], "context mean": [0.9],
            "nearest view": [0.4],
        }  # fmt: skip
        goals = [{"measure": "over the best trivial at 1 s", "unit": "dB", "value": decibel, "goal": 3.0}]
        record = {
            "name": name, "command": "sana_wm benchmark model", "settings": settings,
            "results": {"drives": 12, "goals": goals, "perceptual": looks},
        }  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(record))

    keep("quality_nano", 4.0)
    keep("quality_nano_steps_2", 3.0, steps=2)
    forced = {"self_forced_minutes": 22.0, "trained_by": "sana_wm train"}
    keep("quality_nano_steps_2_self_forced", 3.5, steps=2, **forced)
    text = page.page(tmp_path)
    assert "| what | whole | 2 steps | 2 steps, after 22 min of self-forcing |" in text
    assert "| over the best trivial at 1 s, dB | 4.00 | 3.00 | 3.50 |" in text
    assert "| ST-LPIPS at 1 s (of the best trivial guess) | 0.55 (0.35) | | |" in text
    assert "Self-forcing, from the shipped weights: `sana_wm train`." in text
