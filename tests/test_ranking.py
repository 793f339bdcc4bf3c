"""The area under the ROC curve, against its slow definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroflaw.metrics.ranking import auroc
from zeroflaw.types import ZeroflawError

RANKED = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40)


@given(RANKED)
def test_it_is_the_share_of_pairs_in_the_right_order_ties_counted_half(
    pairs: list[tuple[int, bool]],
) -> None:
    scores = np.array([score for score, _ in pairs], dtype=np.float32)
    labels = np.array([label for _, label in pairs])
    bad, good = scores[labels], scores[~labels]
    found = auroc(scores, labels)
    if len(bad) == 0 or len(good) == 0:
        assert np.isnan(found)
    else:
        won = (bad[:, None] > good).mean() + 0.5 * (bad[:, None] == good).mean()
        assert found == pytest.approx(won)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_without_an_order_are_refused(value: float) -> None:
    with pytest.raises(ZeroflawError, match="NaN or infinite"):
        auroc(np.array([0.1, value]), np.array([True, False]))
