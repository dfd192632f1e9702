"""From a note to coded findings, each with its place in the note."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from msgspec import structs

from akazuba.language.context import read_contexts
from akazuba.language.english import common_words, why_not_english
from akazuba.language.matching import DANGER_WORD, Match, Matcher, english_lesion_words, english_lexicon
from akazuba.language.scope import Context
from akazuba.language.signs import SeenSign, SignModel, english_signs
from akazuba.language.times import english_durations, find_times
from akazuba.language.tokens import Gap, Token, tokenise
from akazuba.language.triggers import english_roles, english_triggers
from akazuba.language.typos import Spelling
from akazuba.records import Finding, NoteReading
from akazuba.terminology import Terminology, kinds_of

PAIN, ABDOMINAL_PAIN, HEADACHE, CHEST_PAIN = "HP:0012531", "HP:0002027", "HP:0002315", "HP:0100749"
DYSPNOEA = "HP:0002094"
_SEVERE = frozenset(
    {"severe", "severely", "terrible", "unbearable", "excruciating", "worst", "intense", "extreme"}
)
_MUCH = frozenset(
    {"heavy", "heavily", "profuse", "massive", "lot", "lots", "excessive", "gushing", "spurting", "pouring"}
    | {"uncontrolled", "nonstop", "litre", "litres", "liter", "liters"}
)
_ACUTE = frozenset({"acute", "sudden", "suddenly", "abrupt"})
QUALIFIED = (
    (_SEVERE | {"strong", "strongly"}, ABDOMINAL_PAIN, "AKZ:0000037"),
    (_SEVERE | {"extremely"}, DYSPNOEA, "HP:0002098"),  # respiratory distress
    (_SEVERE | {"bad", "badly", "strong", "blinding", "splitting"}, HEADACHE, "AKZ:0000036"),
    (_SEVERE, "HP:0000980", "AKZ:0000019"),  # pallor
    (_SEVERE | _MUCH, "HP:0001892", "AKZ:0000003"),  # bleeding
    (_SEVERE | {"agonising", "agonizing", "screaming"}, PAIN, "AKZ:0000022"),
    (_ACUTE, CHEST_PAIN, "AKZ:0000047"),
    (_ACUTE, ABDOMINAL_PAIN, "AKZ:0000048"),
    (_ACUTE, "HP:0025406", "AKZ:0000049"),  # general weakness
    (_ACUTE, "HP:0033839", "AKZ:0000050"),  # testicular pain
    (_ACUTE, "HP:0001269", "AKZ:0000020"),  # hemiparesis: a focal complaint
    (_ACUTE, "HP:0010628", "AKZ:0000020"),  # facial palsy
    (_ACUTE, "HP:0001350", "AKZ:0000020"),  # slurred speech
    (_ACUTE, "HP:0002381", "AKZ:0000020"),  # aphasia
    (_ACUTE, "HP:0000572", "AKZ:0000021"),  # visual loss
    (_ACUTE, "HP:0000622", "AKZ:0000021"),  # blurred vision
)
"""A word beside a finding (or beside a kind of it) that makes a finding of its own, for triage."""

LIFELONG = frozenset({"HP:0000822", "HP:0000819", "HP:0002099", "AKZ:0000062", "AKZ:0000078"})
"""Hypertension, diabetes, asthma, HIV, sickle cell disease: a history of one means that it is there."""


LESIONS = frozenset({"HP:0011355", "HP:0003764", "AKZ:0000096"})
"""Localized skin lesion, nevus, dark spot: in their note "it has grown" is said of the skin."""


class Reader:
    """Reads notes in English.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from akazuba.terminology import open_terminology
    >>> with TemporaryDirectory() as home, open_terminology(Path(home)) as terms:
    ...     reading = Reader(terms).read("Fever for 3 days, no cough. Mother has asthma.", "en")
    >>> [(f.name, f.present, f.subject, f.onset_days_ago) for f in reading.findings]
    [('Fever', True, 'patient', 3.0), ('Cough', False, 'patient', None), ('Asthma', True, 'family', None)]
    """

    def __init__(self, terminology: Terminology, signs: SignModel | None = None) -> None:
        self._terminology = terminology
        self._signs = signs or english_signs()
        self._lexicon = english_lexicon()
        self._matcher = Matcher(terminology, self._lexicon)
        self._spelling = Spelling(self._matcher.words_of_danger)
        self._lesion_words = english_lesion_words()
        self._triggers, self._roles = english_triggers(), english_roles()
        self._common = common_words()
        self._durations = english_durations()

    def read(self, note: str, language: str) -> NoteReading:
        """Findings of a note in the order in which they are first named. Takes any string.

        language: ISO 639 code. Only "en" is read; for another one, or a note that is plainly not
        English, `understood` is False and `why` says so in a sentence for the nurse.
        """
        if not note.strip():
            return NoteReading((), understood=False, why="the note is empty")
        if language not in {"en", "eng"}:
            why = "the note is not in English, the only language that this version reads"
            return NoteReading((), understood=False, why=why)
        tokens = self._spelling.corrected(tokenise(note), self._common, self._knows_word)
        if why_not := why_not_english(note, tokens, self._common, self._knows_word):
            return NoteReading((), understood=False, why=why_not)
        matches = self._matcher.matches(tokens)
        if any(not LESIONS.isdisjoint(self._terminology.ancestors(id_)) for m in matches for id_ in m.ids):
            matches = self._matcher.matches(tokens, self._lesion_words)
        contexts = read_contexts(tokens, matches, find_times(note), self._triggers, self._roles)
        mentions = [
            self._finding(note, tokens, match, term, context)
            for match, context in zip(matches, contexts, strict=True)
            if not context.hypothetical
            for term in self._qualified(tokens, match, context)
            if context.present or term != DANGER_WORD
        ]
        mentions += [lasting for mention in mentions for lasting in self._lasting(mention)]
        signs = _once_each(self._told(note, tokens, mentions))
        return NoteReading(_once_each(mentions), understood=True, signs=signs)

    def _told(self, note: str, tokens: Sequence[Token], mentions: Sequence[Finding]) -> list[Finding]:
        """Danger signs that only the word model reads, with the words that tell them.

        It adds and never denies: a sign gives way to a mention of it, to a denial in its own words, and when
        its strongest word is denied, said of somebody else, of the past or as a warning.
        """
        seen = [sign for sign in self._signs.read(note) if not self._settled(sign, mentions)]
        if not seen:
            return []
        starts = [token.start for token in tokens]
        pairs = []
        for sign in seen:
            place = max(bisect_right(starts, sign.peak) - 1, 0)
            pairs.append((Match(place, place + 1, 1, (sign.id,), inferred=True), sign))
        pairs.sort(key=lambda pair: pair[0].first)
        contexts = read_contexts(
            tokens, [match for match, _ in pairs], find_times(note), self._triggers, self._roles
        )
        return [
            Finding(
                id=sign.id,
                name=self._terminology.label(sign.id),
                present=True,
                source="note",
                span=(sign.start, sign.end),
                text=note[sign.start : sign.end],
                onset_days_ago=context.onset_days,
            )
            for (_, sign), context in zip(pairs, contexts, strict=True)
            if context.present
            and context.subject == "patient"
            and not (context.past or context.history or context.hypothetical)
        ]

    def _settled(self, sign: SeenSign, mentions: Sequence[Finding]) -> bool:
        """Whether the note names the sign, or denies or doubts it where the model would read it."""
        return any(
            sign.id in kinds_of(mention.id, self._terminology.ancestors)
            and mention.subject == "patient"
            and ((mention.counts and mention.present) or _overlaps(mention, sign))
            for mention in mentions
        )

    def _lasting(self, mention: Finding) -> Iterator[Finding]:
        """What the time since a finding began makes of it: a cough of three weeks is a cough of over two."""
        if mention.onset_days_ago is None or not mention.counts or not mention.present:
            return
        above = self._terminology.ancestors(mention.id)
        for general, days, term in self._durations:
            if general in above and term not in above and mention.onset_days_ago >= days:
                yield structs.replace(mention, id=term, name=self._terminology.label(term))

    def _knows_word(self, stem: str) -> bool:
        return any(known.knows_word(stem) for known in (self._lexicon, self._matcher, self._terminology))

    def _qualified(self, tokens: Sequence[Token], match: Match, context: Context) -> tuple[str, ...]:
        """The findings of a match once "severe" and "sudden" beside it are taken in.

        A qualified finding that is a kind of the plain one replaces it; else it joins it ("severe pain in the
        right upper belly"). Denied, it says nothing of the plain one: "no severe headache".
        """
        words = _beside(tokens, match)
        kept: list[str] = []
        for term in match.ids:
            above = self._terminology.ancestors(term)
            rows = [row for row in QUALIFIED if row[1] in above and not row[0].isdisjoint(words)]
            made = {row[2] for row in rows} - above
            implied = {parent for new in made for parent in self._terminology.ancestors(new) if parent != new}
            replaced = any(row[1] == term and term in self._terminology.ancestors(row[2]) for row in rows)
            if not made or not (replaced or context.present):
                kept += [term] if not made else []
            else:
                kept += [*sorted(made - implied), *([] if replaced else [term])]
        return tuple(dict.fromkeys(kept))

    def _finding(
        self, note: str, tokens: Sequence[Token], match: Match, term: str, context: Context
    ) -> Finding:
        start, end = tokens[match.first].start, tokens[match.last - 1].end
        before = (context.past or context.history) and not (context.present and term in LIFELONG)
        return Finding(
            id=term,
            name=self._terminology.label(term),
            present=context.present,
            uncertain=context.uncertain or term == DANGER_WORD,
            subject=context.subject,
            temporality="past" if before and (context.past or context.present) else "current",
            source="note",
            span=(start, end),
            text=note[start:end],
            onset_days_ago=context.onset_days,
        )


def _overlaps(mention: Finding, sign: SeenSign) -> bool:
    return mention.span is not None and mention.span[0] < sign.end and sign.start < mention.span[1]


def _beside(tokens: Sequence[Token], match: Match) -> set[str]:
    """Words of the same part of the sentence: up to four before a match and up to three after it.

    None that is denied itself: an ache that is "not strong" is not a strong one.
    """
    first = match.first
    while first > 0 and match.first - first < 4 and tokens[first].gap is Gap.NONE:
        first -= 1
    last = match.last
    while last < len(tokens) and last - match.last < 3 and tokens[last].gap is Gap.NONE:
        last += 1
    places = (*range(first, match.first), *range(match.last, last))
    return {tokens[place].word for place in places if place == 0 or tokens[place - 1].word != "not"}


def _strength(finding: Finding) -> int:
    """Of two mentions of one finding the stronger is kept: present, then absent, then uncertain."""
    if finding.uncertain:
        return 0
    return 2 if finding.present else 1


def _once_each(mentions: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each (term, subject, temporality): a fit last year and no fit today both stand.

    Within these a certain present mention wins over an absent one ("no cough at first, now cough": missing
    a finding is the worse error) and a certain absent one over an uncertain one ("? fever … no fever").
    Equal mentions keep the first place and the longest known onset.
    """
    kept: dict[tuple[str, str, str], Finding] = {}
    for finding in mentions:
        key = (finding.id, finding.subject, finding.temporality)
        known = kept.get(key)
        if known is None or _strength(finding) > _strength(known):
            kept[key] = finding
        elif _strength(finding) == _strength(known):
            onsets = (known.onset_days_ago, finding.onset_days_ago)
            longest = max((days for days in onsets if days is not None), default=None)
            kept[key] = structs.replace(known, onset_days_ago=longest)
    return tuple(sorted(kept.values(), key=lambda finding: finding.span or (0, 0)))
