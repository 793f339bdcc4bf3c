"""Report: one HTML page of an evaluation or a benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zeroflaw.io.atomic import replacing
from zeroflaw.reports import gallery
from zeroflaw.reports.benchmark_page import (
    TABLE,
    Benchmark,
    Tested,
    benchmark_page,
    read_benchmark,
)
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.page import Evaluated, evaluation_page
from zeroflaw.reports.progress import progress
from zeroflaw.reports.results import FILENAME, Results, read_results
from zeroflaw.reports.scan_sections import Shown
from zeroflaw.reports.summaries import (
    CategorySummary,
    ScanSummary,
    find_stored,
    read_checked,
    summarize,
)
from zeroflaw.types import ZeroflawError, printable

PAGE = "report.html"
RUN, DONE = "run.json", "done"
WORST = 6  # scans of each group in the gallery
ROOM = 3_500_000  # bytes of a page's pictures, so that it stays below 5 MB
SPAN = (0.005, 0.995)  # quantiles of the point scores that the colours of heat maps span


@dataclass(frozen=True)
class Report:
    """path: of the page. problems: one line for each thing that could not be used."""

    path: Path
    problems: tuple[str, ...]


def report(folder: str | Path, out: str | Path | None = None, worst: int = WORST) -> Report:
    """Write the page of an evaluation's or a benchmark's folder and return where it is.

    out: file of the page, by default `report.html` in the folder. worst: scans in each group of the
    gallery. Raises ZeroflawError if there is nothing to report on, or the page cannot be written.
    """
    folder = Path(folder)
    out = folder / PAGE if out is None else Path(out)
    if out.is_dir():
        raise ZeroflawError(f"{out}: is a folder; give the page's file name")
    if not folder.is_dir():
        raise ZeroflawError(
            f"{folder}: no such folder; give what an evaluation or a benchmark wrote"
        )
    page, problems = _page(folder, worst, linked=out.resolve() == (folder / PAGE).resolve())
    with replacing(out) as file:
        file.write(page.encode("utf-8"))
    return Report(out, tuple(problems))


def _page(folder: Path, worst: int, *, linked: bool) -> tuple[str, Sequence[str]]:
    """The page of a folder, and what could not be used. Raises ZeroflawError."""
    if (folder / TABLE).exists():
        benchmark = read_benchmark(folder)
        run, problems = read_run(folder)
        tested, damaged = read_tests(folder, benchmark, linked=linked)
        problems += damaged
        return benchmark_page(benchmark, tested, run, problems), problems
    if (folder / FILENAME).exists():
        evaluated = read_evaluation(folder, worst)
        return evaluation_page(evaluated), evaluated.problems
    raise ZeroflawError(
        f"{folder}: holds neither {FILENAME} nor {TABLE}; give the --out of `zeroflaw evaluate` or "
        "`zeroflaw benchmark`, once it is done"
    )


def read_tests(
    folder: Path, benchmark: Benchmark, *, linked: bool
) -> tuple[dict[str, list[Tested]], list[str]]:
    """Return the tests of each cell of a benchmark, by its name, and what could not be used.

    linked: whether the page will lie where links to other pages lead somewhere.
    """
    tested: dict[str, list[Tested]] = {}
    problems = []
    for cell in benchmark.cells:
        for test in cell.tests:
            place = folder / test
            results = None
            try:
                if not place.resolve().is_relative_to(folder.resolve()):
                    raise ZeroflawError(f"{place}: lies outside {folder}; it is left out")
                results = read_results(place)
            except ZeroflawError as error:
                problems.append(str(error))
            there = linked and results is not None and (place / PAGE).is_file()
            tested.setdefault(cell.name, []).append(Tested(test, results, there))
    return tested, problems


def read_evaluation(folder: Path, worst: int = WORST) -> Evaluated:
    """Return all that the page of an evaluation's folder shows. Raises ZeroflawError.

    The point scores of one category at a time are in memory.
    """
    results = read_results(folder)
    run, problems = read_run(folder)
    if run.get("state", DONE) != DONE:
        problems.append(
            f"{folder}: the evaluation is not done ({run['state']}), and its figures may be those "
            "of an earlier one; run it to the end"
        )
    threshold = find_threshold(results, run)
    failures = run.get("missing")
    files, damaged = find_stored(folder, failures if isinstance(failures, dict) else {})
    problems += damaged
    categories: list[CategorySummary] = []
    there: dict[str, int] = {}
    with progress(sum(map(len, files.values()))) as step:
        done = 0

        def tell(name: str) -> None:
            nonlocal done
            done += 1
            step(done, name)

        for category, wanted in files.items():
            if category not in results.figures:
                problems.append(f"{folder}: scores of {category!r}, which the results lack")
                continue
            summary, damaged = summarize(category, wanted, tell)
            categories += [] if summary is None else [summary]
            there[category] = len(wanted)
            problems += damaged
    problems += _missing(folder, results, there)
    limits = _limits(categories)
    scans = [scan for category in categories for scan in category.scans]
    shown = _pictures(gallery.choose(scans, worst, threshold), limits)
    return Evaluated(results, run, categories, threshold, shown, limits, problems)


def read_run(folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Return what `run.json` says, {} if there is none, and one line if it is damaged."""
    path = folder / RUN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError, RecursionError) as error:
        return {}, [f"{path}: damaged ({' '.join(str(error).split())}); it is left out"]
    if not isinstance(content, dict):
        return {}, [f"{path}: damaged (no object); it is left out"]
    return content, []


def find_threshold(results: Results, run: Mapping[str, Any]) -> float | None:
    """Return the threshold of a scan's score that the results or the run name, None if none."""
    for told in (results.about, run):
        value = told.get("threshold")
        if isinstance(value, int | float) and 0 <= value <= 1:
            return float(value)
    return None


def _missing(folder: Path, results: Results, there: Mapping[str, int]) -> list[str]:
    """One line for each category with fewer files than its figures are over.

    there: how many files each has; those that are damaged have lines of their own.
    """
    lines = []
    for category in sorted(results.figures):
        expected = sum(results.scans.get(category, {}).values())
        lacking = expected - there.get(category, 0)
        if lacking > 0:
            lines.append(
                f"{folder}: scores of {lacking:,} of the {plural(expected, 'scan')} of "
                f"{category!r} are missing; run the evaluation again"
            )
    return lines


def _limits(categories: Sequence[CategorySummary]) -> tuple[float, float]:
    """Point scores of the darkest and the brightest colour, the same for all pictures."""
    if not categories:
        return 0.0, 1.0
    low, high = np.quantile(np.concatenate([one.colors for one in categories]), SPAN)
    return float(low), float(high)


def _pictures(chosen: Mapping[str, Sequence[ScanSummary]], limits: tuple[float, float]) -> Shown:
    """Draw the chosen scans, as long as there is room: the worst of every group first."""
    room = ROOM
    drawn: dict[str, dict[int, gallery.Pictures | None]] = {group: {} for group in chosen}
    longest = max(map(len, chosen.values()), default=0)
    for rank in range(longest):
        for group, scans in chosen.items():
            if rank < len(scans):
                pictures = None
                if room > 0:
                    pictures = gallery.pictures(read_checked(scans[rank].stored), *limits)
                    room -= pictures.length
                drawn[group][rank] = pictures
    return {
        group: [(scan, drawn[group][rank]) for rank, scan in enumerate(scans)]
        for group, scans in chosen.items()
    }


def run(folder: Path, out: Path | None, worst: int) -> int:
    """Write the page, say where it is and what could not be used; the exit code."""
    import sys

    made = report(folder, out, worst)
    print(printable(made.path))
    for problem in made.problems:
        print(f"zeroflaw: {printable(problem)}", file=sys.stderr)
    return 2 if made.problems else 0
