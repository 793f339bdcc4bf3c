"""What the parts of the compact detector's recipe are worth, at a small budget.

    python benchmarks/ablation.py CORPUS [--scans 1024] [--out DIR] [--table ablation.md]

Every variant is trained from nothing on as many scans, with the same seed, and scored on held-out
scans of validation categories, the same ones for all. Run it again to go on where it stopped.
Prints a Markdown table: area under the ROC over all scored points (P-AUROC) and over scans
(O-AUROC), in per cent.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from zeroflaw.datasets.base import Split
from zeroflaw.datasets.synthetic_pairs import SyntheticScans, SyntheticSettings
from zeroflaw.log import processor
from zeroflaw.methods.base import Prepared
from zeroflaw.methods.compact import Compact, CompactConfig
from zeroflaw.pretrain import (
    KIND_WIDTH,
    MARKED,
    MOST_DEFECTS,
    FreshScans,
    Item,
    PreparedPairs,
    Watch,
    fit_scale,
)
from zeroflaw.synthesis.generate import Settings
from zeroflaw.synthesis.shapes import Shape
from zeroflaw.train import TrainSettings, train

SEED = 3
FEW_SHAPES = 10  # one in so many categories of the corpus, where few shapes are to be learned from
Pair = tuple[Item, Item]
USUAL = CompactConfig(kind_width=KIND_WIDTH)


class FewShapes(SyntheticScans):
    """The scans of one in FEW_SHAPES of the corpus's categories."""

    def categories(self) -> list[list[Shape]]:
        return super().categories()[::FEW_SHAPES]


class Changed(PreparedPairs):
    """Pairs as they come, and what a variant makes of them."""

    def __getitem__(self, number: int) -> Pair:
        return self.change(number, super().__getitem__(number))

    def change(self, number: int, pair: Pair) -> Pair:
        """What the variant makes of pair `number`."""
        return pair


class WithoutContext(Changed):
    """No value says how it compares with the rest of the scan: as if all scans were alike."""

    def change(self, number: int, pair: Pair) -> Pair:
        bad, good = pair
        return self._blind(bad), self._blind(good)

    @staticmethod
    def _blind(item: Item) -> Item:
        tensors = dict(item[0].tensors)
        tensors["context"] = torch.zeros_like(tensors["context"])
        tensors["location"] = torch.zeros_like(tensors["location"])
        tensors["deviation"] = torch.ones_like(tensors["deviation"])
        return Prepared(tensors), item[1]


class WithoutTwins(Changed):
    """The good scan beside a defective one is of another part."""

    def change(self, number: int, pair: Pair) -> Pair:
        return pair[0], PreparedPairs.__getitem__(self, number + 1)[1]


@dataclass(frozen=True)
class Variant:
    """title: in the table. pairs, scans: what they are made by; config: of the detector."""

    title: str
    pairs: type[PreparedPairs] = PreparedPairs
    scans: type[SyntheticScans] = SyntheticScans
    config: CompactConfig = USUAL
    share: float = 1.0
    most_defects: int = MOST_DEFECTS


VARIANTS = {
    "all": Variant("the recipe as it is"),
    "sparse": Variant(
        "descriptors of 2,048 points instead of 16,384",
        config=replace(USUAL, dense=2048, groups=256, size=32),
    ),
    "no_context": Variant("without the context of the scan", pairs=WithoutContext),
    "no_twins": Variant("good scans of other parts instead of twins", pairs=WithoutTwins),
    "one_defect": Variant("one defect per scan instead of up to four", most_defects=1),
    "few_shapes": Variant("a tenth of the corpus's categories", scans=FewShapes),
    "half": Variant("half as many scans to learn from", share=0.5),
    "quarter": Variant("a quarter as many", share=0.25),
}


def settings_of(corpus: Path, split: Split, most_defects: int) -> SyntheticSettings:
    """Scans as `zeroflaw train compact` sees them."""
    seed = SEED if split == "train" else 0
    generated = Settings(most_defects=most_defects if split == "train" else 1)
    return SyntheticSettings(corpus, split, seed, scans=generated)


def measure(variant: Variant, name: str, given: argparse.Namespace) -> dict[str, float]:
    """Train the variant and return its held-out figures."""
    config = variant.config
    same = config == USUAL
    made = variant.scans(settings_of(given.corpus, "train", variant.most_defects))
    usual = variant.scans is SyntheticScans and variant.most_defects == MOST_DEFECTS and same
    kept = given.out / "scans" / ("usual" if usual else name)
    pairs = variant.pairs(made, config, marked=MARKED, cache=kept)
    unseen = SyntheticScans(settings_of(given.corpus, "validation", 1))
    held = given.out / "scans" / ("held" if same else f"held_{name}")
    watched_pairs = PreparedPairs(unseen, config, cache=held)
    if variant.pairs is WithoutContext:
        watched_pairs = WithoutContext(unseen, config, cache=held)
    torch.manual_seed(SEED)
    method = Compact(config)
    fit_scale(method, pairs)
    epochs = max(1, round(variant.share * 4))
    training = TrainSettings(
        epochs=epochs,
        batch=6,
        learning_rate=2e-3,
        seed=SEED,
        weight_decay=0.02,
        together=2,
        precision="bfloat16",
        average=0.99,
        optimizer="muon",
        watch="mean_auroc",
    )
    size = given.scans // 4 // 2 * 2
    watch = Watch(
        list(FreshScans(watched_pairs, given.held_out, 0).epoch(0, range(given.held_out)))
    )
    source = FreshScans(pairs, size, 0)
    history = train(method, source, training, given.out / name, validate=watch)
    return history.rows[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--scans", type=int, default=1024, help="that each variant learns from")
    parser.add_argument("--held-out", type=int, default=128, help="scans to score")
    parser.add_argument("--out", type=Path, default=Path("runs/out/ablation"))
    parser.add_argument("--only", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS))
    parser.add_argument("--table", type=Path, help="the table, in Markdown")
    given = parser.parse_args()
    lines = ["| variant | P-AUROC | O-AUROC |", "|---|---|---|"]
    for name in given.only:
        row = measure(VARIANTS[name], name, given)
        point, whole = (100 * row[f"validation_{what}_auroc"] for what in ("point", "object"))
        lines.append(f"| {VARIANTS[name].title} | {point:.1f} | {whole:.1f} |")
        print(lines[-1], flush=True)
    text = (
        "# What the parts of the compact detector's recipe are worth\n\n"
        f"In per cent, on {given.held_out} scans of validation categories, after "
        f"{given.scans} scans from nothing unless said otherwise; last epoch, averaged weights, "
        f"seed {SEED}. {processor(torch.device('cpu'))}.\n\n" + "\n".join(lines) + "\n"
    )
    print(text)
    if given.table:
        given.table.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
