"""Figures of a detector on a data set, per category and as means."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zeroflaw.io.atomic import replacing
from zeroflaw.io.source import said_by
from zeroflaw.types import ZeroflawError

FORMAT = 1
FILENAME = "results.json"
OBJECT = ("object_auroc", "object_ap", "object_f1")
POINT = ("point_auroc", "point_ap", "point_f1", "point_pro", "point_coverage_auc")
SAMPLED = tuple(f"sampled_{name}" for name in ("point_auroc", "point_ap", "point_f1"))
FIGURES = (*OBJECT, *POINT, *SAMPLED)


@dataclass(frozen=True)
class Results:
    """detector: its name. data: the data set's name.

    scans: per category, how many there are by kind. figures: per category, the values of FIGURES
    as shares of 1, nan where undefined. left_out: categories that the means leave out, as the
    detector was trained on them.
    """

    detector: str
    data: str
    scans: Mapping[str, Mapping[str, int]]
    figures: Mapping[str, Mapping[str, float]]
    left_out: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counted(self) -> tuple[str, ...]:
        """The categories that the means are over, sorted."""
        return tuple(sorted(set(self.figures) - set(self.left_out)))

    def mean(self) -> dict[str, float]:
        """Return the mean of each figure over the categories where it is defined, else nan."""
        means = {}
        for name in FIGURES:
            values = [self.figures[category][name] for category in self.counted]
            defined = [value for value in values if math.isfinite(value)]
            means[name] = sum(defined) / len(defined) if defined else math.nan
        return means

    def undefined(self) -> dict[str, int]:
        """Return for each figure in how many of the counted categories it is undefined."""
        return {
            name: sum(not math.isfinite(self.figures[category][name]) for category in self.counted)
            for name in FIGURES
        }


def write_results(folder: Path, results: Results) -> Path:
    """Write `results.json`, undefined values as null, and return its path. Raises ZeroflawError."""
    content = {
        "format": FORMAT,
        "detector": results.detector,
        "data": results.data,
        "scans": results.scans,
        "categories": {name: _plain(row) for name, row in sorted(results.figures.items())},
        "mean": _plain(results.mean()),
        "undefined": results.undefined(),
        "left_out": list(results.left_out),
        "about": results.about,
    }
    path = folder / FILENAME
    with replacing(path) as file:
        file.write((json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
    return path


def read_results(folder: Path) -> Results:
    """Read `results.json`. Raises ZeroflawError if it is missing or damaged."""
    path = folder / FILENAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, expected {FORMAT}")
        return Results(
            str(content["detector"]),
            str(content["data"]),
            {name: _counts(kinds) for name, kinds in content["scans"].items()},
            {name: _full(row) for name, row in content["categories"].items()},
            tuple(map(str, content["left_out"])),
            dict(content["about"]),
        )
    except OSError as error:
        raise ZeroflawError(
            f"{path}: cannot be read ({error.strerror}); run `zeroflaw evaluate` again"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = f"{type(error).__name__}: {said_by(error)}"
        raise ZeroflawError(
            f"{path}: damaged results ({said}); run `zeroflaw evaluate` again"
        ) from None


def _counts(kinds: Mapping[str, int]) -> dict[str, int]:
    return {kind: int(count) for kind, count in kinds.items()}


def _plain(row: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def _full(row: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if row[name] is None else float(row[name] or 0.0) for name in FIGURES}
