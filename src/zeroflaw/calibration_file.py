"""What `zeroflaw calibrate` found, as a file that `zeroflaw inspect --calibration` reads."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from zeroflaw.conformal import conformal_rank, conformal_threshold, likely_rate
from zeroflaw.io.atomic import replacing
from zeroflaw.metrics.calibration import Scalings
from zeroflaw.reports.numbers import percent_text
from zeroflaw.types import Promise, ZeroflawError, printable
from zeroflaw.version import __version__

FORMAT = "zeroflaw calibration 1"
CONFIDENCE = 0.9


@dataclass(frozen=True)
class GoodScan:
    """A good scan's scores. path: its file. points: sha256 of its points, in whatever order.

    score: of the scan. point_score: the highest at which a region could begin, see `calibrate`.
    """

    path: str
    points: str
    score: float
    point_score: float


@dataclass(frozen=True)
class Calibration:
    """Scores of good scans by one detector, and the false-alarm rate that was asked for.

    detector: its name. sha256: of its weights. scalings: how its scores were made probabilities.
    remove_plane: whether tables were left out. scored_by: hash of all that scores depend on.
    version: of zeroflaw. settings: hash of the method's, None in files that do not say.
    """

    detector: str
    sha256: str
    scalings: Scalings | None
    remove_plane: bool
    scored_by: str
    false_alarms: float
    scans: tuple[GoodScan, ...]
    version: str = __version__
    settings: str | None = None

    @property
    def threshold(self) -> float:
        """The least score above the conformal threshold of scans: from it on, a scan is defective.

        Raises ZeroflawError if there are too few scans for the rate.
        """
        kept = conformal_threshold([one.score for one in self.scans], self.false_alarms)
        return math.nextafter(kept, math.inf)

    @property
    def point_threshold(self) -> float:
        """The same of points, whose scores have 32 bits."""
        kept = conformal_threshold([one.point_score for one in self.scans], self.false_alarms)
        return float(np.nextafter(np.float32(kept), np.float32(np.inf)))

    def guarantee(self) -> str:
        """What the thresholds promise, in words."""
        count, rate = len(self.scans), self.false_alarms
        likely = percent_text(likely_rate(count, rate, CONFIDENCE))
        return (
            f"A further good scan, of the same kind of part and taken like these {count}, is "
            f"called defective with a probability of at most {100 * rate:g} %, and shows any "
            f"marked place with a probability of at most {100 * rate:g} %. This holds on "
            "average over the good scans that one might have calibrated with, if these and the "
            "further one are exchangeable: drawn alike, in no particular order. With these very "
            f"scans each of the two rates is at most {likely}, with {100 * CONFIDENCE:g} % "
            "confidence."
        )

    def promise(self, source: Path) -> Promise:
        """What an inspection says of the calibration from this file."""
        said = self.guarantee()
        if self.version != __version__:
            said += f" Made with zeroflaw {self.version}; {__version__} must score as that did."
        return Promise(str(source), len(self.scans), self.false_alarms, said)

    def check(self, source: Path, card: Mapping[str, Any], name: str) -> None:
        """Raise ZeroflawError unless a detector of this card and name gave the scores."""
        if card.get("sha256") != self.sha256:
            other = (
                f"{self.detector} with other weights" if name == self.detector else self.detector
            )
            problem = f"it was made with {other}, not with {name}"
        elif Scalings.read(card.get("calibration")) != self.scalings:
            problem = f"the scores of {name} are scaled otherwise than when it was made"
        elif self.settings not in (None, hash_settings(card)):
            problem = f"{name} has other settings than when it was made"
        else:
            return
        raise ZeroflawError(f"{printable(source)}: {problem}; run zeroflaw calibrate again")

    def check_plane(self, source: Path, remove_plane: bool) -> None:
        """Raise ZeroflawError unless tables are left out as they were in the good scans."""
        if remove_plane != self.remove_plane:
            how = "with" if self.remove_plane else "without"
            raise ZeroflawError(
                f"{printable(source)}: it was made {how} --remove-plane; inspect {how} it, too"
            )


def hash_settings(card: Mapping[str, Any]) -> str:
    """Return a hash of the method's settings in a detector's card."""
    settings = json.dumps(card.get("config"), sort_keys=True, default=str)
    return hashlib.sha256(settings.encode()).hexdigest()


def write_calibration(path: Path, calibration: Calibration, facts: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all. facts: what else it shall say. Raises ZeroflawError."""
    count, rate = len(calibration.scans), calibration.false_alarms
    found = {
        "threshold": calibration.threshold,
        "point_threshold": calibration.point_threshold,
        "rank": conformal_rank(count, rate),
        "guarantee": calibration.guarantee(),
        **facts,
    }
    write_scores(path, calibration, found)


def write_scores(path: Path, calibration: Calibration, found: Mapping[str, Any]) -> None:
    """Write scores to go on from, or with what was found from them. Raises ZeroflawError."""
    scalings = calibration.scalings
    said = {
        "format": FORMAT,
        "zeroflaw": calibration.version,
        "detector": {
            "name": calibration.detector,
            "sha256": calibration.sha256,
            "settings": calibration.settings,
            "calibration": None if scalings is None else asdict(scalings),
        },
        "remove_plane": calibration.remove_plane,
        "scored_by": calibration.scored_by,
        "false_alarms": calibration.false_alarms,
        "scans": len(calibration.scans),
        **found,
        "scores": [asdict(one) for one in calibration.scans],
    }
    text = json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def read_calibration(path: Path) -> Calibration:
    """Return the calibration in a file, whose thresholds must follow from its scores.

    Raises ZeroflawError for a file that cannot be read, is none of ours, or is damaged.
    """
    said, calibration = _read(path)
    try:
        kept = (calibration.threshold, calibration.point_threshold)
    except ZeroflawError as error:
        _refuse(path, f"its scores do not suffice ({error})")
    if (said.get("threshold"), said.get("point_threshold")) != kept:
        _refuse(path, "its thresholds do not follow from its scores")
    return calibration


def read_scores(path: Path) -> Calibration:
    """Return what a file of scores holds, be it finished or to go on from. Raises ZeroflawError."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Any], Calibration]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ZeroflawError(
            f"{printable(path)}: no such file; zeroflaw calibrate writes one"
        ) from None
    except OSError as error:
        raise ZeroflawError(f"{printable(path)}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        _refuse(path, "it is no JSON")
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        _refuse(path, "it is not what zeroflaw calibrate writes")
    try:
        return said, _understood(said)
    except (KeyError, TypeError, ValueError) as error:
        _refuse(path, f"it is damaged ({type(error).__name__}: {error})")
    except ZeroflawError as error:
        _refuse(path, f"it is damaged ({error})")


def _understood(said: Mapping[str, Any]) -> Calibration:
    """The calibration that JSON holds. Raises what Python raises for values of another kind."""
    scans = tuple(
        GoodScan(
            _text(one["path"]),
            _text(one["points"]),
            _share(one["score"]),
            _share(one["point_score"]),
        )
        for one in said["scores"]
    )
    if len(scans) != said["scans"] or len({one.points for one in scans}) != len(scans):
        raise ValueError("scans are missing or there twice")
    if not isinstance(said["remove_plane"], bool):
        raise ValueError("remove_plane is not true or false")
    return Calibration(
        detector=_text(said["detector"]["name"]),
        sha256=_text(said["detector"]["sha256"]),
        scalings=Scalings.read(said["detector"]["calibration"]),
        remove_plane=said["remove_plane"],
        scored_by=_text(said["scored_by"]),
        false_alarms=_share(said["false_alarms"]),
        scans=scans,
        version=_text(said["zeroflaw"]),
        settings=_text_or_none(said["detector"].get("settings")),
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]} is no text")
    return value


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{str(value)[:40]} is not a number from 0 to 1")
    return float(value)


def _refuse(path: Path, problem: str) -> NoReturn:
    said = " ".join(problem.split())[:300]
    raise ZeroflawError(f"{printable(path)}: {said}; run zeroflaw calibrate again")
