"""What a report needs of a category's stored scores: curves, distributions, a line per scan."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zeroflaw.metrics.curves import Curve, precision_recall_curve, pro_curve, roc_curve
from zeroflaw.metrics.ranking import auroc
from zeroflaw.reports.stored import ENDING, StoredScores, read_stored
from zeroflaw.types import Bool, Float32, Float64, Int64, ZeroflawError

BINS = 40  # of point scores, over 0 to 1
GRID = 201  # places at which curves are averaged
EVERY = 16  # of a scan's preview scores, one in so many tells what range the pictures' colours span


@dataclass(frozen=True)
class ScanSummary:
    """One scan of an evaluation.

    path: of its stored scores. points: how many it has. score: of the scan. error: the share of the
    category's scans of the other class that its score puts on the wrong side, ties counted half;
    nan without any. point_auroc: within the scan, nan where it has one class.
    """

    path: Path
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


def find_stored(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files with scores below an evaluation's folder, by category, and what is damaged.

    Both sorted; of each file only its heading is read.
    """
    found: dict[str, list[Path]] = {}
    problems = []
    for path in sorted((folder / "scores").rglob(f"*{ENDING}")):
        if path.name.startswith("."):
            continue  # of a run that was killed while it wrote
        try:
            found.setdefault(_category(path), []).append(path)
        except ZeroflawError as error:
            problems.append(str(error))
    return dict(sorted(found.items())), problems


def read_checked(path: Path) -> StoredScores:
    """Read stored scores whose parts fit each other. Raises ZeroflawError."""
    stored = read_stored(path)
    count = np.shape(stored.point)
    whole = (
        isinstance(stored.name, str)
        and isinstance(stored.kind, str)
        and len(count) == 1
        and np.shape(stored.label) == count == np.shape(stored.region)
        and np.shape(stored.preview_points) == (*np.shape(stored.preview_index), 3)
    )
    if not whole or not count[0] or not len(stored.preview_index):
        raise _damaged(path, "its parts do not fit each other")
    index = stored.preview_index
    if index.dtype.kind not in "iu" or index.min() < 0 or index.max() >= count[0]:
        raise _damaged(path, "its preview is of other points")
    numbers = (stored.point, stored.preview_points, np.float64(stored.object))
    if not all(np.isfinite(part).all() for part in numbers):
        raise _damaged(path, "scores or places are no numbers")
    return stored


def summarize(
    category: str, paths: Sequence[Path], step: Callable[[str], None] = lambda name: None
) -> tuple[CategorySummary | None, list[str]]:
    """Return the summary of a category, None if no file of it can be read, and what is damaged.

    paths: of its stored scores. step: called with the name of each file that is done. Holds the
    point scores of the whole category in memory.
    """
    scans: list[ScanSummary] = []
    parts: list[tuple[Float32, Int64]] = []
    colors: list[Float32] = []
    problems: list[str] = []
    bins = np.zeros((2, BINS), dtype=np.int64)
    regions = 0
    for path in paths:
        try:
            stored = read_checked(path)
        except ZeroflawError as error:
            problems.append(str(error))
            continue
        finally:
            step(path.stem)
        scans.append(_scan_summary(path, stored))
        parts.append((stored.point, np.where(stored.label, stored.region + regions, -1)))
        regions += int(stored.region.max()) + 1
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
    last = np.append(np.flatnonzero(np.diff(x) > 0), len(x) - 1)
    upper: Float64 = np.interp(grid, x[last], y[last])
    return upper


def _stepped(x: Float64, y: Float64, grid: Float64) -> Float64:
    """The curve at the places of a grid: that of the first point that is not before it."""
    place = np.searchsorted(x, grid - 1e-9)
    stepped: Float64 = y[np.minimum(place, len(y) - 1)]
    return stepped


def _scan_summary(path: Path, stored: StoredScores) -> ScanSummary:
    return ScanSummary(
        path=path,
        name=stored.name,
        category=stored.category,
        kind=stored.kind or ("defective" if stored.defective else "good"),
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


def _category(path: Path) -> str:
    """The category in a stored file's heading. Raises ZeroflawError if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(file["category"])
    except (OSError, KeyError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise _damaged(path, " ".join(str(error).split())) from None


def _damaged(path: Path, problem: str) -> ZeroflawError:
    return ZeroflawError(
        f"{path}: damaged scores ({problem}); delete the file and run the evaluation again"
    )
