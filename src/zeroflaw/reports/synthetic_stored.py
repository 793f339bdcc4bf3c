"""What the synthetic benchmark keeps of a scan and of a detector's scores of it, on disk."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zeroflaw.io.atomic import replacing
from zeroflaw.types import Bool, Float32, Int64, ZeroflawError


@dataclass(frozen=True, eq=False)
class Facts:
    """What figures need to know of a scan besides scores.

    kind: "good" or a key of DEFECTS. category: of the part. sided: "full" or "one". size,
    amplitude, noise: as in Synthesized. region: (N,) int64, number of the ground-truth region, -1
    where normal. near: (N,) bool, points near the boundary of a good scan from one side, of other
    scans none. content: hash of the scan's points and labels.
    """

    kind: str
    category: str
    sided: str
    size: float
    amplitude: float
    noise: float
    region: Int64
    near: Bool
    content: str

    @property
    def labels(self) -> Bool:
        """Which points are defective, (N,)."""
        return np.asarray(self.region >= 0)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a detector says of a scan.

    point: (N,) float32, its points' scores, higher is more anomalous. object: the scan's. overlap:
    (R,) float32, intersection over union of each region with the labelled points. kinds: (R,) the
    regions' names, "" where the detector names none. seconds: that the inspection took. identity:
    whose scores these are.
    """

    point: Float32
    object: float
    overlap: Float32
    kinds: NDArray[np.str_]
    seconds: float
    identity: str


Kept = TypeVar("Kept", Facts, Judged)


def write_kept(path: Path, kept: Facts | Judged) -> None:
    """Write facts or scores, whole or not at all. Raises ZeroflawError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZeroflawError(f"{path.parent}: cannot be made ({error.strerror})") from None
    arrays: dict[str, Any] = {one.name: getattr(kept, one.name) for one in fields(kept)}
    with replacing(path) as file:
        np.savez(file, **arrays)


def read_kept(path: Path, kind: type[Kept]) -> Kept | None:
    """Read facts or scores; None where there are none, or a file that cannot be used."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {one.name: file[one.name] for one in fields(kind)}
        kept = kind(**{n: one.item() if one.ndim == 0 else one for n, one in found.items()})
        _check(kept)
    except Exception:  # a damaged archive can raise anything
        return None
    return kept


def _check(kept: Facts | Judged) -> None:
    """Raise ValueError where the parts do not fit each other."""
    if isinstance(kept, Facts):
        if kept.region.dtype.kind != "i" or kept.region.shape != kept.near.shape:
            raise ValueError("labels and boundary are not of the same points")
        return
    if kept.point.ndim != 1 or not np.isfinite(kept.point).all() or not np.isfinite(kept.object):
        raise ValueError("scores are no numbers")
    if kept.overlap.shape != kept.kinds.shape:
        raise ValueError("overlaps and kinds are not of the same regions")
