"""Real3D-AD: parts measured with a structured-light scanner, in millimetres.

Licence: CC BY 4.0. Where: https://github.com/M-3LAB/Real3D-AD

    <category>/train/<n>_template*.pcd                         complete good parts, 4 per category
    <category>/test/<n>_good*.pcd, <n>_bulge*.pcd, <n>_sink*.pcd    one-sided scans
    <category>/gt/<stem>.txt                                   rows `x y z label`, defective scans

Files in `test` whose names contain `temp` are no test scans. The categories lie in the root or
one folder below it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from zeroflaw.datasets.base import Dataset, Entry, Listing
from zeroflaw.datasets.point_tree import PointTree, list_tree, read_entry
from zeroflaw.types import Scan

CATEGORIES = (
    "airplane",
    "candybar",
    "car",
    "chicken",
    "diamond",
    "duck",
    "fish",
    "gemstone",
    "seahorse",
    "shell",
    "starfish",
    "toffees",
)
TREE = PointTree(
    title="Real3D-AD",
    published=CATEGORIES,
    places=(".", "*"),
    labels="gt",
    separator=b"",
    good="good",
    template=r"\d+_template.*",
    template_names="<n>_template….pcd",
    scan=r"\d+_(good|bulge|sink)(?![a-z]).*",
    scan_names="<n>_good….pcd, <n>_bulge….pcd, <n>_sink….pcd",
)


class Real3DAD(Dataset):
    """See the module's first lines for the folder tree."""

    name = "real3d_ad"
    title = "Real3D-AD"
    licence = "CC BY 4.0"
    citation = (
        'Liu, Xie, Chen, Li, Wang, Liu, Wang, Zheng, "Real3D-AD: A Dataset of Point Cloud Anomaly '
        'Detection", NeurIPS 2023, arXiv 2309.13226'
    )
    homepage = "https://github.com/M-3LAB/Real3D-AD"
    published = CATEGORIES

    @cached_property
    def top(self) -> Path:
        """The folder that holds the categories. Raises ZeroflawError."""
        return TREE.find_top(self.root)

    def categories(self) -> tuple[str, ...]:
        """Return the categories that are there, sorted. Raises ZeroflawError if there is none."""
        return TREE.categories(self.top)

    def list_category(self, category: str) -> Listing:
        """Return the category's scans, and what does not fit in its folder."""
        return list_tree(TREE, self.top / category)

    def read(self, entry: Entry) -> Scan:
        """Read a labelled scan. Raises ScanError."""
        return read_entry(TREE, entry)
