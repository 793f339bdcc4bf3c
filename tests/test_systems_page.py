"""The page that lays the systems side by side says what the code and the papers say."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from zeroflaw.checkpoint import build_config
from zeroflaw.detector import Detector
from zeroflaw.encoders.clip import CLIPConfig
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.weights import WEIGHTS
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Method
from zeroflaw.methods.btp import BTPConfig
from zeroflaw.methods.gs_clip import GSCLIPConfig
from zeroflaw.methods.views import ViewMethod
from zeroflaw.reports.published import read_published

PAGE = (Path(__file__).parent.parent / "docs" / "systems.md").read_text(encoding="utf-8")
SETS = {
    "MVTec 3D-AD": "mvtec_3d_ad",
    "Eyecandies": "eyecandies",
    "Real3D-AD": "real3d_ad",
    "Anomaly-ShapeNet": "anomaly_shapenet",
}
SHOWN = ("object_auroc", "point_auroc", "point_pro")
HEADS = {
    "All view-based systems": "pointad",
    "PointAD": "pointad",
    "GS-CLIP": "gs_clip",
    "Align3D-AD": "align3d_ad",
    "BTP": "btp",
}


def rows(title: str) -> list[list[str]]:
    """The cells of the first table below a heading, its head first."""
    _, found, rest = PAGE.partition(f"# {title}\n")
    assert found, f"no heading {title!r}"
    lines = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    table = [line for line in lines if line.startswith("|")]
    cells = [[one.strip() for one in line.strip("|").split("|")] for line in table]
    return [one for one in cells if not set(one[0]) <= set("-: ") or one[0] == ""]


def test_published_figures_are_those_of_the_papers() -> None:
    table = read_published("view_one_vs_rest")
    head, *systems = rows("What the papers report")
    assert {one for data in SETS.values() for one in table.rows(data)} == {s[0] for s in systems}
    for row in systems:
        for data, text in zip(head[1:], row[1:], strict=True):
            values = [table.value(row[0], SETS[data], figure) for figure in SHOWN]
            expected = " / ".join("–" if value is None else f"{value:g}" for value in values)
            expected = "–" if values == [None] * 3 else expected
            assert [float(n) for n in re.findall(r"[\d.]+", text)] == [
                float(n) for n in re.findall(r"[\d.]+", expected)
            ]
            assert text.count("–") == expected.count("–")


def settings(title: str) -> list[dict[str, Any]]:
    """The settings in the last column of a table, each row's as one."""
    found = [re.findall(r'`("\w+": [^`]+)`', row[-1]) for row in rows(title)]
    return [json.loads("{" + ", ".join(codes) + "}") for codes in found if codes]


@pytest.mark.parametrize("title", [one for one in HEADS if one != "Align3D-AD"])
def test_every_setting_on_the_page_is_one(title: str) -> None:
    kind: Any = METHODS[HEADS[title]]
    default = asdict(kind.Config())
    for given in settings(title):
        built = asdict(build_config(kind.Config, given, "the page"))
        changed = {name for name in built if built[name] != default[name]}
        assert changed <= set(given)
        assert changed or title == "All view-based systems"


def test_settings_without_a_value_are_some_too() -> None:
    names = re.findall(r'"(\w+)"', rows("Align3D-AD")[1][-1])
    assert names == ["color_object", "color_point", "consistency"]
    kind: Any = METHODS["align3d_ad"]
    assert set(names) <= set(asdict(kind.Config()))


@pytest.mark.parametrize(
    ("title", "release", "own", "rows_"),
    [
        ("GS-CLIP", GSCLIPConfig.release(), GSCLIPConfig(), None),
        ("BTP", BTPConfig.release(), BTPConfig(), 3),
    ],
)
def test_the_release_is_what_its_rows_say(
    title: str,
    release: GSCLIPConfig | BTPConfig,
    own: GSCLIPConfig | BTPConfig,
    rows_: int | None,
) -> None:
    usual = json.loads(json.dumps(asdict(own)))
    changed = {
        name: value
        for name, value in json.loads(json.dumps(asdict(release))).items()
        if value != usual[name]
    }
    said: dict[str, Any] = {}
    for given in settings(title)[:rows_]:
        said = {**given, **said}  # the first row of a setting counts
    assert said == changed


def costs() -> list[list[str]]:
    """The rows of what each costs, without the second table there."""
    return [row for row in rows("What each costs") if len(row) == 6]


def counted(method: Method) -> str:
    return f"{sum(one.numel() for one in method.inspection_state().values()) / 1e6:.1f} M"


def learned(method: Method) -> float:
    return sum(one.numel() for one in method.parameters() if one.requires_grad) / 1e6


def test_numbers_of_weights_are_those_of_the_papers_sizes() -> None:
    cells = {row[0].strip("`"): row[1:3] for row in costs()[1:]}
    assert cells["compact"] == [counted(Detector.load("compact", "cpu").method), "all"]
    with torch.device("meta"):
        text = CLIPText(CLIPConfig())
        for name in ("btp", "pointad", "gs_clip", "align3d_ad"):
            kind: Any = METHODS[name]
            method = kind()
            prompts = 0.0
            if isinstance(method, ViewMethod) and method.prompts is None:
                prompts = sum(one.numel() for one in method.new_prompts(text).parameters()) / 1e6
            stages = []
            for stage in method.stages() or (None,):
                if stage is not None:
                    method.begin_stage(stage.name)
                both = 2 if name == "align3d_ad" else 1
                last = stage is not None and stage.name == "prompts"
                stages.append(learned(method) + (both * prompts if last else 0))
            said = re.findall(r"[\d.]+", cells[name][1])
            assert cells[name][0] == counted(method)
            assert [float(one) for one in said] == pytest.approx(stages, rel=0.08)


def test_sizes_of_files_are_those_of_the_listing() -> None:
    for name, size in (("ulip2-pointbert", "402 MB"), ("clip-vit-l-336", "934 MB")):
        told = WEIGHTS[name].size
        assert told is not None
        assert f"{told / 1e6:.0f} MB" == size
        assert f"`{name}` | {size}" in PAGE
    assert WEIGHTS["pointnet2-s3dis"].size is None
    assert "10.2 GB" in PAGE


def test_figures_of_learning_are_those_that_were_measured() -> None:
    results = Path(__file__).parent.parent / "benchmarks" / "results" / "view_methods.md"
    measured = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))[-3:]
        for line in results.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    }
    _, *systems = [row for row in rows("What the mending changes") if len(row) == 4]
    shown = [row for row in systems if "AU-PRO" not in row]
    assert len(shown) > 10
    for row in shown:
        assert tuple(row[-3:]) in measured, row[0]
