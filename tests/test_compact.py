"""The compact detector's input, its language, and what its losses teach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from zeroflaw.methods.base import Target
from zeroflaw.methods.compact import Compact, CompactConfig, kind_loss, top_means
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


def test_good_scans_say_nothing_about_kinds() -> None:
    logits = torch.randn(2, 50, len(KIND_PROMPTS), generator=torch.Generator().manual_seed(0))
    point = torch.zeros(2, 50)
    assert kind_loss(logits, point, torch.tensor([-1, -1])) == 0
    point[0, :5] = 1
    assert kind_loss(logits, point, torch.tensor([2, -1])) > 0


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
