#!/usr/bin/env bash
# The demonstration run. A finished one stays; an interrupted one goes on where it stopped.
set -euo pipefail

silri=.venv/bin/silri
out=runs/demo
number=1
while [ -e "$out" ]; do
    if grep -Eqs '"completed": *true' "$out/summary.json"; then
        echo "$out is complete (figure: $out/curve.png); training again, in a folder of its own"
    elif [ -e "$out/checkpoints/last" ]; then
        echo "$out was interrupted; going on from its last checkpoint"
        exec "$silri" train --resume "$out"
    fi
    number=$((number + 1))
    out="runs/demo-$number"
done
exec "$silri" train --agent silri --env metaworld/drawer-open-v3 --operator heterogeneous \
    --steps 5000 --seed 0 --out "$out"
