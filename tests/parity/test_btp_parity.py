"""BTP equals its release, number by number, from points to scores, on stand-in weights."""

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
from torch.nn import functional

from parity.recipe import recipe_state_dict, recipe_tensor
from zeroflaw.encoders.pointbert import PointBERT, group_patches, load_pointbert
from zeroflaw.methods.base import Evidence, Prepared
from zeroflaw.methods.btp import BTP, BTPConfig
from zeroflaw.methods.scoring import combine_object, point_mean
from zeroflaw.types import Scan

Arrays = Mapping[str, NDArray[Any]]
LIMIT = 1e-4
LAYERS = (2, 5, 8, 11)


def entries(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(a)) for name, a in recipe_state_dict(shapes).items()}


def without(prefix: str, found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


@pytest.fixture(scope="module")
def arrays(parity: Callable[[str], Arrays]) -> Arrays:
    return parity("btp_public")


@pytest.fixture(scope="module")
def method(parity_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> BTP:
    """BTP as a user gets it from the published files, rebuilt with stand-in weights."""
    shapes = json.loads((parity_folder / "btp_shapes.json").read_text())
    published = {f"module.{n}": t for n, t in entries(shapes["point_encoder"]).items()}
    published["module.logit_scale"] = torch.tensor(2.66)
    path = tmp_path_factory.mktemp("ulip2") / "ulip2.pt"
    torch.save({"state_dict": published, "epoch": 1}, path)
    btp = BTP(BTPConfig.release())
    btp.encoder.load_state_dict(load_pointbert(path).state_dict())
    for name in ("patch_geo_encoder", "patch_feature_embedder"):
        btp.get_submodule(name).load_state_dict(without(f"{name}.", entries(shapes[name])))
    texts = [recipe_tensor(f"text_{state}", (1, 1280)) for state in ("normal", "anomalous")]
    text = functional.normalize(torch.from_numpy(np.concatenate(texts)), dim=-1)
    btp.get_buffer("text").copy_(text)
    return btp.eval()


@pytest.fixture(scope="module")
def prepared(method: BTP, arrays: Arrays) -> dict[str, Tensor]:
    """The stored clouds through the encoder, and what the release's arrays speak of."""
    points = torch.from_numpy(arrays["points"])
    with torch.inference_mode():
        center, index = group_patches(points, 512, 32)
        colored = torch.cat([points, torch.full_like(points, 0.5)], dim=-1)
        seen = method.encoder(colored, center, index)
        layers = torch.stack([functional.normalize(x, dim=-1) for x in seen.layers], 1)
        return {
            "points": points,
            "center": center,
            "patch_index": index,
            "whole_layers": layers,
            "layers": layers[:, :, 1:],
            "cls": functional.normalize(seen.cls, dim=-1),
            "embedding": functional.normalize(seen.embedding, dim=-1),
        }


@pytest.fixture(scope="module")
def evidence(method: BTP, prepared: dict[str, Tensor]) -> Evidence:
    with torch.inference_mode():
        found: Evidence = method(Prepared(prepared))
    return found


def check(ours: Tensor, reference: NDArray[Any]) -> None:
    theirs = torch.from_numpy(reference)
    assert ours.shape == theirs.shape
    assert float((ours - theirs).norm() / theirs.norm()) < LIMIT


def test_patches(prepared: dict[str, Tensor], arrays: Arrays) -> None:
    check(prepared["center"], arrays["center"])
    ours = prepared["patch_index"].sort(dim=-1).values.numpy()
    np.testing.assert_array_equal(ours, arrays["patch_index_sorted"])


@pytest.mark.parametrize("layer", range(len(LAYERS)), ids=[f"layer{n}" for n in LAYERS])
def test_layer_features(prepared: dict[str, Tensor], arrays: Arrays, layer: int) -> None:
    ours = prepared["whole_layers"][:, layer]
    check(ours[:, :9], arrays[f"layer{LAYERS[layer]}_first8"])
    check(ours.mean(dim=1), arrays[f"layer{LAYERS[layer]}_mean"])


def test_global_features(prepared: dict[str, Tensor], arrays: Arrays) -> None:
    check(prepared["cls"], arrays["cls"])
    check(prepared["embedding"], arrays["global_embedding"])


def test_learned_geometry(evidence: Evidence, arrays: Arrays) -> None:
    check(evidence.tensors["geometric"], arrays["geometric"])


def test_patch_embeddings(method: BTP, prepared: dict[str, Tensor], arrays: Arrays) -> None:
    geometric = torch.from_numpy(arrays["geometric"])
    with torch.inference_mode():
        embedder = method.patch_feature_embedder
        ours = embedder(prepared["layers"], geometric, prepared["cls"])
    check(ours[:, :8], arrays["patch_embedding_first8"])
    check(ours.mean(dim=1), arrays["patch_embedding_mean"])


def test_scores(evidence: Evidence, prepared: dict[str, Tensor], arrays: Arrays) -> None:
    patch = torch.sigmoid(evidence.tensors["patch"])
    whole = torch.sigmoid(evidence.tensors["overall"])
    check(patch, arrays["patch_probability"])
    check(whole, arrays["global_probability"])
    check(combine_object(whole, patch, rule="top"), arrays["object_score_topk"])
    check(combine_object(whole, patch, rule="max"), arrays["object_score_max"])


def test_point_scores(evidence: Evidence, prepared: dict[str, Tensor], arrays: Arrays) -> None:
    """Where a patch holds the point; the release leaves the others at 0, we do not."""
    patch = torch.sigmoid(evidence.tensors["patch"])
    ours = point_mean(patch, prepared["patch_index"], prepared["points"])
    held = arrays["point_probability"] > 0
    check(torch.where(torch.from_numpy(held), ours, 0.0), arrays["point_probability"])


def test_the_method_gives_those_scores_from_a_scan(method: BTP, arrays: Arrays) -> None:
    """Its sampling starts at another point, so that no order of the points matters: 1e-2."""
    scan = Scan(arrays["points"][0].astype(np.float64))
    with torch.inference_mode():
        prepared = method.prepare(scan)
        scores = method.score(method(prepared), scan, prepared)
    assert scores.object == pytest.approx(float(arrays["object_score_topk"][0]), abs=1e-2)


def test_every_published_entry_has_its_place(parity_folder: Path) -> None:
    shapes = json.loads((parity_folder / "btp_shapes.json").read_text())
    with torch.device("meta"):
        encoder = PointBERT()
    ours = {
        name if name == "pc_projection" else f"point_encoder.{name}": list(tensor.shape)
        for name, tensor in encoder.state_dict().items()
    }
    assert ours == shapes["point_encoder"]
