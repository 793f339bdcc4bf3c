"""CLIP's tokeniser, from the library that carries its vocabulary (extra `text`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zeroflaw.types import ZeroflawError


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """Return the token numbers of texts, (P, context_length) int64.

    Each row is start token, words, end token, zeros. Raises ZeroflawError if the library is not
    installed or a text is too long.
    """
    try:
        from instant_clip_tokenizer import Tokenizer
    except ImportError:
        raise ZeroflawError(
            "new prompts need CLIP's tokeniser, which is not installed; "
            "pip install 'zeroflaw[text]'"
        ) from None
    tokenizer = Tokenizer()
    rows = torch.zeros(len(texts), context_length, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        words = [int(token) for token in tokenizer.encode(text.lower())]
        numbers = [tokenizer.start_of_text(), *words, tokenizer.end_of_text()]
        if len(numbers) > context_length:
            raise ZeroflawError(
                f"a prompt of {len(numbers)} tokens does not fit into {context_length}: {text!r}; "
                "shorten it"
            )
        row[: len(numbers)] = torch.tensor(numbers)
    return rows
