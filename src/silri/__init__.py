"""silri: human-in-the-loop reinforcement learning for robot manipulation.

::

    import silri

    run = silri.train(env="metaworld/drawer-open-v3", steps=3000, out="runs/mine")
    policy = silri.load("runs/mine")
    action = policy(observation)

Importing it loads nothing else: each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silri.api.environments import make_env
    from silri.api.episodes import Episodes, read_episodes
    from silri.api.evaluation import Evaluation, evaluate
    from silri.api.policies import Policy, load
    from silri.api.training import Run, train

__version__ = "0.1.0"
__all__ = [
    "Episodes",
    "Evaluation",
    "Policy",
    "Run",
    "evaluate",
    "load",
    "make_env",
    "read_episodes",
    "train",
]

_WHERE = {
    "Episodes": "episodes",
    "Evaluation": "evaluation",
    "Policy": "policies",
    "Run": "training",
    "evaluate": "evaluation",
    "load": "policies",
    "make_env": "environments",
    "read_episodes": "episodes",
    "train": "training",
}


def __getattr__(name: str) -> object:
    """Import what is asked for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'silri' has no attribute '{name}'; it has {__all__}")
    from importlib import import_module

    value: object = getattr(import_module(f"silri.api.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
