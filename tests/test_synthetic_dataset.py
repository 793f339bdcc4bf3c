"""Synthetic scans are a data set like others: held-out categories, kinds known, always the same."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from zeroflaw.datasets import open_dataset
from zeroflaw.datasets.base import GOOD, SPLITS, Entry
from zeroflaw.datasets.synthetic import KINDS, Synthetic
from zeroflaw.datasets.synthetic_pairs import split_of, split_of_solid
from zeroflaw.synthesis.generate import good_twin
from zeroflaw.synthesis.shapes import Shape
from zeroflaw.synthesis.solids import SOLIDS, random_solids
from zeroflaw.types import Float64, ScanError, ZeroflawError
from zeroflaw.workers import in_processes

FEW = (1500, 2000)


def write_corpus(folder: Path, shapes: dict[str, list[Shape]]) -> Path:
    """Write a folder of packed shapes: categories by name, all in the collection "box"."""
    folder.mkdir()
    named = [(category, shape) for category, listed in shapes.items() for shape in listed]
    vertices = [shape.vertices for _, shape in named]
    faces = [shape.faces for _, shape in named]
    np.savez(
        folder / "box.npz",
        vertices=np.concatenate(vertices),
        faces=np.concatenate(faces),
        vertex_start=np.cumsum([0, *map(len, vertices)]),
        face_start=np.cumsum([0, *map(len, faces)]),
        name=np.array([f"{category} {number}" for number, (category, _) in enumerate(named)]),
        category=np.array([category for category, _ in named]),
    )
    return folder


def points(dataset: Synthetic, entry: Entry) -> Float64:
    return dataset.read(entry).points


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    shapes = random_solids(4, seed=1)
    names = ("wheel & tyre", "wheel   tyre", "../plate")
    return write_corpus(tmp_path / "corpus", dict.fromkeys(names, shapes[:2]))


def test_a_category_is_in_one_split_and_every_split_has_some(corpus: Path) -> None:
    dataset = Synthetic(corpus)
    splits = {name: dataset.list_category(name).entries for name in dataset.categories()}
    assert all(len({entry.split for entry in entries}) == 1 for entries in splits.values())
    assert {entries[0].split for entries in splits.values()} == set(SPLITS)
    for family in SOLIDS:
        assert splits[f"solids-{family}"][0].split == split_of_solid(family)
    (plate,) = (name for name in splits if "plate" in name and "solids" not in name)
    assert splits[plate][0].split == split_of("box/../plate")


def test_names_are_fit_for_paths_and_differ(corpus: Path) -> None:
    names = Synthetic(corpus).categories()
    assert len(names) == len(SOLIDS) + 3
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.")
        assert not name.startswith(".")
    entries = Synthetic(corpus).entries()
    assert [entry.name for entry in entries] == sorted({entry.name for entry in entries})


def test_there_are_as_many_pairs_as_asked_for_and_the_kinds_take_turns() -> None:
    pairs = len(KINDS) + 1
    entries = Synthetic(pairs=pairs).list_category("solids-gear").entries
    assert len(entries) == 2 * pairs
    assert sum(entry.kind == GOOD for entry in entries) == pairs
    bad = [entry.kind for entry in entries if entry.kind != GOOD]
    assert bad == [*KINDS, KINDS[0]]
    split = split_of_solid("gear")
    assert entries[0].name == f"solids-gear/{split}/0000_{KINDS[0]}"


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_a_scan_has_the_defect_of_its_name_and_its_twin_has_none(number: int) -> None:
    dataset = Synthetic(points=FEW, pairs=len(KINDS))
    entries = dataset.list_category("solids-bowl").entries
    pair = [entry for entry in entries if f"/{number:04d}_" in entry.name]
    scans = {entry.kind == GOOD: dataset.read(entry) for entry in pair}
    for good, scan in scans.items():
        assert scan.labels is not None
        assert scan.labels.any() != good
        assert scan.labels.shape == (len(scan),)
        assert 1000 <= len(scan) <= FEW[1]
    shared = set(map(tuple, scans[True].points)) & set(map(tuple, scans[False].points))
    assert len(shared) > 0.3 * len(scans[True])


def test_scans_are_the_same_in_any_order_and_process(corpus: Path) -> None:
    dataset = Synthetic(corpus, pairs=2, points=FEW)
    entries = [*dataset.entries(["solids-cup"]), *dataset.entries(["box-.._plate"])][1:6]
    straight = [points(dataset, entry) for entry in entries]
    backwards = [points(Synthetic(corpus, points=FEW), entry) for entry in entries[::-1]][::-1]
    shared = dict(in_processes(points, partial(same, dataset), entries, 2))
    for number, expected in enumerate(straight):
        np.testing.assert_array_equal(backwards[number], expected)
        np.testing.assert_array_equal(shared[number], expected)


def same(dataset: Synthetic) -> Synthetic:
    return dataset


def test_seed_points_and_shapes_change_the_content_hash_and_pairs_only_add(
    corpus: Path, tmp_path: Path
) -> None:
    other = write_corpus(tmp_path / "other", {"wheel": random_solids(1, seed=2)})
    made = [
        Synthetic(points=FEW),
        Synthetic(points=FEW, seed=1),
        Synthetic(),
        Synthetic(corpus, points=FEW),
        Synthetic(other, points=FEW),
    ]
    category = ["solids-vase"]
    assert len({one.select(category).content_hash() for one in made}) == len(made)
    entry = made[0].entries(category)[0]
    assert not np.array_equal(points(made[0], entry), points(made[1], entry))
    more = Synthetic(points=FEW, pairs=20)
    assert more.settings == made[0].settings
    assert set(made[0].entries(category)) < set(more.entries(category))


def test_it_goes_to_other_processes_without_its_shapes(corpus: Path) -> None:
    dataset = Synthetic(corpus, pairs=3, seed=4, points=FEW)
    dataset.categories()
    packed = pickle.dumps(dataset)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert again.settings == dataset.settings
    assert again.entries() == dataset.entries()


def test_a_kind_that_no_part_bears_is_an_error_that_names_the_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = Synthetic(points=FEW)
    monkeypatch.setattr("zeroflaw.datasets.synthetic.synthesize", good_twin)
    with pytest.raises(ScanError, match=r"solids-cap/.*/0000_bulge: no bulge could be made"):
        dataset.read(dataset.entries(["solids-cap"])[0])


def test_one_word_is_enough_unless_a_folder_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_dataset(["synthetic"]), Synthetic)
    assert isinstance(open_dataset(["synthetic", "-"]), Synthetic)
    assert len(open_dataset(["synthetic", corpus]).categories()) == len(SOLIDS) + 3
    (tmp_path / "synthetic").mkdir()
    assert open_dataset(["synthetic"]).name == "folder"
    with pytest.raises(ZeroflawError, match="real3d_ad: give the folder that it lies in, too"):
        open_dataset(["real3d_ad"])


def test_a_folder_without_shapes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZeroflawError, match=r"no \.npz collections of shapes"):
        open_dataset(["synthetic", tmp_path]).select()
