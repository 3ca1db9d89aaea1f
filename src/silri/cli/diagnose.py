"""``silri diagnose RUN``: what is wrong with a run, and what to try."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from silri.cli.main import DONE
from silri.cli.terminal.arguments import parse
from silri.core.errors import UsageError
from silri.diagnosis.evidence import gather
from silri.diagnosis.report import as_page, as_text
from silri.diagnosis.rules import diagnose
from silri.store.safety import files

DESCRIPTION = """Look at what a run has logged and stored, and say what is wrong with it: rewards
that never come, a critic that diverges, a gripper that has collapsed, and so on, each with the
evidence and what to try. Prints it, and writes a page with pictures: RUN/diagnosis.html."""


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri diagnose``."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, finished or not


def main(arguments: list[str]) -> int:
    """Diagnose and return the exit code: 0, whatever is found."""
    chosen: Arguments = parse(
        Arguments, arguments, prog="silri diagnose", description=DESCRIPTION, flags=True
    )
    if not chosen.runs:
        raise UsageError("name at least one run folder: silri diagnose runs/A")
    for folder in chosen.runs:
        run = gather(folder)
        findings = diagnose(run)
        print(as_text(run, findings))
        page = folder / "diagnosis.html"
        files.atomic_write(page, as_page(run, findings).encode(), durable=False)
        print(f"\npage: {page}")
    return DONE
