"""CLIP's visual tower equals the view-based systems' release, on stand-in weights."""

from __future__ import annotations

import copy
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
from zeroflaw.encoders.clip import CLIPConfig, CLIPFeatures, CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.clip_weights import load_clip

Arrays = Mapping[str, NDArray[Any]]
LIMIT = 1e-4
FRONT = "clip."
RANK, LORA_SCALE = 8, 16 / 8
SYSTEM = ("clip.fusion.", "clip.visual_depth.")  # GS-CLIP's own


@pytest.fixture(scope="module")
def stored(parity_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((parity_folder / "clip_shapes.json").read_text())
    return found


@pytest.fixture(scope="module")
def published(stored: dict[str, Any]) -> dict[str, Tensor]:
    """The stand-in checkpoint in the original layout."""
    shapes = {n: s for n, s in stored["clip"].items() if not n.startswith(SYSTEM)}
    return {
        name.removeprefix(FRONT): torch.from_numpy(np.asarray(array))
        for name, array in recipe_state_dict(shapes).items()
    }


@pytest.fixture(scope="module")
def towers(
    stored: dict[str, Any],
    published: dict[str, Tensor],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[CLIPVisual, CLIPText]:
    """The towers as a user gets them from a file."""
    width = published["text_projection"].shape[0]
    entries = {**published, "token_embedding.weight": torch.zeros(7, width)}
    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.save(entries, path)
    vv_layers = stored["dpam_layers_replaced"]
    return load_clip(path, quick_gelu=True, vv_layers=vv_layers, precision="float32")


@pytest.fixture(scope="module")
def seen(towers: tuple[CLIPVisual, CLIPText], parity: Callable[[str], Arrays]) -> CLIPFeatures:
    images = torch.from_numpy(parity("clip_public")["render"])
    with torch.inference_mode():
        features: CLIPFeatures = towers[0](images)
    return features


def check(ours: Tensor, reference: NDArray[Any]) -> None:
    theirs = torch.from_numpy(reference)
    assert ours.shape == theirs.shape
    assert float((ours - theirs).norm() / theirs.norm()) < LIMIT


def test_the_sizes_are_read_from_the_shapes(
    towers: tuple[CLIPVisual, CLIPText], stored: dict[str, Any]
) -> None:
    theirs, ours = stored["config"], towers[0].config
    assert (ours.image, ours.patch) == (theirs["image_resolution"], theirs["vision_patch_size"])
    assert (ours.layers, ours.width) == (theirs["vision_layers"], theirs["vision_width"])
    assert (ours.text_layers, ours.text_heads) == (
        theirs["transformer_layers"],
        theirs["transformer_heads"],
    )
    assert ours.embedding == theirs["embed_dim"]


def test_global_features(seen: CLIPFeatures, parity: Callable[[str], Arrays]) -> None:
    check(seen.image, parity("clip_public")["clip_global"])


def test_patch_features_of_the_value_path(
    seen: CLIPFeatures, parity: Callable[[str], Arrays]
) -> None:
    check(seen.tokens[0], parity("clip_public")["clip_patch"])


def test_a_tower_without_the_value_path(
    towers: tuple[CLIPVisual, CLIPText], parity: Callable[[str], Arrays]
) -> None:
    """GS-CLIP's depth tower: low-rank matrices of its own beside every matrix of the MLPs."""
    tower, arrays = copy.deepcopy(towers[0]), parity("clip_public")
    for name, weight in tower.named_parameters():
        if ".mlp." in name and name.endswith(".weight"):
            front = "clip.visual_depth." + name.removesuffix("weight")
            wide = torch.from_numpy(recipe_tensor(front + "lora_B", (weight.shape[0], RANK)))
            narrow = torch.from_numpy(recipe_tensor(front + "lora_A", (RANK, weight.shape[1])))
            weight.add_(wide @ narrow, alpha=LORA_SCALE)
    with torch.inference_mode():
        ours = tower(torch.from_numpy(arrays["depth"]), dpam=False).image
    theirs = torch.from_numpy(arrays["gs_depth_global"])
    check(ours, functional.normalize(theirs, dim=-1).numpy())


def test_every_published_entry_has_its_place(stored: dict[str, Any]) -> None:
    sizes = stored["config"]
    with torch.device("meta"):
        config = CLIPConfig(
            image=sizes["image_resolution"],
            width=sizes["vision_width"],
            layers=sizes["vision_layers"],
            heads=2,
            text_layers=sizes["transformer_layers"],
            vv_layers=2,
        )
        visual, text = CLIPVisual(config), CLIPText(config)
    ours = {f"clip.visual.{n}": list(t.shape) for n, t in visual.state_dict().items()}
    ours |= {f"clip.{n}": list(t.shape) for n, t in text.tower.state_dict().items()}
    ours["clip.logit_scale"] = []
    del ours["clip.token_embedding.weight"]  # the fixture leaves it out
    theirs = {n: s for n, s in stored["clip"].items() if not n.startswith(SYSTEM)}
    assert ours == theirs
