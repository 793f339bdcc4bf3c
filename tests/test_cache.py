"""Prepared features are computed once, never wrong, and survive what happens to files."""

from __future__ import annotations

import dataclasses
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_method import Tiny, TinyConfig, tiny_method, tiny_scan
from zeroflaw import cache as module
from zeroflaw.cache import CachedItems, FeatureCache, frozen_names, hash_scan
from zeroflaw.methods.base import Prepared
from zeroflaw.types import Scan, ZeroflawError


def same(one: Prepared, other: Prepared) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor, other[name]) and tensor.dtype == other[name].dtype
        for name, tensor in one.tensors.items()
    )


def prepare_cached(method: Tiny, scan: Scan, folder: Path) -> Prepared:
    return FeatureCache(method, folder).item(scan)[0]


def entry(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


def test_the_second_time_nothing_is_computed(tmp_path: Path) -> None:
    method, scan = tiny_method(), tiny_scan(0)
    first = prepare_cached(method, scan, tmp_path)
    second = prepare_cached(method, scan, tmp_path)
    assert method.prepared_scans == 1
    assert same(first, second)
    assert same(first, method.prepare(scan))


@settings(max_examples=30, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), cut=st.booleans())
def test_a_damaged_entry_is_computed_again(
    tmp_path_factory: pytest.TempPathFactory, where: float, cut: bool
) -> None:
    folder, method, scan = tmp_path_factory.mktemp("cache"), tiny_method(), tiny_scan(0)
    first = prepare_cached(method, scan, folder)
    path = entry(folder)
    content = bytearray(path.read_bytes())
    whole = bytes(content)
    place = int(where * len(content))
    content[place] ^= 0x55
    path.write_bytes(content[:place] if cut else content)
    assert same(first, prepare_cached(method, scan, folder))
    assert entry(folder).read_bytes() == whole or not cut


def test_a_writer_that_dies_before_its_entry_is_whole_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    whole = Path.replace
    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        prepare_cached(tiny_method(), tiny_scan(0), tmp_path)
    monkeypatch.setattr(Path, "replace", whole)
    assert list(tmp_path.iterdir()) == []
    prepare_cached(tiny_method(), tiny_scan(0), tmp_path)
    assert entry(tmp_path)


def test_several_writers_of_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    scans = [tiny_scan(seed) for seed in range(3)]
    expected = [tiny_method().prepare(scan) for scan in scans]

    def work(number: int) -> bool:
        method = methods[number]
        found = [prepare_cached(method, scan, tmp_path) for scan in scans * 3]
        return all(same(one, other) for one, other in zip(found, expected * 3, strict=True))

    methods = [tiny_method() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert len(list(tmp_path.iterdir())) == 3


def test_old_leftovers_of_killed_writers_are_removed_and_new_ones_kept(tmp_path: Path) -> None:
    for name, age in (("old", 2 * module.LEFTOVER_SECONDS), ("new", 0.0)):
        path = tmp_path / f".{name}.safetensors.x1"
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age, time.time() - age))
    FeatureCache(tiny_method(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".new.safetensors.x1"]


def test_another_scan_is_another_entry() -> None:
    scan = tiny_scan(0)
    assert scan.labels is not None
    points = scan.points.copy()
    points[3, 1] = np.nextafter(points[3, 1], 9)
    others = [
        dataclasses.replace(scan, points=points),
        dataclasses.replace(scan, labels=~scan.labels),
        dataclasses.replace(scan, labels=None),
        dataclasses.replace(scan, grid=(8, 8)),
        dataclasses.replace(scan, normals=np.zeros((64, 3), np.float32)),
        dataclasses.replace(scan, colors=np.zeros((64, 3), np.uint8)),
    ]
    assert len({hash_scan(one) for one in [scan, *others]}) == 7
    renamed = dataclasses.replace(scan, source=Path("part.ply"), points=scan.points.copy())
    assert hash_scan(renamed) == hash_scan(scan)


def test_another_configuration_or_encoder_is_another_entry_other_heads_are_not(
    tmp_path: Path,
) -> None:
    scan, method = tiny_scan(0), tiny_method()
    prepare_cached(method, scan, tmp_path)
    with torch.no_grad():
        method.head[0].weight.add_(1)  # type: ignore[operator]
        method.head[1].running_mean.add_(1)  # type: ignore[operator]
        method.get_buffer("text").add_(1)
        method.get_parameter("tower.weight").add_(1)
    prepare_cached(method, scan, tmp_path)
    assert method.prepared_scans == 1
    with torch.no_grad():
        method.get_buffer("encoder.1.running_mean").add_(1)
    changed = prepare_cached(method, scan, tmp_path)
    assert same(changed, method.prepare(scan))
    torch.manual_seed(0)
    other = Tiny(TinyConfig(points=16))
    assert prepare_cached(other, scan, tmp_path)["features"].shape[1] == 16
    assert len(list(tmp_path.iterdir())) == 3


def test_frozen_are_weights_without_gradient_and_the_buffers_beside_them() -> None:
    names = frozen_names(tiny_method())
    assert {"encoder.0.weight", "encoder.1.running_var", "tower.bias"} <= names
    assert not any(name.startswith("head") or name in ("text", "prompt") for name in names)


class CountedScans:
    def __init__(self, count: int) -> None:
        self.read = 0
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Scan:
        self.read += 1
        return tiny_scan(index)


@pytest.mark.parametrize("memory", [1 << 30, 3000, 0])
def test_items_are_the_same_whatever_the_memory_and_scans_are_read_once(
    tmp_path: Path, memory: int
) -> None:
    method, scans = tiny_method(), CountedScans(6)
    items = CachedItems(scans, FeatureCache(method, tmp_path), memory)
    for index in (0, 5, 3, 3, 1, 4, 2, 0, -1, 5):
        prepared, target = items[index]
        scan = tiny_scan(index % 6)
        expected = method.prepare(scan)
        assert same(prepared, expected)
        assert torch.equal(target.point, method.target(scan, expected).point)
        assert items._bytes <= memory
        assert items._bytes == sum(module._size(kept) for kept in items._kept.values())
    assert scans.read == 6
    assert len(items) == 6
    with pytest.raises(IndexError):
        items[6]


def test_an_entry_that_vanishes_while_training_is_computed_again(tmp_path: Path) -> None:
    method, scans = tiny_method(), CountedScans(1)
    items = CachedItems(scans, FeatureCache(method, tmp_path), memory=0)
    first = items[0][0]
    entry(tmp_path).unlink()
    assert same(items[0][0], first)
    assert scans.read == 2


def test_a_folder_that_cannot_be_made_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZeroflawError, match="no folder can be made here"):
        FeatureCache(tiny_method(), tmp_path / "file" / "cache")
