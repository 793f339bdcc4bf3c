"""Align3D-AD: rendered features aligned with coloured ones, and prompts for either kind.

Source: "Align3D-AD" (arXiv 2605.05850). Its scripts choose seed and weights per category on the
test data; here they are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.geometry.view_render import Views
from zeroflaw.methods.alignment import (
    Aligner,
    colored_views,
    dual_contrast,
    gap,
    semantic_consistency,
    weighted_gap,
)
from zeroflaw.methods.base import Evidence, Prepared, Scores, Stage, Target
from zeroflaw.methods.clip_prompts import PromptLearner
from zeroflaw.methods.views import NEVER, PROMPT_TRAINING, ViewConfig, ViewMethod, view_terms
from zeroflaw.types import Scan

ALIGN, PROMPTS = "align", "prompts"


@dataclass(frozen=True)
class Align3DADConfig(ViewConfig):
    """Settings of Align3D-AD besides those of ViewConfig.

    consistency: λ of the semantic consistency, in the last consistency_epochs of the alignment.
    contrast: weight of the contrast between the prompts of both branches, in the last
    contrast_epochs of theirs. color_object, color_point: what the branch of aligned features
    counts in the object's score and in the points', the rendered one being the rest.
    """

    consistency: float = 0.05
    consistency_epochs: int = 50
    contrast: float = 0.1
    contrast_epochs: int = 5
    color_object: float = 0.5
    color_point: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.color_object <= 1 and 0 <= self.color_point <= 1):
            raise ValueError("color_object and color_point are shares of 1")
        if min(self.consistency, self.contrast) < 0:
            raise ValueError("consistency and contrast are weights from 0")


class Align3DAD(ViewMethod):
    """Two stages: aligners of features, then prompts for aligned and for rendered features.

    A scan without colours teaches the aligners only to keep the features. Inspection needs no
    colours. Moving and scaling a scan, and the order of its points, change nothing; turning it
    does, since the views show other sides then.
    """

    name = "align3d_ad"
    Config = Align3DADConfig
    config: Align3DADConfig

    def __init__(self, config: Align3DADConfig | None = None) -> None:
        config = Align3DADConfig() if config is None else config
        super().__init__(config)
        width = config.clip.embedding
        self.global_aligner = Aligner(width)
        self.local_aligner = Aligner(width)
        drawn = torch.randn(2, width)
        self.register_buffer("color_text", functional.normalize(drawn, dim=-1))
        self.color_prompts: PromptLearner | None = None
        self.late = False
        self.begin_stage(PROMPTS)

    def stages(self) -> tuple[Stage, ...]:
        """Return the alignment and the prompts."""
        align = {**PROMPT_TRAINING, "epochs": 250, "learning_rate": 1e-3}
        return Stage(ALIGN, align), Stage(PROMPTS, PROMPT_TRAINING)

    def begin_stage(self, name: str) -> None:
        """Let the aligners learn, or the prompts."""
        self.stage = name
        for aligner in (self.global_aligner, self.local_aligner):
            aligner.requires_grad_(name == ALIGN)
        for prompts in (self.prompts, self.color_prompts):
            if prompts is not None:
                prompts.requires_grad_(name == PROMPTS)

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Note whether the losses of the last epochs count."""
        last = self.config.consistency_epochs
        self.late = epoch >= epochs - (last if self.stage == ALIGN else self.config.contrast_epochs)

    def learn_prompts(self, text: CLIPText) -> None:
        """Make the prompts of both branches."""
        self.color_prompts = self.new_prompts(text)
        super().learn_prompts(text)
        self.begin_stage(self.stage)

    def more(self, scan: Scan, views: Views) -> dict[str, Tensor]:
        """Return the features of coloured views, color_image and color_tokens, to learn from."""
        if self.color_prompts is None or scan.colors is None:
            return {}
        seen = self.encode_pictures(colored_views(views, scan.colors))
        return {"color_image": seen["image"], "color_tokens": _tokens(seen)}

    @torch.no_grad()
    def prepare(self, scan: Scan) -> Prepared:
        """As every view method, with what `more` adds.

        Without colours the coloured views are the grey ones, which are not encoded again.
        """
        found = super().prepare(scan).tensors
        if self.color_prompts is None or scan.colors is not None:
            return Prepared(found)
        grey = {"color_image": found["image"], "color_tokens": _tokens(found)}
        return Prepared({**found, **grey})

    def preparation(self) -> dict[str, Any]:
        """Return the settings of the views, and whether coloured ones are prepared too."""
        return {**super().preparation(), "colored": self.color_prompts is not None}

    def color_embeddings(self) -> Tensor:
        """Return (2, D), unit length, normal first: the texts of the aligned features' branch."""
        if self.color_prompts is None:
            return self.get_buffer("color_text")
        learned: Tensor = self.color_prompts()
        return learned

    def forward(self, batch: Prepared) -> Evidence:
        """Return what the current stage needs; see `aligned` and `branches`."""
        return self.aligned(batch) if self.stage == ALIGN else self.branches(batch)

    def aligned(self, batch: Prepared) -> Evidence:
        """Return how far aligned features are from the coloured ones; nothing of defects yet.

        The tensors are "global_gap" (B, V), "local_gap" and "consistency" (B, V, 1 + G).
        """
        rendered = _tokens(batch.tensors).float()
        colored = batch["color_tokens"].float()
        tensors = {
            "global_gap": gap(
                self.global_aligner(batch["image"].float()), batch["color_image"].float()
            ),
            "local_gap": gap(self.local_aligner(rendered), colored),
            "consistency": semantic_consistency(rendered, colored),
        }
        unknown = torch.zeros(batch["index"].shape, device=rendered.device)
        return Evidence(unknown[:, 0], unknown, tensors)

    def branches(self, batch: Prepared) -> Evidence:
        """Return both branches' evidence, weighed.

        The tensors are those of `view_evidence` for either branch, the aligned one's with
        "color_" in front, and "text" and "color_text" (B, 2, D) while prompts learn.
        """
        config = self.config
        text, color_text = self.text_embeddings(), self.color_embeddings()
        local = self.local_aligner(batch["patches"].float())
        overall = self.global_aligner(batch["image"].float())
        color = self.view_evidence(batch, local, overall, color_text)
        own = self.view_evidence(batch, batch["patches"], batch["image"], text)
        share, weight = config.color_point, config.color_object
        point = share * color.tensors["point"] + (1 - share) * own.tensors["point"]
        whole = [torch.sigmoid(one.object_logit) for one in (color, own)]
        mixed = weight * whole[0] + (1 - weight) * whole[1]
        tensors = {**own.tensors, **{f"color_{n}": t for n, t in color.tensors.items()}}
        if self.prompts is not None:
            rows = len(point)
            tensors["text"] = text.expand(rows, -1, -1)
            tensors["color_text"] = color_text.expand(rows, -1, -1)
        return Evidence(torch.logit(mixed, NEVER), torch.logit(point, NEVER), tensors)

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return the terms of the current stage.

        Aligning: global and local. Prompts: PointAD's four of either branch, those of the aligned
        one with "color_" in front, and late "contrast" and "color_contrast", which validation
        leaves out: they say nothing of its scans, and its loss must compare between epochs.
        """
        config, tensors = self.config, evidence.tensors
        if self.stage == ALIGN:
            strength = config.consistency if self.late else 0.0
            local = weighted_gap(tensors["local_gap"], tensors["consistency"], strength)
            return {"global": tensors["global_gap"].mean(), "local": local}
        color = {n.removeprefix("color_"): t for n, t in tensors.items() if n.startswith("color_")}
        aside = Evidence(evidence.object_logit, evidence.point_logit, color)
        terms = view_terms(evidence, target)
        terms |= {f"color_{name}": term for name, term in view_terms(aside, target).items()}
        if self.late and self.training and config.contrast:
            own, other = tensors["text"][0], tensors["color_text"][0]
            terms["contrast"] = config.contrast * dual_contrast(own, other)
            terms["color_contrast"] = config.contrast * dual_contrast(other, own)
        return terms

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        """Weigh both branches' maps for the points and for the object, and smooth the points.

        Carrying to the points and smoothing are linear: each branch smoothed by itself comes to
        the same.
        """
        config, tensors = self.config, evidence.tensors
        own, color = tensors["map"][0], tensors["color_map"][0]
        views = [torch.softmax(tensors[name][0], dim=-1)[:, 1] for name in ("color_view", "view")]
        weight, share = config.color_object, config.color_point
        maps = share * color + (1 - share) * own
        points = other = self.point_scores(maps, scan)
        if weight != share:
            other = self.point_scores(weight * color + (1 - weight) * own, scan)
        overall = weight * views[0].mean() + (1 - weight) * views[1].mean()
        part = config.object_share
        whole = float(part * other.max() + (1 - part) * overall)
        return Scores(points, whole, views=self.shown(maps, scan))

    @torch.no_grad()
    def finish(self) -> None:
        """Store the texts of both branches, so that inspection needs no text tower."""
        super().finish()
        self.get_buffer("color_text").copy_(self.color_embeddings())

    def inspection_state(self) -> dict[str, Tensor]:
        """Return all entries but those of the prompts."""
        state = super().inspection_state()
        return {n: entry for n, entry in state.items() if not n.startswith("color_prompts.")}


def _tokens(features: Mapping[str, Tensor]) -> Tensor:
    """Return the class token on the patches' path, then the patches, (..., V, 1 + G, D)."""
    return torch.cat([features["class"][..., None, :], features["patches"]], dim=-2)
