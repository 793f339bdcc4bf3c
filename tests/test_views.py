"""What the view-based methods share, against slow, obvious versions and on small scans."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from small_clip import CLIP as SMALL
from zeroflaw.encoders.clip import CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.geometry.backproject import back_project
from zeroflaw.geometry.cameras import PRESETS
from zeroflaw.geometry.view_render import render_views
from zeroflaw.methods import views as module
from zeroflaw.methods.align3d_ad import Align3DAD, Align3DADConfig
from zeroflaw.methods.alignment import colored_views
from zeroflaw.methods.pointad import KEPT, PointAD, PointADConfig
from zeroflaw.methods.view_losses import pixel_loss, point_dice, state_loss, view_focal
from zeroflaw.methods.views import patch_probability, to_maps, to_points, view_logits
from zeroflaw.types import Scan, ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

SEEDS = st.integers(0, 10_000)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def point_ad(base: PointADConfig | None = None, **changes: object) -> PointAD:
    torch.manual_seed(0)
    changes = {"clip": SMALL, "points": 256, "precision": "float32", **changes}
    method = PointAD(replace(base or PointADConfig(), **changes))  # type: ignore[arg-type]
    method.use_clip(CLIPVisual(SMALL), CLIPText(SMALL))
    return method


def test_a_patch_is_as_anomalous_as_the_softmax_over_both_texts_says() -> None:
    patches = functional.normalize(draw(0, 2, 3, 4, 8), dim=-1)
    text = functional.normalize(draw(1, 2, 8), dim=-1)
    slow = torch.softmax(patches @ text.T / 0.07, dim=-1)[..., 1]
    torch.testing.assert_close(patch_probability(patches, text), slow)


def test_every_scan_of_a_batch_may_have_its_own_texts() -> None:
    patches, image = draw(0, 2, 3, 4, 8), draw(2, 2, 3, 8)
    text = draw(1, 2, 2, 8)
    for scan in range(2):
        one = slice(scan, scan + 1)
        torch.testing.assert_close(
            patch_probability(patches, text)[one], patch_probability(patches[one], text[scan])
        )
        torch.testing.assert_close(
            view_logits(image, text)[one], view_logits(image[one], text[scan])
        )


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_point_takes_the_mean_of_its_pixels_in_the_views_that_see_it(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, 3, 4, 4, generator=generator)
    pixel = torch.randint(0, 16, (2, 3, 5), generator=generator)
    visible = torch.rand(2, 3, 5, generator=generator) > 0.4
    ours = to_points(maps, pixel.int(), visible)
    for scan in range(2):
        for point in range(5):
            seen = [
                float(maps[scan, view, pixel[scan, view, point] // 4, pixel[scan, view, point] % 4])
                for view in range(3)
                if visible[scan, view, point]
            ]
            expected = sum(seen) / len(seen) if seen else 0.0
            assert float(ours[scan, point]) == pytest.approx(expected, abs=1e-6)


def test_maps_keep_the_patches_order_and_range() -> None:
    probability = torch.zeros(1, 1, 16)
    probability[0, 0, 4 * 1 + 2] = 1.0  # second row, third column
    found = to_maps(probability, 16)[0, 0]
    row, column = divmod(int(found.argmax()), 16)
    assert (row // 4, column // 4) == (1, 2)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_focal_loss_is_the_formula_of_each_pixel(seed: int) -> None:
    anomalous, mask = torch.sigmoid(draw(seed, 2, 3)), (draw(seed + 1, 2, 3) > 0).float()
    right = torch.where(mask > 0, anomalous, 1 - anomalous)
    slow = (-((1 - right) ** 2) * right.log()).mean()
    assert float(view_focal(anomalous, mask)) == pytest.approx(float(slow), rel=1e-3, abs=1e-6)


def test_losses_are_least_for_the_right_answer() -> None:
    mask = torch.zeros(1, 2, 8, 8)
    mask[0, 0, 2:5, 3:6] = 1
    right, wrong = mask.clamp(0.01, 0.99), 1 - mask.clamp(0.01, 0.99)
    assert pixel_loss(right, mask > 0) < pixel_loss(torch.full_like(mask, 0.5), mask > 0)
    assert pixel_loss(right, mask > 0) < pixel_loss(wrong, mask > 0)
    labels = mask[0, :, 2]
    assert point_dice(labels, labels) < 1e-5 < point_dice(1 - labels, labels)
    logits = torch.tensor([[4.0, -4.0], [-4.0, 4.0]])
    assert state_loss(logits, torch.tensor([0.0, 1.0])) < 0.01
    assert state_loss(logits, torch.tensor([1.0, 0.0])) > 4


def test_a_scan_is_rendered_once_while_it_is_looked_at(
    dented_sphere: Scan, good_sphere: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []

    def counted(*given: object, **options: object) -> object:
        rendered.append(given)
        return render_views(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "render_views", counted)
    method = point_ad()
    prepared = method.prepare(dented_sphere)
    method.target(dented_sphere, prepared)
    with torch.no_grad():
        method.score(method(prepared), dented_sphere, prepared)
    assert len(rendered) == 1
    method.prepare(good_sphere)
    assert len(rendered) == 2


def test_a_method_that_looked_at_a_scan_can_be_copied_and_sent(dented_sphere: Scan) -> None:
    method = point_ad()
    method.eval()
    prepared = method.prepare(dented_sphere)
    with torch.no_grad():
        expected = method.score(method(prepared), dented_sphere, prepared)
        for other in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
            found = other.score(other(prepared), dented_sphere, prepared)
            assert torch.equal(found.point, expected.point)


def test_masks_show_the_defect_and_a_good_scan_has_none(
    dented_sphere: Scan, good_sphere: Scan
) -> None:
    method = point_ad()
    shown = method.target(dented_sphere, method.prepare(dented_sphere)).tensors["mask"]
    assert shown.shape == (1, 9, 56, 56)
    assert 0 < int(shown.flatten(2).any(dim=2).sum()) < 9  # not from every side
    none = method.target(good_sphere, method.prepare(good_sphere)).tensors["mask"]
    assert not none.any()


def test_a_hidden_defect_still_makes_the_scan_defective(good_sphere: Scan) -> None:
    inside = np.concatenate([good_sphere.points, [[100.0, 0.0, 20.0]]])
    labels = np.arange(len(inside)) == len(inside) - 1
    method = point_ad()
    scan = Scan(inside, labels=labels)
    assert not method.views(scan).visible[:, -1].any()
    target = method.target(scan, method.prepare(scan))
    assert not target.tensors["mask"].any()
    assert target.object.tolist() == [1.0]


def test_points_for_the_losses_that_no_view_sees_borrow_a_seen_place(good_sphere: Scan) -> None:
    inside = np.concatenate([good_sphere.points[:300], [[100.0, 0.0, 20.0]]])
    method = point_ad(points=301)
    prepared = method.prepare(Scan(inside))
    assert prepared["visible"].any(dim=1).all()


def test_organised_scans_are_seen_from_the_front_and_others_from_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    column, row = np.meshgrid(np.arange(12.0), np.arange(10.0))
    points = np.stack([column, -row, 0.1 * np.sin(column)], axis=-1).reshape(-1, 3)
    used = []

    def noted(points: object, rotations: object, size: int) -> object:
        used.append(np.asarray(rotations))
        return render_views(points, rotations, size)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "render_views", noted)
    point_ad().views(Scan(points, grid=(10, 12)))
    point_ad().views(Scan(points))
    point_ad(views="front").views(Scan(points))
    np.testing.assert_allclose(used[0], PRESETS["front"], atol=0.1)
    np.testing.assert_array_equal(used[1], PRESETS["around"])
    np.testing.assert_array_equal(used[2], PRESETS["front"])


def test_another_clip_than_the_configured_one_is_refused() -> None:
    other = replace(SMALL, embedding=16)
    with pytest.raises(ZeroflawError, match="pointad is configured for a CLIP of other sizes"):
        PointAD(PointADConfig(clip=SMALL)).use_clip(CLIPVisual(other), CLIPText(other))


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": 0},
        {"object_share": 1.5},
        {"sigma": -1.0},
        {"temperature": 0.0},
        {"precision": "half"},
        {"deep_blocks": -1},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PointADConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("terms", sorted(KEPT))
def test_pointad_can_learn_from_points_or_from_views_alone(terms: str, dented_sphere: Scan) -> None:
    method = point_ad(terms=terms)
    prepared = method.prepare(dented_sphere)
    losses = method.losses(method(prepared), method.target(dented_sphere, prepared))
    assert tuple(losses) == KEPT[terms]  # type: ignore[index]
    assert PointADConfig.anomaly_clip().terms == "views"


def test_fixed_texts_are_stored_and_leave_nothing_to_learn(dented_sphere: Scan) -> None:
    method = point_ad(PointADConfig.point_clip()).eval()
    assert not [weight for weight in method.parameters() if weight.requires_grad]
    torch.testing.assert_close(method.get_buffer("text").norm(dim=1), torch.ones(2))
    shaded = point_ad(texts="photo").eval()
    assert not torch.equal(method.get_buffer("text"), shaded.get_buffer("text"))
    features = [one.prepare(dented_sphere)["image"] for one in (method, shaded)]
    assert not torch.equal(*features)
    assert method.preparation() != shaded.preparation()


def align(**changes: object) -> Align3DAD:
    torch.manual_seed(0)
    config = Align3DADConfig(clip=SMALL, points=256, precision="float32")
    method = Align3DAD(replace(config, **changes))  # type: ignore[arg-type]
    method.use_clip(CLIPVisual(SMALL), CLIPText(SMALL))
    return method


def test_each_stage_of_align3d_moves_its_own_weights_only() -> None:
    method = align()
    for stage, fronts in (
        ("align", ("global_aligner", "local_aligner")),
        ("prompts", ("prompts", "color_prompts")),
    ):
        method.begin_stage(stage)
        moving = {n.split(".")[0] for n, w in method.named_parameters() if w.requires_grad}
        assert moving == set(fronts)
    assert [stage.name for stage in method.stages()] == ["align", "prompts"]


def test_the_late_terms_come_in_the_last_epochs(dented_sphere: Scan) -> None:
    method = align(consistency=1.0)
    prepared = method.prepare(dented_sphere)
    target = method.target(dented_sphere, prepared)
    method.begin_stage("align")
    local = []
    for epoch in (0, 199, 200, 249):
        method.begin_epoch(epoch, 250)
        local.append(float(method.losses(method(prepared), target)["local"].detach()))
    assert local[0] == local[1] < local[2] == local[3]
    method.begin_stage("prompts")
    for epoch, late in ((0, False), (9, False), (10, True), (14, True)):
        method.begin_epoch(epoch, 15)
        assert ("contrast" in method.losses(method(prepared), target)) == late
    validated = method.eval().losses(method(prepared), target)
    method.begin_epoch(0, 15)
    assert set(validated) == set(method.losses(method(prepared), target)), "losses compare"


def test_aligners_learn_to_find_the_coloured_features(dented_sphere: Scan) -> None:
    colors = np.zeros((len(dented_sphere), 3), dtype=np.uint8)
    colors[:, 0] = 255 * (dented_sphere.points[:, 2] > 20)
    scan = replace(dented_sphere, colors=colors)
    method = align()
    prepared, bare = method.prepare(scan), method.prepare(dented_sphere)
    assert not torch.equal(prepared["color_image"], bare["color_image"])
    target = method.target(scan, prepared)
    method.begin_stage("align")
    optimizer = torch.optim.Adam([w for w in method.parameters() if w.requires_grad], lr=3e-3)
    sums = []
    for _ in range(15):
        total = torch.stack(list(method.losses(method(prepared), target).values())).sum()
        optimizer.zero_grad()
        torch.autograd.backward(total)
        optimizer.step()
        sums.append(float(total.detach()))
    assert sums[-1] < 0.5 * sums[0]


def test_a_detector_for_inspection_encodes_no_coloured_views(dented_sphere: Scan) -> None:
    learning, inspecting = align(), Align3DAD(Align3DADConfig(clip=SMALL, points=256))
    assert "color_tokens" in learning.prepare(dented_sphere).tensors
    assert "color_tokens" not in inspecting.prepare(dented_sphere).tensors
    assert learning.preparation() != inspecting.preparation()


def test_grey_views_are_not_encoded_again_for_want_of_colours(
    dented_sphere: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, encoded = align(), []
    encode = method.encode_pictures

    def counted(pictures: Tensor, name: str = "") -> dict[str, Tensor]:
        encoded.append(pictures.shape)
        return encode(pictures, name)

    monkeypatch.setattr(method, "encode_pictures", counted)
    prepared = method.prepare(dented_sphere)
    assert len(encoded) == 1
    assert torch.equal(prepared["color_image"], prepared["image"])
    again = encode(colored_views(method.views(dented_sphere), None))
    assert torch.equal(prepared["color_tokens"][0, :, 0], again["class"])
    assert torch.equal(prepared["color_tokens"][0, :, 1:], again["patches"])


@pytest.mark.parametrize("color_object", [0.25, 0.5])
def test_either_branch_smoothed_by_itself_gives_the_same_scores(
    color_object: float, dented_sphere: Scan
) -> None:
    method = align(color_object=color_object, color_point=0.5).eval()
    prepared = method.prepare(dented_sphere)
    with torch.no_grad():
        evidence = method(prepared)
        found = method.score(evidence, dented_sphere, prepared)
        color, own = (
            method.point_scores(evidence.tensors[name][0], dented_sphere)
            for name in ("color_map", "map")
        )
    torch.testing.assert_close(found.point, (color + own) / 2)
    highest = float((color_object * color + (1 - color_object) * own).max())
    weighed = [
        share * float(torch.softmax(evidence.tensors[name][0], dim=-1)[:, 1].mean())
        for name, share in (("color_view", color_object), ("view", 1 - color_object))
    ]
    assert found.object == pytest.approx((highest + sum(weighed)) / 2, abs=1e-6)


@pytest.mark.parametrize(("share", "branch"), [(0.0, "map"), (1.0, "color_map")])
def test_the_points_follow_the_branch_that_alone_counts(
    share: float, branch: str, dented_sphere: Scan
) -> None:
    method = align(color_point=share, color_object=share).eval()
    prepared = method.prepare(dented_sphere)
    with torch.no_grad():
        evidence = method(prepared)
        scores = method.score(evidence, dented_sphere, prepared)
        alone = method.point_scores(evidence.tensors[branch][0], dented_sphere)
    torch.testing.assert_close(scores.point, alone)


def test_coloured_views_show_the_points_colours_on_white(dented_sphere: Scan) -> None:
    views = point_ad().views(dented_sphere)
    colors = np.tile(np.array([[255, 0, 51]], dtype=np.uint8), (len(dented_sphere), 1))
    pictures = colored_views(views, colors)
    assert pictures.shape == (9, 3, 56, 56)
    assert bool((pictures[:, :, 0, 0] == 1).all())
    shown = views.shade < 1
    red, green, blue = (pictures[:, channel][shown] for channel in range(3))
    assert float(green.max()) == 0
    torch.testing.assert_close(blue, red * 0.2, atol=1e-6, rtol=1e-5)
    grey = colored_views(views, None)
    assert torch.equal(grey[:, 0], views.shade)
    order = np.random.default_rng(0).permutation(len(dented_sphere))
    mixed = Scan(dented_sphere.points[order])
    again = colored_views(point_ad().views(mixed), colors[order])
    torch.testing.assert_close(again, pictures)


def test_points_that_some_view_sees_get_what_exact_back_projection_gives(
    dented_sphere: Scan,
) -> None:
    views = point_ad().views(dented_sphere)
    maps = torch.rand(9, 56, 56, generator=torch.Generator().manual_seed(0))
    exact = back_project(maps, views.pixel, views.visible, dented_sphere.points)
    ours = to_points(maps[None], views.pixel[None], views.visible[None])[0]
    seen = views.visible.any(dim=0)
    torch.testing.assert_close(ours[seen], exact[seen])
