"""A frontal chest film: of a child (Kermany et al.) or of an adult (NIH).

Two heads, chosen by the patient's age and never by the picture: the two sources differ in everything, so that
one head for both would learn to tell the source and not the disease.
"""

from __future__ import annotations

from pathlib import Path

from akazuba.diagnosis.artefacts import Ages
from akazuba.training.data import Examples, read_examples
from akazuba.training.kinds import HeadPlan, ImageKind
from akazuba.training.pictures import Distortion

ADULT_FROM_YEARS = 15.0
CHILD_YEARS = 1.0, 6.0
"""The source's children are "one to five years old" (Kermany et al. 2018)."""

CHILD_LABELS = {
    "normal": "normal",
    "bacterial_pneumonia": "pneumonia-bacterial",
    "viral_pneumonia": "pneumonia-viral",
}
ADULT_LABELS = {"no_finding": "no-finding", "other_pneumonia": "pneumonia"}


def load_child(data: Path) -> Examples:
    """Development part. A group is the person number of the file name; normal films carry no usable one, so
    each is a group of its own and two films of one healthy child may part company.
    """
    folder = data / "cxr_paediatric_pneumonia"
    return read_examples(
        folder, CHILD_LABELS, group=lambda row: row["id"] if row["label"] == "normal" else row["patient"]
    )


def load_adult(data: Path) -> Examples:
    """The NIH part of the development films; a group is a patient."""
    folder = data / "cxr_multisite_notes"
    return read_examples(
        folder, ADULT_LABELS, group=lambda row: row["patient"], wanted=lambda row: row["site"] == "nih"
    )


KIND = ImageKind(
    name="chest-xray",
    spoken="a frontal chest X-ray",
    use="a frontal chest film of a child, or of an adult (see how little that head knows)",
    through=128,
    sides={"full": 140, "student": 192, "tiny": 128},
    distortion=Distortion(turns=False, turn_degrees=8),
    album_share=0.45,
    heads=(
        HeadPlan(
            name="chest-xray.child",
            load=load_child,
            conditions={label: (label,) for label in CHILD_LABELS.values() if label != "normal"},
            most_in_set=2,
            batch=40,
            copies=2,
            ages=Ages(*CHILD_YEARS, "it has learned from films of children of one to five years"),
            data=(
                "Paediatric chest X-rays (Kermany et al. 2018, Mendeley Data rscbjbr9sj), known as CC BY 4.0 "
                "(the copy that was used states no licence of its own)"
            ),
            traps=(
                (
                    "*Patients on both sides*: folds keep a patient together, but normal films carry no "
                    "usable patient id; each counts as its own patient, so **patients are unknown** there. "
                    "By the file names, 200 of the 1,341 normal films share their study with another one, "
                    "which may stand on the other side."
                ),
                (
                    "*One hospital* (Guangzhou), children of one to five years, films of 128 px: younger and "
                    "older children's films are not read."
                ),
            ),
        ),
        HeadPlan(
            name="chest-xray.adult",
            load=load_adult,
            conditions={},
            most_in_set=1,
            batch=12,
            copies=4,
            ages=Ages(ADULT_FROM_YEARS, None, "it has learned from films of a hospital for adults"),
            caution=(  # AUC 0.44 (0.30-0.58) of 319 films: benchmarks/chest_sites.py
                "This model learned from films of one hospital. On films of seven other sources it told sick "
                "from well no better than by chance: do not rely on it. It changes no ranking."
            ),
            data=(
                "NIH ChestX-ray14 (Wang et al. 2017, arXiv:1705.02315), a subset of 676 films: no "
                "restrictions, attribution to the NIH Clinical Center"
            ),
            traps=(
                (
                    "*Labels by text mining* of reports: some are wrong, and pneumonia is not seen on "
                    "every film of a patient who has it. Ages are not given in this copy."
                ),
                (
                    "*One source for both labels*: the source of a chest film gives its label away, so "
                    "only NIH films are used, and the head is chosen by the patient's age, never by the "
                    "picture."
                ),
                (
                    "*How the film was taken*: the sick are often filmed lying, from the front, by a "
                    "portable machine, the others standing; a head can tell that and not the lung. This "
                    "copy does not say which is which, so **part of its accuracy may be that**."
                ),
                (
                    "Its label is shown and **does not move the ranking**: it has never seen "
                    "tuberculosis, heart failure or a tumour, and would read each of them as one of its "
                    "two labels."
                ),
            ),
        ),
    ),
)
