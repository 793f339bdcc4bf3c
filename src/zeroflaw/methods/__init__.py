"""The methods by name."""

from __future__ import annotations

from zeroflaw.methods.align3d_ad import Align3DAD
from zeroflaw.methods.base import Method
from zeroflaw.methods.btp import BTP
from zeroflaw.methods.compact import Compact
from zeroflaw.methods.gs_clip import GSCLIP
from zeroflaw.methods.pointad import PointAD

METHODS: dict[str, type[Method]] = {
    "align3d_ad": Align3DAD,
    "btp": BTP,
    "compact": Compact,
    "gs_clip": GSCLIP,
    "pointad": PointAD,
}
