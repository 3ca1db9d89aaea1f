"""What the documents name exists: links, paths, modules, commands, flags, extras, dependencies."""

from __future__ import annotations

import ast
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.source import PACKAGE, ROOT, file_of, top_level_names, tree_of

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# A changelog names what has gone, too.
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
FOLDERS = {"src", "tests", "docs", "tools", "examples", "benchmarks", ".ci"}
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


def missing_path(text: str) -> bool:
    """Whether ``text`` reads as a path of this repository and there is no such path."""
    text = re.sub(r"(:\d+)?[/.,]*$", "", text)
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


@cache
def silri(*arguments: str) -> str:
    """What the command line prints."""
    code = "import sys; sys.argv[0] = 'silri'; from silri.cli.main import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "400", "NO_COLOR": "1"},
    )
    assert result.returncode == 0, f"silri {shlex.join(arguments)}: {result.stderr}"
    return result.stdout


def check_silri(words: list[str]) -> None:
    """The verb is in ``silri --help``, each flag in the verb's, each name in its list."""
    shown = shlex.join(words)
    if len(words) < 2 or words[1].isupper():
        return
    if words[1].startswith("-"):
        assert words[1] in silri("--help"), shown
        return
    verb, rest = words[1], words[2:]
    assert re.search(rf"\b{verb}\b", silri("--help")), f"{shown}: no such verb"
    named: list[str] = []  # --agent decides which flags there are
    for flag, value in itertools.pairwise(rest):
        if flag in {"--agent", "--env", "--operator"} and value.islower():
            named += [flag, value]
            kind = flag.removeprefix("--") + "s"
            if flag != "--env" or value.startswith("metaworld/"):
                assert value in silri("list", kind), f"{shown}: unknown {value}"
    text = silri(verb, *named, "--help")
    for flag in (word.partition("=")[0] for word in rest if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text), f"{shown}: no {flag}"


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
