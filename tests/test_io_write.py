"""Writers: what they write reads back, appears whole or not at all, and says what was found."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies

from scan_files import cloud
from zeroflaw.io import WRITERS, read, write_scan
from zeroflaw.io.colors import heat, viridis
from zeroflaw.types import Inspection, Region, Scan, ZeroflawError

POINTS = cloud(80)
MAP = POINTS / 3 + (500_000.0, 5_900_000.0, 120.0)
SCORES = np.linspace(0, 1, 80).astype(np.float32)


def inspection(points: np.ndarray = POINTS, **parts: object) -> Inspection:
    index = np.arange(60, 80)
    box = points[index]
    region = Region(
        index=index,
        center=box.mean(axis=0),
        extent=np.ptp(box, axis=0),
        size=float(np.linalg.norm(np.ptp(box, axis=0))),
        area_share=0.25,
        peak=1.0,
        mean=0.9,
        kind="dent",
        kind_probability=0.75,
        height=-0.5,
        area=3.0,
    )
    scan = Scan(points, **parts)  # type: ignore[arg-type]
    return Inspection(scan, 0.8, SCORES, (region,), 0.5, "compact", seconds=1.5, notes=("a note",))


@pytest.mark.parametrize("points", [POINTS, MAP, POINTS / 3], ids=["exact", "map", "thirds"])
def test_a_scan_comes_back_bit_for_bit(tmp_path: Path, points: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(80, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    scan = Scan(
        points,
        normals=normals.astype(np.float32),
        colors=rng.integers(0, 256, (80, 3)).astype(np.uint8),
        labels=rng.random(80) < 0.3,
    )
    write_scan(tmp_path / "scan.ply", scan)
    back = read(tmp_path / "scan.ply")
    np.testing.assert_array_equal(back.points, points)
    assert back.normals is not None
    assert scan.normals is not None
    np.testing.assert_allclose(back.normals, scan.normals, atol=1e-6)
    np.testing.assert_array_equal(back.colors, scan.colors)
    np.testing.assert_array_equal(back.labels, scan.labels)


def test_labels_of_a_good_scan_come_back_as_labels(tmp_path: Path) -> None:
    write_scan(tmp_path / "good.ply", Scan(POINTS, labels=np.zeros(80, dtype=bool)))
    labels = read(tmp_path / "good.ply").labels
    assert labels is not None
    assert not labels.any()


def test_coordinates_are_single_precision_only_where_that_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "scores.ply"
    for points, kind in ((POINTS, b"float x"), (POINTS / 3, b"float x"), (MAP, b"double x")):
        WRITERS[".ply"](path, inspection(points))
        assert b"property " + kind in path.read_bytes()
        np.testing.assert_allclose(read(path).points, points, rtol=0, atol=1e-5)


def test_the_coloured_scan_has_scores_and_viridis_colours(tmp_path: Path) -> None:
    path = tmp_path / "scores.ply"
    WRITERS[".ply"](path, inspection())
    head, _, rows = path.read_bytes().partition(b"end_header\n")
    assert b"property float score" in head
    dtype = [("xyz", "<f4", 3), ("rgb", "u1", 3), ("score", "<f4")]
    table = np.frombuffer(rows, dtype=dtype)
    np.testing.assert_array_equal(table["score"], SCORES)
    np.testing.assert_array_equal(table["rgb"], heat(SCORES, inspection().point_threshold))
    assert table["rgb"][0].tolist() == [68, 1, 84]
    assert table["rgb"][-1].tolist() == [253, 231, 37]


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_tables_read_back_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores{suffix}"
    WRITERS[suffix](path, inspection(MAP))
    np.testing.assert_array_equal(read(path).points, MAP)


def test_the_table_has_a_row_per_point(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    WRITERS[".csv"](path, inspection())
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["x", "y", "z", "score", "region"]
    assert [int(row["region"]) for row in rows] == [0] * 60 + [1] * 20
    np.testing.assert_allclose([float(row["score"]) for row in rows], SCORES, rtol=1e-5)


def test_the_archive_keeps_scores_and_the_grid(tmp_path: Path) -> None:
    valid = np.ones(100, dtype=bool)
    valid[:20] = False
    path = tmp_path / "scores.npz"
    WRITERS[".npz"](path, inspection(grid=(10, 10), valid=valid, labels=SCORES > 0.5))
    scan = read(path)
    assert scan.grid == (10, 10)
    np.testing.assert_array_equal(scan.valid, valid)
    np.testing.assert_array_equal(scan.labels, SCORES > 0.5)
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["point_scores"], SCORES)
        assert arrays["score"] == 0.8
        assert arrays["region_kind"].tolist() == ["dent"]
        assert arrays["region_height"].tolist() == [-0.5]
        assert arrays["region_area"].tolist() == [3.0]


def test_what_is_not_known_of_a_region_is_null_nan_or_empty(tmp_path: Path) -> None:
    found = inspection()
    bare = replace(found.regions[0], kind=None, kind_probability=None, height=None, area=None)
    found = replace(found, regions=(bare, bare))
    WRITERS[".json"](tmp_path / "found.json", found)
    region = json.loads((tmp_path / "found.json").read_text())["regions"][0]
    names = ("kind", "kind_probability", "height", "area")
    assert [region[name] for name in names] == [None] * 4
    WRITERS[".npz"](tmp_path / "found.npz", found)
    with np.load(tmp_path / "found.npz") as arrays:
        assert arrays["region_kind"].tolist() == ["", ""]
        for name in ("kind_probability", "height", "area"):
            assert np.isnan(arrays[f"region_{name}"]).all()


def test_the_json_says_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    found = inspection()
    scan = replace(found.scan, source=Path("Teil-ü.ply"), dropped=3)
    WRITERS[".json"](path, replace(found, scan=scan))
    text = path.read_text(encoding="utf-8")
    result = json.loads(text)
    assert "Teil-ü.ply" in text
    assert result["score"] == 0.8
    assert result["defective"] is True
    assert result["points"] == 80
    assert result["dropped"] == 3
    assert result["notes"] == ["a note"]
    (region,) = result["regions"]
    assert region["points"] == 20
    assert region["area_share"] == 0.25
    assert (region["kind"], region["kind_probability"]) == ("dent", 0.75)
    assert (region["height"], region["area"]) == (-0.5, 3.0)
    assert result["prompt"] is None
    assert len(region["center"]) == len(region["extent"]) == 3


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_the_same_result_is_written_the_same_whatever_the_time(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    WRITERS[suffix](first, inspection())
    WRITERS[suffix](second, replace(inspection(), seconds=99.0))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_a_missing_folder_is_an_error(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ZeroflawError, match="cannot be written"):
        WRITERS[suffix](tmp_path / "none" / f"a{suffix}", inspection())


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_an_interrupted_writer_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        WRITERS[suffix](path, inspection())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    writer: Callable[[Path, Inspection], None] = WRITERS[".ply"]
    with pytest.raises(ZeroflawError, match="No space left on device"):
        writer(tmp_path / "a.ply", inspection())
    assert not list(tmp_path.iterdir())


@given(threshold=strategies.floats(0.001, 0.999))
def test_the_middle_of_the_scale_is_the_threshold_and_its_ends_are_those_of_scores(
    threshold: float,
) -> None:
    scores = np.array([0.0, threshold, 1.0], np.float32)
    middle = viridis(np.array([0.0, 0.5, 1.0], np.float32)).astype(int)
    assert np.abs(heat(scores, threshold).astype(int) - middle).max() <= 3
    rising = np.linspace(0, 1, 200, dtype=np.float32)
    red_and_green = heat(rising, threshold)[:, 1].astype(int)
    assert (np.diff(red_and_green) >= 0).all()
