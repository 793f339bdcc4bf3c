"""GS-CLIP: what a cloud says in the prompts, depth views that refine, and every mended bug."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from small_clip import CLIP
from zeroflaw import checkpoint
from zeroflaw.encoders.clip import CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.pointnet2 import PointNet2, PointNet2Config
from zeroflaw.methods.base import Prepared, Target
from zeroflaw.methods.gs_clip import GSCLIP, PROMPTS, TOKENS, VIEWS, GSCLIPConfig, PromptText
from zeroflaw.methods.gs_clip_modules import (
    DefectDistillation,
    LoRA,
    Refinement,
    consistency_loss,
    mlp_layers,
)
from zeroflaw.methods.views import PROMPT_TRAINING
from zeroflaw.start import start
from zeroflaw.train import staged, train
from zeroflaw.types import Scan, ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

POINTS = PointNet2Config(centers=(64, 32, 16, 8), radii=(0.3, 0.5, 0.8, 1.2), neighbours=8, width=4)
SMALL = GSCLIPConfig(
    clip=CLIP, points=512, precision="float32", cloud=300, pointnet=POINTS, lora_rank=2
)
RELEASED = {
    name: getattr(GSCLIPConfig.release(), name)
    for name in (
        *("weighted_outliers", "across_views", "refined_points", "feature_consistency"),
        *("depth_tower", "inspect_in_training"),
    )
}


def build(seed: int = 0, stage: str = VIEWS, **changes: Any) -> GSCLIP:
    torch.manual_seed(seed)
    method = GSCLIP(replace(SMALL, **changes))
    method.begin_stage(stage)
    return method.eval()


def idle(method: GSCLIP, scan: Scan) -> set[str]:
    """Trainable weights that no loss term of the stage reaches."""
    method.train()
    prepared = method.prepare(scan)
    terms = method.losses(method(prepared), method.target(scan, prepared))
    weights = {n: w for n, w in method.named_parameters() if w.requires_grad}
    total: Any = sum(term for term in terms.values() if term.requires_grad)
    found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    pairs = zip(weights, found, strict=True)
    return {n for n, g in pairs if g is None or not bool(g.abs().max() > 0)}


def test_the_defect_token_weighs_the_points_least_like_any_prototype() -> None:
    torch.manual_seed(0)
    module, points = DefectDistillation(8, 16, 4, 3, 2).eval(), torch.randn(2, 40, 8)
    score = torch.stack(
        [
            1 - functional.cosine_similarity(cloud[:, None], module.prototypes, dim=-1).amax(dim=1)
            for cloud in points
        ]
    )
    torch.testing.assert_close(module.outlier_scores(points), score)
    for cloud in range(2):
        order = score[cloud].argsort(descending=True)[:3]
        tokens = module.project(points[cloud, order])[None]
        tokens = module.norm(tokens + module.attention(tokens, tokens, tokens)[0])
        tokens = (tokens + module.feed(tokens))[0]
        share = score[cloud, order] / score[cloud, order].sum()
        torch.testing.assert_close(module(points)[cloud], share @ tokens)
        module.weighted = False
        torch.testing.assert_close(module(points)[cloud], tokens[0])
        module.weighted = True


def test_fewer_points_than_outliers_are_no_trouble() -> None:
    module = DefectDistillation(8, 16, 4, 12, 2)
    assert module(torch.randn(1, 5, 8)).shape == (1, 16)


def test_low_rank_updates_are_a_change_of_the_weights_and_leave_the_tower_as_it_was() -> None:
    torch.manual_seed(0)
    tower, pictures = CLIPVisual(CLIP).eval(), torch.randn(2, 3, 56, 56)
    lora = LoRA(tower, rank=2, scale=2.0).eval()
    for update in lora.updates:
        nn.init.normal_(update.get_parameter("lora_B"), std=0.1)
    with torch.no_grad():
        before = tower(pictures, dpam=False).image
        with lora.applied(tower):
            adapted = tower(pictures, dpam=False).image
        assert tower(pictures, dpam=False).image.equal(before)
        assert not torch.allclose(adapted, before, atol=1e-3)
        for linear, update in zip(mlp_layers(tower), lora.updates, strict=True):
            wide, narrow = update.get_parameter("lora_B"), update.get_parameter("lora_A")
            linear.weight += 2.0 * wide @ narrow
        torch.testing.assert_close(tower(pictures, dpam=False).image, adapted)


def test_the_tower_is_freed_of_the_updates_even_if_it_fails() -> None:
    tower = CLIPVisual(CLIP).eval()
    with pytest.raises(ZeroflawError, match="shape"), LoRA(tower).applied(tower):
        tower(torch.zeros(1, 3, 56))
    assert not any(linear._forward_hooks for linear in mlp_layers(tower))


def test_a_view_attends_to_the_views_of_the_other_kind() -> None:
    torch.manual_seed(0)
    module = Refinement(8)
    render, depth = torch.randn(1, 3, 8), torch.randn(1, 3, 8)
    keys, others = module.key_render(render[0]), module.key_depth(depth[0])
    rows = []
    for view in range(3):
        share = torch.softmax(torch.stack([keys[view] @ other for other in others]), dim=0)
        counter = torch.softmax(torch.stack([key @ others[view] for key in keys]), dim=0)
        seen_depth, seen_render = share @ depth[0], counter @ render[0]
        rows.append(torch.cat([render[0, view] + seen_depth, depth[0, view] + seen_render]))
    torch.testing.assert_close(module(render, depth)[0], module.merge(torch.stack(rows)))


def test_a_patch_is_a_sequence_of_its_own() -> None:
    module = Refinement(8)
    render, depth = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    alone = module(render[..., None, :], depth[..., None, :])[..., 0, :]
    torch.testing.assert_close(module.patches(render, depth), alone)


def test_merging_starts_as_the_mean_of_both_kinds_of_views() -> None:
    module = Refinement(8)
    render, depth = torch.randn(2, 1, 3, 5, 8)
    torch.testing.assert_close(module.patches(render, depth), render + depth)
    same = render[:, :, 0]
    single = module(same[:, :1], same[:, :1])
    torch.testing.assert_close(single, 2 * same[:, :1])


def test_views_that_agree_are_consistent() -> None:
    same = torch.randn(2, 1, 8).expand(2, 3, 8)
    assert float(consistency_loss(same)) == pytest.approx(0, abs=1e-6)
    assert float(consistency_loss(torch.randn(2, 3, 8))) > 0.1
    views = torch.tensor([[[1.0, 2.0], [-1.0, 0.0]]])  # their mean is (0, 1)
    over_features = 1 - (2 / 5**0.5 + 0) / 2
    assert float(consistency_loss(views)) == pytest.approx(over_features, abs=1e-6)
    over_views = 1 - (0 + 2 / (2 * 2**0.5)) / 2
    assert float(consistency_loss(views, False)) == pytest.approx(over_views, abs=1e-6)


def test_the_prompts_keep_the_few_words_that_they_need() -> None:
    torch.manual_seed(0)
    whole, few = CLIPText(CLIP), PromptText(CLIP)
    few.take(whole)
    tokens = torch.tensor([[TOKENS[-2], 13568, 14115, 269, TOKENS[-1]]])
    assert few.embed_tokens(tokens).equal(whole.embed_tokens(tokens))
    end = torch.tensor([4])
    assert few(few.embed_tokens(tokens), end).equal(whole(whole.embed_tokens(tokens), end))
    assert few.tower.token_embedding.weight.shape == (len(TOKENS), CLIP.text_width)


def test_other_shapes_have_other_texts_and_a_batch_does_not_mix_them(
    dented_sphere: Scan, dented_plate: Scan
) -> None:
    method = build(stage=PROMPTS)
    first, second = method.prepare(dented_sphere), method.prepare(dented_plate)
    with torch.no_grad():
        texts = method.scan_texts(Prepared.stack([first, second]))
        torch.testing.assert_close(texts[1:], method.scan_texts(second))
    assert texts.shape == (2, 2, CLIP.embedding)
    assert float((texts[0] - texts[1]).abs().max()) > 1e-4
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(2, 2))


def test_the_second_stage_learns_what_merges_the_views_and_nothing_else() -> None:
    method = build()
    learning = {n.split(".")[0] for n, w in method.named_parameters() if w.requires_grad}
    assert learning == {"refinement", "lora"}
    merging, slow = method.parameter_groups()
    assert "lr_scale" not in merging
    assert slow["lr_scale"] == 0.1
    assert len(slow["params"]) == 4 * CLIP.layers
    method.begin_stage(PROMPTS)
    learning = {n.split(".")[0] for n, w in method.named_parameters() if w.requires_grad}
    assert learning == {"prompts", "pointnet", "shape_token", "defect_token"}
    with pytest.raises(ZeroflawError, match="no stage 'third'"):
        method.begin_stage("third")


def test_no_stage_clips_gradients_and_the_second_takes_one_scan_at_a_time() -> None:
    first, second = staged(build(), {})
    assert (first.epochs, first.batch, first.learning_rate) == (15, 4, 2e-3)
    assert (second.epochs, second.batch, second.learning_rate) == (10, 4, 1e-4)
    assert first.clip == second.clip == PROMPT_TRAINING["clip"] >= 1e6
    assert (first.together, second.together) == (0, 1)


def test_losses_of_the_second_stage_are_means_over_the_scans(
    dented_sphere: Scan, good_sphere: Scan
) -> None:
    """So that one at a time has the gradient of the batch."""
    method = build()
    pairs = []
    for scan in (dented_sphere, good_sphere):
        prepared = method.prepare(scan)
        pairs.append((prepared, method.target(scan, prepared)))
    with torch.no_grad():
        alone = [method.losses(method(prepared), target) for prepared, target in pairs]
        both = method.losses(
            method(Prepared.stack([prepared for prepared, _ in pairs])),
            Target.stack([target for _, target in pairs]),
        )
    for name, term in both.items():
        torch.testing.assert_close(term, (alone[0][name] + alone[1][name]) / 2)
        assert float((alone[0][name] - alone[1][name]).abs()) > 1e-6


def test_a_frozen_pointnet_stays_as_it_is() -> None:
    method = build(stage=PROMPTS, train_points=False)
    assert not any(weight.requires_grad for weight in method.pointnet.parameters())


@pytest.mark.parametrize(
    ("change", "stage", "expected"),
    [
        ({"weighted_outliers": False}, PROMPTS, {"defect_token.prototypes"}),
        (
            {"across_views": False},
            VIEWS,
            {
                f"refinement.key_{kind}.{n}"
                for kind in ("render", "depth")
                for n in ("weight", "bias")
            },
        ),
    ],
)
def test_the_release_trains_parts_that_receive_no_gradient(
    change: dict[str, Any], stage: str, expected: set[str], dented_sphere: Scan
) -> None:
    assert idle(build(stage=stage, **change), dented_sphere) == expected
    assert not idle(build(stage=stage), dented_sphere)


def test_the_point_loss_of_the_releases_second_stage_has_nothing_to_train(
    dented_sphere: Scan,
) -> None:
    for refined in (True, False):
        method = build(refined_points=refined).train()
        prepared = method.prepare(dented_sphere)
        terms = method.losses(method(prepared), method.target(dented_sphere, prepared))
        assert terms["point"].requires_grad == refined
        assert terms["image"].requires_grad


def test_a_depth_tower_that_is_frozen_is_the_render_tower() -> None:
    method = build(depth_tower="frozen")
    assert method.lora is None
    assert method.depth_visual is None
    pictures = torch.rand(1, 9, 3, 56, 56)
    with torch.no_grad():
        image, patches = method.depth_features(pictures)
        seen = method.visual(pictures[0], dpam=False)
    torch.testing.assert_close(image[0], seen.image)
    torch.testing.assert_close(patches[0], seen.patches[0])
    other = build(depth_tower="random")
    with torch.no_grad():
        assert not torch.allclose(other.depth_features(pictures)[0], image, atol=1e-2)
    kept = other.inspection_state()
    assert [name for name in kept if name.startswith("depth_visual.")]


@pytest.mark.parametrize("switch", RELEASED)
def test_every_switch_changes_scores_or_learning(switch: str, dented_sphere: Scan) -> None:
    ours, theirs = build(), build(**{switch: RELEASED[switch]})
    assert getattr(SMALL, switch) != RELEASED[switch]
    prepared = ours.prepare(dented_sphere)
    target = ours.target(dented_sphere, prepared)
    told: list[Tensor] = []
    for method in (ours, theirs):
        method.load_state_dict(ours.state_dict(), strict=False)
        with torch.no_grad():
            evidence = method(prepared)
        terms = torch.stack(list(method.losses(evidence, target).values()))
        told.append(torch.cat([evidence.point_logit[0], evidence.object_logit, terms]))
    assert float((told[0] - told[1]).abs().max()) > 1e-6


def test_the_release_as_a_whole_still_scores(dented_sphere: Scan) -> None:
    method = build(**RELEASED)
    with torch.inference_mode():
        prepared = method.prepare(dented_sphere)
        scores = method.score(method(prepared), dented_sphere, prepared)
    assert scores.point.shape == (len(dented_sphere),)
    assert 0 <= scores.object <= 1


@pytest.mark.parametrize("stage", [PROMPTS, VIEWS])
def test_a_checkpoint_knows_its_stage(stage: str, dented_sphere: Scan, tmp_path: Path) -> None:
    method = build(stage=stage)
    checkpoint.save(tmp_path / "made", method, {})
    loaded, _ = checkpoint.load(tmp_path / "made")
    prepared = loaded.prepare(dented_sphere)
    with torch.no_grad():
        evidence = loaded(prepared)
        torch.testing.assert_close(evidence.point_logit, method(prepared).point_logit)
    assert ("fused" in evidence.tensors) == (stage == VIEWS)


def test_it_starts_with_stand_ins_and_names_the_weights_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = start("gs_clip", {"points": 512, "cloud": 300}, stand_in=True)
    assert isinstance(method, GSCLIP)
    assert method.config.pointnet == PointNet2Config.small()
    assert [stage.name for stage in method.stages()] == [PROMPTS, VIEWS]
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path))
    with pytest.raises(ZeroflawError, match="zeroflaw weights fetch pointnet2-s3dis"):
        start("gs_clip")


def test_a_trained_pointnet_is_taken_if_it_fits() -> None:
    method = build()
    torch.manual_seed(9)
    other = PointNet2(POINTS)
    method.use_points(other)
    torch.testing.assert_close(method.pointnet.conv1.weight, other.conv1.weight)
    with pytest.raises(ZeroflawError, match="other sizes"):
        method.use_points(PointNet2(PointNet2Config.small()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cloud": 513}, "cloud"),
        ({"cloud": 40}, "pointnet takes 64 of 40"),
        ({"point_heads": 5}, "5 heads"),
        ({"lora_dropout": 1.0}, "lora_dropout"),
        ({"pointnet": replace(POINTS, channels=6)}, "channels"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_it_trains_in_both_stages_and_the_second_leaves_the_prompts_as_they_are(
    dented_sphere: Scan, good_sphere: Scan, tmp_path: Path
) -> None:
    method = build(views_rate=1e-3)
    items = []
    for scan in (dented_sphere, good_sphere):
        prepared = method.prepare(scan)
        items.append((prepared, method.target(scan, prepared)))
    losses = {}
    for stage, settings in zip(method.stages(), staged(method, {"epochs": 4}), strict=True):
        method.begin_stage(stage.name)
        before = {name: entry.clone() for name, entry in method.state_dict().items()}
        history = train(method, items, settings, tmp_path / stage.name, progress=False)
        losses[stage.name] = [row["loss"] for row in history.rows]
        moved = {n for n, e in method.state_dict().items() if not e.equal(before[n])}
        parts = {name.split(".")[0] for name in moved}
        if stage.name == PROMPTS:
            assert parts == {"prompts", "pointnet", "shape_token", "defect_token"}
        else:
            assert parts == {"refinement", "lora"}
    assert all(rows[-1] < rows[0] for rows in losses.values()), losses
