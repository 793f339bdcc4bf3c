"""The methods by name."""

from __future__ import annotations

from zeroflaw.methods.base import Method
from zeroflaw.methods.btp import BTP

METHODS: dict[str, type[Method]] = {"btp": BTP}
