"""Opening a run's environment and operator, each once in a process.

They are checked before there is a run folder. Both may be devices that cannot be opened twice.
"""

from __future__ import annotations

from pathlib import Path

from silri.configs.run import RunConfig
from silri.core.errors import SilriError
from silri.core.protocols import Env, Operator
from silri.runtime.acting.filming import check_filmable
from silri.runtime.acting.judging import check_classifier
from silri.runtime.starting.checking import check_opened
from silri.runtime.starting.contract import close_env, close_operator
from silri.runtime.starting.prepare import check_start, make_operator


def open_env_and_operator(
    config: RunConfig,
    env: Env | None = None,
    *,
    learns: bool = True,
    spool: Path | None = None,
) -> tuple[Env, Operator]:
    """Open both, once, and refuse by name what breaks its contract.

    Args:
        config: of the run.
        env: one that is open already; None opens the configuration's.
        learns: here, too: what the policy starts from is on this machine.
        spool: of the robot in a cluster run.

    Raises:
        ConfigError: the environment or the operator breaks its contract, or cannot be made; or the
            success classifier looks through other cameras; or evaluations are to be filmed, and
            there is nothing to see; or the policy to start from does not fit.
        DataError: there is no success classifier, or no policy to start from, where the
            configuration says.
        MissingExtraError: evaluations are to be filmed, and PyAV is not installed.
    """
    given = env is not None
    opened, operator = check_opened(
        config.env_name,
        config.create_training_env() if env is None else env,
        lambda env: make_operator(config, env, spool),
        seed=config.seed,
        demonstrates=config.data.dataset is None and bool(config.data.demos),
    )
    try:
        check_classifier(config, opened.env_spec)
        if learns:
            check_start(config, opened.env_spec)
        if config.evaluation.videos:
            check_filmable(opened, "evaluation.videos")
    except SilriError:
        if not given:
            close_env(opened, lambda text: None)
        close_operator(operator, lambda text: None)
        raise
    return opened, operator
