"""BTP, Back To Point: point patches held against texts of normal and defective surfaces.

Source: Li et al., "Back to Point: Exploring Point-Language Models for Zero-Shot 3D Anomaly
Detection" (CVPR 2026, arXiv 2603.21511).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zeroflaw.encoders.pointbert import PointBERT, PointBERTConfig, group_patches
from zeroflaw.encoders.sizes import LARGEST, MOST_POINTS, check_sizes
from zeroflaw.encoders.text import TextTower
from zeroflaw.geometry.normalize import normalize
from zeroflaw.geometry.sample import farthest_point_sample
from zeroflaw.methods.base import Evidence, Method, Prepared, Scores, Target
from zeroflaw.methods.gfcm import GFCM
from zeroflaw.methods.losses import dice_loss, focal_loss, geometric_loss, object_loss
from zeroflaw.methods.mgfem import MGFEM, Part
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

Modules = Literal["both", "mgfem", "gfcm", "none"]
# What the patch embedding of MGFEM is made of.
PARTS: dict[Modules, tuple[Part, ...]] = {
    "both": ("layers", "geometric", "cls"),
    "mgfem": ("layers", "cls"),
    "gfcm": ("geometric",),
    "none": (),
}
HEADS = ("patch_geo_encoder", "patch_feature_embedder")
# Settings that neither patches nor frozen features depend on.
NOT_PREPARED = (
    *("hidden", "geometric", "gfcm", "modules", "prompts", "prompt_length"),
    *("alpha", "rule", "top_share", "full_resolution"),
    *("object_weight", "geometric_weight", "local_weight"),
)


@dataclass(frozen=True)
class BTPConfig:
    """Sizes and rules of BTP; the defaults are the paper's but where the text says otherwise.

    points, groups, patch_size: sampled points, patches, points per patch. width to layers:
    ULIP-2's PointBERT. text_space: channels of the shared space. hidden, geometric, gfcm: of
    MGFEM and GFCM. prompts: the fixed words, normal first. prompt_length: learned vectors in front
    of them; 0 learns none, as the release in effect does. alpha, rule, top_share: of the object's
    score; "max" is the paper's table, "top" the authors' later rule. full_resolution: "nearest" in
    the release. descriptor: where FPFH is computed; "sampled" in the release. modules: "mgfem"
    and "gfcm" leave the other one out, "none" both, so that the whole scan's embedding alone is
    held against the texts and all points get the scan's score. A loss of weight 0 is left out.
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
    local_weight: float = 1.0
    modules: Modules = "both"

    def __post_init__(self) -> None:
        for name in ("layers", "gfcm", "prompts"):  # lists, where the config comes from JSON
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.object_weight == 0 and (self.local_weight == 0 or self.modules == "none"):
            raise ValueError("neither the points nor the objects have a loss")
        self.encoder()  # which checks its own sizes
        check_sizes(self, "text_space", "hidden", "geometric")
        check_sizes(self, "points", largest=MOST_POINTS)
        check_sizes(self, "groups", "patch_size", largest=self.points)
        if min(self.gfcm) < 1 or max(self.gfcm) > LARGEST:
            raise ValueError(f"gfcm is {list(self.gfcm)}, expected numbers from 1 to {LARGEST}")
        if not 0 <= self.prompt_length <= 64:
            raise ValueError(f"prompt_length is {self.prompt_length}, expected 0 to 64")
        if not (0 <= self.alpha <= 1 and 0 < self.top_share <= 1):
            raise ValueError(f"alpha is {self.alpha} and top_share {self.top_share}, shares of 1")

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
    published = ("ulip2-pointbert", "clip-bigg")

    def __init__(self, config: BTPConfig | None = None) -> None:
        super().__init__()
        self.config = config = BTPConfig() if config is None else config
        self.encoder = PointBERT(config.encoder()).requires_grad_(False).eval()
        parts = PARTS[config.modules]
        if "geometric" in parts:
            self.patch_geo_encoder = GFCM(3, config.gfcm, config.geometric)
        if parts:
            self.patch_feature_embedder = MGFEM(
                config.width,
                config.geometric,
                config.text_space,
                config.hidden,
                len(config.layers),
                parts,
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
        whole = torch.from_numpy(index)[None].to(points.device)
        return Prepared({"index": whole, **self.encode(points).tensors})

    @torch.no_grad()
    def encode(self, points: Tensor) -> Prepared:
        """Cut patches from sampled points in the unit sphere, (B, N, 3), and encode them.

        Returns what `prepare` does, but for the index.
        """
        config = self.config
        center, patch_index = group_patches(points, config.groups, config.patch_size, sampled=True)
        gray = torch.full_like(points, 0.5)
        seen = self.encoder(torch.cat([points, gray], dim=-1), center, patch_index)
        layers = torch.stack([functional.normalize(x[:, 1:], dim=-1) for x in seen.layers], 1)
        return Prepared(
            {
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
        """Return logits; `tensors` holds patch (B, G), overall (B,) and geometric (B, G, 33).

        What the configuration's modules do not give is left out of `tensors`.
        """
        text = self.text_embeddings()
        points, patch_index = batch["points"], batch["patch_index"]
        overall = global_logit(batch["embedding"], text)
        parts = PARTS[self.config.modules]
        if not parts:
            everywhere = overall[:, None].expand(points.shape[:2])
            return Evidence(overall, everywhere, {"overall": overall})
        tensors = {"overall": overall}
        if "geometric" in parts:
            tensors["geometric"] = self.patch_geo_encoder(points, patch_index)
        toward = text[1:] - text[:1]  # the logit is a difference, so one text does for both
        similarity = self.patch_feature_embedder.similarity(
            batch["layers"], tensors.get("geometric"), batch["cls"], toward
        )
        tensors["patch"] = patch = similarity[..., 0]
        return Evidence(
            object_logit=combine_object(overall, patch, self.config.alpha, "max"),
            point_logit=point_mean(patch, patch_index, points),
            tensors=tensors,
        )

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return focal, dice, object and geometric, but those of weight 0 or without a module."""
        config, terms = self.config, {}
        if config.local_weight and "patch" in evidence.tensors:
            probability = torch.sigmoid(evidence.point_logit)
            terms["focal"] = config.local_weight * focal_loss(evidence.point_logit, target.point)
            terms["dice"] = config.local_weight * dice_loss(probability, target.point)
        if config.object_weight:
            contrast = object_loss(evidence.object_logit, target.object)
            terms["object"] = config.object_weight * contrast
        if config.geometric_weight and "geometric" in evidence.tensors:
            contrast = geometric_loss(evidence.tensors["geometric"], target.tensors["fpfh"])
            terms["geometric"] = config.geometric_weight * contrast
        return terms

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        """Average the patches' probabilities per point and carry them to the whole scan."""
        config = self.config
        overall = torch.sigmoid(evidence.tensors["overall"])
        if "patch" not in evidence.tensors:
            return Scores(overall[0].expand(len(scan)), overall[0].item())
        patch = torch.sigmoid(evidence.tensors["patch"])
        point = point_mean(patch, prepared["patch_index"], prepared["points"])[0]
        known = scan.points[prepared["index"][0].cpu().numpy()]
        whole = combine_object(overall, patch, config.alpha, config.rule, config.top_share)
        return Scores(
            to_full_resolution(known, point, scan.points, config.full_resolution),
            whole[0].item(),
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the heads, and the prompts by name: they learn faster and do not decay."""
        modules = [name for name in HEADS if hasattr(self, name)]
        heads = [one for name in modules for one in self.get_submodule(name).parameters()]
        groups: list[dict[str, Any]] = [{"params": heads}] if heads else []
        if self.prompts is not None:
            groups.append({"name": "prompts", "params": [self.prompts.ctx]})
        return groups

    @torch.no_grad()
    def finish(self) -> None:
        """Store the text embeddings, so that inspection needs no text tower."""
        self.get_buffer("text").copy_(self.text_embeddings())

    def preparation(self) -> dict[str, Any]:
        """Return the encoder's settings, the sampling's and the descriptor's."""
        settings = super().preparation()
        return {name: value for name, value in settings.items() if name not in NOT_PREPARED}

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
