"""Anomaly-ShapeNet: shapes of ShapeNet with synthesised defects.

Licence: CC BY 4.0; the shapes come from ShapeNet, whose terms also apply.
Where: https://huggingface.co/datasets/Chopper233/Anomaly-ShapeNet

    dataset/pcd/<category>/train/<category>_template<n>.pcd    good parts, 4 per category
    dataset/pcd/<category>/test/<category>_positive<n>.pcd     good
    dataset/pcd/<category>/test/<category>_<defect><n>.pcd     bulge, concavity, hole, crack, …
    dataset/pcd/<category>/GT/<stem>.txt                       rows `x,y,z,label`, defective scans

The root is the folder that holds the categories, or a folder up to three above it: `dataset/pcd`,
`dataset`, the archive's top, or the folder that it was unpacked in.
"""

from __future__ import annotations

from zeroflaw.datasets.point_tree import PointDataset, PointTree

CATEGORIES = (
    *("ashtray0", "bag0", "bottle0", "bottle1", "bottle3"),
    *("bowl0", "bowl1", "bowl2", "bowl3", "bowl4", "bowl5"),
    *("bucket0", "bucket1", "cap0", "cap3", "cap4", "cap5", "cup0", "cup1"),
    *("eraser0", "headset0", "headset1", "helmet0", "helmet1", "helmet2", "helmet3"),
    *("jar0", "microphone0", "shelf0", "tap0", "tap1"),
    *("vase0", "vase1", "vase2", "vase3", "vase4", "vase5", "vase7", "vase8", "vase9"),
)
TREE = PointTree(
    title="Anomaly-ShapeNet",
    published=CATEGORIES,
    places=(".", "pcd", "dataset/pcd", "*/dataset/pcd"),
    labels="GT",
    separator=b",",
    good="positive",
    template=r"CATEGORY_template\d+",
    template_names="<category>_template<n>.pcd",
    scan=r"CATEGORY_([a-z]+(?:_[a-z]+)*)\d+",
    scan_names="<category>_positive<n>.pcd, <category>_<defect><n>.pcd",
)


class AnomalyShapeNet(PointDataset):
    """See the module's first lines for the folder tree."""

    name = "anomaly_shapenet"
    title = "Anomaly-ShapeNet"
    licence = "CC BY 4.0; ShapeNet's terms also apply to the shapes"
    citation = (
        'Li, Xu, Gu, Zheng, Gao, Wu, "Towards Scalable 3D Anomaly Detection and Localization: A '
        'Benchmark via 3D Anomaly Synthesis and A Self-Supervised Learning Network", CVPR 2024, '
        "arXiv 2311.14897"
    )
    homepage = "https://huggingface.co/datasets/Chopper233/Anomaly-ShapeNet"
    published = CATEGORIES
    tree = TREE
