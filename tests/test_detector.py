"""A detector takes what people have and speaks of exactly their points."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import zeroflaw
from conftest import dent, sphere_points
from peak_method import Peak, peak_checkpoint
from zeroflaw.detector import Detector, choose_device, find_weights
from zeroflaw.encoders.weights import WEIGHTS
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Evidence, Prepared, Scores
from zeroflaw.types import Inspection, Scan, ScanError, ZeroflawError


def bulged(count: int = 3000) -> NDArray[np.float64]:
    """A sphere of radius 10 around (100, 0, 20) with a bulge of radius 4 on top."""
    points = sphere_points(count) * 10 + (100.0, 0.0, 20.0)
    return dent(points, (100.0, 0.0, 30.0), 4, (0.0, 0.0, 5.0))[0]


@pytest.fixture
def detector() -> Detector:
    return Detector(Peak())


def same(first: Inspection, second: Inspection) -> bool:
    return (
        first.score == second.score
        and np.array_equal(first.point_scores, second.point_scores)
        and len(first.regions) == len(second.regions)
        and all(
            np.array_equal(a.index, b.index) and np.array_equal(a.center, b.center)
            for a, b in zip(first.regions, second.regions, strict=True)
        )
    )


def test_the_defect_is_found_where_it_is(detector: Detector) -> None:
    found = detector.inspect(bulged())
    assert found.defective
    assert found.score > 0.9
    (region,) = found.regions
    assert np.allclose(region.center, (100, 0, 34), atol=2)
    assert 1 < region.size < 8
    assert region.peak == found.point_scores.max()
    assert found.point_scores[region.index].min() >= found.point_threshold


def test_a_scan_an_array_a_tensor_and_a_file_get_the_same_scores(
    detector: Detector, tmp_path: Path
) -> None:
    points = bulged()
    np.save(tmp_path / "part.npy", points)
    first = detector.inspect(Scan(points))
    kinds: list[Any] = [points, torch.from_numpy(points), points.tolist()]
    kinds += [tmp_path / "part.npy", str(tmp_path / "part.npy")]
    for kind in kinds:
        assert same(first, detector.inspect(kind))


def test_the_same_scan_gets_the_same_inspection_bit_for_bit(detector: Detector) -> None:
    scan = Scan(bulged())
    assert same(detector.inspect(scan), detector.inspect(scan))


def test_point_scores_belong_to_the_scans_own_points_in_their_order(detector: Detector) -> None:
    points = bulged()
    order = np.random.default_rng(0).permutation(len(points))
    scan = Scan(points)
    first, second = detector.inspect(scan), detector.inspect(points[order])
    assert first.scan is scan
    assert first.point_scores.dtype == np.float32
    assert first.point_scores.shape == (len(points),)
    assert np.allclose(first.point_scores[order], second.point_scores, atol=1e-6)


def test_points_that_are_not_finite_are_dropped_and_counted(detector: Detector) -> None:
    points = bulged()
    points[5] = np.nan
    found = detector.inspect(points)
    assert len(found.point_scores) == len(found.scan) == len(points) - 1
    assert found.scan.dropped == 1


def test_neither_input_nor_random_state_is_changed(detector: Detector) -> None:
    points = bulged()
    before, state = points.copy(), torch.random.get_rng_state()
    detector.inspect(points)
    assert np.array_equal(points, before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_bad_points_are_one_clear_line(detector: Detector) -> None:
    for bad in (np.zeros((0, 3)), np.zeros((10, 2)), np.full((50, 3), np.nan)):
        with pytest.raises(ScanError, match="scan in memory"):
            detector.inspect(bad)
    with pytest.raises(ScanError, match=r"missing\.ply"):
        detector.inspect("missing.ply")


def test_a_checkpoint_carries_its_thresholds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = peak_checkpoint(tmp_path, monkeypatch, threshold=0.97, point_threshold=0.25)
    for given in (path, path.with_suffix(""), str(path)):
        detector = Detector.load(given, device="cpu")
        assert (detector.threshold, detector.point_threshold) == (0.97, 0.25)
        assert detector.name == f"peak ({tmp_path.name}/peak)"
    found = detector.inspect(bulged())
    assert (found.threshold, found.point_threshold) == (0.97, 0.25)
    assert found.detector == detector.name
    own = Detector.load(path, "cpu", threshold=1.0).inspect(bulged())
    assert own.threshold == 1.0
    assert own.defective == (own.score >= 1.0)
    assert np.array_equal(own.point_scores, found.point_scores)


def test_an_unknown_name_says_what_there_is() -> None:
    for name in ("no-such-detector", "nowhere/best.safetensors", ""):
        with pytest.raises(ZeroflawError, match=r"no such detector; shipped are"):
            find_weights(name)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"compact"}))
def test_the_name_of_a_method_says_how_to_get_a_detector(name: str) -> None:
    with pytest.raises(ZeroflawError, match="no such detector") as told:
        find_weights(name)
    line = str(told.value)
    assert f"zeroflaw train {name} --data" in line
    assert all(f"zeroflaw weights fetch {one}" in line for one in METHODS[name].published)
    assert set(METHODS[name].published) <= set(WEIGHTS)
    assert METHODS[name].published
    assert "\n" not in line


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps", "", "cpu:x"])
def test_a_bad_device_is_one_clear_line(device: str) -> None:
    with pytest.raises(ZeroflawError, match=r"^device ") as caught:
        choose_device(device)
    assert "\n" not in str(caught.value)
    assert "cpu" in str(caught.value)


def test_auto_is_cuda_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    "broken",
    [
        lambda scores: Scores(scores.point[:-1], scores.object),
        lambda scores: Scores(scores.point * float("nan"), scores.object),
        lambda scores: Scores(scores.point, float("nan")),
    ],
)
def test_scores_that_are_none_never_get_out(broken: Callable[[Scores], Scores]) -> None:
    class Broken(Peak):
        def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
            return broken(super().score(evidence, scan, prepared))

    with pytest.raises(ZeroflawError, match="detector peak gave"):
        Detector(Broken()).inspect(bulged())


def test_the_public_names_are_there_and_import_is_light() -> None:
    assert zeroflaw.Detector is Detector
    assert zeroflaw.Scan is Scan
    assert set(zeroflaw.__all__) <= set(dir(zeroflaw))
    with pytest.raises(AttributeError, match="no attribute 'Detektor'"):
        zeroflaw.Detektor  # noqa: B018
    code = "import sys, zeroflaw; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_shipped_detector_finds_the_dent_of_the_bundled_scan_and_passes_its_twin() -> None:
    examples = Path(__file__).parent.parent / "examples"
    shipped = Detector.load("compact", device="cpu")
    dented, good = (shipped.inspect(examples / f"flange_{n}.ply") for n in ("dent", "good"))
    assert dented.defective
    assert not good.defective
    assert dented.scan.labels is not None
    assert dented.scan.labels[dented.regions[0].index].mean() > 0.3
    assert dented.point_scores[dented.scan.labels].mean() > 5 * dented.point_scores.mean()


def test_a_card_makes_probabilities_of_the_scores_and_keeps_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"object": (3.0, -0.5), "point": (2.0, -3.0)}
    entry = {name: {"temperature": t, "bias": b} for name, (t, b) in parts.items()}
    plain = Detector.load(peak_checkpoint(tmp_path, monkeypatch), "cpu").inspect(bulged())
    path = peak_checkpoint(tmp_path, monkeypatch, calibration=entry, threshold=0.6)
    detector = Detector.load(path, "cpu")
    found = detector.inspect(bulged())
    logit = np.log(plain.score / (1 - plain.score))
    assert found.score == pytest.approx(1 / (1 + np.exp(-(logit / 3.0 - 0.5))))
    assert found.score < plain.score
    order = np.argsort(plain.point_scores, kind="stable")
    assert np.all(np.diff(found.point_scores[order]) >= 0)
    assert found.point_scores.dtype == np.float32
    assert found.threshold == 0.6


@pytest.mark.parametrize("entry", [[], {}, {"object": {"temperature": 1.0, "bias": 0.0}}, 3])
def test_a_card_with_a_broken_calibration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: Any
) -> None:
    path = peak_checkpoint(tmp_path, monkeypatch, calibration=entry)
    with pytest.raises(ZeroflawError, match=r"peak\.json: 'calibration': .*correct the card"):
        Detector.load(path)
