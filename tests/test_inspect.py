"""`zeroflaw inspect` finds the files, says what it saw, and leaves whole results behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from conftest import dent, sphere_points
from peak_method import peak_checkpoint
from zeroflaw import inspect
from zeroflaw.cli import main
from zeroflaw.detector import Detector
from zeroflaw.files import display_names, find_scans, output_names
from zeroflaw.io import read
from zeroflaw.types import Inspection


def write_scan(path: Path, bulge: float = 0.0) -> Path:
    """A sphere of radius 10 as a file, with or without a bulge on top."""
    points, _ = dent(sphere_points(1500) * 10, (0, 0, 10), 4, (0, 0, bulge))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, points, fmt="%.6f")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scans of a good part, of a defective one and of nothing, in a small tree."""
    scans = tmp_path / "scans"
    write_scan(scans / "good.xyz")
    write_scan(scans / "deep" / "bulged.xyz", bulge=5)
    return scans


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    path = peak_checkpoint(tmp_path, monkeypatch)
    return ["--detector", str(path), "--device", "cpu"]


def relative(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_stands_for_the_scans_below_it(tmp_path: Path) -> None:
    names = ["b.xyz", "a/c.PLY", "a/b.pcd", "README.txt", ".git/x.ply", "notes.md", "gt/b.txt"]
    names += ["a/b.txt", "b_scores.ply", "b_heatmap.png", "b.json", "single.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, failures = find_scans([str(tmp_path)])
    assert relative(found, tmp_path) == ["a/b.pcd", "a/c.PLY", "b.xyz", "single.txt"]
    assert not failures


def test_files_folders_and_patterns_come_in_order_and_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found, failures = find_scans(["good.xyz", "*/b*.xyz", ".", "./good.xyz", "**/*.xyz"])
    assert found == [Path("good.xyz"), Path("deep", "bulged.xyz")]
    assert not failures


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "part[1]*.xyz")
    write_scan(tmp_path / "part1x.xyz")
    assert find_scans([str(path)]) == ([path], [])


def test_inputs_of_no_use_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    inputs = [str(tmp_path / name) for name in ("empty", "none.ply", "*.nothing")]
    found, failures = find_scans(inputs)
    assert not found
    assert [failure.path for failure in failures] == inputs
    for failure, said in zip(failures, ("no scan in", "no such file", "no file"), strict=True):
        assert said in failure.message


PATHS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "a/b", "A", "b_a"]),
        st.sampled_from(["part", "Part", "part_ply", "a_part_ply", "part-2", "x"]),
        st.sampled_from([".ply", ".pcd", ".PLY", ""]),
    ),
    unique=True,
    max_size=12,
)


@given(PATHS)
def test_no_two_scans_share_the_name_of_their_results(parts: list[tuple[str, str, str]]) -> None:
    paths = [Path("in", folder, stem + suffix) for folder, stem, suffix in parts]
    names = output_names(paths, Path("in"))
    assert len({name.casefold() for name in names.values()}) == len(paths)
    for path, name in names.items():
        assert path.stem in name
        assert os.sep not in name
    shown = display_names(paths)
    assert len(set(shown.values())) == len(paths)


def test_names_are_short_where_they_can_be() -> None:
    paths = [Path(name) for name in ("in/a/part.ply", "in/b/part.ply", "in/b/part.pcd", "x.ply")]
    names = list(output_names(paths, None).values())
    assert names == ["a_part_ply", "b_part_ply", "part_pcd", "x"]


def test_names_stay_within_what_file_systems_hold() -> None:
    paths = [Path("ü" * 120 + end) for end in (".ply", "1.ply", "2.ply")]
    names = output_names(paths, None).values()
    assert len(set(names)) == 3
    assert all(len(f".{name}_heatmap.png.12345678".encode()) <= 255 for name in names)


def test_results_never_overwrite_a_scan(tmp_path: Path) -> None:
    scans = [tmp_path / "part.xyz", tmp_path / "part_scores.ply"]
    names = output_names(scans, tmp_path)
    assert f"{names[scans[0]]}_scores.ply" != "part_scores.ply"
    assert names[scans[0]].startswith("part")


def test_every_scan_gets_its_three_files(folder: Path, detector: list[str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "results"
    assert main(["inspect", str(folder), "--out", str(out), *detector]) == 0
    written = sorted(path.name for path in out.iterdir())
    kinds = (".json", "_heatmap.png", "_scores.ply")
    assert written == [f"{stem}{kind}" for stem in ("bulged", "good") for kind in kinds]
    said = json.loads((out / "bulged.json").read_text())
    expected = Detector.load(detector[1], "cpu").inspect(folder / "deep" / "bulged.xyz")
    assert said["score"] == pytest.approx(expected.score)
    assert len(said["regions"]) == len(expected.regions) == 1
    colored = read(out / "bulged_scores.ply")
    assert np.allclose(colored.points, expected.scan.points, atol=1e-5)
    with Image.open(out / "bulged_heatmap.png") as picture:
        colors = np.asarray(picture).reshape(-1, 3)
    assert min(picture.size) > 300
    yellow = (colors[:, 0] > 180) & (colors[:, 1] > 160) & (colors[:, 2] < 90)
    assert yellow.sum() > 200


def test_the_same_scan_gets_the_same_files_byte_for_byte(
    folder: Path, detector: list[str], tmp_path: Path
) -> None:
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        main(["inspect", str(folder / "good.xyz"), "--out", str(out), *detector])
    for name in ("good_scores.ply", "good_heatmap.png"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()


def test_a_name_that_is_no_single_line_of_text_is_no_obstacle(
    detector: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_scan(tmp_path / "two\nlines \x1b[31m.xyz", bulge=5)
    assert main(["inspect", str(scan), "--out", str(tmp_path / "out"), *detector]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 3
    scan.write_text("1 2 three\n")
    assert main(["inspect", str(scan), *detector]) == 2
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert len(said.err.splitlines()) == 1


def test_without_pictures_there_is_no_picture(
    folder: Path, detector: list[str], tmp_path: Path
) -> None:
    main(["inspect", str(folder), "--out", str(tmp_path / "out"), "--no-pictures", *detector])
    assert not list((tmp_path / "out").glob("*.png"))
    assert len(list((tmp_path / "out").glob("*.json"))) == 2


def test_the_table_says_what_was_found_within_80_columns(
    folder: Path,
    detector: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["inspect", str(folder), *detector]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    rows = [line for line in shown.splitlines() if ".xyz" in line]
    good = next(line for line in rows if "good.xyz" in line)
    bulged = next(line for line in rows if "bulged.xyz" in line)
    assert "good" in good.split()
    assert "defective" in bulged
    assert "2 scans inspected, 1 defective" in shown


@pytest.fixture
def on_a_table(folder: Path) -> tuple[Path, NDArray[np.float64]]:
    """The scan of a bulged part on a table, in a folder beside a part without one, and the part."""
    part = dent(sphere_points(3000) * 10, (0, 0, 10), 4, (0, 0, 5))[0] + (0, 0, 9)
    part = part[part[:, 2] > 3]
    table = np.random.default_rng(0).uniform(-40, 40, (9000, 3)) * (1, 1, 0.001)
    points = np.concatenate([part, table])[np.random.default_rng(1).permutation(len(part) + 9000)]
    path = folder / "on_table.xyz"
    np.savetxt(path, points, fmt="%.6f")
    return path, points[points[:, 2] > 1]


def test_the_table_is_left_out_of_all_results_and_that_is_said(
    on_a_table: tuple[Path, NDArray[np.float64]],
    detector: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, part = on_a_table
    out = tmp_path / "out"
    command = ["inspect", str(path), "--out", str(out), "--remove-plane", *detector]
    assert main(command) == 0
    said = json.loads((out / "on_table.json").read_text())
    note = "9000 points of the supporting plane were left out"
    assert said["notes"] == [note]
    assert said["points"] == len(part)
    assert len(said["regions"]) == 1
    assert said["regions"][0]["center"] == pytest.approx((0, 0, 22), abs=3)
    assert np.allclose(read(out / "on_table_scores.ply").points, part, atol=1e-5)
    assert (out / "on_table_heatmap.png").is_file()
    shown = " ".join(capsys.readouterr().out.split())
    assert f"on_table.xyz: {note}" in shown
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scans"] == [said]


def test_without_the_option_the_table_stays(
    on_a_table: tuple[Path, NDArray[np.float64]],
    detector: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, part = on_a_table
    assert main(["inspect", str(path), "--json", *detector]) == 0
    (said,) = json.loads(capsys.readouterr().out)["scans"]
    assert said["points"] == len(part) + 9000
    assert said["notes"] == []


def test_a_part_without_a_table_is_inspected_whole_and_that_is_said(
    folder: Path, detector: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.ply").write_text("ply\nnonsense")
    command = ["inspect", str(folder), "--remove-plane", *detector]
    assert main(command) == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("no plane was left out:") == 2
    assert main([*command, "--json"]) == 2
    with_option = json.loads(capsys.readouterr().out)["scans"]
    assert main(["inspect", str(folder), "--json", *detector]) == 2
    without = json.loads(capsys.readouterr().out)["scans"]
    assert [one["score"] for one in with_option] == [one["score"] for one in without]
    assert [one["regions"] for one in with_option] == [one["regions"] for one in without]


def test_json_is_all_that_stdout_gets(
    folder: Path, detector: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.ply").write_text("ply\nnonsense")
    assert main(["inspect", str(folder), "--json", *detector]) == 2
    shown = capsys.readouterr()
    said = json.loads(shown.out)
    assert len(said["scans"]) == 2
    assert [Path(one["path"]).name for one in said["unusable"]] == ["broken.ply"]
    assert said["interrupted"] is False
    assert sum(one["defective"] for one in said["scans"]) == 1
    assert len(shown.err.splitlines()) == 1


def test_one_bad_file_does_not_stop_the_others(
    folder: Path, detector: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (folder / "broken.ply").write_text("ply\nnonsense")
    (folder / "empty.xyz").touch()
    out = tmp_path / "out"
    inputs = [str(folder), str(folder / "missing.ply")]
    code = main(["inspect", *inputs, "--out", str(out), "--fail-on-defect", *detector])
    assert code == 2
    shown = capsys.readouterr()
    assert {path.stem for path in out.glob("*.json")} == {"good", "bulged"}
    assert "3 could not be used" in shown.out
    lines = shown.err.splitlines()
    assert len(lines) == 3
    for name in ("broken.ply", "empty.xyz", "missing.ply"):
        assert sum(name in line for line in lines) == 1


@pytest.mark.parametrize(
    ("names", "options", "code"),
    [
        (["good.xyz"], [], 0),
        (["good.xyz"], ["--fail-on-defect"], 0),
        (["deep"], [], 0),
        (["deep"], ["--fail-on-defect"], 1),
        (["deep", "good.xyz"], ["--fail-on-defect", "--json"], 1),
        (["good.xyz"], ["--fail-on-defect", "--threshold", "0"], 1),
        (["deep", "none.xyz"], ["--fail-on-defect"], 2),
        (["none.xyz"], [], 2),
    ],
)
def test_the_exit_code_says_how_it_went(
    folder: Path, detector: list[str], names: list[str], options: list[str], code: int
) -> None:
    inputs = [str(folder / name) for name in names]
    assert main(["inspect", *inputs, *options, *detector]) == code


def test_ctrl_c_keeps_what_is_done_and_nothing_half_done(
    folder: Path,
    detector: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    whole = Detector.inspect

    def interrupted(self: Detector, subject: Any, prompt: str | None = None) -> Inspection:
        if "good" in str(subject):
            raise KeyboardInterrupt
        return whole(self, subject, prompt)

    monkeypatch.setattr(Detector, "inspect", interrupted)
    out = tmp_path / "out"
    assert main(["inspect", str(folder), "--out", str(out), "--json", *detector]) == 130
    said = json.loads(capsys.readouterr().out)
    assert said["interrupted"] is True
    assert len(said["scans"]) == 1
    names = sorted(path.name for path in out.iterdir())
    assert names == ["bulged.json", "bulged_heatmap.png", "bulged_scores.ply"]


def test_a_picture_that_fails_leaves_nothing_half_written(
    folder: Path, detector: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def half(self: Image.Image, file: Any, **options: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    out = tmp_path / "out"
    assert main(["inspect", str(folder / "good.xyz"), "--out", str(out), *detector]) == 2
    assert not [path for path in out.iterdir() if "heatmap" in path.name or path.suffix == ".json"]


def test_an_error_of_ours_costs_only_its_scan(
    folder: Path,
    detector: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Detector.inspect

    def failing(self: Detector, subject: Any, prompt: str | None = None) -> Inspection:
        if "good" in str(subject):
            raise RuntimeError("a\nbug")
        return whole(self, subject, prompt)

    monkeypatch.setattr(Detector, "inspect", failing)
    assert main(["inspect", str(folder), *detector]) == 2
    shown = capsys.readouterr()
    assert "1 scan inspected" in shown.out
    assert len(shown.err.splitlines()) == 1
    assert "unexpected RuntimeError (a bug)" in shown.err


def test_a_folder_that_cannot_be_made_is_an_error_before_the_work(
    folder: Path, detector: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(folder), "--out", str(folder / "good.xyz"), *detector]) == 2
    assert "good.xyz" in capsys.readouterr().err


def test_scans_are_not_kept_in_memory(folder: Path, detector: list[str]) -> None:
    request = inspect.Request((str(folder),), detector[1], "cpu")
    outcome = inspect.Outcome()
    inspect.inspect_all(request, find_scans([str(folder)])[0], outcome)
    assert len(outcome.rows) == 2
    assert all(len(region.index) == 0 for row in outcome.rows for region in row.regions)
