"""A photograph of one skin lesion, with a note: PAD-UFES-20."""

from __future__ import annotations

import random
from pathlib import Path

from akazuba.training.data import Examples, read_examples
from akazuba.training.kinds import HeadPlan, ImageKind
from akazuba.training.notes import Facts, render, thinned
from akazuba.training.pictures import Distortion

LABELS = {
    "BCC": "basal-cell-carcinoma",
    "SCC": "squamous-cell-carcinoma",
    "MEL": "melanoma",
    "ACK": "actinic-keratosis",
    "SEK": "seborrhoeic-keratosis",
    "NEV": "melanocytic-naevus",
}


def load(data: Path) -> Examples:
    """Development part; a group is a patient. Of the notes only `note` is read (see the traps)."""
    folder = data / "padufes_skin_clinical"
    return read_examples(folder, LABELS, group=lambda row: row["patient"], reworded=_reworded)


def _reworded(row: dict[str, str], rng: random.Random, thin: bool) -> str:
    facts = Facts.from_row(row)
    return render(thinned(facts, rng, rng.choice((0.6, 0.9, 1.0, 1.0))) if thin else facts, rng)


KIND = ImageKind(
    name="skin-photo",
    spoken="a photograph of a skin lesion",
    use=(
        "a close photograph of one skin lesion, with or without a short note in English (age, place, itch, "
        "growth, pain, change, bleeding, raised)"
    ),
    through=224,
    sides={"full": 224, "student": 224, "tiny": 160},
    distortion=Distortion(turns=True, turn_degrees=30),
    album_share=0.55,
    heads=(
        HeadPlan(
            name="skin-photo",
            load=load,
            conditions={label: (label,) for label in LABELS.values()},
            most_in_set=3,
            batch=16,
            copies=6,
            data="PAD-UFES-20 (Pacheco et al. 2020, Mendeley Data zr7vgbcyr2), CC BY 4.0",
            traps=(
                (
                    "*Fields that betray a biopsy* (skin type, diameter, sex, smoking, filled in mostly "
                    "for biopsied patients; the field `biopsed`): not used. Only the note made of age, "
                    'place and six signs is read. Whether "grew" and "changed" were recorded at all is '
                    "not quite independent of the label either; training drops facts at random."
                ),
                (
                    "*One template for all notes*: training never shows its sentence. The same facts are "
                    "rendered in many wordings with durations, slips and remarks, and the template is "
                    "kept for evaluation; both are reported."
                ),
                (
                    "*Light skin*: where the Fitzpatrick skin type was recorded (392 of 619 photographs) "
                    "it is I to III in 369, IV in 22, V in 1 and never VI. **Expect less on darker skin; "
                    "it has not been measured.**"
                ),
                (
                    "*One hospital programme* (Espírito Santo, Brazil), smartphones: the folds say "
                    "nothing about another."
                ),
            ),
        ),
    ),
)
