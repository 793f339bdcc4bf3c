"""Figures of an evaluation from its stored scores: no scan is read and none inspected."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zeroflaw.datasets.base import GOOD
from zeroflaw.files import Failure
from zeroflaw.metrics.coverage import coverage_auc
from zeroflaw.metrics.pro import au_pro
from zeroflaw.metrics.ranking import ranking
from zeroflaw.reports.plan import Plan, PlannedScan
from zeroflaw.reports.results import FIGURES, Results
from zeroflaw.reports.results_table import MISSING
from zeroflaw.reports.stored import StoredScores, read_stored, stored_path
from zeroflaw.types import Bool, Float32, ZeroflawError

Int32 = NDArray[np.int32]
OTHERS = "scores of another scan or detector; run the evaluation again"


@dataclass
class CategoryScores:
    """What the figures of one category need of its scans.

    scans: how many by kind. objects, defective: per scan. points, labels, regions: per scan, (N,)
    each, regions numbered through the category, −1 where normal. sampled_points, sampled_labels:
    the same of the points that the method looked at.
    """

    scans: Counter[str] = field(default_factory=Counter)
    objects: list[float] = field(default_factory=list)
    defective: list[bool] = field(default_factory=list)
    points: list[Float32] = field(default_factory=list)
    labels: list[Bool] = field(default_factory=list)
    regions: list[Int32] = field(default_factory=list)
    sampled_points: list[Float32] = field(default_factory=list)
    sampled_labels: list[Bool] = field(default_factory=list)
    _next_region: int = 0

    def add(self, stored: StoredScores) -> None:
        """Take over a scan's scores."""
        self.scans[stored.kind or ("defective" if stored.defective else GOOD)] += 1
        self.objects.append(stored.object)
        self.defective.append(stored.defective)
        self.points.append(stored.point)
        self.labels.append(stored.label)
        shifted = np.where(stored.label, stored.region + self._next_region, -1)
        self.regions.append(shifted.astype(np.int32))
        self._next_region += int(stored.region.max(initial=-1)) + 1
        self.sampled_points.append(stored.point[stored.sampled])
        self.sampled_labels.append(stored.label[stored.sampled])

    def figures(self) -> dict[str, float]:
        """Return all of FIGURES as shares of 1, nan where undefined."""
        if not self.objects:
            return dict.fromkeys(FIGURES, math.nan)
        whole = ranking(np.array(self.objects), np.array(self.defective))
        coverage = coverage_auc(self.points, self.labels)
        scores = np.concatenate(self.points)
        points = ranking(scores, np.concatenate(self.labels))
        pro = au_pro(scores, np.concatenate(self.regions))
        sampled = ranking(np.concatenate(self.sampled_points), np.concatenate(self.sampled_labels))
        found = (*whole, *points, pro, coverage, *sampled)
        return dict(zip(FIGURES, map(float, found), strict=True))


def measure(
    folder: Path, plan: Plan, step: Callable[[str], None] = lambda name: None
) -> tuple[Results, list[Failure]]:
    """Return the results of an evaluation, and which of its scans have no scores that can be used.

    step: called with the name of every scan. One category's scores at a time are in memory.
    """
    scans: dict[str, dict[str, int]] = {}
    figures: dict[str, dict[str, float]] = {}
    failures: list[Failure] = []
    missing: dict[str, int] = {}
    for category in plan.categories:
        gathered = CategoryScores()
        lacking = _gather(folder, plan, category, gathered, step)
        scans[category] = dict(sorted(gathered.scans.items()))
        figures[category] = gathered.figures()
        if lacking:
            missing[category] = len(lacking)
        failures += lacking
    about = {**plan.about, **({MISSING: missing} if missing else {})}
    return Results(plan.detector, plan.data, scans, figures, plan.left_out, about), failures


def _gather(
    folder: Path,
    plan: Plan,
    category: str,
    gathered: CategoryScores,
    step: Callable[[str], None],
) -> list[Failure]:
    failures = []
    for scan in _of(plan, category):
        step(scan.name)
        path = stored_path(folder, scan.name)
        try:
            stored = read_stored(path)
            if stored.identity != scan.identity:
                raise ZeroflawError(f"{path}: {OTHERS}")
            gathered.add(stored)
        except ZeroflawError as error:
            failures.append(Failure(scan.name, str(error)))
    return failures


def _of(plan: Plan, category: str) -> Iterable[PlannedScan]:
    return (scan for scan in plan.scans if scan.category == category)
