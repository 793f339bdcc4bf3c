"""The parts of a page that say an evaluation's figures, and what produced them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zeroflaw.datasets.base import GOOD
from zeroflaw.reports.markup import Cell, Row, facts, note, percent, section, table, words
from zeroflaw.reports.results import FIGURES, OBJECT, POINT, SAMPLED, Results
from zeroflaw.reports.results_table import IN_PERCENT, PRO, TITLES, remarks

COLUMNS = {"Scans": OBJECT, "Points": POINT, "Sampled points": SAMPLED}


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
    starts = {group[0] for group in COLUMNS.values()}
    heading = [Cell("good"), Cell("defective")]
    heading += [Cell(TITLES[name], group=name in starts) for name in FIGURES]

    def row(title: str, counts: Sequence[str], texts: Mapping[str, str], apart: bool) -> Row:
        cells = [Cell(text) for text in counts]
        cells += [Cell(texts[name], group=name in starts) for name in FIGURES]
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
        title = f"{category} *" if apart else category
        rows.append(row(title, [f"{one:,}" for one in counts], texts, apart))
    means = {name: percent(value) for name, value in results.mean().items()}
    feet = [row("mean", [f"{one:,}" for one in total], means, False)]
    undefined = {name: str(count) for name, count in results.undefined().items()}
    if any(results.undefined().values()):
        feet.append(row("undefined in", ["", ""], undefined, True))
    groups = [("Number", 2), *((title, len(group)) for title, group in COLUMNS.items())]
    return table("Per category, in percent", heading, rows, feet, corner="category", groups=groups)


def figure_notes(results: Results) -> list[str]:
    """Return what the table's reader should know."""
    return [note(line) for line in (IN_PERCENT, PRO, *remarks(results))]


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
