"""The stages of a training run; each leaves a file in the work folder and is skipped when it is there.

    learning to see      MobileNet teaches the full-size image encoder          vit.pt
    learning to read     MiniLM, then the student's reader from it              readers.pt
    each split           teacher, then student and tiny from it                 PROFILE.SPLIT.pt

A split is `final` (all examples; what is shipped) or `fold-0` … (everything but one fifth of the patients).
"""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from akazuba.diagnosis.pixels import Pixels
from akazuba.diagnosis.wordpiece import WordPiece
from akazuba.errors import InputError
from akazuba.training import data, fit, minilm, pretrain
from akazuba.training.data import Examples, Say
from akazuba.training.fit import Course, Ints, Teaching, Trained
from akazuba.training.kinds import HeadPlan, ImageKind, all_kinds
from akazuba.training.mobilenet import MobileNet
from akazuba.training.network import Network, NoteEncoder
from akazuba.training.pictures import decoded
from akazuba.training.profiles import (
    FULL,
    MOBILENET,
    PROFILES,
    STUDENT,
    STUDENT_WIDTH,
    TINY,
    VOCABULARY_SIZE,
    Profile,
)
from akazuba.training.reading import Reader, learn_to_read, learn_vocabulary
from akazuba.training.vit import VisionTransformer, read_dinov2

FOLDS = 5
STEPS = {"full": 320, "student": 480, "tiny": 480}
READING_STEPS = {"full": 400, "student": 2500}
READING_RATES = {"full": 1e-4, "student": 2e-3}
FINAL = "final"


@dataclass(frozen=True)
class Job:
    """Where a run reads and writes. dinov2: file of real DINOv2 weights, which take the place of our own."""

    data: Path
    work: Path
    seed: int
    say: Say
    dinov2: Path | None = None

    def file(self, name: str) -> Path:
        return self.work / name


def fold_splits() -> tuple[str, ...]:
    """In the order of the fold numbers."""
    return tuple(f"fold-{number}" for number in range(FOLDS))


def splits() -> tuple[str, ...]:
    return (*fold_splits(), FINAL)


def train_all(job: Job) -> None:
    """Runs every stage that has not left its file yet.

    Raises InputError when the work folder is of another run: its folds would not be this run's folds.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    examples = load_examples(job.data)
    _of_one_run(job, examples)
    _learn_to_see(job)
    _learn_to_read(job)
    todo = [
        split
        for split in splits()
        if not all(job.file(f"{profile}.{split}.pt").exists() for profile in PROFILES)
    ]
    if not todo:
        return
    courses = {profile.name: cached_courses(job, profile, examples) for profile in PROFILES.values()}
    for split in todo:
        _split(job, split, examples, courses)
        gc.collect()  # a split's teacher and what it saw, some 3 GB, hang in circles of references


def _of_one_run(job: Job, examples: Mapping[str, Examples]) -> None:
    own = {
        "seed": job.seed,
        "data_sha256": {name: found.digest for name, found in examples.items()},
        "dinov2": job.dinov2.name if job.dinov2 else None,
        "learning_to_see": pretrain.recipe(pretrain.PHASES),
        "reading_steps": READING_STEPS,
        "steps": STEPS,
    }
    path, text = job.file("job.json"), json.dumps(own, indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(
            str(path), "the run that is asked for", "another seed, recipe or data; take a new --work"
        )
    path.write_text(text, encoding="utf-8")


def load_examples(data_folder: Path) -> dict[str, Examples]:
    """By head."""
    return {plan.name: plan.load(data_folder) for _, plan in heads()}


def heads() -> list[tuple[ImageKind, HeadPlan]]:
    return [(kind, plan) for kind in all_kinds() for plan in kind.heads]


def fold_numbers(examples: Mapping[str, Examples], seed: int) -> dict[str, Ints]:
    return {name: data.folds(found, FOLDS, seed) for name, found in examples.items()}


def settle(network: Network, profile: Profile) -> None:
    """Drops the places of an image encoder that no kind's picture needs."""
    if isinstance(network.encoder.net, VisionTransformer):
        network.encoder.net.settle(max(kind.sides[profile.name] for kind in all_kinds()))


def decoded_for(profile: Profile, kind: ImageKind, examples: Examples, most: int | None = None) -> Pixels:
    """The pictures (the first `most` of them) as a profile's encoder sees them."""
    return decoded(examples.paths[:most], kind.sides[profile.name], kind.through)


# --- before any label ------------------------------------------------------------------------------


def _learn_to_see(job: Job) -> None:
    path = job.file("vit.pt")
    if path.exists():
        return
    if job.dinov2:
        pretrain.save_whole({"state": read_dinov2(job.dinov2), "curve": [], "start": job.dinov2.name}, path)
        return
    albums = []
    for kind in all_kinds():
        paths = [path for plan in kind.heads for path in plan.load(job.data).paths]
        pictures = decoded(paths, pretrain.SIDE, pretrain.SIDE)
        albums.append(pretrain.Album(pictures, kind.album_share, kind.distortion.turns))
    job.say(f"learning to see: {sum(len(album.pictures) for album in albums)} pictures, no label")
    teacher = MobileNet(job.data / MOBILENET).eval().to(memory_format=torch.channels_last)
    teacher.requires_grad_(False)
    vit, curve = pretrain.pretrain(
        teacher, albums, pretrain.PHASES, job.seed, job.file("vit.checkpoint.pt"), job.say
    )
    pretrain.save_whole({"state": vit.state_dict(), "curve": curve, "start": "taught by MobileNet V1"}, path)


def _learn_to_read(job: Job) -> None:
    path = job.file("readers.pt")
    if path.exists():
        return
    pieces = WordPiece(minilm.read_vocabulary())
    model = FULL.note_reader(0)
    teacher = Reader(model, pieces)
    curves = {
        "full": learn_to_read(
            teacher, minilm.WIDTH, READING_STEPS["full"], READING_RATES["full"], job.seed, job.say, half=True
        )
    }
    vocabulary = learn_vocabulary(job.seed, VOCABULARY_SIZE)
    student = NoteEncoder(len(vocabulary), STUDENT_WIDTH)
    curves["student"] = learn_to_read(
        Reader(student, WordPiece(vocabulary)),
        STUDENT_WIDTH,
        READING_STEPS["student"],
        READING_RATES["student"],
        job.seed,
        job.say,
        half=False,
        teacher=teacher,
    )
    states = {"full": model.state_dict(), "student": student.state_dict()}
    pretrain.save_whole({"vocabulary": vocabulary, "states": states, "curves": curves}, path)


def student_vocabulary(job: Job) -> list[str]:
    vocabulary: list[str] = torch.load(job.file("readers.pt"))["vocabulary"]
    return vocabulary


def vocabulary_of(job: Job, profile: Profile) -> list[str]:
    return minilm.read_vocabulary() if profile is FULL else student_vocabulary(job)


# --- the splits ------------------------------------------------------------------------------------


def untrained(job: Job, profile: Profile, examples: Mapping[str, Examples]) -> Trained:
    """The network as it is before it sees a label: it can see and read."""
    readers = torch.load(job.file("readers.pt"))
    torch.manual_seed(job.seed)
    network = profile.build(job.data, len(readers["vocabulary"]), examples)
    network.reader.load_state_dict(readers["states"]["full" if profile is FULL else "student"])
    if isinstance(network.encoder.net, VisionTransformer):
        network.encoder.net.load_state_dict(torch.load(job.file("vit.pt"))["state"])
    settle(network, profile)
    network.eval().to(memory_format=torch.channels_last)
    return Trained(profile, network, Reader(network.reader, WordPiece(vocabulary_of(job, profile))))


def read_trained(job: Job, profile: Profile, split: str, examples: Mapping[str, Examples]) -> Trained:
    """The network of a finished split."""
    trained = untrained(job, profile, examples)
    trained.network.load_state_dict(torch.load(job.file(f"{profile.name}.{split}.pt"))["state"])
    trained.network.eval()
    return trained


def cached_courses(job: Job, profile: Profile, examples: Mapping[str, Examples]) -> list[Course]:
    """Every head's pictures behind the frozen blocks, which no training changes."""
    encoder = untrained(job, profile, examples).network.encoder
    courses = []
    for kind, plan in heads():
        own = examples[plan.name]
        pictures = decoded_for(profile, kind, own)
        lows = fit.cache(encoder, pictures, kind, plan.copies, job.seed, half=profile.half)
        courses.append(Course(kind, plan, own, lows))
        job.say(
            f"{profile.name}: {plan.name}, {len(pictures)} pictures and {plan.copies} copies of each cached"
        )
    return courses


def trained_on(split: str, folds: Mapping[str, Ints]) -> dict[str, Ints]:
    """Numbers of the examples that a split learns from, by head."""
    if split == FINAL:
        return {name: np.arange(len(numbers)) for name, numbers in folds.items()}
    held_out = int(split.removeprefix("fold-"))
    return {name: np.flatnonzero(numbers != held_out) for name, numbers in folds.items()}


def held_out_of(split: str, folds: Mapping[str, Ints]) -> dict[str, Ints]:
    train = trained_on(split, folds)
    return {name: np.setdiff1d(np.arange(len(numbers)), train[name]) for name, numbers in folds.items()}


def _split(
    job: Job, split: str, examples: Mapping[str, Examples], courses: Mapping[str, list[Course]]
) -> None:
    folds = fold_numbers(examples, job.seed)
    seed = job.seed + splits().index(split)
    teaching: Teaching | None = None
    for profile in (FULL, STUDENT, TINY):
        path = job.file(f"{profile.name}.{split}.pt")
        if path.exists():
            continue
        if profile is not FULL and teaching is None:
            teacher = read_trained(job, FULL, split, examples)
            teaching = fit.teach(teacher, courses[FULL.name])
            job.say(f"{split}: the teacher has looked at every copy")
        job.say(f"{split}: {profile.name}")
        trained = untrained(job, profile, examples)
        curve = fit.fit(
            trained,
            courses[profile.name],
            trained_on(split, folds),
            steps=STEPS[profile.name],
            seed=seed,
            say=job.say,
            teaching=teaching,
        )
        scores = _judged(job, trained, courses[profile.name], held_out_of(split, folds))
        pretrain.save_whole({"state": trained.network.state_dict(), "curve": curve, "scores": scores}, path)


def _judged(
    job: Job, trained: Trained, courses: list[Course], held_out: Mapping[str, Ints]
) -> dict[str, dict[str, torch.Tensor]]:
    """Scores by head and mode of what was held out, in full precision."""
    found = {}
    for course in courses:
        name, own = course.plan.name, held_out[course.plan.name]
        if not len(own):
            continue
        notes = [course.examples.notes[i] for i in own] if course.examples.notes else []
        scores = fit.predict(trained, course, own, notes)
        if course.examples.notes:
            other = paraphrased(course.examples, job.seed)
            again = fit.predict(trained, course, own, [other[i] for i in own])
            scores |= {f"{mode}_paraphrased": again[mode] for mode in ("text", "fused")}
        found[name] = {mode: torch.from_numpy(values) for mode, values in scores.items()}
        labels = course.examples.labels[own]
        for mode, values in scores.items():
            right = values.argmax(1) == labels
            mean = np.mean([right[labels == label].mean() for label in np.unique(labels)])
            job.say(f"  {name} {mode}: balanced accuracy {mean:.3f}")
    return found


def paraphrased(examples: Examples, seed: int) -> tuple[str, ...]:
    """One rendering of each example's facts, drawn once: the second wording that is evaluated."""
    rng = random.Random(seed + 1)
    return tuple(examples.note_in_other_words(i, rng, thin=False) for i in range(len(examples.ids)))
