"""A trained checkpoint becomes a detector whose scores are probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from peak_method import Peak, PeakConfig
from zeroflaw import checkpoint
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.detector import Detector
from zeroflaw.geometry.rim import near_boundary
from zeroflaw.methods import METHODS
from zeroflaw.methods.compact import Compact, CompactConfig
from zeroflaw.metrics.calibration import Scaling, Scalings
from zeroflaw.metrics.ranking import auroc
from zeroflaw.score import hash_detector
from zeroflaw.ship import EDGE_SCALE, FALSE_ALARMS, POINT_FALSE_ALARMS, Judged, fit, judge, ship
from zeroflaw.synthesis.generate import Settings, Synthesized

SCANS = 24
GENTLE = PeakConfig(steepness=2.0)  # no score so high that rounding makes it 1


class MadeOnce(SyntheticScans):
    """Scans that are kept once they are made."""

    def __init__(self, settings: SyntheticSettings) -> None:
        super().__init__(settings)
        self.made: dict[int, Synthesized] = {}

    def __getitem__(self, number: int) -> Synthesized:
        if number not in self.made:
            self.made[number] = super().__getitem__(number)
        return self.made[number]


@pytest.fixture(scope="module")
def unseen() -> SyntheticScans:
    settings = Settings(points=(1500, 2000))
    return MadeOnce(SyntheticSettings(None, "validation", 5, scans=settings))


@pytest.fixture(scope="module")
def judged(unseen: SyntheticScans) -> Judged:
    return judge(Peak(GENTLE), unseen, SCANS)


@pytest.fixture
def shipped(tmp_path: Path, unseen: SyntheticScans, monkeypatch: pytest.MonkeyPatch) -> Detector:
    monkeypatch.setitem(METHODS, "peak", Peak)
    wrong = {"temperature": 9.0, "bias": 9.0}
    card = {"note": "kept", "calibration": {"object": wrong, "point": wrong}}
    path, _ = checkpoint.save(tmp_path / "trained", Peak(GENTLE), card)
    ship(path, unseen, tmp_path / "shipped", {"trained_on": "spheres"}, SCANS)
    return Detector.load(tmp_path / "shipped.safetensors", "cpu")


def test_half_of_the_scans_that_are_judged_are_defective(judged: Judged) -> None:
    assert judged.defective.tolist() == [True, False] * (SCANS // 2)
    assert set(judged.owner.tolist()) == set(range(SCANS))
    assert not judged.marked[judged.of_good_scans()].any()
    assert 0 < judged.marked.mean() < 0.5


def test_calibrated_scores_tell_how_many_are_defective(judged: Judged) -> None:
    scalings = fit(judged)
    whole = scalings.object.apply(judged.objects)
    point = scalings.point.apply(judged.points)
    assert whole.mean() == pytest.approx(0.5, abs=0.03)
    assert point.mean() == pytest.approx(judged.marked.mean(), rel=0.1)
    assert auroc(point, judged.marked) == pytest.approx(
        auroc(judged.points, judged.marked), abs=1e-3
    )


def test_the_card_holds_the_calibration_and_what_it_was_fitted_on(shipped: Detector) -> None:
    entry = shipped.card["calibration"]
    assert entry["object"]["prior"] == 0.5
    assert 0 < entry["point"]["prevalence"] < 0.5
    assert entry["fitted_on"] == f"{SCANS} synthetic validation scans, seed 5"
    assert (shipped.card["note"], shipped.card["trained_on"]) == ("kept", "spheres")


def test_an_earlier_calibration_is_replaced_not_added_to(
    shipped: Detector, unseen: SyntheticScans
) -> None:
    assert shipped.scalings == fit(judge(shipped.method, unseen, SCANS))


def test_thresholds_are_of_calibrated_scores(shipped: Detector, unseen: SyntheticScans) -> None:
    good = [shipped.inspect(unseen[number].scan) for number in range(1, SCANS, 2)]
    reached = np.mean([one.score >= shipped.threshold for one in good])
    assert abs(reached - FALSE_ALARMS) <= 1.5 / len(good)
    points = np.concatenate([one.point_scores for one in good])
    share = float((points >= np.float32(shipped.point_threshold)).mean())
    assert share == pytest.approx(POINT_FALSE_ALARMS, abs=0.001)


def test_scores_are_those_of_the_method_scaled(shipped: Detector, unseen: SyntheticScans) -> None:
    scan = unseen[0].scan
    plain = Detector(shipped.method).inspect(scan)
    found = shipped.inspect(scan)
    assert isinstance(shipped.scalings, Scalings)
    assert found.score == shipped.scalings.object.apply(plain.score)
    scaled = shipped.scalings.point.apply(plain.point_scores)
    np.testing.assert_array_equal(found.point_scores, scaled.astype(np.float32))


def test_scores_that_were_kept_are_not_taken_for_those_of_another_calibration(
    shipped: Detector,
) -> None:
    other = {**shipped.card, "threshold": 0.1}
    assert hash_detector(Detector(shipped.method, other)) == hash_detector(shipped)
    assert hash_detector(Detector(shipped.method)) != hash_detector(shipped)


def test_the_weights_stay_when_a_shipped_detector_is_calibrated_again(
    tmp_path: Path, shipped: Detector, unseen: SyntheticScans
) -> None:
    ship(tmp_path / "shipped", unseen, tmp_path / "again", {}, 8)
    _, card = checkpoint.load(tmp_path / "again")
    assert card["sha256"] == shipped.card["sha256"]
    assert Scaling.read(card["calibration"]["object"]).temperature > 0


def test_edges_of_good_one_sided_scans_are_shifted_to_look_like_their_rest(
    tmp_path: Path, unseen: SyntheticScans
) -> None:
    torch.manual_seed(0)
    small = {"dense": 900, "groups": 48, "size": 16, "width": 16, "depth": 1, "heads": 2}
    narrow = {"hidden": 16, "embedding": 16, "layers": (1,), "text_width": 16}
    method = Compact(CompactConfig(**small, **narrow, edge=True))  # type: ignore[arg-type]
    method.finish()
    path, _ = checkpoint.save(tmp_path / "trained", method, {})
    ship(path, unseen, tmp_path / "shipped", {}, SCANS)
    detector = Detector.load(tmp_path / "shipped.safetensors", "cpu")
    assert detector.method.get_buffer("edge_shift") != 0
    assert detector.method.config.edge_scale == EDGE_SCALE
    near, far = [], []
    for number in range(1, SCANS, 2):
        made = unseen[number]
        if made.sided == "one":
            edge = near_boundary(made.scan.points)
            scores = detector.inspect(made.scan).point_scores
            near.append(scores[edge])
            far.append(scores[~edge])
    ratio = np.concatenate(near).mean() / np.concatenate(far).mean()
    assert ratio == pytest.approx(1.0, abs=0.05)
