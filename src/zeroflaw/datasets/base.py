"""What a data set promises: its terms, its categories and splits, and labelled scans one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from zeroflaw.io.download import file_digest
from zeroflaw.types import Scan, ZeroflawError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
GOOD = "good"
BYTES = ("utf-8", "surrogateescape")  # of names of files, which need not be text


@dataclass(frozen=True)
class Entry:
    """One scan of a data set, known without reading it.

    name: unique in the data set, a relative path with forward slashes and without suffix. kind:
    "good", the defect as the data set calls it, or "" where only the labels tell. files: what it is
    read from, the scan first; none for a scan that is made on the fly.
    """

    name: str
    category: str
    split: Split
    kind: str
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something in a data set's folder that does not fit.

    fatal: whether the category cannot be used until it is put right; others are worth knowing.
    """

    category: str
    path: Path
    problem: str
    remedy: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class Listing:
    """The scans of one category, sorted by name, and what does not fit in its folder."""

    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...] = ()


class Dataset:
    """Labelled scans in categories and splits, read one at a time.

    title: as its authors write it. licence: the terms of the data, for the cards of what is trained
    on it. citation: of its paper, one line. homepage: where people get it. published: the
    categories that it was published with, () where there is no such list. needs_root: whether
    there has to be a folder. learned: the split to train on unless another is asked for, None for
    all; that of published sets is the test split, which alone has labelled defects.

    The constructor only stores where the data lie. A keyword of it that changes what `read` returns
    is among the `settings`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str] = ""
    homepage: ClassVar[str] = ""
    published: ClassVar[tuple[str, ...]] = ()
    needs_root: ClassVar[bool] = True
    learned: ClassVar[Split | None] = "test"

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def settings(self) -> dict[str, Any]:
        """What `read` depends on besides the files, by name."""
        return {}

    def categories(self) -> tuple[str, ...]:
        """Return the categories that are there, sorted. Raises ZeroflawError if there is none."""
        raise NotImplementedError

    def list_category(self, category: str) -> Listing:
        """Return the scans of a category that is there, and what does not fit; reads no scan."""
        raise NotImplementedError

    def read(self, entry: Entry) -> Scan:
        """Read a scan with its labels, one per point. Raises ScanError, also if they do not fit."""
        raise NotImplementedError

    def entries(
        self, categories: Iterable[str] | None = None, split: Split | None = None
    ) -> tuple[Entry, ...]:
        """Return the scans of some categories (all) and one split (all), sorted by name.

        Raises ZeroflawError for a category that is not there, and for the first fatal finding.
        """
        present = self.categories()
        chosen = present if categories is None else tuple(dict.fromkeys(categories))
        found: list[Entry] = []
        for category in chosen:
            if category not in present:
                raise ZeroflawError(
                    f"{self.root}: has no category {category!r}; there are {', '.join(present)}"
                )
            listing = self.list_category(category)
            for finding in listing.findings:
                if finding.fatal:
                    raise ZeroflawError(str(finding))
            found += [entry for entry in listing.entries if split in (None, entry.split)]
        return tuple(sorted(found, key=lambda entry: entry.name))

    def select(
        self, categories: Iterable[str] | None = None, split: Split | None = None
    ) -> Selection:
        """Return the same scans as a sequence. Raises ZeroflawError as `entries` does, or if none.

        categories, split: None for all.
        """
        entries = self.entries(categories, split)
        if not entries:
            raise ZeroflawError(
                f"{self.root}: has no scan in split {split!r}"
                + ("" if categories is None else f" of {', '.join(categories)}")
            )
        return Selection(self, entries)


class Selection(Sequence[Scan]):
    """Scans of a data set by number, read when asked for."""

    def __init__(self, dataset: Dataset, entries: Sequence[Entry]) -> None:
        self.dataset = dataset
        self.entries = tuple(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Scan:  # type: ignore[override]
        """Read a labelled scan. Raises ScanError."""
        return self.dataset.read(self.entries[index])

    def content_hash(self, hashed: Callable[[Path], bytes] | None = None) -> str:
        """Return a hash of all that the scans depend on, wherever the data lie.

        hashed: gives a file's sha256, by default `hash_file`; one that remembers saves reading.
        """
        hashed = hashed or hash_file
        settings = sorted(self.dataset.settings.items())
        digest = hashlib.sha256(f"{self.dataset.name} {settings}\n".encode())
        for entry in self.entries:
            digest.update(f"{entry.name} {entry.split} {entry.kind}\n".encode(*BYTES))
            for path in entry.files:
                digest.update(f"{path.name}\n".encode(*BYTES))
                digest.update(hashed(path))
        return digest.hexdigest()


def hash_file(path: Path) -> bytes:
    """Return the sha256 of a file's content. Raises ZeroflawError if it cannot be read."""
    try:
        return bytes.fromhex(file_digest(path))
    except OSError as error:
        raise ZeroflawError(f"{path}: cannot be read ({error.strerror})") from None
