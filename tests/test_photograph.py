"""The photograph of an organised scan: what it shows, and what it adds to PointAD's views."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from organised_trees import write_mvtec_3d_ad, write_png, write_tiff
from small_clip import CLIP
from zeroflaw import checkpoint, train
from zeroflaw.cells import with_settings
from zeroflaw.detector import Detector
from zeroflaw.encoders.clip import CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.methods.base import Prepared, Scores
from zeroflaw.methods.photograph import photograph
from zeroflaw.methods.pointad import PointAD, PointADConfig
from zeroflaw.types import Bool, Scan

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 56
BROWN, GREEN = (150, 90, 40), (20, 250, 60)


def disc(rows: int = 60, columns: int = 80, at: tuple[int, int] = (30, 50)) -> Scan:
    """A shallow cap of radius 20 cells at a cell, brown and a little mottled, nothing around it."""
    row, column = np.mgrid[:rows, :columns]
    away = np.hypot(row - at[0], column - at[1])
    points = np.stack([column, -row, 0.01 * (400 - away**2)], axis=-1).reshape(-1, 3)
    held = (away <= 20).reshape(-1)
    mottled = np.random.default_rng(0).integers(0, 20, size=(rows * columns, 1))
    colors = (np.array(BROWN) + mottled).astype(np.uint8)
    return Scan(points[held] * 1.0, colors=colors[held], grid=(rows, columns), valid=held)


def spot(scan: Scan, radius: float = 6.0) -> Bool:
    """Which points lie around one in the upper right of the cap."""
    middle = scan.points[:, :2].mean(axis=0) + 8.0
    return np.asarray(np.linalg.norm(scan.points[:, :2] - middle, axis=1) < radius)


def stained(scan: Scan) -> Scan:
    """The same shape with a stain, which only its colours show."""
    assert scan.colors is not None
    colors = scan.colors.copy()
    colors[spot(scan)] = GREEN
    return replace(scan, colors=colors)


def point_ad(**changes: object) -> PointAD:
    torch.manual_seed(0)
    method = PointAD(
        replace(PointADConfig(clip=CLIP, points=256, precision="float32"), **changes)  # type: ignore[arg-type]
    )
    method.use_clip(CLIPVisual(CLIP), CLIPText(CLIP))
    method.eval()
    return method


def scored(method: PointAD, scan: Scan) -> Scores:
    with torch.no_grad():
        prepared = method.prepare(scan)
        return method.score(method(prepared), scan, prepared)


def test_every_point_finds_its_colour_in_the_picture() -> None:
    scan = stained(disc())
    shot = photograph(scan, SIZE)
    assert shot is not None
    assert scan.colors is not None
    assert shot.picture.shape == (3, SIZE, SIZE)
    shown = shot.picture.flatten(1)[:, shot.pixel].T.numpy() * 255
    inner = np.linalg.norm(scan.points[:, :2] - scan.points[:, :2].mean(axis=0), axis=1) < 17
    stain, brown = spot(scan, 4.0), inner & ~spot(scan, 8.0)
    for chosen in (stain, brown):
        assert chosen.sum() > 30
        usual = np.median(scan.colors[chosen], axis=0)
        wanted = np.broadcast_to(usual, (chosen.sum(), 3))
        np.testing.assert_allclose(shown[chosen], wanted, atol=12)


def test_the_part_fills_the_picture_wherever_the_sensor_saw_it() -> None:
    near, far = (
        photograph(disc(at=(30, 50)), SIZE),
        photograph(disc(rows=200, columns=300, at=(150, 40)), SIZE),
    )
    assert near is not None
    assert far is not None
    shapes = [(shot.picture.amin(dim=0) < 0.9).numpy() for shot in (near, far)]
    for shape in shapes:
        rows, columns = np.nonzero(shape)
        assert np.ptp(rows) == pytest.approx(0.9 * SIZE, abs=2)
        assert np.ptp(columns) == pytest.approx(0.9 * SIZE, abs=2)
    assert np.mean(shapes[0] != shapes[1]) < 0.02
    assert float(near.picture[:, 0, 0].min()) == 1.0


def test_gaps_between_points_take_the_colour_beside_them_but_holes_stay_white() -> None:
    scan = disc()
    away = np.linalg.norm(scan.points[:, :2] - scan.points[:, :2].mean(axis=0), axis=1)
    random = np.random.default_rng(1).random(len(scan))
    keep = (away > 7) & ((random > 0.05) | (away > 18))  # a ring with missing pixels
    assert scan.valid is not None
    assert scan.colors is not None
    valid = np.zeros(len(scan.valid), dtype=np.bool_)
    valid[np.flatnonzero(scan.valid)[keep]] = True
    ring = replace(scan, points=scan.points[keep], colors=scan.colors[keep], valid=valid)
    shot = photograph(ring, SIZE)
    assert shot is not None
    middle = SIZE // 2
    assert float(shot.picture[:, middle, middle].min()) == 1.0
    row, column = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    radius = np.hypot(row, column) * 45 / SIZE
    band = torch.from_numpy((radius > 9) & (radius < 17))
    assert float(shot.picture[2][band].max()) < 0.35  # blue, which white would raise


@pytest.mark.parametrize("lacking", ["grid", "colors", "any difference of colour"])
def test_what_is_no_photograph(lacking: str) -> None:
    scan = disc()
    assert scan.colors is not None
    poorer = {
        "grid": replace(scan, grid=None, valid=None),
        "colors": replace(scan, colors=None),
        "any difference of colour": replace(scan, colors=np.full_like(scan.colors, 128)),
    }
    assert photograph(scan, SIZE) is not None
    assert photograph(poorer[lacking], SIZE) is None


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000), st.sampled_from([8, 14, 56]))
@settings(max_examples=30, deadline=None)
def test_any_small_grid_has_a_picture_with_all_points_in_it(
    rows: int, columns: int, seed: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random(rows * columns) < 0.7
    count = int(valid.sum())
    points, colors = rng.random((count, 3)), rng.integers(0, 256, (count, 3), dtype=np.uint8)
    shot = photograph(Scan(points, colors=colors, grid=(rows, columns), valid=valid), size)
    if shot is not None:
        assert shot.picture.shape == (3, size, size)
        assert 0 <= float(shot.picture.min()) <= float(shot.picture.max()) <= 1
        assert shot.pixel.shape == (count,)
        assert 0 <= int(shot.pixel.min()) <= int(shot.pixel.max()) < size * size


def test_a_stain_that_only_colours_show_changes_the_scores_with_the_photograph_alone() -> None:
    good, bad = disc(), stained(disc())
    blind, seeing = point_ad(), point_ad(photograph=True)
    assert torch.equal(scored(blind, good).point, scored(blind, bad).point)
    assert scored(blind, good).object == scored(blind, bad).object
    before, after = scored(seeing, good), scored(seeing, bad)
    change = (after.point - before.point).abs().numpy()
    assert change[spot(bad, 4.0)].mean() > 1e-3
    assert change[spot(bad, 4.0)].mean() > change[~spot(bad, 12.0)].mean()
    assert after.object != before.object


def test_maps_of_the_photograph_and_of_all_views_count_half_each() -> None:
    scan, method = stained(disc()), point_ad(photograph=True, sigma=0.0)
    with torch.no_grad():
        prepared = method.prepare(scan)
        evidence = method(prepared)
    shot = photograph(scan, SIZE)
    assert shot is not None
    views = method.carried(evidence.tensors["map"][0], scan)
    own = evidence.tensors["photo_map"][0, 0].flatten()[shot.pixel]
    found = method.score(evidence, scan, prepared)
    torch.testing.assert_close(found.point, (views + own) / 2)
    seen = [
        float(torch.softmax(evidence.tensors[name][0], dim=-1)[:, 1].mean())
        for name in ("view", "photo_view")
    ]
    assert found.object == pytest.approx(0.5 * float(found.point.max()) + 0.25 * sum(seen))


def test_a_scan_without_a_photograph_is_scored_as_ever() -> None:
    scan = replace(stained(disc()), colors=None)
    assert torch.equal(
        scored(point_ad(), scan).point, scored(point_ad(photograph=True), scan).point
    )


def test_nothing_learns_from_the_photograph_and_batches_may_mix() -> None:
    method, bare = point_ad(photograph=True), replace(disc(), colors=None)
    scans = [replace(one, labels=spot(one)) for one in (bare, stained(disc()))]
    parts = [method.prepare(scan) for scan in scans]
    batch = Prepared.stack(parts)
    assert batch["photo_patches"].shape == (2, 1, 16, 32)
    assert not batch["photo_patches"][0].any()
    assert batch["photo_patches"][1].any()
    for scan, part in zip(scans, parts, strict=True):
        target = method.target(scan, part)
        other = {name: tensor for name, tensor in part.tensors.items() if "photo" not in name}
        plain = point_ad()
        losses = method.losses(method(part), target)
        expected = plain.losses(plain(Prepared(other)), target)
        assert {name: float(term.detach()) for name, term in losses.items()} == pytest.approx(
            {name: float(term.detach()) for name, term in expected.items()}
        )


def test_a_trained_checkpoint_takes_photographs_by_a_change_of_its_settings(
    tmp_path: Path,
) -> None:
    scan = stained(disc())
    checkpoint.save(tmp_path / "detector", point_ad(), {})
    plain, _ = checkpoint.load(tmp_path / "detector")
    assert isinstance(plain, PointAD)
    changed = with_settings(plain, {"photograph": True}, "test")
    card = tmp_path / "detector.json"
    values = json.loads(card.read_text())
    values["config"]["photograph"] = True
    card.write_text(json.dumps(values))
    corrected, _ = checkpoint.load(tmp_path / "detector")
    assert isinstance(changed, PointAD)
    assert isinstance(corrected, PointAD)
    seen = scored(changed, scan).point
    assert torch.equal(seen, scored(corrected, scan).point)
    assert not torch.equal(seen, scored(plain, scan).point)


def test_it_is_trained_on_mvtec_3d_ad_and_inspects_a_tiff_beside_its_png(tmp_path: Path) -> None:
    root = write_mvtec_3d_ad(tmp_path / "data", {"cookie": "cap"}, train=1, test=1)
    config = tmp_path / "config.json"
    given = {"clip": asdict(CLIP), "points": 128, "precision": "float32", "photograph": True}
    config.write_text(json.dumps(given))
    out = tmp_path / "out"
    done = train.run(
        "pointad",
        ["mvtec_3d_ad", str(root)],
        out,
        config=config,
        device="cpu",
        epochs=1,
        stand_in=True,
        progress=False,
    )
    assert done == 0
    detector = Detector.load(out / "last", device="cpu")
    scan = stained(disc())
    assert scan.valid is not None
    assert scan.grid is not None
    assert scan.colors is not None
    points = np.zeros((*scan.grid, 3), np.float32)
    colors = np.zeros((*scan.grid, 3), np.uint8)
    points.reshape(-1, 3)[scan.valid] = scan.points
    colors.reshape(-1, 3)[scan.valid] = scan.colors
    write_tiff(tmp_path / "part.tiff", points)
    bare = detector.inspect(tmp_path / "part.tiff").point_scores
    write_png(tmp_path / "part.png", colors)
    colored = detector.inspect(tmp_path / "part.tiff")
    assert np.abs(colored.point_scores - bare).max() > 1e-4
    assert "its colours are from part.png" in colored.notes
