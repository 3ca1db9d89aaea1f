"""The table of operators: simulated people, nobody, and devices. Listing it imports none."""

from __future__ import annotations

from silri.core.foreign import usable
from silri.core.protocols import Operator
from silri.core.registry import Entry, Registry, require_attributes
from silri.intervention.operators import OperatorConfig, OperatorContext, SimulatedConfig

DEFAULT_OPERATOR = "heterogeneous"


def _person(name: str, summary: str) -> Entry:
    return Entry(
        name,
        "silri.intervention.operators:SimulatedOperator",
        summary,
        presets=f"silri.intervention.presets:{name.upper().replace('-', '_')}",
    )


OPERATORS = Registry(
    "operator",
    [
        _person("expert", "the scripted expert itself, without any error"),
        _person("steady", "a practised hand: small errors, the same everywhere"),
        _person(
            "novice",
            "new to this: shaky everywhere, a little late, stops to think, sometimes wrong",
        ),
        _person("heterogeneous", "good far from the object, poor near it"),
        _person("careless", "notices late, grabs often in the wrong direction, lets go too soon"),
        _person("keyboard", "arrow keys: one axis at a time, precise and slow"),
        _person(
            "tired", "knows how, but is slow, drifts off, and looks away once the robot succeeds"
        ),
        _person("habit", "sure and wrong: always the same error near the object"),
        _person("two-hands", "two people with opposite habits take turns"),
        _person("half", "an expert on the left half of the table, sure and wrong on the right"),
        _person("late", "does it right, but comes 5 to 15 steps late"),
        _person("two-ways", "right in two ways: around by the left, or by the right"),
        Entry("none", "silri.intervention.operators:NoOperator", "nobody ever intervenes"),
        Entry(
            "web",
            "silri.console.operator:WebOperator",
            "you, in a browser (needs the extra 'console')",
        ),
        Entry(
            "terminal",
            "silri.intervention.devices.terminal:Terminal",
            "you, at the keyboard of this terminal, also over SSH; who presses a key drives",
        ),
        Entry(
            "gamepad",
            "silri.intervention.devices.gamepad:Gamepad",
            "you, with a gamepad; hold its right shoulder button to drive",
        ),
        Entry(
            "spacemouse",
            "silri.intervention.devices.spacemouse:SpaceMouse",
            "you, with a 3Dconnexion SpaceMouse; who moves the cap drives",
        ),
        Entry(
            "lerobot:<type>",
            "silri.intervention.devices.teleoperator:Teleoperator",
            "you, with any LeRobot teleoperator: leader arms, phones, plug-ins",
        ),
    ],
    group="silri.operators",
    base="silri.intervention.operators:OperatorConfig",
)


def create_operator(config: OperatorConfig, context: OperatorContext) -> Operator:
    """Build the operator called ``context.name``.

    Raises:
        UnknownNameError: there is none; the message lists the right names.
        ConfigError: it cannot be what the context asks for, raises an exception, or lacks a part
            of :class:`silri.core.protocols.Operator`.
    """
    with usable(f"operator '{context.name}' cannot be made"):
        operator = OPERATORS.load(context.name).target.create(config, context)
    parts = ("begin_episode", "decide", "end_episode", "state", "restore")
    require_attributes(operator, parts, f"operator '{context.name}'")
    made: Operator = operator
    return made


def describe_operator(name: str, config: OperatorConfig) -> str:
    """Who this is, with every number."""
    return f"operator {name}: {OPERATORS.get(name).summary}. {config.describe()}".rstrip()


def introduce_operator(name: str, config: OperatorConfig) -> str:
    """Who this is, for the start of a run: with every number where somebody changed one."""
    usual = OPERATORS.load(name).preset().config
    if not isinstance(config, SimulatedConfig) or config != usual:
        return describe_operator(name, config)
    return (
        f"operator {name}: {OPERATORS.get(name).summary}. "
        f"Simulated; its numbers: silri list operators {name}"
    )
