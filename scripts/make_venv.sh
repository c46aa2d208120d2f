#!/usr/bin/env bash
# Make or update the virtual environment: ./make_venv.sh FOLDER [PYTHON]
#
# Does nothing, and needs no network, when FOLDER was made from these lock files, this setup.py and this Python.
# Where a ROS 2 is sourced its rclpy, messages, numpy and OpenCV are used (compiled parts must fit together);
# elsewhere the same rclpy and Fast DDS come from wheels.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$1"
cd "$root"

say() { echo "make_venv: $*" >&2; }
fail() { say "$*"; exit 1; }
supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

python="${2:-}"
if [[ -n $python ]]; then
    supported "$python" || fail "'$python' is no Python 3.10 to 3.14: give another one, make PYTHON=python3.12"
else
    for candidate in python3 python3.12 python3.13 python3.11 python3.14 python3.10; do
        if supported "$candidate"; then python="$candidate"; break; fi
    done
    [[ -n $python ]] || fail "no Python 3.10 to 3.14 found: install one (on Debian and Ubuntu: apt install python3 python3-venv)"
fi

ros=wheels
if [[ -n ${ROS_DISTRO:-} ]]; then
    if "$python" -c 'import rclpy, sensor_msgs.msg' 2>/dev/null; then
        ros="$ROS_DISTRO"
    else
        say "ROS_DISTRO is $ROS_DISTRO, but '$python' cannot import rclpy: using the ROS wheels instead"
    fi
fi

hash_of() { sha256sum | cut -c1-20; }
needs="$({ cat requirements/*.lock; echo "$root $ros"; "$python" -c 'import sys; print(sys.version, sys.base_prefix)'; } | hash_of)"
key="$needs $(cat setup.py sana_wm_ros/__init__.py | hash_of)"
if [[ -f $venv/ready && $(cat "$venv/ready") == "$key" ]]; then exit 0; fi

"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "'$python' cannot make virtual environments: apt install python3-venv (or python3.X-venv for another version)"
began=$SECONDS
pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "$@"; }

install_pins() {
    if [[ $ros == wheels ]]; then
        [[ $(uname -m) == x86_64 ]] ||
            fail "the ROS wheels are for x86-64; on $(uname -m) install ROS 2 (Jazzy or later) and source it first"
        say "installing pinned dependencies and the ROS 2 wheels into $venv (once; needs the network)"
        "$python" -m venv --clear "$venv"
        pip -r requirements/base.lock -r requirements/ros.lock
    else
        say "installing pinned dependencies into $venv beside the sourced ROS 2 $ros (once; needs the network)"
        "$python" -m venv --clear --system-site-packages "$venv"
        # ROS's compiled messages fit the numpy that they were built with, and its OpenCV fits that numpy.
        grep -vE '^(numpy|opencv-python-headless)==' requirements/base.lock > "$venv/base.lock"
        echo "numpy==$("$python" -c 'import numpy; print(numpy.__version__)')" >> "$venv/base.lock"
        pip -r "$venv/base.lock"
    fi
}

[[ -f $venv/ready && $(cut -d' ' -f1 "$venv/ready") == "$needs" ]] || { rm -f "$venv/ready"; install_pins; }
# Editable, but installed: critics and commands are found through the package's metadata.
pip --no-deps --no-build-isolation --editable .
echo "$key" > "$venv/ready"
say "ready after $((SECONDS - began)) s"
