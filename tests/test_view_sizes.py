"""Views of any size, points for the losses, and features that know how they were computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_clip import CLIP
from zeroflaw.cache import FeatureCache
from zeroflaw.checkpoint import build_config
from zeroflaw.encoders import clip as module
from zeroflaw.encoders.clip import CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.pointnet2 import PointNet2Config
from zeroflaw.methods.align3d_ad import Align3DAD, Align3DADConfig
from zeroflaw.methods.gs_clip import GSCLIP, VIEWS, GSCLIPConfig
from zeroflaw.methods.pointad import PointAD, PointADConfig
from zeroflaw.methods.views import ViewConfig, ViewMethod
from zeroflaw.types import Scan, ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")
BASE: dict[str, Any] = {"clip": CLIP, "points": 128, "precision": "float32"}


def started(kind: type[ViewMethod], config: ViewConfig) -> ViewMethod:
    torch.manual_seed(0)
    method = kind(config)
    method.use_clip(CLIPVisual(CLIP), CLIPText(CLIP))
    return method


@pytest.mark.parametrize("pixels", [28, 84])
@pytest.mark.parametrize("name", ["pointad", "gs_clip", "align3d_ad"])
def test_views_may_have_another_size_than_clips_own_pictures(
    dented_sphere: Scan, name: str, pixels: int
) -> None:
    small = PointNet2Config.small()
    config: ViewConfig = {
        "pointad": PointADConfig(**BASE, pixels=pixels),
        "gs_clip": GSCLIPConfig(**BASE, pixels=pixels, pointnet=small, cloud=128),
        "align3d_ad": Align3DADConfig(**BASE, pixels=pixels),
    }[name]
    kind = {"pointad": PointAD, "gs_clip": GSCLIP, "align3d_ad": Align3DAD}[name]
    method = started(kind, config).eval()
    method.begin_stage(VIEWS if name == "gs_clip" else "prompts")
    prepared = method.prepare(dented_sphere)
    target = method.target(dented_sphere, prepared)
    with torch.inference_mode():
        evidence = method(prepared)
        scores = method.score(evidence, dented_sphere, prepared)
    assert prepared["patches"].shape[2] == (pixels // CLIP.patch) ** 2
    assert target.tensors["mask"].shape[-1] == pixels
    assert scores.point.shape == (len(dented_sphere.points),)
    assert scores.views is not None
    assert scores.views.shape == (2, 9, pixels, pixels)
    assert all(torch.isfinite(term) for term in method.losses(evidence, target).values())


def test_views_of_clips_own_size_are_the_default(dented_sphere: Scan) -> None:
    one = started(PointAD, PointADConfig(**BASE))
    other = started(PointAD, PointADConfig(**BASE, pixels=CLIP.image))
    assert torch.equal(one.prepare(dented_sphere)["image"], other.prepare(dented_sphere)["image"])
    assert one.preparation() == other.preparation()
    assert started(PointAD, PointADConfig(**BASE, pixels=84)).preparation() != one.preparation()


@pytest.mark.parametrize("wrong", [0, -14, 1 << 20, "336"])
def test_sizes_that_no_view_has_are_refused_as_settings(wrong: object) -> None:
    with pytest.raises(ZeroflawError, match="pixels"):
        build_config(PointADConfig, {"pixels": wrong}, "config.json")


def test_a_size_that_patches_do_not_divide_is_refused_with_the_remedy() -> None:
    with pytest.raises(ZeroflawError, match=r"60 pixels.*set pixels to a multiple of 14"):
        PointAD(PointADConfig(**BASE, pixels=60))


def test_another_clip_is_refused_naming_what_differs_and_the_remedy() -> None:
    other = replace(CLIP, image=84)
    method = PointAD(PointADConfig(**BASE))
    with pytest.raises(ZeroflawError, match=r"\(image is 84, not 56\); leave clip out .* pixels"):
        method.use_clip(CLIPVisual(other), CLIPText(other))


def test_the_points_of_the_losses_are_spread_evenly_in_any_order(dented_sphere: Scan) -> None:
    method = started(PointAD, PointADConfig(**BASE))
    points = dented_sphere.points
    chosen = method.choose(points)
    assert chosen.shape == (128,)
    distance = np.linalg.norm(points[:, None] - points[chosen], axis=-1).min(axis=1)
    assert float(distance.max()) < 6 * float(np.median(distance[distance > 0]))
    order = np.random.default_rng(0).permutation(len(points))
    np.testing.assert_array_equal(points[order][method.choose(points[order])], points[chosen])
    few = method.choose(points[:50])
    assert set(few.tolist()) == set(range(50))
    assert np.bincount(few).max() == 3, "no point stands for more of the scan than another"


def test_features_of_two_precisions_are_never_mixed(
    dented_sphere: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {}
    for precision in ("float32", "bfloat16", "auto"):
        for hardware in (False, True):
            monkeypatch.setattr(module, "has_bfloat16", lambda device, known=hardware: known)
            method = started(PointAD, PointADConfig(**{**BASE, "precision": precision}))
            cache = FeatureCache(method, tmp_path)
            cache.item(dented_sphere)
            paths[precision, hardware] = cache.path(dented_sphere).name
    assert paths["auto", False] == paths["float32", False] == paths["float32", True]
    assert paths["auto", True] == paths["bfloat16", False] == paths["bfloat16", True]
    assert len(set(paths.values())) == len(list(tmp_path.glob("*.safetensors"))) == 2
