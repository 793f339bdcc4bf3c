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
from zeroflaw.encoders.pointnet2 import PointNet2, PointNet2Features

Arrays = Mapping[str, NDArray[Any]]
LIMIT = 1e-4
POINTNET = "gs_prompt.pointnet."


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
