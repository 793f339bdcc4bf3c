"""A cell knows what it is trained on, what it may be tested on, and how it went."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dataset_trees import real3d_ad_tree
from small_recipe import RECIPE
from zeroflaw import cells, checkpoint
from zeroflaw.cells import Cell, Job, plan, scope, with_settings, work
from zeroflaw.methods.btp import BTP, BTPConfig
from zeroflaw.recipe import read_recipe
from zeroflaw.schedule import _outcome
from zeroflaw.types import ZeroflawError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature Real3D-AD of two categories."""
    folder = tmp_path_factory.mktemp("data") / "real3d"
    return real3d_ad_tree(folder, ("airplane", "car"), scans=1, points=100)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_cells_come_seed_by_seed_each_variant_on_each_category(recipe: Path, root: Path) -> None:
    changes = ["seeds=[2, 1]", 'variant=[{name = "a"}, {name = "b", epochs = 2}]']
    names = [cell.name for cell in plan(read_recipe(recipe, changes), {"real3d_ad": root})]
    assert names == [
        f"{variant}/real3d_ad/{category}/{seed}"
        for seed in (2, 1)
        for variant in ("a", "b")
        for category in ("airplane", "car")
    ]


def test_a_process_that_dies_costs_its_own_cell_only(
    root: Path, recipe: Path, tmp_path: Path
) -> None:
    found = read_recipe(recipe)
    cell = plan(found, {"real3d_ad": root})[0]
    job = Job(found, cell, tmp_path, {"real3d_ad": root})
    job.folder.mkdir(parents=True)
    assert _outcome(job, -9) == "failed"
    assert "signal 9" in (job.folder / "failed.txt").read_text()
    assert _outcome(job, 0) == "done"


def test_the_first_weights_are_those_of_the_seed(
    root: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def noted(method: BTP, *given: object, **named: object) -> None:
        begun.append(torch.cat([one.flatten() for one in method.parameters() if one.requires_grad]))
        raise ZeroflawError("enough")

    monkeypatch.setattr(cells, "fit", noted)
    found, roots = read_recipe(recipe, ["seeds=[1, 2]"]), {"real3d_ad": root}
    for number, cell in enumerate(plan(found, roots)):
        assert work(Job(found, cell, tmp_path / str(number), roots, stand_in=True)) == "failed"
    first, of_other_category, of_other_seed, _ = begun
    assert first.equal(of_other_category)
    assert not first.equal(of_other_seed)


def test_a_missing_root_is_named(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match="give --root real3d_ad=PATH"):
        plan(read_recipe(recipe), {})


@pytest.mark.parametrize(
    ("categories", "split", "tested_on", "left_out"),
    [
        ('"others"', "test", ("car",), ()),
        ('"all"', "test", ("airplane", "car"), ("airplane",)),
        ('"all"', "train", ("airplane", "car"), ()),
        ('["airplane", "car"]', "test", ("airplane", "car"), ("airplane",)),
    ],
)
def test_what_was_trained_on_never_counts(
    recipe: Path,
    root: Path,
    categories: str,
    split: str,
    tested_on: tuple[str, ...],
    left_out: tuple[str, ...],
) -> None:
    changes = [f"test.1.categories={categories}", f"test.1.split={split}"]
    found = read_recipe(recipe, changes)
    cell = Cell("btp", "real3d_ad", "airplane", 1)
    given = scope(found, cell, found.tests[0], {"real3d_ad": root})
    assert (given["categories"], given["left_out"]) == (tested_on, left_out)


def test_a_test_on_nothing_but_what_was_trained_on_is_refused(recipe: Path, root: Path) -> None:
    changes = ["train.1.categories=all", "test.1.categories=all"]
    found = read_recipe(recipe, changes)
    (cell,) = plan(found, {"real3d_ad": root})
    with pytest.raises(ZeroflawError, match="nothing but what it was trained on"):
        scope(found, cell, found.tests[0], {"real3d_ad": root})


def test_settings_of_the_inspection_change_without_training(recipe: Path) -> None:
    method = BTP(checkpoint.build_config(BTPConfig, read_recipe(recipe).settings, "here"))
    other = with_settings(method, {"rule": "top", "top_share": 0.5}, "here")
    assert (other.config.rule, other.config.top_share, other.config.points) == ("top", 0.5, 96)
    for name, entry in method.inspection_state().items():
        assert other.inspection_state()[name].equal(entry)
    with pytest.raises(ZeroflawError, match="modules cannot be changed without training anew"):
        with_settings(method, {"modules": "mgfem"}, "here")
