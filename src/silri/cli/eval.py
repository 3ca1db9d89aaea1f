"""``silri eval RUN``: how often a trained policy succeeds on its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from silri.cli.arguments import parse
from silri.cli.main import DONE
from silri.core.errors import ConfigError
from silri.data import files
from silri.evaluation.evaluate import evaluate, mean_actor, sampling_actor
from silri.runtime.compilation import enable_compilation_cache
from silri.runtime.export import load_policy
from silri.runtime.folder import RunFolder

DESCRIPTION = """Evaluate the exported policy of a run: autonomous episodes on fixed layouts that
training never sees, with the mean action (or --sampled), and a 95 % Wilson interval."""
SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Arguments:
    """Flags of ``silri eval``."""

    run: Annotated[Path, tyro.conf.Positional]  # run folder
    episodes: int = 50  # how many; the first 50 are those of training's evaluations
    sampled: bool = False  # act as in training, by sampling
    json: bool = False  # print one JSON object instead of text

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"--episodes takes 1 or more, got {self.episodes}")


def main(arguments: list[str]) -> int:
    """Evaluate and return the exit code."""
    chosen: Arguments = parse(
        Arguments, arguments, prog="silri eval", description=DESCRIPTION, flags=True
    )
    enable_compilation_cache()
    folder, _ = RunFolder.open(chosen.run)
    agent, config, _ = load_policy(folder.policy)
    env = config.env.create()
    actor = sampling_actor(agent) if chosen.sampled else mean_actor(agent)
    result = evaluate(env, actor, chosen.episodes)
    env.close()
    metrics = result.metrics()
    failed: list[int] = np.flatnonzero(~result.successes).tolist()
    report = {
        "run": str(folder.path),
        "action": "sampled" if chosen.sampled else "mean",
        **{k: None if np.isnan(v) else v for k, v in metrics.items()},
        "failed_layouts": failed,
    }
    files.atomic_write(
        folder.path / f"evaluation_{report['action']}.json", json.dumps(report, indent=2).encode()
    )
    if chosen.json:
        print(json.dumps(report))
        return DONE
    print(
        f"{config.agent_name} on {config.env.name}, {report['action']} action: "
        f"{metrics['successes']:.0f} of {chosen.episodes} succeed, "
        f"{metrics['success_rate']:.2f} [{metrics['ci_low']:.2f}, {metrics['ci_high']:.2f}], "
        f"in {metrics['mean_success_length']:.1f} steps on average"
    )
    if failed:
        shown = failed[:SHOWN_FAILURES]
        more = len(failed) - len(shown)
        print(f"failed layouts: {shown}" + (f" and {more} more" if more else ""))
    return DONE
