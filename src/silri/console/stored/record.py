"""What a run's folder says of the run, read without its agent: no JAX in the console."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silri.console.stored.own import OwnEpisodes
from silri.core.errors import DataError, RunFolderError
from silri.core.settings import from_plain
from silri.core.specs import EnvSpec
from silri.envs.config import EnvConfig
from silri.envs.registry import find_env
from silri.intervention.operators import SimulatedConfig
from silri.intervention.registry import OPERATORS
from silri.runtime.cluster.paths import SpoolPaths, read_record
from silri.store.library import Library

# Of a step, where no rate was kept: silri.evaluation.summary says why.
SECONDS_PER_STEP = 0.1
SIMULATIONS = ("metaworld/", "hil/", "so101/", "pusht/")  # names of ours that cannot be a robot
RECORDING = "recording.json"  # of silri record, beside the episodes
SPOOL = "setup.json"  # of a robot in a cluster run: the run's, as its learner sent it
NAMES = ("config.json", RECORDING, SPOOL)


@dataclass(frozen=True)
class RunRecord:
    """A run, as its ``config.json``, ``recording.json`` or a robot's ``setup.json`` says.

    Attributes:
        folder: of the run.
        agent, env, operator: their names.
        env_config: how the environment was set up.
        rate_hz: steps per second that were kept; 0: none.
        steps: of the training.
        demos: demonstrations that it begins with.
        expert_run: the operator's expert was a policy.
    """

    folder: Path
    agent: str
    env: str
    operator: str
    env_config: EnvConfig
    rate_hz: float
    steps: int
    demos: int
    expert_run: bool

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read a run folder, a dataset of ``silri record``, or the spool of a robot.

        Raises:
            RunFolderError: it is none of them.
            ConfigError: its environment's fields do not fit this version.
            DataError: its ``config.json`` is damaged.
        """
        path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
        if path is None:
            what = f"has no {' or '.join(NAMES[:2])}" if folder.is_dir() else "does not exist"
            raise RunFolderError(
                f"{folder} is no run folder: it {what}; 'silri train' or 'silri record' makes one"
            )
        try:
            run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["run"]
            env = {"end_on_success": True, **run["env"]}  # older runs had no such field
            if run.get("reward", {}).get("model") is not None:
                env["end_on_success"] = False  # its classifier alone ends a success
            name = env.pop("name")
            return cls(
                folder=folder,
                agent=str(run["agent_name"]),
                env=name,
                operator=str(run["operator"]["name"]),
                env_config=from_plain(find_env(name).config, env, "env"),
                rate_hz=float(run["runtime"]["rate_hz"]),
                steps=int(run["steps"]),
                demos=int(run["data"]["demos"]),
                expert_run=run["expert_run"] is not None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error!r})") from error

    @property
    def episodes(self) -> Path:
        """Its stored episodes."""
        recorded = (self.folder / RECORDING).is_file()
        return self.folder if recorded else self.folder / "episodes"

    @property
    def is_robot(self) -> bool:
        """Whether this is one robot's part of a run, whose folder is where the learner is."""
        return not any((self.folder / name).is_file() for name in NAMES[:2])

    def library(self) -> Library | OwnEpisodes:
        """Its episodes, as they are now."""
        return OwnEpisodes(self.folder) if self.is_robot else Library(self.episodes)

    @property
    def metrics(self) -> Path:
        """Its curves."""
        return self.folder / "metrics.jsonl"

    @property
    def seconds_per_step(self) -> float:
        """What a step costs a person."""
        return 1.0 / self.rate_hz if self.rate_hz else SECONDS_PER_STEP

    @property
    def surely_simulated(self) -> bool:
        """Whether opening the environment cannot move a robot.

        So for our own simulations, and where a simulated person was shown what only one knows.
        """
        if self.env.startswith(SIMULATIONS):
            return True
        config = OPERATORS.load(self.operator).config
        return issubclass(config, SimulatedConfig) and not self.expert_run

    def summary(self) -> dict[str, Any]:
        """``summary.json``; empty while there is none."""
        try:
            summary = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return summary if isinstance(summary, dict) else {}

    def spec(self) -> EnvSpec | None:
        """Of the environment, if a policy was exported, or the robot has said it."""
        if self.is_robot:
            told = read_record(SpoolPaths(self.folder).spec).get("spec")
            return None if told is None else EnvSpec.from_json(told)
        try:
            text = (self.folder / "policy" / "policy.json").read_text(encoding="utf-8")
            return EnvSpec.from_json(json.loads(text)["spec"])
        except (OSError, ValueError, KeyError, TypeError, DataError):
            return None
