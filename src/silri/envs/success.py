"""How it is known of a Gymnasium environment whether the task was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from silri.core.errors import ConfigError, SpecError
from silri.core.values import truth
from silri.envs.config import SUCCESS_KEYS, GymConfig


class Success:
    """Judges the steps of one environment; :meth:`GymConfig.describe_success` says how.

    Attributes:
        judged: something has said of the running episode whether the task was done.
        ever: likewise, of any episode.
    """

    def __init__(self, config: GymConfig, name: str) -> None:
        self._key, self._return = config.success_key, config.success_return
        self._name = name
        self._found: set[str] = set()  # keys of every info so far
        self._total = 0.0
        self.judged = self.ever = self._return is not None

    def begin(self) -> None:
        """A new episode."""
        self._total = 0.0
        self.judged = self._return is not None

    def judge(
        self, info: Mapping[str, Any], terminated: bool, truncated: bool, reward: float
    ) -> bool:
        """Whether the task is done after this step.

        Raises:
            ConfigError: the episode ends, and no info has had ``env.success_key``.
            SpecError: what the info says is neither true nor false.
        """
        self._total += reward
        ends = terminated or truncated
        if self._return is not None:
            return ends and self._total >= self._return
        known = (self._key,) if self._key is not None else SUCCESS_KEYS
        self._found |= {str(key) for key in info}
        # None says nothing: some say so until the end.
        key = next((key for key in known if info.get(key) is not None), None)
        if key is None and self._key is not None and ends and self._key not in self._found:
            raise ConfigError(
                f"env.success_key '{self._key}': the info of {self._name} has no such key; it has "
                f"{sorted(self._found) or 'none at all'}"
            )
        if key is not None or (terminated and self._key is None):
            self.judged = self.ever = True
        if key is not None:
            return self._truth(key, info[key])
        return self._key is None and terminated and reward > 0

    def _truth(self, key: str, said: Any) -> bool:
        try:
            return truth(f"info['{key}'] of {self._name}", said)
        except SpecError as error:
            raise SpecError(
                f"{error}: wrap the environment, or name another key (--env.success-key)"
            ) from error
