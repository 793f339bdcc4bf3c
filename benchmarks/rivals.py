"""Simple rivals of the shipped detector, as contestants of the synthetic benchmark.

Each scores the points of a scan; a scan's score is the mean of its highest 1 % of points, but for
the boosted trees, which learn it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.rival_trees import FOREST, Forest, features
from scipy.spatial import cKDTree

from zeroflaw.contestants import Contestant, Judgement, Loader, load_detector, top_mean
from zeroflaw.datasets.held_out_pairs import HeldOutPairs
from zeroflaw.geometry.context import robust_range
from zeroflaw.geometry.descriptors import normals, spacing
from zeroflaw.geometry.fpfh import fpfh
from zeroflaw.geometry.moments import DESCRIPTOR_NAMES, local_descriptors
from zeroflaw.geometry.neighbors import interpolate
from zeroflaw.geometry.sample import farthest_point_sample
from zeroflaw.geometry.thin import thin
from zeroflaw.io.atomic import replacing
from zeroflaw.metrics.ranking import auroc
from zeroflaw.types import Bool, Float32, Scan, ZeroflawError

DENSE = 16_384
RIVALS = ("descriptor", "novelty", "trees", "btp")
EVERY = 7  # of the points, by which the best descriptor is chosen
CHOICE = "descriptors.json"


@dataclass
class SelfNovelty:
    """Distance in FPFH space to the 12th most similar of 2048 places of the same scan."""

    name: str = "FPFH self-novelty"
    identity: str = "fpfh, 12th of 2048 places, radius 10 spacings, 1"
    about: dict[str, Any] = field(default_factory=lambda: {"method": "FPFH self-novelty"})

    def judge(self, scan: Scan) -> Judgement:
        thinned = thin(scan.points, DENSE)
        dense = thinned.mean - thinned.mean.mean(axis=0)
        radius = 5 * spacing(dense)
        feature = fpfh(dense, normals(dense, radius=radius, k=30), radius=2 * radius)
        chosen = farthest_point_sample(dense, min(2048, len(dense)))
        distance, _ = cKDTree(feature[chosen]).query(feature[chosen], k=13, workers=-1)
        novelty = distance[:, -1].astype(np.float32)
        point = interpolate(thinned.mean[chosen], novelty, scan.points)
        return Judgement(point, top_mean(point))


@dataclass
class SingleDescriptor:
    """One of the compact detector's descriptors, with a sign, as it is or relative to its scan."""

    descriptor: str
    sign: float
    relative: bool
    name: str = field(init=False)
    identity: str = field(init=False)
    about: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        kind = "best descriptor, relative to scan" if self.relative else "best single descriptor"
        self.name = kind
        self.identity = f"{self.descriptor} {self.sign:+.0f} {self.relative}"
        self.about = {"method": kind, "descriptor": self.descriptor, "sign": self.sign}

    def judge(self, scan: Scan) -> Judgement:
        values = descriptor_maps(scan)[int(self.relative)]
        column = values[:, DESCRIPTOR_NAMES.index(self.descriptor)]
        point = np.asarray(np.float32(self.sign) * column, np.float32)
        return Judgement(point, top_mean(point))


@dataclass
class BoostedTrees:
    """scikit-learn's boosted trees on the compact detector's descriptors and their context."""

    forest: Forest
    name: str = "boosted trees"
    identity: str = field(init=False)
    about: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.identity = self.forest.digest()
        self.about = {"method": self.name, "weights_sha256": self.identity, **self.forest.about}

    def judge(self, scan: Scan) -> Judgement:
        places, rows, _ = features(scan)
        logit = self.forest.logits(rows)
        value = (1 / (1 + np.exp(-logit))).astype(np.float32)
        return Judgement(interpolate(places, value, scan.points), self.forest.whole(logit))


def descriptor_maps(scan: Scan) -> tuple[Float32, Float32]:
    """Every descriptor at every point, (N, F), as it is and relative to the scan."""
    thinned = thin(scan.points, DENSE)
    _, own = local_descriptors(thinned.mean - thinned.mean.mean(axis=0))
    median, deviation = robust_range(own)
    near = cKDTree(thinned.mean).query(scan.points, workers=-1)[1]
    return own[near], ((own - median) / deviation)[near]


def best_descriptors(pairs: HeldOutPairs, count: int, folder: Path) -> list[SingleDescriptor]:
    """The best descriptor and the best relative to its scan, on the very scans it is tested on.

    With its sign it is so an upper bound for what any one of them can do. What was chosen is kept.
    """
    path = folder / CHOICE
    about = {"benchmark": pairs.name(), "pairs": count}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["about"] == about:
            return [SingleDescriptor(**one) for one in found["best"]]
    kept: list[tuple[Float32, Float32]] = []
    labels: list[Bool] = []
    for number in range(count):
        pair = pairs.pair(number)
        for made in (pair.defective, pair.good):
            own, relative = descriptor_maps(made.scan)
            kept.append((own[::EVERY].copy(), relative[::EVERY].copy()))
            labels.append(np.asarray(made.scan.labels)[::EVERY])
    truth = np.concatenate(labels)
    best: list[dict[str, Any]] = []
    for kind in (0, 1):
        values = np.concatenate([pair[kind] for pair in kept])
        area = np.array([auroc(column, truth) for column in values.T])
        column = int(np.argmax(np.abs(area - 0.5)))
        sign = float(np.sign(area[column] - 0.5))
        best.append({"descriptor": DESCRIPTOR_NAMES[column], "sign": sign, "relative": bool(kind)})
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(json.dumps({"about": about, "best": best}, indent=1).encode())
    return [SingleDescriptor(**one) for one in best]


def itself(contestant: Contestant) -> Contestant:
    return contestant


def load_trees(path: Path) -> Contestant:
    return BoostedTrees(Forest.read(path))


def load_named(path: Path, name: str) -> Contestant:
    found = load_detector(path)
    found.name = name
    return found


def loaders(names: tuple[str, ...], pairs: HeldOutPairs, count: int, folder: Path) -> list[Loader]:
    """What makes the rivals of these names. Raises ZeroflawError for one that is not trained."""
    found: list[Loader] = []
    for name in names:
        if name == "descriptor":
            found += [partial(itself, one) for one in best_descriptors(pairs, count, folder)]
        elif name == "novelty":
            found.append(SelfNovelty)
        else:
            path = trained(folder)[name]
            if not path.is_file():
                raise ZeroflawError(f"{path}: not there; train it first with --train-rivals")
            if name == "trees":
                found.append(partial(load_trees, path))
            else:
                found.append(partial(load_named, path, "BTP's architecture"))
    return found


def trained(folder: Path) -> dict[str, Path]:
    """Where trained rivals lie."""
    return {"trees": folder / "trees" / FOREST, "btp": folder / "btp" / "best.safetensors"}
