"""Data sets on the Hugging Face hub: which files they have, and how these get here whole.

Source: the hub's documented HTTP API (`/api/datasets/ID/tree/REVISION`, `/datasets/ID/resolve/…`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from zeroflaw.io.download import TIMEOUT, Progressed, download, file_digest
from zeroflaw.io.unpack import path_parts
from zeroflaw.types import ZeroflawError

HUB = "https://huggingface.co"
LISTING = 64 << 20  # bytes of one page of a listing, at most
UNWANTED = (".gitattributes", ".gitignore")


@dataclass(frozen=True)
class HubFile:
    """One file. path: on the hub. kind: "sha256", or "git" for the hash that git gives a file."""

    path: str
    url: str
    size: int
    kind: str
    digest: str

    def is_whole(self, path: Path) -> bool:
        """Return whether the file lies at `path`, as it was published. Raises OSError."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        if self.kind == "git":
            return file_digest(path, "sha1", f"blob {self.size}\0".encode()) == self.digest
        return file_digest(path, self.kind) == self.digest


def list_files(dataset: str, hub: str = HUB) -> list[HubFile]:
    """Return the files of the newest revision of a data set, in the hub's order.

    Raises ZeroflawError if the hub does not answer as documented.
    """
    address = f"{hub}/api/datasets/{dataset}"
    try:
        revision = str(_json(address)[0]["sha"])
        tree: str | None = f"{address}/tree/{revision}?recursive=true"
        found: list[HubFile] = []
        while tree:
            rows, tree = _json(tree)
            if tree is not None and not tree.startswith(f"{hub}/"):
                raise ValueError("it goes on elsewhere")
            base = f"{hub}/datasets/{dataset}/resolve/{revision}"
            found += [_file(row, base) for row in rows if row["type"] == "file"]
    except (OSError, HTTPException) as error:
        raise ZeroflawError(
            f"{address}: {_reason(error)}; check the connection and try again"
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ZeroflawError(
            f"{address}: not a listing as the hub documents it ({_reason(error)}); get the data "
            f"with a browser from {hub}/datasets/{dataset}"
        ) from None
    return [file for file in found if file.path not in UNWANTED]


def _json(address: str) -> tuple[Any, str | None]:
    """What an address of the API gives, and the address of the next page if there is one."""
    with urlopen(address, timeout=TIMEOUT) as response:
        content = response.read(LISTING + 1)
        if len(content) > LISTING:
            raise ValueError("the answer does not end")
        following = re.search(r'<([^>]+)>;\s*rel="next"', response.headers.get("Link", ""))
    return json.loads(content), following[1] if following else None


def _file(row: dict[str, Any], base: str) -> HubFile:
    path = str(row["path"])
    path_parts(path)
    large = row.get("lfs")
    kind, digest = ("sha256", large["oid"]) if large else ("git", row["oid"])
    return HubFile(path, f"{base}/{quote(path)}", int(row["size"]), kind, str(digest))


def fetch_file(
    file: HubFile,
    folder: Path,
    shown: Callable[[str], AbstractContextManager[Progressed]],
) -> Path:
    """Download a file below `folder`, unless it is there whole, and return its path.

    An interrupted download goes on. shown: gives a progress bar for a name. Raises ZeroflawError.
    """
    target = folder.joinpath(*path_parts(file.path))
    partial = target.with_name(target.name + ".part")
    try:
        if file.is_whole(target):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.size == 0:
            partial.touch()
        else:
            with shown(file.path) as progress:
                download(file.url, partial, progress)
        if not file.is_whole(partial):
            partial.unlink()
            raise OSError("is not the published file: its size or hash differs")
        partial.replace(target)
    except (OSError, HTTPException) as error:
        raise ZeroflawError(
            f"{file.url}: {_reason(error)}; the same command again goes on"
        ) from None
    return target


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
