"""Pictures of what a detector finds and misses, and of how it became better over its training.

    PYTHONPATH=. python -m docs.detector_pictures [CORPUS] [--detector compact]
        [--benchmark DIR] [--pairs 44] [--out docs]
    PYTHONPATH=. python -m docs.detector_pictures --log OUT/log.csv [--out docs]

The first writes hits_and_misses.png, from scans of `zeroflaw benchmark synthetic`: a defect counts
as found if a region that the detector marks overlaps it as the benchmark's naming asks. Found and
missed ones are taken from as many kinds as there are, of each kind those nearest the median of the
AUROC within the scan; missed ones are clear defects as long as there are any. Nothing else chooses.
DIR: the benchmark's folder; scores that it lacks are added, and the same command goes on after an
interruption. Without DIR, all is scored, in a minute or two.

The second writes training.svg; of a training in several parts, their logs in order.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
from docs.pictures import FINER, HERE, INK, TILE, around, close_up, marked, splatted, telling_view
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from zeroflaw.benchmark_synthetic import INTERRUPTED, compare, facts_of
from zeroflaw.cli.arguments import count
from zeroflaw.contestants import Contestant, load_detector
from zeroflaw.datasets.held_out_pairs import HeldOutPairs, Pair
from zeroflaw.geometry.cameras import Frame, View, frame
from zeroflaw.inspect import make_folder
from zeroflaw.interruption import interruptible
from zeroflaw.io.atomic import replacing
from zeroflaw.io.colors import viridis
from zeroflaw.metrics.ranking import auroc
from zeroflaw.reports.charts import HEIGHT, WIDTH, Line, curve_chart
from zeroflaw.reports.synthetic_figures import OVERLAP, is_clear
from zeroflaw.reports.synthetic_stored import Facts, Judged, read_kept
from zeroflaw.synthetic_folder import facts_path, folder_of, read_plan, scan_names
from zeroflaw.types import Float32, Float64, ZeroflawError

PAIRS = 44  # every kind four times
SHOWN = 4  # found ones, and missed ones
LINE, GAP, HEAD, FOOT = 17, 24, 26, 44  # pixels of the picture
FAINT = (96, 102, 114)
WIDER = 2.0  # discs that close surfaces of uneven density, too
EDGE = 3  # pixels of the outline, before they are averaged
LARGEST = 300_000  # bytes of the picture
LEAST_MOVED = 12  # points that tell where outside is
QUALITY = {
    "validation_point_auroc": ("points", "main", "#1f6fb4"),
    "validation_object_auroc": ("scans", "second", "#c0561c"),
}
STYLE = (
    "text{fill:#60666f;font:10px sans-serif;text-anchor:middle}.end{text-anchor:end}"
    ".title,.name{fill:#20242c}.name{text-anchor:start}"
    ".grid{stroke:#d9dde3;stroke-width:.7;fill:none}"
    "polyline{fill:none;stroke-width:2;stroke-linejoin:round}"
    + "".join(f".{style}{{stroke:{color}}}" for _, style, color in QUALITY.values())
    + ".second{stroke-dasharray:6 2}"
)


@dataclass(frozen=True, eq=False)
class Case:
    """A defective scan of the benchmark, by number of its pair, and what the detector says."""

    number: int
    facts: Facts
    judged: Judged

    @property
    def found(self) -> bool:
        """Whether a region overlaps the defect."""
        return bool((self.judged.overlap >= OVERLAP).any())

    @property
    def auroc(self) -> float:
        """How well the scores tell the defect within the scan."""
        return auroc(self.judged.point, self.facts.labels)


def cases(folder: Path, contestant: Contestant, pairs: int) -> list[Case]:
    """Return what the benchmark's folder knows of the defective scans."""
    known = []
    for number in range(pairs):
        scan = scan_names(number)[0]
        facts = read_kept(facts_path(folder, scan), Facts)
        judged = read_kept(folder_of(folder, contestant.name) / f"{scan}.npz", Judged)
        if facts is not None and judged is not None and judged.identity == contestant.identity:
            known.append(Case(number, facts, judged))
    return known


def typical(chosen: Sequence[Case], of: Sequence[Case], most: int) -> list[Case]:
    """Return at most so many of the chosen cases, of as many kinds as there are.

    Kinds come by the share of `of` that was chosen; of each, first the case nearest the median of
    the AUROC within the scan.
    """

    def share(kind: str) -> float:
        both = (sum(one.facts.kind == kind for one in group) for group in (chosen, of))
        return next(both) / max(next(both), 1)

    kinds = sorted({one.facts.kind for one in chosen}, key=lambda kind: (-share(kind), kind))
    rounds = zip_longest(*(_from_the_middle(chosen, kind) for kind in kinds))
    return [one for turn in rounds for one in turn if one is not None][:most]


def _from_the_middle(chosen: Sequence[Case], kind: str) -> list[Case]:
    values = {one.number: one.auroc for one in chosen if one.facts.kind == kind}
    middle = float(np.median(list(values.values())))
    order = sorted(values, key=lambda number: (abs(values[number] - middle), number))
    by_number = {one.number: one for one in chosen}
    return [by_number[number] for number in order]


def hits_and_misses(known: Sequence[Case], most: int = SHOWN) -> tuple[list[Case], list[Case]]:
    """Return typical found cases and typical missed ones, clear defects first."""
    hits = typical([one for one in known if one.found], known, most)
    misses: list[Case] = []
    for clear in (True, False):
        group = [one for one in known if is_clear(one.facts) == clear]
        missed = [one for one in group if not one.found]
        misses += typical(missed, group, most - len(misses))
    return hits, misses


def outside(pair: Pair) -> Float64:
    """Return the direction (3,) towards which the surface at the defect faces, or the scan does.

    It follows from where points moved and which way that was called; where the defect moved none,
    the seen surface is taken to bulge towards the sensor.
    """
    made, good = pair.defective, pair.good
    labels = made.scan.labels
    assert labels is not None
    place = np.full(int(max(made.origin.max(), good.origin.max())) + 1, -1)
    place[good.origin] = np.arange(len(good.origin))
    moved = np.flatnonzero(labels & (made.origin >= 0))
    moved = moved[place[made.origin[moved]] >= 0]
    if len(moved) >= LEAST_MOVED:
        step = made.scan.points[moved] - good.scan.points[place[made.origin[moved]]]
        return np.asarray((np.sign(made.displacement[moved])[:, None] * step).sum(axis=0))
    near = facts_of(pair, good).near
    rim = good.scan.points[near] if near.any() else good.scan.points
    return np.asarray(good.scan.points.mean(axis=0) - rim.mean(axis=0))


def view_of(pair: Pair) -> View:
    """Return the side from which most of the defect is seen, never from behind the surface."""
    ways = around()
    if pair.defective.sided == "one":
        towards = ways @ outside(pair)
        ways = ways[np.argsort(-towards, kind="stable")[: len(ways) // 3]]
    return telling_view(pair.defective, ways)


def framed(pair: Pair, view: View) -> Frame:
    """Return a square frame around the defect that shows a third of the part or more, and no more
    of the empty space around it than need be."""
    points = pair.defective.scan.points
    near, whole = close_up(pair.defective, view), frame(points, [view])
    sides = np.array([whole.width, whole.height])
    side = min(max(1.6 * near.width, sides.max() / 3), sides.max())
    across = view.rotation[:2]
    slack = np.maximum((sides - side) / 2, 0)
    offset = np.clip(across @ (near.center - whole.center), -slack, slack)
    return Frame(whole.center + offset @ across, side, side)


def tiles(pair: Pair, point: Float32, brightest: float) -> Image.Image:
    """Return the labels and, beside them, the heat map with the labels' outline.

    point: (N,). brightest: the score of the brightest colour.
    """
    points, labels = pair.defective.scan.points, pair.defective.scan.labels
    assert labels is not None
    view = view_of(pair)
    shown = framed(pair, view)
    heat = viridis(np.clip(point / brightest, 0, 1))
    truth, map_ = (splatted(points, one, view, shown, WIDER) for one in (marked(labels), heat))
    area = np.append(labels, False)[map_.index]  # the last one: the background
    grown = Image.fromarray(area).convert("L").filter(ImageFilter.MaxFilter(2 * EDGE + 1))
    map_.image[np.asarray(grown, bool) & ~area] = 255
    picture = Image.new("RGB", (2 * TILE, TILE), "white")
    for place, made in enumerate((truth, map_)):
        picture.paste(Image.fromarray(made.image).reduce(FINER), (place * TILE, 0))
    return picture


def gallery(
    columns: Mapping[str, Sequence[tuple[Case, Pair]]], threshold: float, about: str
) -> Image.Image:
    """Return the picture of cases in titled columns.

    threshold: of point scores, the brightest colour. about: what it is of, at its foot.
    """
    rows = max((len(column) for column in columns.values()), default=0)
    wide, tall = 2 * TILE, TILE + 2 * LINE + 10
    size = (len(columns) * (wide + GAP) - GAP, HEAD + rows * tall + FOOT)
    picture = Image.new("RGB", size, "white")
    for place, (title, column) in enumerate(columns.items()):
        left = place * (wide + GAP)
        _write(picture, left + 4, 2, title, 17)
        for row, (case, pair) in enumerate(column):
            top = HEAD + row * tall
            first, second = caption(case)
            _write(picture, left + 4, top, first, 14)
            _write(picture, left + 4, top + LINE, second, 12, FAINT)
            picture.paste(tiles(pair, case.judged.point, threshold), (left, top + 2 * LINE))
    top = size[1] - FOOT + 4
    ramp = viridis(np.linspace(0, 1, 150, dtype=np.float32))[None].repeat(11, axis=0)
    picture.paste(Image.fromarray(ramp), (22, top + 4))
    _write(picture, 6, top, "0", 13)
    said = (
        f"{threshold:.2g} and more: marked. Left the true labels, outlined in white on the right."
    )
    _write(picture, 178, top, said, 13)
    _write(picture, 6, top + LINE + 2, about, 12, FAINT)
    return picture


def caption(case: Case) -> tuple[str, str]:
    """Return the two lines above a case; lengths are in per cent of the part's diagonal."""
    facts, side = case.facts, {"one": "from one side", "full": "all around"}[case.facts.sided]
    first = f"{facts.kind}, {100 * facts.size:.1f} % of the part, amplitude"
    second = f"noise {100 * facts.noise:.2g} %, seen {side}; AUROC within the scan"
    return f"{first} {100 * facts.amplitude:.2g} %", f"{second} {100 * case.auroc:.0f} %"


def save(picture: Image.Image, path: Path) -> None:
    """Write the picture with as many colours as its largest size allows."""
    widest = Image.Quantize.MAXCOVERAGE  # keeps the few pixels of bright colours, too
    for colors in (256, 160, 96, 64, 32):
        file = io.BytesIO()
        flat = picture.quantize(colors, widest, kmeans=2, dither=Image.Dither.NONE)
        flat.save(file, "PNG", optimize=True)
        if file.tell() <= LARGEST:
            break
    with replacing(path) as out:
        out.write(file.getvalue())


def _write(
    picture: Image.Image,
    left: int,
    top: int,
    text: str,
    size: int,
    color: tuple[int, int, int] = INK,
) -> None:
    font = ImageFont.load_default(size)
    ImageDraw.Draw(picture).text((left, top), text, fill=color, font=font)


def quality_chart(rows: Sequence[Mapping[str, float]]) -> str:
    """Return an SVG picture of AUROC on held-out scans over the epochs, of points and of scans.

    rows: an epoch each. Figures that are missing are left out.
    """
    lines, legend, lowest = [], [], 0.5
    for name, (title, style, color) in QUALITY.items():
        pairs = [(n, row[name]) for n, row in enumerate(rows, 1) if name in row]
        if not pairs:
            continue
        x, y = np.array(pairs, dtype=np.float64).T
        lines.append(Line(x, y, style, title))
        lowest = min(lowest, float(y.min()))
        top = HEIGHT - 84 + 16 * len(lines)
        legend.append(
            f'<path class="{style}" stroke="{color}" stroke-width="2" d="M200 {top}h22"/>'
            f'<text class="name" x="228" y="{top + 3.5}">{title}, {y[-1]:.3f}</text>'
        )
    limit = float(max(4 * math.ceil(len(rows) / 4), 4))
    floor = math.floor(10 * lowest) / 10
    label = "Area under the ROC curve on held-out scans after each epoch of the training"
    chart = curve_chart(label, ("epoch", "AUROC on held-out scans"), lines, limit, floor)
    inside = chart.removesuffix("</svg>") + "".join(legend) + "</svg>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{2 * HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}"><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{inside}</svg>\n'
    )


def read_logs(paths: Iterable[Path]) -> list[dict[str, float]]:
    """Return the figures of every epoch, those that are there. Raises ZeroflawError."""
    rows = []
    for path in paths:
        try:
            found = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
            kept = [{name: float(row[name]) for name in QUALITY if row.get(name)} for row in found]
        except (OSError, ValueError, csv.Error) as error:
            problem = f"cannot be read as the log of a training ({error})"
            raise ZeroflawError(f"{path}: {problem}; name its log.csv") from None
        if not any(kept):
            columns = " or ".join(QUALITY)
            raise ZeroflawError(f"{path}: holds no {columns}; name the log.csv of a training")
        rows += [{name: value for name, value in row.items() if value == value} for row in kept]
    return rows


def draw_cases(given: argparse.Namespace, folder: Path) -> Path:
    """Score what the folder lacks, choose, draw, and return the picture's path."""
    plan = read_plan(folder)
    pairs = given.pairs or (int(plan["pairs"]) if plan else PAIRS)
    done = compare([partial(load_detector, given.detector)], folder, given.corpus, pairs)
    if done == INTERRUPTED:
        raise KeyboardInterrupt
    contestant, held_out = load_detector(given.detector), HeldOutPairs(given.corpus)
    known = cases(folder, contestant, pairs)
    columns = {}
    for title, group in zip(("Found", "Missed"), hits_and_misses(known), strict=True):
        columns[title] = [(case, held_out.pair(case.number)) for case in group]
        for case, pair in columns[title]:
            if facts_of(pair, pair.defective).content != case.facts.content:
                raise ZeroflawError(f"{folder}: pair {case.number} is another now; start anew")
    weights = str(contestant.about["weights_sha256"])[:8]
    about = (
        f"{held_out.name()}: {len(known)} defective scans, {sum(one.found for one in known)} of "
        f"them found; detector {given.detector.stem}, weights {weights}"
    )
    threshold = float(contestant.about["point_threshold"])
    path = Path(given.out, "hits_and_misses.png")
    save(gallery(columns, threshold, about), path)
    return path


def parser() -> argparse.ArgumentParser:
    """Return what understands the command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument
    add("corpus", type=Path, nargs="?", help="folder of packed shapes; without, solids alone")
    add("--detector", type=Path, default=Path("compact"), help="a name or a checkpoint")
    add("--benchmark", type=Path, metavar="DIR", help="folder of the benchmark")
    add("--pairs", type=count, help=f"default: those of the benchmark, {PAIRS} without it")
    add("--log", type=Path, nargs="+", metavar="LOG", help="of the training, to draw that")
    add("--out", type=Path, default=HERE, metavar="DIR", help="where the pictures go")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    given = parser().parse_args(arguments)
    try:
        with interruptible(), ExitStack() as stack:
            make_folder(given.out)
            if given.log:
                path = given.out / "training.svg"
                with replacing(path) as file:
                    file.write(quality_chart(read_logs(given.log)).encode())
            else:
                spare = given.benchmark or stack.enter_context(tempfile.TemporaryDirectory())
                path = draw_cases(given, Path(spare))
    except ZeroflawError as error:
        print(f"detector_pictures: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("detector_pictures: interrupted", file=sys.stderr)
        return 130
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
