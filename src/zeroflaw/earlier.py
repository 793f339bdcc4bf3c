"""Training of the compact detector that goes on from one that was trained before."""

from __future__ import annotations

from pathlib import Path

import torch

from zeroflaw import checkpoint
from zeroflaw.detector import find_weights
from zeroflaw.methods.compact import Compact
from zeroflaw.types import ZeroflawError

NEW = ("away_head.", "detail.", "edge_shift", "kind_head.", "text", "tower.")
"""How entries begin that an earlier detector may lack, or have in another shape."""
STEPS = 400  # of the text tower towards the embeddings that are stored


def load_earlier(given: str | Path) -> tuple[Compact, str]:
    """Return a compact detector and the sha256 of its weights.

    given: the name of a shipped detector or a checkpoint's path. Raises ZeroflawError for another
    method's, and as `checkpoint.load`.
    """
    found, card = checkpoint.load(find_weights(given))
    if not isinstance(found, Compact):
        raise ZeroflawError(
            f"{given}: is a detector of {found.name}; the compact detector goes on from one of "
            "its own, such as the shipped one, compact"
        )
    return found, str(card["sha256"])


def go_on_from(method: Compact, earlier: Compact) -> None:
    """Take over what an earlier detector learned: its entries, and its text.

    Its shift of edges stays behind: `ship` chooses another. The text tower is not among a
    detector's entries, so it is fitted to the stored embeddings. Raises ZeroflawError for a
    detector of other sizes.
    """
    own, found = method.state_dict(), earlier.state_dict()
    taken = {
        name: entry
        for name, entry in found.items()
        if name in own and entry.shape == own[name].shape and name != "edge_shift"
    }
    unlike = [name for name in own if name not in taken and not name.startswith(NEW)]
    if unlike:
        raise ZeroflawError(
            f"the earlier detector has other sizes: {len(unlike)} of {len(own)} entries, such as "
            f"{unlike[0]}, do not fit; train with its settings, or begin anew"
        )
    method.load_state_dict(taken, strict=False)
    text, tower = earlier.get_buffer("text").float(), method.tower
    shared = min(len(text), len(method.get_buffer("text")))
    assert tower is not None
    optimizer = torch.optim.Adam(tower.parameters(), lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        off = ((tower()[:shared] - text[:shared]) ** 2).sum()
        off.backward()
        optimizer.step()
