"""Inspect scan files: a table or JSON on the terminal, pictures and coloured scans in a folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroflaw.files import Failure, display_names, find_scans, output_names
from zeroflaw.interruption import insist
from zeroflaw.types import Promise, ZeroflawError, printable

if TYPE_CHECKING:
    from zeroflaw.detector import Detector
    from zeroflaw.reports.table import Row

USED, DEFECTIVE, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Request:
    """What to inspect and how to say what was found.

    inputs: files, folders, patterns. out: folder for a coloured PLY, a PNG and a JSON per scan.
    threshold: of the scan's score, in place of the detector's own. remove_plane: leave out the
    plane that the part stands on, and what else is around it. calibration: a file of `zeroflaw
    calibrate`, whose thresholds are taken instead. prompt: the one kind of defect to look for.
    """

    inputs: tuple[str, ...]
    detector: str = "compact"
    device: str = "auto"
    threshold: float | None = None
    remove_plane: bool = False
    out: Path | None = None
    pictures: bool = True
    as_json: bool = False
    fail_on_defect: bool = False
    calibration: Path | None = None
    prompt: str | None = None


@dataclass
class Outcome:
    """What was found so far."""

    rows: list[Row] = field(default_factory=list)
    summaries: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    promise: Promise | None = None
    interrupted: bool = False

    def exit_code(self, fail_on_defect: bool) -> int:
        """0: all inspected; 1: asked for and a scan is defective; 2: an input was of no use."""
        if self.interrupted:
            return INTERRUPTED
        if self.failures:
            return UNUSABLE
        return DEFECTIVE if fail_on_defect and any(row.defective for row in self.rows) else USED


def run(request: Request) -> int:
    """Inspect all, say what was found, return the exit code. Raises ZeroflawError."""
    if request.calibration is not None and request.threshold is not None:
        raise ZeroflawError("inspect: --calibration holds the threshold; leave out --threshold")
    started = time.perf_counter()
    paths, failures = find_scans(request.inputs)
    outcome = Outcome(failures=failures)
    if request.out is not None:
        make_folder(request.out)
    if paths:
        inspect_all(request, paths, outcome)
    if request.as_json:
        print_json(request, outcome)
    else:
        print_tables(request, outcome, time.perf_counter() - started)
    for failure in outcome.failures:
        print(f"zeroflaw: {printable(failure.message)}", file=sys.stderr)
    return outcome.exit_code(request.fail_on_defect)


def inspect_all(request: Request, paths: Sequence[Path], outcome: Outcome) -> None:
    """Inspect one file after the other into `outcome`; a bad one does not stop the others."""
    from zeroflaw.calibration_file import read_calibration
    from zeroflaw.detector import Detector
    from zeroflaw.reports.progress import progress

    detector = Detector.load(request.detector, request.device, request.threshold)
    if request.calibration is not None:
        calibration = read_calibration(request.calibration)
        calibration.check_plane(request.calibration, request.remove_plane)
        detector.rely_on(request.calibration, calibration)
    outcome.promise = detector.promise
    if request.prompt is not None:
        detector.kind_asked(request.prompt)  # else every single scan would say that it is unknown
    shown, stems = display_names(paths), output_names(paths, request.out)
    try:
        with progress(len(paths)) as step:
            for number, path in enumerate(paths):
                step(number, shown[path])
                try:
                    inspect_one(request, detector, path, shown[path], stems[path], outcome)
                except ZeroflawError as error:
                    insist()
                    outcome.failures.append(Failure(str(path), str(error)))
                except Exception as error:  # one scan that breaks us must not cost the others
                    insist()
                    outcome.failures.append(Failure(str(path), unexpected(path, error)))
    except KeyboardInterrupt:
        outcome.interrupted = True


def inspect_one(
    request: Request, detector: Detector, path: Path, shown: str, stem: str, outcome: Outcome
) -> None:
    """Inspect one file and write its results, the JSON last: where it lies, the others do."""
    from zeroflaw.geometry.support import without_plane
    from zeroflaw.io import WRITERS, read, summary
    from zeroflaw.reports.figures import write_heat_map
    from zeroflaw.reports.table import Row

    subject = without_plane(read(path)) if request.remove_plane else path
    inspection = detector.inspect(subject, request.prompt)
    if request.out is not None:
        WRITERS[".ply"](request.out / f"{stem}_scores.ply", inspection)
        if request.pictures:
            write_heat_map(request.out / f"{stem}_heatmap.png", inspection)
        WRITERS[".json"](request.out / f"{stem}.json", inspection)
    outcome.rows.append(Row.of(shown, inspection))
    outcome.summaries.append(summary(inspection))


def make_folder(folder: Path) -> None:
    """Make the folder for results. Raises ZeroflawError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "is a file" if folder.is_file() else str(error.strerror or error)
        raise ZeroflawError(
            f"{folder}: cannot hold the results ({reason}); name another folder with --out"
        ) from None


def unexpected(path: Path, error: Exception) -> str:
    """One line for an error that is ours, not the user's."""
    if isinstance(error, MemoryError):
        return f"{printable(path)}: not enough memory; thin the scan or use a larger machine"
    said = " ".join(str(error).split())[:200]
    return f"{printable(path)}: unexpected {type(error).__name__} ({said}); please report it"


def print_json(request: Request, outcome: Outcome) -> None:
    """One JSON object on stdout and nothing else."""
    import json

    from zeroflaw.version import __version__

    said = {
        "zeroflaw": __version__,
        "detector": request.detector,
        "scans": outcome.summaries,
        "unusable": [{"path": one.path, "error": one.message} for one in outcome.failures],
        "interrupted": outcome.interrupted,
    }
    print(json.dumps(said, indent=2, allow_nan=False))


def print_tables(request: Request, outcome: Outcome, seconds: float) -> None:
    """Tables on stdout, and a last line that sums up."""
    from rich.console import Console
    from rich.text import Text

    from zeroflaw.reports.numbers import plural
    from zeroflaw.reports.table import defects, footnotes, overview, promised

    console = Console(highlight=False, soft_wrap=False)
    rows = outcome.rows
    if rows:
        console.print(overview(rows))
        for row in rows:
            if row.regions:
                console.print(defects(row))
        for note in footnotes(rows):
            console.print(Text(note, style="dim"))
        for row, said in zip(rows, outcome.summaries, strict=True):
            for note in said["notes"] if request.remove_plane else ():
                console.print(Text(f"{row.name}: {note}", style="dim"))
        if outcome.promise is not None:
            console.print(Text(promised(outcome.promise), style="dim"))
    parts = [plural(len(rows), "scan") + " inspected"]
    parts.append(f"{sum(row.defective for row in rows)} defective")
    if outcome.failures:
        parts.append(f"{len(outcome.failures)} could not be used")
    if outcome.interrupted:
        parts.append("interrupted")
    console.print(Text(f"{', '.join(parts)} ({seconds:.1f} s)"))
    if request.out is not None and rows:
        console.print(Text(f"results in {printable(request.out)}"), soft_wrap=True)
