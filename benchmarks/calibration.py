"""How far a detector's scores are from probabilities, before and after calibration.

    python benchmarks/calibration.py CORPUS [--pairs 300] [--detector compact] [--out FILE.md]
        [--picture docs/reliability.svg] [--card CARD.json]

The scaling is the one in the detector's card, or else fitted here, to synthetic scans of validation
categories as many as those measured. Measured are these, and scans of test categories. Each
defective scan has its good twin, so that one scan in two is defective. Prints a Markdown table;
--picture takes the reliability diagram of the test scans, --card a card that takes the figures in.

Few scans cannot show a small error: by chance alone, 60 of them would have one of 11 % or more if
their scores were exactly true, 600 some 5 %, 1,200 some 3 %. A column of the table says how much.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from zeroflaw import checkpoint
from zeroflaw.datasets.base import Split
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.detector import find_weights
from zeroflaw.metrics.calibration import BINS, Scaling, Scalings, reliability
from zeroflaw.metrics.ranking import auroc
from zeroflaw.ship import Judged, fit, judge
from zeroflaw.types import Bool, Float64

SEEDS: dict[Split, int] = {"validation": 0, "test": 2026}
DRAWS = 400
SIDE, MARGIN, GAP = 260, 46, 40  # of a panel of the diagram and around it, in pixels
BEFORE, AFTER, INK = "#9aa1ab", "#1f6fb4", "#20242c"


@dataclass(frozen=True, eq=False)
class Case:
    """Scores of scans or of points, before and after, and the truth. All: (N,)."""

    title: str
    before: Float64
    after: Float64
    defective: Bool
    alone: bool  # whether the items are independent of each other, as points of a scan are not


def cases(judged: Judged, scalings: Scalings) -> tuple[Case, Case]:
    """The scans and the points."""

    def case(title: str, scores: Float64, truth: Bool, scaling: Scaling, alone: bool) -> Case:
        return Case(title, scores, scaling.apply(scores), truth, alone)

    return (
        case("scans", judged.objects, judged.defective, scalings.object, True),
        case("points", judged.points, judged.marked, scalings.point, False),
    )


def errors(case: Case) -> dict[str, float]:
    """The expected calibration errors, in per cent, and what chance would make of the first."""
    found = {}
    for when, scores in (("before", case.before), ("after", case.after)):
        for kind, mass in (("width", False), ("mass", True)):
            value = reliability(scores, case.defective, equal_mass=mass).error()
            found[f"{when}, equal {kind}"] = round(100 * value, 2)
    if case.alone:
        rng = np.random.default_rng(0)
        drawn = (rng.random(len(case.after)) < case.after for _ in range(DRAWS))
        expected = np.mean([reliability(case.after, truth).error() for truth in drawn])
        found["of true probabilities"] = round(100 * float(expected), 2)
    return found


def rows(title: str, judged: Judged, scalings: Scalings) -> tuple[list[str], dict[str, float]]:
    """Lines of the table for one set of scans, and its figures."""
    lines, figures = [], {}
    for case in cases(judged, scalings):
        found = errors(case)
        area = auroc(case.before, case.defective), auroc(case.after, case.defective)
        cells = [
            f"{title}, {case.title}",
            f"{len(case.defective):,}",
            f"{case.defective.mean():.1%}",
            *(f"{found[f'{when}, equal {kind}']:.1f}" for kind in ("width", "mass")
              for when in ("before", "after")),
            f"{found['of true probabilities']:.1f}" if case.alone else "–",
            " / ".join(f"{100 * one:.1f}" for one in area),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
        figures.update({f"{case.title}, {name}": value for name, value in found.items()})
    return lines, figures


def diagram(judged: Judged, scalings: Scalings) -> str:
    """The reliability diagram as SVG: mean score against share of defective items, bin by bin."""
    width, height = 2 * SIDE + 2 * MARGIN + GAP + 10, SIDE + MARGIN + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, case in enumerate(cases(judged, scalings)):
        parts += panel(case, MARGIN + number * (SIDE + MARGIN + GAP // 2))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def panel(case: Case, left: float) -> list[str]:
    """One square: a ring per bin before calibration, a disc after, areas by the bin's items."""
    top, bottom = 26.0, 26.0 + SIDE
    parts = [
        f'<text x="{left}" y="16" font-weight="bold">{escape(case.title)}</text>',
        f'<rect x="{left}" y="{top}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#c9ced6"/>',
        f'<path d="M{left} {bottom}L{left + SIDE} {top}" stroke="#c9ced6" stroke-dasharray="4 3"/>',
        f'<text x="{left + SIDE / 2}" y="{bottom + 32}" text-anchor="middle">score</text>',
    ]
    if case.alone:
        middle = top + SIDE / 2
        parts.append(
            f'<text x="{left - 32}" y="{middle}" text-anchor="middle" '
            f'transform="rotate(-90 {left - 32} {middle})">share that is defective</text>'
        )
    for tick in (0.0, 0.5, 1.0):
        x, y = left + tick * SIDE, bottom - tick * SIDE
        parts.append(f'<text x="{x}" y="{bottom + 15}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for name, scores, color in (("before", case.before, BEFORE), ("after", case.after, AFTER)):
        found = reliability(scores, case.defective)
        for low, high, count, score, share in zip(
            found.low, found.high, found.count, found.score, found.share, strict=True
        ):
            x, y = left + score * SIDE, bottom - share * SIDE
            radius = 2.5 + 9 * np.sqrt(count / found.count.sum())
            fill = "none" if name == "before" else color
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" '
                f'fill-opacity="0.65" stroke="{color}" stroke-width="1.5"><title>{name}, scores '
                f"{low:.2f} to {high:.2f}: {share:.1%} of {count:.0f} {case.title}</title></circle>"
            )
    for row, (name, color) in enumerate((("before", BEFORE), ("after", AFTER))):
        y = top + 16 + 16 * row
        fill = "none" if name == "before" else color
        parts.append(
            f'<circle cx="{left + 14}" cy="{y - 4}" r="5" fill="{fill}" fill-opacity="0.65" '
            f'stroke="{color}" stroke-width="1.5"/><text x="{left + 26}" y="{y}">{name}</text>'
        )
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--detector", default="compact")
    parser.add_argument("--out", type=Path, help="the table, in Markdown")
    parser.add_argument("--picture", type=Path, help="the reliability diagram, as SVG")
    parser.add_argument("--card", type=Path, help="a card that takes the figures in")
    given = parser.parse_args()
    method, card = checkpoint.load(find_weights(given.detector))
    judged = {
        split: judge(
            method, SyntheticScans(SyntheticSettings(given.corpus, split, seed)), 2 * given.pairs
        )
        for split, seed in SEEDS.items()
    }
    own = Scalings.read(card.get("calibration"))
    scalings = own or fit(judged["validation"])
    origin = "as in its card" if own else "fitted here to the validation scans"
    lines, figures = [], {}
    for split, found in judged.items():
        more, figures[f"{split} scans, per cent"] = rows(split, found, scalings)
        lines += more
    scaled = "; ".join(
        f"{title}: temperature {one.temperature:.3f}, bias {one.bias:+.3f}"
        for title, one in (("scans", scalings.object), ("points", scalings.point))
    )
    text = (
        "# Are scores probabilities?\n\n"
        f"Expected calibration error (ECE) of `{given.detector}` in per cent, {BINS} bins of equal "
        f"width or of equal mass. {given.pairs} pairs of a defective scan and its good twin for "
        "each of both sets, of categories that were not trained on: the prior of a defective scan "
        "is 1/2. The scaling was fitted to validation categories alone; at most 8,192 points of a "
        f"scan count. Scaling, {origin}: {scaled}.\n\n"
        "| | items | defective | ECE before | after | of equal mass, before | after | "
        "of true probabilities | AUROC before / after |\n|---|"
        + "---:|" * 8
        + "\n"
        + "\n".join(lines)
        + "\n\n“Of true probabilities”: the ECE of equal width that as many scans would show on "
        "average if their calibrated scores were exactly true.\n"
    )
    print(text)
    if given.card:
        sheet = json.loads(given.card.read_text(encoding="utf-8"))
        sheet["figures"] = {**sheet["figures"], "calibration error": figures}
        given.card.write_text(json.dumps(sheet, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if given.picture:
        given.picture.write_text(diagram(judged["test"], scalings), encoding="utf-8")
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
