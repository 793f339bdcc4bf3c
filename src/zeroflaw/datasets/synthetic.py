"""Synthetic scans as a data set: seeded, categories held out, the same wherever they are made.

Licence: that of the shapes. Tree: the root is a folder of packed shapes (`.npz`, see
synthesis/shapes.py), each collection's categories are categories here; "-" stands for none. The
families of parametric solids are there in any case. A category is in one split alone, by its name.

Scan `<category>/<split>/0007_dent` is made when it is read, `0007_good` is the same part, pose and
noise without the defect. The kinds of defects take turns by number; "missing" is left out, which
many parts cannot have.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from zeroflaw.datasets.base import GOOD, Dataset, Entry, Listing, Split, hash_file
from zeroflaw.datasets.synthetic_pairs import ATTEMPTS, split_of, split_of_solid
from zeroflaw.synthesis.defects import DEFECTS, NEED_FEATURES
from zeroflaw.synthesis.generate import Settings, good_twin, synthesize
from zeroflaw.synthesis.shapes import Shape, UnusableShape, load_corpus
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.types import Scan, ScanError, ZeroflawError

NO_SHAPES = Path("-")
KINDS = tuple(kind for kind in DEFECTS if kind not in NEED_FEATURES)


@dataclass(frozen=True)
class _Category:
    """Where the parts of a category come from. key: its name before it was made fit for paths."""

    key: str
    split: Split
    draw: Callable[[np.random.Generator], Shape]


class Synthetic(Dataset):
    """See the module's first lines for what there is.

    pairs: of a defective scan and a good one, per category. points: least and most of a scan.
    """

    name = "synthetic"
    title = "synthetic scans"
    licence = "that of the shapes they are made from; parametric solids are free of rights"
    needs_root = False
    learned = "train"

    def __init__(
        self,
        root: Path = NO_SHAPES,
        *,
        pairs: int = 10,
        seed: int = 0,
        points: tuple[int, int] = (8_000, 30_000),
    ) -> None:
        super().__init__(root)
        self.pairs = pairs
        self.seed = seed
        self.points = points

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to other processes without the shapes, which they load when they need them."""
        made = partial(Synthetic, pairs=self.pairs, seed=self.seed, points=self.points)
        return made, (self.root,)

    @property
    def settings(self) -> dict[str, Any]:
        """What a scan of a given name depends on; `pairs` only says how many names there are."""
        return {"seed": self.seed, "points": tuple(self.points), "shapes": self._shapes_hash}

    @cached_property
    def _shapes_hash(self) -> str:
        digest = hashlib.sha256()
        for path in [] if self.root == NO_SHAPES else sorted(self.root.glob("*.npz")):
            digest.update(f"{path.name}\n".encode() + hash_file(path))
        return digest.hexdigest()

    @cached_property
    def _categories(self) -> dict[str, _Category]:
        """All categories by the name that they have here. Raises ZeroflawError without shapes."""
        found: dict[str, _Category] = {}
        for family in sorted(SOLIDS):
            solid = _Category(f"solids/{family}", split_of_solid(family), SOLIDS[family])
            found[_path_safe(solid.key, found)] = solid
        shapes: dict[str, list[Shape]] = {}
        for shape in [] if self.root == NO_SHAPES else load_corpus(self.root):
            shapes.setdefault(shape.key, []).append(shape)
        for key in sorted(shapes):
            drawn = partial(_draw, shapes[key])
            found[_path_safe(key, found)] = _Category(key, split_of(key), drawn)
        return found

    def categories(self) -> tuple[str, ...]:
        """Return the categories, sorted. Raises ZeroflawError if the root has no shapes."""
        return tuple(sorted(self._categories))

    def list_category(self, category: str) -> Listing:
        """Return the category's scans, all of one split."""
        split = self._known(category).split
        kinds = ((n, kind) for n in range(self.pairs) for kind in (KINDS[n % len(KINDS)], GOOD))
        names = ((f"{category}/{split}/{number:04d}_{kind}", kind) for number, kind in kinds)
        return Listing(tuple(Entry(name, category, split, kind) for name, kind in sorted(names)))

    def read(self, entry: Entry) -> Scan:
        """Make a scan with its labels. Raises ScanError if no shape bears the defect."""
        category = self._known(entry.category)
        number = int(entry.name.rpartition("/")[2].partition("_")[0])
        kind = KINDS[number % len(KINDS)]
        settings = replace(Settings(points=self.points), kinds=(kind,), defective_share=1.0)
        for attempt in range(ATTEMPTS):
            words = [self.seed, zlib.crc32(category.key.encode()), number, attempt]
            rng = np.random.default_rng(words)
            shape = category.draw(rng)
            seed = int(rng.integers(2**31))
            try:
                made = synthesize(shape, seed, settings)
            except UnusableShape:
                continue
            if made.kind == kind:
                twin = good_twin(shape, seed, settings) if entry.kind == GOOD else made
                return twin.scan
        raise ScanError(
            entry.name,
            f"no {kind} could be made on any of {ATTEMPTS} parts",
            "leave this category out or take another seed",
        )

    def _known(self, category: str) -> _Category:
        if category not in self._categories:
            raise ZeroflawError(f"{self.title}: no category {category!r}")
        return self._categories[category]


def _draw(shapes: list[Shape], rng: np.random.Generator) -> Shape:
    return shapes[int(rng.integers(len(shapes)))]


def _path_safe(key: str, taken: dict[str, _Category]) -> str:
    """A category's name as one part of a path, and another one than those that are taken."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", key.replace("/", "-", 1)).lstrip(".")
    if name.casefold() in {other.casefold() for other in taken}:
        return f"{name}-{zlib.crc32(key.encode()):08x}"
    return name
