"""What a page's ``<!-- silri: NAME ARGUMENTS -->`` stands for, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable

from silri.agents.registry import AGENTS, load_agent
from silri.bench.suite_file import built_in_names, load_suite
from silri.cli.main import VERBS
from silri.core.registry import unknown_name
from silri.envs.registry import ENVS, EXPERT_CEILINGS
from silri.intervention.registry import OPERATORS, describe_operator
from tools.site.helptext import Group, description, groups, printed

MARKER = re.compile(r"^<!-- silri: (?P<name>\w+)(?P<arguments>[^>]*?) -->$", re.MULTILINE)
RUN_SECTIONS = ("agent", "augment", "env", "operator", "reward", "data", "runtime", "evaluation")
# Verbs with commands of their own: how a line of their usage begins that has one.
COMMANDS = {"data": r"^  (\w+) DATASET", "reward": r"^  (\w+) (?:--data|FOLDER)"}
NO_DEFAULT = {"", "None", "''", "required"}
ENVIRONMENTS = {
    "metaworld": "metaworld/drawer-open-v3",
    "gym": "examples.reach_arm:ReachArm-v0",
}


def expand(markdown: str) -> str:
    """``markdown`` with every marker replaced by what it stands for.

    Raises:
        UnknownNameError: a marker that there is not.
    """

    def replacement(match: re.Match[str]) -> str:
        if match["name"] not in MARKERS:
            raise unknown_name("marker", match["name"], MARKERS)
        return MARKERS[match["name"]](*match["arguments"].split())

    return MARKER.sub(replacement, markdown)


def cell(text: str) -> str:
    """``text`` inside a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def prose(text: str) -> str:
    """A help text's sentences: flags and commands as code, a page of ours as a link."""
    text = re.sub(r"'(silri [^']+)'", r"`\1`", text)
    pieces = text.split("`")  # every second one is code already
    pieces[::2] = [re.sub(r"(?<![\w-])--[a-z][\w.-]*\w", r"`\g<0>`", p) for p in pieces[::2]]
    return re.sub(r"docs/((?:\w+/)*)(\w+)[.]md", r"[\g<2>](../\g<1>\g<2>.md)", "`".join(pieces))


def _table(group: Group) -> str:
    rows = ["| option | default | meaning |", "| --- | --- | --- |"]
    for option in group.options:
        name = re.sub(r"\[\[?(\w+) \[\1 \.\.\.\]\]\]?", r"\1 ...", option.name)
        name = name.replace("{None}|", "").replace("|", "\\|")
        default = f"`{cell(option.default)}`" if option.default not in NO_DEFAULT else ""
        default = "required" if option.default == "required" else default
        rows.append(f"| `{name}` | {default} | {cell(option.meaning)} |")
    return "\n".join(rows)


def verbs() -> str:
    """A row per verb."""
    rows = ["| verb | what it does |", "| --- | --- |"]
    rows += [f"| [`silri {verb}`](#silri-{verb}) | {what} |" for verb, what in VERBS.items()]
    return "\n".join(rows)


def commands() -> str:
    """A section per verb: what it says of itself, and its own options."""
    parts = []
    for verb in VERBS:
        parts.append(f"## silri {verb}")
        if verb in COMMANDS:
            for name in re.findall(COMMANDS[verb], printed(verb), re.MULTILINE):
                parts += [f"### silri {verb} {name}", *_verb(verb, name)]
        elif verb == "list":
            parts.append("`silri list agents`, `silri list envs`, `silri list operators`.")
        else:
            parts += _verb(verb)
    return "\n\n".join(parts)


def _verb(*arguments: str) -> list[str]:
    text = printed(*arguments)
    own = [g for g in groups(text) if g.title.split(" ")[0].split(".")[0] not in RUN_SECTIONS]
    parts = [prose(description(text))]
    if own:
        parts.append(_table(Group("", options=[option for g in own for option in g.options])))
    if len(own) < len(groups(text)):
        parts.append("And the sections of [options](options.md).")
    return parts


def _sections(text: str, section: str) -> list[Group]:
    return [g for g in groups(text) if g.title.split(" ")[0].split(".")[0] == section]


def _show(found: list[Group], level: int) -> list[str]:
    parts = []
    for group in found:
        name = group.title.removesuffix(" options")
        parts += [f"{'#' * level} {name}", group.summary, _table(group)]
    return [part for part in parts if part]


def options(section: str) -> str:
    """The options of one section of a run."""
    return "\n\n".join(_show(_sections(printed("train"), section), 3))


def agent_options() -> str:
    """The options of every agent of ours."""
    parts = []
    for name in _agents():
        parts += [f"### {name}", f"`silri train --agent {name}`: {AGENTS.get(name).summary}."]
        parts += [_table(g) for g in _sections(printed("train", "--agent", name), "agent")]
    return "\n\n".join(parts)


def env_options() -> str:
    """The options of every kind of environment."""
    parts = []
    for kind, name in ENVIRONMENTS.items():
        parts += [f"### {kind}", f"`silri train --env {name}`, for example."]
        parts += [_table(g) for g in _sections(printed("train", "--env", name), "env")]
    return "\n\n".join(parts)


def _agents() -> list[str]:
    return [entry.name for entry in AGENTS if not entry.package]


def agents() -> str:
    """A row per agent and preset."""
    rows = ["| `--agent` | `--preset` | what it is |", "| --- | --- | --- |"]
    for name in _agents():
        rows.append(f"| `{name}` | | {cell(AGENTS.get(name).summary)} |")
        for preset, content in load_agent(name).presets.items():
            rows.append(f"| | `{preset}` | {cell(content.summary)} |")
    return "\n".join(rows)


def people() -> str:
    """Every simulated person, with all their numbers."""
    parts = []
    for entry in OPERATORS:
        if entry.package:
            continue
        target = OPERATORS.load(entry.name)
        _, _, text = describe_operator(entry.name, target.preset().config).partition(": ")
        parts.append(f"- **{entry.name}**: {text}")
    return "\n".join(parts)


def ceilings() -> str:
    """Every Meta-World task and how often its scripted expert succeeds; three tasks a row."""
    tasks = list(EXPERT_CEILINGS.items())
    third = -(-len(tasks) // 3)
    rows = ["| task | expert | task | expert | task | expert |", "| --- " * 6 + "|"]
    for index in range(third):
        cells = []
        for column in range(3):
            position = index + column * third
            task, share = tasks[position] if position < len(tasks) else ("", None)
            cells += [f"`{task}`" if task else "", "" if share is None else f"{share:.2f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def envs() -> str:
    """What an environment's name may look like beside Meta-World's tasks."""
    rows = [
        f"| `{entry.name}` | {cell(entry.summary)} |"
        for entry in ENVS
        if not entry.name.startswith("metaworld/")
    ]
    return "\n".join(["| name | what it is |", "| --- | --- |", *rows]) if rows else ""


def suites() -> str:
    """Every suite of `silri bench`, and what for."""
    return "\n".join(f"- `{name}`: {prose(load_suite(name).summary)}" for name in built_in_names())


MARKERS: dict[str, Callable[..., str]] = {
    "verbs": verbs,
    "commands": commands,
    "options": options,
    "agent_options": agent_options,
    "env_options": env_options,
    "agents": agents,
    "people": people,
    "ceilings": ceilings,
    "envs": envs,
    "suites": suites,
}
