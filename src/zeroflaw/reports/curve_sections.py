"""The parts of a page that show curves and distributions of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from zeroflaw.metrics.curves import Curve
from zeroflaw.metrics.pro import LIMIT
from zeroflaw.reports.charts import Bars, Line, curve_chart, mirrored_bars
from zeroflaw.reports.markup import Cell, Row, note, percent, section, table, words
from zeroflaw.reports.results import Results
from zeroflaw.reports.scan_sections import by_kind, mean
from zeroflaw.reports.summaries import BINS, CategorySummary, ScanSummary, mean_curve
from zeroflaw.types import Float64

WIDTHS = (0.005, 0.01, 0.02, 0.05)  # of the bins of scans' scores
MOST_BINS = 24
RATES = ("false-positive rate", "true-positive rate")
RECALL = ("recall", "precision")
PRO = ("false-positive rate", "mean share of a defect found")
CHANCE = Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "chance")


def mean_curves(
    results: Results, categories: Sequence[CategorySummary], threshold: float | None
) -> str:
    """Return the mean curves over the categories, each of them behind, and all scans' scores."""
    means = results.mean()
    charts = []
    for name, title, axes, figure, limit in (
        ("object_roc", "ROC of scans", RATES, ("AUROC", "object_auroc"), 1.0),
        ("point_roc", "ROC of points", RATES, ("AUROC", "point_auroc"), 1.0),
        ("pro", "Recall of defects", PRO, ("PRO", "point_pro"), LIMIT),
        ("object_pr", "Precision and recall of scans", RECALL, ("AP", "object_ap"), 1.0),
        ("point_pr", "Precision and recall of points", RECALL, ("AP", "point_ap"), 1.0),
    ):
        counted = [one for one in categories if one.name in results.counted]
        lines = [] if axes is RECALL else [CHANCE]
        for one in counted:
            shown = percent(results.figures[one.name][figure[1]])
            lines.append(_line(one.curves[name], "faint", f"{one.name}: {figure[0]} {shown}"))
        middle = mean_curve([one.curves[name] for one in counted], stepwise=axes is RECALL)
        if middle is not None:
            lines.append(Line(*middle, "main", "mean"))
        number = f"{figure[0]} {percent(means[figure[1]])}"
        label = f"{title}, mean over {len(counted)} categories: {number}"
        caption = f"<b>{words(title)}</b> {words(number)}"
        charts.append(_figure(curve_chart(label, axes, lines, limit), caption))
    scans = [scan for one in categories for scan in one.scans]
    bars = _score_bars(scans, _score_edges(categories, threshold), threshold)
    chart = mirrored_bars("Scores of the scans of all categories", "score", bars)
    charts.append(_figure(chart, "<b>Scores of scans</b> of all categories"))
    return section(
        "curves",
        "Curves",
        note(
            "Bold: the mean over the categories. Thin: each category; rest on a line for its name."
        ),
        f'<div class="charts">{"".join(charts)}</div>',
    )


def category_charts(
    results: Results, categories: Sequence[CategorySummary], threshold: float | None
) -> str:
    """Return curves and distributions of every category."""
    edges = _score_edges(categories, threshold)
    parts = [
        note(
            "ROC and precision over recall: solid for points, dashed for scans. Scores: good above "
            "the axis, defective below it"
            + ("; the dashed line is the threshold." if threshold is not None else ".")
        )
    ]
    for one in categories:
        figures = results.figures.get(one.name, {})
        charts = "".join(_charts_of(one, figures, edges, threshold))
        apart = " (left out of the means)" if one.name in results.left_out else ""
        parts.append(f'<h3>{words(one.name + apart)}</h3>\n<div class="charts">{charts}</div>')
    return section("categories", "Categories", *parts)


def _charts_of(
    one: CategorySummary,
    figures: Mapping[str, float],
    edges: Float64,
    threshold: float | None,
) -> list[str]:
    def number(name: str) -> str:
        return percent(figures.get(name, math.nan))

    roc = f"AUROC: points {number('point_auroc')}, scans {number('object_auroc')}"
    precision = f"AP: points {number('point_ap')}, scans {number('object_ap')}"
    pro = f"PRO {number('point_pro')}"
    scans = _score_bars(one.scans, edges, threshold)
    share = one.points / np.maximum(one.points.sum(axis=1, keepdims=True), 1)
    points = Bars(np.linspace(0, 1, BINS + 1), share[0], share[1], ("normal", "defective"))
    both = [
        [
            *([] if kind == "pr" else [CHANCE]),
            _line(one.curves[f"object_{kind}"], "second", "scans"),
            _line(one.curves[f"point_{kind}"], "main", "points"),
        ]
        for kind in ("roc", "pr")
    ]
    drawn = (
        ("ROC", roc, curve_chart(f"ROC of {one.name}, {roc}", RATES, both[0])),
        ("Precision", precision, curve_chart(f"Precision of {one.name}", RECALL, both[1])),
        (
            "Recall of defects",
            pro,
            curve_chart(
                f"Recall of defects of {one.name}, {pro}",
                PRO,
                [CHANCE, _line(one.curves["pro"])],
                LIMIT,
            ),
        ),
        (
            "Scores of scans",
            "",
            mirrored_bars(f"Scores of scans of {one.name}", "score", scans),
        ),
        (
            "Scores of points",
            "share of all, by powers of ten",
            mirrored_bars(f"Scores of points of {one.name}", "score", points),
        ),
    )
    shown = [
        _figure(chart, f"<b>{words(title)}</b> {words(caption)}") for title, caption, chart in drawn
    ]
    return [*shown, _kinds_of(one)]


def _kinds_of(one: CategorySummary) -> str:
    """How each kind of defect fares in a category."""
    rows = [
        Row(
            kind,
            [
                Cell(f"{len(scans):,}"),
                Cell(f"{mean([scan.score for scan in scans]):.3f}"),
                Cell(percent(mean([scan.point_auroc for scan in scans]))),
            ],
        )
        for kind, scans in by_kind(one.scans).items()
    ]
    heading = [Cell("scans"), Cell("mean score"), Cell("AUROC within")]
    return f"<div>{table(f'Kinds in {one.name}', heading, rows, corner='kind')}</div>\n"


def _score_bars(scans: Sequence[ScanSummary], edges: Float64, threshold: float | None) -> Bars:
    good, defective = (
        np.histogram([scan.score for scan in scans if scan.defective is label], edges)[0]
        for label in (False, True)
    )
    return Bars(edges, good, defective, ("good", "defective"), "scans", threshold)


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{caption}</figcaption></figure>\n"


def _line(curve: Curve, style: str = "main", name: str = "") -> Line:
    """The curve; one that starts later, as recall may, is drawn from the left edge."""
    x, y = curve
    if len(x) and x[0] > 0:
        x, y = np.append(0.0, x), np.append(y[0], y)
    return Line(x, y, style, name)


def _score_edges(categories: Sequence[CategorySummary], threshold: float | None) -> Float64:
    """Bins for the scores of all scans and the threshold, the same in every category."""
    scores = [scan.score for one in categories for scan in one.scans]
    scores += [] if threshold is None else [threshold]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    width = next((one for one in WIDTHS if (high - low) / one <= MOST_BINS), WIDTHS[-1])
    first, last = math.floor(low / width + 1e-9), math.ceil(high / width - 1e-9)
    edges: Float64 = np.arange(first, max(last, first + 1) + 1) * np.float64(width)
    return edges
