"""A run that dies at any write call, and is started again, ends as the run that was never killed.

What a killed process leaves is what is on the disk when it dies. So one run is enough to see
every death: its folder is copied just before each write call. Equal copies are resumed once.
The slow test kills real processes, one per write call.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from silri.agents.base import Agent
from silri.runtime.keeping.folder import RunFolder
from silri.store.safety import files
from tests.fakes.models.agent import registered
from tests.fakes.runs import fingerprint, metrics, summary, tiny_run, train
from tests.store.killing import kill_at_every_write

EVERY = 5  # write call of which a process is killed


def configuration(agent):
    """A demonstration, then episodes of which one is set aside, with a checkpoint among them.

    One evaluation falls into an episode, and one follows the last episode.
    """
    base = tiny_run(agent, env="fake/one-arm!nan-observation:2@2", steps=14)
    return replace(
        base,
        data=replace(base.data, demos=1),
        runtime=replace(base.runtime, checkpoint_every=8, checkpoints_kept=1),
        evaluation=replace(base.evaluation, every=9, episodes=1),
    )


def start_or_resume(config, path):
    """What a person would do who finds ``path``."""
    if (path / "config.json").exists():
        _, stored = RunFolder.open(path)
        assert stored.agent == config.agent
    else:
        RunFolder.create(path, config)
    return train(config, path)


def train_here(folder: Path) -> None:
    """What is killed in the slow test: a run without JAX, which starts in no time."""
    with registered():
        start_or_resume(configuration("fake"), folder / "run")


def state_of(folder: Path) -> str:
    """A name for everything that is in a folder."""
    result = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        result.update(f"\n{path.relative_to(folder)}:".encode())
        if path.is_symlink():
            result.update(str(path.readlink()).encode())
        elif path.is_file():
            result.update(path.read_bytes())
    return result.hexdigest()


@pytest.fixture(scope="module")
def quick_names():
    """Tracing an agent for the names of its diagnostics takes longer than the rest of a resume."""
    with pytest.MonkeyPatch.context() as patch:
        original = Agent.diagnostic_names.__func__

        @functools.cache
        def names(cls, config, name, augment):
            return original(cls, config, specs[name], augment)

        specs = {}

        def cached(cls, config, spec, augment):
            specs[spec.name] = spec
            return names(cls, config, spec.name, augment)

        patch.setattr(Agent, "diagnostic_names", classmethod(cached))
        yield


@pytest.fixture
def fake_agent():
    with registered():
        yield


@pytest.mark.parametrize("agent", ["fake", pytest.param("silri", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("quick_names", "fake_agent")
def test_every_death_is_survived(tmp_path, agent):
    config, path = configuration(agent), tmp_path / "run"
    deaths, calls, seen = {}, [], set()

    def on_write(step, target):
        calls.append((step, target))
        state = state_of(path)
        if state not in seen:
            seen.add(state)
            copy = deaths[len(calls)] = tmp_path / f"{len(calls):03d}"
            if path.exists():
                shutil.copytree(path, copy, symlinks=True)

    files.on_write = on_write
    try:
        run = start_or_resume(config, path)
    finally:
        files.on_write = None
    assert run.state.quarantined == 1
    assert run.checkpoints.steps() == [run.state.env_steps]
    whole = fingerprint(run), summary(path), metrics(path)
    assert len(deaths) > 100
    # Of a real agent, whose resumption takes a second, each fourth.
    for number, copy in list(deaths.items())[:: 1 if agent == "fake" else 4]:
        again = start_or_resume(config, copy)
        what = f"killed at write call {number}, {calls[number - 1]}"
        assert fingerprint(again) == whole[0], what
        assert summary(copy) == whole[1], what
        assert metrics(copy) == whole[2], what


@pytest.mark.slow
@pytest.mark.usefixtures("fake_agent")
def test_processes_killed_at_write_calls(tmp_path):
    """Each fifth: what every death leaves is looked at above."""
    (tmp_path / "template").mkdir()
    scenario = "tests.runtime.test_kill:train_here"
    calls = kill_at_every_write(scenario, tmp_path / "template", tmp_path / "runs", EVERY)
    assert len(calls) > 150
    config = configuration("fake")
    path = tmp_path / "runs/0/run"
    whole = fingerprint(train(config, path)), metrics(path)  # finished: only read again
    for number, call in list(enumerate(calls, start=1))[::EVERY]:
        path = tmp_path / f"runs/{number}/run"
        again = start_or_resume(config, path)
        assert (fingerprint(again), metrics(path)) == whole, f"killed at {number}, {call}"
