"""Prepared features on disk, so that every epoch after the first reads instead of computing."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from zeroflaw.datasets.base import Selection
from zeroflaw.io.atomic import replacing
from zeroflaw.methods.base import Method, Prepared, Target
from zeroflaw.scan_index import INDEX, ScanIndex
from zeroflaw.types import Scan, ZeroflawError
from zeroflaw.version import __version__

LEFTOVER_SECONDS = 3600.0


class LabelledScans(Protocol):
    """Labelled scans that can be read one at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Scan: ...


class _OneThread:
    """While anyone is inside, torch computes on one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = 1

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.get_num_threads()
                torch.set_num_threads(1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.set_num_threads(self._before)


_ONE_THREAD = _OneThread()


class FeatureCache:
    """What a method prepares of scans, kept in a folder.

    An entry's name is a hash of everything that it depends on: the scan's content, the method's
    configuration and frozen weights, the kind of device and the versions of zeroflaw and torch.
    Entries are written atomically and carry a hash of their content, so several processes may
    share a folder and a damaged entry is computed again. Nothing is kept in memory here. `index`
    tells the hashes of scans that were read before without reading them again.
    """

    def __init__(self, method: Method, folder: Path) -> None:
        self.method = method
        self.folder = folder
        self.method_hash = hash_method(method)
        self.index = ScanIndex(folder / INDEX)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ZeroflawError(
                f"{folder}: no folder can be made here ({error.strerror})"
            ) from None
        _remove_leftovers(folder)

    def path(self, scan: Scan) -> Path:
        """Return where the scan's entry lies or would lie."""
        return self.path_of(hash_scan(scan))

    def path_of(self, scan_hash: str) -> Path:
        """Return the same for a scan of that hash."""
        return self.folder / f"{self.method_hash[:16]}-{scan_hash[:32]}.safetensors"

    def find(self, scans: LabelledScans, number: int) -> Path | None:
        """Return where a data set's scan has its entry, without reading it; None if unknown."""
        if not isinstance(scans, Selection):
            return None
        known = self.index.known_scan(scans.dataset, scans.entries[number])
        path = None if known is None else self.path_of(known)
        return path if path is not None and path.exists() else None

    def item(self, scan: Scan) -> tuple[Prepared, Target]:
        """Return `method.prepare(scan)` and `method.target(…)`, on the CPU.

        Both come from the folder if they are there and whole.
        """
        scan_hash = hash_scan(scan)
        found = read_item(self.path_of(scan_hash))
        if found is None:
            found = self.compute(scan)
            self.store(scan_hash, found)
        return found

    def compute(self, scan: Scan) -> tuple[Prepared, Target]:
        """Return the same, computed on one thread: its number may change the last digits."""
        with torch.no_grad(), _ONE_THREAD:
            prepared = self.method.prepare(scan)
            return prepared.to("cpu"), self.method.target(scan, prepared).to("cpu")

    def store(self, scan_hash: str, item: tuple[Prepared, Target]) -> None:
        """Write the entry of a scan of that hash. Raises ZeroflawError."""
        _write(self.path_of(scan_hash), _named(item))


class CachedItems(Sequence[tuple[Prepared, Target]]):
    """Labelled scans as what a method trains on: (Prepared, Target), each with B = 1.

    A scan is read once, and not at all if it was prepared before (see `prepare_all`); what was made
    of it comes from the cache. As many items as fit into `memory` bytes stay in memory; the longest
    unused ones leave first.
    """

    def __init__(self, scans: LabelledScans, cache: FeatureCache, memory: int = 1 << 30) -> None:
        self.scans = scans
        self.cache = cache
        self.memory = memory
        self._paths: dict[int, Path] = {}
        self._kept: OrderedDict[int, tuple[Prepared, Target]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> tuple[Prepared, Target]:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        path = self._paths.get(index) or self.cache.find(self.scans, index)
        item = None if path is None else read_item(path)
        if item is None:
            scan = self.scans[index]
            item = self.cache.item(scan)
            path = self.cache.path(scan)
        if path is not None:
            self._paths[index] = path
        self._keep(index, item)
        return item

    def _keep(self, index: int, item: tuple[Prepared, Target]) -> None:
        self._kept[index] = item
        self._bytes += _size(item)
        while self._bytes > self.memory:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _size(dropped)


def hash_scan(scan: Scan) -> str:
    """Return a hash of the scan's content: points, normals, colours, labels and grid."""
    digest = hashlib.sha256(repr((len(scan), scan.grid)).encode())
    for array in (scan.points, scan.normals, scan.colors, scan.labels, scan.valid):
        digest.update(b"-" if array is None else str(array.dtype).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hash_method(method: Method) -> str:
    """Return a hash of all that `prepare` may depend on.

    That is its part of the configuration, those frozen weights that inspection needs too (a text
    tower is none of them), the kind of device, and the versions of zeroflaw and torch.
    """
    device = next((weight.device.type for weight in method.parameters()), "cpu")
    config = json.dumps(method.preparation(), sort_keys=True, default=str)
    head = "\n".join((method.name, config, device, __version__, torch.__version__))
    frozen = hash_frozen(method, method.prepared_by)
    return hashlib.sha256(f"{head}\n{frozen}".encode()).hexdigest()


def hash_frozen(method: Method, starts: tuple[str, ...] = ("",)) -> str:
    """Return a hash of the frozen weights that inspection needs too, such as the encoder's.

    starts: of the names of those that count.
    """
    state = method.inspection_state()
    names = frozen_names(method) & set(state)
    return hash_tensors((name, state[name]) for name in names if name.startswith(starts))


def frozen_names(method: Method) -> set[str]:
    """Return the names of the state's entries that training does not move.

    These are the weights without gradient, and the buffers of modules that hold, at any depth, no
    weight with one.
    """
    names: set[str] = set()
    for prefix, module in method.named_modules():
        owned = [(n, p) for n, p in module.named_parameters(recurse=False) if not p.requires_grad]
        if not any(weight.requires_grad for weight in module.parameters()):
            owned += module.named_buffers(recurse=False)
        names |= {f"{prefix}.{name}" if prefix else name for name, _ in owned}
    return names


def hash_tensors(named: Iterable[tuple[str, Tensor]]) -> str:
    """Return a hash of named tensors, whatever their order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()


def read_item(path: Path) -> tuple[Prepared, Target] | None:
    """Return a cached (Prepared, Target), or None where there is none or a damaged one."""
    found = _read(path)
    if found is None:
        return None
    parts: dict[str, dict[str, Tensor]] = {"prepared": {}, "target": {}, "extra": {}}
    for name, tensor in found.items():
        part, _, own = name.partition(".")
        parts[part][own] = tensor
    target = Target(parts["target"]["point"], parts["target"]["object"], parts["extra"])
    return Prepared(parts["prepared"]), target


def _named(item: tuple[Prepared, Target]) -> dict[str, Tensor]:
    prepared, target = item
    return {
        **{f"prepared.{name}": tensor for name, tensor in prepared.tensors.items()},
        "target.point": target.point,
        "target.object": target.object,
        **{f"extra.{name}": tensor for name, tensor in target.tensors.items()},
    }


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    metadata = {"content": hash_tensors(tensors.items())}
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    content = safetensors.torch.save(whole, metadata=metadata)
    with replacing(path) as file:
        file.write(content)


def _read(path: Path) -> dict[str, Tensor] | None:
    """Return an entry's tensors, or None where there is none or a damaged one."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content = (file.metadata() or {}).get("content")
    except (OSError, SafetensorError, ValueError):
        return None
    return tensors if content == hash_tensors(tensors.items()) else None


def _remove_leftovers(folder: Path) -> None:
    """Delete temporary files of writers that were killed."""
    for path in folder.glob(".*"):
        try:
            if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()
        except OSError:
            continue


def _size(item: tuple[Prepared, Target]) -> int:
    return sum(tensor.nbytes for tensor in _named(item).values())
