"""PointNet++ and GS-CLIP's modules equal the release, number by number, on stand-in weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from parity.recipe import recipe_state_dict
from zeroflaw.encoders.clip import CLIPConfig
from zeroflaw.encoders.pointnet2 import PointNet2, PointNet2Features, group_points
from zeroflaw.methods.base import Evidence, Prepared
from zeroflaw.methods.gs_clip import GSCLIP, TOKENS, VIEWS, GSCLIPConfig

Arrays = Mapping[str, NDArray[Any]]
LIMIT = 1e-4
TEXT_LIMIT = 1e-3  # the release rounds its deep prompts to half precision
POINTNET = "gs_prompt.pointnet."
DEFECT = "gs_prompt.point_feature_to_neg_point."
AGGREGATOR = f"{DEFECT}outlier_aggregator."
FUSION = "clip.fusion."
DEPTH = "clip.visual_depth.transformer.resblocks."
# Where a part of the release's entries stands in ours.
PLACES = {
    "clip.visual.": "visual.",
    POINTNET: "pointnet.",
    "gs_prompt.point_feature_to_prompt_pos.": "shape_token.",
    f"{DEFECT}normal_prototypes_module.": "defect_token.",
    f"{AGGREGATOR}point_feat_proj.": "defect_token.project.",
    f"{AGGREGATOR}aggregator_attention.": "defect_token.attention.",
    f"{AGGREGATOR}norm.": "defect_token.norm.",
    f"{AGGREGATOR}ffn.": "defect_token.feed.",
    "gs_prompt.compound_prompts_text.": "prompts.deep.",
    f"{FUSION}bidirectional_attention.k1_layer.": "refinement.key_render.",
    f"{FUSION}bidirectional_attention.k2_layer.": "refinement.key_depth.",
    f"{FUSION}final_proj.": "refinement.merge.",
    "clip.transformer.": "language.tower.transformer.",
    "clip.ln_final.": "language.tower.ln_final.",
}
# In the release's file, without use in it.
UNUSED = ("gs_prompt.point_feature_to_prompt_neg.", "gs_prompt.compound_prompt_projections.")


@pytest.fixture(scope="module")
def arrays(parity: Callable[[str], Arrays]) -> Arrays:
    return parity("clip_public")


@pytest.fixture(scope="module")
def shapes(parity_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((parity_folder / "clip_shapes.json").read_text())
    return found


@pytest.fixture(scope="module")
def entries(shapes: dict[str, Any]) -> dict[str, Tensor]:
    """GS-CLIP's prompt learner, PointNet++ included."""
    made = recipe_state_dict(shapes["gs_prompt"])
    return {name: torch.from_numpy(np.asarray(array)) for name, array in made.items()}


@pytest.fixture(scope="module")
def pointnet(entries: dict[str, Tensor]) -> PointNet2:
    net = PointNet2()
    own = {n.removeprefix(POINTNET): t for n, t in entries.items() if n.startswith(POINTNET)}
    net.load_state_dict(own, strict=True)
    return net.eval()


@pytest.fixture(scope="module")
def features(pointnet: PointNet2, arrays: Arrays) -> PointNet2Features:
    points = torch.from_numpy(arrays["points"])[None]
    with torch.inference_mode():
        found: PointNet2Features = pointnet(points.repeat(1, 1, 3))
    return found


def check(ours: Tensor, reference: NDArray[Any], limit: float = LIMIT) -> None:
    theirs = torch.from_numpy(np.asarray(reference))
    assert ours.shape == theirs.shape
    assert float((ours - theirs).norm() / theirs.norm()) < limit


def test_pointnet_features(features: PointNet2Features, arrays: Arrays) -> None:
    check(features.points[:, :16], arrays["pointnet_point_first16"])
    check(features.whole, arrays["pointnet_global"])


def test_every_published_entry_of_pointnet_has_its_place(shapes: dict[str, Any]) -> None:
    with torch.device("meta"):
        ours = {POINTNET + n: list(t.shape) for n, t in PointNet2().state_dict().items()}
    theirs = {n: s for n, s in shapes["gs_prompt"].items() if n.startswith(POINTNET)}
    assert ours == theirs


def ours(shapes: dict[str, Any]) -> dict[str, Tensor]:
    """The release's entries under our names."""
    made = recipe_state_dict({**shapes["clip"], **shapes["gs_prompt"]})
    found: dict[str, Tensor] = {}
    for name, array in made.items():
        tensor = torch.from_numpy(np.asarray(array))
        for theirs, place in PLACES.items():
            if name.startswith(theirs):
                found[place + name.removeprefix(theirs)] = tensor
        if name.startswith(DEPTH) and "lora" in name:
            block, _, layer, matrix = name.removeprefix(DEPTH).split(".")
            number = 2 * int(block) + ("c_fc", "c_proj").index(layer)
            found[f"lora.updates.{number}.{matrix}"] = tensor
    single = {
        "clip.positional_embedding": "language.tower.positional_embedding",
        "clip.text_projection": "language.tower.text_projection",
        "gs_prompt.ctx_pos": "prompts.context_normal",
        "gs_prompt.ctx_neg": "prompts.context_anomalous",
    }
    for name, place in single.items():
        found[place] = torch.from_numpy(np.asarray(made[name]))
        if "context" in place:
            found[place] = found[place][0, 0]
    return found


def token_rows() -> Tensor:
    """The rows of the vocabulary that prompts are made of.

    The fixtures leave CLIP's token embedding out: it stayed as the release's constructor draws it
    after `torch.manual_seed(0)`. Its rows for ".", start and end are kept beside this file.
    """
    with np.load(Path(__file__).parent / "clip_tokens.npz") as stored:
        known = dict(zip(stored["token"].tolist(), stored["embedding"], strict=True))
    width = len(next(iter(known.values())))
    return torch.stack(
        [torch.from_numpy(known.get(token, np.zeros(width, np.float32))) for token in TOKENS]
    )


@pytest.fixture(scope="module")
def method(shapes: dict[str, Any]) -> GSCLIP:
    """GS-CLIP as the release runs it, its depth tower being CLIP's with the stored updates."""
    told, prompt = shapes["config"], shapes["prompt"]
    clip = CLIPConfig(
        image=told["image_resolution"],
        patch=told["vision_patch_size"],
        width=told["vision_width"],
        layers=told["vision_layers"],
        heads=told["vision_width"] // 64,
        text_width=told["transformer_width"],
        text_layers=told["transformer_layers"],
        text_heads=told["transformer_heads"],
        embedding=told["embed_dim"],
        vv_layers=shapes["dpam_layers_replaced"],
    )
    config = GSCLIPConfig(
        clip=clip,
        precision="float32",
        prompt_length=prompt["Prompt_length"],
        deep_blocks=prompt["learnabel_text_embedding_depth"] - 1,
        deep_length=prompt["learnabel_text_embedding_length"],
        weighted_outliers=False,
        across_views=False,
        refined_points=False,
        feature_consistency=False,
    )
    gs_clip = GSCLIP(config)
    found = gs_clip.load_state_dict(ours(shapes), strict=False)
    assert not found.unexpected_keys
    assert set(found.missing_keys) == {"text", "refined", "language.tower.token_embedding.weight"}
    gs_clip.language.load_state_dict({"tower.token_embedding.weight": token_rows()}, strict=False)
    gs_clip.begin_stage(VIEWS)
    return gs_clip.eval()


@pytest.fixture(scope="module")
def batch(method: GSCLIP, arrays: Arrays) -> Prepared:
    points = torch.from_numpy(arrays["points"])[None]
    x, y, seen = torch.from_numpy(arrays["pixel_of_point"].astype(np.int64)).unbind(-1)
    with torch.inference_mode():
        found = method.visual(torch.from_numpy(arrays["render"]))
    return Prepared(
        {
            "points": points,
            "pixel": (y * method.config.clip.image + x)[None],
            "visible": (seen > 0)[None],
            "image": found.image[None],
            "patches": found.patches[0][None],
            **group_points(points, method.config.pointnet),
        }
    )


@pytest.fixture(scope="module")
def evidence(method: GSCLIP, batch: Prepared, arrays: Arrays) -> Evidence:
    depth = torch.from_numpy(arrays["depth"])[None]
    with torch.inference_mode():
        return method.merged_evidence(batch, method.scan_texts(batch), depth)


def test_the_defect_token(method: GSCLIP, features: PointNet2Features, arrays: Arrays) -> None:
    with torch.inference_mode():
        check(method.defect_token(features.points)[:, None], arrays["gs_defect_token"])


def test_texts_of_the_scan(method: GSCLIP, batch: Prepared, arrays: Arrays) -> None:
    with torch.inference_mode():
        check(method.scan_texts(batch), arrays["gs_text"], TEXT_LIMIT)


def test_features_of_depth_views(method: GSCLIP, arrays: Arrays) -> None:
    with torch.inference_mode():
        image, _ = method.depth_features(torch.from_numpy(arrays["depth"])[None])
    check(image[0], arrays["gs_depth_global"])


def test_fused_features(evidence: Evidence, arrays: Arrays) -> None:
    check(evidence.tensors["fused"][0], arrays["gs_fused_global"])


def test_probabilities_of_views_and_pixels(evidence: Evidence, arrays: Arrays) -> None:
    view = torch.softmax(evidence.tensors["view"][0], dim=-1)[:, 1]
    check(view, arrays["gs_view_probability"], TEXT_LIMIT)
    check(evidence.tensors["map"][0], arrays["gs_similarity_map"][..., 1], TEXT_LIMIT)


def test_probabilities_of_points(evidence: Evidence, arrays: Arrays) -> None:
    check(evidence.tensors["point"], arrays["gs_point_probability"], TEXT_LIMIT)


def test_every_published_entry_has_its_place_or_no_use(shapes: dict[str, Any]) -> None:
    placed = (*PLACES, "clip.visual_depth.", "gs_prompt.ctx_")
    alone = ("clip.positional_embedding", "clip.text_projection", "clip.logit_scale")
    for name in {**shapes["clip"], **shapes["gs_prompt"]}:
        assert name.startswith((*placed, *UNUSED)) or name in alone, name
