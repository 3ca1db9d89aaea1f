#!/bin/sh
# silri reads what the real lerobot wrote (images and videos), and gets lerobot's values.
#
#   benchmarks/with_lerobot/writes.sh [ENVS]
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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
HF_HUB_OFFLINE=1 HF_HOME="$work/huggingface" HF_DATASETS_CACHE="$work/cache" SVT_LOG=1 \
    "$lerobot" "$here/writes.py" write "$work"
PYTHONPATH="$here/../../src" "$python" "$here/writes.py" read "$work"
