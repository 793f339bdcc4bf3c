"""Check a data set's folder: what is there, what is missing and what does not fit."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroflaw.datasets import open_dataset
from zeroflaw.datasets.base import GOOD, SPLITS, Dataset, Entry, Split
from zeroflaw.interruption import insist
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.progress import progress
from zeroflaw.types import ZeroflawError, printable
from zeroflaw.version import __version__
from zeroflaw.workers import default_workers, in_processes

if TYPE_CHECKING:
    from rich.table import Table

DEFECTIVE = "defective"  # the kind of a scan of which the labels alone tell that it has one
LISTED = 5  # problems of one category that are printed; the JSON has all
WIDTH = 80


@dataclass(frozen=True)
class Problem:
    """Something that does not fit, in one line. fatal: until it is put right, no use."""

    text: str
    fatal: bool = True


@dataclass(frozen=True)
class CategoryCheck:
    """What is there of one category.

    scans: how many of each kind in each split; kind "" where the labels tell it and were not read.
    read: how many were read. points: the fewest and most of those.
    """

    name: str
    scans: dict[Split, dict[str, int]]
    problems: tuple[Problem, ...]
    read: int = 0
    points: tuple[int, int] = (0, 0)

    @property
    def usable(self) -> bool:
        """Whether figures can be computed: good and defective test scans, and nothing fatal."""
        kinds = {kind for kind, count in self.scans["test"].items() if count}
        both = GOOD in kinds and kinds - {GOOD}
        return bool(both or "" in kinds) and not any(one.fatal for one in self.problems)


@dataclass(frozen=True)
class Check:
    """What is there of a data set. missing: categories that were published and are not there.

    problems: of the folder as a whole. quick: whether the scans were left unread.
    """

    dataset: Dataset
    categories: tuple[CategoryCheck, ...]
    missing: tuple[str, ...]
    problems: tuple[Problem, ...]
    quick: bool
    seconds: float

    @property
    def usable(self) -> bool:
        """Whether some category is usable and nothing fatal was found in any."""
        all_problems = [*self.problems, *(p for one in self.categories for p in one.problems)]
        if any(problem.fatal for problem in all_problems):
            return False
        return any(category.usable for category in self.categories)


@dataclass(frozen=True)
class _Reading:
    """What reading one scan told. kind: of the entry, or what its labels say."""

    kind: str
    points: int = 0
    problems: tuple[Problem, ...] = ()


def check(dataset: Dataset, quick: bool = False, workers: int = 1, shown: bool = True) -> Check:
    """Look through a data set's folder, and read every scan unless `quick`.

    workers: processes that read. shown: whether progress is. Raises ZeroflawError if there is no
    such folder.
    """
    started = time.perf_counter()
    root = dataset.root
    if dataset.needs_root and not root.is_dir():
        raise ZeroflawError(f"{root}: no such folder; give the folder with {dataset.title}")
    try:
        names = dataset.categories()
    except ZeroflawError as error:
        problems = (Problem(_relative(str(error), root)),)
        seconds = time.perf_counter() - started
        return Check(dataset, (), dataset.published, problems, quick, seconds)
    listed = [_list(dataset, name) for name in names]
    entries = [entry for found, _ in listed for entry in found]
    look = _look if quick else _read
    readings: dict[str, _Reading] = {}
    with progress(len(entries) if shown else 0) as step:
        processes = 1 if quick else workers
        with closing(in_processes(look, partial(_same, dataset), entries, processes)) as done:
            for number, reading in done:
                readings[entries[number].name] = reading
                step(len(readings), entries[number].name)
    categories = tuple(
        _category(name, found, problems, readings, quick)
        for name, (found, problems) in zip(names, listed, strict=True)
    )
    missing = tuple(name for name in dataset.published if name not in names)
    return Check(dataset, categories, missing, (), quick, time.perf_counter() - started)


def _same(dataset: Dataset) -> Dataset:
    return dataset


def _list(dataset: Dataset, category: str) -> tuple[tuple[Entry, ...], tuple[Problem, ...]]:
    try:
        listing = dataset.list_category(category)
    except ZeroflawError as error:
        return (), (Problem(_relative(str(error), dataset.root)),)
    found = (Problem(_relative(str(one), dataset.root), one.fatal) for one in listing.findings)
    return listing.entries, tuple(found)


def _look(dataset: Dataset, entry: Entry) -> _Reading:
    """Whether an entry's files are there."""
    for path in entry.files:
        try:
            empty = path.stat().st_size == 0
        except OSError as error:
            return _reading(dataset, entry, f"{path}: cannot be read ({error.strerror})")
        if empty:
            return _reading(dataset, entry, f"{path}: is empty; get it again")
    return _Reading(entry.kind)


def _read(dataset: Dataset, entry: Entry) -> _Reading:
    """What an entry's scan and labels say."""
    try:
        scan = dataset.read(entry)
    except ZeroflawError as error:
        insist()
        return _reading(dataset, entry, str(error))
    except Exception as error:  # one scan that breaks us must not hide the others' state
        insist()
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        return _reading(dataset, entry, f"{entry.name}: unexpected {said}; please report it")
    if scan.labels is None or scan.labels.shape != (len(scan),):
        return _reading(dataset, entry, f"{entry.name}: has no label for every point")
    defective = bool(scan.labels.any())
    notes = [Problem(f"{entry.name}: {note}", False) for note in scan.notes]
    if entry.kind == GOOD and defective:
        notes.append(Problem(f"{entry.name}: is good, but has points labelled defective"))
    if entry.kind not in ("", GOOD) and not defective:
        notes.append(Problem(f"{entry.name}: has {entry.kind}, but no point labelled so", False))
    kind = entry.kind or (DEFECTIVE if defective else GOOD)
    return _Reading(kind, len(scan), tuple(notes))


def _reading(dataset: Dataset, entry: Entry, problem: str) -> _Reading:
    return _Reading(entry.kind, 0, (Problem(_relative(problem, dataset.root)),))


def _category(
    name: str,
    entries: Sequence[Entry],
    problems: tuple[Problem, ...],
    readings: dict[str, _Reading],
    quick: bool,
) -> CategoryCheck:
    kinds: dict[Split, Counter[str]] = {split: Counter() for split in SPLITS}
    found = list(problems)
    for entry in entries:
        reading = readings[entry.name]
        found += reading.problems
        kinds[entry.split][reading.kind] += 1
    points = [count for entry in entries if (count := readings[entry.name].points)]
    extent = (min(points), max(points)) if points else (0, 0)
    return CategoryCheck(
        name,
        {split: dict(sorted(count.items())) for split, count in kinds.items()},
        tuple(found),
        0 if quick else len(points),
        extent,
    )


def _relative(text: str, root: Path) -> str:
    return text.replace(f"{root}/", "")


def run(
    data: Sequence[str],
    *,
    quick: bool = False,
    as_json: bool = False,
    workers: int | None = None,
) -> int:
    """Check the data set that `data` names and print what was found; see `open_dataset`.

    Returns 0 if it is usable: nothing fatal, and a category with good and defective test scans;
    else 1. Raises ZeroflawError if there is no such data set or folder.
    """
    found = check(open_dataset(data), quick, workers or default_workers())
    if as_json:
        print(json.dumps(as_data(found), indent=2))
    else:
        print_check(found)
    return 0 if found.usable else 1


def as_data(found: Check) -> dict[str, Any]:
    """Return a check as plain data, for JSON."""
    dataset = found.dataset
    return {
        "zeroflaw": __version__,
        "data": dataset.name,
        "title": dataset.title,
        "licence": dataset.licence,
        "root": str(dataset.root),
        "usable": found.usable,
        "scans_read": not found.quick,
        "categories": [
            {
                "name": one.name,
                "usable": one.usable,
                "scans": one.scans,
                "read": one.read,
                "points": list(one.points),
                "problems": [{"text": p.text, "fatal": p.fatal} for p in one.problems],
            }
            for one in found.categories
        ],
        "missing": list(found.missing),
        "problems": [{"text": p.text, "fatal": p.fatal} for p in found.problems],
        "seconds": round(found.seconds, 3),
    }


def print_check(found: Check) -> None:
    """Print a check for people, on 80 columns."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, width=WIDTH)
    dataset = found.dataset
    console.print(Text(f"{dataset.title}, licence: {dataset.licence}"))
    if found.categories:
        console.print(table(found))
    groups = [(dataset.name, found.problems)]
    groups += [(one.name, one.problems) for one in found.categories]
    for name, problems in groups:
        worst_first = sorted(problems, key=lambda problem: not problem.fatal)
        for problem in worst_first[:LISTED]:
            style, word = ("red", "problem") if problem.fatal else ("yellow", "note")
            console.print(Text.assemble((f"{word}: ", style), printable(problem.text)))
        if len(problems) > LISTED:
            console.print(Text(f"and {len(problems) - LISTED} more of {name}; --json lists all"))
    if found.missing:
        names = ", ".join(found.missing)
        console.print(Text(f"not here of the published categories: {names}"))
    console.print(Text(verdict(found)))


def table(found: Check) -> Table:
    """Return a table with a row per category."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column("category", overflow="fold", min_width=8)
    for split in SPLITS:
        shown.add_column(split, overflow="fold")
    shown.add_column("fits", no_wrap=True)
    for one in found.categories:
        fatal = sum(problem.fatal for problem in one.problems)
        notes = len(one.problems) - fatal
        state = Text(plural(fatal, "problem"), "red") if fatal else Text("yes", "green")
        if notes and not fatal:
            state = Text(plural(notes, "note"), "yellow")
        cells = [Text(_kinds(one.scans[split])) for split in SPLITS]
        shown.add_row(Text(printable(one.name)), *cells, state)
    return shown


def verdict(found: Check) -> str:
    """Return the last line: whether the data set is usable, or why not."""
    fine = sum(one.usable for one in found.categories)
    categories = f"{fine} of {len(found.categories)} categories"
    scans = sum(sum(sum(kinds.values()) for kinds in c.scans.values()) for c in found.categories)
    how = "found, none read" if found.quick else "read"
    count = plural(scans if found.quick else sum(c.read for c in found.categories), "scan")
    ending = f"({count} {how}, {found.seconds:.1f} s)"
    if found.usable:
        return f"usable: {categories} {ending}"
    fatal = sum(problem.fatal for one in found.categories for problem in one.problems)
    fatal += sum(problem.fatal for problem in found.problems)
    if fatal:
        return f"not usable as it is: {plural(fatal, 'problem')}; {categories} fine {ending}"
    return f"not usable: no category has good and defective test scans {ending}"


def _kinds(counts: dict[str, int]) -> str:
    """Such as "26 good, 12 bulge"."""
    ordered = sorted(counts, key=lambda kind: (kind != GOOD, kind))
    return ", ".join(f"{counts[kind]} {kind or 'by labels'}" for kind in ordered) or "-"
