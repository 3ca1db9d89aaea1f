"""Before the robots come: demonstrations in the store, and what hub and robots need to know."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from silri.agents.registry import load_agent
from silri.configs.run import RunConfig
from silri.configs.serialize import FORMAT, to_json
from silri.core.clock import MonotonicClock
from silri.core.errors import ConfigError
from silri.data import files
from silri.data.store import EpisodeStore
from silri.runtime.cluster.paths import LivePaths, read_record, write_record
from silri.runtime.folder import RunFolder
from silri.runtime.prepare import collect_demonstrations


def check_learns(config: RunConfig) -> None:
    """Whether robots are of any use to the agent.

    Raises:
        ConfigError: if not.
    """
    if not config.env_learns:
        raise ConfigError(
            f"agent {config.agent_name} is trained before the first episode: it needs no robots; "
            "use the local runtime"
        )


def prepare_run(folder: RunFolder, config: RunConfig, stop: Callable[[], bool]) -> list[str]:
    """Fill the store with demonstrations and write ``live/setup.json``.

    Returns:
        What opening the store found.

    Raises:
        RunFolderError: another process writes there.
        ConfigError: the agent does not learn online.
    """
    check_learns(config)
    env = config.env.create()
    names = load_agent(config.agent_name).agent.diagnostic_names(config.agent, env.env_spec)
    try:
        with EpisodeStore(folder.episodes, folder.quarantine, env.env_spec, names) as store:
            collect_demonstrations(config, env, store, stop, MonotonicClock())
            setup: dict[str, Any] = {
                "format": FORMAT,
                "run": to_json(config),
                "spec": env.env_spec.to_json(),
                "diagnostics": list(names),
                "max_lag": config.runtime.max_lag,
                "demo_steps": sum(row.steps for row in store.rows if row.is_demo),
            }
    finally:
        env.close()
    live = LivePaths(folder.path)
    files.make_dir(live.folder)
    files.remove(live.progress)  # an earlier session's says that the run is done
    known = read_record(live.setup)
    setup["run_id"] = known.get("run_id") or uuid.uuid4().hex[:12]
    if known != setup:
        write_record(live.setup, setup, durable=True)
    return list(store.messages)
