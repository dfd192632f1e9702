"""Draft orders of medicines against the box's formulary, as cards. What was not checked is always said."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from akazuba.fhir.shapes import Json, codings, concept_name, objects, text
from akazuba.guidelines.medicines import Formulary
from akazuba.guidelines.run import GROWN_YEARS
from akazuba.guidelines.values import Value
from akazuba.records import Case
from akazuba.web.doors.cards import Card, HookError, Record, card, named, plain

_STRENGTH = re.compile(
    r"(?i)\b\d[\d.,]*\s*(mg|mcg|ug|µg|g|ml|iu|meq|unt|units?|%)\s*(/\s*(\d[\d.,]*\s*)?(ml|mg|g|actuat|hr))?(?=\W|$)"
)
_FORM = re.compile(
    r"(?i)\b(delayed|extended|release|oral|injectable|injection|rectal|topical|ophthalmic|otic|nasal|chewable"
    r"|dispersible|disintegrating|film-coated|suspension|solution|tablets?|capsules?|syrup|suppository|cream"
    r"|ointment|powder|drops|for|inhaler|metered dose|hr|\d+)\b"
)
"""Strengths and forms, as RxNorm writes them into a name."""

_MG = {"mg": 1.0, "g": 1000.0, "ug": 0.001, "mcg": 0.001, "µg": 0.001, "microgram": 0.001}
_UNITS = {
    "{tbl}": "tablet",
    "{tablet}": "tablet",
    "tab": "tablet",
    "tabs": "tablet",
    "tablets": "tablet",
    "[iu]": "iu",
    "milliliter": "ml",
    "{sachet}": "sachets",
    "sachet": "sachets",
    "u": "units",
    "unit": "units",
}
_DAYS = {"s": 1 / 86_400, "min": 1 / 1440, "h": 1 / 24, "d": 1.0, "wk": 7.0, "mo": 30.0, "a": 365.0}
_TIMES = {
    "qd": 1.0, "am": 1.0, "pm": 1.0, "bed": 1.0, "qod": 1.0, "wk": 1.0, "mo": 1.0, "bid": 2.0, "tid": 3.0,
    "qid": 4.0, "q1h": 24.0, "q2h": 12.0, "q3h": 8.0, "q4h": 6.0, "q6h": 4.0, "q8h": 3.0,
}  # fmt: skip
"""Doses on one day by GTSAbbreviation (HL7 v3), the codes of Timing.code."""

LONGEST_TITLE = 40
"""Characters of a medicine's name in a summary, so that the finding fits beside it; the detail has it all."""

MOST_ORDERS = 50
"""In one request: each is held against every other."""

_NOT_DRAWN_UP = ("entered-in-error", "cancelled", "stopped")


@dataclass(frozen=True)
class Dose:
    """amount: at once, None where no number is coded. times: on one day, None where that is not coded."""

    amount: float | None
    units: tuple[str, ...]
    times: float | None
    sequence: object


@dataclass(frozen=True)
class Order:
    """written: the medicine as the record system names it. parts: the medicines in it."""

    item: str
    written: str
    parts: frozenset[str]
    doses: tuple[Dose, ...]
    subject: str

    @property
    def name(self) -> str:
        return "+".join(sorted(self.parts))


@dataclass
class _Findings:
    """Of one order: what must not be, what to look at, what was not checked."""

    critical: list[str] = field(default_factory=list)
    warning: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def draft_orders(context: Json, formulary: Formulary) -> tuple[tuple[Order, ...], Mapping[str, int]]:
    """The medicines of `context.draftOrders`, and what else is in it, counted. Raises HookError."""
    bundle = context.get("draftOrders")
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise HookError(400, "context.draftOrders", "a Bundle", "another resource" if bundle else "none")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise HookError(400, "context.draftOrders.entry", "a list", type(entries).__name__)
    if len(entries) > MOST_ORDERS:
        raise HookError(400, "context.draftOrders.entry", f"at most {MOST_ORDERS}", f"{len(entries)}")
    resources = [entry.get("resource") if isinstance(entry, dict) else None for entry in entries]
    orders, others = list[Order](), Counter[str]()
    sound = [it for it in resources if isinstance(it, dict) and isinstance(it.get("resourceType"), str)]
    if len(sound) < len(resources):
        index = next(n for n, it in enumerate(resources) if it not in sound)
        raise HookError(400, f"context.draftOrders.entry[{index}].resource", "a resource", "none")
    medicines = {f"Medication/{text(it, 'id')}": it for it in sound if it["resourceType"] == "Medication"}
    for index, resource in enumerate(sound):
        kind = str(resource["resourceType"])[:60]
        if kind != "MedicationRequest":
            others.update([kind] if kind != "Medication" else [])
        elif resource.get("doNotPerform") is True:
            others["MedicationRequest not to give"] += 1
        elif resource.get("status") not in _NOT_DRAWN_UP:
            orders.append(_order(named(resource, medicines), index, formulary))
    return tuple(orders), others


def _order(resource: Json, index: int, formulary: Formulary) -> Order:
    written = concept_name(resource, "medicationCodeableConcept") or text(
        resource, "medicationReference", "display"
    )
    return Order(
        f"MedicationRequest/{text(resource, 'id') or index}",
        written[:200],
        medicines_in(written, formulary),
        tuple(dose for each in objects(resource, "dosageInstruction") for dose in _doses(each)),
        text(resource, "subject", "reference"),
    )


def medicines_in(written: str, formulary: Formulary) -> frozenset[str]:
    """What a name with strengths and forms in it means: "Amoxicillin 120 MG/ML Oral Suspension"."""
    if formulary.knows(written) and written.strip():
        return formulary.parts(written)
    bare = " ".join(_FORM.sub(" ", _STRENGTH.sub(" ", re.sub(r"\[[^\]]*\]", " ", written))).split())
    return formulary.parts(bare) if bare.strip(" /+,") else frozenset()


def _doses(instruction: Json) -> list[Dose]:
    times, sequence = _times(instruction), instruction.get("sequence")
    rates = objects(instruction, "doseAndRate")
    if isinstance(alone := instruction.get("doseAndRate"), dict):
        rates = [alone]  # R4 has a list here; the example of the standard has an object
    found = []
    for rate in rates or [{}]:
        quantity = rate.get("doseQuantity")
        reach = rate.get("doseRange")
        if isinstance(reach, dict):
            quantity = reach.get("high")
        amount, units = None, tuple[str, ...]()
        if isinstance(quantity, dict) and not quantity.get("comparator"):
            value = quantity.get("value")
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
                amount = float(value)
            units = tuple(unit for unit in (text(quantity, "code"), text(quantity, "unit")) if unit)
        found.append(Dose(amount, units, times, sequence))
    return found


def _times(instruction: Json) -> float | None:
    """Doses that may fall on one day; None where nothing is coded."""
    timing = instruction.get("timing")
    if not isinstance(timing, dict):
        return None
    repeat = timing.get("repeat")
    if isinstance(repeat, dict):
        often = [_positive(repeat.get(name)) for name in ("frequencyMax", "frequency")]
        frequency = next((it for it in often if it), None)
        period, unit = _positive(repeat.get("period")), text(repeat, "periodUnit")
        at = max(
            (len(it) for name in ("timeOfDay", "when") if isinstance(it := repeat.get(name), list)), default=0
        )
        if period and unit in _DAYS:
            a_day = (frequency or 1.0) / (period * _DAYS[unit])
            return max(1.0, math.ceil(a_day - 1e-9) * 1.0, float(at))
        if at:
            return at * (frequency or 1.0)
    codes = [text(coding, "code").casefold() for coding in codings(timing, "code")]
    return next((_TIMES[code] for code in codes if code in _TIMES), None)


def _positive(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1e6 else None  # type: ignore[operator,arg-type]


# --- what the formulary says --------------------------------------------------------------------------


def order_cards(
    orders: Sequence[Order],
    others: Mapping[str, int],
    patient: str,
    case: Case,
    values: Mapping[str, Value],
    formulary: Formulary,
    handed: Record,
    label: str,
) -> list[Card]:
    """A card for each finding, what is worst first. case, values: of what was handed over."""
    cards = list[Card]()
    for order in orders:
        cards += _cards(order, _findings(order, orders, patient, case, values, formulary, handed), label)
    if others:
        counted = ", ".join(f"{name} ({count})" for name, count in others.items())
        lines = [f"The box looks at medicines only. Not checked: {plain(counted)}."]
        cards.append(
            card(
                "info", f"Not checked, for it is no medicine to give: {counted}", lines, label, "not-checked"
            )
        )
    rank = {"critical": 0, "warning": 1, "info": 2}
    return sorted(cards, key=lambda it: rank[it["indicator"]])


def _findings(
    order: Order,
    orders: Sequence[Order],
    patient: str,
    case: Case,
    values: Mapping[str, Value],
    formulary: Formulary,
    handed: Record,
) -> _Findings:
    found = _Findings()
    if order.subject and order.subject.split("/_history/")[0].rpartition("/")[2] != patient:
        found.critical.append(f"ordered for {order.subject}, while {patient} is the patient on the screen")
    unknown = sorted(part for part in order.parts if part not in formulary.names)
    if not order.parts:
        found.unchecked.append("which medicine it is: it has no name")
        return found
    if unknown:
        found.unchecked.append(f"everything about {', '.join(unknown)}: not in the formulary")
    others = [it for it in orders if it is not order]
    taken = [it.name for it in case.medications or ()]
    beside = [*taken, *(it.name for it in others if it.parts)]
    mine = order.parts
    twice = [name for name in beside if formulary.parts(name) & mine]
    found.warning += [f"{name} is taken or ordered already: not twice" for name in dict.fromkeys(twice)]
    verdict = formulary.judged(
        order.name, [name for name in beside if name not in twice], case.allergies or (), values
    )
    found.critical += verdict.withheld
    found.warning += verdict.checks
    _check_doses(order, values, formulary, found)
    if case.allergies is None:
        found.unchecked.append("allergies: none were handed over, which is not the same as none")
    if case.medications is None:
        found.unchecked.append("other medicines: none were handed over, which is not the same as none")
    for name in handed.absent:
        if name not in ("allergies", "medications"):
            found.unchecked.append(f"{name}: not handed over")
    found.unchecked += [f"{name}: only the first page was handed over" for name in handed.partial]
    return found


def _check_doses(order: Order, values: Mapping[str, Value], formulary: Formulary, found: _Findings) -> None:
    known = [unit for name, unit in formulary.medicines if name == order.name]
    if not known:
        found.unchecked.append(f"the dose: the formulary has no maximum for {order.name}")
        return
    if not order.doses:
        found.unchecked.append("the dose: none is coded")
    daily = dict[tuple[object, str], float]()
    weight, age = values.get("weight_kg"), values.get("age_years")
    for dose in order.doses:
        fitting = _in_formulary_unit(dose, known)
        if fitting is None:
            said = (
                f"{dose.amount:g} {dose.units[0] if dose.units else ''}".strip()
                if dose.amount
                else "none coded"
            )
            found.unchecked.append(f"the dose ({said}): the formulary has {order.name} in {', '.join(known)}")
            continue
        amount, unit = fitting
        kg = weight if isinstance(weight, float) else None
        if why := formulary.excess(order.name, unit, amount, "once", kg):
            found.critical.append(why)
        grown = isinstance(age, float) and age >= GROWN_YEARS
        if formulary.weight_wanted(order.name, unit) and kg is None and not grown:
            found.unchecked.append("the most per kg of a child: no weight of today was handed over")
        if dose.times is None:
            found.unchecked.append("the most a day: how often is not coded")
        else:
            key = dose.sequence, unit
            daily[key] = daily.get(key, 0.0) + amount * dose.times
    for (_, unit), total in daily.items():
        most = formulary.medicines[order.name, unit].max_daily
        if total > most * (1 + 1e-9):
            found.critical.append(f"{total:g} {unit} a day is over the maximum of {most:g}")


def _in_formulary_unit(dose: Dose, known: Sequence[str]) -> tuple[float, str] | None:
    """The amount in a unit that the formulary has a maximum for."""
    if dose.amount is None:
        return None
    for written in dose.units:
        unit = _UNITS.get(written.casefold(), written.casefold())
        for mine in known:
            if unit == _UNITS.get(mine.casefold(), mine.casefold()):
                return dose.amount, mine
            if unit in _MG and mine.casefold() in _MG:
                return dose.amount * _MG[unit] / _MG[mine.casefold()], mine
    return None


def _cards(order: Order, found: _Findings, label: str) -> list[Card]:
    read = order.name
    alike = " ".join(order.written.casefold().split()) == read
    title = order.written or order.item
    short = title if len(title) <= LONGEST_TITLE else f"{title[:LONGEST_TITLE].rstrip()}…"
    about = [
        f"Order: {plain(order.item)}, {plain(title)}"
        + ("" if alike else f", read as {plain(read or 'nothing')}"),
        "",
    ]
    cards = [
        card("critical", f"DO NOT GIVE {short}: {why}", [*about, plain(why)], label, "medicine")
        for why in dict.fromkeys(found.critical)
    ]
    cards += [
        card("warning", f"Check first, {short}: {why}", [*about, plain(why)], label, "medicine")
        for why in dict.fromkeys(found.warning)
    ]
    if unchecked := list(dict.fromkeys(found.unchecked)):
        lines = [*about, "Not checked:", "", *(f"- {plain(it)}" for it in unchecked)]
        cards.append(
            card(
                "warning", f"NOT FULLY CHECKED, {short}: {'; '.join(unchecked)}", lines, label, "not-checked"
            )
        )
    if not cards:
        said = "maximum, allergies, interactions and contraindications: nothing found"
        lines = [*about, f"Checked against the box's formulary: {said}. That it is right is not said."]
        cards.append(card("info", f"{short}: {said}", lines, label, "medicine"))
    return cards
