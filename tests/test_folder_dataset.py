"""A folder of labelled scans is read right or refused with the file, the place and the remedy."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from organised_trees import organised_scan, photograph, write_png, write_tiff
from zeroflaw.datasets import DATASETS
from zeroflaw.datasets.folder import Folder
from zeroflaw.types import Bool, Float64, ZeroflawError

COUNT = 40


def cloud(seed: int = 0, offset: float = 0.0) -> tuple[Float64, Bool]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(COUNT, 3)) + offset, rng.random(COUNT) < 0.3


def write_npz(path: Path, seed: int = 0, labelled: bool = True, offset: float = 0.0) -> Bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    points, labels = cloud(seed, offset)
    arrays = {"points": points, "labels": labels} if labelled else {"points": points}
    np.savez(path, **arrays)
    return labels


def write_labels(path: Path, seed: int = 0, columns: int = 1, separator: str = " ") -> Bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    points, labels = cloud(seed)
    rows = np.c_[points, labels] if columns == 4 else labels[:, None]
    path.write_text("".join(separator.join(f"{v:.6f}" for v in row) + "\n" for row in rows))
    return labels


def complaint(root: Path) -> str:
    with pytest.raises(ZeroflawError) as caught:
        list(Folder(root).select())
    message = str(caught.value)
    assert "\n" not in message
    assert str(root) in message
    return message


def only(root: Path) -> Bool:
    folder = Folder(root).select()
    assert len(folder) == 1
    labels = folder[0].labels
    assert labels is not None
    return labels


def test_the_folder_is_among_the_data_sets() -> None:
    assert DATASETS["folder"] is Folder


def test_labels_in_the_scan_itself_are_taken(tmp_path: Path) -> None:
    labels = write_npz(tmp_path / "a" / "part.npz")
    assert np.array_equal(only(tmp_path), labels)


@pytest.mark.parametrize("place", ["part.txt", "gt/part.txt", "GT/part.txt", "../gt/part.txt"])
@pytest.mark.parametrize(("columns", "separator"), [(1, " "), (4, " "), (4, ",")])
def test_labels_may_lie_in_a_text_file(
    tmp_path: Path, place: str, columns: int, separator: str
) -> None:
    write_npz(tmp_path / "test" / "part.npz", labelled=False)
    labels = write_labels(tmp_path / "test" / place, columns=columns, separator=separator)
    assert np.array_equal(only(tmp_path), labels)


def test_labels_of_points_that_were_dropped_are_dropped_too(tmp_path: Path) -> None:
    points, labels = cloud()
    points[[3, 17]] = np.nan
    np.savez(tmp_path / "part.npz", points=points)
    write_labels(tmp_path / "part.txt")
    assert np.array_equal(only(tmp_path), np.delete(labels, [3, 17]))


def test_a_scan_below_good_needs_no_labels(tmp_path: Path) -> None:
    write_npz(tmp_path / "good" / "b" / "part.npz", labelled=False)
    assert not only(tmp_path).any()


def test_scans_come_sorted_and_texts_hidden_files_and_others_are_left_out(tmp_path: Path) -> None:
    for name in ("b.npz", "a.npz", "c/a.npz", ".hidden/a.npz"):
        write_npz(tmp_path / name)
    for name in ("README.txt", "notes.md", "card.json"):
        (tmp_path / name).write_text("text")
    names = [file.scan.relative_to(tmp_path).as_posix() for file in Folder(tmp_path).files]
    assert names == ["a.npz", "b.npz", "c/a.npz"]


def test_scans_of_similar_names_are_told_apart(tmp_path: Path) -> None:
    for name in ("part.1.npz", "part_1.npz", "part.npz", "part_1.npy", "part.1_npz.npz"):
        (tmp_path / name).touch()

    names = [entry.name for entry in Folder(tmp_path).entries()]

    assert len(set(names)) == 5


def test_listing_takes_no_longer_per_scan_in_a_large_folder(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number}.xyz").touch()
        (tmp_path / f"{number}.txt").touch()
    begun = time.perf_counter()

    entries = Folder(tmp_path).entries()

    assert len(entries) == 3000
    assert all(len(entry.files) == 2 for entry in entries)
    assert time.perf_counter() - begun < 20  # comparing each with each takes minutes


def test_the_hash_follows_the_content_and_not_the_folder(tmp_path: Path) -> None:
    for folder in ("one", "two", "three", "four"):
        write_npz(tmp_path / folder / "part.npz", labelled=False)
        write_labels(tmp_path / folder / "part.txt")
    write_npz(tmp_path / "three" / "part.npz", seed=1, labelled=False)
    write_labels(tmp_path / "four" / "part.txt", seed=1)
    one, two, three, four = (
        Folder(tmp_path / name).select().content_hash() for name in ("one", "two", "three", "four")
    )
    assert one == two
    assert len({one, three, four}) == 3


def test_no_folder_and_no_scan_are_told_apart(tmp_path: Path) -> None:
    assert "no such folder" in complaint(tmp_path / "missing")
    assert "no scan in this folder; readable are" in complaint(tmp_path)


def test_a_scan_without_labels_is_refused_with_the_remedy(tmp_path: Path) -> None:
    write_npz(tmp_path / "part.npz", labelled=False)
    message = complaint(tmp_path)
    assert "part.npz: has no labels" in message
    assert "`<stem>.txt`" in message


def test_defects_below_good_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "good" / "part.npz")
    assert "labelled defective below a folder called `good`" in complaint(tmp_path)


def test_labels_in_two_places_or_of_no_scan_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "part.npz", labelled=False)
    write_labels(tmp_path / "part.txt")
    write_labels(tmp_path / "gt" / "part.txt")
    assert "keep one" in complaint(tmp_path)
    (tmp_path / "part.txt").unlink()
    write_labels(tmp_path / "gt" / "other.txt")
    assert "other.txt: holds labels of no scan" in complaint(tmp_path)


def test_labels_that_contradict_the_scan_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "part.npz")
    write_labels(tmp_path / "part.txt", seed=1)
    assert "contradicts" in complaint(tmp_path)


def test_rows_of_other_points_are_refused_with_their_place(tmp_path: Path) -> None:
    write_npz(tmp_path / "part.npz", labelled=False)
    write_labels(tmp_path / "part.txt", columns=4)
    rows = (tmp_path / "part.txt").read_text().splitlines()
    rows[5], rows[9] = rows[9], rows[5]
    (tmp_path / "part.txt").write_text("\n".join(rows))
    assert "row 6" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("0\n" * (COUNT - 1), "39 labels for the 40 points"),
        ("1 2\n", "2 columns"),
        ("0\n" * 7 + "0 1\n", "line 8"),
        ("0\n" * 7 + "bad\n", "'bad' is not 1 numbers"),
        ("0\n" * 7 + "2\n", "line 8: label 2"),
        ("0\n" * 7 + "nan\n", "label nan"),
        ("1 2 3 0\n1 2 x 0\n", "line 2"),
    ],
)
def test_a_bad_label_file_is_refused_with_file_and_place(
    tmp_path: Path, text: str, words: str
) -> None:
    write_npz(tmp_path / "part.npz", labelled=False)
    (tmp_path / "part.txt").write_text(text)
    message = complaint(tmp_path)
    assert "part.txt" in message
    assert words in message


def test_a_label_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "part.npz", labelled=False)
    (tmp_path / "part.txt").write_bytes(b"\xff\xfe\x00\x01")
    assert "cannot be read as labels" in complaint(tmp_path)


def test_far_away_coordinates_are_compared_at_the_scale_of_the_part(tmp_path: Path) -> None:
    write_npz(tmp_path / "part.npz", labelled=False, offset=1e6)
    points, labels = cloud(offset=1e6)
    rows = np.c_[points + 0.1, labels]
    np.savetxt(tmp_path / "part.txt", rows, fmt="%.6f")
    assert "row 1" in complaint(tmp_path)
    np.savetxt(tmp_path / "part.txt", np.c_[points, labels], fmt="%.6f")
    assert np.array_equal(only(tmp_path), labels)


def test_a_photograph_beside_a_scan_belongs_to_it(tmp_path: Path) -> None:
    root = tmp_path / "parts"
    points, mask = organised_scan("cap", "dent", 5)
    write_tiff(root / "part.tiff", points)
    write_png(root / "part.png", photograph(5))
    (root / "part.txt").write_text("".join(f"{int(marked)}\n" for marked in mask.reshape(-1)))
    scans = Folder(root).select()
    (entry,) = scans.entries
    assert [path.name for path in entry.files] == ["part.tiff", "part.txt", "part.png"]
    scan = scans[0]
    assert scan.colors is not None
    assert scan.valid is not None
    assert scan.labels is not None
    assert np.array_equal(scan.colors, photograph(5).reshape(-1, 3)[scan.valid])
    assert np.array_equal(scan.labels, mask.reshape(-1)[scan.valid])
    before = scans.content_hash()
    write_png(root / "part.png", photograph(6))
    assert Folder(root).select().content_hash() != before
