"""Whether what a suite asks for is met, missed or not measured, with the measured value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from silri.bench import disturbances
from silri.bench.asked import DisturbedShare, Fall, Goals
from silri.bench.report.aggregate import Estimate, median_reached, ratios
from silri.bench.results import ROUNDING, Results

MET, MISSED, UNKNOWN = "met", "missed", "not measured"


@dataclass(frozen=True)
class Goal:
    """One row of the table of goals.

    Attributes:
        text: what is asked.
        verdict: :data:`MET`, :data:`MISSED` or :data:`UNKNOWN`.
        value: what was measured, in words.
    """

    text: str
    verdict: str
    value: str


def evaluate_goals(results: Results, person: str) -> list[Goal]:
    """Every goal that the suite states, for one person, in order; empty if it states none.

    A goal over all tasks is missed as soon as one task misses it, and met only when all tasks
    have been measured.
    """
    asked = results.suite.goals
    ours = results.suite.reference.get("ours")
    if ours is None or asked == Goals():
        return []
    goals = list(_ratio_goals(results, ours, person))
    if asked.long_horizon_success is not None:
        goals += _long_horizon(results, ours, person, asked.long_horizon_success)
    if asked.fall is not None:
        goals.append(_steady(results, ours, person, asked.fall))
    if asked.end_of_ceiling is not None:
        goals.append(_ends_high(results, ours, person, asked.end_of_ceiling))
    if asked.disturbed is not None:
        goals.append(_disturbed(results, ours, person, asked.disturbed))
    return goals


def _ratio_goals(results: Results, ours: str, person: str) -> Iterator[Goal]:
    asked = results.suite.goals
    rows = (
        ("steps_to_90", "steps to 90 %", "rival", asked.steps_of_rival),
        ("steps_to_90", "steps to 90 %", "published", asked.steps_of_published),
        (
            *("intervention_steps_to_90", "interventions to 90 %", "rival"),
            asked.interventions_of_rival,
        ),
    )
    for quantity, words, role, bound in rows:
        if bound is None:
            continue
        other = results.suite.reference[role]
        found = ratios(results, quantity, ours, other, person)
        text = f"{words}: {ours} at most {bound:g} of {other} (median over tasks)"
        count = len(found.rows)
        if not count:
            yield Goal(text, UNKNOWN, "no task with both")
            continue
        value = f"{found.median.format()} on {count} of {count + len(found.missing)} tasks"
        both = sum(row.mark == "?" for row in found.rows)
        if both:
            value += f"; on {both} neither got there, counted as 1"
        # A "<" ratio is smaller still; a ">" one is larger, nobody knows by how much.
        never = [row.task for row in found.rows if row.mark == ">"]
        if never:
            value += f"; {ours} was never there on {', '.join(never)}"
        if found.missing:
            yield Goal(text, UNKNOWN, f"so far {value}")
        else:
            at_worst = median(math.inf if r.mark == ">" else r.value for r in found.rows)
            yield Goal(text, MET if at_worst <= bound else MISSED, value)


def _over_tasks(
    text: str,
    tasks: Sequence[str],
    measure: Callable[[str], float | None],
    good: Callable[[str, float], bool],
    spec: str = ".2f",
) -> Goal:
    """A goal that every task has to meet."""
    measured = {task: value for task in tasks if (value := measure(task)) is not None}
    if not measured:
        return Goal(text, UNKNOWN, "no run")
    bad = {task: value for task, value in measured.items() if not good(task, value)}
    shown = bad or measured
    words = ", ".join(f"{task} {value:{spec}}" for task, value in shown.items())
    if bad:
        return Goal(text, MISSED, words)
    if len(measured) < len(tasks):
        return Goal(text, UNKNOWN, f"so far met on {len(measured)} of {len(tasks)} tasks: {words}")
    return Goal(text, MET, words)


def _long_horizon(results: Results, ours: str, person: str, least: float) -> Iterator[Goal]:
    long = {task.label for task in results.suite.tasks if task.long_horizon}
    tasks = [task for task in results.tasks(person) if task in long]
    if not tasks:
        return
    yield _over_tasks(
        f"success at the end of long-horizon tasks at least {least:g}",
        tasks,
        lambda task: _mean(results.values(task, ours, person, "final_success")),
        lambda _, value: value >= least - ROUNDING,
        ".3f",
    )


def _steady(results: Results, ours: str, person: str, asked: Fall) -> Goal:
    budgets = {task.label: task.steps for task in results.suite.tasks}

    def fall(task: str) -> float | None:
        greatest: float | None = max(results.values(task, ours, person, "fall"), default=None)
        reached = results.values(task, ours, person, "steps_to_90")
        if greatest is None or not reached or greatest > asked.at_most + ROUNDING:
            return greatest
        needed = median_reached(reached)
        seen = not needed.censored and asked.budgets * needed.value <= budgets[task]
        return greatest if seen else None  # a longer run might still fall

    return _over_tasks(
        f"no seed's mean of three evaluations falls by more than {asked.at_most:g} from its best, "
        f"to the end of a budget of {asked.budgets:g} times the median steps to 90 %",
        results.tasks(person),
        fall,
        lambda _, value: value <= asked.at_most + ROUNDING,
    )


def _ends_high(results: Results, ours: str, person: str, share: float) -> Goal:
    ceilings = {task.label: task.ceiling for task in results.suite.tasks}
    return _over_tasks(
        f"no task ends below {share:g} of the expert's ceiling",
        results.tasks(person),
        lambda task: _mean(results.values(task, ours, person, "final_success")),
        lambda task, value: value >= share * ceilings[task] - ROUNDING,
    )


def _disturbed(results: Results, ours: str, person: str, asked: DisturbedShare) -> Goal:
    rival = results.suite.reference["imitation"]
    text = (
        f"disturbances: where {rival} loses {asked.of_drops_from:g} or more, {ours} loses "
        f"at most {asked.share:g} of that"
    )
    shares: dict[str, Estimate] = {}
    pending, value = False, "no data"
    for task in results.tasks(person):
        sides = [results.values(task, label, person, "disturbed") for label in (rival, ours)]
        trained = [len(results.of(task, label, person)) for label in (rival, ours)]
        pending |= not all(sides) or list(map(len, sides)) != trained
        if sides[0] and value == "no data":
            value = f"{rival} loses less everywhere"
        for kind in disturbances.kinds(results):
            theirs = disturbances.loss(results, task, rival, person, kind)
            mine = disturbances.loss(results, task, ours, person, kind)
            if theirs is None or theirs.mean_drop < asked.of_drops_from - ROUNDING:
                continue
            if mine is None:
                pending, value = True, f"{rival} loses more, {ours} has no data"
                continue
            share = disturbances.relative_drop(mine, theirs)
            shares[f"{task}/{kind} {share.format()} of {theirs.mean_drop:.2f}"] = share
    bad = [words for words, share in shares.items() if share.value > asked.share + ROUNDING]
    if bad:
        return Goal(text, MISSED, f"{len(bad)} of {len(shares)} cases: {', '.join(bad)}")
    if shares:
        largest = max(shares, key=lambda words: shares[words].value)
        value = f"largest of {len(shares)} cases: {largest}"
    if pending:
        return Goal(text, UNKNOWN, f"not on every task yet; so far {value}")
    return Goal(text, MET, value)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
