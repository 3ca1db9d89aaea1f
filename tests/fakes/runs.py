"""Tiny runs in the point mass, and what of a run can be compared with another's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from silri.agents.registry import load_agent
from silri.configs.run import DataConfig, EvaluationConfig, RunConfig, RuntimeConfig
from silri.core.events import StepTaken
from silri.evaluation.evaluate import evaluation_of
from silri.evaluation.summary import summarise
from silri.intervention.gate import GateConfig
from silri.intervention.presets import STEADY
from silri.nn.mlp import Trunk
from silri.runtime.keeping.checkpoint import tree_hash
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.local import LocalRun
from silri.runtime.session import Interrupted
from silri.runtime.starting.prepare import make_operator
from tests.fakes.envs.point import NAME, FakeEnvConfig

TRUNK = Trunk(hidden=(16, 16))
BATCH = 8
# Takes over often and briefly, from the first step on, and loses interest: a state to restore.
OPERATOR = replace(
    STEADY, gate=GateConfig(rescue_steps=8, probability=0.3, hold=(2, 4), fading=0.5)
)
WALL_CLOCK = {
    "wall_s",
    "train_wall_s",
    "eval_wall_s",
    "learner_updates_per_s",
    "env_steps_per_s",
}


def tiny_agent(name="silri", preset="default", **fields):
    """A preset's configuration with networks that compile in a moment."""
    config = load_agent(name).preset(preset).config
    trunk = replace(config.trunk, hidden=TRUNK.hidden)
    stages = tuple(
        replace(stage, updates=min(stage.updates, 100)) if stage.updates else stage
        for stage in config.stages
    )
    fixed = {"trunk": trunk, "batch_size": BATCH, "stages": stages}
    return replace(config, **fixed | fields)


def tiny_run(agent="silri", preset="default", *, env="fake/one-arm", steps=30, **fields):
    """A configuration for a run of seconds; ``fields`` are RunConfig's."""
    parts = {
        "agent": tiny_agent(agent, preset),
        "env_name": NAME,
        "env": FakeEnvConfig(kind=env),
        "operator_name": "steady",
        "operator": OPERATOR,
        "data": DataConfig(demos=2, online_capacity=200, guidance_capacity=200),
        "runtime": RuntimeConfig(checkpoint_every=10, log_every=5, tensorboard=False),
        "evaluation": EvaluationConfig(every=15, episodes=2),
    } | fields
    return RunConfig(agent_name=agent, preset=preset, steps=steps, **parts)


class Recorder:
    """Keeps every event."""

    def __init__(self):
        self.events = []

    def on_event(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


class StopAfter:
    """A subscriber that counts steps, and the ``stop`` that turns True after so many."""

    def __init__(self, steps):
        self.left = steps

    def on_event(self, event):
        self.left -= isinstance(event, StepTaken)

    def __call__(self):
        return self.left <= 0


def prepare(
    config,
    path,
    *,
    subscribers=(),
    stop=None,
    evaluate_with=None,
    clock=None,
    env=None,
    commands=None,
):
    """A LocalRun in ``path``: a new one, or the one that is there."""
    path = Path(path)
    folder = RunFolder(path) if path.exists() else RunFolder.create(path, config)

    stops = [stop] if isinstance(stop, StopAfter) else []
    env = env or config.create_training_env()
    return LocalRun(
        config,
        folder,
        env,
        make_operator(config, env),
        evaluate=evaluate_with or evaluation_of(config.evaluation),
        summarise=summarise,
        subscribers=[*subscribers, *stops],
        stop=stop or (lambda: False),
        clock=clock,
        commands=commands,
    )


def train(config, path, **keywords):
    """Run to the end and return the LocalRun."""
    run = prepare(config, path, **keywords)
    run.run()
    return run


def metrics(path):
    """The rows of ``metrics.jsonl`` without the wall clock."""
    rows = [json.loads(line) for line in (Path(path) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in rows]


def summary(path):
    """``summary.json`` without the wall clock."""
    values = json.loads((Path(path) / "summary.json").read_text())
    return {k: v for k, v in values.items() if k not in WALL_CLOCK}


def assert_equal_runs(run, path, other, other_path):
    """In parameters, state, episodes and what is logged of them."""
    assert fingerprint(run) == fingerprint(other)
    assert metrics(path) == metrics(other_path)
    assert summary(path) == summary(other_path)


def interrupt(config, path, steps, **keywords):
    """Run until ``steps`` environment steps of this session, then resume nothing."""
    run = prepare(config, path, stop=StopAfter(steps), **keywords)
    with pytest.raises(Interrupted):
        run.run()
    return run


def fingerprint(run):
    """Everything that two equal runs have in common, in comparable form."""
    state = {k: v for k, v in run.state.to_json().items() if k not in WALL_CLOCK}
    return {
        "parameters": tree_hash(run.agent),
        "state": json.dumps(state),  # as text: NaN is NaN
        "episodes": [(row.episode_id, row.seed, row.data_sha256) for row in run.store.rows],
    }
