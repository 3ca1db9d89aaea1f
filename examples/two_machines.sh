#!/usr/bin/env bash
# A learner and a robot as two commands; the learner's side is killed in the middle of the run.
#
#   examples/two_machines.sh [FOLDER [STEPS]]        300 STEPS take about a minute
#
# Both run here, one after the other as on two machines: they share nothing but a port and the
# token. docs/guides/robots.md shows what this prints.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-$(mktemp -d)}
steps=${2:-2500}
silri() { exec "${PYTHON:-.venv/bin/python}" -m silri.cli.main "$@"; }
run=$folder/run spool=$folder/robot token=$folder/token port=10101
mkdir -p "$folder"
began=$(date +%s)

say() { printf '%4d s  %s\n' "$(($(date +%s) - began))" "$*"; }
stored() { find "$run/episodes/meta/episodes" -name '*.parquet' 2>/dev/null | wc -l; }
waiting() { find "$spool/episodes" -type f -regex '.*/[0-9]+' 2>/dev/null | wc -l; }
driven() { sed -n 's/.*"episodes": \([0-9]*\).*/\1/p' "$spool/control.json" 2>/dev/null || true; }
count() { say "episodes stored $(stored) (demonstrations included), driven $(driven), waiting at the robot $(waiting)"; }

learner() {
    silri learner "$@" --port $port --ray-port 10102 --token "$token" \
        > >(sed -u 's/^/          learner | /') 2>&1 &
    learner_pid=$!
}

say "silri learner"
learner --env metaworld/drawer-open-v3 --steps "$steps" --runtime.rate-hz 20 --data.demos 10 \
    --evaluation.episodes 20 --out "$run"
until [ -f "$token" ]; do sleep 0.2; done

say "silri actor"
silri actor --address 127.0.0.1:$port --name arm --spool "$spool" --token "$token" \
    > >(sed -u 's/^/          robot   | /') 2>&1 &
actor_pid=$!
trap 'kill $actor_pid $learner_pid 2>/dev/null || true' EXIT

until [ "$(driven)" ] && [ "$(driven)" -ge $((steps / 300)) ]; do sleep 0.5; done
count
say "kill -9 of the learner's supervisor: its whole side goes down"
kill -9 "$learner_pid"
for _ in 1 2 3; do
    sleep $((steps / 166))
    count
done

say "silri learner --resume"
learner --resume "$run"
until [ "$(waiting)" = 0 ]; do sleep 0.5; done
say "the spool has caught up"
count

wait "$learner_pid"
wait "$actor_pid" || true
count
(silri data check "$run")
say "done"
