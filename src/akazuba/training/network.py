"""The network: image encoder, note encoder, and a fusion that respects padding.

Teacher, student and tiny are one network in three sizes (`profiles.py`): the same parts with other encoders
and widths. Picture or note may be absent.
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from akazuba.training.attention import masked_attention

MAX_PIECES = 96
JOINT_WIDTH = 64
REACH = 16


class ImageNet(Protocol):
    """A network that can be cut at a block: what is below is frozen and cached in training."""

    def lower(self, x: Tensor, blocks: int) -> Tensor: ...

    def upper(self, low: Tensor, blocks: int) -> Tensor:
        """Cells (B, N, C), row by row from the top left."""

    def places(self, low: Tensor) -> Tensor:
        """What `lower` gives as (B, C, places of the picture)."""

    def lower_parameters(self, blocks: int) -> list[nn.Parameter]: ...


class ImageEncoder(nn.Module):
    """Pictures (B, 3, S, S) in -1..1 -> cells (B, N, C) and texture (B, 2K).

    texture: mean and standard deviation over the picture of the K channels that leave the frozen blocks. It
    is the same for every training run and tells one kind of image from another.
    """

    def __init__(self, net: ImageNet, frozen_blocks: int) -> None:
        super().__init__()
        self.net = net
        self.frozen_blocks = frozen_blocks
        for parameter in net.lower_parameters(frozen_blocks):
            parameter.requires_grad_(False)

    def lower(self, x: Tensor) -> Tensor:
        return self.net.lower(x, self.frozen_blocks)

    def upper(self, low: Tensor) -> Tensor:
        return self.net.upper(low, self.frozen_blocks)

    def texture(self, low: Tensor) -> Tensor:
        channels = self.net.places(low)
        mean = channels.mean(2)
        variance = (channels * channels).mean(2) - mean * mean
        return torch.cat([mean, variance.clamp(min=1e-8).sqrt()], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.lower(x)
        return self.upper(low), self.texture(low)


class NoteReader(Protocol):
    """Word pieces -> rows of a table -> vectors; the first one sums up the note."""

    @property
    def table(self) -> Tensor: ...

    def rows(self, pieces: Tensor) -> Tensor: ...

    def __call__(self, rows: Tensor, mask: Tensor) -> Tensor: ...


class Attention(nn.Module):
    """Attention from x (B, Q, D) to a context (B, K, D); `open_` as in `masked_attention`.

    reach: where x looks at itself, each head learns to like what stands up to so many places before or after.
    Without it two layers do not learn how far a "no" reaches: "no itch, growth or pain" is read wrong.
    """

    def __init__(self, width: int, reach: int = 0, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        if reach:
            self.near = nn.Parameter(torch.zeros(heads, 2 * reach + 1))
            self.reach = reach

    def forward(self, x: Tensor, context: Tensor, open_: Tensor) -> Tensor:
        k, v = self.key_value(context).chunk(2, -1)
        liking = None
        if hasattr(self, "near"):
            place = torch.arange(x.shape[1])
            offset = (place[None] - place[:, None]).clamp(-self.reach, self.reach)
            liking = self.near[:, offset + self.reach]
        return self.out(masked_attention(self.query(x), k, v, open_, self.heads, liking))


class Block(nn.Module):
    """Pre-norm attention to a context (itself when none is given), then a two-layer perceptron."""

    def __init__(self, width: int, dropout: float, reach: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, reach)
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
        return x + self.mlp(x)


class NoteEncoder(nn.Module):
    """The student's reader: rows of its table (B, T, W) and their mask (B, T) -> vectors (B, T, W)."""

    def __init__(self, vocabulary: int, width: int, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.place = nn.Parameter(torch.randn(MAX_PIECES, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 0.1, REACH) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=0.05)

    @property
    def table(self) -> Tensor:
        return self.embed.weight

    def rows(self, pieces: Tensor) -> Tensor:
        return self.embed(pieces)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        x = rows + self.place[: rows.shape[1]]
        for block in self.blocks:
            x = block(x, None, mask)
        return self.norm(x)


class ImageHead(nn.Module):
    """Cells (B, N, C) and their mask (B, N) -> what the picture says of each label, (B, 1, L).

    That is log P(image | label) + constant: training adds the log prior (see `fit`). It is 0 where no cell is
    open.
    """

    def __init__(self, labels: int, cell_width: int) -> None:
        super().__init__()
        self.register_buffer("cell_mean", torch.zeros(cell_width))
        self.register_buffer("cell_scale", torch.ones(cell_width))
        self.dropout = nn.Dropout(0.3)
        self.linear = _silent(nn.Linear(cell_width, labels))

    def standard(self, cells: Tensor) -> Tensor:
        """Each channel with mean 0 and deviation 1 over the training pictures."""
        return (cells - self.cell_mean) * self.cell_scale

    def mean(self, cells: Tensor, cell_mask: Tensor) -> Tensor:
        """Mean of the open cells, standardised, (B, C); zero where none is open."""
        share = cell_mask / cell_mask.sum(1, keepdim=True).clamp(min=1.0)
        return (share[:, None] @ self.standard(cells))[:, 0]

    def forward(self, cells: Tensor, cell_mask: Tensor) -> Tensor:
        seen = cell_mask.amax(1, keepdim=True)
        said = self.linear(self.dropout(self.mean(cells, cell_mask))) * seen
        return said[:, None]


class Joint(nn.Module):
    """One space for pictures and notes: two that belong together lie close (Zhai et al. 2023,
    arXiv:2303.15343: each pair is a yes-or-no question of its own).
    """

    def __init__(self, cell_width: int, width: int) -> None:
        super().__init__()
        self.image, self.note = nn.Linear(cell_width, JOINT_WIDTH), nn.Linear(width, JOINT_WIDTH)
        self.sharpness = nn.Parameter(torch.tensor(5.0))
        self.offset = nn.Parameter(torch.tensor(-2.0))

    def embed_image(self, mean_cell: Tensor) -> Tensor:
        return nn.functional.normalize(self.image(mean_cell), dim=-1)

    def embed_note(self, summary: Tensor) -> Tensor:
        return nn.functional.normalize(self.note(summary), dim=-1)

    def log_odds(self, similarity: Tensor) -> Tensor:
        """Of belonging together, from the cosine of the two embeddings."""
        return self.sharpness * similarity + self.offset


class Fusion(nn.Module):
    """Cells (B, N, C), words (B, T, W) and their masks -> three parts that add up, (B, 3, L), and fits, (B,).

    What the picture says alone, what the note says alone, and what only both together say (one layer of
    cross-attention in each direction; 0 when either is absent). They stay apart so that each can be weighed
    by how far it can be trusted (`diagnosis.calibration.fit_weights`).

    A learned token that is never masked stands in front of each stream, so that there is always something to
    look at. Cells, words or either mask may come once for a batch of the others: that is how regions and
    words are left out cheaply to explain an answer.
    """

    def __init__(self, labels: int, cell_width: int, width: int) -> None:
        super().__init__()
        self.image_alone = ImageHead(labels, cell_width)
        self.note_alone = _silent(nn.Linear(width, labels))
        self.narrow = nn.Linear(cell_width, width) if cell_width != width else nn.Identity()
        self.image_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.note_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.to_image = Block(width, 0.2)  # what the picture takes from the note
        self.to_note = Block(width, 0.2)  # what the note takes from the picture
        self.dropout = nn.Dropout(0.3)
        self.together = _silent(nn.Linear(2 * width, labels))
        self.joint = Joint(cell_width, width)

    def forward(
        self, cells: Tensor, cell_mask: Tensor, words: Tensor, word_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        has_image, has_note = cell_mask.amax(1, keepdim=True), word_mask[:, :1]
        image_says = self.image_alone(cells, cell_mask)[:, 0]
        note_says = self.note_alone(words[:, 0]) * has_note

        image_open, note_open = _with_token(cell_mask), _with_token(word_mask)
        narrow = self.narrow(self.image_alone.standard(cells))
        image = torch.cat([self.image_token.expand(cells.shape[0], -1, -1), narrow], 1)
        note = torch.cat([self.note_token.expand(words.shape[0], -1, -1), words], 1)
        image, note = self.to_image(image, note, note_open), self.to_note(note, image, image_open)
        both = torch.cat([_masked_mean(image, image_open), _masked_mean(note, note_open)], 1)
        together_say = self.together(self.dropout(both)) * has_image * has_note
        shape = together_say.shape  # one picture or one note may stand for a batch of masks
        parts = torch.stack([image_says.expand(shape), note_says.expand(shape), together_say], 1)

        seen = self.joint.embed_image(self.image_alone.mean(cells, cell_mask))
        read = self.joint.embed_note(words[:, 0])
        return parts, self.joint.log_odds((seen * read).sum(-1))


class Network(nn.Module):
    """Everything of one profile. heads: by name, a `Fusion` where there are notes, else an `ImageHead`."""

    def __init__(self, encoder: ImageEncoder, reader: nn.Module, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.encoder, self.reader = encoder, reader
        self.heads = nn.ModuleDict({name.replace(".", "/"): head for name, head in heads.items()})

    def head(self, name: str) -> nn.Module:
        return self.heads[name.replace(".", "/")]  # torch forbids a dot in a module's name


def _silent(linear: nn.Linear) -> nn.Linear:
    """A last layer that starts at zero: before training, every label is equally likely."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _with_token(mask: Tensor) -> Tensor:
    """The mask with an open place in front."""
    return torch.cat([torch.ones_like(mask[:, :1]), mask], 1)


def _masked_mean(x: Tensor, open_: Tensor) -> Tensor:
    return (x * open_[..., None]).sum(1) / open_.sum(1, keepdim=True)
