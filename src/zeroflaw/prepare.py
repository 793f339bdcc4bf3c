"""Fill the cache of prepared features, on several processes."""

from __future__ import annotations

import io
import pickle
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zeroflaw.batches import Item
from zeroflaw.cache import FeatureCache, LabelledScans, hash_scan
from zeroflaw.datasets.base import Selection
from zeroflaw.interruption import insist
from zeroflaw.reports import progress as bars
from zeroflaw.scan_index import Reading, reading_key, stamp_of
from zeroflaw.types import Scan, ZeroflawError
from zeroflaw.workers import default_workers, in_processes

WORTH_A_WORKER = 16  # scans; to begin, a process takes as long as some of them


@dataclass(frozen=True)
class _Shared:
    """What every worker needs."""

    cache: FeatureCache
    scans: LabelledScans


@dataclass(frozen=True)
class _Outcome:
    """Of one scan: why it could not be prepared, or what its reading taught."""

    problem: str = ""
    reading: Reading | None = None


def prepare_all(
    scans: LabelledScans, cache: FeatureCache, workers: int | None = 1, progress: bool = True
) -> dict[int, str]:
    """Prepare what the cache lacks, and return one line for every scan that cannot be used.

    scans: of which the numbers are returned; of a `Selection`, those that were prepared before are
    neither read nor hashed. workers: processes, None for as many as are worth while; the features
    are the same bit for bit whatever their number. A method on a GPU works in this process.
    Interrupted, the same call goes on with what is missing. Raises
    ZeroflawError if the cache cannot be written.
    """
    missing = [number for number in range(len(scans)) if cache.find(scans, number) is None]
    if workers is None:
        workers = min(default_workers(), max(1, len(missing) // WORTH_A_WORKER))
    device = next((weight.device.type for weight in cache.method.parameters()), "cpu")
    if device != "cpu" or min(workers, len(missing)) <= 1:
        workers, start = 1, partial(_Shared, cache, scans)
    else:
        start = partial(_unpacked, _packed(_Shared(cache, scans)))
    problems: dict[int, str] = {}
    shown = bars.progress(len(missing) if progress else 0)
    with shown as step, closing(in_processes(_prepare, start, missing, workers)) as done:
        for count, (place, outcome) in enumerate(done, 1):
            number = missing[place]
            if outcome.problem:
                problems[number] = outcome.problem
            elif outcome.reading is not None:
                cache.index.learn([outcome.reading])
            step(count, f"preparing {_name(scans, number)}")
    return dict(sorted(problems.items()))


def _prepare(shared: _Shared, number: int) -> _Outcome:
    """Prepare one scan, unless its files turn out to hold one that is prepared already."""
    try:
        scan_hash, item, reading = _computed(shared, number)
    except ZeroflawError as error:
        insist()
        return _Outcome(str(error))
    except Exception as error:  # one scan that breaks us must not cost the others
        insist()
        said = f"{type(error).__name__} ({' '.join(str(error).split())[:200]})"
        return _Outcome(f"{_name(shared.scans, number)}: unexpected {said}; please report it")
    if item is not None:
        shared.cache.store(scan_hash, item)
    return _Outcome(reading=reading)


def _computed(shared: _Shared, number: int) -> tuple[str, Item | None, Reading | None]:
    """The scan's hash, what was prepared of it (None if it is there) and what reading taught."""
    cache, scans = shared.cache, shared.scans
    if not isinstance(scans, Selection):
        return *_prepared(cache, scans[number]), None
    entry, index = scans.entries[number], cache.index
    stamped = {path: index.hash_stamped(path) for path in entry.files}
    files = tuple((path, stamp, digest) for path, (stamp, digest) in stamped.items())
    key = reading_key(scans.dataset, entry, {path: digest for path, _, digest in files})
    known = index.scan(key)
    if known is not None and cache.path_of(known).exists():
        return known, None, Reading(key, known, files)
    scan_hash, item = _prepared(cache, scans[number])
    unchanged = all(stamp_of(path) == stamp for path, stamp, _ in files)
    return scan_hash, item, Reading(key, scan_hash, files) if unchanged else None


def _prepared(cache: FeatureCache, scan: Scan) -> tuple[str, Item | None]:
    """A scan's hash, and what was prepared of it unless that is there."""
    scan_hash = hash_scan(scan)
    return scan_hash, None if cache.path_of(scan_hash).exists() else cache.compute(scan)


def _name(scans: LabelledScans, number: int) -> str:
    return scans.entries[number].name if isinstance(scans, Selection) else f"scan {number}"


class _Packer(pickle.Pickler):
    """Leaves out the weights that inspection does not need: a text tower may be gigabytes."""

    left_out: frozenset[int] = frozenset()

    def persistent_id(self, thing: Any) -> str | None:
        """Return a mark for what is left out."""
        return "left out" if id(thing) in self.left_out else None


class _Unpacker(pickle.Unpickler):
    """Puts an empty tensor where one was left out."""

    def persistent_load(self, mark: Any) -> Tensor:
        """Return the empty tensor."""
        return nn.Parameter(torch.empty(0), requires_grad=False)


def _packed(shared: _Shared) -> bytes:
    """For the worker processes, which are ours: never written to a file."""
    method = shared.cache.method
    unneeded = set(method.state_dict()) - set(method.inspection_state())
    named = [*method.named_parameters(), *method.named_buffers()]
    file = io.BytesIO()
    packer = _Packer(file, pickle.HIGHEST_PROTOCOL)
    packer.left_out = frozenset(id(tensor) for name, tensor in named if name in unneeded)
    packer.dump(shared)
    return file.getvalue()


def _unpacked(packed: bytes) -> _Shared:
    shared: _Shared = _Unpacker(io.BytesIO(packed)).load()
    torch.set_num_threads(1)
    return shared
