"""The synthetic benchmark with simple rivals beside the shipped detector, or another.

    PYTHONPATH=. python -m benchmarks.compact OUT [--corpus DIR] [--detector NAME_OR_PATH ...]
    PYTHONPATH=. python -m benchmarks.compact OUT --corpus DIR --train-rivals 120

It scores what `zeroflaw benchmark synthetic` scores, into the same kind of folder, with the same
figures. Rivals: the best single descriptor (chosen on these very scans, with its sign: an upper
bound for any one feature) and the same relative to its scan, FPFH self-novelty, boosted trees on
the compact detector's descriptors, and BTP's architecture. The last two are trained first, in
`OUT/rivals`, with --train-rivals: trees as long as their features take, at most so many minutes,
then BTP for so many. An interrupted call goes on where it stopped. The first compact detector can
be laid beside by its weights (`git show 0bfb707:src/zeroflaw/weights/compact.safetensors`, and the
card, `.json`, beside it).
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from benchmarks.rival_btp import train_btp
from benchmarks.rival_trees import train_trees
from benchmarks.rivals import RIVALS, loaders, trained

from zeroflaw.benchmark_synthetic import compare
from zeroflaw.contestants import load_detector
from zeroflaw.datasets.held_out_pairs import PAIRS, HeldOutPairs
from zeroflaw.interruption import interruptible
from zeroflaw.io.atomic import replacing
from zeroflaw.types import ZeroflawError


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("out", type=Path, help="folder of the benchmark; the rivals are in OUT/rivals")
    add("--corpus", type=Path, help="packed shapes: train categories to learn, test ones to score")
    add("--pairs", type=int, default=PAIRS)
    add("--workers", type=int, default=1)
    add("--detector", nargs="*", default=["compact"], help="names or checkpoints")
    add("--rivals", nargs="*", choices=RIVALS, help="default: those that are there")
    add("--train-rivals", type=float, metavar="MINUTES", help="train trees and BTP, and end")
    add("--device", default="cpu", help="of BTP's training")
    add("--card", type=Path, help="a card that takes the first detector's figures in")
    add("--markdown", type=Path, help="a copy of the table")
    given = parser.parse_args()
    try:
        with interruptible():
            return train(given) if given.train_rivals is not None else score(given)
    except ZeroflawError as error:
        print(f"compact: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def train(given: argparse.Namespace) -> int:
    folder = given.out / "rivals"
    print(train_trees(given.corpus, folder / "trees", given.train_rivals))
    workers = max(0, given.workers - 1)
    device = given.device
    print(
        train_btp(given.corpus, folder / "btp", given.train_rivals, workers=workers, device=device)
    )
    return 0


def score(given: argparse.Namespace) -> int:
    folder = given.out / "rivals"
    there = trained(folder)
    names = given.rivals
    if names is None:
        names = [one for one in RIVALS if one not in there or there[one].is_file()]
    rivals = loaders(tuple(names), HeldOutPairs(given.corpus), given.pairs, folder)
    detectors = [partial(load_detector, name) for name in given.detector]
    code = compare([*detectors, *rivals], given.out, given.corpus, given.pairs, given.workers)
    if code == 0 and given.card:
        fill_card(given.out, given.card)
    if code == 0 and given.markdown:
        with replacing(given.markdown) as file:
            file.write((given.out / "table.md").read_bytes())
    return code


def fill_card(out: Path, card: Path) -> None:
    """Put the first detector's figures into a card, in per cent."""
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    figures = found["detectors"][0]["figures"]
    told: dict[str, float | None] = {
        "edge ratio": figures["edge_ratio"],
        "names right": _percent(figures["naming"]["right"]),
    }
    for row, values in figures["rows"].items():
        for name, title in (("point_auroc", "P-AUROC"), ("object_auroc", "O-AUROC")):
            told[f"{row}, {title}"] = _percent(values[name])
    told["all, P-PRO"] = _percent(figures["rows"]["all"]["point_pro"])
    content = json.loads(card.read_text(encoding="utf-8"))
    title = f"{found['benchmark']}, {found['pairs']} pairs, per cent"
    content["figures"] = {**content.get("figures", {}), title: told}
    with replacing(card) as file:
        file.write((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


if __name__ == "__main__":
    sys.exit(main())
