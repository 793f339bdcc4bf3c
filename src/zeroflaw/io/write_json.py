"""What an inspection found, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zeroflaw.io.atomic import replacing
from zeroflaw.types import Inspection, Promise, Region


def summary(inspection: Inspection) -> dict[str, Any]:
    """The result without its points, as JSON can hold it; the same for the same scan."""
    scan = inspection.scan
    return {
        "scan": None if scan.source is None else str(scan.source),
        "detector": inspection.detector,
        "prompt": inspection.prompt,
        "score": float(inspection.score),
        "threshold": float(inspection.threshold),
        "defective": bool(inspection.defective),
        "point_threshold": float(inspection.point_threshold),
        "points": len(scan),
        "dropped": int(scan.dropped),
        "regions": [region_summary(region) for region in inspection.regions],
        "notes": list(inspection.notes),
        "calibration": promise_summary(inspection.promise),
    }


def promise_summary(promise: Promise | None) -> dict[str, Any] | None:
    """Which calibration the thresholds are from, and what it promises."""
    if promise is None:
        return None
    return {
        "file": promise.source,
        "scans": promise.scans,
        "false_alarms": promise.false_alarms,
        "guarantee": promise.guarantee,
    }


def region_summary(region: Region) -> dict[str, Any]:
    """One region without its points; lengths, places and area in the scan's unit and frame."""
    return {
        "kind": region.kind,
        "kind_probability": region.kind_probability,
        "center": [float(value) for value in region.center],
        "extent": [float(value) for value in region.extent],
        "size": float(region.size),
        "height": region.height,
        "area": region.area,
        "area_share": float(region.area_share),
        "peak": float(region.peak),
        "mean": float(region.mean),
        "points": len(region.index),
    }


def write_json(path: Path, inspection: Inspection) -> None:
    """Write the summary to a JSON file. Raises ZeroflawError."""
    text = json.dumps(summary(inspection), indent=2, ensure_ascii=False)
    with replacing(path) as file:
        file.write((text + "\n").encode("utf-8", "backslashreplace"))
