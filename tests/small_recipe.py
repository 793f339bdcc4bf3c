"""A benchmark so small that it runs in seconds, for the tests of the command and of its parts."""

from __future__ import annotations

from pathlib import Path

RECIPE = """\
title = "A small one"
seeds = [1]
epochs = 1

[method]
name = "btp"
points = 96
groups = 16
patch_size = 16
width = 16
depth = 2
heads = 2
embedding = 8
position_width = 8
layers = [1, 2]
text_space = 16
hidden = 16
gfcm = [8, 8, 16]
rule = "max"

[[train]]
data = "real3d_ad"
categories = "each"

[[test]]
data = "same"
categories = "others"

[[table]]
form = "matrix"
figures = ["object_auroc", "point_auroc"]
published = "btp_table2"
beside = "BTP (Ours)"

[[table]]
form = "systems"
published = "btp_table3"
beside = "BTP (Ours)"
"""
NAMES = ["btp/real3d_ad/airplane/1", "btp/real3d_ad/car/1"]


def arguments(recipe: Path, root: Path, out: Path, *options: str) -> list[str]:
    place = f"real3d_ad={root}"
    fixed = ["--root", place, "--out", str(out), "--stand-in", "--devices", "cpu"]
    return ["benchmark", str(recipe), *fixed, *options]
