"""Opening a scan file: what is no file at all, and reading exactly as many bytes as promised."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zeroflaw.types import ScanError

EXPORT_AGAIN = "export or copy the file again"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file, open for reading bytes.

    Raises ScanError for what cannot be read: nothing there, a folder, a device, an empty file, no
    permission, an error of the disk, not enough memory.
    """
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError:
        raise ScanError(path, "no such file", "check the path") from None
    except PermissionError:
        raise ScanError(path, "no permission to read it", "change its permissions") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScanError(path, f"cannot be read ({reason})", "check the disk") from None
    except MemoryError:
        raise ScanError(
            path, "needs more memory than there is", "thin the scan or use a larger machine"
        ) from None


def open_regular(path: Path) -> BinaryIO:
    """The file, open for reading, if it is one and has content. Raises ScanError, OSError."""
    if "\0" in str(path):
        raise ScanError(str(path).replace("\0", "\\0"), "no such file", "check the path")
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ScanError(path, "is a folder", "name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ScanError(path, "is not a regular file", "copy the scan into a file")
    if not status.st_size:
        raise ScanError(path, "the file is empty", EXPORT_AGAIN)
    return path.open("rb")


def said_by(error: Exception) -> str:
    """What another library's error says, on one short line."""
    words = " ".join(str(error).split())
    return (words if words.isprintable() else ascii(words))[:80] or type(error).__name__


def bytes_left(file: BinaryIO) -> int:
    """How many bytes lie between the place in the file and its end."""
    return os.fstat(file.fileno()).st_size - file.tell()


def fill(file: BinaryIO, array: NDArray[Any], path: Path) -> None:
    """Fill a contiguous array with the file's next bytes. Raises ScanError where there are none."""
    view = memoryview(array.view(np.uint8).data).cast("B") if array.size else memoryview(b"")
    done = 0
    while done < len(view):
        got = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise ScanError(
                path, "the file ends too early", EXPORT_AGAIN, place=f"byte {file.tell()}"
            )
        done += got
