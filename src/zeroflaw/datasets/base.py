"""What a data set promises: labelled scans by number, a licence, and a hash of what it holds."""

from __future__ import annotations

from pathlib import Path

from zeroflaw.types import Scan


class Dataset:
    """Labelled scans on disk, read one at a time.

    licence: the terms of the data, for the cards of what is trained on it. Every scan that
    `dataset[i]` returns has labels, one per point; what does not fit is an error that names the
    file. The constructor only stores where the data lie.
    """

    licence: str

    def __init__(self, root: Path) -> None:
        self.root = root

    def __len__(self) -> int:
        """How many scans there are. Raises ZeroflawError if the folder is not such a data set."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Scan:
        """Read a labelled scan. Raises ScanError, also for labels that do not fit the points."""
        raise NotImplementedError

    def content_hash(self) -> str:
        """Return a hash of all files that training reads, whatever the folder is called."""
        raise NotImplementedError
