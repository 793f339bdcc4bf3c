"""HTML of a report: a whole page in one file, tables, facts; everything that is not ours escaped.

The page loads nothing: its policy forbids it, so that a name in the data cannot make it do so.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

from zeroflaw.version import __version__

LONGEST = 300  # letters of a fact that are shown
MOST = 24  # entries of a list that are shown


@dataclass(frozen=True)
class Cell:
    """A cell of a table. text: as shown. value: that it is sorted by. words: aligned to the left.

    group: whether a rule stands before it.
    """

    text: str
    value: float | None = None
    words: bool = False
    group: bool = False


@dataclass(frozen=True)
class Row:
    """heading: of the row, text. cells: those beside it. apart: whether it does not count."""

    heading: str
    cells: Sequence[Cell]
    apart: bool = False


def document(title: str, body: str) -> str:
    """Return a whole page. body: HTML."""
    folder = resources.files("zeroflaw.reports")
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{words(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}"
        f"<footer>Made by zeroflaw {escape(__version__)}.</footer>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def section(name: str, title: str, *parts: str) -> str:
    """Return a section with a heading. name: for links to it. parts: HTML."""
    inside = "\n".join(part for part in parts if part)
    return f'<section id="{escape(name)}">\n<h2>{words(title)}</h2>\n{inside}\n</section>\n'


def table(
    caption: str,
    heading: Sequence[Cell],
    rows: Iterable[Row],
    feet: Iterable[Row] = (),
    *,
    corner: str = "",
    groups: Sequence[tuple[str, int]] = (),
    sortable: bool = False,
) -> str:
    """Return a table. heading: its columns' titles but the first's, which is `corner`.

    groups: titles above the columns but the first, and how many columns each spans.
    """
    head = ""
    if groups:
        spans = "".join(
            f'<th scope="colgroup" colspan="{span}" class="group">{words(title)}</th>'
            for title, span in groups
        )
        head = f"<tr><td></td>{spans}</tr>\n"
    titles = "".join(f'<th scope="col"{_classes(one)}>{words(one.text)}</th>' for one in heading)
    head += f'<tr><th scope="col">{words(corner)}</th>{titles}</tr>'
    body = "\n".join(_row(row) for row in rows)
    foot = "\n".join(_row(row) for row in feet)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{words(caption)}">'
        f"<table{' class=sortable' if sortable else ''}>\n"
        f"<caption>{words(caption)}</caption>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n"
        + (f"<tfoot>\n{foot}\n</tfoot>\n" if foot else "")
        + "</table></div>"
    )


def facts(entries: Mapping[str, Any]) -> str:
    """Return a list of facts; what is nested gets the path of its names."""
    rows = "".join(
        f"<dt>{words(name)}</dt><dd>{words(text)}</dd>\n" for name, text in _flat(entries)
    )
    return f'<dl class="facts">\n{rows}</dl>'


def note(text: str) -> str:
    """Return a paragraph that explains."""
    return f'<p class="note">{words(text)}</p>'


def folded(summary: str, inside: str, opened: bool = False) -> str:
    """Return a part of the page that opens when its summary is pressed. inside: HTML."""
    state = " open" if opened else ""
    return f"<details{state}><summary>{words(summary)}</summary>\n{inside}\n</details>\n"


def percent(share: float) -> str:
    """A share of 1 in percent with one decimal, "–" where it is undefined."""
    return f"{100 * share:.1f}" if math.isfinite(share) else "–"


def words(text: object) -> str:
    """Any text for a page, escaped; what cannot be printed becomes a question mark."""
    plain = "".join(one if one.isprintable() or one == "\u00a0" else "�" for one in str(text))
    return escape(plain)


def _row(row: Row) -> str:
    cells = "".join(
        f"<td{_classes(cell)}{_value(cell)}>{words(cell.text)}</td>" for cell in row.cells
    )
    state = ' class="apart"' if row.apart else ""
    heading = words(row.heading)
    return f'<tr{state}><th scope="row" title="{heading}">{heading}</th>{cells}</tr>'


def _classes(cell: Cell) -> str:
    names = [name for name, on in (("words", cell.words), ("group", cell.group)) if on]
    return f' class="{" ".join(names)}"' if names else ""


def _value(cell: Cell) -> str:
    if cell.value is None:
        return ""
    value = cell.value if math.isfinite(cell.value) else -1.0
    return f' data-value="{value:.6g}"'


def _flat(entries: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for name, value in entries.items():
        own = str(name).replace("_", " ") if str(name).isidentifier() else str(name)
        title = f"{above} · {own}" if above else own
        if isinstance(value, Mapping):
            yield from _flat(value, title)
        elif isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value[-MOST:], 1 + max(len(value) - MOST, 0)):
                pairs = one.items() if isinstance(one, Mapping) else [("", one)]
                line = "; ".join(f"{key} {_plain(part)}".strip() for key, part in pairs)
                yield f"{title} · {number}", line
        elif isinstance(value, list | tuple):
            shown = "; ".join(_plain(one) for one in value[:MOST])
            rest = f"; and {len(value) - MOST} more" if len(value) > MOST else ""
            yield title, (shown + rest) or "none"
        else:
            yield title, _plain(value)


def _plain(value: object) -> str:
    text = "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
