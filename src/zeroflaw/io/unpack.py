"""Archives unfolded with care: nothing outside the target, no links, no bombs, all or nothing.

Read are tar (plain, .gz, .xz, .bz2) and zip, told apart by their content.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, cast

from zeroflaw.io.download import Progressed
from zeroflaw.types import ZeroflawError

CHUNK = 1 << 20
HEADER = 4 << 20  # bytes that the reader of a tar may ask for at once
LIMIT = 1 << 40  # bytes of all files together
RATIO = 200  # times its own size that an archive may unfold to
SMALL = 64 << 20  # bytes below which the ratio does not matter
FILES = 500_000  # and folders
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,  # zipfile: an unknown compression
    RuntimeError,  # zipfile: encrypted
    ValueError,
    OverflowError,
)
REMEDY = "do not use it; get the archive again from its publisher"


@dataclass(frozen=True)
class _Member:
    """What an archive says of one of its files or folders.

    strange: what it is if it is neither, such as "a symbolic link". read: bytes of the archive
    that were used up before it.
    """

    name: str
    is_folder: bool
    size: int
    read: int
    strange: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass
class _Target:
    """Where an archive unfolds to, and what is there already."""

    archive: Path
    folder: Path
    limit: int
    bytes: int = 0
    files: int = 0
    seen: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def place(self, member: _Member) -> Path:
        """Return where a member goes. Raises ZeroflawError for one that shall go nowhere."""
        if member.strange:
            raise self.refused(member.name, f"is {member.strange}")
        try:
            parts = path_parts(member.name, member.is_folder)
        except ValueError as error:
            raise self.refused(member.name, str(error)) from None
        for depth in range(1, len(parts) + 1):
            path, is_folder = "/".join(parts[:depth]), depth < len(parts) or member.is_folder
            key = unicodedata.normalize("NFC", path).casefold()
            known = self.seen.get(key)
            if known is None:
                self.seen[key] = path, is_folder
            elif not is_folder or known != (path, True):  # on a disk that knows no case, too
                raise self.refused(member.name, f"would overwrite {known[0]}")
        if len(self.seen) > FILES:
            raise self.refused(member.name, f"is one of more than {FILES:,} files")
        return self.folder.joinpath(*parts)

    def refused(self, name: str, problem: str) -> ZeroflawError:
        """Return the error that says why an archive is not unfolded."""
        shown = name.encode("unicode_escape").decode()[:120]
        return ZeroflawError(f"{self.archive}: member {shown} {problem}; {REMEDY}")

    def count(self, name: str, more: int) -> None:
        """Count bytes that are about to be written. Raises ZeroflawError if they are too many."""
        self.bytes += more
        if self.bytes > self.limit:
            raise self.refused(name, f"unfolds the archive to more than {self.limit:,} bytes")


def path_parts(name: str, is_folder: bool = False) -> list[str]:
    """Return the parts of a path below a folder, as an archive or a server names it.

    Raises ValueError, which says why, for one that leads elsewhere. A folder may be the one itself.
    """
    name = name.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise ValueError("has an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or not (parts or is_folder):
        raise ValueError("leads out of the folder")
    if any(ord(letter) < 32 for letter in name):
        raise ValueError("has control characters in its name")
    return parts


def unpack(
    archive: Path, out: Path, progress: Progressed, *, limit: int = LIMIT, ratio: int = RATIO
) -> int:
    """Unfold an archive into the new folder `out` and return the number of files.

    `out` may exist if it is empty. It appears whole or not at all: files are written to a hidden
    folder beside it, which takes its place at the end; what a killed call left there is removed.
    limit: bytes of all files; ratio: the same in sizes of the archive. progress: called with the
    bytes of the archive that are done, and its size. Raises ZeroflawError for an archive that is
    damaged, too large, or holds anything but files and folders below its own.
    """
    if not archive.is_file():
        raise ZeroflawError(f"{archive}: there is no such file; check the path of the archive")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ZeroflawError(f"{out}: is there already; name another folder or remove it first")
    temporary = out.parent / f".{out.name}.unpacking"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        temporary.mkdir()
        allowed = max(SMALL, ratio * archive.stat().st_size)
        free = shutil.disk_usage(temporary).free
        target = _Target(archive, temporary, min(limit, allowed, free))
        _unfold(target, progress)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ZeroflawError(
            f"{archive}: not a whole tar or zip archive ({reason}); download it again"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ZeroflawError(f"{archive}: cannot be unfolded into {out} ({reason})") from None
    finally:
        _remove(temporary)
    return target.files


def _unfold(target: _Target, progress: Progressed) -> None:
    size = target.archive.stat().st_size
    as_zip = zipfile.is_zipfile(target.archive)
    with _zip(target.archive) if as_zip else _tar(target.archive, target.limit) as found:
        for member in found:
            path = target.place(member)
            progress(member.read, size)
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
            else:
                _write(target, member, path)
    if target.files == 0:
        raise EOFError("it holds no file")
    progress(size, size)


def _write(target: _Target, member: _Member, path: Path) -> None:
    target.files += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, path.open("xb") as file:
        while block := source.read(CHUNK):
            target.count(member.name, len(block))
            written += len(block)
            file.write(block)
    if written != member.size:
        raise EOFError(f"{member.name} ends after {written} of {member.size} bytes")


@contextmanager
def _zip(archive: Path) -> Iterator[Iterator[_Member]]:
    with zipfile.ZipFile(archive) as opened:
        yield (_zip_member(opened, entry) for entry in opened.infolist())


def _zip_member(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    strange = "" if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "no plain file"
    if kind == stat.S_IFLNK:
        strange = "a symbolic link"
    return _Member(
        name=entry.orig_filename,
        is_folder=entry.orig_filename.endswith(("/", "\\")),
        size=entry.file_size,
        read=entry.header_offset,
        strange=strange,
        open=lambda: opened.open(entry),
    )


@contextmanager
def _tar(archive: Path, limit: int) -> Iterator[Iterator[_Member]]:
    with archive.open("rb") as raw, _decompressed(raw) as content:
        blocks = _Blocks(content, 2 * limit + HEADER)
        with tarfile.open(fileobj=cast(BinaryIO, blocks), mode="r:") as opened:
            yield (_tar_member(opened, entry, raw) for entry in opened)
            if blocks.last.strip(b"\0") or not blocks.last:
                raise EOFError("it ends without its end mark")
            while rest := blocks.read(CHUNK):  # to its end, where the compression has a check sum
                if rest.strip(b"\0"):
                    raise EOFError("it goes on after its end mark")


def _tar_member(opened: tarfile.TarFile, entry: tarfile.TarInfo, raw: BinaryIO) -> _Member:
    kinds = {
        tarfile.SYMTYPE: "a symbolic link",
        tarfile.LNKTYPE: "a link",
        tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device",
        tarfile.FIFOTYPE: "a pipe",
    }
    plain = (entry.isdir() or entry.isreg()) and not entry.issparse()

    def content() -> AbstractContextManager[IO[bytes]]:
        file = opened.extractfile(entry)
        return nullcontext(cast(IO[bytes], file))

    strange = "" if plain else kinds.get(entry.type, "no plain file")
    return _Member(entry.name, entry.isdir(), entry.size, raw.tell(), strange, content)


def _decompressed(raw: BinaryIO) -> AbstractContextManager[IO[bytes]]:
    """The content of a file that is compressed or not, as its first bytes say."""
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(raw)
    if start.startswith(b"\x1f\x8b"):
        return cast(AbstractContextManager[IO[bytes]], gzip.GzipFile(fileobj=raw))
    if start.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    return nullcontext(raw)


class _Blocks:
    """A stream that is read forwards, in modest pieces, as a tar without tricks is.

    last: the block that was read last; at the end of a whole archive it is all zeros.
    """

    def __init__(self, content: IO[bytes], limit: int) -> None:
        self.content = content
        self.limit = limit
        self.place = 0
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises EOFError for a request that no honest tar leads to."""
        if not 0 <= size <= HEADER or self.place > self.limit:
            raise EOFError(f"headers of {max(size, self.place):,} bytes")
        read = self.content.read(size)
        self.place += len(read)
        self.last = read
        return read

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self.place

    def seek(self, place: int) -> int:
        """Read on up to a place ahead."""
        if place < self.place:
            raise EOFError("its entries overlap")
        while self.place < place and self.read(min(CHUNK, place - self.place)):
            continue
        return self.place


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
