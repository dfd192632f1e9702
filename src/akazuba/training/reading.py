"""Teaches a note encoder to read before it sees a single patient.

Facts are drawn at random and rendered (`notes.render`); the encoder learns to give the facts back, and that a
note about something else states none but the age. MiniLM learns first; the student's encoder learns from the
same notes and from what MiniLM makes of them. No label of any patient is used, so that one reader serves
every fold.
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from akazuba.diagnosis.wordpiece import PAD, START, UNKNOWN, WordPiece, words
from akazuba.training.data import Say
from akazuba.training.network import MAX_PIECES, NoteReader
from akazuba.training.notes import REGIONS, SIGNS, Facts, other_complaint, random_facts, render

OTHER_SHARE = 0.15
"""Share of notes about something else, here and in the training of the heads."""

_AGE_BAND_YEARS = 5
_UNSTATED = 0
_NOTES_A_STEP = 64


@dataclass(frozen=True)
class Reader:
    """A note encoder and the word pieces that it reads."""

    net: nn.Module
    pieces: WordPiece

    def __call__(self, notes: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors (B, T, W) and mask (B, T)."""
        numbers, mask = as_tensors(notes, self.pieces)
        net = cast("NoteReader", self.net)
        return net(net.rows(numbers), mask), mask


def learn_vocabulary(seed: int, size: int, notes: int = 40_000) -> list[str]:
    """WordPiece vocabulary of rendered notes: at most `size` pieces, then missing letters and digits."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    rng = random.Random(seed)
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=10, special_tokens=[PAD, UNKNOWN, START], show_progress=False
    )
    texts = (" ".join(word for word, _ in words(_note(rng)[1])) for _ in range(notes))
    tokenizer.train_from_iterator(texts, trainer)
    numbers: dict[str, int] = tokenizer.get_vocab()
    learned = sorted(numbers, key=numbers.__getitem__)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [*learned, *sorted({*letters, *(f"##{c}" for c in letters), *"0123456789"} - set(learned))]


def _note(rng: random.Random, other: float = 0.4) -> tuple[Facts, str]:
    if rng.random() < other:
        return other_complaint(rng)
    facts = random_facts(rng)
    return facts, render(facts, rng)


def as_tensors(notes: Sequence[str], pieces: WordPiece) -> tuple[Tensor, Tensor]:
    """Piece numbers (B, T) and mask (B, T), padded to the longest; an empty note has an all-zero mask."""
    split = [pieces.split(note, MAX_PIECES).ids if note.strip() else () for note in notes]
    length = max(1, *(len(ids) for ids in split))
    numbers, mask = np.zeros((len(notes), length), np.int64), np.zeros((len(notes), length), np.float32)
    for row, ids in enumerate(split):
        numbers[row, : len(ids)], mask[row, : len(ids)] = ids, 1
    return torch.from_numpy(numbers), torch.from_numpy(mask)


class _Examiner(nn.Module):
    """Asks the note's summary vector for each fact: yes / no / not stated, region, age band."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.signs = nn.Linear(width, 3 * len(SIGNS))
        self.region = nn.Linear(width, 1 + len(REGIONS))
        self.age = nn.Linear(width, 2 + 100 // _AGE_BAND_YEARS)

    def forward(self, summary: Tensor) -> list[Tensor]:
        return [*self.signs(summary).chunk(len(SIGNS), 1), self.region(summary), self.age(summary)]


def _answers(facts: Sequence[Facts]) -> Tensor:
    """(B, 8) right answers, in the order of `_Examiner`."""
    regions = list(REGIONS)
    return torch.tensor(
        [
            [
                *({None: _UNSTATED, True: 1, False: 2}[f.sign(sign)] for sign in SIGNS),
                _UNSTATED if f.region is None else 1 + regions.index(f.region),
                _UNSTATED if f.age is None else 1 + f.age // _AGE_BAND_YEARS,
            ]
            for f in facts
        ]
    )


def learn_to_read(
    reader: Reader,
    width: int,
    steps: int,
    rate: float,
    seed: int,
    say: Say,
    half: bool,
    teacher: Reader | None = None,
) -> list[dict[str, float]]:
    """Trains the reader's network in place and returns the learning curve.

    width: of its vectors. half: train in bfloat16. teacher: whose summary vectors it learns to give back.
    `read`: share of facts read right in fresh notes.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    examiner = _Examiner(width)
    echo = None if teacher is None else nn.Linear(width, _width_of(teacher))
    taught = [reader.net, examiner] if echo is None else [reader.net, examiner, echo]
    parameters = [p for module in taught for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    reader.net.train()
    curve = []
    for step in range(1, steps + 1):
        facts, notes = zip(*(_note(rng, OTHER_SHARE) for _ in range(_NOTES_A_STEP)), strict=True)
        answers = _answers(facts)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            summary = reader(notes)[0][:, 0]
            replies = [reply.float() for reply in examiner(summary)]
        loss = sum(nn.functional.cross_entropy(reply, answers[:, i]) for i, reply in enumerate(replies))
        if teacher is not None and echo is not None:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                example = teacher(notes)[0][:, 0].float()
            loss = loss + nn.functional.mse_loss(echo(summary), example)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % max(1, steps // 8) == 0:
            right = torch.stack([reply.argmax(1) == answers[:, i] for i, reply in enumerate(replies)])
            curve.append(
                {
                    "step": step,
                    "loss": round(float(loss.detach()), 4),
                    "read": round(float(right.float().mean()), 4),
                }
            )
            say(f"reading notes: step {step}/{steps}  {curve[-1]}")
    reader.net.eval()
    return curve


def _width_of(reader: Reader) -> int:
    return int(cast("NoteReader", reader.net).table.shape[1])
