"""The table of environments. Listing it imports no simulator; ``create_env`` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import gymnasium

from silri.core.errors import ConfigError
from silri.core.foreign import usable
from silri.core.protocols import Env
from silri.core.registry import (
    Choice,
    Entry,
    Preset,
    Registry,
    import_module,
    require_attributes,
    unknown_name,
)
from silri.envs import opengl
from silri.envs.config import (
    ArrangeBoxesConfig,
    EnvConfig,
    GymConfig,
    MetaworldConfig,
    MetaworldLanguageConfig,
    PickCubeConfig,
    PushTConfig,
    So101Config,
)
from silri.envs.robots.config import ArmConfig

# Task -> share of 100 layouts (whole range, 100 steps x 2, discrete gripper) in which Meta-World's
# own scripted expert succeeds: the ceiling that a policy's success is relative to. Measured by
# `python benchmarks/operators.py --ceilings`; docs/reference/people.md has the same table.
EXPERT_CEILINGS: dict[str, float] = {
    "assembly-v3": 1.00,
    "basketball-v3": 0.95,
    "bin-picking-v3": 0.96,
    "box-close-v3": 0.91,
    "button-press-topdown-v3": 1.00,
    "button-press-topdown-wall-v3": 1.00,
    "button-press-v3": 1.00,
    "button-press-wall-v3": 0.97,
    "coffee-button-v3": 1.00,
    "coffee-pull-v3": 1.00,
    "coffee-push-v3": 1.00,
    "dial-turn-v3": 1.00,
    "disassemble-v3": 0.93,
    "door-close-v3": 1.00,
    "door-lock-v3": 1.00,
    "door-open-v3": 1.00,
    "door-unlock-v3": 1.00,
    "drawer-close-v3": 1.00,
    "drawer-open-v3": 1.00,
    "faucet-close-v3": 1.00,
    "faucet-open-v3": 1.00,
    "hammer-v3": 1.00,
    "hand-insert-v3": 1.00,
    "handle-press-side-v3": 1.00,
    "handle-press-v3": 1.00,
    "handle-pull-side-v3": 0.84,
    "handle-pull-v3": 1.00,
    "lever-pull-v3": 0.98,
    "peg-insert-side-v3": 0.81,
    "peg-unplug-side-v3": 0.96,
    "pick-out-of-hole-v3": 0.59,
    "pick-place-v3": 1.00,
    "pick-place-wall-v3": 0.98,
    "plate-slide-back-side-v3": 1.00,
    "plate-slide-back-v3": 1.00,
    "plate-slide-side-v3": 1.00,
    "plate-slide-v3": 1.00,
    "push-back-v3": 0.93,
    "push-v3": 1.00,
    "push-wall-v3": 1.00,
    "reach-v3": 1.00,
    "reach-wall-v3": 1.00,
    "shelf-place-v3": 0.73,
    "soccer-v3": 0.88,
    "stick-pull-v3": 0.70,
    "stick-push-v3": 1.00,
    "sweep-into-v3": 0.86,
    "sweep-v3": 1.00,
    "window-close-v3": 1.00,
    "window-open-v3": 1.00,
}
DEFAULT_ENV = "metaworld/drawer-open-v3"
_METAWORLD, _GYM = "metaworld/", "gym/"
# Beginnings of the names of environment objects that a program gave: a gymnasium.Env, or another
# silri.core.protocols.Env. Nobody types them, so the table does not list them.
OBJECT, GIVEN = "object/", "given/"


class Metaworld:
    """Meta-World's tasks, ``metaworld/<task>``."""

    Config: ClassVar = MetaworldConfig

    @staticmethod
    def create(config: MetaworldConfig, name: str) -> Env:
        """Build the simulator; this imports MuJoCo."""
        from silri.envs.metaworld.env import MetaworldEnv

        return MetaworldEnv(name.removeprefix(_METAWORLD), config)


class MetaworldLanguage:
    """Seven tasks of Meta-World in four scenes, said in words: ``metaworld-language``."""

    presets: ClassVar[Mapping[str, Preset]] = {
        "default": Preset(
            MetaworldLanguageConfig(),
            "a task and its words are drawn for each episode",
            # Ten demonstrations of each task, and as many episodes of each in an evaluation.
            {"data": {"demos": 70}, "evaluation": {"episodes": 70}},
        )
    }
    Config: ClassVar = MetaworldLanguageConfig

    @staticmethod
    def create(config: MetaworldLanguageConfig, name: str) -> Env:
        """Build the simulators; this imports MuJoCo."""
        from silri.envs.metaworld.language import MetaworldLanguageEnv

        return MetaworldLanguageEnv(config, name)


class Gym:
    """Registered Gymnasium ids: ``gym/<id>``, ``<id>``, or ``module:<id>``.

    The module is imported first and registers the id.
    """

    Config: ClassVar = GymConfig

    @staticmethod
    def create(config: GymConfig, name: str) -> Env:
        """Make the environment and adapt it."""
        from silri.envs.gym.adapter import create

        return create(_registered_id(name), config)

    @staticmethod
    def create_pictured(config: GymConfig, name: str) -> Env:
        """The same, for pictures: Gymnasium wants to know when it makes an environment."""
        from silri.envs.gym.adapter import create

        return create(_registered_id(name), config, pictures=True)


class PickCube:
    """gym-hil's Franka and its cube."""

    Config: ClassVar = PickCubeConfig

    @staticmethod
    def create(config: PickCubeConfig, name: str) -> Env:
        """Build the simulator; this imports MuJoCo and gym-hil."""
        from silri.envs.gym_hil import create

        return create(name, config)


class ArrangeBoxes(PickCube):
    """The same with five boxes."""

    Config: ClassVar = ArrangeBoxesConfig


class LeRobotArm:
    """A real arm, ``lerobot:<type>``."""

    Config: ClassVar = ArmConfig
    # Nobody wants fifty evaluations of a real arm by default, and it has a rate to keep.
    presets: ClassVar = {
        "default": Preset(
            ArmConfig(),
            "at 10 decisions per second, without evaluations",
            {"runtime": {"rate_hz": 10.0}, "evaluation": {"every": 0}},
        )
    }

    @staticmethod
    def create(config: ArmConfig, name: str) -> Env:
        """Connect it; this imports lerobot."""
        from silri.envs.robots.arm import Arm

        return Arm(name, config)


class So101:
    """A simulated SO-101, ``so101/<task>``."""

    Config: ClassVar = So101Config

    @staticmethod
    def create(config: So101Config, name: str) -> Env:
        """Build the simulator; this imports MuJoCo and lerobot-env-so101."""
        from silri.envs.so101.env import create

        return create(name, config)


class PushT:
    """gym-pusht's T."""

    Config: ClassVar = PushTConfig

    @staticmethod
    def create(config: PushTConfig, name: str) -> Env:
        """Build the simulator; this imports gym-pusht."""
        from silri.envs.pusht.env import create

        return create(name, config)


class GivenObject:
    """An environment object; only the program that has it can open it."""

    Config: ClassVar[type[EnvConfig]] = EnvConfig

    @staticmethod
    def create(config: EnvConfig, name: str) -> Env:
        """Refuse, with the remedy.

        Raises:
            ConfigError: always.
        """
        del config
        raise ConfigError(
            f"environment '{name}' was an object in a program, which no name opens: give it again, "
            "silri.train(resume=RUN, env=THE_OBJECT) or silri.evaluate(RUN, env=THE_OBJECT)"
        )


class GivenGymnasium(GivenObject):
    """A ``gymnasium.Env``."""

    Config: ClassVar[type[EnvConfig]] = GymConfig


ENVS = Registry(
    "environment",
    [
        *(
            Entry(
                _METAWORLD + task,
                "silri.envs.registry:Metaworld",
                f"scripted expert succeeds in {ceiling:.0%} of layouts",
            )
            for task, ceiling in EXPERT_CEILINGS.items()
        ),
        Entry(
            "metaworld-language",
            "silri.envs.registry:MetaworldLanguage",
            "7 tasks in 4 scenes, said in words, needs silri[language]; expert succeeds in 100%",
        ),
        Entry(
            "hil/pick-cube",
            "silri.envs.registry:PickCube",
            "gym-hil's Franka, needs silri[hil]; scripted expert succeeds in 100% of layouts",
        ),
        Entry(
            "hil/arrange-boxes",
            "silri.envs.registry:ArrangeBoxes",
            "five boxes, needs silri[hil]; scripted expert succeeds, simulated people not yet",
        ),
        *(
            Entry(
                f"so101/{task}",
                "silri.envs.registry:So101",
                f"an SO-101, needs silri[so101]; scripted expert succeeds in {ceiling} of layouts",
            )
            for task, ceiling in (("pick-cube", "100%"), ("pick-place", "100%"))
        ),
        Entry(
            "pusht/push-t",
            "silri.envs.registry:PushT",
            "Push-T, needs silri[pusht]; scripted expert succeeds in 100% of layouts",
        ),
        Entry(
            "lerobot:<type>",
            "silri.envs.registry:LeRobotArm",
            "a real arm: any LeRobot robot that is driven by positions of joints",
        ),
        Entry(
            "gym/<id>",
            "silri.envs.registry:Gym",
            "any Gymnasium id with Box (or Dict of Box) observations and bounded Box actions; "
            "module:<id> imports the module that registers it",
        ),
    ],
    group="silri.envs",
    base="silri.envs.config:EnvConfig",
)


def metaworld_names() -> list[str]:
    """``metaworld/<task>`` for all fifty tasks."""
    return [_METAWORLD + task for task in EXPERT_CEILINGS]


def find_env(name: str) -> Choice:
    """The environment called ``name``; of a Gymnasium id whether it is registered is not asked.

    Raises:
        UnknownNameError: there is none; the message lists the right names and the nearest.
        ConfigError: ``module:Class`` is not what :class:`~silri.core.registry.Choice` says.
    """
    if is_object(name):
        target = GivenGymnasium if name.startswith(OBJECT) else GivenObject
        presets = {"default": Preset(target.Config(), "as it was given")}
        return Choice(name, "an object", target, target.Config, presets, ENVS.kind)
    module, colon, attribute = name.rpartition(":")
    if name in ENVS or name.startswith(_METAWORLD):
        return ENVS.load(name)
    # What is no Python name, such as Pendulum-v1, can only be a Gymnasium id.
    if colon and attribute.isidentifier():
        imported = import_module(module, _named(name))
        if hasattr(imported, attribute):
            return ENVS.load(name)
    return replace(ENVS.load(_GYM + name), name=name)


def is_object(name: str) -> bool:
    """Whether ``name`` stands for an environment object that a program gave."""
    return name.startswith((OBJECT, GIVEN))


def require_env(name: str) -> None:
    """Refuse a name that no environment has, a Gymnasium id that is not registered included.

    Raises:
        UnknownNameError: the message lists the right names and the nearest.
    """
    if find_env(name).target is Gym:
        _registered_id(name)


def create_env(name: str, config: EnvConfig, *, pictures: bool = False) -> Env:
    """Build the environment called ``name``.

    Args:
        name: see ``silri list envs``.
        config: of that environment.
        pictures: prepare it for ``render``, with its class's ``create_pictured`` if there is one.

    Raises:
        UnknownNameError: if there is none; the message lists the right names and the nearest.
        ConfigError: its spaces are unsupported, it raises an exception, or it lacks a part of
            :class:`silri.core.protocols.Env`.
    """
    target = find_env(name).target
    create = getattr(target, "create_pictured", target.create) if pictures else target.create
    with usable(f"{_named(name)} cannot be made"):
        if pictures:  # before MuJoCo is imported
            opengl.choose()
        env = create(config, name)
    require_attributes(env, ("env_spec", "reset", "step", "close"), _named(name))
    made: Env = env
    return made


def _named(name: str) -> str:
    return f"environment '{name}'"


def _registered_id(name: str) -> str:
    """The registered id that ``name`` stands for, importing ``module`` of ``module:id`` first."""
    module, colon, identifier = name.removeprefix(_GYM).rpartition(":")
    if colon:
        import_module(module, _named(name))
    if identifier in gymnasium.registry:
        return identifier
    ids = [_GYM + known for known in gymnasium.registry]
    if name.startswith(_GYM):
        raise unknown_name("environment", _GYM + identifier, ids)
    others = [entry.name for entry in ENVS if not entry.family]
    raise unknown_name("environment", identifier, [*others, *gymnasium.registry])
