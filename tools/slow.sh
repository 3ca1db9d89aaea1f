#!/usr/bin/env bash
# Runs the slow tests with the Python $1 on $2 workers; what follows goes to pytest.
#
# In two parts: first those that need the machine for themselves, one after the other.
set -uo pipefail
python="$1" workers="$2"
shift 2
nothing=5  # pytest's exit status when it selects no test; that may be one part's, not both's

"$python" -m pytest -m "slow and alone" --durations 5 "$@"
alone=$?
[ "$alone" = 0 ] || [ "$alone" = "$nothing" ] || exit "$alone"
"$python" -m pytest -m "slow and not alone" -n "$workers" --dist loadgroup --durations 15 "$@"
others=$?
[ "$others" = "$nothing" ] && exit "$alone"
exit "$others"
