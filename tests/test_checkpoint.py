"""A checkpoint gives back what was saved, or says in one line why it cannot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_method import Tiny, TinyConfig, tiny_method, tiny_scan
from zeroflaw import checkpoint
from zeroflaw.cache import hash_frozen
from zeroflaw.encoders.clip import CLIPConfig
from zeroflaw.io.download import file_digest
from zeroflaw.methods import METHODS
from zeroflaw.methods.pointad import PointAD, PointADConfig
from zeroflaw.types import ZeroflawError


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "tiny", Tiny)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    method = tiny_method()
    method.finish()
    checkpoint.save(tmp_path / "part", method, {"trained_on": "spheres", "threshold": 0.4})
    return tmp_path / "part.safetensors"


def edit_card(weights: Path, **changes: object) -> None:
    sheet = weights.with_suffix(".json")
    sheet.write_text(json.dumps({**json.loads(sheet.read_text()), **changes}))


def edit_weights(weights: Path, **changes: torch.Tensor | None) -> None:
    """Replace or drop entries, and let the card agree."""
    entries = {**safetensors.torch.load_file(weights), **changes}
    safetensors.torch.save_file({n: t for n, t in entries.items() if t is not None}, weights)
    edit_card(weights, sha256=file_digest(weights))


def complaint(path: Path) -> str:
    with pytest.raises(ZeroflawError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_loaded_method_scores_like_the_saved_one_without_its_text_tower(tmp_path: Path) -> None:
    method, scan = tiny_method(), tiny_scan(1)
    method.finish()
    method.eval()
    prepared = method.prepare(scan)
    expected = method.score(method(prepared), scan, prepared)
    checkpoint.save(tmp_path / "part", method, {})
    loaded, card = checkpoint.load(tmp_path / "part")
    assert isinstance(loaded, Tiny)
    assert loaded.tower is None
    assert not loaded.training
    again = loaded.prepare(scan)
    scores = loaded.score(loaded(again), scan, again)
    assert torch.equal(scores.point, expected.point)
    assert scores.object == expected.object
    assert card["threshold"] == 0.5
    assert not any(
        "tower" in name for name in safetensors.torch.load_file(tmp_path / "part.safetensors")
    )


@pytest.mark.parametrize("name", ["part", "part.safetensors", "part.json"])
def test_either_file_or_their_stem_names_a_checkpoint(saved: Path, name: str) -> None:
    _, card = checkpoint.load(saved.with_name(name))
    assert (card["method"], card["trained_on"], card["threshold"]) == ("tiny", "spheres", 0.4)
    assert TinyConfig(points=32) == checkpoint.build_config(TinyConfig, card["config"], "card")


def test_a_stem_with_a_dot_in_it_is_kept_whole(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "v1.5", tiny_method(), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v1.5.json", "v1.5.safetensors"]
    checkpoint.load(tmp_path / "v1.5")


def test_half_precision_halves_the_file_and_comes_back_as_float32(tmp_path: Path) -> None:
    method = tiny_method()
    checkpoint.save(tmp_path / "full", method, {})
    checkpoint.save(tmp_path / "half", method, {}, half=True)
    loaded, _ = checkpoint.load(tmp_path / "half")
    for name, tensor in loaded.inspection_state().items():
        original = method.state_dict()[name]
        assert tensor.dtype == original.dtype
        assert torch.allclose(tensor.float(), original.float(), atol=1e-3)
    half, full = (
        safetensors.torch.load_file(tmp_path / f"{name}.safetensors") for name in ("half", "full")
    )
    assert sum(t.nbytes for t in half.values()) < 0.6 * sum(t.nbytes for t in full.values())


def test_large_entries_that_16_bits_hold_are_stored_so_and_come_back_bit_for_bit(
    tmp_path: Path,
) -> None:
    clip = CLIPConfig(image=28, width=256, layers=1, heads=4, vv_layers=1)
    sizes = {}
    for name in ("published", "float32"):
        method = PointAD(PointADConfig(clip=clip, points=64))
        with torch.no_grad():
            for weight in method.visual.parameters() if name == "published" else ():
                weight.copy_(weight.half())
        before = hash_frozen(method)
        checkpoint.save(tmp_path / name, method, {})
        loaded, _ = checkpoint.load(tmp_path / name)
        for entry, tensor in method.inspection_state().items():
            assert torch.equal(loaded.state_dict()[entry], tensor), entry
            assert loaded.state_dict()[entry].dtype == tensor.dtype
        assert hash_frozen(loaded) == before
        sizes[name] = (tmp_path / f"{name}.safetensors").stat().st_size
    assert sizes["published"] < 0.6 * sizes["float32"]


def test_loading_leaves_the_random_state_alone(saved: Path) -> None:
    before = torch.random.get_rng_state()
    checkpoint.load(saved)
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    method = tiny_method()
    method.head[4].weight = method.head[0].weight
    method.head[0].bias.data = torch.arange(16.0)[::2]
    checkpoint.save(tmp_path / "tied", method, {})
    loaded, _ = checkpoint.load(tmp_path / "tied")
    for name, tensor in method.inspection_state().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_saving_the_same_method_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        checkpoint.save(tmp_path / name, tiny_method(), {})
    for suffix in (".safetensors", ".json"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_missing_and_unexpected_entries_are_named(saved: Path) -> None:
    edit_weights(saved, **{"head.0.weight": None, "stranger": torch.zeros(1)})
    message = complaint(saved)
    assert "missing head.0.weight" in message
    assert "unexpected stranger" in message


def test_entries_of_another_shape_or_type_are_named(saved: Path) -> None:
    edit_weights(saved, **{"head.0.bias": torch.zeros(9), "text": torch.zeros(8).double()})
    message = complaint(saved)
    assert "head.0.bias has shape [9], not [8]" in message
    assert "text has type torch.float64, not torch.float32" in message


def test_unknown_settings_and_methods_are_named(saved: Path) -> None:
    edit_card(saved, config={"points": 32, "colour": 3})
    assert "unknown setting 'colour'" in complaint(saved)
    edit_card(saved, config={"points": "many"})
    assert "'points' is 'many'; int expected" in complaint(saved)
    edit_card(saved, method="other")
    assert "unknown method 'other'" in complaint(saved)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"threshold": "high"}, "threshold is 'high'; a number expected"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"point_threshold": None}, "point_threshold is None"),
        ({"seen": [1]}, "'seen' names no data set"),
        ({"seen": {"data": "real3d_ad", "categories": 3}}, "'seen' names no data set"),
        ({"seen": {"data": "real3d_ad", "categories": [{}]}}, "'seen' names no data set"),
    ],
)
def test_entries_that_inspection_reads_are_what_they_should_be(
    entry: dict[str, Any], words: str, saved: Path
) -> None:
    edit_card(saved, **entry)
    assert words in complaint(saved)


def test_weights_of_another_card_are_refused(saved: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "other", tiny_method(seed=1), {})
    (tmp_path / "other.safetensors").replace(saved)
    assert "belongs to another card" in complaint(saved)


def test_missing_files_are_named(saved: Path) -> None:
    assert "nothing.json: no such file" in complaint(saved.with_name("nothing"))
    saved.unlink()
    assert "part.safetensors: no such file" in complaint(saved)


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), which=st.booleans(), cut=st.booleans())
def test_a_damaged_file_is_one_line_never_a_traceback_or_wrong_weights(
    tmp_path_factory: pytest.TempPathFactory, where: float, which: bool, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    weights, sheet = checkpoint.save(folder / "part", tiny_method(), {})
    path = weights if which else sheet
    content = bytearray(path.read_bytes())
    place = int(where * len(content))
    if cut:
        path.write_bytes(content[:place])
    else:
        # Neither is valid UTF-8, so the card is damaged as well.
        content[place] = 0xFE if content[place] == 0xFF else 0xFF
        path.write_bytes(content)
    if cut and not which and place == len(content) - 1:
        checkpoint.load(path)  # only the card's last line feed is gone
    else:
        complaint(path)


def test_a_pickle_in_place_of_weights_is_never_opened(saved: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, saved)
    edit_card(saved, sha256=file_digest(saved))
    assert "not a safetensors file" in complaint(saved)


def test_a_place_that_cannot_be_written_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "part.safetensors").mkdir()
    with pytest.raises(ZeroflawError, match="cannot be written"):
        checkpoint.save(tmp_path / "part", tiny_method(), {})


@dataclass(frozen=True)
class Inner:
    radius: float = 1.0


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner = Inner()
    mode: Literal["mean", "max"] = "mean"
    pairs: tuple[tuple[int, float], ...] = ()
    limit: float | None = None


def test_a_configuration_survives_json_with_nested_parts() -> None:
    values = {"count": 2, "inner": {"radius": 3}, "pairs": [[1, 2.5]], "limit": None}
    built = checkpoint.build_config(Outer, json.loads(json.dumps(values)), "card")
    assert built == Outer(2, Inner(3.0), "mean", ((1, 2.5),), None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "setting 'count' is missing"),
        ({"count": True}, "int expected"),
        ({"count": 1.5}, "int expected"),
        ({"count": 1, "mode": "sum"}, "one of 'mean', 'max'"),
        ({"count": 1, "inner": {"diameter": 1}}, "unknown setting 'diameter'"),
        ({"count": 1, "limit": "high"}, "float expected"),
        ({"count": 1, "pairs": [[1]]}, "tuple expected"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(values: dict[str, object], words: str) -> None:
    with pytest.raises(ZeroflawError, match=words):
        checkpoint.build_config(Outer, values, "card")
