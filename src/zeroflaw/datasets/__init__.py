"""Data sets by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zeroflaw.datasets.anomaly_shapenet import AnomalyShapeNet
from zeroflaw.datasets.base import SPLITS, Dataset, Split
from zeroflaw.datasets.eyecandies import Eyecandies
from zeroflaw.datasets.folder import Folder
from zeroflaw.datasets.mvtec_3d_ad import MVTec3DAD
from zeroflaw.datasets.real3d_ad import Real3DAD
from zeroflaw.types import ZeroflawError

DATASETS: dict[str, type[Dataset]] = {
    "anomaly_shapenet": AnomalyShapeNet,
    "folder": Folder,
    "real3d_ad": Real3DAD,
}


def open_dataset(given: Sequence[str | Path]) -> Dataset:
    """Return the data set that a person names: a folder, or a name of DATASETS and its root.

    Raises ZeroflawError for an unknown name and for anything but one or two words.
    """
    if len(given) == 1:
        return Folder(Path(given[0]))
    if len(given) != 2:
        raise ZeroflawError(
            f"data {' '.join(map(str, given))!r}: give a folder, or the name of a data set and its "
            "root"
        )
    name, root = str(given[0]), Path(given[1])
    if name not in DATASETS:
        raise ZeroflawError(f"data set {name!r}: unknown; there are {', '.join(sorted(DATASETS))}")
    return DATASETS[name](root)


def checked_split(split: str) -> Split:
    """Return a split's name as such. Raises ZeroflawError for others."""
    for known in SPLITS:
        if split == known:
            return known
    raise ZeroflawError(f"split {split!r}: unknown; there are {', '.join(SPLITS)}")
