#!/bin/sh
# The real lerobot's robots behind our environment, without hardware.
#
#   benchmarks/with_lerobot/arm.sh [ENVS]
#
# ENVS: where the environments are kept (default: a temporary folder); see reads.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
envs=${1:-$(mktemp -d)}
python=${PYTHON:-"$here/../../.venv/bin/python"}
lerobot="$envs/lerobot/bin/python"

if [ ! -x "$lerobot" ] || ! "$lerobot" -c "import lerobot" 2>/dev/null; then
    "$python" -m venv "$envs/lerobot"
    "$lerobot" -m pip install --quiet "lerobot==0.4.4"
fi
# What silri needs to open an environment.
"$lerobot" -c "import pydantic, tyro" 2>/dev/null || "$lerobot" -m pip install --quiet pydantic tyro

HF_HUB_OFFLINE=1 PYTHONPATH="$here/../../src" "$lerobot" "$here/arm.py"
