"""A table of text and numbers, written for a terminal, Markdown, CSV and LaTeX alike."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zeroflaw.types import printable

UNDEFINED = "–"
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # an argument of the line break before it, else
    "*": "{*}",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
}
_MARKDOWN = "\\`*_[]<>|"


@dataclass(frozen=True)
class Number:
    """A number as a table shows it; nan is shown as "–".

    deviation: shown behind ±, if there is one. signed: whether a positive one gets a plus, as
    differences do.
    """

    value: float
    deviation: float | None = None
    signed: bool = False

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return UNDEFINED
        rounded = round(self.value, 1) + 0.0  # no -0.0
        text = f"{rounded:+.1f}" if self.signed and rounded else f"{rounded:.1f}"
        if self.deviation is None or not math.isfinite(self.deviation):
            return text
        return f"{text} ± {self.deviation:.1f}"


Cell = str | int | Number | None


def percent(share: float) -> Number:
    """Return a share of 1 as percent."""
    return Number(100 * share)


@dataclass(frozen=True)
class Grid:
    """A table. columns: their titles. rows: a cell per column; None is left empty.

    summary: how many of the last rows stand below a line, as means do. notes: sentences below it.
    Whole numbers get separators between thousands. Anything may stand in a text.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    summary: int = 0

    def markdown(self) -> str:
        """Return the table in Markdown, its title as a heading above and its notes below."""
        sides = ["---:" if number else "---" for number in self._numeric()]
        titles = [_markdown(title) for title in self.columns]
        body = [[_markdown(_shown(cell)) for cell in row] for row in self.rows]
        for row in body[len(body) - self.summary :]:
            row[0] = f"**{row[0]}**" if row[0] else ""
        lines = [f"| {' | '.join(row)} |" for row in (titles, sides, *body)]
        heading = [f"## {_markdown(self.title)}", ""] if self.title else []
        below = [line for note in self.notes for line in ("", _markdown(note))]
        return "\n".join([*heading, *lines, *below]) + "\n"

    def csv(self) -> str:
        """Return rows and titles as CSV: numbers unrounded, undefined ones empty.

        A column with deviations is followed by one of them. Title and notes are left out.
        """
        spread = [
            any(isinstance(cell, Number) and cell.deviation is not None for cell in column)
            for column in self._by_column()
        ]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        titles = [
            [title, f"{title} deviation"] if wide else [title]
            for title, wide in zip(self.columns, spread, strict=True)
        ]
        writer.writerow([word for words in titles for word in words])
        for row in self.rows:
            cells = [_csv_cells(cell, wide) for cell, wide in zip(row, spread, strict=True)]
            writer.writerow([word for words in cells for word in words])
        return text.getvalue()

    def latex(self) -> str:
        """Return a LaTeX table for the package booktabs, with the title as its caption."""
        sides = "".join("r" if number else "l" for number in self._numeric())
        body = [" & ".join(map(_latex_cell, row)) + r" \\" for row in self.rows]
        if self.summary:
            body.insert(len(body) - self.summary, r"\midrule")
        lines = [
            r"\begin{table}",
            r"\centering",
            *([rf"\caption{{{_latex(self.title)}}}"] if self.title else []),
            rf"\begin{{tabular}}{{{sides}}}",
            r"\toprule",
            " & ".join(map(_latex, self.columns)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {_latex(note)}" for note in self.notes),
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def rich(self) -> Table:
        """Return the table for a terminal; its notes are not among it."""
        table = Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            title=Text(plain(self.title), "bold") if self.title else None,
            title_justify="left",
        )
        for title, number in zip(self.columns, self._numeric(), strict=True):
            justify: Literal["right", "left"] = "right" if number else "left"
            table.add_column(Text(plain(title)), justify=justify, no_wrap=number, overflow="fold")
        for place, row in enumerate(self.rows):
            below = place >= len(self.rows) - self.summary
            table.add_row(
                *(Text(plain(_shown(cell)), "bold" if below else "") for cell in row),
                end_section=place == len(self.rows) - self.summary - 1 and self.summary > 0,
            )
        return table

    def _by_column(self) -> list[tuple[Cell, ...]]:
        return [tuple(row[place] for row in self.rows) for place in range(len(self.columns))]

    def _numeric(self) -> list[bool]:
        """Which columns hold numbers and no text."""
        return [
            any(isinstance(cell, int | Number) for cell in column)
            and not any(isinstance(cell, str) and cell != UNDEFINED for cell in column)
            for column in self._by_column()
        ]


def plain(text: str) -> str:
    """Return the text on one line, without what would steer a terminal."""
    line = " ".join(text.split()) if not text.isprintable() else text
    return printable(line)


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in _MARKDOWN else letter for letter in plain(text))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in plain(text))


def _latex_cell(cell: Cell) -> str:
    if not isinstance(cell, Number):
        return _latex(_shown(cell))
    return _latex(str(cell).replace("-", "−"))


def _csv_cells(cell: Cell, wide: bool) -> list[str]:
    if not isinstance(cell, Number):
        return ["" if cell is None else plain(str(cell))] + [""] * wide
    values = (cell.value, cell.deviation) if wide else (cell.value,)
    return ["" if one is None or not math.isfinite(one) else f"{one:.10g}" for one in values]
