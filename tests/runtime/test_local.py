"""What a run does, counts and writes; resuming and dying have files of their own."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from silri.configs.run import EvaluationConfig
from silri.core.clock import FakeClock
from silri.core.errors import ConfigError, DataError, EnvironmentFault, RunFolderError
from silri.core.events import (
    CheckpointSaved,
    DemonstrationStep,
    EpisodeBegan,
    EpisodeEnded,
    EpisodeFinished,
    EpisodeQuarantined,
    Evaluated,
    EvaluationBegan,
    LearnerUpdated,
    LearningAdvanced,
    LearningBegan,
    Notice,
    RunBegan,
    StepTaken,
)
from silri.core.protocols import OperatorInput
from silri.core.seeding import Stream, derive_seed
from silri.evaluation.evaluate import evaluation_of
from silri.evaluation.summary import summarise
from silri.intervention.operators import OperatorConfig
from silri.runtime.acting.faults import FAULTS_IN_A_ROW
from silri.runtime.keeping.folder import RunFolder
from silri.runtime.local import LocalRun
from silri.store.dataset import read_dataset
from tests.fakes.models.agent import registered
from tests.fakes.runs import (
    Recorder,
    fingerprint,
    metrics,
    prepare,
    summary,
    tiny_run,
    train,
)

# docs/guides/runs.md and docs/guides/benchmark.md say what they are.
SUMMARY = """agent, preset, env, operator, seed, env_steps, episodes, success_rate, success_ci95,
    eval_episodes, mean_success_length, demo_episodes, demo_steps, intervention_steps,
    intervention_rate, interventions, human_seconds, steps_to_90, intervention_steps_to_90,
    train_wall_s, eval_wall_s, wall_s, learner_updates_per_s, env_steps_per_s, completed"""
# What is there besides, each with a word in docs/guides/runs.md or evaluation/summary.py.
EXTRAS = {"final_success", "demo_seconds", "learner_updates", "quarantined", "evaluations"}
EXTRAS |= {"evaluation_intervention_steps", "discarded", "mean_return", "judged"}
EXTRAS |= {"successes", "successes_alone", "episodes_alone"}


@pytest.fixture(scope="module", autouse=True)
def fake_agent():
    with registered():
        yield


NOBODY = {"operator_name": "none", "operator": OperatorConfig()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run with everything that it said."""
    path, recorder = tmp_path_factory.mktemp("finished") / "run", Recorder()
    return train(tiny_run(), path, subscribers=[recorder]), path, recorder


def test_counters_agree_with_the_episodes_on_disk(finished):
    run, path, recorder = finished
    episodes = read_dataset(path / "episodes")
    demos = [episode for episode in episodes if episode.is_demo]
    online = [episode for episode in episodes if not episode.is_demo]
    state = run.state
    assert (state.demo_episodes, state.demo_steps) == (2, sum(len(e) for e in demos))
    assert all(e.success and e.frames["is_intervention"].all() for e in demos)
    assert (state.episodes, state.env_steps) == (len(online), sum(len(e) for e in online))
    assert state.env_steps >= run.config.steps > state.env_steps - len(online[-1])
    flags = [e.frames["is_intervention"].astype(int) for e in online]
    assert state.intervention_steps == sum(f.sum() for f in flags)
    assert state.interventions == sum((np.diff(f, prepend=0) == 1).sum() for f in flags)
    # One iteration per step, once the first episode is in.
    assert state.updates == int(run.agent.iterations) == state.env_steps - len(online[0])
    assert len(recorder.of(StepTaken)) == state.env_steps
    assert [event.env_step for event in recorder.of(StepTaken)] == list(
        range(1, state.env_steps + 1)
    )


def test_an_evaluation_in_the_middle_of_an_episode_knows_of_its_human_steps(finished):
    run, path, _ = finished
    online = [e for e in read_dataset(path / "episodes") if not e.is_demo]
    flags = np.concatenate([e.frames["is_intervention"] for e in online])
    ends = np.cumsum([len(e) for e in online])
    records = run.state.evaluations
    assert any(row["step"] not in ends for row in records)
    for row in records:
        assert row["intervention_steps"] == flags[: int(row["step"])].sum()


def test_layouts_come_from_the_seed_and_evaluation_has_its_own(finished):
    run, path, _ = finished
    seeds = [episode.seed for episode in read_dataset(path / "episodes")]
    assert seeds[2:] == [derive_seed(0, Stream.TRAIN_LAYOUT, i) for i in range(2, len(seeds))]
    evaluation = {derive_seed(0, Stream.EVALUATION_LAYOUT, i) for i in range(200)}
    assert not evaluation & set(seeds)
    assert not evaluation & set(run.env.resets)  # the training environment never saw them
    assert len(set(seeds)) == len(seeds)


def test_the_acting_policy_is_the_one_of_that_iteration(finished):
    _, path, _ = finished
    online = [e for e in read_dataset(path / "episodes") if not e.is_demo]
    versions = np.concatenate([e.frames["policy_version"] for e in online])
    first = len(online[0])
    np.testing.assert_array_equal(versions[:first], 0)
    np.testing.assert_array_equal(versions[first:], np.arange(len(versions) - first))


def test_what_the_agent_thought_is_kept_with_every_frame(finished):
    _, path, _ = finished
    for episode in read_dataset(path / "episodes"):
        if episode.is_demo:
            assert episode.diagnostics == {}
            continue
        for name in ("lambda", "bound", "distance", "q_policy", "q_human", "human_std.0"):
            assert episode.diagnostics[name].shape == (len(episode),)
            assert np.isfinite(episode.diagnostics[name]).all()


def test_events_come_in_order(finished):
    run, _, recorder = finished
    kinds = [type(event) for event in recorder.events]
    assert kinds[0] is RunBegan
    first = kinds.index(LearnerUpdated)  # pre-training
    assert set(kinds[1 : first - 2]) == {EpisodeBegan, DemonstrationStep, EpisodeEnded}
    assert kinds[first - 2 : first] == [LearningBegan, LearningAdvanced]
    assert kinds[first + 1 : first + 4] == [CheckpointSaved, EpisodeBegan, StepTaken]
    assert kinds[-2:] == [Evaluated, CheckpointSaved] or kinds[-1] is CheckpointSaved
    assert [e.env_step for e in recorder.of(Evaluated)] == [15, 30] + (
        [] if run.state.env_steps == 30 else [run.state.env_steps]
    )
    saved = [event.env_step for event in recorder.of(CheckpointSaved)]
    ends = [0] + [event.env_step for event in recorder.of(EpisodeFinished)]
    assert saved[0] == 0
    assert saved[-1] == run.state.env_steps
    assert set(saved) <= set(ends)
    for before, after in itertools.pairwise(saved[:-1]):
        assert after - before >= run.config.runtime.checkpoint_every
    logged = [e.env_step for e in recorder.of(LearnerUpdated) if e.env_step]
    assert logged == list(range(10, run.state.env_steps + 1, 5))


def test_every_episode_is_told_from_its_beginning_to_its_end(finished):
    _, path, recorder = finished
    stored = {episode.episode_id: episode for episode in read_dataset(path / "episodes")}
    began = {event.episode_id: event for event in recorder.of(EpisodeBegan)}
    ended = {event.episode_id: event for event in recorder.of(EpisodeEnded)}
    assert began.keys() == ended.keys() == stored.keys()
    steps = [event.transition for event in recorder.of(DemonstrationStep)]
    steps += [event.transition for event in recorder.of(StepTaken)]
    for number, episode in stored.items():
        kind = "demonstration" if episode.is_demo else "training"
        assert (began[number].kind, began[number].seed) == (kind, episode.seed)
        assert (ended[number].end, ended[number].success) == ("finished", episode.success)
        for key, values in episode.observations.items():
            np.testing.assert_array_equal(began[number].observation[key], values[0])
        told = [step.action for step in steps if step.episode_id == number]
        np.testing.assert_array_equal(told, episode.frames["action"])
    kinds = [type(event) for event in recorder.events]
    assert len(recorder.of(EvaluationBegan)) == len(recorder.of(Evaluated))
    assert kinds[kinds.index(EvaluationBegan) + 1] is Evaluated


class Listening:
    """A device: it hears of the run, drives to the goal, and has something to close."""

    live = True

    def __init__(self, env, clock):
        self.env, self.clock = env, clock
        self.heard, self.at, self.closed = [], [], 0

    def begin_episode(self, rng):
        pass

    def decide(self, view):
        return OperatorInput(engaged=True, action=view.privileged.expert_action)

    def end_episode(self, summary):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass

    def on_event(self, event):
        self.heard.append(event)
        self.at.append(self.clock.now())

    def close(self):
        self.closed += 1


def listening_run(path, **runtime):
    config = tiny_run(steps=4)
    config = replace(config, runtime=replace(config.runtime, **runtime))
    env = config.create_env()
    clock = FakeClock()
    operator = Listening(env, clock)
    run = LocalRun(
        config,
        RunFolder.create(path, config),
        env,
        operator,
        evaluate=evaluation_of(config.evaluation),
        summarise=summarise,
        clock=clock,
    )
    return run, operator


def test_an_operator_that_listens_hears_everything_and_is_closed(tmp_path):
    run, operator = listening_run(tmp_path / "run")
    run.run()
    assert operator.closed == 1
    heard = [type(event) for event in operator.heard]
    assert heard[0] is RunBegan
    assert operator.heard[0].commands is run.commands
    assert operator.heard[0].simulated
    assert {DemonstrationStep, StepTaken, EpisodeEnded, EvaluationBegan} < set(heard)


def test_a_person_at_a_device_demonstrates_at_the_rate_of_the_run(tmp_path):
    run, operator = listening_run(tmp_path / "run", rate_hz=50.0)
    run.run()
    events = zip(operator.heard, operator.at, strict=True)
    moments = [at for event, at in events if isinstance(event, DemonstrationStep)]
    assert len(moments) > 3
    # A demonstration's first step may come early: its period begins with the reset.
    assert moments[-1] - moments[0] > (len(moments) - 3) / 50


def test_learner_metrics_say_what_was_in_the_batch(finished):
    _, _, recorder = finished
    for event in recorder.of(LearnerUpdated)[1:]:
        mix = {name: event.metrics[f"mix/{name}"] for name in ("online", "intervention", "demo")}
        assert sum(mix.values()) == pytest.approx(1.0)
        assert mix["online"] == 0.5
        assert {"critic/loss", "multiplier/mean", "actor/distance"} <= set(event.metrics)


def test_an_episode_is_on_disk_before_it_counts(tmp_path):
    seen = []

    class Reader:
        def on_event(self, event):
            if isinstance(event, EpisodeFinished):
                stored = read_dataset(tmp_path / "run/episodes")
                assert stored[-1].episode_id == event.episode_id
                assert stored[-1].stats() == event.stats
                seen.append(event.episode_id)

    run = train(tiny_run(steps=15), tmp_path / "run", subscribers=[Reader()])
    assert seen == list(range(2, run.state.next_episode))


def test_the_summary_has_the_keys_of_the_design(finished):
    run, path, _ = finished
    written = json.loads((path / "summary.json").read_text())
    assert set(written) == {name.strip() for name in SUMMARY.split(",")} | EXTRAS
    assert written["human_seconds"] == pytest.approx(0.1 * run.state.intervention_steps)
    assert written["intervention_rate"] == pytest.approx(
        run.state.intervention_steps / run.state.env_steps
    )
    assert written["completed"] is True
    assert written["env_steps"] == run.state.env_steps
    low, high = written["success_ci95"]
    assert 0 <= low <= written["success_rate"] <= high <= 1
    assert written["wall_s"] >= written["train_wall_s"] > 0


def test_the_run_folder_holds_what_the_design_says(finished):
    _, path, _ = finished
    names = {entry.name for entry in path.iterdir()}
    assert names == {
        "config.json",
        "metrics.jsonl",
        "summary.json",
        "episodes",
        "checkpoints",
        "policy",
    }
    config = json.loads((path / "config.json").read_text())
    assert config["packages"]["jax"] == jax.__version__
    assert set(config) == {"format", "run", "python", "packages", "git"}


def test_evaluating_more_often_changes_nothing_that_is_learnt(finished, tmp_path):
    run, _, _ = finished
    config = tiny_run()
    often = train(
        replace(config, evaluation=replace(config.evaluation, every=4, episodes=3)),
        tmp_path / "run",
    )
    assert fingerprint(often)["parameters"] == fingerprint(run)["parameters"]
    assert fingerprint(often)["episodes"] == fingerprint(run)["episodes"]
    assert [row["step"] for row in often.state.evaluations][:4] == [4, 8, 12, 16]


def test_an_evaluation_sees_the_newest_agent_and_its_record_is_kept(tmp_path):
    seen = []

    def evaluate(acting, spec, drive):
        seen.append(int(acting.agent.iterations))
        rate = 0.95 if len(seen) > 1 else 0.5
        return {
            "success_rate": rate,
            "successes": 2 * rate,
            "episodes": 2.0,
            "mean_success_length": float("nan"),
            "ci_low": 0.0,
            "ci_high": 1.0,
        }

    run = train(tiny_run(steps=45), tmp_path / "run", evaluate_with=evaluate)
    first = len(next(e for e in read_dataset(tmp_path / "run/episodes") if not e.is_demo))
    steps = [int(row["step"]) for row in run.state.evaluations]
    assert seen == [step - first for step in steps]
    written = summary(tmp_path / "run")
    assert written["steps_to_90"] == steps[1]
    rates = [0.5, 0.95, 0.95, 0.95]  # the last one closes the run and counts for nothing
    assert written["evaluations"] == [[s, r] for s, r in zip(steps, rates, strict=True)]
    assert written["evaluation_intervention_steps"] == [
        int(row["intervention_steps"]) for row in run.state.evaluations
    ]
    assert written["mean_success_length"] is None


def test_nobody_intervenes_with_operator_none(tmp_path):
    base = tiny_run(steps=16)
    config = replace(base, **NOBODY, data=replace(base.data, demos=0))
    recorder = Recorder()
    run = train(config, tmp_path / "run", subscribers=[recorder])
    assert run.state.intervention_steps == run.state.interventions == run.state.demo_episodes == 0
    assert [e.text for e in recorder.of(Notice)] == [
        "no demonstrations: the stage 'pretrain' is skipped"
    ]
    assert run.state.updates > 0  # and it learns all the same, from its own steps
    assert np.isfinite(metrics(tmp_path / "run")[-2]["episode/return"])
    # Nobody to imitate: the human policy and the gripper stay as they were initialised.
    fresh = run._entry.agent.create(
        config.agent, run.env.env_spec, derive_seed(0, Stream.NETWORK_INIT)
    )
    for name in ("expert", "gripper"):
        for new, old in zip(
            jax.tree.leaves(getattr(run.agent, name)),
            jax.tree.leaves(getattr(fresh, name)),
            strict=True,
        ):
            np.testing.assert_array_equal(new, old)


def test_an_operator_who_cannot_demonstrate_is_an_error_before_training(tmp_path):
    with pytest.raises(ConfigError, match="operator 'none' cannot demonstrate"):
        train(replace(tiny_run(), **NOBODY), tmp_path / "run")


def test_bc_never_acts(tmp_path):
    recorder = Recorder()
    run = train(tiny_run("bc"), tmp_path / "run", subscribers=[recorder])
    assert run.state.env_steps == run.state.episodes == run.state.updates == 0
    assert recorder.of(StepTaken) == []
    assert run.env.steps == run.state.demo_steps  # but for the demonstrations that it clones
    written = summary(tmp_path / "run")
    assert written["env_steps"] == 0
    assert written["evaluations"] == [[0, written["success_rate"]]]
    assert written["completed"] is True
    again = train(tiny_run("bc"), tmp_path / "run")
    assert fingerprint(again)["parameters"] == fingerprint(run)["parameters"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A run's episodes: demonstrations and autonomous ones, with interventions."""
    path = tmp_path_factory.mktemp("dataset") / "run"
    train(tiny_run(steps=15), path)
    return path / "episodes"


def offline(dataset, updates, **fields):
    """So many iterations on the mix, from ``dataset`` instead of demonstrations."""
    base = tiny_run("hil_serl", "offline", **fields)
    first, *rest = base.agent.stages
    agent = replace(base.agent, stages=(replace(first, updates=updates), *rest))
    return replace(base, agent=agent, data=replace(base.data, dataset=str(dataset)))


def test_offline_from_a_dataset_alone(dataset, tmp_path):
    config = offline(dataset, 7, steps=0)
    run = train(config, tmp_path / "run")
    assert (run.state.env_steps, run.state.episodes) == (0, 0)
    assert run.state.updates == int(run.agent.iterations) == 7
    assert run.env.resets == []  # nobody demonstrated
    stored, given = read_dataset(tmp_path / "run/episodes"), read_dataset(dataset)
    assert [len(e) for e in stored] == [len(e) for e in given]
    assert len(run.mixer.online) == sum(len(e) for e in given if not e.is_demo)
    assert run.state.demo_episodes == 2
    assert summary(tmp_path / "run")["completed"] is True
    again = train(config, tmp_path / "again")
    assert fingerprint(again)["parameters"] == fingerprint(run)["parameters"]
    # Whole without the dataset: the copy is what a resumed run reads.
    assert fingerprint(train(config, tmp_path / "run")) == fingerprint(run)


def test_training_can_go_on_online_after_a_dataset(dataset, tmp_path):
    run = train(offline(dataset, 5, steps=10), tmp_path / "run")
    given = len(read_dataset(dataset))
    assert run.state.next_episode == given + run.state.episodes
    assert run.state.updates == 5 + run.state.env_steps  # replay is not empty from the start


def test_a_dataset_that_is_none_is_an_error(tmp_path):
    base = tiny_run("bc")
    config = replace(base, data=replace(base.data, dataset=str(tmp_path / "nothing")))
    with pytest.raises(DataError, match=r"nothing is no dataset"):
        train(config, tmp_path / "run")


# -- bad environments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "steps"),
    [("nan-observation", 3), ("infinite-reward", 3), ("wrong-shape", 2), ("raises", 2)],
)
def test_a_broken_episode_is_set_aside_counted_and_never_trained_on(tmp_path, fault, steps):
    recorder = Recorder()
    config = tiny_run(env=f"fake/one-arm!{fault}:2@3", steps=16)
    run = train(config, tmp_path / "run", subscribers=[recorder])
    aside = recorder.of(EpisodeQuarantined)
    assert [event.episode_id for event in aside] == [3]
    assert run.state.quarantined == summary(tmp_path / "run")["quarantined"] == 1
    assert [(q.episode_id, q.steps, q.reason) for q in run.store.quarantined()] == [
        (3, steps, aside[0].reason)
    ]
    assert 3 not in {row.episode_id for row in run.store.rows}
    for replay in (run.mixer.online, run.mixer.guidance):
        assert 3 not in replay.episode_id[: len(replay)]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.agent))
    assert run.state.next_episode > 4  # the run went on
    assert run.state.env_steps >= 16
    stored = sum(len(e) for e in read_dataset(tmp_path / "run/episodes") if not e.is_demo)
    assert run.state.env_steps == stored + steps
    assert {"quarantine/id": 3.0, "step": aside[0].env_step} in metrics(tmp_path / "run")


def test_human_steps_of_what_is_set_aside_count_in_no_evaluation(tmp_path):
    config = replace(
        tiny_run(env="fake/one-arm!raises:6@3", steps=16),
        evaluation=EvaluationConfig(every=1, episodes=2),
    )
    run = train(config, tmp_path / "run")
    assert run.state.quarantined == 1
    online = [e for e in read_dataset(tmp_path / "run/episodes") if not e.is_demo]
    human, steps = 0, 0
    counts = []
    for episode_id in range(2, run.state.next_episode):
        episode = next((e for e in online if e.episode_id == episode_id), None)
        flags = np.zeros(6) if episode is None else episode.frames["is_intervention"]
        for flag in flags:
            human, steps = human + int(flag), steps + 1
            counts.append((steps, human))
    found = [(int(r["step"]), int(r["intervention_steps"])) for r in run.state.evaluations]
    assert found == counts


def test_an_environment_that_always_breaks_stops_the_run_with_everything_safe(tmp_path):
    config = tiny_run(env="fake/one-arm!nan-observation:1@4+", steps=100)
    recorder = Recorder()
    with pytest.raises(
        EnvironmentFault, match=r"10 episodes in a row.*episode 13: NonFiniteError.*at step 1"
    ):
        train(config, tmp_path / "run", subscribers=[recorder])
    kept = len(recorder.of(EpisodeQuarantined))
    assert kept == FAULTS_IN_A_ROW
    before = read_dataset(tmp_path / "run/episodes")
    assert [e.episode_id for e in before] == [0, 1, 2, 3]
    # Mended, the run goes on with what it has.
    run = prepare(tiny_run(steps=40), tmp_path / "run")
    run.run()
    assert run.state.quarantined == kept
    assert [row.episode_id for row in run.store.rows][:5] == [0, 1, 2, 3, 14]


def test_faults_between_good_episodes_do_not_add_up(tmp_path):
    bad = ",".join(str(i) for i in range(3, 40) if i % 3)
    config = tiny_run(env=f"fake/one-arm!nan-observation:0@{bad}", steps=70)
    run = train(config, tmp_path / "run")
    assert run.state.quarantined > FAULTS_IN_A_ROW


@pytest.mark.parametrize("fault", ["nan-reset", "reset-raises"])
def test_an_environment_that_can_no_longer_be_reset_stops_the_run(tmp_path, fault):
    with pytest.raises(EnvironmentFault, match=r"episode 11: .*Finished episodes are safe"):
        train(tiny_run("fake", env=f"fake/one-arm!{fault}@2+"), tmp_path / "run")
    assert len(read_dataset(tmp_path / "run/episodes")) == 2


def test_an_episode_that_does_not_begin_costs_its_number_alone(tmp_path):
    recorder = Recorder()
    config = tiny_run("fake", env="fake/one-arm!reset-raises@3")
    run = train(config, tmp_path / "run", subscribers=[recorder])
    assert [e.text for e in recorder.of(Notice) if "did not begin" in e.text] == [
        "episode 3 did not begin: EnvironmentFault: the simulator does not wake up"
    ]
    assert 3 not in {row.episode_id for row in run.store.rows}
    assert run.state.quarantined == 0
    shutil.rmtree(tmp_path / "run/checkpoints")  # learnt again, it is the same run
    assert fingerprint(train(config, tmp_path / "run")) == fingerprint(run)


def test_a_fault_in_a_demonstration_is_said_and_the_next_one_follows(tmp_path, monkeypatch):
    from tests.fakes.envs.point import FaultyPointMass

    original = FaultyPointMass.__init__

    def everywhere(self, *arguments):
        original(self, *arguments)
        self._seeds = {derive_seed(0, Stream.DEMO_LAYOUT, 1)}

    monkeypatch.setattr(FaultyPointMass, "__init__", everywhere)
    recorder = Recorder()
    config = tiny_run("fake", env="fake/one-arm!nan-observation:0@0")
    run = train(config, tmp_path / "run", subscribers=[recorder])
    (said,) = [event.text for event in recorder.of(Notice) if "aside" in event.text]
    assert said.startswith("demonstration attempt 1 is set aside: NonFiniteError: ")
    assert run.state.demo_episodes == 2
    seeds = [row.seed for row in run.store.rows[:2]]
    assert seeds == [derive_seed(0, Stream.DEMO_LAYOUT, attempt) for attempt in (0, 2)]
    assert [entry.name[:5] for entry in (tmp_path / "run/quarantine").iterdir()] == ["stray"]


# -- one run per folder ---------------------------------------------------------------------------


def test_two_runs_in_one_folder_are_refused(tmp_path):
    first = prepare(tiny_run(), tmp_path / "run")
    try:
        with pytest.raises(RunFolderError, match=r"run"):
            prepare(tiny_run(), tmp_path / "run")
    finally:
        first.store.close()
    prepare(tiny_run(), tmp_path / "run").store.close()  # free again


def test_the_folder_is_free_after_a_failure(tmp_path):
    with pytest.raises(EnvironmentFault):
        train(tiny_run(env="fake/one-arm!nan-reset@2+"), tmp_path / "run")
    train(tiny_run(steps=5), tmp_path / "run")


# -- every algorithm, every kind of arm, nothing compiled twice -----------------------------------


@pytest.fixture
def compilations():
    """Counts programs that XLA was asked for."""
    count = [0]

    def listen(event, seconds, **_):
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield lambda: count[0]
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(
    ("agent", "preset"),
    [
        ("silri", "default"),
        pytest.param("silri", "released", marks=pytest.mark.slow),
        pytest.param("silri", "paper", marks=pytest.mark.slow),
        pytest.param("hil_serl", "default", marks=pytest.mark.slow),
        pytest.param("hg_dagger", "default", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_compiled_after_warm_up(tmp_path, compilations, agent, preset):
    base = tiny_run(agent, preset, steps=45)
    small = replace(
        base.agent, trunk=replace(base.agent.trunk, hidden=(8,))
    )  # compiled nowhere else
    counts, lengths = [], []

    class Counter:
        def on_event(self, event):
            if isinstance(event, EpisodeFinished):
                lengths.append(event.stats["length"])
                counts.append(compilations())

    started = compilations()
    train(replace(base, agent=small), tmp_path / "run", subscribers=[Counter()])
    assert counts[0] > started  # the counter counts
    # The first iteration runs in the second episode, the first evaluation at step 15; everything
    # has been called once by the end of the third.
    assert len(set(lengths[3:])) > 1
    assert counts[3:] == [counts[2]] * len(counts[3:])
    assert compilations() == counts[2]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["no-gripper", "two-arms"])
@pytest.mark.parametrize("agent", ["silri", "hil_serl", "hg_dagger", "bc"])
def test_arms_are_a_matter_of_the_spec(tmp_path, agent, layout):
    run = train(tiny_run(agent, env=f"fake/{layout}", steps=20), tmp_path / "run")
    assert summary(tmp_path / "run")["completed"] is True
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.agent))


@pytest.mark.slow
def test_agents_learn_the_point_mass(tmp_path):
    """Not only do they run: cloning and SiLRI solve the fake task with a good operator."""
    for agent in ("bc", "silri"):
        base = tiny_run(agent, steps=400)
        first, *rest = base.agent.stages
        config = replace(
            base,
            agent=replace(
                base.agent,
                trunk=replace(base.agent.trunk, hidden=(64, 64)),
                batch_size=64,
                stages=(replace(first, updates=2000), *rest),
            ),
            data=replace(base.data, demos=30),
            evaluation=replace(base.evaluation, every=200, episodes=30),
        )
        run = train(config, tmp_path / agent)
        assert run.state.evaluations[-1]["success_rate"] >= 0.8, agent
