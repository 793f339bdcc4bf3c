"""Data sets by name."""

from __future__ import annotations

from zeroflaw.datasets.base import Dataset
from zeroflaw.datasets.folder import Folder

DATASETS: dict[str, type[Dataset]] = {"folder": Folder}
