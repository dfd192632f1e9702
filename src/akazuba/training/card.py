"""The model card that is shipped beside the models of a profile.

It is written from the manifest and the kinds' files, so that its figures are the measured ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from akazuba.diagnosis.artefacts import Head, Manifest
from akazuba.training.kinds import all_kinds

_TEXT = """\
# Model card: {model} {version}, profile {profile}

{bytes:,} bytes, {parameters:,} parameters{teacher}. Written by the training run from the figures it measured.

**Review: {review}.** Nobody outside the project has checked these models. They are no medical device.

## Intended use

They help a trained health worker to think of a diagnosis and to decide whom to refer; they never make a
diagnosis alone, and the urgency of a case is decided by rules that do not see them. Meant for:

{uses}

Not meant for: dermatoscope pictures, rashes, wounds, skin conditions other than those named, X-rays of
anything else, follow-up or measuring. A label that is not in the list cannot be named: a lesion of any other
kind is read as one of them or as none.

## How it was made

{made}

## Data and licences

{data}

Weights: {licence}{dinov2}.

Traps of the data and what was done:

{traps}
- *Small pictures* (at most 224 px skin, 128 px chest of children): larger ones, adults' films too, are
  brought down first.
{seeing}- *Prevalence*: probabilities hold for the mix of the training sets, which is not that of a health
  post. The consultation uses likelihood ratios (probability / share in training), limited to 1/50 to 50.

## Measured (held-out patients of five development folds; 95 % intervals over patients)

Of the 8-bit form that is used, exported fold by fold; weights and set thresholds of a fold come from the
other folds (the alignment's two numbers from all). `image`, `text`, `fused`: the picture alone, the note
alone, both; `paraphrased`: the note in a nurse's wording instead of the data set's template. For balanced
accuracy the label with the greatest probability / share in training is chosen, for accuracy the most
probable one. `auc_alignment_*`: own note in a nurse's wording against another patient's note of the same
set, or against a note about another complaint; `doubted_*`: share of such pairs that are remarked on, where
{doubted:.0%} of the true pairs are too.

{metrics}

## How an answer is held back

- A picture whose texture is far from the head's training pictures is refused (limits: {limits}). Of
  true pictures of the training sites, {share:.1%} pass; of another hospital's films fewer do.
{cautions}- Prediction sets hold the true label with 90 % probability for each label separately (split
  conformal on held-out folds). More labels than {most}, or none, is an abstention.
- Picture, note and what only both together say are weighed against each other on held-out folds: {weights}.
- A head for one age group is not asked about another, and none of them about a patient of unknown age.
- Without an answer within ten seconds (a box whose processor is taken) there is none.

Repeat: `{command}` (needs the `train` extra and the data sets).
"""

_MADE = {
    "full": (
        "Text: MiniLM-L6. Image: a vision transformer of DINOv2's shape (ViT-S/14), {seen}. Fusion: one "
        "layer of cross-attention in each direction. This is the teacher."
    ),
    "student": (
        "Image: MobileNet V1 1.0 from ImageNet weights (dequantised from 8 bits), upper blocks trained, one "
        "encoder for all kinds. Text: two layers, 128 wide. Fusion: one layer of cross-attention in each "
        "direction. Learned from the labels and from the teacher's answers and features."
    ),
    "tiny": "As the student, with MobileNet V1 0.5 on smaller pictures, for the smallest boxes.",
}


_SEEN = (
    "taught by MobileNet V1 to see (no pretrained DINOv2 weights were at hand; a file of them can take its "
    "place)"
)
_SEEING = """\
- *Unlabelled looking*: the teacher's image encoder has seen every development picture without its label
  before the folds were made, those of held-out patients included.
"""


def render(manifest: Manifest, command: str, dinov2: Path | None, typical_share: float) -> str:
    """The model card as Markdown. dinov2: the file that the teacher learned to see from, if not from us."""
    heads = {name: head for kind in manifest.kinds.values() for name, head in kind.heads.items()}
    size, teacher = manifest.size, manifest.teacher
    share = "" if teacher is None else f"; {size.parameters / teacher.parameters:.1%} of its teacher's"
    return _TEXT.format(
        model=manifest.model,
        version=manifest.version,
        profile=manifest.profile,
        review=manifest.review,
        licence=manifest.licence,
        bytes=size.bytes,
        parameters=size.parameters,
        teacher=share,
        made=_MADE[manifest.profile].format(seen="from DINOv2's weights" if dinov2 else _SEEN),
        seeing="" if dinov2 else _SEEING,
        dinov2="; DINOv2 by Meta, Apache-2.0" if dinov2 else "",
        uses="\n".join(f"- **{kind.name}**: {kind.use};" for kind in all_kinds()),
        data="\n".join(_data(name, head) for name, head in heads.items()),
        traps="\n".join(f"- {trap}" for kind in all_kinds() for plan in kind.heads for trap in plan.traps),
        doubted=next((head.match.share_below for head in heads.values() if head.match), 0.0),
        metrics="\n\n".join(_metrics(name, head) for name, head in heads.items()),
        limits=", ".join(f"{name} {head.typical_limit}" for name, head in heads.items()),
        share=typical_share,
        cautions="".join(f"- **{name}**: {head.caution}\n" for name, head in heads.items() if head.caution),
        most=" or ".join(f"{head.most_in_set} ({name})" for name, head in heads.items()),
        weights="; ".join(_weights(heads)),
        command=command,
    )


def _weights(heads: Mapping[str, Head]) -> Iterator[str]:
    for name, head in heads.items():
        for mode, fitted in head.calibration.items():
            yield f"{name} {mode} {', '.join(str(w) for w in fitted.weights)}"


def _data(name: str, head: Head) -> str:
    facts = head.training
    return (
        f"- **{name}**: {facts['data']}. {facts['pictures']} pictures in {facts['groups']} groups, by "
        f"patient, development part only; SHA-256 {facts['data_sha256']}. Labels: {', '.join(head.labels)}."
    )


def _metrics(name: str, head: Head) -> str:
    lines = [f"### {name}", "", "| measure | value | 95 % interval | n |", "|---|---|---|---|"]
    for key, value in head.metrics.items():
        if isinstance(value, Mapping) and "value" in value:
            found = cast("Mapping[str, float]", value)
            lines.append(f"| {key} | {found['value']} | {found['low']} to {found['high']} | {found['n']} |")
        else:
            lines.append(f"| {key} | {value} | | |")
    return "\n".join(lines)
