"""Scores of a scan on disk, so that metrics and pictures need no second inspection."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from zeroflaw.datasets.base import GOOD
from zeroflaw.io.atomic import replacing
from zeroflaw.types import Bool, Float32, Int64, UInt8, ZeroflawError

PREVIEW = 8192  # points of a scan that are kept with their places, for pictures
ENDING = ".npz"
VIEWS = "views"  # the one entry that a file may lack
LONGEST = 240  # bytes of a file's name
NO_VIEWS = (2, 0, 0, 0)  # the shape of the views of a method that looks at none
MOST_VIEWS, WIDEST = 1024, 1024  # views of a scan, and pixels of one
_EVEN = (
    "label",
    "region",
    "sampled",
    "views",
)  # hold long runs, and become a hundredth when packed
_DATE = (1980, 1, 1, 0, 0, 0)  # of all files in the archive: the same scores are the same bytes


@dataclass(frozen=True, eq=False)
class StoredScores:
    """What an evaluation keeps of one scan.

    name, category, kind: of the data set's entry. identity: of scan and detector; scores of another
    one are not these. seconds: that the inspection took. object: score of the scan, 0 to 1.
    point: (N,) float32, of its points. label: (N,) bool. region: (N,) int64, number of the
    ground-truth region, -1 where normal. sampled: (M,) int64, the points that the method looked at.
    preview_index: (K,) int64 and preview_points: (K, 3) float32, points for a picture, in the
    scan's unit, moved to their mean. views: (2, V, P, P) uint8, of a method that looks at views:
    the shaded views, 255 where nothing is, and what it says of their pixels; V = 0 of any other.
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
    views: UInt8 = field(default_factory=lambda: np.zeros(NO_VIEWS, np.uint8))

    @property
    def defective(self) -> bool:
        """Whether the scan is of a defective part.

        The data set's kind tells, else the labels: a missing part may leave no point to mark.
        """
        return self.kind != GOOD if self.kind else bool(self.label.any())


def stored_path(folder: Path, name: str) -> Path:
    """Return where the scores of the entry `name` lie in an evaluation's folder."""
    return folder.joinpath("scores", *map(_shortened, f"{name}{ENDING}".split("/")))


def _shortened(part: str) -> str:
    """A part of a path that every file system takes, with room for the name of a temporary file."""
    content = os.fsencode(part)
    if len(content) <= LONGEST:
        return part
    digest = hashlib.sha256(content).hexdigest()[:16]
    return f"{content[: LONGEST - 24].decode('utf-8', 'ignore')}-{digest}{Path(part).suffix[:5]}"


def write_stored(folder: Path, scores: StoredScores) -> None:
    """Write the scores, whole or not at all. Raises ZeroflawError."""
    path = stored_path(folder, scores.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZeroflawError(f"{path.parent}: cannot be made ({error.strerror})") from None
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name in (*_names(), *((VIEWS,) if scores.views.size else ())):
            member = zipfile.ZipInfo(f"{name}.npy", _DATE)
            member.compress_type = zipfile.ZIP_STORED
            if name in _EVEN:
                member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as part:
                array = np.asarray(getattr(scores, name))
                np.lib.format.write_array(part, array, allow_pickle=False)


def read_identity(path: Path) -> str | None:
    """Return whose scores lie in a file without reading them; None if none or damaged ones do."""
    return _read_text(path, "identity")


def read_category(path: Path) -> str | None:
    """Return the category of the scan whose scores lie in a file, None as `read_identity`."""
    return _read_text(path, "category")


def _read_text(path: Path, name: str) -> str | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(file[name]) if set(file.files) >= set(_names()) else None
    except Exception:  # a damaged archive can raise anything
        return None


def read_stored(path: Path) -> StoredScores:
    """Read the scores in a file. Raises ZeroflawError for a missing or damaged one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            optional = [VIEWS] if VIEWS in file.files else []
            found = {name: file[name] for name in (*_names(), *optional)}
        scores = StoredScores(
            **{name: value.item() if value.ndim == 0 else value for name, value in found.items()}
        )
        _check(scores)
    except FileNotFoundError:
        raise ZeroflawError(f"{path}: there are no scores here; run the evaluation again") from None
    except Exception as error:  # a damaged archive can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ZeroflawError(
            f"{path}: damaged scores ({reason}); delete the file and run the evaluation again"
        ) from None
    return scores


def _names() -> list[str]:
    """What every file holds, in the order of the fields."""
    return [one.name for one in fields(StoredScores) if one.name != VIEWS]


def _check(scores: StoredScores) -> None:
    """Raise ValueError where the parts do not fit each other."""
    count = len(scores.point)
    if not (scores.point.shape == scores.label.shape == scores.region.shape == (count,)):
        raise ValueError("scores, labels and regions are not of the same points")
    if not (np.isfinite(scores.point).all() and 0 <= scores.object <= 1):
        raise ValueError("scores are no numbers, or not from 0 to 1")
    if scores.label.dtype != np.bool_ or not np.array_equal(scores.region >= 0, scores.label):
        raise ValueError("labels and regions do not agree")
    if scores.preview_points.shape != (len(scores.preview_index), 3):
        raise ValueError("the preview's points are not those of its index")
    for index in (scores.sampled, scores.preview_index):
        if index.dtype.kind != "i" or ((index < 0) | (index >= count)).any():
            raise ValueError("an index points beyond the scan")
    views = scores.views
    if views.dtype != np.uint8 or views.ndim != 4 or len(views) != 2:
        raise ValueError("the views are no pictures with their maps")
    if views.shape[1] > MOST_VIEWS or not views.shape[2] == views.shape[3] <= WIDEST:
        raise ValueError("the views are too many or not square")
