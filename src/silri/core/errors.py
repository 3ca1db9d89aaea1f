"""The error tree. Every message names the thing, the value and the remedy.

``cli`` maps :class:`UsageError` to exit code 2 and every other :class:`SilriError` to 1.
"""

from __future__ import annotations


class SilriError(Exception):
    """Base of every error that silri raises on purpose."""


class UsageError(SilriError):
    """The caller asked for something that cannot be: a name, a value or a combination."""


class UnknownNameError(UsageError):
    """A name that no registry entry has; lists the right ones and the nearest."""


class ConfigError(UsageError):
    """A configuration field has a value it does not take, or does not fit a checkpoint."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed; the message has the ``pip install`` line."""

    def __init__(self, extra: str, needed_for: str, beside: str = "") -> None:
        """``beside``: a package of data that goes with the extra, installed on its own."""
        more = f" && pip install --no-deps {beside}" if beside else ""
        super().__init__(f"{needed_for} needs an extra: pip install 'silri[{extra}]'{more}")


class SpecError(SilriError):
    """A value from outside does not fit its spec (key, shape, dtype or range)."""


class CameraFault(SpecError):
    """A camera's picture is missing or has another shape."""


class NonFiniteError(SpecError):
    """NaN or infinity in an observation, an action or a reward."""


class EnvironmentFault(SilriError):
    """The environment broke its contract in the middle of an episode."""


class DataError(SilriError):
    """A stored file is missing, damaged or of another version."""


class CheckpointError(DataError):
    """No checkpoint in a run folder passes its manifest, or it does not fit the run."""


class RunFolderError(UsageError):
    """The run folder is in use, holds another run, or is no run folder."""


class BackboneFault(SilriError):
    """A frozen model gave nothing that can be acted on, or its server did not answer: stop."""
