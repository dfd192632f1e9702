"""What a note about a skin lesion says, and many ways to say it.

The set's notes are one template. A network trained on it would read nothing else, so training renders
the same facts in the words of nurses: telegraphic, in sentences, with durations, slips of the pen and
remarks that have nothing to do with the lesion. The template's sentence itself is never rendered: it
is kept for evaluation (its single words, "no pain" say, are anybody's and do occur).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

SIGNS = ("itch", "grew", "hurt", "changed", "bleed", "elevation")

REGIONS: dict[str, tuple[str, ...]] = {
    "FACE": ("face", "cheek", "forehead", "left temple", "chin", "side of the face"),
    "BACK": ("back", "upper back", "lower back", "shoulder blade", "mid back"),
    "CHEST": ("chest", "breast", "sternum", "upper chest", "front of chest"),
    "FOREARM": ("forearm", "lower arm", "wrist", "right forearm"),
    "ARM": ("arm", "upper arm", "left arm", "shoulder", "elbow"),
    "NECK": ("neck", "nape", "back of the neck", "side of neck"),
    "NOSE": ("nose", "tip of the nose", "nostril", "side of nose", "bridge of nose"),
    "ABDOMEN": ("abdomen", "belly", "tummy", "stomach", "flank"),
    "THIGH": ("thigh", "upper leg", "leg", "left thigh", "knee"),
    "HAND": ("hand", "back of the hand", "finger", "thumb", "right hand"),
    "EAR": ("ear", "ear lobe", "behind the ear", "rim of the ear"),
    "SCALP": ("scalp", "top of the head", "head", "hairline"),
    "FOOT": ("foot", "toe", "sole", "heel", "ankle"),
    "LIP": ("lip", "lower lip", "upper lip", "mouth"),
}

# For each sign: words for "yes" and words for "no".
_SAID: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "itch": (
        (
            "itchy", "itches", "it itches", "it is itching", "it itches a lot", "itching", "pruritus",
            "scratches it often", "complains of itch", "pruritic", "has been itching",
        ),
        (
            "not itchy", "no itching", "does not itch", "no pruritus", "denies itching", "without itch",
            "never itches", "no itchiness",
        ),
    ),
    "grew": (
        (
            "growing", "getting bigger", "has grown", "it grew", "larger than before", "increasing in size",
            "was smaller before", "grows", "bigger since {time}", "growing since {time}",
            "it has doubled in size", "enlarging",
        ),
        (
            "not growing", "same size", "size unchanged", "has not grown", "no increase in size",
            "not getting bigger", "stable size", "no enlargement", "denies growth",
        ),
    ),
    "hurt": (
        (
            "painful", "hurts", "sore", "tender", "pain when touched", "it hurts", "complains of pain",
            "aching",
        ),
        (
            "painless", "not painful", "does not hurt", "no pain at all", "denies pain", "non-tender",
            "without pain", "not sore", "no tenderness",
        ),
    ),
    "changed": (
        (
            "changed colour", "has changed", "it has changed since {time}", "looks different now",
            "changing shape", "changed recently", "became darker", "new colour",
            "appearance changed over {time}", "changing",
        ),
        (
            "no change", "has not changed", "looks the same", "unchanged for {time}", "no colour change",
            "stable", "always looked like this", "denies change",
        ),
    ),
    "bleed": (
        (
            "bleeds", "bleeding", "bled once", "blood on the pillow", "bleeds when scratched", "oozes blood",
            "has bled", "bleeds easily", "it bled last week",
        ),
        (
            "no bleeding seen", "does not bleed", "never bled", "not bleeding", "no blood",
            "denies bleeding", "has not bled", "without bleeding",
        ),
    ),
    "elevation": (
        (
            "raised", "a bump", "it is raised a little", "sticks out", "elevated", "palpable",
            "can feel it above the skin", "nodule", "it is a lump", "papule",
        ),
        (
            "flat", "not raised", "no bump", "flat on the skin", "not elevated", "not palpable", "macule",
            "level with the skin",
        ),
    ),
}  # fmt: skip

# Bare nouns for lists ("no itch, growth or pain") and for ticks ("itch +, pain -").
_NOUNS = {
    "itch": ("itch", "itching", "pruritus"),
    "grew": ("growth", "increase in size", "enlargement"),
    "hurt": ("pain", "tenderness", "soreness"),
    "changed": ("change", "changes", "colour change", "change in shape", "recent changes"),
    "bleed": ("bleeding", "blood", "haemorrhage"),
    "elevation": ("elevation", "bump", "swelling above the skin"),
}

_THINGS = (
    "lesion", "spot", "mark", "skin lesion", "patch", "sore", "mole", "growth on skin", "skin problem",
    "wound",
)  # fmt: skip
_TIMES = (
    "3 months", "2 weeks", "last year", "6 months", "about a year", "5 years", "some weeks", "10 days",
    "childhood", "1 month", "the rainy season", "2 years",
)  # fmt: skip
_REMARKS = (
    "works in the fields", "farmer", "no fever", "BP 120/80", "also has a cough", "came with her son",
    "no known allergies", "lives far from clinic", "takes amlodipine", "temp 36.8", "has diabetes",
    "first visit", "used herbal cream", "wants it checked", "photo taken", "weight 62 kg", "pulse 78",
    "otherwise well", "headache since yesterday", "no medicines", "previous visit in march",
    "worried about it", "HIV negative",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What is known of the lesion; None is not stated, which is not the same as no."""

    age: int | None = None
    region: str | None = None
    itch: bool | None = None
    grew: bool | None = None
    hurt: bool | None = None
    changed: bool | None = None
    bleed: bool | None = None
    elevation: bool | None = None

    @classmethod
    def from_row(cls, row: dict[str, str]) -> Facts:
        """Reads a row of PAD-UFES-20's table."""
        signs = {sign: {"True": True, "False": False}.get(row[sign]) for sign in SIGNS}
        return cls(int(row["age"]), row["region"], **signs)

    def sign(self, name: str) -> bool | None:
        value: bool | None = getattr(self, name)
        return value


def random_facts(rng: random.Random) -> Facts:
    """Facts drawn evenly, unrelated to any disease: material to learn reading from."""
    stated = rng.choice((0.3, 0.6, 0.9))
    signs = {s: (rng.random() < 0.5 if rng.random() < stated else None) for s in SIGNS}
    age = rng.randint(1, 95) if rng.random() < 0.85 else None
    region = rng.choice(tuple(REGIONS)) if rng.random() < 0.85 else None
    return Facts(age, region, **signs)


def thinned(facts: Facts, rng: random.Random, keep: float) -> Facts:
    """Forgets each fact with probability 1 - keep: a hurried note."""
    gone = {name: None for name in ("age", "region", *SIGNS) if rng.random() > keep}
    return replace(facts, **gone)


def render(facts: Facts, rng: random.Random) -> str:
    """The facts in one of many wordings.

    >>> render(Facts(age=61, region="NOSE", bleed=True, hurt=False), random.Random(4))
    '61m side of nose skin problem, no fever, not painful, has bled'
    """
    phrases = rng.choice((_free, _free, _listed, _ticked))(facts, rng)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        phrases.insert(rng.randint(0, len(phrases)), rng.choice(_REMARKS))
    text = rng.choice((_telegram, _sentences, _story))(facts, phrases, rng)
    text = text.replace("{time}", rng.choice(_TIMES))
    if rng.random() < 0.3:
        text = _slip(text, rng)
    return rng.choice((text, text, text.lower(), text.capitalize()))


def _free(facts: Facts, rng: random.Random) -> list[str]:
    """Each sign in its own words, in any order."""
    stated = [sign for sign in SIGNS if facts.sign(sign) is not None]
    rng.shuffle(stated)
    return [rng.choice(_SAID[sign][0 if facts.sign(sign) else 1]) for sign in stated]


def _listed(facts: Facts, rng: random.Random) -> list[str]:
    """What there is, then what there is not: "itching, bleeding", "no pain or growth"."""
    yes = [rng.choice((*_NOUNS[s], rng.choice(_SAID[s][0]))) for s in SIGNS if facts.sign(s) is True]
    no = [rng.choice(_NOUNS[s]) for s in SIGNS if facts.sign(s) is False]
    rng.shuffle(yes)
    rng.shuffle(no)
    if no:
        lead = rng.choice(("no ", "denies ", "without ", "negative for ", "no "))
        again = (
            rng.choice((", ", ", no ", " or ", ", no "))
            if lead == "no "
            else rng.choice((", ", " or ", " and "))
        )
        no = [lead + again.join(no)]
    if yes and rng.random() < 0.5:
        yes[0] = rng.choice(("reports ", "complains of ", "there is ", "with ", "has ")) + yes[0]
    return yes + no if rng.random() < 0.8 else no + yes


def _ticked(facts: Facts, rng: random.Random) -> list[str]:
    """A form with ticks: "itch +", "pain: no"."""
    yes, no = rng.choice(
        ((" +", " -"), (": yes", ": no"), (" yes", " no"), (" (+)", " (-)"), (" present", " absent"))
    )
    stated = [sign for sign in SIGNS if facts.sign(sign) is not None]
    rng.shuffle(stated)
    return [rng.choice(_NOUNS[sign]) + (yes if facts.sign(sign) else no) for sign in stated]


def _where(facts: Facts, rng: random.Random) -> str:
    return rng.choice(REGIONS[facts.region]) if facts.region else ""


def _telegram(facts: Facts, phrases: list[str], rng: random.Random) -> str:
    sex = rng.choice(("M", "F", "", " y", " yo", " y/o", " years", "-year-old", " yr old"))
    place = _where(facts, rng)
    thing = rng.choice(_THINGS)
    head = [f"{facts.age}{sex}" if facts.age is not None else ""]
    head.append(
        rng.choice((f"{thing} {place}", f"{place} {thing}", f"with {thing} at {place}")) if place else thing
    )
    joint = rng.choice((", ", "; ", ". ", " - ", " / "))
    start = rng.choice((" ", ", ")).join(part for part in head if part)
    return joint.join([start, *phrases])


def _sentences(facts: Facts, phrases: list[str], rng: random.Random) -> str:
    who = rng.choice(
        ("Patient", "Woman", "Man", "Lady", "Client", "Pt", "A person", "Mother", "Old man", "Boy")
    )
    aged = (
        ""
        if facts.age is None
        else rng.choice((f" aged {facts.age}", f" of {facts.age} years", f", {facts.age},"))
    )
    place = _where(facts, rng)
    on = rng.choice((" on the ", " on ", " on her ", " on his ", " of the ")) + place if place else ""
    comes = rng.choice(("has", "with", "presents with", "came for", "shows"))
    lead = f"{who}{aged} {comes} a {rng.choice(_THINGS)}{on}"
    if rng.random() < 0.4:
        lead += f" for {rng.choice(_TIMES)}"
    rest = [
        f"{rng.choice(('It is', 'She says', 'He says', 'Says', 'Reports', 'Note:', ''))} {p}".strip()
        for p in phrases
    ]
    return ". ".join([lead, *rest]) + "."


def _story(facts: Facts, phrases: list[str], rng: random.Random) -> str:
    place = _where(facts, rng)
    adjective = phrases.pop() + " " if phrases and rng.random() < 0.4 else ""
    lead = f"{adjective}{rng.choice(_THINGS)}"
    if place:
        lead += rng.choice((" on ", " on the ", " at the ", ", ")) + place
    body = rng.choice((", ", " and ", ", also ", " "))
    text = f"{lead}{', ' if phrases else ''}{body.join(phrases)}"
    if facts.age is None:
        return text
    age = rng.choice(
        (f"age {facts.age}", f"{facts.age} years old", f"age: {facts.age} yrs", f"{facts.age}yo")
    )
    return f"{age}. {text}" if rng.random() < 0.5 else f"{text}. {age}"


def _slip(text: str, rng: random.Random) -> str:
    """One slip of the pen in a word: a letter lost, doubled or swapped with the next."""
    place = rng.randrange(max(1, len(text) - 1))
    if not text[place : place + 2].isalpha():
        return text
    a, b = text[place], text[place + 1 : place + 2]
    return text[:place] + rng.choice((b, a + a + b, b + a)) + text[place + 2 :]


# --- notes that are about something else ----------------------------------------------------------

_OF_THE_SKIN = re.compile(
    "skin|rash|lesion|itch|spot|mole|sore|wound|ulcer|lump|swell|bleed|blood|scab|crust|patch|bump|mark|blister"
    "|boil|wart|growth|bruis|burn|cut|scar|nodul|papul|scratch|pimple|abscess|pus|pigment|naev|freckle|colou?r"
    "|peel|scal|flak|dry|hair|nail|bite|sting|tender|hurt|pain$"
)


@cache
def _other_complaints() -> tuple[str, ...]:
    """Phrases of our lay lexicon that no lesion would be described by."""
    text = (files("akazuba.language") / "lay_lexicon_en.tsv").read_text(encoding="utf-8")
    phrases = (line.split("\t")[0] for line in text.splitlines()[1:])
    return tuple(phrase for phrase in phrases if not _OF_THE_SKIN.search(phrase))


def other_complaint(rng: random.Random) -> tuple[Facts, str]:
    """A note about anything but a skin lesion, and the one fact that it may state, the age.

    >>> facts, note = other_complaint(random.Random(3))
    >>> str(facts.age) in note
    True
    """
    said = rng.sample(_other_complaints(), rng.choice((1, 2, 2, 3, 4)))
    denied = rng.sample(_other_complaints(), rng.choice((0, 1, 2)))
    if rng.random() < 0.5:
        said[-1] += f" for {rng.choice(_TIMES)}"
    age = rng.randint(1, 95) if rng.random() < 0.7 else None
    forms = ("{age}yo with ", "{age} years old, ", "aged {age}: ", "{age} y/o, ")
    lead = (
        rng.choice(("", "Patient has ", "came with ")) if age is None else rng.choice(forms).format(age=age)
    )
    phrases = [*said, *(rng.choice(("no ", "denies ", "without ")) + phrase for phrase in denied)]
    text = lead + rng.choice((", ", " and ", "; ", ". ")).join(phrases)
    return Facts(age=age), _slip(text, rng) if rng.random() < 0.2 else text
