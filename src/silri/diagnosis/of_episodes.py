"""Rules about episodes: what is rewarded, who drives, how they end, whether steps are late."""

from __future__ import annotations

import numpy as np

from silri.diagnosis.evidence import ENOUGH, EVALUATED, RECENT, Evidence, Series
from silri.diagnosis.findings import Finding, Picture

AT_ONCE = 3  # steps: nothing but a wrong detector succeeds so soon
TOO_MUCH = 0.7  # share of steps that a person drives
LATE = 0.05  # share of steps that came late
ASIDE = 0.1  # share of episodes in quarantine


def never_rewarded(run: Evidence) -> Finding | None:
    """No episode was a success, and every step was worth the same."""
    success, returns = run.series("episode/success"), run.series("episode/return")
    length = run.series("episode/length").values
    if len(success) < ENOUGH or success.values.any() or run.series(EVALUATED).values.any():
        return None
    per_step = returns.values / length
    shown = sum(episode.success for episode in run.demonstrations)
    if np.ptp(per_step) > 1e-6:
        return None  # a dense reward teaches without any success
    return Finding(
        "never-rewarded",
        "No episode has ever been rewarded: there is nothing to learn from.",
        f"{len(success)} training episodes, no success, {per_step[0]:.3g} for every step",
        (
            f"look at how success is judged (silri doctor); {shown} demonstrations succeeded",
            "start nearer: a smaller env.reset_range, or more demonstrations (--data.demos)",
            "let the person finish the task when they take over, not only nudge",
        ),
        Picture("Return of training episodes", {"return": returns}, dots=True),
    )


def always_rewarded(run: Evidence) -> Finding | None:
    """Every episode succeeds in its first steps: the detector says yes to everything."""
    success, length = run.series("episode/success"), run.series("episode/length")
    if len(success) < ENOUGH or success.values.mean() < 0.95:
        return None
    middle = float(np.median(length.values))
    if middle > AT_ONCE:
        return None
    return Finding(
        "always-rewarded",
        "Every episode is a success at once: success is not what you mean by it.",
        f"{success.values.mean():.0%} of {len(success)} episodes succeed, half of them within "
        f"{middle:g} steps",
        (
            "look at an episode (silri console RUN), and at what decides success",
            "check that the reset really undoes the last episode",
        ),
        Picture("Length of training episodes", {"steps": length}, {"at once": AT_ONCE}, dots=True),
    )


def person_drives(run: Evidence) -> Finding | None:
    """A person drives most of the time."""
    driven, length = run.series("episode/intervention_steps"), run.series("episode/length")
    if len(driven) < ENOUGH:
        return None
    share = float(driven.values[-RECENT:].sum() / length.values[-RECENT:].sum())
    if share <= TOO_MUCH:
        return None
    rate = Series("share", driven.steps, driven.values / length.values)
    return Finding(
        "person-drives",
        "A person drives most of the time: the policy has no trials of its own to learn from.",
        f"{share:.0%} of the steps of the last {min(RECENT, len(driven))} episodes",
        (
            "let go sooner, and let the policy fail now and then",
            "record more demonstrations first, so that the policy begins better (--data.demos)",
            "if the policy does not get better at all, look at the other findings first",
        ),
        Picture("Share of each episode that a person drives", {"share": rate}, {"much": TOO_MUCH}),
    )


def timeouts_as_ends(run: Evidence) -> Finding | None:
    """Time-outs are reported as ends: the critic learns that the future is worth nothing."""
    length = run.series("episode/length")
    ended = run.series("episode/terminated").values * (1 - run.series("episode/success").values)
    if len(length) < ENOUGH:
        return None
    lengths = length.values[ended > 0]
    longest = float(length.values.max())
    at_limit = int((lengths == longest).sum())
    if at_limit < ENOUGH // 2 or at_limit < 0.8 * len(lengths):
        return None
    return Finding(
        "timeouts-as-ends",
        "Time-outs are taken for ends: a failure by the clock must be 'truncated'.",
        f"{at_limit} episodes without success say 'terminated' after exactly {longest:g} steps, "
        "the longest there is",
        (
            "return terminated=False, truncated=True when the time is up",
            "or let silri end episodes: --env.max-episode-steps below your environment's limit",
        ),
        Picture("Length of training episodes", {"steps": length}, {"limit": longest}, dots=True),
    )


def loop_late(run: Evidence) -> Finding | None:
    """The control loop misses its rate."""
    late = run.series("loop/late")
    length = run.series("episode/length").values
    if len(late) < ENOUGH // 2:
        return None
    share = float(late.values.sum() / max(length.sum(), 1.0))
    if share <= LATE:
        return None
    period = run.series("loop/period_p99_ms")
    asked = 1e3 / run.config.runtime.rate_hz if run.config.runtime.rate_hz else 0.0
    return Finding(
        "loop-late",
        "The control loop is late: the robot gets its commands at the wrong time.",
        f"{share:.0%} of the steps came late; the 99th percentile of the period is "
        f"{float(np.median(period.values)):.0f} ms where {asked:.0f} ms was asked for",
        (
            "a lower --runtime.rate-hz",
            "the learner on another core or machine: --runtime cluster",
            "nothing else on this machine while the robot moves",
        ),
        Picture("99th percentile of the period, ms", {"period": period}, {"asked for": asked}),
    )


def episodes_set_aside(run: Evidence) -> Finding | None:
    """Many episodes are in quarantine."""
    stored = len(run.series("episode/length"))
    total = stored + run.quarantined
    if run.quarantined < ENOUGH // 3 or run.quarantined <= ASIDE * total:
        return None
    aside = run.series("quarantine/id")
    return Finding(
        "episodes-set-aside",
        "Many episodes are set aside: the environment or the operator fails.",
        f"{run.quarantined} of {total} episodes are in quarantine",
        (
            "errors.log in the run folder has the tracebacks",
            "the terminal said why at the time they were set aside",
        ),
        Picture("Episodes that were set aside", {"episode": aside}, dots=True),
    )
