"""What a report needs of a category's stored scores: curves, distributions, a line per scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zeroflaw.datasets.base import GOOD
from zeroflaw.metrics.curves import Curve, precision_recall_curve, pro_curve, roc_curve
from zeroflaw.metrics.ranking import auroc
from zeroflaw.reports.plan import PLAN, read_plan
from zeroflaw.reports.stored import (
    ENDING,
    StoredScores,
    read_category,
    read_stored,
    stored_path,
)
from zeroflaw.types import Bool, Float32, Float64, Int64, ZeroflawError

Int32 = NDArray[np.int32]
BINS = 40  # of point scores, over 0 to 1
GRID = 1001  # places at which curves are averaged
EVERY = 16  # of a scan's preview scores, one in so many tells what range the pictures' colours span


@dataclass(frozen=True)
class Wanted:
    """Where a scan's scores should lie.

    identity: whose they should be, "" for anybody's. failure: why the evaluation has none, or "".
    """

    path: Path
    identity: str = ""
    failure: str = ""


@dataclass(frozen=True)
class ScanSummary:
    """One scan of an evaluation.

    stored: where its scores lie. points: how many it has. score: of the scan. error: the share of
    the category's scans of the other class that its score puts on the wrong side, ties counted
    half; nan without any. point_auroc: within the scan, nan where it has one class.
    """

    stored: Wanted
    name: str
    category: str
    kind: str
    defective: bool
    points: int
    score: float
    point_auroc: float
    seconds: float
    error: float = math.nan


@dataclass(frozen=True, eq=False)
class CategorySummary:
    """A category's curves, as `metrics.curves` returns them, and its scans by name.

    curves: by name, "object_roc", "object_pr", "point_roc", "point_pr" and "pro". points: (2, BINS)
    how many points there are by score, normal and defective. colors: (M,) a sample of point scores.
    """

    name: str
    scans: tuple[ScanSummary, ...]
    curves: dict[str, Curve]
    points: Int64
    colors: Float32


def find_stored(
    folder: Path, failures: Mapping[str, str]
) -> tuple[dict[str, list[Wanted]], list[str]]:
    """Return where an evaluation's scores should lie, by category, and what is damaged.

    failures: by name of the scan, why the evaluation could not use it.

    Both are sorted. `evaluation.json` says which scans belong to it; without it, all files with
    scores do, and of each the heading is read.
    """
    found: dict[str, list[Wanted]] = {}
    problems: list[str] = []
    if (folder / PLAN).exists():
        for scan in sorted(read_plan(folder).scans, key=lambda scan: scan.name):
            found.setdefault(scan.category, []).append(
                Wanted(stored_path(folder, scan.name), scan.identity, failures.get(scan.name, ""))
            )
        return dict(sorted(found.items())), problems
    for path in sorted((folder / "scores").rglob(f"*{ENDING}")):
        if path.name.startswith("."):
            continue  # of a run that was killed while it wrote
        category = read_category(path)
        if category is None:
            problems.append(str(_damaged(path, "it names no category")))
        else:
            found.setdefault(category, []).append(Wanted(path))
    return dict(sorted(found.items())), problems


def read_checked(wanted: Wanted) -> StoredScores:
    """Read stored scores that can be drawn. Raises ZeroflawError."""
    path = wanted.path
    if wanted.failure and not path.exists():
        raise ZeroflawError(wanted.failure)
    stored = read_stored(path)
    if wanted.identity and stored.identity != wanted.identity:
        raise ZeroflawError(f"{path}: scores of another scan or detector; run the evaluation again")
    if not all(isinstance(word, str) for word in (stored.name, stored.category, stored.kind)):
        raise _damaged(path, "its names are no words")
    if not len(stored.preview_index):
        raise _damaged(path, "it holds no points")
    if not np.isfinite(stored.preview_points).all():
        raise _damaged(path, "its places are no numbers")
    return stored


def summarize(
    category: str, files: Sequence[Wanted], step: Callable[[str], None] = lambda name: None
) -> tuple[CategorySummary | None, list[str]]:
    """Return the summary of a category, None if no file of it can be read, and what is damaged.

    files: with its stored scores. step: called with the name of each file that is done. Holds the
    point scores of the whole category in memory.
    """
    scans: list[ScanSummary] = []
    parts: list[tuple[Float32, Int32]] = []
    colors: list[Float32] = []
    problems: list[str] = []
    bins = np.zeros((2, BINS), dtype=np.int64)
    regions = 0
    for wanted in files:
        try:
            stored = read_checked(wanted)
        except ZeroflawError as error:
            problems.append(str(error))
            continue
        finally:
            step(wanted.path.stem)
        scans.append(_scan_summary(wanted, stored))
        region = np.where(stored.label, stored.region + regions, -1)
        parts.append((stored.point, region.astype(np.int32)))
        regions += int(stored.region.max(initial=-1)) + 1
        colors.append(stored.point[stored.preview_index[::EVERY]])
        for row, chosen in enumerate((~stored.label, stored.label)):
            bins[row] += np.histogram(np.clip(stored.point[chosen], 0, 1), BINS, (0, 1))[0]
    if not scans:
        return None, problems
    points, region = (np.concatenate(part) for part in zip(*parts, strict=True))
    scores = np.array([scan.score for scan in scans])
    labels = np.array([scan.defective for scan in scans])
    curves = {
        "object_roc": roc_curve(scores, labels),
        "object_pr": precision_recall_curve(scores, labels),
        "point_roc": roc_curve(points, region >= 0),
        "point_pr": precision_recall_curve(points, region >= 0),
        "pro": pro_curve(points, region),
    }
    ordered = tuple(
        replace(scan, error=error)
        for scan, error in zip(scans, _errors(scores, labels), strict=True)
    )
    return CategorySummary(category, ordered, curves, bins, np.concatenate(colors)), problems


def mean_curve(curves: Sequence[Curve], *, stepwise: bool = False) -> Curve | None:
    """Return the mean of curves over x, 0 to 1, without those that are empty; None if all are.

    Between its points a curve is straight, and where it rises straight up, the upper end counts.
    stepwise: it is level instead, as high as its next point, as average precision takes it.
    """
    drawn = [curve for curve in curves if len(curve[0])]
    if not drawn:
        return None
    grid = np.linspace(0, 1, GRID)
    at_grid = _stepped if stepwise else _upper
    mean = np.mean([at_grid(x, y, grid) for x, y in drawn], axis=0)
    start = mean[0] if stepwise else np.mean([y[0] for _, y in drawn])
    return np.append(0.0, grid), np.append(start, mean)


def _upper(x: Float64, y: Float64, grid: Float64) -> Float64:
    """The curve at the places of a grid: straight between points, on a vertical at its last."""
    end = np.searchsorted(x, grid, side="right")
    last, following = np.maximum(end - 1, 0), np.minimum(end, len(x) - 1)
    width = x[following] - x[last]
    share = np.divide(grid - x[last], width, out=np.zeros_like(grid), where=width > 0)
    upper: Float64 = y[last] + np.clip(share, 0, 1) * (y[following] - y[last])
    return upper


def _stepped(x: Float64, y: Float64, grid: Float64) -> Float64:
    """The curve at the places of a grid: that of the first point that is not before it."""
    place = np.searchsorted(x, grid - 1e-9)
    stepped: Float64 = y[np.minimum(place, len(y) - 1)]
    return stepped


def _scan_summary(wanted: Wanted, stored: StoredScores) -> ScanSummary:
    return ScanSummary(
        stored=wanted,
        name=stored.name,
        category=stored.category,
        kind=stored.kind or ("defective" if stored.defective else GOOD),
        defective=stored.defective,
        points=len(stored.point),
        score=float(stored.object),
        point_auroc=auroc(stored.point, stored.label),
        seconds=float(stored.seconds),
    )


def _errors(scores: Float64, labels: Bool) -> list[float]:
    """For each scan the share of scans of the other class that it is on the wrong side of."""
    errors = []
    for score, label in zip(scores, labels, strict=True):
        others = scores[labels != label]
        wrong = np.count_nonzero(others > score if label else others < score)
        tied = np.count_nonzero(others == score)
        errors.append((wrong + tied / 2) / len(others) if len(others) else math.nan)
    return errors


def _damaged(path: Path, problem: str) -> ZeroflawError:
    return ZeroflawError(
        f"{path}: damaged scores ({problem}); delete the file and run the evaluation again"
    )
