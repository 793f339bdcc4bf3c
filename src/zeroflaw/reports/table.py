"""Tables of inspections for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zeroflaw.reports.numbers import length_text, percent_text, place_text
from zeroflaw.types import Inspection, Promise, Region, printable

LISTED = 5  # regions of one scan in the table; the JSON has all


@dataclass(frozen=True)
class Row:
    """What the tables say of one scan, without its points.

    diagonal: of the box around it. prompt: the kind of defect that was asked for, or None.
    """

    name: str
    points: int
    diagonal: float
    score: float
    defective: bool
    regions: tuple[Region, ...]
    prompt: str | None = None

    @staticmethod
    def of(name: str, inspection: Inspection) -> Row:
        """The row of an inspection under the name that the user shall see."""
        return Row(
            name=name,
            points=len(inspection.scan),
            diagonal=float(np.linalg.norm(np.ptp(inspection.scan.points, axis=0))),
            score=inspection.score,
            defective=inspection.defective,
            regions=tuple(replace(one, index=one.index[:0]) for one in inspection.regions),
            prompt=inspection.prompt,
        )


def overview(rows: Sequence[Row]) -> Table:
    """One line per scan: score, verdict, number of defects and the largest's size."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("scan", overflow="fold", min_width=12)
    for title in ("points", "score", "verdict", "defects", "largest"):
        table.add_column(title, justify="left" if title == "verdict" else "right", no_wrap=True)
    for row in rows:
        found = bool(row.regions)
        count = str(len(row.regions))
        table.add_row(
            Text(row.name),
            f"{row.points:,}",
            f"{row.score:.3f}",
            Text("defective", "bold red") if row.defective else Text("good", "green"),
            count if row.defective or not found else f"({count})",
            length_text(max(one.size for one in row.regions)) if found else "-",
        )
    return table


def defects(row: Row) -> Table:
    """One line per region of a scan, strongest first; lengths are in the scan's unit."""
    left = len(row.regions) - LISTED
    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        title=Text(row.name, "bold"),
        title_justify="left",
        caption=f"and {left} weaker\n" if left > 0 else None,
        caption_justify="left",
    )
    named = any(region.kind is not None for region in row.regions)
    kind = ("kind",) if named else ()
    for title in ("#", *kind, "size", "height", "centre x y z", "area", "peak"):
        place, words = title.endswith("x y z"), title == "kind"
        table.add_column(title, justify="left" if place or words else "right", no_wrap=not place)
    for number, region in enumerate(row.regions[:LISTED], 1):
        table.add_row(
            str(number),
            *((Text(kind_text(region)),) if named else ()),
            length_text(region.size),
            "-" if region.height is None else length_text(region.height),
            place_text(region.center, row.diagonal / 1000),
            percent_text(region.area_share),
            f"{region.peak:.2f}",
        )
    return table


def kind_text(region: Region) -> str:
    """What a region is called and how probably, "" for one without a name."""
    if region.kind is None:
        return ""
    share = "" if region.kind_probability is None else f" {region.kind_probability:.2f}"
    return f"{region.kind}{share}"


def promised(promise: Promise) -> str:
    """Which calibration was used, and what it keeps, on one line."""
    rate = f"at most {100 * promise.false_alarms:g} %"
    return (
        f"calibrated by {printable(promise.source)}: {rate} of good scans like its "
        f"{promise.scans} are called defective, {rate} show a marked place"
    )


def footnotes(rows: Sequence[Row]) -> list[str]:
    """What the numbers in the tables mean where that is not plain."""
    asked = sorted({row.prompt for row in rows if row.prompt is not None})
    notes = [f"asked for {kind}: scores and defects are of this kind alone" for kind in asked]
    if any(region.height is not None for row in rows for region in row.regions):
        notes.append("height: from the surface around the defect, negative into the material")
    if any(row.regions and not row.defective for row in rows):
        notes.append("(n): spots above the point threshold on a scan that is good as a whole")
    if any(row.defective and not row.regions for row in rows):
        notes.append("defective with 0 defects: no spot reaches the point threshold")
    return notes
