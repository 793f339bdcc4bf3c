"""BTP's heads as they are computed equal the heads as they are drawn, gradients included."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.pointbert import gather_patches
from zeroflaw.encoders.text import TextConfig, TextTower
from zeroflaw.methods.gfcm import GFCM, count_rows, patch_maximum
from zeroflaw.methods.joint_norm import JointBatchNorm
from zeroflaw.methods.mgfem import MGFEM
from zeroflaw.methods.prompts import END, START, HybridPrompts, prompt_tokens

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = settings(max_examples=15, deadline=None)
SEEDS = st.integers(0, 10_000)


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    module.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def same(ours: dict[str, Tensor], plain: dict[str, Tensor]) -> None:
    assert set(ours) == set(plain)
    largest = max(float(gradient.abs().max()) for gradient in plain.values())
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-3, atol=1e-5 * largest, msg=name)


def plain_gfcm(module: GFCM, points: Tensor, index: Tensor) -> Tensor:
    """Every patch's points through 1×1 convolutions of their own, as in the release."""
    hidden = gather_patches(points, index).permute(0, 3, 2, 1)
    for layer in (module.mlp1, module.mlp2, module.mlp3):
        norm = layer[1]
        assert isinstance(norm, nn.BatchNorm1d)
        hidden = functional.relu(
            functional.batch_norm(
                layer[0](hidden),
                norm.running_mean,
                norm.running_var,
                norm.weight,
                norm.bias,
                module.training,
            )
        )
    out: Tensor = module.fc(hidden.amax(dim=2).transpose(1, 2))
    return out


@pytest.mark.parametrize("training", [True, False])
def test_a_point_seen_once_gives_what_each_patch_seeing_it_gives(training: bool) -> None:
    torch.manual_seed(0)
    modules = [GFCM(3, (4, 8, 8), 5).train(training) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    points = torch.randn(3, 40, 3)
    index = torch.stack([torch.randperm(40)[:6] for _ in range(21)]).view(3, 7, 6)
    weight = torch.randn(3, 7, 5)
    found = [modules[0](points, index), plain_gfcm(modules[1], points, index)]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    same(*(gradients((f * weight).sum(), m) for f, m in zip(found, modules, strict=True)))
    for name, entry in modules[0].named_buffers():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(entry, modules[1].get_buffer(name), rtol=1e-4, atol=1e-5)


@given(SEEDS)
@FEW
def test_a_patch_takes_the_maximum_of_its_rows(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(-3, 4, (9, 4), generator=generator).float().requires_grad_()
    patches = torch.randint(0, 9, (130, 3), generator=generator)
    expected = rows.detach()[patches].amax(dim=1)
    assert torch.equal(patch_maximum(rows, patches), expected)
    assert torch.equal(patch_maximum(rows.detach(), patches), expected)
    torch.autograd.backward(patch_maximum(rows, patches).sum())
    assert rows.grad is not None
    assert float(rows.grad.sum()) == expected.numel()
    held = count_rows(patches, 9)
    assert held.tolist() == [float((patches == row).sum()) for row in range(9)]
    assert bool((rows.grad[held == 0] == 0).all())


@given(SEEDS)
@FEW
def test_a_row_counted_often_is_that_row_given_often(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(12, 3, generator=generator) * 5 + 40
    count = torch.randint(0, 4, (12,), generator=generator)
    count[0] = 2
    ours, plain = JointBatchNorm(3), nn.BatchNorm1d(3)
    found = ours(rows, count)
    expected = plain(rows.repeat_interleave(count, dim=0))
    torch.testing.assert_close(
        found.repeat_interleave(count, dim=0), expected, rtol=1e-3, atol=1e-3
    )
    for name, entry in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], entry, rtol=1e-3, atol=1e-3)


def plain_mgfem(module: MGFEM, layers: Tensor, geometric: Tensor, cls: Tensor) -> Tensor:
    """Every layer and every patch through everything, joined and embedded, as in the release."""
    share = module.layer_weights.softmax(0)
    mapped = [module.mapper_pointbert(layer) for layer in layers.unbind(1)]
    local = (share[:, None, None, None] * torch.stack(mapped)).sum(dim=0)
    row = module.mapper_global(cls)[:, None].expand_as(local)
    joint = torch.cat([local, module.mapper_fpfh(geometric), row], dim=-1)
    out: Tensor = module.fusion_proj(joint)
    return out


@pytest.mark.parametrize("patches", [3, 30], ids=["few patches", "many patches"])
def test_the_patch_logits_and_their_gradients_are_those_of_the_plain_embeddings(
    patches: int,
) -> None:
    torch.manual_seed(0)
    module = MGFEM(8, 5, 6, 7, 4)
    nn.init.normal_(module.layer_weights)
    layers, geometric = torch.randn(2, 4, patches, 8), torch.randn(2, patches, 5)
    cls, text, weight = torch.randn(2, 8), torch.randn(2, 6), torch.randn(2, patches)
    ours = module.similarity(layers, geometric, cls, text[1:] - text[:1])[..., 0]
    both = plain_mgfem(module, layers, geometric, cls) @ text.T
    plain = both[..., 1] - both[..., 0]
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    same(*(gradients((logit * weight).sum(), module) for logit in (ours, plain)))


def tower() -> TextTower:
    torch.manual_seed(1)
    return TextTower(TextConfig(width=16, depth=3, heads=2, projection=8))


def whole_prompts(
    prompts: HybridPrompts, towers: TextTower, rows: Sequence[Sequence[int]]
) -> Tensor:
    """Prompt by prompt, each padded to all the tokens that the tower takes."""
    found = []
    for row in rows:
        padded = torch.tensor([[*row, *[0] * (77 - len(row) - len(prompts.ctx))]])
        words = towers.embed(padded)
        embedded = torch.cat([words[:, :1], prompts.ctx[None], words[:, 1:]], dim=1)
        assert embedded.shape[1] == 77
        end = torch.tensor([len(row) - 1 + len(prompts.ctx)])
        found.append(towers(embedded, end)[0])
    return functional.normalize(torch.stack(found), dim=-1)


@pytest.mark.parametrize("length", [0, 1, 4])
def test_prompts_cut_behind_their_end_equal_prompts_of_all_77_tokens(length: int) -> None:
    texts = ("normal object.", "defective object.")
    small = tower()
    prompts = HybridPrompts(small, prompt_tokens(texts), length)
    rows = [[START, 5967, 14115, 269, END], [START, 4148, 9313, 14115, 269, END]]
    ours, whole = prompts(), whole_prompts(prompts, small, rows)
    torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-5)
    if length:
        weight = torch.randn(2, 8)
        same(*(gradients((text * weight).sum(), prompts) for text in (ours, whole)))
    assert not any(weight.requires_grad for weight in small.parameters())


def test_the_tower_sees_no_token_behind_the_longest_prompts_end() -> None:
    small, seen = tower(), []
    prompts = HybridPrompts(small, prompt_tokens(("normal .", "defective .")), 4)
    block = small.transformer["resblocks"]
    assert isinstance(block, nn.ModuleList)
    block[0].register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    prompts()
    assert seen == [(2, 9, 16)]  # both at once: start, four learned, "defective" in two, ".", end
