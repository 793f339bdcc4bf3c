"""The report shows the views of a method that looks at some, each with its map laid over it."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation_folder import SCANS, Page, evaluation, scan
from zeroflaw import checkpoint
from zeroflaw.cli import main
from zeroflaw.encoders.clip import CLIPConfig
from zeroflaw.geometry.view_render import BRIGHTEST
from zeroflaw.methods.align3d_ad import Align3DAD, Align3DADConfig
from zeroflaw.methods.base import Scores
from zeroflaw.methods.photograph import photograph
from zeroflaw.methods.pointad import PointAD
from zeroflaw.metrics.calibration import Scaling, Scalings
from zeroflaw.reports import gallery
from zeroflaw.reports.stored import read_stored, stored_path, write_stored
from zeroflaw.reports.view_sheet import GAP, view_sheet
from zeroflaw.score import VIEW, small_views
from zeroflaw.start import start
from zeroflaw.types import Scan, UInt8, ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 16
SURFACE = round(255 * BRIGHTEST)
LOWEST, HIGHEST = ((68 + 64, 1 + 64, 84 + 64), (255, 255, 37 + 64))  # in full light
CLIP = {
    "image": 56,
    "width": 32,
    "layers": 2,
    "heads": 2,
    "text_width": 32,
    "text_layers": 2,
    "text_heads": 2,
    "embedding": 32,
    "vv_layers": 1,
}


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PANEL", 48)


def nine_views() -> UInt8:
    """Nine views of a square, whose left half is anomalous in the last of them alone."""
    views = np.zeros((2, 9, SIZE, SIZE), np.uint8)
    views[0] = 255
    views[0, :, 4:12, 4:12] = SURFACE
    views[1, 8, :, : SIZE // 2] = 255
    return views


def test_the_page_shows_the_views_of_every_scan_in_the_gallery(tmp_path: Path) -> None:
    scans = tuple(replace(one, views=nine_views()) for one in SCANS)
    folder = evaluation(tmp_path, scans)
    assert main(["report", str(folder)]) == 0
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    sheets = [one for one in page.all("img") if one.get("class") == "views"]
    assert len(sheets) == 6, "of all scans that are chosen"
    assert sheets[0]["alt"].startswith("9 views of ")
    side = str(3 * SIZE + 2 * GAP)
    assert {(one["width"], one["height"]) for one in sheets} == {(side, side)}
    content = base64.b64decode(sheets[0]["src"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(content)).size == (int(side), int(side))
    assert "the views that the method looked at" in page.text


def test_a_method_without_views_has_none_on_its_page(tmp_path: Path) -> None:
    folder = evaluation(tmp_path)
    assert main(["report", str(folder)]) == 0
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert not [one for one in page.all("img") if one.get("class") == "views"]
    assert "the views that the method looked at" not in page.text


def test_views_count_toward_the_size_of_the_page() -> None:
    plain = scan("a", "cup", "dent", 0.5)
    without = gallery.pictures(plain, 0, 1)
    shown = gallery.pictures(replace(plain, views=nine_views()), 0, 1)
    assert shown.length == without.length + len(shown.views) > without.length
    assert (without.views, without.count, shown.count) == ("", 0, 9)


def test_views_lie_row_by_row_and_only_the_surface_is_coloured() -> None:
    sheet = view_sheet(nine_views(), 0, 1)
    step = SIZE + GAP
    assert sheet.shape == (3 * SIZE + 2 * GAP, 3 * SIZE + 2 * GAP, 4)
    last = sheet[2 * step :, 2 * step :]
    assert tuple(last[8, 5, :3]) == HIGHEST
    assert tuple(last[8, 10, :3]) == LOWEST
    assert tuple(sheet[8, 5, :3]) == LOWEST
    solid = np.zeros((SIZE, SIZE), bool)
    solid[4:12, 4:12] = True
    np.testing.assert_array_equal(last[..., 3] == 255, solid)
    assert not sheet[..., 3][SIZE:step].any(), "nothing between the views"


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (9, (3, 3)), (10, (3, 4))])
def test_any_number_of_views_fits(count: int, shape: tuple[int, int]) -> None:
    views = np.zeros((2, count, 8, 8), np.uint8)
    rows, columns = shape
    height, width = (8 * n + GAP * (n - 1) for n in (rows, columns))
    assert view_sheet(views, 0, 1).shape == (height, width, 4)


def test_what_faces_away_is_darker_and_the_colours_span_the_limits() -> None:
    views = np.full((2, 1, 2, 2), 153, np.uint8)  # 0.6
    views[0] = (SURFACE, SURFACE // 2)
    bright, dark = view_sheet(views, 0.2, 0.6)[0]
    assert tuple(bright[:3]) == HIGHEST
    assert (dark[:3] < bright[:3]).all()


def test_views_are_kept_with_the_scores_and_older_files_lack_them(tmp_path: Path) -> None:
    plain = SCANS[0]
    write_stored(tmp_path, plain)
    path = stored_path(tmp_path, plain.name)
    with np.load(path) as file:
        assert "views" not in file.files
    assert read_stored(path).views.shape == (2, 0, 0, 0)
    write_stored(tmp_path, replace(plain, views=nine_views()))
    np.testing.assert_array_equal(read_stored(path).views, nine_views())


@pytest.mark.parametrize(
    "views",
    [
        np.zeros(3, np.uint8),
        np.zeros((1, 9, 4, 4), np.uint8),
        np.zeros((2, 9, 4, 5), np.uint8),
        np.zeros((2, 9, 4, 4), np.float32),
        np.zeros((2, 2000, 1, 1), np.uint8),
        np.uint8(3),
    ],
)
def test_views_that_are_none_are_damage(tmp_path: Path, views: UInt8) -> None:
    write_stored(tmp_path, SCANS[0])
    path = stored_path(tmp_path, SCANS[0].name)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays, views=views)
    with pytest.raises(ZeroflawError, match="damaged scores"):
        read_stored(path)


def test_stored_views_are_small_and_on_the_scale_of_the_point_scores() -> None:
    shade, maps = torch.ones(9, 336, 336), torch.full((9, 336, 336), 0.8)
    maps[:, :168] = 0.2
    seen = Scores(torch.zeros(5), 0.5, views=torch.stack([shade, maps]))
    found = small_views(seen)
    assert found.shape == (2, 9, VIEW, VIEW)
    assert (found[0] == 255).all()
    assert (found[1, 0, 0, 0], found[1, 0, -1, 0]) == (51, 204)
    flat = Scalings(object=Scaling(), point=Scaling(temperature=1e9))
    assert (small_views(seen, flat)[1] == 128).all()
    assert small_views(Scores(torch.zeros(5), 0.5)).size == 0


@pytest.fixture
def ball() -> Scan:
    points = np.random.default_rng(0).normal(size=(600, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return Scan(points, labels=points[:, 2] > 0.9)


@pytest.mark.parametrize("name", ["pointad", "align3d_ad", "gs_clip"])
def test_every_method_of_views_shows_them(name: str, ball: Scan) -> None:
    torch.manual_seed(0)
    settings = {"clip": CLIP, "points": 200, **({"cloud": 200} if name == "gs_clip" else {})}
    method = start(name, settings, stand_in=True).eval()
    with torch.inference_mode():
        prepared = method.prepare(ball)
        scores = method.score(method(prepared), ball, prepared)
    assert scores.views is not None
    shade, maps = scores.views
    assert shade.shape == maps.shape == (9, 56, 56)
    assert (shade[:, 0, 0] == 1).all()
    assert (shade[:, 28, 28] < 1).all()
    assert 0 <= float(maps.min()) < float(maps.max()) <= 1


def test_a_scan_with_a_photograph_shows_its_views_too() -> None:
    row, column = (one.ravel() for one in np.mgrid[:24, :24])
    flat = np.stack([column, row, np.hypot(row - 12, column - 12) / 4], axis=1).astype(np.float64)
    colors = np.stack([10 * row, 10 * column, 0 * row], axis=1).astype(np.uint8)
    scan = Scan(flat, colors=colors, grid=(24, 24), valid=np.ones(len(flat), bool))
    assert photograph(scan, 56) is not None
    settings = {"clip": CLIP, "points": 96, "photograph": True}
    method = start("pointad", settings, stand_in=True).eval()
    with torch.inference_mode():
        prepared = method.prepare(scan)
        scores = method.score(method(prepared), scan, prepared)
    assert scores.views is not None
    assert scores.views.shape == (2, 9, 56, 56)


def test_the_maps_of_both_branches_are_weighed_like_the_points(ball: Scan) -> None:
    clip = CLIPConfig(**CLIP)  # type: ignore[arg-type]
    torch.manual_seed(0)
    own = Align3DAD(Align3DADConfig(clip=clip, points=96, color_point=0.25)).eval()
    with torch.inference_mode():
        prepared = own.prepare(ball)
        evidence = own(prepared)
        scores = own.score(evidence, ball, prepared)
    assert scores.views is not None
    expected = 0.25 * evidence.tensors["color_map"] + 0.75 * evidence.tensors["map"]
    torch.testing.assert_close(scores.views[1], expected[0])


def test_an_evaluation_keeps_the_views(tmp_path: Path, ball: Scan) -> None:
    folder = tmp_path / "scans" / "balls"
    (folder / "good").mkdir(parents=True)
    assert ball.labels is not None
    np.savez(folder / "one.npz", points=ball.points, labels=ball.labels)
    np.savez(folder / "good" / "two.npz", points=ball.points[::-1])
    torch.manual_seed(0)
    method = start("pointad", {"clip": CLIP, "points": 96}, stand_in=True)
    assert isinstance(method, PointAD)
    checkpoint.save(tmp_path / "views", method, {})
    given = ["evaluate", "--checkpoint", str(tmp_path / "views"), "--device", "cpu"]
    out = tmp_path / "out"
    assert main([*given, "--data", str(folder.parent), "--out", str(out)]) == 0
    assert main(["report", str(out)]) == 0
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    sheets = [one for one in page.all("img") if one.get("class") == "views"]
    assert sheets
    side = str(3 * 56 + 2 * GAP)
    assert (sheets[0]["width"], sheets[0]["height"]) == (side, side)
