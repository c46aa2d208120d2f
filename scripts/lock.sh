#!/usr/bin/env bash
# Resolve setup.py's dependencies for Python 3.10 to 3.14 into requirements/*.lock. Needs the network and `uv`.
#
# base.lock: everything but ROS (with the extras sim and dev). ros.lock: the ROS wheels, on top of base.lock.
# torch's own CUDA wheels stay out: its metadata pins them exactly, and a CPU build of torch needs none of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv="${UV:-uv}"
cuda=(cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc
      nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse
      nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx)
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

compile() {
    "$uv" pip compile setup.py --universal --python-version 3.10 --no-python-downloads --no-annotate --no-header \
        --quiet "$@"
}

# Drops what is true wherever the lock is used, and writes the rest shortly.
tidy() {
    sed -E -e "s/ and platform_python_implementation == 'CPython' and sys_platform == 'linux'//g" \
           -e "s/ ; python_full_version < '3\.15'( and |$)/ ; \1/" -e "s/ ;  ?and / ; /" -e "s/ ; *$//" \
           -e "s/python_full_version >= '(3\.[0-9]+)' and python_full_version < '3\.15'/python_full_version >= '\1'/"
}

compile --extra sim --extra dev "${cuda[@]/#/--no-emit-package=}" --output-file "$work/base"
compile --extra ros --constraint "$work/base" --output-file "$work/full"
{
    echo "# Made by scripts/lock.sh from setup.py (install_requires, extras sim and dev) for Python 3.10 to 3.14."
    tidy < "$work/base"
} > requirements/base.lock
{
    echo "# Made by scripts/lock.sh from setup.py (extra ros): rclpy, Fast DDS and messages where no ROS 2 is sourced."
    grep -vxFf "$work/base" "$work/full" | grep -vE '^(cuda|nvidia)-' | tidy
} > requirements/ros.lock
wc -l requirements/*.lock
