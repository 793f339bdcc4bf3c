"""The documents' pictures of a detector show what they say they show."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from docs import detector_pictures
from docs.detector_pictures import (
    LARGEST,
    Case,
    cases,
    gallery,
    hits_and_misses,
    main,
    outside,
    parser,
    quality_chart,
    read_logs,
    save,
    tiles,
    typical,
    view_of,
)
from docs.pictures import TILE
from PIL import Image

from zeroflaw import benchmark_synthetic
from zeroflaw.contestants import Contestant, load_detector
from zeroflaw.datasets.held_out_pairs import Pair
from zeroflaw.io.colors import viridis
from zeroflaw.reports.synthetic_stored import Facts, Judged, read_kept, write_kept
from zeroflaw.synthesis import SOLIDS, Settings, good_twin, synthesize
from zeroflaw.synthetic_folder import facts_path, folder_of, scan_names
from zeroflaw.types import ZeroflawError

POINTS = 200
HEADER = "epoch,loss,validation_point_auroc,validation_object_auroc,seconds\n"


def case(
    number: int, kind: str = "dent", quality: float = 0.8, *, found: bool = True, size: float = 0.2
) -> Case:
    """A case whose scores tell the share `quality` of 100 normal points from 100 defective ones."""
    region = np.where(np.arange(POINTS) < POINTS // 2, 0, -1)
    point = np.where(region == 0, 0.5, 0.0).astype(np.float32)
    point[round(POINTS // 2 * (1 + quality)) :] = 1.0
    overlap = np.array([0.05, 0.5 if found else 0.09], np.float32)
    facts = Facts(
        kind, "a/b", "one", size, 0.02, 0.001, region, np.zeros(POINTS, bool), f"hash {number}"
    )
    return Case(number, facts, Judged(point, 0.5, overlap, np.array(["dent", ""]), 0.1, "me"))


def numbers(chosen: list[Case]) -> list[int]:
    return [one.number for one in chosen]


def pair(kind: str, one_sided: bool, seed: int = 4) -> Pair:
    shape = SOLIDS["superquadric"](np.random.default_rng(seed))
    settings = Settings(
        points=(3000, 3000),
        kinds=(kind,),
        defective_share=1.0,
        one_sided_share=float(one_sided),
        sizes=(0.2, 0.25),
        amplitudes=(0.2, 0.3),
        noise=(0.0001, 0.0002),
    )
    made = synthesize(shape, seed, settings)
    assert made.kind == kind
    return Pair(made, good_twin(shape, seed, settings), shape.key)


def test_the_typical_case_is_the_one_in_the_middle_of_its_kind() -> None:
    known = [case(n, quality=q) for n, q in enumerate((0.2, 0.9, 0.7, 0.6, 1.0))]
    assert numbers(typical(known, known, 1)) == [2]
    assert numbers(typical(known, known, 9)) == [2, 3, 1, 4, 0]


def test_every_kind_has_its_turn_before_one_has_two() -> None:
    known = [case(n, kind) for n, kind in enumerate(("dent", "dent", "dent", "hole", "crack"))]
    rest = [*known, case(5, "crack"), case(6, "hole"), case(7, "hole")]
    chosen = typical(known, rest, 4)
    assert [one.facts.kind for one in chosen] == ["dent", "crack", "hole", "dent"]


def test_a_defect_is_found_where_a_region_overlaps_it() -> None:
    known = [case(0), case(1, found=False)]
    hits, misses = hits_and_misses(known)
    assert (numbers(hits), numbers(misses)) == ([0], [1])


def test_clear_defects_that_were_missed_come_first() -> None:
    small = [case(n, "bend", found=False, size=0.04) for n in range(3)]
    large = [case(n, "rough", found=False) for n in range(3, 5)]
    _, misses = hits_and_misses([*small, *large], 3)
    assert numbers(misses) == [3, 4, 0]


def test_without_misses_there_are_none_to_show() -> None:
    assert hits_and_misses([case(0)], 4)[1] == []


@pytest.mark.parametrize("kind", ["dent", "bulge"])
@pytest.mark.parametrize("one_sided", [False, True])
def test_a_defect_faces_away_from_the_parts_middle(kind: str, one_sided: bool) -> None:
    made = pair(kind, one_sided=one_sided)
    scan = made.defective.scan
    assert scan.labels is not None
    middle = pair(kind, one_sided=False).good.scan.points.mean(axis=0)
    assert outside(made) @ (scan.points[scan.labels].mean(axis=0) - middle) > 0
    assert view_of(made).rotation[2] @ outside(made) > 0


def test_the_heat_map_stands_beside_the_labels() -> None:
    made = pair("bulge", one_sided=False)
    labels = made.defective.scan.labels
    assert labels is not None
    right, wrong = (
        np.asarray(tiles(made, given.astype(np.float32), 1.0), np.int64)
        for given in (labels, ~labels)
    )
    assert (right[:, :TILE] == wrong[:, :TILE]).all(), "the labels do not depend on scores"
    assert (right[:, TILE:] != wrong[:, TILE:]).any()
    orange = right[:, :TILE, 0] - right[:, :TILE, 2] > 60
    yellow = right[:, TILE:, 1] - right[:, TILE:, 2] > 60
    assert orange.sum() > 200
    assert (yellow & orange).sum() > 0.8 * yellow.sum()
    assert viridis(np.ones(1, np.float32))[0, 2] < 60, "the brightest colour is yellow"


def test_the_picture_is_small_and_the_same_again(tmp_path: Path) -> None:
    made = pair("dent", one_sided=True)
    labels = made.defective.scan.labels
    assert labels is not None
    point = np.linspace(0, 1, len(labels), dtype=np.float32)
    facts = replace(case(0).facts, region=np.where(labels, 0, -1))
    shown = Case(0, facts, replace(case(0).judged, point=point))
    columns = {"Found": [(shown, made)], "Missed": []}
    for name in ("a.png", "b.png"):
        save(gallery(columns, 0.3, "about"), tmp_path / name)
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert len(first) <= LARGEST


def test_only_this_detectors_scores_count(tmp_path: Path) -> None:
    contestant: Contestant = load_detector("compact")
    known = [case(number) for number in range(2)]
    for one, identity in zip(known, (contestant.identity, "another's"), strict=True):
        scan = scan_names(one.number)[0]
        write_kept(facts_path(tmp_path, scan), one.facts)
        judged = replace(one.judged, identity=identity)
        write_kept(folder_of(tmp_path, contestant.name) / f"{scan}.npz", judged)
    (kept,) = cases(tmp_path, contestant, 3)
    assert kept.number == 0
    assert kept.auroc == pytest.approx(known[0].auroc)


def lines(svg: str) -> dict[str, list[list[float]]]:
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}polyline")
    return {
        str(one.get("class")): [
            [float(v) for v in place.split(",")] for place in str(one.get("points")).split()
        ]
        for one in found
    }


def test_the_chart_rises_with_the_figures() -> None:
    rows = [
        {"validation_point_auroc": 0.6, "validation_object_auroc": 0.5},
        {"validation_point_auroc": 0.9},
        {"validation_point_auroc": 0.8, "validation_object_auroc": 0.7},
    ]
    found = lines(quality_chart(rows))
    across, up = np.array(found["main"]).T
    assert list(np.diff(across) > 0) == [True, True]
    assert list(np.sign(np.diff(up))) == [-1, 1], "up in the picture is a smaller y"
    assert len(found["second"]) == 2, "an epoch without the figure is left out"


def test_a_figure_below_chance_is_inside_the_chart() -> None:
    rows = [{"validation_point_auroc": value} for value in (0.23, 0.4, 0.7)]
    svg = quality_chart(rows)
    assert max(y for _, y in lines(svg)["main"]) <= 212
    assert ">0.2<" in svg


def test_logs_of_several_parts_are_one_training(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text(f"{HEADER}1,0.9,0.7,0.6,10\n2,0.8,0.75,,20\n")
    second.write_text(f"{HEADER}1,0.7,0.8,nan,30\n")
    rows = read_logs([first, second])
    assert [row["validation_point_auroc"] for row in rows] == [0.7, 0.75, 0.8]
    assert ["validation_object_auroc" in row for row in rows] == [True, False, False]


@pytest.mark.parametrize(
    "text", [None, "", "epoch,loss\n1,0.5\n", f"{HEADER}1,0.5,much,0.5,1\n", "\0\n"]
)
def test_what_is_no_log_ends_in_one_line(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ZeroflawError, match=r"log\.csv"):
        read_logs([path])
    assert main(["--log", str(path), "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert said.count("\n") == 1
    assert not (tmp_path / "training.svg").exists()


def test_the_chart_is_written_beside_the_others(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"{HEADER}1,0.9,0.7,0.6,10\n")
    assert main(["--log", str(path), "--out", str(tmp_path)]) == 0
    ElementTree.parse(tmp_path / "training.svg")


@pytest.mark.parametrize("name", ["docs/detector.md", "runs/compact.sh"])
def test_written_commands_are_understood(name: str) -> None:
    text = (Path(__file__).parent.parent / name).read_text(encoding="utf-8")
    commands = [line.split("-m docs.detector_pictures")[1:] for line in text.splitlines()]
    found = [shlex.split(command) for line in commands for command in line]
    assert found
    for arguments in found:
        parser().parse_args(arguments)


def test_a_picture_comes_of_the_benchmarks_own_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_synthetic, "check_synthesis", lambda: None)
    bench, out = tmp_path / "bench", tmp_path / "new" / "pictures"
    assert main(["--benchmark", str(bench), "--pairs", "1", "--out", str(out)]) == 0
    with Image.open(out / "hits_and_misses.png") as picture:
        assert picture.width > 4 * TILE
    assert str(out / "hits_and_misses.png") in capsys.readouterr().out
    facts = read_kept(facts_path(bench, scan_names(0)[0]), Facts)
    assert facts is not None
    assert facts.kind == "bulge"


def test_an_interrupted_benchmark_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_pictures, "compare", lambda *_: benchmark_synthetic.INTERRUPTED)
    assert main(["--benchmark", str(tmp_path / "bench"), "--out", str(tmp_path)]) == 130
    assert not list(tmp_path.glob("*.png"))
