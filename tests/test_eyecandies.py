"""Eyecandies is read as published and as converted, or refused with file, place and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from organised_trees import (
    photograph,
    rendered,
    write_converted_eyecandies,
    write_eyecandies,
    write_png,
    write_tiff,
)
from zeroflaw.datasets import open_dataset
from zeroflaw.datasets.eyecandies import Eyecandies, back_projected, read_bounds
from zeroflaw.types import Scan, ScanError, ZeroflawError

CANDY = {"Confetto": "cap"}


def only(root: Path, name: str, remove_plane: bool = True) -> Scan:
    dataset = Eyecandies(root, remove_plane=remove_plane)
    (entry,) = (entry for entry in dataset.entries() if entry.name == name)
    return dataset.read(entry)


def test_it_is_opened_by_its_name(eyecandies_root: Path) -> None:
    dataset = open_dataset(["eyecandies", eyecandies_root])
    assert isinstance(dataset, Eyecandies)
    assert dataset.categories() == ("CandyCane", "Confetto", "LicoriceSandwich", "PeppermintCandy")


def test_its_folders_are_the_splits_and_names_have_any_digits(eyecandies_root: Path) -> None:
    entries = Eyecandies(eyecandies_root).entries(["Confetto"])
    assert [(entry.name, entry.split, entry.kind) for entry in entries] == [
        ("Confetto/test_public/00", "test", ""),
        ("Confetto/test_public/01", "test", ""),
        ("Confetto/test_public/02", "test", ""),
        ("Confetto/test_public/03", "test", ""),
        ("Confetto/train/000", "train", "good"),
        ("Confetto/train/001", "train", "good"),
        ("Confetto/val/000", "validation", "good"),
    ]


def test_private_scans_have_no_labels_and_are_left_out(tmp_path: Path) -> None:
    write_eyecandies(tmp_path, CANDY, private=3)
    listing = Eyecandies(tmp_path).list_category("Confetto")
    assert not [entry for entry in listing.entries if "private" in entry.name]
    (finding,) = listing.findings
    assert not finding.fatal
    assert finding.problem == "3 scans have no public labels"


def test_a_512_wide_picture_is_seen_by_the_published_camera() -> None:
    depth = np.full((512, 512), 2.0)
    depth[100, 400] = 3.0
    points = back_projected(depth)
    assert np.allclose(points[256, 256], (0, 0, 2.0))
    expected = ((400 - 256) / 711.11 * 3.0, (100 - 256) / 711.11 * 3.0, 3.0)
    assert np.allclose(points[100, 400], expected)


def test_a_smaller_picture_has_the_same_field_of_view() -> None:
    large, small = back_projected(np.ones((512, 512))), back_projected(np.ones((64, 64)))
    assert np.allclose(large[::8, ::8], small)


def test_depths_lie_between_the_bounds_and_labels_are_the_mask(tmp_path: Path) -> None:
    write_eyecandies(tmp_path, CANDY)
    scan = only(tmp_path, "Confetto/test_public/03", remove_plane=False)
    picture, (low, high), mask = rendered("cap", "dent", 203)
    assert scan.grid == picture.shape
    assert scan.labels is not None
    assert np.allclose(scan.points[:, 2], (picture / 65535.0 * (high - low) + low).reshape(-1))
    assert scan.points[:, 2].min() == pytest.approx(low)
    assert scan.points[:, 2].max() == pytest.approx(high)
    assert np.array_equal(scan.labels, mask.reshape(-1))


def test_the_floor_and_the_wall_are_left_out_unless_one_wants_them(eyecandies_root: Path) -> None:
    for name in ("CandyCane", "Confetto", "LicoriceSandwich", "PeppermintCandy"):
        scan = only(eyecandies_root, f"{name}/test_public/01")
        whole = only(eyecandies_root, f"{name}/test_public/01", remove_plane=False)
        assert scan.valid is not None
        assert scan.grid is not None
        assert len(whole) == scan.grid[0] * scan.grid[1]
        rows, columns = np.divmod(np.flatnonzero(scan.valid), scan.grid[1])
        assert min(rows.min(), columns.min()) > 8
        assert max(rows.max(), columns.max()) < 60
        assert scan.labels is not None
        assert whole.labels is not None
        assert scan.labels.sum() > 0.9 * whole.labels.sum() > 0


def test_a_defective_scan_whose_marks_are_all_background_is_refused(tmp_path: Path) -> None:
    root = write_eyecandies(tmp_path, CANDY, train=1, test=1)
    mask = np.zeros((64, 64), np.uint8)
    mask[-3:, :5] = 255
    write_png(root / "Confetto" / "test_public" / "data" / "00_mask.png", mask)
    dataset = Eyecandies(root)
    (entry,) = dataset.entries(split="test")
    with pytest.raises(ScanError, match=r"00_depth\.png: all points labelled .* count as good"):
        dataset.read(entry)
    whole = Eyecandies(root, remove_plane=False).read(entry)
    assert whole.labels is not None
    assert whole.labels.sum() == 15


@pytest.mark.parametrize(
    "text",
    [
        "normalization:\n  max: 2.5\n  min: 0.25\n",
        "normalization: {max: 2.5, min: 0.25}\n",
        "min: 0.25  # metres\nmax: 2.5\n",
        '{"normalization": {"min": 2.5e-1, "max": 25.0e-1}}\n',
        "other:\n  maximum: 9\n  a-min: 9\nnormalization:\n  'min': .25\n  'max': 2.5\n",
    ],
)
def test_bounds_are_found_however_the_yaml_is_laid_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "000_info_depth.yaml"
    path.write_text(text)
    assert read_bounds(path) == (0.25, 2.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("normalization:\n  max: 2.5\n", "does not name min"),
        ("a: 1\nmin: far\nmax: 2\n", "line 2: min is 'far'"),
        ("min: 1\nmax: .nan\n", "line 2: max is '.nan'"),
        ("min: -1\nmax: 2\n", "line 1: min is '-1'"),
        ("min: 1\nmax: 2\nmin: 1\n", "line 3: min is named twice"),
        ("min: 3\nmax: 2\n", "min 3 is not below max 2"),
        ("min: 2\nmax: 2\n", "min 2 is not below max 2"),
        ("!!python/object/apply:os.system ['true']\n", "does not name min"),
    ],
)
def test_bounds_that_are_none_are_refused_with_the_line(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "000_info_depth.yaml"
    path.write_text(text)
    with pytest.raises(ScanError) as caught:
        read_bounds(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((64, 64), np.uint8), "its picture is uint8, 64 × 64"),
        (np.zeros((64, 32), np.uint16), "its picture is uint16, 64 × 32"),
        (np.zeros((64, 64, 3), np.uint8), "its picture is uint8, 64 × 64 × 3"),
    ],
)
def test_a_picture_of_no_depths_is_refused(
    tmp_path: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint16]], words: str
) -> None:
    write_eyecandies(tmp_path, CANDY)
    write_png(tmp_path / "Confetto" / "train" / "data" / "000_depth.png", picture)
    with pytest.raises(ScanError, match=words):
        only(tmp_path, "Confetto/train/000")


@pytest.mark.parametrize(
    "gone",
    ["train/data/001_info_depth.yaml", "test_public/data/02_mask.png", "val/data/000_depth.png"],
)
def test_a_missing_file_makes_the_category_unusable(tmp_path: Path, gone: str) -> None:
    write_eyecandies(tmp_path, CANDY)
    (tmp_path / "Confetto" / gone).unlink()
    with pytest.raises(ZeroflawError) as caught:
        Eyecandies(tmp_path).entries()
    assert Path(gone).parent.name in str(caught.value)
    assert "unpack the archive again" in str(caught.value)


def test_a_missing_split_is_worth_knowing(tmp_path: Path) -> None:
    write_eyecandies(tmp_path, CANDY)
    (tmp_path / "Confetto" / "val").rename(tmp_path / "Confetto" / "later")
    (finding,) = Eyecandies(tmp_path).list_category("Confetto").findings
    assert not finding.fatal
    assert finding.problem == "there are no scans of split validation"
    assert len(Eyecandies(tmp_path).entries()) == 6


def test_the_converted_tree_is_recognised_and_both_may_lie_side_by_side(tmp_path: Path) -> None:
    write_converted_eyecandies(tmp_path, {"CandyCane": "bar"})
    write_eyecandies(tmp_path, CANDY)
    dataset = Eyecandies(tmp_path)
    assert dataset.categories() == ("CandyCane", "Confetto")
    assert dataset.list_category("CandyCane").findings == ()
    entries = dataset.entries(["CandyCane"])
    assert [(entry.name, entry.split, entry.kind) for entry in entries] == [
        ("CandyCane/test/bad/000", "test", "bad"),
        ("CandyCane/test/bad/001", "test", "bad"),
        ("CandyCane/test/good/000", "test", "good"),
        ("CandyCane/test/good/001", "test", "good"),
        ("CandyCane/train/good/000", "train", "good"),
        ("CandyCane/train/good/001", "train", "good"),
    ]


def test_the_place_that_converted_backgrounds_share_is_not_measured(tmp_path: Path) -> None:
    write_converted_eyecandies(tmp_path, CANDY)
    scan = only(tmp_path, "Confetto/test/bad/000")
    assert scan.grid == (64, 64)
    assert scan.valid is not None
    assert len(scan.valid) == 64 * 64
    assert 600 < len(scan) < 1200
    assert len(np.unique(scan.points, axis=0)) == len(scan)
    assert scan.labels is not None
    assert scan.labels.any()


def test_labelled_pixels_of_a_converted_background_are_counted(tmp_path: Path) -> None:
    write_converted_eyecandies(tmp_path, CANDY)
    bad = tmp_path / "Confetto" / "test" / "bad"
    mask = np.zeros((64, 64), np.uint8)
    mask[30:34, 30:34] = 255
    mask[0, :5] = 255
    write_png(bad / "gt" / "000.png", mask)
    points = tifffile.imread(bad / "xyz" / "000.tiff")
    points[0, :5] = points[1, 0]  # none of these is a hole
    points[30:34, 30:34, 2] += 1e-6
    write_tiff(bad / "xyz" / "000.tiff", points)
    scan = only(tmp_path, "Confetto/test/bad/000")
    assert scan.labels is not None
    assert scan.labels.sum() == 16
    assert scan.notes == ("5 of 21 points labelled defective are background",)


def test_a_converted_scan_of_nothing_but_background_is_refused(tmp_path: Path) -> None:
    write_converted_eyecandies(tmp_path, CANDY)
    path = tmp_path / "Confetto" / "train" / "good" / "xyz" / "000.tiff"
    points = np.broadcast_to(np.array((0.0, 0.013, -0.002)), (64, 64, 3)).copy()
    points[0, :31] += np.random.default_rng(0).random((31, 3))
    write_tiff(path, points)
    with pytest.raises(ScanError, match="points share one place; convert the scan again"):
        only(tmp_path, "Confetto/train/good/000")


def test_a_converted_tree_with_its_background_loses_it(tmp_path: Path) -> None:
    write_converted_eyecandies(tmp_path, CANDY)
    path = tmp_path / "Confetto" / "train" / "good" / "xyz" / "000.tiff"
    part = only(tmp_path, "Confetto/train/good/000")
    points = tifffile.imread(path)
    empty = np.all(points == points[0, 0], axis=2)
    rows, columns = np.nonzero(empty)
    floor = np.c_[(columns - 32) * 0.12 / 64, (rows - 32) * 0.12 / 64, np.full(len(rows), 0.5)]
    points[empty] = floor + (0, 0, 1) * (0.05 * floor[:, :1] - 0.08 * floor[:, 1:2])
    write_tiff(path, points)
    scan = only(tmp_path, "Confetto/train/good/000")
    assert len(scan) < 0.5 * np.count_nonzero(points.any(axis=2))
    assert abs(len(scan) - len(part)) < 0.1 * len(part)


def test_points_have_the_colours_of_the_picture_that_the_conversion_takes(tmp_path: Path) -> None:
    write_eyecandies(tmp_path, CANDY)
    scan = only(tmp_path, "Confetto/test_public/03")
    assert scan.valid is not None
    assert scan.colors is not None
    assert np.array_equal(scan.colors, photograph(203).reshape(-1, 3)[scan.valid])
    (tmp_path / "Confetto" / "test_public" / "data" / "03_image_4.png").unlink()
    assert only(tmp_path, "Confetto/test_public/03").colors is None


def test_a_converted_scan_keeps_the_colours_of_what_is_left(tmp_path: Path) -> None:
    write_converted_eyecandies(tmp_path, CANDY)
    scan = only(tmp_path, "Confetto/test/bad/000")
    assert scan.valid is not None
    assert scan.colors is not None
    assert np.array_equal(scan.colors, photograph(200).reshape(-1, 3)[scan.valid])
