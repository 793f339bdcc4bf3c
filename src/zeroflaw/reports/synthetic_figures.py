"""Figures of the synthetic benchmark: how well scores find defects, by kind, size and side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zeroflaw.metrics.pro import au_pro
from zeroflaw.metrics.ranking import auroc
from zeroflaw.reports.synthetic_stored import Facts, Judged

GOOD = "good"
CLEAR_SIZE = 0.10
CLEAR_TIMES = 5.0
CLEAR_NOISE = 0.001
CLEAR_POINTS = 64
OVERLAP = 0.1
RULES = {
    "P-AUROC, O-AUROC": "of all points, or scans, of a row's defective scans and of good scans: "
    "of all good scans for a kind, a size and clear defects, of those from that side for a side",
    "clear": f"defects of at least {100 * CLEAR_SIZE:g} % of the part's diagonal, whose greatest "
    f"deviation is at least {CLEAR_TIMES:g} times the sensor's noise sigma, taken as no less than "
    f"{100 * CLEAR_NOISE:g} % of the diagonal (steps and registration errors), and which at least "
    f"{CLEAR_POINTS} points lie on, so that they are wider than the points' spacing",
    "edge ratio": "on good scans from one side: mean score of the points within 3 % of the scan's "
    "diagonal from the boundary of what was seen over that of the others, all scans together; "
    "undefined for scores below 0",
    "names right": f"share of the regions that overlap the defect (IoU ≥ {OVERLAP:g} with all its "
    "points) which are called by its kind; mean over kinds",
}
HEADLINES = ("all", "mean over kinds", "clear")
SIZE_ROWS = {"size 2–5 %": (0.0, 0.05), "size 5–10 %": (0.05, 0.10), "size 10–25 %": (0.10, 9.0)}
SIDE_ROWS = {"scanned all around": "full", "scanned from one side": "one"}


@dataclass(frozen=True)
class Row:
    """Figures over some of the scans, shares of 1; nan where a class is missing."""

    good: int
    defective: int
    point_auroc: float
    point_pro: float
    object_auroc: float


@dataclass(frozen=True)
class Naming:
    """How regions are called. right: mean over kinds; nan where the detector names none.

    regions: how many overlap a defect, found: on how many defective scans there is one.
    """

    right: float
    right_of_all: float
    regions: int
    found: int
    by_kind: dict[str, float]


@dataclass(frozen=True)
class Figures:
    """All figures of a detector. edge_ratio: of all scans together; edge_median: over scans."""

    rows: dict[str, Row]
    naming: Naming
    edge_ratio: float
    edge_median: float
    scans: int
    missing: int
    seconds_per_scan: float

    def plain(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them; undefined ones are None."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain


def is_clear(facts: Facts) -> bool:
    """Whether a scan's defect is a clear one; see RULES."""
    least = CLEAR_TIMES * max(facts.noise, CLEAR_NOISE)
    large = facts.size >= CLEAR_SIZE and facts.amplitude >= least
    return large and int(facts.labels.sum()) >= CLEAR_POINTS


def selections(facts: Sequence[Facts]) -> dict[str, Callable[[Facts], bool]]:
    """Return the rows of the tables, but for the mean, and which scans belong to each."""

    def of_kind(kind: str) -> Callable[[Facts], bool]:
        return lambda one: one.kind in (kind, GOOD)

    def of_size(low: float, high: float) -> Callable[[Facts], bool]:
        return lambda one: one.kind == GOOD or low <= one.size < high

    def of_side(side: str) -> Callable[[Facts], bool]:
        return lambda one: one.sided == side

    kinds = sorted({one.kind for one in facts} - {GOOD})
    return {
        "all": lambda one: True,
        "clear": lambda one: one.kind == GOOD or is_clear(one),
        **{kind: of_kind(kind) for kind in kinds},
        **{title: of_size(*limits) for title, limits in SIZE_ROWS.items()},
        **{title: of_side(side) for title, side in SIDE_ROWS.items()},
    }


def figures(facts: Sequence[Facts], judged: Sequence[Judged | None]) -> Figures:
    """Return a detector's figures. judged: of the same scans, None where there are no scores."""
    known = [(one, two) for one, two in zip(facts, judged, strict=True) if two is not None]
    rows: dict[str, Row] = {}
    for title, chosen in selections(facts).items():
        rows[title] = _row([pair for pair in known if chosen(pair[0])])
    kinds = [rows[kind] for kind in sorted({one.kind for one in facts} - {GOOD})]
    rows["mean over kinds"] = Row(
        rows["all"].good,
        rows["all"].defective,
        *(
            _mean([getattr(one, name) for one in kinds])
            for name in ("point_auroc", "point_pro", "object_auroc")
        ),
    )
    ratio, median = _edges(known)
    return Figures(
        rows={title: rows[title] for title in (*HEADLINES, *rows)},
        naming=_naming(known),
        edge_ratio=ratio,
        edge_median=median,
        scans=len(known),
        missing=len(facts) - len(known),
        seconds_per_scan=_mean([two.seconds for _, two in known]),
    )


def _row(known: Sequence[tuple[Facts, Judged]]) -> Row:
    defective = np.array([one.kind != GOOD for one, _ in known], dtype=bool)
    if not known:
        return Row(0, 0, math.nan, math.nan, math.nan)
    points = np.concatenate([two.point for _, two in known])
    start, regions = 0, []
    for one, _ in known:
        regions.append(np.where(one.region >= 0, one.region + start, -1))
        start += int(one.region.max(initial=-1)) + 1
    region = np.concatenate(regions)
    return Row(
        good=int((~defective).sum()),
        defective=int(defective.sum()),
        point_auroc=auroc(points, region >= 0),
        point_pro=au_pro(points, region),
        object_auroc=auroc(np.array([two.object for _, two in known]), defective),
    )


def _edges(known: Sequence[tuple[Facts, Judged]]) -> tuple[float, float]:
    """The edge ratio over all good scans from one side together, and its median over them."""
    used = [
        (one.near, two.point.astype(np.float64))
        for one, two in known
        if one.kind == GOOD and one.sided == "one" and one.near.any() and not one.near.all()
    ]
    if not used or min(point.min() for _, point in used) < 0:
        return math.nan, math.nan
    near = np.concatenate([point[at] for at, point in used])
    rest = np.concatenate([point[~at] for at, point in used])
    single = [_ratio(point[at].mean(), point[~at].mean()) for at, point in used]
    return _ratio(near.mean(), rest.mean()), float(np.nanmedian(single))


def _naming(known: Sequence[tuple[Facts, Judged]]) -> Naming:
    right: dict[str, list[bool]] = {}
    found = 0
    for one, two in known:
        if one.kind == GOOD:
            continue
        hit = np.flatnonzero(two.overlap >= OVERLAP)
        found += len(hit) > 0
        right.setdefault(one.kind, []).extend(str(two.kinds[row]) == one.kind for row in hit)
    named = any((two.kinds != "").any() for _, two in known)
    by_kind = {kind: _mean([float(one) for one in right[kind]]) for kind in sorted(right)}
    together = [float(one) for several in right.values() for one in several]
    if not named:
        return Naming(math.nan, math.nan, len(together), found, {})
    return Naming(_mean(list(by_kind.values())), _mean(together), len(together), found, by_kind)


def _ratio(near: float, rest: float) -> float:
    return float(near / rest) if rest > 0 else math.nan


def _mean(values: Sequence[float]) -> float:
    """The mean of the values that are defined."""
    defined = [one for one in values if math.isfinite(one)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
