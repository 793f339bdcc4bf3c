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
from zeroflaw.datasets.synthetic import Synthetic
from zeroflaw.types import ZeroflawError

DATASETS: dict[str, type[Dataset]] = {
    "anomaly_shapenet": AnomalyShapeNet,
    "eyecandies": Eyecandies,
    "folder": Folder,
    "mvtec_3d_ad": MVTec3DAD,
    "real3d_ad": Real3DAD,
    "synthetic": Synthetic,
}


def open_dataset(given: Sequence[str | Path]) -> Dataset:
    """Return the data set that a person names: a folder, or a name of DATASETS and its root.

    A name alone stands for a data set that needs no root, unless there is a folder of that name.
    Raises ZeroflawError for an unknown name and for anything but one or two words.
    """
    if len(given) == 1:
        alone = DATASETS.get(str(given[0]))
        if alone is None or Path(given[0]).is_dir():
            return Folder(Path(given[0]))
        if alone.needs_root:
            raise ZeroflawError(f"data set {given[0]}: give the folder that it lies in, too")
        return alone(Path("-"))
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
