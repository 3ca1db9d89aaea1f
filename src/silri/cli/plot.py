"""``silri plot RUN [RUN ...]``: success and intervention rate against steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from silri.cli.main import DONE
from silri.cli.terminal.arguments import parse
from silri.core.errors import UsageError
from silri.evaluation.curves import read_run
from silri.evaluation.plots import plot_learning_curves

DESCRIPTION = """Draw learning curves. Runs that differ by their seed only share a line: the median,
with their range; a single run has its 95 % Wilson band."""


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri plot``."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders
    out: Path = Path("curve.png")  # PNG, PDF or SVG


def main(arguments: list[str]) -> int:
    """Plot and return the exit code."""
    chosen: Arguments = parse(
        Arguments, arguments, prog="silri plot", description=DESCRIPTION, flags=True
    )
    if not chosen.runs:
        raise UsageError("name at least one run folder: silri plot runs/A runs/B")
    print(f"figure: {plot_learning_curves([read_run(run) for run in chosen.runs], chosen.out)}")
    return DONE
