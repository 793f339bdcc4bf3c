"""Scans synthesised for training: split by category, in pairs, the same whoever makes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peak_method import Peak, PeakConfig
from zeroflaw import checkpoint, pretrain
from zeroflaw.batches import Item, batches
from zeroflaw.cli import main
from zeroflaw.datasets.synthetic_pairs import (
    SyntheticScans,
    SyntheticSettings,
    split_of,
    split_of_solid,
)
from zeroflaw.distributed import Ranks
from zeroflaw.earlier import go_on_from, load_earlier
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Prepared, Target
from zeroflaw.methods.compact import AWAY, KINDS, Compact, CompactConfig
from zeroflaw.synthesis.generate import Settings
from zeroflaw.synthesis.solids import SOLIDS
from zeroflaw.types import ZeroflawError

FEW = Settings(points=(1500, 2000))
CONFIG = CompactConfig(
    dense=1200,
    groups=48,
    size=16,
    width=16,
    depth=1,
    heads=2,
    hidden=16,
    embedding=16,
    layers=(1,),
    text_width=16,
)


def test_every_family_is_in_one_split_and_each_split_has_some() -> None:
    assert {split_of_solid(family) for family in SOLIDS} == {"train", "validation", "test"}


def test_the_split_of_a_category_depends_on_its_name_alone() -> None:
    splits = [split_of(f"source/category {number}") for number in range(400)]
    assert splits == [split_of(f"source/category {number}") for number in range(400)]
    assert 10 < splits.count("test") < 50
    assert 10 < splits.count("validation") < 50


def test_scans_come_in_pairs_of_a_defective_one_and_its_twin() -> None:
    scans = SyntheticScans(SyntheticSettings(None, "train", seed=3, scans=FEW))
    bad, good = scans[6], scans[7]
    assert bad.kind != "good"
    assert bad.scan.labels is not None
    assert bad.scan.labels.any()
    assert good.kind == "good"
    assert good.scan.labels is not None
    assert not good.scan.labels.any()
    assert bad.sided == good.sided


def test_a_scan_depends_on_seed_and_number_alone() -> None:
    settings = SyntheticSettings(None, "train", seed=3, scans=FEW)
    straight = [SyntheticScans(settings)[number].scan.points for number in range(4)]
    scans = SyntheticScans(settings)
    for number in (3, 1, 0, 2):
        np.testing.assert_array_equal(scans[number].scan.points, straight[number])


def test_workers_do_not_change_what_is_trained_on() -> None:
    scans = SyntheticScans(SyntheticSettings(None, "train", seed=1, scans=FEW))
    dataset = pretrain.PreparedPairs(scans, CONFIG, points=256)
    alone = list(pretrain.FreshScans(dataset, 4, 0).epoch(1, range(1, 4)))
    spread = list(pretrain.FreshScans(dataset, 4, 1).epoch(1, range(1, 4)))
    assert len(alone) == len(spread) == 3
    for (ours, _), (theirs, _) in zip(alone, spread, strict=True):
        for name, tensor in ours.tensors.items():
            torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=0)


def same_items(first: Item, second: Item) -> bool:
    pairs = ((first[0].tensors, second[0].tensors), (first[1].tensors, second[1].tensors))
    return (
        all(torch.equal(one[name], other[name]) for one, other in pairs for name in one)
        and torch.equal(first[1].point, second[1].point)
        and torch.equal(first[1].object, second[1].object)
    )


def test_pairs_kept_in_a_folder_are_those_that_were_made(tmp_path: Path) -> None:
    scans = SyntheticScans(SyntheticSettings(None, "train", seed=1, scans=FEW))
    kept = pretrain.PreparedPairs(scans, CONFIG, points=256, cache=tmp_path)
    made = kept.make(0)
    for pair in (kept[0], kept[0]):  # made, then read
        assert all(same_items(one, other) for one, other in zip(pair, made, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["0.pt"]


def test_after_the_distinct_scans_the_first_come_again() -> None:
    scans = SyntheticScans(SyntheticSettings(None, "train", seed=1, scans=FEW))
    dataset = pretrain.PreparedPairs(scans, CONFIG, points=256)
    source = pretrain.FreshScans(dataset, 2, 0, distinct=4)
    first, second, third = (list(source.epoch(number, range(2))) for number in range(3))
    assert all(same_items(one, other) for one, other in zip(first, third, strict=True))
    assert not torch.equal(first[0][0]["location"], second[0][0]["location"])


def test_defective_points_are_favoured_beside_those_that_are_drawn_whatever_they_are() -> None:
    labels = torch.zeros(4000)
    labels[:300] = 1
    keep, fair = pretrain.kept_points(labels, 400, 0.25, seed=1)
    assert len(keep) == len(set(keep.tolist())) == len(fair) == 400
    assert 90 <= int(labels[keep].sum()) <= 100
    assert labels[keep[~fair]].all()
    shares = []
    for seed in range(60):
        keep, fair = pretrain.kept_points(labels, 400, 0.25, seed=seed)
        shares.append(float(labels[keep[fair]].mean()))
    assert np.mean(shares) == pytest.approx(300 / 4000, abs=0.005)


def test_where_most_is_defective_or_nothing_left_all_points_are_fair() -> None:
    labels = torch.ones(4000)
    assert pretrain.kept_points(labels, 400, 0.25, seed=1)[1].all()
    few = torch.zeros(150)
    few[3] = 1
    keep, fair = pretrain.kept_points(few, 400, 0.25, seed=1)
    assert fair.all()
    assert set(keep.tolist()) == set(range(150))


def test_processes_share_an_epoch_and_make_each_scan_once() -> None:
    asked: list[list[int]] = [[], []]

    class Numbers:
        """Pairs of items that say their number."""

        def __init__(self, rank: int) -> None:
            self.rank = rank

        def __getitem__(self, pair: int) -> list[Item]:
            asked[self.rank].append(pair)
            return [
                (Prepared({"number": torch.tensor([n])}), Target(torch.zeros(1, 1), torch.zeros(1)))
                for n in (2 * pair, 2 * pair + 1)
            ]

    found: list[list[float]] = [[], []]
    for rank in range(2):
        source = pretrain.FreshScans(Numbers(rank), 12, workers=0)  # type: ignore[arg-type]
        for batch in batches(source, 1, 0, 8, Ranks(rank, 2)):
            found[rank] += batch.prepared["number"].tolist()
    assert found == [[12, 13, 14, 15, 20, 21], [16, 17, 18, 19, 22, 23]]
    assert asked == [[6, 7, 10], [8, 9, 11]]


def train_small(out: Path) -> None:
    pretrain.run(
        None,
        out,
        epochs=2,
        scans=8,
        batch=4,
        workers=0,
        held_out=6,
        calibration=6,
        config=CONFIG,
        card={"trained_on": "solids"},
        generated=FEW,
        progress=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compact")
    train_small(out)
    return out


def test_training_ends_with_a_detector_and_its_card(trained: Path) -> None:
    method, card = checkpoint.load(trained / "compact")
    assert card["trained_on"] == "solids"
    assert 0 < card["threshold"] < 1
    assert 0 < card["point_threshold"] < 1
    assert card["half"] is True
    assert {"validation_point_auroc", "validation_object_auroc"} <= set(card["figures"])
    assert not [name for name in method.state_dict() if name.startswith("tower")]


def test_a_finished_training_is_not_begun_again(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Compact, *_: object) -> None:
        raise AssertionError("a step was trained")

    monkeypatch.setattr(Compact, "losses", refuse)
    before = (trained / "last.safetensors").stat().st_mtime_ns
    train_small(trained)
    assert (trained / "last.safetensors").stat().st_mtime_ns == before


def test_training_goes_on_from_a_detector_that_told_fewer_kinds(tmp_path: Path) -> None:
    torch.manual_seed(1)
    old = Compact(replace(CONFIG, kinds=8, away=False))
    old.finish()
    weights, _ = checkpoint.save(tmp_path / "old", old, {})
    torch.manual_seed(2)
    new = Compact(CONFIG)
    go_on_from(new, load_earlier(weights)[0])
    shared = old.inspection_state()
    assert set(new.inspection_state()) - set(shared) == {"away_head.weight", "away_head.bias"}
    for name, entry in new.inspection_state().items():
        if name in shared and name != "text":
            torch.testing.assert_close(entry, shared[name])
    text = new.text_embeddings().detach()
    assert len(text) == len(old.get_buffer("text")) + len(KINDS) - 8
    assert float((text[:10] - old.get_buffer("text")).abs().max()) < 0.1


def test_distances_to_learn_are_those_of_the_points_in_units_of_the_part() -> None:
    scans = SyntheticScans(SyntheticSettings(None, "train", seed=1, scans=FEW))
    dataset = pretrain.PreparedPairs(scans, CONFIG, points=256)
    (bad, good) = (target for _, target in dataset[0])
    made = scans[0]
    away = bad.tensors["away"]
    assert away.shape == bad.point.shape
    assert good.tensors["away"].abs().max() == 0
    extent = np.linalg.norm(np.ptp(made.scan.points, axis=0))
    largest = np.abs(made.displacement).max() / extent / AWAY
    assert 0 < float(away.abs().max()) <= largest * 1.001
    assert float(away.abs()[bad.point > 0.5].mean()) > float(away.abs()[bad.point < 0.5].mean())


def test_training_that_goes_on_leaves_the_shift_of_edges_behind(tmp_path: Path) -> None:
    old = Compact(replace(CONFIG, edge=True))
    old.get_buffer("edge_shift").fill_(-3.0)
    old.finish()
    weights, _ = checkpoint.save(tmp_path / "old", old, {})
    new = Compact(replace(CONFIG, edge=True, detail=True))
    go_on_from(new, load_earlier(weights)[0])
    assert float(new.get_buffer("edge_shift")) == 0


def test_what_training_cannot_go_on_from_is_named_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.safetensors").write_text("no weights")
    monkeypatch.setitem(METHODS, "peak", Peak)
    checkpoint.save(tmp_path / "other", Peak(PeakConfig()), {})
    for name, said in (("notes", "notes"), ("other", "detector of peak"), ("none", "no such")):
        with pytest.raises(ZeroflawError, match=said):
            load_earlier(tmp_path / f"{name}.safetensors")
    wide = Compact(replace(CONFIG, width=32))
    with pytest.raises(ZeroflawError, match="other sizes"):
        go_on_from(Compact(CONFIG), wide)


def test_training_that_went_on_from_one_detector_does_not_resume_with_another(
    tmp_path: Path,
) -> None:
    given = []
    for number in range(2):
        torch.manual_seed(number)
        old = Compact(CONFIG)
        old.finish()
        given.append(checkpoint.save(tmp_path / f"old{number}", old, {})[0])
    options: dict[str, Any] = {
        "epochs": 1,
        "scans": 4,
        "batch": 4,
        "workers": 0,
        "held_out": 2,
        "calibration": 4,
    }
    fixed: dict[str, Any] = {"config": CONFIG, "generated": FEW, "progress": False, "device": "cpu"}
    out = tmp_path / "out"
    pretrain.run(None, out, earlier=given[0], **options, **fixed)
    told = json.loads((out / "run.json").read_text())
    assert told["began_with"] == load_earlier(given[0])[1]
    with pytest.raises(ZeroflawError, match="another training data"):
        pretrain.run(None, out, earlier=given[1], **options, **fixed)


def test_what_belongs_to_a_corpus_is_refused_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "btp", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*words, "--earlier", "compact"]) == 2
    assert "--earlier goes with --corpus" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
