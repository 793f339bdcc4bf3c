"""Metrics of ten million points: zeroflaw beside scikit-learn and the usual ways to AU-PRO.

    PYTHONPATH=src python benchmarks/metrics.py [--points N] [--large N] [--repeats R] \
        > benchmarks/results/metrics.md

Every contender runs in a process of its own on the same seeded points. Seconds are processor time,
the best of R runs. Memory is the largest resident set of that process during the runs, with the
interpreter, its libraries and the points themselves in it (Linux). scikit-learn is left out if it
is missing.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCANS = 50
REGIONS = 2  # of a scan
LIMIT = 0.3
THRESHOLDS = 200
RIVALS = {
    "ranking": ["scikit-learn"],
    "auroc": ["scikit-learn"],
    "ap": ["scikit-learn"],
    "f1": ["scikit-learn"],
    "pro": ["200 thresholds", "sort and cumulate"],
    "coverage_auc": [],
}
NAMES = {
    "ranking": "AUROC, AP and F1 at once",
    "auroc": "AUROC",
    "ap": "average precision",
    "f1": "highest F1",
    "pro": "AU-PRO",
    "coverage_auc": "coverage AUC",
}
Scores = NDArray[Any]
Regions = NDArray[np.int64]
Contender = Callable[[Scores, Regions], float]


@dataclass(frozen=True)
class Case:
    """Points to measure on: how many, of which type, and the anomalous share."""

    points: int
    dtype: str
    share: float

    def __str__(self) -> str:
        return f"{self.points / 1e6:g} M {self.dtype}, {self.share:.0%} anomalous"

    def make(self) -> tuple[Scores, Regions]:
        """Scores and regions of some scans, anomalous points a little higher and in runs."""
        rng = np.random.default_rng(0)
        scores = rng.standard_normal(self.points, dtype=np.float32).astype(self.dtype)
        if self.dtype == "float64":
            scores += 1e-9 * rng.random(self.points)
        region = np.full(self.points, -1, dtype=np.int64)
        run = self.points // (SCANS * REGIONS)
        for number in range(SCANS * REGIONS):
            begin = number * run
            region[begin : begin + int(run * self.share)] = number
        scores[region >= 0] += 1.5
        return scores, region


def main() -> None:
    """Print the table, or measure one contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--large", type=int, default=100_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        metric, who, points, dtype, share = arguments.measure
        case = Case(int(points), dtype, float(share))
        print(json.dumps(measure(contender(metric, who), case, arguments.repeats)))
        return
    print_table(arguments.points, arguments.large, arguments.repeats)


def contender(metric: str, who: str) -> Contender:
    """What a user calls to get a metric from scores and regions."""
    if who == "zeroflaw":
        return ours(metric)
    if who == "scikit-learn":
        return scikit_learn(metric)
    return thresholds_pro if who == "200 thresholds" else cumulated_pro


def ours(metric: str) -> Contender:
    """The package's metric; of the three at once, their sum stands for them."""
    library: Any = importlib.import_module("zeroflaw.metrics")
    if metric == "ranking":
        ranking = library.ranking.ranking
        return lambda scores, region: float(sum(ranking(scores, region >= 0)))
    function = library.METRICS[metric]
    if metric == "pro":
        return lambda scores, region: float(function(scores, region))
    if metric == "coverage_auc":
        return lambda scores, region: float(
            function(np.array_split(scores, SCANS), np.array_split(region >= 0, SCANS))
        )
    return lambda scores, region: float(function(scores, region >= 0))


def scikit_learn(metric: str) -> Contender:
    """scikit-learn's metric; the highest F1 is taken from its precision–recall curve."""
    library: Any = importlib.import_module("sklearn.metrics")

    def best_f1(labels: NDArray[np.bool_], scores: Scores) -> float:
        precision, recall, _ = library.precision_recall_curve(labels, scores)
        both = precision + recall
        return float(np.divide(2 * precision * recall, both, where=both > 0, out=both * 0).max())

    functions = {
        "auroc": [library.roc_auc_score],
        "ap": [library.average_precision_score],
        "f1": [best_f1],
    }
    functions["ranking"] = [one for kind in ("auroc", "ap", "f1") for one in functions[kind]]
    return lambda scores, region: float(sum(one(region >= 0, scores) for one in functions[metric]))


def thresholds_pro(scores: Scores, region: Regions) -> float:
    """AU-PRO from 200 thresholds between the lowest and the highest score, as it is common."""
    members = [np.flatnonzero(region == number) for number in range(int(region.max()) + 1)]
    normal = region < 0
    rates, shares = [], []
    for threshold in np.linspace(scores.max(), scores.min(), THRESHOLDS):
        marked = scores >= threshold
        rates.append(np.count_nonzero(marked & normal) / np.count_nonzero(normal))
        shares.append(float(np.mean([marked[inside].mean() for inside in members])))
    return area_to_limit(np.array(rates), np.array(shares))


def cumulated_pro(scores: Scores, region: Regions) -> float:
    """AU-PRO from one descending order of all points and two cumulative sums over it."""
    order = np.argsort(scores)[::-1]
    number = region[order]
    weight = 1.0 / np.bincount(region[region >= 0])
    gained = np.where(number >= 0, weight[number], 0.0)
    last = np.append(np.diff(scores[order]) != 0, True)  # of the points that share a score
    rates = np.cumsum(number < 0)[last] / np.count_nonzero(region < 0)
    return area_to_limit(rates, np.cumsum(gained)[last] / len(weight))


def area_to_limit(rates: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Trapezoids up to the limit, from (0, 0), divided by it."""
    x, y = np.append(0.0, rates), np.append(0.0, shares)
    inside = x <= LIMIT
    x, y = np.append(x[inside], LIMIT), np.append(y[inside], np.interp(LIMIT, x, y))
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2 / LIMIT)


def measure(function: Contender, case: Case, repeats: int) -> dict[str, float]:
    """Value, least processor time in seconds, and peak memory in GB while it runs."""
    scores, region = case.make()
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        forget.write_text("5")
    best, value = float("inf"), float("nan")
    for _ in range(repeats):
        started = time.process_time()
        value = function(scores, region)
        best = min(best, time.process_time() - started)
    return {"value": value, "seconds": best, "memory": peak_memory()}


def peak_memory() -> float:
    """The largest resident set of this process since it was last cleared, in GB; NaN elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def measured(metric: str, who: str, case: Case, repeats: int) -> dict[str, float] | None:
    """The same in a fresh process; None where the rival is not installed."""
    if who == "scikit-learn" and importlib.util.find_spec("sklearn") is None:
        return None
    values = [metric, who, str(case.points), case.dtype, str(case.share)]
    command = [sys.executable, __file__, "--repeats", str(repeats), "--measure", *values]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{metric} by {who} on {case} failed: {done.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def processor() -> str:
    """The processor's name and its number of cores."""
    lines = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (lines.read_text().splitlines() if lines.exists() else [])
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def print_table(points: int, large: int, repeats: int) -> None:
    """Measure everything and print the Markdown table."""
    rival = "scikit-learn not installed"
    if importlib.util.find_spec("sklearn") is not None:
        rival = f"scikit-learn {importlib.import_module('sklearn').__version__}"
    print(f"# Metrics of {points:,} points\n")
    print(f"{processor()}; Python {platform.python_version()}, NumPy {np.__version__}, {rival}.")
    print(f"Load of the machine when this began: {os.getloadavg()[0]:.1f}.\n")
    print(
        f"Seconds are processor time, the best of {repeats} runs, or of 2 for the others; memory is"
        " the peak of a process that does nothing else, its points included. The difference is"
        " between the two values; 200 thresholds are an approximation, the others ought to agree.\n"
    )
    heads = ["metric", "points", "zeroflaw", "memory", "instead", "its time", "its time / ours"]
    print("| " + " | ".join([*heads, "its memory", "difference"]) + " |")
    print("| :--- | :--- | ---: | ---: | :--- | ---: | ---: | ---: | ---: |")
    few, many = Case(points, "float32", 0.02), Case(points, "float32", 0.5)
    for case in (few, many, Case(points, "float64", 0.02)):
        for metric in RIVALS:
            print_rows(metric, case, repeats, RIVALS[metric])
    for metric in RIVALS if large else ():
        print_rows(metric, Case(large, "float32", 0.02), 1, [])


def print_rows(metric: str, case: Case, repeats: int, rivals: list[str]) -> None:
    """The rows of one metric: ours beside each rival."""
    mine = measured(metric, "zeroflaw", case, repeats)
    assert mine is not None
    head = [NAMES[metric], str(case), f"**{mine['seconds']:.2f} s**", f"{mine['memory']:.2f} GB"]
    for who in rivals or ["–"]:
        theirs = measured(metric, who, case, min(repeats, 3)) if rivals else None
        cells = ["–" if not rivals else "not installed", "", "", ""]
        if theirs is not None:
            cells = [
                f"{theirs['seconds']:.2f} s",
                f"{theirs['seconds'] / mine['seconds']:.1f}",
                f"{theirs['memory']:.2f} GB",
                f"{abs(theirs['value'] - mine['value']):.1e}",
            ]
        print("| " + " | ".join([*head, who, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
