"""A run in which a person corrects the success classifier, which is fitted again meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from silri.core.commands import Command, CommandQueue
from silri.core.events import Notice, StepTaken
from silri.rewards.classifier import DESCRIPTION, load_classifier
from silri.rewards.config import RewardConfig
from silri.rewards.labels import Label, read_labels, write_label
from silri.runtime.acting.judging import CLASSIFIER, LABELS
from silri.runtime.acting.refitting import Refitter
from silri.runtime.session import Interrupted
from silri.vision.config import VisionConfig
from tests.fakes.envs.cameras import ENCODER
from tests.fakes.envs.point import FakeEnvConfig
from tests.fakes.models.agent import registered
from tests.fakes.models.classifiers import LampPoint, attempt, write_classifier
from tests.fakes.runs import Recorder, StopAfter, fingerprint, metrics, prepare, tiny_run

DIM = 110


class DimPoint(LampPoint):
    """Its lamp is too dim for the classifier, but not for a person."""

    def _seen(self, axes):
        image = super()._seen(axes)
        if image[:16].min() == 255:
            image[:16] = DIM
        return image


class DimLamps:
    """For :class:`~silri.configs.run.RunConfig`."""

    Config = FakeEnvConfig

    @staticmethod
    def create(config, name):
        return DimPoint("one-arm", config)


class Watcher:
    """Somebody at the page, who sees every success and says so."""

    def __init__(self, commands):
        self.commands = commands

    def on_event(self, event):
        if isinstance(event, StepTaken):
            seen = event.transition.next_observation["front"]
            if seen[:16].min() == DIM and not event.transition.terminated:
                self.commands.put(Command.SUCCESS, event.transition.episode_id)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_classifier(folder)
    return folder / "classifier"


@pytest.fixture(autouse=True)
def fake():
    with registered():
        yield


def corrected(model, path, *, stop=None, refit=True):
    """A run that a person watches: (the run, what was told)."""
    config = replace(
        tiny_run("fake", steps=40),
        env_name="tests.runtime.test_refitting:DimLamps",
        env=FakeEnvConfig(kind="fake/one-arm", end_on_success=False),
        vision=VisionConfig(encoder=ENCODER, size=8),
        reward=RewardConfig(model=str(model), consecutive=1, refit=refit),
    )
    recorder, commands = Recorder(), CommandQueue()
    subscribers = [recorder, Watcher(commands)]
    run = prepare(config, path, subscribers=subscribers, stop=stop, commands=commands)
    try:
        run.run()
    except Interrupted:
        assert stop is not None
    return run, [e.text for e in recorder.of(Notice) if "success classifier" in e.text]


def bytes_of(path):
    """Every file of a run's classifier."""
    return {p.name: p.read_bytes() for p in sorted((path / CLASSIFIER).iterdir())}


def test_it_is_fitted_again_and_a_resumed_run_goes_on_with_it(model, tmp_path):
    whole, told = corrected(model, tmp_path / "whole")
    assert told
    assert "fitted again on 1 corrections and judges from episode" in told[0]
    assert "of 6 held-out episodes it judges 0 wrongly, before 0" in told[0]
    kept = load_classifier(tmp_path / "whole" / CLASSIFIER)
    assert kept.known.corrections
    assert kept.digest != load_classifier(model).digest
    labels = read_labels(tmp_path / "whole" / LABELS)
    # It calls by itself what it was told of: later successes need no person.
    successes = [whole.store.read(i) for i in range(len(whole.store.rows))]
    online = [episode for episode in successes if episode.success and not episode.is_demo]
    assert len(labels) < len(online)
    (first, *_) = [row for row in metrics(tmp_path / "whole") if "reward/corrections" in row]
    assert (first["reward/corrections"], first["reward/refused"]) == (1, 0)
    assert first["reward/held_out_wrong"] == first["reward/held_out_wrong_before"] == 0

    corrected(model, tmp_path / "parts", stop=StopAfter(21))
    between = bytes_of(tmp_path / "parts")
    resumed, _ = corrected(model, tmp_path / "parts", stop=StopAfter(1))
    assert bytes_of(tmp_path / "parts") == between
    resumed, _ = corrected(model, tmp_path / "parts")
    assert bytes_of(tmp_path / "parts") == bytes_of(tmp_path / "whole")
    # Episodes that are re-learned bring no row of what became of the classifier before them.
    resumed.state.metrics_rows = whole.state.metrics_rows
    assert fingerprint(resumed) == fingerprint(whole)


def test_without_refit_it_stays_as_it_is(model, tmp_path):
    _, told = corrected(model, tmp_path / "run", refit=False)
    assert not told
    assert read_labels(tmp_path / "run" / LABELS)
    assert load_classifier(tmp_path / "run" / CLASSIFIER).digest == load_classifier(model).digest


def label(folder, episode, brightness, *, success):
    observations = attempt(100 + episode, success=True).observations
    frames = {camera: observations[camera][-1].copy() for camera in ("front", "side")}
    for frame in frames.values():
        frame[:16] = brightness
    write_label(folder, Label(episode, 3, success, 0.5, "abc", frames))


@pytest.fixture
def refitter(model, tmp_path):
    made = []

    def make(*, wait=False):
        classifier = load_classifier(model)
        classifier.save(tmp_path / "reward")
        told = []
        folders = {"kept": tmp_path / "reward", "labels": tmp_path / "labels"}
        made.append(Refitter(classifier, consecutive=1, wait=wait, say=told.append, **folders))
        return made[-1], told

    yield make
    for each in made:
        each.close()


def test_nobody_waits_for_it_at_a_robot(refitter, tmp_path):
    fitting, told = refitter()
    assert fitting.before(0) is None  # nothing was said yet
    label(tmp_path / "labels", 4, DIM, success=True)
    assert fitting.before(4) is None  # episode 4 is not over
    assert fitting._running is None
    began = time.monotonic()
    assert fitting.before(5) is None
    assert time.monotonic() - began < 2.0
    assert not told
    fresh = None
    while fresh is None:
        assert time.monotonic() - began < 120
        fresh = fitting.before(6)
        time.sleep(0.05)
    assert "judges from episode 6 on" in told[0]
    assert fitting.news()["reward/corrections"] == 1
    assert fitting.news() == {}
    assert fitting.before(7) is None  # all is known
    assert fitting._running is None
    assert load_classifier(tmp_path / "reward").digest == fresh.digest


def test_a_worse_one_is_not_taken(refitter, tmp_path):
    fitting, told = refitter(wait=True)
    kept = tmp_path / "reward"
    before = load_classifier(kept).digest
    for episode in range(4):
        label(tmp_path / "labels", episode, 200, success=False)
    assert fitting.before(9) is None
    assert "stays as it is: fitted again on 4 corrections it would judge" in told[0]
    assert fitting.news()["reward/refused"] == 1
    assert load_classifier(kept).digest == before
    assert fitting.before(10) is None  # it is not tried twice
    assert len(told) == 1


def test_what_agrees_with_it_fits_nothing(refitter, tmp_path):
    fitting, _ = refitter(wait=True)
    label(tmp_path / "labels", 0, 255, success=True)
    label(tmp_path / "labels", 1, 0, success=False)
    assert fitting.before(9) is None
    assert fitting._running is None
    assert fitting.news() == {}


def test_what_cannot_be_fitted_is_told_and_the_run_goes_on(refitter, tmp_path):
    fitting, told = refitter(wait=True)
    memory = fitting.classifier.memory
    labels = np.where(memory.labels == 1, -1, memory.labels).astype(np.int8)
    fitting.classifier.memory = replace(memory, labels=labels)
    label(tmp_path / "labels", 0, 255, success=False)
    assert fitting.before(9) is None
    assert "is not fitted again: a classifier tells two classes apart; there are 0 " in told[0]
    fitting.classifier.memory = None
    label(tmp_path / "labels", 1, 255, success=False)
    assert fitting.before(9) is None
    assert "it has no examples to be fitted again on" in told[1]
    (tmp_path / "labels" / "episode-000002-frame-0001.safetensors").write_bytes(b"nonsense")
    assert fitting.before(9) is None
    assert "is no label" in told[2]
    assert (tmp_path / "reward" / DESCRIPTION).is_file()
