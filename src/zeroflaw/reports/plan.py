"""What an evaluation is of: the scans that it should have scores of, as a file in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zeroflaw.io.atomic import replacing
from zeroflaw.io.source import said_by
from zeroflaw.types import ZeroflawError

PLAN = "evaluation.json"
FORMAT = 1


@dataclass(frozen=True)
class PlannedScan:
    """A scan of an evaluation. identity: of scan and detector, see StoredScores."""

    name: str
    category: str
    identity: str


@dataclass(frozen=True)
class Plan:
    """All that figures are computed from besides the stored scores.

    detector, data, left_out, about: as in Results. split: of the data set. scans: sorted by name.
    """

    detector: str
    data: str
    split: str
    scans: tuple[PlannedScan, ...]
    left_out: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the scans, sorted."""
        return tuple(sorted({scan.category for scan in self.scans}))


def write_plan(folder: Path, plan: Plan) -> None:
    """Write `evaluation.json`. Raises ZeroflawError."""
    with replacing(folder / PLAN) as file:
        content = {"format": FORMAT, **asdict(plan)}
        file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_plan(folder: Path) -> Plan:
    """Read `evaluation.json`. Raises ZeroflawError if it is missing or damaged."""
    path = folder / PLAN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("of another version")
        scans = tuple(PlannedScan(**scan) for scan in content.pop("scans"))
        for scan in scans:
            _check(scan)
        return Plan(**{**content, "scans": scans, "left_out": tuple(content["left_out"])})
    except OSError as error:
        raise ZeroflawError(
            f"{path}: cannot be read ({error.strerror}); name the --out of an evaluation"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ZeroflawError(
            f"{path}: damaged ({type(error).__name__}: {said_by(error)}); run the evaluation again"
        ) from None


def _check(scan: PlannedScan) -> None:
    """Raise ValueError for a scan whose scores would lie nowhere or in another folder."""
    if not all(isinstance(text, str) for text in (scan.name, scan.category, scan.identity)):
        raise ValueError("a scan without name, category and identity")
    scan.name.encode("utf-8", "surrogateescape")
    if ".." in scan.name.split("/") or scan.name.startswith("/"):
        raise ValueError(f"{scan.name!r} leads out of the folder")
