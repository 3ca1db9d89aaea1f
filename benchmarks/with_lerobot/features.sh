#!/bin/sh
# The real lerobot serves features of a small random SmolVLA; silri trains on them, resumes,
# evaluates, and refuses another model.
#
#   benchmarks/with_lerobot/features.sh [ENVS]
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
# What SmolVLA needs besides (lerobot[smolvla]), and what the server does.
"$lerobot" -c "import transformers, num2words, msgpack" 2>/dev/null ||
    "$lerobot" -m pip install --quiet "transformers>=4.57.1,<5" num2words msgpack

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HUB_OFFLINE=1 HF_HOME="$work/huggingface"
"$lerobot" "$here/features.py" make "$work"
PYTHONPATH="$here/../../src:$here/../.." "$python" "$here/features.py" use "$work" "$lerobot"
