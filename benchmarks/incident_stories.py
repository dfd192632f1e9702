"""Consultations with a harm whose cause is known, for `seeded_incidents.py`, and innocent divergences.

Everything here is SIMULATED but the rules. A plant changes the data as a real cause would (a rule cut out of
a chart, a dose edited in a local rule, an alarm that is answered late), and says the truth to the judge.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from akazuba.governance.course import WRONG_PATIENT
from akazuba.governance.incident_replay import Replayed, Then, Unavailable, differences, other_advice
from akazuba.governance.responsibility import Shift
from akazuba.guidelines import triage as triage_rules
from akazuba.guidelines.chart import CHARTS, Chart, read_chart
from akazuba.guidelines.library import LIBRARY, Library, open_library
from akazuba.intake.cases import case_line
from akazuba.records import Assessment, Provenance
from akazuba.settings import Settings
from akazuba.urgency import Desk, decide as decide_urgency, open_desk, why_unread

DAY_S = 86_400
BEGIN_S = 1_790_035_200
"""A midnight (UTC)."""

NORMAL = {
    "spo2_percent": 98,
    "heart_rate_bpm": 82,
    "respiratory_rate_bpm": 16,
    "temperature_c": 36.8,
    "capillary_refill_s": 2,
    "glucose_mmol_l": 5.4,
    "consciousness": "alert",
    "systolic_mmhg": 122,
}
EDITS = tuple(
    {
        "guideline": guideline,
        "file": "medicines_plan.csv",
        "row": row,
        "column": "then amount",
        "value": value,
    }
    for guideline, row, value in (
        ("hearts-hypertension", "start-amlodipine", "10"),
        ("hearts-hypertension", "raise-amlodipine-10", "5"),
        ("hearts-hypertension", "start-telmisartan", "80"),
        ("hearts-hypertension", "start-chlorthalidone", "25"),
        ("hearts-diabetes", "metformin-start", "1000"),
    )
)
"""Edits of local rules: each changes a dose of some chronic cases."""

CLINICIAN, NURSE = ("paul-mugisha", "clinician"), ("chantal-uwimana", "nurse")
Case = dict[str, Any]


# --- the rules, as they are and altered ---------------------------------------------------------------------


class Rules:
    """The real rules of urgency, and what is installed."""

    def __init__(self, home: Path) -> None:
        self.desk = open_desk(Settings(home))
        self.charts = {name: (LIBRARY.parent / "data" / name).read_bytes() for name in CHARTS}
        self.files = {f"guidelines/{name}": sha256(data).hexdigest() for name, data in self.charts.items()}
        shipped = b"".join(path.read_bytes() for path in sorted(LIBRARY.rglob("*")) if path.is_file())
        self.files["guidelines/library"] = sha256(shipped).hexdigest()
        self._library = cache(self._opened)

    def assessed(
        self, case: bytes, overlays: tuple[bytes, ...] = (), charts: Mapping[str, bytes] | None = None
    ) -> Assessment:
        """charts: others than those that are installed."""
        line = case_line(case, "case")
        if line.case is None:
            raise ValueError(line.error)
        desk = Desk(self.desk.terminology, self.desk.reader, self._library(overlays))
        note = desk.reader.read(line.case.note, line.case.language)
        with _charts(charts):
            decided = decide_urgency(desk, line.case, note)
        return Assessment(
            line.case.id,
            triage=decided.triage,
            findings=decided.findings,
            note_unread=why_unread(line.case, note),
            plan=decided.plan,
            protocols=decided.care.protocols,
            provenance=Provenance(line.input_sha256, software="rules of urgency"),
        )

    def replay(self, then: Then) -> Replayed | Unavailable:
        for name, digest in then.files.items():
            if self.files.get(name) != digest:
                return Unavailable(f"{name} {digest[:16]}… is not installed")
        return Replayed(self.assessed(then.case, then.overlays))

    def _opened(self, overlays: tuple[bytes, ...]) -> Library:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{number}.json" for number in range(len(overlays))]
            for path, overlay in zip(paths, overlays, strict=True):
                path.write_bytes(overlay)
            return open_library(tuple(paths))

    def without(self, rules: set[str]) -> dict[str, bytes]:
        """The charts with those rules cut out."""
        cut = {}
        for name, data in self.charts.items():
            chart = json.loads(data)
            chart["rules"] = [rule for rule in chart["rules"] if rule["id"] not in rules]
            cut[name] = data if len(chart["rules"]) == len(json.loads(data)["rules"]) else _json(chart)
        return cut


@contextmanager
def _charts(altered: Mapping[str, bytes] | None) -> Iterator[None]:
    sound = triage_rules.shipped_charts
    if altered is not None:
        read: tuple[Chart, ...] = tuple(read_chart(altered[name], name) for name in CHARTS)
        triage_rules.shipped_charts = lambda: read  # type: ignore[assignment]
    try:
        yield
    finally:
        triage_rules.shipped_charts = sound


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


# --- what happened ------------------------------------------------------------------------------------------


@dataclass
class Story:
    """One consultation and its aftermath; as it stands here, without a cause. truth: only for the judge.

    cut: rules that the box that ran lacked. measured: whether the files' digests were taken from what ran.
    innocent: how many innocent divergences stand beside.
    """

    number: int
    case: Case
    cut: set[str] = field(default_factory=set)
    measured: bool = True
    signed: dict[str, bytes] = field(default_factory=dict)
    ran: dict[str, bytes] = field(default_factory=dict)
    site: dict[str, Any] = field(default_factory=dict)
    stranger: bool = False
    newer: bool = False
    corrections: list[tuple[str, object, str]] = field(default_factory=list)
    notices: list[tuple[str, bool]] = field(default_factory=list)
    answered_s: float | None = 90.0
    duty: tuple[tuple[str, str], ...] = (CLINICIAN, NURSE)
    choice: str = "accept"
    reason: str = ""
    outcome: dict[str, Any] = field(default_factory=dict)
    twice: bool = False
    innocent: int = 0
    truth: set[tuple[str, str]] = field(default_factory=set)

    @property
    def bytes(self) -> bytes:
        return _json(self.case)


Plant = Callable[[Story, Rules, random.Random], bool]
"""Puts something into a story; False when this case does not allow it."""


def as_run(story: Story, rules: Rules) -> Assessment:
    charts = rules.without(story.cut) if story.cut else None
    return rules.assessed(story.bytes, tuple(story.ran[name] for name in sorted(story.ran)), charts)


def level(assessment: Assessment) -> str:
    return assessment.triage.level if assessment.triage else ""


def wrong_input(story: Story, rules: Rules, chance: random.Random) -> bool:
    """A vital sign was entered as normal; what was measured is known later."""
    vitals, right = story.case.get("vitals", {}), rules.assessed(story.bytes)
    for name in chance.sample(sorted(NORMAL.keys() & vitals.keys()), len(NORMAL.keys() & vitals.keys())):
        entered = {**story.case, "vitals": {**vitals, name: NORMAL[name]}}
        if other_advice(right, rules.assessed(_json(entered))):
            story.case = entered
            story.corrections.append((f"vitals.{name}", vitals[name], "the monitor's own record"))
            story.truth.add(("input-wrong", "clinician"))
            return True
    return False


def wrong_patient(story: Story, _: Rules, chance: random.Random) -> bool:
    other = f"patient-{chance.randrange(1000, 2000)}"
    story.corrections.append((WRONG_PATIENT, other, "two sisters of one name were swapped"))
    story.truth.add(("wrong-patient", "clinician"))
    return True


def _cut(story: Story, rules: Rules) -> bool:
    sound = rules.assessed(story.bytes)
    fired = {reason.rule for reason in sound.triage.reasons} if sound.triage else set()
    story.cut = {rule for rule in fired if any(rule.encode() in data for data in rules.charts.values())}
    return bool(story.cut) and bool(other_advice(sound, as_run(story, rules)))


def altered_chart(story: Story, rules: Rules, _: random.Random) -> bool:
    story.truth.add(("files-altered", "deployer"))
    return _cut(story, rules)


def faulty_program(story: Story, rules: Rules, _: random.Random) -> bool:
    """The files are the signed ones, and the program does not do what they say."""
    story.measured = False
    story.truth.add(("output-differs", "developer"))
    return _cut(story, rules)


def known_defect(story: Story, rules: Rules, chance: random.Random) -> bool:
    said = rules.assessed(story.bytes)
    reasons = said.triage.reasons if said.triage else ()
    story.notices.append((chance.choice(reasons).rule if reasons else f"level:{level(said)}", False))
    story.truth.add(("known-defect", "developer"))
    return True


def defect_not_acted_on(story: Story, rules: Rules, chance: random.Random) -> bool:
    known_defect(story, rules, chance)
    story.notices = [(touches, True) for touches, _ in story.notices]
    story.truth.add(("defect-not-acted-on", "deployer"))
    return True


def stale(story: Story, _: Rules, chance: random.Random) -> bool:
    if chance.random() < 0.5:
        story.newer = True
    else:
        story.site["valid_until_s"] = at_s(story) - chance.randrange(3600, 90 * DAY_S)
    story.truth.add(("configuration-stale", "deployer"))
    return True


def out_of_bounds(story: Story, _: Rules, chance: random.Random) -> bool:
    story.site |= chance.choice(
        (
            {"thresholds": {"acknowledge_within_s": 1800.0}},
            {"thresholds": {"acknowledge_within_s": 200.0, "red_below_spo2": 80.0}},
            {"shifts": (Shift("nurse", 1, 0, 1440),)},
            {"may": {"decide": ("clinician", "nurse")}},
        )
    )
    story.truth.add(("configuration-outside-bounds", "deployer"))
    return True


def other_release(story: Story, _: Rules, __: random.Random) -> bool:
    story.site["release"] = sha256(b"the release before").hexdigest()
    story.truth.add(("configuration-other-release", "deployer"))
    return True


def unsigned(story: Story, _: Rules, __: random.Random) -> bool:
    story.stranger = True
    story.truth.add(("configuration-unsigned", "deployer"))
    return True


def edited_overlay(story: Story, rules: Rules, chance: random.Random) -> bool:
    """A local rule that changes a dose, which nobody signed."""
    for edit in chance.sample(EDITS, len(EDITS)):
        overlay = _overlay(edit)
        if other_advice(rules.assessed(story.bytes), rules.assessed(story.bytes, (overlay,))):
            story.ran = {"district.json": overlay}
            story.signed = {"district.json": _overlay()} if chance.random() < 0.5 else {}
            story.truth.add(("overlay-altered", "deployer"))
            return True
    return False


def _overlay(*edits: Mapping[str, str]) -> bytes:
    changes = [{**edit, "why": "district pharmacy"} for edit in edits]
    return _json({"id": "district", "title": "District list", "issued_by": "District", "changes": changes})


def ignored_alarm(story: Story, rules: Rules, chance: random.Random) -> bool:
    story.answered_s = chance.choice((None, 600.0, 1500.0))
    story.truth.add(("alarm-ignored", "clinician"))
    return level(as_run(story, rules)) == "red"


def no_staff(story: Story, rules: Rules, chance: random.Random) -> bool:
    story.answered_s = chance.choice((None, 900.0))
    story.duty = chance.choice(((), (NURSE,)))
    story.truth.add(("no-staff", "deployer"))
    return level(as_run(story, rules)) == "red"


def overridden(story: Story, rules: Rules, chance: random.Random) -> bool:
    story.choice = chance.choice(("refuse", "change"))
    story.reason = chance.choice(("", "he looks well to me"))
    story.outcome = {"level": level(as_run(story, rules)), "borne_out": ("triage.level",)}
    story.truth.add(("overridden", "clinician"))
    return True


CAUSES: dict[str, Plant] = {
    "input-wrong": wrong_input,
    "wrong-patient": wrong_patient,
    "files-altered": altered_chart,
    "output-differs": faulty_program,
    "known-defect": known_defect,
    "configuration-stale": stale,
    "configuration-outside-bounds": out_of_bounds,
    "configuration-other-release": other_release,
    "configuration-unsigned": unsigned,
    "overlay-altered": edited_overlay,
    "alarm-ignored": ignored_alarm,
    "no-staff": no_staff,
    "overridden": overridden,
}
PAIRS: tuple[tuple[Plant, ...], ...] = (
    (wrong_input, stale),
    (altered_chart, overridden),
    (defect_not_acted_on,),
    (edited_overlay, overridden),
    (out_of_bounds, ignored_alarm),
    (stale, no_staff),
    (wrong_patient, ignored_alarm),
    (faulty_program, unsigned),
)


# --- innocent divergences -----------------------------------------------------------------------------------


def harmless_correction(story: Story, rules: Rules, _: random.Random) -> bool:
    """A second reading that differs a little, with the same advice."""
    rate = story.case.get("vitals", {}).get("heart_rate_bpm")
    if rate is None or story.corrections:
        return False
    other = {**story.case, "vitals": {**story.case["vitals"], "heart_rate_bpm": rate + 1}}
    if other_advice(rules.assessed(story.bytes), rules.assessed(_json(other))):
        return False
    story.corrections.append(("vitals.heart_rate_bpm", rate + 1, "counted again"))
    return True


def right_override(story: Story, rules: Rules, _: random.Random) -> bool:
    """The clinician knew better, and the outcome says so."""
    if story.choice != "accept":
        return False
    given = level(as_run(story, rules))
    story.choice, story.reason = "change", "known to me: the same since his operation"
    story.outcome = {"level": "yellow" if given == "green" else "green", "refuted": ("triage.level",)}
    return True


def idle_overlay(story: Story, rules: Rules, chance: random.Random) -> bool:
    if story.ran or story.signed:
        return False
    overlay = _overlay(chance.choice(EDITS))
    if other_advice(rules.assessed(story.bytes), rules.assessed(story.bytes, (overlay,))):
        return False
    story.ran = {"district.json": overlay}
    return True


def idle_cut(story: Story, rules: Rules, _: random.Random) -> bool:
    if story.cut or differences(
        rules.assessed(story.bytes), rules.assessed(story.bytes, (), rules.without(_SNAKE))
    ):
        return False
    story.cut = set(_SNAKE)
    return True


_SNAKE = {"iitt-adult-snake-bite", "iitt-child-snake-bite"}


def other_notice(story: Story, _: Rules, __: random.Random) -> bool:
    story.notices.append(("a rule that no chart has", True))
    return True


def second_thought(story: Story, _: Rules, __: random.Random) -> bool:
    story.twice = True
    return True


INNOCENT_PLANTS: tuple[Plant, ...] = (
    harmless_correction,
    right_override,
    idle_overlay,
    idle_cut,
    other_notice,
    second_thought,
)


def at_s(story: Story) -> int:
    """When she was assessed: each story has a day of its own."""
    return BEGIN_S + (story.number + 1) * DAY_S + 9 * 3600
