"""Which vision-language(-action) model an agent stands on: settings that every agent shares."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from silri.core.errors import ConfigError
from silri.core.settings import Field, Positive, PositiveInt, settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ADDRESS = re.compile(r"(.+):(\d{1,5})")


@settings("vla")
class VlaConfig:
    """The model's embedding of frames, words and state, as one more observation."""

    # transformers, lerobot, or module:function of a backbone that you wrote; None: no such model
    model: Annotated[str, Field(min_length=1)] | None = None
    # a folder, or hf:OWNER/NAME@REVISION, where the revision is the 40 digits of a commit
    weights: str | None = None
    # what is to be done, where the environment does not say it
    instruction: Annotated[str, Field(min_length=1)] | None = None
    # cameras that the model sees, NAME or NAME=WHAT-THE-MODEL-CALLS-IT; none: all of them
    cameras: tuple[str, ...] = ()
    state: str = "state"  # key of the proprioception for a model that takes one
    size: PositiveInt = 128  # numbers that are kept of the embedding, fitted on demonstrations
    prior_action: bool = False  # observe the action that the model would take, too
    beside: bool = False  # keep what --vision and --language make; else it stands in their place
    device: str = "cpu"  # PyTorch's name of the device that the model runs on
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the model's weights
    python: str | None = None  # lerobot: Python of an environment that has it; starts a server
    server: str | None = None  # lerobot: HOST:PORT of a server that runs already, on loopback
    timeout_s: Positive = 10.0  # for one embedding; a server that takes longer ends the run
    start_s: Positive = 600.0  # for a server to load its model

    def __post_init__(self) -> None:
        if self.model is None:
            given = [name for name in ("weights", "python", "server") if getattr(self, name)]
            if given or self.prior_action or self.beside:
                named = ", ".join(f"vla.{name}" for name in given) or "vla.prior_action, vla.beside"
                raise ConfigError(
                    f"{named} belongs to a model, and vla.model is None: give transformers, "
                    "lerobot, or module:function"
                )
        if self.server is not None:
            self.address  # noqa: B018 (raises)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``server``.

        Raises:
            ConfigError: it is none on loopback.
        """
        found = _ADDRESS.fullmatch(self.server or "")
        if found is None or found[1].strip("[]") not in LOOPBACK or int(found[2]) > 65_535:
            raise ConfigError(
                f"vla.server takes 127.0.0.1:PORT, got {self.server!r}: the wire is not encrypted. "
                "A server elsewhere is reached by ssh -L PORT:127.0.0.1:PORT HOST"
            )
        return found[1].strip("[]"), int(found[2])
