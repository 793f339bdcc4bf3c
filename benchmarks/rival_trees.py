"""Boosted trees on the compact detector's input: a strong, cheap rival.

Features of a point: the 56 local descriptors, the same relative to the scan's median and deviation,
and the self-similarity of the patches around it. Trained by scikit-learn on some points of
synthesised training scans; kept as plain arrays, so that reading them runs no code.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.io.atomic import replacing
from zeroflaw.methods.compact_input import InputSettings, read_scan
from zeroflaw.synthesis.generate import Settings, Synthesized
from zeroflaw.types import Bool, Float32, Float64, Int64, Scan, ZeroflawError

FOREST = "forest.npz"
SEED = 3
POINTS = 400  # of a scan
MARKED = 150  # of them at most, where there is a defect
CHUNK = 20  # pairs in a file
TREES = 200
LAST = 0.15  # of the pairs, from which the scan's score is learned
SHARE = 0.6  # of the time, for making features
TOP_SHARES = (0.002, 0.01, 0.05, 0.2, 1.0)
NODES = ("feature", "threshold", "left", "right", "leaf", "value", "start")


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees as arrays over all their nodes, and the scan's score.

    feature, left, right: (K,); threshold, value: (K,) float64; leaf: (K,) bool; start: (T,), the
    roots. left and right count within a tree. baseline: of the logit. object: (6,), weights of the
    means of the highest logits and a bias.
    """

    feature: Int64
    threshold: Float64
    left: Int64
    right: Int64
    leaf: Bool
    value: Float64
    start: Int64
    baseline: float
    object: Float64
    about: dict[str, Any]

    def logits(self, rows: Float32) -> Float64:
        """One per row. rows: (N, F) finite."""
        columns = np.ascontiguousarray(rows.T).astype(np.float64)
        total = np.full(len(rows), self.baseline)
        for root in self.start:
            node = np.full(len(rows), root)
            active = np.arange(len(rows)) if not self.leaf[root] else np.zeros(0, dtype=np.int64)
            while len(active):
                at = node[active]
                low = columns[self.feature[at], active] <= self.threshold[at]
                at = root + np.where(low, self.left[at], self.right[at])
                node[active] = at
                active = active[~self.leaf[at]]
            total += self.value[node]
        return np.asarray(total)

    def whole(self, logit: Float64) -> float:
        """The scan's score from its points' logits."""
        return float(1 / (1 + np.exp(-(top_means(logit) @ self.object[:-1] + self.object[-1]))))

    def digest(self) -> str:
        whole = hashlib.sha256(np.append(self.object, self.baseline).tobytes())
        for name in NODES:
            whole.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return whole.hexdigest()

    def write(self, path: Path) -> None:
        with replacing(path) as file:
            arrays = {name: getattr(self, name) for name in (*NODES, "baseline", "object")}
            np.savez_compressed(file, **arrays, about=json.dumps(self.about))

    @staticmethod
    def read(path: Path) -> Forest:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in (*NODES, "object")}
            about, baseline = json.loads(str(file["about"])), float(file["baseline"])
        return Forest(**arrays, baseline=baseline, about=about)


def features(scan: Scan) -> tuple[Float64, Float32, Int64]:
    """Described places (N, 3) in the scan's frame, their features (N, F), and which points."""
    prepared = read_scan(scan.points, InputSettings())
    own, location, deviation, context, weight = (
        prepared[name][0].numpy().astype(np.float32)
        for name in ("point", "location", "deviation", "context", "weight")
    )
    relative = np.clip((own - location) / deviation, -50, 50)
    near = prepared["near"][0].numpy()
    around = (context[near] * weight[..., None]).sum(axis=1)
    rows = np.nan_to_num(np.concatenate([own, relative, around], axis=1))
    return prepared["mean"][0].numpy(), rows.astype(np.float32), prepared["index"][0].numpy()


def top_means(logit: Float64) -> Float64:
    ordered = np.sort(logit)[::-1]
    return np.array([ordered[: max(1, round(share * len(ordered)))].mean() for share in TOP_SHARES])


def training_scans(corpus: Path | None, most_defects: int = 4) -> SyntheticScans:
    """Scans that the rivals learn from: those of the compact detector's training."""
    settings = replace(Settings(), most_defects=most_defects)
    return SyntheticScans(SyntheticSettings(corpus, "train", SEED, scans=settings))


def some_rows(made: Synthesized, number: int) -> tuple[Float32, Bool]:
    """Features and labels of some points, defective ones favoured."""
    rng = np.random.default_rng([SEED, number])
    _, rows, index = features(made.scan)
    labels = np.asarray(made.scan.labels)[index]
    few = rng.permutation(np.flatnonzero(labels))[:MARKED]
    others = rng.permutation(np.flatnonzero(~labels))[: POINTS - len(few)]
    chosen = np.concatenate([few, others])
    return rows[chosen], labels[chosen]


def train_trees(corpus: Path | None, out: Path, minutes: float, pairs: int = 500) -> Path:
    """Make features of training pairs, as many as the time allows, and grow the forest.

    Interrupted, the same call goes on from the files that are there. Returns the forest's path.
    """
    if (out / FOREST).is_file():
        return out / FOREST
    out.mkdir(parents=True, exist_ok=True)
    begun, scans = time.monotonic(), training_scans(corpus)
    files: list[Path] = []
    for first in range(0, pairs, CHUNK):
        path = out / f"rows_{first:05d}.npz"
        if not path.is_file():
            if files and time.monotonic() - begun > 60 * SHARE * minutes:
                break
            _write_rows(path, scans, range(2 * first, 2 * min(first + CHUNK, pairs)))
        files.append(path)
    used = min(pairs, len(files) * CHUNK)
    forest = grow(files, used)
    held = range(2 * round((1 - LAST) * used), 2 * used)
    forest = learn_objects(forest, [scans[number] for number in held])
    forest.write(out / FOREST)
    return out / FOREST


def _write_rows(path: Path, scans: SyntheticScans, numbers: Sequence[int]) -> None:
    made = [some_rows(scans[number], number) for number in numbers]
    rows = np.concatenate([one for one, _ in made])
    labels = np.concatenate([one for _, one in made])
    scan = np.repeat(list(numbers), [len(one) for _, one in made])
    with replacing(path) as file:
        np.savez(file, rows=rows, labels=labels, scan=scan)


def grow(files: Sequence[Path], pairs: int) -> Forest:
    """Fit the points' trees to all scans but the last ones."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        raise ZeroflawError(
            "boosted trees need scikit-learn; install it with: pip install 'zeroflaw[dev]'"
        ) from None
    read = [dict(np.load(path, allow_pickle=False)) for path in files]
    scan = np.concatenate([one["scan"] for one in read])
    keep = scan < 2 * round((1 - LAST) * pairs)
    rows, labels = (
        np.concatenate([one[name] for one in read])[keep] for name in ("rows", "labels")
    )
    model = HistGradientBoostingClassifier(
        max_iter=TREES,
        learning_rate=0.1,
        max_leaf_nodes=31,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=SEED,
    )
    model.fit(rows, labels)
    about = {"scans": int(2 * pairs), "points": len(labels), "trees": TREES}
    return as_arrays(model, about)


def as_arrays(model: Any, about: dict[str, Any]) -> Forest:
    """A fitted HistGradientBoostingClassifier of two classes as plain arrays."""
    nodes = [trees[0].nodes for trees in model._predictors]
    whole = np.concatenate(nodes)
    return Forest(
        feature=whole["feature_idx"].astype(np.int64),
        threshold=whole["num_threshold"].astype(np.float64),
        left=whole["left"].astype(np.int64),
        right=whole["right"].astype(np.int64),
        leaf=whole["is_leaf"].astype(np.bool_),
        value=whole["value"].astype(np.float64),
        start=np.cumsum([0, *map(len, nodes)])[:-1],
        baseline=float(np.ravel(model._baseline_prediction)[0]),
        object=np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        about=about,
    )


def learn_objects(forest: Forest, scans: Sequence[Synthesized]) -> Forest:
    """Learn the scan's score from scans that the trees have not seen."""
    from sklearn.linear_model import LogisticRegression

    means = np.stack([top_means(forest.logits(features(made.scan)[1])) for made in scans])
    truth = np.array([made.kind != "good" for made in scans])
    if truth.all() or not truth.any():
        return forest
    model = LogisticRegression(C=1.0, max_iter=1000).fit(means, truth)
    return replace(forest, object=np.append(model.coef_[0], model.intercept_))
