"""A table says the same on a terminal, in Markdown, CSV and LaTeX, whatever stands in it."""

from __future__ import annotations

import csv
import io
import math
import re

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from zeroflaw.reports.grid import Grid, Number, percent, plain

GRID = Grid(
    ("category", "scans", "AUROC"),
    (("tap_0", 1200, percent(0.5)), ("50% & more", 7, percent(math.nan)), ("mean", None, "12")),
    title="Points",
    notes=("In percent.",),
    summary=1,
)
NUMBERS = Grid(
    ("test", "ours", "difference"),
    (
        ("a", Number(91.234, 1.25), Number(-2.1, signed=True)),
        ("b", percent(0.5), Number(0.0, signed=True)),
        ("c", Number(12.345), Number(1.1, signed=True)),
    ),
)


def shown(grid: Grid, width: int = 80) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(grid.rich())
    return text.getvalue()


def test_numbers_have_one_decimal_and_a_dash_where_undefined() -> None:
    assert str(percent(0.12345)) == "12.3"
    assert str(percent(math.nan)) == str(Number(math.inf)) == "–"
    assert str(Number(50, 1.23)) == "50.0 ± 1.2"
    assert str(Number(50, math.nan)) == "50.0"
    assert str(Number(1.23, signed=True)) == "+1.2"
    assert str(Number(-0.01, signed=True)) == str(Number(0.0, signed=True)) == "0.0"


def test_markdown_aligns_numbers_and_escapes_text() -> None:
    assert NUMBERS.markdown() == (
        "| test | ours | difference |\n| --- | ---: | ---: |\n| a | 91.2 ± 1.2 | -2.1 |\n"
        "| b | 50.0 | 0.0 |\n| c | 12.3 | +1.1 |\n"
    )
    said = GRID.markdown()
    assert said.startswith("## Points\n\n| category |")
    assert r"| tap\_0 | 1,200 | 50.0 |" in said
    assert said.endswith("| **mean** |  | 12 |\n\nIn percent.\n")


def test_latex_is_for_booktabs_and_escapes_names() -> None:
    said = GRID.latex()
    for line in (
        r"\caption{Points}",
        r"\begin{tabular}{lrl}",
        r"tap\_0 & 1,200 & 50.0 \\",
        r"50\% \& more & 7 & -- \\",
        r"\par\footnotesize In percent.",
    ):
        assert line in said.splitlines()
    assert said.index("7 & --") < said.rindex(r"\midrule") < said.index("mean &")
    assert r"a & 91.2 $\pm$ 1.2 & $-$2.1 \\" in NUMBERS.latex()


def test_csv_keeps_what_rounding_hides() -> None:
    rows = list(csv.reader(io.StringIO(NUMBERS.csv())))
    assert rows[0] == ["test", "ours", "ours deviation", "difference"]
    assert rows[1] == ["a", "91.234", "1.25", "-2.1"]
    assert rows[2] == ["b", "50", "", "0"]
    assert list(csv.reader(io.StringIO(GRID.csv())))[1:] == [
        ["tap_0", "1200", "50"],
        ["50% & more", "7", ""],
        ["mean", "", "12"],
    ]


def test_the_terminal_shows_the_same_numbers() -> None:
    said = shown(GRID)
    assert said.splitlines()[0].strip() == "Points"
    for text in ("tap_0", "1,200", "50.0", "–", "mean"):
        assert text in said
    assert len(re.findall("─{5}", said.replace("─" * 20, "─" * 5))) >= 2


def test_a_grid_without_rows_is_still_a_table() -> None:
    empty = Grid(("a", "b"), ())
    assert empty.markdown() == "| a | b |\n| --- | --- |\n"
    assert empty.csv() == "a,b\n"
    assert r"\begin{tabular}{ll}" in empty.latex()
    assert "a" in shown(empty)


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4))
def test_any_text_keeps_the_tables_form(rows: list[tuple[str, str]]) -> None:
    grid = Grid(("name", "value"), tuple(rows))
    markdown = grid.markdown().split("\n")
    assert len(markdown) == len(rows) + 3
    assert all(
        len(re.findall(r"(?<!\\)\|", line.replace("\\\\", ""))) == 3 for line in markdown[:-1]
    )
    body = grid.latex().split("\n")
    assert len(body) == len(rows) + 10
    for line in body[6:-4]:
        bare = re.sub(
            r"\\text[a-z]+\{\}|\\[\\{}$&#%_]|\$-\$|\$\\pm\$|\$\\times\$|\{[\[*]\}", "", line
        )
        assert bare.count("&") == 1
        assert not set(bare.removesuffix("\\\\")) & set("#$%_{}~^\\")
    read = list(csv.reader(io.StringIO(grid.csv(), newline="")))
    assert read[1:] == [[plain(cell) for cell in row] for row in rows]
    assert "\x1b" not in shown(grid)
