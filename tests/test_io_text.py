"""Text files: delimiters, headers, and numbers that are exactly what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan_files import cloud, text_rows
from zeroflaw.io import read
from zeroflaw.io.numerals import NumeralError, parse
from zeroflaw.types import Scan, ScanError

POINTS = cloud()
ROWS = text_rows(POINTS).splitlines()


def scan_of(tmp_path: Path, text: str | bytes, suffix: str = ".txt") -> Scan:
    path = tmp_path / f"part{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


@pytest.mark.parametrize("delimiter", [" ", ",", ";", "\t", ", ", "   ", " ; "])
@pytest.mark.parametrize("header", ["", "x y z", "# x y z", "//X,Y,Z", '"x";"y";"z"', "X [mm];Y;Z"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_delimiters_and_headers_are_recognised(
    tmp_path: Path, delimiter: str, header: str, ends: str
) -> None:
    rows = ([header] if header else []) + [row.replace(" ", delimiter) for row in ROWS]
    scan = scan_of(tmp_path, ends.join(rows) + ends)
    np.testing.assert_array_equal(scan.points, POINTS)
    assert not scan.notes


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    rows = [
        f"{i % 2},{z},{i},{255 - i},7,{x},{y},0,0,-1" for i, (x, y, z) in enumerate(POINTS.tolist())
    ]
    text = "\n".join(["Label,Z,R,G,B,X,Y,nx,ny,nz", *rows]) + "\n"
    scan = scan_of(tmp_path, text, ".csv")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.labels is not None
    np.testing.assert_array_equal(scan.labels, np.arange(60) % 2 == 1)
    assert scan.colors is not None
    np.testing.assert_array_equal(scan.colors[5], [5, 250, 7])
    assert scan.normals is not None
    np.testing.assert_array_equal(scan.normals[0], [0, 0, -1])


def test_columns_without_names_are_left_out_and_said_so(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, "".join(f"{row} 1.0\n" for row in ROWS))
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.labels is None
    assert any("4 columns without names" in note for note in scan.notes)


@pytest.mark.parametrize(
    "opening", ["\ufeff", "# exported today\n", "\n\n", "60\n", "# x y z are in mm\n", "%\n// a\n"]
)
def test_what_may_stand_above_the_rows(tmp_path: Path, opening: str) -> None:
    scan = scan_of(tmp_path, opening + "\n".join(ROWS) + "\n")
    np.testing.assert_array_equal(scan.points, POINTS)


def test_a_missing_line_end_is_said(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, "\n".join(ROWS))
    np.testing.assert_array_equal(scan.points, POINTS)
    assert any("line end" in note for note in scan.notes)


BAD_TEXTS = [
    ("a b c\n" + "\n".join(ROWS), "line 1: the header is 'a b c'; expected x, y and z"),
    ("x,y,z,label\n" + "\n".join(ROWS), "3 numbers in a row, but 4 names"),
    ("\n".join(row.rpartition(" ")[0] for row in ROWS), "line 1: 2 numbers in a row"),
    ("\n".join([*ROWS[:40], "1 2", *ROWS[40:]]), "line 41: 2 numbers in a row; expected 3"),
    ("\n".join([*ROWS[:40], "1 2 x", *ROWS[40:]]), "line 41: 'x' is not a number"),
    ("\n".join([*ROWS[:40], "1 2 3 4", *ROWS[40:]]), "line 41: 4 numbers in a row; expected 3"),
    ("\n".join(row.replace(".", ",") for row in ROWS), "write decimals with a point"),
    ("once upon a time\nthere was a scan\n", "line 2: cannot read 'there was a scan'"),
    ("61\n" + "\n".join(ROWS) + "\n", "holds 60 rows, but its first line promises 61"),
    ("# only a remark\n", "no row of numbers"),
    ("x,y,z\n1,,3\n" * 30, r"line 2: cannot read '1,,3'"),
    (b"\0\1\2\3 \0", "not text"),
    (b"1 2 3\n" * 40 + b"1 2\x003\n", r"line 41: '2\\x003' is not a number|line 41"),
    ("9" * 3_000_000, "no end"),
]


@pytest.mark.parametrize(("text", "said"), BAD_TEXTS)
def test_bad_text_is_an_error_with_its_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(ScanError, match=said):
        scan_of(tmp_path, text)


def test_map_coordinates_keep_every_bit(tmp_path: Path) -> None:
    points = POINTS / 3 + (500_000.0, 5_900_000.0, 120.0)
    text = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in points.tolist())
    np.testing.assert_array_equal(scan_of(tmp_path, text).points, points)


def test_a_file_of_many_blocks_keeps_its_rows_in_order(tmp_path: Path) -> None:
    points = cloud(30_000, seed=2)
    scan = scan_of(tmp_path, text_rows(points))
    np.testing.assert_array_equal(scan.points, points)


digits = st.text("0123456789", max_size=20)
plain = st.tuples(st.sampled_from(["", "-", "+"]), digits, st.sampled_from([".", ""]), digits).map(
    "".join
)
floats = st.floats(width=64)
written = st.one_of(
    plain.filter(lambda word: word.strip("+-.") != ""),
    floats.map(repr),
    floats.map("{:.6f}".format),
    st.floats(-1e6, 1e6).map("{:.10f}".format),
    floats.map("{:.18e}".format),
    st.floats(-1e5, 1e5, width=32).map("{:g}".format),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(written, max_size=5), max_size=8), st.sampled_from([" ", "\t", "  "]))
def test_every_number_is_the_nearest_double(rows: list[list[str]], blank: str) -> None:
    text = "\n".join(blank.join(row) for row in rows)
    numbers = parse(text.encode())
    expected = np.array([float(word) for row in rows for word in row])
    np.testing.assert_array_equal(numbers.values, expected)
    assert (
        np.array_equal(np.signbit(numbers.values), np.signbit(expected)) or np.isnan(expected).any()
    )
    lengths = [len(row) for row in rows]
    assert numbers.lengths.tolist() == [length for length in lengths if length]
    assert numbers.lines.tolist() == [line for line, length in enumerate(lengths) if length]


@settings(deadline=None, max_examples=300)
@given(st.binary(min_size=1, max_size=12), st.integers(0, 30))
def test_a_word_is_a_number_or_an_error_on_its_line(word: bytes, line: int) -> None:
    block = b"1.5 2\n" * line + b"0.25 " + word.replace(b"\n", b"") + b"\n" + b"3 4\n" * 5
    try:
        middle = [float(part) for part in word.replace(b"\n", b"").split()]
        if b"_" in word:
            raise ValueError("Python's own way of writing numbers")
    except ValueError:
        with pytest.raises(NumeralError) as caught:
            parse(block)
        assert caught.value.line == line
    else:
        values = parse(block).values
        np.testing.assert_array_equal(values, [1.5, 2] * line + [0.25, *middle] + [3, 4] * 5)
