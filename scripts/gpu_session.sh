#!/usr/bin/env bash
# All that needs an NVIDIA GPU, in about 20 minutes: the kernels' tests, then every GPU benchmark, then the page.
#
#   scripts/gpu_session.sh [FOLDER]     where result files go (default: benchmarks/results)
#
# A benchmark that fails does not keep the others from running; the exit status tells.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out="${1:-benchmarks/results}"
python="${PYTHON:-.venv/bin/python}"
failed=()

"$python" - << 'EOF' || { echo "gpu_session: torch sees no CUDA device; install torch with CUDA (pip install torch)" >&2; exit 2; }
import sys
import torch
if not torch.cuda.is_available():
    sys.exit(1)
print(torch.__version__, torch.cuda.get_device_name(), "capability", torch.cuda.get_device_capability())
EOF

run() {
    echo "== $*"
    local began=$SECONDS
    timeout "$limit" "$@" || failed+=("$*")
    echo "== $((SECONDS - began)) s"
}

unset TRITON_INTERPRET # what is tested is the GPU, not the interpreter
tests=(test/world_model/test_triton.py test/world_model/test_graphs.py test/world_model/test_fp8.py)
limit=420 run "$python" -m pytest -q -p no:cacheprovider "${tests[@]}" --timeout 300
benchmark() { limit=300 run "$python" -m sana_wm_ros benchmark "$@" --out "$out" --force; }
benchmark kernels
benchmark rollouts --model small --candidates 64 --device cuda --runs 20
benchmark rollouts --model small --candidates 64 --device cuda --runs 20 --precision fp8
benchmark rollouts --model nano --candidates 64 --device cuda --runs 20
benchmark fork --model small --device cuda
benchmark video
benchmark compile --model small --candidates 64 --device cuda
if [[ $out == benchmarks/results ]]; then "$python" scripts/performance_page.py; fi

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "all done: commit $out and docs/performance.md"
