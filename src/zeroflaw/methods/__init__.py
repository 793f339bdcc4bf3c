"""The methods by name."""

from __future__ import annotations

from zeroflaw.methods.base import Method

METHODS: dict[str, type[Method]] = {}
