"""Files that are not what they say, and files that would cost more memory than they are worth."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from scan_files import CORNERS, SAMPLES, TRIANGLES, cloud, glb, gltf_tree, stl_ascii, stl_binary
from zeroflaw.io import READERS, read
from zeroflaw.types import ScanError, ZeroflawError

POINTS = cloud()


def error_of(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ScanError) as caught:
        read(path, points=100)
    return str(caught.value)


@pytest.mark.parametrize("name", ["part.las", "part.ply.gz", "part", ".ply", "part."])
def test_an_unknown_suffix_names_those_that_are_known(tmp_path: Path, name: str) -> None:
    message = error_of(tmp_path / name, b"1 2 3\n" * 40)
    assert all(suffix in message for suffix in READERS)


WRONG_NAMES = [
    ("ply ascii", ".pcd", "its content is PLY, not .pcd; rename it to part.ply"),
    ("pcd binary", ".ply", "its content is PCD, not .ply; rename it to part.pcd"),
    ("npz", ".npy", "its content is ZIP archive, not .npy; rename it to part.npz"),
    ("npy", ".txt", "its content is NPY"),
    ("tiff", ".ply", "its content is TIFF"),
    ("glb", ".stl", "its content is GLB"),
    ("off", ".obj", "its content is OFF"),
    ("stl ascii", ".xyz", "its content is STL"),
    ("ply little", "", "its content is PLY; rename it to part.ply"),
    ("ply little", ".scan", "its content is PLY, not .scan; rename"),
]


@pytest.mark.parametrize(("sample", "suffix", "said"), WRONG_NAMES)
def test_a_wrong_suffix_is_told_from_the_content(
    tmp_path: Path, sample: str, suffix: str, said: str
) -> None:
    assert said in error_of(tmp_path / f"part{suffix}", SAMPLES[sample].build(POINTS))


@pytest.mark.parametrize("start", [b"\x89PNG\r\n", b"\xff\xd8\xff\xe0", b"%PDF-1.7"])
def test_other_formats_are_told_by_name(tmp_path: Path, start: bytes) -> None:
    message = error_of(tmp_path / "part.ply", start + bytes(500))
    assert "its content is" in message
    assert "export it as one of" in message


@pytest.mark.parametrize("name", ["part.ply", "part.ply.gz", "part.zip", "part.docx"])
@pytest.mark.parametrize("start", [b"\x1f\x8b\x08", b"PK\x03\x04word/document.xml"])
def test_packed_files_are_to_be_unpacked(tmp_path: Path, name: str, start: bytes) -> None:
    assert "unpack it; readable are .asc" in error_of(tmp_path / name, start + bytes(500))


def test_an_archive_that_unfolds_to_far_more_than_itself_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", bytes(288_000_000))
    assert "unfolds to 288" in error_of(tmp_path / "part.npz", packed.getvalue())


def test_compressed_points_cannot_be_far_more_than_the_file(tmp_path: Path) -> None:
    header = SAMPLES["pcd binary"].build(POINTS).partition(b"DATA")[0].decode()
    header = re.sub(r"(WIDTH|POINTS) \d+", r"\1 1000000000000", header)
    content = header.encode() + b"DATA binary_compressed\n" + bytes(100)
    assert "the header promises 1000000000000 points" in error_of(tmp_path / "part.pcd", content)


def test_faces_without_vertices_are_said_so(tmp_path: Path) -> None:
    assert "no vertices" in error_of(tmp_path / "part.obj", b"f 1 2 3\n")


@pytest.mark.parametrize("suffix", sorted(READERS))
@pytest.mark.parametrize("sample", SAMPLES)
def test_no_format_under_any_suffix_breaks_anything(
    tmp_path: Path, sample: str, suffix: str
) -> None:
    path = tmp_path / f"part{suffix}"
    path.write_bytes(SAMPLES[sample].build(POINTS))
    text = {".xyz", ".txt", ".asc", ".csv"}
    alike = [{SAMPLES[sample].suffix}, text, {".tif", ".tiff"}]
    if any({suffix, SAMPLES[sample].suffix} <= group for group in alike):
        read(path, points=100)
    else:
        error_of(path)


def test_capital_suffixes_are_known(tmp_path: Path) -> None:
    path = tmp_path / "PART.PLY"
    path.write_bytes(SAMPLES["ply ascii"].build(POINTS))
    assert len(read(str(path))) == 60


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "part.ply")
    assert "not a regular file" in error_of(tmp_path / "part.ply")


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "part.ply").symlink_to(tmp_path / "part.ply")
    assert "cannot be read" in error_of(tmp_path / "part.ply")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "part.ply"
    path.write_bytes(SAMPLES["ply ascii"].build(POINTS))
    path.chmod(0)
    assert "no permission" in error_of(path)


def test_impossible_names_are_errors() -> None:
    for name in ("a\0b.ply", "x" * 5000 + ".ply"):
        error_of(Path(name))


def test_too_few_samples_of_a_mesh_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.stl"
    path.write_bytes(stl_binary(POINTS))
    with pytest.raises(ZeroflawError, match="at least 32"):
        read(path, points=3)


BIG = cloud(40_000)
ROOMY = 2_000_000  # what imports and blocks may cost beside the file


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if not sample.mesh])
def test_reading_needs_at_most_four_times_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"part{SAMPLES[name].suffix}"
    points = BIG.copy()
    points[::7] = np.nan  # what is dropped must not cost a second copy too many
    content = SAMPLES[name].build(points)
    path.write_bytes(content)
    read(path)
    size = len(content) if name not in ("npz", "pcd compressed") else points.nbytes
    tracemalloc.start()
    try:
        read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4.3 * size + ROOMY


def test_a_cut_off_stl_says_how_many_bytes_are_missing(tmp_path: Path) -> None:
    content = stl_binary(POINTS)
    assert "12 triangles need 684 bytes, the file has 600" in error_of(
        tmp_path / "part.stl", content[:600]
    )
    assert "ends before its solid does" in error_of(tmp_path / "text.stl", stl_ascii(POINTS)[:-13])
    huge = content[:80] + struct.pack("<I", 2**32 - 1) + content[84:]
    assert "4294967295 triangles" in error_of(tmp_path / "huge.stl", huge)


def test_an_obj_without_faces_is_a_point_cloud(tmp_path: Path) -> None:
    path = tmp_path / "part.obj"
    path.write_text("".join(f"v {x} {y} {z}\n" for x, y, z in POINTS.tolist()))
    scan = read(path)
    np.testing.assert_array_equal(scan.points, POINTS)
    assert any("no faces" in note for note in scan.notes)


def test_an_off_without_faces_is_a_point_cloud(tmp_path: Path) -> None:
    path = tmp_path / "part.off"
    rows = "".join(f"{x} {y} {z} # a remark\n" for x, y, z in POINTS.tolist())
    path.write_text(f"OFF 60 0 0\n{rows}".replace(" # a remark", " 255 0 0"))
    np.testing.assert_array_equal(read(path).points, POINTS)


BAD_MESHES = [
    (".obj", "v 1 2\n", "line 1: cannot read 'v 1 2'"),
    (".obj", "v 1 2 x\n", "line 1: cannot read 'v 1 2 x'"),
    (".obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n", "line 4: cannot read 'f 1 2'"),
    (".obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "a face names vertex 3; expected 0 to 2"),
    (".obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -9\n", "a face names vertex -6"),
    (".obj", "v 0 0 0\nv 1 0 0\nv nan 1 0\nf 1 2 3\n", "not finite"),
    (".obj", "v 0 0 0\nv 1 0 0\nv 1e30 1 0\nf 1 2 3\n", "coordinates reach"),
    (".obj", "hello\n", "no points"),
    (".off", "OFF\n8 12\n1 2 3\n", "promises 8 vertices and 12 faces"),
    (".off", "OFF\n1000000000000 1 0\n0 0 0\n", "promises 1000000000000 vertices"),
    (".off", "OFF\n-3 1 0\n0 0 0\n", "its counts are '-3 1 0'"),
    (".off", "STL\n3 1 0\n0 0 0\n", "begins with 'STL'"),
    (".off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1\n3 0 1 2\n", "line 5: 2 numbers for a vertex"),
    (".off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "line 6: a face of 4 corners"),
    (".off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "a face names vertex 3"),
    (".off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n3 0 1 2\n", "more rows follow"),
]


@pytest.mark.parametrize(("suffix", "text", "said"), BAD_MESHES)
def test_a_damaged_mesh_is_an_error_with_its_place(
    tmp_path: Path, suffix: str, text: str, said: str
) -> None:
    assert said in error_of(tmp_path / f"part{suffix}", text.encode())


def gltf_with(change: dict[str, object]) -> bytes:
    data = CORNERS.size * 4
    tree = gltf_tree({"byteLength": 1, "uri": "missing.bin"}, data, TRIANGLES.size * 4)
    return json.dumps({**tree, **change}).encode()


def test_gltf_that_promises_values_without_data_allocates_nothing(tmp_path: Path) -> None:
    accessors = [{"componentType": 5126, "count": 10**12, "type": "VEC3"}] * 2
    message = error_of(tmp_path / "part.gltf", gltf_with({"accessors": accessors}))
    assert "promises 2000000000000 values" in message


def test_gltf_whose_buffer_is_missing_is_an_error(tmp_path: Path) -> None:
    assert "cannot be read as GLTF" in error_of(tmp_path / "part.gltf", gltf_with({}))


def test_gltf_whose_nodes_go_round_in_circles_does_not_hang(tmp_path: Path) -> None:
    nodes = [{"mesh": 0, "children": [1]}, {"mesh": 0, "children": [0]}]
    content = glb(POINTS)
    tree = json.loads(content[20 : content.index(b"BIN\0") - 4])
    text = json.dumps({**tree, "nodes": nodes}).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    rest = content[content.index(b"BIN\0") - 4 :]
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + rest
    path = tmp_path / "part.glb"
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    with suppress(ScanError):
        assert len(read(path, points=100)) == 100
