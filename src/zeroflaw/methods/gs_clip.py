"""GS-CLIP: prompts that know the scan's shape, and depth views that refine the shaded ones.

Source: Deng et al., "GS-CLIP: Zero-shot 3D anomaly detection by geometry-aware prompt and
synergistic view representation learning" (arXiv 2602.19206).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from zeroflaw.encoders.clip import CLIPConfig, CLIPVisual, preprocess
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.pointnet2 import PointNet2, PointNet2Config, group_points
from zeroflaw.encoders.sizes import check_sizes
from zeroflaw.geometry.view_render import Views
from zeroflaw.methods.base import Evidence, Prepared, Stage, Target
from zeroflaw.methods.btp import sample
from zeroflaw.methods.clip_prompts import ANOMALOUS_WORDS, STOP, PromptLearner
from zeroflaw.methods.gs_clip_modules import (
    DefectDistillation,
    LoRA,
    Refinement,
    ShapeToken,
    consistency_loss,
)
from zeroflaw.methods.prompts import END, START
from zeroflaw.methods.view_losses import point_dice, state_loss
from zeroflaw.methods.views import ADAM, PROMPT_TRAINING, ViewConfig, ViewMethod
from zeroflaw.types import Float64, Int64, Scan, ZeroflawError

PROMPTS, VIEWS = "prompts", "views"
TOKENS = tuple(sorted({START, END, STOP, *ANOMALOUS_WORDS}))
LORA_RATE = 0.1  # of the stage's learning rate

DepthTower = Literal["lora", "frozen", "random"]


@dataclass(frozen=True)
class GSCLIPConfig(ViewConfig):
    """Sizes of GS-CLIP; the defaults are the paper's, and what the release breaks is mended.

    cloud: points that PointNet++ reads, at most `points`. prototypes, outliers, point_heads: of the
    defect distillation. lora_rank, lora_scale, lora_dropout: of the depth tower. consistency:
    weight of that loss. views_rate: learning rate of the second stage; the paper takes 5e-4 for
    MVTec 3D-AD and Eyecandies. train_points: PointNet++ learns in the first stage, as in the
    release.

    What the release does instead, each a setting of its own:
    weighted_outliers: False aggregates without the outlier scores, so that prototypes never learn.
    across_views: False attends over sequences of length 1. refined_points: False leaves the depth
    views out of the point scores, whose loss then has nothing to train. feature_consistency: False
    takes the cosine over the views. depth_tower: "lora" is CLIP's with trained updates; "frozen"
    never trains them, which is what pushing the depth views through the render tower comes to;
    "random" was copied before CLIP's weights were loaded. inspect_in_training: dropout and the
    scan's own statistics at inspection.
    """

    pointnet: PointNet2Config = field(default_factory=PointNet2Config)
    cloud: int = 3000
    prototypes: int = 32
    outliers: int = 12
    point_heads: int = 4
    lora_rank: int = 8
    lora_scale: float = 2.0
    lora_dropout: float = 0.1
    consistency: float = 0.3
    views_rate: float = 1e-4
    train_points: bool = True
    weighted_outliers: bool = True
    across_views: bool = True
    refined_points: bool = True
    feature_consistency: bool = True
    depth_tower: DepthTower = "lora"
    inspect_in_training: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self, "prototypes", "outliers", "point_heads", "lora_rank")
        check_sizes(self, "cloud", largest=self.points)
        if self.pointnet.channels != 9:
            raise ValueError(f"pointnet reads {self.pointnet.channels} channels, expected 9")
        if self.pointnet.centers[0] > self.cloud:
            raise ValueError(f"pointnet takes {self.pointnet.centers[0]} of {self.cloud} points")
        if self.clip.text_width % self.point_heads:
            raise ValueError(f"{self.point_heads} heads do not share {self.clip.text_width}")
        if not (0 <= self.lora_dropout < 1 and self.views_rate > 0 and self.consistency >= 0):
            raise ValueError("lora_dropout is below 1, views_rate above 0, consistency from 0")

    @staticmethod
    def release() -> GSCLIPConfig:
        """Return what the authors' code does rather than what the paper says."""
        return GSCLIPConfig(
            weighted_outliers=False,
            across_views=False,
            refined_points=False,
            feature_consistency=False,
            depth_tower="random",
            inspect_in_training=True,
        )


class PromptText(CLIPText):
    """CLIP's text tower with those few rows of its vocabulary that prompts are made of."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__(replace(config, vocabulary=len(TOKENS)))
        self.register_buffer("tokens", torch.tensor(TOKENS), persistent=False)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """tokens: (P, L) int64, all among TOKENS. Returns (P, L, width)."""
        return super().embed_tokens(torch.searchsorted(self.get_buffer("tokens"), tokens))

    @torch.no_grad()
    def take(self, text: CLIPText) -> None:
        """Copy a whole text tower's weights, and the rows of the vocabulary."""
        tokens = self.get_buffer("tokens").to(next(text.parameters()).device)
        rows = text.embed_tokens(tokens[None])[0]
        state = {n: rows if n.endswith("token_embedding.weight") else t for n, t in _named(text)}
        self.load_state_dict(state)


def _named(text: CLIPText) -> Iterable[tuple[str, Tensor]]:
    return text.state_dict().items()


class GSCLIP(ViewMethod):
    """Two stages: prompts from the cloud's shape and defects, then shaded and depth views merged.

    Moving and scaling a scan, and the order of its points, change nothing; turning it does, since
    the views and PointNet++ look from fixed sides. The texts depend on the scan, so the text tower
    is part of what inspection needs.
    """

    name = "gs_clip"
    Config = GSCLIPConfig
    config: GSCLIPConfig
    published = (*ViewMethod.published, "pointnet2-s3dis")
    texts_of_the_scan = True

    def __init__(self, config: GSCLIPConfig | None = None) -> None:
        config = GSCLIPConfig() if config is None else config
        super().__init__(config)
        width = config.clip.text_width
        self.language = PromptText(config.clip).requires_grad_(False).eval()
        self.prompts: PromptLearner = self.new_prompts(self.language)
        self.pointnet = PointNet2(config.pointnet)
        self.shape_token = ShapeToken(config.pointnet.global_width, width)
        self.defect_token = DefectDistillation(
            config.pointnet.point_width,
            width,
            config.prototypes,
            config.outliers,
            config.point_heads,
            config.weighted_outliers,
        )
        self.refinement = Refinement(config.clip.embedding, config.across_views)
        self.lora: LoRA | None = None
        self.depth_visual: CLIPVisual | None = None
        if config.depth_tower == "lora":
            self.lora = LoRA(self.visual, config.lora_rank, config.lora_scale, config.lora_dropout)
        if config.depth_tower == "random":
            self.depth_visual = CLIPVisual(config.clip, config.precision).requires_grad_(False)
        self.register_buffer("refined", torch.tensor(0.0))
        self.begin_stage(PROMPTS)

    def train(self, mode: bool = True) -> GSCLIP:
        """Switch what learns; the frozen towers stay in evaluation."""
        super().train(mode)
        for tower in (self.language, self.depth_visual):
            if tower is not None:
                tower.eval()
        if self.config.inspect_in_training:
            self.pointnet.train()
        return self

    def use_points(self, pointnet: PointNet2) -> None:
        """Start from a trained PointNet++. Raises ZeroflawError if it has other sizes."""
        if pointnet.config != self.config.pointnet:
            raise ZeroflawError("gs_clip is configured for a PointNet++ of other sizes")
        self.pointnet.load_state_dict(pointnet.state_dict())

    def learn_prompts(self, text: CLIPText) -> None:
        """Take the weights of a text tower; the prompts' own are there from the beginning."""
        self.language.take(text)

    def stages(self) -> tuple[Stage, ...]:
        """Return both stages with the paper's settings.

        The second one keeps 12 GB of ViT-L/14's activations per scan for the way back through the
        depth tower, hence one scan at a time: its losses are means over the scans of a batch.
        """
        views = {"epochs": 10, "learning_rate": self.config.views_rate, "together": 1}
        return Stage(PROMPTS, PROMPT_TRAINING), Stage(VIEWS, {**PROMPT_TRAINING, **views})

    def begin_stage(self, name: str) -> None:
        """Let the prompts and what they are made of learn, or else what merges the views."""
        if name not in (PROMPTS, VIEWS):
            raise ZeroflawError(f"gs_clip has no stage {name!r}; there are {PROMPTS} and {VIEWS}")
        first = name == PROMPTS
        self.get_buffer("refined").fill_(0.0 if first else 1.0)
        for module in (self.prompts, self.shape_token, self.defect_token):
            module.requires_grad_(first)
        self.pointnet.requires_grad_(first and self.config.train_points)
        self.pointnet.conv2.requires_grad_(False)  # of the segmentation, which nobody reads
        self.refinement.requires_grad_(not first)
        if self.lora is not None:
            self.lora.requires_grad_(not first)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what learns in this stage, LoRA slower than the rest."""
        lora = [] if self.lora is None else list(self.lora.parameters())
        slow = {id(one) for one in lora}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in slow]
        groups: list[dict[str, Any]] = [{**ADAM, "params": rest}]
        if lora and lora[0].requires_grad:
            groups.append({**ADAM, "params": lora, "lr_scale": LORA_RATE})
        return groups

    def choose(self, points: Float64) -> Int64:
        """Return the points in the order of farthest point sampling: PointNet++ reads the first."""
        return sample(points, self.config.points)

    @torch.no_grad()
    def prepare(self, scan: Scan) -> Prepared:
        """As every view method, with the depth views and who is near whom among the cloud's points.

        Adds depth (1, V, S, S) float16 and what `group_points` returns.
        """
        found = super().prepare(scan).tensors
        groups = group_points(self._cloud(found["points"]), self.config.pointnet, sampled=True)
        return Prepared({**found, **groups})

    def more(self, scan: Scan, views: Views) -> dict[str, Tensor]:
        """Return the depth views, (V, S, S) float16."""
        return {"depth": views.depth.half()}

    def preparation(self) -> dict[str, Any]:
        """Return the settings of CLIP, of the views, of the points and of PointNet++'s balls."""
        config = self.config
        return {**super().preparation(), "pointnet": str(config.pointnet), "cloud": config.cloud}

    def _cloud(self, points: Tensor) -> Tensor:
        return points[:, : self.config.cloud]

    def scan_texts(self, batch: Prepared) -> Tensor:
        """Return the texts of each scan's two states, (B, 2, D), unit length, normal first."""
        points = self._cloud(batch["points"]).float()
        seen = self.pointnet(points.repeat(1, 1, 3), batch.tensors)
        shape = self.shape_token(seen.whole)
        tokens = torch.stack([shape, self.defect_token(seen.points)], dim=1)
        count = len(tokens)
        if count == 0:  # a process without an item; the text tower takes at least one
            tokens = tokens.new_zeros(1, 2, tokens.shape[-1])
        texts: Tensor = self.prompts(tokens[:, :1], tokens)
        return texts[:count]

    def forward(self, batch: Prepared) -> Evidence:
        """Return logits, see `view_evidence`; in the second stage also "fused" (B, V, D)."""
        texts = self.scan_texts(batch)
        if not bool(self.get_buffer("refined")):
            return self.view_evidence(batch, batch["patches"], batch["image"], texts)
        depth = batch["depth"]
        pictures = preprocess(depth.flatten(0, 1).float(), self.config.size)
        return self.merged_evidence(
            batch, texts, pictures.view(*depth.shape[:2], *pictures.shape[1:])
        )

    def merged_evidence(self, batch: Prepared, texts: Tensor, depth: Tensor) -> Evidence:
        """Return what shaded and depth views say together.

        texts: (B, 2, D); depth: (B, V, 3, S, S), as CLIP reads pictures.
        """
        patches, image = batch["patches"].float(), batch["image"].float()
        deep_image, deep_patches = self.depth_features(depth)
        fused = self.refinement(image, deep_image)
        if self.config.refined_points:
            merged = self.refinement.patches(patches, deep_patches)
            # Half of each: the logit is linear in the features, so it is the mean of both streams.
            patches = (patches + functional.normalize(merged, dim=-1)) / 2
        found = self.view_evidence(batch, patches, fused, texts)
        return replace(found, tensors={**found.tensors, "fused": fused})

    def depth_features(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Return the depth views' features, (B, V, D) and (B, V, G, D), unit length, no v–v path.

        depth: (B, V, 3, S, S), as CLIP reads pictures.
        """
        pictures = depth.flatten(0, 1)
        tower = self.visual if self.depth_visual is None else self.depth_visual
        if self.lora is None:
            seen = tower(pictures, dpam=False)
        else:
            with self.lora.applied(tower):
                seen = tower(pictures, dpam=False)
        image, patches = seen.image, seen.patches[0]
        batch = depth.shape[:2]
        return image.view(*batch, *image.shape[1:]), patches.view(*batch, *patches.shape[1:])

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return PointAD's four terms, or in the second stage point, image and consistency."""
        if "fused" not in evidence.tensors:
            return super().losses(evidence, target)
        config, mask = self.config, target.tensors["mask"]
        found = consistency_loss(evidence.tensors["fused"], config.feature_consistency)
        return {
            "point": point_dice(evidence.tensors["point"], target.point),
            "image": state_loss(evidence.tensors["view"], mask.flatten(2).any(dim=2)),
            "consistency": config.consistency * found,
        }

    def finish(self) -> None:
        """Nothing to store: every scan has its own texts."""

    def inspection_state(self) -> dict[str, Tensor]:
        """Return all entries that are read: a scan's texts need the prompts and the text tower."""
        return {name: entry for name, entry in self.state_dict().items() if name != "text"}
