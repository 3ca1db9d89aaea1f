"""Suites, run folders and summaries of a benchmark, without training anything."""

from __future__ import annotations

import json
from pathlib import Path

from silri.bench.suite import cells
from silri.bench.suite_file import load_suite
from silri.runtime.keeping.folder import RunFolder

TOML = """
name = "small"
summary = "two tasks, three agents"
seeds = 2
steps = 3000

[overrides]
env.reset_range = 0.03
agent.batch_size = 8

[goals]
steps_of_rival = 0.33
interventions_of_rival = 0.25
long_horizon_success = 0.97
fall = { at_most = 0.1, budgets = 3.0 }
end_of_ceiling = 0.9

[reference]
ours = "silri"
rival = "hil_serl"
imitation = "bc"

[[tasks]]
label = "push"
env = "metaworld/push-v3"

[[tasks]]
label = "box"
env = "metaworld/box-close-v3"
ceiling = 0.8
steps = 4000
long_horizon = true

[[variants]]
label = "silri"
agent = "silri"

[[variants]]
label = "hil_serl"
agent = "hil_serl"
overrides.agent.batch_size = 16

[[variants]]
label = "bc"
agent = "bc"

[[people]]
label = "steady"
operator = "steady"
"""


BUDGET = f"""{TOML}
[[people]]
label = "blind"
operator = "steady"
budget_of = "steady"
"""
DISTURBED = TOML.replace("seeds = 2", "seeds = 2\ndisturbances = true")


def write_suite(folder, text=TOML, name="small"):
    """A suite's file; ``text`` may be a changed :data:`TOML`."""
    path = Path(folder) / f"{name}.toml"
    path.write_text(text)
    return path


def small_suite(folder, text=TOML):
    return load_suite(str(write_suite(folder, text)))


def summary_of(cell, rates=(0.5, 0.9, 1.0), every=1000, **changes):
    """What a completed run of ``cell`` writes; a tenth of the steps are a person's."""
    steps = [every * (n + 1) for n in range(len(rates))] if cell.steps else [0]
    rates = list(rates) if cell.steps else [rates[-1]]
    return {
        "agent": cell.variant.agent,
        "preset": cell.variant.preset,
        "env": cell.task.env,
        "operator": cell.person.operator,
        "seed": cell.seed,
        "env_steps": cell.steps,
        "demo_steps": 500,
        "intervention_steps": steps[-1] // 10,
        "intervention_rate": 0.1 if cell.steps else 0.0,
        "episodes": 40,
        "successes": 30,
        "episodes_alone": 25,
        "successes_alone": 20,
        "mean_success_length": 40.0,
        "wall_s": 3600.0,
        "evaluations": [[step, rate] for step, rate in zip(steps, rates, strict=True)],
        "evaluation_intervention_steps": [step // 10 for step in steps],
        "completed": True,
    } | changes


def write_summary(folder, name, summary):
    """``summary.json`` in the run folder of a cell; returns its path."""
    path = Path(folder) / name / "summary.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary))
    return path


def write_results(suite, folder, rates=None, skip=(), **changes):
    """Summaries of every cell; ``rates`` by variant, ``skip`` names cells."""
    for cell in cells(suite):
        if cell.name not in skip:
            chosen = (rates or {}).get(cell.variant.label, (0.5, 0.9, 1.0))
            write_summary(folder, cell.name, summary_of(cell, chosen, **changes))
    return folder


def write_disturbance(folder, name, **rates):
    """``disturbance.json`` of a cell: kind to success, or to (success, times it occurred)."""
    rows = {}
    for kind, value in rates.items():
        rate, occurred = value if isinstance(value, tuple) else (value, 50)
        rows[kind] = {"success_rate": rate, "episodes": 50, "occurred": occurred}
    path = Path(folder) / name / "disturbance.json"
    path.write_text(json.dumps({"episodes": 50, "action": "mean", "rows": rows}))


def make_run(job, *, completed=None, checkpoint=False, **changes):
    """A run folder as ``silri train`` would leave it; ``completed`` None: no summary yet."""
    folder = RunFolder.create(job.folder.path, job.config)
    if checkpoint:
        (folder.checkpoints / "last").mkdir(parents=True)
    if completed is not None:
        folder.write_summary(summary_of(job.cell, completed=completed, **changes))
    return folder
