"""Trees of organised scans beside masks: MVTec 3D-AD's layout, and sets converted to it.

    <category>/<split>/<good or a defect>/xyz/NNN.tiff   a point per pixel, (0, 0, 0) for none
                                         /gt/NNN.png     255 where defective; none for good scans
                                         /rgb/NNN.png    its photograph, or none

Splits are train, validation and test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zeroflaw.datasets.base import GOOD, SPLITS, Dataset, Entry, Finding, Listing, Split
from zeroflaw.geometry.plane import noted
from zeroflaw.io.organized import organised_scan, read_image
from zeroflaw.io.picture import read_png, with_photograph
from zeroflaw.types import Bool, Scan, ScanError, ZeroflawError

MASKS, PHOTOGRAPHS = "gt", "rgb"
UNPACK = "unpack the archive again"


class OrganisedDataset(Dataset):
    """Scans with a background. remove_plane: leave it out, see the data set's own class."""

    def __init__(self, root: Path, *, remove_plane: bool = True) -> None:
        super().__init__(root)
        self.remove_plane = remove_plane

    @property
    def settings(self) -> dict[str, Any]:
        """Whether the background is left out."""
        return {"remove_plane": self.remove_plane}


def organised(category: Path) -> bool:
    """Return whether a folder is a category in this layout."""
    return any((kind / "xyz").is_dir() for split in SPLITS for kind in folders_in(category / split))


def list_organised(category: Path, required: Sequence[Split] = SPLITS) -> Listing:
    """Return the scans of a category's folder, and what does not fit there.

    required: the splits whose absence is worth knowing. A scan without the mask that it needs, and
    a mask or picture without its scan, are fatal.
    """
    entries: list[Entry] = []
    findings: list[Finding] = []
    for split in SPLITS:
        folder = category / split
        kinds = folders_in(folder)
        if not kinds:
            if split in required:
                problem = f"there are no scans of split {split}"
                findings.append(Finding(category.name, folder, problem, UNPACK, fatal=False))
            continue
        for kind in kinds:
            if split != "test" and kind.name != GOOD:
                problem = f"split {split} is published with flawless scans alone"
                remedy = "check the folder"
                findings.append(Finding(category.name, kind, problem, remedy, fatal=False))
            for found in _scans_of(kind, category.name, split):
                if isinstance(found, Entry):
                    entries.append(found)
                else:
                    findings.append(found)
    return Listing(tuple(sorted(entries, key=lambda entry: entry.name)), tuple(findings))


def _scans_of(kind: Path, category: str, split: Split) -> Iterator[Entry | Finding]:
    """Yield the scans of one folder and what is wrong there."""
    scans = files_in(kind / "xyz", ".tiff")
    masks, photographs = files_in(kind / MASKS, ".png"), files_in(kind / PHOTOGRAPHS, ".png")
    if not scans:
        yield Finding(category, kind / "xyz", "holds no scan (.tiff)", UNPACK)
    for stem, scan in scans.items():
        if stem not in masks and kind.name != GOOD:
            yield Finding(category, kind / MASKS / f"{stem}.png", "no such mask", UNPACK)
            continue
        files = (scan, *(there[stem] for there in (masks, photographs) if stem in there))
        yield Entry(f"{category}/{split}/{kind.name}/{stem}", category, split, kind.name, files)
    others = {*masks, *photographs}
    for stem in sorted(others - set(scans)) if scans else ():
        yield Finding(category, kind / "xyz" / f"{stem}.tiff", "no such scan", UNPACK)


def read_organised(entry: Entry) -> Scan:
    """Read an organised scan with the labels of its mask and the colours of its photograph.

    A note counts the pixels that are labelled defective and hold no point. Raises ScanError if one
    of them does not fit.
    """
    path, *others = entry.files
    masks = [one for one in others if one.parent.name != PHOTOGRAPHS]
    scan = organised_scan(read_image(path), path)
    for photograph in (one for one in others if one.parent.name == PHOTOGRAPHS):
        scan = with_photograph(scan, photograph)
    assert scan.grid is not None
    mask = read_mask(masks[0], scan.grid) if masks else np.zeros(scan.grid, dtype=np.bool_)
    if entry.kind == GOOD and mask.any():
        raise ScanError(
            masks[0],
            f"marks {np.count_nonzero(mask)} pixels as defective below a folder called `{GOOD}`",
            "move the scan or correct the mask",
        )
    scan = with_mask(scan, mask)
    if entry.kind != GOOD and not mask.any():
        return noted(scan, f"its mask marks nothing, though it lies below `{entry.kind}`")
    return scan


def with_mask(scan: Scan, mask: Bool) -> Scan:
    """Return an organised scan with labels from a mask of its grid's shape."""
    flat = mask.reshape(-1)
    labels = flat if scan.valid is None else flat[scan.valid]
    scan = replace(scan, labels=labels)
    marked = int(np.count_nonzero(flat))
    if lost := marked - int(np.count_nonzero(labels)):
        return noted(scan, f"{lost} of {marked} pixels labelled defective hold no point")
    return scan


def read_mask(path: Path, shape: tuple[int, int]) -> Bool:
    """Return which pixels a mask marks, of the given shape. Raises ScanError.

    Pixels are 0, or 255 (or 1) where marked; several channels must agree.
    """
    values = read_png(path)
    if values.shape[:2] != shape:
        found, wanted = (" × ".join(map(str, size)) for size in (values.shape[:2], shape))
        raise ScanError(path, f"has {found} pixels, its scan {wanted}", UNPACK)
    if values.ndim == 3:
        channels = values[..., :3] if values.shape[2] >= 3 else values[..., :1]
        if (channels != channels[..., :1]).any():
            raise ScanError(path, "is a coloured picture", "expected a mask of 0 and 255")
        values = channels[..., 0]
    wrong = np.argwhere((values != 0) & (values != 1) & (values != 255))
    if len(wrong):
        row, column = wrong[0]
        raise ScanError(
            path,
            f"value {values[row, column]}",
            "a mask holds 0 and 255 alone",
            f"row {row}, column {column}",
        )
    return np.asarray(values != 0)


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, sorted; none if it is not there."""
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")


def files_in(folder: Path, ending: str) -> dict[str, Path]:
    """Return the files of a folder that are not hidden, by their names without the ending."""
    if not folder.is_dir():
        return {}
    paths = sorted(one for one in folder.iterdir() if one.name[0] != "." and one.is_file())
    return {path.name.removesuffix(ending): path for path in paths if path.name.endswith(ending)}


def categories_in(
    root: Path, holds: Callable[[Path], bool], expected: str, homepage: str
) -> tuple[str, ...]:
    """Return the names of the folders that hold a category. Raises ZeroflawError if none does.

    expected: what such a folder holds, in words; homepage: where people get it.
    """
    remedy = f"expected {expected}, see {homepage}"
    if not root.is_dir():
        raise ZeroflawError(f"{root}: no such folder; {remedy}")
    found = tuple(folder.name for folder in folders_in(root) if holds(folder))
    if not found:
        raise ZeroflawError(f"{root}: holds no category; {remedy}")
    return found
