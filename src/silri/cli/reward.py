"""``silri reward fit|report``: a success classifier from episodes, and how far to trust it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from silri.cli.main import DONE
from silri.cli.terminal.arguments import parse
from silri.core.errors import DataError, UsageError
from silri.core.registry import unknown_name
from silri.core.settings import PositiveInt
from silri.evaluation.classifier import as_text, judge_attempts
from silri.evaluation.classifier_page import as_page
from silri.rewards.classifier import SuccessClassifier, load_classifier
from silri.rewards.config import FitConfig, RewardConfig
from silri.rewards.examples import Attempt, read_attempts
from silri.rewards.fit import fit_classifier
from silri.runtime.starting.backend import prepare_jax
from silri.store.safety import files
from silri.store.safety.space import check_writable

USAGE = """usage: silri reward COMMAND ...   (silri reward COMMAND --help for its options)

A success classifier looks at the cameras and says whether the task is done. It learns from
episodes that ended in a success and episodes that did not.

  fit --data DATASET ... --out FOLDER    fit one, and report on the episodes that are held out
  report FOLDER [--data DATASET ...]     the report again, or one on other episodes

Train with it: silri train --reward.model FOLDER"""
PAGE = "report.html"
CONSECUTIVE = RewardConfig().consecutive


@dataclass(frozen=True)
class Fit:
    """Flags of ``silri reward fit``."""

    data: tuple[Path, ...] = ()  # datasets or run folders, one or more
    out: Path | None = None  # the new folder
    consecutive: PositiveInt = CONSECUTIVE  # frames in a row that the report counts as a success
    config: Annotated[FitConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=FitConfig)


@dataclass(frozen=True)
class Report:
    """Flags of ``silri reward report``."""

    folder: Annotated[Path, tyro.conf.Positional]  # what 'silri reward fit' made
    data: tuple[Path, ...] = ()  # datasets or run folders; none: what was held out of the fit
    consecutive: PositiveInt = CONSECUTIVE  # frames in a row that count as a success


def main(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return DONE
    commands: dict[str, Callable[[list[str]], int]] = {"fit": _fit, "report": _report}
    command, rest = arguments[0], arguments[1:]
    if command not in commands:
        raise unknown_name("command of 'silri reward'", command, commands)
    prepare_jax()
    return commands[command](rest)


def _fit(rest: list[str]) -> int:
    text = "Fit a success classifier on episodes, and report on those that are held out."
    chosen: Fit = parse(Fit, rest, prog="silri reward fit", description=text)
    if not chosen.data:
        raise UsageError("--data DATASET is missing: episodes with successes and failures")
    if chosen.out is None:
        raise UsageError("--out FOLDER is missing: where the classifier goes")
    check_writable(chosen.out)
    classifier, held_out = fit_classifier(chosen.data, chosen.config, print)
    classifier.save(chosen.out)
    _show(classifier, held_out, chosen.out, chosen.consecutive)
    print(f"train with it: silri train --reward.model {chosen.out}")
    return DONE


def _report(rest: list[str]) -> int:
    text = "How far a success classifier can be trusted: a table, and a page with its mistakes."
    chosen: Report = parse(Report, rest, prog="silri reward report", description=text)
    classifier = load_classifier(chosen.folder)
    known = classifier.known
    attempts = read_attempts(chosen.data or map(Path, known.data), known.config)
    _check_cameras(classifier, attempts, chosen.folder)
    unseen = [attempt for attempt in attempts if attempt.key not in known.fitted]
    if not chosen.data:
        # What a run has added since is not what the threshold was reported on.
        unseen = [attempt for attempt in unseen if attempt.key in known.held_out]
    if left_out := len(attempts) - len(unseen):
        print(f"{left_out} of {len(attempts)} episodes are left out: it was fitted on them")
    _show(classifier, unseen, chosen.folder, chosen.consecutive)
    return DONE


def _show(
    classifier: SuccessClassifier, attempts: Sequence[Attempt], folder: Path, consecutive: int
) -> None:
    trust = judge_attempts(classifier, attempts, consecutive)
    print(as_text(trust, classifier))
    page = folder / PAGE
    files.atomic_write(page, as_page(trust, classifier, folder.name).encode(), durable=False)
    print(f"page: {page}")


def _check_cameras(
    classifier: SuccessClassifier, attempts: Sequence[Attempt], folder: Path
) -> None:
    """Whether the episodes show what the classifier looks at.

    Raises:
        DataError: other cameras, or frames of another shape; names both.
    """
    if not attempts:
        raise DataError("there is no episode to judge")
    found = {camera: frames.shape[1:] for camera, frames in attempts[0].frames.items()}
    if found != classifier.cameras:
        raise DataError(
            f"the classifier in {folder} looks at {classifier.cameras}; the episodes of "
            f"{attempts[0].source} have {found}"
        )
