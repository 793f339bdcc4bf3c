"""Held against stored outputs of the reference implementations."""
