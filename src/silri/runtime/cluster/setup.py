"""Before the robots come: what hub and robots need to know of the run."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from silri.configs.run import RunConfig
from silri.configs.serialize import FORMAT, to_json
from silri.core.clock import Clock
from silri.core.errors import ConfigError
from silri.core.specs import EnvSpec
from silri.runtime.cluster.paths import LivePaths, read_record, write_record
from silri.runtime.keeping.folder import RunFolder
from silri.store.safety import files

POLL_S = 0.2


def check_learns(config: RunConfig) -> None:
    """Whether robots are of any use to the agent.

    Raises:
        ConfigError: if not.
    """
    if not config.agent.learns_online:
        raise ConfigError(
            f"agent {config.agent_name} is trained before the first episode: it needs no robots; "
            "use the local runtime"
        )


def prepare_run(folder: RunFolder, config: RunConfig) -> None:
    """Write ``live/setup.json``. No environment is opened: the first robot brings the spec.

    Raises:
        ConfigError: the agent does not learn online.
    """
    check_learns(config)
    dataset = config.data.dataset
    setup: dict[str, Any] = {
        "format": FORMAT,
        "run": to_json(config),
        "max_lag": config.runtime.max_lag,
        "demos": config.data.demos if dataset is None else 0,  # for a robot to record
        "dataset": None if dataset is None else str(Path(dataset).absolute()),
        "rewards": config.sparse_rewards,
    }
    live = LivePaths(folder.path)
    files.make_dir(live.folder)
    files.remove(live.progress)  # an earlier session's says that the run is done
    files.remove(live.evaluation)
    known = read_record(live.setup)
    # What a robot has said in an earlier session holds for the run.
    setup |= {key: known[key] for key in ("spec", "diagnostics") if key in known}
    setup["run_id"] = known.get("run_id") or uuid.uuid4().hex[:12]
    if known != setup:
        write_record(live.setup, setup, durable=True)


def wait_for_spec(
    folder: RunFolder, stop: Callable[[], bool], clock: Clock, say: Callable[[str], None]
) -> EnvSpec | None:
    """The run's spec, as the first robot brings it; None if asked to stop before.

    Raises:
        DataError: what is there is no spec.
    """
    live, said = LivePaths(folder.path), False
    while "spec" not in (setup := read_record(live.setup)):
        if stop():
            return None
        if not said:
            said = True
            say("waiting for the first robot: it says what it observes and does")
        clock.sleep(POLL_S)
    return EnvSpec.from_json(setup["spec"])
