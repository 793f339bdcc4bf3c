"""The parts of a page that say an evaluation's figures, and what produced them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zeroflaw.datasets.base import GOOD
from zeroflaw.metrics.pro import LIMIT
from zeroflaw.reports.markup import Cell, Row, facts, note, percent, section, table, words
from zeroflaw.reports.results import Results

COLUMNS = {
    "Scans": {"object_auroc": "AUROC", "object_ap": "AP", "object_f1": "F1"},
    "Points": {
        "point_auroc": "AUROC",
        "point_ap": "AP",
        "point_f1": "F1",
        "point_pro": "PRO",
        "point_coverage_auc": "coverage",
    },
    "Sampled points": {
        "sampled_point_auroc": "AUROC",
        "sampled_point_ap": "AP",
        "sampled_point_f1": "F1",
    },
}


def tiles(means: Mapping[str, float]) -> str:
    """Return the four figures that one looks for first."""
    shown = {
        "object_auroc": "scans, AUROC",
        "object_ap": "scans, AP",
        "point_auroc": "points, AUROC",
        "point_pro": "points, PRO",
    }
    entries = "".join(
        f"<div><dt>{words(title)}</dt><dd>{percent(means[name])}</dd></div>"
        for name, title in shown.items()
    )
    return f'<dl class="tiles">{entries}</dl>\n'


def figures_table(results: Results) -> str:
    """Return the figures of every category and their means, in percent."""
    names = [(name, title) for group in COLUMNS.values() for name, title in group.items()]
    starts = {next(iter(group)) for group in COLUMNS.values()}
    heading = [Cell("good"), Cell("defective")]
    heading += [Cell(title, group=name in starts) for name, title in names]

    def row(title: str, counts: Sequence[str], texts: Mapping[str, str], apart: bool) -> Row:
        cells = [Cell(text) for text in counts]
        cells += [Cell(texts[name], group=name in starts) for name, _ in names]
        return Row(title, cells, apart)

    rows = []
    total = [0, 0]
    for category, values in sorted(results.figures.items()):
        kinds = results.scans.get(category, {})
        good = kinds.get(GOOD, 0)
        counts = good, sum(kinds.values()) - good
        total = [before + more for before, more in zip(total, counts, strict=True)]
        texts = {name: percent(value) for name, value in values.items()}
        apart = category in results.left_out
        rows.append(row(category, [f"{one:,}" for one in counts], texts, apart))
    means = {name: percent(value) for name, value in results.mean().items()}
    feet = [row("mean", [f"{one:,}" for one in total], means, False)]
    undefined = {name: str(count) for name, count in results.undefined().items()}
    if any(results.undefined().values()):
        feet.append(row("undefined in", ["", ""], undefined, True))
    groups = [("Number", 2), *((title, len(group)) for title, group in COLUMNS.items())]
    return table("Per category, in percent", heading, rows, feet, corner="category", groups=groups)


def figure_notes(results: Results) -> list[str]:
    """Return what the table's reader should know."""
    lines = [
        "Each figure is computed within a category and then averaged. PRO is the mean share of a "
        f"defect that is found, up to {LIMIT:g} of the normal surface. Coverage is the curve that "
        "some papers call PRO; it stands here only beside theirs."
    ]
    if results.left_out:
        left = ", ".join(results.left_out)
        lines.append(f"Left out of the means, as the detector has seen them or on request: {left}.")
    if any(results.undefined().values()):
        lines.append("–: undefined, as there is one class only or no region; not part of the mean.")
    return [note(line) for line in lines]


def origin(run: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Return what produced the figures, as `run.json` and the results tell."""
    parts = [facts(run)] if run else [note("There is no run.json: what produced it is unknown.")]
    if about:
        parts += ["<h3>As the results say</h3>", facts(about)]
    return section("origin", "What produced this", *parts)


def problem_box(problems: Sequence[str]) -> str:
    """Return a list of what could not be used, "" if all could."""
    if not problems:
        return ""
    lines = "".join(f"<li>{words(problem)}</li>\n" for problem in problems)
    return (
        '<div class="problems" role="alert"><strong>Not everything could be used.</strong> '
        f"Curves and pictures are of the rest.<ul>\n{lines}</ul></div>\n"
    )
