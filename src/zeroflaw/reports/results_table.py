"""Tables of an evaluation's results: of scans, of points, and of the points a method looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from zeroflaw.datasets.base import GOOD
from zeroflaw.io.atomic import replacing
from zeroflaw.metrics.pro import LIMIT
from zeroflaw.reports.grid import Cell, Grid, percent
from zeroflaw.reports.results import FIGURES, OBJECT, POINT, SAMPLED, Results

TITLES = {
    "object_auroc": "AUROC",
    "object_ap": "AP",
    "object_f1": "F1",
    "point_auroc": "AUROC",
    "point_ap": "AP",
    "point_f1": "F1",
    "point_pro": "PRO",
    "point_coverage_auc": "coverage",
    "sampled_point_auroc": "AUROC",
    "sampled_point_ap": "AP",
    "sampled_point_f1": "F1",
}
MEAN, UNDEFINED = "mean", "undefined"
MISSING = "missing"  # entry of the results' `about`: per category, how many scans have no scores
STAND_IN = "stand_in"  # entry of the same: whether the weights are random ones
IN_PERCENT = "In percent. The mean is over categories, each counted once."
PRO = (
    "PRO: mean share of a defect that is found, averaged up to a false-positive rate of "
    f"{LIMIT:g}. coverage: what BTP's table calls P-PRO, to lay beside it."
)


def write_tables(folder: Path, results: Results) -> list[Path]:
    """Write `results.csv`, `results.md` and `results.tex`; return their paths."""
    texts = {
        "results.csv": figures_grid(results).csv(),
        "results.md": "\n".join(grid.markdown() for grid in grids(results)),
        "results.tex": "\n".join(grid.latex() for grid in grids(results)),
    }
    for name, text in texts.items():
        with replacing(folder / name) as file:
            file.write(text.encode())
    return [folder / name for name in texts]


def grids(results: Results) -> tuple[Grid, Grid, Grid]:
    """Return a table of scans, one of points, and one of the points that the method looked at."""
    return (
        _grid(results, "Scans", OBJECT, counts=True),
        _grid(results, "Points", POINT, (PRO,)),
        _grid(results, "Points that the method looked at", SAMPLED),
    )


def remarks(results: Results, names: Sequence[str] = FIGURES) -> tuple[str, ...]:
    """Return sentences on what is missing, left out or undefined among figures of these names."""
    said = []
    shown = [name for name in results.left_out if name in results.figures]
    if shown:
        said.append(f"* left out of the mean: {', '.join(shown)}.")
    if any(results.undefined()[name] for name in names):
        said.append(
            "–: undefined, as there is one class only or no defective region; left out of the "
            "mean. The last line counts them."
        )
    if missing := sum(missing_scans(results).values()):
        total = missing + sum(sum(kinds.values()) for kinds in results.scans.values())
        said.append(f"{missing} of {total} scans are missing from these figures.")
    if results.about.get(STAND_IN):
        said.append("Made with stand-in weights: the figures say nothing about the method.")
    return tuple(said)


def missing_scans(results: Results) -> Mapping[str, int]:
    """Return how many scans of each category have no scores; none for most results."""
    found: Mapping[str, int] = results.about.get(MISSING, {})
    return found


def figures_grid(results: Results) -> Grid:
    """Return all figures in one table, a column each, named as in `results.json`; in percent."""
    columns = ("category", "good", "defective", MISSING, "in_mean", *FIGURES)
    missing = missing_scans(results)
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            *_counts(results, name),
            missing.get(name, 0),
            "no" if name in results.left_out else "yes",
            *_values(results.figures[name], FIGURES),
        )
        for name in sorted(results.figures)
    ]
    mean = (MEAN, None, None, None, None, *_values(results.mean(), FIGURES))
    undefined = results.undefined()
    counted = (UNDEFINED, None, None, None, None, *(undefined[name] for name in FIGURES))
    return Grid(columns, (*rows, mean, counted), summary=2)


def _grid(
    results: Results,
    title: str,
    names: Sequence[str],
    notes: tuple[str, ...] = (),
    counts: bool = False,
) -> Grid:
    missing = missing_scans(results) if counts else {}
    heads = ("good", "defective", *([MISSING] if missing else [])) if counts else ()

    def row(name: str) -> tuple[Cell, ...]:
        marked = f"{name} *" if name in results.left_out else name
        told: tuple[Cell, ...] = _counts(results, name) if counts else ()
        told += (missing.get(name, 0),) if missing else ()
        return (marked, *told, *_values(results.figures[name], names))

    rows = [row(name) for name in sorted(results.figures)]
    blank = (None,) * len(heads)
    summary = [(MEAN, *blank, *_values(results.mean(), names))]
    undefined = results.undefined()
    if any(undefined[name] for name in names):
        summary.append((UNDEFINED, *blank, *(undefined[name] for name in names)))
    columns = ("category", *heads, *(TITLES[name] for name in names))
    whole = f"{title}: {results.detector} on {results.data}"
    notes = (IN_PERCENT, *notes, *remarks(results, names))
    return Grid(columns, (*rows, *summary), whole, notes, len(summary))


def _counts(results: Results, category: str) -> tuple[int, int]:
    """How many good and defective scans there are."""
    kinds = results.scans.get(category, {})
    good = kinds.get(GOOD, 0)
    return good, sum(kinds.values()) - good


def _values(row: Mapping[str, float], names: Sequence[str]) -> tuple[Cell, ...]:
    return tuple(percent(row.get(name, math.nan)) for name in names)
