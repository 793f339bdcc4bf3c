"""A benchmark works its cells whatever happens to it, and says honestly what its table holds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from dataset_trees import real3d_ad_tree
from peak_method import peak_checkpoint
from small_recipe import NAMES, RECIPE, arguments
from zeroflaw import cells
from zeroflaw.cells import state_of
from zeroflaw.cli import main
from zeroflaw.reports.results import read_results
from zeroflaw.types import ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature Real3D-AD of two categories with three test scans each."""
    folder = tmp_path_factory.mktemp("data") / "real3d"
    return real3d_ad_tree(folder, ("airplane", "car"), scans=1, points=300)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def run(root: Path, recipe: Path) -> Callable[..., int]:
    """The command on the small recipe, with `out` and further options."""

    def command(out: Path, *options: str) -> int:
        return main(arguments(recipe, root, out, *options))

    return command


def table(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "table.json").read_text())
    return found


def numbers(out: Path) -> tuple[Any, ...]:
    """All of a benchmark's figures: the table's and each cell's."""
    results = [read_results(path.parent) for path in sorted(out.glob("cells/**/results.json"))]
    return table(out)["tables"], [(one.data, dict(one.figures)) for one in results]


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a benchmark that ran to its end at once."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "small.toml").write_text(RECIPE)
    assert main(arguments(folder / "small.toml", root, folder / "out")) == 0
    return folder / "out"


def test_it_ends_with_a_table_beside_the_papers_figures(undisturbed: Path) -> None:
    found = table(undisturbed)
    assert [cell["state"] for cell in found["cells"]] == ["done", "done"]
    assert [cell["name"] for cell in found["cells"]] == NAMES
    text = (undisturbed / "table.md").read_text()
    assert "2 of 2 cells done, 0 failed, 0 open" in text
    assert "| airplane | – | 77.3 | 77.6 |" in text
    assert "stand-in weights: the figures say nothing" in text
    results = read_results(undisturbed / "cells" / NAMES[0] / "real3d_ad")
    assert results.counted == ("car",)
    ours = found["tables"][0]["rows"][0]
    assert ours[0] == "airplane"
    assert ours[2]["value"] == pytest.approx(100 * results.figures["car"]["object_auroc"])
    assert (undisturbed / "recipe.toml").read_text() == RECIPE
    assert "real3d_ad: tested on 2 of 12 published categories" in text
    told = json.loads((undisturbed / "run.json").read_text())
    assert (told["verb"], told["state"]) == ("benchmark", "done")
    assert len(told["data_hash"]["real3d_ad"]) == 64
    for ending in ("csv", "tex"):
        assert "77.6" in (undisturbed / f"table.{ending}").read_text()


def test_what_is_done_is_not_done_again(
    run: Callable[..., int], undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise AssertionError("worked again")

    monkeypatch.setattr(cells, "fit", refuse)
    monkeypatch.setattr(cells, "evaluate", refuse)
    before = (undisturbed / "table.md").read_text()
    assert run(undisturbed) == 0
    assert (undisturbed / "table.md").read_text() == before


def test_a_cell_that_fails_is_told_and_the_others_go_on(
    run: Callable[..., int],
    tmp_path: Path,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit: Callable[..., Any] = vars(cells)["fit"]

    def broken(method: Any, scans: Any, *given: Any, **named: Any) -> Any:
        if scans.entries[0].category == "airplane":
            raise RuntimeError("out of\nmemory")
        return fit(method, scans, *given, **named)

    out = tmp_path / "out"
    monkeypatch.setattr(cells, "fit", broken)
    assert run(out) == 1
    said = capsys.readouterr()
    assert "1 of 2 cells done, 1 failed, 0 open" in said.out
    assert f"cell {NAMES[0]} failed: unexpected RuntimeError: out of memory" in said.err
    assert "Traceback" in (out / "cells" / NAMES[0] / "failed.txt").read_text()
    assert [cell["state"] for cell in table(out)["cells"]] == ["failed", "done"]
    monkeypatch.setattr(cells, "fit", fit)
    assert run(out) == 1, "a failed cell waits for --retry"
    assert run(out, "--retry") == 0
    assert numbers(out) == numbers(undisturbed)


def test_cells_that_fail_alike_are_told_once(
    run: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*given: Any, **named: Any) -> Any:
        raise ZeroflawError("the disk is full")

    monkeypatch.setattr(cells, "fit", broken)
    assert run(tmp_path / "out") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"zeroflaw: cell {NAMES[0]} failed (and 1 more cell): the disk is full"


def test_without_the_published_weights_no_cell_is_begun(
    root: Path,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ZEROFLAW_HOME", str(tmp_path / "nothing"))
    given = [one for one in arguments(recipe, root, tmp_path / "out") if one != "--stand-in"]
    assert main(given) == 2
    assert "run `zeroflaw weights fetch ulip2-pointbert`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_interrupted_it_says_so_shows_what_is_there_and_goes_on(
    run: Callable[..., int],
    tmp_path: Path,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluate: Callable[..., Any] = vars(cells)["evaluate"]

    def interrupted(detector: Any, dataset: Any, folder: Path, **named: Any) -> Any:
        if "car" in str(folder.parts[-3:]):
            raise KeyboardInterrupt
        return evaluate(detector, dataset, folder, **named)

    out = tmp_path / "out"
    monkeypatch.setattr(cells, "evaluate", interrupted)
    assert run(out) == 130
    assert "1 of 2 cells done, 0 failed, 1 open" in capsys.readouterr().out
    assert json.loads((out / "run.json").read_text())["state"] == "interrupted"
    monkeypatch.setattr(cells, "evaluate", evaluate)
    assert run(out) == 0
    assert numbers(out) == numbers(undisturbed)


def start(recipe: Path, root: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "zeroflaw", *arguments(recipe, root, out, *options)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(process: subprocess.Popen[bytes], out: Path, pattern: str) -> None:
    """Wait until a file is there, or the process has ended."""
    limit = time.monotonic() + 120
    while not any(out.glob(pattern)) and process.poll() is None:
        assert time.monotonic() < limit, f"no {pattern} in two minutes"
        time.sleep(0.01)


def test_several_processes_stop_together_and_end_with_the_table_of_one(
    root: Path, recipe: Path, run: Callable[..., int], tmp_path: Path, undisturbed: Path
) -> None:
    out = tmp_path / "out"
    process = start(recipe, root, out, "--workers", "2")
    wait_for(process, out, "cells/**/state.pt")
    process.send_signal(signal.SIGINT)
    assert process.wait(120) in (0, 130)
    for name in NAMES:
        with FileLock(out / "cells" / name / "lock", timeout=0):
            pass  # nobody is at it any more
    assert run(out, "--workers", "2") == 0
    assert numbers(out) == numbers(undisturbed)


def test_a_cell_that_another_process_works_is_left_alone(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    folder = out / "cells" / NAMES[0]
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        assert run(out, "--cell", NAMES[0]) == 1
    assert "is worked by another process" in capsys.readouterr().err
    assert state_of(folder) == "open"


def test_a_folder_holds_one_benchmark_to_which_seeds_may_be_added(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(out, "--cell", "*/car/*") == 0
    assert [cell["state"] for cell in table(out)["cells"]] == ["open", "done"]
    assert run(out, "--set", "epochs=2") == 2
    said = capsys.readouterr().err
    assert "holds a benchmark with another epochs (1; now 2)" in said
    assert run(out, "--seeds", "2", "--cell", "*/car/2") == 0
    names = {cell["name"]: cell["state"] for cell in table(out)["cells"]}
    assert names["btp/real3d_ad/car/1"] == names["btp/real3d_ad/car/2"] == "done"
    assert any(value.get("seeds") == 2 for value in table(out)["tables"][0]["rows"][0][1:])


def test_data_that_change_between_cells_are_told(
    root: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(root, tmp_path / "data"))
    given = arguments(recipe, own, tmp_path / "out", "--cell", "*/car/*")
    assert main(given) == 0
    assert "mean ± standard deviation" not in capsys.readouterr().out
    assert main([*given, "--seeds", "2"]) == 0
    said = capsys.readouterr().out
    assert "mean ± standard deviation (of the sample, n − 1) over up to 2 seeds" in said
    assert "different data" not in said
    labels = next((own / "airplane" / "gt").glob("*.txt"))
    labels.write_text(labels.read_text() + "0 0 0 0\n")
    assert main([*given, "--seeds", "3"]) == 0
    assert "same: cells were tested on different data" in capsys.readouterr().out


def test_the_table_can_be_laid_out_again_without_the_data(
    undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "--out", str(undisturbed), "--table"]) == 0
    shown = capsys.readouterr().out
    assert "training row by test column" in shown
    assert "2 of 2 cells done" in shown


def test_finished_cells_need_not_keep_scores_and_weights(
    run: Callable[..., int], tmp_path: Path, undisturbed: Path
) -> None:
    out = tmp_path / "out"
    assert list(undisturbed.glob("cells/**/*.npz"))
    assert not list(undisturbed.glob("cells/**/state.pt"))
    assert run(out, "--drop", "scores", "weights") == 0
    assert not list(out.glob("cells/**/*.npz"))
    assert not list(out.glob("cells/**/*.safetensors"))
    assert numbers(out) == numbers(undisturbed)


def test_scans_that_cannot_be_used_are_counted(
    run: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluate: Callable[..., Any] = vars(cells)["evaluate"]

    def lossy(*given: Any, **named: Any) -> Any:
        return replace(evaluate(*given, **named), failures=("one",))

    out = tmp_path / "out"
    monkeypatch.setattr(cells, "evaluate", lossy)
    assert run(out) == 1
    assert "2 scans could not be used, in 2 tests" in capsys.readouterr().out
    monkeypatch.setattr(cells, "evaluate", evaluate)
    assert run(out) == 1
    assert run(out, "--retry") == 0


def test_a_checkpoint_is_tested_as_it_is(root: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "ready.toml"
    recipe.write_text(
        'title = "ready"\ncheckpoint = "compact"\n[method]\ndense = 512\n[[test]]\n'
        'data = "real3d_ad"\ncategories = "all"\n[[table]]\nform = "categories"\n'
    )
    out = tmp_path / "out"
    given = ["--root", f"real3d_ad={root}", "--out", str(out), "--devices", "cpu"]
    assert main(["benchmark", str(recipe), *given]) == 0
    found = read_results(out / "cells" / "compact" / "real3d_ad")
    assert found.counted == ("airplane", "car")
    assert [row[0] for row in table(out)["tables"][0]["rows"]] == ["airplane", "car", "mean"]


def test_what_a_checkpoint_was_trained_on_does_not_count(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"data": "real3d_ad", "categories": ["car"]}
    path = peak_checkpoint(tmp_path, monkeypatch, seen=seen)
    recipe = tmp_path / "ready.toml"
    recipe.write_text(
        f'title = "ready"\ncheckpoint = "{path}"\n[[test]]\n'
        'data = "real3d_ad"\ncategories = "all"\n[[table]]\nform = "categories"\n'
    )
    out = tmp_path / "out"
    given = ["--root", f"real3d_ad={root}", "--out", str(out), "--devices", "cpu"]
    assert main(["benchmark", str(recipe), *given]) == 0
    assert read_results(out / "cells" / "peak" / "real3d_ad").counted == ("airplane",)


def test_it_can_be_asked_first(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "out", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert shown == f"open   {NAMES[0]}\nopen   {NAMES[1]}\n2 cells, 0 done\n"
    assert not (tmp_path / "out").exists()
    assert main(["benchmark", "--list"]) == 0
    assert "btp_table1\n  BTP on Real3D-AD, per category" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--cell", "*/fish/*"],
            "no cell is called so; the first of 2 is btp/",
        ),
        (["--root", "eyecandies=x"], "--root eyecandies: the recipe does not read it"),
        (["--root", "here"], "--root here: expected NAME=PATH"),
        (["--devices", "gpu"], "device 'gpu'"),
        (["--set", 'train.1.categories=["fish"]'], "has no category 'fish' to train on"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Callable[..., int],
    tmp_path: Path,
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(tmp_path / "out", *options) == 2
    assert said in capsys.readouterr().err
