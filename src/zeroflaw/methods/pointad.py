"""PointAD: prompts learned on points and on pixels of rendered views at once.

Source: Zhou et al., "PointAD: Comprehending 3D anomalies from points and pixels for zero-shot 3D
anomaly detection" (NeurIPS 2024, arXiv 2410.00320). With fixed texts in place of learned prompts
the same views are scored as PointCLIP V2 (depth, arXiv 2211.11682) or AnomalyCLIP's baselines do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.geometry.view_render import Views
from zeroflaw.methods.base import Evidence, Target
from zeroflaw.methods.clip_prompts import fixed_embedding
from zeroflaw.methods.views import ViewConfig, ViewMethod

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
    those of the views.
    """

    texts: Literal["learned", "photo", "depth"] = "learned"
    shown: Literal["shade", "depth"] = "shade"
    values: bool = True
    terms: Terms = "both"

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
        }

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return the configured terms of point, object, pixel and image."""
        terms = super().losses(evidence, target)
        return {name: terms[name] for name in KEPT[self.config.terms]}
