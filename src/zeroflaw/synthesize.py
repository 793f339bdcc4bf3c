"""Synthesise: a folder of labelled scans with and without defects, made from meshes."""

from __future__ import annotations

import glob
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from zeroflaw.io import write_scan
from zeroflaw.synthesis.generate import Settings, synthesize
from zeroflaw.synthesis.shapes import MESH_SUFFIXES, UnusableShape, load_mesh
from zeroflaw.types import Scan, ZeroflawError

MANIFEST = "scans.jsonl"
BATCH = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Synthesis:
    """What came of it. written: made now; kept: made by an earlier run.

    unusable: one line per mesh from which no scan could be made.
    """

    written: int
    kept: int
    unusable: tuple[str, ...]
    manifest: Path


@dataclass(frozen=True)
class _Job:
    """Some scans of one mesh. entries: (file name, seed) each."""

    mesh: Path
    entries: tuple[tuple[str, int], ...]
    out: Path
    settings: Settings


def find_meshes(inputs: Iterable[str | Path]) -> list[Path]:
    """Mesh files from files, folders and patterns, each once. Raises ZeroflawError for none."""
    found: dict[Path, None] = {}
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.suffix.lower() in MESH_SUFFIXES)
        elif path.exists():
            below = [path]
        else:
            below = [Path(match) for match in sorted(glob.glob(str(given), recursive=True))]  # noqa: PTH207
        if not below:
            kinds = ", ".join(MESH_SUFFIXES)
            raise ZeroflawError(
                f"{given}: no mesh there; give files, folders or patterns ({kinds})"
            )
        found.update(dict.fromkeys(below))
    return list(found)


def synthesize_folder(
    meshes: Sequence[Path],
    out: Path,
    *,
    count: int = 10,
    seed: int = 0,
    points: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Synthesis:
    """Write `count` labelled scans of each mesh, binary PLY, and a line for each in `scans.jsonl`.

    points: per scan; else 8,000 to 30,000. The scans depend on meshes and seed alone, not on the
    number of workers; a run that was interrupted goes on where it stopped. progress: called with
    how many scans are done and how many there will be. Raises ZeroflawError when the folder holds
    scans made with other settings.
    """
    settings = Settings() if points is None else Settings(points=(points, points))
    meshes, out = [Path(mesh) for mesh in meshes], Path(out)
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / MANIFEST
    header = {"seed": seed, "settings": json.loads(json.dumps(asdict(settings)))}
    done = _done(manifest, header)
    jobs = list(_jobs(meshes, out, count, seed, settings, done))
    total = count * len(meshes)
    finished = kept = sum(1 for name in _names(meshes, count) if name in done)
    written, unusable = 0, []
    with manifest.open("a", encoding="utf-8") as lines:
        for job, (records, problem) in zip(jobs, _run(jobs, workers), strict=True):
            for record in records:
                lines.write(json.dumps(record) + "\n")
            lines.flush()
            written += len(records)
            finished += len(job.entries)
            if problem and problem not in unusable:
                unusable.append(problem)
            if progress is not None:
                progress(finished, total)
    return Synthesis(written, kept, tuple(unusable), manifest)


def _done(manifest: Path, header: dict[str, Any]) -> set[str]:
    """Names of the scans that are whole; starts the manifest where there is none."""
    if not manifest.exists():
        manifest.write_text(json.dumps(header) + "\n", encoding="utf-8")
        return set()
    rows = [row for row in map(_parsed, manifest.read_text(encoding="utf-8").splitlines()) if row]
    if not rows or rows[0] != header:
        raise ZeroflawError(
            f"{manifest}: made with another seed or other settings; "
            "give the same ones to go on, or another folder"
        )
    whole = [row for row in rows[1:] if (manifest.parent / row["file"]).is_file()]
    text = "".join(json.dumps(row) + "\n" for row in [header, *whole])
    manifest.write_text(text, encoding="utf-8")
    return {row["file"] for row in whole}


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of the manifest; None for one that an interruption cut short."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _stems(meshes: Sequence[Path]) -> list[str]:
    stems = [re.sub(r"[^\w.-]+", "_", mesh.stem) for mesh in meshes]
    often = Counter(stem.casefold() for stem in stems)
    return [
        stem if often[stem.casefold()] == 1 else f"{stem}_{number}"
        for number, stem in enumerate(stems)
    ]


def _names(meshes: Sequence[Path], count: int) -> Iterator[str]:
    for stem in _stems(meshes):
        yield from (f"{stem}_{number:04d}.ply" for number in range(count))


def _jobs(
    meshes: Sequence[Path], out: Path, count: int, seed: int, settings: Settings, done: set[str]
) -> Iterator[_Job]:
    for mesh, stem in zip(meshes, _stems(meshes), strict=True):
        entries = [
            (f"{stem}_{number:04d}.ply", _seed(seed, stem, number)) for number in range(count)
        ]
        missing = tuple(entry for entry in entries if entry[0] not in done)
        for start in range(0, len(missing), BATCH):
            yield _Job(mesh, missing[start : start + BATCH], out, settings)


def _seed(seed: int, stem: str, number: int) -> int:
    words = [seed, number, *stem.encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint32)[0])


def _run(jobs: Sequence[_Job], workers: int) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """Results in the order of the jobs."""
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_make, jobs)
        return
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(_make, jobs)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)  # the exit would wait for all jobs
            raise


def _make(job: _Job) -> tuple[list[dict[str, Any]], str]:
    """Write a job's scans; their lines for the manifest, and the problem where there was one."""
    records: list[dict[str, Any]] = []
    try:
        shape = load_mesh(job.mesh)
        for name, seed in job.entries:
            made = synthesize(shape, seed, job.settings)
            write_scan(job.out / name, _single(made.scan, shape.triangles.diagonal))
            records.append(
                {
                    "file": name,
                    "mesh": job.mesh.name,
                    "kind": made.kind,
                    "sided": made.sided,
                    "size": round(made.size * shape.triangles.diagonal, 6),
                    "amplitude": round(made.amplitude * shape.triangles.diagonal, 6),
                    "seed": seed,
                }
            )
    except UnusableShape as error:
        return records, f"{job.mesh}: {error}"
    return records, ""


def _single(scan: Scan, diagonal: float) -> Scan:
    """The scan in float32 precision, half the file, where that is far below its noise."""
    points = scan.points.astype(np.float32).astype(np.float64)
    fine = float(np.abs(points - scan.points).max()) < 1e-6 * diagonal
    return replace(scan, points=points) if fine else scan
