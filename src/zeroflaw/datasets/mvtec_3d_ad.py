"""MVTec 3D-AD: ten kinds of food and goods from above, as organised scans.

Licence: CC BY-NC-SA 4.0; get it at https://www.mvtec.com/company/research/datasets/mvtec-3d-ad.
Tree:

    <category>/{train,validation,test}/<good or a defect>/xyz/NNN.tiff   float32, metres
                                                         /gt/NNN.png     0, 255 where defective
                                                         /rgb/NNN.png    its photograph, or none

Good scans may have no mask. train and validation hold good scans alone. A scan shows the part on
the plane that it lies on; pixels of (0, 0, 0) were not measured. The photograph has the same pixels
and gives the points their colours.
"""

from __future__ import annotations

from zeroflaw.datasets.base import Entry, Listing
from zeroflaw.datasets.organised_tree import (
    OrganisedDataset,
    categories_in,
    list_organised,
    organised,
    read_organised,
)
from zeroflaw.geometry.plane import without_background
from zeroflaw.types import Scan

EXPECTED = "<category>/{train,validation,test}/<good or a defect>/xyz"
DISTANCE = 0.005  # metres; what is nearer to the plane goes with it, as the field does it


class MVTec3DAD(OrganisedDataset):
    """See the module's first lines for the folder.

    remove_plane: leave out the plane that the part lies on, and what is not connected to the part.
    Points labelled defective that go with it are counted in the scan's notes.
    """

    name = "mvtec_3d_ad"
    title = "MVTec 3D-AD"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "P. Bergmann, X. Jin, D. Sattlegger, C. Steger: The MVTec 3D-AD Dataset for Unsupervised "
        "3D Anomaly Detection and Localization, VISAPP 2022"
    )
    homepage = "https://www.mvtec.com/company/research/datasets/mvtec-3d-ad"
    published = (
        "bagel",
        "cable_gland",
        "carrot",
        "cookie",
        "dowel",
        "foam",
        "peach",
        "potato",
        "rope",
        "tire",
    )

    def categories(self) -> tuple[str, ...]:
        """Return the categories that are there, sorted. Raises ZeroflawError if there is none."""
        return categories_in(self.root, organised, EXPECTED, self.homepage)

    def list_category(self, category: str) -> Listing:
        """Return the category's scans and what does not fit."""
        return list_organised(self.root / category)

    def read(self, entry: Entry) -> Scan:
        """Read a scan with its labels. Raises ScanError, also if mask and scan do not fit."""
        scan = read_organised(entry)
        return without_background(scan, DISTANCE) if self.remove_plane else scan
