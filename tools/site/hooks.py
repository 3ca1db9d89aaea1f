"""What MkDocs calls while it builds: `mkdocs.yml` names this file."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # for tools.site, and for the example environment
os.chdir(ROOT)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from latex2mathml.converter import convert  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402

from tools.site import links, tables  # noqa: E402

MATH = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add a page for every file beyond ``docs/`` that a page links to."""
    pages = [Path(file.abs_src_path) for file in files.documentation_pages()]
    for path in links.reachable(pages):
        files.append(File.generated(config, links.uri(path), content=links.content(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Tables from the parsers, equations as MathML, links that stay in the site."""
    name = page.file.src_uri
    prefix = f"{links.FOLDER}/"
    if name.startswith(prefix):
        source = ROOT / name.removeprefix(prefix)
    else:
        source = links.DOCS / name
        markdown = MATH.sub(equation, tables.expand(markdown))
    return links.rewrite(markdown, source) if source.exists() else markdown


def equation(match: re.Match[str]) -> str:
    """A block of LaTeX as MathML, which browsers show without a script."""
    lines = [line for line in match[1].split("\\\\\n") if line.strip()]
    shown = "".join(convert(line.strip(), display="block") for line in lines)
    return f'<div class="equation">{shown}</div>'
