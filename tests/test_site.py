"""What `make docs` adds to the pages: tables from the parsers, equations, pages for sources."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from silri.bench.suite_file import built_in_names, load_suite
from silri.cli.main import VERBS
from silri.core.errors import UnknownNameError
from silri.envs.registry import EXPERT_CEILINGS
from silri.intervention.registry import OPERATORS
from tests.source import ROOT
from tools.site import links, tables
from tools.site.helptext import Option, description, groups, printed

DOCS = ROOT / "docs"
BC = "src/silri/agents/bc.py"
HELP = """usage: silri sing [-h] [OPTIONS] SONG

Sing a song. Names come first:
--key NAME.

It is loud.

╭─ positional arguments ─────╮
│ SONG   which (required)    │
╰────────────────────────────╯
╭─ voice.low options ────────╮
│ how deep                   │
│ ────────────────────────── │
│ -h, --help                 │
│       show this            │
│ --voice.low.pitch {a,b}    │
│       of the voice, in     │
│       hertz (default: 1.0) │
│ --out {None}|PATH  where   │
╰────────────────────────────╯
"""


def page(name):
    return tables.expand((DOCS / "reference" / name).read_text(encoding="utf-8"))


def test_a_help_text_is_read():
    first, second = groups(HELP)
    assert (first.title, first.options) == (
        "positional arguments",
        [Option("SONG", "required", "which")],
    )
    assert (second.title, second.summary) == ("voice.low options", "how deep")
    assert second.options == [
        Option("--voice.low.pitch {a,b}", "1.0", "of the voice, in hertz"),
        Option("--out {None}|PATH", "", "where"),
    ]
    assert description(HELP) == "Sing a song. Names come first: --key NAME.\n\nIt is loud."


def test_a_line_of_a_help_text_that_nobody_knows_is_an_error():
    with pytest.raises(ValueError, match="box 'voice.low options' of a help text has the line: la"):
        groups(HELP.replace("--out {None}|PATH  where ", "la la la                 "))


def test_arguments_that_are_refused_have_no_help():
    with pytest.raises(ValueError, match="silri train --agent nobody --help printed nothing"):
        printed("train", "--agent", "nobody")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in {"data", "list", "reward"}])
def test_the_reference_has_every_option_that_the_command_line_has(verb):
    told = page("commands.md") + page("options.md")
    options = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", printed(verb).partition("╭─")[2]))
    # A flag that switches something off is told with the one that switches it on.
    names = {option.replace(".no-", ".") for option in options} - {"--help"}
    assert not {name for name in names if f"`{name}" not in told}


@pytest.mark.parametrize("command", ["fit", "report"])
def test_the_reference_has_the_options_of_a_verb_s_commands(command):
    section = page("commands.md").partition(f"### silri reward {command}\n")[2].partition("\n#")[0]
    shown = printed("reward", command).partition("╭─")[2]
    options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*\w", shown)) - {"--help"}
    assert "--consecutive" in options
    assert not {option for option in options if f"`{option}" not in section}


AGENTS = ["hil_serl", "hg_dagger", "bc", "silri_groups", "silri_asking"]


@pytest.mark.parametrize("agent", AGENTS)
def test_the_reference_has_the_options_of_every_agent(agent):
    section = page("options.md").partition(f"### {agent}\n")[2].partition("\n### ")[0]
    shown = printed("train", "--agent", agent).partition("╭─")[2]
    for option in set(re.findall(r"--agent\.[\w.-]*\w", shown)):
        assert f"`{option} " in section, option


def test_people_and_ceilings_are_those_of_the_code():
    text = page("people.md")
    assert all(f"- **{name}**: " in text for name in OPERATORS.names())
    rows = dict(re.findall(r"`([\w-]+-v3)` \| ([\d.]+) \|", text))
    assert {task: float(share) for task, share in rows.items()} == EXPERT_CEILINGS


def test_the_guide_has_every_suite():
    text = tables.expand((DOCS / "guides" / "benchmark.md").read_text(encoding="utf-8"))
    for name in built_in_names():
        assert f"- `{name}`: {load_suite(name).summary[:20]}" in text


def test_no_table_breaks():
    for name in ("commands.md", "options.md", "algorithms.md", "people.md"):
        block = 0
        for line in page(name).splitlines():
            columns = len(re.split(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert not (block and columns) or columns == block, line
            block = columns


def test_a_marker_that_there_is_not():
    with pytest.raises(UnknownNameError, match="marker 'comands'.*commands"):
        tables.expand("<!-- silri: comands -->\n")


def test_help_texts_as_prose():
    text = "see --agent.kappa 3; 'silri list envs' shows --seed (docs/" + "explanation/peers.md)"
    assert tables.prose(text) == (
        "see `--agent.kappa` 3; `silri list envs` shows `--seed` ([peers](../explanation/peers.md))"
    )


def test_links_that_leave_the_documents():
    guide = DOCS / "guides" / "extend.md"
    text = (
        "[a](../../src/silri/agents/bc.py), [b](runs.md#commands), [c](../../AGENTS.md#how-to-add)"
    )
    assert links.rewrite(text, guide) == (
        f"[a](../source/{BC}.md), [b](runs.md#commands), [c](../source/AGENTS.md#how-to-add)"
    )
    assert (
        links.rewrite("```\n[a](../../AGENTS.md)\n```", guide) == "```\n[a](../../AGENTS.md)\n```"
    )
    back = links.rewrite("[d](docs/guides/runs.md), [e](https://a.b)", ROOT / "README.md")
    assert back == "[d](../guides/runs.md), [e](https://a.b)"


def test_what_is_linked_becomes_a_page():
    found = links.reachable([DOCS / "guides" / "extend.md"])
    assert ROOT / BC in found
    assert ROOT / "CONTRIBUTING.md" in found  # by way of AGENTS.md
    shown = links.content(ROOT / BC)
    assert "# src/silri/agents/bc.py\n\n````python\n" in shown
    assert "class BCAgent" in shown


@pytest.mark.slow
def test_the_site_builds_strictly_and_needs_no_network(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 30
    loaded = re.compile(r"<(?:script|img|iframe|link)[^>]*(?:src|href)=\"?(https?:[^\" >]*)")
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert not loaded.findall(text), path
        assert "<!-- silri:" not in text, path
    assert "<math" in (tmp_path / "explanation" / "silri.html").read_text(encoding="utf-8")
    for path in tmp_path.rglob("*.css"):
        assert not re.search(r"url\([\"']?https?:", path.read_text(encoding="utf-8")), path
