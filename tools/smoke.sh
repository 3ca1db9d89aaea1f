#!/usr/bin/env bash
# Build the wheel with the python in $1, install it into a clean environment, and use it there.
set -euo pipefail

python="$(realpath --no-symlinks "$1")"
work="$PWD/build/smoke"
rm -rf "$work" dist
mkdir -p "$work"

"$python" -m build --wheel --outdir dist .
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --python "$python" "$work/venv"
    uv pip install --quiet --python "$work/venv/bin/python" dist/silri-*.whl
else
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check dist/silri-*.whl
fi

cd "$work"  # so that nothing is found by accident in the source tree
export JAX_PLATFORMS=cpu
silri=venv/bin/silri
"$silri" --help
"$silri" list envs | grep drawer-open
# 200 steps are at least two episodes of 100 steps.
"$silri" train --agent silri --env metaworld/drawer-open-v3 --operator heterogeneous \
    --steps 200 --seed 0 --out run
test -s run/summary.json
echo "smoke test passed: $(basename "$OLDPWD"/dist/silri-*.whl)"
