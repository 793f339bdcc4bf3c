"""Labelled scans made from shapes: parts, what a scanner sees of them, and their defects."""

from zeroflaw.synthesis.defects import DEFECTS as DEFECTS
from zeroflaw.synthesis.generate import Settings as Settings
from zeroflaw.synthesis.generate import Synthesized as Synthesized
from zeroflaw.synthesis.generate import good_twin as good_twin
from zeroflaw.synthesis.generate import synthesize as synthesize
from zeroflaw.synthesis.solids import SOLIDS as SOLIDS
