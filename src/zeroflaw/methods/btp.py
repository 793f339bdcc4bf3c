"""BTP, Back To Point: point patches held against texts of normal and defective surfaces.

Source: Li et al., "Back to Point: Exploring Point-Language Models for Zero-Shot 3D Anomaly
Detection" (CVPR 2026, arXiv 2603.21511).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zeroflaw.encoders.pointbert import PointBERT, PointBERTConfig, group_patches
from zeroflaw.encoders.text import TextTower
from zeroflaw.geometry.normalize import normalize
from zeroflaw.geometry.sample import farthest_point_sample
from zeroflaw.methods.base import Evidence, Method, Prepared, Scores, Target
from zeroflaw.methods.gfcm import GFCM
from zeroflaw.methods.losses import dice_loss, focal_loss, geometric_loss, object_loss
from zeroflaw.methods.mgfem import MGFEM
from zeroflaw.methods.patch_fpfh import Source, patch_fpfh
from zeroflaw.methods.prompts import HybridPrompts, prompt_tokens
from zeroflaw.methods.scoring import (
    Interpolation,
    Rule,
    combine_object,
    global_logit,
    point_mean,
    to_full_resolution,
)
from zeroflaw.types import Float64, Int64, Scan, ScanError, ZeroflawError


@dataclass(frozen=True)
class BTPConfig:
    """Sizes and rules of BTP; the defaults are the paper's but where the text says otherwise.

    points, groups, patch_size: sampled points, patches, points per patch. width to layers:
    ULIP-2's PointBERT. text_space: channels of the shared space. hidden, geometric, gfcm: of
    MGFEM and GFCM. prompts: the fixed words, normal first. prompt_length: learned vectors in front
    of them; 0 learns none, as the release in effect does. alpha, rule, top_share: of the object's
    score; "max" is the paper's table, "top" the authors' later rule. full_resolution: "nearest" in
    the release. descriptor: where FPFH is computed; "sampled" in the release.
    """

    points: int = 2048
    groups: int = 512
    patch_size: int = 32
    width: int = 384
    depth: int = 18
    heads: int = 6
    embedding: int = 256
    position_width: int = 128
    layers: tuple[int, ...] = (2, 5, 8, 11)
    text_space: int = 1280
    hidden: int = 512
    geometric: int = 33
    gfcm: tuple[int, int, int] = (64, 128, 256)
    prompts: tuple[str, str] = ("normal object.", "defective object.")
    prompt_length: int = 4
    alpha: float = 0.5
    rule: Rule = "top"
    top_share: float = 0.2
    full_resolution: Interpolation = "inverse_distance"
    descriptor: Source = "dense"
    object_weight: float = 0.5
    geometric_weight: float = 0.1

    def __post_init__(self) -> None:
        for name in ("layers", "gfcm", "prompts"):  # lists, where the config comes from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @staticmethod
    def release() -> BTPConfig:
        """Return what the authors' code does rather than what we found better."""
        return BTPConfig(
            prompts=("normal .", "defective ."),
            prompt_length=0,
            full_resolution="nearest",
            descriptor="sampled",
        )

    def encoder(self) -> PointBERTConfig:
        """Return the sizes of the point encoder."""
        return PointBERTConfig(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            embedding=self.embedding,
            position_width=self.position_width,
            layers=self.layers,
            projection=self.text_space,
        )


class BTP(Method):
    """Frozen point encoder, learned heads, two text embeddings.

    Moving and scaling a scan, and the order of its points, change nothing; turning it does, since
    PointBERT reads coordinates.
    """

    name = "btp"
    Config = BTPConfig
    config: BTPConfig
    invariances = ("order", "position", "scale")

    def __init__(self, config: BTPConfig | None = None) -> None:
        super().__init__()
        self.config = config = BTPConfig() if config is None else config
        self.encoder = PointBERT(config.encoder()).requires_grad_(False)
        self.patch_geo_encoder = GFCM(3, config.gfcm, config.geometric)
        self.patch_feature_embedder = MGFEM(
            config.width, config.geometric, config.text_space, config.hidden, len(config.layers)
        )
        text = functional.normalize(torch.randn(2, config.text_space), dim=-1)
        self.register_buffer("text", text)
        self.prompts: HybridPrompts | None = None

    def train(self, mode: bool = True) -> BTP:
        """Switch the heads; the frozen encoder stays in evaluation."""
        super().train(mode)
        self.encoder.eval()
        return self

    def learn_prompts(self, tower: TextTower) -> None:
        """Take the text embeddings from a text tower, and learn their context from now on.

        With `prompt_length=0` there is nothing to learn: the embeddings are stored at once.
        Raises ZeroflawError if the tower's space is not the encoder's.
        """
        space = tower.config.projection
        if space != self.config.text_space:
            raise ZeroflawError(
                f"the text tower embeds into {space} channels, the point encoder into "
                f"{self.config.text_space}; they must be trained together"
            )
        tokens = prompt_tokens(self.config.prompts)
        self.prompts = HybridPrompts(tower, tokens, self.config.prompt_length)
        self.finish()
        if self.config.prompt_length == 0:
            self.prompts = None

    @torch.no_grad()
    def prepare(self, scan: Scan) -> Prepared:
        """Sample, cut patches and encode them.

        Returns index (1, N), points (1, N, 3) in the unit sphere, patch_index (1, G, M), layers
        (1, L, G, width), cls (1, width) and embedding (1, text_space), the features of unit
        length. Raises ScanError for a scan of fewer points than a patch has.
        """
        config = self.config
        if len(scan) < config.patch_size:
            raise ScanError(
                scan.source,
                f"has {len(scan)} points, a patch needs {config.patch_size}",
                "scan more densely",
            )
        index = sample(scan.points, config.points)
        sphere, _ = normalize(scan.points[index])
        points = torch.from_numpy(sphere)[None].to(self.get_buffer("text").device)
        center, patch_index = group_patches(points, config.groups, config.patch_size, sampled=True)
        gray = torch.full_like(points, 0.5)
        seen = self.encoder(torch.cat([points, gray], dim=-1), center, patch_index)
        layers = torch.stack([functional.normalize(x[:, 1:], dim=-1) for x in seen.layers], 1)
        return Prepared(
            {
                "index": torch.from_numpy(index)[None].to(points.device),
                "points": points,
                "patch_index": patch_index,
                "layers": layers,
                "cls": functional.normalize(seen.cls, dim=-1),
                "embedding": functional.normalize(seen.embedding, dim=-1),
            }
        )

    def target(self, scan: Scan, prepared: Prepared) -> Target:
        """Labels of the sampled points, and the patches' FPFH, (1, G, 33)."""
        labels = super().target(scan, prepared)
        index = prepared["index"][0].cpu().numpy()
        patches = prepared["patch_index"][0].cpu().numpy()
        histograms = patch_fpfh(scan.points, index, patches, self.config.descriptor)
        return Target(labels.point, labels.object, {"fpfh": torch.from_numpy(histograms)[None]})

    def text_embeddings(self) -> Tensor:
        """Return (2, text_space), unit length, normal first: learned, or else the stored ones."""
        if self.prompts is None:
            return self.get_buffer("text")
        learned: Tensor = self.prompts()
        return learned

    def forward(self, batch: Prepared) -> Evidence:
        """Return logits; `tensors` holds patch (B, G), overall (B,) and geometric (B, G, 33)."""
        text = self.text_embeddings()
        points, patch_index = batch["points"], batch["patch_index"]
        geometric = self.patch_geo_encoder(points, patch_index)
        similarity = self.patch_feature_embedder.similarity(
            batch["layers"].unbind(1), geometric, batch["cls"], text
        )
        patch = similarity[..., 1] - similarity[..., 0]
        overall = global_logit(batch["embedding"], text)
        return Evidence(
            object_logit=combine_object(overall, patch, self.config.alpha, "max"),
            point_logit=point_mean(patch, patch_index, points),
            tensors={"patch": patch, "overall": overall, "geometric": geometric},
        )

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return focal, dice, object and geometric."""
        contrast = geometric_loss(evidence.tensors["geometric"], target.tensors["fpfh"])
        return {
            "focal": focal_loss(evidence.point_logit, target.point),
            "dice": dice_loss(torch.sigmoid(evidence.point_logit), target.point),
            "object": self.config.object_weight * object_loss(evidence.object_logit, target.object),
            "geometric": self.config.geometric_weight * contrast,
        }

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        """Average the patches' probabilities per point and carry them to the whole scan."""
        config = self.config
        patch = torch.sigmoid(evidence.tensors["patch"])
        overall = torch.sigmoid(evidence.tensors["overall"])
        point = point_mean(patch, prepared["patch_index"], prepared["points"])[0]
        known = scan.points[prepared["index"][0].cpu().numpy()]
        whole = combine_object(overall, patch, config.alpha, config.rule, config.top_share)
        return Scores(
            to_full_resolution(known, point, scan.points, config.full_resolution),
            whole[0].item(),
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the heads, and the prompts by name: they learn faster and do not decay."""
        heads = [*self.patch_geo_encoder.parameters(), *self.patch_feature_embedder.parameters()]
        groups: list[dict[str, Any]] = [{"params": heads}]
        if self.prompts is not None:
            groups.append({"name": "prompts", "params": [self.prompts.ctx]})
        return groups

    @torch.no_grad()
    def finish(self) -> None:
        """Store the text embeddings, so that inspection needs no text tower."""
        self.get_buffer("text").copy_(self.text_embeddings())

    def inspection_state(self) -> dict[str, Tensor]:
        """Return all entries but the prompts'."""
        state = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("prompts.")}


def sample(points: Float64, count: int) -> Int64:
    """Return `count` points' indices, in the order of farthest point sampling.

    points: (N, 3); their own order does not matter. The first is the farthest from the mean; a
    scan of fewer points than `count` repeats them. Ties go to the smaller coordinates.
    """
    order = np.lexsort(points.T[::-1])
    sphere, _ = normalize(points[order])
    start = int(np.einsum("ij,ij->i", sphere, sphere).argmax())
    chosen = farthest_point_sample(sphere, min(count, len(sphere)), start)
    return np.resize(order[chosen], count)
