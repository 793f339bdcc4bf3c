"""What scan files held when they were last read, so that a second run need not read them again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zeroflaw.datasets.base import Dataset, Entry, hash_file
from zeroflaw.types import ZeroflawError
from zeroflaw.version import __version__

INDEX = "index.jsonl"  # of the folder whose content it saves computing again
YOUNG = 2_000_000_000  # ns; a file that changed so lately may change again without a new time

Stamp = tuple[int, int, int, int]  # size, times of change of content and of inode in ns, inode


@dataclass(frozen=True)
class Reading:
    """What reading one scan taught: its key, its content's hash, and the stamps of its files."""

    key: str
    scan: str
    files: tuple[tuple[Path, Stamp, bytes], ...] = ()


@dataclass
class ScanIndex:
    """Hashes of files by name, size and time, and hashes of scans by what they are read from.

    The file has one JSON object per line and is only ever appended to, so several processes may
    share it; a line that a killed one left unfinished is passed over. A file that changed within
    the last seconds is not trusted later, since a further change might not show in its time.
    """

    path: Path
    _files: dict[str, tuple[Stamp, bytes]] = field(default_factory=dict)
    _scans: dict[str, str] = field(default_factory=dict)
    _unsaved: set[str] = field(default_factory=set)  # files whose hashes the disk lacks
    _loaded: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return ScanIndex(self.path).__dict__

    def hash_file(self, path: Path) -> bytes:
        """Return the sha256 of a file's content, from the index where it can be trusted.

        Raises ZeroflawError if the file cannot be read.
        """
        return self.hash_stamped(path)[1]

    def hash_stamped(self, path: Path) -> tuple[Stamp, bytes]:
        """Return a file's stamp and the sha256 of its content. Raises ZeroflawError."""
        self._load()
        known = self._files.get(_name(path))
        stamp = stamp_of(path)
        if known is None or known[0] != stamp:
            known = stamp, hash_file(path)
            self._know(path, *known)
        return known

    def known_hashes(self, entry: Entry) -> dict[Path, bytes] | None:
        """Return the hashes of an entry's files; None if one is unknown or has changed."""
        self._load()
        found = {}
        for path in entry.files:
            known = self._files.get(_name(path))
            try:
                if known is None or known[0] != stamp_of(path):
                    return None
            except ZeroflawError:
                return None
            found[path] = known[1]
        return found

    def known_scan(self, dataset: Dataset, entry: Entry) -> str | None:
        """Return the hash of an entry's scan without reading any file; None if it is unknown."""
        hashes = self.known_hashes(entry)
        return None if hashes is None else self.scan(reading_key(dataset, entry, hashes))

    def scan(self, key: str) -> str | None:
        """Return the hash of the scan that was read under a key."""
        self._load()
        return self._scans.get(key)

    def learn(self, readings: Iterable[Reading]) -> None:
        """Remember readings, here and on disk. Raises ZeroflawError if they cannot be written."""
        self._load()
        rows: list[dict[str, Any]] = []
        for reading in readings:
            for path, stamp, digest in reading.files:
                self._know(path, stamp, digest)
            if self._scans.get(reading.key) != reading.scan:
                self._scans[reading.key] = reading.scan
                rows.append({"key": reading.key, "scan": reading.scan})
        self._append([*self._file_rows(), *rows])

    def save(self) -> None:
        """Write the hashes of files that were computed here. Raises ZeroflawError."""
        self._append(self._file_rows())

    def _know(self, path: Path, stamp: Stamp, digest: bytes) -> None:
        if self._files.get(_name(path)) != (stamp, digest):
            self._files[_name(path)] = stamp, digest
            self._unsaved.add(_name(path))

    def _file_rows(self) -> list[dict[str, Any]]:
        """Return rows for the files that the disk lacks, but for those that are too young."""
        rows = []
        for name in sorted(self._unsaved):
            stamp, digest = self._files[name]
            if max(stamp[1:3]) + YOUNG < time.time_ns():
                self._unsaved.remove(name)
                rows.append({"file": name, "stamp": stamp, "sha256": digest.hex()})
        return rows

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        text = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        try:
            with self.path.open("ab+", buffering=0) as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # of a writer that was killed
                        text = b"\n" + text
                file.write(text)
        except OSError as error:
            raise ZeroflawError(
                f"{self.path}: cannot be written ({error.strerror}); choose another folder or "
                "free some space"
            ) from None

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                row = json.loads(line)
                if "file" in row:
                    size, changed, touched, inode = map(int, row["stamp"])
                    digest = bytes.fromhex(row["sha256"])
                    self._files[row["file"]] = (size, changed, touched, inode), digest
                else:
                    self._scans[row["key"]] = str(row["scan"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file does. Raises ZeroflawError if it is not there."""
    try:
        found = path.stat()
    except OSError as error:
        raise ZeroflawError(f"{path}: cannot be read ({error.strerror})") from None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def reading_key(dataset: Dataset, entry: Entry, hashes: Mapping[Path, bytes]) -> str:
    """Return a hash of all that the scan of an entry depends on, wherever its files lie."""
    settings = sorted(dataset.settings.items())
    about = (dataset.name, settings, entry.name, entry.category, entry.split, entry.kind)
    digest = hashlib.sha256(f"{__version__} {about}\n".encode("utf-8", "surrogateescape"))
    for path in entry.files:
        digest.update(path.name.encode("utf-8", "surrogateescape") + b"\n" + hashes[path])
    return digest.hexdigest()[:32]


def _name(path: Path) -> str:
    return str(path.absolute())
