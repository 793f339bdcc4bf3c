"""A recipe is short and strict: what it says is done, what it cannot mean is refused with place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zeroflaw.datasets import DATASETS
from zeroflaw.recipe import bundled, find_recipe, read_recipe
from zeroflaw.reports.published import read_published
from zeroflaw.types import ZeroflawError

REPOSITORY = Path(__file__).parent.parent
RECIPE = """\
title = "A small one"
seeds = [1, 2]
epochs = 3

[method]
name = "btp"
rule = "max"
groups = 16
patch_size = 16

[[variant]]
name = "full"

[[variant]]
name = "bare"
epochs = 1
method = { modules = "mgfem", points = 64 }

[[train]]
data = "real3d_ad"
categories = ["car", "fish"]

[[test]]
data = "same"

[[table]]
form = "systems"
figures = "object_auroc"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_says_what_is_trained_and_tested(recipe: Path) -> None:
    found = read_recipe(recipe)
    full, bare = found.variants
    assert (found.method, found.seeds, found.data) == ("btp", (1, 2), ("real3d_ad",))
    assert found.method_settings(full) == {"rule": "max", "groups": 16, "patch_size": 16}
    assert found.method_settings(bare)["modules"] == "mgfem"
    assert found.method_settings(bare)["points"] == 64
    assert found.method_settings(bare)["rule"] == "max"
    assert found.train_settings(full, 2) == {"epochs": 3, "seed": 2}
    assert found.train_settings(bare, 1)["epochs"] == 1
    assert found.tests[0].categories == ("others",)
    assert found.tables[0].figures == ("object_auroc",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs = 3", "epoch = 3", "unknown key 'epoch'; known are title"),
        ("epochs = 3", "epochs = true", "setting 'epochs' is True; int expected"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "different whole numbers"),
        ("seeds = [1, 2]", "seeds = []", "different whole numbers"),
        ('rule = "max"', 'rules = "max"', "unknown setting 'rules'"),
        ('rule = "max"', 'rule = "most"', "setting 'rule' is 'most'; one of"),
        ('name = "btp"', 'name = "bpt"', "unknown method 'bpt'; known are align3d_ad, btp"),
        ('name = "btp"\n', "", "either a method to train"),
        ('title = "A small one"', "", "'title' is missing"),
        ('title = "A small one"', 'title = "A small one"\ncheckpoint = "c"', "either a method"),
        ('name = "bare"', 'name = "full"', "two are called 'full'"),
        ('name = "bare"', 'name = "a/b"', "'a/b' cannot be a folder"),
        ("epochs = 1", "epochs = 1\nsplit = 1", "[[variant]] 2: unknown key 'split'"),
        ('["car", "fish"]', "[]", "[[train]] 1: categories are a list of names"),
        ('["car", "fish"]', '["car", "each"]', "[[train]] 1: categories are a list of names"),
        ('["car", "fish"]', '"others"', "[[train]] 1: categories are a list of names"),
        ('data = "same"', 'data = "same"\nsplit = "dev"', "[[test]] 1: split 'dev'; there are"),
        ("[[train]]", "[train]", "'train' is written as [[train]]"),
        ('form = "systems"', 'form = "graph"', "[[table]] 1: setting 'form' is 'graph'"),
        ('form = "systems"', 'form = "systems"\ntests = "x"', "no test 'x'; there are same"),
        ('"object_auroc"', '"object_auc"', "no figure 'object_auc'; there are object_auroc"),
        ('"object_auroc"', '"object_auroc"\npublished = "t"', "published table 't': unknown"),
        ('"object_auroc"', '"object_auroc"\nbeside = "BTP"', "no published row 'BTP'"),
        ("seeds = [1, 2]", "seeds = [1, 2", "not TOML"),
    ],
)
def test_what_it_cannot_mean_is_refused_with_file_and_place(
    recipe: Path, old: str, new: str, said: str
) -> None:
    assert RECIPE.count(old) == 1
    recipe.write_text(RECIPE.replace(old, new))
    with pytest.raises(ZeroflawError) as refused:
        read_recipe(recipe)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    if "published table" not in said:
        assert "small.toml" in str(refused.value)


def test_a_checkpoint_is_not_trained(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    plain = 'title = "t"\ncheckpoint = "compact"\n[[test]]\ndata = "real3d_ad"\n'
    path.write_text(plain)
    assert read_recipe(path).checkpoint == "compact"
    for added, said in (
        ('[[train]]\ndata = "real3d_ad"\n', "no effect on a checkpoint"),
        ("[[test]]\n", "names no data"),
    ):
        path.write_text(plain + added)
        with pytest.raises(ZeroflawError, match=said):
            read_recipe(path)
    path.write_text("epochs = 2\n" + plain)
    with pytest.raises(ZeroflawError, match="'epochs' has no effect"):
        read_recipe(path)


def test_values_can_be_set_from_outside(recipe: Path) -> None:
    changes = [
        "epochs=7",
        "method.points=128",
        "variant.bare.method.points=32",
        'train.1.categories=["duck"]',
        "variant.full.method.rule=top",
    ]
    found = read_recipe(recipe, changes)
    full, bare = found.variants
    assert found.train_settings(full, 1)["epochs"] == 7
    assert found.method_settings(full)["rule"] == "top"
    assert found.method_settings(full)["points"] == 128
    assert found.method_settings(bare)["points"] == 32
    assert found.train[0].categories == ("duck",)
    assert found.content["variant"][1]["method"]["points"] == 32


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("epochs", "expected KEY=VALUE"),
        ("method.pionts=1", "unknown setting 'pionts'"),
        ("variant.none.epochs=1", "no element 'none'; there are full, bare"),
        ("train.2.data=x", "no element '2'; there are 1 to 1"),
        ("epochs.more=1", "no table epochs"),
        ("epochs=many", "'many'; int expected"),
    ],
)
def test_a_change_that_means_nothing_is_refused(recipe: Path, change: str, said: str) -> None:
    with pytest.raises(ZeroflawError, match=said):
        read_recipe(recipe, [change])


def test_an_unknown_recipe_is_answered_with_the_bundled_ones() -> None:
    with pytest.raises(ZeroflawError, match="btp_table9: no such recipe; bundled are btp_table1"):
        find_recipe("btp_table9")


@pytest.mark.parametrize("name", sorted(bundled()))
def test_bundled_recipes_fit_the_data_sets_and_the_published_tables(name: str) -> None:
    recipe = read_recipe(bundled()[name])
    for one in recipe.train:
        published = DATASETS[one.data].published
        assert one.categories == ("each",) or set(one.categories) <= set(published)
    assert recipe.tables
    for layout in recipe.tables:
        rows = {
            (one.data, one.row) for key in layout.published for one in read_published(key).records
        }
        sets = {one.data for one in recipe.tests if one.data != "same"}
        sets |= {one.data for one in recipe.train}
        assert {data for data, _ in rows} & sets
        if layout.form == "variants":
            assert {one.name for one in recipe.variants} <= {row for _, row in rows}


@pytest.mark.parametrize("name", sorted(bundled()))
def test_every_bundled_recipe_is_run_by_a_script(name: str) -> None:
    scripts = "".join(path.read_text() for path in (REPOSITORY / "runs").glob("*.sh"))
    assert re.search(rf"(benchmark|run) {name} --root ", scripts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("epochs=0", "epochs is 0, expected 1 to"),
        ("batch=-1", "batch is -1, expected 1 to"),
        ("learning_rate=nan", "learning_rate is nan, expected a positive number"),
        ("clip=inf", "clip is inf, expected a positive number"),
        ("method.points=1000000000000", "points is 1000000000000, expected 1 to"),
        ("method.width=0", "width is 0, expected 1 to"),
        ("method.depth=1000000000000", "depth is 1000000000000, expected 1 to"),
        ("method.heads=7", "width 384 cannot be shared by 7 heads"),
        ("method.layers=[99]", "layers are [99], expected numbers from 1 to 18"),
        ("method.gfcm=[0, 1, 1]", "gfcm is [0, 1, 1], expected numbers from 1"),
        ("method.alpha=nan", "alpha is nan"),
        ('test.1.name="cell.json"', "is a file of the cell itself"),
        (f"variant.full.name={'x' * 201}", "cannot be a folder"),
        ('speed="no"', "'speed' is 'no'; true or false expected"),
        (f"seeds={'[' * 5000}", "seeds are a list"),
    ],
)
def test_sizes_and_names_that_no_run_could_have_are_refused_at_once(
    change: str, words: str, recipe: Path
) -> None:
    with pytest.raises(ZeroflawError) as caught:
        read_recipe(recipe, [change])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
