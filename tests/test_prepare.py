"""The cache is filled once, by any number of processes, and a second run reads no scan."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_method import Tiny, tiny_method
from zeroflaw import prepare, scan_index
from zeroflaw.cache import CachedItems, FeatureCache
from zeroflaw.datasets.base import Selection
from zeroflaw.datasets.folder import Folder
from zeroflaw.datasets.synthetic import Synthetic
from zeroflaw.methods import METHODS
from zeroflaw.methods.base import Prepared
from zeroflaw.prepare import prepare_all
from zeroflaw.scan_index import ScanIndex
from zeroflaw.train import TrainSettings, fit
from zeroflaw.types import Scan, ZeroflawError

OLD = time.time() - 3600


def write_scan(path: Path, seed: int) -> Path:
    """Write a labelled scan, an hour ago."""
    points = np.random.default_rng(seed).normal(size=(64, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, points=points, labels=(points[:, 0] > 0.5) & bool(seed % 2))
    os.utime(path, (OLD, OLD))
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files as old, though a test has just made them."""
    monkeypatch.setattr(scan_index, "YOUNG", -(10**15))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(6):
        write_scan(tmp_path / "scans" / f"{seed}.npz", seed)
    return tmp_path / "scans"


def scans(root: Path) -> Selection:
    return Folder(root).select()


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> Scan:
        raise AssertionError("a scan was read")

    monkeypatch.setattr(Folder, "read", read)
    monkeypatch.setattr(Synthetic, "read", read)


def entries(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_two_workers_prepare_the_same_bits_as_one(root: Path, tmp_path: Path) -> None:
    (root / "1.npz").write_bytes(b"not a scan")
    method, problems = tiny_method(), []
    for workers in (1, 2):
        cache = FeatureCache(method, tmp_path / str(workers))
        problems.append(prepare_all(scans(root), cache, workers, progress=False))
    assert method.prepared_scans == 5  # the others by the two
    assert len(entries(tmp_path / "1")) == 5
    assert entries(tmp_path / "1") == entries(tmp_path / "2")
    assert problems[0] == problems[1]
    assert list(problems[0]) == [1]


def test_a_text_tower_stays_at_home(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    method = tiny_method()
    method.tower = torch.nn.Linear(8, 100_000)
    cache = FeatureCache(method, tmp_path)
    packed = prepare._packed(prepare._Shared(cache, []))
    assert len(packed) < 100_000
    again = prepare._unpacked(packed).cache
    torch.set_num_threads(threads)
    assert again.method_hash == FeatureCache(again.method, again.folder).method_hash
    assert method.tower.weight.shape == (100_000, 8)


@pytest.mark.usefixtures("settled")
def test_a_second_run_reads_no_scan_and_hashes_no_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, folder = tiny_method(), tmp_path / "cache"
    prepare_all(scans(root), FeatureCache(method, folder), progress=False)
    expected = [method.prepare(scan) for scan in scans(root)]
    content = scans(root).content_hash()
    no_reading(monkeypatch)
    monkeypatch.setattr(scan_index, "hash_file", no_reading)
    cache = FeatureCache(tiny_method(), folder)
    assert prepare_all(scans(root), cache, progress=False) == {}
    items = CachedItems(scans(root), cache)
    assert all(same(items[number][0], one) for number, one in enumerate(expected))
    assert scans(root).content_hash(cache.index.hash_file) == content


def same(one: Prepared, other: Prepared) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.tensors.items())


def test_files_that_have_just_changed_are_hashed_again_but_not_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    prepare_all(scans(root), FeatureCache(tiny_method(), folder), progress=False)
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert len([row for row in rows if "key" in row]) == 6
    assert not [row for row in rows if "file" in row]
    no_reading(monkeypatch)
    assert prepare_all(scans(root), FeatureCache(tiny_method(), folder), progress=False) == {}


@pytest.mark.usefixtures("settled")
def test_a_changed_file_is_read_again_even_with_the_old_size_and_time(
    root: Path, tmp_path: Path
) -> None:
    folder, path = tmp_path / "cache", root / "3.npz"
    prepare_all(scans(root), FeatureCache(tiny_method(), folder), progress=False)
    before = path.stat()
    write_scan(path, seed=9)
    assert (path.stat().st_size, path.stat().st_mtime) == (before.st_size, before.st_mtime)
    method = tiny_method()
    cache = FeatureCache(method, folder)
    assert prepare_all(scans(root), cache, progress=False) == {}
    assert method.prepared_scans == 1
    assert same(CachedItems(scans(root), cache)[3][0], method.prepare(scans(root)[3]))


@pytest.mark.usefixtures("settled")
def test_moved_data_are_not_prepared_again(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    prepare_all(scans(root), FeatureCache(tiny_method(), folder), progress=False)
    (tmp_path / "elsewhere").mkdir()
    moved = root.rename(tmp_path / "elsewhere" / root.name)
    method = tiny_method()
    assert prepare_all(scans(moved), FeatureCache(method, folder), progress=False) == {}
    assert method.prepared_scans == 0


@pytest.mark.usefixtures("settled")
def test_a_damaged_entry_is_computed_again_and_a_missing_one_prepared(
    root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    prepare_all(scans(root), FeatureCache(tiny_method(), folder), progress=False)
    whole = entries(folder)
    damaged, missing = sorted(folder.glob("*.safetensors"))[:2]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    missing.unlink()
    method = tiny_method()
    cache = FeatureCache(method, folder)
    prepare_all(scans(root), cache, progress=False)
    assert method.prepared_scans == 1
    items = CachedItems(scans(root), cache)
    assert [len(items[number]) for number in range(6)] == [2] * 6
    assert method.prepared_scans == 2
    assert entries(folder) == whole


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", [b"", b'{"file": 3}\n[]\nnull\n{"key"', b"\xff\x00\n"])
def test_a_damaged_index_costs_a_look_at_the_scans_and_no_more(
    root: Path, tmp_path: Path, damage: bytes
) -> None:
    folder = tmp_path / "cache"
    prepare_all(scans(root), FeatureCache(tiny_method(), folder), progress=False)
    whole = entries(folder)
    index = folder / "index.jsonl"
    index.write_bytes(damage)
    assert prepare_all(scans(root), FeatureCache(tiny_method(), folder), progress=False) == {}
    assert entries(folder) == whole
    method = tiny_method()
    prepare_all(scans(root), FeatureCache(method, folder), progress=False)
    assert method.prepared_scans == 0


def test_every_scan_that_cannot_be_used_is_named_and_the_others_are_prepared(
    root: Path, tmp_path: Path
) -> None:
    (root / "1.npz").write_bytes(b"not a scan")
    np.savez(root / "4.npz", points=np.random.default_rng(4).normal(size=(64, 3)))
    cache = FeatureCache(tiny_method(), tmp_path / "cache")
    problems = prepare_all(scans(root), cache, progress=False)
    assert len(entries(cache.folder)) == 4
    assert list(problems) == [1, 4]
    assert str(root / "1.npz") in problems[1]
    assert "has no labels" in problems[4]


def test_training_names_a_scan_that_cannot_be_used_and_how_many_more(
    root: Path, tmp_path: Path
) -> None:
    for name in ("1.npz", "4.npz"):
        (root / name).write_bytes(b"not a scan")
    with pytest.raises(ZeroflawError, match=r"1\.npz.*\(and 1 more scan\)"):
        fit(tiny_method(), scans(root), TrainSettings(epochs=1), tmp_path / "out", progress=False)
    assert len(entries(tmp_path / "out" / "cache")) == 4


@pytest.mark.usefixtures("settled", "one_thread")
def test_a_second_training_begins_without_reading_a_scan(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "tiny", Tiny)
    cache = tmp_path / "cache"
    settings = TrainSettings(epochs=1, batch=2)
    fit(tiny_method(), scans(root), settings, tmp_path / "a", cache=cache, progress=False)
    begun: list[object] = []

    def begin(*given: object, **options: object) -> None:
        begun.append(options["data"])
        raise KeyboardInterrupt

    no_reading(monkeypatch)
    monkeypatch.setattr("zeroflaw.train.train", begin)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_method(), scans(root), settings, tmp_path / "b", cache=cache, progress=False)
    assert begun == [scans(root).content_hash()[:16]]


def test_synthetic_scans_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Synthetic(pairs=1, points=(1500, 1600)).select(["solids-bowl"])
    prepare_all(made, FeatureCache(tiny_method(), tmp_path), progress=False)
    no_reading(monkeypatch)
    assert prepare_all(made, FeatureCache(tiny_method(), tmp_path), progress=False) == {}
    other = Synthetic(pairs=1, points=(1500, 1600), seed=1).select(["solids-bowl"])
    with pytest.raises(AssertionError):
        other[0]
    found = prepare_all(other, FeatureCache(tiny_method(), tmp_path), progress=False)
    assert "a scan was read" in found[0]


def test_scans_in_memory_are_prepared_too(tmp_path: Path, root: Path) -> None:
    listed = [scans(root)[number] for number in range(3)]
    assert prepare_all(listed, FeatureCache(tiny_method(), tmp_path / "c"), progress=False) == {}
    assert len(entries(tmp_path / "c")) == 3


def test_a_folder_that_cannot_be_written_stops_at_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ZeroflawError("cannot be written (No space left on device)")

    monkeypatch.setattr("zeroflaw.cache._write", full)
    method = tiny_method()
    with pytest.raises(ZeroflawError, match="No space left"):
        prepare_all(scans(root), FeatureCache(method, tmp_path / "cache"), progress=False)
    assert method.prepared_scans == 1


def test_an_index_is_shared_by_writers_and_survives_a_killed_one(tmp_path: Path) -> None:
    one, other = ScanIndex(tmp_path / "i"), ScanIndex(tmp_path / "i")
    one.learn([scan_index.Reading("a", "1")])
    other.learn([scan_index.Reading("b", "2")])
    with (tmp_path / "i").open("ab") as file:
        file.write(b'{"key": "c", "sc')
    one.learn([scan_index.Reading("d", "4")])
    fresh = ScanIndex(tmp_path / "i")
    assert [fresh.scan(key) for key in "abcd"] == ["1", "2", None, "4"]


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}]
import torch
from tiny_method import Tiny
from zeroflaw.cache import FeatureCache
from zeroflaw.datasets.folder import Folder
from zeroflaw.prepare import prepare_all
class Slow(Tiny):
    def prepare(self, scan):
        time.sleep(0.1)
        return super().prepare(scan)
if __name__ == "__main__":
    torch.manual_seed(0)
    cache = FeatureCache(Slow(), Path({cache!r}))
    prepare_all(Folder(Path({root!r})).select(), cache, 2)
"""


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_it_leaves_no_process_and_no_half_entry_and_goes_on(
    root: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    for seed in range(6, 60):
        write_scan(root / f"{seed}.npz", seed)
    cache, script = tmp_path / "cache", tmp_path / "script.py"
    code = KILLED.format(tests=str(Path(__file__).parent), cache=str(cache), root=str(root))
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, str(script)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(cache.glob("*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(kind)
        assert process.wait(30) != 0
        group = process.pid
    while time.monotonic() < deadline and alive(group):
        time.sleep(0.05)
    assert not alive(group)
    found = len(entries(cache))
    assert 0 < found < 60
    method = tiny_method()
    fresh = FeatureCache(method, cache)
    assert prepare_all(scans(root), fresh, progress=False) == {}
    assert method.prepared_scans == 60 - found
    assert len(entries(cache)) == 60
    again = FeatureCache(tiny_method(), tmp_path / "again")
    prepare_all(scans(root), again, progress=False)
    assert entries(cache) == entries(tmp_path / "again")


def alive(group: int) -> bool:
    """Whether a process of the group is still there, zombies aside."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
