"""Inspections for people: colours, pictures and tables."""
