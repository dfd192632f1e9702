"""Whether the box's chronic-care plans are those that the published protocols ask for.

`data/chronic_cases.ndjson`: 99 cases, written from the protocols before the tables existed, by another
hand than the tables', with the expected plan; a second reader worked the plans out again from the
protocols without seeing the first ones (`second`). Where the two differed, the protocol was read again
and `expected` holds what it says (`settled` has the reason). A plan agrees when it has exactly the
expected actions, each with its dose, its duration and its date. `explained` counts the plans that differ
on purpose, never in a medicine or a dose (`gold/chronic_given.json` has each reason); `unexplained` names
the others. `first_run` is what was measured when tables and expectations first met.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from figures import wilson

from akazuba.guidelines.care import patient_of
from akazuba.guidelines.case_values import values_of
from akazuba.guidelines.formulas import truth
from akazuba.guidelines.library import Library
from akazuba.guidelines.run import Result
from akazuba.guidelines.values import Scalar, Truth, shown
from akazuba.records import Action, Case

CASES = Path(__file__).parent / "data" / "chronic_cases.ndjson"
GIVEN = Path(__file__).parent / "gold" / "chronic_given.json"
FIRST_RUN = Path(__file__).parent / "results" / "chronic_plans_first_run.json"

MEDICINES = ("start", "increase", "continue", "stop")
"""Actions by which a patient gets or loses a medicine."""

Row = Mapping[str, Any]
Line = tuple[str, str, str, float | None, str | None]
"""An action, its object, its dose, its days, its date."""


def rows() -> list[Row]:
    return [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]


def answers_of(row: Row, gold: Mapping[str, Any]) -> dict[str, Scalar]:
    """What the case's author gave beside the case, in the names of our inputs."""
    maps = {**gold["maps"].get("all", {}), **gold["maps"].get(row["condition"], {})}
    found: dict[str, Scalar] = {}
    for name, value in row["given"].items():
        rule = maps.get(name, name)
        for given in rule if isinstance(rule, list) else [rule]:
            entry: Mapping[str, Any] = {"input": given} if isinstance(given, str) else given
            said = _said(value, entry.get("values"))
            if entry["input"] and said is not None:
                found[entry["input"]] = said
    return found


def _said(value: Any, words: Mapping[str, Any] | None) -> Scalar | None:
    if words is None:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(value, list):
        hits = [words[item] for item in value if item in words]
        said = words.get("[]") if not value else hits[0] if hits else words.get("*")
    else:
        key = json.dumps(value) if isinstance(value, bool) else str(value)
        said = words.get(key, words.get("*"))
    return {"yes": True, "no": False}.get(said, said) if isinstance(said, str) else said


def planned(library: Library, row: Row, gold: Mapping[str, Any]) -> list[Action]:
    """The plan of the guidelines of the case's condition."""
    case = msgspec.convert({**in_our_words(row["case"], gold), "answers": answers_of(row, gold)}, Case)
    values = values_of(library.all_inputs, case, (), lambda _: frozenset(), library.formulary.parts)
    patient, results = patient_of(case), list[Result]()
    for id_ in gold["guidelines"][row["condition"]]:
        guideline = library.get(id_)
        known = library.values(values, guideline)
        if guideline.applies is None or truth(guideline.applies.value(known)) is Truth.TRUE:
            results.append(library.run_over(guideline, known, patient))
    red = {result.guideline.id for result in results if _finds_red(result)}
    waits = ("chronic", "preventive") if red else ()
    kept = [r for r in results if r.guideline.id in red or r.guideline.about.kind not in waits]
    return [action for result in kept for action in result.plan]


def in_our_words(case: Row, gold: Mapping[str, Any]) -> dict[str, Any]:
    """The case with its level of consciousness as AVPU has it ("drowsy" responds to voice)."""
    vitals = dict(case.get("vitals") or {})
    if said := vitals.get("consciousness"):
        vitals["consciousness"] = gold["consciousness"].get(said, said)
    return {**case, "vitals": vitals}


def _finds_red(result: Result) -> bool:
    """Then what else is chronic or preventive waits, as in the box (`care.care_for`)."""
    return any(
        levels.get(shown(value)) == "red"
        for name, levels in result.guideline.about.raises.items()
        if (value := result.values[name]) is not None
    )


def ours(plan: list[Action], gold: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for action in plan:
        needs = [gold["measured"][need] for need in action.needs if need in gold["measured"]]
        days = action.in_days if action.in_days is not None else action.for_days
        if action.withheld and not needs:
            lines += _line("avoid", action.what, "", None, None, gold)
            continue
        lines += _line(action.action, action.what, action.dose or "", days, action.date, gold)
        if action.withheld:  # what the dose needs has to be measured
            lines += [("test", need, "", None, None) for need in needs]
    return lines


def theirs(expected: list[Row], gold: Mapping[str, Any]) -> list[Line]:
    return [
        line
        for e in expected
        for line in _line(e["action"], e["what"], e["dose"] or "", e["days"], e["date"], gold)
    ]


def _line(
    action: str, what: str, dose: str, days: float | None, date: str | None, gold: Mapping[str, Any]
) -> list[Line]:
    """One line in the benchmark's words; none for an action that is no care, such as going on."""
    words = f"{action} {what}".casefold()
    if words in gold["lines"]:
        words = gold["lines"][words]
        if not words:
            return []
        action, _, what = words.partition(" ")
    what = what.casefold()
    return [(_verb(action), gold["same"].get(what, what), _dose(dose, gold), days, date)]


def _verb(action: str) -> str:
    """A course is started or given; a health post admits by referring."""
    return {"give": "start", "admit": "refer", "reduce": "increase"}.get(action, action)


def _dose(dose: str, gold: Mapping[str, Any]) -> str:
    """Singular units, without the duration (it is compared apart)."""
    text = dose.split(" for ", maxsplit=1)[0]
    for many in ("tablets", "sachets", "puffs", "capsules", "units", "micrograms"):
        text = text.replace(many, many[:-1])
    for amount, same in gold["amounts"].items():
        text = text.replace(amount, same)
    return text


def differences(
    library: Library, row: Row, gold: Mapping[str, Any], *, advice: bool = False, key: str = "expected"
) -> Iterator[str]:
    """advice: what to tell the patient counts too; the protocols rarely fix at which visit."""
    found, wanted = set(ours(planned(library, row, gold), gold)), set(theirs(row[key], gold))
    for line in sorted(wanted - found, key=str):
        if advice or line[0] != "advise":
            yield f"missing {_words(line)}"
    for line in sorted(found - wanted, key=str):
        if advice or line[0] != "advise":
            yield f"added {_words(line)}"


def _words(line: Line) -> str:
    action, what, dose, days, date = line
    return " ".join(str(part) for part in (action, what, dose, days and f"{days:g} days", date) if part)


def why(row: Row, lines: list[str], gold: Mapping[str, Any]) -> str:
    """The reason why the box's plan differs on purpose; "" where none is given.

    None counts where a medicine or a dose differs: that is never explained away.
    """
    if any(line.split()[1] in MEDICINES for line in lines):
        return ""
    reason: str = gold["explained"].get(row["id"], "")
    return reason


def measured(library: Library) -> dict[str, object]:
    gold, every = json.loads(GIVEN.read_text(encoding="utf-8")), rows()
    differ = {row["id"]: list(differences(library, row, gold)) for row in every}
    agree = {id_: not lines for id_, lines in differ.items()}
    reasons = {row["id"]: why(row, differ[row["id"]], gold) for row in every if differ[row["id"]]}
    told = [not list(differences(library, row, gold, advice=True)) for row in every]
    conditions = dict.fromkeys(row["condition"] for row in every)
    result: dict[str, object] = {
        "chronic_plan_agreement": wilson(sum(agree.values()), len(agree)),
        "explained": sum(bool(reason) for reason in reasons.values()),
        "unexplained": [id_ for id_, reason in reasons.items() if not reason],
        "medicine_and_dose_agreement": wilson(
            sum(not any(line.split()[1] in MEDICINES for line in lines) for lines in differ.values()),
            len(every),
        ),
        "with_advice_agreement": wilson(sum(told), len(told)),
        "by_condition": {
            name: f"{sum(agree[r['id']] for r in every if r['condition'] == name)}"
            f" of {sum(r['condition'] == name for r in every)}"
            for name in conditions
        },
        "two_readers_agree": wilson(sum(not row.get("settled") for row in every), len(every)),
        "protocol_opened": sum(row["protocol"]["opened"] for row in every),
    }
    if FIRST_RUN.is_file():
        result["first_run"] = json.loads(FIRST_RUN.read_text(encoding="utf-8"))
    return result


if __name__ == "__main__":
    from akazuba.guidelines.library import shipped

    table = json.loads(GIVEN.read_text(encoding="utf-8"))
    for case in rows():
        found_lines = list(differences(shipped(), case, table))
        for difference in found_lines:
            print(f"{case['id']}: {difference}")
        if found_lines and (reason := why(case, found_lines, table)):
            print(f"{case['id']}: explained: {reason}")
    print(json.dumps(measured(shipped())))
