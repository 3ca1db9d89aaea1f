"""What an episode counts, from hand-made flags (algorithms.md, acceptance test 14)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silri.core.errors import NonFiniteError
from silri.core.transition import Transition
from silri.data.episode import EpisodeBuilder


def builder(spec):
    return EpisodeBuilder(spec, episode_id=3, is_demo=False, seed=11, task="t", operator="steady")


def transition(spec, step, *, human=False, last=False, success=False, **changes):
    def observation(at):
        return {k: np.full(s.shape, at, np.float32) for k, s in spec.observation.items()}

    action = np.zeros(spec.action.size, np.float32)
    fields = {
        "observation": observation(step),
        "action": action,
        "policy_action": action,
        "human_action": action if human else np.full_like(action, np.nan),
        "human_weight": float(human),
        "reward": 10.0 if success else -0.05,
        "next_observation": observation(step + 1),
        "terminated": last and success,
        "truncated": last and not success,
        "is_intervention": human,
        "grasp_penalty": 0.0,
        "episode_id": 3,
        "step": step,
        "policy_version": 0,
    }
    return Transition(**fields | changes)


def fold(spec, flags, *, success):
    episode = builder(spec)
    for step, human in enumerate(flags):
        last = step == len(flags) - 1
        episode.add(
            transition(spec, step, human=bool(human), last=last, success=last and success), {}
        )
    return episode.build(success=success)


def test_a_hand_made_sequence_gives_the_expected_counts(spec):
    stats = fold(spec, [0, 1, 1, 0, 0, 1, 0, 1, 1, 1], success=True).stats()
    assert stats == {
        "length": 10.0,
        "success": 1.0,
        "return": pytest.approx(10.0 - 9 * 0.05),
        "intervention_steps": 6.0,
        "intervention_rate": pytest.approx(0.6),
        "interventions": 3.0,
        "terminated": 1.0,
        "truncated": 0.0,
    }


@pytest.mark.parametrize(
    ("flags", "interventions", "steps"),
    [
        ([1], 1, 1),
        ([0], 0, 0),
        ([1, 1, 1], 1, 3),  # a takeover from the first step on is one, too
        ([1, 0, 1, 0, 1], 3, 3),
        ([0, 0, 0, 1], 1, 1),
    ],
)
def test_edges_and_steps(spec, flags, interventions, steps):
    stats = fold(spec, flags, success=False).stats()
    assert stats["interventions"] == interventions
    assert stats["intervention_steps"] == steps
    assert stats["intervention_rate"] == pytest.approx(steps / len(flags))


@given(flags=st.lists(st.booleans(), min_size=1, max_size=30), success=st.booleans())
def test_counts_agree_with_one_another(flags, success):
    from silri.core.specs import ActionSpec
    from tests.conftest import make_spec

    stats = fold(make_spec(ActionSpec(2)), flags, success=success).stats()
    assert stats["length"] == len(flags)
    assert stats["intervention_steps"] == sum(flags)
    assert stats["interventions"] <= stats["intervention_steps"]
    assert (stats["interventions"] == 0) == (stats["intervention_steps"] == 0)
    assert stats["terminated"] + stats["truncated"] == 1


def test_an_episode_with_one_human_step_is_no_success_in_the_papers_metric(spec, tmp_path):
    """SiLRI counts a training success only without any intervention; the curves follow."""
    import json

    from silri.evaluation.curves import read_run

    rows = []
    for index, flags in enumerate([[0, 0, 1, 0], [0, 0, 0, 0]], start=1):
        stats = fold(spec, flags, success=True).stats()
        rows.append({"step": 4 * index} | {f"episode/{name}": v for name, v in stats.items()})
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    np.testing.assert_allclose(read_run(tmp_path).unaided_successes(), [0.0, 0.5])


def test_the_final_observation_is_kept_beside_the_frames(spec):
    episode = fold(spec, [0, 0, 0], success=False)
    assert len(episode) == 3
    np.testing.assert_array_equal(episode.observations["state"][:, 0], [0, 1, 2, 3])


def test_diagnostics_are_nan_where_the_agent_said_nothing(spec):
    episode = builder(spec)
    episode.add(transition(spec, 0), {"silri/lambda": 0.5})
    episode.add(transition(spec, 1, last=True), {})
    diagnostics = episode.build(success=False).diagnostics
    np.testing.assert_array_equal(diagnostics["silri/lambda"], np.float32([0.5, np.nan]))


@pytest.mark.parametrize("name", ["action", "policy_action", "reward"])
def test_a_step_that_is_not_finite_is_refused_but_kept_for_quarantine(spec, name):
    episode = builder(spec)
    bad = np.nan if name == "reward" else np.full(spec.action.size, np.nan, np.float32)
    with pytest.raises(NonFiniteError, match=f"'{name}' is not finite at step 0 of episode 3"):
        episode.add(transition(spec, 0, **{name: bad}), {})
    assert len(episode.build(success=False)) == 1


def test_a_step_after_the_end_is_a_bug_of_the_loop(spec):
    episode = builder(spec)
    episode.add(transition(spec, 0, last=True, success=True), {})
    with pytest.raises(ValueError, match="forgot to reset"):
        episode.add(transition(spec, 1), {})


def test_an_episode_has_a_step(spec):
    with pytest.raises(ValueError, match="no step"):
        builder(spec).build(success=False)
