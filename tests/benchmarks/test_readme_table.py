"""The README's table is what benchmarks/readme_table.py makes of the kept runs."""

import subprocess
import sys

from tests.source import ROOT


def test_the_readme_says_what_the_kept_runs_say():
    script = ROOT / "benchmarks" / "readme_table.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    rows = done.stdout.splitlines()
    assert len(rows) == 4
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert set(rows) <= set(readme)
