"""The page of a benchmark shows its tables, its cells and what each test found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation_folder import Page, evaluation, scan
from zeroflaw.cli import main
from zeroflaw.report import report
from zeroflaw.reports.benchmark_table import Block, Value

HOSTILE = "<img src=x onerror=alert(1)>"
SCANS = (scan("cup/a", "cup", "dent", 0.9), scan("cup/b", "cup", "good", 0.2))


def benchmark(folder: Path, **changes: Any) -> Path:
    """A folder as a benchmark leaves it: a cell done, one failed, one open."""
    done = "cells/full/parts/bottle/0/parts"
    evaluation(folder / done, SCANS)
    cells = [
        {"name": "full/parts/bottle/0", "state": "done", "reason": None, "tests": [done]},
        {"name": "full/parts/cup/0", "state": "failed", "reason": "no memory", "tests": []},
        {"name": "full/parts/cup/1", "state": "open", "reason": None, "tests": []},
    ]
    rows = (
        ("bottle", Value(81.25, 1.5, 2), Value(80.0, seeds=1), Value(1.25, signed=True)),
        ("mean", Value(), Value(70.0, seeds=1), Value(-2.5, signed=True)),
    )
    table = Block("Table 1", ("category", "ours", "theirs", "ours − theirs"), rows, ("a note",))
    content = {
        "format": 1,
        "title": "One against the rest",
        "notes": ["1 of 3 cells done"],
        "cells": cells,
        "tables": [table.plain()],
        **changes,
    }
    (folder / "table.json").write_text(json.dumps(content))
    return folder


def page_of(folder: Path) -> Page:
    return Page(report(folder).path.read_text(encoding="utf-8"))


def test_the_tables_stand_beside_the_published_ones(tmp_path: Path) -> None:
    text = page_of(benchmark(tmp_path)).text
    for shown in (
        "One against the rest",
        "1 of 3 cells done",
        "81.2 ± 1.5",
        "+1.2",
        "−2.5",
        "80.0",
        "–",
    ):
        assert shown in text
    assert "a note" in text


def test_every_cell_is_listed_with_its_state(tmp_path: Path) -> None:
    page = page_of(benchmark(tmp_path))
    for shown in ("full/parts/bottle/0", "failed", "open", "full/parts/cup/0: no memory"):
        assert shown in page.text
    assert "100.0" in page.text, "AUROC of the test's two scans"
    assert len(page.all("details")) == 1


def test_scans_that_are_missing_from_a_test_are_told(tmp_path: Path) -> None:
    folder = benchmark(tmp_path)
    evaluation(folder / "cells/full/parts/bottle/0/parts", SCANS, missing={"cup": 3})
    assert "3 of 5 scans are missing from these figures." in page_of(folder).text


def test_a_test_is_linked_once_it_has_a_page(tmp_path: Path) -> None:
    folder = benchmark(tmp_path / "run")
    inside = "cells/full/parts/bottle/0/parts/report.html"
    assert inside not in [one["href"] for one in page_of(folder).all("a")]
    report((folder / inside).parent)
    assert inside in [one["href"] for one in page_of(folder).all("a")]
    elsewhere = report(folder, tmp_path / "page.html").path.read_text(encoding="utf-8")
    assert inside not in elsewhere, "from another folder the link would lead nowhere"


def test_results_that_are_missing_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = benchmark(tmp_path)
    lost = folder / "cells/full/parts/bottle/0/parts/results.json"
    lost.unlink()
    assert main(["report", str(folder)]) == 2
    assert str(lost) in capsys.readouterr().err
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert "Table 1" in page.text


def test_results_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    evaluation(tmp_path / "other", SCANS)
    cell = {"name": "a", "state": "done", "reason": None, "tests": ["../other"]}
    (problem,) = report(benchmark(tmp_path / "run", cells=[cell])).problems
    assert "outside" in problem


@pytest.mark.parametrize("changes", [{"format": 2}, {"cells": [1]}, {"tables": [{"title": "a"}]}])
def test_a_damaged_table_is_an_error(
    tmp_path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = benchmark(tmp_path, **changes)
    assert main(["report", str(folder)]) == 2
    assert "table.json: damaged" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    block = Block(HOSTILE, (HOSTILE, HOSTILE), ((HOSTILE, HOSTILE),), (HOSTILE,))
    cell = {"name": HOSTILE, "state": "failed", "reason": HOSTILE, "tests": []}
    changes = {"title": HOSTILE, "notes": [HOSTILE], "cells": [cell], "tables": [block.plain()]}
    page = page_of(benchmark(tmp_path, **changes))
    assert not page.all("img")
    assert HOSTILE in page.text
