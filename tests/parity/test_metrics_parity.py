"""The metrics on stored scores against the values that the field's published code gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from zeroflaw.geometry.regions import label_regions
from zeroflaw.metrics.coverage import coverage_auc
from zeroflaw.metrics.pro import au_pro
from zeroflaw.metrics.ranking import ranking
from zeroflaw.types import Scan

Arrays = Mapping[str, NDArray[Any]]
SCANS = range(6)


@pytest.fixture(scope="module")
def arrays(parity: Callable[[str], Arrays]) -> Arrays:
    return parity("metrics_public")


def each(arrays: Arrays, name: str) -> list[NDArray[Any]]:
    return [arrays[f"{name}{place}"] for place in SCANS]


def test_object_level(arrays: Arrays) -> None:
    found = ranking(arrays["object_scores"], arrays["object_labels"])
    expected = [arrays[f"object_{name}"] for name in ("auroc", "ap", "f1_max")]
    assert np.allclose(found, expected, rtol=0, atol=1e-9)


def test_point_level(arrays: Arrays) -> None:
    scores, labels = (np.concatenate(each(arrays, name)) for name in ("scores", "labels"))
    expected = [arrays[f"point_{name}"] for name in ("auroc", "ap", "f1_max")]
    assert np.allclose(ranking(scores, labels), expected, rtol=0, atol=1e-9)


def test_exact_pro_is_within_half_a_point_of_the_200_thresholds(arrays: Arrays) -> None:
    offset, regions = 0, []
    for points, labels in zip(each(arrays, "points"), each(arrays, "labels"), strict=True):
        number = label_regions(Scan(points.astype(np.float64), labels=labels))
        regions.append(np.where(number < 0, -1, number + offset))
        offset += int(number.max()) + 1
    assert offset == arrays["regions"]
    found = au_pro(np.concatenate(each(arrays, "scores")), np.concatenate(regions))
    assert found == pytest.approx(float(arrays["point_pro_200_thresholds"]), abs=0.005)


def test_coverage_is_the_papers_but_for_its_100_places(arrays: Arrays) -> None:
    scores, labels = each(arrays, "scores"), each(arrays, "labels")
    paper = float(arrays["point_coverage_auc_of_the_paper"])
    places = np.linspace(0, 1, 100)
    curves = []
    for values, marks in zip(scores, labels, strict=True):
        if marks.any():
            found = np.cumsum(marks[np.argsort(-values)]) / marks.sum()
            curves.append(np.interp(places, np.arange(1, len(found) + 1) / len(found), found))
    mean = np.mean(curves, axis=0)
    assert ((mean[1:] + mean[:-1]) / 2 * np.diff(places)).sum() == pytest.approx(paper, abs=1e-12)
    assert coverage_auc(scores, labels) == pytest.approx(paper, abs=1e-3)
