"""What training came to with and without a person's help, and for how much of their time."""

from __future__ import annotations

from silri.bench.report.sections import NOTHING, markdown_table, task_name
from silri.bench.results import Results
from silri.evaluation.summary import SECONDS_PER_STEP


def help_section(results: Results, person: str) -> str:
    """What training gave for the person's time; empty if no run counted it."""
    rows = []
    for task in results.tasks(person):
        for variant in results.suite.variants:
            runs = [run for run in results.of(task, variant.label, person) if run.training]
            trained = [run.training for run in runs if run.training]
            if not variant.learns_online or not runs:
                continue
            successes = sum(one.successes for one in trained)
            alone = sum(one.successes_alone for one in trained)
            by_itself = sum(one.episodes_alone for one in trained)
            helped = sum(one.episodes for one in trained) - by_itself
            hours = SECONDS_PER_STEP * sum(run.env_steps for run in runs) / 3600
            minutes = sum(run.human_seconds + run.demo_seconds for run in runs) / 60
            rows.append(
                (
                    task_name(results, task),
                    variant.label,
                    f"{alone / by_itself:.2f} of {by_itself}" if by_itself else NOTHING,
                    f"{(successes - alone) / helped:.2f} of {helped}" if helped else NOTHING,
                    f"{successes / hours:,.0f}",
                    f"{successes / minutes:.1f}" if minutes else NOTHING,
                )
            )
    head = (
        *("task", "variant", "success without help", "success with help"),
        *("successes per hour", "successes per minute of the person"),
    )
    note = (
        "*Training episodes, all seeds together, exploration included. With help: a person drove "
        "in some step. An hour is the robot's. A minute of the person includes demonstrations.*"
    )
    return f"{markdown_table(head, rows)}\n\n{note}" if rows else ""
