"""Trees of point files: `<category>/{train,test,…}/`, defects marked in text files beside them.

Real3D-AD and Anomaly-ShapeNet share this form. A good scan is read from its PCD file. The points
of a defective one are read from the text file with its labels, as their authors do; of its PCD
file the header alone is looked at, and other numbers of points than rows become a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from zeroflaw import io
from zeroflaw.datasets.base import GOOD, Dataset, Entry, Finding, Listing, Split
from zeroflaw.datasets.traceless import without_traces
from zeroflaw.io.lines import Lines
from zeroflaw.io.pcd import check_sizes, read_header
from zeroflaw.io.source import opened
from zeroflaw.types import Bool, Float64, Scan, ScanError, ZeroflawError

TRAIN, TEST = "train", "test"
TEMPLATES = 4  # per category, in both sets
NO_TEST_SCAN = "temp"  # in a file's name


@dataclass(frozen=True)
class PointTree:
    """How a data set lies on disk.

    title: of the data set. published: its categories. places: where they lie, seen from the root,
    as glob patterns; the first that fits counts. labels: the folder of the label files. separator:
    what stands between their numbers besides blanks. good: what the names call a good test scan.
    template, scan: patterns of the names of training and test scans, without suffix; CATEGORY
    stands for the category, and the group of `scan` is the kind. template_names, scan_names: what
    they look like, in words.
    """

    title: str
    published: tuple[str, ...]
    places: tuple[str, ...]
    labels: str
    separator: bytes
    good: str
    template: str
    template_names: str
    scan: str
    scan_names: str

    def is_category(self, folder: Path) -> bool:
        """Return whether a folder is a category, if maybe an empty one."""
        parts = (TRAIN, TEST, self.labels)
        named = folder.name in self.published
        return folder.is_dir() and (named or any((folder / part).is_dir() for part in parts))

    def categories(self, top: Path) -> tuple[str, ...]:
        """Return the categories in a folder, sorted. Raises ZeroflawError if it cannot be read."""
        return tuple(path.name for path in _visible(top) if self.is_category(path))

    def find_top(self, root: Path) -> Path:
        """Return the folder that holds the categories. Raises ZeroflawError if none or several."""
        if not root.is_dir():
            raise ZeroflawError(f"{root}: no such folder; expected the one that holds {self.title}")
        for place in self.places:
            folders = [root] if place == "." else sorted(root.glob(place))
            tops = [path for path in folders if _shown(path, root) and self.categories(path)]
            if len(tops) > 1:
                raise ZeroflawError(
                    f"{root}: {tops[0].relative_to(root)} and {tops[1].relative_to(root)} both "
                    f"hold categories of {self.title}; name one of them"
                )
            if tops:
                return tops[0]
        raise ZeroflawError(
            f"{root}: holds no category of {self.title}; expected folders such as "
            f"{self.published[0]}/ with {TRAIN}/, {TEST}/ and {self.labels}/"
        )


class PointDataset(Dataset):
    """A data set in this form. tree: how it lies on disk."""

    tree: ClassVar[PointTree]

    @cached_property
    def top(self) -> Path:
        """The folder that holds the categories. Raises ZeroflawError."""
        return self.tree.find_top(self.root)

    def categories(self) -> tuple[str, ...]:
        """Return the categories that are there, sorted. Raises ZeroflawError if there is none."""
        return self.tree.categories(self.top)

    def list_category(self, category: str) -> Listing:
        """Return the category's scans, and what does not fit in its folder."""
        return list_tree(self.tree, self.top / category)

    def read(self, entry: Entry) -> Scan:
        """Read a labelled scan. Raises ScanError."""
        return read_entry(self.tree, entry)


def list_tree(tree: PointTree, folder: Path) -> Listing:
    """Return the scans of the category in a folder, and what does not fit; reads no scan."""
    category = folder.name
    findings = [*_unknown_folders(tree, folder)]
    entries = []
    for path, _ in _matching(tree.template, folder / TRAIN, tree.template_names, findings):
        entries.append(_entry(category, "train", GOOD, path))
    if len(entries) < TEMPLATES:
        findings.append(
            Finding(
                category,
                folder / TRAIN,
                f"holds {len(entries)} of {TEMPLATES} templates",
                f"expected {tree.template_names}",
                fatal=False,
            )
        )
    scans = list(_matching(tree.scan, folder / TEST, tree.scan_names, findings))
    if not scans:
        problem, remedy = "holds no test scan", f"expected {tree.scan_names}"
        findings.append(Finding(category, folder / TEST, problem, remedy))
    kinds = {path.stem: GOOD if word == tree.good else word for path, word in scans}
    for path, _ in scans:
        kind = kinds[path.stem]
        labels = folder / tree.labels / f"{path.stem}.txt"
        if kind == GOOD:
            entries.append(_entry(category, "test", kind, path))
        elif labels.is_file():
            entries.append(_entry(category, "test", kind, path, labels))
        else:
            problem = f"no such file, and so no labels of {path.name}"
            remedy = "get it from where the data came, or remove the scan"
            findings.append(Finding(category, labels, problem, remedy))
    findings += _stray_labels(folder / tree.labels, category, kinds)
    return Listing(tuple(sorted(entries, key=lambda entry: entry.name)), tuple(findings))


def read_entry(tree: PointTree, entry: Entry) -> Scan:
    """Read a scan with its labels, one per point, without traces of its files.

    Normals and colours, which only PCD files may hold, are left out. `source` is the PCD file.
    Raises ScanError, also where the labels contradict the file's name.
    """
    scan_file = entry.files[0]
    if entry.kind == GOOD:
        scan = io.read(scan_file)
        scan = replace(scan, labels=np.zeros(len(scan), dtype=bool))
    else:
        scan = _read_defective(scan_file, entry.files[1], tree.separator)
    assert scan.labels is not None
    points, labels = without_traces(scan.points, scan.labels)
    notes = list(scan.notes)
    if scan.grid is not None and scan.dropped:
        notes.append(f"{scan.dropped} points were not finite and were dropped")
    if len(points) < len(scan):
        notes.append(f"{len(scan) - len(points)} points lie where others do and were left out")
    checked = io.checked_scan(points, labels=labels, source=scan.source, notes=notes)
    return replace(checked, source=scan_file)


def read_label_rows(path: Path, separator: bytes) -> tuple[Float64, Bool]:
    """Return the points (N, 3) and labels (N,) of a file of rows `x y z label`.

    Raises ScanError for anything but four numbers in a row and labels other than 0 and 1.
    """
    points, labels, count = [], [], 0
    with opened(path) as file:
        for rows in Lines(file, path, separator).rows(4):
            marks = rows[:, 3]
            wrong = np.flatnonzero((marks != 0) & (marks != 1))
            if len(wrong):
                row = int(wrong[0])
                raise ScanError(
                    path, f"label {marks[row]:g}", "a label is 0 or 1", f"row {count + row + 1}"
                )
            points.append(rows[:, :3])
            labels.append(marks == 1)
            count += len(rows)
    if not count:
        raise ScanError(path, "holds no row of numbers", "expected rows of x, y, z and label")
    return np.concatenate(points), np.concatenate(labels)


def _read_defective(scan_file: Path, label_file: Path, separator: bytes) -> Scan:
    with opened(scan_file) as file:
        lines = Lines(file, scan_file)
        header = read_header(lines)
        check_sizes(header, lines)
    points, labels = read_label_rows(label_file, separator)
    notes = []
    if header.count != len(points):
        notes.append(
            f"{label_file.name} has {len(points)} rows, {scan_file.name} {header.count} points: "
            "the points are those of the rows"
        )
    scan = io.checked_scan(points, labels=labels, source=label_file, notes=notes)
    if scan.labels is None or not scan.labels.any():
        raise ScanError(
            label_file,
            "marks no point, but the scan is named a defective one",
            "correct the labels, or remove the scan",
        )
    return scan


def _entry(category: str, split: Split, kind: str, *files: Path) -> Entry:
    return Entry(f"{category}/{split}/{files[0].stem}", category, split, kind, files)


def _matching(
    pattern: str, folder: Path, names: str, findings: list[Finding]
) -> Iterator[tuple[Path, str]]:
    """Yield the PCD files whose names fit, sorted, each with the pattern's group, if it has one.

    What else is there joins the findings.
    """
    category = folder.parent.name
    name = re.compile(pattern.replace("CATEGORY", re.escape(category)))
    for path in _visible(folder) if folder.is_dir() else ():
        known = path.suffix == ".pcd" and path.is_file()
        if folder.name == TEST and known and NO_TEST_SCAN in path.stem:
            continue
        match = name.fullmatch(path.stem) if known else None
        if match:
            yield path, "".join(match.groups())
        else:
            findings.append(_left_out(category, path, f"expected {names}"))


def _stray_labels(folder: Path, category: str, kinds: dict[str, str]) -> Iterator[Finding]:
    """Yield what lies in the folder of labels and belongs to no defective scan."""
    for path in _visible(folder) if folder.is_dir() else ():
        if path.suffix != ".txt" or not path.is_file():
            yield _left_out(category, path, "expected <name of a defective scan>.txt")
        elif kinds.get(path.stem) == GOOD:
            problem = "labels of a good scan are not read"
            yield Finding(category, path, problem, "remove or rename one of the two", fatal=False)
        elif path.stem not in kinds and NO_TEST_SCAN not in path.stem:
            problem = f"labels of no scan in {TEST}/"
            yield Finding(category, path, problem, "add the scan or remove the file", fatal=False)


def _unknown_folders(tree: PointTree, folder: Path) -> Iterator[Finding]:
    known = (TRAIN, TEST, tree.labels)
    for path in _visible(folder):
        if path.name not in known or not path.is_dir():
            yield _left_out(folder.name, path, f"expected {', '.join(known)}")


def _left_out(category: str, path: Path, expected: str) -> Finding:
    return Finding(category, path, "is not known here and is left out", expected, fatal=False)


def _shown(folder: Path, root: Path) -> bool:
    parts = folder.relative_to(root).parts
    return folder.is_dir() and not any(part.startswith(".") for part in parts)


def _visible(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted, hidden files left out. Raises ZeroflawError."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ZeroflawError(f"{folder}: cannot be read ({error.strerror})") from None
