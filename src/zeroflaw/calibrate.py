"""Learn thresholds with a bounded rate of false alarms from good scans of the user's own part."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zeroflaw.conformal import conformal_rank
from zeroflaw.files import Failure, display_names, find_scans
from zeroflaw.inspect import unexpected
from zeroflaw.interruption import insist
from zeroflaw.reports.numbers import plural
from zeroflaw.types import Float32, Scan, ScanError, ZeroflawError, printable

if TYPE_CHECKING:
    from zeroflaw.calibration_file import Calibration, GoodScan
    from zeroflaw.detector import Detector

USED, UNUSABLE, INTERRUPTED = 0, 2, 130


@dataclass(frozen=True)
class Request:
    """What to calibrate on, and where to.

    inputs: good scans as files, folders and patterns. false_alarms: the rate, between 0 and 1.
    remove_plane: leave out the plane that the part stands on, as inspections will. out: the file.
    """

    inputs: tuple[str, ...]
    false_alarms: float = 0.05
    detector: str = "compact"
    device: str = "auto"
    remove_plane: bool = False
    out: Path = Path("calibration.json")

    @property
    def part(self) -> Path:
        """Where scores are kept until the calibration is written."""
        return self.out.with_name(f"{self.out.name}.part")


@dataclass
class Scored:
    """What was scored so far. twice: scans with the same points as another one, and which."""

    scans: list[GoodScan] = field(default_factory=list)
    twice: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def run(request: Request) -> int:
    """Score the good scans, write the calibration, return the exit code. Raises ZeroflawError.

    A scan that cannot be used is named and left out; the exit code then is 2. The scores so far are
    kept beside the file, so that after Ctrl-C, or with more scans, the same command goes on.
    """
    from zeroflaw.calibration_file import Calibration, hash_settings, write_calibration
    from zeroflaw.detector import Detector
    from zeroflaw.metrics.calibration import Scalings
    from zeroflaw.score import hash_detector

    paths, failures = find_scans(request.inputs)
    scored = Scored(failures=failures)
    try:
        conformal_rank(len(paths), request.false_alarms)
        check_place(request)
        detector = Detector.load(request.detector, request.device)
        empty = Calibration(
            detector=detector.name,
            sha256=detector.card["sha256"],
            scalings=Scalings.read(detector.card.get("calibration")),
            remove_plane=request.remove_plane,
            scored_by=hash_detector(detector),
            false_alarms=request.false_alarms,
            scans=(),
            settings=hash_settings(detector.card),
        )
        score_all(request, detector, empty, paths, scored)
        found = replace(empty, scans=tuple(scored.scans))
        unusable = [{"path": one.path, "error": one.message} for one in scored.failures]
        facts = {"counted_once": scored.twice, "unusable": unusable}
        write_calibration(request.out, found, facts)
        request.part.unlink(missing_ok=True)
    except KeyboardInterrupt:
        say_failures(scored)
        kept = f"; the same command goes on from {request.part}" if request.part.exists() else ""
        print(f"zeroflaw: interrupted{printable(kept)}", file=sys.stderr)
        return INTERRUPTED
    except ZeroflawError:
        for note in repeats(scored):
            print(f"zeroflaw: {note}", file=sys.stderr)
        say_failures(scored)
        raise
    say(request, found, scored)
    say_failures(scored)
    return UNUSABLE if scored.failures else USED


def score_all(
    request: Request, detector: Detector, empty: Calibration, paths: Sequence[Path], scored: Scored
) -> None:
    """Score one scan after the other into `scored`; a bad one does not stop the others."""
    from zeroflaw.calibration_file import write_scores
    from zeroflaw.reports.progress import progress

    known = known_scores(request, empty)
    shown = display_names(paths)
    owner: dict[str, str] = {}
    with progress(len(paths)) as step:
        for number, path in enumerate(paths):
            step(number, shown[path])
            try:
                scan, points = read_good(path, request.remove_plane)
                if points in owner:
                    scored.twice.append((str(path), owner[points]))
                    continue
                owner[points] = str(path)
                if points not in known:
                    known[points] = score_one(detector, scan, points)
                    kept = replace(empty, scans=tuple(known.values()))
                    write_scores(request.part, kept, {})
                scored.scans.append(replace(known[points], path=str(path)))
            except ScanError as error:
                insist()
                scored.failures.append(Failure(str(path), str(error)))
            except ZeroflawError:
                insist()
                raise
            except Exception as error:  # one scan that breaks us must not cost the others
                insist()
                scored.failures.append(Failure(str(path), unexpected(path, error)))


def read_good(path: Path, remove_plane: bool) -> tuple[Scan, str]:
    """Return a scan and a hash of its points, the same in whatever order they are.

    Raises ScanError for one that cannot be used or has points that are labelled defective.
    """
    from zeroflaw.geometry.support import without_plane
    from zeroflaw.io import read

    scan = read(path)
    if scan.labels is not None and scan.labels.any():
        raise ScanError(
            path,
            f"{int(scan.labels.sum())} of its points are labelled defective",
            "calibrate with good scans only",
        )
    if remove_plane:
        scan = without_plane(scan)
    order = np.lexsort(scan.points.T)
    return scan, hashlib.sha256(np.ascontiguousarray(scan.points[order]).tobytes()).hexdigest()


def score_one(detector: Detector, scan: Scan, points: str) -> GoodScan:
    """Return the scores of a good scan whose points have the hash `points`."""
    from zeroflaw.calibration_file import GoodScan

    score, point_scores, _ = detector.scores(scan)
    return GoodScan(str(scan.source), points, score, region_score(point_scores))


def region_score(point_scores: Float32) -> float:
    """Return the highest point threshold at which a scan could show a region.

    point_scores: (N,). A region has at least `smallest_region` points, so that as many must score
    above the threshold: it is the lowest of that many highest scores.
    """
    from zeroflaw.geometry.regions import smallest_region

    count = min(smallest_region(len(point_scores)), len(point_scores))
    return float(np.partition(point_scores, len(point_scores) - count)[len(point_scores) - count])


def known_scores(request: Request, empty: Calibration) -> dict[str, GoodScan]:
    """Return the scores that an earlier run of the same detector left, by the scans' points."""
    from zeroflaw.calibration_file import read_calibration, read_scores

    known: dict[str, GoodScan] = {}
    for path, reader in ((request.out, read_calibration), (request.part, read_scores)):
        try:
            earlier = reader(path)
        except ZeroflawError:  # not there, or damaged: scored anew
            continue
        same = (earlier.scored_by, earlier.remove_plane) == (empty.scored_by, empty.remove_plane)
        known.update({one.points: one for one in earlier.scans} if same else {})
    return known


def check_place(request: Request) -> None:
    """Raise ZeroflawError where no calibration could be written, or another file would be lost."""
    out = request.out
    if out.is_dir():
        raise ZeroflawError(f"{printable(out)}: is a folder; name a file with -o")
    if not out.parent.is_dir():
        raise ZeroflawError(f"{printable(out)}: there is no such folder; make it, or name another")
    for path in (out, request.part):
        if path.exists() and not (path.is_file() and b'"zeroflaw calibration' in _start(path)):
            raise ZeroflawError(
                f"{printable(path)}: holds something other than a calibration; name another file "
                "with -o"
            )


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(200)
    except OSError as error:
        raise ZeroflawError(f"{printable(path)}: cannot be read ({error.strerror})") from None


def say(request: Request, found: Calibration, scored: Scored) -> None:
    """Say on stdout what was found, what it promises, and where it is."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=False)
    for note in repeats(scored):
        console.print(Text(note, style="dim"))
    console.print(Text(figures(found)))
    console.print(Text(found.guarantee()))
    console.print(Text(f"written to {printable(request.out)}"), soft_wrap=True)


def repeats(scored: Scored) -> list[str]:
    """Return a line for each scan that was left out as the same as another one."""
    return [
        f"{printable(path)}: the same points as {printable(other)}; counted once"
        for path, other in scored.twice
    ]


def figures(found: Calibration) -> str:
    """The number of scans and both thresholds, on one line."""
    spread: Mapping[str, float] = {
        "scan": found.threshold,
        "point": found.point_threshold,
    }
    said = ", ".join(f"{name} threshold {value:.4f}" for name, value in spread.items())
    return f"{plural(len(found.scans), 'good scan')}: {said}"


def say_failures(scored: Scored) -> None:
    """Name all scans that could not be used, on stderr."""
    for failure in scored.failures:
        print(f"zeroflaw: {printable(failure.message)}", file=sys.stderr)
