"""The synthetic benchmark's scans are fixed, balanced, and of parts that training never sees."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from zeroflaw.datasets import held_out_pairs
from zeroflaw.datasets.held_out_pairs import (
    KINDS,
    PAIRS,
    SIDES,
    SIZES,
    VERSION,
    HeldOutPairs,
    check_synthesis,
    plan,
)
from zeroflaw.datasets.synthetic_pairs import HELD_OUT_SOLIDS
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.types import ZeroflawError


def test_the_synthesis_still_makes_the_scans_of_this_version() -> None:
    """If this fails, scans have changed: raise VERSION, and record SKETCHES anew."""
    check_synthesis()


def test_a_changed_synthesis_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    number, recorded = next(iter(held_out_pairs.SKETCHES.items()))
    other = (*recorded[:3], 1.05 * recorded[3], *recorded[4:])
    monkeypatch.setattr(held_out_pairs, "sketches", lambda: {number: other})
    with pytest.raises(ZeroflawError, match=f"synthetic-v{VERSION}: pair {number} .*raise VERSION"):
        check_synthesis()


def test_the_pairs_hold_every_kind_size_and_side_equally_often() -> None:
    often = Counter(plan(number) for number in range(PAIRS))
    assert set(often) == set(product(KINDS, SIZES, SIDES))
    assert len(set(often.values())) == 1


def test_any_few_pairs_are_of_different_kinds_sizes_and_sides() -> None:
    first = [plan(number) for number in range(len(KINDS))]
    assert {kind for kind, _, _ in first} == set(KINDS)
    assert {size for _, size, _ in first} == set(SIZES)
    assert {side for _, _, side in first} == set(SIDES)


@pytest.mark.parametrize("number", [3, 26])
def test_a_pair_is_what_was_planned_of_a_held_out_part(number: int) -> None:
    kind, size, side = plan(number)
    pair = HeldOutPairs().pair(number)
    assert (pair.defective.kind, pair.good.kind) == (kind, "good")
    assert pair.defective.sided == pair.good.sided == side
    assert size[0] <= pair.defective.size < size[1]
    assert pair.defective.scan.labels is not None
    assert pair.defective.scan.labels.any()
    assert pair.good.scan.labels is not None
    assert not pair.good.scan.labels.any()
    assert HELD_OUT_SOLIDS[pair.category.removeprefix("solids/")] == "test"


def test_no_held_out_part_has_a_feature_that_could_be_missing() -> None:
    """Else "missing" would belong into the benchmark, and VERSION would have to be raised."""
    held_out = [family for family, split in HELD_OUT_SOLIDS.items() if split == "test"]
    parts = [SOLIDS[family](np.random.default_rng(seed)) for family in held_out for seed in (0, 1)]
    assert not any(part.variants for part in parts)
    assert "missing" not in KINDS


def test_the_name_tells_version_and_shapes(tmp_path: Path) -> None:
    assert HeldOutPairs().name() == f"synthetic-v{VERSION} (solids)"
    (tmp_path / "shapes.npz").write_bytes(b"some")
    one = HeldOutPairs(tmp_path).name()
    (tmp_path / "shapes.npz").write_bytes(b"other")
    assert one != HeldOutPairs(tmp_path).name()
