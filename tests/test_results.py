"""Results say what was measured, on what, and what could not be."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from zeroflaw.reports.results import (
    FIGURES,
    Results,
    read_results,
    write_results,
)
from zeroflaw.reports.results_table import figures_grid, grids, remarks, write_tables
from zeroflaw.types import ZeroflawError


def row(value: float, **other: float) -> dict[str, float]:
    return {**dict.fromkeys(FIGURES, value), **other}


RESULTS = Results(
    "compact",
    "real3d_ad",
    {"car": {"good": 3, "bulge": 2, "sink": 1}, "duck": {"good": 1}, "tap_0": {"good": 2, "x": 2}},
    {"car": row(0.8), "duck": row(0.6, point_pro=math.nan, object_auroc=math.nan), "tap_0": row(0)},
    ("tap_0",),
    {"threshold": 0.5, "missing": {"duck": 2}},
)


def test_means_are_over_categories_that_count_and_are_defined() -> None:
    mean = RESULTS.mean()
    assert mean["point_auroc"] == pytest.approx(0.7)
    assert mean["point_pro"] == pytest.approx(0.8)
    assert RESULTS.undefined()["point_pro"] == RESULTS.undefined()["object_auroc"] == 1
    assert RESULTS.undefined()["point_ap"] == 0
    alone = Results("d", "x", {}, {"a": row(0.5)}, ("a",))
    assert math.isnan(alone.mean()["object_ap"])


def test_results_come_back_with_undefined_values_as_null(tmp_path: Path) -> None:
    path = write_results(tmp_path, RESULTS)
    said = json.loads(path.read_text())
    assert said["categories"]["duck"]["point_pro"] is None
    assert said["mean"]["point_auroc"] == pytest.approx(0.7)
    found = read_results(tmp_path)
    assert found.mean() == RESULTS.mean()
    assert math.isnan(found.figures["duck"]["point_pro"])
    assert found.left_out == ("tap_0",)
    assert found.about == RESULTS.about


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 9}', '{"format": 1, "detector": "x"}'])
def test_damaged_results_are_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ZeroflawError, match=r"results\.json: damaged results"):
        read_results(tmp_path)


def test_every_form_of_the_tables_shows_the_same_figures(tmp_path: Path) -> None:
    paths = write_tables(tmp_path, RESULTS)
    assert [path.name for path in paths] == ["results.csv", "results.md", "results.tex"]
    rows = {line["category"]: line for line in csv.DictReader(io.StringIO(paths[0].read_text()))}
    assert list(rows) == ["car", "duck", "tap_0", "mean", "undefined"]
    assert (rows["car"]["good"], rows["car"]["defective"], rows["duck"]["missing"]) == (
        "3",
        "3",
        "2",
    )
    assert (rows["car"]["in_mean"], rows["tap_0"]["in_mean"]) == ("yes", "no")
    assert (rows["mean"]["point_auroc"], rows["duck"]["point_pro"]) == ("70", "")
    assert rows["undefined"]["point_pro"] == "1"
    markdown = paths[1].read_text()
    assert "| car | 3 | 3 | 0 | 80.0 | 80.0 | 80.0 |" in markdown
    assert "| duck | 60.0 | 60.0 | 60.0 | – | 60.0 |" in markdown
    assert "| **mean** | 70.0 | 70.0 | 70.0 | 80.0 | 70.0 |" in markdown
    assert "| **undefined** | 0 | 0 | 0 | 1 | 0 |" in markdown
    latex = paths[2].read_text()
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 3
    assert r"tap\_0 {*} & 0.0 & 0.0 & 0.0 & 0.0 & 0.0 \\" in latex
    assert r"duck & 60.0 & 60.0 & 60.0 & -- & 60.0 \\" in latex


def test_what_is_missing_left_out_or_undefined_is_said() -> None:
    said = " ".join(remarks(RESULTS))
    assert "left out of the mean: tap_0" in said
    assert "undefined" in said
    assert "2 of 13 scans are missing" in said
    assert "undefined" not in " ".join(remarks(RESULTS, ["point_ap", "object_ap"]))
    whole = Results("d", "x", {"a": {"good": 1}}, {"a": row(1)})
    assert remarks(whole) == ()
    assert "missing" not in grids(whole)[0].columns
    assert "missing" in figures_grid(whole).columns


def test_the_tables_fit_80_columns_with_the_longest_published_names() -> None:
    figures = {"PeppermintCandy": row(1), "LicoriceSandwich": row(0.5), "cable_gland": row(0.1)}
    counts = {name: {"good": 1000, "bulge": 1000} for name in figures}
    results = Results("c", "eyecandies", counts, figures, tuple(figures), {"missing": {"x": 1}})
    for grid in grids(results):
        text = io.StringIO()
        Console(file=text, width=80).print(grid.rich())
        assert "LicoriceSandwich *" in text.getvalue()
        assert "…" not in text.getvalue()
