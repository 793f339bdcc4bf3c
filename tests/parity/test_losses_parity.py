"""BTP's losses give the release's values on stored logits, labels and descriptors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from zeroflaw.methods.losses import dice_loss, focal_loss, geometric_loss

Arrays = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def arrays(parity: Callable[[str], Arrays]) -> dict[str, Tensor]:
    loaded = parity("losses_public")
    return {name: torch.from_numpy(np.asarray(array)).float() for name, array in loaded.items()}


def test_focal(arrays: dict[str, Tensor]) -> None:
    ours = focal_loss(arrays["point_logits"], arrays["point_labels"])
    torch.testing.assert_close(ours, arrays["btp_focal"], rtol=1e-5, atol=0)


def test_dice(arrays: dict[str, Tensor]) -> None:
    ours = dice_loss(torch.sigmoid(arrays["point_logits"]), arrays["point_labels"])
    torch.testing.assert_close(ours, arrays["btp_dice"], rtol=1e-5, atol=0)


def test_geometric(arrays: dict[str, Tensor]) -> None:
    ours = geometric_loss(arrays["geometric"], arrays["fpfh"])
    torch.testing.assert_close(ours, arrays["btp_geometric"], rtol=1e-5, atol=0)
