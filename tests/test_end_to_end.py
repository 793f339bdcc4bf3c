"""The verbs in a row, as a person types them: on all four published data sets, and as the README.

The data sets are miniature trees in their published layouts, BTP is a tiny one on stand-in weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_trees import anomaly_shapenet_tree, real3d_ad_tree
from evaluation_folder import Page
from organised_trees import CANDY_SHAPES, MVTEC_SHAPES, write_eyecandies, write_mvtec_3d_ad
from test_docs import REPOSITORY, commands
from zeroflaw.cli import main
from zeroflaw.datasets import DATASETS
from zeroflaw.datasets.base import GOOD
from zeroflaw.datasets.synthetic import NO_SHAPES, Synthetic
from zeroflaw.io.write_ply import write_scan
from zeroflaw.reports.results import read_results
from zeroflaw.types import Scan

pytestmark = pytest.mark.usefixtures("one_thread")

Words = list[str | Path]
SMALL: dict[str, Any] = {
    "points": 96,
    "groups": 16,
    "patch_size": 16,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "embedding": 8,
    "position_width": 8,
    "layers": [1, 2],
    "text_space": 16,
    "hidden": 16,
    "gfcm": [8, 8, 16],
}
CHANGES = [f"--set=method.{key}={json.dumps(value)}" for key, value in SMALL.items()]
TREES: dict[str, Callable[[Path, list[str]], Path]] = {
    "real3d_ad": lambda root, names: real3d_ad_tree(root, names, scans=1, points=300),
    "anomaly_shapenet": lambda root, names: anomaly_shapenet_tree(root, names, 1, 300),
    "mvtec_3d_ad": lambda root, names: write_mvtec_3d_ad(
        root, {name: MVTEC_SHAPES[name] for name in names}, train=1, test=1, pixels=48
    ),
    "eyecandies": lambda root, names: write_eyecandies(
        root, {name: CANDY_SHAPES[name] for name in names}, train=1, pixels=48
    ),
}
CATEGORIES = {  # those that the view-based papers train on
    "real3d_ad": ["seahorse", "shell", "starfish"],
    "anomaly_shapenet": ["ashtray0", "bag0", "bottle0"],
    "mvtec_3d_ad": ["carrot", "cookie", "dowel"],
    "eyecandies": ["Confetto", "LicoriceSandwich", "PeppermintCandy"],
}


def run(*words: str | Path) -> None:
    arguments = [str(word) for word in words]
    assert main(arguments) == 0, arguments


def check_results(folder: Path, left_out: set[str]) -> None:
    """All figures of whole scans are there and shares, in every category that counts."""
    results = read_results(folder)
    assert set(results.left_out) == left_out
    assert results.counted
    for category in results.counted:
        assert {GOOD} < set(results.scans[category])
        for name, value in results.figures[category].items():
            assert 0 <= value <= 1, f"{name} of {category} is {value}"
    assert all(math.isfinite(value) for value in results.mean().values())
    for ending in ("csv", "md", "tex"):
        text = (folder / f"results.{ending}").read_text()
        assert "nan" not in text
        for category in results.counted:
            assert category.replace("_", r"\_" if ending == "tex" else "_") in text


def check_page(path: Path, *words: str) -> None:
    """The page is whole, loads nothing, shows pictures or tables, and says these words."""
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    for word in words:
        assert word in page.text
    for value in [one.get("src", "") for one in page.all("img")]:
        assert value.startswith("data:")
    assert page.all("table")
    assert "nan" not in page.text.lower().split()


def check_table(folder: Path, category: str, seed: int) -> None:
    """One cell is done, and the table has its figures and the papers'."""
    found = json.loads((folder / "table.json").read_text())
    states = {cell["name"]: cell["state"] for cell in found["cells"]}
    assert [name for name, state in states.items() if state == "done"] == [
        next(name for name in states if name.endswith(f"/{category}/{seed}"))
    ]
    assert "failed" not in states.values()
    cells = [cell for table in found["tables"] for row in table["rows"] for cell in row]
    ours = [cell["value"] for cell in cells if isinstance(cell, dict) and cell.get("seeds") == 1]
    assert ours
    assert all(abs(value) <= 100 for value in ours if value is not None)  # differences, too
    assert any(value is not None for value in ours)
    for ending in ("md", "csv", "tex"):
        assert (folder / f"table.{ending}").stat().st_size > 0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The settings of a tiny BTP, as a file."""
    path = tmp_path / "small.json"
    path.write_text(json.dumps(SMALL))
    return path


def test_there_is_a_tree_of_every_published_data_set() -> None:
    assert set(TREES) == {name for name, kind in DATASETS.items() if kind.published}


@pytest.mark.parametrize("data", list(TREES))
def test_from_a_data_set_to_the_page_beside_the_papers(
    data: str, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = CATEGORIES[data]
    root, out = TREES[data](tmp_path / "data", names), tmp_path / "runs"
    run("data", "check", data, root)
    assert "usable: 3 of 3 categories" in capsys.readouterr().out
    training: Words = [
        "train",
        "btp",
        "--data",
        data,
        root,
        "--category",
        names[0],
        "--epochs",
        "1",
    ]
    run(*training, "--stand-in", "--config", config, "--device", "cpu", "--out", out / "btp")
    evaluation: Words = [
        "evaluate",
        "--checkpoint",
        out / "btp" / "last.safetensors",
        "--data",
        data,
    ]
    run(*evaluation, root, "--device", "cpu", "--out", out / "figures")
    check_results(out / "figures", left_out={names[0]})
    assert "Made with stand-in weights" in capsys.readouterr().out
    run("report", out / "figures")
    check_page(out / "figures" / "report.html", *names, DATASETS[data].title)
    cell: Words = ["--seeds", "111", "--cell", f"btp/*/{names[1]}/*", "--set", "epochs=1"]
    small = [*CHANGES, '--set=method.name="btp"']  # other methods' variants stay as they are
    recipe: Words = [
        "benchmark",
        f"three_{data}",
        "--root",
        f"{data}={root}",
        "--out",
        out / "table",
    ]
    run(*recipe, *cell, *small, "--stand-in", "--devices", "cpu")
    check_table(out / "table", names[1], 111)
    run("report", out / "table")
    check_page(out / "table" / "report.html", f"btp/{data}/{names[1]}/111")
    assert capsys.readouterr().err.count("zeroflaw:") == 0


class SmallSynthetic(Synthetic):
    """One pair of small scans in each category."""

    def __init__(self, root: Path = NO_SHAPES) -> None:
        super().__init__(root, pairs=1, points=(800, 1200))


ADDED: dict[str, list[str]] = {  # to the README's commands, by verb: small, and without weights
    "train": ["--stand-in", "--config", "small.json", "--epochs", "1"],
    "benchmark": ["--stand-in", "--seeds", "111", "--cell", "*/seahorse/*", "--set", "epochs=1"],
}


def write_good_scans(folder: Path, count: int) -> None:
    """Scans of plates that are alike but for their noise."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        points = rng.uniform(-1, 1, (600, 3)) * [1, 1, 0] + 0.002 * rng.normal(size=(600, 3))
        write_scan(folder / f"{number}.ply", Scan(points))


def test_the_readmes_bench_runs_as_it_stands(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real3d_ad_tree(tmp_path / "Real3D-AD", ("seahorse", "shell"), scans=1, points=300)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DATASETS, "synthetic", SmallSynthetic)
    write_good_scans(tmp_path / "good-scans", 20)
    given = [words for words in commands(REPOSITORY / "README.md") if words[0] != "inspect"]
    for words in given:
        more = [*ADDED.get(words[0], []), *(CHANGES if words[0] == "benchmark" else [])]
        run(*words, *more)
    verbs = [" ".join(words[: 2 if words[0] == "data" else 1]) for words in given]
    assert verbs == [
        "calibrate",
        *("evaluate", "report", "data check", "train", "evaluate", "benchmark", "report"),
    ]
    runs = tmp_path / "runs"
    check_results(runs / "synthetic", left_out=set())
    check_results(runs / "seahorse", left_out={"seahorse"})
    check_table(runs / "table1", "seahorse", 111)
    check_page(runs / "synthetic" / "report.html", "compact on synthetic")
    check_page(runs / "table1" / "report.html", "btp/real3d_ad/seahorse/111")
