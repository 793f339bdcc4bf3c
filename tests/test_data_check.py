"""`zeroflaw data check` says what is there, what is missing and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zeroflaw import data_check
from zeroflaw.cli import main
from zeroflaw.data_check import check
from zeroflaw.datasets import open_dataset
from zeroflaw.datasets.base import Dataset, Entry, Finding, Listing
from zeroflaw.datasets.real3d_ad import Real3DAD
from zeroflaw.types import Scan


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_whole_data_set_is_usable_and_counted_by_kind(
    real3d_ad_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "check", "real3d_ad", str(real3d_ad_root)]
    assert main([*words, "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "2 good, 2 bulge, 2 sink" in shown
    assert "usable: 3 of 3 categories (30 scans read" in shown
    assert "CC BY 4.0" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main([*words, "--quick", "--json"]) == 0
    found = said(capsys)
    assert found["usable"] is True
    assert found["scans_read"] is False
    assert found["categories"][0]["scans"]["test"] == {"bulge": 2, "good": 2, "sink": 2}


def test_categories_that_are_not_here_are_named_and_no_obstacle(
    real3d_ad_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", "real3d_ad", str(real3d_ad_root), "--quick"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    missing = sorted(set(Real3DAD.published) - {"airplane", "car", "shell"})
    assert f"not here of the published categories: {', '.join(missing)}" in shown


def test_a_scan_that_cannot_be_read_is_named_and_makes_it_unusable(
    real3d_ad_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = min((real3d_ad_root / "car" / "gt").glob("*.txt"))
    broken.write_text("1 2 three 0\n")
    words = ["data", "check", "real3d_ad", str(real3d_ad_root), "--workers", "1"]
    assert main([*words, "--quick"]) == 0
    capsys.readouterr()
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert f"problem: car/gt/{broken.name}" in shown
    assert "not usable as it is: 1 problem; 2 of 3 categories fine (29 scans read" in shown


@pytest.mark.parametrize("damage", ["empty", "gone"])
def test_a_quick_look_finds_empty_files(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = Made({"a": ["good", "dent"]}, tmp_path)
    path = tmp_path / "a" / "1.xyz"
    path.write_bytes(b"") if damage == "empty" else path.unlink()
    found = check(dataset, quick=True)
    assert not found.usable
    (problem,) = found.categories[0].problems
    assert problem.text.startswith("a/1.xyz: is empty" if damage == "empty" else "a/1.xyz: cannot")
    assert capsys.readouterr().out == ""


class Made(Dataset):
    """A data set of which a test says what is wrong with it. kinds: of each category's scans."""

    name = "made"
    title = "Made"
    licence = "none"
    published = ("a", "b", "c")

    def __init__(self, kinds: dict[str, list[str]], root: Path) -> None:
        super().__init__(root)
        self.kinds = kinds
        self.findings: tuple[Finding, ...] = ()
        self.scans: dict[str, Scan] = {}
        for category, listed in kinds.items():
            (root / category).mkdir()
            for number in range(len(listed)):
                (root / category / f"{number}.xyz").write_text("0 0 0\n")

    def categories(self) -> tuple[str, ...]:
        return tuple(self.kinds)

    def list_category(self, category: str) -> Listing:
        files = [self.root / category / f"{n}.xyz" for n in range(len(self.kinds[category]))]
        entries = (
            Entry(f"{category}/{path.stem}", category, "test", kind, (path,))
            for path, kind in zip(files, self.kinds[category], strict=True)
        )
        return Listing(tuple(entries), tuple(f for f in self.findings if f.category == category))

    def read(self, entry: Entry) -> Scan:
        if entry.name in self.scans:
            return self.scans[entry.name]
        return scan(entry.kind not in ("good", "by labels, good"))


def scan(defective: bool, notes: tuple[str, ...] = ()) -> Scan:
    labels = np.zeros(5, dtype=bool)
    labels[0] = defective
    return Scan(np.random.default_rng(0).normal(size=(5, 3)), labels=labels, notes=notes)


@pytest.mark.parametrize(
    ("kinds", "usable"),
    [
        ({"a": ["good", "dent"]}, True),
        ({"a": ["good"], "b": ["good", "dent"]}, True),
        ({"a": ["good"], "b": ["dent"]}, False),
        ({"a": ["dent", "bulge"]}, False),
        ({"a": ["good", "good"]}, False),
        ({"a": ["good", ""]}, True),
        ({"a": []}, False),
    ],
)
def test_usable_means_good_and_defective_test_scans_in_some_category(
    tmp_path: Path, kinds: dict[str, list[str]], usable: bool
) -> None:
    assert check(Made(kinds, tmp_path)).usable is usable
    assert check(Made({}, tmp_path)).usable is False


def test_a_kind_that_only_labels_tell_is_read_from_them(tmp_path: Path) -> None:
    dataset = Made({"a": ["", "", "good"]}, tmp_path)
    dataset.scans["a/1"] = scan(False)
    assert check(dataset).categories[0].scans["test"] == {"defective": 1, "good": 2}
    assert check(dataset, quick=True).categories[0].scans["test"] == {"": 2, "good": 1}


@pytest.mark.parametrize("fatal", [True, False])
def test_findings_are_shown_and_the_fatal_ones_make_it_unusable(
    tmp_path: Path, fatal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = Made({"a": ["good", "dent"], "b": ["good", "dent"]}, tmp_path)
    path = tmp_path / "b" / "x.txt"
    dataset.findings = (Finding("b", path, "belongs to no scan", "remove it", fatal),)
    found = check(dataset)
    assert found.usable is not fatal
    data_check.print_check(found)
    shown = capsys.readouterr().out
    word = "problem" if fatal else "note"
    assert f"{word}: b/x.txt: belongs to no scan; remove it" in shown
    assert f"1 {word}" in shown


def test_many_problems_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Made({"a": ["good", "dent"]}, tmp_path)
    dataset.findings = tuple(
        Finding("a", tmp_path / f"{n}.txt", "is odd", "mend it") for n in range(12)
    )
    found = check(dataset)
    data_check.print_check(found)
    assert "and 7 more of a; --json lists all" in capsys.readouterr().out
    assert len(data_check.as_data(found)["categories"][0]["problems"]) == 12


def test_labels_that_contradict_the_kind_are_told(tmp_path: Path) -> None:
    dataset = Made({"a": ["good", "dent", "good", "dent"]}, tmp_path)
    dataset.scans["a/0"] = scan(True)
    dataset.scans["a/1"] = scan(False)
    dataset.scans["a/2"] = Scan(np.zeros((5, 3)))
    dataset.scans["a/3"] = scan(True, notes=("its pcd was left out",))
    problems = check(dataset).categories[0].problems
    assert [(problem.text, problem.fatal) for problem in problems] == [
        ("a/0: is good, but has points labelled defective", True),
        ("a/1: has dent, but no point labelled so", False),
        ("a/2: has no label for every point", True),
        ("a/3: its pcd was left out", False),
    ]


def test_a_scan_that_breaks_the_reader_does_not_hide_the_others(tmp_path: Path) -> None:
    class Breaks(Made):
        def read(self, entry: Entry) -> Scan:
            if entry.name == "a/0":
                raise ZeroDivisionError("by zero")
            return super().read(entry)

    found = check(Breaks({"a": ["good", "dent", "good"]}, tmp_path))
    assert found.categories[0].read == 2
    (problem,) = found.categories[0].problems
    assert problem.text == "a/0: unexpected ZeroDivisionError: by zero; please report it"


def test_a_folder_that_cannot_be_listed_is_unusable_and_one_that_is_not_there_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["data", "check", str(tmp_path / "empty")]) == 1
    assert "problem: " in capsys.readouterr().out
    assert main(["data", "check", "real3d_ad", str(tmp_path / "nowhere")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'nowhere'}: no such folder" in line
    assert main(["data", "check", "a", "b", "c"]) == 2


def test_a_folder_of_ones_own_is_checked_with_two_workers_as_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        labels = np.zeros(60, dtype=bool)
        labels[:number] = True
        np.savez(tmp_path / f"{number}.npz", points=rng.normal(size=(60, 3)), labels=labels)
    np.savez(tmp_path / "bare.npz", points=rng.normal(size=(60, 3)))
    shown = []
    for workers in ("1", "2"):
        assert main(["data", "check", str(tmp_path), "--json", "--workers", workers]) == 1
        shown.append({**said(capsys), "seconds": 0})
    assert shown[0] == shown[1]
    (category,) = shown[0]["categories"]
    assert category["scans"]["test"] == {"": 1, "defective": 3, "good": 1}
    assert category["read"] == 4
    assert category["points"] == [60, 60]
    assert "bare.npz: has no labels" in category["problems"][0]["text"]


def test_ctrl_c_is_130(
    real3d_ad_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> Scan:
        raise KeyboardInterrupt

    monkeypatch.setattr(Real3DAD, "read", stop)
    words = ["data", "check", "real3d_ad", str(real3d_ad_root), "--workers", "1"]
    assert main(words) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_synthetic_scans_need_no_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "check", "synthetic", "--quick"]) == 0
    assert "solids-gear" in capsys.readouterr().out
    assert open_dataset(["synthetic"]).needs_root is False
