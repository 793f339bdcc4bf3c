"""Where the published data sets are and how they get onto a machine.

Licence, citation and homepage are the data sets' own, see `Dataset`. Only addresses that their
authors publish are here.
"""

from __future__ import annotations

from dataclasses import dataclass

BY_HAND = "`zeroflaw data get {name} --archive FILE` then checks and unpacks it"


@dataclass(frozen=True)
class Source:
    """How a data set is got.

    hub: its id on the Hugging Face hub, from where it is downloaded without an account; else
    steps: what a person does. filename, md5: of the published archive, where stated. notes: terms
    to know of before.
    """

    steps: str = ""
    hub: str = ""
    filename: str = ""
    md5: str = ""
    notes: str = ""


SOURCES: dict[str, Source] = {
    "anomaly_shapenet": Source(
        hub="Chopper233/Anomaly-ShapeNet",
        notes="the shapes are ShapeNet's, whose terms also apply",
    ),
    "eyecandies": Source(
        steps="read the licence on the homepage and download the categories from there with a "
        "browser, then unpack them into one folder; or, where it is one archive, "
        "`zeroflaw data get eyecandies --archive FILE` unpacks it",
        notes="check the licence on the homepage",
    ),
    "folder": Source(steps="it is your own: point at it with `--data FOLDER`"),
    "mvtec_3d_ad": Source(
        steps="download the archive from the homepage with a browser; "
        + BY_HAND.format(name="mvtec_3d_ad"),
        filename="mvtec_3d_anomaly_detection.tar.xz",
        md5="d8bb2800fbf3ac88e798da6ae10dc819",
        notes="not for commercial use",
    ),
    "real3d_ad": Source(
        steps="download the archive with a browser from "
        "https://drive.google.com/open?id=1oM4qjhlIMsQc_wiFIFIVBvuuR8nyk2k0 (no check sum is "
        "published); " + BY_HAND.format(name="real3d_ad"),
    ),
    "synthetic": Source(
        steps="nothing is to be got: its scans are made when they are read, `--data synthetic`",
    ),
}
