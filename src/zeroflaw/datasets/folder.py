"""A folder of labelled scans of the user's own.

Licence: the user's. Tree: scans of any readable format, at any depth. Labels, one per point, are
  - in the scan itself (PLY property, PCD field or header column `label`, NPZ array), or
  - in `<stem>.txt` beside the scan, in `gt/` or `GT/` beside it, or in one beside its folder: rows
    `label` or `x y z label`, separated by spaces or commas, in the scan's order, 0 or 1; or
  - all 0 for scans below a folder called `good`.
The photograph of an organised TIFF gives its points' colours, see io/picture.py for its place.

Where every scan lies below a folder of the root and one of these holds a folder `good`, each of
them is a category; else all is one, called like the root. Scans below a folder `train` or
`validation` are of that split, all others of the test.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from zeroflaw import io
from zeroflaw.datasets.base import GOOD, Dataset, Entry, Listing, Split
from zeroflaw.io.picture import photograph_of
from zeroflaw.types import Bool, Float64, Scan, ScanError, ZeroflawError

LABEL_FOLDERS = ("gt", "GT")
PHOTOGRAPHED = (".tif", ".tiff")
NOT_SCANS = ("readme", "license", "licence", "notice", "changelog", "requirements")
TOLERANCE = 1e-4  # of the scan's diagonal, between a point and its row in a label file
REMEDY = (
    "add a `label` property or `<stem>.txt` with a 0 or 1 per point, or move a flawless scan below "
    "a folder called `good`"
)


@dataclass(frozen=True)
class LabelledFile:
    """A scan file, the file with its labels if there is one, and whether it lies below `good`."""

    scan: Path
    labels: Path | None
    good: bool


class Folder(Dataset):
    """See the module's first lines for what the folder may hold."""

    name = "folder"
    title = "a folder of labelled scans"
    licence = "the user's own data"
    learned = None

    @cached_property
    def files(self) -> tuple[LabelledFile, ...]:
        """All scans below the folder, sorted, each with its labels. Raises ZeroflawError."""
        return find_labelled(self.root)

    @cached_property
    def _in_folders(self) -> bool:
        """Whether the folders of the root are its categories."""
        folders = [file.scan.relative_to(self.root).parts[:-1] for file in self.files]
        alone = all(parts and parts[0] != GOOD for parts in folders)
        return alone and any(parts[1:2] == (GOOD,) for parts in folders)

    def categories(self) -> tuple[str, ...]:
        """Return the categories, sorted. Raises ZeroflawError if there is no scan."""
        return tuple(sorted({self._entry(file).category for file in self.files}))

    def list_category(self, category: str) -> Listing:
        """Return the category's scans."""
        entries = map(self._entry, self.files)
        return Listing(tuple(entry for entry in entries if entry.category == category))

    def _entry(self, file: LabelledFile) -> Entry:
        place = file.scan.relative_to(self.root)
        suffix = place.suffix
        name = f"{place.as_posix().removesuffix(suffix)}_{suffix[1:]}"  # some differ by it alone
        category = place.parts[0] if self._in_folders else self.root.resolve().name
        photograph = photograph_of(file.scan) if suffix.lower() in PHOTOGRAPHED else None
        files = tuple(one for one in (file.scan, file.labels, photograph) if one is not None)
        return Entry(name, category, _split(place), GOOD if file.good else "", files)

    def read(self, entry: Entry) -> Scan:
        """Read a labelled scan. Raises ScanError."""
        scan, *others = entry.files
        labels = next((one for one in others if one.suffix != ".png"), None)
        return read_labelled(LabelledFile(scan, labels, entry.kind == GOOD))


def _split(place: Path) -> Split:
    if "train" in place.parts[:-1]:
        return "train"
    return "validation" if "validation" in place.parts[:-1] else "test"


def find_labelled(root: Path) -> tuple[LabelledFile, ...]:
    """Return the scans below `root`, sorted by path, each with the file that holds its labels.

    Raises ZeroflawError if there is no scan, if a scan's labels are in two places, or if a label
    file belongs to no scan.
    """
    if not root.is_dir():
        raise ZeroflawError(f"{root}: no such folder; expected a folder of labelled scans")
    below = [path for path in sorted(root.rglob("*")) if not _hidden(path.relative_to(root))]
    label_files = {path for path in below if path.parent.name in LABEL_FOLDERS and path.is_file()}
    scans = [
        path
        for path in below
        if path.suffix.lower() in io.READERS
        and path.stem.lower() not in NOT_SCANS
        and path not in label_files
        and path.is_file()
    ]
    count = Counter(path.with_suffix("") for path in scans)
    beside = {path for path in scans if path.suffix == ".txt" and count[path.with_suffix("")] > 1}
    found, used = [], set()
    for scan in scans:
        if scan in beside:
            continue
        labels = [path for path in _label_places(scan) if path in beside or path in label_files]
        if len(labels) > 1:
            raise ScanError(scan, f"has labels in {labels[0]} and in {labels[1]}", "keep one")
        used.update(labels)
        good = GOOD in scan.relative_to(root).parts[:-1]
        found.append(LabelledFile(scan, labels[0] if labels else None, good))
    if not found:
        raise ZeroflawError(
            f"{root}: no scan in this folder; readable are {', '.join(sorted(io.READERS))}"
        )
    for path in sorted(label_files - used):
        if path.suffix == ".txt":
            raise ScanError(path, "holds labels of no scan", "add the scan or remove the file")
    return tuple(found)


def read_labelled(file: LabelledFile) -> Scan:
    """Return the scan with its labels. Raises ScanError, also where there are none."""
    scan = io.read(file.scan)
    labels = scan.labels
    if file.labels is not None:
        rows = read_label_file(file.labels)
        from_file = _fit_to_scan(rows, scan, file.labels)
        if labels is not None and not np.array_equal(labels, from_file):
            raise ScanError(file.scan, f"has labels that {file.labels} contradicts", "keep one")
        labels = from_file
    if labels is None:
        if not file.good:
            raise ScanError(file.scan, "has no labels", REMEDY)
        labels = np.zeros(len(scan), dtype=bool)
    if file.good and labels.any():
        raise ScanError(
            file.scan,
            f"has {int(labels.sum())} points labelled defective below a folder called `good`",
            "move it or correct its labels",
        )
    return replace(scan, labels=labels)


def read_label_file(path: Path) -> Float64:
    """Return the rows of a label file: (N, 1) with labels or (N, 4) with x, y, z and label.

    Raises ScanError for anything but numbers, for uneven rows and labels other than 0 and 1.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").replace(",", " ").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScanError(path, f"cannot be read as labels ({error})", "write it as text") from None
    rows = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ScanError(path, "is empty", "write a label per point")
    columns = len(rows[0][1])
    if columns not in (1, 4):
        raise ScanError(
            path, f"{columns} columns", "write `label` or `x y z label` in every row", "line 1"
        )
    for number, row in rows:
        if len(row) != columns:
            raise ScanError(
                path, f"{len(row)} columns, {columns} above", "correct the row", f"line {number}"
            )
    try:
        values = np.array([row for _, row in rows], dtype=np.float64)
    except ValueError:
        number, row = next((number, row) for number, row in rows if not all(map(_number, row)))
        problem = f"{' '.join(row)[:40]!r} is not {columns} numbers"
        raise ScanError(path, problem, "correct the row", f"line {number}") from None
    wrong = np.flatnonzero(~np.isin(values[:, -1], (0.0, 1.0)))
    if len(wrong):
        number, row = rows[wrong[0]]
        raise ScanError(path, f"label {row[-1]}", "a label is 0 or 1", f"line {number}")
    return values


def _fit_to_scan(rows: Float64, scan: Scan, path: Path) -> Bool:
    """Return the labels of the scan's points. Raises ScanError if the rows are not theirs."""
    if scan.valid is not None and len(rows) == len(scan.valid):
        rows = rows[scan.valid]
    if len(rows) != len(scan):
        total = len(scan) if scan.valid is None else len(scan.valid)
        raise ScanError(
            path,
            f"{len(rows)} labels for the {total} points of {scan.name}",
            "write one label per point, in the scan's order",
        )
    if rows.shape[1] == 4:
        distance = np.abs(rows[:, :3] - scan.points).max(axis=1)
        diagonal = float(np.linalg.norm(np.ptp(scan.points, axis=0)))
        wrong = np.flatnonzero(~(distance <= TOLERANCE * diagonal))
        if len(wrong):
            raise ScanError(
                path,
                f"lies {distance[wrong[0]]:.4g} away from the same point of {scan.name}",
                "write the labels in the scan's order",
                f"row {wrong[0] + 1}",
            )
    return np.asarray(rows[:, -1] == 1.0)


def _label_places(scan: Path) -> list[Path]:
    """Return where the labels of a scan may be."""
    name = f"{scan.stem}.txt"
    folders = [scan.parent / gt for gt in LABEL_FOLDERS]
    folders += [scan.parent.parent / gt for gt in LABEL_FOLDERS]
    beside = [] if scan.suffix == ".txt" else [scan.with_suffix(".txt")]
    return beside + [folder / name for folder in folders]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
