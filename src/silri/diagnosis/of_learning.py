"""Rules about learning: the critic, lambda, the gripper, the inputs, the learner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from silri.data.episode import Episode
from silri.data.statistics import observation_statistics
from silri.diagnosis.evidence import ENOUGH, EVALUATED, Evidence, Series
from silri.diagnosis.findings import Finding, Picture
from silri.runtime.learn import reward_scale

DIVERGED = 3.0  # times what an episode can be worth
NO_WEIGHT = 0.01  # of lambda: the person counts for nothing
ALL_WEIGHT = 0.95  # of lambda / (1 + lambda): the reward counts for nothing
RARE, COMMON = 0.01, 0.1  # share of steps with a gripper command: the policy's, the person's
FAR = 50.0  # deviations from the demonstrations, or raw units where there are none
STARVED = 0.5  # of the learner's iterations that the schedule asks for


def critic_diverges(run: Evidence) -> Finding | None:
    """Q is far above what an episode can be worth, or is no number any more."""
    q, learned = run.series("critic/q"), run.series("mix/online")
    returns, length = run.series("episode/return"), run.series("episode/length").values
    if len(learned) < ENOUGH or not len(q) or len(returns) < ENOUGH:
        return None
    discount = getattr(run.config.agent, "discount", 0.99)
    worth = float(np.abs(returns.values).max())
    cost = float(np.median(np.abs(returns.values) / length)) / (1.0 - discount)
    limit = max(worth, cost) * reward_scale(run.config.agent, list(run.demonstrations))
    lost = learned.steps[-1] > q.steps[-1]
    now = float(np.median(np.abs(q.last(0.1))))
    if limit == 0.0 or (now <= DIVERGED * limit and not lost):
        return None
    seen = "Q is no number any more" if lost else f"mean |Q| is {now:.3g}"
    return Finding(
        "critic-diverges",
        "The critic diverges: it promises more than an episode can be worth.",
        f"{seen}; no episode was worth more than {limit:.3g} in the critic's unit",
        (
            "lower agent.learning_rate, or raise agent.critics (the smallest of them counts)",
            "look for rewards that explode, and for time-outs that are reported as ends",
            "fewer rewards before bootstrapping: --agent.n-step 1",
        ),
        Picture("Mean Q of the batch", {"Q": q}, {"largest return": limit}),
    )


def multiplier_at_zero(run: Evidence) -> Finding | None:
    """Nobody is imitated although a person helps and the task is not learned."""
    multiplier = run.series("multiplier/mean")
    if len(multiplier) < ENOUGH or run.solved or not run.series("mix/human").last(0.5).any():
        return None
    highest = float(multiplier.last(0.5).max())
    if highest > NO_WEIGHT:
        return None
    return Finding(
        "multiplier-at-zero",
        "Lambda is at zero: what the person shows does not count.",
        f"in the second half the mean of lambda never rises above {highest:.2g}, and the policy "
        f"succeeds in {run.success:.0%}",
        (
            "the bound is too wide: lower agent.kappa",
            "show the task the same way each time: the person's learned deviation is "
            + _last(run, "expert/std"),
        ),
        Picture("Mean of lambda over the batch", {"lambda": multiplier}, {"no weight": NO_WEIGHT}),
    )


def multiplier_at_ceiling(run: Evidence) -> Finding | None:
    """The reward counts for nothing, and still the policy is too far from the person."""
    multiplier, violation = run.series("multiplier/mean"), run.series("multiplier/violation")
    if len(multiplier) < ENOUGH or run.solved:
        return None
    mean = float(np.median(multiplier.last(0.25)))
    over = float(np.median(violation.last(0.25)))
    share = mean / (1.0 + mean)
    if share < ALL_WEIGHT or over <= 0.0:
        return None
    return Finding(
        "multiplier-at-ceiling",
        "Lambda grows without end: the policy cannot do what the person does.",
        f"lambda is {mean:.3g}, so imitation has {share:.0%} of the actor's loss, and the distance "
        f"is still {over:.3g} over the bound",
        (
            "raise agent.kappa: the bound asks for more than the policy can follow",
            "check that the person's actions have the policy's scale and order: silri doctor",
            "a wider network: --agent.trunk.hidden 512 512",
        ),
        Picture(
            "Mean of lambda over the batch",
            {"lambda": multiplier},
            {"imitation alone": ALL_WEIGHT / (1.0 - ALL_WEIGHT)},
        ),
    )


def gripper_collapsed(run: Evidence) -> Finding | None:
    """The policy never gives a gripper command that the person gives often."""
    people = _stacked(run.demonstrations, "human_action", by_person=True)
    policy = _stacked(run.recent, "policy_action", by_person=False)
    if len(people) < ENOUGH or len(policy) < ENOUGH * ENOUGH or run.solved:
        return None
    for index in range(people.shape[1]):
        commands = np.unique(people[:, index])
        if len(commands) < 2 or not np.isin(commands, (-1.0, 0.0, 1.0)).all():
            continue  # no gripper with classes
        for command in commands:
            wanted = float((people[:, index] == command).mean())
            given = float((policy[:, index] == command).mean())
            if wanted > COMMON and given < RARE:
                steps = np.arange(len(policy), dtype=np.float64)
                return Finding(
                    "gripper-collapsed",
                    "The gripper has collapsed: the policy never gives one of its commands.",
                    f"action {index}: the person gives {command:g} in {wanted:.0%} of the steps, "
                    f"the policy in {given:.1%} of its last {len(policy)}",
                    (
                        "more demonstrations in which the gripper moves (--data.demos)",
                        "take over just before the grasp, and stay until the object is held",
                        "hil_serl learns its gripper by rewards: compare with --agent hil_serl",
                    ),
                    Picture(
                        f"Action {index} of the policy",
                        {"policy": Series("policy", steps, policy[:, index].astype(np.float64))},
                        {f"the person's {c:g}": float(c) for c in commands},
                        x="steps of the last episodes",
                        dots=True,
                    ),
                )
    return None


def inputs_out_of_range(run: Evidence) -> Finding | None:
    """Networks see inputs far from what they are normalised by."""
    if len(run.recent) < ENOUGH // 2 or run.solved:
        return None
    known = {}
    if run.demonstrations:
        known = observation_statistics(run.demonstrations, floor=run.config.data.std_floor)
    worst = (0.0, "", np.zeros(0))
    for key, first in run.recent[0].observations.items():
        if first.dtype.kind not in "fi":  # pictures and words
            continue
        rows = np.concatenate([e.observations[key] for e in run.recent]).astype(np.float64)
        if key in known:
            rows = (rows - known[key].mean) / known[key].std
        size = np.percentile(np.abs(rows.reshape(len(rows), -1)), 99, axis=0)
        index = int(size.argmax())
        if size[index] > worst[0]:
            worst = (float(size[index]), f"{key}[{index}]", rows.reshape(len(rows), -1)[:, index])
    if worst[0] <= FAR:
        return None
    far, name, values = worst
    unit = "deviations of the demonstrations" if known else "(no demonstration to normalise by)"
    return Finding(
        "inputs-out-of-range",
        "An input is far from what the networks expect.",
        f"{name} reaches {far:.3g} {unit}",
        (
            "use units of about 1 in the observation: metres, radians, shares",
            "demonstrations over the whole range in which the robot will work",
            "leave out what does not matter for the task",
        ),
        Picture(
            f"{name} in the last episodes",
            {name: Series(name, np.arange(len(values), dtype=np.float64), values)},
            {"far": FAR},
            x="steps of the last episodes",
        ),
    )


def learner_starved(run: Evidence) -> Finding | None:
    """The learner does fewer iterations than the schedule asks for."""
    updates, steps = run.summary.get("learner_updates"), run.summary.get("env_steps", 0)
    if updates is None or not run.config.agent.learns_online or steps < 500:
        return None
    wanted = run.config.runtime.updates_per_step * steps
    if updates >= STARVED * wanted:
        return None
    return Finding(
        "learner-starved",
        "The learner is starved: it falls behind the robots.",
        f"{updates} learner iterations for {steps} steps; {wanted:.0f} were asked for",
        (
            "a faster machine or a GPU for the learner, or fewer robots",
            "a smaller agent.batch_size or agent.utd",
            "lower runtime.updates_per_step, if that is what you want",
        ),
        Picture("Success of evaluations", {"success": run.series(EVALUATED)}),
    )


def _last(run: Evidence, name: str) -> str:
    series = run.series(name)
    return f"{series.values[-1]:.2g}" if len(series) else "not logged"


def _stacked(episodes: Sequence[Episode], column: str, *, by_person: bool) -> np.ndarray:
    """(N, A) rows of an action column where a person drove, or where the policy did."""
    rows = [
        episode.frames[column][episode.frames["is_intervention"] == by_person]
        for episode in episodes
    ]
    return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
