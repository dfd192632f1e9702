"""MobileNet teaches the vision transformer to see, before that sees a single label.

No pretrained DINOv2 can be had offline, and a transformer that starts from nothing learns nothing from a few
hundred photographs. So it first learns to give back, cell by cell, what MobileNet V1 with its ImageNet
weights makes of our own pictures, cut, turned, blended and tinted without end (function matching, Beyer et
al. 2022, arXiv:2106.05237). No label is used, so one encoder serves every fold; the pictures of patients that
a fold holds out are among those it has seen.

What makes this fit into an hour on two cores: patch weights that start as whitened principal components,
Muon (orthogonalised momentum) for the square weights, and half the blocks for most of the steps
(Gong et al. 2019, "Efficient training of BERT by progressively stacking").
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from akazuba.training.data import Say
from akazuba.training.mobilenet import MobileNet
from akazuba.training.pictures import as_input
from akazuba.training.vit import PATCH_PX, WIDTH, VisionTransformer

SIDE = 224
"""What MobileNet sees; the transformer sees the same picture, smaller in the first phases."""

_MIDDLE_BLOCKS, _MIDDLE_SIDE, _LAST_SIDE = 11, 14, 7
"""Its output after 11 blocks (14 x 14 x 512) is the target half way up, the last (7 x 7 x 1024) on top."""

_SAMPLES = 12
"""Batches of 32 drawn pictures that its features are standardised over."""


@dataclass(frozen=True)
class Phase:
    """every: 2 runs every second block only. side: of the transformer's picture, a multiple of 14."""

    steps: int
    side: int
    batch: int
    every: int


PHASES = (Phase(3400, 112, 32, 2), Phase(1100, 112, 32, 1), Phase(500, 224, 16, 1))
RATE, MUON_RATE, WARM_UP, FLAT = 1e-3, 3e-3, 0.03, 0.4


@dataclass(frozen=True)
class Album:
    """Pictures (N, S, S, 3) of one kind, and how often one is drawn. turns: any side may be up."""

    pictures: npt.NDArray[np.uint8]
    share: float
    turns: bool


def pretrain(
    mobilenet: MobileNet,
    albums: Sequence[Album],
    phases: Sequence[Phase],
    seed: int,
    checkpoint: Path,
    say: Say,
) -> tuple[VisionTransformer, list[dict[str, float]]]:
    """Returns the transformer and its learning curve.

    r2_*: share of the variance of MobileNet's features that is given back: of cells, half way up, and of
    the mean over a picture. checkpoint: kept every few minutes, so that an interrupted run goes on.
    """
    torch.manual_seed(seed)
    pupil = _Pupil(VisionTransformer(), _Target(mobilenet, albums, seed))
    pupil.vit.patch_embed = _whitening(pupil.vit, albums, phases[0].side, seed)
    optimisers = _optimisers(pupil)
    done, curve = _resumed(checkpoint, pupil, optimisers)
    total = sum(phase.steps for phase in phases)
    recent: list[tuple[float, ...]] = []
    for step in range(done, total):
        rng = np.random.default_rng((seed, step))
        phase = _phase_of(phases, step)
        _set_rate(optimisers, step / total)
        with torch.autocast("cpu", torch.bfloat16):
            loss, agreement = pupil.lesson(draw(albums, phase.batch, rng), phase)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(pupil.parameters(), 3.0)
        for optimiser in optimisers:
            optimiser.step()
        recent.append(agreement)
        if (step + 1) % 100 == 0 or step + 1 == total:
            names = ("r2_cells", "r2_middle", "r2_picture")
            means = [round(float(value), 4) for value in np.mean(recent, axis=0)]
            curve.append({"step": step + 1, "side": phase.side, **dict(zip(names, means, strict=True))})
            say(f"learning to see: step {step + 1}/{total}  {curve[-1]}")
            recent = []
            _keep(checkpoint, pupil, optimisers, step + 1, curve)
    return pupil.vit.eval(), curve


def draw(albums: Sequence[Album], count: int, rng: np.random.Generator) -> Tensor:
    """Pictures (B, 3, SIDE, SIDE) in -1..1: cut to 25 to 100 % of the area, mirrored, turned, tinted; one in
    four is blended with another.
    """
    shares = np.array([album.share for album in albums])
    chosen = rng.choice(len(albums), count, p=shares / shares.sum())
    raw = [albums[a].pictures[rng.integers(len(albums[a].pictures))] for a in chosen]
    turns = torch.tensor([albums[a].turns for a in chosen])
    x = as_input(np.stack(raw))
    zoom = rng.uniform(0.25, 1.0, count) ** 0.5
    aspect = np.exp(rng.uniform(-0.25, 0.25, count))
    wide, high = np.minimum(1.0, zoom * aspect), np.minimum(1.0, zoom / aspect)
    mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    upside = np.where(turns & (rng.random(count) < 0.5), -1.0, 1.0)
    grid = torch.zeros(count, 2, 3)
    grid[:, 0, 0], grid[:, 0, 2] = _tensor(wide * mirror), _tensor(rng.uniform(-1, 1, count) * (1 - wide))
    grid[:, 1, 1], grid[:, 1, 2] = _tensor(high * upside), _tensor(rng.uniform(-1, 1, count) * (1 - high))
    places = nn.functional.affine_grid(grid, [count, 3, SIDE, SIDE], align_corners=False)
    x = nn.functional.grid_sample(x, places, padding_mode="reflection", align_corners=False)
    quarter = turns & torch.from_numpy(rng.random(count) < 0.5)
    x = torch.where(quarter[:, None, None, None], x.transpose(2, 3), x)
    tint = torch.where(turns[:, None], _tensor(rng.uniform(0.88, 1.12, (count, 3))), torch.ones(count, 3))
    middle = x.mean((1, 2, 3), keepdim=True)
    contrast, light = _tensor(rng.uniform(0.7, 1.3, count)), _tensor(rng.uniform(-0.2, 0.2, count))
    x = (x - middle) * _each(contrast) + middle + _each(light)
    x = (((x + 1) * tint[:, :, None, None]) - 1).clamp(-1, 1)
    own = _each(_tensor(np.where(rng.random(count) < 0.25, rng.uniform(0.3, 0.7, count), 1.0)))
    x = own * x + (1 - own) * x[torch.from_numpy(rng.permutation(count))]
    return x.contiguous(memory_format=torch.channels_last)


def _tensor(values: npt.NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]


class _Target:
    """MobileNet's features, each channel with mean 0 and deviation 1 over drawn pictures."""

    def __init__(self, mobilenet: MobileNet, albums: Sequence[Album], seed: int) -> None:
        self._net = mobilenet
        rng = np.random.default_rng((seed, -1 % 2**32))
        drawn = [self._raw(draw(albums, 32, rng)) for _ in range(_SAMPLES)]
        middle, last = (torch.cat([pair[i] for pair in drawn]) for i in (0, 1))
        self._middle = _mean_and_deviation(middle.flatten(0, 1), 0.05)
        self._last = _mean_and_deviation(last.flatten(0, 1), 0.05)
        self._picture = _mean_and_deviation(last.mean(1), 0.02)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Half way up (B, 196, 512), last cells (B, 49, 1024), their mean over the picture (B, 1024)."""
        middle, last = self._raw(x)
        (m, md), (c, cd), (p, pd) = self._middle, self._last, self._picture
        return (middle - m) / md, (last - c) / cd, (last.mean(1) - p) / pd

    def picture(self, last: Tensor) -> Tensor:
        """The mean over the picture that belongs to standardised last cells."""
        (c, cd), (p, pd) = self._last, self._picture
        return ((last * cd + c).mean(1) - p) / pd

    def _raw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            middle = self._net.lower(x, _MIDDLE_BLOCKS)
            last = self._net.upper(middle, _MIDDLE_BLOCKS)
        return middle.flatten(2).transpose(1, 2).float(), last.float()


def _mean_and_deviation(x: Tensor, least: float) -> tuple[Tensor, Tensor]:
    return x.mean(0), x.std(0) + least


class _Pupil(nn.Module):
    def __init__(self, vit: VisionTransformer, target: _Target) -> None:
        super().__init__()
        self.vit = vit
        self.middle, self.last = nn.Linear(WIDTH, 512), nn.Linear(WIDTH, 1024)
        self._target = target

    def lesson(self, x: Tensor, phase: Phase) -> tuple[Tensor, tuple[float, ...]]:
        """Loss, and how much of each target's variance was given back."""
        targets = self._target(x)
        grid = phase.side // PATCH_PX
        small = nn.functional.interpolate(x, (phase.side, phase.side), mode="area")
        h = self.vit.lower(small, 0)
        blocks = list(self.vit.blocks)[:: phase.every]
        for block in blocks[: len(blocks) // 2]:
            h = block(h)
        middle = _resized(self.middle(h[:, 1:]).float(), grid, _MIDDLE_SIDE)
        for block in blocks[len(blocks) // 2 :]:
            h = block(h)
        last = _resized(self.last(self.vit.norm(h)[:, 1:]).float(), grid, _LAST_SIDE)
        given = (middle, last, self._target.picture(last))
        errors = [nn.functional.mse_loss(mine, target) for mine, target in zip(given, targets, strict=True)]
        agreement = [
            1 - float(error.detach()) / float((t**2).mean()) for error, t in zip(errors, targets, strict=True)
        ]
        loss = 0.5 * errors[0] + errors[1] + 0.5 * errors[2]
        return loss, (agreement[1], agreement[0], agreement[2])


def _resized(cells: Tensor, grid: int, side: int) -> Tensor:
    """(B, grid², C) -> (B, side², C)."""
    square = cells.transpose(1, 2).unflatten(2, (grid, grid))
    square = nn.functional.interpolate(square, (side, side), mode="bilinear", align_corners=False)
    return square.flatten(2).transpose(1, 2)


def _whitening(vit: VisionTransformer, albums: Sequence[Album], side: int, seed: int) -> nn.Module:
    """Patch weights that give the patches' principal components about equal size, in random directions."""
    rng = np.random.default_rng((seed, -2 % 2**32))
    x = torch.cat([draw(albums, 32, rng) for _ in range(8)])
    x = nn.functional.interpolate(x, (side, side), mode="area") * vit.gain + vit.shift
    patches = nn.functional.unfold(x, PATCH_PX, stride=PATCH_PX).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    _, sizes, directions = torch.linalg.svd(patches - mean, full_matrices=False)
    deviation = sizes[:WIDTH] / math.sqrt(len(patches))
    white = directions[:WIDTH] / (deviation + 0.3 * deviation.mean())[:, None]
    weight = 0.5 * torch.linalg.qr(torch.randn(WIDTH, WIDTH))[0] @ white
    embed = vit.patch_embed
    with torch.no_grad():
        embed.proj.weight.copy_(weight.view_as(embed.proj.weight))
        embed.proj.bias.copy_(-(weight @ mean))
    return embed


def _optimisers(pupil: _Pupil) -> list[torch.optim.Optimizer]:
    square = [p for p in pupil.vit.blocks.parameters() if p.ndim == 2]
    ids = {id(p) for p in square}
    others = [p for p in pupil.parameters() if id(p) not in ids]
    return [
        torch.optim.AdamW(others, RATE, weight_decay=0.05, betas=(0.9, 0.95)),
        torch.optim.Muon(
            square, MUON_RATE, weight_decay=0.05, momentum=0.95, ns_steps=4, adjust_lr_fn="match_rms_adamw"
        ),
    ]


def _set_rate(optimisers: Sequence[torch.optim.Optimizer], share: float) -> None:
    """share: of the steps that are done. Warm-up, then flat, then down to 2 % in a line."""
    factor = min(1.0, share / WARM_UP) * min(1.0, max(0.02, 1 - (share - FLAT) / (1 - FLAT)))
    for optimiser, rate in zip(optimisers, (RATE, MUON_RATE), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * factor


def _phase_of(phases: Sequence[Phase], step: int) -> Phase:
    for phase in phases:
        if step < phase.steps:
            return phase
        step -= phase.steps
    raise IndexError(step)


def _keep(
    path: Path,
    pupil: _Pupil,
    optimisers: Sequence[torch.optim.Optimizer],
    step: int,
    curve: Sequence[Mapping[str, float]],
) -> None:
    state = {
        "pupil": pupil.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        "step": step,
        "curve": list(curve),
    }
    save_whole(state, path)


def save_whole(found: Mapping[str, object], path: Path) -> None:
    """What is cut off while it is saved leaves no file that looks finished."""
    part = path.with_suffix(".part")
    torch.save(dict(found), part)
    part.replace(path)


def _resumed(
    path: Path, pupil: _Pupil, optimisers: Sequence[torch.optim.Optimizer]
) -> tuple[int, list[dict[str, float]]]:
    if not path.exists():
        return 0, []
    state = torch.load(path)
    pupil.load_state_dict(state["pupil"])
    for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(kept)
    return state["step"], state["curve"]


def recipe(phases: Sequence[Phase]) -> list[dict[str, int]]:
    """The phases as they stand in the record."""
    return [asdict(phase) for phase in phases]
