"""Good scans and defective ones cannot be told apart by traits of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_trees import TEMPLATES, part, write_label_rows, write_pcd
from zeroflaw import io
from zeroflaw.datasets import DATASETS
from zeroflaw.datasets.base import Dataset, Entry
from zeroflaw.datasets.point_tree import read_label_rows
from zeroflaw.datasets.traceless import without_traces
from zeroflaw.metrics.ranking import auroc
from zeroflaw.types import Bool, Float64, Scan

PAIRS = 32
CHANCE = 0.5 / (PAIRS // 2)  # what twins add that differ by rounding alone: one rank each
quickly = settings(max_examples=40, deadline=None)


def wild_tree(root: Path, labels: str, separator: str, good: str, prefix: str) -> Path:
    """One category whose files differ as in the wild, but whose shapes do not differ at all.

    Each part is there twice: as a good scan, in float32 as a scanner goes along its rows, and as a
    defective one, in text, shuffled, with repeats, every tenth point labelled. Nothing but traits
    of the files tells which is which.
    """
    category = root / ("airplane" if good == "good" else "ashtray0")
    for number in range(TEMPLATES):
        whole, _ = part(category.name, 0.0, 80, np.random.default_rng(number))
        name = f"{number}_template" if not prefix else f"{prefix}template{number}"
        write_pcd(category / "train" / f"{name}.pcd", whole)
    for number in range(PAIRS):
        rng = np.random.default_rng(100 + number)
        points, _ = part(category.name, 0.0, 400, rng)
        points = 40 * points[np.lexsort(points.T)]
        defect = "bulge"
        names = {
            kind: f"{prefix}{kind}{number}" if prefix else f"{number}_{kind}"
            for kind in (good, defect)
        }
        write_pcd(category / "test" / f"{names[good]}.pcd", points)
        write_pcd(category / "test" / f"{names[defect]}.pcd", points)
        rows = np.concatenate([rng.permutation(400), rng.integers(400, size=12)])
        marked = np.arange(400) % 10 == 0
        place = category / labels / f"{names[defect]}.txt"
        write_label_rows(place, points[rows], marked[rows], separator, decimals=5)
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "real3d_ad": lambda root: wild_tree(root, "gt", " ", "good", ""),
    "anomaly_shapenet": lambda root: wild_tree(root, "GT", ",", "positive", "ashtray0_"),
}


def in_pairs(name: str, folder: Path) -> tuple[Dataset, list[Entry]]:
    """The data set and its test scans, twins side by side."""
    dataset = DATASETS[name](TREES[name](folder))
    entries = dataset.entries(split="test")
    number = {entry.name: entry.name.split("/")[-1].replace("ashtray0", "") for entry in entries}
    return dataset, sorted(entries, key=lambda e: int("".join(filter(str.isdigit, number[e.name]))))


def file_traits(scan: Scan) -> Float64:
    """What a scan tells of its file rather than of the part, rounded to three decimals."""
    points = scan.points
    scaled = points * 1e5
    decimal = np.abs(scaled - np.rint(scaled)) < 1e-6
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    last_digits = np.bincount(np.rint(np.abs(scaled)).astype(np.int64).ravel() % 10, minlength=10)
    extent = float(np.linalg.norm(np.ptp(points, axis=0)))
    fractions = np.ptp(points * 2.0**14 % 1.0, axis=0).max()
    traits = [
        float((points == points.astype(np.float32)).mean()),
        float(decimal.mean()),
        float(points.dtype.itemsize),
        1 - len(np.unique(points, axis=0)) / len(points),
        float(len(points)),
        float(steps.mean()) / extent,
        float(np.corrcoef(points[:-1, 2], points[1:, 2])[0, 1]),
        float(np.corrcoef(points[:-1, 0], points[1:, 0])[0, 1]),
        float((np.diff(points[:, 0]) >= 0).mean()),
        float(last_digits.std() / last_digits.mean()),
        float(fractions > 0),
        float(scan.normals is not None),
        float(scan.colors is not None),
        float(scan.valid is not None),
        float(scan.grid is not None),
        float(scan.dropped),
        float(scan.source is not None and scan.source.suffix == ".txt"),
        float(scan.source is not None and scan.source.parent.name != "test"),
    ]
    return np.round(traits, 3)


def learned_auroc(traits: Float64, defective: Bool) -> float:
    """The AUROC on every second pair of a linear classifier fitted to the others."""
    traits = (traits - traits.mean(axis=0)) / np.maximum(traits.std(axis=0), 1e-9)
    held_out = np.arange(len(traits)) // 2 % 2 == 1
    known, target = traits[~held_out], np.where(defective[~held_out], 1.0, -1.0)
    weights = np.linalg.solve(known.T @ known + np.eye(traits.shape[1]), known.T @ target)
    return auroc(np.round(traits[held_out] @ weights, 9), defective[held_out])


def best_single_auroc(traits: Float64, defective: Bool) -> float:
    """The AUROC of the one trait that tells most, either way round, chosen in hindsight."""
    each = [auroc(trait, defective) for trait in traits.T]
    return max(max(area, 1 - area) for area in each)


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_classifier_on_file_traits_alone_is_no_better_than_chance(
    name: str, tmp_path: Path
) -> None:
    dataset, entries = in_pairs(name, tmp_path)
    read = [dataset.read(entry) for entry in entries]
    traits = np.stack([file_traits(scan) for scan in read])
    defective = np.array([entry.kind != "good" for entry in entries])
    assert defective.sum() == PAIRS
    assert learned_auroc(traits, defective) == pytest.approx(0.5, abs=CHANCE)
    assert best_single_auroc(traits, defective) == pytest.approx(0.5, abs=CHANCE)


@pytest.mark.parametrize("name", sorted(TREES))
def test_the_same_classifier_tells_the_files_themselves_apart(name: str, tmp_path: Path) -> None:
    _, entries = in_pairs(name, tmp_path)
    read = []
    for entry in entries:
        if entry.kind == "good":
            read.append(io.read(entry.files[0]))
        else:
            separator = b"," if name == "anomaly_shapenet" else b""
            points, labels = read_label_rows(entry.files[1], separator)
            read.append(Scan(points, labels=labels, source=entry.files[0]))
    traits = np.stack([file_traits(scan) for scan in read])
    defective = np.array([entry.kind != "good" for entry in entries])
    assert learned_auroc(traits, defective) == 1.0
    tell_tale = [auroc(trait, defective) in (0.0, 1.0) for trait in traits.T]
    assert sum(tell_tale) >= 5, "precision, decimals, order, repeats and last digits each tell"


@quickly
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e4), offset=st.floats(-1e4, 1e4))
def test_order_and_repeats_leave_no_trace(seed: int, scale: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    points, labels = part("car", 0.16, 100, rng)
    points = points * scale + offset
    again = np.concatenate([rng.permutation(len(points)), rng.integers(len(points), size=7)])
    for one, other in zip(
        without_traces(points, labels), without_traces(points[again], labels[again]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@quickly
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e4), offset=st.floats(-1e4, 1e4))
def test_no_point_moves_far_and_all_lie_on_a_grid_that_float32_holds(
    seed: int, scale: float, offset: float
) -> None:
    points, labels = part("car", 0.16, 100, np.random.default_rng(seed))
    points = points * scale + offset
    middles, marked = without_traces(points, labels)
    extent = np.linalg.norm(np.ptp(points, axis=0))
    step = max(extent * 2.0**-15, np.abs(points).max() * 2.0**-21)
    nearest = np.linalg.norm(points[:, None] - middles, axis=2)
    assert nearest.min(axis=1).max() <= step
    np.testing.assert_array_equal(middles, middles.astype(np.float32))
    np.testing.assert_array_equal(marked[nearest.argmin(axis=1)][labels], True)
    assert np.lexsort(middles.T[::-1]).tolist() == list(range(len(middles)))


@quickly
@given(seed=st.integers(0, 2**32 - 1), offset=st.sampled_from([0.0, 1e2, 1e5]))
def test_float32_and_text_reach_the_same_cells(seed: int, offset: float) -> None:
    """The places within a cell say nothing: odd and even cells are as frequent from either."""
    points, labels = part("car", 0.0, 4000, np.random.default_rng(seed))
    points = 40 * points + offset
    shares = []
    for given_points in (points.astype(np.float32).astype(np.float64), np.round(points, 6)):
        middles, _ = without_traces(given_points, labels)
        gaps = np.diff(np.unique(middles))
        edge = gaps.min()
        shares.append(np.mean(np.floor(middles / edge) % 2, axis=0))
    np.testing.assert_allclose(shares[0], 0.5, atol=0.05)
    np.testing.assert_allclose(shares[0], shares[1], atol=0.05)


def test_a_place_is_defective_if_one_of_its_points_is() -> None:
    points, _ = part("car", 0.0, 50, np.random.default_rng(0))
    twice = np.concatenate([points, points])
    labels = np.zeros(100, dtype=bool)
    labels[70] = True
    middles, marked = without_traces(twice, labels)
    assert len(middles) == 50
    assert marked.sum() == 1
    np.testing.assert_allclose(middles[marked][0], points[20], atol=1e-3)
