"""Puts a finished run in its place: a folder for each profile, the model cards, the record of the run."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from akazuba.diagnosis import artefacts, calibration
from akazuba.diagnosis.artefacts import File, Head, Kind, Manifest, Notes, Size
from akazuba.diagnosis.pixels import Pixels
from akazuba.training import calibrate, card, export, pretrain, run
from akazuba.training.calibrate import COVERAGE, Trust
from akazuba.training.data import Examples
from akazuba.training.export import Exported
from akazuba.training.judge import Exhibit, Said, together
from akazuba.training.kinds import HeadPlan, all_kinds
from akazuba.training.network import MAX_PIECES
from akazuba.training.profiles import PROFILES, Profile
from akazuba.training.run import Job

MODEL, VERSION = "akazuba-engine", "0.2.0"
REVIEW = "not reviewed by a clinician"
LICENCE = "Apache-2.0 (it starts from MobileNet V1 by Google and MiniLM-L6, both Apache-2.0)"
TYPICAL_RANK = 64
TYPICAL_SHARE = 0.985
"""Share of true pictures of a kind, over folds, that the typicality check must let pass."""


def ship(job: Job, results: Path, folders: Mapping[str, Path]) -> None:
    """Writes a folder for each profile (folders: by its name), and `engine_folds.json` into `results`."""
    results.mkdir(parents=True, exist_ok=True)
    examples = run.load_examples(job.data)
    teacher: Size | None = None
    said: dict[str, dict[str, Said]] = {}
    manifests = {}
    for profile in PROFILES.values():
        manifest, said[profile.name] = _ship_profile(job, profile, examples, folders[profile.name], teacher)
        teacher = teacher or manifest.size
        manifests[profile.name] = manifest
    record = _record(job, examples, said, manifests)
    (results / "engine_folds.json").write_text(
        json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8"
    )


def command_of(job: Job) -> str:
    """What repeats the run."""
    dinov2 = f" --dinov2 {job.dinov2.name}" if job.dinov2 else ""
    return f"python -m akazuba.training --data ../shared/data --seed {job.seed}{dinov2}"


def _ship_profile(
    job: Job, profile: Profile, examples: Mapping[str, Examples], folder: Path, teacher: Size | None
) -> tuple[Manifest, dict[str, Said]]:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    pictures = {plan.name: run.decoded_for(profile, kind, examples[plan.name]) for kind, plan in run.heads()}
    said = _folds_said(job, profile, examples, pictures)
    trained = run.read_trained(job, profile, run.FINAL, examples)
    vocabulary = run.vocabulary_of(job, profile)
    exported = export.export(trained, vocabulary, list(pictures.values()), part)
    exhibit = Exhibit(trained, vocabulary, part)
    folds = run.fold_numbers(examples, job.seed)
    heads = {}
    for _, plan in run.heads():
        own = examples[plan.name]
        job.say(f"{profile.name}: {plan.name}")
        trust = calibrate.trust(own, folds[plan.name], said[plan.name], plan.most_in_set)
        file, limit = store_typical(exhibit, pictures[plan.name], folds[plan.name], plan, part)
        exported.append(file)
        heads[plan.name] = head_of(plan, own, trust, file.name, limit)
    manifest = manifest_of(profile, part, exported, heads, teacher)
    artefacts.write_manifest(part, manifest)
    text = card.render(manifest, command_of(job), job.dinov2, TYPICAL_SHARE)
    (part / "MODEL_CARD.md").write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    job.say(f"{profile.name}: {manifest.size.parameters:,} parameters, {manifest.size.bytes:,} bytes")
    return manifest, said


def manifest_of(
    profile: Profile,
    folder: Path,
    exported: Sequence[Exported],
    heads: Mapping[str, Head],
    teacher: Size | None,
) -> Manifest:
    """heads: by name, of every kind."""
    return Manifest(
        format=artefacts.FORMAT,
        model=MODEL,
        version=VERSION,
        profile=profile.name,
        licence=LICENCE,
        review=REVIEW,
        files={file.name: _file(folder, file) for file in exported},
        image_encoder=export.IMAGE,
        notes=Notes(export.NOTE, export.VOCABULARY, export.TABLE, profile.width, MAX_PIECES),
        kinds={
            kind.name: Kind(
                kind.spoken,
                kind.sides[profile.name],
                kind.through,
                {plan.name: heads[plan.name] for plan in kind.heads},
            )
            for kind in all_kinds()
        },
        teacher=teacher,
    )


def _folds_said(
    job: Job, profile: Profile, examples: Mapping[str, Examples], pictures: Mapping[str, Pixels]
) -> dict[str, Said]:
    """What the exported form of each fold says of what it held out, by head."""
    folds = run.fold_numbers(examples, job.seed)
    vocabulary = run.vocabulary_of(job, profile)
    parts: dict[str, dict[int, tuple[npt.NDArray[np.int64], Said]]] = {name: {} for name in examples}
    for number, split in enumerate(run.fold_splits()):
        trained = run.read_trained(job, profile, split, examples)
        train, held_out = run.trained_on(split, folds), run.held_out_of(split, folds)
        with tempfile.TemporaryDirectory() as scratch:
            shown = [pictures[name][train[name]] for name in pictures]
            export.export(trained, vocabulary, shown, Path(scratch))
            exhibit = Exhibit(trained, vocabulary, Path(scratch))
            for name, own in examples.items():
                other = run.paraphrased(own, job.seed) if own.notes else ()
                found = exhibit.say(name, own, pictures[name], held_out[name], other)
                parts[name][number] = (held_out[name], found)
        job.say(f"{profile.name}: {split} judged in 8 bits")
    return {name: together(len(own.ids), parts[name]) for name, own in examples.items()}


def store_typical(
    exhibit: Exhibit, pictures: Pixels, turn: npt.NDArray[np.int64], plan: HeadPlan, folder: Path
) -> tuple[Exported, float]:
    """Writes the typicality statistics of a head's pictures; returns the file and its limit.

    turn: (N,) pictures of one number are measured by what the others have in common. Texture comes from
    frozen blocks, so that the final form stands for every fold's (but for the ranges of its 8 bits).
    """
    textures = np.stack([exhibit.graphs.look(picture)[1] for picture in pictures])
    distance = np.empty(len(turn))
    for number in range(run.FOLDS):
        fitted = calibration.fit_typicality(textures[turn != number], TYPICAL_RANK)
        distance[turn == number] = fitted.distance(textures[turn == number])
    typical = calibration.fit_typicality(textures, TYPICAL_RANK)
    name = f"{plan.name}.typical.npz"
    np.savez_compressed(
        folder / name,
        mean=typical.mean.astype(np.float32),
        directions=typical.directions.astype(np.float16),
        rest=np.float32(typical.rest),
    )
    learned = typical.mean.size + typical.directions.size + 1
    return Exported(name, parameters=learned), float(np.quantile(distance, TYPICAL_SHARE))


def head_of(plan: HeadPlan, examples: Examples, trust: Trust, typical: str, limit: float) -> Head:
    return Head(
        graph=export.head_file(plan.name),
        labels=examples.label_names,
        conditions=plan.conditions,
        prior=tuple(round(float(p), 6) for p in examples.prior),
        calibration=trust.calibration,
        coverage=COVERAGE,
        most_in_set=plan.most_in_set,
        typical=typical,
        typical_limit=round(limit, 3),
        reads_note=bool(examples.notes),
        match=trust.match,
        ages=plan.ages,
        caution=plan.caution,
        training={
            "data": plan.data,
            "data_sha256": examples.digest,
            "pictures": str(len(examples.ids)),
            "groups": str(len(set(examples.groups))),
        },
        metrics=trust.metrics,
    )


def _file(folder: Path, file: Exported) -> File:
    content = (folder / file.name).read_bytes()
    return File(sha256(content).hexdigest(), len(content), file.inputs, file.parameters)


def _record(
    job: Job,
    examples: Mapping[str, Examples],
    said: Mapping[str, Mapping[str, Said]],
    manifests: Mapping[str, Manifest],
) -> dict[str, object]:
    """Everything that the benchmark recomputes figures from, and what a repetition is compared with."""
    folds = run.fold_numbers(examples, job.seed)
    see, read = torch.load(job.file("vit.pt")), torch.load(job.file("readers.pt"))
    heads: dict[str, object] = {}
    for _, plan in run.heads():
        own = examples[plan.name]
        heads[plan.name] = {
            "data_sha256": own.digest,
            "labels": own.label_names,
            "prior": [round(float(p), 6) for p in own.prior],
            "most_in_set": plan.most_in_set,
            "ids": own.ids,
            "groups": own.groups,
            "label": own.labels.tolist(),
            "fold": folds[plan.name].tolist(),
            "posteriors": {
                profile: _posteriors(job, PROFILES[profile], plan, own, folds[plan.name], found[plan.name])
                for profile, found in said.items()
            },
            "fits": {
                profile: {key: np.round(v, 3).tolist() for key, v in found[plan.name].fits.items()}
                for profile, found in said.items()
                if found[plan.name].fits
            },
        }
    return {
        "command": command_of(job),
        "seed": job.seed,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "steps": run.STEPS,
        "learning_to_see": {
            "start": see["start"],
            "phases": pretrain.recipe(pretrain.PHASES),
            "curve": see["curve"],
        },
        "learning_to_read": read["curves"],
        "curves": {
            f"{profile}.{split}": torch.load(job.file(f"{profile}.{split}.pt"))["curve"]
            for profile in PROFILES
            for split in run.splits()
        },
        "sizes": {name: msgspec.to_builtins(manifest.size) for name, manifest in manifests.items()},
        "heads": heads,
    }


def _posteriors(
    job: Job, profile: Profile, plan: HeadPlan, examples: Examples, folds: npt.NDArray[np.int64], said: Said
) -> dict[str, list[list[float]]]:
    """By mode, uncalibrated: of the exported form, and (`*_float`) of the network before it was exported."""
    found = calibrate.posteriors_of(said, examples.prior)
    whole: dict[str, npt.NDArray[np.float64]] = {}
    for number, split in enumerate(run.fold_splits()):
        scores = torch.load(job.file(f"{profile.name}.{split}.pt"))["scores"][plan.name]
        for mode, values in scores.items():
            place = whole.setdefault(mode, np.empty((len(examples.ids), len(examples.label_names))))
            place[folds == number] = values.numpy()
    plain = calibrate.posteriors_of(Said(whole), examples.prior)
    found |= {f"{mode}_float": values for mode, values in plain.items() if mode in ("image", "fused")}
    return {mode: [[float(f"{v:.3g}") for v in row] for row in values] for mode, values in found.items()}
