"""Whether our guidelines answer the published openEHR GDL test cases as those expect.

A guideline's folder may hold `openehr.json`: what each question and answer of a published form is here.

    {"maps": [{"guideline": "APGAR.v0.1.0",
               "inputs": {"gt0004|Pulse": {"input": "apgar_pulse", "values": {"at0007": "below 100"}}},
               "outputs": {"gt0009|Total score": {"result": "score"}},
               "fixed": {}, "ignored": ["gt0012|Comment"], "explained": {"APGAR.v0.1.0#7": "why; source"}}]}

| in it | means |
|---|---|
| a key | counts by its code (`gt0004`); the words after it are for whoever reads the file |
| `values` | ours, by the code (`at0007`), else the words, of theirs; `null`: not assessed, not decided |
| no `values` | yes and no (present, absent) set a flag; a number is taken with its unit |
| a list | one published question that sets several of our inputs |
| `unit` | our spelling of the unit, where it is not the published one |
| `fixed` | what the published form takes for granted |
| `today` | the day on which a date of birth became an age, in the unit of the input |
| `ignored` | keys that ours does not ask or answer |
| `explained` | cases that differ, and the source that decides |

Where two questions set one input, the first in the file that gives a value stands. A number agrees when it
rounds to the decimals that the case shows. What expects nothing is what ours must not decide either.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from akazuba.errors import ArtefactError, InputError
from akazuba.guidelines.guideline import Guideline
from akazuba.guidelines.inputs import Input
from akazuba.guidelines.library import Library
from akazuba.guidelines.run import Result
from akazuba.guidelines.values import Scalar, shown
from akazuba.records import Value as Record

FILE = "openehr.json"

_YES_NO = {
    **dict.fromkeys(("yes", "present", "true", "ja", "närvarande"), True),
    **dict.fromkeys(("no", "absent", "false", "nej", "frånvarande"), False),
}
"""The words of the cases, English and Swedish."""

_UNITS = {
    "Cel": "°C",
    "[degF]": "°F",
    "a": "years",
    "mo": "months",
    "wk": "weeks",
    "d": "days",
    "gm/dl": "g/dL",
    "gm/l": "g/L",
    "[lb_av]": "lb",
    "[in_i]": "in",
    "1": "",
}
"""Units as the cases write them and as our inputs do."""


class Sets(Record, frozen=True):
    """What a published question is here."""

    input: str
    values: Mapping[str, float | str | bool | None] = {}
    unit: str = ""


class Gives(Record, frozen=True):
    """What a published answer is here."""

    result: str
    values: Mapping[str, float | str | bool | None] = {}


class PublishedForm(Record, frozen=True):
    """How one published guideline is asked and answered with ours."""

    guideline: str
    inputs: Mapping[str, Sets | tuple[Sets, ...]]
    outputs: Mapping[str, Gives]
    fixed: Mapping[str, float | str | bool] = {}
    today: str = ""
    ignored: tuple[str, ...] = ()
    explained: Mapping[str, str] = {}


class Forms(Record, frozen=True):
    """The whole of `openehr.json`."""

    maps: tuple[PublishedForm, ...]


@dataclass(frozen=True)
class Cell:
    """A value of a case. code: `at0007` of a coded one, else "". text: its words, or the value as written."""

    code: str
    text: str

    @property
    def number(self) -> tuple[float, str] | None:
        """The number and its unit; a proportion `94,100,2` is 94 %."""
        if self.code:
            return None
        if match := re.fullmatch(r"(-?\d+(?:\.\d+)?),100,2", self.text):
            return float(match[1]), "%"
        match = re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*(?:,(.*)|(%))?", self.text)
        return (float(match[1]), match[2] or match[3] or "") if match else None

    @property
    def decimals(self) -> int:
        match = re.match(r"-?\d+\.(\d+)", self.text)
        return len(match[1]) if match else 0

    def within(self, values: Mapping[str, Any]) -> Any:
        """Its entry of a map. Raises KeyError when it has none."""
        return values[self.code] if self.code in values else values[self.text]


def cell(value: object) -> Cell:
    """A value as the cases write it.

    >>> cell("1|local::at0007|<100 beats per minute|"), cell(5).number, cell("23.44,kg/m2").number
    (Cell(code='at0007', text='<100 beats per minute'), (5.0, ''), (23.44, 'kg/m2'))
    """
    if isinstance(value, bool):
        return Cell("", "true" if value else "false")
    match = re.fullmatch(r"(?:-?[\d.]+\|)?[^|:]+::(at[\d.]+)\|(.*?)\|?", str(value).strip(), re.DOTALL)
    return Cell(match[1], match[2].strip()) if match else Cell("", str(value).strip())


def compare(
    library: Library, cases: Sequence[Mapping[str, Any]], ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Of each guideline that has an `openehr.json`: how many cases it has, how many agree, and the others.

    Raises ArtefactError when that file is unsound, or lacks a key or a value of a case.
    """
    by_form: dict[str, list[Mapping[str, Any]]] = {}
    for case in cases:
        by_form.setdefault(case["guideline"], []).append(case)
    found = {}
    for id_ in ids:
        guideline = library.get(id_)
        if FILE in guideline.texts:
            found[id_] = _compared(library, guideline, by_form)
    return found


def _compared(
    library: Library, guideline: Guideline, by_form: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    total = agree = 0
    differing, explained = list[dict[str, Any]](), list[dict[str, str]]()
    for form in _forms(guideline):
        item = f"{guideline.id}/{FILE}, {form.guideline}"
        cases = by_form.get(form.guideline, [])
        known = {case["id"] for case in cases}
        if stray := sorted(form.explained.keys() - known) or ([] if cases else [form.guideline]):
            raise ArtefactError(item, "published cases of that name", f"none of {stray[0]}")
        for case in cases:
            differs = list(_differences(library, guideline, form, case, f"{item}, {case['id']}"))
            why = form.explained.get(case["id"], "")
            if why and not differs:
                differs, why = ["explained as different, yet it agrees"], ""
            total += 1
            agree += not differs
            if why:
                explained.append({"case": case["id"], "why": why})
            elif differs:
                differing.append({"case": case["id"], "differs": differs})
    return {"cases": total, "agree": agree, "differing": differing, "explained": explained}


def _forms(guideline: Guideline) -> tuple[PublishedForm, ...]:
    try:
        forms = msgspec.json.decode(guideline.texts[FILE], type=Forms).maps
    except msgspec.DecodeError as problem:
        raise ArtefactError(f"{guideline.id}/{FILE}", "a map of published cases", str(problem)) from problem
    for form in forms:
        item = f"{guideline.id}/{FILE}, {form.guideline}"
        ours = {entry.input for entries in form.inputs.values() for entry in _several(entries)}
        if unknown := sorted((ours | form.fixed.keys()) - guideline.inputs.keys()):
            raise ArtefactError(item, "inputs of the guideline", unknown[0])
        results = {gives.result for gives in form.outputs.values()}
        if unknown := sorted(results - set(guideline.about.results)):
            raise ArtefactError(item, "results of the guideline", unknown[0])
    return forms


def _several(entries: Sets | tuple[Sets, ...]) -> tuple[Sets, ...]:
    return (entries,) if isinstance(entries, Sets) else entries


def _differences(
    library: Library, guideline: Guideline, form: PublishedForm, case: Mapping[str, Any], item: str
) -> Iterator[str]:
    expected = {key: text for key, text in _cells(case["expected"]) if not _ignored(form, key)}
    try:
        result = library.run(guideline, _given(guideline, form, case, item))
    except InputError as error:
        if expected:
            yield f"an answer expected, {error} found"
        return
    outputs = {_code(key): gives for key, gives in form.outputs.items()}
    for key, value in expected.items():
        if _code(key) not in outputs:
            raise ArtefactError(item, "every answer mapped", key)
        yield from _difference(outputs[_code(key)], key, value, result, item)
    if not expected:
        for gives in form.outputs.values():
            if result.values[gives.result] is not None:
                yield f"{gives.result}: not decided expected, {shown(result.values[gives.result])} found"


def _difference(gives: Gives, key: str, value: Cell, result: Result, item: str) -> Iterator[str]:
    found = result.values[gives.result]
    if gives.values:
        try:
            wanted = value.within(gives.values)
        except KeyError as problem:
            raise ArtefactError(item, f"every value of {key} mapped", value.code or value.text) from problem
        agrees = found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
        words = "not decided" if wanted is None else shown(wanted)
    elif number := value.number:
        agrees = isinstance(found, float) and abs(found - number[0]) <= 0.5 * 10**-value.decimals + 1e-9
        words = f"{number[0]:g}"
    else:
        raise ArtefactError(item, f"values for {key}", value.text)
    if not agrees:
        said = f"undecided ({result.possible[gives.result]})" if found is None else shown(found)
        yield f"{gives.result}: {words} expected ({key}: {value.text}), {said} found"


def _given(
    guideline: Guideline, form: PublishedForm, case: Mapping[str, Any], item: str
) -> dict[str, Scalar]:
    """Our inputs from a case. Raises InputError for a value that ours cannot be."""
    values = {_code(key): (key, value) for key, value in _cells(case["input"]) if not _ignored(form, key)}
    entries = {_code(key): _several(entry) for key, entry in form.inputs.items()}
    if unmapped := [key for code, (key, _) in values.items() if code not in entries]:
        raise ArtefactError(item, "every question mapped", unmapped[0])
    given: dict[str, Scalar] = {}
    for code, several in entries.items():
        if code in values:
            key, value = values[code]
            for entry in several:
                ours = _ours(guideline.inputs[entry.input], entry, value, form.today, f"{item}, {key}")
                if ours is not None:
                    given.setdefault(entry.input, ours)
    return {**form.fixed, **given}


def _ours(target: Input, entry: Sets, value: Cell, today: str, item: str) -> Scalar | None:
    if entry.values:
        try:
            ours: Scalar | None = value.within(entry.values)
        except KeyError as problem:
            raise ArtefactError(item, "every value mapped", value.code or value.text) from problem
        return None if ours is None else target.checked(ours)
    if target.kind == "flag" and value.text.casefold() in _YES_NO:
        return _YES_NO[value.text.casefold()]
    if target.kind == "number":
        if number := value.number:
            unit = _UNITS.get(number[1], number[1])
            counted = unit.startswith("/") and target.unit.endswith(unit)
            return target.in_unit(number[0], entry.unit or ("" if counted else unit))
        if today and (born := re.match(r"\d{4}-\d{2}-\d{2}", value.text)):
            return _age(datetime.date.fromisoformat(born[0]), datetime.date.fromisoformat(today), target.unit)
    raise ArtefactError(item, f"values for {target.name}", value.text)


def _age(born: datetime.date, today: datetime.date, unit: str) -> float:
    """Completed years or months, or days.

    >>> _age(datetime.date(1955, 2, 1), datetime.date(2020, 1, 15), "years")
    64.0
    """
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    return float({"years": months // 12, "months": months}.get(unit, (today - born).days))


def _cells(documents: Mapping[str, object]) -> Iterator[tuple[str, Cell]]:
    """Every value of a case's numbered documents."""
    for document in documents.values():
        if isinstance(document, Mapping):
            yield from ((key, cell(value)) for key, value in document.items())


def _code(key: str) -> str:
    return key.partition("|")[0]


def _ignored(form: PublishedForm, key: str) -> bool:
    return _code(key) in {_code(other) for other in form.ignored}
