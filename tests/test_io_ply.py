"""PLY files: extra and list properties, meshes, and honest headers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from scan_files import CORNERS, TRIANGLES, cloud, ply_cloud, ply_header, ply_mesh, text_rows
from zeroflaw.io import read
from zeroflaw.types import Scan, ScanError

POINTS = cloud()
COUNT = len(POINTS)
COLORS = np.random.default_rng(1).integers(0, 256, (COUNT, 3)).astype(np.uint8)
LABELS = np.arange(COUNT) % 5 == 0
ENCODINGS = ("ascii", "binary_little_endian", "binary_big_endian")


def scan_of(tmp_path: Path, content: bytes, points: int = 200, seed: int = 0) -> Scan:
    path = tmp_path / "part.ply"
    path.write_bytes(content)
    return read(path, points=points, seed=seed)


def body(encoding: str, rows: list[tuple[tuple[str, object], ...]]) -> bytes:
    """Rows of (type, value) pairs; type is a letter of struct."""
    if encoding == "ascii":
        return "".join(" ".join(str(v) for _, v in row) + "\n" for row in rows).encode()
    order = "<" if "little" in encoding else ">"
    return b"".join(struct.pack(order + "".join(t for t, _ in r), *(v for _, v in r)) for r in rows)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_extra_properties_in_any_order(tmp_path: Path, encoding: str) -> None:
    head = ply_header(
        encoding,
        f"vertex {COUNT}",
        *("uchar blue", "double z", "float confidence", "uchar red", "int label"),
        *("double x", "uchar green", "double y", "float nx", "float ny", "float nz"),
    )
    rows = [
        tuple(
            zip(
                "BdfBidBdfff",
                (int(b), z, 0.5, int(r), int(mark), x, int(g), y, 0.0, 0.0, 2.0),
                strict=True,
            )
        )
        for (x, y, z), (r, g, b), mark in zip(POINTS.tolist(), COLORS, LABELS, strict=True)
    ]
    scan = scan_of(tmp_path, head + body(encoding, rows))
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.colors is not None
    np.testing.assert_array_equal(scan.colors, COLORS)
    assert scan.labels is not None
    np.testing.assert_array_equal(scan.labels, LABELS)
    assert scan.normals is not None
    np.testing.assert_array_equal(scan.normals, np.tile([0, 0, 1], (COUNT, 1)))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("even", [True, False])
def test_lists_among_the_properties_of_a_point(tmp_path: Path, encoding: str, even: bool) -> None:
    head = ply_header(
        encoding,
        "camera 2",
        "list uchar short ids",
        f"vertex {COUNT}",
        *("double x", "list uchar float weights", "double y", "double z", "list uint uchar marks"),
        "patch 1",
        "int number",
    )
    rows: list[tuple[tuple[str, object], ...]] = [
        (("B", 1), ("h", 5)),
        (("B", 2), ("h", 5), ("h", 6)),
    ]
    for i, (x, y, z) in enumerate(POINTS.tolist()):
        length = 2 if even else i % 4
        rows.append(
            (
                ("d", x),
                ("B", length),
                *(("f", 0.25),) * length,
                *(("d", y), ("d", z), ("I", 1), ("B", 7)),
            )
        )
    rows.append((("i", 3),))
    scan = scan_of(tmp_path, head + body(encoding, rows))
    np.testing.assert_array_equal(scan.points, POINTS)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_faces_of_different_lengths_cover_the_whole_surface(tmp_path: Path, encoding: str) -> None:
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4)]
    polygons = [*quads, (1, 5, 7), (1, 7, 3), (0, 1)]
    head = ply_header(
        encoding,
        f"vertex {len(CORNERS)}",
        *("float x", "float y", "float z"),
        f"face {len(polygons)}",
        *("uchar flag", "list uchar uint vertex_index", "float area"),
    )
    rows: list[tuple[tuple[str, object], ...]]
    rows = [(("f", x), ("f", y), ("f", z)) for x, y, z in CORNERS.tolist()]
    rows += [
        (("B", 1), ("B", len(p)), *(("I", corner) for corner in p), ("f", 0.0)) for p in polygons
    ]
    scan = scan_of(tmp_path, head + body(encoding, rows), points=2200)
    for axis, end, area in ((0, 0, 6), (0, 1, 6), (1, 0, 3), (1, 2, 3), (2, 0, 2), (2, 3, 2)):
        share = np.isclose(scan.points[:, axis], end).mean()
        assert share == pytest.approx(area / 22, abs=0.01)


def test_a_mesh_is_sampled_by_area_seeded_and_says_so(tmp_path: Path) -> None:
    content = ply_mesh("binary_little_endian")(POINTS)
    first = scan_of(tmp_path, content, points=500, seed=3)
    again = scan_of(tmp_path, content, points=500, seed=3)
    other = scan_of(tmp_path, content, points=500, seed=4)
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)
    assert len(first) == 500
    assert any("12 triangles" in note and "500 points" in note for note in first.notes)


def test_colors_and_labels_of_vertices_follow_the_samples(tmp_path: Path) -> None:
    head = ply_header(
        "ascii",
        "vertex 8",
        *("float x", "float y", "float z", "uchar red", "uchar green", "uchar blue", "int label"),
        f"face {len(TRIANGLES)}",
        "list uchar int vertex_indices",
    )
    rows = "".join(f"{x} {y} {z} {int(255 * x)} 0 9 {int(x)}\n" for x, y, z in CORNERS)
    rows += "".join(f"3 {a} {b} {c}\n" for a, b, c in TRIANGLES)
    scan = scan_of(tmp_path, head + rows.encode(), points=400)
    assert scan.labels is not None
    assert scan.colors is not None
    assert scan.labels[scan.points[:, 0] == 1].all()
    assert not scan.labels[scan.points[:, 0] == 0].any()
    np.testing.assert_array_equal(scan.colors[:, 0] == 255, scan.labels)


@pytest.mark.parametrize(
    ("kind", "scale"), [("uchar", 255), ("ushort", 65535), ("float", 1.0), ("float", 255.0)]
)
def test_colors_of_any_range_become_bytes(tmp_path: Path, kind: str, scale: float) -> None:
    shades = np.linspace(0, 1, COUNT)
    head = ply_header(
        "ascii", f"vertex {COUNT}", "float x", "float y", "float z", *(f"{kind} {c}" for c in "rgb")
    )
    values = shades * scale if kind == "float" else np.rint(shades * scale).astype(int)
    rows = zip(text_rows(POINTS).splitlines(), values.tolist(), strict=True)
    scan = scan_of(tmp_path, head + "".join(f"{row} {v} {v} 0\n" for row, v in rows).encode())
    assert scan.colors is not None
    np.testing.assert_allclose(scan.colors[:, 0], shades * 255, atol=0.51)
    assert not scan.colors[:, 2].any()


def test_map_coordinates_keep_every_bit(tmp_path: Path) -> None:
    points = POINTS / 3 + (500_000.0, 5_900_000.0, 120.0)
    head = ply_header("binary_little_endian", f"vertex {COUNT}", "double x", "double y", "double z")
    scan = scan_of(tmp_path, head + points.astype("<f8").tobytes())
    np.testing.assert_array_equal(scan.points, points)


BAD_HEADERS = [
    (b"ply\n", b"plx\n", "the first line is not 'ply'"),
    (b"format ascii 1.0\n", b"", "cannot read 'element vertex 60'"),
    (b"format ascii", b"format utf8", "cannot read 'format utf8 1.0'"),
    (b"vertex 60", b"vertex many", "line 4: cannot read 'element vertex many'"),
    (b"vertex 60", b"vertex -60", "cannot read 'element vertex -60'"),
    (b"vertex 60", b"vortex 60", "not exactly one element is called vertex"),
    (b"float x", b"float a", "its fields are a, y, z; expected x, y and z"),
    (b"float x", b"quad x", "cannot read 'property quad x'"),
    (b"float x", b"list float int x", "cannot read 'property list float int x'"),
    (b"end_header", b"end_of_header", "cannot read 'end_of_header'"),
    (b"vertex 60", b"vertex 59", "more rows follow than the 59 vertex rows"),
    (b"vertex 60", b"vertex 61", "ends after 60 of 61 rows"),
    (b"vertex 60", b"vertex 0", "holds no points"),
    (b"vertex 60", b"vertex 1000000000000", "promises 1000000000000 vertex rows"),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD_HEADERS)
def test_a_wrong_header_is_named(tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
    content = ply_cloud("ascii")(POINTS)
    assert old in content
    with pytest.raises(ScanError, match=said):
        scan_of(tmp_path, content.replace(old, new))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("count", [10**12, 10**17])
def test_a_promise_of_10_to_the_12_faces_allocates_nothing(
    tmp_path: Path, encoding: str, count: int
) -> None:
    content = ply_mesh(encoding)(POINTS).replace(b"face 12", f"face {count}".encode())
    with pytest.raises(ScanError, match=f"promises 8 vertex rows and {count} face rows"):
        scan_of(tmp_path, content)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_face_that_names_no_vertex_is_an_error(tmp_path: Path, encoding: str) -> None:
    head = ply_header(
        encoding,
        "vertex 3",
        *("float x", "float y", "float z"),
        "face 1",
        "list uchar int vertex_indices",
    )
    corners: list[tuple[tuple[str, object], ...]]
    corners = [(("f", x), ("f", y), ("f", 0.0)) for x, y in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    for wrong in (3, -1):
        face = (("B", 3), ("i", 0), ("i", 1), ("i", wrong))
        with pytest.raises(ScanError, match=f"a face names vertex {wrong}"):
            scan_of(tmp_path, head + body(encoding, [*corners, face]))
    face = (("B", 3), ("i", 0), ("i", 1), ("i", 1))
    with pytest.raises(ScanError, match="no area"):
        scan_of(tmp_path, head + body(encoding, [*corners, face]))


def test_bytes_behind_the_last_row_are_an_error(tmp_path: Path) -> None:
    content = ply_cloud("binary_little_endian")(POINTS)
    with pytest.raises(ScanError, match="12 bytes follow the 60 vertex rows"):
        scan_of(tmp_path, content + b"123456789012")
