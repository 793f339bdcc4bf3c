"""The rivals of the benchmark: trained the same again, read without code, beside the detector."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import compact, rival_trees
from benchmarks.rival_btp import CONFIG, WholeBTP
from benchmarks.rival_trees import Forest, as_arrays, learn_objects, some_rows
from benchmarks.rivals import BoostedTrees, SelfNovelty, SingleDescriptor, loaders
from sklearn.ensemble import HistGradientBoostingClassifier

from zeroflaw import checkpoint
from zeroflaw.contestants import Contestant
from zeroflaw.datasets.held_out_pairs import HeldOutPairs
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.detector import Detector
from zeroflaw.methods.base import Target
from zeroflaw.methods.btp import BTP
from zeroflaw.synthesis.generate import Settings
from zeroflaw.types import Float32, Scan, ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")
FEATURES = 120


def forest(columns: int = FEATURES, seed: int = 0) -> tuple[HistGradientBoostingClassifier, Forest]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(300, columns)).astype(np.float32)
    labels = rows[:, 0] + rows[:, 1] ** 2 > 0.8
    model = HistGradientBoostingClassifier(max_iter=8, early_stopping=False).fit(rows, labels)
    return model, as_arrays(model, {"trees": 8})


def few_scans() -> SyntheticScans:
    settings = Settings(points=(1200, 1500))
    return SyntheticScans(SyntheticSettings(None, "train", 3, scans=settings))


def test_trees_kept_as_arrays_say_what_scikit_learn_says(tmp_path: Path) -> None:
    model, found = forest(columns=5)
    rows = np.random.default_rng(1).normal(size=(500, 5)).astype(np.float32)
    found.write(tmp_path / "forest.npz")
    again = Forest.read(tmp_path / "forest.npz")
    np.testing.assert_allclose(again.logits(rows), model.decision_function(rows), atol=1e-6)
    assert again.digest() == found.digest() != forest(columns=5, seed=9)[1].digest()
    assert again.about == {"trees": 8}


def test_the_scans_score_is_learned_from_the_points() -> None:
    scans = [few_scans()[number] for number in range(4)]
    marks = {one.scan.points.tobytes(): np.asarray(one.scan.labels) for one in scans}
    assert sum(mark.any() for mark in marks.values()) == 2
    learned = learn_objects(forest()[1], scans)
    logits = np.linspace(-3, 3, 100)
    assert learned.object.shape == (6,)
    assert 0 < learned.whole(logits) < 1
    assert learned.whole(logits) != forest()[1].whole(logits)


def test_the_rows_of_a_scan_favour_its_defect_and_are_the_same_again() -> None:
    made = few_scans()[0]
    (rows, labels), (same, _) = some_rows(made, 0), some_rows(made, 0)
    np.testing.assert_array_equal(rows, same)
    assert rows.shape == (rival_trees.POINTS, FEATURES)
    assert np.isfinite(rows).all()
    assert labels.mean() > np.asarray(made.scan.labels).mean()


def test_the_forest_goes_on_from_the_rows_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rival_trees, "training_scans", lambda corpus: few_scans())
    monkeypatch.setattr(rival_trees, "CHUNK", 2)
    monkeypatch.setattr(rival_trees, "TREES", 4)
    first = Forest.read(rival_trees.train_trees(None, tmp_path, minutes=10, pairs=6))
    (tmp_path / rival_trees.FOREST).unlink()
    (tmp_path / "rows_00002.npz").unlink()
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("rows_0000[04].npz"))]
    again = Forest.read(rival_trees.train_trees(None, tmp_path, minutes=10, pairs=6))
    assert again.digest() == first.digest()
    assert times == [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("rows_0000[04].npz"))]


@pytest.mark.parametrize(
    "contestant",
    [
        SelfNovelty(),
        SingleDescriptor("roughness_32", 1.0, True),
        SingleDescriptor("bending_96", -1.0, False),
        BoostedTrees(forest()[1]),
    ],
    ids=lambda one: f"{one.name} {one.identity}"[:30],
)
def test_a_rival_scores_every_point_and_the_scan(
    contestant: Contestant, dented_sphere: Scan
) -> None:
    found = contestant.judge(replace(dented_sphere, labels=None))
    again = contestant.judge(replace(dented_sphere, labels=None))
    assert found.point.shape == (len(dented_sphere),)
    assert np.isfinite(found.point).all()
    np.testing.assert_array_equal(found.point, again.point)
    assert found.object == again.object


def test_novelty_is_higher_where_the_dents_edge_is(dented_sphere: Scan) -> None:
    point: Float32 = SelfNovelty().judge(dented_sphere).point
    assert dented_sphere.labels is not None
    assert point[dented_sphere.labels].mean() > 1.2 * point[~dented_sphere.labels].mean()


SMALL = replace(
    CONFIG, points=128, groups=16, patch_size=16, width=20, depth=4, layers=(1, 2, 3, 4)
)


def test_all_of_btp_learns_and_its_checkpoint_is_read_as_btp(
    tmp_path: Path, dented_sphere: Scan, good_sphere: Scan
) -> None:
    torch.manual_seed(0)
    method = WholeBTP(SMALL)
    items = [method.prepare(scan) for scan in (dented_sphere, good_sphere)]
    targets = [
        method.target(scan, item)
        for scan, item in zip((dented_sphere, good_sphere), items, strict=True)
    ]
    method.train()
    evidence = method(type(items[0]).stack(items))
    terms = method.losses(evidence, Target.stack(targets))
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    learning = {name for name, one in method.encoder.named_parameters() if one.grad is not None}
    assert "cls_token" in learning
    assert len(learning) > 20
    method.eval()
    checkpoint.save(tmp_path / "best", method, {})
    found = Detector.load(tmp_path / "best.safetensors", device="cpu")
    assert type(found.method) is BTP
    with torch.inference_mode():
        prepared = method.prepare(dented_sphere)
        own = method.score(method(prepared), dented_sphere, prepared)
    _, points, _ = found.scores(dented_sphere)
    np.testing.assert_allclose(points, own.point.numpy(), atol=1e-5)


def test_a_rival_that_is_not_trained_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="train it first with --train-rivals"):
        loaders(("trees",), HeldOutPairs(), 2, tmp_path)


def test_a_card_takes_the_first_detectors_figures_in(tmp_path: Path) -> None:
    row = {"point_auroc": 0.9, "object_auroc": None, "point_pro": 0.5}
    figures = {"edge_ratio": 1.1, "naming": {"right": None}, "rows": {"all": row}}
    whole = {"benchmark": "synthetic-v1 (solids)", "pairs": 2, "detectors": [{"figures": figures}]}
    (tmp_path / "results.json").write_text(json.dumps(whole))
    card = tmp_path / "card.json"
    card.write_text('{"method": "compact", "figures": {"loss": 1.0}}')
    compact.fill_card(tmp_path, card)
    told = json.loads(card.read_text())["figures"]
    assert told["loss"] == 1.0
    assert told["synthetic-v1 (solids), 2 pairs, per cent"] == {
        "edge ratio": 1.1,
        "names right": None,
        "all, P-AUROC": 90.0,
        "all, O-AUROC": None,
        "all, P-PRO": 50.0,
    }


def test_rivals_that_are_not_trained_are_left_out_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def noted(names: tuple[str, ...], *rest: object) -> list[object]:
        asked.append(names)
        return []

    monkeypatch.setattr(compact, "loaders", noted)
    monkeypatch.setattr(compact, "compare", lambda *given: 1)
    given = Namespace(
        out=tmp_path, corpus=None, pairs=2, workers=1, detector=[], rivals=None, card=None
    )
    compact.score(given)
    (tmp_path / "rivals" / "trees").mkdir(parents=True)
    (tmp_path / "rivals" / "trees" / "forest.npz").touch()
    compact.score(given)
    assert asked == [("descriptor", "novelty"), ("descriptor", "novelty", "trees")]
