"""Learned prompts for CLIP: what they are made of, and what they cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from zeroflaw.encoders.clip import CLIPConfig
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.tokenizer import tokenize
from zeroflaw.methods.clip_prompts import (
    ANOMALOUS_WORDS,
    FIXED,
    NORMAL_WORDS,
    STOP,
    PromptLearner,
    fixed_embedding,
)
from zeroflaw.types import ZeroflawError

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = CLIPConfig(
    image=28,
    width=16,
    layers=2,
    heads=2,
    text_width=16,
    text_layers=4,
    text_heads=2,
    embedding=8,
    vv_layers=1,
)
READ = {
    "photo": (
        ("a photo of a normal object.", "a photo of a flawless object."),
        ("a photo of a damaged object.", "a photo of a broken object."),
    ),
    "depth": (
        ("a depth map of a normal object.", "a depth map of a flawless object."),
        ("a depth map of a damaged object.", "a depth map of a broken object."),
    ),
}


@pytest.fixture
def text() -> CLIPText:
    torch.manual_seed(0)
    return CLIPText(SMALL)


def numbers(words: str) -> tuple[int, ...]:
    """The tokens between start and end."""
    row = tokenize([words])[0]
    return tuple(row[1 : int(row.argmax())].tolist())


def test_the_stored_numbers_are_those_of_the_words() -> None:
    assert numbers("object.") == (*NORMAL_WORDS, STOP)
    assert numbers("damaged object.") == (*ANOMALOUS_WORDS, STOP)
    for style, sides in READ.items():
        assert FIXED[style] == tuple(tuple(map(numbers, side)) for side in sides)


def test_embeddings_have_unit_length_and_differ_by_state(text: CLIPText) -> None:
    both = PromptLearner(text, deep_blocks=3)()
    assert both.shape == (2, 8)
    torch.testing.assert_close(both.norm(dim=1), torch.ones(2))
    assert not torch.allclose(both[0], both[1])


def test_without_deep_tokens_a_prompt_is_what_the_tower_says_of_its_tokens(text: CLIPText) -> None:
    learner = PromptLearner(text, length=3, deep_blocks=0)
    tokens = tokenize(["x x x object.", "x x x damaged object."])
    with torch.no_grad():
        embedded = text.embed_tokens(tokens)
        learner.context_normal.copy_(embedded[0, 1:4])
        learner.context_anomalous.copy_(embedded[1, 1:4])
        expected = text(embedded, tokens.argmax(dim=1))
        torch.testing.assert_close(learner(), expected)


def test_vectors_take_the_places_of_the_words(text: CLIPText) -> None:
    learner = PromptLearner(text, deep_blocks=2)
    words = [text.embed_tokens(torch.tensor([side])) for side in (NORMAL_WORDS, ANOMALOUS_WORDS)]
    same = learner(*(word.expand(3, -1, -1) for word in words))
    assert same.shape == (3, 2, 8)
    torch.testing.assert_close(same[1], learner())
    other = learner(words[0].flip(-1), words[1])
    assert not torch.allclose(other[0, 0], same[0, 0])
    torch.testing.assert_close(other[0, 1], same[0, 1])
    with pytest.raises(ValueError, match="2 vectors in the places of 1 words"):
        learner(words[1], words[0])


def test_only_contexts_and_deep_tokens_learn_and_are_stored(text: CLIPText) -> None:
    learner = PromptLearner(text, length=5, deep_blocks=3, deep_length=2)
    shapes = {name: tuple(weight.shape) for name, weight in learner.named_parameters()}
    assert shapes == {
        "context_normal": (5, 16),
        "context_anomalous": (5, 16),
        "deep.0": (2, 16),
        "deep.1": (2, 16),
        "deep.2": (2, 16),
    }
    assert set(learner.state_dict()) == set(shapes)
    torch.autograd.backward(learner().sum())
    for weight in learner.parameters():
        assert weight.grad is not None
        assert float(weight.grad.abs().max()) > 0
    assert all(weight.grad is None for weight in text.parameters())


def test_the_frozen_tower_moves_with_the_prompts(text: CLIPText) -> None:
    learner = PromptLearner(text, deep_blocks=1).double()
    assert learner().dtype == torch.float64


def test_more_than_the_tower_has_room_for_is_refused(text: CLIPText) -> None:
    with pytest.raises(ZeroflawError, match="4 blocks; behind its first one the text tower has 3"):
        PromptLearner(text, deep_blocks=4)
    short = CLIPText(replace(SMALL, context=16))
    with pytest.raises(ZeroflawError, match="prompts of 17 tokens; the text tower takes 16"):
        PromptLearner(short, length=12, deep_blocks=1)


@pytest.mark.parametrize("style", sorted(FIXED))
def test_fixed_texts_are_the_mean_of_their_side(style: str, text: CLIPText) -> None:
    both = fixed_embedding(text, style)
    torch.testing.assert_close(both.norm(dim=1), torch.ones(2))
    for side, phrases in enumerate(READ[style]):
        tokens = tokenize(list(phrases))
        with torch.no_grad():
            mean = text(text.embed_tokens(tokens), tokens.argmax(dim=1)).mean(dim=0)
        torch.testing.assert_close(both[side], mean / mean.norm())
