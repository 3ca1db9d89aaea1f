"""What the documents name exists: links, paths, modules, commands, flags, extras, dependencies."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from silri.agents.registry import AGENTS
from silri.cli.main import VERBS
from silri.envs.registry import ENVS
from silri.intervention.registry import OPERATORS
from tests.source import PACKAGE, ROOT, file_of, top_level_names, tree_of
from tools.site.helptext import printed

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# A changelog names what has gone, too.
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
FOLDERS = {"src", "tests", "docs", "tools", "examples", "benchmarks", ".ci"}
KINDS = ("tutorials", "guides", "reference", "explanation")
SUFFIXES = {".py", ".md", ".toml", ".sh", ".yaml"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """(language, content) of every fenced block."""
    return ((m[1], m[2]) for m in FENCE.finditer(path.read_text(encoding="utf-8")))


def spans(path: Path) -> list[str]:
    """Every inline code span."""
    return SPAN.findall(FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


per_document = pytest.mark.parametrize("path", CURRENT, ids=ids(CURRENT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids(DOCUMENTS))
def test_links_resolve(path):
    for link in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue  # the network is nobody's test
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@cache
def written_by_readers() -> set[str]:
    """Files that a page tells its reader to write: the titles of its code blocks."""
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    return {name for text in pages for name in re.findall(r'^```\w+ title="(\S+)"', text, re.M)}


def missing_path(text: str) -> bool:
    """Whether ``text`` reads as a path of this repository and there is no such path."""
    text = re.sub(r"(:\d+)?[/.,]*$", "", text)
    if re.fullmatch(r"evaluation/[a-z_]+", text) or text in written_by_readers():
        return False  # a metric has the name of a package in front
    if not re.fullmatch(r"[\w.*/-]+", text) or re.search(r"\b[A-Z]{2,}\b(?!\.md)", text):
        return False  # no path, or a placeholder such as runs/NAME
    first, _, rest = text.partition("/")
    packages = {p.name for p in PACKAGE.iterdir() if p.is_dir()}
    if first in FOLDERS:
        roots = [ROOT]
    elif rest and first in packages:
        roots = [PACKAGE, ROOT / "tests"]
    elif Path(text).suffix in SUFFIXES and not text.startswith("*"):
        roots = [ROOT, PACKAGE, ROOT / "tests", ROOT / "docs", ROOT / "tools", ROOT / "src"]
        roots += [ROOT / "docs" / kind for kind in KINDS]
        roots += [PACKAGE / name for name in packages]
    else:
        return False
    return not any(any(root.glob(text)) for root in roots)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("src/silri/core/specs.py", False),
        ("src/silri/core", False),
        ("tests/test_*.py", False),
        ("docs/no-such-page.md", True),
        ("agents/no_such_agent.py", True),
        ("core/specs.py", False),
        ("AGENTS.md", False),
        ("NOSUCH.md", True),
        ("runs/NAME/summary.json", False),
        ("metaworld/drawer-open-v3", False),
        ("success_rate >= 0.9", False),
    ],
)
def test_the_path_check_itself_sees(text, missing):
    assert missing_path(text) == missing


@per_document
def test_paths_exist(path):
    missing = [text for text in spans(path) if missing_path(text)]
    assert not missing


SOURCES = sorted(
    path
    for folder in ("src", "tests", "benchmarks", "examples", "tools")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
)
NAMED_FILE = re.compile(r"\b(?:(?:docs|src|tests|benchmarks|tools)/[\w./*-]+|[\w-]+\.md\b)")


MADE = {"report.md"}  # by `silri bench`


def mentions(text: str) -> list[str]:
    """What ``text`` refers to and is not in this repository: files, and numbers of traps."""
    files = [name for name in NAMED_FILE.findall(text) if missing_path(name) and name not in MADE]
    return files + re.findall(r"\btraps? T\d+", text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see docs/guides/benchmark.md and README.md", []),
        ("no_design.md, section 5", ["no_design.md"]),
        ("docs/design.md.", ["docs/design.md."]),
        ("a finite gradient (trap T5)", ["trap T5"]),
        ("traps T6 and T12", ["traps T6"]),
    ],
)
def test_the_check_of_sources_itself_sees(text, found):
    assert mentions(text) == found


# -- style -----------------------------------------------------------------------------------------

WIDTH, LINES, COLUMNS = 100, 5, 7
# What `silri bench --report` writes has the tables that it has.
PROSE = [path for path in DOCUMENTS if path.name != "report.md"]
PAGES = [path for path in PROSE if path.is_relative_to(ROOT / "docs")]


def faults_of_style(text: str) -> list[str]:
    """Lines, paragraphs and tables of a document that are too long or too wide."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    faults, inside, paragraph = [], False, 0
    for line in text.splitlines():
        inside ^= line.lstrip().startswith("```")
        table = line.startswith("|") and not inside
        # A link or a command cannot be wrapped in a cell, nor an equation or an image anywhere.
        free = (table and re.search(r"\]\(|`", line)) or line.startswith("![") or "\\" in line
        if len(line) > WIDTH and not free:
            faults.append(f"{len(line)} characters: {line}")
        if table and len(re.split(r"(?<!\\)\|", line.strip().strip("|"))) > COLUMNS:
            faults.append(f"more than {COLUMNS} columns: {line}")
        prose = not inside and line.strip() and not re.match(r"\s*([|#`<]|---|[-*] |\d+\. )", line)
        item = not inside and re.match(r"\s*([-*] |\d+\. )", line)
        paragraph = 1 if item else paragraph + 1 if prose else 0
        if paragraph == LINES + 1:
            faults.append(f"a paragraph of more than {LINES} lines: {line}")
    return faults


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a short line\n", 0),
        ("x" * 101, 1),
        ("```\n" + "x" * 101 + "\n```", 1),
        ("| " + "x" * 101 + " |", 1),
        ("| `" + "x" * 101 + "` |", 0),
        ("| a | b | c | d | e | f | g |", 0),
        ("| a | b | c | d | e | f | g | h |", 1),
        ("| `a\\|b` | b | c | d | e | f | g |", 0),
        ("line\n" * 5, 0),
        ("line\n" * 6, 1),
        ("- item\n" * 9, 0),
        ("- item\n" + "  more\n" * 5, 1),
        ("```\n" + "code\n" * 9 + "```", 0),
        ("| row |\n" * 9, 0),
    ],
)
def test_the_check_of_style_itself_sees(text, faults):
    assert len(faults_of_style(text)) == faults


@pytest.mark.parametrize("path", PROSE, ids=ids(PROSE))
def test_documents_are_easy_on_the_eye(path):
    assert not faults_of_style(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=ids(PAGES))
def test_a_page_says_first_who_it_is_for(path):
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    first = re.sub(r"^# .*$", "", text.strip(), count=1, flags=re.MULTILINE).strip()
    assert first.startswith("For who"), first[:80]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 110


def test_the_documents_stay_light():
    """Laboratory notes are not documentation; what runs say is in docs/results."""
    words = {path: len(path.read_text(encoding="utf-8").split()) for path in PAGES}
    assert words[ROOT / "docs" / "explanation" / "notebook.md"] <= 2_000
    apart = {ROOT / "docs" / "dependencies.md", ROOT / "docs" / "results" / "README.md"}
    assert sum(count for path, count in words.items() if path not in apart) <= 21_000


def test_the_documentation_is_few_files():
    assert sum(path.is_file() for path in (ROOT / "docs").rglob("*")) < 150


def test_the_code_refers_to_what_is_there():
    missing = {
        str(path.relative_to(ROOT)): found
        for path in SOURCES
        if (found := mentions(path.read_text(encoding="utf-8")))
    }
    assert not missing


@per_document
def test_modules_and_attributes_exist(path):
    for text in spans(path):
        if match := re.fullmatch(r"(silri(?:\.\w+)+)(?::(\w+))?(?:\(.*\))?", text):
            parts, attribute = match[1].split("."), match[2]
            if not (file := file_of(".".join(parts))):
                file, attribute = file_of(".".join(parts[:-1])), parts[-1]
            assert file, text
            assert attribute is None or attribute in top_level_names(tree_of(file)), text


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every command in a shell block or a code span, one command each."""
    shell = "\n".join(text for lang, text in blocks(path) if lang in {"", "bash", "sh", "console"})
    for line in [*re.sub(r"\\\n\s*", " ", shell).splitlines(), *spans(path)]:
        for part in re.split(r"&&|;|\s\|\s", re.sub(r"^\s*\$ ", "", line)):
            # Brackets mark what may be left out in a synopsis; extras keep theirs.
            if re.match(r"\s*(\w+=\S+ )*(\.venv/bin/)?(silri|make)(\s|$)", part):
                text = re.sub(r"[\[\]]", " ", part.replace(".venv/bin/", ""))
                words = shlex.split(text, comments=True)
                yield [word for word in words if not re.match(r"[A-Z_]+=", word)]


def check_silri(words: list[str]) -> None:
    """The verb is in ``silri --help``, each flag in the verb's, each name in its list."""
    shown = shlex.join(words)
    if len(words) < 2 or words[1].isupper():
        return
    if words[1].startswith("-"):
        assert words[1] in {"--help", "--version"}, shown
        return
    verb, rest = words[1:2], words[2:]
    assert verb[0] in VERBS, f"{shown}: no such verb"
    if verb == ["data"] and rest and rest[0].islower():
        verb, rest = [*verb, rest[0]], rest[1:]
    named: list[str] = []  # --agent decides which flags there are
    yours: list[str] = []  # of a module that a page tells its reader to write
    for flag, value in itertools.pairwise(rest):
        if flag not in {"--agent", "--env", "--operator"}:
            continue
        if value.partition(":")[0] + ".py" in written_by_readers():
            yours.append(f"{flag}.")
        elif value.islower():
            named += [flag, value]
            if flag != "--env" or value.startswith("metaworld/"):
                known = {"--agent": AGENTS, "--env": ENVS, "--operator": OPERATORS}[flag]
                families = {name.partition(":<")[0] for name in known.names() if ":<" in name}
                there = value in known.names() or value.partition(":")[0] in families
                assert there, f"{shown}: unknown {value}"
    text = printed(*verb, *named)
    for flag in (word.partition("=")[0] for word in rest if word.startswith("--")):
        found = re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text)
        assert found or flag.startswith(tuple(yours)), f"{shown}: no {flag}"


MAKE_VERBS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@per_document
def test_commands_exist(path):
    for words in commands(path):
        if words[0] == "make":
            verbs = {word for word in words[1:] if not word.startswith("-") and not word.isupper()}
            assert verbs <= MAKE_VERBS, shlex.join(words)
        else:
            check_silri(words)


@per_document
def test_python_examples_parse_and_their_imports_exist(path):
    for language, code in blocks(path):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("silri"):
                file = file_of(node.module or "")
                assert file, node.module
                for alias in node.names:
                    found = alias.name in top_level_names(tree_of(file))
                    assert found or file_of(f"{node.module}.{alias.name}"), ast.unparse(node)


@per_document
def test_extras_exist(path):
    named = re.findall(r"silri\[([\w, ]+)\]", path.read_text(encoding="utf-8"))
    extras = {extra.strip() for group in named for extra in group.split(",")}
    extras = {extra for extra in extras if not extra.isupper()}  # NAME
    assert extras <= set(PROJECT["optional-dependencies"])


def test_the_code_names_extras_that_exist():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "MissingExtraError":
                extra = node.args[0]
                if isinstance(extra, ast.Constant):
                    assert extra.value in PROJECT["optional-dependencies"], path


def test_every_dependency_has_its_reason():
    def name(requirement: str) -> str:
        return re.split(r"[\[<>=;~! ]", requirement)[0]

    declared = {("base", name(r)) for r in PROJECT["dependencies"]}
    for extra, requirements in PROJECT["optional-dependencies"].items():
        declared |= {(extra, name(r)) for r in requirements}
    table = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.-]+)`[^|]*\| (\w+) \|[^|]+\|", table, re.MULTILINE)
    assert {(extra, package) for package, extra in rows} == declared
