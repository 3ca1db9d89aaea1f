"""Links that leave ``docs/``: the file they name becomes a page of the site, too.

On a web page of the repository such a link shows the file; in the site there would be nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FOLDER = "source"  # in the site
FENCE = re.compile(r"^(`{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml"}


def outside(path: Path) -> Iterator[Path]:
    """Files beyond ``docs/`` that a document links to."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        target = _target(path, link)
        if target and target.is_file() and not target.is_relative_to(DOCS):
            yield target


def reachable(pages: Iterable[Path]) -> list[Path]:
    """Every file beyond ``docs/`` that the pages, and what they link to, name."""
    found: list[Path] = []
    waiting = list(pages)
    while waiting:
        page = waiting.pop()
        for target in outside(page):
            if target not in found:
                found.append(target)
                if target.suffix == ".md":
                    waiting.append(target)
    return sorted(found)


def uri(path: Path) -> str:
    """Where a file of the repository is in the site, before it is built."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = f"{FOLDER}/{path.relative_to(ROOT).as_posix()}"
    return name if path.suffix == ".md" else f"{name}.md"


def content(path: Path) -> str:
    """The page that shows a file beyond ``docs/``."""
    head = "---\nsearch:\n  exclude: true\n---\n\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return head + text
    language = LANGUAGES.get(path.suffix, "text")
    return f"{head}# {path.relative_to(ROOT)}\n\n````{language}\n{text}````\n"


def rewrite(markdown: str, source: Path) -> str:
    """``markdown`` of the file ``source`` with links as the site has them."""
    here = Path(uri(source)).parent

    def link(match: re.Match[str]) -> str:
        target = _target(source, match[1])
        if target is None or not target.exists():
            return match[1]  # the build says so
        if source.is_relative_to(DOCS) and target.is_relative_to(DOCS):
            return match[1]
        anchor = match[1].partition("#")[2]
        place = Path(os.path.relpath(uri(target), here)).as_posix()
        return f"{place}#{anchor}" if anchor else place

    pieces, last = [], 0
    for fence in FENCE.finditer(markdown):
        pieces += [LINK.sub(link, markdown[last : fence.start()]), fence[0]]
        last = fence.end()
    return "".join([*pieces, LINK.sub(link, markdown[last:])])


def _target(source: Path, link: str) -> Path | None:
    file = link.partition("#")[0]
    if not file or re.match(r"[a-z]+:", link):
        return None
    return (source.parent / file).resolve()
