"""CLIP's towers come from every published layout, whole or not at all, and no code is run."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zeroflaw.encoders.clip import CLIPConfig, CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.clip_weights import load_clip, load_towers, save_clip
from zeroflaw.encoders.torchscript import is_torchscript, read_torchscript
from zeroflaw.types import ZeroflawError

CONFIG = CLIPConfig(
    image=28,
    patch=14,
    width=64,
    layers=3,
    heads=1,
    text_width=128,
    text_layers=2,
    text_heads=2,
    context=9,
    vocabulary=50,
    embedding=24,
    vv_layers=2,
)
Entries = dict[str, Tensor]


def towers(seed: int = 0) -> tuple[CLIPVisual, CLIPText]:
    torch.manual_seed(seed)
    visual, text = CLIPVisual(CONFIG).eval(), CLIPText(CONFIG).eval()
    for tower in (visual, text):
        for parameter in tower.parameters():  # as OpenAI's: trained in half precision
            parameter.data = (parameter + 0.1 * torch.randn_like(parameter)).half().float()
    return visual, text


def original(front: str = "", text_front: str = "") -> Entries:
    visual, text = towers()
    entries = {f"{front}visual.{name}": tensor for name, tensor in visual.state_dict().items()}
    entries |= {f"{text_front}{name}": t for name, t in text.tower.state_dict().items()}
    entries[f"{front}logit_scale"] = torch.tensor(4.6)
    return {name: tensor.clone() for name, tensor in entries.items()}


def hugging_face() -> Entries:
    """The same weights as Hugging Face names and cuts them."""
    visual, text = towers()
    out = {"logit_scale": torch.tensor(4.6)}
    for front, state in (
        ("vision_model.", visual.state_dict()),
        ("text_model.", text.tower.state_dict()),
    ):
        places = state["positional_embedding"]
        out[f"{front}embeddings.position_embedding.weight"] = places
        out[f"{front}embeddings.position_ids"] = torch.arange(len(places))[None]
        for name, tensor in state.items():
            if name.startswith("transformer.resblocks."):
                _, _, number, rest = name.split(".", 3)
                out |= block_entries(f"{front}encoder.layers.{number}.", rest, tensor)
    state = visual.state_dict()
    out["vision_model.embeddings.class_embedding"] = state["class_embedding"]
    out["vision_model.embeddings.patch_embedding.weight"] = state["conv1.weight"]
    out["visual_projection.weight"] = state["proj"].T
    for kind in ("weight", "bias"):
        out[f"vision_model.pre_layrnorm.{kind}"] = state[f"ln_pre.{kind}"]
        out[f"vision_model.post_layernorm.{kind}"] = state[f"ln_post.{kind}"]
        final = text.tower.state_dict()[f"ln_final.{kind}"]
        out[f"text_model.final_layer_norm.{kind}"] = final
    out["text_model.embeddings.token_embedding.weight"] = text.tower.token_embedding.weight.data
    out["text_projection.weight"] = text.tower.text_projection.data.T
    return {name: tensor.clone().contiguous() for name, tensor in out.items()}


def block_entries(front: str, name: str, tensor: Tensor) -> Entries:
    if "in_proj" in name:
        kind = name.rpartition("_")[2]
        parts = zip("qkv", tensor.chunk(3), strict=True)
        return {f"{front}self_attn.{part}_proj.{kind}": rows for part, rows in parts}
    for ours, theirs in (
        ("attn.out_proj", "self_attn.out_proj"),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
    ):
        name = name.replace(ours, theirs)
    return {front + name: tensor}


class Part(nn.Module):
    """A module with the given entries, nested by the dots of their names."""

    def __init__(self, entries: Entries) -> None:
        super().__init__()
        for name in dict.fromkeys(key.split(".")[0] for key in entries):
            if name in entries:
                self.register_parameter(name, nn.Parameter(entries[name], requires_grad=False))
            else:
                below = {
                    k.partition(".")[2]: t for k, t in entries.items() if k.startswith(name + ".")
                }
                self.add_module(name, Part(below))

    def forward(self, x: Tensor) -> Tensor:
        return x


def torchscript(path: Path) -> None:
    half = {name: tensor.half() for name, tensor in original().items()}
    with warnings.catch_warnings():  # deprecated, but what OpenAI's files are made with
        warnings.simplefilter("ignore")
        trace: Callable[..., Any] = torch.jit.trace
        trace(Part(half), torch.zeros(1)).save(str(path))


LAYOUTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "original": ("clip.pt", lambda path: torch.save(original(), path)),
    "original safetensors": ("clip.safetensors", lambda path: save_file(original(), path)),
    "data-parallel": ("clip.pt", lambda path: torch.save(original("module.", "module."), path)),
    "custom text": ("clip.bin", lambda path: torch.save(original("", "text."), path)),
    "hugging face": ("model.safetensors", lambda path: save_file(hugging_face(), path)),
    "hugging face torch": ("pytorch_model.bin", lambda path: torch.save(hugging_face(), path)),
    "torchscript": ("ViT.pt", torchscript),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_towers(tmp_path: Path, layout: str) -> None:
    name, write = LAYOUTS[layout]
    write(tmp_path / name)
    visual, text = load_clip(tmp_path / name)
    assert visual.config == text.config == CONFIG
    assert visual.precision == "auto"
    for loaded, made in zip((visual, text), towers(), strict=True):
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())
        state = loaded.state_dict()
        assert {n: t.dtype for n, t in state.items()} == dict.fromkeys(state, torch.float32)
        torch.testing.assert_close(state, dict(made.state_dict()), rtol=0, atol=0)


def test_stored_towers_come_back_with_their_sizes(tmp_path: Path) -> None:
    config = replace(CLIPConfig.small(), vocabulary=20, quick_gelu=False)
    torch.manual_seed(0)
    visual, text = CLIPVisual(config), CLIPText(config)
    save_clip(tmp_path / "own.safetensors", visual, text)
    loaded, read = load_clip(tmp_path / "own.safetensors")
    assert loaded.config == config
    torch.testing.assert_close(dict(loaded.state_dict()), dict(visual.state_dict()))
    torch.testing.assert_close(dict(read.state_dict()), dict(text.state_dict()))
    both = load_towers(tmp_path / "own.safetensors")
    assert isinstance(both["visual"], CLIPVisual)


def test_the_number_of_value_path_blocks_can_be_chosen(tmp_path: Path) -> None:
    torch.save(original(), tmp_path / "clip.pt")
    save_clip(tmp_path / "own.safetensors", *towers())
    for name in ("clip.pt", "own.safetensors"):
        assert load_clip(tmp_path / name, vv_layers=1)[0].config == replace(CONFIG, vv_layers=1)
        with pytest.raises(ZeroflawError, match="vv_layers is 4, expected 0 to 3"):
            load_clip(tmp_path / name, vv_layers=4)


def test_sizes_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for number, stored in enumerate(('{"width": 7}', '{"colour": 1}', "[", "[1]")):
        path = tmp_path / f"{number}.safetensors"
        save_file(original(), path, metadata={"clip": stored})
        with pytest.raises(ZeroflawError, match=f"{number}.safetensors: its sizes"):
            load_clip(path)


def trained_in_float32() -> Entries:
    return {name: tensor + 1e-7 for name, tensor in original().items()}


@pytest.mark.parametrize(
    ("name", "content", "quick"),
    [
        ("config.json", {"vision_config": {"hidden_act": "gelu"}}, False),
        ("config.json", {"vision_config": {"hidden_act": "quick_gelu"}}, True),
        ("open_clip_config.json", {"model_cfg": {"embed_dim": 24}}, False),
        ("open_clip_config.json", {"model_cfg": {"quick_gelu": True}}, True),
    ],
)
def test_the_activation_is_the_publisher_s(
    tmp_path: Path, name: str, content: object, quick: bool
) -> None:
    torch.save(trained_in_float32(), tmp_path / "clip.pt")
    (tmp_path / name).write_text(json.dumps(content))
    assert load_clip(tmp_path / "clip.pt")[0].config.quick_gelu is quick


def test_an_unknown_activation_is_asked_for_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "clip.pt"
    torch.save(trained_in_float32(), path)
    with pytest.raises(ZeroflawError, match=r"clip.pt: nothing tells the activation.*config\.json"):
        load_clip(path)
    assert load_clip(path, quick_gelu=False)[1].tower.config.activation == "gelu"
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ZeroflawError, match=r"config\.json: cannot be read"):
        load_clip(path)


def test_what_is_missing_is_named_as_the_file_names_it(tmp_path: Path) -> None:
    cases = (
        (original(), "visual.transformer.resblocks.1.ln_2.bias"),
        (original(), "transformer.resblocks.0.attn.in_proj_bias"),
        (original(), "text_projection"),
        (hugging_face(), "vision_model.encoder.layers.2.self_attn.k_proj.weight"),
        (hugging_face(), "text_projection.weight"),
    )
    for entries, name in cases:
        del entries[name]
        torch.save(entries, tmp_path / "cut.pt")
        with pytest.raises(ZeroflawError, match=rf"cut\.pt: .*missing {name}"):
            load_clip(tmp_path / "cut.pt")


def test_a_file_that_is_no_clip_is_one_line(tmp_path: Path) -> None:
    visual, text = towers()
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    torch.save(text.tower.state_dict(), tmp_path / "text.pt")
    only = {f"visual.{name}": tensor for name, tensor in visual.state_dict().items()}
    torch.save(only, tmp_path / "visual.pt")
    torch.save({**original(), "visual.conv1.weight": torch.zeros(3)}, tmp_path / "flat.pt")
    for name, message in (
        ("other.pt", "no visual tower"),
        ("text.pt", "no visual tower"),
        ("visual.pt", "no text tower"),
        ("flat.pt", "visual.conv1.weight has shape"),
        ("none.pt", "no such file"),
    ):
        with pytest.raises(ZeroflawError, match=message) as caught:
            load_clip(tmp_path / name)
        assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('ran').touch()",)


def test_an_archive_s_code_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/constants.pkl", b"")
        archive.writestr("evil/data.pkl", pickle.dumps(Evil()))
    assert is_torchscript(path)
    with pytest.raises(ZeroflawError, match=r"evil\.pt: .*it calls builtins\.eval"):
        load_clip(path)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    torchscript(tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    assert read_torchscript(tmp_path / "whole.pt")["visual.proj"].shape == (64, 24)
    first = next(name for name in records if name.endswith("/data/0"))
    for content in (None, records[first][:-2], records[first] + b"00"):
        changed = {**records, first: content}
        with zipfile.ZipFile(tmp_path / "cut.pt", "w") as archive:
            for name, held in changed.items():
                if held is not None:
                    archive.writestr(name, held)
        with pytest.raises(ZeroflawError, match=r"cut\.pt: not a whole TorchScript archive"):
            load_clip(tmp_path / "cut.pt")


def test_a_compressed_record_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/constants.pkl", b"")
        archive.writestr("bomb/data.pkl", bytes(1 << 20))
    with pytest.raises(ZeroflawError, match=r"bomb\.pt: .*is compressed"):
        load_clip(tmp_path / "bomb.pt")


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    entries = original()
    entries["visual.proj"][3, 5] = float("nan")
    save_file(entries, path)
    with pytest.raises(ZeroflawError, match=r"visual\.proj holds NaN or infinity; download"):
        load_clip(path, True)
    entries["visual.proj"] = torch.ones(entries["visual.proj"].shape, dtype=torch.complex64)
    save_file(entries, path)
    with pytest.raises(ZeroflawError, match=r"visual\.proj has type torch\.complex64"):
        load_clip(path, True)


@pytest.mark.parametrize(
    "stored",
    ['{"image": 112.5}', '{"vv_layers": true}', '{"quick_gelu": 1}', "[1]", "[" * 100_000, "{"],
)
def test_stored_sizes_that_cannot_be_are_one_line(tmp_path: Path, stored: str) -> None:
    path = tmp_path / "clip.safetensors"
    save_file(original(), path, {"clip": stored})
    with pytest.raises(ZeroflawError, match="its sizes cannot be read"):
        load_clip(path)


def test_a_tensor_larger_than_what_is_stored_of_it_is_refused(tmp_path: Path) -> None:
    whole, bomb = tmp_path / "whole.pt", tmp_path / "bomb.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace: Callable[..., Any] = torch.jit.trace
        trace(OneTensor(), torch.zeros(1)).save(str(whole))
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(bomb, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("/data.pkl"):  # 7 × 11, one after the other, as millions of the first
                shape, steps = b"(K\x07K\x0bt", b"(K\x0bK\x01t"
                assert shape in content
                assert steps in content
                content = content.replace(shape, b"(J\0\0\0\x01J\0\0\0\x01t")
                content = content.replace(steps, b"(K\0K\0t")
            changed.writestr(name, content)
    assert read_torchscript(whole)["weight"].shape == (7, 11)
    with pytest.raises(ZeroflawError, match="has 77 values"):
        read_torchscript(bomb)


class OneTensor(nn.Module):
    """A program with one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7, 11))

    def forward(self, value: Tensor) -> Tensor:
        return value + self.weight.sum()


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": [1]}, 4)])
def test_a_file_that_is_none_of_torch_is_told_without_torch_s_advice(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "clip.pt"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ZeroflawError, match=r"not a torch file of tensors only \(.+\)|holds"):
            load_clip(path)
