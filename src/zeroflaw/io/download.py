"""Files from the net: they go on where an interruption stopped, and are checked against a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without an answer

Progressed = Callable[[int, int | None], None]


def download(url: str, partial: Path, progress: Progressed) -> None:
    """Append what is missing of `url` to `partial`.

    progress: called with the bytes so far and the total, None where unknown. Raises OSError or
    HTTPException if it cannot be had or ends early; the same call then goes on.
    """
    done = partial.stat().st_size if partial.exists() else 0
    request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        if error.code == 416 and whole == str(done):
            return
        if error.code == 416:  # there is more than the whole: it is of another file
            partial.unlink()
        raise
    with response:
        if response.status != 206:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with partial.open("ab" if done else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


@contextmanager
def bar(name: str) -> Iterator[Progressed]:
    """A function that moves a bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def file_digest(
    path: Path, kind: str = "sha256", head: bytes = b"", progress: Progressed | None = None
) -> str:
    """Return the hash of a file's content, in hexadecimal.

    kind: as hashlib calls it. head: bytes that are hashed first, as git does. progress: called
    with the bytes that are done and the file's size. Raises OSError.
    """
    digest = hashlib.new(kind, head, usedforsecurity=False)
    size = path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
            if progress is not None:
                progress(file.tell(), size)
    return digest.hexdigest()
