"""Synthetic scans for training, without end: by number, made on the fly, categories held out.

Licence: that of the shapes. Every scan depends on the seed and its number alone, not on how many
workers make it. Good scans and defective ones come in pairs of the same part, pose and noise.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zeroflaw.datasets.base import Split
from zeroflaw.synthesis.generate import Settings, Synthesized, good_twin, synthesize
from zeroflaw.synthesis.shapes import Shape, UnusableShape, load_corpus
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.types import ZeroflawError

SHARES = 16  # one sixteenth of the categories for the test, one for validation
ATTEMPTS = 20
HELD_OUT_SOLIDS: dict[str, Split] = {
    "bottle": "test",
    "flange": "test",
    "shell": "test",
    "superquadric": "test",
    "bucket": "validation",
    "handle": "validation",
    "jar": "validation",
    "tube": "validation",
}


def split_of(category: str) -> Split:
    """Return the split of a category ("source/name"), by its name alone."""
    share = zlib.crc32(category.encode()) % SHARES
    return "test" if share == 0 else "validation" if share == 1 else "train"


def split_of_solid(family: str) -> Split:
    """Return the split of a parametric family, the same whichever families there are."""
    return HELD_OUT_SOLIDS.get(family, "train")


@dataclass(frozen=True)
class SyntheticSettings:
    """corpus: folder of packed shapes, None for parametric solids alone. solids: their share."""

    corpus: Path | None
    split: Split = "train"
    seed: int = 0
    solids: float = 0.3
    scans: Settings = field(default_factory=Settings)


class SyntheticScans:
    """Scans by number: 2i has a defect, 2i + 1 is its good twin. Shapes are loaded when needed."""

    def __init__(self, settings: SyntheticSettings) -> None:
        self.settings = settings
        self._shapes: list[list[Shape]] | None = None

    @property
    def pair_settings(self) -> Settings:
        """What both scans of a pair are made with."""
        return replace(self.settings.scans, defective_share=1.0)

    def categories(self) -> list[list[Shape]]:
        """Return the split's shapes of the corpus, one list per category."""
        if self._shapes is None:
            found: dict[str, list[Shape]] = {}
            if self.settings.corpus is not None:
                for shape in load_corpus(self.settings.corpus):
                    if split_of(shape.key) == self.settings.split:
                        found.setdefault(shape.key, []).append(shape)
            self._shapes = [found[key] for key in sorted(found)]
        return self._shapes

    def shape(self, rng: np.random.Generator) -> Shape:
        """Return a random shape; categories count by the square root of their size."""
        categories = self.categories()
        families = [name for name in sorted(SOLIDS) if split_of_solid(name) == self.settings.split]
        if not categories or rng.random() < self.settings.solids:
            return SOLIDS[families[int(rng.integers(len(families)))]](rng)
        weight = np.sqrt([len(shapes) for shapes in categories])
        chosen = categories[int(rng.choice(len(categories), p=weight / weight.sum()))]
        return chosen[int(rng.integers(len(chosen)))]

    def pair(self, number: int) -> tuple[Shape, int, Synthesized]:
        """Return the shape, seed and defective scan of pair `number`."""
        for attempt in range(ATTEMPTS):
            rng = np.random.default_rng([self.settings.seed, number, attempt])
            shape = self.shape(rng)
            seed = int(rng.integers(2**31))
            try:
                made = synthesize(shape, seed, self.pair_settings)
            except UnusableShape:
                continue
            if made.kind != "good":
                return shape, seed, made
        raise ZeroflawError(f"synthetic pair {number}: none of {ATTEMPTS} shapes could be used")

    def __getitem__(self, number: int) -> Synthesized:
        shape, seed, made = self.pair(number // 2)
        return made if number % 2 == 0 else good_twin(shape, seed, self.pair_settings)
