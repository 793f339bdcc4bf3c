"""PointAD: prompts learned on points and on pixels of rendered views at once.

Source: Zhou et al., "PointAD: Comprehending 3D anomalies from points and pixels for zero-shot 3D
anomaly detection" (NeurIPS 2024, arXiv 2410.00320). With fixed texts in place of learned prompts
the same views are scored as PointCLIP V2 (depth, arXiv 2211.11682) or AnomalyCLIP's baselines do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.geometry.view_render import Views
from zeroflaw.methods.base import Evidence, Prepared, Scores, Target
from zeroflaw.methods.clip_prompts import fixed_embedding
from zeroflaw.methods.photograph import photograph
from zeroflaw.methods.views import (
    ViewConfig,
    ViewMethod,
    patch_probability,
    to_maps,
    view_logits,
)
from zeroflaw.types import Scan

Terms = Literal["both", "views", "points"]
KEPT: dict[Terms, tuple[str, ...]] = {
    "both": ("point", "object", "pixel", "image"),
    "views": ("pixel", "image"),
    "points": ("point", "object"),
}


@dataclass(frozen=True)
class PointADConfig(ViewConfig):
    """Settings of PointAD besides those of ViewConfig.

    texts: "learned" prompts, or fixed texts of a "photo" or a "depth" map, with which nothing is
    trained. shown: the "shade" or the "depth" views. values: whether patches attend by value alone
    (DPAM). terms: "views" leaves the losses of the points out, as AnomalyCLIP learns, "points"
    those of the views. photograph: organised scans with colours are also scored by their
    photograph, which counts as much as all views together; nothing is trained on it, so it may be
    changed at inspection.
    """

    texts: Literal["learned", "photo", "depth"] = "learned"
    shown: Literal["shade", "depth"] = "shade"
    values: bool = True
    terms: Terms = "both"
    photograph: bool = False

    @classmethod
    def point_clip(cls) -> PointADConfig:
        """Return PointCLIP V2's way: depth views, CLIP's own attention, texts of depth maps."""
        return cls(texts="depth", shown="depth", values=False)

    @classmethod
    def anomaly_clip(cls) -> PointADConfig:
        """Return AnomalyCLIP's way: prompts learned on the pixels of the views alone."""
        return cls(terms="views")


class PointAD(ViewMethod):
    """Learned prompts alone; the towers are CLIP's.

    Moving and scaling a scan, and the order of its points, change nothing; turning it does, since
    the views show other sides then.
    """

    name = "pointad"
    Config = PointADConfig
    config: PointADConfig

    def __init__(self, config: PointADConfig | None = None) -> None:
        super().__init__(PointADConfig() if config is None else config)

    def learn_prompts(self, text: CLIPText) -> None:
        """Learn prompts from now on, or store the fixed texts."""
        if self.config.texts == "learned":
            super().learn_prompts(text)
        else:
            self.get_buffer("text").copy_(fixed_embedding(text, self.config.texts))

    def picture(self, views: Views) -> Tensor:
        """Return the shaded or the depth pictures, (V, S, S)."""
        return views.depth if self.config.shown == "depth" else views.shade

    def dpam(self) -> bool:
        """Whether patch features come from the v–v path."""
        return self.config.values

    def preparation(self) -> dict[str, Any]:
        """Return the settings of the views and of their features."""
        return {
            **super().preparation(),
            "shown": self.config.shown,
            "values": self.config.values,
            "photograph": self.config.photograph,
        }

    def more(self, scan: Scan, views: Views) -> dict[str, Tensor]:
        """Return the photograph's features if asked for, zeros for a scan without one.

        photo_image (1, D), photo_patches (1, G, D), photo_class (1, D).
        """
        if not self.config.photograph:
            return {}
        config = self.config
        shot = photograph(scan, config.size)
        if shot is not None:
            return self.encode_pictures(shot.picture[None], "photo_")
        none = torch.zeros(1, config.clip.embedding, dtype=torch.float16)
        patches = none[:, None].expand(-1, (config.size // config.clip.patch) ** 2, -1)
        return {"photo_image": none, "photo_patches": patches, "photo_class": none}

    def forward(self, batch: Prepared) -> Evidence:
        """Return logits, see `view_evidence`; of a photograph also photo_map and photo_view.

        photo_map: (B, 1, S, S); photo_view: (B, 1, 2). Only scores take them in.
        """
        found = super().forward(batch)
        if not self.config.photograph:
            return found
        text, warmth = self.text_embeddings(), self.config.temperature
        probability = patch_probability(batch["photo_patches"].float(), text, warmth)
        photo = {
            "photo_map": to_maps(probability, self.config.size),
            "photo_view": view_logits(batch["photo_image"].float(), text, warmth),
        }
        return replace(found, tensors={**found.tensors, **photo})

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        """As every view method; a photograph's map and probability are averaged with the views'."""
        config = self.config
        shot = photograph(scan, config.size) if config.photograph else None
        if shot is None:
            return super().score(evidence, scan, prepared)
        tensors = evidence.tensors
        colored = tensors["photo_map"][0].flatten().cpu()[shot.pixel]
        points = self.smoothed((self.carried(tensors["map"][0], scan) + colored) / 2, scan)
        seen = [torch.softmax(tensors[name][0], dim=-1)[:, 1] for name in ("view", "photo_view")]
        overall = (seen[0].mean() + seen[1].mean()) / 2
        share = config.object_share
        whole = float(share * points.max() + (1 - share) * overall)
        return Scores(points, whole, views=self.shown(tensors["map"][0], scan))

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return the configured terms of point, object, pixel and image."""
        terms = super().losses(evidence, target)
        return {name: terms[name] for name in KEPT[self.config.terms]}
