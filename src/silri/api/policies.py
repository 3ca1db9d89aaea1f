"""A trained policy in a program of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from silri.agents.base import Agent
from silri.configs.run import RunConfig
from silri.core.errors import NonFiniteError, SpecError
from silri.core.specs import EnvSpec, Observation
from silri.core.values import numbers
from silri.runtime.keeping.export import load_policy, policy_folder
from silri.runtime.starting.backend import prepare_jax
from silri.vision.sighted import Sighted


class Policy:
    """What a run has learned: a function of the observation.

    Attributes:
        spec: what it observes and does: ``spec.observation`` has key to shape and dtype,
            ``spec.action`` the action's size and grippers, ``spec.control_hz`` the decisions per
            second that it was trained with.
        config: of the run that it comes from.
        folder: it was loaded from.
        acting: the agent behind its eyes.
    """

    def __init__(self, acting: Sighted, config: RunConfig, spec: EnvSpec, folder: Path) -> None:
        self.spec, self.config, self.folder = spec, config, folder
        self.acting = acting

    def __call__(self, observation: Any) -> np.ndarray:
        """The action that it takes on its own, without noise.

        The first call of each batch size takes seconds: it is compiled then.

        Args:
            observation: key to array, as ``spec.observation`` says, or the array alone if there
                is one key. With a leading axis B in every array: a batch.

        Returns:
            (A,), or (B, A), float32 in [-1, 1]; :func:`silri.make_env` scales it to an
            environment's own range.

        Raises:
            SpecError: a key is missing or unknown, or an array has a wrong shape or dtype.
            NonFiniteError: NaN or infinity in an observation.
        """
        action = self.acting.act_deterministic(self._checked(observation))
        return self.spec.action.snap(action)

    def reset(self) -> None:
        """Begin an episode. Today's policies remember nothing: call it all the same."""

    @property
    def agent(self) -> Agent:
        """Everything that the run learned, critics included."""
        return self.acting.agent

    def __repr__(self) -> str:
        return f"Policy({self.config.agent_name} for {self.spec.name}, from {self.folder})"

    def _checked(self, observation: Any) -> Observation:
        keys = sorted(self.spec.observation)
        if not isinstance(observation, Mapping):
            if len(keys) != 1:
                raise SpecError(
                    f"the observation is {type(observation).__name__}; {self.spec.name} takes a "
                    f"dict with {keys}"
                )
            observation = {keys[0]: observation}
        if set(observation) != set(keys):
            raise SpecError(f"the observation has {sorted(observation)}; it takes {keys}")
        arrays = {key: self._array(key, observation[key]) for key in keys}
        leads = {
            array.shape[: array.ndim - len(self.spec.observation[key].shape)]
            for key, array in arrays.items()
        }
        lead = leads.pop()
        for key, array in arrays.items():
            spec = self.spec.observation[key]
            if leads or len(lead) > 1 or array.shape != (*lead, *spec.shape):
                shapes = {key: list(array.shape) for key, array in arrays.items()}
                takes = {key: list(self.spec.observation[key].shape) for key in keys}
                raise SpecError(
                    f"the observation's shapes are {shapes}; it takes {takes}, all of them with a "
                    "leading axis, or none"
                )
            if spec.is_image and array.dtype != np.uint8:
                raise SpecError(f"'{key}' is {array.dtype}; images are uint8 (0-255)")
            if spec.is_text:
                for text in array.reshape(-1):
                    spec.validate(f"{key} of {self.spec.name}", text)
            elif not spec.is_image and not np.isfinite(array).all():
                raise NonFiniteError(f"'{key}' is not finite")
        return {
            key: np.asarray(array, self.spec.observation[key].dtype)
            for key, array in arrays.items()
        }

    def _array(self, key: str, value: Any) -> np.ndarray:
        spec = self.spec.observation[key]
        if spec.is_image or spec.is_text:
            return np.asarray(value)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused then
            return numbers(f"observation.{key}", value).astype(spec.dtype)


def load(path: str | Path) -> Policy:
    """The policy of a run, or of a folder that holds nothing else.

    Args:
        path: a run folder, or a copy of its ``policy/``: two files, no pickle.

    Returns:
        A function of the observation, with its ``spec``.

    Raises:
        DataError: there is no policy, or it is damaged.
        ConfigError: it was made by another version.

    Example::

        policy = silri.load("runs/mine")
        env = silri.make_env("metaworld/drawer-open-v3")
        observation, _ = env.reset(seed=7)
        policy.reset()
        observation, *_ = env.step(policy(observation))
    """
    prepare_jax()
    path = Path(path).expanduser()
    acting, config, spec = load_policy(policy_folder(path))
    return Policy(acting, config, spec, path)
