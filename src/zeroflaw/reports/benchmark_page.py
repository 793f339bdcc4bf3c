"""The page of a benchmark: its tables beside the published ones, its cells and their figures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from zeroflaw.io.source import said_by
from zeroflaw.reports.figure_sections import figures_table, origin, problem_box
from zeroflaw.reports.grid import Number
from zeroflaw.reports.markup import (
    Cell,
    Row,
    document,
    folded,
    note,
    percent,
    section,
    table,
    words,
)
from zeroflaw.reports.results import Results
from zeroflaw.reports.results_table import remarks
from zeroflaw.types import ZeroflawError

TABLE = "table.json"
FORMAT = 1
OPENED = 400  # evaluations whose categories are listed; of the others the means
SHOWN = ("object_auroc", "object_ap", "point_auroc", "point_ap", "point_pro")
TITLES = ("scans, AUROC", "AP", "points, AUROC", "AP", "PRO")


@dataclass(frozen=True)
class Tested:
    """One test of a cell. folder: below the benchmark's. page: whether its own report lies there.

    results: None where they cannot be used.
    """

    folder: str
    results: Results | None
    page: bool


@dataclass(frozen=True)
class TrainedCell:
    """A cell as `table.json` has it. state: "done", "failed" or "open"; reason: why it failed."""

    name: str
    state: str
    reason: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Benchmark:
    """What `table.json` says. tables: title, columns, rows of texts and values, notes, of each."""

    title: str
    notes: tuple[str, ...]
    cells: tuple[TrainedCell, ...]
    tables: tuple[Mapping[str, Any], ...]


def read_benchmark(folder: Path) -> Benchmark:
    """Read `table.json`. Raises ZeroflawError if it is missing or damaged."""
    path = folder / TABLE
    again = "run `zeroflaw benchmark` again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, expected {FORMAT}")
        cells = tuple(
            TrainedCell(
                str(one["name"]),
                str(one["state"]),
                str(one["reason"] or ""),
                tuple(str(test) for test in one["tests"]),
            )
            for one in content["cells"]
        )
        tables = tuple(content["tables"])
        for one in tables:
            _block(one)
        return Benchmark(str(content["title"]), tuple(content["notes"]), cells, tables)
    except OSError as error:
        raise ZeroflawError(f"{path}: cannot be read ({error.strerror}); {again}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        said = f"{type(error).__name__}: {said_by(error)}"
        raise ZeroflawError(f"{path}: damaged ({said}); {again}") from None


def benchmark_page(
    benchmark: Benchmark,
    tested: Mapping[str, Sequence[Tested]],
    run: Mapping[str, Any],
    problems: Sequence[str],
) -> str:
    """Return the page of a benchmark; the same content gives the same bytes.

    tested: the tests of each cell, by its name. run: content of `run.json`.
    """
    links = {"tables": "Tables", "cells": "Cells", "origin": "What produced this"}
    nav = "".join(f'<a href="#{name}">{words(text)}</a>\n' for name, text in links.items())
    sentences = "; ".join(str(one) for one in benchmark.notes)
    body = (
        f"<header>\n<h1>{words(benchmark.title)}</h1>\n"
        + note(f"{sentences}.")
        + problem_box(problems)
        + f"<nav>{nav}</nav>\n</header>\n"
        + section("tables", "Tables", *(_block(one) for one in benchmark.tables))
        + _cells(benchmark.cells, tested)
        + origin(run, {})
    )
    return document(benchmark.title, body)


def _block(block: Mapping[str, Any]) -> str:
    """One table as `Block.plain` in benchmark_table.py has it."""
    columns = [str(one) for one in block["columns"]]
    texts = [[isinstance(one, str) for one in row[1:]] for row in block["rows"]]
    wordy = [all(column) for column in zip(*texts, strict=True)] or [False] * (len(columns) - 1)
    heading = [Cell(one, words=wide) for one, wide in zip(columns[1:], wordy, strict=True)]
    rows = [
        Row(
            str(row[0]),
            [Cell(_text(one), words=wide) for one, wide in zip(row[1:], wordy, strict=True)],
        )
        for row in block["rows"]
    ]
    notes = "".join(note(str(one)) for one in block["notes"])
    return table(str(block["title"]), heading, rows, corner=columns[0]) + notes


def _text(cell: str | Mapping[str, Any]) -> str:
    """A text as it is; a value with its deviation, "–" where it is undefined."""
    if isinstance(cell, str):
        return cell
    value, deviation = cell["value"], cell["deviation"]
    number = math.nan if value is None else float(value)
    return str(Number(number, deviation, signed=bool(cell.get("signed")))).replace("-", "−")


def _cells(cells: Sequence[TrainedCell], tested: Mapping[str, Sequence[Tested]]) -> str:
    """All cells with their state and means, and what each test found."""
    rows: list[Row] = []
    opened: list[str] = []
    left = 0
    for cell in cells:
        if not tested.get(cell.name):
            blank = [Cell("")] * len(SHOWN)
            rows.append(Row(cell.name, [Cell(cell.state, words=True), Cell(""), *blank], True))
        for test in tested.get(cell.name, ()):
            name = test.folder.rpartition("/")[2]
            means = test.results.mean() if test.results is not None else {}
            found = [means.get(figure, math.nan) for figure in SHOWN]
            figures = [Cell(percent(value), value) for value in found]
            rows.append(
                Row(cell.name, [Cell(cell.state, words=True), Cell(name, words=True), *figures])
            )
            if test.results is None:
                continue
            if len(opened) < OPENED:
                opened.append(_opened(test, test.results))
            else:
                left += 1
    heading = [Cell("state", words=True), Cell("tested on", words=True)]
    heading += [Cell(title) for title in TITLES]
    failed = "".join(
        f"<li>{words(cell.name)}: {words(cell.reason)}</li>\n"
        for cell in cells
        if cell.state == "failed"
    )
    return section(
        "cells",
        "Cells",
        table("Means of each test, in percent", heading, rows, corner="cell", sortable=True),
        f"<h3>Why cells failed</h3>\n<ul>{failed}</ul>" if failed else "",
        "<h3>Each test by category</h3>" if opened else "",
        *opened,
        note(
            "Curves and pictures of a test are on its own page, made by “zeroflaw report” with the "
            "test's folder."
        ),
        note(f"The categories of {left:,} more tests are left out to keep the page small.")
        if left
        else "",
    )


def _opened(test: Tested, results: Results) -> str:
    link = ""
    if test.page:
        address = quote(f"{test.folder}/report.html")
        link = f'<p><a href="{words(address)}">Its own page, with curves and pictures</a></p>\n'
    inside = link + figures_table(results) + "".join(map(note, remarks(results)))
    return folded(test.folder, inside)
