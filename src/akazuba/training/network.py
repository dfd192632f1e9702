"""The trained network: image encoder, note encoder and a fusion that respects padding.

Three parts, because three graphs are shipped: the image encoder turns a picture into cells, the note
encoder turns word pieces into vectors, and the fusion turns both into scores. Either may be absent.
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from akazuba.training.mobilenet import MobileNet

WIDTH = 128
MAX_PIECES = 96
FROZEN_BLOCKS = 5
"""Blocks of the image encoder that keep their ImageNet weights; their output is cached in training."""


class ImageEncoder(nn.Module):
    """Pictures (B, 3, S, S) in -1..1 -> cells (B, (S/32)², 1024) and texture (B, 512).

    texture: mean and standard deviation over the picture of the 256 channels that leave the frozen
    blocks. It is the same for every training run and tells one kind of image from another.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.net = MobileNet(weights)
        for step in self.net.steps[: 1 + 2 * FROZEN_BLOCKS]:
            step.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.net.lower(x, FROZEN_BLOCKS)
        return self.net.upper(low, FROZEN_BLOCKS), texture(low)


def texture(low: Tensor) -> Tensor:
    """Mean and standard deviation of each channel: (B, C, H, W) -> (B, 2C)."""
    mean = low.mean((2, 3))
    variance = (low * low).mean((2, 3)) - mean * mean
    return torch.cat([mean, variance.clamp(min=1e-8).sqrt()], 1)


class Attention(nn.Module):
    """Multi-head attention in plain operations, so that it exports as such.

    `open_` (B, K) is 1 where a key may be looked at, 0 where it is padding or absent.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, open_: Tensor) -> Tensor:
        q = self._split(self.query(x))
        k, v = (self._split(part) for part in self.key_value(context).chunk(2, -1))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, heads, Q, K)
        scores = scores + (open_[:, None, None, :] - 1.0) * 1e4
        mixed = (scores.softmax(-1) @ v).transpose(1, 2)
        return self.out(mixed.flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, x.shape[-1] // self.heads)).transpose(1, 2)


class Block(nn.Module):
    """Pre-norm attention to a context (itself when none is given), then a two-layer perceptron."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, x: Tensor, context: Tensor | None, open_: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y if context is None else context, open_)
        return x + torch.as_tensor(self.mlp(x))


class NoteEncoder(nn.Module):
    """Word pieces (B, T) and their mask (B, T) -> vectors (B, T, WIDTH); the first sums up the note."""

    def __init__(self, vocabulary: int, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, WIDTH)
        self.place = nn.Parameter(torch.randn(MAX_PIECES, WIDTH) * 0.02)
        self.blocks = nn.ModuleList(Block(WIDTH, 0.1) for _ in range(layers))
        self.norm = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.embed.weight, std=0.05)

    def forward(self, pieces: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(pieces) + self.place[: pieces.shape[1]]
        for block in self.blocks:
            x = block(x, None, mask)
        return torch.as_tensor(self.norm(x))


class ImageHead(nn.Module):
    """Cells (B, N, 1024) and their mask (B, N) -> what the picture says of each label, (B, 1, L).

    That is log P(image | label) + constant: training adds the log prior (see `fit`). It is 0 where no
    cell is open.
    """

    def __init__(self, labels: int, cell_width: int = 1024) -> None:
        super().__init__()
        self.register_buffer("cell_mean", torch.zeros(cell_width))
        self.register_buffer("cell_scale", torch.ones(cell_width))
        self.dropout = nn.Dropout(0.3)
        self.linear = _silent(nn.Linear(cell_width, labels))

    def standard(self, cells: Tensor) -> Tensor:
        """Each channel with mean 0 and deviation 1 over the training pictures."""
        return (cells - self.cell_mean) * self.cell_scale

    def forward(self, cells: Tensor, cell_mask: Tensor) -> Tensor:
        seen = cell_mask.sum(1, keepdim=True)
        share = (cell_mask / seen.clamp(min=1.0))[:, None]  # (B, 1, N)
        mean = (share @ self.standard(cells))[:, 0]
        said = self.linear(self.dropout(mean)) * seen.clamp(max=1.0)
        return torch.as_tensor(said[:, None])


class Fusion(nn.Module):
    """Cells, words (B, T, WIDTH) and their masks -> three parts that add up, (B, 3, L).

    What the picture says alone, what the note says alone, and what only both together say (one layer of
    cross-attention in each direction; 0 when either is absent). They stay apart so that each can be
    weighed by how far it can be trusted (`diagnosis.calibration.fit_weights`).

    A learned token that is never masked stands in front of each stream, so that there is always
    something to look at. Cells or words may come once for a batch of masks: that is how regions and
    words are left out cheaply to explain an answer.
    """

    def __init__(self, labels: int, cell_width: int = 1024) -> None:
        super().__init__()
        self.image_alone = ImageHead(labels, cell_width)
        self.note_alone = _silent(nn.Linear(WIDTH, labels))
        self.narrow = nn.Linear(cell_width, WIDTH)
        self.image_token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.note_token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.to_image = Block(WIDTH, 0.2)  # what the picture takes from the note
        self.to_note = Block(WIDTH, 0.2)  # what the note takes from the picture
        self.dropout = nn.Dropout(0.3)
        self.together = _silent(nn.Linear(2 * WIDTH, labels))

    def forward(self, cells: Tensor, cell_mask: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        has_image, has_note = cell_mask.amax(1, keepdim=True), word_mask[:, :1]
        image_says = self.image_alone(cells, cell_mask)[:, 0]
        note_says = self.note_alone(words[:, 0]) * has_note

        always = torch.ones_like(has_note)
        image_open, note_open = torch.cat([always, cell_mask], 1), torch.cat([always, word_mask], 1)
        narrow = self.narrow(self.image_alone.standard(cells))
        image = torch.cat([self.image_token.expand(cells.shape[0], -1, -1), narrow], 1)
        note = torch.cat([self.note_token.expand(words.shape[0], -1, -1), words], 1)
        image, note = self.to_image(image, note, note_open), self.to_note(note, image, image_open)
        both = torch.cat([_masked_mean(image, image_open), _masked_mean(note, note_open)], 1)
        together_say = self.together(self.dropout(both)) * has_image * has_note
        shape = together_say.shape  # one picture or one note may stand for a batch of masks
        return torch.stack([image_says.expand(shape), note_says.expand(shape), together_say], 1)


def _silent(linear: nn.Linear) -> nn.Linear:
    """A last layer that starts at zero: before training, every label is equally likely."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _masked_mean(x: Tensor, open_: Tensor) -> Tensor:
    return (x * open_[..., None]).sum(1) / open_.sum(1, keepdim=True)
