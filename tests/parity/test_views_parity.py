"""The view-based methods' shared parts give the releases' values on stored features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroflaw.methods.view_losses import both_dice, view_focal
from zeroflaw.methods.views import patch_probability, to_maps, to_points, view_logits

Arrays = Mapping[str, NDArray[Any]]
Load = Callable[[str], Arrays]


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def losses(parity: Load) -> dict[str, Tensor]:
    return tensors(parity("losses_public"))


@pytest.fixture(scope="module")
def clip(parity: Load) -> dict[str, Tensor]:
    return tensors(parity("clip_public"))


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def test_focal_of_both_channels(losses: dict[str, Tensor]) -> None:
    ours = view_focal(losses["probability_map"][:, 1], losses["mask"][:, 0])
    torch.testing.assert_close(ours, losses["view_focal"], rtol=1e-4, atol=0)


def test_dice_of_both_channels(losses: dict[str, Tensor]) -> None:
    ours = both_dice(losses["probability_map"][:, 1], losses["mask"][:, 0])
    theirs = losses["view_dice_anomalous"] + losses["view_dice_normal"]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


def test_similarity_map(clip: dict[str, Tensor]) -> None:
    probability = patch_probability(clip["clip_patch"][None, :, 1:], clip["gs_text"])
    ours = to_maps(probability, 56)[0]
    assert relative(ours, clip["gs_similarity_map"][..., 1]) < 1e-4


def test_view_probabilities(clip: dict[str, Tensor]) -> None:
    logits = view_logits(clip["gs_fused_global"][None], clip["gs_text"])
    ours = torch.softmax(logits, dim=-1)[0, :, 1]
    assert relative(ours, clip["gs_view_probability"]) < 1e-4


def test_point_probabilities(clip: dict[str, Tensor]) -> None:
    column, row, visible = clip["pixel_of_point"].long().unbind(dim=-1)
    maps = clip["gs_similarity_map"][None, ..., 1]
    ours = to_points(maps, (row * 56 + column)[None], visible[None].bool())
    assert relative(ours, clip["gs_point_probability"]) < 1e-4
