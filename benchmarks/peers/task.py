"""One task, several learners: one of them acts, all of them learn from the same batches.

The run is silri's own: its environment, demonstrations, simulated operator, arbiter, replay and
sampling. Nothing but the learner that acts differs between two runs of one seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from learners import PLAIN, STILL, Learner, LeRobot, Setting, Silri

from silri.configs.run import RunConfig
from silri.core.clock import MonotonicClock
from silri.core.protocols import Env
from silri.core.seeding import Stream, derive_seed, rng
from silri.core.specs import EnvSpec, Observation
from silri.core.transition import Batch
from silri.data.episode import EpisodeBuilder
from silri.data.mixer import Mixer
from silri.data.replay import Replay
from silri.data.statistics import observation_statistics
from silri.envs.config import MetaworldConfig
from silri.evaluation.evaluate import evaluate
from silri.intervention.arbiter import Arbiter
from silri.runtime.acting.demos import record_demonstrations
from silri.runtime.acting.rollout import rollout
from silri.runtime.starting.prepare import make_operator

SETTINGS = {  # name: (whose learner, how)
    "silri": (Silri, Setting()),
    "lerobot": (LeRobot, Setting()),
    "silri as it is": (Silri, Setting(equal=False)),
    "lerobot with its encoder": (LeRobot, Setting(equal=False, std_bounds=(1e-5, 10.0))),
}
WINDOW = 250  # iterations that one point of a curve is the mean of


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        task: of Meta-World, without its version.
        reset_range: of its layouts, metres.
        steps: environment steps; the last episode is finished.
        seed: of everything: demonstrations, layouts, operator, batches, initial weights.
        driver: the learner that acts.
        extras: learners that follow, beside "silri" and "lerobot".
    """

    task: str
    reset_range: float
    steps: int
    seed: int
    driver: str
    extras: tuple[str, ...] = ()
    evaluate_every: int = 1_000
    episodes: int = 50


@dataclass
class Comparison:
    """The learners of a run, and silri's ``Policy`` for the one that drives."""

    plan: Plan
    learners: Mapping[str, Learner]
    mixer: Mixer
    version: int = 0  # iterations so far
    steps: int = 0
    human_steps: int = 0
    busy: bool = False
    batch: Batch | None = None
    window: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """The driver's action; then an iteration of every learner, while the robot moves."""
        self.wait()
        action = self.learners[self.plan.driver].act(observation, episode, step)
        if len(self.mixer.online):
            generator = rng(self.plan.seed, Stream.REPLAY, self.version)
            self.batch, _ = self.mixer.sample(generator, 2)
            for learner in self.learners.values():
                learner.start(self.batch)
            self.version += 1
            self.busy = True
        return action, {}

    def wait(self) -> None:
        """Until all have finished; their losses go into the curves."""
        if not self.busy:
            return
        self.busy = False
        for name, learner in self.learners.items():
            self.window.setdefault(name, []).append(learner.finish())
        if self.version % WINDOW == 0:
            self.curves.append({"iteration": self.version, **self._point()})
            self.window = {}

    def _point(self) -> dict[str, Any]:
        """Mean losses since the last point, and Q of the last batch."""
        assert self.batch is not None
        last = jax.tree.map(lambda column: column[-1], self.batch)
        values = {name: learner.q(last).min(axis=0) for name, learner in self.learners.items()}
        point: dict[str, Any] = {
            name: {
                **{key: float(np.mean([row[key] for row in rows])) for key in rows[0]},
                "q": float(values[name].mean()),
            }
            for name, rows in self.window.items()
        }
        between = values["silri"], values["lerobot"]
        point["q_correlation"] = float(np.corrcoef(*between)[0, 1])
        point["q_rms_difference"] = float(np.sqrt(np.mean((between[0] - between[1]) ** 2)))
        point["q_std"] = float(between[0].std())
        return point


def run(plan: Plan, python: Path, save: Callable[[dict[str, Any]], None]) -> None:
    """Train to the budget; ``save`` what is measured after every evaluation and at the end."""
    started = time.perf_counter()
    config = RunConfig.from_preset(
        "hil_serl",
        env_name=f"metaworld/{plan.task}-v3",
        env=MetaworldConfig(reset_range=plan.reset_range),
        steps=plan.steps,
        seed=plan.seed,
    )
    config = replace(config, agent=PLAIN, augment=STILL)
    env, evaluation_env = config.create_env(), config.create_env()
    spec = env.env_spec
    mixer = Mixer(
        Replay(config.data.online_capacity, spec),
        Replay(config.data.guidance_capacity, spec),
        config.agent.batch_size,
        config.agent.online_fraction,
    )
    learners = _create(plan, config, env, mixer, python)
    comparison = Comparison(plan, learners, mixer)
    peer = learners["lerobot"]
    assert isinstance(peer, LeRobot)

    def record(evaluations: list[dict[str, Any]], *, complete: bool) -> None:
        save(
            {
                "plan": asdict(plan),
                "versions": {**peer.peer.versions, "jax": jax.__version__},
                "complete": complete,
                "env_steps": comparison.steps,
                "iterations": comparison.version,
                "intervention_rate": comparison.human_steps / comparison.steps,
                "wall_s": round(time.perf_counter() - started, 1),
                "evaluations": evaluations,
                "curves": comparison.curves,
            }
        )

    try:
        evaluations = _train(comparison, config, env, evaluation_env, record)
        record(evaluations, complete=True)
    finally:
        for learner in learners.values():
            if isinstance(learner, LeRobot):
                learner.peer.close()
        env.close()
        evaluation_env.close()


def _create(
    plan: Plan, config: RunConfig, env: Env, mixer: Mixer, python: Path
) -> dict[str, Learner]:
    """Demonstrations into the mixer; then the learners, normalised by them."""
    demonstrations = list(
        record_demonstrations(
            env,
            make_operator(config, env),
            config.operator_name,
            count=config.data.demos,
            seed=plan.seed,
            known_seeds=set(),
            first_id=0,
        )
    )
    for episode in demonstrations:
        mixer.add(episode)
    statistics = observation_statistics(demonstrations, floor=config.data.std_floor)
    seed = derive_seed(plan.seed, Stream.NETWORK_INIT)
    names = dict.fromkeys(("silri", "lerobot", plan.driver, *plan.extras))
    return {name: _learner(name, env.env_spec, statistics, seed, python) for name in names}


def _learner(name: str, spec: EnvSpec, statistics: Any, seed: int, python: Path) -> Learner:
    kind, setting = SETTINGS[name]
    if kind is Silri:
        return Silri(spec, statistics, seed, setting)
    return LeRobot(python, spec, statistics, seed, setting)


def _train(
    comparison: Comparison,
    config: RunConfig,
    env: Env,
    evaluation_env: Env,
    record: Callable[..., None],
) -> list[dict[str, Any]]:
    """Episodes until the budget is reached, and evaluations of every learner."""
    plan, spec = comparison.plan, env.env_spec
    operator, arbiter = make_operator(config, env), Arbiter(spec.action, config.runtime.blend_steps)
    evaluations: list[dict[str, Any]] = []

    def on_step(transition: Any, diagnostics: Any) -> None:
        del diagnostics
        comparison.steps += 1
        comparison.human_steps += transition.is_intervention
        if comparison.steps % plan.evaluate_every == 0:
            comparison.wait()
            row = {"step": comparison.steps, **_evaluate(comparison, evaluation_env)}
            print(plan.driver, plan.seed, row, flush=True)
            evaluations.append(row)
            record(evaluations, complete=False)

    number = config.data.demos
    while comparison.steps < plan.steps:
        layout = derive_seed(plan.seed, Stream.TRAIN_LAYOUT, number)
        builder = EpisodeBuilder(spec, number, False, layout, spec.name, config.operator_name)
        outcome = rollout(
            env,
            comparison,
            operator,
            arbiter,
            builder,
            rng=rng(plan.seed, Stream.TRAIN_OPERATOR, number),
            on_step=on_step,
            stop=lambda: False,
            clock=MonotonicClock(),
        )
        if outcome.end != "finished":
            raise SystemExit(f"episode {number}: {outcome.end} {outcome.reason}")
        episode = builder.build(success=outcome.success)
        comparison.mixer.add(episode)
        operator.end_episode(episode.stats())
        number += 1
    comparison.wait()
    return evaluations


def _evaluate(comparison: Comparison, env: Env) -> dict[str, Any]:
    """Successes of each learner's mean action on the layouts that training never sees."""
    result = {}
    for name, learner in comparison.learners.items():
        outcome = evaluate(
            env,
            lambda observation, *_, learner=learner: learner.mean(observation),
            comparison.plan.episodes,
        )
        result[name] = outcome.metrics()["success_rate"]
    return result
