"""The methods by name."""

from __future__ import annotations

from zeroflaw.methods.base import Method
from zeroflaw.methods.btp import BTP
from zeroflaw.methods.compact import Compact
from zeroflaw.methods.pointad import PointAD

METHODS: dict[str, type[Method]] = {"btp": BTP, "compact": Compact, "pointad": PointAD}
