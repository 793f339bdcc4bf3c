"""What every data set promises, held over DATASETS. A new one joins with a tree of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataset_trees import anomaly_shapenet_tree, part, real3d_ad_tree
from organised_trees import write_eyecandies, write_mvtec_3d_ad
from zeroflaw.datasets import DATASETS, open_dataset
from zeroflaw.datasets.base import GOOD, SPLITS, Dataset, Entry
from zeroflaw.types import ScanError, ZeroflawError


def folder_tree(root: Path) -> Path:
    """Two categories of a user's own: a good and a bulged scan each, labels in the scans."""
    for category in ("bolt", "nut"):
        for seed, (kind, height) in enumerate((("good", 0.0), ("bulge", 0.16))):
            points, labels = part(category, height, 200, np.random.default_rng(seed))
            place = root / category / kind / "0.npz"
            place.parent.mkdir(parents=True)
            np.savez(place, points=points, labels=labels)
    return root


# A miniature tree of each data set: writes it below a folder that is not there yet, and returns
# the root to open it with. It has at least two categories.
TREES: dict[str, Callable[[Path], Path]] = {
    "anomaly_shapenet": anomaly_shapenet_tree,
    "eyecandies": write_eyecandies,
    "folder": folder_tree,
    "mvtec_3d_ad": write_mvtec_3d_ad,
    "real3d_ad": real3d_ad_tree,
}


@pytest.fixture(params=sorted(TREES))
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    name = str(request.param)
    return open_dataset([name, TREES[name](tmp_path / "tree")])


def test_every_data_set_is_held_to_the_contracts() -> None:
    made_on_the_fly = {"synthetic"}  # without files, and with defects in all splits: own tests
    assert set(TREES) | made_on_the_fly == set(DATASETS)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_it_says_what_it_is_and_under_which_licence(name: str) -> None:
    kind = DATASETS[name]
    assert kind.name == name
    assert kind.title.strip()
    assert kind.licence.strip()
    assert "\n" not in kind.title + kind.licence + kind.citation
    assert len(set(kind.published)) == len(kind.published)
    assert list(kind.published) == sorted(kind.published, key=str.lower)
    if kind.published:
        assert kind.homepage.startswith("https://")
        assert any(str(year) in kind.citation for year in range(2015, 2031))


def test_opening_it_touches_no_file(dataset: Dataset, tmp_path: Path) -> None:
    assert type(dataset)(tmp_path / "nowhere").root == tmp_path / "nowhere"


def test_its_categories_are_sorted_and_published(dataset: Dataset) -> None:
    categories = dataset.categories()
    assert len(categories) >= 2
    assert list(categories) == sorted(set(categories))
    assert not dataset.published or set(categories) <= set(dataset.published)


def test_a_whole_tree_has_no_findings(dataset: Dataset) -> None:
    for category in dataset.categories():
        assert dataset.list_category(category).findings == ()


def test_its_scans_are_sorted_unique_and_in_their_category(dataset: Dataset) -> None:
    entries = dataset.entries()
    names = [entry.name for entry in entries]
    assert names == sorted(set(names))
    for entry in entries:
        assert entry.category in dataset.categories()
        assert entry.split in SPLITS
        assert not Path(entry.name).is_absolute()
        assert ".." not in Path(entry.name).parts
        assert "\\" not in entry.name
        assert all(path.is_file() for path in entry.files)
    for category in dataset.categories():
        listed = dataset.list_category(category).entries
        assert listed == tuple(entry for entry in entries if entry.category == category)
        assert dataset.entries([category]) == listed
    for split in SPLITS:
        assert dataset.entries(split=split) == tuple(e for e in entries if e.split == split)


def test_every_category_has_good_and_defective_test_scans(dataset: Dataset) -> None:
    for category in dataset.categories():
        scans = dataset.select([category], "test")
        assert len({bool(labels_of(scans.dataset, entry).any()) for entry in scans.entries}) == 2


def labels_of(dataset: Dataset, entry: Entry) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    labels = dataset.read(entry).labels
    assert labels is not None
    return labels


def test_every_scan_has_a_label_per_point_that_fits_its_kind(dataset: Dataset) -> None:
    for entry in dataset.entries():
        scan = dataset.read(entry)
        labels = labels_of(dataset, entry)
        assert labels.dtype == np.bool_
        assert labels.shape == (len(scan),)
        assert scan.points.dtype == np.float64
        assert np.isfinite(scan.points).all()
        if entry.kind:
            assert labels.any() == (entry.kind != GOOD)


def test_training_scans_are_good(dataset: Dataset) -> None:
    for entry in dataset.entries(split="train"):
        assert not labels_of(dataset, entry).any()


def test_the_same_scan_is_read_twice_the_same(dataset: Dataset) -> None:
    for entry in dataset.entries()[:3]:
        first, second = dataset.read(entry), dataset.read(entry)
        np.testing.assert_array_equal(first.points, second.points)
        np.testing.assert_array_equal(labels_of(dataset, entry), second.labels)


def complaint(dataset: Dataset, entry: Entry) -> str:
    with pytest.raises(ScanError) as caught:
        dataset.read(entry)
    message = str(caught.value)
    assert "\n" not in message
    assert "; " in message, "a remedy follows the problem"
    return message


def one_of_each_kind(dataset: Dataset) -> list[Entry]:
    return list({(e.split, e.kind, len(e.files)): e for e in dataset.entries()}.values())


def test_a_missing_file_is_named_with_the_remedy(dataset: Dataset) -> None:
    for entry in one_of_each_kind(dataset):
        for place, path in enumerate(entry.files):
            gone = path.with_name(f"gone{path.suffix}")
            files = (*entry.files[:place], gone, *entry.files[place + 1 :])
            assert str(gone) in complaint(dataset, replace(entry, files=files))


def test_an_empty_file_is_named_with_the_remedy(dataset: Dataset) -> None:
    for entry in one_of_each_kind(dataset):
        for path in entry.files:
            content = path.read_bytes()
            path.write_bytes(b"")
            assert str(path) in complaint(dataset, entry)
            path.write_bytes(content)


def test_a_damaged_file_is_named_with_the_remedy(dataset: Dataset) -> None:
    for entry in one_of_each_kind(dataset):
        for path in entry.files:
            content = path.read_bytes()
            path.write_bytes(b"\0no scan, no picture, no numbers\n" * 8)
            assert str(path) in complaint(dataset, entry)
            path.write_bytes(content)


def test_an_unknown_category_is_refused_and_the_known_are_named(dataset: Dataset) -> None:
    with pytest.raises(ZeroflawError, match="has no category 'spoon'; there are") as caught:
        dataset.entries(["spoon"])
    assert dataset.categories()[0] in str(caught.value)


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_root_that_is_missing_or_empty_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(ZeroflawError) as caught:
            DATASETS[name](root).select()
        assert str(root) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(TREES))
def test_the_hash_follows_the_content_and_not_the_folder(name: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path / "one")
    before = DATASETS[name](root).select().content_hash()
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere" / "one")
    moved = DATASETS[name](tmp_path / "elsewhere" / "one" / root.relative_to(tmp_path / "one"))
    assert moved.select().content_hash() == before
    seen = {before}
    for entry in one_of_each_kind(moved):
        for path in entry.files:
            with path.open("ab") as file:
                file.write(b"\n")
            seen.add(moved.select().content_hash())
    assert len(seen) == 1 + sum(len(entry.files) for entry in one_of_each_kind(moved))


def test_hidden_files_change_nothing(dataset: Dataset) -> None:
    before = dataset.entries()
    folders = {path.parent for entry in before for path in entry.files}
    for folder in folders:
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1")
    fresh = type(dataset)(dataset.root)
    assert fresh.entries() == before
    assert all(not fresh.list_category(c).findings for c in fresh.categories())
