"""Point encoder, text tower and tokeniser: what they compute and which files they accept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders import entries as entries_module
from zeroflaw.encoders.pointbert import (
    Block,
    PatchEncoder,
    PointBERT,
    PointBERTConfig,
    group_patches,
    load_pointbert,
)
from zeroflaw.encoders.text import TextConfig, TextTower, load_text_tower
from zeroflaw.encoders.tokenizer import tokenize
from zeroflaw.geometry.sample import farthest_point_sample_batch
from zeroflaw.methods.prompts import PROMPT_TOKENS, prompt_tokens
from zeroflaw.types import ZeroflawError

SMALL = PointBERTConfig(
    width=24, depth=3, heads=2, embedding=16, position_width=8, layers=(1, 3), projection=12
)
TEXT = TextConfig(width=128, depth=2, heads=2, context_length=9, vocabulary=50, projection=12)


def small_encoder(seed: int = 0) -> PointBERT:
    torch.manual_seed(seed)
    return PointBERT(SMALL).eval()


def small_tower(seed: int = 0, **changes: Any) -> TextTower:
    torch.manual_seed(seed)
    return TextTower(replace(TEXT, **changes)).eval()


def disturb(module: nn.Module) -> None:
    """Give batch norms statistics that matter."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.get_buffer("running_mean").uniform_(-1, 1)
            part.get_buffer("running_var").uniform_(0.5, 2)


def published(encoder: PointBERT, front: str = "module.") -> dict[str, Tensor]:
    """The encoder's entries as ULIP-2 names them."""
    return {
        front + (name if name == "pc_projection" else f"point_encoder.{name}"): tensor
        for name, tensor in encoder.state_dict().items()
    }


def test_the_patch_encoder_is_its_convolutions_applied_one_after_the_other() -> None:
    torch.manual_seed(0)
    encoder = PatchEncoder(6, 16).eval()
    disturb(encoder)
    patches = torch.randn(2, 70, 5, 6)
    with torch.no_grad():
        rows = encoder.first_conv(patches.flatten(0, 1).transpose(1, 2))
        whole = rows.amax(dim=2, keepdim=True).expand_as(rows)
        rows = encoder.second_conv(torch.cat([whole, rows], dim=1))
        torch.testing.assert_close(encoder(patches), rows.amax(dim=2).view(2, 70, 16))


def test_the_patch_encoder_trains_on_the_statistics_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    encoder = PatchEncoder(6, 16).train()
    patches = torch.randn(2, 70, 5, 6)
    rows = encoder.first_conv(patches.flatten(0, 1).transpose(1, 2))
    whole = rows.amax(dim=2, keepdim=True).expand_as(rows)
    rows = encoder.second_conv(torch.cat([whole, rows], dim=1))
    torch.testing.assert_close(encoder(patches), rows.amax(dim=2).view(2, 70, 16))


def test_a_block_without_bias_is_attention_and_a_bias_shifts_its_logits() -> None:
    torch.manual_seed(0)
    block, x = Block(8, 2).eval(), torch.randn(1, 5, 8)
    torch.testing.assert_close(block(x), block(x, torch.zeros(1, 2, 5, 5)))
    only_itself = torch.full((5, 5), -torch.inf).fill_diagonal_(0)
    alone = torch.cat([block(x[:, i : i + 1]) for i in range(5)], dim=1)
    torch.testing.assert_close(block(x, only_itself), alone)


def test_a_bias_that_learns_gives_the_same_attention() -> None:
    torch.manual_seed(0)
    block, x, bias = Block(8, 2).eval(), torch.randn(2, 5, 8), torch.randn(2, 2, 5, 5)
    learning = bias.clone().requires_grad_()
    torch.testing.assert_close(block(x, learning), block(x, bias))
    torch.autograd.backward(block(x, learning).sum())
    assert learning.grad is not None
    assert (learning.grad.abs() > 0).any()


def test_patches_are_the_nearest_points_of_points_far_apart() -> None:
    points = torch.rand(2, 200, 3)
    center, index = group_patches(points, 10, 8)
    torch.testing.assert_close(center[:, 0], points[:, 0])
    every = torch.cdist(center, points, compute_mode="donot_use_mm_for_euclid_dist")
    distance = every.sort(dim=2).values[:, :, :8]
    own = points[torch.arange(2)[:, None, None], index] - center[:, :, None]
    torch.testing.assert_close(own.norm(dim=-1).sort(dim=2).values, distance)


def test_points_in_sampling_order_bring_their_centres_first() -> None:
    points = torch.rand(1, 200, 3)
    points = points[:, farthest_point_sample_batch(points, 60)[0]]
    for known, found in zip(
        group_patches(points, 10, 8, sampled=True), group_patches(points, 10, 8), strict=True
    ):
        torch.testing.assert_close(known, found)


def test_the_encoder_returns_the_asked_layers_and_a_batch_changes_nothing() -> None:
    encoder, points = small_encoder(), torch.rand(2, 100, 3)
    center, index = group_patches(points, 12, 8)
    colored = functional.pad(points, (0, 3), value=0.5)
    both = encoder(colored, center, index)
    one = encoder(colored[1:], center[1:], index[1:])
    assert [tuple(layer.shape) for layer in both.layers] == [(2, 13, 24)] * 2
    assert both.embedding is not None
    assert both.embedding.shape == (2, 12)
    torch.testing.assert_close(both.embedding[1:], one.embedding, rtol=1e-4, atol=1e-5)


def test_without_a_projection_there_is_no_embedding() -> None:
    encoder = PointBERT(replace(SMALL, projection=None, channels=3))
    points = torch.rand(1, 50, 3)
    assert encoder(points, *group_patches(points, 4, 8)).embedding is None


@pytest.mark.parametrize("front", ["", "module."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_published_layout_loads(tmp_path: Path, front: str, suffix: str) -> None:
    encoder = small_encoder()
    entries = published(encoder, front)
    entries[front + "logit_scale"] = torch.tensor(2.6)
    entries[front + "open_clip_model.visual.proj"] = torch.zeros(3)
    path = tmp_path / f"ulip2{suffix}"
    if suffix == ".pt":
        arguments = argparse.Namespace(lr=1e-3, model="ULIP2")
        beside = {"epoch": 3, "best_acc1": np.float64(0.5), "args": arguments}
        torch.save({"state_dict": entries, **beside}, path)
    else:
        save_file({name: tensor.contiguous() for name, tensor in entries.items()}, path)
    loaded = load_pointbert(path, SMALL)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for name, tensor in encoder.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor)


def test_every_entry_that_does_not_fit_is_named(tmp_path: Path) -> None:
    entries = published(small_encoder(), "")
    del entries["point_encoder.norm.weight"], entries["pc_projection"]
    entries["point_encoder.extra"] = torch.zeros(1)
    entries["point_encoder.cls_pos"] = torch.zeros(1, 1, 7)
    torch.save({"state_dict": entries}, tmp_path / "broken.pt")
    with pytest.raises(ZeroflawError) as caught:
        load_pointbert(tmp_path / "broken.pt", SMALL)
    message = str(caught.value)
    assert "\n" not in message
    assert "broken.pt" in message
    assert "missing pc_projection, point_encoder.norm.weight;" in message
    assert "unexpected point_encoder.extra;" in message
    assert "point_encoder.cls_pos has shape (1, 1, 7), expected (1, 1, 24)" in message


class Payload:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('code ran')",))


def test_a_file_that_holds_code_is_refused_and_none_of_it_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "args": Payload()}, tmp_path / "code.pt")
    only = r"code\.pt: not a torch file of tensors only \(it calls .*exec\)"
    with pytest.raises(ZeroflawError, match=only):
        load_pointbert(tmp_path / "code.pt", SMALL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds list"),
        ({"state_dict": [1]}, "holds list, expected named entries"),
        ({1: torch.zeros(1)}, "unexpected 1"),
        ({"state_dict": {"point_encoder.norm.bias": 3}}, "missing .*point_encoder.norm.bias"),
    ],
)
def test_a_file_of_anything_else_is_one_line(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(ZeroflawError, match=message):
        load_pointbert(tmp_path / "odd.pt", SMALL)


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_a_cut_file_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 not much")
    with pytest.raises(ZeroflawError, match=name):
        load_pointbert(tmp_path / name, SMALL)
    with pytest.raises(ZeroflawError, match="no such file"):
        load_pointbert(tmp_path / f"no-{name}", SMALL)


def test_the_text_tower_is_causal_and_reads_the_end_token() -> None:
    tower = small_tower()
    tokens = torch.tensor([[3, 5, 7, 49, 0, 0], [3, 8, 49, 0, 0, 0]])
    whole = tower(tower.embed(tokens), torch.tensor([3, 2]))
    torch.testing.assert_close(tower.encode(tokens), whole)
    tokens[:, 4:] = 11
    torch.testing.assert_close(tower.encode(tokens), whole)
    tokens[0, 2] = 6
    assert not torch.allclose(tower.encode(tokens)[0], whole[0])


def test_the_text_tower_equals_torch_s_own_transformer() -> None:
    tower, tokens = small_tower(), torch.tensor([[3, 5, 7, 49]])
    x = tower.embed(tokens) + tower.positional_embedding[:4]
    mask = torch.full((4, 4), -torch.inf).triu(1)
    for n in range(TEXT.depth):
        layer = nn.TransformerEncoderLayer(
            TEXT.width, TEXT.heads, 4 * TEXT.width, 0.0, "gelu", batch_first=True, norm_first=True
        ).eval()
        prefix = f"transformer.resblocks.{n}."
        own = {k[len(prefix) :]: v for k, v in tower.state_dict().items() if k.startswith(prefix)}
        renamed = {"attn": "self_attn", "ln_1": "norm1", "ln_2": "norm2"}
        renamed |= {"mlp.c_fc": "linear1", "mlp.c_proj": "linear2"}
        for ours, theirs in renamed.items():
            own = {k.replace(ours + ".", theirs + ".", 1): v for k, v in own.items()}
        layer.load_state_dict(own)
        x = layer(x, src_mask=mask)
    expected = tower.ln_final(x[:, 3]) @ tower.text_projection
    torch.testing.assert_close(tower.encode(tokens), expected, rtol=1e-4, atol=1e-5)


def test_the_default_sizes_are_those_of_openclip_s_bigg() -> None:
    with torch.device("meta"):
        tower = TextTower()
    assert sum(p.numel() for p in tower.parameters()) == 694_659_840  # 694.66 M, as published


def test_the_activations_differ_and_an_unknown_one_is_refused() -> None:
    tokens = torch.tensor([[3, 5, 49]])
    plain, quick = small_tower(), small_tower(activation="quick_gelu")
    assert not torch.equal(plain.encode(tokens), quick.encode(tokens))
    with pytest.raises(ZeroflawError, match="quick_gelu"):
        small_tower(activation="relu")


def test_a_prompt_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ZeroflawError, match="10 tokens"):
        small_tower()(torch.zeros(1, 10, TEXT.width), torch.tensor([9]))


@pytest.mark.parametrize("front", ["", "module.", "text.", "module.open_clip_model."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_clip_checkpoint_gives_its_text_tower(tmp_path: Path, front: str, suffix: str) -> None:
    tower, tokens = small_tower(), torch.tensor([[3, 5, 49]])
    entries = {front + name: tensor.clone() for name, tensor in tower.state_dict().items()}
    entries["visual.conv1.weight"] = torch.zeros(4)
    entries["logit_scale"] = torch.tensor(4.6)
    path = tmp_path / f"clip{suffix}"
    if suffix == ".pt":
        torch.save(entries, path)
    else:
        save_file(entries, path)
    loaded = load_text_tower(path)
    assert loaded.config == TEXT
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    torch.testing.assert_close(loaded.encode(tokens), tower.encode(tokens))


def test_of_a_safetensors_file_the_text_tower_alone_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = small_tower().state_dict()
    save_file({**tower, "visual.transformer.weight": torch.zeros(4)}, tmp_path / "clip.safetensors")
    read: list[str] = []

    @contextmanager
    def watched(*given: Any, **options: Any) -> Iterator[SimpleNamespace]:
        with safe_open(*given, **options) as file:

            def get(name: str) -> Any:
                read.append(name)
                return file.get_tensor(name)

            yield SimpleNamespace(keys=file.keys, get_tensor=get)

    monkeypatch.setattr(entries_module, "safe_open", watched)
    load_text_tower(tmp_path / "clip.safetensors")
    assert sorted(read) == sorted(tower)


def test_a_checkpoint_without_a_whole_text_tower_is_refused(tmp_path: Path) -> None:
    entries = dict(small_tower().state_dict())
    del entries["transformer.resblocks.1.attn.in_proj_bias"]
    torch.save(entries, tmp_path / "half.pt")
    with pytest.raises(
        ZeroflawError, match=r"missing transformer\.resblocks\.1\.attn\.in_proj_bias"
    ):
        load_text_tower(tmp_path / "half.pt")
    torch.save({**entries, "text_projection": torch.zeros(3)}, tmp_path / "flat.pt")
    with pytest.raises(ZeroflawError, match=r"text_projection has shape \(3,\)"):
        load_text_tower(tmp_path / "flat.pt")
    torch.save({"visual.proj": torch.zeros(2)}, tmp_path / "image.pt")
    with pytest.raises(ZeroflawError, match="no text tower"):
        load_text_tower(tmp_path / "image.pt")


def test_a_missing_tokeniser_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "instant_clip_tokenizer", None)
    with pytest.raises(ZeroflawError, match=r"zeroflaw\[text\]"):
        tokenize(["a new prompt"])
    assert prompt_tokens(("normal object.", "defective object."))[1].tolist()[-1] == 49407


def test_the_tokeniser_frames_texts_and_agrees_with_the_stored_prompts() -> None:
    pytest.importorskip("instant_clip_tokenizer")
    texts = tuple(PROMPT_TOKENS)
    stored = prompt_tokens(texts)
    torch.testing.assert_close(tokenize(texts)[:, : stored.shape[1]], stored)
    assert tokenize(["Normal OBJECT."]).tolist() == tokenize(["normal object."]).tolist()
    with pytest.raises(ZeroflawError, match="does not fit into 5"):
        tokenize(["one two three four five"], context_length=5)
