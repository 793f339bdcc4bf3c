"""The compact detector's input, its language, and what its losses teach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from zeroflaw.methods.base import Prepared, Target
from zeroflaw.methods.compact import (
    KINDS,
    Compact,
    CompactConfig,
    away_loss,
    kind_loss,
    top_means,
    twin_loss,
)
from zeroflaw.methods.compact_input import InputSettings, read_scan
from zeroflaw.methods.compact_text import KIND_PROMPTS, PROMPTS, WordTower, tokens, vocabulary
from zeroflaw.types import Scan

SMALL = CompactConfig(
    dense=3000,
    groups=64,
    size=16,
    width=32,
    depth=2,
    heads=2,
    hidden=32,
    embedding=16,
    layers=(1, 2),
    text_width=16,
)


def test_the_input_follows_the_scan_in_shape(dented_sphere: Scan) -> None:
    prepared = read_scan(dented_sphere.points, InputSettings(dense=2000, groups=64, size=16))
    count = prepared["index"].shape[1]
    assert 1000 < count <= 2000
    assert prepared["point"].shape[:2] == (1, count)
    assert prepared["patch"].shape[:3] == (1, 64, 16)
    assert prepared["near"].shape == prepared["weight"].shape == (1, count, 3)
    torch.testing.assert_close(prepared["weight"].sum(dim=2), torch.ones(1, count))


def test_a_scan_smaller_than_a_patch_grid_is_read(dented_sphere: Scan) -> None:
    prepared = read_scan(dented_sphere.points[:40], InputSettings())
    assert prepared["patch"].shape[:3] == (1, 40, 32)
    evidence = Compact(SMALL, trainable=False)(prepared)
    assert torch.isfinite(evidence.point_logit).all()


def test_every_word_of_a_prompt_has_a_number() -> None:
    words, owner = tokens()
    assert int(words.max()) == len(vocabulary())
    assert sorted(set(owner.tolist())) == list(range(len(PROMPTS)))


def test_the_language_tells_prompt_sets_apart() -> None:
    torch.manual_seed(0)
    embedded = WordTower(16, 8)()
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(len(PROMPTS)))
    assert torch.linalg.matrix_rank(embedded.detach()) == 8


def test_finishing_stores_the_language_that_inspection_uses(dented_sphere: Scan) -> None:
    torch.manual_seed(0)
    trained = Compact(SMALL).eval()
    trained.finish()
    light = Compact(SMALL, trainable=False).eval()
    light.load_state_dict(trained.inspection_state())
    prepared = trained.prepare(dented_sphere)
    with torch.inference_mode():
        torch.testing.assert_close(light(prepared).point_logit, trained(prepared).point_logit)


def test_top_means_of_a_share_are_those_of_its_highest() -> None:
    logits = torch.arange(1000.0)[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    assert top_means(logits[None])[0].tolist() == [998.5, 994.5, 974.5, 899.5, 499.5]


def test_top_means_leave_out_what_does_not_count() -> None:
    logits = torch.randn(2, 600, generator=torch.Generator().manual_seed(0))
    counted = torch.zeros(2, 600, dtype=torch.bool)
    counted[0, ::2], counted[1, 100:] = True, True
    found = top_means(logits, counted)
    for row in range(2):
        alone = top_means(logits[row, counted[row]][None])[0]
        torch.testing.assert_close(found[row], alone, rtol=1e-4, atol=1e-5)


def test_points_picked_by_their_labels_do_not_bear_on_the_scans_score(dented_sphere: Scan) -> None:
    torch.manual_seed(0)
    method = Compact(SMALL)
    prepared = method.prepare(dented_sphere)
    fair = torch.arange(prepared["point"].shape[1])[None] % 3 > 0
    part = {
        name: prepared[name][:, fair[0]] for name in ("index", "point", "near", "weight", "mean")
    }
    alone = method(Prepared({**prepared.tensors, **part})).object_logit
    beside = method(Prepared({**prepared.tensors, "fair": fair})).object_logit
    torch.testing.assert_close(beside, alone, rtol=1e-4, atol=1e-5)
    assert abs(float(method(prepared).object_logit.detach() - alone.detach())) > 1e-5


def test_good_scans_say_nothing_about_kinds() -> None:
    logits = torch.randn(2, 50, len(KIND_PROMPTS), generator=torch.Generator().manual_seed(0))
    kind = torch.full((2, 50), -1)
    assert kind_loss(logits, kind) == 0
    kind[0, :5] = 2
    assert kind_loss(logits, kind) == functional.cross_entropy(logits[0, :5], kind[0, :5])


def test_every_defective_scan_counts_the_same_for_the_kinds() -> None:
    logits = torch.randn(2, 50, len(KIND_PROMPTS), generator=torch.Generator().manual_seed(0))
    kind = torch.full((2, 50), -1)
    kind[0, :40], kind[1, 3] = 2, 5
    alone = [kind_loss(logits[row : row + 1], kind[row : row + 1]) for row in range(2)]
    torch.testing.assert_close(kind_loss(logits, kind), (alone[0] + alone[1]) / 2)


def test_it_learns_to_find_the_dent_of_one_scan(dented_sphere: Scan, good_sphere: Scan) -> None:
    torch.manual_seed(0)
    method = Compact(SMALL)
    scans = (dented_sphere, replace(good_sphere))
    items = []
    for scan in scans:
        prepared = method.prepare(scan)
        target = method.target(scan, prepared)
        items.append((prepared, Target(target.point, target.object, target.tensors)))
    method.fit_scale(items[1][0]["point"][0])
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for _ in range(40):
        terms = [t for p, y in items for t in method.losses(method(p), y).values()]
        optimizer.zero_grad()
        torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    method.finish()
    method.eval()
    with torch.inference_mode():
        prepared = items[0][0]
        scores = method.score(method(prepared), dented_sphere, prepared)
        good = method.score(method(items[1][0]), good_sphere, items[1][0])
    assert dented_sphere.labels is not None
    points = scores.point.numpy()
    inside, outside = points[dented_sphere.labels], points[~dented_sphere.labels]
    assert np.median(inside) > np.quantile(outside, 0.99)
    assert scores.object > good.object


def test_distances_from_the_good_surface_are_learned_on_marked_points_above_all() -> None:
    away = torch.tensor([[0.0, 0.0, 3.0, -3.0]])
    marked = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    right = torch.asinh(away)
    assert float(away_loss(right, away, marked)) == 0
    wrong_there, wrong_elsewhere = right.clone(), right.clone()
    wrong_there[0, 2] -= 1
    wrong_elsewhere[0, 0] -= 1
    there, elsewhere = (away_loss(guess, away, marked) for guess in (wrong_there, wrong_elsewhere))
    assert there > 5 * elsewhere > 0
    assert away_loss(-right, away, marked) > there


def test_a_defective_scan_is_to_score_above_the_good_ones_of_its_batch() -> None:
    defective = torch.tensor([1.0, 0.0, 1.0])
    apart = twin_loss(torch.tensor([4.0, -4.0, 4.0]), defective)
    mixed = twin_loss(torch.tensor([4.0, 4.0, -4.0]), defective)
    assert float(apart) < 0.01
    assert float(mixed) > 1
    assert float(twin_loss(torch.tensor([1.0, 2.0]), torch.zeros(2))) == 0
    shifted = twin_loss(torch.tensor([9.0, 9.0, 1.0]), defective)
    assert float(mixed) == pytest.approx(float(shifted))


def test_a_detector_of_fewer_kinds_and_without_distances_is_the_same_but_for_those(
    dented_sphere: Scan,
) -> None:
    old = Compact(replace(SMALL, kinds=8, away=False), trainable=False)
    names = {name: entry.shape for name, entry in old.state_dict().items()}
    new = {
        name: entry.shape for name, entry in Compact(SMALL, trainable=False).state_dict().items()
    }
    assert set(new) - set(names) == {"away_head.weight", "away_head.bias"}
    assert {name for name in names if names[name] != new[name]} == {"text"}
    prepared = old.prepare(dented_sphere)
    evidence = old(prepared)
    assert evidence.tensors["kind"].shape[2] == 8
    assert "away" not in evidence.tensors
    assert Compact(SMALL)(prepared).tensors["kind"].shape[2] == len(KINDS)


def test_a_detail_begins_as_nothing_so_that_an_earlier_detector_goes_on_with_it(
    dented_sphere: Scan,
) -> None:
    torch.manual_seed(0)
    old = Compact(replace(SMALL, edge=True), trainable=False)
    new = Compact(replace(SMALL, edge=True, detail=True), trainable=False)
    missing, extra = new.load_state_dict(old.state_dict(), strict=False)
    assert not extra
    assert all(name.startswith("detail.") for name in missing)
    prepared = new.prepare(dented_sphere)
    torch.testing.assert_close(new(prepared).point_logit, old(prepared).point_logit)


def test_a_detail_tells_points_near_the_edge_and_outliers_from_others(good_sphere: Scan) -> None:
    torch.manual_seed(0)
    method = Compact(replace(SMALL, edge=True, detail=True), trainable=False)
    for weight in method.detail.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    torch.nn.init.normal_(method.get_buffer("text"))
    half = Scan(good_sphere.points[good_sphere.points[:, 2] > 0])
    prepared = method.prepare(half)
    assert 0 < float((prepared["edge"] > 0.99).float().mean()) < 0.2
    as_it_is = method(prepared).point_logit
    without = Prepared({**prepared.tensors, "edge": torch.zeros_like(prepared["edge"])})
    moved = (method(without).point_logit - as_it_is).abs()[0].detach()
    near = prepared["edge"][0] > 0.1
    assert float(moved[near].min()) > 0
    far = prepared["edge"][0] < 1e-6
    assert float(moved[far].max()) < 1e-3 * float(moved[near].max())
    location, deviation = prepared["location"], prepared["deviation"]
    outlier = (location + 100 * deviation)[:, None]
    farther = (location + 200 * deviation)[:, None]
    read = [method.relative_to_scan(one, location, deviation) for one in (outlier, farther)]
    half_of = slice(read[0].shape[-1] // 2, None)
    torch.testing.assert_close(read[0][..., half_of], read[1][..., half_of])
    fine = [method.finely(one, location, deviation) for one in (outlier, farther)]
    assert float((fine[1] - fine[0])[..., -len(location[0]) :].min()) > 0.5


def test_logits_near_edges_alone_are_scaled_and_shifted(good_sphere: Scan) -> None:
    torch.manual_seed(0)
    plain = Compact(replace(SMALL, edge=True))
    scaled = Compact(replace(SMALL, edge=True, edge_scale=0.5))
    scaled.load_state_dict(plain.state_dict())
    scaled.get_buffer("edge_shift").fill_(-1.0)
    prepared = plain.prepare(Scan(good_sphere.points[good_sphere.points[:, 2] > 0]))
    before, after = plain(prepared).point_logit[0], scaled(prepared).point_logit[0]
    near = prepared["edge"][0] >= np.exp(-1)
    assert 0 < int(near.sum()) < len(near)
    torch.testing.assert_close(after[near], 0.5 * before[near] - 1)
    torch.testing.assert_close(after[~near], before[~near])


def test_an_edge_scale_that_turns_or_stretches_scores_is_refused() -> None:
    for scale in (0.0, -0.5, 1.5):
        with pytest.raises(ValueError, match="edge_scale"):
            CompactConfig(edge_scale=scale)


def test_a_detail_without_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="needs edge"):
        CompactConfig(detail=True)
