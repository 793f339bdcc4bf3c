"""MVTec 3D-AD is read as it lies on disk, or refused with the file, the place and the remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

import zeroflaw
from organised_trees import organised_scan, photograph, write_mvtec_3d_ad, write_png, write_tiff
from zeroflaw.datasets import open_dataset
from zeroflaw.datasets.base import Finding
from zeroflaw.datasets.mvtec_3d_ad import MVTec3DAD
from zeroflaw.types import Scan, ScanError, ZeroflawError


def opened(root: Path, remove_plane: bool = True) -> MVTec3DAD:
    return MVTec3DAD(root, remove_plane=remove_plane)


def only(root: Path, name: str, remove_plane: bool = True) -> Scan:
    dataset = opened(root, remove_plane)
    (entry,) = (entry for entry in dataset.entries() if entry.name == name)
    return dataset.read(entry)


def findings(root: Path, category: str = "bagel") -> tuple[Finding, ...]:
    return opened(root).list_category(category).findings


def test_it_is_opened_by_its_name(mvtec_3d_ad_root: Path) -> None:
    dataset = open_dataset(["mvtec_3d_ad", mvtec_3d_ad_root])
    assert isinstance(dataset, MVTec3DAD)
    assert dataset.categories() == ("bagel", "carrot", "cookie", "dowel")


def test_splits_and_kinds_are_those_of_the_folders(mvtec_3d_ad_root: Path) -> None:
    shutil.copytree(
        mvtec_3d_ad_root / "bagel" / "test" / "dent",
        mvtec_3d_ad_root / "bagel" / "test" / "combined",
    )
    entries = opened(mvtec_3d_ad_root).entries(["bagel"])
    assert [(entry.name, entry.split, entry.kind) for entry in entries] == [
        ("bagel/test/bump/000", "test", "bump"),
        ("bagel/test/bump/001", "test", "bump"),
        ("bagel/test/combined/000", "test", "combined"),
        ("bagel/test/combined/001", "test", "combined"),
        ("bagel/test/dent/000", "test", "dent"),
        ("bagel/test/dent/001", "test", "dent"),
        ("bagel/test/good/000", "test", "good"),
        ("bagel/test/good/001", "test", "good"),
        ("bagel/train/good/000", "train", "good"),
        ("bagel/train/good/001", "train", "good"),
        ("bagel/validation/good/000", "validation", "good"),
    ]


def test_points_and_labels_are_those_of_the_measured_pixels(mvtec_3d_ad_root: Path) -> None:
    scan = only(mvtec_3d_ad_root, "cookie/test/dent/001", remove_plane=False)
    points, mask = organised_scan("cap", "dent", 2401)
    measured = points.reshape(-1, 3).any(axis=1)
    assert scan.valid is not None
    assert scan.labels is not None
    assert scan.grid == mask.shape
    assert np.array_equal(scan.valid, measured)
    assert np.array_equal(scan.points, points.reshape(-1, 3)[measured])
    assert np.array_equal(scan.labels, mask.reshape(-1)[measured])
    lost = mask.sum() - scan.labels.sum()
    assert lost > 0
    assert scan.notes == (f"{lost} of {mask.sum()} pixels labelled defective hold no point",)


def test_the_plane_is_left_out_unless_one_wants_it(mvtec_3d_ad_root: Path) -> None:
    name = "cookie/test/bump/000"
    whole, part = only(mvtec_3d_ad_root, name, remove_plane=False), only(mvtec_3d_ad_root, name)
    assert part.valid is not None
    assert whole.valid is not None
    assert len(part.valid) == len(whole.valid)
    kept = part.valid[whole.valid]
    assert np.array_equal(whole.points[kept], part.points)
    across, down, depth = part.points.T
    assert (0.5 + 0.05 * across - 0.08 * down - depth).min() > 0.0047
    assert part.notes == whole.notes
    hashes = {
        opened(mvtec_3d_ad_root, choice).select(["cookie"]).content_hash()
        for choice in (True, False)
    }
    assert len(hashes) == 2


def test_labelled_points_that_go_with_the_plane_are_counted(mvtec_3d_ad_root: Path) -> None:
    path = mvtec_3d_ad_root / "cookie" / "test" / "bump" / "gt" / "000.png"
    _, mask = organised_scan("cap", "bump", 2300)
    mask[0] = True
    write_png(path, mask.astype(np.uint8) * 255)
    whole = only(mvtec_3d_ad_root, "cookie/test/bump/000", remove_plane=False)
    part = only(mvtec_3d_ad_root, "cookie/test/bump/000")
    assert whole.labels is not None
    assert part.labels is not None
    gone = whole.labels.sum() - part.labels.sum()
    assert gone > 50
    said = f"{gone} of {whole.labels.sum()} points labelled defective were left out with the plane"
    assert said in part.notes


def test_a_tree_whose_planes_are_gone_already_is_read_as_it_is(tmp_path: Path) -> None:
    write_mvtec_3d_ad(tmp_path, {"bagel": "ring"})
    path = tmp_path / "bagel" / "train" / "good" / "xyz" / "000.tiff"
    points = tifffile.imread(path)
    plane = points[..., 2] > 0.494 + 0.05 * points[..., 0] - 0.08 * points[..., 1]
    points[plane] = 0
    write_tiff(path, points)
    scan = only(tmp_path, "bagel/train/good/000")
    assert len(scan) == np.count_nonzero(points.any(axis=2))
    assert scan.notes == ("no plane was left out: nothing is measured at the border",)


def test_a_good_scan_may_have_an_empty_mask_but_no_other(mvtec_3d_ad_root: Path) -> None:
    path = mvtec_3d_ad_root / "bagel" / "test" / "good" / "gt" / "000.png"
    mask = np.zeros((64, 64), np.uint8)
    write_png(path, mask)
    labels = only(mvtec_3d_ad_root, "bagel/test/good/000").labels
    assert labels is not None
    assert not labels.any()
    mask[30:32, 30] = 255
    write_png(path, mask)
    with pytest.raises(ScanError, match="marks 2 pixels as defective below a folder called `good`"):
        only(mvtec_3d_ad_root, "bagel/test/good/000")


def test_a_mask_that_marks_nothing_is_said(mvtec_3d_ad_root: Path) -> None:
    write_png(
        mvtec_3d_ad_root / "bagel" / "test" / "dent" / "gt" / "000.png",
        np.zeros((64, 64), np.uint8),
    )
    scan = only(mvtec_3d_ad_root, "bagel/test/dent/000")
    assert "its mask marks nothing, though it lies below `dent`" in scan.notes


GRAY = np.zeros((64, 64), np.uint8)
GRAY[3, 5] = 128
COLOURED = np.zeros((64, 64, 3), np.uint8)
COLOURED[3, 5, 0] = 255


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((32, 64), np.uint8), "has 32 × 64 pixels, its scan 64 × 64"),
        (GRAY, "row 3, column 5: value 128; a mask holds 0 and 255 alone"),
        (COLOURED, "is a coloured picture"),
    ],
)
def test_a_mask_that_is_none_is_refused(
    mvtec_3d_ad_root: Path, mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], words: str
) -> None:
    path = mvtec_3d_ad_root / "bagel" / "test" / "dent" / "gt" / "000.png"
    write_png(path, mask)
    with pytest.raises(ScanError) as caught:
        only(mvtec_3d_ad_root, "bagel/test/dent/000")
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["1", "L", "P", "RGB", "RGBA"])
def test_masks_may_be_stored_in_any_way_that_says_the_same(
    mvtec_3d_ad_root: Path, kind: str
) -> None:
    from PIL import Image

    before = only(mvtec_3d_ad_root, "bagel/test/dent/000")
    path = mvtec_3d_ad_root / "bagel" / "test" / "dent" / "gt" / "000.png"
    with Image.open(path) as mask:
        mask.convert(kind).save(path)
    after = only(mvtec_3d_ad_root, "bagel/test/dent/000")
    assert before.labels is not None
    assert after.labels is not None
    assert np.array_equal(before.labels, after.labels)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("test/dent/gt/001.png", "no such mask"),
        ("test/dent/xyz/001.tiff", "no such scan"),
        ("train/good/xyz/000.tiff", "no such scan"),
    ],
)
def test_a_missing_scan_or_mask_makes_the_category_unusable(
    mvtec_3d_ad_root: Path, gone: str, words: str
) -> None:
    path = mvtec_3d_ad_root / "bagel" / gone
    path.unlink()
    (finding,) = findings(mvtec_3d_ad_root)
    assert finding.fatal
    assert (finding.path, finding.category) == (path, "bagel")
    assert words in finding.problem
    with pytest.raises(ZeroflawError, match=words):
        opened(mvtec_3d_ad_root).entries()
    assert opened(mvtec_3d_ad_root).entries(["cookie"])


def test_an_empty_folder_makes_the_category_unusable(mvtec_3d_ad_root: Path) -> None:
    for path in (mvtec_3d_ad_root / "bagel" / "test" / "dent" / "xyz").iterdir():
        path.unlink()
    assert [finding.problem for finding in findings(mvtec_3d_ad_root)] == ["holds no scan (.tiff)"]
    assert findings(mvtec_3d_ad_root)[0].fatal


def test_a_missing_split_and_flaws_outside_the_test_are_worth_knowing(
    mvtec_3d_ad_root: Path,
) -> None:
    bagel = mvtec_3d_ad_root / "bagel"
    shutil.rmtree(bagel / "validation")
    shutil.move(bagel / "test" / "dent", bagel / "train" / "dent")
    found = findings(mvtec_3d_ad_root)
    assert [(finding.path, finding.fatal) for finding in found] == [
        (bagel / "train" / "dent", False),
        (bagel / "validation", False),
    ]
    assert len(opened(mvtec_3d_ad_root).entries(["bagel"], "train")) == 4


def test_a_folder_of_something_else_is_refused_with_the_layout(tmp_path: Path) -> None:
    (tmp_path / "photos" / "test").mkdir(parents=True)
    with pytest.raises(ZeroflawError, match=r"holds no category; expected <category>/\{train"):
        opened(tmp_path).categories()


def test_points_have_the_colours_of_their_pixels_in_the_photograph(mvtec_3d_ad_root: Path) -> None:
    for remove_plane in (False, True):
        scan = only(mvtec_3d_ad_root, "cookie/test/dent/001", remove_plane)
        assert scan.valid is not None
        assert scan.colors is not None
        assert np.array_equal(scan.colors, photograph(2401).reshape(-1, 3)[scan.valid])


def test_a_scan_without_a_photograph_has_no_colours(mvtec_3d_ad_root: Path) -> None:
    entries = opened(mvtec_3d_ad_root).select(["cookie"])
    before = entries.content_hash()
    (mvtec_3d_ad_root / "cookie" / "test" / "dent" / "rgb" / "001.png").unlink()
    assert only(mvtec_3d_ad_root, "cookie/test/dent/001").colors is None
    assert only(mvtec_3d_ad_root, "cookie/test/dent/000").colors is not None
    assert findings(mvtec_3d_ad_root, "cookie") == ()
    assert opened(mvtec_3d_ad_root).select(["cookie"]).content_hash() != before


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (photograph(0)[:32], "has 32 × 64 pixels, its scan 64 × 64"),
        (np.zeros((64, 64), np.uint16), "its pixels are uint16"),
    ],
)
def test_a_photograph_that_does_not_fit_its_scan_is_refused(
    mvtec_3d_ad_root: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], words: str
) -> None:
    write_png(mvtec_3d_ad_root / "bagel" / "test" / "dent" / "rgb" / "000.png", picture)
    with pytest.raises(ScanError, match=words) as caught:
        only(mvtec_3d_ad_root, "bagel/test/dent/000")
    assert "000.png" in str(caught.value)


def test_a_scan_read_by_its_path_finds_its_photograph_too(mvtec_3d_ad_root: Path) -> None:
    path = mvtec_3d_ad_root / "bagel" / "test" / "dent" / "xyz" / "000.tiff"
    scan = zeroflaw.read(path)
    whole = only(mvtec_3d_ad_root, "bagel/test/dent/000", remove_plane=False)
    assert scan.colors is not None
    assert whole.colors is not None
    assert np.array_equal(scan.colors, whole.colors)
    assert "its colours are from 000.png" in scan.notes
    alone = path.parents[2] / "alone" / "000.tiff"
    alone.parent.mkdir()
    shutil.copy(path, alone)
    assert zeroflaw.read(alone).colors is None
    write_png(alone.with_suffix(".png"), photograph(7))
    beside = zeroflaw.read(alone)
    assert beside.colors is not None
    assert set(beside.colors[:, 2]) == {7}


def test_a_picture_of_another_size_beside_a_scan_is_left_out_with_a_note(
    mvtec_3d_ad_root: Path,
) -> None:
    path = mvtec_3d_ad_root / "bagel" / "test" / "dent" / "xyz" / "000.tiff"
    path.with_suffix(".png").write_bytes(b"no picture")
    scan = zeroflaw.read(path)
    assert scan.colors is None
    (note,) = (note for note in scan.notes if "000.png" in note)
    assert "was left out: cannot be read as PNG" in note
