"""An instruction while an episode is folded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import SpecError
from silri.core.specs import ArraySpec
from silri.core.transition import Transition
from silri.data.episode import EpisodeBuilder, check_episode


def transition(spec, step, before, after):
    zeros = {"state": np.zeros(4, np.float32), "environment_state": np.zeros(3, np.float32)}
    action = np.zeros(spec.action.size, np.float32)
    one, other = ({**zeros, "instruction": np.array(text, "<U12")} for text in (before, after))
    return Transition(
        one, action, action, action * np.nan, 0.0, 0.0, other, False, False, False, 0.0, 4, step, 0
    )


@pytest.fixture
def builder(spec):
    spec = replace(spec, observation={**spec.observation, "instruction": ArraySpec((), "<U12")})
    return EpisodeBuilder(spec, 4, False, 0, "fake/told", "none")


def test_every_row_has_it_with_the_specs_length(builder):
    for step in range(2):
        builder.add(transition(builder.spec, step, "go left", "go left"), {})
    episode = builder.build(success=False)
    assert episode.observations["instruction"].dtype == "<U12"
    assert episode.observations["instruction"].tolist() == ["go left"] * 3
    check_episode(episode, builder.spec)


def test_one_that_changes_within_an_episode_is_refused(builder):
    builder.add(transition(builder.spec, 0, "go left", "go left"), {})
    message = (
        "'observation.instruction' of fake/told changed at step 1 of episode 4, "
        "from 'go left' to 'go right'"
    )
    with pytest.raises(SpecError, match=message):
        builder.add(transition(builder.spec, 1, "go left", "go right"), {})
    assert len(builder) == 2  # kept for quarantine
