"""Finds and localises defects in 3D scans of parts it was never trained on.

`zeroflaw.Detector.load("compact").inspect("part.ply")` returns an Inspection: the scan's score, one
score per point, and the regions of the defects.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zeroflaw.version import __version__

if TYPE_CHECKING:
    from zeroflaw.detector import Detector
    from zeroflaw.io import read
    from zeroflaw.types import Inspection, Scan

__all__ = ["Detector", "Inspection", "Scan", "__version__", "read"]

# Where each name lives: loaded when first asked for, so that `import zeroflaw` stays light.
HOMES = {
    "Detector": "zeroflaw.detector",
    "Inspection": "zeroflaw.types",
    "Scan": "zeroflaw.types",
    "read": "zeroflaw.io",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'zeroflaw' has no attribute {name!r}")
    value = getattr(importlib.import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
