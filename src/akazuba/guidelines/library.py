"""All guidelines of the box, opened once: the folders of `library/`, their shared inputs, the formulary."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path

import msgspec

from akazuba.datafile import rows_of
from akazuba.errors import AkazubaError, ArtefactError, InputError
from akazuba.guidelines.formulas import Formula, parse_formula
from akazuba.guidelines.guideline import About, Guideline, read_guideline
from akazuba.guidelines.inputs import Input, by_any_name, read_inputs
from akazuba.guidelines.medicines import TIMES_A_DAY, Formulary, read_formulary
from akazuba.guidelines.overlays import Overlay, changed, read_overlay
from akazuba.guidelines.run import ACTIONS, NOBODY_KNOWN, Patient, Result, run
from akazuba.guidelines.tables import Row, Table
from akazuba.guidelines.values import Scalar, Value
from akazuba.records import GIVEN, Action, Protocol

LIBRARY = Path(__file__).parent / "library"
NOT_IN_STOCK = "NOT IN STOCK HERE"
OWN = "guidelines"
"""Folder of the box's home for guidelines of its own."""


@dataclass(frozen=True)
class Library:
    """guidelines: as they hold here. published: those that an overlay changed, as they were published.

    own: ids of guidelines of this place. refused: what of this place could not be used, and why.
    brought: plugin by id of the guideline that it brings. refused_of_plugins: plugin and why, of the others.
    """

    inputs: Mapping[str, Input]
    derived: Mapping[str, Formula]
    formulary: Formulary
    guidelines: Mapping[str, Guideline]
    published: Mapping[str, Guideline]
    overlays: tuple[Overlay, ...]
    own: frozenset[str] = frozenset()
    refused: tuple[str, ...] = ()
    brought: Mapping[str, str] = field(default_factory=dict)
    refused_of_plugins: tuple[tuple[str, str], ...] = ()

    def get(self, id_: str) -> Guideline:
        """Raises InputError for an unknown id."""
        if id_ not in self.guidelines:
            near = difflib.get_close_matches(id_, list(self.guidelines), n=3)
            expected = f"one of {', '.join(near)}" if near else "an id that akazuba guideline list names"
            raise InputError("guideline", expected, repr(id_))
        return self.guidelines[id_]

    @cached_property
    def all_inputs(self) -> Mapping[str, Input]:
        """The shared inputs and those of single guidelines."""
        return {**self.inputs, **{k: v for g in self.guidelines.values() for k, v in g.inputs.items()}}

    def editions(self, protocols: Iterable[Protocol]) -> tuple[str, ...]:
        """What is printed in an assessment's provenance for the guidelines that it used."""
        used = [self.guidelines[protocol.id].about for protocol in protocols]
        overlays = (f"overlay {overlay.title} ({overlay.issued_by})" for overlay in self.overlays)
        mine = {about.id: f", {words}" for about in used if (words := self._from_elsewhere(about.id))}
        named = (f"{a.title} ({a.publisher}; {a.edition}{mine.get(a.id, '')})" for a in used)
        return (*named, *overlays, *(f"REFUSED: {fault}" for fault in self.refused))

    def _from_elsewhere(self, id_: str) -> str:
        """Whose a guideline is that is no part of the box; "" for the box's own."""
        if id_ in self.brought:
            return f"guideline of plugin {self.brought[id_]}"
        return "guideline of this place" if id_ in self.own else ""

    def without_plugins(self, names: Iterable[str]) -> Library:
        """Without the guidelines of some plugins."""
        left = {id_ for id_, plugin in self.brought.items() if plugin in {*names}}
        kept = {id_: guideline for id_, guideline in self.guidelines.items() if id_ not in left}
        published = {id_: guideline for id_, guideline in self.published.items() if id_ not in left}
        brought = {id_: plugin for id_, plugin in self.brought.items() if id_ not in left}
        return replace(self, guidelines=kept, published=published, brought=brought)

    def values(self, given: Mapping[str, Value], guideline: Guideline | None = None) -> dict[str, Value]:
        """Every input, as given, else computed from what is given, else unassessed.

        Raises InputError for a value that is none of an input's.
        """
        inputs = {**self.inputs, **(guideline.inputs if guideline else {})}
        found: dict[str, Value] = {name: item.unassessed for name, item in inputs.items()}
        found |= {name: inputs[name].value(value) for name, value in given.items() if name in inputs}
        for name, formula in self.derived.items():
            if name not in given and (got := formula.value(found)) is not None:
                found[name] = got
        return found

    def values_for(
        self, guideline: Guideline, given: Mapping[str, Value], shared: Mapping[str, Value]
    ) -> dict[str, Value]:
        """As `values`, where `shared` are already the values of the shared inputs."""
        own = {name: item for name, item in guideline.inputs.items() if name not in self.inputs}
        values = {
            name: item.value(given[name]) if name in given else item.unassessed for name, item in own.items()
        }
        return {**shared, **values}

    def parsed(self, settings: Mapping[str, str], guideline: Guideline | None = None) -> dict[str, Scalar]:
        """Values as typed, by name or alias. Raises InputError for an unknown name or an unusable value."""
        known = by_any_name({**self.inputs, **(guideline.inputs if guideline else {})}.values())
        found: dict[str, Scalar] = {}
        for name, text in settings.items():
            if name not in known:
                names = ", ".join(sorted(guideline.inputs)) if guideline else "an input of inputs.csv"
                raise InputError(f"--set {name}", f"one of {names}", repr(name))
            if known[name].name in found:
                raise InputError(f"--set {name}", "each input once", f"{known[name].name} twice")
            found[known[name].name] = known[name].parsed(text)
        return found

    def run(
        self, guideline: Guideline, given: Mapping[str, Value], patient: Patient = NOBODY_KNOWN
    ) -> Result:
        """Runs a guideline over what is given; `run_over` over all values."""
        return self.run_over(guideline, self.values(given, guideline), patient)

    def run_over(self, guideline: Guideline, values: Mapping[str, Value], patient: Patient) -> Result:
        """Runs a guideline; what an overlay changed in the plan says so. Raises InputError like `run.run`."""
        result = run(guideline, values, self.formulary, patient)
        plan = result.plan
        if guideline.id in self.published:
            before = run(self.published[guideline.id], values, self.formulary, patient).plan
            plan = tuple(self._compared(guideline, action, before) for action in plan)
        if marked := self._from_elsewhere(guideline.id):
            plan = tuple(msgspec.structs.replace(a, overlay=(*a.overlay, marked)) for a in plan)
        return replace(result, plan=tuple(self._in_stock(action, values, patient) for action in plan))

    def _compared(self, guideline: Guideline, action: Action, before: Sequence[Action]) -> Action:
        """An action that the published guideline would not give names the overlay. Advice that goes with
        another dose (so many millilitres) is left out.
        """
        if _gist(action) in {_gist(other) for other in before} and not action.overlay:
            return action
        titles = tuple(
            f"{overlay.title} ({overlay.issued_by})"
            for overlay in self.overlays
            if any(change.guideline == guideline.id for change in overlay.changes)
        )
        same = [o for o in before if (o.action, o.what, o.tell) == (action.action, action.what, action.tell)]
        stale = bool(same) and all(o.dose != action.dose for o in same)
        return msgspec.structs.replace(
            action, overlay=action.overlay or titles, tell="" if stale else action.tell
        )

    def _in_stock(self, action: Action, values: Mapping[str, Value], patient: Patient) -> Action:
        if action.action not in GIVEN:
            return action
        for overlay in self.overlays:
            for stock in overlay.stock:
                if stock.medicine == action.what and not stock.available:
                    says = f"{NOT_IN_STOCK}; {stock.instead or 'refer, or send for it'} ({overlay.title})"
                    if stock.instead and self.formulary.knows(stock.instead):
                        taken = patient.medicines or ()
                        verdict = self.formulary.judged(stock.instead, taken, patient.allergies or (), values)
                        says += "".join(
                            f"; not {stock.instead} for this patient: {why}" for why in verdict.withheld
                        )
                    return msgspec.structs.replace(action, overlay=(says, *action.overlay))
        return action


def _gist(planned: Action) -> tuple[object, ...]:
    return planned.action, planned.what, planned.dose, planned.for_days, planned.in_days, planned.tell


def guideline_schema(name: str) -> dict[str, object]:
    """JSON Schema (2020-12) of a guideline.json ("guideline") or of an overlay's file ("overlay")."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Akazuba {name}",
        **msgspec.json.schema({"guideline": About, "overlay": Overlay}[name]),
    }


@cache
def shipped() -> Library:
    """The guidelines inside the package, without an overlay. Raises ArtefactError like `open_library`."""
    return open_library()


def open_library(
    overlays: Sequence[Path] = (),
    folder: Path = LIBRARY,
    own: Path | None = None,
    *,
    strict: bool = True,
    brought: Sequence[tuple[str, Path]] = (),
) -> Library:
    """Reads and checks every guideline.

    own: a folder of guidelines of this place, beside those of `folder` or instead of one with the same id.
    brought: folders of guidelines with the plugin that brings each; beside the others, never instead of one.
    One that cannot be used is left out and named in `refused_of_plugins`.
    strict: a guideline or overlay of this place that cannot be used is an error; otherwise it is left out and
    named in `refused`, so that nobody goes without triage for it.
    Raises ArtefactError, for an overlay InputError, that names the file and the row.
    """
    shared = read_inputs(_text(folder / "inputs.csv"), "inputs.csv")
    kinds = {name: item.kind for name, item in shared.items()}
    derived = _derived(_text(folder / "derived.csv"), shared)
    names = ("medicines.csv", "cautions.csv", "interactions.csv", "synonyms.csv")
    formulary = read_formulary({name: rows_of(_text(folder / name), name) for name in names}, kinds)
    published = {
        path.name: _sound(path, shared, derived, formulary)
        for path in sorted(folder.iterdir())
        if path.is_dir()
    }
    _refuse_two_meanings(published.values())
    library = Library(shared, derived, formulary, dict(published), {}, ())
    additions: list[Callable[[Library], Library]] = [
        partial(_with_own, path=path)
        for path in (sorted(own.iterdir()) if own is not None and own.is_dir() else ())
        if path.is_dir()
    ]
    for add in additions:
        library = _added(library, add, strict)
    for plugin, path in brought:
        try:
            library = _with_brought(library, plugin, path)
        except AkazubaError as problem:
            refused = (*library.refused_of_plugins, (plugin, str(problem)))
            library = replace(library, refused_of_plugins=refused)
    for path in overlays:
        library = _added(library, partial(_with_overlay, path=path), strict)
    return library


def _added(library: Library, add: Callable[[Library], Library], strict: bool) -> Library:
    try:
        return add(library)
    except AkazubaError as problem:
        if strict:
            raise
        return replace(library, refused=(*library.refused, str(problem)))


def _sound(
    path: Path, shared: Mapping[str, Input], derived: Mapping[str, Formula], formulary: Formulary
) -> Guideline:
    guideline = read_guideline(path, path.name, shared, derived)
    refuse_unsound_plans(guideline, formulary)
    return guideline


def _with_own(library: Library, path: Path) -> Library:
    try:
        guideline = _sound(path, library.inputs, library.derived, library.formulary)
    except ArtefactError as problem:
        raise ArtefactError(f"{path.parent}/{problem.item}", problem.expected, problem.found) from problem
    here = {**library.guidelines, path.name: guideline}
    _refuse_two_meanings(here.values())
    return replace(library, guidelines=here, own=library.own | {path.name})


def _with_brought(library: Library, plugin: str, path: Path) -> Library:
    guideline = _sound(path, library.inputs, library.derived, library.formulary)
    item = f"plugin {plugin}, guideline {path.name}"
    if path.name in library.guidelines:
        raise ArtefactError(item, "an id of its own", f"one of {library.guidelines[path.name].about.title}")
    titles = {other.about.title.casefold() for other in library.guidelines.values()}
    if guideline.about.title.casefold() in titles:  # two plans are told apart by it
        raise ArtefactError(item, "a title of its own", guideline.about.title)
    here = {**library.guidelines, path.name: guideline}
    _refuse_two_meanings(here.values())
    return replace(library, guidelines=here, brought={**library.brought, path.name: plugin})


def _with_overlay(library: Library, path: Path) -> Library:
    overlay = read_overlay(path)
    here = dict(library.guidelines)
    for change in overlay.changes:
        here[change.guideline] = changed(here, change, overlay, library.inputs, library.derived)
    for change in overlay.changes:
        refuse_unsound_plans(here[change.guideline], library.formulary)
    for stock in overlay.stock:
        if not any(stock.medicine == name for name, _ in library.formulary.medicines):
            near = difflib.get_close_matches(stock.medicine, [n for n, _ in library.formulary.medicines], n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            item = f"overlay {overlay.id}, stock"
            raise InputError(item, "a medicine of medicines.csv", f"{stock.medicine}{guess}")
    _refuse_two_meanings(here.values())
    before = {**library.guidelines, **library.published}
    published = {name: before[name] for name in here if here[name] is not before[name]}
    return replace(library, guidelines=here, published=published, overlays=(*library.overlays, overlay))


def _refuse_two_meanings(guidelines: Iterable[Guideline]) -> None:
    seen: dict[str, tuple[str, Input]] = {}
    for guideline in guidelines:
        for name, item in guideline.inputs.items():
            other, first = seen.setdefault(name, (guideline.id, item))
            if first != item:
                raise ArtefactError(
                    f"{guideline.id}/inputs.csv, {name}", f"what it means in {other}", "another"
                )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise ArtefactError(path.name, "a file of the guideline library", str(problem)) from problem


def _derived(text: str, shared: Mapping[str, Input]) -> dict[str, Formula]:
    kinds = {name: item.kind for name, item in shared.items()}
    found: dict[str, Formula] = {}
    for row in rows_of(text, "derived.csv"):
        item = f"derived.csv, {row['name']}"
        if row["name"] not in shared or row["name"] in found:
            raise ArtefactError(item, "a shared input, once", "none or a repeated one")
        try:
            formula = parse_formula(row["formula"], kinds)
        except ValueError as problem:
            raise ArtefactError(item, "a formula of shared inputs", str(problem)) from problem
        if formula.kind != shared[row["name"]].kind:
            raise ArtefactError(item, shared[row["name"]].kind, formula.kind)
        found[row["name"]] = formula
    return found


def refuse_unsound_plans(guideline: Guideline, formulary: Formulary) -> None:
    """Raises ArtefactError for a plan's row without an action, a known frequency or a medicine's maximum."""
    for table in guideline.tables:
        if table.is_plan:
            for row in table.rows:
                if fault := _plan_fault(table, row, formulary):
                    raise ArtefactError(f"{guideline.id}/{table.file}, row {row.id}", *fault)


def _plan_fault(table: Table, row: Row, formulary: Formulary) -> tuple[str, str] | None:
    """What is wrong with a row of a plan: what was expected and what was found."""
    then = {name: cell for name, cell in row.then.items() if not isinstance(cell, Formula)}
    action, what = then.get("action"), then.get("what")
    if "action" not in row.then:
        return ("an action", "none") if table.policy == "collect" else None
    if any(isinstance(row.then.get(name), Formula) for name in ("action", "unit", "frequency")):
        return "a word in columns action, unit and frequency", "a formula"
    faults = {
        f"an action of {', '.join(ACTIONS)}": action not in ACTIONS and repr(action),
        "something in column 'then what'": "what" not in row.then and "none",
        f"a frequency of {', '.join(TIMES_A_DAY)}": "amount" in row.then
        and then.get("frequency") not in TIMES_A_DAY
        and repr(then.get("frequency")),
        f"{what} in {then.get('unit')} with its maximum in medicines.csv": "amount" in row.then
        and (what, then.get("unit")) not in formulary.medicines
        and "none",
    }
    return next(((expected, found) for expected, found in faults.items() if found), None)
