"""Kinds of defects by name: what a region is called, and which kind a person asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zeroflaw.geometry.regions import strength
from zeroflaw.methods.base import Scores
from zeroflaw.methods.compact_text import KIND_PROMPTS
from zeroflaw.types import Float32, Float64, Int64, Region, ZeroflawError, printable

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "bulge": ("bulging", "bump", "hump", "blister", "raised"),
    "dent": ("dented", "sink", "sink mark", "dip", "dimple", "indentation", "depression"),
    "hole": ("bore", "opening", "puncture", "perforation", "missing material", "gap"),
    "crack": ("cracked", "fissure", "open line"),
    "break": ("broken", "breakage", "chip", "chipped", "fracture", "fractured"),
    "bend": ("bent", "bending", "warp", "warped", "warpage", "twisted", "distorted"),
    "rough": ("roughness", "abrasion", "abraded", "corrosion", "corroded", "pitting"),
    "flat": ("flattened", "flattening"),
    "scratch": ("scratched", "groove", "gouge"),
    "excess": ("spatter", "flash", "fin", "burr", "blob"),
    "shifted": ("shift", "displaced", "misplaced", "wrong place"),
    "missing": ("absent", "lacking", "lacks"),
}
EMPTY = "a an and any area at defect find for has in is it of on or part some surface that the with"
"""Words of a prompt that say nothing of a kind."""
VAGUE = "edge feature line long material narrow off open out patch piece place shallow shape spot"
"""Words of KIND_PROMPTS that tell a kind only together with others."""
DENIALS = "no not without except but"
LONGEST = 200  # letters of a prompt
LEAST = 1e-12  # of a probability whose logarithm is taken


def find_kind(prompt: str, kinds: Sequence[str]) -> str:
    """The one of `kinds` that a prompt asks for: "dent", "deep dents", "a part with a sink".

    Names, SYNONYMS and KIND_PROMPTS count, in any number and case; the longest wins where one holds
    another. Raises ZeroflawError, which names what can be asked for, for a prompt that fits none,
    several, or a kind that is not among `kinds`, for one that says what not to look for, and for
    more than LONGEST letters.
    """
    asked, known = f"prompt {printable(prompt[:LONGEST])!r}", ", ".join(kinds)
    if len(prompt) > LONGEST:
        raise ZeroflawError(f"{asked}…: {len(prompt)} letters are too many; ask for one of {known}")
    words = _words(prompt)
    if denied := sorted(set(words) & set(DENIALS.split())):
        raise ZeroflawError(
            f"{asked}: {denied[0]!r} cannot be answered, only what to look for; "
            f"ask for one of {known}"
        )
    found = [
        (start, start + len(phrase), kind)
        for phrase, kind in _phrases(kinds)
        for start in range(len(words) - len(phrase) + 1)
        if all(one in _forms(two) for one, two in zip(phrase, words[start:], strict=False))
    ]
    meant = sorted({kind for start, end, kind in found if not _within_longer(start, end, found)})
    if not meant:
        raise ZeroflawError(f"{asked}: no known kind of defect; ask for one of {known}")
    if len(meant) > 1:
        raise ZeroflawError(f"{asked}: could be {' or '.join(meant)}; ask for one of {known}")
    if meant[0] not in kinds:
        raise ZeroflawError(
            f"{asked}: {meant[0]!r} is no kind that this detector tells; ask for one of {known}"
        )
    return meant[0]


def _phrases(kinds: Sequence[str]) -> list[tuple[list[str], str]]:
    """What stands for a kind, as words: its name, its synonyms, its prompts and their own words."""
    named = {kind: (kind, *SYNONYMS.get(kind, ())) for kind in (*SYNONYMS, *kinds)}
    found = [(_words(text), kind) for kind, texts in named.items() for text in texts]
    found += [(_words(text), kind) for kind, texts in KIND_PROMPTS.items() for text in texts]
    owners: dict[str, set[str]] = {}
    vague = VAGUE.split()
    for phrase, kind in found:
        for word in phrase:
            owners.setdefault(word, set()).add(kind)
    told = {word: kinds for word, kinds in owners.items() if len(kinds) == 1 and word not in vague}
    return found + [([word], next(iter(owner))) for word, owner in told.items()]


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W_]+", text.casefold()) if word not in EMPTY.split()]


def _forms(word: str) -> tuple[str, ...]:
    """The word, and what it may be the plural of."""
    return (word, word.removesuffix("s"), word.removesuffix("es"), f"{word}s")


def _within_longer(start: int, end: int, found: Sequence[tuple[int, int, str]]) -> bool:
    return any(a <= start and end <= b and b - a > end - start for a, b, _ in found)


@dataclass(frozen=True, eq=False)
class PointKinds:
    """How likely each kind is at each point, if it is defective.

    names: of the K kinds. logits: (M, K). row: (N,), which of them stands for each of the points.
    """

    names: tuple[str, ...]
    logits: Float64
    row: Int64

    @staticmethod
    def of(scores: Scores, names: tuple[str, ...], temperature: float = 1.0) -> PointKinds | None:
        """From a method's scores; None without names. temperature: that logits are divided by.

        Raises ValueError for kinds that are not of these names and points, or no numbers.
        """
        if not names:
            return None
        if scores.kind is None:
            raise ValueError("gave no kinds")
        shares = scores.kind.detach().double().cpu().numpy()
        whole = np.arange(len(shares)) if scores.row is None else scores.row.cpu().numpy()
        if shares.shape[1:] != (len(names),) or len(whole) != len(scores.point):
            raise ValueError(f"gave kinds of shape {shares.shape} for {len(names)} names")
        if not np.isfinite(shares).all():
            raise ValueError("gave kinds that are no numbers")
        return PointKinds(names, np.log(np.maximum(shares, LEAST)) / temperature, whole)

    def of_points(self, kind: str) -> Float32:
        """The probability of one kind at every point of the scan, (N,)."""
        shares = _softmax(self.logits)[:, self.names.index(kind)]
        return np.take(shares.astype(np.float32), self.row)

    def of_part(self, index: Int64, weight: Float32) -> Float64:
        """The probability of each kind for some points together, (K,).

        index: (P,) of the scan's points; weight: (P,), their scores. Softmax of the weighted mean
        of the logits; points that share a row count as one, so that density does not matter.
        """
        row = self.row[index]
        total = np.bincount(row, weight, minlength=len(self.logits))
        mean = total / np.maximum(np.bincount(row, minlength=len(self.logits)), 1)
        if not mean.sum() > 0:
            mean = (np.bincount(row, minlength=len(self.logits)) > 0).astype(np.float64)
        whole: Float64 = _softmax((mean @ self.logits / mean.sum())[None])[0]
        return whole


def name_regions(
    regions: Sequence[Region], kinds: PointKinds, point_scores: Float32
) -> tuple[Region, ...]:
    """The regions with their most likely kind and its probability."""
    named = []
    for region in regions:
        shares = kinds.of_part(region.index, point_scores[region.index])
        best = int(shares.argmax())
        named.append(replace(region, kind=kinds.names[best], kind_probability=float(shares[best])))
    return tuple(named)


@dataclass(frozen=True, eq=False)
class Answer:
    """What is left of a scan's scores and regions when one kind is asked for."""

    score: float
    point_scores: Float32
    regions: tuple[Region, ...]


def answer(
    kind: str, kinds: PointKinds, score: float, point_scores: Float32, regions: Sequence[Region]
) -> Answer:
    """Scores and regions of one kind alone, of those of defects of any kind.

    Points: their score times the probability of the kind there. Scan: its score times the highest
    probability of the kind in a region, or in the whole scan where there is no region. Regions:
    those that have this name, with peak and mean of the new point scores.
    """
    parts = [region.index for region in regions] or [np.arange(len(point_scores))]
    column = kinds.names.index(kind)
    share = max(float(kinds.of_part(part, point_scores[part])[column]) for part in parts)
    points = point_scores * kinds.of_points(kind)
    left = [
        replace(
            one,
            peak=float(points[one.index].max()),
            mean=float(points[one.index].mean(dtype=np.float64)),
        )
        for one in regions
        if one.kind == kind
    ]
    return Answer(score * share, points, tuple(sorted(left, key=strength, reverse=True)))


def _softmax(logits: Float64) -> Float64:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
