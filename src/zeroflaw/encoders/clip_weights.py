"""Both towers of CLIP from published files, whatever layout they have.

Read are the original layout (OpenAI's, OpenCLIP's), Hugging Face's, and OpenAI's TorchScript
archives; no code in a file is ever run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from zeroflaw.encoders.clip import CLIPConfig, CLIPVisual
from zeroflaw.encoders.clip_text import CLIPText
from zeroflaw.encoders.entries import load_entries, read_entries
from zeroflaw.encoders.text import HEAD_WIDTH, PREFIXES, TEXT_ENTRIES
from zeroflaw.encoders.torchscript import is_torchscript, read_torchscript
from zeroflaw.io.atomic import replacing
from zeroflaw.types import ZeroflawError

# Width of a head where it is not 64, by the visual tower's width: OpenCLIP's H, g and bigG.
VISUAL_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}
VV_SHARE = 19 / 24  # of the visual blocks have the v–v path in AnomalyCLIP's ViT-L/14
PASSED = ("logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size")
PASSED_ENDS = (".position_ids", ".attn_mask")  # constants that some files carry
RENAMED = (
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding.", "conv1."),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("embeddings.token_embedding.", "token_embedding."),
    ("pre_layrnorm.", "ln_pre."),  # spelled so in the published files
    ("post_layernorm.", "ln_post."),
    ("final_layer_norm.", "ln_final."),
    ("encoder.layers.", "transformer.resblocks."),
    ("self_attn.out_proj.", "attn.out_proj."),
    ("layer_norm1.", "ln_1."),
    ("layer_norm2.", "ln_2."),
    ("mlp.fc1.", "mlp.c_fc."),
    ("mlp.fc2.", "mlp.c_proj."),
)
SEPARATE = re.compile(r"(.+\.)self_attn\.([qkv])_proj\.(weight|bias)")

Entries = dict[str, Tensor]


def load_clip(
    path: Path,
    quick_gelu: bool | None = None,
    vv_layers: int | None = None,
    precision: str = "auto",
) -> tuple[CLIPVisual, CLIPText]:
    """Return the frozen towers of a CLIP checkpoint.

    quick_gelu: the activation that the weights were trained with; by default what the file says
    (`save_clip`), then the publisher's `config.json` or `open_clip_config.json` beside it, and
    QuickGELU for OpenAI's weights, known by their half precision. vv_layers: how many visual
    blocks have the v–v path, by default as large a part as in AnomalyCLIP. precision: as
    `CLIPVisual` takes it. Raises ZeroflawError that names what is missing, or asks for the
    activation where nothing tells it.
    """
    path = Path(path)
    visual, text = split_towers(_read(path), path)
    _check_numbers({**text, **{f"visual.{name}": one for name, one in visual.items()}}, path)
    config = _stored_config(path)
    if config is None:
        known = _activation(path, visual, quick_gelu)
        config = clip_config(visual, text, path, known)
    if vv_layers is not None:
        config = _with_vv_layers(config, vv_layers)
    with torch.device("meta"):
        towers = CLIPVisual(config, precision), CLIPText(config)
    load_entries(towers[0], visual, path, "visual.{}".format)
    load_entries(towers[1].tower, text, path)
    for tower in towers:
        tower.eval().requires_grad_(False)
    return towers


def save_clip(path: Path, visual: CLIPVisual, text: CLIPText) -> None:
    """Write both towers into a safetensors file in the original layout, their sizes with them."""
    entries = {f"visual.{name}": tensor for name, tensor in visual.state_dict().items()}
    entries |= text.tower.state_dict()
    entries = {name: tensor.detach().cpu().contiguous() for name, tensor in entries.items()}
    stored = save(entries, metadata={"clip": json.dumps(asdict(visual.config))})
    with replacing(Path(path)) as file:
        file.write(stored)


def load_towers(path: Path) -> nn.ModuleDict:
    """Return `load_clip`'s towers as one module, under `visual` and `text`."""
    visual, text = load_clip(path)
    return nn.ModuleDict({"visual": visual, "text": text})


def _read(path: Path) -> Entries:
    if is_torchscript(path):
        return read_torchscript(path)
    return read_entries(path)


def split_towers(found: Mapping[str, Tensor], source: Path) -> tuple[Entries, Entries]:
    """Return the visual and the text tower's entries, named as in the original layout.

    Raises ZeroflawError if one of the towers is not there at all.
    """
    found = {
        name: tensor
        for name, tensor in found.items()
        if not name.endswith(PASSED_ENDS) and name.rpartition(".")[2] not in PASSED
    }
    if any(name.startswith("vision_model.") for name in found):
        return _from_hugging_face(found, source)
    front = next((f for f in ("", "open_clip_model.") if f + "visual.proj" in found), None)
    if front is None:
        raise ZeroflawError(
            f"{source}: no visual tower of a CLIP in it (entry visual.proj); "
            "give a CLIP checkpoint such as OpenAI's ViT-L/14 at 336 pixels"
        )
    visual = _below(found, f"{front}visual.")
    for place in PREFIXES:
        if place + "token_embedding.weight" in found:
            names = (*TEXT_ENTRIES, "text_projection")
            text = {n: t for n, t in _below(found, place).items() if n.startswith(names)}
            return visual, text
    raise ZeroflawError(f"{source}: no text tower in it (entry token_embedding.weight)")


def _below(found: Mapping[str, Tensor], front: str) -> Entries:
    return {n.removeprefix(front): t for n, t in found.items() if n.startswith(front)}


def _from_hugging_face(found: Mapping[str, Tensor], source: Path) -> tuple[Entries, Entries]:
    """Rename Hugging Face's entries, and join what it keeps apart."""
    visual = _joined(found, "vision_model.", source)
    text = _joined(found, "text_model.", source)
    for tower, theirs, ours in (
        (visual, "visual_projection.weight", "proj"),
        (text, "text_projection.weight", "text_projection"),
    ):
        if theirs not in found:
            raise ZeroflawError(f"{source}: entries do not fit: missing {theirs}")
        tower[ours] = found[theirs].T
    return visual, text


def _joined(found: Mapping[str, Tensor], front: str, source: Path) -> Entries:
    """Return a tower's entries under their original names, query, key and value in one matrix."""
    entries, out = _below(found, front), {}
    for name, tensor in entries.items():
        separate = SEPARATE.fullmatch(name)
        if separate is None:
            out[_renamed(name)] = tensor
        elif separate[2] == "q":
            block, _, kind = separate.groups()
            parts = [f"{block}self_attn.{part}_proj.{kind}" for part in "qkv"]
            if absent := [front + part for part in parts if part not in entries]:
                raise ZeroflawError(f"{source}: entries do not fit: missing {', '.join(absent)}")
            joint = torch.cat([entries[part] for part in parts])
            out[f"{_renamed(block)}attn.in_proj_{kind}"] = joint
    return out


def _renamed(name: str) -> str:
    for theirs, ours in RENAMED:
        name = name.replace(theirs, ours)
    return name


def clip_config(visual: Entries, text: Entries, source: Path, quick_gelu: bool) -> CLIPConfig:
    """Return the sizes of both towers from their entries' shapes.

    Raises ZeroflawError where an entry that tells a size is missing or has another form.
    """
    width, _, patch, _ = _shape(visual, "conv1.weight", 4, source, "visual.")
    places, _ = _shape(visual, "positional_embedding", 2, source, "visual.")
    vocabulary, text_width = _shape(text, "token_embedding.weight", 2, source)
    context, _ = _shape(text, "positional_embedding", 2, source)
    _, embedding = _shape(text, "text_projection", 2, source)
    layers = _depth(visual)
    grid = math.isqrt(max(places - 1, 0))
    try:
        return CLIPConfig(
            image=grid * patch,
            patch=patch,
            width=width,
            layers=layers,
            heads=width // VISUAL_HEAD_WIDTHS.get(width, HEAD_WIDTH),
            text_width=text_width,
            text_layers=_depth(text),
            text_heads=text_width // HEAD_WIDTH,
            context=context,
            vocabulary=vocabulary,
            embedding=embedding,
            vv_layers=round(VV_SHARE * layers),
            quick_gelu=quick_gelu,
        )
    except ValueError as error:
        raise ZeroflawError(f"{source}: entries do not fit: {error}") from None


def _with_vv_layers(config: CLIPConfig, count: int) -> CLIPConfig:
    try:
        return replace(config, vv_layers=count)
    except ValueError as error:
        raise ZeroflawError(f"{error}, the blocks of this tower") from None


def _shape(
    entries: Entries, name: str, dimensions: int, source: Path, front: str = ""
) -> tuple[int, ...]:
    if name not in entries:
        raise ZeroflawError(f"{source}: entries do not fit: missing {front}{name}")
    shape = tuple(entries[name].shape)
    if len(shape) != dimensions:
        raise ZeroflawError(
            f"{source}: {front}{name} has shape {shape}, expected {dimensions} dimensions"
        )
    return shape


def _depth(entries: Entries) -> int:
    numbers = [re.match(r"transformer\.resblocks\.(\d+)\.", name) for name in entries]
    return 1 + max((int(found[1]) for found in numbers if found), default=-1)


def _stored_config(path: Path) -> CLIPConfig | None:
    """Return the sizes that `save_clip` wrote with the entries, None for other files."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            stored = (file.metadata() or {}).get("clip")
        return None if stored is None else _sizes(json.loads(stored))
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise ZeroflawError(f"{path}: its sizes cannot be read ({error}); write it again") from None


def _sizes(stored: Mapping[str, Any]) -> CLIPConfig:
    """Return the sizes that JSON holds. Raises TypeError for one that is no whole number."""
    config = CLIPConfig(**stored)
    for name, value in asdict(config).items():
        if type(value) is not type(getattr(CLIPConfig, name)):
            raise TypeError(f"{name} is {value!r}")
    return config


def _check_numbers(entries: Mapping[str, Tensor], source: Path) -> None:
    """Raise ZeroflawError for an entry that is not finite, as in a damaged file."""
    for name, tensor in entries.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ZeroflawError(f"{source}: {name} holds NaN or infinity; download it again")


def _activation(path: Path, visual: Entries, told: bool | None) -> bool:
    """Return whether the weights were trained with QuickGELU. Raises ZeroflawError if unknown."""
    if told is not None:
        return told
    for name in ("config.json", "open_clip_config.json"):
        beside = path.with_name(name)
        if beside.is_file() and (found := _told_by(beside)) is not None:
            return found
    matrix = next((t for n, t in visual.items() if n.endswith("mlp.c_fc.weight")), None)
    if matrix is None or torch.equal(matrix.float(), matrix.half().float()):
        return True
    raise ZeroflawError(
        f"{path}: nothing tells the activation that these weights were trained with; put the "
        "publisher's config.json (Hugging Face) or open_clip_config.json (OpenCLIP) beside the file"
    )


def _told_by(path: Path) -> bool | None:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if "model_cfg" in content:  # OpenCLIP's; absent means GELU there
            return bool(content["model_cfg"].get("quick_gelu", False))
        named = content.get("vision_config", {}).get("hidden_act")
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        raise ZeroflawError(f"{path}: cannot be read; get it from the publisher again") from None
    return {"quick_gelu": True, "gelu": False}.get(named)
