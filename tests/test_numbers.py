"""Numbers in tables and pictures are short, and no less exact than they look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroflaw.reports.numbers import (
    length_text,
    percent_text,
    place_text,
    plural,
    round_length,
)


@given(st.floats(1e-12, 1e12))
def test_a_length_keeps_three_digits_and_stays_short(length: float) -> None:
    shown = length_text(length)
    assert float(shown) == pytest.approx(length, rel=5.1e-3)
    assert len(shown) <= 10


@given(st.floats(1e-9, 1e9))
def test_a_scale_is_round_and_fits(limit: float) -> None:
    length = round_length(limit)
    assert 0.39 * limit <= length <= limit * (1 + 1e-12)
    assert f"{length:.0e}"[0] in "125"


def test_places_have_the_decimals_of_their_resolution() -> None:
    assert place_text((500123.4567, -0.00001, 3), 0.015) == "500123.46 0.00 3.00"
    assert place_text((1.5, 2.5), 20) == "2 2"


def test_counts_and_shares_read_as_people_write_them() -> None:
    assert [plural(count, "point") for count in (0, 1, 12345)] == [
        "0 points",
        "1 point",
        "12,345 points",
    ]
    shares = (0, 0.0004, 0.0126, 1)
    assert [percent_text(share) for share in shares] == ["0.0 %", "<0.1 %", "1.3 %", "100.0 %"]
