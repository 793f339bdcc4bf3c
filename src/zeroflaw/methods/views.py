"""What the view-based methods share: rendered views, frozen CLIP features, maps, points, scores.

A scan is shown from several sides; CLIP's patch features of each picture are held against texts of
the two states, and what a picture says of a pixel is said of the points that are seen there.
Sources: Zhou et al., "PointAD" (NeurIPS 2024, arXiv 2410.00320) and "AnomalyCLIP" (ICLR 2024).
"""

from __future__ import annotations

import weakref
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zeroflaw.encoders.clip import PRECISIONS, CLIPConfig, CLIPVisual, preprocess
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.sizes import MOST_POINTS, check_sizes
from zeroflaw.geometry.backproject import back_project, nearest_seen
from zeroflaw.geometry.cameras import preset_rotations
from zeroflaw.geometry.normalize import normalize
from zeroflaw.geometry.thin import thin
from zeroflaw.geometry.view_render import Views, projected_mask, render_views
from zeroflaw.methods.base import Evidence, Method, Prepared, Scores, Stage, Target
from zeroflaw.methods.clip_prompts import PromptLearner
from zeroflaw.methods.smoothing import smooth_points
from zeroflaw.methods.view_losses import pixel_loss, point_dice, state_loss
from zeroflaw.types import Float64, Int64, Scan, ZeroflawError

TEMPERATURE = 0.07
REFERENCE_SIZE = 336  # pixels of the pictures in which the papers give their smoothing
ADAM = {"betas": (0.5, 0.999), "weight_decay": 0.0, "schedule": "constant"}  # of all three papers
PROMPT_TRAINING = {"epochs": 15, "batch": 4, "learning_rate": 2e-3, "clip": 1e6}  # no clipping
LARGEST_VIEW = 2048  # pixels of a side
NEVER = 1e-6  # what a probability keeps from 0 and 1 where it becomes a logit


@dataclass(frozen=True)
class ViewConfig:
    """What the view-based methods have in common; the defaults are the papers'.

    clip: sizes of CLIP. pixels: side of the views, a multiple of the patch's, by default that of
    CLIP's own pictures; for another its positions are resized. points: how many the losses look at
    in training; every point of a scan is scored. views: "front" for scans from one side, "around"
    for others, "auto" decides by whether the scan is organised. precision: of CLIP's frozen visual
    tower, see CLIPVisual. prompt_length: learned tokens in front of the words. deep_blocks: of the
    text tower's blocks behind the first, in how many deep_length tokens are learned (as many as it
    has). temperature: of the similarities. sigma: of the smoothing, in pixels of a picture of 336.
    object_share: of the highest point score in the object's score; the views' own is the rest.
    """

    clip: CLIPConfig = field(default_factory=CLIPConfig)
    pixels: int | None = None
    points: int = 8192
    views: Literal["auto", "front", "around"] = "auto"
    precision: str = "auto"
    prompt_length: int = 12
    deep_blocks: int = 8
    deep_length: int = 4
    temperature: float = TEMPERATURE
    sigma: float = 4.0
    object_share: float = 0.5

    def __post_init__(self) -> None:
        check_sizes(self, "points", largest=MOST_POINTS)
        check_sizes(self, "prompt_length", "deep_length", largest=64)
        if self.pixels is not None:
            check_sizes(self, "pixels", largest=LARGEST_VIEW)
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}, one of {', '.join(PRECISIONS)}")
        if self.deep_blocks < 0:
            raise ValueError(f"deep_blocks is {self.deep_blocks}, expected 0 or more")
        if not (0 <= self.object_share <= 1 and self.temperature > 0 and self.sigma >= 0):
            raise ValueError("object_share is a share of 1, temperature above 0, sigma from 0")

    @property
    def size(self) -> int:
        """Side of the views in pixels."""
        return self.clip.image if self.pixels is None else self.pixels


class _Latest:
    """The views of the scan that was looked at last, so that no step renders them again."""

    def __init__(self) -> None:
        self.held: tuple[weakref.ref[Scan], Views] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Latest, ())  # a copy, or one sent to a worker, remembers nothing


class ViewMethod(Method):
    """A method that scores views: frozen visual tower, texts of the two states, normal first."""

    config: ViewConfig
    invariances: tuple[str, ...] = ("order", "position", "scale")
    prepared_by = ("visual.",)
    published: tuple[str, ...] = ("clip-vit-l-336",)

    def __init__(self, config: ViewConfig) -> None:
        super().__init__()
        if config.size % config.clip.patch:
            raise ZeroflawError(
                f"views of {config.size} pixels do not divide into patches of {config.clip.patch}; "
                f"set pixels to a multiple of {config.clip.patch}"
            )
        self.config = config
        self.visual = CLIPVisual(config.clip, config.precision).requires_grad_(False).eval()
        drawn = torch.randn(2, config.clip.embedding)
        self.register_buffer("text", functional.normalize(drawn, dim=-1))
        self.prompts: PromptLearner | None = None
        self._latest = _Latest()

    def train(self, mode: bool = True) -> ViewMethod:
        """Switch what learns; the frozen visual tower stays in evaluation."""
        super().train(mode)
        self.visual.eval()
        return self

    def use_clip(self, visual: CLIPVisual, text: CLIPText) -> None:
        """Take the frozen towers of a CLIP, and learn prompts for its text tower from now on.

        Raises ZeroflawError if the configuration is another CLIP's.
        """
        own = asdict(self.config.clip)
        for tower in (visual, text):
            other = {n: size for n, size in asdict(tower.config).items() if size != own[n]}
            if other:
                sizes = ", ".join(
                    f"{name} is {size}, not {own[name]}" for name, size in other.items()
                )
                raise ZeroflawError(
                    f"{self.name} is configured for a CLIP of other sizes ({sizes}); leave clip "
                    "out of the settings to take its own, and set the views' size by pixels"
                )
        self.visual = visual.requires_grad_(False).eval()
        self.visual.precision = self.config.precision
        self.learn_prompts(text)

    def learn_prompts(self, text: CLIPText) -> None:
        """Make what learns the texts of the two states."""
        self.prompts = self.new_prompts(text)
        self.finish()

    def new_prompts(self, text: CLIPText) -> PromptLearner:
        """Return a prompt learner of the configured lengths for a text tower."""
        config = self.config
        blocks = min(config.deep_blocks, text.config.text_layers - 1)
        return PromptLearner(text, config.prompt_length, blocks, config.deep_length)

    def views(self, scan: Scan) -> Views:
        """Return the scan's views and all its points in them.

        They are rendered on the CPU whatever the method's device, so that all see the same. The
        shading shows what the points themselves say of the surface: normals that a file brings
        along may be smoother, or older, than these.
        """
        held = self._latest.held
        if held is not None and held[0]() is scan:
            return held[1]
        preset = None if self.config.views == "auto" else self.config.views
        turns = preset_rotations(scan, preset)
        found = render_views(scan.points, turns, self.config.size)
        self._latest.held = (weakref.ref(scan), found)
        return found

    def picture(self, views: Views) -> Tensor:
        """Return what the visual tower reads, (V, S, S) grey or (V, 3, S, S), in [0, 1]."""
        return views.shade

    @torch.no_grad()
    def prepare(self, scan: Scan) -> Prepared:
        """Render, project and encode.

        Returns index (1, N) int64, points (1, N, 3) in the unit sphere, pixel (1, V, N) int32 and
        visible (1, V, N) bool of the points for the losses, one that no view sees having those of
        its nearest that one does; what `encode_pictures` gives of the views, and what `more` adds.
        """
        sphere, _ = normalize(scan.points)
        index = torch.from_numpy(self.choose(scan.points))
        views = self.views(scan)
        place = _seen_places(views, index, scan)
        seen = self.encode_pictures(self.picture(views))
        device = self.get_buffer("text").device
        given = {
            "index": index,
            "points": torch.from_numpy(sphere)[index],
            "pixel": views.pixel[:, place].int(),
            "visible": views.visible[:, place],
            **seen,
            **self.more(scan, views),
        }
        return Prepared({name: tensor[None].to(device) for name, tensor in given.items()})

    def choose(self, points: Float64) -> Int64:
        """Return which points the losses look at, (config.points,): spread evenly over the scan.

        points: (N, 3); their order does not matter. A scan of fewer points repeats some.
        """
        index = thin(points, self.config.points).index
        return index[np.arange(self.config.points) * len(index) // self.config.points]

    def encode_pictures(self, pictures: Tensor, name: str = "") -> dict[str, Tensor]:
        """Return the frozen features of pictures, all in float16.

        image (V, D); patches (V, G, D), and class (V, D), the class token on the patches' path.
        name: put in front of the three names.
        """
        size = self.config.size
        device = self.get_buffer("text").device
        found = self.visual(preprocess(pictures.to(device), size), dpam=self.dpam())
        return {
            f"{name}image": found.image.half(),
            f"{name}patches": found.patches[0].half(),
            f"{name}class": found.classes[0].half(),
        }

    def dpam(self) -> bool:
        """Whether patch features come from the v–v path."""
        return True

    def more(self, scan: Scan, views: Views) -> dict[str, Tensor]:
        """Return what else to prepare of a scan, without the batch axis."""
        return {}

    def preparation(self) -> dict[str, Any]:
        """Return the settings of CLIP, of the views and of the points.

        The precision is that which the device's features are computed in, whatever was asked for.
        """
        settings = asdict(self.config)
        found = {name: settings[name] for name in ("clip", "points", "views")}
        device = self.get_buffer("text").device
        return {**found, "size": self.config.size, "precision": self.visual.precision_on(device)}

    def target(self, scan: Scan, prepared: Prepared) -> Target:
        """Labels of the prepared points, and mask (1, V, S, S) bool, where views show a defect.

        A defect that no view sees still makes the scan a defective one.
        """
        found = super().target(scan, prepared)
        assert scan.labels is not None  # or there were no labels above
        mask = projected_mask(self.views(scan), torch.from_numpy(scan.labels))
        return Target(found.point, found.object, {"mask": mask[None].cpu()})

    def text_embeddings(self) -> Tensor:
        """Return (2, D), unit length, normal first: learned, or else the stored ones."""
        if self.prompts is None:
            return self.get_buffer("text")
        learned: Tensor = self.prompts()
        return learned

    def forward(self, batch: Prepared) -> Evidence:
        """Return logits; see `view_evidence` for the tensors."""
        text = self.text_embeddings()
        return self.view_evidence(batch, batch["patches"], batch["image"], text)

    def view_evidence(
        self, batch: Prepared, patches: Tensor, image: Tensor, text: Tensor
    ) -> Evidence:
        """Return what features of views say of pixels, points, views and the object.

        patches: (B, V, G, D); image: (B, V, D); text: (2, D) or (B, 2, D). The tensors are "map"
        (B, V, S, S) and "point" (B, N), probabilities, and "view" (B, V, 2), logits.
        """
        config = self.config
        probability = patch_probability(patches.float(), text, config.temperature)
        maps = to_maps(probability, config.size)
        point = to_points(maps, batch["pixel"], batch["visible"])
        views = view_logits(image.float(), text, config.temperature)
        overall = torch.softmax(views, dim=-1)[..., 1].mean(dim=1)
        share = config.object_share
        whole = share * point.amax(dim=1) + (1 - share) * overall
        tensors = {"map": maps, "point": point, "view": views}
        return Evidence(torch.logit(whole, NEVER), torch.logit(point, NEVER), tensors)

    def losses(self, evidence: Evidence, target: Target) -> dict[str, Tensor]:
        """Return PointAD's four terms, see `view_terms`."""
        return view_terms(evidence, target)

    def score(self, evidence: Evidence, scan: Scan, prepared: Prepared) -> Scores:
        """Carry the maps to all points, smooth them, and weigh their highest with the views'."""
        overall = torch.softmax(evidence.tensors["view"][0], dim=-1)[:, 1].mean()
        share = self.config.object_share
        maps = evidence.tensors["map"][0]
        points = self.point_scores(maps, scan)
        whole = float(share * points.max() + (1 - share) * overall)
        return Scores(points, whole, views=self.shown(maps, scan))

    def shown(self, maps: Tensor, scan: Scan) -> Tensor:
        """Return the shaded views and what is said of their pixels, (2, V, S, S)."""
        return torch.stack([self.views(scan).shade, maps.cpu().float()])

    def point_scores(self, maps: Tensor, scan: Scan) -> Tensor:
        """Return smoothed scores of all points of the scan, (N,). maps: (V, S, S)."""
        return self.smoothed(self.carried(maps, scan), scan)

    def carried(self, maps: Tensor, scan: Scan) -> Tensor:
        """Return each point's mean over the views that see it, (N,). maps: (V, S, S)."""
        views = self.views(scan)
        return back_project(maps.cpu(), views.pixel, views.visible, scan.points)

    def smoothed(self, values: Tensor, scan: Scan) -> Tensor:
        """Return the points' values, (N,), smoothed by the configured Gaussian, in [0, 1]."""
        return smooth_points(values, scan, self.config.sigma / REFERENCE_SIZE).clamp(0, 1)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return all that learns, with the papers' Adam."""
        return [{**ADAM, "params": [one for one in self.parameters() if one.requires_grad]}]

    def stages(self) -> tuple[Stage, ...]:
        """Return one stage with PointAD's settings."""
        return (Stage("prompts", PROMPT_TRAINING),)

    @torch.no_grad()
    def finish(self) -> None:
        """Store the texts, so that inspection needs no text tower."""
        self.get_buffer("text").copy_(self.text_embeddings())

    def inspection_state(self) -> dict[str, Tensor]:
        """Return all entries but the prompts'."""
        state = self.state_dict()
        return {name: entry for name, entry in state.items() if not name.startswith("prompts.")}


def _seen_places(views: Views, index: Tensor, scan: Scan) -> Tensor:
    """Return the points themselves, (K,), or in place of one that no view sees its nearest seen."""
    seen, place = views.visible.any(dim=0), index.clone()
    unseen = ~seen[index]
    if bool(unseen.any()):
        place[unseen] = nearest_seen(seen, scan.points, index[unseen])[0][:, 0]
    return place


def patch_probability(patches: Tensor, text: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return how likely each patch is anomalous, (B, V, G).

    patches: (B, V, G, D), text: (2, D) or (B, 2, D), normal first, both of unit length. A softmax
    over two states is the sigmoid of their difference.
    """
    toward = text[..., 1, :] - text[..., 0, :]
    toward = toward[:, None, None, :] if text.ndim == 3 else toward
    return torch.sigmoid((patches * toward).sum(dim=-1) / temperature)


def view_logits(image: Tensor, text: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return the logits of the two states of each view, (B, V, 2). image: (B, V, D)."""
    return image @ text.transpose(-1, -2) / temperature


def to_maps(probability: Tensor, size: int) -> Tensor:
    """Return maps of whole pictures, (B, V, S, S), between patches bilinearly.

    probability: (B, V, G), G patches row by row of a square. Returns size × size pixels.
    """
    side = round(probability.shape[-1] ** 0.5)
    square = probability.view(*probability.shape[:-1], side, side)
    return functional.interpolate(square, (size, size), mode="bilinear", align_corners=False)


def to_points(maps: Tensor, pixel: Tensor, visible: Tensor) -> Tensor:
    """Return each point's mean over the views that see it, (B, N); 0 where none does.

    maps: (B, V, S, S); pixel: (B, V, N) row · S + column; visible: (B, V, N).
    """
    values = maps.flatten(2).gather(2, pixel.long()) * visible
    return values.sum(dim=1) / visible.sum(dim=1).clamp_min(1)


def view_terms(evidence: Evidence, target: Target) -> dict[str, Tensor]:
    """Return PointAD's terms: point and object in 3D, pixel and image in the views.

    evidence: of `view_evidence`; target: of `ViewMethod.target`. An image is anomalous where its
    mask is not empty.
    """
    mask, view = target.tensors["mask"], evidence.tensors["view"]
    return {
        "point": point_dice(evidence.tensors["point"], target.point),
        "object": state_loss(view.mean(dim=1), target.object),
        "pixel": pixel_loss(evidence.tensors["map"], mask),
        "image": state_loss(view, mask.flatten(2).any(dim=2)),
    }
