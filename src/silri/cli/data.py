"""``silri data list|check|repair|merge|export``: datasets of episodes. No JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from silri.cli.main import DONE, FAILED
from silri.cli.terminal.arguments import parse
from silri.core.errors import UsageError
from silri.core.registry import unknown_name
from silri.store.format.info import recorded_elsewhere
from silri.store.tools.export import SELECTIONS, export
from silri.store.tools.merge import merge, repair
from silri.store.tools.survey import Place, problems, set_aside, summaries

USAGE = """usage: silri data COMMAND ...   (silri data COMMAND --help for its options)

A dataset is a folder that 'silri record' or lerobot made, or a run folder.

  list DATASET                   its episodes, and what was set aside
  check DATASET                  verify every checksum; exit code 1 if something is wrong
  repair DATASET                 set the damaged aside and close the gaps, as resuming does
  merge DATASET ... --out NEW    one of several, without duplicates
  export DATASET --out NEW       a plain LeRobotDataset v3, with --video as mp4"""


@dataclass(frozen=True)
class One:
    """Flags of ``silri data list``, ``check`` and ``repair``."""

    dataset: Annotated[Path, tyro.conf.Positional]  # dataset or run folder


@dataclass(frozen=True)
class Several:
    """Flags of ``silri data merge``."""

    datasets: Annotated[tuple[Path, ...], tyro.conf.Positional]  # datasets or run folders
    out: Path  # the new dataset


@dataclass(frozen=True)
class Export:
    """Flags of ``silri data export``."""

    dataset: Annotated[Path, tyro.conf.Positional]  # dataset or run folder
    out: Path  # the new dataset
    video: bool = False  # cameras as mp4, which loses details; needs the extra 'video'
    only: str = "all"  # all, success, demos or interventions (no demo, a person took over)

    def __post_init__(self) -> None:
        if self.only not in SELECTIONS:
            raise unknown_name("selection", self.only, SELECTIONS)


def main(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return DONE
    commands: dict[str, Callable[[list[str]], int]] = {
        "list": _list,
        "check": _check,
        "repair": _repair,
        "merge": _merge,
        "export": _export,
    }
    command, rest = arguments[0], arguments[1:]
    if command not in commands:
        raise unknown_name("command of 'silri data'", command, commands)
    return commands[command](rest)


def _one(command: str, description: str, rest: list[str]) -> Place:
    prog = f"silri data {command}"
    chosen: One = parse(One, rest, prog=prog, description=description, flags=True)
    return Place.of(chosen.dataset)


def _list(rest: list[str]) -> int:
    place = _one("list", "The episodes of a dataset, and what was set aside from it.", rest)
    header = ("index", "id", "steps", "success", "return", "human", "demo", "operator", "origin")
    rows: list[tuple[str, ...]] = [header]
    steps = 0
    for each in summaries(place):
        steps += each.steps
        rows.append(
            (
                str(each.index),
                str(each.episode_id),
                str(each.steps),
                "yes" if each.success else "no",
                f"{each.total_reward:.2f}",
                f"{each.intervention_rate:.0%}",
                "yes" if each.is_demo else "no",
                each.operator,
                each.origin or "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print(f"{len(rows) - 1} episodes, {steps} steps in {place.episodes}")
    for entry in set_aside(place):
        origin = f", from {entry.origin}" if entry.origin else ""
        print(f"set aside: episode {entry.episode_id}, {entry.steps} steps{origin}: {entry.reason}")
    return DONE


def _check(rest: list[str]) -> int:
    text = "Verify every checksum of a dataset. Nothing is changed; a run may be writing there."
    place = _one("check", text, rest)
    found = problems(place)
    for problem in found:
        print(problem)
    if found:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        remedy = (
            "another program recorded it: copy or download it again, or mend it there"
            if recorded_elsewhere(place.episodes)
            else "'silri data repair' sets them aside"
        )
        print(f"{count} in {place.episodes}; {remedy}")
        return FAILED
    print(f"{place.episodes} is sound")
    return DONE


def _repair(rest: list[str]) -> int:
    text = "Set damaged episodes aside, close the gaps and rebuild what can be derived."
    place = _one("repair", text, rest)
    messages = repair(place)
    for message in messages:
        print(message)
    print(f"{place.episodes} is in order" + ("" if messages else "; there was nothing to do"))
    return DONE


def _merge(rest: list[str]) -> int:
    text = "Make one dataset of several: new numbers, same origins, each origin once."
    chosen: Several = parse(Several, rest, prog="silri data merge", description=text, flags=True)
    if not chosen.datasets:
        raise UsageError("name the datasets to merge: silri data merge A B --out C")
    done = merge([Place.of(path) for path in chosen.datasets], chosen.out)
    twice = f"; {done.twice} were there twice" if done.twice else ""
    print(f"{done.episodes} episodes in {chosen.out}{twice}")
    return DONE


def _export(rest: list[str]) -> int:
    text = "Write a plain LeRobotDataset v3, which every LeRobot tool reads."
    chosen: Export = parse(Export, rest, prog="silri data export", description=text, flags=True)
    count = export(Place.of(chosen.dataset), chosen.out, video=chosen.video, only=chosen.only)
    print(f"{count} episodes in {chosen.out}")
    return DONE
