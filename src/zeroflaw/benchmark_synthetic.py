"""The synthetic benchmark: detectors on fixed scans of categories that were never trained on."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from zeroflaw.contestants import Contestant, Judgement, Loader, load_detector
from zeroflaw.datasets.base import GOOD
from zeroflaw.datasets.held_out_pairs import PAIRS, HeldOutPairs, Pair, check_synthesis
from zeroflaw.detector import choose_device
from zeroflaw.evaluate import alone, steps
from zeroflaw.geometry.regions import label_regions
from zeroflaw.geometry.rim import near_boundary
from zeroflaw.inspect import make_folder, unexpected
from zeroflaw.interruption import insist
from zeroflaw.provenance import recorded
from zeroflaw.reports.synthetic_stored import Facts, Judged, read_kept, write_kept
from zeroflaw.reports.synthetic_table import remarks, show
from zeroflaw.synthesis.generate import Synthesized
from zeroflaw.synthetic_folder import (
    TABLE,
    Tabled,
    announce,
    enter,
    facts_path,
    folder_of,
    read_judged,
    read_plan,
    scan_names,
    tabulate,
)
from zeroflaw.types import Bool, Float32, ZeroflawError
from zeroflaw.workers import in_processes

COMPLETE, INCOMPLETE, INTERRUPTED = 0, 1, 130
MOST_PAIRS = 10_000  # their names have four digits


@dataclass(frozen=True)
class Request:
    """What a person asks of the benchmark.

    detectors: names of shipped ones or paths of checkpoints. corpus: folder of packed shapes.
    pairs: of a defective scan and its good twin, numbers 0 to pairs - 1. device: of the detectors.
    """

    detectors: tuple[str, ...]
    out: Path
    corpus: Path | None = None
    pairs: int = PAIRS
    device: str = "auto"
    workers: int = 1


def run(request: Request) -> int:
    """Score what is left, print the tables and return the exit code; see `compare`."""
    device = str(choose_device(request.device))
    loaders = [partial(load_detector, name, device) for name in request.detectors]
    workers = request.workers if device == "cpu" else 1
    return compare(loaders, request.out, request.corpus, request.pairs, workers)


def compare(
    loaders: Sequence[Loader],
    out: Path,
    corpus: Path | None = None,
    pairs: int = PAIRS,
    workers: int = 1,
) -> int:
    """Let contestants score the benchmark's scans, write and print the tables.

    Returns 0 when all have scored all scans, 1 when some scans could not be used, 130 when
    interrupted; the same call then goes on. `out` keeps what is known of the scans and each
    contestant's scores, so that more can be added later: the tables hold all that the folder does.
    Raises ZeroflawError if the synthesis is not the recorded one, for two contestants of one name,
    for a corpus without shapes, and for a folder that holds another benchmark or is in use.
    """
    begun = time.perf_counter()
    if not 1 <= pairs <= MOST_PAIRS:
        raise ZeroflawError(f"benchmark: {pairs:,} pairs; 1 to {MOST_PAIRS:,} can be made")
    contestants = [load() for load in loaders]
    _check_names(contestants)
    held_out = HeldOutPairs(corpus)
    held_out.shapes.categories()  # an unusable corpus is no benchmark
    check_synthesis()
    make_folder(out)
    with alone(out):
        name = held_out.name()
        enter(out, name, pairs)
        for one in contestants:
            announce(out, one)
        about = {one.name: one.identity for one in contestants}
        facts = {"corpus_hash": held_out.corpus_hash(), "detectors": about, "pairs": pairs}
        try:
            with recorded(out, verb="benchmark", benchmark=name, **facts) as record:
                problems = _score(
                    _Bench(held_out, out, tuple(loaders)), contestants, pairs, workers
                )
                names = [one.name for one in contestants]
                tabled = tabulate(out, name, pairs, names)
                record["data_hash"] = tabled.data_hash
                record["missing"] = problems
        except KeyboardInterrupt:
            print("zeroflaw: interrupted; the same command goes on", file=sys.stderr)
            return INTERRUPTED
    _tell(out, tabled, problems, time.perf_counter() - begun)
    return INCOMPLETE if problems else COMPLETE


def table(out: Path) -> int:
    """Write and print the tables of what the folder holds; return the exit code.

    No scan is made and nothing inspected. Raises ZeroflawError if there is no benchmark.
    """
    begun = time.perf_counter()
    found = read_plan(out)
    if found is None:
        raise ZeroflawError(f"{out}: holds no synthetic benchmark; run one with --out {out}")
    with alone(out):
        tabled = tabulate(out, str(found["benchmark"]), int(found["pairs"]), [])
    _tell(out, tabled, {}, time.perf_counter() - begun)
    return INCOMPLETE if any(one.missing for one in tabled.found.values()) else COMPLETE


@dataclass(frozen=True)
class _Bench:
    """What a process needs to work pairs."""

    pairs: HeldOutPairs
    out: Path
    loaders: tuple[Loader, ...]
    contestants: tuple[Contestant, ...] = ()


@dataclass(frozen=True)
class _Job:
    """A pair, and by number which contestants are to score it."""

    number: int
    left: tuple[int, ...]


def _score(
    bench: _Bench, contestants: Sequence[Contestant], pairs: int, workers: int
) -> dict[str, str]:
    """Score what is left; return what is wrong with scans that could not be used."""
    jobs = []
    for number in range(pairs):
        left = _left(bench.out, number, contestants)
        if left or not all(facts_path(bench.out, scan).exists() for scan in scan_names(number)):
            jobs.append(_Job(number, left))
    threads = 1 if min(workers, len(jobs)) > 1 else 0
    start = partial(_start, bench, threads)
    if threads == 0:  # all in this process, where they are loaded already
        start = partial(_here, replace(bench, contestants=tuple(contestants)))
    problems: dict[str, str] = {}
    with (
        steps(pairs, True) as step,
        closing(in_processes(_work, start, jobs, workers)) as done,
    ):
        step(pairs - len(jobs))
        for count, (place, found) in enumerate(done, pairs - len(jobs) + 1):
            step(count, scan_names(jobs[place].number)[0])
            problems.update(found)
    return dict(sorted(problems.items()))


def _left(out: Path, number: int, contestants: Sequence[Contestant]) -> tuple[int, ...]:
    """Which contestants have not scored both scans of a pair."""
    left = []
    for place, one in enumerate(contestants):
        kept = (read_judged(out, scan, one.name, one.identity) for scan in scan_names(number))
        if any(known is None for known in kept):
            left.append(place)
    return tuple(left)


def _start(bench: _Bench, threads: int) -> _Bench:
    torch.set_num_threads(threads)
    return replace(bench, contestants=tuple(load() for load in bench.loaders))


def _here(bench: _Bench) -> _Bench:
    return bench


def _work(bench: _Bench, job: _Job) -> dict[str, str]:
    """Make a pair and let contestants score it; return problems by scan and contestant.

    Raises ZeroflawError if the pair is not the one that the folder knows.
    """
    problems = {}
    names = scan_names(job.number)
    try:
        pair = bench.pairs.pair(job.number)
    except ZeroflawError as error:
        insist()
        return {names[0]: str(error)}
    for scan, made in zip(names, (pair.defective, pair.good), strict=True):
        path = facts_path(bench.out, scan)
        facts, known = facts_of(pair, made), read_kept(path, Facts)
        if known is not None and known.content != facts.content:
            raise ZeroflawError(
                f"{bench.out}: its scan {scan} is not the one that the synthesis makes now, so "
                "figures would not compare; name another --out"
            )
        if known is None:
            write_kept(path, facts)
        for place in job.left:
            contestant = bench.contestants[place]
            try:
                judged = judge(contestant, made, facts.labels)
            except ZeroflawError as error:
                insist()
                problems[f"{scan}, {contestant.name}"] = str(error)
            except Exception as error:  # one scan that breaks a detector must not cost the others
                insist()
                problems[f"{scan}, {contestant.name}"] = unexpected(Path(scan), error)
            else:
                write_kept(folder_of(bench.out, contestant.name) / f"{scan}.npz", judged)
    return problems


def facts_of(pair: Pair, made: Synthesized) -> Facts:
    """Return what figures need to know of one scan of a pair."""
    scan = made.scan
    near: Bool = np.zeros(len(scan), dtype=np.bool_)
    if made.kind == GOOD and made.sided == "one":
        near = near_boundary(scan.points)
    digest = hashlib.sha256(scan.points.astype(np.float32).tobytes())
    digest.update(b"" if scan.labels is None else np.packbits(scan.labels).tobytes())
    return Facts(
        kind=made.kind,
        category=pair.category,
        sided=made.sided,
        size=made.size,
        amplitude=made.amplitude,
        noise=made.noise,
        region=label_regions(scan),
        near=near,
        content=digest.hexdigest(),
    )


def judge(contestant: Contestant, made: Synthesized, labels: Bool) -> Judged:
    """Return what a contestant says of a scan. Raises ZeroflawError for scores of another shape."""
    begun = time.perf_counter()
    found = contestant.judge(replace(made.scan, labels=None))
    seconds = time.perf_counter() - begun
    point = np.asarray(found.point, dtype=np.float32)
    if point.shape != (len(made.scan),) or not np.isfinite(point).all():
        raise ZeroflawError(f"gave no finite score for each of {len(made.scan)} points")
    return Judged(
        point=point,
        object=float(found.object),
        overlap=_overlaps(found, labels),
        kinds=np.array([one.kind or "" for one in found.regions], dtype=np.str_),
        seconds=seconds,
        identity=contestant.identity,
    )


def _overlaps(found: Judgement, labels: Bool) -> Float32:
    """Intersection over union of each region with the labelled points, (R,)."""
    marked = int(labels.sum())
    shares = []
    for one in found.regions:
        both = int(labels[one.index].sum())
        shares.append(both / max(len(one.index) + marked - both, 1))
    return np.array(shares, dtype=np.float32)


def _check_names(contestants: Sequence[Contestant]) -> None:
    seen: dict[str, str] = {}
    for one in contestants:
        if seen.setdefault(one.name, one.identity) != one.identity:
            raise ZeroflawError(
                f"two detectors are called {one.name}; rename the file or folder of one of them"
            )


def _tell(out: Path, tabled: Tabled, problems: Mapping[str, str], seconds: float) -> None:
    from rich.console import Console

    show(Console(highlight=False, markup=False), tabled.title, tabled.found, remarks(tabled.found))
    print(f"table in {out / TABLE} ({seconds:.1f} s)")
    for scan, problem in problems.items():
        print(f"zeroflaw: {scan}: {problem}", file=sys.stderr)
