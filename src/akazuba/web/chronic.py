"""What a chronic patient is asked at a follow-up: what her guidelines still miss, and nothing else.

Her last case is carried on without what belongs to that day; the guidelines that are for her then say what
they miss. Whatever can send her to hospital is asked anew each time: no button copies it from last time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from akazuba.box import Box
from akazuba.errors import InputError
from akazuba.guidelines.inputs import Input
from akazuba.guidelines.library import Library
from akazuba.records import Action, Case, Patient, Protocol
from akazuba.urgency import decide
from akazuba.web.patient_view import Known, measured
from akazuba.web.vitals import BODY, VITALS

LASTING = frozenset(("pen-asthma", "pen-copd", "mhgap-epilepsy", "mhgap-depression", "sickle-cell"))
"""Guidelines of illnesses that stay, beside those of the kind `chronic`."""

ONCE = frozenset(("hiv-testing", "tb-preventive"))
"""Of the kind `chronic`, but decided once and not at each visit; screening for TB is, in HIV."""

AT_ONCE = frozenset(("refer now", "urgency", "pathway"))
"""What an answer that decides on a referral can change."""


@dataclass(frozen=True)
class Question:
    """One field of the form. last: the answer of last time, as a form gives it. last_shown: in words.

    same: whether a button may copy it. urgent: whether it may mean a referral. first: shown at once.
    """

    item: Input
    last: str
    last_shown: str
    same: bool
    urgent: bool
    first: bool

    @property
    def name(self) -> str:
        return self.item.name


@dataclass(frozen=True)
class Asked:
    """titles: of the guidelines with edition and review. carried: questions that her diagnoses of last time
    answer with yes, or positive.
    """

    titles: tuple[tuple[str, str, str], ...]
    questions: tuple[Question, ...]
    carried: tuple[str, ...]


def carried(last: Case, known: Known, patient: Patient, id_: str, day: str, library: Library) -> Case:
    """The case of today as far as nobody has to ask: who she is, her diagnoses, medicines and allergies."""
    diagnoses = {
        name: value
        for name, value in known.answers.items()
        if (item := library.all_inputs.get(name)) and _is_diagnosis(item, value)
    }
    return Case(
        id_,
        patient=patient,
        conditions=known.illnesses,
        medications=known.medications.items if known.medications else None,
        allergies=known.to_heed,
        answers={**diagnoses, **_NOT_THE_FIRST},
        date=day,
        setting=last.setting,
        language=last.language,
    )


_NOT_THE_FIRST = {"first_visit": False}
"""Her last case named the illness already."""


def _is_diagnosis(item: Input, value: object) -> bool:
    """Whoever has diabetes has it next time too; whoever had it not may have it by now."""
    places = [place for place in item.from_ if place.startswith("condition ")]
    return bool(places) and value in (True, "yes", "positive")


def asked(box: Box, today: Case, last: Case) -> Asked:
    """Raises CaseError for a last case that no guideline can use."""
    library = box.desk.library
    care = decide(box.desk, today, box.desk.reader.read("", today.language)).care
    hers = [protocol for protocol in care.protocols if is_lasting(library, protocol)]
    changes: dict[str, set[str]] = {}
    for protocol in hers:
        raises = {*library.guidelines[protocol.id].about.raises}
        for missing in protocol.missing:
            could = set(missing.could_change)
            marked = could | ({"urgency"} if could & raises else set())
            changes.setdefault(missing.input, set()).update(marked)
    before = answers_of(library, last)
    found = [
        _question(library.all_inputs[name], before.get(name, ""), bool(could & AT_ONCE))
        for name, could in changes.items()
    ]
    found.sort(key=lambda question: (_place_in_form(question.item), not question.urgent))
    titles = tuple((protocol.title, protocol.edition, protocol.review) for protocol in hers)
    on = tuple(library.all_inputs[name].question for name in today.answers if name not in _NOT_THE_FIRST)
    return Asked(titles, tuple(found), on)


def is_lasting(library: Library, protocol: Protocol) -> bool:
    kind = library.guidelines[protocol.id].about.kind
    return protocol.id in LASTING or (kind == "chronic" and protocol.id not in ONCE)


def _question(item: Input, last: str, urgent: bool) -> Question:
    dose = item.name.endswith(("_daily_mg", "_daily_units"))
    same = bool(last) and not urgent and (item.kind != "number" or dose)
    shown = {"true": "yes", "false": "no"}.get(last, last)
    first = urgent or _is_number_of_today(item) or bool(last)
    return Question(item, last, shown, same, urgent, first)


def _is_number_of_today(item: Input) -> bool:
    return item.kind == "number" and place_of(item)[0] in ("vitals", "patient")


def _place_in_form(item: Input) -> int:
    """Vital signs in the chart's order, then whether she is pregnant, then the rest as it comes."""
    names = [field.name for field in (*VITALS, *BODY)]
    room, field = place_of(item)
    if item.kind == "number" and room in ("vitals", "patient") and field in names:
        return names.index(field)
    return len(names) + (item.name != "pregnant")


def place_of(item: Input) -> tuple[str, str]:
    """Where a case has a field for an input: room and field; ("answers", its name) for the others."""
    for place in item.from_:
        room, _, field = place.partition(" ")
        if room in ("vitals", "patient"):
            return room, field
        if room == "case":
            return "", field
    return "answers", item.name


def answers_of(library: Library, case: Case) -> dict[str, str]:
    """What a case answers of the inputs that it has a field for, as a form would give it."""
    found = dict[str, str]()
    values = msgspec.to_builtins(case)
    for name, item in library.all_inputs.items():
        room, field = place_of(item)
        place = values if room == "" else values.get(room, {})
        value = place.get(field) if isinstance(place, dict) else None
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, int | float):
            found[name] = f"{value:g}"
        elif isinstance(value, str):
            found[name] = {"yes": "true", "no": "false"}.get(value, value) if item.kind == "flag" else value
    return found


def completed(today: Case, questions: Sequence[Question], given: Mapping[str, str]) -> Case:
    """Today's case with the answers of the form. given: by input; "" is not asked. Raises InputError."""
    values = msgspec.to_builtins(today)
    for question in questions:
        text = given.get(question.name, "").strip()
        if not text:
            continue
        try:
            value = question.item.parsed(text)
        except InputError as problem:
            raise InputError(question.item.question, problem.expected, problem.found) from problem
        room, field = place_of(question.item)
        place = values if room == "" else values.setdefault(room, {})
        place[field] = value
    try:
        return msgspec.convert(values, Case)
    except msgspec.ValidationError as problem:
        raise InputError("follow-up", "values that a patient can have", str(problem)) from problem


# --- compared with last time ------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """One value, last time and now. change: higher, lower, the same, new or not taken now."""

    name: str
    unit: str
    before: str
    now: str
    change: str

    @property
    def icon(self) -> str:
        return {"higher": "▲", "lower": "▼", "the same": "=", "new": "+"}.get(self.change, "–")


def compared(library: Library, last: Case, now: Case) -> list[Compared]:
    """Numbers first, then what was answered otherwise than last time."""
    old, new = measured(last), measured(now)
    rows = []
    for field in (*VITALS, *BODY):
        before, after = old.get(field.name), new.get(field.name)
        if before is not None or after is not None:
            rows.append(
                Compared(field.title, field.unit, _text(before), _text(after), _change(before, after))
            )
    was, is_ = answers_of(library, last), answers_of(library, now)
    for name in (name for name in is_ if name not in _NOT_THE_FIRST):
        item = library.all_inputs[name]
        if place_of(item)[0] == "answers" and was.get(name) != is_[name]:
            words = {"true": "yes", "false": "no"}
            before_text, now_text = (words.get(text, text) for text in (was.get(name, ""), is_[name]))
            change = "new" if name not in was else "changed"
            rows.append(Compared(item.question, item.unit, before_text, now_text, change))
    return rows


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _change(before: float | None, now: float | None) -> str:
    if before is None or now is None:
        return "new" if before is None else "not taken now"
    return "the same" if before == now else "higher" if now > before else "lower"


@dataclass(frozen=True)
class PlanChange:
    """Steps of the plan by their number in it: those of today that last time's had not, and the reverse."""

    added: tuple[int, ...]
    gone: tuple[int, ...]


def plan_change(last: Sequence[Action], now: Sequence[Action]) -> PlanChange:
    before, after = {_gist(action) for action in last}, {_gist(action) for action in now}
    return PlanChange(
        tuple(number for number, action in enumerate(now) if _gist(action) not in before),
        tuple(number for number, action in enumerate(last) if _gist(action) not in after),
    )


def _gist(action: Action) -> tuple[object, ...]:
    """What a step of a plan is, whatever the day."""
    return action.action, action.what, action.dose, action.in_days, bool(action.withheld)
