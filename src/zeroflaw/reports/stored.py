"""Scores of a scan on disk, so that metrics and pictures need no second inspection."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from zeroflaw.io.atomic import replacing
from zeroflaw.types import Bool, Float32, Int64, ZeroflawError

PREVIEW = 8192  # points of a scan that are kept with their places, for pictures
ENDING = ".npz"


@dataclass(frozen=True, eq=False)
class StoredScores:
    """What an evaluation keeps of one scan.

    name, category, kind: of the data set's entry. identity: of scan and detector; scores of another
    one are not these. seconds: that the inspection took. object: score of the scan, 0 to 1.
    point: (N,) float32, of its points. label: (N,) bool. region: (N,) int64, number of the
    ground-truth region, -1 where normal. sampled: (M,) int64, the points that the method looked at.
    preview_index: (K,) int64 and preview_points: (K, 3) float32, points for a picture, in the
    scan's unit, moved to their mean.
    """

    name: str
    category: str
    kind: str
    identity: str
    seconds: float
    object: float
    point: Float32
    label: Bool
    region: Int64
    sampled: Int64
    preview_index: Int64
    preview_points: Float32

    @property
    def defective(self) -> bool:
        """Whether the ground truth marks any point."""
        return bool(self.label.any())


def stored_path(folder: Path, name: str) -> Path:
    """Return where the scores of the entry `name` lie in an evaluation's folder."""
    return folder / "scores" / f"{name}{ENDING}"


def write_stored(folder: Path, scores: StoredScores) -> None:
    """Write the scores, whole or not at all. Raises ZeroflawError."""
    path = stored_path(folder, scores.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZeroflawError(f"{path.parent}: cannot be made ({error.strerror})") from None
    arrays = {field.name: np.asarray(getattr(scores, field.name)) for field in fields(scores)}
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_stored(path: Path) -> StoredScores:
    """Read the scores in a file. Raises ZeroflawError for a missing or damaged one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {field.name: file[field.name] for field in fields(StoredScores)}
    except FileNotFoundError:
        raise ZeroflawError(f"{path}: there are no scores here; run the evaluation again") from None
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise ZeroflawError(
            f"{path}: damaged scores ({reason}); delete the file and run the evaluation again"
        ) from None
    plain = {name: value.item() if value.ndim == 0 else value for name, value in found.items()}
    return StoredScores(**plain)
