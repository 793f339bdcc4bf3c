"""Evaluate: figures of a detector on a data set, from scores that are kept scan by scan."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zeroflaw.datasets import checked_split, open_dataset
from zeroflaw.datasets.base import Dataset, Selection
from zeroflaw.datasets.folder import Folder
from zeroflaw.detector import Detector
from zeroflaw.files import Failure
from zeroflaw.inspect import make_folder
from zeroflaw.interruption import insist
from zeroflaw.measure import measure
from zeroflaw.provenance import RUN, amend, provenance, recorded
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.plan import PLAN, Plan, PlannedScan, read_plan, write_plan
from zeroflaw.reports.progress import Step
from zeroflaw.reports.progress import progress as progress_bar
from zeroflaw.reports.results import FILENAME, Results, write_results
from zeroflaw.reports.results_table import STAND_IN, grids, write_tables
from zeroflaw.reports.stored import ENDING, read_category, stored_path
from zeroflaw.scan_index import INDEX, ScanIndex
from zeroflaw.score import Job, hash_detector, identify, is_stored, score_all
from zeroflaw.types import ZeroflawError, printable
from zeroflaw.version import __version__

USED, UNUSABLE, INTERRUPTED = 0, 2, 130
LOCK = ".lock"
WRITTEN = (FILENAME, "results.csv", "results.md", "results.tex", PLAN, RUN, INDEX)


@dataclass(frozen=True)
class Evaluation:
    """results: as in `results.json`. failures: scans that are missing from them, and why.

    out: the folder. inspected, kept: how many scans were inspected now, and how many had been.
    data_hash: of the scans' files, "" where some could not be read.
    """

    results: Results
    failures: tuple[Failure, ...]
    out: Path
    inspected: int = 0
    kept: int = 0
    data_hash: str = ""


def evaluate(
    detector: Detector,
    dataset: Dataset,
    out: Path,
    *,
    categories: Sequence[str] | None = None,
    split: str = "test",
    left_out: Sequence[str] = (),
    cache: Path | None = None,
    workers: int = 1,
    progress: bool = True,
    about: Mapping[str, Any] | None = None,
    restart: bool = False,
) -> Evaluation:
    """Inspect the scans of a data set and return the detector's figures, per category and means.

    categories: None for all. left_out: categories that the means leave out. cache: folder for what
    the method prepares, for other detectors that prepare the same; none by default. workers:
    processes that inspect. about: joins what `results.json` says of the run. restart: inspect all
    scans anew.

    `out` receives `scores/<entry>.npz` per scan, `results.json`, `.csv`, `.md` and `.tex`,
    `evaluation.json` (which scans belong to it), `run.json` (what produced it) and, without
    `cache`, `index.jsonl` (hashes of the files, so that they are read once). A scan whose
    scores by this very detector are there is not inspected again, so that the same call goes on
    after an interruption and ends with the same results. A scan that cannot be used does not stop
    the others. Raises ZeroflawError for a category that is not there, no scan at all, and a folder
    that holds an evaluation of other data or is in use, and KeyboardInterrupt.
    """
    chosen = dataset.select(categories, checked_split(split))
    check_left_out(left_out, {entry.category for entry in chosen.entries})
    make_folder(out)
    with alone(out):
        if restart:
            clear(out)
        check_same_data(out, dataset.name, split)
        facts = {"data": dataset.name, "root": dataset.root, "settings": dataset.settings}
        with recorded(out, verb="evaluate", detector=detector.name, **facts) as record:
            record["detector_hash"] = own = hash_detector(detector)
            index = ScanIndex((cache or out) / INDEX)
            scans, problems, content = plan_scans(own, chosen, index, progress)
            record["data_hash"] = content
            said = {**describe(detector), "split": split, **(about or {})}
            left = tuple(sorted(set(left_out)))
            plan = Plan(detector.name, dataset.name, split, scans, left, said)
            write_plan(out, plan)
            remove_strangers(out, plan)
            jobs = [
                Job(entry, scan.identity)
                for entry, scan in zip(chosen.entries, scans, strict=True)
                if scan.identity and not is_stored(out, scan.name, scan.identity)
            ]
            kept = sum(bool(scan.identity) for scan in scans) - len(jobs)
            scored = score_all(detector, dataset, out, jobs, cache=cache, workers=workers)
            with steps(len(scans), progress) as step, closing(scored) as done:
                step(kept)
                for number, (job, problem) in enumerate(done, kept + 1):
                    step(number, job.entry.name)
                    if problem:
                        problems[job.entry.name] = problem
            results, failures = finish(out, plan, problems, progress)
            record["scans"] = len(scans)
            record["missing"] = {one.path: one.message for one in failures}
    return Evaluation(results, failures, out, len(jobs), kept, content or "")


def recompute(
    out: Path, left_out: Sequence[str] | None = None, progress: bool = True
) -> Evaluation:
    """Return the figures of an evaluation's stored scores, written anew; no scan is needed.

    left_out: in place of the categories that the evaluation's means left out. Raises ZeroflawError
    if `out` holds no evaluation.
    """
    if not out.is_dir():
        raise ZeroflawError(f"{out}: no such folder; name the --out of an evaluation")
    with alone(out):
        plan = read_plan(out)
        if left_out is not None:
            check_left_out(left_out, plan.categories)
            plan = replace(plan, left_out=tuple(sorted(set(left_out))))
            write_plan(out, plan)
        results, failures = finish(out, plan, {}, progress)
        amend(out, recomputed=provenance())
    return Evaluation(results, failures, out, 0, len(plan.scans) - len(failures))


def describe(detector: Detector) -> dict[str, Any]:
    """Return what results say of a detector."""
    stand_in = {STAND_IN: True} if detector.card.get("stand_in") else {}
    return {
        "method": detector.method.name,
        "trained_on": detector.card.get("trained_on", "not stated"),
        **stand_in,
        "threshold": detector.threshold,
        "point_threshold": detector.point_threshold,
        "zeroflaw": __version__,
    }


def plan_scans(
    detector: str, chosen: Selection, index: ScanIndex, progress: bool = True
) -> tuple[tuple[PlannedScan, ...], dict[str, str], str | None]:
    """Return the scans with their identities, what is wrong with files, and the data's hash.

    detector: its hash. index: remembers the hashes of files, so that none is read twice. A scan
    whose files cannot be read has no identity, and its name is among the problems; the data's hash
    is None then.
    """
    scans, problems = [], {}
    with steps(len(chosen.entries), progress) as step:
        for number, entry in enumerate(chosen.entries):
            step(number, f"reading {entry.name}")
            try:
                identity = identify(chosen.dataset, entry, detector, index.hash_file)
            except ZeroflawError as error:
                identity, problems[entry.name] = "", str(error)
            scans.append(PlannedScan(entry.name, entry.category, identity))
    make_folder(index.path.parent)
    index.save()
    return tuple(scans), problems, None if problems else chosen.content_hash(index.hash_file)


def finish(
    out: Path, plan: Plan, problems: Mapping[str, str], progress: bool
) -> tuple[Results, tuple[Failure, ...]]:
    """Compute the figures and write all results; `problems` say why scores are missing."""
    with steps(len(plan.scans), progress) as step:
        number = count()
        results, missing = measure(out, plan, lambda name: step(next(number), f"figures: {name}"))
    if missing:
        insist()
    write_results(out, results)
    write_tables(out, results)
    return results, tuple(Failure(one.path, problems.get(one.path, one.message)) for one in missing)


@contextmanager
def steps(total: int, shown: bool) -> Iterator[Step]:
    """A progress bar where it is wanted."""
    if not shown:
        yield lambda done, name="": None
        return
    with progress_bar(total) as step:
        yield step


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other processes from evaluating into the folder. Raises ZeroflawError if one does."""
    lock = FileLock(out / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ZeroflawError(
            f"{out}: another process evaluates into this folder; wait, or name another"
        ) from None
    except OSError as error:
        raise ZeroflawError(
            f"{out}: cannot hold the results ({error.strerror}); name another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def check_same_data(out: Path, data: str, split: str) -> None:
    """Raise ZeroflawError if the folder holds an evaluation of another data set or split."""
    if not (out / PLAN).exists():
        return
    former = read_plan(out)
    if (former.data, former.split) != (data, split):
        raise ZeroflawError(
            f"{out}: holds an evaluation on {former.data}, split {former.split}; name another "
            "folder, or start anew (--restart)"
        )


def check_left_out(left_out: Collection[str], categories: Collection[str]) -> None:
    """Raise ZeroflawError for a category to leave out that is not there."""
    for category in left_out:
        if category not in categories:
            known = ", ".join(sorted(categories))
            raise ZeroflawError(f"--leave-out {category}: no such category; there are {known}")


def remove_strangers(out: Path, plan: Plan) -> None:
    """Delete scores of scans that the categories no longer have, and what killed writers left."""
    ours = {stored_path(out, scan.name) for scan in plan.scans}
    for path in sorted((out / "scores").rglob("*")):
        if path in ours or not path.is_file():
            continue
        leftover = path.name.startswith(".")
        if leftover or (path.suffix == ENDING and read_category(path) in plan.categories):
            path.unlink(missing_ok=True)


def clear(out: Path) -> None:
    """Delete what an evaluation wrote into the folder."""
    for path in (out / "scores").rglob(f"*{ENDING}"):
        path.unlink(missing_ok=True)
    for name in WRITTEN:
        (out / name).unlink(missing_ok=True)


def seen_categories(
    detector: Detector, dataset: Dataset, categories: Collection[str]
) -> tuple[str, ...]:
    """Return which of a data set's categories the detector's card says it was trained on.

    None of a folder's: another one may be called the same.
    """
    seen = detector.card.get("seen")
    if dataset.name == Folder.name or not isinstance(seen, Mapping):
        return ()
    if seen.get("data") != dataset.name:
        return ()
    return tuple(name for name in seen.get("categories", ()) if name in categories)


@dataclass(frozen=True)
class Request:
    """What to evaluate; see `evaluate`. method: that the checkpoint has to be of."""

    data: tuple[str, ...]
    out: Path
    checkpoint: str = "compact"
    method: str | None = None
    categories: tuple[str, ...] | None = None
    split: str = "test"
    leave_out: tuple[str, ...] = ()
    device: str = "auto"
    workers: int = 1
    cache: Path | None = None
    restart: bool = False


def run(request: Request) -> int:
    """Evaluate, print the tables and return the exit code. Raises ZeroflawError."""
    begun = time.perf_counter()
    dataset = open_dataset(request.data)
    detector = Detector.load(request.checkpoint, request.device)
    if request.method not in (None, detector.method.name):
        raise ZeroflawError(
            f"{request.checkpoint}: is a checkpoint of {detector.method.name}, not of "
            f"{request.method}; name another --checkpoint, or leave --method out"
        )
    entries = dataset.entries(request.categories, checked_split(request.split))
    seen = seen_categories(detector, dataset, {entry.category for entry in entries})
    try:
        evaluation = evaluate(
            detector,
            dataset,
            request.out,
            categories=request.categories,
            split=request.split,
            left_out=(*request.leave_out, *seen),
            cache=request.cache,
            workers=request.workers,
            restart=request.restart,
        )
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    return tell(evaluation, time.perf_counter() - begun)


def run_recompute(out: Path, leave_out: Sequence[str] | None) -> int:
    """Compute the figures of stored scores again, print the tables and return the exit code."""
    begun = time.perf_counter()
    return tell(recompute(out, leave_out), time.perf_counter() - begun)


def tell(evaluation: Evaluation, seconds: float) -> int:
    """Print the tables and what is missing; return the exit code."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=False)
    scans, points, _ = grids(evaluation.results)
    for grid in (scans, points):
        console.print(grid.rich())
    for note in dict.fromkeys((*points.notes, *scans.notes)):
        console.print(Text(note, style="dim"))
    parts = [plural(evaluation.inspected, "scan") + " inspected"]
    if evaluation.kept:
        parts.append(f"{evaluation.kept} had been before")
    if evaluation.failures:
        parts.append(f"{len(evaluation.failures)} could not be used")
    console.print(Text(f"{', '.join(parts)} ({seconds:.1f} s)"))
    console.print(Text(f"results in {printable(evaluation.out)}"), soft_wrap=True)
    for failure in evaluation.failures:
        print(f"zeroflaw: {printable(f'{failure.path}: {failure.message}')}", file=sys.stderr)
    return UNUSABLE if evaluation.failures else USED
