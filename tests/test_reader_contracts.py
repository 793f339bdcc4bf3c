"""What every reader promises, held over READERS: a scan or one ScanError, whatever the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scan_files import CORNERS, SAMPLES, cloud
from zeroflaw.io import READERS, read
from zeroflaw.types import Scan, ScanError

POINTS = cloud()
quickly = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(params=SAMPLES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def attempt(folder: Path, name: str, content: bytes) -> Scan | str:
    """The scan, or the one line that says why there is none; nothing else may happen."""
    path = folder / f"part{SAMPLES[name].suffix}"
    path.write_bytes(content)
    try:
        return read(path, points=100)
    except ScanError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert "\n" not in message
        assert "; " in message, "a remedy follows the problem"
        assert len(message) < 500 + len(str(path))
        return message


def test_every_suffix_has_a_sample() -> None:
    assert {sample.suffix for sample in SAMPLES.values()} == set(READERS)


def test_a_whole_file_is_read(tmp_path: Path, name: str) -> None:
    scan = attempt(tmp_path, name, SAMPLES[name].build(POINTS))
    assert isinstance(scan, Scan), scan
    assert scan.source == tmp_path / f"part{SAMPLES[name].suffix}"
    assert scan.points.dtype == np.float64
    if SAMPLES[name].mesh:
        assert len(scan) == 100
        np.testing.assert_allclose(scan.points.mean(axis=0), CORNERS.mean(axis=0), atol=0.4)
        on_box = np.isclose(scan.points[:, :, None], [[0, 1], [0, 2], [0, 3]]).any(axis=(1, 2))
        assert on_box.all()
    else:
        np.testing.assert_array_equal(scan.points, POINTS)


@quickly
@given(data=st.data())
def test_a_cut_off_file_is_an_error(tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = SAMPLES[name].build(POINTS)
    cut = data.draw(st.integers(0, len(content) - 1), "cut")
    scan = attempt(tmp_path, name, content[:cut])
    if isinstance(scan, str):
        return
    assert not SAMPLES[name].mesh or name in ("obj", "stl ascii", "off", "ply mesh ascii")
    if not SAMPLES[name].counts:
        # Nothing says how many rows there were: whole ones may be missing.
        assert len(scan) <= len(POINTS) or SAMPLES[name].mesh
    elif not SAMPLES[name].mesh:
        assert len(scan) == len(POINTS)
    if not SAMPLES[name].mesh:
        # Of text, the last number may have lost digits.
        np.testing.assert_array_equal(scan.points[:-1], POINTS[: len(scan) - 1])
        np.testing.assert_array_equal(scan.points[-1][:2], POINTS[len(scan) - 1][:2])


@quickly
@given(data=st.data())
def test_a_garbled_file_is_a_scan_or_an_error(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = bytearray(SAMPLES[name].build(POINTS))
    places = st.integers(0, min(len(content) - 1, data.draw(st.sampled_from([40, 400, 10**6]))))
    for place in data.draw(st.lists(places, min_size=1, max_size=4), "places"):
        content[place] = data.draw(st.integers(0, 255), "byte")
    scan = attempt(tmp_path, name, bytes(content))
    if isinstance(scan, Scan):
        assert np.isfinite(scan.points).all()


@quickly
@given(garbage=st.binary(max_size=300))
def test_garbage_after_any_beginning_is_no_crash(tmp_path: Path, name: str, garbage: bytes) -> None:
    content = SAMPLES[name].build(POINTS)
    for keep in (0, 12, len(content) // 3):
        attempt(tmp_path, name, content[:keep] + garbage)


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_an_empty_file_a_folder_and_nothing_are_errors(tmp_path: Path, suffix: str) -> None:
    empty, folder, nothing = (tmp_path / f"{word}{suffix}" for word in ("empty", "folder", "no"))
    empty.touch()
    folder.mkdir()
    for path, word in ((empty, "empty"), (folder, "folder"), (nothing, "no such file")):
        with pytest.raises(ScanError, match=word):
            read(path)


CLOUDS = [name for name, sample in SAMPLES.items() if not sample.mesh]


@pytest.mark.parametrize("name", CLOUDS)
def test_numbers_that_are_not_finite_are_dropped_and_counted(tmp_path: Path, name: str) -> None:
    points = POINTS.copy()
    points[3, 0], points[7] = np.nan, np.inf
    scan = attempt(tmp_path, name, SAMPLES[name].build(points))
    assert isinstance(scan, Scan), scan
    keep = np.delete(np.arange(len(points)), [3, 7])
    assert scan.dropped == 2
    np.testing.assert_array_equal(scan.points, POINTS[keep])
    assert scan.valid is not None
    np.testing.assert_array_equal(np.flatnonzero(scan.valid), keep)


HOPELESS = {
    "too few": (POINTS[:20], "at least 32"),
    "one place": (np.ones((60, 3)), "one place"),
    "few places": (np.tile(POINTS[:20], (3, 1)), "different places"),
    "one line": (np.linspace(0, 1, 65)[:60, None] * np.array([1.0, 2.0, -1.0]), "one line"),
    "no measurement": (np.full((60, 3), np.nan), "none of its 60 points"),
    "too large": (POINTS * 1e30, "coordinates reach"),
}


@pytest.mark.parametrize("kind", HOPELESS)
@pytest.mark.parametrize("name", CLOUDS)
def test_points_that_span_no_surface_are_an_error(tmp_path: Path, name: str, kind: str) -> None:
    points, words = HOPELESS[kind]
    message = attempt(tmp_path, name, SAMPLES[name].build(points))
    assert isinstance(message, str)
    assert words in message


def test_the_same_file_gives_the_same_scan(tmp_path: Path, name: str) -> None:
    content = SAMPLES[name].build(POINTS)
    first, second = (attempt(tmp_path, name, content) for _ in range(2))
    assert isinstance(first, Scan)
    assert isinstance(second, Scan)
    np.testing.assert_array_equal(first.points, second.points)
