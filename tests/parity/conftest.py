"""Where the outputs of the published implementations are read from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """The folder of the fixtures: ZEROFLAW_PARITY_DIR, or this one."""
    return Path(os.environ.get("ZEROFLAW_PARITY_DIR") or Path(__file__).parent)


@pytest.fixture(scope="session")
def parity(parity_folder: Path) -> Callable[[str], Arrays]:
    """A function that loads all arrays of NAME.npz."""

    def load(name: str) -> Arrays:
        with np.load(parity_folder / f"{name}.npz") as stored:
            return {key: stored[key] for key in stored.files}

    return load
