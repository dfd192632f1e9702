"""Guidelines and their answers in words and as plain data for JSON."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from akazuba.errors import InputError
from akazuba.guidelines.chart import shipped_charts
from akazuba.guidelines.conformance import action_words, check, untested_thresholds
from akazuba.guidelines.guideline import Computed, Guideline
from akazuba.guidelines.library import Library
from akazuba.guidelines.run import Result
from akazuba.guidelines.tables import Row
from akazuba.guidelines.values import Value, shown
from akazuba.wording.names import named, valued, with_names

JsonFacts = dict[str, Any]
MOST_CHANGES = 3


def summaries(library: Library) -> list[JsonFacts]:
    return [
        {
            "id": g.id,
            "title": g.about.title,
            "publisher": g.about.publisher,
            "edition": g.about.edition,
            "review": g.about.review,
            "clauses": len(g.clauses),
            "clauses_verified": sum(clause.verified for clause in g.clauses.values()),
            "tables": len(g.tables),
            "rows": sum(len(table.rows) for table in g.tables),
            "changed_by_overlay": g.id in library.published,
            "of_this_place": g.id in library.own,
        }
        for g in library.guidelines.values()
    ]


def chart_lines() -> list[str]:
    """The triage charts, which are run over findings by `akazuba triage`."""
    return [
        f"{chart.id}  {chart.title} ({chart.publisher}, {chart.edition}); {len(chart.rules)} rules, "
        f"{len(chart.signs)} signs; {chart.review}"
        for chart in shipped_charts()
    ]


def chart_text(id_: str) -> str | None:
    """One triage chart in words; None when it is no chart's id."""
    chart = next((chart for chart in shipped_charts() if chart.id == id_), None)
    if chart is None:
        return None
    lines = [
        f"{chart.title} ({chart.id})",
        f"{chart.publisher}, {chart.edition}. {chart.review.capitalize()}.",
    ]
    lines += [chart.licence, "", "Rules (run by akazuba triage):"]
    for rule in chart.rules:
        signs = ", ".join(rule.signs) or "by age or pregnancy alone"
        of = f"{rule.at_least} of: " if rule.at_least > 1 else ""
        lines.append(f"  {rule.level} ({rule.band}): {rule.message}: {of}{signs} [{rule.source}]")
    return "\n".join(lines)


def summary_table(rows: Sequence[Mapping[str, Any]]) -> str:
    width = max(len(row["id"]) for row in rows)
    lines = [
        f"{row['id']:{width}}  {row['title']} ({row['publisher']}, {row['edition']}); "
        f"{row['rows']} rows, {row['clauses_verified']} of {row['clauses']} clauses opened"
        + ("; changed by an overlay" if row["changed_by_overlay"] else "")
        + ("; GUIDELINE OF THIS PLACE" if row["of_this_place"] else "")
        for row in rows
    ]
    verified, clauses = (sum(row[key] for row in rows) for key in ("clauses_verified", "clauses"))
    reviewed = sum(row["review"] != "not reviewed by a clinician" for row in rows)
    lines += ["", "Triage charts:", *chart_lines()]
    lines.append(f"\n{len(rows)} guidelines; reviewed by a clinician: {reviewed}.")
    lines.append(
        f"Clauses whose text was opened: {verified} of {clauses} ({100 * verified / clauses:.0f} %)."
    )
    return "\n".join(lines)


def description(guideline: Guideline) -> JsonFacts:
    texts = guideline.texts
    return {
        **msgspec.to_builtins(guideline.about),
        "clauses": [
            {"clause": c.id, "page": c.page, "says": c.says, "source": c.source}
            for c in guideline.clauses.values()
        ],
        "inputs": [
            {"name": i.name, "kind": i.kind, "unit": i.unit, "expected": i.expected, "question": i.question}
            for i in guideline.inputs.values()
        ],
        "formulas": [
            {"name": s.name, "formula": s.formula.text, "unit": s.unit, "clause": s.clause}
            for s in guideline.steps
            if isinstance(s, Computed)
        ],
        "tables": {table.file: texts[table.file] for table in guideline.tables},
    }


def rows_for_fhir(guideline: Guideline) -> list[Mapping[str, str]]:
    """The rows of its plans, as `fhir.plans.plan_definition` wants them."""
    return [
        {
            "id": row.id,
            "table": table.file.removesuffix(".csv"),
            "action": str(row.then["action"]),
            "what": getattr(row.then.get("what"), "text", None) or str(row.then.get("what", "")),
            "when": " and ".join(f"{name} {cell.text}" for name, cell in row.tests.items()) or "always",
            "clause": row.clause,
            "says": guideline.clauses[row.clause].says,
        }
        for table in guideline.tables
        if table.is_plan
        for row in table.rows
        if "action" in row.then
    ]


def readable(guideline: Guideline) -> str:
    about = guideline.about
    lines = [
        f"{about.title} ({about.id})",
        f"{about.publisher}, {about.edition}. {about.review.capitalize()}. {about.licence}",
        about.about,
        *about.notes,
        "",
        "Asks:",
        *(f"  {i.name} ({i.expected}): {i.question}" for i in guideline.inputs.values()),
        "",
        "Clauses:",
        *(
            f"  {c.id}{f', page {c.page}' if c.page else ''}: {c.says} [{c.source}]"
            for c in guideline.clauses.values()
        ),
    ]
    for step in guideline.steps:
        if isinstance(step, Computed):
            lines += [
                "",
                f"{step.name} = {step.formula.text} {f'({step.unit})' if step.unit else ''} [{step.clause}]",
            ]
        else:
            lines += [
                "",
                f"{step.file} ({step.policy}):",
                *(f"  {_row_words(row)}" for row in step.rows),
            ]
    return "\n".join(lines)


def _row_words(row: Row) -> str:
    tests = " and ".join(f"{name} {cell.text}" for name, cell in row.tests.items()) or "otherwise"
    gives = ", ".join(f"{n} = {c.text if hasattr(c, 'text') else shown(c)}" for n, c in row.then.items())
    changed = f" (changed: {row.changed})" if row.changed else ""
    return f"{row.id}: if {tests} then {gives} [{row.clause}]{changed}"


def answer(result: Result) -> JsonFacts:
    """The answer of a run as JSON: the results by name, then why, what is missing, and the plan."""
    about = result.guideline.about
    fired = {rule.overlay for rule in result.fired if rule.overlay}
    return {
        "guideline": about.id,
        "edition": about.edition,
        "applies": result.applies,
        **{name: _plain(value) for name, value in result.values.items()},
        "possible": dict(result.possible),
        "missing": [msgspec.to_builtins(missing) for missing in result.missing],
        "plan": [msgspec.to_builtins(action) for action in result.plan],
        "fired": [msgspec.to_builtins(rule) for rule in result.fired],
        "overlays": sorted(fired.union(*(action.overlay for action in result.plan))),
        "review": about.review,
        "clauses_verified": sum(c.verified for c in result.guideline.clauses.values()),
        "clauses": len(result.guideline.clauses),
    }


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value == int(value) else value


def answer_text(result: Result, trace: Iterable[Mapping[str, Any]] | None = None) -> str:
    about = result.guideline.about
    lines = [f"{about.title} ({about.publisher}, {about.edition}); {about.review}"]
    if result.applies is not True:
        lines.append(
            "It is not for this patient."
            if result.applies is False
            else "Whether it is for this patient is not known."
        )
    for name, value in result.values.items():
        said = f"not decided: {result.possible[name]}" if name in result.possible else shown(value) or "none"
        lines.append(f"  {named(name)}: {said}")
    if result.plan:
        lines += ["Plan:", *(line for action in result.plan for line in action_lines(action))]
    if result.missing:
        lines.append("Not assessed, and it would matter:")
        lines += [f"  {m.question} ({m.input}: {_changes(m.could_change)})" for m in result.missing]
    lines.append("Why:")
    for rule in result.fired:
        because = (
            ", ".join(valued(name, value) for name, value in rule.because.items()) or "in every other case"
        )
        page = f", page {rule.page}" if rule.page else ""
        changed = f"  [changed here: {rule.overlay}]" if rule.overlay else ""
        lines.append(f"  {rule.row}: {because} (clause {rule.clause}{page}){changed}")
    for entry in trace or ():
        cells = "; ".join(f"{name} {cell}" for name, cell in entry["cells"].items())
        lines.append(f"  {entry['table']} {entry['row']}: {entry['says']} ({cells})")
    return "\n".join(lines)


def _changes(changes: Sequence[str]) -> str:
    more = f" and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
    return ", ".join(map(with_names, changes[:MOST_CHANGES])) + more


def action_lines(action: Any) -> list[str]:
    """An action with what must be seen beside it."""
    date = f" ({action.date})" if action.date else ""
    page = f", page {action.page}" if action.page else ""
    lines = [
        f"  - {action_words(action)}{date}  [{action.guideline}, {action.edition}, {action.clause}{page}]"
    ]
    lines += [f"      DO NOT GIVE: {why}" for why in action.withheld]
    lines += [f"      check first: {what}" for what in action.check_first]
    lines += [f"      changed here: {what}" for what in action.overlay]
    if action.tell:
        lines.append(f"      tell the patient: {action.tell}")
    return lines


def traced(guideline: Guideline, values: Mapping[str, Value]) -> list[JsonFacts]:
    """Every row of every table: true, false or unknown, and each cell with the value that it saw."""
    known = dict(values)
    found = []
    for step in guideline.steps:
        if isinstance(step, Computed):
            known[step.name] = step.value(known)
            continue
        known |= step.decide(known).values
        for row in step.rows:
            cells = {
                name: f"{cell.text}: {cell.truth(known[name]).name.lower()} ({shown(known[name])})"
                for name, cell in row.tests.items()
            }
            found.append(
                {"table": step.file, "row": row.id, "says": row.truth(known).name.lower(), "cells": cells}
            )
    return found


def checks(library: Library, ids: Sequence[str], openehr: Path | None) -> JsonFacts:
    """Every conformance row of the guidelines named (of all, when none is)."""
    guidelines = [library.get(id_) for id_ in ids] if ids else list(library.guidelines.values())
    report: JsonFacts = {"guidelines": {}, "agrees": True}
    for guideline in guidelines:
        rows = check(library, guideline)
        lacking = untested_thresholds(guideline)
        differing = [
            {"case": r.case, "source": r.source, "differs": list(r.differs)} for r in rows if r.differs
        ]
        report["guidelines"][guideline.id] = {
            "rows": len(rows),
            "agree": len(rows) - len(differing),
            "differing": differing,
            "thresholds_untested": lacking,
        }
        report["agrees"] &= not differing and not lacking
    if openehr is not None:
        from akazuba.guidelines.openehr import compare

        report["openehr"] = compare(library, _cases(openehr), [g.id for g in guidelines])
        report["agrees"] &= not any(r["differing"] for r in report["openehr"].values())
    return report


def _cases(path: Path) -> list[JsonFacts]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except (OSError, ValueError) as problem:
        raise InputError(str(path), "openEHR cases (.jsonl.gz)", str(problem)) from problem


def checks_text(report: Mapping[str, Any]) -> str:
    lines = []
    for id_, found in report["guidelines"].items():
        lines.append(f"{id_}: {found['agree']} of {found['rows']} rows agree")
        lines += [
            f"  {d['case']}: {'; '.join(d['differs'])}  (source: {d['source']})" for d in found["differing"]
        ]
        lines += [f"  threshold not tested on both sides: {name}" for name in found["thresholds_untested"]]
    for id_, found in report.get("openehr", {}).items():
        agreeing = f"{found['agree']} of {found['cases']} cases agree"
        lines.append(f"openEHR {id_}: {agreeing}, {len(found['explained'])} explained")
        lines += [f"  {d['case']}: {'; '.join(d['differs'])}" for d in found["differing"]]
        lines += [f"  {d['case']} (explained): {d['why']}" for d in found["explained"]]
    total = [report["guidelines"], report.get("openehr", {})]
    rows = sum(f.get("rows", f.get("cases", 0)) for part in total for f in part.values())
    agree = sum(f["agree"] for part in total for f in part.values())
    return "\n".join([*lines, f"\n{agree} of {rows} agree."])
