"""Published weights: where they are, under which licence, and how they get onto this machine.

Nothing is fetched unless `fetch` is called.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from torch import nn

from zeroflaw.encoders.clip_weights import load_towers
from zeroflaw.encoders.pointbert import load_pointbert
from zeroflaw.encoders.pointnet2 import load_pointnet2
from zeroflaw.encoders.text import load_text_tower
from zeroflaw.io.download import Progressed, bar, download, file_digest
from zeroflaw.types import ZeroflawError


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    url: fetches it without an account. page: where a person finds it. size: bytes, None where
    unknown. sha256: None where nobody states it. loader: path to module. notes: what is unsure.
    """

    name: str
    filename: str
    publisher: str
    url: str
    page: str
    licence: str
    purpose: str
    loader: Callable[[Path], nn.Module]
    size: int | None = None
    sha256: str | None = None
    notes: str = ""


WEIGHTS: dict[str, WeightFile] = {
    entry.name: entry
    for entry in (
        WeightFile(
            name="ulip2-pointbert",
            filename="ULIP-2-PointBERT-10k-xyzrgb-pc-vit_g-objaverse_shapenet-pretrained.pt",
            publisher="Salesforce Research, Hugging Face data set SFXX/ulip",
            url="https://huggingface.co/datasets/SFXX/ulip/resolve/main/ULIP-2/pretrained_models/"
            "ULIP-2-PointBERT-10k-xyzrgb-pc-vit_g-objaverse_shapenet-pretrained.pt",
            page="https://huggingface.co/datasets/SFXX/ulip/tree/main/ULIP-2/pretrained_models",
            licence="code BSD-3-Clause; none stated for the weights; trained on ULIP-Objaverse "
            "(ODC-By 1.0) and ULIP-ShapeNet (ShapeNet's terms of use)",
            purpose="BTP's point encoder: training and inspection",
            loader=load_pointbert,
            size=402_018_241,
            sha256="a4b5ed9799d5841a1646e0fb7d24cb8dcdd3b3e6fab2e2575de2531f71274adb",
            notes="size and sha256 as users of the file measured them; the publisher states none",
        ),
        WeightFile(
            name="clip-bigg",
            filename="open_clip_pytorch_model.safetensors",
            publisher="LAION, Hugging Face laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
            url="https://huggingface.co/laion/CLIP-ViT-bigG-14-laion2B-39B-b160k/resolve/main/"
            "open_clip_pytorch_model.safetensors",
            page="https://huggingface.co/laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
            licence="MIT",
            purpose="BTP's text tower: training and new prompts only, never inspection",
            loader=load_text_tower,
            size=10_158_382_892,
            sha256="db71bd27925917762c506c1b8a08e191d236e5586b5cd99f77d11aced578ec34",
            notes="size and sha256 from a listed duplicate of the publisher's repository",
        ),
        WeightFile(
            name="clip-bigg-torch",
            filename="open_clip_pytorch_model.bin",
            publisher="LAION, Hugging Face laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
            url="https://huggingface.co/laion/CLIP-ViT-bigG-14-laion2B-39B-b160k/resolve/main/"
            "open_clip_pytorch_model.bin",
            page="https://huggingface.co/laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
            licence="MIT",
            purpose="the same text tower as clip-bigg, as BTP's authors use it",
            loader=load_text_tower,
            sha256="0d5318839ad03607c48055c45897c655a14c0276a79f6b867934ddd073760e39",
            notes="about 10.2 GB; sha256 from the publisher's page",
        ),
        WeightFile(
            name="pointnet2-s3dis",
            filename="best_model.pth",
            publisher="Xu Yan, GitHub yanx27/Pointnet_Pointnet2_pytorch",
            url="https://github.com/yanx27/Pointnet_Pointnet2_pytorch/raw/"
            "eb64fe0b4c24055559cea26299cb485dcb43d8dd/"
            "log/sem_seg/pointnet2_sem_seg/checkpoints/best_model.pth",
            page="https://github.com/yanx27/Pointnet_Pointnet2_pytorch/tree/master/log/sem_seg/"
            "pointnet2_sem_seg/checkpoints",
            licence="MIT, of the repository; trained on S3DIS (its own terms of use)",
            purpose="GS-CLIP's point encoder: training",
            loader=load_pointnet2,
            sha256="5ac6896d077ca7302fc263626f8239cffc9717785f067ea94221194dfcb79625",
            notes="sha256 as users of the file measured it; the publisher states none",
        ),
        WeightFile(
            name="clip-vit-l-336",
            filename="ViT-L-14-336px.pt",
            publisher="OpenAI, as its repository github.com/openai/CLIP loads it",
            url="https://openaipublic.azureedge.net/clip/models/"
            "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/ViT-L-14-336px.pt",
            page="https://github.com/openai/CLIP",
            licence="MIT for the repository; its model card calls the weights a research output",
            purpose="both towers of the view-based methods: training; inspection needs the visual",
            loader=load_towers,
            size=934_088_680,
            sha256="3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
            notes="sha256 from the address, as the publisher checks it; size as users measured it",
        ),
        WeightFile(
            name="clip-vit-l-336-float32",
            filename="pytorch_model.bin",
            publisher="OpenAI, Hugging Face openai/clip-vit-large-patch14-336",
            url="https://huggingface.co/openai/clip-vit-large-patch14-336/resolve/main/"
            "pytorch_model.bin",
            page="https://huggingface.co/openai/clip-vit-large-patch14-336",
            licence="MIT for the repository; its model card calls the weights a research output",
            purpose="the same weights as clip-vit-l-336 in Hugging Face's layout",
            loader=load_towers,
            size=1_711_974_081,
            sha256="c6032c2e0caae3dc2d4fba35535fa6307dbb49df59c7e182b1bc4b3329b81801",
            notes="sha256 from the publisher's page; size as users of the file measured it",
        ),
    )
}


def home() -> Path:
    """Return the folder for weights: under ZEROFLAW_HOME, or the platform's cache folder."""
    if chosen := os.environ.get("ZEROFLAW_HOME"):
        return Path(chosen) / "weights"
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "zeroflaw" / "weights"


def known(name: str) -> WeightFile:
    """Return the entry of that name. Raises ZeroflawError that lists the names there are."""
    if name not in WEIGHTS:
        raise ZeroflawError(f"no weights are called {name!r}; there are {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def listing() -> list[tuple[WeightFile, Path | None]]:
    """Return every entry with its path on this machine, None where it is not there."""
    return [(entry, path if path.is_file() else None) for entry, path in _places()]


def _places() -> list[tuple[WeightFile, Path]]:
    return [(entry, home() / entry.filename) for entry in WEIGHTS.values()]


def path_of(name: str) -> Path:
    """Return where the file lies. Raises ZeroflawError that says how to get it if it does not."""
    entry = known(name)
    path = home() / entry.filename
    if not path.is_file():
        raise ZeroflawError(
            f"{entry.filename} is not on this machine; run `zeroflaw weights fetch {name}`, or get "
            f"it from {entry.page} and run `zeroflaw weights import FILE`"
        )
    return path


def load(name: str) -> nn.Module:
    """Return the frozen module that the file holds. Raises ZeroflawError as `path_of` does."""
    return known(name).loader(path_of(name))


def import_file(path: Path, name: str | None = None, check: bool = True) -> Path:
    """Put a file that the user has into the cache and return its place there.

    name: which weights it is; by default the entry with its file name. check: compare size and
    sha256 where they are known. The file itself stays where it is (hard link, or a copy). Raises
    ZeroflawError.
    """
    path = Path(path)
    if not path.is_file():
        raise ZeroflawError(f"{path}: there is no such file; check the path")
    matching = [entry for entry in WEIGHTS.values() if entry.filename == path.name]
    if name is None and not matching:
        names = ", ".join(f"{e.name} ({e.filename})" for e in WEIGHTS.values())
        raise ZeroflawError(f"{path}: cannot tell which weights this is; name one of {names}")
    entry = matching[0] if name is None else known(name)
    if check:
        _verify(path, entry)
    target = home() / entry.filename
    if target.exists() and target.samefile(path):
        return target
    partial = target.with_name(target.name + ".import")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)
        partial.replace(target)
    except OSError as error:
        raise ZeroflawError(
            f"{target}: cannot be written ({error.strerror}); free some space, or name another "
            "folder in ZEROFLAW_HOME"
        ) from None
    return target


def fetch(
    name: str,
    progress: Progressed | None = None,
    url: str | None = None,
) -> Path:
    """Download a file into the cache, going on where an interrupted download stopped.

    progress: called with the bytes so far and the total, None where unknown; by default a bar on
    stderr, if that is a terminal. url: another address of the same file. Returns its path. Raises
    ZeroflawError if it cannot be had or is not the published file.
    """
    entry = known(name)
    target = home() / entry.filename
    if target.is_file():
        return target
    partial = target.with_name(target.name + ".part")
    address = url or entry.url
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with bar(name) as show:
            download(address, partial, progress or show)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ZeroflawError(
            f"{address}: {reason}; run `zeroflaw weights fetch {name}` again to go on, or get it "
            f"from {entry.page} and run `zeroflaw weights import FILE`"
        ) from error
    try:
        _verify(partial, entry)
    except ZeroflawError:
        partial.unlink()
        raise
    partial.replace(target)
    return target


def _verify(path: Path, entry: WeightFile) -> None:
    """Raise ZeroflawError unless size and sha256 are the published ones, where these are known."""
    size = path.stat().st_size
    if entry.size is not None and size != entry.size:
        raise ZeroflawError(
            f"{path}: has {size} bytes, {entry.name} has {entry.size}; get it from {entry.page}"
        )
    if entry.sha256 is None:
        return
    found = file_digest(path)
    if found != entry.sha256:
        source = f" ({entry.notes})" if entry.notes else ""
        raise ZeroflawError(
            f"{path}: sha256 {found} is not {entry.name}'s {entry.sha256}{source}; "
            f"get it from {entry.page}"
        )
