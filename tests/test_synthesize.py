"""A folder of synthesised scans: the same for any number of workers, and after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from zeroflaw.io import read
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.synthesize import MANIFEST, find_meshes, synthesize_folder
from zeroflaw.types import ZeroflawError


@pytest.fixture
def meshes(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "meshes"
    folder.mkdir()
    for name in ("shaft", "toy"):
        shape = SOLIDS[name](np.random.default_rng(1))
        mesh = trimesh.Trimesh(shape.vertices, shape.faces, process=False)
        mesh.export(folder / f"{name}.stl")
    return find_meshes([folder])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_scans_do_not_depend_on_the_number_of_workers(meshes: list[Path], tmp_path: Path) -> None:
    for workers in (1, 2):
        made = synthesize_folder(
            meshes, tmp_path / str(workers), count=3, seed=5, points=3_000, workers=workers
        )
        assert (made.written, made.kept, made.unusable) == (6, 0, ())
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_an_interrupted_run_goes_on_where_it_stopped(meshes: list[Path], tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    synthesize_folder(meshes, whole, count=3, points=3_000)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_folder(meshes, broken, count=3, points=3_000, progress=interrupt)
    with (broken / MANIFEST).open("a") as lines:
        lines.write('{"file": "toy_00')
    seen: list[tuple[int, int]] = []
    made = synthesize_folder(
        meshes, broken, count=3, points=3_000, progress=lambda *step: seen.append(step)
    )
    assert (made.written, made.kept) == (3, 3)
    assert seen[-1] == (6, 6)
    assert contents(whole) == contents(broken)


def test_scans_carry_labels_and_the_manifest_says_what_they_are(
    meshes: list[Path], tmp_path: Path
) -> None:
    made = synthesize_folder(meshes, tmp_path / "out", count=4, points=3_000)
    rows = [json.loads(line) for line in made.manifest.read_text().splitlines()[1:]]
    assert len(rows) == 8
    for row in rows:
        scan = read(tmp_path / "out" / row["file"])
        assert scan.labels is not None
        assert scan.labels.any() == (row["kind"] != "good")
        assert len(scan) == 3_000


def test_a_folder_of_other_settings_is_left_alone(meshes: list[Path], tmp_path: Path) -> None:
    synthesize_folder(meshes[:1], tmp_path / "out", count=1, points=3_000)
    before = contents(tmp_path / "out")
    with pytest.raises(ZeroflawError, match="another folder"):
        synthesize_folder(meshes[:1], tmp_path / "out", count=1, points=3_000, seed=1)
    assert contents(tmp_path / "out") == before


def test_a_mesh_that_cannot_be_used_does_not_stop_the_others(
    meshes: list[Path], tmp_path: Path
) -> None:
    line = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False)
    line.export(tmp_path / "line.stl")
    made = synthesize_folder(
        [tmp_path / "line.stl", *meshes], tmp_path / "out", count=1, points=3_000
    )
    assert made.written == 2
    assert len(made.unusable) == 1
    assert "line.stl" in made.unusable[0]


def test_where_there_is_no_mesh_the_error_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="no mesh there"):
        find_meshes([tmp_path / "nothing*.stl"])
