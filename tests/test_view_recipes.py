"""A recipe may lay several methods side by side, each beside the system that it is a version of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dataset_trees import real3d_ad_tree
from small_recipe import arguments
from zeroflaw.cli import main
from zeroflaw.methods.gs_clip import GSCLIPConfig
from zeroflaw.recipe import Recipe, bundled, read_recipe
from zeroflaw.start import check_published
from zeroflaw.types import ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """\
title = "Two families"
seeds = [1]
epochs = 1

[method]
points = 96

[[variant]]
name = "mine"
method = { name = "btp", groups = 16, patch_size = 16, width = 16, depth = 2, heads = 2, \
embedding = 8, position_width = 8, layers = [1, 2], text_space = 16, hidden = 16, \
gfcm = [8, 8, 16] }

[[variant]]
name = "views"
method = { name = "align3d_ad", clip = { image = 56, width = 32, layers = 2, heads = 2, \
text_width = 32, text_layers = 2, text_heads = 2, embedding = 32, vv_layers = 1 } }

[[variant]]
name = "fixed"
method = { name = "pointad", texts = "photo", clip = { image = 56, width = 32, layers = 2, \
heads = 2, text_width = 32, text_layers = 2, text_heads = 2, embedding = 32, vv_layers = 1 } }

[[train]]
data = "real3d_ad"
categories = "car"

[[test]]
data = "same"

[[table]]
form = "systems"
published = "view_one_vs_rest"
beside = "PointAD"
own.mine = "BTP"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(RECIPE)
    return path


def variant(recipe: Recipe, name: str) -> Any:
    return next(one for one in recipe.variants if one.name == name)


def test_every_variant_may_name_a_method_of_its_own(recipe: Path) -> None:
    found = read_recipe(recipe)
    assert found.methods == ("align3d_ad", "btp", "pointad")
    assert found.method_of(variant(found, "fixed")) == "pointad"
    settings = found.method_settings(variant(found, "fixed"))
    assert (settings["points"], settings["texts"]) == (96, "photo")
    assert "name" not in settings


def test_settings_of_a_named_method_are_not_those_of_another(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace("[method]\n", '[method]\nname = "btp"\nrule = "max"\n'))
    found = read_recipe(recipe)
    assert found.method_settings(variant(found, "mine"))["rule"] == "max"
    assert "rule" not in found.method_settings(variant(found, "views"))
    assert "points" not in found.method_settings(variant(found, "views"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "btp", ', "", "name either a method to train"),
        ('name = "btp", ', 'name = "ptb", ', "unknown method 'ptb'; known are align3d_ad"),
        ('name = "btp", ', "name = 3, ", "[[variant]] 1: method 3; a method's name expected"),
        ('own.mine = "BTP"', 'own.other = "BTP"', "no variant 'other'; there are mine, views"),
        ('own.mine = "BTP"', 'own.mine = "PTB"', "no published row 'PTB'"),
        ("seeds = [1]", 'seeds = [1]\ncheckpoint = "compact"', "name either a method to train"),
        ("seeds = [1]", "seeds = [1]\nspeed = true", "speed cannot be measured of align3d_ad"),
        ('texts = "photo"', 'rule = "max"', "variant 'fixed': unknown setting 'rule'"),
    ],
)
def test_what_methods_cannot_mean_is_refused(recipe: Path, old: str, new: str, said: str) -> None:
    assert RECIPE.count(old) == 1
    recipe.write_text(RECIPE.replace(old, new))
    with pytest.raises(ZeroflawError) as refused:
        read_recipe(recipe)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_table_lays_every_system_beside_its_paper(recipe: Path, tmp_path: Path) -> None:
    root = real3d_ad_tree(tmp_path / "real3d", ("airplane", "car"), scans=1, points=300)
    out = tmp_path / "out"
    assert main(arguments(recipe, root, out)) == 0
    content = json.loads((out / "table.json").read_text())
    assert [cell["state"] for cell in content["cells"]] == ["done"] * 3
    rows = [tuple(row[:2]) for row in content["tables"][0]["rows"]]
    assert ("PointAD", "published") in rows
    assert rows[-6:] == [
        ("mine", "measured"),
        ("mine", "difference from BTP"),
        ("views", "measured"),
        ("views", "difference from PointAD"),
        ("fixed", "measured"),
        ("fixed", "difference from PointAD"),
    ]
    assert not list(out.rglob("state.pt")), "finished cells keep no state, of no stage"


@pytest.mark.parametrize(
    ("methods", "asked"),
    [
        (("btp", "pointad"), "ulip2-pointbert"),
        (("pointad",), "clip-vit-l-336"),
        (("align3d_ad",), "clip-vit-l-336"),
        (("gs_clip",), "clip-vit-l-336"),
    ],
)
def test_missing_weights_are_asked_for_by_name(
    methods: tuple[str, ...], asked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path / "nothing"))
    with pytest.raises(ZeroflawError, match=f"weights fetch {asked}"):
        check_published(methods)


def test_files_of_weights_that_methods_do_not_share_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "clip.pt"
    with pytest.raises(ZeroflawError, match="btp and gs_clip have different encoders"):
        check_published(("btp", "gs_clip"), file)
    with pytest.raises(ZeroflawError, match="both towers are in the one file"):
        check_published(("pointad",), file, file)
    check_published(("pointad",), file)


def test_a_benchmark_of_views_does_not_ask_for_the_weights_of_btp(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path / "nothing"))
    root = real3d_ad_tree(tmp_path / "real3d", ("airplane", "car"), scans=1, points=300)
    given = arguments(recipe, root, tmp_path / "out", "--cell", "views/*")
    assert main([one for one in given if one != "--stand-in"]) == 2
    said = capsys.readouterr().err
    assert "clip-vit-l-336" in said
    assert "ulip2" not in said
    assert not (tmp_path / "out").exists()


def papers(name: str) -> Recipe:
    return read_recipe(bundled()[name])


@pytest.fixture
def every_setting() -> Callable[[str], dict[str, dict[str, Any]]]:
    """The settings of all variants of a bundled recipe."""

    def of(name: str) -> dict[str, dict[str, Any]]:
        recipe = papers(name)
        return {one.name: recipe.method_settings(one) for one in recipe.variants}

    return of


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("three_mvtec_3d_ad", 5e-4),
        ("three_eyecandies", 5e-4),
        ("cross_dataset", 5e-4),
        ("three_real3d_ad", 1e-4),
        ("three_anomaly_shapenet", 1e-4),
    ],
)
def test_the_papers_tables_run_all_systems_with_their_own_rates(
    name: str, rate: float, every_setting: Callable[[str], dict[str, dict[str, Any]]]
) -> None:
    recipe = papers(name)
    assert recipe.methods == ("align3d_ad", "btp", "gs_clip", "pointad")
    assert every_setting(name)["gs_clip"].get("views_rate", 1e-4) == rate
    assert not recipe.training, "every method and stage keeps its own epochs and rates"
    assert recipe.tables[0].own["pointad"].startswith("PointAD")


def test_every_fault_of_the_release_has_a_variant(
    every_setting: Callable[[str], dict[str, dict[str, Any]]],
) -> None:
    found = every_setting("gs_clip_mended")
    release, own = asdict(GSCLIPConfig.release()), asdict(GSCLIPConfig())
    faults = {name: value for name, value in release.items() if value != own[name]}
    assert found["as released"] == faults
    for name, value in faults.items():
        assert {name: value} in found.values()
    assert found["mended"] == {}
