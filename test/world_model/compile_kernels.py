"""Compile every Triton kernel for a GPU that need not be there, and print what the assembler says of each as JSON.

Run as a program of its own, without TRITON_INTERPRET: arguments are the compute capability, head width and dtype.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sana_wm_ros.world_model.kernels import triton_memory as memory
from sana_wm_ros.world_model.kernels import triton_place as kernels
from sana_wm_ros.world_model.kernels.triton_prepare import BLOCK_TOKENS

INTEGERS = {"S", "BH", "N", "B", "row_stride", *(f"{a}_{b}" for a in ("out", "x") for b in "fbhs")}
# Pointers to what the model's own type is stored in; all others are float32.
OWN = {
    "_write": {"k_ptr", "v_ptr", "P_ptr"},
    "_scan": {"P_ptr"},
    "_read": {"a_ptr", "out_ptr"},
    "_outer": {"a_ptr", "b_ptr"},
    "_transition_grad": {"P_ptr"},
    "_write_grad": {"k_ptr", "v_ptr", "dk_ptr", "dv_ptr"},
}
PASSES = {"x_ptr", "out_ptr", "plain_ptr", "grad_ptr", "plain_grad_ptr", "dx_ptr"}


def report(
    kernel: Any, constants: dict[str, Any], own: set[str], dtype: str, capability: int, **options: int
) -> dict:
    names = kernel.arg_names
    kinds = {}
    for name in names:
        if name in constants:
            kinds[name] = "constexpr"
        elif name in INTEGERS:
            kinds[name] = "i32"
        else:
            kinds[name] = "*i32" if name == "bounds_ptr" else f"*{dtype if name in own else 'fp32'}"
    # What a launch finds out by itself: tensors begin at multiples of 16 bytes, and S is one of 16.
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if name == "S" or name.endswith("_ptr")
    }
    fixed = {(i,): constants[name] for i, name in enumerate(names) if name in constants}
    source = ASTSource(kernel, kinds, constexprs=fixed, attrs=aligned)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".ptx") as file:
        file.write(made.asm["ptx"].encode())
        file.flush()
        architecture = f"sm_{capability}" + ("a" if capability == 90 else "")
        command = [knobs.nvidia.ptxas.path, "-v", f"--gpu-name={architecture}", file.name, "-o", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill stores", said)))
    return {"kernel": kernel.__name__, "shared": made.metadata.shared, "spilled": spilled}


def main(capability: int, width: int, dtype: str) -> None:
    blocks = {"D": width, "R": width, "BLOCK_D": memory.padded(width), "BLOCK_R": memory.padded(width)}
    tuned = memory.settings(880 if width > 64 else 48, width, 2 if dtype == "bf16" else 4)
    options = {name: tuned[name] for name in ("num_warps", "num_stages")}
    common = {"PRECISION": "tf32" if dtype == "bf16" else "tf32x3"}
    tokens = {**common, "BLOCK_S": tuned["BLOCK_S"]}
    square = {"M": width, "N": width, "BLOCK_M": blocks["BLOCK_D"], "BLOCK_N": blocks["BLOCK_R"]}
    switches = {"BOUNDED": True, "ONES": False}
    rows = memory.scan_settings(width, width, 2 if dtype == "bf16" else 4)
    scan = {**common, **blocks, "KIND": memory.INCLUSIVE, "REVERSE": False, "STARTED": True}
    plain = {"H": 4, "D": width, "BLOCK_T": BLOCK_TOKENS, "BLOCK_D": memory.padded(width)}
    place = {**plain, "NORM": True, "RELU": True, "TURN_MAIN": True, "PLAIN": 1, "EPS": 1e-5}
    jobs: list[tuple[Any, dict[str, Any], dict[str, int]]] = [
        (memory._write, {**tokens, **blocks, **switches}, options),
        (
            memory._scan,
            scan | {"BLOCK_R": rows["BLOCK_R"]},
            {k: rows[k] for k in ("num_warps", "num_stages")},
        ),
        (memory._read, {**tokens, **square, "STRIDE_M": 1, "STRIDE_N": width, "AHEAD": True}, options),
        (memory._outer, {**tokens, **square}, options),
        (
            memory._transition_grad,
            {**common, **blocks, "BLOCK_R": min(32, blocks["BLOCK_R"]), "AHEAD": True, "BOUNDED": True},
            options | {"num_stages": 2},
        ),
        (memory._write_grad, {**tokens, **blocks, **switches, "AHEAD": True}, options),
        (kernels.place_kernel, place, {}),
        (kernels.place_grad_kernel, place, {}),
        (kernels.unplace_kernel, {**plain, "FACTOR": True}, {}),
        (kernels.unplace_grad_kernel, {**plain, "FACTOR": True}, {}),
    ]
    rows_ = [
        report(kernel, constants, OWN.get(kernel.__name__, PASSES), dtype, capability, **chosen)
        for kernel, constants, chosen in jobs
    ]
    sys.stdout.write(json.dumps(rows_) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
