"""The model card that is shipped beside the models.

It is written from the manifest, so that its figures are the measured ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from akazuba.diagnosis.artefacts import Kind, Manifest

_TEXT = """\
# Model card: {model} {version}

{bytes:,} bytes, {parameters:,} parameters. Written by the training run from the figures it measured.

**Review: {review}.** Nobody outside the project has checked these models. They are no medical device.

## Intended use

They help a trained health worker to think of a diagnosis and to decide whom to refer; they never make a
diagnosis alone, and the urgency of a case is decided by rules that do not see them. Meant for:

- **skin-photo**: a close photograph of one skin lesion, with or without a short note in English
  (age, place, itch, growth, pain, change, bleeding, raised);
- **chest-xray**: a frontal chest film of a child.

Not meant for: adults' chest films (refused, see below), dermatoscope pictures, rashes, wounds, skin
conditions other than the six named, X-rays of anything else, follow-up or measuring. A label that is
not in the list cannot be named: a lesion of any seventh kind is read as one of the six or as none.

## Data and licences

{data}

Image encoder: MobileNet V1 1.0 224, ImageNet weights by Google, Apache-2.0, dequantised from 8 bits.
Weights shipped here: {licence}.

Traps of the data and what was done:

- *Fields that betray a biopsy* (skin type, diameter, sex, smoking, filled in mostly for biopsied patients;
  the field `biopsed`): not used. Only the note made of age, place and six signs is read. Whether "grew" and
  "changed" were recorded at all is not quite independent of the label either; training drops facts at random.
- *One template for all notes*: training never shows its sentence. The same facts are rendered in many
  wordings with durations, slips and remarks, and the template is kept for evaluation; both are reported.
- *Patients on both sides*: folds keep a patient together. Normal chest films carry no patient id; each
  counts as its own patient, so two films of one healthy child may stand on both sides.
- *One hospital for each set* (Espírito Santo; Guangzhou): the folds say nothing about another site, camera,
  skin type or machine. Where the Fitzpatrick skin type was recorded (392 of 619 photographs) it is I to III
  in 369, IV in 22, V in 1 and never VI. **Expect less on darker skin; it has not been measured.**
- *Small pictures* (224 px skin, 128 px chest): larger ones are brought to that size first.
- *Prevalence*: probabilities hold for the mix of the training sets, which is not that of a health post. The
  consultation uses likelihood ratios (probability / share in training), limited to 1/50 to 50.

## Measured (held-out patients of the development folds; 95 % intervals over patients)

Of the 8-bit form that is shipped, quantised fold by fold; weights and set thresholds of a fold come from
the other folds. `image`, `text`, `fused`: the picture alone, the note alone, both; `paraphrased`: the note
in a nurse's wording instead of the data set's template. For balanced accuracy the label with the greatest
probability / share in training is chosen, for accuracy the most probable one.

{metrics}

## Adult chest films

{adults}
This does not transfer well enough to label an adult's film, so the engine labels none at 15 years or
more or at an unknown age. The training films are of children of one to five years.

## How an answer is held back

- A picture whose texture is far from the kind's training pictures is refused (limits: {limits}).
  Of true pictures of the training sites, {share} % pass; **of films of another hospital most may not**
  ({foreign} % of the adult NIH films are refused).
- Prediction sets hold the true label with 90 % probability for each label separately (split conformal on
  held-out folds). More than {most} labels, or none, is an abstention.
- Picture, note and what only both together say are weighed against each other on held-out folds
  ({weights}); with a few hundred patients, cross-attention
  adds next to nothing to the sum of the other two.

Repeat: `{command}` (seed {seed}; needs the `train` extra and the data sets).
"""


def render(manifest: Manifest, command: str, seed: int) -> str:
    """The model card as Markdown."""
    kinds = manifest.kinds
    return _TEXT.format(
        model=manifest.model,
        version=manifest.version,
        review=manifest.review,
        licence=manifest.licence,
        bytes=sum(file.bytes for file in manifest.files.values()),
        parameters=sum(file.parameters for file in manifest.files.values()),
        data="\n".join(_data(name, kind) for name, kind in kinds.items()),
        metrics="\n\n".join(_metrics(name, kind) for name, kind in kinds.items()),
        adults=_adults(kinds),
        limits=", ".join(f"{name} {kind.typical_limit}" for name, kind in kinds.items()),
        weights="; ".join(
            f"{name} {mode}: {', '.join(str(w) for w in fitted.weights)}"
            for name, kind in kinds.items()
            for mode, fitted in kind.calibration.items()
        ),
        share="98.5",
        foreign=round(100 * cast("float", _adult_facts(kinds)["not_typical"])),
        most=" or ".join(f"{kind.most_in_set} ({name})" for name, kind in kinds.items()),
        command=command,
        seed=seed,
    )


def _data(name: str, kind: Kind) -> str:
    facts = kind.training
    return (
        f"- **{name}**: {facts['data']}. {facts['pictures']} pictures, {facts['groups']} groups (patients), "
        f"development part only; SHA-256 {facts['data_sha256']}. Labels: {', '.join(kind.labels)}."
    )


def _metrics(name: str, kind: Kind) -> str:
    lines = [f"### {name}", "", "| measure | value | 95 % interval | n |", "|---|---|---|---|"]
    for key, value in kind.metrics.items():
        if isinstance(value, Mapping) and "value" in value:
            lines.append(f"| {key} | {value['value']} | {value['low']} to {value['high']} | {value['n']} |")
        elif not isinstance(value, Mapping):
            lines.append(f"| {key} | {value} | | |")
    return "\n".join(lines)


def _adult_facts(kinds: Mapping[str, Kind]) -> Mapping[str, object]:
    return cast("Mapping[str, object]", kinds["chest-xray"].metrics["adult_films"])


def _adults(kinds: Mapping[str, Kind]) -> str:
    found = _adult_facts(kinds)
    auc = cast("Mapping[str, object]", found["auc_pneumonia"])
    healthy, ill = (
        round(100 * cast("float", found[key]))
        for key in ("healthy_called_pneumonia", "pneumonia_called_normal")
    )
    return (
        f"On {auc['n']} adult films of NIH ChestX-ray14 (no finding / pneumonia as its labels have it; not\n"
        f"used in training) normal against pneumonia reaches an AUC of {auc['value']} ({auc['low']} to\n"
        f"{auc['high']}); {healthy} % of the films without finding would be called pneumonia and {ill} % of\n"
        "those with pneumonia normal.\n"
    )
