"""One self-contained page from a Markdown report: no script, no network, figures inlined."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from silri.core.errors import DataError, MissingExtraError

_IMAGE = re.compile(r'<img src="([^"]+)"')
_LONG = re.compile(r"<td>(?=[^<]{36})")  # a cell of words, which may be broken; numbers stay whole
_VERDICTS = {"met": "good", "missed": "bad", "not measured": "open"}
_STYLE = """
:root { color-scheme: light; --ink:#22272e; --quiet:#5b6570; --line:#e3e6ea; --tint:#f6f8fa;
  --accent:#0072b2; }
* { box-sizing: border-box; }
body { margin:0; color:var(--ink); background:#fff;
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif; }
main { max-width:62rem; margin:0 auto; padding:2.2rem 1.1rem 4rem; }
h1 { font-size:1.9rem; line-height:1.2; margin:0 0 .6rem; letter-spacing:-.01em; }
h2 { font-size:1.3rem; margin:2.6rem 0 .6rem; padding-top:1.1rem;
  border-top:1px solid var(--line); }
h3 { font-size:1.05rem; margin:1.8rem 0 .4rem; }
p, li { max-width:46rem; }
a { color:var(--accent); }
em { color:var(--quiet); font-style:normal; font-size:.92em; }
code { background:var(--tint); border-radius:4px; padding:.1em .35em; font-size:.88em; }
pre { background:var(--tint); border:1px solid var(--line); border-radius:8px; overflow-x:auto;
  padding:.8rem 1rem; }
pre code { background:none; padding:0; }
.table { overflow-x:auto; margin:1rem 0; border:1px solid var(--line); border-radius:8px; }
table { border-collapse:collapse; width:100%; font-size:.86rem;
  font-variant-numeric:tabular-nums; }
th { text-align:left; color:var(--quiet); font-weight:600; background:var(--tint);
  vertical-align:bottom; }
th, td { padding:.42rem .7rem; border-bottom:1px solid var(--line); }
td { vertical-align:top; }
tr:last-child td { border-bottom:0; }
td:first-child, th:first-child { position:sticky; left:0; background:#fff; }
th:first-child { background:var(--tint); }
td { white-space:nowrap; } td.long { white-space:normal; min-width:13rem; }
.good, .bad, .open { display:inline-block; border-radius:99px; padding:.05rem .6rem;
  font-size:.8rem; font-weight:600; white-space:nowrap; }
.good { background:#d8f3e6; color:#00603f; } .bad { background:#fde3d3; color:#9a3d00; }
.open { background:#e9ecf0; color:#4a545e; }
figure, p:has(> img) { margin:1.2rem 0; max-width:none; overflow-x:auto; }
img { display:block; width:100%; height:auto; }
@media (max-width:40rem) { main { padding-top:1.2rem; } h1 { font-size:1.5rem; }
  p:has(> img) img { min-width:34rem; } table { font-size:.8rem; } }
@media print { .table { overflow:visible; border:0; } h2 { break-after:avoid; } }
"""


def to_html(markdown: str, folder: Path) -> str:
    """The page.

    Args:
        markdown: with images relative to ``folder``.
        folder: of the report.

    Raises:
        MissingExtraError: the Markdown renderer is not installed.
        DataError: an image is not there.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise MissingExtraError("report", "a benchmark's report (markdown-it-py)") from error
    # Not raw HTML: labels and analogies come from a suite's file.
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    body = body.replace("<table>", '<div class="table"><table>').replace(
        "</table>", "</table></div>"
    )
    for words, kind in _VERDICTS.items():
        body = body.replace(f"<td>{words}</td>", f'<td><span class="{kind}">{words}</span></td>')
    body = _LONG.sub('<td class="long">', body)
    body = _IMAGE.sub(lambda match: f'<img src="{_inline(folder / match[1])}"', body)
    title = html.escape(markdown.partition("\n")[0].lstrip("# "))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _inline(path: Path) -> str:
    """A figure as a data URI."""
    if path.suffix != ".png" or not path.is_file():
        raise DataError(f"the report names a figure that is not there: {path}")
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
