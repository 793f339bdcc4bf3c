"""Get a published data set: under which terms, from where, downloaded and unpacked if it can be."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from zeroflaw.datasets import DATASETS
from zeroflaw.datasets.base import Dataset
from zeroflaw.datasets.sources import SOURCES, Source
from zeroflaw.io.download import Progressed, bar, file_digest
from zeroflaw.io.hub import HUB, fetch_file, list_files
from zeroflaw.io.unpack import unpack
from zeroflaw.types import ZeroflawError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
UNPACKED = ".unpacked"  # behind an archive's name: the folder with its content
DEEP = 3  # folders between the place of a data set and its root, at most
DONE, BY_HAND = 0, 1


def list_all() -> int:
    """Print which data sets there are. Returns the exit code."""
    for name, kind in DATASETS.items():
        print(f"{name}  ({kind.title})\n  licence: {kind.licence}")
        if kind.homepage:
            print(f"  from {kind.homepage}")
    return DONE


def run(name: str, out: Path | None = None, archive: Path | None = None, hub: str = HUB) -> int:
    """Say how to get a data set, and do what can be done without a person. Returns the exit code.

    out: a new folder for it, by default its name in the current one. archive: a file that the
    user has, to be checked and unpacked. 0 if the data are there afterwards, 1 if a person has to
    fetch them. Raises ZeroflawError.
    """
    if name not in DATASETS:
        raise ZeroflawError(f"data set {name!r}: unknown; there are {', '.join(sorted(DATASETS))}")
    kind, source = DATASETS[name], SOURCES[name]
    describe(kind, source)
    if not kind.published:
        print(source.steps)
        return DONE
    out = out or Path(name)
    if archive is not None:
        unpack_checked(archive, out, source)
    elif out.is_dir() and any(out.iterdir()):
        print(f"{out} is there already and is left as it is")
    elif source.hub:
        download_from_hub(source.hub, out, hub)
    else:
        print(f"by hand: {source.steps}")
        return BY_HAND
    root = find_root(kind, out)
    print(f"next: zeroflaw data check {name} {out if root is None else root}")
    return DONE


def describe(kind: type[Dataset], source: Source) -> None:
    """Print the terms of a data set."""
    print(f"{kind.title}\nlicence: {kind.licence}")
    if source.notes:
        print(f"note: {source.notes}")
    if kind.citation:
        print(f"cite: {kind.citation}")
    if kind.homepage:
        print(f"homepage: {kind.homepage}")


def unpack_checked(archive: Path, out: Path, source: Source) -> None:
    """Unpack the archive that a person has downloaded. Raises ZeroflawError."""
    if source.md5 and archive.is_file():
        with bar(f"checking {archive.name}") as shown:
            found = file_digest(archive, "md5", progress=shown)
        if found != source.md5:
            raise ZeroflawError(
                f"{archive}: md5 {found} is not that of {source.filename}, {source.md5}; download "
                "it again"
            )
    with bar(f"unpacking {archive.name}") as shown:
        files = unpack(archive, out, shown)
    checked = "checked and " if source.md5 else "no check sum is published; "
    print(f"{checked}unpacked {files:,} files into {out}")


def download_from_hub(dataset: str, out: Path, hub: str = HUB) -> None:
    """Download all files of a data set from the hub into the new folder `out`.

    They lie in a hidden folder beside it until all are there, whole; the same call goes on where
    another one stopped. Archives among them are unpacked into folders of their
    name, and removed. Raises
    ZeroflawError.
    """
    waiting = out.parent / f".{out.name}.downloading"
    files = list_files(dataset, hub)
    if not files:
        raise ZeroflawError(f"{hub}/datasets/{dataset}: there is no file; see its page")
    size = sum(file.size for file in files)
    try:
        waiting.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZeroflawError(f"{waiting}: cannot be made ({error.strerror}); see --out") from None
    here = sum(path.stat().st_size for path in waiting.rglob("*") if path.is_file())
    free = shutil.disk_usage(waiting).free
    if size - here > free:
        raise ZeroflawError(
            f"{out}: {size / 1e9:.1f} GB are to be downloaded and {free / 1e9:.1f} GB are free; "
            "name a folder on another disk with --out"
        )
    print(f"downloading {len(files):,} files, {size / 1e9:.2f} GB, from {hub}/datasets/{dataset}")
    archives = []
    for number, file in enumerate(files, 1):
        path = fetch_file(file, waiting, partial(_numbered_bar, number, len(files)))
        if path.name.lower().endswith(ARCHIVES):
            archives.append(path.relative_to(waiting))
            folder = path.with_name(path.name + UNPACKED)
            if not folder.exists():
                with bar(f"unpacking {path.name}") as shown:
                    unpack(path, folder, shown)
    try:
        if out.exists():
            out.rmdir()
        waiting.rename(out)
        for archive in archives:
            (out / archive).unlink()
    except OSError as error:
        raise ZeroflawError(f"{out}: cannot be made ({error.strerror}); see {waiting}") from None
    print(f"downloaded into {out}, every file as its hash says")


def _numbered_bar(number: int, total: int, name: str) -> AbstractContextManager[Progressed]:
    return bar(f"{number}/{total} {name}")


def find_root(kind: type[Dataset], folder: Path) -> Path | None:
    """Return the folder, at or below this one, that the data set can be opened with."""
    level = [folder]
    for _ in range(DEEP + 1):
        for place in level:
            try:
                kind(place).categories()
            except ZeroflawError:
                continue
            return place
        level = [path for place in level for path in sorted(place.iterdir()) if path.is_dir()]
    return None
