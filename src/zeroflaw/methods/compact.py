"""The shipped detector: BTP's idea on dense, pose-free descriptors, trained on synthesised defects.

Patches and points are aligned with text embeddings of flawless and defective surfaces, as in BTP;
unlike it, the encoder is small, learned with the rest, and reads descriptors of the dense scan and
how unusual they are on that scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroflaw.encoders.compact import CompactEncoder
from zeroflaw.encoders.sizes import MOST_POINTS, check_blocks, check_sizes
from zeroflaw.geometry.neighbors import interpolate_with_nearest
from zeroflaw.methods.base import Evidence, Method, Prepared, Scores, Target
from zeroflaw.methods.compact_input import (
    CONTEXT_CHANNELS,
    DESCRIPTORS,
    LOCAL_CHANNELS,
    InputSettings,
    read_scan,
)
from zeroflaw.methods.compact_text import KIND_PROMPTS, WordTower
from zeroflaw.methods.losses import dice_loss
from zeroflaw.types import Scan, ZeroflawError

TOP_SHARES = (0.002, 0.01, 0.05, 0.2)
KINDS = tuple(KIND_PROMPTS)
FINE_CHANNELS = 4 * DESCRIPTORS
AWAY = 0.003  # of the part's diagonal: the unit of distances from the good surface


@dataclass(frozen=True)
class CompactConfig:
    """Sizes of the compact detector. dense, groups, size: see InputSettings.

    kinds: how many of KINDS it tells, the first ones. away: whether it tells distances from the
    good surface. kind_width: of the layer that tells kinds, 0 to tell them from the embedding that
    tells defects. edge: whether points near the edge of what was scanned get a shift of their own,
    which `ship` chooses; edge_scale: what their logits are multiplied by before. detail: whether a
    further network reads the descriptors of points with their outliers, and how near the edge they
    are; it needs `edge`. The first detectors told eight kinds, without such a layer, and had no
    distances, edges and details.
    """

    dense: int = 16384
    groups: int = 512
    size: int = 32
    width: int = 160
    depth: int = 6
    heads: int = 5
    hidden: int = 96
    embedding: int = 128
    layers: tuple[int, ...] = (2, 4, 6)
    text_width: int = 64
    positive_weight: float = 6.0
    kinds: int = len(KINDS)
    away: bool = True
    kind_width: int = 0
    edge: bool = False
    edge_scale: float = 1.0
    detail: bool = False

    def __post_init__(self) -> None:
        check_sizes(self, "width", "heads", "hidden", "embedding", "text_width")
        check_sizes(self, "dense", largest=MOST_POINTS)
        check_sizes(self, "groups", "size", largest=self.dense)
        check_blocks(self.width, self.heads, self.depth, self.layers)
        if not 0 < self.edge_scale <= 1:
            raise ValueError(f"edge_scale is {self.edge_scale}, expected above 0 and at most 1")
        if self.detail and not self.edge:
            raise ValueError("detail needs edge, which it reads")


class Compact(Method):
    """Scores every point by how much closer its embedding is to "defective" than to "normal"."""

    name = "compact"
    Config = CompactConfig
    config: CompactConfig

    def __init__(self, config: CompactConfig | None = None, trainable: bool = True) -> None:
        super().__init__()
        self.config = config = config or CompactConfig()
        self.kinds = KINDS[: config.kinds]
        width, embedding = config.width, config.embedding
        self.encoder = CompactEncoder(
            channels=2 * DESCRIPTORS + LOCAL_CHANNELS,
            context=CONTEXT_CHANNELS,
            width=width,
            depth=config.depth,
            heads=config.heads,
            hidden=config.hidden,
            layers=config.layers,
        )
        self.scan_embed = nn.Linear(2 * DESCRIPTORS, width)
        self.layer_weights = nn.Parameter(torch.zeros(len(config.layers)))
        self.patch_head = two_layers(2 * width, 2 * width, embedding)
        self.global_head = two_layers(2 * width, width, embedding)
        self.point_head = two_layers(2 * DESCRIPTORS + embedding, embedding, embedding)
        if config.away:
            self.away_head = nn.Linear(embedding, 1)
        if config.kind_width:
            self.kind_head = two_layers(2 * DESCRIPTORS + embedding, config.kind_width, embedding)
        if config.detail:
            self.detail = two_layers(FINE_CHANNELS + embedding + 1, embedding, embedding)
            for weight in self.detail[2].parameters():  # an earlier detector can go on with it
                nn.init.zeros_(weight)
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.object_head = nn.Linear(2 * (len(TOP_SHARES) + 1) + 1, 1)
        self.register_buffer("text", torch.zeros(2 + config.kinds, embedding))
        if config.edge:
            self.register_buffer("edge_shift", torch.zeros(()))
        self.register_buffer("typical", torch.zeros(DESCRIPTORS))
        self.register_buffer("spread", torch.ones(DESCRIPTORS))
        self.tower = WordTower(config.text_width, embedding) if trainable else None

    def prepare(self, scan: Scan) -> Prepared:
        """See compact_input.read_scan."""
        given = self.config
        settings = InputSettings(given.dense, given.groups, given.size, given.edge)
        return read_scan(scan.points, settings)

    def target(self, scan: Scan, prepared: Prepared) -> Target:
        """Labels of the described points, and the defective share of each patch."""
        target = super().target(scan, prepared)
        rows = torch.arange(len(target.point))[:, None, None]
        share = target.point[rows, prepared["patch_index"]].mean(dim=2)
        return Target(target.point, target.object, {**target.tensors, "patch": share})

    def text_embeddings(self) -> Tensor:
        """Returns (2 + kinds, embedding): learned while training, stored afterwards."""
        stored = self.get_buffer("text")
        return stored if self.tower is None else self.tower()[: len(stored)]

    def forward(self, batch: Prepared) -> Evidence:
        """See Evidence; `patch` (B, G), `kind` (B, N, kinds) and `away` (B, N) come with it.

        Where a batch holds `fair` (B, N) bool, only those points bear on the scan's score: the
        others were picked by their labels.
        """
        text = self.text_embeddings()
        axis = torch.exp(self.temperature) * (text[1] - text[0])
        location, deviation = batch["location"].float(), batch["deviation"].float()
        patch = self.relative_to_scan(batch["patch"].float(), location, deviation)
        point = self.relative_to_scan(batch["point"].float(), location, deviation)
        typical, spread = self.get_buffer("typical"), self.get_buffer("spread")
        level = torch.cat([(location - typical) / spread, torch.log(deviation / spread)], dim=-1)
        scan = self.scan_embed(level.clamp(-8, 8))
        layers, cls = self.encoder(patch, batch["context"].float(), batch["center"], scan)
        mix = torch.softmax(self.layer_weights, dim=0)
        tokens = torch.einsum("l,lbgw->bgw", mix, layers)
        cls_row = cls[:, None].expand_as(tokens)
        patch_embedding = self.patch_head(torch.cat([tokens, cls_row], dim=-1))
        spread = gather_weighted(patch_embedding, batch["near"], batch["weight"])
        point_embedding = self.point_head(torch.cat([point, spread], dim=-1)) + spread
        if self.config.detail:
            fine = self.finely(batch["point"].float(), location, deviation)
            edge = batch["edge"].float()[..., None]
            point_embedding = point_embedding + self.detail(torch.cat([fine, spread, edge], dim=-1))
        patch_logit, point_logit = patch_embedding @ axis, point_embedding @ axis
        overall = self.global_head(torch.cat([cls, tokens.amax(dim=1)], dim=-1)) @ axis
        fair = batch.tensors.get("fair")
        evidence = [overall[:, None], top_means(patch_logit), top_means(point_logit, fair)]
        object_logit = self.object_head(torch.cat(evidence, dim=-1))[:, 0]
        telling = point_embedding
        if self.config.kind_width:
            telling = self.kind_head(torch.cat([point, spread], dim=-1))
        kinds = functional.normalize(telling, dim=-1) @ text[2:].T / 0.1
        extra = {"patch": patch_logit, "kind": kinds}
        if self.config.away:
            extra["away"] = self.away_head(point_embedding)[..., 0]
        if self.config.edge:
            moved = self.config.edge_scale * point_logit + self.get_buffer("edge_shift")
            point_logit = torch.where(near_edge(batch["edge"]), moved, point_logit)
        return Evidence(object_logit, point_logit, extra)

    def relative_to_scan(self, values: Tensor, location: Tensor, deviation: Tensor) -> Tensor:
        """Scale descriptors, and append what they are relative to their scan.

        values: (B, ..., F + X) with F descriptors first; location, deviation: (B, F). Returns
        (B, ..., 2F + X).
        """
        shape = (len(values),) + (1,) * (values.ndim - 2) + (DESCRIPTORS,)
        own, rest = values[..., :DESCRIPTORS], values[..., DESCRIPTORS:]
        scaled = (own - self.get_buffer("typical")) / self.get_buffer("spread")
        relative = (own - location.view(shape)) / deviation.view(shape)
        return torch.cat([scaled.clamp(-8, 8), relative.clamp(-8, 8), rest], dim=-1)

    def finely(self, own: Tensor, location: Tensor, deviation: Tensor) -> Tensor:
        """Return descriptors as `relative_to_scan` does, and their outliers, which that cuts off.

        own: (B, R, F). Returns (B, R, FINE_CHANNELS).
        """
        scaled = (own - self.get_buffer("typical")) / self.get_buffer("spread")
        relative = (own - location[:, None]) / deviation[:, None]
        both = torch.cat([scaled, relative], dim=-1)
        return torch.cat([both.clamp(-8, 8), torch.asinh(4 * both)], dim=-1)

    def fit_scale(self, descriptors: Tensor) -> None:
        """Take the usual level and spread of each descriptor from (R, F) rows of training scans."""
        typical = descriptors.median(dim=0).values
        spread = 1.4826 * (descriptors - typical).abs().median(dim=0).values
        deviation = descriptors.clamp(-50, 50).std(dim=0)
        self.get_buffer("typical").copy_(typical)
        self.get_buffer("spread").copy_(torch.maximum(spread, 0.3 * deviation) + 1e-4)

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """point, dice, patch, object, and kind where the kinds of the defects are known."""
        weight = evidence.point_logit.new_tensor(self.config.positive_weight)
        point = functional.binary_cross_entropy_with_logits(
            evidence.point_logit, target.point, pos_weight=weight
        )
        patch = functional.binary_cross_entropy_with_logits(
            evidence.tensors["patch"], target.tensors["patch"], pos_weight=weight
        )
        overall = functional.binary_cross_entropy_with_logits(evidence.object_logit, target.object)
        terms = {
            "point": point,
            "dice": 0.2 * dice_loss(torch.sigmoid(evidence.point_logit), target.point),
            "patch": 0.5 * patch,
            "object": 0.7 * overall,
        }
        if "kind" in target.tensors:
            terms["kind"] = 0.5 * kind_loss(evidence.tensors["kind"], target.tensors["kind"])
        if self.config.away and "away" in target.tensors:
            terms["away"] = 0.3 * away_loss(
                evidence.tensors["away"], target.tensors["away"], target.point
            )
        if len(target.object) > 1:
            terms["twins"] = 0.5 * twin_loss(evidence.object_logit, target.object)
        return terms

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        """Point probabilities spread over all points of the scan by inverse distance.

        The kinds are those of the described points; the nearest one stands for each point.
        """
        known = prepared["mean"][0].cpu().numpy()
        values = torch.sigmoid(evidence.point_logit[0]).cpu().numpy()
        spread, nearest = interpolate_with_nearest(known, values, scan.points)
        return Scores(
            point=torch.from_numpy(spread),
            object=float(torch.sigmoid(evidence.object_logit[0])),
            kind=torch.softmax(evidence.tensors["kind"][0].float(), dim=-1).cpu(),
            row=torch.from_numpy(nearest),
            away=evidence.tensors["away"][0].float().cpu() if self.config.away else None,
        )

    def finish(self) -> None:
        """Store the text embeddings, so that inspection needs no text tower."""
        if self.tower is not None:
            with torch.no_grad():
                self.get_buffer("text").copy_(self.text_embeddings())

    def inspection_state(self) -> dict[str, Tensor]:
        """Everything but the text tower."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("tower.")}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weight decay on matrices only."""
        matrices = [p for p in self.parameters() if p.ndim >= 2]
        vectors = [p for p in self.parameters() if p.ndim < 2]
        return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]


def two_layers(channels: int, hidden: int, out: int) -> nn.Sequential:
    """Linear, GELU, Linear."""
    return nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, out))


def gather_weighted(values: Tensor, near: Tensor, weight: Tensor) -> Tensor:
    """Return (B, N, D), the weighted sum of rows `near` (B, N, 3) of values (B, G, D)."""
    rows = torch.arange(len(values), device=values.device)[:, None]
    total = values.new_zeros(near.shape[:2] + values.shape[2:])
    for rank in range(near.shape[2]):
        total = total + values[rows, near[..., rank]] * weight[..., rank : rank + 1]
    return total


def near_edge(edge: Tensor) -> Tensor:
    """Return which points are within `rim.NEAR` of the scan's boundary. edge: see `read_scan`."""
    return edge >= math.exp(-1)


def top_means(logits: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return (B, len(TOP_SHARES) + 1): the means of the highest shares, and of all.

    logits: (B, N); counted: (B, N) bool, those that count, at least one of each row; all by
    default.
    """
    if counted is None:
        ordered = logits.sort(dim=1, descending=True).values
        means = [ordered[:, : max(1, round(share * ordered.shape[1]))] for share in TOP_SHARES]
        return torch.stack([part.mean(dim=1) for part in [*means, ordered]], dim=1)
    logits = logits.float()
    lowest = logits.detach().min() - 1
    total = torch.where(counted, logits, lowest).sort(dim=1, descending=True).values.cumsum(dim=1)
    count = counted.sum(dim=1, keepdim=True)
    most = [(share * count).round().long().clamp_min(1) for share in TOP_SHARES]
    sizes = torch.cat([*most, count], dim=1)
    return total.gather(1, sizes - 1) / sizes


def away_loss(guess: Tensor, away: Tensor, point: Tensor) -> Tensor:
    """How far the guessed distances from the good surface are off, marked points counting more.

    guess, away, point: (B, N); away is signed, in the unit of AWAY, and compared on a scale that is
    linear near 0 and logarithmic beyond 1.
    """
    off = functional.smooth_l1_loss(guess, torch.asinh(away), reduction="none", beta=0.5)
    weight = 0.1 + point
    return (off * weight).sum() / weight.sum()


def twin_loss(logit: Tensor, defective: Tensor) -> Tensor:
    """How often good scans of the batch score above defective ones, smoothly. Both: (B,)."""
    gap = logit[:, None] - logit[None, :]
    pairs = defective[:, None] * (1 - defective[None, :])
    return (functional.softplus(-gap) * pairs).sum() / pairs.sum().clamp_min(1)


def kind_loss(logits: Tensor, kind: Tensor) -> Tensor:
    """Cross-entropy of the points' kinds, every scan with a defect counting the same.

    logits: (B, N, K); kind: (B, N), -1 where there is no defect. Zero without defects.
    """
    if kind.shape != logits.shape[:2]:
        raise ZeroflawError("kind labels do not match the batch: one number per point is needed")
    used = (kind >= 0).float()
    total = functional.cross_entropy(
        logits.flatten(0, 1), kind.clamp_min(0).flatten(), reduction="none"
    )
    mean = (total.view(kind.shape) * used).sum(dim=1) / used.sum(dim=1).clamp_min(1)
    return mean.sum() / (used.amax(dim=1)).sum().clamp_min(1)
