"""Eyecandies: ten kinds of rendered sweets on a floor, as depth pictures.

Licence: named on its site, https://eyecan-ai.github.io/eyecandies/, where people get it. Tree:

    <Category>/{train,val,test_public,test_private}/data/NNN_depth.png        16 bits
                                                        /NNN_info_depth.yaml  min and max, metres
                                                        /NNN_mask.png         test_public
                                                        /NNN_image_4.png      may be missing

A pixel's depth is its share of 65535, from min to max; the camera is a pinhole with a focal length
of 711.11 pixels and its axis in the middle of 512 × 512 pixels. Points are in the camera's frame.
Their colours are those of image 4 of six in different light, which the field's conversion takes.
val is the split validation and test_public the test; test_private has no labels and is left out.
train and val are flawless. The mask marks bumps and dents, but also flaws of colour and of shading,
which no depth picture shows: the field counts them all, and so do these labels.

The other tree that people have is the one above converted to MVTec 3D-AD's layout: train/good and
test/{good,bad}/{rgb,xyz,gt}, a tenth of the size, the background already gone: its pixels share one
place, and count as not measured. Which tree it is, is seen for each category.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zeroflaw.datasets.base import GOOD, Entry, Finding, Listing, Split
from zeroflaw.datasets.organised_tree import (
    UNPACK,
    OrganisedDataset,
    categories_in,
    files_in,
    list_organised,
    organised,
    read_mask,
    read_organised,
    with_mask,
)
from zeroflaw.geometry.plane import at_border, noted, selected, without_background
from zeroflaw.io.picture import read_png, with_photograph
from zeroflaw.io.source import opened
from zeroflaw.io.validate import MINIMUM_POINTS, checked_scan
from zeroflaw.types import Float64, Scan, ScanError

SPLIT_OF: dict[str, Split] = {"train": "train", "val": "validation", "test_public": "test"}
UNLABELLED = "test_private"
PHOTOGRAPH = "_image_4.png"
EXPECTED = "<Category>/{train,val,test_public}/data or <Category>/{train,test}/<kind>/xyz"
FOCAL = 711.11  # pixels, of a picture 512 wide; as the data set's site has it
WIDTH = 512
FLOOR = 0.02  # metres; what lies lower is floor, as in the conversion that the field uses
CONVERTED = 0.1  # what that conversion multiplies lengths by
LARGEST_YAML = 1 << 16  # bytes
BOUND = re.compile(r"(?<![\w.-])(['\"]?)(min|max)\1\s*:\s*([^\s,}#]+)")
SAMPLE = 1_024  # pixels that show whether many share their place


class Eyecandies(OrganisedDataset):
    """See the module's first lines for the folder.

    remove_plane: leave out the floor, and what is not connected to the sweet in the middle.
    Points labelled defective that go with it are counted in the scan's notes.
    """

    name = "eyecandies"
    title = "Eyecandies"
    licence = "named on https://eyecan-ai.github.io/eyecandies/; to be checked there"
    citation = (
        "L. Bonfiglioli, M. Toschi, D. Silvestri, N. Fioraio, D. De Gregorio: The Eyecandies "
        "Dataset for Unsupervised Multimodal Anomaly Detection and Localization, ACCV 2022"
    )
    homepage = "https://eyecan-ai.github.io/eyecandies/"
    published = (
        "CandyCane",
        "ChocolateCookie",
        "ChocolatePraline",
        "Confetto",
        "GummyBear",
        "HazelnutTruffle",
        "LicoriceSandwich",
        "Lollipop",
        "Marshmallow",
        "PeppermintCandy",
    )

    def categories(self) -> tuple[str, ...]:
        """Return the categories that are there, sorted. Raises ZeroflawError if there is none."""
        return categories_in(
            self.root, lambda one: original(one) or organised(one), EXPECTED, self.homepage
        )

    def list_category(self, category: str) -> Listing:
        """Return the category's labelled scans and what does not fit."""
        folder = self.root / category
        if not original(folder):
            return list_organised(folder, required=("train", "test"))
        found = list(_original(folder))
        entries = sorted(
            (one for one in found if isinstance(one, Entry)), key=lambda entry: entry.name
        )
        return Listing(tuple(entries), tuple(one for one in found if isinstance(one, Finding)))

    def read(self, entry: Entry) -> Scan:
        """Read a scan with its labels. Raises ScanError, also if mask and scan do not fit."""
        if entry.files[0].suffix == ".png":
            scan, distance = read_rendered(entry), FLOOR
        else:
            scan, distance = without_repeated(read_organised(entry)), CONVERTED * FLOOR
            if not at_border(scan).any():  # the conversion has left the background out
                return scan
        if not self.remove_plane:
            return scan
        part = without_background(scan, distance, inside=True)
        if not entry.kind and _marked(scan) and not _marked(part):
            problem = "all points labelled defective are background, and it would count as good"
            raise ScanError(entry.files[0], problem, "leave it out, or keep the background")
        return part


def _marked(scan: Scan) -> bool:
    return scan.labels is not None and bool(scan.labels.any())


def original(category: Path) -> bool:
    """Return whether a folder is a category as it was published."""
    return any((category / folder / "data").is_dir() for folder in SPLIT_OF)


def _original(category: Path) -> Iterator[Entry | Finding]:
    """Yield the scans of a category as published, and what does not fit."""
    title = category.name
    for folder, split in SPLIT_OF.items():
        data = category / folder / "data"
        depths = files_in(data, "_depth.png")
        if not depths:
            problem = f"there are no scans of split {split}"
            yield Finding(title, data, problem, UNPACK, fatal=data.is_dir())
        for stem in sorted(set(files_in(data, "_image_0.png")) - set(depths)) if depths else ():
            yield Finding(title, data / f"{stem}_depth.png", "no such depth picture", UNPACK)
        for stem, depth in depths.items():
            files = [depth, data / f"{stem}_info_depth.yaml"]
            if split == "test":
                files.append(data / f"{stem}_mask.png")
            missing = [path for path in files if not path.is_file()]
            for path in missing:
                yield Finding(title, path, "no such file", UNPACK)
            if not missing:
                kind = "" if split == "test" else GOOD
                files += [one for one in (data / f"{stem}{PHOTOGRAPH}",) if one.is_file()]
                yield Entry(f"{title}/{folder}/{stem}", title, split, kind, tuple(files))
    private = category / UNLABELLED / "data"
    if scans := files_in(private, "_depth.png"):
        problem = f"{len(scans)} scans have no public labels"
        yield Finding(title, private, problem, "they are left out", fatal=False)


def read_rendered(entry: Entry) -> Scan:
    """Read a depth picture as an organised scan with labels and colours, in metres.

    Raises ScanError.
    """
    path, bounds, *others = entry.files
    masks = others[: entry.split == "test"]
    depth = read_depth(path, bounds)
    points = back_projected(depth).reshape(-1, 3)
    rows, columns = depth.shape
    scan = checked_scan(points, grid=(rows, columns), measured=points[:, 2] > 0, source=path)
    for photograph in others[len(masks) :]:
        scan = with_photograph(scan, photograph)
    mask = read_mask(masks[0], (rows, columns)) if masks else np.zeros(depth.shape, dtype=np.bool_)
    return with_mask(scan, mask)


def read_depth(path: Path, bounds: Path) -> Float64:
    """Return the depths of a picture, (rows, columns), between the bounds. Raises ScanError."""
    picture = read_png(path)
    if picture.ndim != 2 or picture.shape[0] != picture.shape[1] or picture.dtype.itemsize < 2:
        shape = " × ".join(map(str, picture.shape))
        problem = f"its picture is {picture.dtype}, {shape}"
        raise ScanError(path, problem, "expected a square one of one channel and 16 bits")
    low, high = read_bounds(bounds)
    return np.asarray(picture.astype(np.float64) / 65535.0 * (high - low) + low)


def back_projected(depth: Float64) -> Float64:
    """Return the points that a pinhole camera sees, (rows, columns, 3), at depths (rows, columns).

    In the camera's frame, x to the right, y down, z forward, in the depths' unit; the focal length
    is 711.11 pixels of 512.
    """
    rows, columns = depth.shape
    focal = FOCAL * columns / WIDTH
    x = (np.arange(columns) - columns / 2.0) / focal
    y = (np.arange(rows) - rows / 2.0) / focal
    return np.stack([x[None, :] * depth, y[:, None] * depth, depth], axis=2)


def read_bounds(path: Path) -> tuple[float, float]:
    """Return the least and the largest depth that a YAML file names `min` and `max`.

    At any depth of its mappings, each once. Raises ScanError with the line.
    """
    with opened(path) as file:
        text = file.read(LARGEST_YAML).decode("utf-8", "replace")
    found: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for _, key, value in BOUND.findall(line.split("#")[0]):
            place = f"line {number}"
            if key in found:
                raise ScanError(path, f"{key} is named twice", "keep one", place)
            try:
                found[key] = float(value)
            except ValueError:
                found[key] = np.nan
            if not (np.isfinite(found[key]) and found[key] >= 0):
                problem = f"{key} is {value[:40]!r}"
                raise ScanError(path, problem, "expected a depth in metres", place)
    for key in ("min", "max"):
        if key not in found:
            raise ScanError(path, f"does not name {key}", "expected min and max of the depth")
    if not found["min"] < found["max"]:
        problem = f"min {found['min']:g} is not below max {found['max']:g}"
        raise ScanError(path, problem, UNPACK)
    return found["min"], found["max"]


def without_repeated(scan: Scan) -> Scan:
    """Return the scan without the pixels that all have the same place: no camera sees such.

    A note counts those of them that are labelled defective.
    """
    few = scan.points[:: max(1, len(scan) // SAMPLE)]
    places, count = np.unique(few, axis=0, return_counts=True)
    if count.max() <= max(2, len(few) // 100):
        return scan
    repeated = np.all(scan.points == places[count.argmax()], axis=1)
    if np.count_nonzero(~repeated) < MINIMUM_POINTS:
        problem = f"{np.count_nonzero(repeated)} of its {len(scan)} points share one place"
        raise ScanError(scan.source, problem, "convert the scan again")
    marked = np.zeros(len(scan), dtype=np.bool_) if scan.labels is None else scan.labels
    scan = selected(scan, ~repeated)
    if lost := int(np.count_nonzero(marked[repeated])):
        total = np.count_nonzero(marked)
        return noted(scan, f"{lost} of {total} points labelled defective are background")
    return scan
