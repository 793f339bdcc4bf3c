"""A detector: a method, its trained weights, a threshold, and `inspect`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from zeroflaw import checkpoint
from zeroflaw.calibration_file import Calibration, read_calibration
from zeroflaw.geometry.regions import describe_regions
from zeroflaw.io import read, scan_from_array
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Method, Prepared, Scores
from zeroflaw.methods.kinds import PointKinds, answer, find_kind, name_regions
from zeroflaw.metrics.calibration import Scalings
from zeroflaw.types import Float32, Inspection, Int64, Promise, Scan, ZeroflawError

Inspectable = str | Path | Scan | ArrayLike | Tensor


class Detector:
    """Finds defects with a trained method.

    method: in evaluation mode, moved to `device`. card: what its checkpoint says of it; the entries
    `threshold` (of the scan's score, 0 to 1) and `point_threshold` (of a point's) are read here,
    and `calibration`, which makes probabilities of the method's scores; both thresholds are of
    these. `kind_temperature`, 1 without it, divides the logits of the kinds.
    """

    def __init__(
        self,
        method: Method,
        card: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        device: str | torch.device = "cpu",
        threshold: float | None = None,
    ) -> None:
        self.card: dict[str, Any] = dict(card or {})
        self.name = name or method.name
        self.device = choose_device(device)
        self.method = method.eval().to(self.device)
        self.threshold = float(self.card.get("threshold", 0.5) if threshold is None else threshold)
        self.point_threshold = float(self.card.get("point_threshold", 0.5))
        self.scalings = Scalings.read(self.card.get("calibration"))
        self.promise: Promise | None = None
        self.kind_temperature = _temperature(self.card.get("kind_temperature", 1.0))

    @staticmethod
    def load(
        name_or_path: str | Path = "compact",
        device: str | torch.device = "auto",
        threshold: float | None = None,
        calibration: str | Path | None = None,
    ) -> Detector:
        """The detector that ships with the package under this name, or the one in a checkpoint.

        device: "auto" (a CUDA device where there is one), "cpu", "cuda", "cuda:1", …. threshold: in
        place of the card's. calibration: a file of `zeroflaw calibrate`, whose thresholds are taken
        instead. A checkpoint's detector is called by its method and by the ends of the path, such
        as "btp (seahorse/last)". Raises ZeroflawError for an unknown name, a damaged file, a bad
        device, and a calibration of another detector.
        """
        chosen = choose_device(device)
        path = find_weights(name_or_path)
        method, card = checkpoint.load(path)
        name = path.stem
        if str(name_or_path) not in shipped():
            name = f"{method.name} ({path.resolve().parent.name}/{name})"
        detector = Detector(method, card, name=name, device=chosen, threshold=threshold)
        if calibration is not None:
            detector.rely_on(Path(calibration), read_calibration(Path(calibration)))
        return detector

    def rely_on(self, source: Path, calibration: Calibration) -> None:
        """Take the thresholds of a calibration, read from `source`.

        Raises ZeroflawError if another detector gave its scores.
        """
        calibration.check(source, self.card, self.name)
        self.threshold, self.point_threshold = calibration.threshold, calibration.point_threshold
        self.promise = calibration.promise(source)

    def inspect(self, subject: Inspectable, prompt: str | None = None) -> Inspection:
        """What the detector says of a scan: its score, one score per point, its regions.

        subject: the path of a scan file, a Scan, or an (N, 3) array or tensor of points. prompt:
        the kind of defect to look for, in words (see `kind_asked`); scores and regions are of that
        kind alone then (see `kinds.answer`). The point scores belong to the scan's own points, in
        their order; the same scan gets the same scores, bit for bit. Raises ScanError for a scan
        that cannot be used, ZeroflawError for a prompt that cannot be answered.
        """
        started = time.perf_counter()
        kind = None if prompt is None else self.kind_asked(prompt)
        scan = as_scan(subject)
        score, point_scores, scores, _ = self.look(scan)
        away = _mean_away(scores)
        regions = describe_regions(scan, point_scores, self.point_threshold, away=away)
        kinds = self._kinds(scores, scan)
        if kinds is not None:
            regions = name_regions(regions, kinds, point_scores)
            if kind is not None:
                asked = answer(kind, kinds, score, point_scores, regions)
                score, point_scores, regions = asked.score, asked.point_scores, asked.regions
        return Inspection(
            scan=scan,
            score=score,
            point_scores=point_scores,
            regions=regions,
            threshold=self.threshold,
            detector=self.name,
            point_threshold=self.point_threshold,
            seconds=time.perf_counter() - started,
            notes=scan.notes,
            prompt=kind,
            promise=self.promise,
        )

    def kind_asked(self, prompt: str) -> str:
        """The kind of defect that a prompt asks for, by the detector's own name.

        Raises ZeroflawError if it fits none or several, or if the detector tells no kinds.
        """
        if not self.method.kinds:
            raise ZeroflawError(
                f"detector {self.name} tells no kinds of defects; leave out the prompt, or take a "
                "detector that does, such as compact"
            )
        return find_kind(prompt, self.method.kinds)

    def scores(
        self, scan: Scan, prepare: Callable[[Scan], Prepared] | None = None
    ) -> tuple[float, Float32, Prepared]:
        """The score of a scan, those of its points, (N,), all in [0, 1], and what was prepared.

        prepare: in place of the method's own, such as one that reads a cache. Raises ZeroflawError
        for scores that are no numbers, and ScanError for a scan that cannot be used.
        """
        score, points, _, prepared = self.look(scan, prepare)
        return score, points, prepared

    def look(
        self, scan: Scan, prepare: Callable[[Scan], Prepared] | None = None
    ) -> tuple[float, Float32, Scores, Prepared]:
        """What `scores` returns, and before its last the method's own scores, not calibrated."""
        with torch.inference_mode():
            prepared = (prepare or self.method.prepare)(scan).to(self.device)
            scores = self.method.score(self.method(prepared), scan, prepared)
        points = _checked(scores, scan, self.name)
        whole = min(max(float(scores.object), 0.0), 1.0)
        if self.scalings is not None:
            whole = float(self.scalings.object.apply(whole))
            points = self.scalings.point.apply(points).astype(np.float32)
        return whole, points, scores, prepared

    def _kinds(self, scores: Scores, scan: Scan) -> PointKinds | None:
        try:
            return PointKinds.of(scores, self.method.kinds, self.kind_temperature)
        except ValueError as error:
            raise ZeroflawError(
                f"{scan.name}: detector {self.name} {error}; its weights are damaged"
            ) from None


def _mean_away(scores: Scores) -> Callable[[Int64], float] | None:
    """How far a part of the scan lies from the good surface by the method, in its own unit."""
    if scores.away is None:
        return None
    away = scores.away.detach().cpu().numpy()
    row = None if scores.row is None else scores.row.cpu().numpy()
    return lambda index: float(away[index if row is None else row[index]].mean())


def as_scan(subject: Inspectable) -> Scan:
    """A scan from a file's path, an (N, 3) array or tensor, or a Scan as it is."""
    if isinstance(subject, Scan):
        return subject
    if isinstance(subject, str | Path):
        return read(subject)
    if isinstance(subject, Tensor):
        subject = subject.detach().cpu().numpy()
    return scan_from_array(np.asarray(subject))


def shipped() -> tuple[str, ...]:
    """The names of the detectors that come with the package."""
    folder = Path(str(resources.files("zeroflaw"))) / "weights"
    return tuple(sorted(path.stem for path in folder.glob("*.safetensors")))


def find_weights(name_or_path: str | Path) -> Path:
    """The weights file of a shipped detector's name, or of a checkpoint's path."""
    given, names = Path(name_or_path), shipped()
    if str(name_or_path) in names:
        return Path(str(resources.files("zeroflaw"))) / "weights" / f"{given}.safetensors"
    for path in (given, given.parent / f"{given.name}.safetensors"):
        if path.is_file():
            return path
    known = ", ".join(names) if names else "none"
    if str(name_or_path) in METHODS:
        raise ZeroflawError(_untrained(str(name_or_path)))
    raise ZeroflawError(
        f"{name_or_path}: no such detector; shipped are {known}; anything else is the path of a "
        "checkpoint (.safetensors)"
    )


def _untrained(method: str) -> str:
    """One line on how a method that no detector ships with becomes one."""
    fetch = [f"`zeroflaw weights fetch {name}`" for name in METHODS[method].published]
    train = f"`zeroflaw train {method} --data FOLDER --out DIR`"
    return (
        f"{method}: no such detector, but a method that has to be trained: run "
        f"{', '.join([*fetch, train])}, and give DIR/last.safetensors in its place"
    )


def choose_device(device: str | torch.device) -> torch.device:
    """The device by name; "auto" takes CUDA where there is one. Raises ZeroflawError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ZeroflawError(f"device {device!r}: unknown; use auto, cpu, cuda or cuda:N") from None
    if chosen.type == "cpu":
        return torch.device("cpu")
    if chosen.type != "cuda":
        raise ZeroflawError(f"device {device!r}: not supported; use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (chosen.index or 0) >= count:
        found = f"only {count} found" if count else "none found"
        raise ZeroflawError(f"device {device!r}: no such CUDA device, {found}; use cpu or auto")
    return chosen


def _checked(scores: Scores, scan: Scan, name: str) -> Float32:
    """The point scores as a plain array. Raises ZeroflawError if they are not what was promised."""
    points = scores.point.detach().to("cpu", torch.float32).numpy()
    if points.shape != (len(scan),):
        raise ZeroflawError(
            f"{scan.name}: detector {name} gave {points.shape} scores for {len(scan)} points; "
            "its checkpoint does not fit this version"
        )
    if not (np.isfinite(points).all() and np.isfinite(scores.object)):
        raise ZeroflawError(
            f"{scan.name}: detector {name} gave scores that are no numbers; its weights are damaged"
        )
    clipped: Float32 = np.clip(points, 0, 1)
    return clipped


def _temperature(value: Any) -> float:
    """A card's temperature as a number. Raises ZeroflawError unless it is one above 0."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < np.inf:
        return float(value)
    raise ZeroflawError(
        f"kind_temperature is {value!r}; a number above 0 expected; correct the card"
    )
