"""Which files are meant: scans from files, folders and patterns, and names for their results."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroflaw.datasets.folder import LABEL_FOLDERS, NOT_SCANS
from zeroflaw.io import READERS
from zeroflaw.types import printable

OWN_ENDING = "_scores.ply"  # of the coloured scans that an inspection writes
LONGEST = 220  # bytes of a result's name, to leave room for a number, an ending and a dot file
RESULT_ENDINGS = (OWN_ENDING, "_heatmap.png", ".json")


@dataclass(frozen=True)
class Failure:
    """An input that could not be used, and one line that says why."""

    path: str
    message: str


def find_scans(inputs: Iterable[str]) -> tuple[list[Path], list[Failure]]:
    """The scan files that the inputs mean, in their order and each once, and the useless inputs.

    A file is taken as it is. A folder stands for all files below it whose ending a reader knows,
    sorted, but for hidden ones, label files (in `gt`, or a text beside a scan of the same name),
    texts such as README.txt, and what an earlier inspection wrote. A pattern (`*`, `?`, `[…]`,
    `**`) stands for all that match it.
    """
    found: dict[Path, Path] = {}
    failures = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            scans = scans_below(path)
            problem = f"no scan in this folder; readable are {', '.join(sorted(READERS))}"
        elif path.exists():
            scans, problem = [path], ""
        elif glob.has_magic(given):
            scans, problem = scans_matching(given), "no file matches this pattern"
        else:
            scans, problem = [], "no such file or folder; check the path"
        if not scans:
            failures.append(Failure(given, f"{printable(path)}: {problem}"))
        for scan in scans:
            found.setdefault(scan.resolve(), scan)
    return list(found.values()), failures


def scans_below(folder: Path) -> list[Path]:
    """All scans in a folder and in those below it, sorted."""
    found = []
    for path in folder.rglob("*"):
        below = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part in LABEL_FOLDERS for part in below)
        known = path.suffix.lower() in READERS and path.stem.lower() not in NOT_SCANS
        if known and not hidden and not path.name.endswith(OWN_ENDING) and path.is_file():
            found.append(path)
    stems = {path.with_suffix("") for path in found if path.suffix.lower() != ".txt"}
    return sorted(
        path for path in found if path.suffix.lower() != ".txt" or path.with_suffix("") not in stems
    )


def scans_matching(pattern: str) -> list[Path]:
    """All files that match a pattern, and the scans in the folders that do, sorted."""
    found = []
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 (absolute ones, too)
        path = Path(match)
        found += scans_below(path) if path.is_dir() else [path]
    return found


def display_names(paths: Sequence[Path]) -> dict[Path, str]:
    """What to call each file: its name, or its whole path where two have the same name."""
    count = Counter(path.name for path in paths)
    return {path: printable(path.name if count[path.name] == 1 else path) for path in paths}


def output_names(paths: Sequence[Path], out: Path | None) -> dict[Path, str]:
    """A name for each file's results: its stem, longer where two would share one.

    A shared stem gets the file's ending, then its folders, then a number. Names differ by more
    than case, and no result would overwrite one of the scans.
    """
    taken = {str(path.resolve()).casefold() for path in paths}
    names: dict[Path, str] = {}
    choices = {path: _candidates(path) for path in paths}
    crowded = [
        Counter(choice[level].casefold() for choice in choices.values() if level < len(choice))
        for level in range(max((len(choice) for choice in choices.values()), default=0))
    ]
    used: set[str] = set()
    for path, choice in choices.items():
        alone = [name for level, name in enumerate(choice) if crowded[level][name.casefold()] == 1]
        numbered = (f"{choice[-1]}-{number}" for number in range(2, len(paths) + len(taken) + 3))
        for name in (*alone, *numbered):
            if name.casefold() not in used and not _overwrites(name, out, taken):
                names[path] = name
                used.add(name.casefold())
                break
    return names


def _candidates(path: Path) -> list[str]:
    parents = [part for part in path.resolve().parent.parts if part != path.anchor]
    full = f"{path.stem}_{path.suffix.lstrip('.')}" if path.suffix else path.stem
    longer = [
        "_".join((*parents[-count:], full)).replace(os.sep, "") for count in range(1, len(parents))
    ]
    return [_cut(name) for name in (path.stem, full, *longer)]


def _cut(name: str) -> str:
    """The name, its end left out where an ending would make it too long for a file system."""
    while len(os.fsencode(name)) > LONGEST:
        name = name[:-1]
    return name


def _overwrites(name: str, out: Path | None, taken: set[str]) -> bool:
    if out is None:
        return False
    folder = out.resolve()
    return any(str(folder / f"{name}{ending}").casefold() in taken for ending in RESULT_ENDINGS)
