"""A vision transformer of DINOv2's shape (ViT-S/14), so that real DINOv2 weights can take its place.

Oquab et al. 2023 (arXiv:2304.07193): patches of 14 px, 384 wide, 12 blocks of 6 heads, LayerScale. Parameters
carry the names of the official checkpoint. Pictures come in -1..1 like everywhere here and are brought to
ImageNet's mean and deviation inside.
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from akazuba.errors import ArtefactError
from akazuba.training.attention import masked_attention

PATCH_PX = 14
WIDTH = 384
HEADS = 6
DEPTH = 12
_GRID = 37
"""Side of the position grid: DINOv2 learned it at 518 px; other sides are interpolated."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, of 0..1


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj(masked_attention(q, k, v, None, HEADS))


class _Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, 4 * WIDTH)
        self.fc2 = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class _LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.attn = _Attention()
        self.ls1 = _LayerScale()
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = _Mlp()
        self.ls2 = _LayerScale()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH_PX, PATCH_PX)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class VisionTransformer(nn.Module):
    """Pictures (B, 3, S, S) in -1..1, S a multiple of 14 -> cells (B, (S/14)², 384)."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _GRID * _GRID, WIDTH))
        self.patch_embed = _PatchEmbed()
        self.blocks = nn.ModuleList(_Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        mean, deviation = torch.tensor(_MEAN), torch.tensor(_DEVIATION)
        self.register_buffer("gain", (128 / 255 / deviation)[:, None, None], persistent=False)
        self.register_buffer("shift", ((128 / 255 - mean) / deviation)[:, None, None], persistent=False)
        self.apply(_initialise)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        with torch.no_grad():  # neighbours in the grid start alike
            coarse = torch.randn(1, WIDTH, 8, 8) * 0.02
            fine = nn.functional.interpolate(coarse, (_GRID, _GRID), mode="bicubic")
            self.pos_embed[:, 1:] = fine.flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.upper(self.lower(x, 0), 0)

    def lower(self, x: Tensor, blocks: int) -> Tensor:
        """Tokens (B, 1 + (S/14)², 384), the summary token first, after the first `blocks` blocks."""
        patches = self.patch_embed(x * self.gain + self.shift)
        grid = math.isqrt(self.pos_embed.shape[1] - 1)
        places = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
        places = nn.functional.interpolate(places, patches.shape[2:], mode="bicubic", align_corners=False)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([first, (patches + places).flatten(2).transpose(1, 2)], 1)
        for block in self.blocks[:blocks]:
            x = block(x)
        return x

    def upper(self, x: Tensor, blocks: int) -> Tensor:
        """Cells, from `lower(x, blocks)`."""
        for block in self.blocks[blocks:]:
            x = block(x)
        return self.norm(x)[:, 1:]

    def settle(self, side: int) -> None:
        """Keeps the grid of places that the largest picture needs: a sixth of DINOv2's, held in memory."""
        grid = math.isqrt(self.pos_embed.shape[1] - 1)
        places = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
        size = (side // PATCH_PX, side // PATCH_PX)
        places = nn.functional.interpolate(places, size, mode="bicubic", align_corners=False)
        kept = torch.cat([self.pos_embed[:, :1], places.flatten(2).transpose(1, 2)], 1)
        self.pos_embed = nn.Parameter(kept.detach(), requires_grad=self.pos_embed.requires_grad)

    def fold_scales(self) -> None:
        """Puts each LayerScale into the weights in front of it: the same function with fewer steps."""
        for block in self.blocks:
            for scale, linear in ((block.ls1, block.attn.proj), (block.ls2, block.mlp.fc2)):
                with torch.no_grad():
                    linear.weight.mul_(scale.gamma[:, None])
                    linear.bias.mul_(scale.gamma)
            block.ls1, block.ls2 = nn.Identity(), nn.Identity()

    def places(self, low: Tensor) -> Tensor:
        """(B, 384, places of the picture)."""
        return low[:, 1:].transpose(1, 2)

    def lower_parameters(self, blocks: int) -> list[nn.Parameter]:
        """What `lower` reads."""
        parts = [self.patch_embed, *self.blocks[:blocks]]
        return [self.cls_token, self.pos_embed, *(p for part in parts for p in part.parameters())]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


# The names in Hugging Face's copy of the checkpoint (facebook/dinov2-small; what transformers 5 saves calls
# the parts of attention q_proj to o_proj), as (pattern, official name).
_RENAMED = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.attention\.(?:output\.dense|o_proj)\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layer\.(\d+)\.attention\.(?:attention\.query|q_proj)\.", r"blocks.\1.attn.q."),
    (r"^encoder\.layer\.(\d+)\.attention\.(?:attention\.key|k_proj)\.", r"blocks.\1.attn.k."),
    (r"^encoder\.layer\.(\d+)\.attention\.(?:attention\.value|v_proj)\.", r"blocks.\1.attn.v."),
    (r"^encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1$", r"blocks.\1.ls\2.gamma"),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"^layernorm\.", "norm."),
)


def read_dinov2(path: Path) -> dict[str, Tensor]:
    """DINOv2 ViT-S/14 weights under official names, from `dinov2_vits14_pretrain.pth` or from the
    `model.safetensors` of facebook/dinov2-small. Raises ArtefactError when the file is neither.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = _official_names(load_file(str(path)))
        else:
            found = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch, pickle and safetensors share no base class
        raise ArtefactError(str(path), "DINOv2 weights (.pth or .safetensors)", str(error)) from error
    found = {name: tensor for name, tensor in found.items() if "mask_token" not in name}
    expected = {name: tensor.shape for name, tensor in VisionTransformer().state_dict().items()}
    for name, shape in expected.items():
        if name not in found or found[name].shape != shape:
            what = f"of shape {tuple(found[name].shape)}" if name in found else "nothing of that name"
            raise ArtefactError(str(path), f"{name} of shape {tuple(shape)}", what)
    if extra := sorted(found.keys() - expected.keys()):
        raise ArtefactError(str(path), "the weights of a ViT-S/14 and nothing else", extra[0])
    return found


def _official_names(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        for pattern, official in _RENAMED:
            new, hits = re.subn(pattern, official, name)
            if hits:
                name = new  # noqa: PLW2901
                break
        found[name] = tensor
    for block in range(DEPTH):
        for kind in ("weight", "bias"):
            parts = [f"blocks.{block}.attn.{part}.{kind}" for part in "qkv"]
            if all(part in found for part in parts):
                found[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat([found.pop(part) for part in parts])
    return found
