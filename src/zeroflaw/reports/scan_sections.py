"""The parts of a page that speak of single scans: by kind, in pictures, in a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from zeroflaw.reports.gallery import GROUPS, Pictures, ramp
from zeroflaw.reports.markup import Cell, Row, folded, note, percent, section, table, words
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.stored import PREVIEW
from zeroflaw.reports.summaries import ScanSummary

LISTED = 2000  # scans in the table of all
VIEWS = (
    "Below, the views that the method looked at, the map of each laid over it in the same colours: "
    "what it says of pixels, before that is carried to the points and smoothed."
)

Shown = Mapping[str, Sequence[tuple[ScanSummary, Pictures | None]]]


def kinds_section(scans: Sequence[ScanSummary], threshold: float | None) -> str:
    """Return how each kind of defect fares, over the scans of all categories."""
    rows = []
    for kind, group in by_kind(scans).items():
        cells = [Cell(f"{len(group):,}"), Cell(f"{mean([one.score for one in group]):.3f}")]
        cells.append(Cell(percent(1 - mean([one.error for one in group]))))
        if threshold is not None:
            cells.append(Cell(percent(mean([float(one.score >= threshold) for one in group]))))
        cells.append(Cell(percent(mean([one.point_auroc for one in group]))))
        rows.append(Row(kind, cells))
    heading = [Cell("scans"), Cell("mean score"), Cell("right order")]
    heading += [] if threshold is None else [Cell("called defective")]
    heading += [Cell("AUROC within scan")]
    return section(
        "kinds",
        "Kinds",
        table("By kind, over all categories; shares in percent", heading, rows, corner="kind"),
        note(
            "Right order: how often such a scan scores on the right side of one of the other class "
            "in its category; chance is 50."
        ),
    )


def by_kind(scans: Sequence[ScanSummary]) -> dict[str, list[ScanSummary]]:
    """Return the scans of each kind, good ones first, then the kinds of defects by name."""
    kinds: dict[tuple[bool, str], list[ScanSummary]] = {}
    for scan in scans:
        kinds.setdefault((scan.defective, scan.kind), []).append(scan)
    found: dict[str, list[ScanSummary]] = {}
    for (_, kind), group in sorted(kinds.items()):
        found.setdefault(kind, []).extend(group)
    return found


def mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are finite, nan if none is."""
    defined = [value for value in values if math.isfinite(value)]
    return sum(defined) / len(defined) if defined else math.nan


def gallery(shown_scans: Shown, limits: tuple[float, float], threshold: float | None) -> str:
    """Return the best and the worst scans, ground truth beside the heat map.

    shown_scans: by group; the pictures of a scan are None where they were left out. limits: point
    scores of the darkest and the brightest colour.
    """
    low, high = limits
    scale = (
        f'{low:.2f} <img class="ramp" alt="from dark violet over green to yellow" '
        f'src="{ramp()}"> {high:.2f}'
    )
    legend = (
        '<p class="note">Left the ground truth: <span class="swatch"></span> defective. Right the '
        'heat map from the same side, the ground truth outlined: <span class="scale">'
        f"{scale}.</span> A preview of at most {PREVIEW:,} points is drawn.</p>"
    )
    parts = [legend]
    if any(
        shown is not None and shown.views for group in shown_scans.values() for _, shown in group
    ):
        parts.append(note(VIEWS))
    for group, (title, meaning) in GROUPS.items():
        entries = shown_scans.get(group, ())
        cards = "".join(
            _card(number, scan, shown, threshold)
            for number, (scan, shown) in enumerate(entries, 1)
            if shown is not None
        )
        parts += [f"<h3>{words(title)}</h3>", note(meaning if entries else f"{meaning} None.")]
        if cards:
            parts.append(f'<div class="gallery">{cards}</div>')
        left = [scan.name for scan, shown in entries if shown is None]
        if left:
            parts.append(note(f"Left out to keep the page small: {', '.join(left)}."))
    return section("gallery", "Best and worst scans", *parts)


def _card(rank: int, scan: ScanSummary, shown: Pictures, threshold: float | None) -> str:
    name = words(scan.name)
    size = f'width="{shown.size[0]}" height="{shown.size[1]}" loading="lazy"'
    truth = f"{scan.kind}, the defect marked" if scan.defective else "a good scan, nothing marked"
    return (
        '<figure class="card"><div class="pair">'
        f'<img src="{shown.truth}" {size} alt="Ground truth of {name}: {words(truth)}; '
        f'seen from the {shown.side}">'
        f'<img src="{shown.heat}" {size} alt="Heat map of {name} from the same side">'
        f"</div>{_views(name, shown)}<figcaption><b>{rank}. {name}</b>"
        f"{words(' · '.join(_caption(scan, threshold)))}</figcaption></figure>\n"
    )


def _views(name: str, shown: Pictures) -> str:
    """The sheet of views, nothing for a method that looks at none. name: of the scan, escaped."""
    if not shown.views:
        return ""
    width, height = shown.views_size
    return (
        f'<img class="views" src="{shown.views}" width="{width}" height="{height}" loading="lazy" '
        f'alt="{shown.count} views of {name}, the map of each laid over it">'
    )


def _caption(scan: ScanSummary, threshold: float | None) -> list[str]:
    parts = [scan.kind, f"score {scan.score:.3f}"]
    if threshold is not None:
        parts.append(f"called {_verdict(scan, threshold)}")
    if math.isfinite(scan.error):
        other = "good" if scan.defective else "defective"
        side = "below" if scan.defective else "above"
        parts.append(f"{side} {100 * scan.error:.0f}\u00a0% of the {other} ones")
    if math.isfinite(scan.point_auroc):
        parts.append(f"AUROC within {percent(scan.point_auroc)}")
    return parts


def all_scans(scans: Sequence[ScanSummary], threshold: float | None) -> str:
    """Return a table of all scans, the largest errors first."""
    ordered = sorted(scans, key=lambda one: (-(one.error if one.error >= 0 else -1), one.name))
    heading = [Cell("category", words=True), Cell("kind", words=True), Cell("score")]
    heading += [] if threshold is None else [Cell("verdict", words=True)]
    heading += [Cell(title) for title in ("error", "AUROC within", "points", "seconds")]
    rows = []
    for one in ordered[:LISTED]:
        cells = [Cell(one.category, words=True), Cell(one.kind, words=True)]
        cells.append(Cell(f"{one.score:.3f}", one.score))
        if threshold is not None:
            cells.append(Cell(_verdict(one, threshold), words=True))
        cells += [Cell(percent(value), value) for value in (one.error, one.point_auroc)]
        cells += [Cell(f"{one.points:,}", one.points), Cell(f"{one.seconds:.2f}", one.seconds)]
        rows.append(Row(one.name, cells))
    inside = table(
        "By error, in percent: the share of the scans of the other class that a scan's score is on "
        "the wrong side of, within its category",
        heading,
        rows,
        corner="scan",
        sortable=True,
    )
    left = len(scans) - LISTED
    if left > 0:
        inside += note(f"{left:,} scans with lower errors are left out to keep the page small.")
    return section("scans", "All scans", folded(plural(len(scans), "scan"), inside))


def _verdict(scan: ScanSummary, threshold: float) -> str:
    return "defective" if scan.score >= threshold else "good"
