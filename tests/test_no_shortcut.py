"""Defects are not to be told by how densely, in what order or how often points were measured.

A classifier that sees only such traits is trained on half of the scans and asked about the others.
It gets distances in space or along the surface: the difference of both is the height over the
tangent plane, and thus the form, by which defects are to be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from zeroflaw.metrics.ranking import auroc
from zeroflaw.synthesis.defects import DEFECTS
from zeroflaw.synthesis.generate import GOOD, Settings, good_twin, synthesize
from zeroflaw.synthesis.solids import SOLIDS, random_solids
from zeroflaw.types import Float64, Int64, Scan

EACH = 14  # pairs of a kind
NEIGHBORS = 4
AROUND = 12  # points that a tangent plane is laid through
TOLERANCE = 0.03
IN_SPACE, ALONG = list(range(NEIGHBORS)), list(range(NEIGHBORS, 2 * NEIGHBORS))
ORDER = [2 * NEIGHBORS, 2 * NEIGHBORS + 1]  # place in the order, and whether it is there twice
SETTINGS = Settings(points=(4_000, 4_000), defective_share=1.0)


@dataclass(frozen=True, eq=False)
class Pair:
    """Traits of the same defective places (P, T) and of the whole scans (W,); then of the twin's.

    Places that one of the two scans did not measure are left out.
    """

    kind: str
    bad_places: Float64
    good_places: Float64
    bad_scan: Float64
    good_scan: Float64


def place_traits(scan: Scan, rows: Int64) -> Float64:
    """Distances to the nearest points, in space and along the surface, and the place in the order.

    Distances are relative to the scan's median of them.
    """
    tree = cKDTree(scan.points)
    usual = np.arange(0, len(scan), 7)
    rows = np.concatenate([rows, usual])
    distance, near = tree.query(scan.points[rows], k=AROUND + 1)
    offset = scan.points[near[:, 1:]] - scan.points[rows][:, None]
    normal = np.linalg.eigh(np.einsum("nki,nkj->nij", offset, offset))[1][:, :, 0]
    height = np.einsum("nki,ni->nk", offset, normal)
    flat = np.sqrt(np.clip((offset**2).sum(axis=2) - height**2, 0, None))
    flat.sort(axis=1)
    lengths = np.concatenate([distance[:, 1 : NEIGHBORS + 1], flat[:, :NEIGHBORS]], axis=1)
    lengths = lengths / np.median(lengths[-len(usual) :], axis=0)
    found = np.column_stack([lengths, rows / len(scan), distance[:, 1] == 0])
    return np.asarray(found[: -len(usual)])


def scan_traits(scan: Scan) -> Float64:
    """Count, mean distance of neighbours, points that are there twice, and order in space."""
    distance = cKDTree(scan.points).query(scan.points, k=2)[0][:, 1]
    extent = np.linalg.norm(scan.points.std(axis=0))
    jumps = np.linalg.norm(np.diff(scan.points, axis=0), axis=1)
    return np.array(
        [len(scan), distance.mean() / extent, (distance == 0).mean(), jumps.mean() / extent]
    )


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    shapes = random_solids(len(SOLIDS) * 2, seed=8)
    made_pairs = []
    for number, kind in enumerate(DEFECTS):
        settings = replace(SETTINGS, kinds=(kind,))
        for seed in range(EACH):
            shape = shapes[(5 * number + seed) % len(shapes)]
            made = synthesize(shape, seed, settings)
            if made.kind == GOOD:
                continue
            twin = good_twin(shape, seed, settings)
            _, rows, twin_rows = np.intersect1d(made.origin, twin.origin, return_indices=True)
            assert made.scan.labels is not None
            bad = made.scan.labels[rows]
            made_pairs.append(
                Pair(
                    kind,
                    place_traits(made.scan, rows[bad]),
                    place_traits(twin.scan, twin_rows[bad]),
                    scan_traits(made.scan),
                    scan_traits(twin.scan),
                )
            )
    return made_pairs


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What is learned does not depend on how many processors there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def told_apart(bad: list[Float64], good: list[Float64]) -> float:
    """AUROC on the odd scans of a small network that was trained on the even ones."""
    torch.manual_seed(0)
    inputs = [torch.tensor(np.concatenate([*bad[i::2], *good[i::2]])) for i in range(2)]
    labels = [
        torch.repeat_interleave(
            torch.tensor([1.0, 0.0]), torch.tensor([sum(map(len, x[i::2])) for x in (bad, good)])
        )
        for i in range(2)
    ]
    mean, spread = inputs[0].mean(dim=0), inputs[0].std(dim=0) + 1e-9
    seen, unseen = (((x - mean) / spread).clamp(-4, 4).float() for x in inputs)
    network = torch.nn.Sequential(
        torch.nn.Linear(seen.shape[1], 24),
        torch.nn.ReLU(),
        torch.nn.Linear(24, 24),
        torch.nn.ReLU(),
        torch.nn.Linear(24, 1),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3, weight_decay=1e-4)
    for _ in range(150):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(seen)[:, 0], labels[0])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        return auroc(network(unseen)[:, 0].numpy(), labels[1].numpy() > 0.5)


def test_every_kind_is_among_the_pairs(pairs: list[Pair]) -> None:
    assert {pair.kind for pair in pairs} == set(DEFECTS)


@pytest.mark.parametrize("distances", [IN_SPACE, ALONG], ids=["in space", "along the surface"])
def test_density_order_and_repeats_do_not_tell_a_place_with_a_defect(
    pairs: list[Pair], distances: list[int]
) -> None:
    traits = [*distances, *ORDER]
    bad = [pair.bad_places[:, traits] for pair in pairs]
    good = [pair.good_places[:, traits] for pair in pairs]
    assert sum(map(len, bad)) > 5_000
    assert told_apart(bad, good) == pytest.approx(0.5, abs=TOLERANCE)


def test_count_density_and_order_do_not_tell_a_scan_with_a_defect(pairs: list[Pair]) -> None:
    bad, good = [pair.bad_scan[None] for pair in pairs], [pair.good_scan[None] for pair in pairs]
    assert told_apart(bad, good) == pytest.approx(0.5, abs=TOLERANCE)


def test_the_classifier_finds_a_shortcut_where_there_is_one(pairs: list[Pair]) -> None:
    """A defect measured a tenth more sparsely than the rest would be found out."""
    good = [pair.good_places[:, IN_SPACE] for pair in pairs]
    assert told_apart([1.1 * places for places in good], good) > 0.5 + 2 * TOLERANCE
