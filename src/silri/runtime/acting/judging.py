"""The success classifier of a run: loaded, kept with the run, and made a judge of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from silri.configs.run import RunConfig
from silri.core.specs import EnvSpec
from silri.rewards.classifier import DESCRIPTION, SuccessClassifier, load_classifier
from silri.rewards.judge import Deciding, Streak, Watching
from silri.runtime.acting.refitting import Refitter

CLASSIFIER, LABELS = "reward", "labels"  # folders of a run


def open_classifier(config: RunConfig, spec: EnvSpec, home: Path) -> SuccessClassifier | None:
    """The classifier that a run learns from; None if its environment says what success is.

    The first session copies it into ``home``, and later ones take it from there: a run goes on
    with the classifier that it began with, whatever becomes of the folder that it came from.

    Args:
        config: of the run.
        spec: of its environment.
        home: folder of the run, or of what a robot keeps of it.

    Raises:
        DataError: there is no classifier, or it is damaged.
        ConfigError: it looks through other cameras; or its encoder is another one here.
    """
    if config.reward.model is None:
        return None
    kept = home / CLASSIFIER
    where = kept if (kept / DESCRIPTION).is_file() else Path(config.reward.model)
    classifier = load_classifier(where)
    classifier.check_fits(spec, str(where))
    if where != kept:
        classifier.save(kept)
    return classifier


def with_kept_classifier(config: RunConfig, home: Path) -> RunConfig:
    """``config`` with the classifier that an earlier session has copied, if there is one."""
    kept = home / CLASSIFIER
    if config.reward.model is None or not (kept / DESCRIPTION).is_file():
        return config
    return replace(config, reward=replace(config.reward, model=str(kept)))


def check_classifier(config: RunConfig, spec: EnvSpec) -> None:
    """Whether a run's classifier can judge its environment, before anything is written.

    Raises:
        DataError, ConfigError: see :func:`open_classifier`.
    """
    if config.reward.model is not None:
        load_classifier(Path(config.reward.model)).check_fits(spec, config.reward.model)


def judge_of(config: RunConfig, spec: EnvSpec, home: Path) -> Watching | None:
    """What watches the evaluations of a run that is over.

    None if it was trained without a classifier, or if what is in ``home`` is a policy alone.

    Raises:
        DataError, ConfigError: see :func:`open_classifier`.
    """
    kept = home / CLASSIFIER
    if config.reward.model is None or not (kept / DESCRIPTION).is_file():
        return None
    classifier = load_classifier(kept)
    classifier.check_fits(spec, str(kept))
    return watching(config, classifier)


def deciding(config: RunConfig, classifier: SuccessClassifier, labels: Path) -> Deciding:
    """The judge of training."""
    return Deciding(
        _streak(config, classifier),
        step_reward=config.env.step_reward,
        success_reward=config.env.success_reward,
        veto_s=config.reward.veto_s,
        digest=classifier.digest,
        labels=labels,
    )


def refitter(
    config: RunConfig,
    classifier: SuccessClassifier,
    home: Path,
    say: Callable[[str], None],
    *,
    wait: bool,
) -> Refitter:
    """What fits the classifier again during the run."""
    return Refitter(
        classifier,
        kept=home / CLASSIFIER,
        labels=home / LABELS,
        consecutive=config.reward.consecutive,
        wait=wait,
        say=say,
    )


def watching(config: RunConfig, classifier: SuccessClassifier) -> Watching:
    """The judge of an evaluation."""
    return Watching(_streak(config, classifier))


def _streak(config: RunConfig, classifier: SuccessClassifier) -> Streak:
    return Streak(classifier, classifier.known.threshold, config.reward.consecutive)
