"""What a robot acts with: the newest parameters that lie in its spool folder."""

from __future__ import annotations

import logging

import numpy as np

from silri.agents.registry import load_agent
from silri.configs.run import RunConfig
from silri.core.errors import DataError
from silri.core.seeding import Stream, derive_seed
from silri.core.specs import EnvSpec, Observation
from silri.runtime.cluster.parameters import unpack
from silri.runtime.cluster.paths import SpoolPaths
from silri.runtime.keeping.export import decode_parameters
from silri.runtime.learn import warm_up
from silri.vision.sight import Sight
from silri.vision.sighted import Sighted

_LOG = logging.getLogger(__name__)


class RobotPolicy:
    """Acts with the newest parameters that the uplink has brought.

    Attributes:
        acting: with these parameters.
        version: learner iterations behind them; -1 before the first.
    """

    def __init__(self, config: RunConfig, spec: EnvSpec, paths: SpoolPaths) -> None:
        seed = derive_seed(config.seed, Stream.NETWORK_INIT)
        sight = Sight(config.vision, spec, config.language, config.vla)
        agent = load_agent(config.agent_name).agent.create(
            config.agent, sight.seen, seed, config.augment
        )
        self.acting = self._template = Sighted(agent, sight)
        self._config, self._path = config, paths.policy
        self._seen: tuple[int, int] | None = None
        self.version = -1
        self.noise = 0  # what exploration of this episode derives from

    def refresh(self) -> bool:
        """Take what is new; between episodes, or a robot would change its mind in one.

        Returns:
            Whether there is anything to act with.
        """
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns)  # each write makes a new file
            if stamp != self._seen:
                self._seen = stamp
                parameters = unpack(self._path.read_bytes(), str(self._path))
                self.acting = decode_parameters(
                    parameters.arrays, self._template, str(self._path), self._config
                )
                if self._template.agent.base is not self.acting.agent.base:
                    self._template = self.acting  # what it corrects has come
                self.version = parameters.version
        except FileNotFoundError:
            pass
        except DataError as error:  # keep what works; the next ones will come
            _LOG.warning("%s; acting with version %d", error, self.version)
        return self.version >= 0

    def warm_up(self) -> None:
        """Compile before the robot moves, as far as it can see."""
        # What a correction builds on comes with the first parameters.
        known = self._config.residual.base is None or self.acting.agent.base is not None
        if self.acting.sight.fitted and known:
            warm_up(self.acting, learning=False)

    def propose(
        self, observation: Observation, episode: int, step: int
    ) -> tuple[np.ndarray, dict[str, float]]:
        """One decision."""
        del episode  # the robots' numbers overlap; their noise must not
        return self.acting.act(observation, episode=self.noise, step=step, explore=True)
