"""Scores of a data set's scans by a detector: one file each, and none computed twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from zeroflaw.cache import FeatureCache, hash_tensors
from zeroflaw.datasets.base import Dataset, Entry, Selection
from zeroflaw.detector import Detector
from zeroflaw.geometry.regions import label_regions
from zeroflaw.inspect import unexpected
from zeroflaw.interruption import insist
from zeroflaw.methods.base import Prepared, Scores
from zeroflaw.metrics.calibration import Scalings
from zeroflaw.reports.stored import (
    NO_VIEWS,
    PREVIEW,
    StoredScores,
    read_identity,
    stored_path,
    write_stored,
)
from zeroflaw.types import Bool, Int64, Scan, UInt8, ZeroflawError
from zeroflaw.version import __version__
from zeroflaw.workers import in_processes

VIEW = 112  # pixels of a stored view, a third of CLIP's
MARKED = 256  # points of a picture that show defects, if there are as many


@dataclass(frozen=True)
class Job:
    """A scan to score, and whose scores they will be."""

    entry: Entry
    identity: str


@dataclass(frozen=True)
class Scorer:
    """What scoring needs. out: the evaluation's folder. cache: of what the method prepares."""

    detector: Detector
    dataset: Dataset
    out: Path
    cache: FeatureCache | None = None


def hash_detector(detector: Detector) -> str:
    """Return a hash of all that scores depend on besides the scan.

    That is the method with its settings and weights, how its scores are calibrated, the kind of
    device, and the versions of zeroflaw and torch. The rest of the card is none of it.
    """
    method = detector.method
    settings = json.dumps(dataclasses.asdict(method.config), sort_keys=True, default=str)
    versions = (__version__, torch.__version__, detector.device.type)
    weights = hash_tensors(method.inspection_state().items())
    calibrated = () if detector.scalings is None else (repr(detector.scalings),)
    parts = (method.name, settings, *versions, weights, *calibrated)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def identify(dataset: Dataset, entry: Entry, detector: str, hashed: Callable[[Path], bytes]) -> str:
    """Return whose scores an entry's are: a hash of its files, the data's settings, the detector.

    detector: from `hash_detector`. Raises ZeroflawError for a file that cannot be read.
    """
    content = Selection(dataset, (entry,)).content_hash(hashed)
    return hashlib.sha256(f"{detector}\n{content}".encode()).hexdigest()


def is_stored(out: Path, name: str, identity: str) -> bool:
    """Whether the folder holds the scores of this scan by this detector."""
    return read_identity(stored_path(out, name)) == identity


def score_all(
    detector: Detector,
    dataset: Dataset,
    out: Path,
    jobs: Sequence[Job],
    *,
    cache: Path | None = None,
    workers: int = 1,
) -> Generator[tuple[Job, str], None, None]:
    """Score the scans and yield each when its file is written, with "" or why there is none.

    cache: folder for what the method prepares. workers: processes, each with one thread; a detector
    on a GPU uses this process alone. Raises ZeroflawError if nothing can be written.
    """
    workers = workers if detector.device.type == "cpu" else 1
    threads = 1 if min(workers, len(jobs)) > 1 else 0
    start = partial(_start, detector, dataset, out, cache, threads)
    with closing(in_processes(score_one, start, jobs, workers)) as done:
        for number, problem in done:
            yield jobs[number], problem


def _start(
    detector: Detector, dataset: Dataset, out: Path, cache: Path | None, threads: int
) -> Scorer:
    if threads:
        torch.set_num_threads(threads)
    features = None if cache is None else FeatureCache(detector.method, cache)
    return Scorer(detector, dataset, out, features)


def score_one(scorer: Scorer, job: Job) -> str:
    """Read, inspect and store one scan; return "" or one line that says why that failed."""
    try:
        scores = compute(scorer, job)
    except ZeroflawError as error:
        insist()
        return str(error)
    except Exception as error:  # one scan that breaks us must not cost the others
        insist()
        return unexpected(Path(job.entry.name), error)
    write_stored(scorer.out, scores)
    return ""


def compute(scorer: Scorer, job: Job) -> StoredScores:
    """Return the scores of a scan and what goes with them. Raises ZeroflawError."""
    begun = time.perf_counter()
    entry, detector = job.entry, scorer.detector
    scan = scorer.dataset.read(entry)
    if scan.labels is None:
        raise ZeroflawError(f"{scan.name}: has no labels, so that its scores cannot be judged")
    prepare = None if scorer.cache is None else partial(_prepared, scorer.cache)
    score, points, seen, prepared = detector.look(scan, prepare)
    seconds = time.perf_counter() - begun
    shown = choose_preview(scan.labels)
    places = scan.points[shown]
    return StoredScores(
        name=entry.name,
        category=entry.category,
        kind=entry.kind,
        identity=job.identity,
        seconds=seconds,
        object=score,
        point=points,
        label=scan.labels,
        region=label_regions(scan),
        sampled=np.unique(prepared["index"][0].cpu().numpy()).astype(np.int64),
        preview_index=shown,
        preview_points=(places - places.mean(axis=0)).astype(np.float32),
        views=small_views(seen, detector.scalings),
    )


def small_views(seen: Scores, scalings: Scalings | None = None) -> UInt8:
    """Return views and maps for a picture, (2, V, P, P), none of a method without views.

    scalings: of the detector, so that maps are on the scale of its point scores.
    """
    if seen.views is None:
        return np.zeros(NO_VIEWS, np.uint8)
    shade, maps = seen.views.float()
    if scalings is not None:
        maps = torch.from_numpy(scalings.point.apply(maps.numpy())).float()
    size = min(VIEW, maps.shape[-1])
    small = functional.adaptive_avg_pool2d(torch.stack([shade, maps]), size)
    stored: UInt8 = small.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    return stored


def _prepared(cache: FeatureCache, scan: Scan) -> Prepared:
    return cache.item(scan)[0]


def choose_preview(labels: Bool) -> Int64:
    """Return points for a picture, sorted, (K,): drawn evenly, but enough of the defective ones.

    labels: (N,). Always the same ones for the same labels.
    """
    if len(labels) <= PREVIEW:
        return np.arange(len(labels))
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(labels))[:PREVIEW]
    defective = np.flatnonzero(labels)
    lacking = min(MARKED, len(defective)) - int(labels[chosen].sum())
    if lacking > 0:
        more = rng.permutation(np.setdiff1d(defective, chosen))[:lacking]
        normal = chosen[~labels[chosen]]
        kept = normal[: len(normal) - lacking]
        chosen = np.concatenate([kept, chosen[labels[chosen]], more])
    return np.sort(chosen)
