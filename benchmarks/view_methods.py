"""What the view-based methods learn, with a stand-in for CLIP, and what GS-CLIP's mending changes.

    PYTHONPATH=. python -m benchmarks.view_methods [--out DIR] [--table view_methods.md]

Every row is trained on synthetic scans of the training families and scored on held-out families,
by the package's own training and evaluation; rows "before training" by the method as it starts,
drawn several times. The stand-in (clip_stand_in.py) is trained first. Run it again to go on where
it stopped; what was measured is kept. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from benchmarks.clip_stand_in import CLEAR, clear_scans, stand_in
from benchmarks.scan_intervals import intervals

from zeroflaw.batches import Item
from zeroflaw.cache import CachedItems, FeatureCache, hash_scan
from zeroflaw.datasets.base import GOOD, Split
from zeroflaw.datasets.folder import Folder
from zeroflaw.detector import Detector
from zeroflaw.encoders.pointnet2 import PointNet2Config
from zeroflaw.evaluate import evaluate
from zeroflaw.geometry.view_render import Views
from zeroflaw.io.atomic import replacing
from zeroflaw.io.write_ply import write_scan
from zeroflaw.log import processor
from zeroflaw.methods.align3d_ad import Align3DAD, Align3DADConfig
from zeroflaw.methods.gs_clip import GSCLIP, PROMPTS, GSCLIPConfig
from zeroflaw.methods.pointad import PointAD, PointADConfig
from zeroflaw.methods.view_published import published_views
from zeroflaw.methods.views import ViewConfig, ViewMethod
from zeroflaw.metrics.ranking import auroc
from zeroflaw.prepare import prepare_all
from zeroflaw.reports.progress import progress
from zeroflaw.reports.stored import read_stored, stored_path
from zeroflaw.synthesis.generate import good_twin
from zeroflaw.train import TrainSettings, train
from zeroflaw.types import Scan, ZeroflawError

SEED = 3
DRAWS = 10  # of what a method learns, before it does
SEEDS: dict[Split, int] = {"train": 17, "validation": 18, "test": 19}  # others than the stand-in's
FIGURES = {"point_auroc": "P-AUROC", "point_pro": "P-PRO", "object_auroc": "O-AUROC"}
COMMON: dict[str, Any] = {"points": 2048, "precision": "float32"}
CLOUD: dict[str, Any] = {"cloud": 1024, "pointnet": PointNet2Config.small(), "views_rate": 5e-4}
MENDED = GSCLIPConfig(**COMMON, **CLOUD)
RELEASED = GSCLIPConfig.release()
SWITCHES = {
    "weighted_outliers": "outlier scores do not weigh the defect token",
    "across_views": "attention over sequences of length 1",
    "refined_points": "depth views take no part in the point scores",
    "feature_consistency": "consistency over the axis of the views",
    "depth_tower": "depth tower random, never trained",
    "inspect_in_training": "PointNet++ in training mode at inspection",
}


class _SharedViews:
    """Views are rendered once for all methods."""

    known: ClassVar[dict[str, Views]] = {}

    def views(self, scan: Scan) -> Views:
        key = hash_scan(scan)
        if key not in self.known:
            self.known[key] = ViewMethod.views(cast(ViewMethod, self), scan)
        return self.known[key]


class SharedPointAD(_SharedViews, PointAD):
    """PointAD."""


class SharedAlign3DAD(_SharedViews, Align3DAD):
    """Align3D-AD."""


class SharedGSCLIP(_SharedViews, GSCLIP):
    """GS-CLIP."""


@dataclass(frozen=True)
class Row:
    """title: in the table. epochs: of each stage, by its name; none where nothing is learned.

    drawn: measure what could be learned as chance draws it.
    """

    title: str
    kind: type[ViewMethod]
    config: ViewConfig
    epochs: Mapping[str, int]
    drawn: bool = False


PROMPT_EPOCHS = {"prompts": 15}  # the papers'
ALIGN_EPOCHS = {"align": 24, **PROMPT_EPOCHS}
GS_EPOCHS = {"prompts": 15, "views": 2}


def _rows() -> dict[str, Row]:
    point, align = PointADConfig(**COMMON), Align3DADConfig(**COMMON, consistency_epochs=12)
    depth = replace(PointADConfig.point_clip(), **COMMON)
    views = replace(PointADConfig.anomaly_clip(), **COMMON)
    found = {
        "point_clip": Row("PointCLIP V2-style, fixed texts", SharedPointAD, depth, {}),
        "photo": Row("fixed texts, shaded views", SharedPointAD, replace(point, texts="photo"), {}),
        "unlearned": Row("PointAD before training", SharedPointAD, point, {}, True),
        "pointad": Row("PointAD", SharedPointAD, point, PROMPT_EPOCHS),
        "align3d_ad_before": Row("Align3D-AD before training", SharedAlign3DAD, align, {}, True),
        "align3d_ad": Row("Align3D-AD", SharedAlign3DAD, align, ALIGN_EPOCHS),
        "gs_clip_before": Row("GS-CLIP before training", SharedGSCLIP, MENDED, {}, True),
        "gs_clip": Row("GS-CLIP, mended", SharedGSCLIP, MENDED, GS_EPOCHS),
        "anomaly_clip": Row("AnomalyCLIP-style", SharedPointAD, views, PROMPT_EPOCHS),
    }
    for name, said in SWITCHES.items():
        config = replace(MENDED, **{name: getattr(RELEASED, name)})
        found[name] = Row(f"– {said}", SharedGSCLIP, config, GS_EPOCHS)
    whole = {name: getattr(RELEASED, name) for name in SWITCHES}
    released = replace(MENDED, **whole)
    found["release"] = Row("GS-CLIP as released: all of these", SharedGSCLIP, released, GS_EPOCHS)
    return found


ROWS = _rows()
SWITCHED = (*SWITCHES, "release")
TITLE = "# View-based methods with a stand-in for CLIP\n"
FACTS = """The stand-in (`benchmarks/clip_stand_in.py`) learned from rendered views of other scans
of the training families. It is no CLIP, and these are not the figures that methods reach with CLIP.
Its texts name kinds of surface in words of their own; it has never read the methods' words (normal,
flawless, damaged, broken, object). So fixed texts, and what a method learns before it does, are
chance words: they tell defects from the rest to either side of 50, or not at all, and a row's gain
over them is what its method learned. Rows before training are means of {draws} draws, in brackets
the lowest and the highest of them, on the points that the losses look at.
{seen}

Every row learns from {learned} scans of the training families and is scored on {held} of held-out
ones ({families}), means over them in per cent. Half of the scans have a defect, the
others are their good twins. Defects are such as a person sees in the pictures: {kinds},
{size} % of the part's diagonal wide, with heights from {height} % of the width. In
brackets of the other rows: 95 % of a bootstrap over the pairs of held-out scans; chance is 50 for
both AUROC. One seed. Each method's stages are trained for so many epochs. No setting was chosen by
these figures, but that GS-CLIP's merging starts as a mean was found on them.

{processor}, one core; others' load at the start: {load:.1f}. All rows: {minutes:.0f} minutes.
"""
SEEN = ("patch_shade", "patch_depth", "view_shade", "view_depth")  # of the stand-in's log
SEEN_FACTS = """On pictures of validation families it tells defective patches from sound ones with
an AUROC of {} (shaded) and {} (depth), and pictures with a defect from others with {} and {}."""
MENDING = """## What the mending of GS-CLIP changes

Each row switches one mended fault back to what the release does (`GSCLIPConfig`). Rows share their
scans, so that they differ by less chance than the brackets say, but still by some."""


def make_scans(out: Path, split: Split, pairs: int) -> Folder:
    """Return a folder of so many clear defects and their good twins, a category per family."""
    scans = clear_scans(split, SEEDS[split])
    with progress(pairs) as step:
        for number in range(pairs):
            done = out / f"{number:04d}.done"
            if not done.exists():
                shape, seed, made = scans.pair(number)
                below = out / shape.category
                (below / GOOD).mkdir(parents=True, exist_ok=True)
                twin = good_twin(shape, seed, scans.pair_settings)
                write_scan(below / f"{number:04d}_{made.kind}.ply", made.scan)
                write_scan(below / GOOD / f"{number:04d}_{GOOD}.ply", twin.scan)
                done.touch()
            step(number + 1, "scans")
    return Folder(out)


@dataclass(frozen=True)
class Bench:
    """What all rows share. clip: file of the stand-in. share: of the epochs of every stage."""

    out: Path
    clip: Path
    learned: Folder
    held: Folder
    share: float

    def start(self, row: Row, seed: int = SEED) -> ViewMethod:
        """Return the row's method with the stand-in's towers, its own weights by the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return published_views(row.kind, row.config, self.clip)

    def epochs(self, row: Row, stage: str) -> int:
        """Return how many epochs a stage of the row is trained."""
        return max(1, round(self.share * row.epochs[stage]))

    def measure(self, name: str, row: Row) -> dict[str, Any]:
        """Train a row and return its figures on the held-out families.

        Beside them stand the seconds it took, and the epochs of its stages.
        """
        begun = time.perf_counter()
        if row.drawn:
            return {**self.before(row), "seconds": time.perf_counter() - begun, "epochs": []}
        method = self.start(row)
        if row.epochs:
            self.learn(name, row, method)
        method.eval()
        detector = Detector(method, {"stand_in": True}, name=name)
        cache = self.out / "features"
        found = evaluate(detector, self.held, self.out / "scores" / name, cache=cache)
        if found.failures:
            raise ZeroflawError(found.failures[0].message)
        figures = found.results.mean()
        kept = {figure: figures[figure] for figure in FIGURES}
        epochs = [self.epochs(row, stage) for stage in row.epochs]
        names = [entry.name for entry in self.held.select().entries]
        scores = [read_stored(stored_path(found.out, one)) for one in names]
        seconds = time.perf_counter() - begun
        return {**kept, "intervals": intervals(scores), "seconds": seconds, "epochs": epochs}

    def before(self, row: Row) -> dict[str, Any]:
        """Return the mean figures of draws of the method as it starts, and the least and the most.

        They are those of the points that the losses look at, not smoothed.
        """
        scans = self.held.select()
        items: Sequence[Item] = ()
        drawn: dict[str, list[float]] = {"point_auroc": [], "object_auroc": []}
        for seed in range(DRAWS):
            method = self.start(row, seed).eval()
            items = items or list(CachedItems(scans, FeatureCache(method, self.out / "features")))
            with torch.no_grad():
                found = [(method(prepared), target) for prepared, target in items]
            for name in drawn:
                part = "point" if name == "point_auroc" else "object"
                values = []
                for category in sorted({entry.category for entry in scans.entries}):
                    own = [
                        (getattr(seen, f"{part}_logit").flatten(), getattr(target, part).flatten())
                        for (seen, target), entry in zip(found, scans.entries, strict=True)
                        if entry.category == category
                    ]
                    scores, labels = (torch.cat(rows) for rows in zip(*own, strict=True))
                    values.append(auroc(scores.numpy(), labels.numpy() > 0))
                drawn[name].append(sum(values) / len(values))
        means = {name: sum(values) / DRAWS for name, values in drawn.items()}
        ranges = {name: (min(values), max(values)) for name, values in drawn.items()}
        return {**means, "intervals": ranges}

    def learn(self, name: str, row: Row, method: ViewMethod) -> None:
        """Train the row's stages, each in a folder of its own."""
        scans = self.learned.select()
        features = FeatureCache(method, self.out / "features")
        if problems := prepare_all(scans, features):
            raise ZeroflawError(next(iter(problems.values())))
        items = CachedItems(scans, features)
        for stage in method.stages():
            epochs = self.epochs(row, stage.name)
            settings = TrainSettings(**{**stage.training, "epochs": epochs, "seed": SEED})
            if isinstance(method, GSCLIP) and stage.name == PROMPTS:
                self.learn_shared(method, items, settings)
                continue
            method.begin_stage(stage.name)
            folder = self.out / "trained" / name / stage.name
            train(method, items, settings, folder, data=self.clip.name)

    def learn_shared(self, method: GSCLIP, items: CachedItems, settings: TrainSettings) -> None:
        """Take GS-CLIP's first stage, trained once for all variants that have the same."""
        weighted = method.config.weighted_outliers
        config = replace(MENDED, weighted_outliers=weighted)
        first = self.start(Row("", SharedGSCLIP, config, {}))
        first.begin_stage(PROMPTS)
        folder = self.out / "trained" / f"gs_clip_prompts_{'' if weighted else 'un'}weighted"
        train(first, items, settings, folder, data=self.clip.name)
        known = method.state_dict()
        both = {name: entry for name, entry in first.state_dict().items() if name in known}
        method.load_state_dict(both, strict=False)


def table(found: Mapping[str, Mapping[str, Any]], facts: str) -> str:
    """Return the tables of all rows that are measured, in Markdown."""
    parts = [TITLE, facts, *_grid([name for name in ROWS if name not in SWITCHED], found)]
    if any(name in found for name in SWITCHED):
        parts += ["", MENDING, "", *_grid(["gs_clip", *SWITCHED], found)]
    if lacking := [ROWS[name].title.removeprefix("– ") for name in ROWS if name not in found]:
        parts += ["", f"Not measured yet: {'; '.join(lacking)}."]
    return "\n".join(parts) + "\n"


def _grid(names: Sequence[str], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [f"| | epochs | {' | '.join(FIGURES.values())} |"]
    lines += ["| :--- | ---: | ---: | ---: | ---: |"]
    for name in names:
        if name in found:
            values = (_figure(found[name], figure) for figure in FIGURES)
            epochs = " + ".join(map(str, found[name]["epochs"])) or "–"
            lines.append(f"| {ROWS[name].title} | {epochs} | {' | '.join(values)} |")
    return lines


def _figure(row: Mapping[str, Any], figure: str) -> str:
    if figure not in row:
        return "–"
    between = row["intervals"].get(figure, ())
    return f"{100 * row[figure]:.1f}" + (
        f" ({100 * between[0]:.0f}–{100 * between[1]:.0f})" if between else ""
    )


def facts_of(bench: Bench, found: Mapping[str, Mapping[str, Any]], load: float) -> str:
    """Say what was measured on what."""
    learned = bench.learned.select()
    held = bench.held.select()
    families = ", ".join(sorted({entry.category for entry in held.entries}))
    minutes = sum(row["seconds"] for row in found.values()) / 60
    size, height = (
        [f"{100 * one:.0f}" for one in pair] for pair in (CLEAR.sizes, CLEAR.amplitudes)
    )
    return FACTS.format(
        seen=seen_of(bench.clip),
        draws=DRAWS,
        learned=len(learned),
        held=len(held),
        families=families,
        kinds=", ".join(CLEAR.kinds),
        size="–".join(size),
        height="–".join(height),
        processor=processor(torch.device("cpu")),
        load=load,
        minutes=minutes,
    )


def seen_of(clip: Path) -> str:
    """Say how far the stand-in came on validation families, as the log beside it has it."""
    log = clip.with_name("log.csv")
    if not log.is_file():
        return ""
    with log.open(encoding="utf-8", newline="") as lines:
        last = list(csv.DictReader(lines))[-1]
    values = [f"{100 * float(last[f'validation_{name}']):.0f}" for name in SEEN]
    return SEEN_FACTS.format(*values)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/out/view_methods"))
    parser.add_argument("--clip", type=Path, help="another stand-in than the one trained here")
    parser.add_argument("--pairs", type=int, default=48, help="that every row learns from")
    parser.add_argument("--held-out", type=int, default=100, help="pairs to score")
    parser.add_argument("--share", type=float, default=1.0, help="of the epochs of every stage")
    parser.add_argument("--only", nargs="+", choices=tuple(ROWS), default=tuple(ROWS))
    parser.add_argument("--table", type=Path, help="the table, in Markdown")
    given = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    clip = given.clip or stand_in(given.out / "clip")
    learned = make_scans(given.out / "scans", "train", given.pairs)
    held = make_scans(given.out / "held_out", "test", given.held_out)
    bench = Bench(given.out, clip, learned, held, given.share)
    kept = given.out / "rows.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for name in given.only:
        if name not in found:
            found[name] = bench.measure(name, ROWS[name])
            with replacing(kept) as file:
                file.write(json.dumps(found, indent=1).encode())
        print("\n".join(_grid([name], found)[2:]), flush=True)
    text = table(found, facts_of(bench, found, load))
    print(text)
    if given.table:
        given.table.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
