"""Evaluations as they lie on disk, small, and what a browser makes of their pages."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from zeroflaw.metrics.pro import au_pro
from zeroflaw.metrics.ranking import ranking
from zeroflaw.reports.results import FIGURES, Results, write_results
from zeroflaw.reports.stored import StoredScores, write_stored

POINTS = 400


def scan(name: str, category: str, kind: str, score: float, *, found: bool = True) -> StoredScores:
    """A ball, a defective one with a marked cap, whose scores point there or elsewhere."""
    rng = np.random.default_rng(len(name) + round(1000 * score))
    points = rng.normal(size=(POINTS, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    label = (points[:, 2] > 0.8) & (kind != "good")
    bright = points[:, 2] > 0.8 if found else points[:, 2] < -0.8
    index = np.arange(0, POINTS, 2)
    return StoredScores(
        name=name,
        category=category,
        kind=kind,
        identity="one",
        seconds=0.5,
        object=score,
        point=(score * np.where(bright, 1.0, 0.2) * rng.uniform(0.8, 1, POINTS)).astype(np.float32),
        label=label,
        region=np.where(label, 0, -1),
        sampled=np.arange(0, POINTS, 4),
        preview_index=index,
        preview_points=points[index].astype(np.float32),
    )


SCANS = (
    scan("bottle/test/hit", "bottle", "dent", 0.9),
    scan("bottle/test/elsewhere", "bottle", "dent", 0.8, found=False),
    scan("bottle/test/missed", "bottle", "bulge", 0.1),
    scan("bottle/test/fine", "bottle", "good", 0.2),
    scan("bottle/test/alarm", "bottle", "good", 0.7),
    scan("cup/test/hit", "cup", "hole", 0.6),
    scan("cup/test/fine", "cup", "good", 0.3),
)


def evaluation(folder: Path, scans: tuple[StoredScores, ...] = SCANS, **about: object) -> Path:
    """A folder as an evaluation leaves it."""
    figures: dict[str, dict[str, float]] = {}
    counts: dict[str, dict[str, int]] = {}
    for category in {one.category for one in scans}:
        own = [one for one in scans if one.category == category]
        objects = ranking([one.object for one in own], [one.defective for one in own])
        point, label = (
            np.concatenate([getattr(one, n) for one in own]) for n in ("point", "label")
        )
        region = np.concatenate([np.where(one.label, i, -1) for i, one in enumerate(own)])
        values = dict.fromkeys(FIGURES, math.nan)
        values |= dict(zip(FIGURES, [*objects, *ranking(point, label)], strict=False))
        figures[category] = {**values, "point_pro": au_pro(point, region)}
        kinds = [one.kind for one in own]
        counts[category] = {kind: kinds.count(kind) for kind in kinds}
    folder.mkdir(parents=True, exist_ok=True)
    for one in scans:
        write_stored(folder, one)
    told = {"threshold": 0.5, **about}
    write_results(folder, Results("peak", "parts", counts, figures, ("cup",), told))
    return folder


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "img", "path", "rect", "polyline"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"path", "rect", "polyline"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]
