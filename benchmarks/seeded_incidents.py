"""Who contributed to a harm: seeded incidents of known cause, attributed: `benchmarks/seeded_incidents.py`.

    [--quick] [--json]

Real cases (the triage vignettes and chronic cases of `data/`) go through the real rules of urgency into a
real store; the harm and its cause are SIMULATED (`incident_stories.py`): an altered chart, an edited overlay,
a late answer to an alarm, …, many with innocent divergences beside it. The attribution sees the store, the
signed documents and a replay. An incident counts as right when exactly the planted causes are named, each
with its party. Seeds and attribution have one author: this shows that the tool does what it states, and says
nothing of harms that nobody thought of. Baseline: blaming whoever was at the bedside.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import msgspec
from figures import options_of, wilson

sys.path.append(str(Path(__file__).parent))

import chronic_plans
from incident_stories import (
    BEGIN_S,
    CAUSES,
    CLINICIAN,
    DAY_S,
    INNOCENT_PLANTS,
    NURSE,
    PAIRS,
    Case,
    Plant,
    Rules,
    Story,
    as_run,
    at_s,
    level,
)

from akazuba.governance import course
from akazuba.governance.audit_anchors import KEYS, keep, last_note, log_keys
from akazuba.governance.decisions import (
    Change,
    Decision,
    Outcome,
    Versions,
    decide,
    record_consultation,
    report_outcome,
)
from akazuba.governance.incident_dossier import Believed, dossier
from akazuba.governance.incident_findings import Kind
from akazuba.governance.incidents import Attribution, attribute, named, report_incident
from akazuba.governance.pins import Moment
from akazuba.governance.responsibility import (
    Bounds,
    Configuration,
    Notice,
    Release,
    Shift,
    adopt,
    adopt_overlay,
    believing,
    seal,
)
from akazuba.governance.roles import verdict
from akazuba.governance.sessions import Granted, Session
from akazuba.governance.users import User
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.store import KeyStore
from akazuba.storage.person import Person
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import Cost, set_up

DATA = Path(__file__).parent / "data"
SEED = 20260314
PER_CAUSE, INNOCENT, PER_PAIR = 6, 12, 3
EACH_QUICK = 2
IN_TIME_S = 240.0
ORDER = get_args(Kind)


# --- the post, where it is recorded -------------------------------------------------------------------------


class Clock:
    ms = BEGIN_S * 1000

    def __call__(self) -> int:
        return self.ms

    def go_on(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass
class Post:
    """A real store, with the keys of the box, the developer and the organisation."""

    store: Store
    clock: Clock
    box: Identity
    developer: Identity
    deployer: Identity

    @property
    def believed(self) -> Believed:
        return Believed(believing(self.developer.public), believing(self.deployer.public))

    def attributed(self, name: str, rules: Rules) -> Attribution:
        """From the log alone."""
        index, incident, what = named(self.store, name)
        note, keys = last_note(self.store), log_keys(self.store)
        file = dossier(self.store, index, self.believed, incident, what, note, keys)
        return attribute(file, rules.replay)


@contextmanager
def post(folder: Path, seed: int = SEED) -> Iterator[Post]:
    clock, chance = Clock(), random.Random(seed)
    key = set_up(folder / "box", "a passphrase of the day", cost=Cost(32, 1, 1))
    with closing(Store(folder / "box", key, clock)) as store:
        keep(folder / "box", store, lambda: clock.ms // 1000)
        with closing(KeyStore(folder / "box" / KEYS, lambda: clock.ms // 1000)) as keys:
            box = keys.identity()
        yield Post(store, clock, box, new_identity(chance.randbytes), new_identity(chance.randbytes))
        keep(folder / "box", store, lambda: clock.ms // 1000)


def enacted(post: Post, rules: Rules, story: Story) -> int:
    """Records it all; gives the index of the incident."""
    store, clock = post.store, post.clock
    clock.ms = (at_s(story) - 3600) * 1000
    patient = f"patient-{story.number}"
    store.admit(Person(patient, f"Patient {story.number}"), "clerk")
    ran = _vouched(post, rules, story)
    for user, role in story.duty:
        course.record_duty(
            store, "clerk", course.Duty(user, role, at_s(story) - 3600, at_s(story) + 8 * 3600)
        )
    clock.ms = at_s(story) * 1000
    said = as_run(story, rules)
    case, assessment = record_consultation(
        store, story.bytes, msgspec.json.encode(said), NURSE[0], patient, ran
    )
    if level(said) == "red":
        clock.go_on(1)
        course.record_alarm(store, assessment.index)
        if story.answered_s is not None:
            clock.go_on(story.answered_s)
            course.record_acknowledged(store, CLINICIAN[0], assessment.index, story.answered_s)
    clock.go_on(3600)
    _decided(post, story, assessment.index, patient)
    clock.go_on(DAY_S / 4)
    for where, value, why in story.corrections:
        course.correct(store, "registrar", case.index, where, value, why, NURSE[0])
    for touches, before in story.notices:
        if not before:
            _notice(post, ran.release, touches)
    outcome = Outcome(assessment.index, "as the hospital's letter says", "letter", **story.outcome)
    report_outcome(store, CLINICIAN[0], patient, outcome)
    return report_incident(store, "supervisor", assessment.index, "came back worse").index


def _vouched(post: Post, rules: Rules, story: Story) -> Versions:
    """Adopts a release and a configuration of this story's own; gives what ran."""
    bounds = {"acknowledge_within_s": Bounds(30, IN_TIME_S)}
    signed = Release(
        1,
        f"akazuba 1.0.{story.number}",
        BEGIN_S,
        rules.files,
        bounds,
        {"clinician": 1},
        {"decide": ("clinician",)},
        sha256(b"card").hexdigest(),
    )
    release = seal(post.developer, "release", signed)
    adopt(post.store, "operator", "release", release, post.believed.developer or believing())
    for overlay in {*story.signed.values(), *story.ran.values()}:
        adopt_overlay(post.store, "operator", overlay)
    named_so: dict[str, Any] = {
        "version": 1,
        "site": f"post {story.number}",
        "organisation": "District hospital",
        "release": sha256(release).hexdigest(),
        "valid_from_s": BEGIN_S,
        "valid_until_s": BEGIN_S + 3650 * DAY_S,
        "overlays": {name: sha256(data).hexdigest() for name, data in story.signed.items()},
        "formulary": "",
        "thresholds": {"acknowledge_within_s": IN_TIME_S},
        "shifts": (Shift("clinician", 1, 0, 1440), Shift("nurse", 1, 7 * 60, 19 * 60)),
        "utc_offset_min": 120,
        "may": {"decide": ("clinician",)},
    }
    site = Configuration(**{**named_so, **story.site})
    signer = new_identity(random.Random(story.number).randbytes) if story.stranger else post.deployer
    configuration = seal(signer, "configuration", site)
    post.store.add(Entry("configuration", "operator", configuration))
    if story.newer:
        later = msgspec.structs.replace(site, thresholds={"acknowledge_within_s": 120.0})
        post.store.add(Entry("configuration", "operator", seal(post.deployer, "configuration", later)))
    for touches, before in story.notices:
        if before:
            _notice(post, sha256(release).hexdigest(), touches)
    charts = rules.without(story.cut) if story.cut and story.measured else {}
    return Versions(
        sha256(release).hexdigest(),
        sha256(configuration).hexdigest(),
        {**rules.files, **{f"guidelines/{name}": sha256(data).hexdigest() for name, data in charts.items()}},
        {name: sha256(data).hexdigest() for name, data in story.ran.items()},
    )


def _notice(post: Post, release: str, touches: str) -> None:
    now = post.clock.ms // 1000
    notice = Notice(1, release, now, now, "the threshold of this rule was copied wrongly", (touches,))
    adopt(
        post.store,
        "operator",
        "notice",
        seal(post.developer, "notice", notice),
        believing(post.developer.public),
    )


def _decided(post: Post, story: Story, assessment: int, patient: str) -> None:
    granted = by(*CLINICIAN)
    if story.twice:
        decide(post.store, post.box, granted, assessment, patient, "accept", now_ms=post.clock.ms)
        post.clock.go_on(60)
    change = (Change("triage.level", "as advised", "green"),) if story.choice == "change" else ()
    if story.choice == "accept" or story.reason:
        decide(
            post.store,
            post.box,
            granted,
            assessment,
            patient,
            story.choice,
            story.reason,
            change,
            now_ms=post.clock.ms,  # type: ignore[arg-type]
        )
        return
    leaf = post.store.node(0, assessment).hex()  # another program, which lets a reason be left out
    told = Decision(
        assessment,
        leaf,
        patient,
        story.choice,
        change,
        "",
        granted.user.id,
        "clinician",
        "s",
        post.clock.ms,  # type: ignore[arg-type]
    )
    post.store.add(Entry("decision", granted.user.id, seal(post.box, "decision", told), patient))


def by(user: str, role: str) -> Granted:
    """A session in which she may do what her role may."""
    moment = Moment(0.0, "boot")
    session = Session("0011223344556677", bytes(32), user, "tablet-1", moment, moment, 0)
    return Granted(User(user, user, role, "", 0), session, verdict(role, "decide"))  # type: ignore[arg-type]


# --- the count ----------------------------------------------------------------------------------------------


def cases(chance: random.Random) -> list[Case]:
    """Vignettes and chronic cases in turns, the order drawn."""
    lines = (DATA / "triage_vignettes.ndjson").read_text(encoding="utf-8").splitlines()
    acute = [json.loads(line)["case"] for line in lines]
    gold = json.loads(chronic_plans.GIVEN.read_text(encoding="utf-8"))
    chronic = [
        {**chronic_plans.in_our_words(row["case"], gold), "answers": chronic_plans.answers_of(row, gold)}
        for row in chronic_plans.rows()
    ]
    chance.shuffle(acute)
    chance.shuffle(chronic)
    return [
        case for pair in zip(acute, chronic * (len(acute) // len(chronic) + 1), strict=False) for case in pair
    ]


def planted(
    plants: tuple[Plant, ...], number: int, pool: list[Case], rules: Rules, chance: random.Random
) -> Story:
    """With the first case of the pool that the plants go with; it goes to the pool's end."""
    for _ in range(len(pool)):
        case = pool.pop(0)
        pool.append(case)
        story = Story(number, {**case, "id": f"seed-{number:03}"}, answered_s=chance.uniform(15, 200))
        if all(plant(story, rules, chance) for plant in plants):
            for innocent in chance.sample(INNOCENT_PLANTS, chance.randrange(3)):
                story.innocent += innocent(story, rules, chance)
            return story
    raise AssertionError(f"no case goes with {plants}")


def wanted(quick: bool) -> list[tuple[Plant, ...]]:
    single, none, pair = (EACH_QUICK, EACH_QUICK, 1) if quick else (PER_CAUSE, INNOCENT, PER_PAIR)
    plants: list[tuple[Plant, ...]] = [(plant,) for plant in CAUSES.values() for _ in range(single)]
    return [*plants, *([()] * none), *(plants for plants in PAIRS for _ in range(pair))]


def accuracy(quick: bool = False, seed: int = SEED) -> dict[str, Any]:
    """attribution_accuracy: of those with one cause or none. attribution_multi: of those with two."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, post(Path(name)) as here:
        rules = Rules(Path(name) / "terms")
        pool = cases(chance)
        stories = [planted(plants, n, pool, rules, chance) for n, plants in enumerate(wanted(quick))]
        chance.shuffle(stories)
        indices = [(story.truth, enacted(here, rules, story)) for story in stories]
        keep(Path(name) / "box", here.store, lambda: here.clock.ms // 1000)
        innocent = sum(story.innocent for story in stories)
        judged = [(truth, here.attributed(str(index), rules)) for truth, index in indices]
    return {**_counted(judged), "attribution_innocent_divergences": innocent}


def _counted(judged: list[tuple[set[tuple[str, str]], Attribution]]) -> dict[str, Any]:
    table: dict[str, Counter[str]] = defaultdict(Counter)
    right: dict[bool, list[bool]] = {True: [], False: []}
    parties, bedside, first = [], [], []
    for truth, said in judged:
        found = {(cause.kind, cause.level) for cause in said.causes}
        true_kinds = "+".join(sorted(kind for kind, _ in truth)) or "none"
        table[true_kinds]["+".join(sorted(kind for kind, _ in found)) or "none"] += 1
        right[len(truth) > 1].append(found == truth)
        parties.append(set(said.levels) == {party for _, party in truth})
        bedside.append({party for _, party in truth} == {"clinician"})
        if truth:
            earliest = min(truth, key=lambda cause: ORDER.index(cause[0]))
            first.append(bool(said.causes) and (said.causes[0].kind, said.causes[0].level) == earliest)
    return {
        "attribution_accuracy": wilson(sum(right[False]), len(right[False])),
        "attribution_multi": wilson(sum(right[True]), len(right[True])),
        "attribution_first_divergence": wilson(sum(first), len(first)),
        "attribution_parties": wilson(sum(parties), len(parties)),
        "attribution_baseline_bedside": wilson(sum(bedside), len(bedside)),
        "attribution_incidents": len(judged),
        "attribution_confusion": {true: dict(sorted(row.items())) for true, row in sorted(table.items())},
    }


def main() -> None:
    asked = options_of(__doc__, "quick: two of each cause", "json").parse_args()
    figures = accuracy(asked.quick)
    for name, value in figures.items():
        if name != "attribution_confusion":
            print(f"{name}: {value}")
    for true, row in figures["attribution_confusion"].items():
        print(f"  {true:<50} {row}")
    if asked.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
