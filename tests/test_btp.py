"""BTP: what it learns, what it stores, and which published files it takes."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders import weights
from zeroflaw.encoders.pointbert import published_name
from zeroflaw.encoders.text import TextConfig, TextTower
from zeroflaw.methods.base import Evidence, Prepared, Target
from zeroflaw.methods.btp import BTP, BTPConfig, sample
from zeroflaw.methods.btp_published import load_released_heads, published_btp
from zeroflaw.methods.gfcm import GFCM
from zeroflaw.methods.mgfem import MGFEM
from zeroflaw.methods.patch_fpfh import patch_fpfh
from zeroflaw.methods.prompts import prompt_tokens
from zeroflaw.optimize import build_optimizer
from zeroflaw.types import Scan, ScanError, ZeroflawError

SMALL = BTPConfig(
    points=256,
    groups=48,
    patch_size=16,
    width=32,
    depth=3,
    heads=2,
    embedding=16,
    position_width=16,
    layers=(1, 2, 3),
    text_space=16,
    hidden=16,
    gfcm=(8, 8, 16),
)


def small_btp(seed: int = 0, **changes: Any) -> BTP:
    torch.manual_seed(seed)
    return BTP(replace(SMALL, **changes))


def small_tower(seed: int = 1, projection: int = 16) -> TextTower:
    torch.manual_seed(seed)
    return TextTower(TextConfig(width=16, depth=2, heads=2, projection=projection))


def step(method: BTP, scan: Scan) -> tuple[Evidence, dict[str, Tensor]]:
    prepared = method.prepare(scan)
    evidence: Evidence = method(prepared)
    return evidence, method.losses(evidence, method.target(scan, prepared))


def test_the_learned_context_receives_gradient_and_moves_the_texts(dented_sphere: Scan) -> None:
    method = small_btp()
    method.learn_prompts(small_tower())
    before = method.text_embeddings().detach().clone()
    optimizer = torch.optim.AdamW(method.parameter_groups())
    _, terms = step(method, dented_sphere)
    torch.autograd.backward(list(terms.values()))
    assert method.prompts is not None
    assert method.prompts.ctx.grad is not None
    assert bool((method.prompts.ctx.grad.abs().amax(dim=1) > 0).all())
    optimizer.step()
    assert not torch.allclose(method.text_embeddings(), before)


def test_without_a_context_the_texts_are_those_of_the_plain_words() -> None:
    method = small_btp(prompt_length=0, prompts=("normal .", "defective ."))
    tower = small_tower()
    method.learn_prompts(tower)
    tokens = torch.tensor([[49406, 5967, 269, 49407, 0], [49406, 4148, 9313, 269, 49407]])
    expected = torch.nn.functional.normalize(tower.encode(tokens), dim=-1)
    torch.testing.assert_close(method.text_embeddings(), expected)
    assert method.prompts is None
    assert len(method.parameter_groups()) == 1


def test_a_tower_of_another_space_is_refused() -> None:
    with pytest.raises(ZeroflawError, match="12 channels"):
        small_btp().learn_prompts(small_tower(projection=12))


def test_neither_the_tower_nor_the_point_encoder_is_trained_or_stored_twice() -> None:
    method = small_btp()
    method.learn_prompts(small_tower())
    trainable = {name for name, p in method.named_parameters() if p.requires_grad}
    assert "prompts.ctx" in trainable
    assert not [name for name in trainable if name.startswith("encoder.")]
    assert [name for name in method.state_dict() if name.startswith("prompts.")] == ["prompts.ctx"]
    assert set(method.inspection_state()) == set(small_btp().state_dict())


def test_the_tower_follows_the_method_to_another_type() -> None:
    method = small_btp()
    method.learn_prompts(small_tower())
    assert method.double().text_embeddings().dtype == torch.float64


def test_the_point_encoder_stays_in_evaluation() -> None:
    method = small_btp().train()
    assert method.patch_geo_encoder.training
    assert not any(module.training for module in method.encoder.modules())


def test_finished_it_inspects_without_the_tower(dented_sphere: Scan) -> None:
    method = small_btp()
    method.learn_prompts(small_tower())
    assert method.prompts is not None
    nn.init.normal_(method.prompts.ctx)
    method.finish()
    method.eval()
    loaded = BTP(BTPConfig(**asdict(SMALL)))
    loaded.load_state_dict(method.inspection_state())
    loaded.eval()
    prepared = method.prepare(dented_sphere)
    with torch.inference_mode():
        ours = loaded.score(loaded(prepared), dented_sphere, prepared)
        theirs = method.score(method(prepared), dented_sphere, prepared)
    torch.testing.assert_close(ours.point, theirs.point)
    assert ours.object == pytest.approx(theirs.object)


def test_training_learns_one_scan(dented_sphere: Scan) -> None:
    method = small_btp(prompt_length=2, descriptor="sampled")
    method.learn_prompts(small_tower())
    prepared = method.prepare(dented_sphere)
    target = method.target(dented_sphere, prepared)
    optimizer = build_optimizer(method, 5e-3, 1e-2, 1e-4)
    sums = []
    for _ in range(30):
        terms = method.losses(method(prepared), target)
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        sums.append(loss.item())
    assert sums[-1] < 0.9 * sums[0]


def test_weights_decay_but_biases_norms_and_prompts_do_not() -> None:
    method = small_btp()
    method.learn_prompts(small_tower())
    names = {id(p): name for name, p in method.named_parameters() if p.requires_grad}
    decaying: set[str] = set()
    for group in build_optimizer(method, 5e-4, 1e-3, 1e-4).param_groups:
        members = {names[id(p)] for p in group["params"]}
        assert group["lr"] == (1e-3 if members == {"prompts.ctx"} else 5e-4)
        decaying |= members if group["weight_decay"] else set()
    norms = {n for n in names.values() if n.endswith(".1.weight")}
    assert norms
    assert decaying == {n for n in names.values() if n.endswith("weight")} - norms


def test_scans_can_be_batched(dented_sphere: Scan, dented_plate: Scan) -> None:
    method = small_btp().eval()
    parts = [method.prepare(scan) for scan in (dented_sphere, dented_plate)]
    scans = (dented_sphere, dented_plate)
    targets = [method.target(scan, part) for scan, part in zip(scans, parts, strict=True)]
    both = method(Prepared.stack(parts))
    for row, part in enumerate(parts):
        one = method(part)
        torch.testing.assert_close(both.point_logit[row], one.point_logit[0])
        torch.testing.assert_close(both.object_logit[row], one.object_logit[0])
    terms = method.losses(both, Target.stack(targets))
    assert set(terms) == {"focal", "dice", "object", "geometric"}


def test_scores_use_the_rules_of_the_configuration(dented_sphere: Scan) -> None:
    prepared = small_btp().eval().prepare(dented_sphere)
    found = {}
    for rule in ("top", "max"):
        method = small_btp(rule=rule).eval()
        found[rule] = method.score(method(prepared), dented_sphere, prepared).object
    assert found["max"] > found["top"]


def test_sampling_ignores_the_order_and_repeats_what_is_too_little() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(6.0)] * 3), axis=-1).reshape(-1, 3)
    order = np.random.default_rng(0).permutation(len(grid))
    np.testing.assert_array_equal(grid[sample(grid, 50)], grid[order][sample(grid[order], 50)])
    few = sample(grid[:20], 50)
    assert len(few) == 50
    assert set(few) == set(range(20))


def test_a_scan_of_fewer_points_than_a_patch_is_refused() -> None:
    points = np.random.default_rng(0).normal(size=(15, 3))
    with pytest.raises(ScanError, match="has 15 points, a patch needs 16"):
        small_btp().prepare(Scan(points))


def test_a_scan_of_fewer_points_than_samples_is_inspected() -> None:
    points = np.random.default_rng(0).normal(size=(40, 3))
    method, scan = small_btp().eval(), Scan(points)
    prepared = method.prepare(scan)
    assert method.score(method(prepared), scan, prepared).point.shape == (40,)


def test_the_configuration_survives_json_lists() -> None:
    config = BTPConfig(layers=[1, 2], gfcm=[4, 4, 4], prompts=["a", "b"])  # type: ignore[arg-type]
    assert config == replace(config, layers=(1, 2), gfcm=(4, 4, 4), prompts=("a", "b"))
    assert hash(config)


def test_the_embeddings_inner_products_equal_the_short_cut() -> None:
    torch.manual_seed(0)
    module = MGFEM(8, 5, 6, 7, 2)
    nn.init.normal_(module.layer_weights)
    layers, geometric = torch.randn(2, 2, 9, 8), torch.randn(2, 9, 5)
    cls, text = torch.randn(2, 8), torch.randn(2, 6)
    whole = module(layers, geometric, cls)
    torch.testing.assert_close(module.similarity(layers, geometric, cls, text), whole @ text.T)
    share = module.layer_weights.softmax(0)
    mixed = sum(share[i] * module.mapper_pointbert(layers[:, i]) for i in range(2))
    row = module.mapper_global(cls)[:, None].expand(2, 9, -1)
    slow = module.fusion_proj(torch.cat([mixed, module.mapper_fpfh(geometric), row], dim=-1))
    torch.testing.assert_close(whole, slow)


def test_learned_geometry_does_not_depend_on_the_order_within_a_patch() -> None:
    torch.manual_seed(0)
    module, points = GFCM(3, (4, 4, 8), 5).eval(), torch.randn(1, 30, 3)
    index = torch.stack([torch.randperm(30)[:6] for _ in range(4)])[None]
    torch.testing.assert_close(module(points, index), module(points, index.flip(-1)))
    assert module(points, index).shape == (1, 4, 5)


@pytest.mark.parametrize("source", ["dense", "sampled"])
def test_descriptors_tell_a_dent_from_a_sphere(dented_sphere: Scan, source: Any) -> None:
    method = small_btp().eval()
    prepared = method.prepare(dented_sphere)
    index, patches = prepared["index"][0].numpy(), prepared["patch_index"][0].numpy()
    histograms = patch_fpfh(dented_sphere.points, index, patches, source)
    assert histograms.shape == (48, 33)
    assert np.isfinite(histograms).all()
    assert dented_sphere.labels is not None
    dented = dented_sphere.labels[index][patches].any(axis=1)
    assert 0 < dented.sum() < len(dented) / 4
    if source == "dense":
        typical = np.median(histograms[~dented], axis=0)
        distance = np.linalg.norm(histograms - typical, axis=1)
        assert np.median(distance[dented]) > 2 * np.median(distance[~dented])


def released(method: BTP) -> dict[str, Any]:
    """What the release's training writes for these heads."""
    names = ("patch_geo_encoder", "patch_feature_embedder")
    heads = {name: dict(method.get_submodule(name).state_dict()) for name in names}
    prompts = {"ctx": torch.zeros(8, 16)}
    for state in ("pos", "neg"):
        prompts[f"token_prefix_{state}"] = torch.zeros(1, 1, 16)
        prompts[f"token_suffix_{state}"] = torch.zeros(1, 76, 16)
    return {**heads, "prompt_learner": prompts, "epoch": 3, "loss": 0.5}


def test_heads_trained_by_the_release_load(tmp_path: Path) -> None:
    source, method = small_btp(seed=3), small_btp(seed=4)
    torch.save(released(source), tmp_path / "best.pth")
    load_released_heads(method, tmp_path / "best.pth")
    for name in ("patch_geo_encoder.fc.2.weight", "patch_feature_embedder.layer_weights"):
        torch.testing.assert_close(method.state_dict()[name], source.state_dict()[name])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.pop("patch_geo_encoder"), "missing patch_geo_encoder"),
        (lambda f: f.update(head=1), "unexpected head"),
        (lambda f: f.update(prompt_learner=1), "holds int"),
        (lambda f: f["patch_geo_encoder"].update({"fc.0.bias": 1}), r"patch_geo_encoder\.fc\.0\.b"),
        (lambda f: f["prompt_learner"].pop("ctx"), r"missing prompt_learner\.ctx"),
        (lambda f: f["patch_geo_encoder"].pop("fc.0.bias"), r"missing patch_geo_encoder\.fc\.0\.b"),
    ],
)
def test_released_heads_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, spoil: Any, message: str
) -> None:
    content = released(small_btp())
    spoil(content)
    torch.save(content, tmp_path / "best.pth")
    with pytest.raises(ZeroflawError, match=message):
        load_released_heads(small_btp(), tmp_path / "best.pth")


def save_encoder(method: BTP, path: Path) -> None:
    """Write the point encoder as ULIP-2's file has it."""
    state = method.encoder.state_dict()
    torch.save({"state_dict": {published_name(n): t for n, t in state.items()}}, path)


def test_published_files_make_a_method_that_is_ready_to_train(
    tmp_path: Path, dented_sphere: Scan
) -> None:
    source, tower = small_btp(seed=7), small_tower()
    save_encoder(source, tmp_path / "ulip2.pt")
    torch.save(tower.state_dict(), tmp_path / "clip.pt")
    method = published_btp(SMALL, tmp_path / "ulip2.pt", tmp_path / "clip.pt")
    torch.testing.assert_close(method.encoder.norm.weight, source.encoder.norm.weight)
    assert not any(p.requires_grad for p in method.encoder.parameters())
    _, terms = step(method, dented_sphere)
    assert all(bool(torch.isfinite(value)) for value in terms.values())


def test_either_file_of_the_text_tower_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path))
    weights.home().mkdir(parents=True)
    tower = small_tower()
    torch.save(tower.state_dict(), weights.home() / weights.known("clip-bigg-torch").filename)
    save_encoder(small_btp(), tmp_path / "ulip2.pt")
    method = published_btp(replace(SMALL, prompt_length=0), tmp_path / "ulip2.pt")
    loaded = weights.load("clip-bigg-torch")
    assert isinstance(loaded, TextTower)
    texts = loaded.encode(prompt_tokens(SMALL.prompts))
    torch.testing.assert_close(method.text_embeddings(), functional.normalize(texts, dim=-1))


def test_without_the_published_files_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path))
    with pytest.raises(ZeroflawError, match="zeroflaw weights fetch ulip2-pointbert"):
        published_btp(SMALL)
