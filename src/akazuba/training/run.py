"""The stages of a training run; each leaves a file in the work folder and is skipped when it is there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from akazuba.diagnosis.wordpiece import WordPiece
from akazuba.training import data, fit
from akazuba.training.data import Examples
from akazuba.training.fit import Lows, Recipe, Say, Trained
from akazuba.training.network import Fusion, ImageEncoder, ImageHead, NoteEncoder
from akazuba.training.notes import render
from akazuba.training.reading import learn_to_read, learn_vocabulary

WEIGHTS = Path("mobilenet_weights/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite")

RECIPES = {
    "skin-photo": Recipe(side=224, through=224, copies=6, epochs=12, flips=True, turn_degrees=30, folds=5),
    "chest-xray": Recipe(side=160, through=128, copies=2, epochs=3, flips=False, turn_degrees=8, folds=3),
}
LOADERS = {"skin-photo": data.load_skin, "chest-xray": data.load_chest}
READING_STEPS = 1500


@dataclass(frozen=True)
class Material:
    """What the stages of one kind share."""

    kind: str
    recipe: Recipe
    examples: Examples
    folds: npt.NDArray[np.int64]
    base: ImageEncoder
    lows: Lows
    reader: tuple[NoteEncoder, WordPiece] | None
    seed: int


def train_all(data_folder: Path, work: Path, seed: int, say: Say) -> None:
    """Reader, then each kind: the model that is shipped (all examples), then the folds."""
    work.mkdir(parents=True, exist_ok=True)
    encoder, vocabulary = read_reader(work, seed, say)
    base = base_encoder(data_folder)
    for kind, load in LOADERS.items():
        stages = [f"{kind}.final.pt", *(f"{kind}.fold-{number}.pt" for number in range(RECIPES[kind].folds))]
        if all((work / stage).exists() for stage in stages):
            continue
        examples = load(data_folder)
        reader = (encoder, WordPiece(vocabulary)) if examples.notes else None
        say(f"{kind}: {len(examples.ids)} pictures, {len(set(examples.groups))} groups")
        recipe = RECIPES[kind]
        lows = fit.cache(base, data.pixels(examples.paths, recipe.side, recipe.through), recipe, seed)
        say(f"{kind}: frozen blocks cached")
        numbers = data.folds(examples, recipe.folds, seed)
        material = Material(kind, recipe, examples, numbers, base, lows, reader, seed)
        _final(material, work, say)
        for number in range(material.recipe.folds):
            _fold(material, number, work, say)


def base_encoder(data_folder: Path) -> ImageEncoder:
    """The image encoder with its ImageNet weights."""
    encoder = ImageEncoder(data_folder / WEIGHTS)
    encoder.eval().to(memory_format=torch.channels_last)
    return encoder


def read_reader(work: Path, seed: int, say: Say) -> tuple[NoteEncoder, list[str]]:
    """The note encoder that has learned to read, and its vocabulary."""
    path = work / "reader.pt"
    if not path.exists():
        vocabulary = learn_vocabulary(seed)
        encoder, curve = learn_to_read(WordPiece(vocabulary), len(vocabulary), READING_STEPS, seed, say)
        torch.save({"vocabulary": vocabulary, "state": encoder.state_dict(), "curve": curve}, path)
    stored = torch.load(path)
    encoder = NoteEncoder(len(stored["vocabulary"]))
    encoder.load_state_dict(stored["state"])
    return encoder.eval(), stored["vocabulary"]


def read_trained(path: Path, data_folder: Path, vocabulary: int) -> Trained:
    """The networks of a finished stage."""
    stored = torch.load(path)
    encoder = base_encoder(data_folder)
    encoder.load_state_dict(stored["encoder"])
    head: Fusion | ImageHead
    if stored["reader"] is None:
        head, reader = ImageHead(len(stored["head"]["linear.bias"])), None
    else:
        head, reader = Fusion(len(stored["head"]["together.bias"])), NoteEncoder(vocabulary)
        reader.load_state_dict(stored["reader"])
    head.load_state_dict(stored["head"])
    return Trained(encoder.eval(), head.eval(), reader.eval() if reader else None)


def _weights(trained: Trained) -> dict[str, object]:
    return {
        "encoder": trained.encoder.state_dict(),
        "head": trained.head.state_dict(),
        "reader": trained.reader.state_dict() if trained.reader else None,
    }


def paraphrased(examples: Examples, seed: int) -> tuple[str, ...]:
    """One rendering of each example's facts, drawn once: the second wording that is evaluated."""
    rng = random.Random(seed + 1)  # noqa: S311 (not a secret)
    return tuple(render(facts, rng) for facts in examples.facts)


def _final(m: Material, work: Path, say: Say) -> None:
    path = work / f"{m.kind}.final.pt"
    if path.exists():
        return
    say(f"{m.kind}: all examples")
    everyone = np.arange(len(m.examples.ids))
    trained, curve = fit.fit(
        m.base, m.reader, m.lows, m.examples, everyone, recipe=m.recipe, seed=m.seed, say=say
    )
    torch.save({**_weights(trained), "curve": curve}, path)


def _fold(m: Material, number: int, work: Path, say: Say) -> None:
    path = work / f"{m.kind}.fold-{number}.pt"
    if path.exists():
        return
    say(f"{m.kind}: fold {number + 1} of {m.recipe.folds} held out")
    held_out = np.flatnonzero(m.folds == number)
    trained, curve = fit.fit(
        m.base,
        m.reader,
        m.lows,
        m.examples,
        np.flatnonzero(m.folds != number),
        recipe=m.recipe,
        seed=m.seed + number,
        say=say,
    )
    low = m.lows[0][torch.from_numpy(held_out)]
    pieces = m.reader[1] if m.reader else None
    notes = [m.examples.notes[i] for i in held_out] if m.examples.notes else []
    scores = dict(fit.predict(trained, low, notes, pieces))
    if m.examples.facts:
        again = paraphrased(m.examples, m.seed)
        other = fit.predict(trained, low, [again[i] for i in held_out], pieces)
        scores |= {"text_paraphrased": other["text"], "fused_paraphrased": other["fused"]}
    kept = {mode: torch.from_numpy(values) for mode, values in scores.items()}
    torch.save(
        {**_weights(trained), "held_out": torch.from_numpy(held_out), "scores": kept, "curve": curve}, path
    )
    for mode, values in scores.items():
        right = values.argmax(1) == m.examples.labels[held_out]
        by_label = [
            right[m.examples.labels[held_out] == label].mean() for label in np.unique(m.examples.labels)
        ]
        say(f"  {mode}: balanced accuracy {np.mean(by_label):.3f}")
