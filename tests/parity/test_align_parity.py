"""Align3D-AD's aligners and losses equal the release's, on stand-in weights."""

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
from zeroflaw.encoders.clip import CLIPFeatures, CLIPVisual
from zeroflaw.encoders.clip_weights import load_clip
from zeroflaw.methods.alignment import (
    Aligner,
    dual_contrast,
    gap,
    semantic_consistency,
    weighted_gap,
)

STRENGTH = 0.05  # λ of the stored loss
LIMIT = 1e-4
SYSTEM = ("clip.fusion.", "clip.visual_depth.")  # GS-CLIP's own
Named = dict[str, Tensor]


@pytest.fixture(scope="module")
def stored(parity: Callable[[str], Mapping[str, NDArray[Any]]]) -> Named:
    return {n: torch.from_numpy(np.asarray(a)) for n, a in parity("clip_public").items()}


@pytest.fixture(scope="module")
def shapes(parity_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((parity_folder / "clip_shapes.json").read_text())
    return found


@pytest.fixture(scope="module")
def visual(shapes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> CLIPVisual:
    """The small CLIP's visual tower, from a file."""
    names = {n: s for n, s in shapes["clip"].items() if not n.startswith(SYSTEM)}
    entries = {
        name.removeprefix("clip."): torch.from_numpy(np.asarray(array))
        for name, array in recipe_state_dict(names).items()
    }
    entries["token_embedding.weight"] = torch.zeros(7, entries["text_projection"].shape[0])
    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.save(entries, path)
    blocks = shapes["dpam_layers_replaced"]
    return load_clip(path, quick_gelu=True, vv_layers=blocks, precision="float32")[0]


@pytest.fixture(scope="module")
def aligners(shapes: dict[str, Any]) -> dict[str, Aligner]:
    weights = recipe_state_dict(shapes["aligner"])
    found = {}
    for name in ("global", "local"):
        front = f"aligner.{name}_mlp."
        entries = {
            n.removeprefix(front): torch.from_numpy(np.asarray(array))
            for n, array in weights.items()
            if n.startswith(front)
        }
        found[name] = Aligner(entries["input.weight"].shape[0])
        found[name].load_state_dict(entries)
    return found


@pytest.fixture(scope="module")
def seen(visual: CLIPVisual, stored: Named) -> dict[str, CLIPFeatures]:
    with torch.no_grad():
        return {name: visual(stored[name]) for name in ("render", "rgb")}


def check(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float(((ours - theirs).norm() / theirs.norm()).detach()) < LIMIT


def test_aligned_features(aligners: dict[str, Aligner], stored: Named) -> None:
    check(aligners["global"](stored["clip_global"]), stored["align_global"])
    check(aligners["local"](stored["clip_patch"])[:, :4], stored["align_local_first4"])


def test_semantic_consistency(seen: dict[str, CLIPFeatures], stored: Named) -> None:
    ours = semantic_consistency(seen["render"].tokens[0], seen["rgb"].tokens[0])
    check(ours, stored["align_semantic_consistency"])


@pytest.mark.parametrize(
    ("strength", "name"), [(STRENGTH, "align_stage1_loss"), (0.0, "align_stage1_loss_unweighted")]
)
def test_losses_of_the_alignment(
    strength: float,
    name: str,
    aligners: dict[str, Aligner],
    seen: dict[str, CLIPFeatures],
    stored: Named,
) -> None:
    rendered, colored = seen["render"].tokens[0], seen["rgb"].tokens[0]
    whole = gap(aligners["global"](seen["render"].image), seen["rgb"].image).mean()
    local = weighted_gap(
        gap(aligners["local"](rendered), colored),
        semantic_consistency(rendered, colored),
        strength,
    )
    check(whole + local, stored[name])


def test_contrast_of_both_branches(stored: Named) -> None:
    drawn = [torch.from_numpy(recipe_tensor(f"rgb_{s}", (1, 768))) for s in ("normal", "anomalous")]
    colored = functional.normalize(torch.cat(drawn), dim=-1)
    rendered = stored["gs_text"][0]
    check(dual_contrast(colored, rendered), stored["align_dpca_rgb"])
    check(dual_contrast(rendered, colored), stored["align_dpca_render"])
