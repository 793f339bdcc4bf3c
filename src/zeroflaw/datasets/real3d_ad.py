"""Real3D-AD: parts measured with a structured-light scanner, in millimetres.

Licence: CC BY 4.0. Where: https://github.com/M-3LAB/Real3D-AD

    <category>/train/<n>_template*.pcd                         complete good parts, 4 per category
    <category>/test/<n>_good*.pcd, <n>_bulge*.pcd, <n>_sink*.pcd    one-sided scans
    <category>/gt/<stem>.txt                                   rows `x y z label`, defective scans

Files in `test` whose names contain `temp` are no test scans. The categories lie in the root or
one folder below it.
"""

from __future__ import annotations

from zeroflaw.datasets.point_tree import PointDataset, PointTree

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


class Real3DAD(PointDataset):
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
    tree = TREE
