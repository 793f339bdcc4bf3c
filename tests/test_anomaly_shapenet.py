"""Anomaly-ShapeNet is read as it lies on disk; what does not fit is said with its remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset_trees import anomaly_shapenet_tree
from zeroflaw.datasets.anomaly_shapenet import CATEGORIES, AnomalyShapeNet
from zeroflaw.types import ScanError, ZeroflawError


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """The archive's top, one category with a positive, a bulged and a hollowed scan."""
    return anomaly_shapenet_tree(tmp_path / "Anomaly-ShapeNet-v2", ["vase3"], 1, 300)


@pytest.fixture
def category(top: Path) -> Path:
    return top / "dataset" / "pcd" / "vase3"


def test_there_are_forty_categories() -> None:
    assert len(set(CATEGORIES)) == 40
    assert {"ashtray0", "bowl5", "helmet3", "vase9"} <= set(CATEGORIES)
    assert not {"vase6", "bottle2", "cap1"} & set(CATEGORIES)


def test_positive_scans_are_good_and_others_are_called_by_their_defect(top: Path) -> None:
    entries = AnomalyShapeNet(top).entries()
    assert [(e.name, e.split, e.kind) for e in entries] == [
        ("vase3/test/vase3_bulge0", "test", "bulge"),
        ("vase3/test/vase3_concavity0", "test", "concavity"),
        ("vase3/test/vase3_positive0", "test", "good"),
        *((f"vase3/train/vase3_template{n}", "train", "good") for n in range(4)),
    ]
    for entry in entries:
        labels = AnomalyShapeNet(top).read(entry).labels
        assert labels is not None
        assert labels.any() == (entry.kind in ("bulge", "concavity"))


@pytest.mark.parametrize("word", ["hole", "crack", "broken", "bending", "scratch", "fold_line"])
def test_every_word_is_a_defect(top: Path, category: Path, word: str) -> None:
    for folder, suffix in (("test", "pcd"), ("GT", "txt")):
        path = category / folder / f"vase3_bulge0.{suffix}"
        path.rename(path.with_name(f"vase3_{word}12.{suffix}"))
    assert word in {entry.kind for entry in AnomalyShapeNet(top).entries(split="test")}
    assert AnomalyShapeNet(top).list_category("vase3").findings == ()


@pytest.mark.parametrize("place", ["..", ".", "dataset", "dataset/pcd"])
def test_the_root_may_be_any_folder_of_the_archive_above_the_categories(
    top: Path, place: str
) -> None:
    dataset = AnomalyShapeNet(top / place)
    assert dataset.categories() == ("vase3",)
    assert len(dataset.entries()) == 7
    assert dataset.select().content_hash() == AnomalyShapeNet(top).select().content_hash()


def test_a_category_as_the_root_is_refused_with_what_was_expected(category: Path) -> None:
    with pytest.raises(ZeroflawError, match="holds no category of Anomaly-ShapeNet; expected"):
        AnomalyShapeNet(category).categories()


def test_categories_of_later_releases_are_taken_too(top: Path) -> None:
    anomaly_shapenet_tree(top, ["knife1"], 1, 100)
    assert AnomalyShapeNet(top).categories() == ("knife1", "vase3")
    assert AnomalyShapeNet(top).list_category("knife1").findings == ()


@pytest.mark.parametrize(
    "name", ["test/vase4_bulge1.pcd", "test/vase3_bulge.pcd", "train/vase3_positive1.pcd"]
)
def test_a_scan_of_another_name_is_left_out_and_said(top: Path, category: Path, name: str) -> None:
    (category / name).write_bytes((category / "test" / "vase3_positive0.pcd").read_bytes())
    (finding,) = AnomalyShapeNet(top).list_category("vase3").findings
    assert finding.path == category / name
    assert not finding.fatal
    assert len(AnomalyShapeNet(top).entries()) == 7


def test_missing_labels_make_a_category_unusable(top: Path, category: Path) -> None:
    path = category / "GT" / "vase3_concavity0.txt"
    path.unlink()
    with pytest.raises(ZeroflawError) as caught:
        AnomalyShapeNet(top).entries()
    assert str(caught.value).startswith(f"{path}: no such file, and so no labels")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,2,3", "3 numbers in a row; expected 4"),
        ("1,2,3,-1", "row 301: label -1; a label is 0 or 1"),
        ("1;2;3;1", "is not a number"),
    ],
)
def test_a_bad_row_of_labels_is_refused_with_file_and_place(
    top: Path, category: Path, row: str, words: str
) -> None:
    path = category / "GT" / "vase3_bulge0.txt"
    path.write_text(f"{path.read_text()}{row}\n")
    dataset = AnomalyShapeNet(top)
    with pytest.raises(ScanError) as caught:
        dataset.read(dataset.entries(split="test")[0])
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_labels_written_as_whole_numbers_or_floats_mean_the_same(top: Path, category: Path) -> None:
    path = category / "GT" / "vase3_bulge0.txt"
    dataset = AnomalyShapeNet(top)
    entry = dataset.entries(split="test")[0]
    before = dataset.read(entry).labels
    rows = [line.rsplit(",", 1) for line in path.read_text().split()]
    path.write_text("\r\n".join(f"{point}, {float(label):.0f}" for point, label in rows))
    after = dataset.read(entry).labels
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before, after)
