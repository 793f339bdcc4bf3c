"""Real3D-AD is read as it lies on disk; what does not fit is said with file, place and remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dataset_trees import part, real3d_ad_tree, write_label_rows, write_pcd
from zeroflaw.datasets.base import Finding
from zeroflaw.datasets.real3d_ad import CATEGORIES, Real3DAD
from zeroflaw.types import Bool, Float64, ScanError, ZeroflawError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One category with a good, a bulged and a sunk scan: 1_good, 2_bulge, 3_sink."""
    return real3d_ad_tree(tmp_path / "Real3D-AD", ["car"], scans=1, points=300)


def findings(root: Path, category: str = "car") -> tuple[Finding, ...]:
    return Real3DAD(root).list_category(category).findings


def only_finding(root: Path) -> Finding:
    (finding,) = findings(root)
    return finding


def complaint(root: Path) -> str:
    with pytest.raises(ZeroflawError) as caught:
        list(Real3DAD(root).select(split="test"))
    message = str(caught.value)
    assert "\n" not in message
    return message


def cloud(height: float = 0.16) -> tuple[Float64, Bool]:
    return part("car", height, 300, np.random.default_rng(7), one_sided=True)


def test_there_are_twelve_categories() -> None:
    assert len(CATEGORIES) == 12
    assert {"airplane", "candybar", "toffees"} <= set(CATEGORIES)


def test_scans_have_the_kind_and_split_of_their_place_and_name(root: Path) -> None:
    entries = Real3DAD(root).entries()
    assert [(e.name, e.split, e.kind) for e in entries] == [
        ("car/test/1_good", "test", "good"),
        ("car/test/2_bulge", "test", "bulge"),
        ("car/test/3_sink", "test", "sink"),
        *((f"car/train/{n}_template", "train", "good") for n in range(1, 5)),
    ]
    assert [[path.name for path in e.files] for e in entries[:3]] == [
        ["1_good.pcd"],
        ["2_bulge.pcd", "2_bulge.txt"],
        ["3_sink.pcd", "3_sink.txt"],
    ]


@pytest.mark.parametrize("suffix", ["_cut", "_copy", "_cut_copy", "_cut_1", " - copy", "2"])
def test_names_may_go_on_after_the_kind(root: Path, suffix: str) -> None:
    test = root / "car" / "test"
    (test / "1_good.pcd").rename(test / f"1_good{suffix}.pcd")
    assert findings(root) == ()
    assert Real3DAD(root).entries(split="test")[0].kind == "good"


def test_names_with_temp_are_no_test_scans(root: Path) -> None:
    test = root / "car" / "test"
    for name in ("9_good_temp", "temp9_bulge", "9_template"):
        shutil.copy(test / "1_good.pcd", test / f"{name}.pcd")
    assert findings(root) == ()
    assert len(Real3DAD(root).entries(split="test")) == 3


def test_points_and_labels_of_a_defective_scan_are_those_of_its_rows(root: Path) -> None:
    points, labels = cloud()
    write_label_rows(root / "car" / "gt" / "2_bulge.txt", points, labels)
    dataset = Real3DAD(root)
    scan = dataset.read(dataset.entries(split="test")[1])
    assert scan.labels is not None
    distance = np.linalg.norm(scan.points[:, None] - points, axis=2)
    nearest = distance.argmin(axis=1)
    assert sorted(nearest) == list(range(300))
    assert distance.min(axis=1).max() < 2e-4
    np.testing.assert_array_equal(scan.labels, labels[nearest])


def test_a_good_scan_has_the_points_of_its_pcd_and_no_defect(root: Path) -> None:
    points, _ = cloud(0.0)
    write_pcd(root / "car" / "test" / "1_good.pcd", points)
    dataset = Real3DAD(root)
    scan = dataset.read(dataset.entries(split="test")[0])
    assert scan.labels is not None
    assert not scan.labels.any()
    assert scan.source == root / "car" / "test" / "1_good.pcd"
    distance = np.linalg.norm(scan.points[:, None] - points, axis=2)
    assert sorted(distance.argmin(axis=1)) == list(range(300))
    assert distance.min(axis=1).max() < 2e-4


def test_other_numbers_of_rows_and_points_become_a_note(root: Path) -> None:
    points, labels = cloud()
    keep = np.flatnonzero(labels | (np.arange(300) > 40))
    write_label_rows(root / "car" / "gt" / "2_bulge.txt", points[keep], labels[keep])
    dataset = Real3DAD(root)
    scan = dataset.read(dataset.entries(split="test")[1])
    assert len(scan) == len(keep)
    (note,) = scan.notes
    assert f"2_bulge.txt has {len(keep)} rows, 2_bulge.pcd 300 points" in note


def test_equal_numbers_are_not_worth_a_note(root: Path) -> None:
    assert all(scan.notes == () for scan in Real3DAD(root).select())


def test_points_that_are_repeated_or_not_finite_are_left_out_with_a_note(root: Path) -> None:
    points, labels = cloud()
    rows = np.r_[np.arange(300), 5, 6]
    moved = points[rows]
    moved[9] = np.nan
    write_label_rows(root / "car" / "gt" / "2_bulge.txt", moved, labels[rows])
    dataset = Real3DAD(root)
    scan = dataset.read(dataset.entries(split="test")[1])
    assert len(scan) == 299
    assert any("1 points were not finite" in note for note in scan.notes)
    assert any("2 points lie where others do" in note for note in scan.notes)


@pytest.mark.parametrize("nested", [False, True])
def test_the_root_may_be_one_folder_above_the_categories(tmp_path: Path, nested: bool) -> None:
    real3d_ad_tree(tmp_path / "Real3D-AD-PCD" if nested else tmp_path, ["car", "duck"], 1, 100)
    (tmp_path / "readme.txt").write_text("about the data")
    (tmp_path / ".cache" / "car" / "test").mkdir(parents=True)
    dataset = Real3DAD(tmp_path)
    assert dataset.categories() == ("car", "duck")
    assert len(dataset.entries()) == 14


def test_two_folders_with_categories_are_told_apart_by_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        real3d_ad_tree(tmp_path / folder, ["car"], 1, 100)
    assert "a and b both hold categories of Real3D-AD; name one of them" in complaint(tmp_path)


def test_missing_labels_make_a_category_unusable(root: Path) -> None:
    path = root / "car" / "gt" / "3_sink.txt"
    path.unlink()
    finding = only_finding(root)
    assert finding.fatal
    assert finding.path == path
    assert "no labels of 3_sink.pcd" in str(finding)
    assert str(path) in complaint(root)


def test_a_category_without_a_test_scan_is_unusable(root: Path) -> None:
    (root / "duck").mkdir()
    assert Real3DAD(root).categories() == ("car", "duck")
    fatal = [finding for finding in findings(root, "duck") if finding.fatal]
    assert [finding.path for finding in fatal] == [root / "duck" / "test"]
    assert "holds no test scan; expected <n>_good" in complaint(root)
    assert len(Real3DAD(root).entries(["car"])) == 7


def test_missing_templates_are_said_but_hinder_no_test(root: Path) -> None:
    (root / "car" / "train" / "2_template.pcd").unlink()
    finding = only_finding(root)
    assert not finding.fatal
    assert "holds 3 of 4 templates" in str(finding)
    shutil.rmtree(root / "car" / "train")
    assert "holds 0 of 4 templates" in str(only_finding(root))
    assert len(Real3DAD(root).select(split="test")) == 3


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("test/4_dent.pcd", "expected <n>_good"),
        ("test/4_goods.pcd", "expected <n>_good"),
        ("test/good.pcd", "expected <n>_good"),
        ("test/4_good.ply", "expected <n>_good"),
        ("train/5_good.pcd", "expected <n>_template"),
        ("gt/4_bulge.pcd", "expected <name of a defective scan>.txt"),
        ("gt/4_bulge.txt", "labels of no scan in test/; add the scan or remove the file"),
        ("gt/1_good.txt", "labels of a good scan are not read; remove or rename"),
        ("notes.txt", "expected train, test, gt"),
        ("validation/1_good.pcd", "expected train, test, gt"),
    ],
)
def test_what_is_not_known_is_left_out_and_said(root: Path, place: str, words: str) -> None:
    before = Real3DAD(root).entries()
    path = root / "car" / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("0 0 0 0\n")
    finding = only_finding(root)
    assert not finding.fatal
    assert words in str(finding)
    assert str(finding).startswith(str(path if place[:5] != "valid" else path.parent))
    assert Real3DAD(root).entries() == before


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1 2 3", "3 numbers in a row; expected 4"),
        ("1 2 3 4 1", "5 numbers in a row; expected 4"),
        ("1,2,3,1", "is not a number"),
        ("1 2 3 2", "row 301: label 2; a label is 0 or 1"),
        ("1 2 3 0.5", "row 301: label 0.5; a label is 0 or 1"),
        ("1 2 3 nan", "row 301: label nan; a label is 0 or 1"),
        ("x y z label", "'x' is not a number"),
    ],
)
def test_a_bad_row_of_labels_is_refused_with_file_and_place(
    root: Path, row: str, words: str
) -> None:
    path = root / "car" / "gt" / "2_bulge.txt"
    path.write_text(f"{path.read_text()}{row}\n")
    message = complaint(root)
    assert message.startswith(f"{path}, ")
    assert " 301" in message
    assert words in message


def test_labels_that_mark_nothing_contradict_the_name(root: Path) -> None:
    points, labels = cloud()
    path = root / "car" / "gt" / "3_sink.txt"
    write_label_rows(path, points, np.zeros_like(labels))
    assert complaint(root).startswith(f"{path}: marks no point")


def test_a_cut_off_pcd_of_a_defective_scan_is_noticed(root: Path) -> None:
    path = root / "car" / "test" / "3_sink.pcd"
    path.write_bytes(path.read_bytes()[:-100])
    dataset = Real3DAD(root)
    with pytest.raises(ScanError, match=r"3_sink\.pcd.*cut off"):
        dataset.read(dataset.entries(split="test")[2])
