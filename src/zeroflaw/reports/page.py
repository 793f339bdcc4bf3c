"""The page of an evaluation: its figures, curves, distributions, pictures and what produced it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zeroflaw.datasets.base import GOOD
from zeroflaw.reports.curve_sections import category_charts, mean_curves
from zeroflaw.reports.figure_sections import figure_notes, figures_table, origin, problem_box, tiles
from zeroflaw.reports.markup import document, note, section, words
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.results import Results
from zeroflaw.reports.scan_sections import Shown, all_scans, gallery, kinds_section
from zeroflaw.reports.summaries import CategorySummary, ScanSummary

PARTS = {
    "figures": "Figures",
    "curves": "Curves",
    "categories": "Categories",
    "kinds": "Kinds",
    "gallery": "Best and worst scans",
    "scans": "All scans",
    "origin": "What produced this",
}


@dataclass(frozen=True, eq=False)
class Evaluated:
    """All that the page shows.

    run: content of `run.json`. threshold: score from which a scan is called defective, None if
    unknown. shown: by group of the gallery; the pictures of a scan are None where they were left
    out. limits: point scores of the darkest and the brightest colour. problems: what could not be
    used.
    """

    results: Results
    run: Mapping[str, Any]
    categories: Sequence[CategorySummary]
    threshold: float | None
    shown: Shown
    limits: tuple[float, float]
    problems: Sequence[str] = ()

    @property
    def scans(self) -> list[ScanSummary]:
        """The scans of all categories."""
        return [scan for category in self.categories for scan in category.scans]


def evaluation_page(evaluated: Evaluated) -> str:
    """Return the page of an evaluation; the same content gives the same bytes."""
    results, threshold = evaluated.results, evaluated.threshold
    title = f"{results.detector} on {results.data}"
    body = (
        _header(title, evaluated)
        + section("figures", PARTS["figures"], figures_table(results), *figure_notes(results))
        + mean_curves(results, evaluated.categories, threshold)
        + category_charts(results, evaluated.categories, threshold)
        + kinds_section(evaluated.scans, threshold)
        + gallery(evaluated.shown, evaluated.limits, threshold)
        + all_scans(evaluated.scans, threshold)
        + origin(evaluated.run, results.about)
    )
    return document(title, body)


def _header(title: str, evaluated: Evaluated) -> str:
    results = evaluated.results
    counts = [sum(kinds.values()) for kinds in results.scans.values()]
    good = sum(kinds.get(GOOD, 0) for kinds in results.scans.values())
    parts = [
        f"{plural(sum(counts), 'scan')}, {sum(counts) - good:,} of them defective",
        "1 category" if len(counts) == 1 else f"{len(counts)} categories",
    ]
    if evaluated.threshold is not None:
        parts.append(f"threshold {evaluated.threshold:.3f}")
    machine = evaluated.run.get("machine")
    told = [
        evaluated.run.get("started"),
        machine.get("processor") if isinstance(machine, Mapping) else None,
    ]
    made = " · ".join(one for one in told if isinstance(one, str))
    links = "".join(f'<a href="#{name}">{words(text)}</a>\n' for name, text in PARTS.items())
    return (
        f"<header>\n<h1>{words(title)}</h1>\n<p class=note>{words(' · '.join(parts))}</p>\n"
        + (note(f"measured {made}") if made else "")
        + problem_box(evaluated.problems)
        + tiles(results.mean())
        + note("Means over the categories, in percent. Chance is 50 for AUROC.")
        + f"<nav>{links}</nav>\n</header>\n"
    )
