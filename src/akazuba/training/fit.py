"""Fits one image kind: the lower part of the image encoder is cached, the rest is trained.

Two stages in one run. The heads learn fast on features that change slowly; the upper blocks and the
note encoder start from what they already know (ImageNet; reading) and move at a tenth of that rate.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from akazuba.diagnosis.wordpiece import WordPiece
from akazuba.training.data import Examples
from akazuba.training.network import FROZEN_BLOCKS, Fusion, ImageEncoder, ImageHead, NoteEncoder
from akazuba.training.notes import Facts, render, thinned
from akazuba.training.reading import as_tensors

Say = Callable[[str], None]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """How one kind is trained. side: input side in pixels; through: side of the training pictures.

    copies: distorted copies of each picture in the cache, beside the picture itself.
    flips: mirroring and quarter turns change nothing (true of skin, false of a chest).
    """

    side: int
    through: int
    copies: int
    epochs: int
    flips: bool
    turn_degrees: float
    folds: int
    encoder_rate: float = 1e-4
    head_rate: float = 1e-3
    weight_decay: float = 0.05
    batch: int = 32


Lows = tuple[Tensor, ...]
"""Outputs of the frozen blocks, each (N, 256, H, W) in half precision: undistorted, then distorted copies."""


@dataclass(frozen=True)
class Trained:
    encoder: ImageEncoder
    head: Fusion | ImageHead
    reader: NoteEncoder | None


def cache(encoder: ImageEncoder, pictures: npt.NDArray[np.uint8], recipe: Recipe, seed: int) -> Lows:
    """Runs the frozen blocks over every picture and its distorted copies."""
    generator = torch.Generator().manual_seed(seed)
    lows: list[Tensor] = []
    for number in range(1 + recipe.copies):
        parts = []
        for start in range(0, len(pictures), 64):
            x = _as_input(pictures[start : start + 64])
            if number:
                x = _distorted(x, recipe, generator)
            with torch.inference_mode():
                low = encoder.net.lower(x.contiguous(memory_format=torch.channels_last), FROZEN_BLOCKS)
            parts.append(low.half())
        lows.append(torch.cat(parts))
    return tuple(lows)


def _as_input(pictures: npt.NDArray[np.uint8]) -> Tensor:
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 128) / 128


def _distorted(x: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Turned, zoomed, shifted, brighter or darker, with more or less contrast, of another tint."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(x), *shape, generator=generator)

    angle = uniform(-recipe.turn_degrees, recipe.turn_degrees) * (torch.pi / 180)
    zoom = uniform(0.8, 1.1)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) if recipe.flips else torch.ones(len(x))
    move = uniform(-0.08, 0.08, 2)
    rows = [
        torch.stack([zoom * mirror * angle.cos(), -zoom * angle.sin(), move[:, 0]], 1),
        torch.stack([zoom * mirror * angle.sin(), zoom * angle.cos(), move[:, 1]], 1),
    ]
    grid = nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    x = nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    tint = uniform(0.92, 1.08, 3, 1, 1) if recipe.flips else torch.ones(len(x), 1, 1, 1)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * uniform(0.8, 1.2, 1, 1, 1) + middle + uniform(-0.15, 0.15, 1, 1, 1)
    return (((x + 1) * tint) - 1).clamp(-1, 1)


def fit(
    base: ImageEncoder,
    reader: tuple[NoteEncoder, WordPiece] | None,
    lows: Lows,
    examples: Examples,
    train: npt.NDArray[np.int64],
    *,
    recipe: Recipe,
    seed: int,
    say: Say,
) -> tuple[Trained, list[dict[str, float]]]:
    """Trains on the examples numbered `train`; returns the networks and the learning curve.

    The loss adds the log prior to the scores (logit adjustment, Menon et al. 2021, arXiv:2007.07314),
    so that a score is a log likelihood and a rare label is not drowned. With notes, each batch is
    read three times: picture and note, picture alone, note alone (modality dropout without dice).
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)  # noqa: S311 (not a secret)
    labels = torch.from_numpy(examples.labels)
    encoder = copy.deepcopy(base)
    head: Fusion | ImageHead
    if reader is None:
        head, note_encoder, groups = ImageHead(len(examples.label_names)), None, []
    else:
        head, note_encoder = Fusion(len(examples.label_names)), copy.deepcopy(reader[0]).train()
        groups = [{"params": list(note_encoder.parameters()), "lr": recipe.encoder_rate}]
    _standardise(encoder, head, lows[0][torch.from_numpy(train)])
    upper = [p for p in encoder.parameters() if p.requires_grad]
    groups += [
        {"params": upper, "lr": recipe.encoder_rate},
        {"params": list(head.parameters()), "lr": recipe.head_rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * -(-len(train) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [group["lr"] for group in optimiser.param_groups], total_steps=steps, pct_start=0.15
    )
    prior = torch.from_numpy(np.log(examples.prior)).float()
    head.train()
    curve = []
    for epoch in range(1, recipe.epochs + 1):
        order = torch.randperm(len(train)).numpy()
        total = 0.0
        for start in range(0, len(order), recipe.batch):
            chosen = train[order[start : start + recipe.batch]]
            copies = [lows[rng.randrange(len(lows))][i] for i in chosen]
            low = torch.stack(copies).float().contiguous(memory_format=torch.channels_last)
            cells = encoder.net.upper(low, FROZEN_BLOCKS)
            words = None
            if reader is not None and note_encoder is not None:
                notes = [_nurse_note(examples.facts[i], rng) for i in chosen]
                words = _words(note_encoder, reader[1], notes)
            loss = sum(
                nn.functional.cross_entropy(scores + prior, labels[chosen])
                for scores in scores_by_mode(head, cells, words).values()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen) / len(train)
        curve.append({"epoch": epoch, "loss": round(total, 4)})
        say(f"  epoch {epoch}/{recipe.epochs}  loss {total:.3f}")
    trained = Trained(encoder.eval(), head.eval(), note_encoder.eval() if note_encoder is not None else None)
    return trained, curve


def _nurse_note(facts: Facts, rng: random.Random) -> str:
    return render(thinned(facts, rng, keep=rng.choice((0.6, 0.9, 1.0, 1.0))), rng)


def _standardise(encoder: ImageEncoder, head: Fusion | ImageHead, low: Tensor) -> None:
    """Sets the head's channel means and scales from the training pictures, before training."""
    alone = head.image_alone if isinstance(head, Fusion) else head
    with torch.inference_mode():
        means = [encoder.net.upper(part.float(), FROZEN_BLOCKS).mean(1) for part in low[:512].split(64)]
    mean_cell = torch.cat(means)
    alone.cell_mean.copy_(mean_cell.mean(0))
    alone.cell_scale.copy_(1 / (mean_cell.std(0) + 0.05))


def _words(encoder: NoteEncoder, pieces: WordPiece, notes: Sequence[str]) -> tuple[Tensor, Tensor]:
    numbers, mask = as_tensors(notes, pieces)
    return encoder(numbers, mask), mask


def scores_by_mode(
    head: Fusion | ImageHead, cells: Tensor, words: tuple[Tensor, Tensor] | None
) -> dict[str, Tensor]:
    """Scores of the picture alone and, when there are notes, of the note alone and of both."""
    open_ = torch.ones(cells.shape[:2])
    if isinstance(head, ImageHead) or words is None:
        return {"image": head(cells, open_)[:, 0]}
    vectors, mask = words
    return {
        "fused": head(cells, open_, vectors, mask).sum(1),
        "image": head(cells, open_, vectors, torch.zeros_like(mask)).sum(1),
        "text": head(cells, torch.zeros_like(open_), vectors, mask).sum(1),
    }


def predict(
    trained: Trained, low: Tensor, notes: Sequence[str], pieces: WordPiece | None
) -> Mapping[str, Floats]:
    """Scores (N, L) for each mode."""
    parts: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for start in range(0, len(low), 64):
            cells = trained.encoder.net.upper(low[start : start + 64].float(), FROZEN_BLOCKS)
            words = None
            if trained.reader is not None and pieces is not None:
                words = _words(trained.reader, pieces, notes[start : start + 64])
            for mode, scores in scores_by_mode(trained.head, cells, words).items():
                parts.setdefault(mode, []).append(scores)
    return {mode: torch.cat(list_).double().numpy() for mode, list_ in parts.items()}
