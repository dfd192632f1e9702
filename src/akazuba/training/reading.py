"""Teaches the note encoder to read before it sees a single patient.

Facts are drawn at random and rendered (`notes.render`); the encoder learns to give the facts back.
No label of any patient is used, so that one reader serves every fold.
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from akazuba.diagnosis.wordpiece import PAD, START, UNKNOWN, WordPiece, words
from akazuba.training.network import MAX_PIECES, WIDTH, NoteEncoder
from akazuba.training.notes import REGIONS, SIGNS, Facts, random_facts, render

_AGE_BAND_YEARS = 5
_UNSTATED = 0


def learn_vocabulary(seed: int, size: int = 2048, notes: int = 30_000) -> list[str]:
    """WordPiece vocabulary of rendered notes: at most `size` pieces, then missing letters and digits."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    rng = random.Random(seed)  # noqa: S311 (not a secret)
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=20, special_tokens=[PAD, UNKNOWN, START], show_progress=False
    )
    texts = (" ".join(word for word, _ in words(render(random_facts(rng), rng))) for _ in range(notes))
    tokenizer.train_from_iterator(texts, trainer)
    numbers: dict[str, int] = tokenizer.get_vocab()
    learned = sorted(numbers, key=numbers.__getitem__)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [*learned, *sorted({*letters, *(f"##{c}" for c in letters), *"0123456789"} - set(learned))]


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

    def __init__(self) -> None:
        super().__init__()
        self.signs = nn.Linear(WIDTH, 3 * len(SIGNS))
        self.region = nn.Linear(WIDTH, 1 + len(REGIONS))
        self.age = nn.Linear(WIDTH, 2 + 100 // _AGE_BAND_YEARS)

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
    pieces: WordPiece, vocabulary: int, steps: int, seed: int, say: Callable[[str], None]
) -> tuple[NoteEncoder, list[dict[str, float]]]:
    """Returns the encoder and its learning curve; `read` is the share of facts read right in fresh notes."""
    torch.manual_seed(seed)
    rng = random.Random(seed)  # noqa: S311 (not a secret)
    encoder, examiner = NoteEncoder(vocabulary), _Examiner()
    optimiser = torch.optim.AdamW([*encoder.parameters(), *examiner.parameters()], 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    curve = []
    for step in range(1, steps + 1):
        facts = [random_facts(rng) for _ in range(64)]
        answers = _answers(facts)
        replies = examiner(encoder(*as_tensors([render(f, rng) for f in facts], pieces))[:, 0])
        loss = sum(nn.functional.cross_entropy(reply, answers[:, i]) for i, reply in enumerate(replies))
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
    return encoder.eval(), curve
