"""What the synthetic benchmark's folder holds: scans' facts, scores by detector, tables."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroflaw.contestants import Contestant
from zeroflaw.datasets.base import GOOD
from zeroflaw.datasets.held_out_pairs import VERSION, plan
from zeroflaw.inspect import make_folder
from zeroflaw.io.atomic import replacing
from zeroflaw.io.source import said_by
from zeroflaw.reports.numbers import plural
from zeroflaw.reports.synthetic_figures import RULES, Figures, figures
from zeroflaw.reports.synthetic_stored import Facts, Judged, read_kept
from zeroflaw.reports.synthetic_table import HEADLINES, detail_grid, markdown, remarks
from zeroflaw.types import ZeroflawError

FORMAT = 1
PLAN, RESULTS, TABLE = "synthetic.json", "results.json", "table.md"


@dataclass(frozen=True)
class Tabled:
    """A benchmark's figures by contestant. data_hash: of all scans."""

    title: str
    found: dict[str, Figures]
    data_hash: str


def scan_names(number: int) -> tuple[str, str]:
    """Return the names of a pair's scans: defective and good."""
    return f"{number:04d}_{plan(number)[0]}", f"{number:04d}_{GOOD}"


def folder_of(out: Path, contestant: str) -> Path:
    """Return where the scores of a contestant lie."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", contestant).strip("._")[:60]
    return out / "scores" / f"{plain}-{hashlib.sha256(contestant.encode()).hexdigest()[:6]}"


def facts_path(out: Path, scan: str) -> Path:
    """Return where what is known of a scan lies."""
    return out / "scans" / f"{scan}.npz"


def read_judged(out: Path, scan: str, contestant: str, identity: str) -> Judged | None:
    """Read a contestant's scores of a scan; None where there are none of this identity and scan."""
    kept = read_kept(folder_of(out, contestant) / f"{scan}.npz", Judged)
    facts = read_kept(facts_path(out, scan), Facts)
    if kept is None or facts is None or kept.identity != identity:
        return None
    return kept if kept.point.shape == facts.region.shape else None


def enter(out: Path, name: str, pairs: int) -> None:
    """Note what the folder holds. Raises ZeroflawError if it holds another benchmark."""
    found = read_plan(out)
    if found is not None and found["benchmark"] != name:
        raise ZeroflawError(
            f"{out}: holds {found['benchmark']}, and this is {name}; name another --out"
        )
    most = max(pairs, int(found["pairs"]) if found else 0)
    _write_json(out / PLAN, {"format": FORMAT, "benchmark": name, "pairs": most})


def read_plan(out: Path) -> Mapping[str, Any] | None:
    """Return which benchmark a folder holds, None for none. Raises ZeroflawError."""
    path = out / PLAN
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT or not isinstance(found["pairs"], int):
            raise ValueError(f"not of format {FORMAT}")
        return {"benchmark": str(found["benchmark"]), "pairs": found["pairs"]}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ZeroflawError(
            f"{path}: damaged ({said_by(error)}); start in another folder"
        ) from None


def announce(out: Path, contestant: Contestant) -> None:
    """Write who scores into a folder of scores."""
    folder = folder_of(out, contestant.name)
    make_folder(folder)
    about = {"name": contestant.name, "identity": contestant.identity, **contestant.about}
    _write_json(folder / "detector.json", about)


def tabulate(out: Path, name: str, pairs: int, first: Sequence[str]) -> Tabled:
    """Compute all figures of the folder, write its results, and return them.

    pairs: the first ones count. first: contestants that come before the others.
    """
    names = [scan for number in range(pairs) for scan in scan_names(number)]
    known = {scan: read_kept(facts_path(out, scan), Facts) for scan in names}
    scans = {scan: facts for scan, facts in known.items() if facts is not None}
    facts = list(scans.values())
    about: dict[str, dict[str, Any]] = {}
    found: dict[str, Figures] = {}
    for who in _contestants(out, first):
        judged = [read_judged(out, scan, str(who["name"]), who["identity"]) for scan in scans]
        if any(one is not None for one in judged):
            about[str(who["name"])] = dict(who)
            found[str(who["name"])] = figures(facts, judged)
    whole = "\n".join(f"{scan} {one.content}" for scan, one in scans.items())
    digest = hashlib.sha256(whole.encode()).hexdigest()
    content = {
        "format": FORMAT,
        "benchmark": name,
        "version": VERSION,
        "pairs": pairs,
        "scans": _counts(facts),
        "data_hash": digest,
        "rules": RULES,
        "bars": {one.title: one.bar for one in HEADLINES},
        "detectors": [
            {
                **about[who],
                "bars_met": {one.title: one.met(each) for one in HEADLINES},
                "figures": each.plain(),
            }
            for who, each in found.items()
        ],
    }
    title = f"{name}, {plural(pairs, 'pair')}"
    _write_json(out / RESULTS, content)
    with replacing(out / TABLE) as file:
        notes = [_what_it_is(facts), *remarks(found)]
        file.write(markdown(title, found, notes).encode())
    with replacing(out / "table.csv") as file:
        file.write(detail_grid(found).csv().encode())
    return Tabled(title, found, digest)


def _contestants(out: Path, first: Sequence[str]) -> list[Mapping[str, Any]]:
    """Who has scored in the folder: those of `first` first, the others by name."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted((out / "scores").glob("*/detector.json")):
        try:
            who = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
            found[str(who["name"])] = {**who, "identity": str(who["identity"])}
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue  # it is written anew when its detector takes part again
    return [found[name] for name in dict.fromkeys((*first, *sorted(found))) if name in found]


def _no_number(text: str) -> Any:
    """Raise ValueError for a NaN or an infinity in JSON, which results could not hold either."""
    raise ValueError(f"{text} is no number")


def _counts(facts: Sequence[Facts]) -> dict[str, Any]:
    kinds = sorted({one.kind for one in facts})
    return {
        "points": int(sum(len(one.region) for one in facts)),
        "kinds": {kind: sum(one.kind == kind for one in facts) for kind in kinds},
        "categories": sorted({one.category for one in facts}),
    }


def _what_it_is(facts: Sequence[Facts]) -> str:
    count = len({one.category for one in facts})
    categories = "1 category" if count == 1 else f"{count} categories"
    points = sum(len(one.region) for one in facts)
    return (
        f"{plural(len(facts), 'scan')} of {points:,} points, half of them good twins, of "
        f"{categories} that no training of zeroflaw's sees"
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as file:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        file.write(f"{text}\n".encode())
