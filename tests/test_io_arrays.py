"""Arrays in memory, NPY, NPZ and organised TIFF."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from scan_files import cloud, npy
from zeroflaw.io import read, scan_from_array
from zeroflaw.types import Scan, ScanError

POINTS = cloud()


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "i2", "f2"])
def test_arrays_of_any_number_type(dtype: str) -> None:
    points = np.rint(POINTS) if dtype in ("i2", "f2") else POINTS
    scan = scan_from_array(points.astype(dtype))
    assert scan.points.dtype == np.float64
    np.testing.assert_array_equal(scan.points, points)
    assert scan.source is None


def test_points_far_apart_and_out_of_the_ordinary_are_looked_at_one_by_one() -> None:
    line = np.zeros((50_000, 3))
    line[:, 0] = np.arange(50_000)
    with pytest.raises(ScanError, match="one line"):
        scan_from_array(line)
    line[1::5000, 1] = 700  # off the line, though not among the few that are looked at first
    assert len(scan_from_array(line)) == 50_000
    far = np.tile(POINTS, (1000, 1)) + 5e10  # together beyond what the quick check is sure of
    assert len(scan_from_array(far)) == 60_000
    far[77, 1] = 2e12
    with pytest.raises(ScanError, match="coordinates reach 2e\\+12"):
        scan_from_array(far)


def test_the_array_is_copied() -> None:
    points = POINTS.copy()
    scan = scan_from_array(points)
    points[:] = 0
    np.testing.assert_array_equal(scan.points, POINTS)


def test_an_organised_array_keeps_its_grid() -> None:
    grid = POINTS.reshape(6, 10, 3).copy()
    grid[2, 3] = np.nan
    scan = scan_from_array(grid)
    assert scan.grid == (6, 10)
    assert scan.valid is not None
    assert np.flatnonzero(~scan.valid).tolist() == [23]


def test_further_columns_are_left_out_with_a_note() -> None:
    scan = scan_from_array(np.column_stack([POINTS, np.ones(60)]))
    np.testing.assert_array_equal(scan.points, POINTS)
    assert any("4 columns" in note for note in scan.notes)


BAD_ARRAYS = [
    (POINTS.T, "3 × 60; transpose"),
    (POINTS[:, :2], "60 × 2"),
    (POINTS.ravel(), "shape 180"),
    (np.zeros((2, 5, 6, 3)), "2 × 5 × 6 × 3"),
    (np.zeros((5, 6, 4)), "5 × 6 × 4"),
    (np.float64(3), "a single number"),
    (np.full((60, 3), "1"), "not numbers"),
    (POINTS.astype(object), "not numbers"),
    (POINTS + 1j, "not numbers"),
    ([[1, 2, 3], [4, 5]], "differ in length"),
    (np.empty((0, 3)), "no points"),
]


@pytest.mark.parametrize(("array", "said"), BAD_ARRAYS)
def test_other_arrays_are_an_error(array: NDArray[np.generic], said: str) -> None:
    with pytest.raises(ScanError, match=said) as caught:
        scan_from_array(array)
    assert str(caught.value).startswith("scan in memory")


def npy_of(tmp_path: Path, array: NDArray[np.generic]) -> Scan:
    np.save(tmp_path / "part.npy", array)
    return read(tmp_path / "part.npy")


def test_npy_in_column_order_and_with_named_fields(tmp_path: Path) -> None:
    np.testing.assert_array_equal(npy_of(tmp_path, np.asfortranarray(POINTS)).points, POINTS)
    rows = np.zeros(60, dtype=[("label", "u1"), ("z", "f4"), ("y", "f8"), ("x", "f8")])
    rows["x"], rows["y"], rows["z"] = POINTS.T
    rows["label"][7] = 1
    scan = npy_of(tmp_path, rows)
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.labels is not None
    assert np.flatnonzero(scan.labels).tolist() == [7]


def test_npy_that_promises_10_to_the_12_points_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "part.npy"
    content = npy(POINTS)
    assert b"(60, 3), }            " in content
    path.write_bytes(content.replace(b"(60, 3), }            ", b"(1000000000000, 3), } "))
    with pytest.raises(ScanError, match="promises 3000000000000 values"):
        read(path)


def test_npy_of_python_objects_is_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "part.npy", POINTS.astype(object), allow_pickle=True)
    with pytest.raises(ScanError, match="not numbers"):
        read(tmp_path / "part.npy")


def npz_of(tmp_path: Path, **arrays: object) -> Scan:
    np.savez(tmp_path / "part.npz", **arrays)  # type: ignore[arg-type]
    return read(tmp_path / "part.npz")


def test_npz_with_all_that_a_scan_has(tmp_path: Path) -> None:
    colors = np.arange(180, dtype=np.uint8).reshape(60, 3)
    valid = np.ones(80, dtype=bool)
    valid[10:30] = False
    scan = npz_of(
        tmp_path,
        points=POINTS,
        normals=np.tile([0, 2, 0], (60, 1)),
        colors=colors,
        labels=np.arange(60) == 3,
        grid=np.array([8, 10]),
        valid=valid,
        remark=np.array("text is ignored"),
    )
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.normals is not None
    assert scan.colors is not None
    assert scan.labels is not None
    assert scan.valid is not None
    np.testing.assert_array_equal(scan.normals[0], [0, 1, 0])
    np.testing.assert_array_equal(scan.colors, colors)
    assert np.flatnonzero(scan.labels).tolist() == [3]
    assert scan.grid == (8, 10)
    np.testing.assert_array_equal(scan.valid, valid)


def test_npz_with_one_array_of_any_name(tmp_path: Path) -> None:
    np.testing.assert_array_equal(npz_of(tmp_path, part=POINTS).points, POINTS)


BAD_ARCHIVES = [
    ({"a": POINTS, "b": POINTS}, "its arrays are a, b; expected one called points"),
    ({"points": POINTS, "labels": np.zeros(59)}, "labels is float64 of shape"),
    ({"points": POINTS, "colors": POINTS}, "colors is float64"),
    ({"points": POINTS, "valid": np.ones(59, dtype=bool)}, "valid and grid do not fit"),
    ({"remark": np.array("no numbers")}, "its arrays are none"),
]


@pytest.mark.parametrize(("arrays", "said"), BAD_ARCHIVES)
def test_npz_that_does_not_fit_together_is_an_error(
    tmp_path: Path, arrays: dict[str, object], said: str
) -> None:
    with pytest.raises(ScanError, match=said):
        npz_of(tmp_path, **arrays)


def test_an_archive_of_other_things_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "part.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ScanError, match="its arrays are none"):
        read(path)


def tiff_of(tmp_path: Path, image: NDArray[np.generic], **settings: object) -> Scan:
    path = tmp_path / "part.tiff"
    tifffile.imwrite(path, image, photometric="minisblack", **settings)  # type: ignore[arg-type]
    return read(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_pixels_of_three_zeros_were_not_measured(
    tmp_path: Path, compression: str | None
) -> None:
    image = POINTS.reshape(6, 10, 3).astype(np.float32)
    image[0, :4] = 0
    image[3, 3] = np.nan
    scan = tiff_of(tmp_path, image, planarconfig="contig", compression=compression)
    assert scan.grid == (6, 10)
    assert scan.dropped == 1
    assert scan.valid is not None
    measured = image.reshape(-1, 3).any(axis=1) & np.isfinite(image.reshape(-1, 3)).all(axis=1)
    np.testing.assert_array_equal(scan.valid, measured)
    np.testing.assert_array_equal(scan.points, image.reshape(-1, 3)[measured])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40), dtype=np.float32),
        np.zeros((40, 40, 3), dtype=np.uint8),
        np.zeros((3, 40, 40), dtype=np.float32),
        np.zeros((40, 40, 4), dtype=np.float32),
    ],
)
def test_other_pictures_are_an_error(tmp_path: Path, image: NDArray[np.generic]) -> None:
    with pytest.raises(ScanError, match="expected an organised scan"):
        tiff_of(tmp_path, image)


def test_a_tiff_that_promises_10_to_the_12_pixels_allocates_nothing(tmp_path: Path) -> None:
    file = io.BytesIO()
    image = POINTS.reshape(6, 10, 3).astype(np.float32)
    tifffile.imwrite(file, image, photometric="minisblack", planarconfig="contig")
    content = bytearray(file.getvalue())
    for tag in (256, 257):  # width and height, each one 32-bit number
        at = content.index(struct.pack("<HHI", tag, 4, 1))
        content[at + 8 : at + 12] = struct.pack("<I", 10**6)
    path = tmp_path / "part.tif"
    path.write_bytes(bytes(content))
    with pytest.raises(ScanError):
        read(path)
