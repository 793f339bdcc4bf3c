"""CLIP's towers: what they compute, beside slow and obvious versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.clip import DEVIATION, MEAN, CLIPConfig, CLIPVisual, has_bfloat16, preprocess
from zeroflaw.encoders.clip_blocks import ResidualBlock
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.types import ZeroflawError

TINY = CLIPConfig(
    image=28,
    patch=7,
    width=32,
    layers=5,
    heads=4,
    text_width=16,
    text_layers=4,
    text_heads=2,
    context=12,
    vocabulary=50,
    embedding=24,
    vv_layers=3,
)


def visual(seed: int = 0, precision: str = "float32", **changes: Any) -> CLIPVisual:
    torch.manual_seed(seed)
    tower = CLIPVisual(replace(TINY, **changes), precision).eval()
    for block in tower.modules():  # biases and scales that matter
        if isinstance(block, ResidualBlock):
            nn.init.normal_(block.attn.in_proj_bias)
            nn.init.normal_(block.ln_1.weight)
    return tower


def text(seed: int = 0, **changes: Any) -> CLIPText:
    torch.manual_seed(seed)
    return CLIPText(replace(TINY, **changes)).eval()


def pictures(count: int = 2, side: int = 28) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, side, side, generator=generator)


def blocks_of(tower: nn.Module) -> list[ResidualBlock]:
    return [part for part in tower.modules() if isinstance(part, ResidualBlock)]


def slow_attention(block: ResidualBlock, x: Tensor, values_alone: bool) -> Tensor:
    """One head after the other, the weights written out."""
    width, heads = x.shape[-1], block.attn.heads
    each = width // heads
    joint = functional.linear(x, block.attn.in_proj_weight, block.attn.in_proj_bias)
    outputs = []
    for head in range(heads):
        query, key, value = (
            joint[..., part * width + head * each : part * width + (head + 1) * each]
            for part in range(3)
        )
        left, right = (value, value) if values_alone else (query, key)
        weight = torch.softmax(left @ right.transpose(1, 2) / each**0.5, dim=-1)
        outputs.append(weight @ value)
    out: Tensor = block.attn.out_proj(torch.cat(outputs, dim=-1))
    return out


def slow_feed_forward(block: ResidualBlock, x: Tensor) -> Tensor:
    hidden = block.mlp["c_fc"](block.ln_2(x))
    out: Tensor = block.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))
    return out


def slow_visual(tower: CLIPVisual, images: Tensor, dpam: bool) -> tuple[Tensor, list[Tensor]]:
    """The class feature and every block's tokens as unit features, all of both paths computed."""
    patches = images.unfold(2, 7, 7).unfold(3, 7, 7).permute(0, 2, 3, 1, 4, 5).flatten(3)
    tokens = patches.flatten(1, 2) @ tower.conv1.weight.flatten(1).T
    first = tower.class_embedding.expand(len(images), 1, -1)
    own = tower.ln_pre(torch.cat([first, tokens], dim=1) + tower.positional_embedding)
    side, kept = own, []
    start = TINY.layers - TINY.vv_layers
    for number, block in enumerate(blocks_of(tower)):
        normed = block.ln_1(own)
        apart = dpam and number >= start
        if apart:
            side = side + slow_attention(block, normed, values_alone=True)
        own = own + slow_attention(block, normed, values_alone=False)
        own = own + slow_feed_forward(block, own)
        side = side if apart else own
        kept.append(functional.normalize(tower.ln_post(side) @ tower.proj, dim=-1))
    return functional.normalize(tower.ln_post(own[:, 0]) @ tower.proj, dim=-1), kept


@pytest.mark.parametrize("dpam", [True, False])
@pytest.mark.parametrize("layers", [(), (5,), (1, 3, 5), (4, 2), (3, 3)])
def test_both_paths_are_what_a_slow_version_computes(layers: tuple[int, ...], dpam: bool) -> None:
    tower, images = visual(), pictures()
    with torch.no_grad():
        seen = tower(images, layers, dpam)
        image, tokens = slow_visual(tower, images, dpam)
    torch.testing.assert_close(seen.image, image)
    asked = layers or (5,)
    assert len(seen.patches) == len(asked)
    for layer, found, patches in zip(asked, seen.tokens, seen.patches, strict=True):
        torch.testing.assert_close(found, tokens[layer - 1])
        torch.testing.assert_close(patches, tokens[layer - 1][:, 1:])


def test_what_is_skipped_costs_nothing_in_the_last_block() -> None:
    tower = visual()
    sizes: list[tuple[int, ...]] = []
    for block in blocks_of(tower):
        block.mlp["c_fc"].register_forward_hook(lambda _m, _x, y: sizes.append(tuple(y.shape)))
    tower(pictures())
    assert sizes == [(2, 17, 128)] * 4 + [(2, 1, 128)]
    sizes.clear()
    tower(pictures(), dpam=False)
    assert sizes == [(2, 17, 128)] * 5


def test_a_tower_without_the_second_path_gives_its_own_patches() -> None:
    tower = visual()
    plain = CLIPVisual(replace(TINY, vv_layers=0)).eval()
    plain.load_state_dict(tower.state_dict())
    with torch.no_grad():
        expected = tower(pictures(), dpam=False)
        torch.testing.assert_close(plain(pictures()).tokens, expected.tokens)


def test_gradients_reach_every_weight_and_the_pictures() -> None:
    tower, images = visual().train(), pictures().requires_grad_()
    seen = tower(images)
    weight = torch.randn(seen.patches[0].shape, generator=torch.Generator().manual_seed(0))
    torch.autograd.backward((seen.patches[0] * weight).sum() + seen.image[:, 0].sum())
    assert images.grad is not None
    unreached = [name for name, p in tower.named_parameters() if p.grad is None]
    assert unreached == []


@pytest.mark.parametrize("quick", [True, False])
def test_learning_changes_no_feature(quick: bool) -> None:
    tower = visual(quick_gelu=quick)
    learning = tower(pictures())
    with torch.no_grad():
        still = tower(pictures())
    torch.testing.assert_close(learning.image, still.image)
    torch.testing.assert_close(learning.patches, still.patches)


def test_the_mlp_s_linear_layers_can_be_replaced() -> None:
    tower, images = visual(), pictures()
    before = tower(images).image
    for block in blocks_of(tower):
        for name, layer in block.mlp.items():
            assert type(layer) is nn.Linear
            block.mlp[name] = nn.Sequential(layer)
    torch.testing.assert_close(tower(images).image, before)


@pytest.mark.parametrize("side", [14, 35, 56])
def test_pictures_of_another_size_have_resized_positions(side: int) -> None:
    tower = visual()
    grid = side // 7
    places = tower.positional_embedding[1:].T.reshape(1, 32, 4, 4)
    expected = functional.interpolate(places, (grid, grid), mode="bilinear", align_corners=False)
    zero = torch.zeros(1, 3, side, side)
    with torch.no_grad():
        tower.ln_pre = nn.LayerNorm(32, elementwise_affine=False)
        tokens = tower.embed(zero)
        assert tower(zero).patches[0].shape == (1, grid * grid, 24)
    rows = functional.layer_norm(expected[0].flatten(1).T, (32,))
    torch.testing.assert_close(tokens[0, 1:], rows)


def test_pictures_that_do_not_fit_are_refused() -> None:
    tower = visual()
    with pytest.raises(ZeroflawError, match="multiple of 7"):
        tower(torch.zeros(1, 3, 30, 30))
    with pytest.raises(ZeroflawError, match="expected \\(B, 3, S, S\\)"):
        tower(torch.zeros(1, 1, 28, 28))
    with pytest.raises(ZeroflawError, match="numbers from 1 to 5"):
        tower(pictures(), (0,))


def test_preprocessing_normalises_as_clip_was_trained() -> None:
    grey = torch.rand(2, 8, 8)
    ready = preprocess(grey, 8)
    assert ready.shape == (2, 3, 8, 8)
    for channel in range(3):
        torch.testing.assert_close(ready[:, channel] * DEVIATION[channel] + MEAN[channel], grey)
    torch.testing.assert_close(preprocess(grey[:, None].expand(-1, 3, -1, -1), 8), ready)


def test_preprocessing_resizes_within_the_range() -> None:
    steps = torch.zeros(1, 3, 30, 20)
    steps[..., 10:] = 1
    back = preprocess(steps, 14) * torch.tensor(DEVIATION)[:, None, None]
    back = back + torch.tensor(MEAN)[:, None, None]
    assert back.shape == (1, 3, 14, 14)
    assert float(back.min()) >= -1e-6
    assert float(back.max()) <= 1 + 1e-6
    torch.testing.assert_close(
        preprocess(torch.full((1, 9, 9), 0.5), 5)[0, :, 0, 0] * 0, torch.zeros(3)
    )
    with pytest.raises(ZeroflawError, match="expected"):
        preprocess(torch.zeros(1, 2, 8, 8), 8)


@pytest.mark.parametrize("precision", ["bfloat16", "auto"])
def test_lower_precision_gives_nearly_the_same_features(precision: str) -> None:
    tower, images = visual(), pictures()
    with torch.no_grad():
        exact = tower(images)
        tower.precision = precision
        near = tower(images)
    for ours, theirs in ((near.image, exact.image), (near.patches[0], exact.patches[0])):
        assert ours.dtype == torch.float32
        assert float((ours * theirs).sum(dim=-1).min()) > 0.999
    changed = not torch.equal(near.image, exact.image)
    assert changed == (precision == "bfloat16" or has_bfloat16(torch.device("cpu")))


def test_what_learns_is_not_rounded_unless_asked() -> None:
    exact, tower = visual(), visual(precision="auto")
    torch.testing.assert_close(tower(pictures()).image, exact(pictures()).image, rtol=0, atol=0)
    with pytest.raises(ZeroflawError, match="float32, bfloat16"):
        CLIPVisual(TINY, precision="float8")


def test_the_default_sizes_are_those_of_openai_s_vit_l_at_336() -> None:
    with torch.device("meta"):
        seen, read = CLIPVisual(), CLIPText()
    assert sum(p.numel() for p in seen.parameters()) == 304_293_888
    assert sum(p.numel() for p in read.parameters()) == 123_650_304


def test_the_small_config_runs_and_impossible_sizes_are_refused() -> None:
    config = CLIPConfig.small()
    with torch.no_grad():
        seen = CLIPVisual(config)(torch.zeros(1, 3, config.image, config.image))
    assert seen.patches[0].shape == (1, config.grid**2, config.embedding)
    wrong: dict[str, Any] = {"heads": 3, "vv_layers": 6, "width": 0, "image": 5, "layers": 0}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=r"expected|cannot|smaller"):
            replace(TINY, **{name: value})


def slow_text(tower: CLIPText, embedded: Tensor, eot: Tensor, deep: list[Tensor]) -> Tensor:
    """Torch's own causal layers over all tokens, with the prompts written into their places."""
    x = embedded + tower.tower.positional_embedding
    mask = torch.full((x.shape[1],) * 2, -torch.inf).triu(1)
    for number, block in enumerate(blocks_of(tower)):
        if 0 < number <= len(deep):
            x = x.clone()
            x[:, 1 : 1 + deep[number - 1].shape[-2]] = deep[number - 1]
        normed = block.ln_1(x)
        layer = nn.MultiheadAttention(16, 2, batch_first=True)
        layer.load_state_dict(block.attn.state_dict())
        attended, _ = layer(normed, normed, normed, attn_mask=mask, need_weights=False)
        x = x + attended
        x = x + slow_feed_forward(block, x)
    last = tower.tower.ln_final(x)[torch.arange(len(x)), eot]
    return functional.normalize(last @ tower.tower.text_projection, dim=-1)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_deep_prompts_take_their_places_before_each_block(blocks: int) -> None:
    tower, tokens = text(), torch.randint(1, 50, (2, 12))
    eot = torch.tensor([7, 9])
    deep = [torch.randn(4, 16) for _ in range(blocks)]
    with torch.no_grad():
        embedded = tower.embed_tokens(tokens)
        expected = slow_text(tower, embedded, eot, deep)
        torch.testing.assert_close(tower(embedded, eot, deep), expected)
        own = [prompt.expand(2, -1, -1) for prompt in deep]
        torch.testing.assert_close(tower(embedded, eot, own), expected)


def test_every_deep_prompt_learns_and_too_many_are_refused() -> None:
    tower, eot = text(), torch.tensor([8])
    embedded = torch.randn(1, 12, 16, requires_grad=True)
    deep = [torch.randn(4, 16, requires_grad=True) for _ in range(3)]
    torch.autograd.backward(tower(embedded, eot, deep)[0, 0])
    assert all(bool((prompt.grad != 0).all()) for prompt in deep if prompt.grad is not None)
    assert all(prompt.grad is not None for prompt in deep)
    with pytest.raises(ZeroflawError, match="has 3 behind its first"):
        tower(embedded, eot, [*deep, deep[0]])
    with pytest.raises(ZeroflawError, match="do not fit into 3 tokens"):
        tower(embedded, torch.tensor([2]), deep)
