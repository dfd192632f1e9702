"""Fits one network to all its heads at once: the lower part of the image encoder is cached, the rest is
trained.

The heads learn fast on features that change slowly; the upper blocks and the note encoder start from what
they already know and move at a tenth of that rate. A student is shown, beside the labels, what its teacher
says of the same distorted picture and the same wording of the note (Hinton et al. 2015, arXiv:1503.02531;
Romero et al. 2015, arXiv:1412.6550).
"""

# mypy: disallow-subclassing-any=False
# (torch is not followed by mypy, so that nn.Module is Any to it)
from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from akazuba.diagnosis.pixels import Pixels
from akazuba.training.data import Examples, Say
from akazuba.training.kinds import HeadPlan, ImageKind
from akazuba.training.network import Fusion, ImageEncoder, ImageHead, Network
from akazuba.training.notes import other_complaint
from akazuba.training.pictures import as_input, distorted
from akazuba.training.profiles import Profile
from akazuba.training.reading import OTHER_SHARE, Reader

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Lows = tuple[Tensor, ...]
"""Outputs of the frozen blocks in half precision: of the pictures as they are, then of distorted copies."""

WEIGHT_DECAY = 0.05
TEMPERATURE = 2.0
"""At which a teacher's and a student's answers are compared."""
ECHO_SHARE = 0.5
"""Weight of a teacher's answers, against 1 for the labels: a teacher without DINOv2 sees no better."""
FEATURE_SHARE = 0.5
"""Weight of giving back the teacher's features, against 1 for the labels."""
MATCH_SHARE = 0.3
"""Weight of telling whether picture and note belong together, against 1 for the labels."""


@dataclass(frozen=True)
class Course:
    """What one head learns from, for one profile."""

    kind: ImageKind
    plan: HeadPlan
    examples: Examples
    lows: Lows


@dataclass(frozen=True)
class Trained:
    """A network with the word pieces of its reader."""

    profile: Profile
    network: Network
    reader: Reader


@dataclass(frozen=True)
class Teaching:
    """A trained teacher and the cells that it sees, (N, C', 384) for each copy, by head."""

    trained: Trained
    cells: Mapping[str, Lows]


def cache(
    encoder: ImageEncoder, pictures: Pixels, kind: ImageKind, copies: int, seed: int, *, half: bool
) -> Lows:
    """Runs the frozen blocks over every picture and its distorted copies."""
    generator = torch.Generator().manual_seed(seed)
    lows: list[Tensor] = []
    for number in range(1 + copies):
        parts = []
        for start in range(0, len(pictures), 64):
            x = as_input(pictures[start : start + 64])
            if number:
                x = distorted(x, kind.distortion, generator)
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
                low = encoder.lower(x.contiguous(memory_format=torch.channels_last))
            parts.append(low.half())
        lows.append(torch.cat(parts))
    return tuple(lows)


def teach(trained: Trained, courses: Sequence[Course]) -> Teaching:
    """What the teacher's encoder makes of every copy, once, for all students."""
    cells = {
        course.plan.name: tuple(_all_cells(trained, low).half() for low in course.lows) for course in courses
    }
    return Teaching(trained, cells)


def _all_cells(trained: Trained, low: Tensor) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=trained.profile.half):
        return torch.cat([trained.network.encoder.upper(part.float()).float() for part in low.split(64)])


def fit(
    trained: Trained,
    courses: Sequence[Course],
    train: Mapping[str, Ints],
    *,
    steps: int,
    seed: int,
    say: Say,
    teaching: Teaching | None = None,
) -> list[dict[str, float]]:
    """Trains the network in place on the examples numbered `train` by head; returns the learning curve.

    The loss adds the log prior to the scores (logit adjustment, Menon et al. 2021, arXiv:2007.07314), so that
    a score is a log likelihood and a rare label is not drowned. With notes, each batch is judged three times:
    by picture and note, by the picture alone and by the note alone (modality dropout without dice).
    """
    torch.manual_seed(seed)
    lessons = [_Lesson(trained, course, train[course.plan.name], teaching, seed) for course in courses]
    optimiser, schedule = _optimiser(trained, lessons, steps)
    for lesson in lessons:
        lesson.standardise()
    trained.network.train()
    curve, recent = [], dict.fromkeys(train, 0.0)
    every = max(1, steps // 12)
    for step in range(1, steps + 1):
        losses = {lesson.name: lesson.loss() for lesson in lessons}
        optimiser.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        optimiser.step()
        schedule.step()
        for name, loss in losses.items():
            recent[name] += float(loss.detach()) / every
        if step % every == 0:
            curve.append({"step": step, **{name: round(total, 4) for name, total in recent.items()}})
            recent = dict.fromkeys(recent, 0.0)
            say(f"  {trained.profile.name}: step {step}/{steps}  {curve[-1]}")
    trained.network.eval()
    return curve


class _Lesson(nn.Module):
    """One head's share of a step: its next batch, and what that costs."""

    def __init__(
        self, trained: Trained, course: Course, train: Ints, teaching: Teaching | None, seed: int
    ) -> None:
        super().__init__()
        self.name = course.plan.name
        self._trained, self._course, self._teaching, self._train = [trained], course, teaching, train
        self._rng = random.Random(f"{seed} {self.name}")
        self._batches = self._endless()
        self._labels = torch.from_numpy(course.examples.labels)
        self._prior = torch.from_numpy(np.log(course.examples.prior)).float()
        self.echoes = nn.ModuleDict()
        if teaching is not None:
            ours, theirs = trained.profile, teaching.trained.profile
            self.echoes["image"] = nn.Linear(ours.cell_width, theirs.cell_width)
            if course.examples.notes:
                self.echoes["note"] = nn.Linear(ours.width, theirs.width)

    @property
    def trained(self) -> Trained:
        return self._trained[0]  # in a list, so that torch does not take the network for a part of the lesson

    def standardise(self) -> None:
        """Sets the head's channel means and scales from the training pictures, before training."""
        alone = image_part(self.trained.network.head(self.name))
        chosen = torch.from_numpy(self._train[:: max(1, len(self._train) // 512)])
        mean_cell = _all_cells(self.trained, self._course.lows[0][chosen]).mean(1)
        alone.cell_mean.copy_(mean_cell.mean(0))
        alone.cell_scale.copy_(1 / (mean_cell.std(0) + 0.05))

    def loss(self) -> Tensor:
        chosen = next(self._batches)
        copies = [self._rng.randrange(len(self._course.lows)) for _ in chosen]
        low = torch.stack([self._course.lows[c][i] for c, i in zip(copies, chosen, strict=True)])
        notes, about_it = self._notes(chosen)
        network = self.trained.network
        with torch.autocast("cpu", torch.bfloat16, enabled=self.trained.profile.half):
            cells = network.encoder.upper(_dense(low.float()))
            heard = hear(self.trained, self.name, cells, notes)
        labels = self._labels[chosen]
        loss = sum(
            (nn.functional.cross_entropy(s + self._prior, labels) for s in heard.scores.values()),
            torch.zeros(()),
        )
        if heard.similarity is not None:
            groups = [self._course.examples.groups[i] for i in chosen]
            loss = loss + MATCH_SHARE * _match_loss(heard.similarity, about_it, groups)
        if self._teaching is not None:
            loss = loss + self._echo_loss(self._teaching, heard, copies, chosen, notes)
        return loss

    def _echo_loss(
        self, teaching: Teaching, heard: Heard, copies: Sequence[int], chosen: Ints, notes: Sequence[str]
    ) -> Tensor:
        seen = teaching.cells[self.name]
        cells = torch.stack([seen[c][i] for c, i in zip(copies, chosen, strict=True)]).float()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=teaching.trained.profile.half):
            example = hear(teaching.trained, self.name, cells, notes)
        loss = torch.zeros(())
        for mode, scores in heard.scores.items():
            theirs = ((example.scores[mode] + self._prior) / TEMPERATURE).log_softmax(1)
            ours = ((scores + self._prior) / TEMPERATURE).log_softmax(1)
            loss = loss + ECHO_SHARE * TEMPERATURE**2 * nn.functional.kl_div(
                ours, theirs, reduction="batchmean", log_target=True
            )
        for part, features in heard.features.items():
            given = self.echoes[part](features)
            loss = loss + FEATURE_SHARE * nn.functional.mse_loss(given, example.features[part])
        return loss

    def _notes(self, chosen: Ints) -> tuple[list[str], Tensor]:
        """A note for each example, and whether it is about it (some are about something else)."""
        examples = self._course.examples
        if not examples.notes:
            return [], torch.zeros(0)
        other = [self._rng.random() < OTHER_SHARE for _ in chosen]
        notes = [
            other_complaint(self._rng)[1]
            if off
            else examples.note_in_other_words(int(i), self._rng, thin=True)
            for i, off in zip(chosen, other, strict=True)
        ]
        return notes, torch.tensor([not off for off in other])

    def _endless(self) -> Iterator[Ints]:
        """Batches without end; each example once before any comes again."""
        order = np.empty(0, np.int64)
        batch = min(self._course.plan.batch, len(self._train))
        while True:
            if len(order) < batch:
                order = np.concatenate([order, self._train[torch.randperm(len(self._train)).numpy()]])
            yield order[:batch]
            order = order[batch:]


def _dense(low: Tensor) -> Tensor:
    """Maps in the order that convolutions are fast in; tokens as they are."""
    return low.contiguous(memory_format=torch.channels_last) if low.ndim == 4 else low


def image_part(head: nn.Module) -> ImageHead:
    return head.image_alone if isinstance(head, Fusion) else cast("ImageHead", head)


@dataclass(frozen=True)
class Heard:
    """What a network says of a batch.

    scores: (B, L) by mode: of the picture alone and, where there are notes, of the note alone and of both.
    features: (B, W) by part, what the heads sum up from. similarity: (B, B) log-odds that picture i and note
    j belong together; None without notes.
    """

    scores: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    similarity: Tensor | None = None


def hear(trained: Trained, name: str, cells: Tensor, notes: Sequence[str]) -> Heard:
    """Asks one head about cells (B, N, C) and notes (none where the head reads none)."""
    head = trained.network.head(name)
    open_ = torch.ones(cells.shape[:2])
    mean = image_part(head).mean(cells, open_)
    if not isinstance(head, Fusion):
        return Heard({"image": head(cells, open_)[:, 0].float()}, {"image": mean.float()})
    words, mask = trained.reader(notes)
    parts = head(cells, open_, words, mask)[0].float()
    joint = head.joint
    similarity = joint.log_odds(joint.embed_image(mean) @ joint.embed_note(words[:, 0]).T).float()
    scores = {"image": parts[:, 0], "text": parts[:, 1], "fused": parts.sum(1)}
    return Heard(scores, {"image": mean.float(), "note": words[:, 0].float()}, similarity)


def _match_loss(log_odds: Tensor, about_it: Tensor, groups: Sequence[str]) -> Tensor:
    """A yes-or-no question for each pair, as many yes as no in weight; pairs of one patient are not asked."""
    same = torch.tensor([[a == b for b in groups] for a in groups])
    own = torch.eye(len(groups), dtype=torch.bool)
    yes = own & about_it[None]
    no = (~same) | (own & ~about_it[None])
    softplus = nn.functional.softplus
    right = softplus(-log_odds[yes]).mean() if yes.any() else torch.zeros(())
    return right + softplus(log_odds[no]).mean()


def _optimiser(
    trained: Trained, lessons: Sequence[_Lesson], steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    profile, network = trained.profile, trained.network
    parts: list[tuple[list[nn.Module], float]] = [
        ([network.encoder], profile.encoder_rate),
        ([network.reader], profile.reader_rate),
        ([network.heads, *lessons], profile.head_rate),
    ]
    groups = [
        {"params": [p for module in modules for p in module.parameters() if p.requires_grad], "lr": rate}
        for modules, rate in parts
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [rate for _, rate in parts], total_steps=steps, pct_start=0.15
    )
    return optimiser, schedule


def predict(trained: Trained, course: Course, chosen: Ints, notes: Sequence[str]) -> dict[str, Floats]:
    """Scores (N, L) by mode for undistorted pictures."""
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(chosen), 64):
        part = slice(start, start + 64)
        cells = _all_cells(trained, course.lows[0][torch.from_numpy(chosen[part])])
        with torch.inference_mode():
            heard = hear(trained, course.plan.name, cells, notes[part])
        for mode, scores in heard.scores.items():
            found.setdefault(mode, []).append(scores)
    return {mode: torch.cat(list_).double().numpy() for mode, list_ in found.items()}
