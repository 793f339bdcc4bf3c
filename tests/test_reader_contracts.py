"""What every reader promises, held over the dictionary READERS.

A reader joins by a small file of its format in `scan_files.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scan_files import MESH_FORMATS, POINT_FORMATS, POINTS, SIZED, mesh, stl_that_promises
from zeroflaw.io import READERS, read
from zeroflaw.types import Scan, ScanError

POINT_FILES = {name: made(POINTS) for name, made in POINT_FORMATS.items()}
MESH_FILES = {f"ball.{kind}": mesh(kind) for kind in MESH_FORMATS}
FILES = {**POINT_FILES, **MESH_FILES}
SUFFIXES = sorted(READERS)
often = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refused(path: Path) -> str:
    """The message of the error that a file raises."""
    with pytest.raises(ScanError) as caught:
        read(path)
    return checked_line(str(caught.value), path)


def checked_line(message: str, path: Path) -> str:
    """The message, if it is one line that names the file."""
    assert path.name in message
    assert "\n" not in message
    return message


def read_or_refused(path: Path) -> Scan | None:
    """The scan, whole and finite; None where the file was refused with one line that names it."""
    try:
        scan = read(path)
    except ScanError as error:
        checked_line(str(error), path)
        return None
    assert scan.points.shape == (len(scan), 3)
    assert scan.points.dtype == np.float64
    assert np.isfinite(scan.points).all()
    for part in (scan.normals, scan.colors, scan.labels):
        assert part is None or len(part) == len(scan)
    return scan


def test_every_suffix_has_a_sample() -> None:
    sampled = {Path(name).suffix for name in FILES}
    assert set(READERS) <= sampled, "give scan_files.py a file of the new format"


@pytest.mark.parametrize("name", POINT_FILES)
def test_points_come_back_in_their_order_and_unit(name: str, tmp_path: Path) -> None:
    scan = read(write(tmp_path, name, FILES[name]))
    tolerance = 1e-5 if "organised" in name else 0.0
    np.testing.assert_allclose(scan.points, POINTS, rtol=0, atol=tolerance)
    assert scan.source == tmp_path / name
    assert scan.dropped == 0


@pytest.mark.parametrize("name", MESH_FILES)
def test_a_mesh_is_sampled_on_its_surface_and_says_so(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, FILES[name])
    scan = read(path, points=2000, seed=3)
    radius = np.linalg.norm(scan.points, axis=1)
    assert len(scan) == 2000
    assert radius.max() <= 20.001
    assert radius.min() > 18.5
    assert scan.notes
    assert not np.array_equal(scan.points, read(path, points=2000, seed=4).points)


@pytest.mark.parametrize("name", FILES)
def test_reading_twice_gives_the_same(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, FILES[name])
    np.testing.assert_array_equal(read(path).points, read(path).points)


@pytest.mark.parametrize("name", FILES)
def test_the_suffix_may_be_in_capitals(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name.upper(), FILES[name])
    assert len(read(path)) >= len(POINTS)


@pytest.mark.parametrize("name", POINT_FILES)
def test_points_that_are_not_finite_are_dropped_and_counted(name: str, tmp_path: Path) -> None:
    points = POINTS.copy()
    points[5, 0], points[17, 2], points[30] = np.nan, np.inf, -np.inf
    scan = read(write(tmp_path, name, POINT_FORMATS[name](points)))
    kept = np.isfinite(points).all(axis=1)
    np.testing.assert_allclose(scan.points, points[kept], rtol=0, atol=1e-5)
    assert scan.dropped == 3
    assert scan.valid is not None
    np.testing.assert_array_equal(scan.valid, kept)


@pytest.mark.parametrize("name", [n for n in POINT_FILES if "organised" not in n])
def test_huge_offsets_lose_no_precision(name: str, tmp_path: Path) -> None:
    points: NDArray[np.float64] = (POINTS / 1000 + (5e5, 4e6, 100.0)).round(2)
    scan = read(write(tmp_path, name, POINT_FORMATS[name](points)))
    np.testing.assert_array_equal(scan.points, points)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_file_is_refused(suffix: str, tmp_path: Path) -> None:
    refused(tmp_path / f"missing{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    refused(tmp_path / f"folder{suffix}")
    refused(write(tmp_path, f"empty{suffix}", b""))


@pytest.mark.parametrize("suffix", SUFFIXES)
@often
@given(content=st.binary(max_size=400))
def test_garbage_is_refused_or_read_whole(suffix: str, content: bytes, tmp_path: Path) -> None:
    read_or_refused(write(tmp_path, f"garbage{suffix}", content))


@pytest.mark.parametrize("name", FILES)
@often
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_refused_or_read_without_its_end(
    name: str, share: float, tmp_path: Path
) -> None:
    content = FILES[name]
    path = write(tmp_path, name, content[: int(share * len(content))])
    scan = read_or_refused(path)
    if name in SIZED:
        assert scan is None, "a file that is shorter than it says was read"


@pytest.mark.parametrize("name", FILES)
@often
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_damaged_byte_is_refused_or_harmless(
    name: str, place: float, value: int, tmp_path: Path
) -> None:
    content = bytearray(FILES[name])
    content[int(place * min(len(content), 600))] = value
    read_or_refused(write(tmp_path, name, bytes(content)))


@pytest.mark.parametrize("name", FILES)
def test_the_content_of_another_format_is_refused_or_read_whole(name: str, tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        read_or_refused(write(tmp_path, f"other{suffix}", FILES[name]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("more.pcd", FILES["binary.pcd"].replace(b"240", b"1000000000000")),
        ("more.ply", FILES["binary.ply"].replace(b"vertex 240", b"vertex 1000000000000")),
        ("ascii.pcd", FILES["ascii.pcd"].replace(b"240", b"1000000000000")),
        ("ascii.ply", FILES["ascii.ply"].replace(b"vertex 240", b"vertex 1000000000000")),
        ("more.npy", FILES["array.npy"].replace(b"(240, 3)", b"(99999999, 3)")),
        ("more.stl", stl_that_promises(4_000_000_000)),
    ],
)
def test_a_header_that_promises_too_much_is_refused(
    name: str, content: bytes, tmp_path: Path
) -> None:
    refused(write(tmp_path, name, content))


@pytest.mark.parametrize(
    "points",
    [np.ones((50, 3)), np.arange(50)[:, None] * np.ones(3), np.ones((1, 3)), np.empty((0, 3))],
    ids=["all equal", "on a line", "one", "none"],
)
@pytest.mark.parametrize("name", [n for n in POINT_FILES if "organised" not in n])
def test_points_without_a_surface_are_refused(
    name: str, points: NDArray[np.float64], tmp_path: Path
) -> None:
    refused(write(tmp_path, name, POINT_FORMATS[name](points)))


def test_a_suffix_that_no_reader_knows_is_refused_with_those_that_are(tmp_path: Path) -> None:
    message = refused(write(tmp_path, "scan.docx", b"1 2 3\n"))
    assert ".ply" in message
