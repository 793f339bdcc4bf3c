"""The scans of `zeroflaw benchmark synthetic`: fixed pairs of categories never trained on.

Licence: that of the shapes. Pair `number` is a defective scan and its good twin. Kinds of defects
take turns, and within a kind sizes and sides do, so that 66 pairs hold each combination once.
"missing" is left out: no held-out part has a feature that could be missing.

VERSION is part of the benchmark's name. Whatever changes the scans or how they are judged raises
it, and records SKETCHES anew: figures of two versions do not compare. What to record is printed by

    python -c "from zeroflaw.datasets import held_out_pairs as one; print(one.sketches())"
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zeroflaw.datasets.base import hash_file
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.synthesis.defects import DEFECTS, NEED_FEATURES
from zeroflaw.synthesis.generate import Settings, Synthesized, good_twin, synthesize
from zeroflaw.synthesis.shapes import UnusableShape
from zeroflaw.types import ZeroflawError

VERSION = 1
SEED = 20_260
KINDS = tuple(kind for kind in DEFECTS if kind not in NEED_FEATURES)
SIZES = ((0.02, 0.05), (0.05, 0.10), (0.10, 0.25))
SIDES = ("full", "one")
PAIRS = 2 * len(KINDS) * len(SIZES) * len(SIDES)
TRIES = 60  # parts for a defect of the wanted size
ENOUGH = 20  # of them, before a defect of another size will do

Sketch = tuple[float, ...]
PROBES = (5, 12, 22, 43)
SKETCHES: dict[int, Sketch] = {
    5: (10.446, 0.03877, 0.22063, 0.05378, 0.0, -0.17273, 0.13374, 0.37568, 0.212, 0.21874),
    12: (22.021, 0.00431, 0.08642, 0.01121, 0.00114, 0.03554, 0.02307, 0.14204, 0.24723, 0.2472),
    22: (10.631, 0.0048, 0.12992, 0.02023, 0.00279, 0.03003, -0.00294, 0.07774, 0.25241, 0.25237),
    43: (11.784, 0.00076, 0.14749, 0.00695, 0.00256, 0.02331, 0.0015, 0.10737, 0.24135, 0.24128),
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A defective scan and its good twin. category: of their part, as source and name."""

    defective: Synthesized
    good: Synthesized
    category: str


class HeldOutPairs:
    """Pairs by number from 0, the same on every machine.

    corpus: folder of packed shapes whose test categories join in; without it, parametric solids of
    the held-out families alone.
    """

    def __init__(self, corpus: Path | None = None) -> None:
        self.corpus = corpus
        self.shapes = SyntheticScans(SyntheticSettings(corpus, "test", SEED))

    def corpus_hash(self) -> str:
        """Return a hash of the corpus's files, "" without one."""
        if self.corpus is None:
            return ""
        digest = hashlib.sha256()
        for path in sorted(self.corpus.glob("*.npz")):
            digest.update(f"{path.name}\n".encode() + hash_file(path))
        return digest.hexdigest()

    def name(self) -> str:
        """Return the benchmark's name: version and shapes."""
        shapes = f"solids and shapes {self.corpus_hash()[:8]}" if self.corpus else "solids"
        return f"synthetic-v{VERSION} ({shapes})"

    def pair(self, number: int) -> Pair:
        """Make a pair. Raises ZeroflawError if no part bears the defect."""
        kind, size, side = plan(number)
        settings = replace(
            Settings(),
            kinds=(kind,),
            defective_share=1.0,
            one_sided_share=float(side == "one"),
            sizes=size,
        )
        for attempt in range(TRIES):
            rng = np.random.default_rng([SEED, VERSION, number, attempt])
            shape = self.shapes.shape(rng)
            seed = int(rng.integers(2**31))
            try:
                made = synthesize(shape, seed, settings)
            except UnusableShape:
                continue
            fits = size[0] <= made.size < size[1] or attempt >= ENOUGH
            if made.kind == kind and fits:
                return Pair(made, good_twin(shape, seed, settings), shape.key)
        raise ZeroflawError(
            f"{self.name()}: no {kind} could be made on any of {TRIES} parts for pair {number}; "
            "use the corpus that the figures to compare with were measured on"
        )


def plan(number: int) -> tuple[str, tuple[float, float], str]:
    """Return a pair's kind, sizes and side."""
    turn, place = divmod(number, len(KINDS))
    size = SIZES[(turn + place // 2) % len(SIZES)]
    return KINDS[place], size, SIDES[(turn + place) % len(SIDES)]


def sketches() -> dict[int, Sketch]:
    """Return what is to be recorded as SKETCHES for the synthesis as it is."""
    pairs = HeldOutPairs()
    return {number: sketch(pairs.pair(number)) for number in PROBES}


def sketch(pair: Pair) -> Sketch:
    """Return a few numbers by which a pair is known again, whatever the last digits of its points.

    Points in thousands, the share of labelled ones, size, amplitude and noise; then, in parts of
    the good scan's diagonal, the defective scan's mean (3) and both scans' spread.
    """
    good, bad = pair.good.scan.points, pair.defective.scan.points
    scale = float(np.linalg.norm(np.ptp(good, axis=0)))
    labels = pair.defective.scan.labels
    marked = 0.0 if labels is None else float(labels.mean())
    made = pair.defective
    spread = [float(np.linalg.norm(points.std(axis=0))) for points in (bad, good)]
    lengths = [value / scale for value in (*map(float, bad.mean(axis=0)), *spread)]
    about = (len(good) / 1000, marked, made.size, made.amplitude, made.noise)
    return tuple(round(value, 5) for value in (*about, *lengths))


def check_synthesis() -> None:
    """Raise ZeroflawError if the synthesis no longer makes the scans that this version names.

    Numbers may be off by 0.2 % and 0.0002, as rounding on another machine may move a point or two.
    """
    for number, found in sketches().items():
        recorded = SKETCHES.get(number, ())
        same = len(recorded) == len(found)
        if not (same and np.allclose(found, recorded, rtol=2e-3, atol=2e-4)):
            raise ZeroflawError(
                f"synthetic-v{VERSION}: pair {number} is not the recorded one, so the synthesis "
                "has changed since; figures would not compare: raise VERSION in "
                "datasets/held_out_pairs.py and record its SKETCHES anew, or use the zeroflaw that "
                "the other figures were measured with"
            )
