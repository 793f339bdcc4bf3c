"""PCD files: fields of any order, type and count, colours, labels, grids, and honest headers."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan_files import cloud, lzf_compress, pcd_ascii, pcd_header, text_rows
from zeroflaw.io import read
from zeroflaw.io.lzf import LZFError, decompress
from zeroflaw.types import Scan, ScanError

POINTS = cloud()
COUNT = len(POINTS)
COLORS = np.random.default_rng(1).integers(0, 256, (COUNT, 3)).astype(np.uint8)
PACKED = (COLORS.astype(np.uint32) << [16, 8, 0]).sum(axis=1, dtype=np.uint32)
LABELS = np.arange(COUNT) % 5 == 0


def scan_of(tmp_path: Path, content: bytes) -> Scan:
    path = tmp_path / "part.pcd"
    path.write_bytes(content)
    return read(path)


def mixed_rows() -> tuple[bytes, np.ndarray]:
    """Fields in an odd order, with padding, a histogram, a label and colours packed in a float."""
    header = pcd_header(
        COUNT,
        "{}",
        fields="label _ z hist rgb y _ x",
        size="4 1 8 4 4 4 2 4",
        kind="U U F F F F I F",
        values="1 3 1 5 1 1 1 1",
    )
    rows = np.zeros(
        COUNT,
        dtype=[
            ("label", "<u4"),
            ("_", "u1", (3,)),
            ("z", "<f8"),
            ("hist", "<f4", (5,)),
            ("rgb", "<u4"),
            ("y", "<f4"),
            ("__", "<i2"),
            ("x", "<f4"),
        ],
    )
    rows["x"], rows["y"], rows["z"] = POINTS.T
    rows["label"], rows["rgb"], rows["hist"], rows["_"] = LABELS, PACKED, 7, 9
    return header, rows


def check_mixed(scan: Scan) -> None:
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.colors is not None
    np.testing.assert_array_equal(scan.colors, COLORS)
    assert scan.labels is not None
    np.testing.assert_array_equal(scan.labels, LABELS)


def test_binary_fields_of_any_order_type_and_count(tmp_path: Path) -> None:
    header, rows = mixed_rows()
    check_mixed(scan_of(tmp_path, header.replace(b"{}", b"binary") + rows.tobytes()))


def test_compressed_fields_of_any_order_type_and_count(tmp_path: Path) -> None:
    header, rows = mixed_rows()
    raw = b"".join(np.ascontiguousarray(rows[name]).tobytes() for name in rows.dtype.names or ())
    packed = lzf_compress(raw)
    sizes = struct.pack("<II", len(packed), len(raw))
    check_mixed(scan_of(tmp_path, header.replace(b"{}", b"binary_compressed") + sizes + packed))


def test_ascii_fields_of_any_order_type_and_count(tmp_path: Path) -> None:
    header, rows = mixed_rows()
    colors = rows["rgb"].view("<f4")
    text = "".join(
        f"{row['label']} 9 9 9 {row['z']} 1 2 3 4 5 {float(color)!r} {row['y']} 0 {row['x']}\n"
        for row, color in zip(rows, colors, strict=True)
    )
    check_mixed(scan_of(tmp_path, header.replace(b"{}", b"ascii") + text.encode()))


@pytest.mark.parametrize(("kind", "name"), [("U", "rgb"), ("U", "rgba"), ("I", "rgba")])
def test_colors_packed_in_whole_numbers(tmp_path: Path, kind: str, name: str) -> None:
    header = pcd_header(COUNT, "ascii", f"x y z {name}", "4 4 4 4", f"F F F {kind}")
    alpha = PACKED.astype(np.int64) + ((255 << 24) if kind == "U" else 0)
    rows = zip(text_rows(POINTS).splitlines(), alpha.tolist(), strict=True)
    scan = scan_of(tmp_path, header + "".join(f"{row} {c}\n" for row, c in rows).encode())
    assert scan.colors is not None
    np.testing.assert_array_equal(scan.colors, COLORS)


def test_an_organised_scan_keeps_its_grid_and_which_cells_were_measured(tmp_path: Path) -> None:
    points = POINTS.copy()
    points[[0, 17, 59]] = np.nan
    header = pcd_header(COUNT, "binary", width=12, height=5)
    scan = scan_of(tmp_path, header + points.astype("<f4").tobytes())
    assert scan.grid == (5, 12)
    assert scan.dropped == 3
    assert scan.valid is not None
    np.testing.assert_array_equal(np.flatnonzero(~scan.valid), [0, 17, 59])
    np.testing.assert_array_equal(scan.points, POINTS[scan.valid])


def test_labels_that_are_no_marks_of_defects_are_left_out_and_said_so(tmp_path: Path) -> None:
    header = pcd_header(COUNT, "ascii", "x y z label", "4 4 4 4", "F F F U")
    rows = zip(text_rows(POINTS).splitlines(), range(COUNT), strict=True)
    scan = scan_of(tmp_path, header + "".join(f"{row} {i}\n" for row, i in rows).encode())
    assert scan.labels is None
    assert any("label" in note for note in scan.notes)


def test_normals_become_unit_vectors_and_bad_ones_are_left_out(tmp_path: Path) -> None:
    header = pcd_header(COUNT, "binary", "normal_x normal_y normal_z x y z", "4 " * 6, "F " * 6)
    normals = np.tile([0.0, 3.0, 4.0], (COUNT, 1))
    rows = np.column_stack([normals, POINTS]).astype("<f4")
    scan = scan_of(tmp_path, header + rows.tobytes())
    assert scan.normals is not None
    np.testing.assert_allclose(scan.normals, np.tile([0, 0.6, 0.8], (COUNT, 1)), rtol=1e-6)
    rows[4, :3] = 0
    scan = scan_of(tmp_path, header + rows.tobytes())
    assert scan.normals is None
    assert any("normals" in note for note in scan.notes)


@pytest.mark.parametrize("old", [b"COUNT 1 1 1\n", b"HEIGHT 1\n", b"VIEWPOINT 0 0 0 1 0 0 0\n"])
def test_entries_that_may_be_missing(tmp_path: Path, old: bytes) -> None:
    content = pcd_ascii(POINTS)
    assert old in content
    scan = scan_of(tmp_path, content.replace(old, b""))
    np.testing.assert_array_equal(scan.points, POINTS)


@pytest.mark.parametrize("ends", [b"\r\n", b" \n\n"])
def test_line_ends_of_other_systems_and_blank_lines(tmp_path: Path, ends: bytes) -> None:
    scan = scan_of(tmp_path, pcd_ascii(POINTS).replace(b"\n", ends))
    np.testing.assert_array_equal(scan.points, POINTS)


BAD_HEADERS = [
    (b"FIELDS x y z", b"FIELDS x y", "SIZE is 3 entries; expected 2"),
    (b"FIELDS x y z", b"FIELDS a b c", "expected x, y and z"),
    (b"SIZE 4 4 4", b"SIZE 4 4 3", "F of 3 bytes"),
    (b"TYPE F F F", b"TYPE F F Q", "Q of 4 bytes"),
    (b"COUNT 1 1 1", b"COUNT 1 1 0", "COUNT is 0"),
    (b"WIDTH 60", b"WIDTH sixty", "WIDTH is sixty"),
    (b"WIDTH 60", b"WIDTH 61", "POINTS is 60; expected WIDTH times HEIGHT, 61"),
    (b"POINTS 60", b"POINTS -60", "POINTS is -60"),
    (b"VIEWPOINT 0", b"VIEWPOINT north", "VIEWPOINT is north"),
    (b"DATA ascii", b"DATA base64", "DATA is base64"),
    (b"VERSION 0.7", b"CAMERA 0.7", "line 2: 'CAMERA' is no entry"),
    (b"VERSION 0.7", b"SIZE 4 4 4", "line 4: 'SIZE' appears twice"),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD_HEADERS)
def test_a_wrong_header_entry_is_named(tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
    content = pcd_ascii(POINTS)
    assert old in content
    with pytest.raises(ScanError, match=said):
        scan_of(tmp_path, content.replace(old, new))


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_a_header_that_promises_10_to_the_12_points_allocates_nothing(
    tmp_path: Path, encoding: str
) -> None:
    with pytest.raises(ScanError, match=r"promises|stands for"):
        scan_of(tmp_path, pcd_header(10**12, encoding) + b"0 0 0\n" * 40)


def test_a_field_of_a_billion_values_is_an_error(tmp_path: Path) -> None:
    header = pcd_header(60, "binary", "x y z f", "4 4 4 4", "F F F F", "1 1 1 999999999")
    with pytest.raises(ScanError, match="4000000008 bytes per point"):
        scan_of(tmp_path, header + bytes(2000))


def test_a_wrong_count_of_rows_is_named_with_its_place(tmp_path: Path) -> None:
    content = pcd_ascii(POINTS)
    with pytest.raises(ScanError, match=r"line 72: more rows follow than the 60 points"):
        scan_of(tmp_path, content + b"1 2 3\n")
    lines = content.splitlines(keepends=True)
    with pytest.raises(ScanError, match="line 71: the file ends after 59 of 60 rows"):
        scan_of(tmp_path, b"".join([*lines[:-2], lines[-1]]))
    binary = pcd_header(COUNT, "binary") + POINTS.astype("<f4").tobytes()
    with pytest.raises(ScanError, match="12 bytes follow the 60 points"):
        scan_of(tmp_path, binary + b"123456789012")


@pytest.mark.parametrize(
    "word", [b"abc", b"1_0", b"0x10", b"1,5", b"--1", b"1e", b"1.2.3", b"\xff"]
)
def test_text_in_numbers_is_named_with_its_line(tmp_path: Path, word: bytes) -> None:
    lines = pcd_ascii(POINTS).splitlines(keepends=True)
    lines[30] = b"1 " + word + b" 3\n"
    with pytest.raises(ScanError, match=r"line 31: .* is not a number"):
        scan_of(tmp_path, b"".join(lines))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=2000), st.integers(1, 400), st.binary(max_size=7))
def test_what_lzf_compresses_comes_back(noise: bytes, repeat: int, unit: bytes) -> None:
    raw = noise + unit * repeat + noise[::2]
    packed = lzf_compress(raw)
    assert decompress(packed, len(raw)) == raw
    for wrong in (len(raw) + 1, len(raw) - 1):
        with pytest.raises(LZFError):
            decompress(packed, wrong)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300), st.integers(0, 3000))
def test_damaged_lzf_is_an_error_or_as_long_as_promised(data: bytes, size: int) -> None:
    with suppress(LZFError):
        assert len(decompress(data, size)) == size
