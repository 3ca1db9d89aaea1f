#!/bin/sh
# The real lerobot reads every frame of a dataset that silri wrote and of its exports, and gets
# silri's values.
#
#   benchmarks/with_lerobot/reads.sh [DATASET] [ENVS]
#
# DATASET: e.g. runs/NAME/episodes; without one, a small dataset is made up and read.
# ENVS: where the environments are kept (default: a temporary folder). lerobot 0.4.4 brings torch
# and about 8 GB with it, which is why it never goes into silri's own environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dataset=${1:-}
envs=${2:-$(mktemp -d)}
python=${PYTHON:-"$here/../../.venv/bin/python"}
lerobot="$envs/lerobot/bin/python"

if [ ! -x "$lerobot" ] || ! "$lerobot" -c "import lerobot" 2>/dev/null; then
    "$python" -m venv "$envs/lerobot"
    "$lerobot" -m pip install --quiet "lerobot==0.4.4"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PYTHONPATH="$here/../../src" "$python" "$here/reads.py" write "$work" $dataset
[ -n "$dataset" ] || dataset="$work/episodes"
# Offline and with a cache of its own: nothing may come from the hub or from an earlier run.
HF_HUB_OFFLINE=1 HF_HOME="$work/huggingface" HF_DATASETS_CACHE="$work/cache" \
    "$lerobot" "$here/reads.py" read "$work" "$dataset"
