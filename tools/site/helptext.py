"""The options of every verb, read from what ``silri VERB --help`` prints.

So a page cannot say anything else than the command line does.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from dataclasses import dataclass, field
from functools import cache

from silri.cli.main import main

WIDTH = 110  # of the terminal that is asked: boxes one below the other
BORDER = re.compile(r"^╭─ (?P<title>[\w. -]+?) ─*╮$|^╰─*╯$")
RULE = re.compile(r"^─+$")
FLAG = re.compile(r"^(?P<flag>-\S+(?:, -\S+)?|\[*[A-Z][^ ]*)(?P<kind>(?: \S+)*)$")
DEFAULT = re.compile(r" ?\((?:default: (?P<default>.*)|(?P<required>required))\)$", re.DOTALL)


@dataclass
class Option:
    """One option.

    Attributes:
        name: with its value, as it is typed: ``--steps INT``.
        default: as printed; "" without one.
        meaning: the help text.
    """

    name: str
    default: str = ""
    meaning: str = ""

    @property
    def flag(self) -> str:
        """Without its value."""
        return self.name.partition(" ")[0]


@dataclass
class Group:
    """One box of a help text: its title, what it says of itself, its options."""

    title: str
    summary: str = ""
    options: list[Option] = field(default_factory=list)


@cache
def printed(*arguments: str) -> str:
    """What ``silri ARGUMENTS --help`` prints in a terminal of :data:`WIDTH` columns.

    Raises:
        ValueError: it printed nothing, because it refused the arguments.
    """
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    before = dict(os.environ)
    os.environ |= {"COLUMNS": str(WIDTH), "NO_COLOR": "1"}
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([*arguments, "--help"])
    finally:
        os.environ.clear()
        os.environ |= before
    if not raw.getvalue():
        raise ValueError(f"silri {' '.join(arguments)} --help printed nothing")
    return raw.getvalue().decode()


def description(text: str) -> str:
    """The prose between the usage line and the first box, one paragraph a line."""
    body = text.partition("\n\n")[2].partition("╭─")[0]
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", body)]
    return "\n\n".join(part for part in paragraphs if part)


def groups(text: str) -> list[Group]:
    """The boxes of a help text.

    Raises:
        ValueError: a line of a box is none of the kinds that are known.
    """
    found: list[Group] = []
    for line in text.splitlines():
        if border := BORDER.match(line.rstrip()):
            if border["title"]:
                found.append(Group(border["title"]))
        elif line.startswith("│") and found:
            _add(found[-1], line.strip().removeprefix("│").removesuffix("│").removeprefix(" "))
    for group in found:
        for option in group.options:
            if match := DEFAULT.search(option.meaning):
                option.meaning = option.meaning[: match.start()]
                option.default = match["required"] or match["default"] or ""
        group.options = [o for o in group.options if o.flag != "-h,"]
    return [group for group in found if group.options]


def _add(group: Group, content: str) -> None:
    text = content.rstrip()
    if not text or RULE.match(text):
        return
    if text.startswith(" "):  # the help of the option above, or more of it
        last = group.options[-1]
        last.meaning = f"{last.meaning} {text.strip()}".strip()
        return
    head, _, meaning = text.partition("  ")
    if match := FLAG.match(head):
        name = " ".join((match["flag"] + match["kind"]).split())
        group.options.append(Option(name, meaning=meaning.strip()))
    elif not group.options:
        group.summary = f"{group.summary} {text}".strip()
    else:
        raise ValueError(f"box '{group.title}' of a help text has the line: {text}")
