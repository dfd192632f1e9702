"""What would harm a patient: an alarm nobody hears, a lost place in the queue, two patients mixed up."""

from __future__ import annotations

import asyncio
import datetime
import difflib
import itertools
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from starlette.formparsers import MultiPartParser
from tablet_bench import Tablet, box, page_of, recorded, words

from akazuba.box import Box
from akazuba.consult import assess
from akazuba.governance import site_rules
from akazuba.governance.course import WRONG_PATIENT, correct
from akazuba.governance.decisions import basis_of
from akazuba.intake.cases import case_line
from akazuba.records import Assessment, Case
from akazuba.waiting.queue import NAMELESS_S, Now, Queue, Waiting
from akazuba.web import alarms
from akazuba.web.alarms import raise_due
from akazuba.web.consultation import PICTURE_BYTES
from akazuba.web.consulting import wait_for_imported
from akazuba.web.guard import Pace
from akazuba.web.post import Post, Records

RED = {"consciousness": "unresponsive", "spo2_percent": 70}
WELL = {
    "temperature_c": 36.8,
    "heart_rate_bpm": 74,
    "respiratory_rate_bpm": 14,
    "systolic_mmhg": 118,
    "diastolic_mmhg": 76,
    "spo2_percent": 98,
    "consciousness": "alert",
}
COUNT = itertools.count(1)


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    made = box(tmp_path_factory.mktemp("harm"), terminology_home)
    yield made
    made.close()


@pytest.fixture
def nurse(post: Post) -> Tablet:
    return Tablet(page_of(post)).sign_in("chantal-uwimana")


class Consultation:
    """One patient of her own id at a tablet."""

    def __init__(self, tablet: Tablet, name: str = "Ange Uwase") -> None:
        number = next(COUNT)
        self.tablet, self.name = tablet, name
        self.case, self.patient = f"c-20261129-{number:08d}", f"p-harm-{number:06d}"

    def send(self, vitals: dict[str, Any], keep: str = "yes", **changed: Any) -> Any:
        case = {"id": self.case, "patient": {"age_years": 30, "sex": "female"}, "vitals": vitals}
        case |= {"note": "headache since yesterday", "language": "en", **changed.pop("case", {})}
        person = {"id": self.patient, "name": self.name, "born": "1996", "sex": "female"}
        person |= changed.pop("person", {})
        owner = changed.pop("owner", "chantal-uwimana")
        given = {"case": json.dumps(case), "person": json.dumps(person), "keep": keep, "owner": owner}
        return self.tablet.post("/consultation/assess", given, headers={"X-Fragment": "1"})

    def keep(self, vitals: dict[str, Any]) -> int:
        answer = self.send(vitals)
        assert answer.status_code == 200, answer.text
        (index,) = re.findall(r"/consultation/(\d+)/decide|data-assessment=\"(\d+)\"", answer.text)[:1]
        return int(index[0] or index[1])

    def deed(self, deed: str, tablet: Tablet | None = None) -> int:
        return (tablet or self.tablet).post(f"/queue/{self.case}/{deed}").status_code

    def waits(self, post: Post) -> Waiting | None:
        every = asyncio.run(post.records(lambda kept: kept.queue.waiting()))
        return next((entry for entry in every if entry.case_id == self.case), None)

    def calls(self, post: Post) -> int:
        return asyncio.run(post.records(lambda kept: kept.queue.calls())).get(self.case, 0)


# --- alarms -----------------------------------------------------------------------------------------------


def test_an_erased_patient_silences_nobody(post: Post, nurse: Tablet) -> None:
    first, second = Consultation(nurse), Consultation(nurse, "Bosco Nkusi")
    first.keep(RED)
    asyncio.run(
        post.records(lambda kept: kept.opened().erase(first.patient, "jean-habimana", "asked for it"))
    )
    second.keep(RED)
    asyncio.run(raise_due(post))
    waiting = second.waits(post)
    assert waiting
    assert waiting.alarms == 1
    assert first.deed("acknowledge") in (200, 303)
    assert second.deed("acknowledge") in (200, 303)


def test_the_task_that_raises_alarms_outlives_every_fault(
    post: Post, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[int] = []

    async def fails(_: Post) -> int:
        tried.append(1)
        raise MemoryError(f"fault {len(tried) // 2}")

    monkeypatch.setattr(alarms, "raise_due", fails)
    monkeypatch.setattr(alarms, "EVERY_S", 0.01)

    async def run() -> None:
        task = asyncio.create_task(alarms.raising(post))
        while len(tried) < 4:
            await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()

    asyncio.run(run())
    assert capsys.readouterr().err.count("found fault 1") == 1, "told once, not every second"


def test_an_alarm_that_cannot_be_written_down_is_shown_all_the_same(
    post: Post, nurse: Tablet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Consultation(nurse)
    one.keep(RED)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Queue, "alarmed", full)
    with pytest.raises(OSError, match="no space"):
        asyncio.run(raise_due(post))
    assert one.calls(post) == 1
    assert nurse.get("/state?quiet").json()["alarms"] >= 1
    assert "alarm-1" in nurse.get("/queue/rows").text
    one.deed("seen")


def test_who_goes_without_a_name_silences_an_alarm_for_a_while_only() -> None:
    at = [0.0]
    queue = Queue(":memory:", lambda: Now(1e9 + at[0], at[0], "boot"))
    queue.arrive("c-1")
    queue.triage("c-1", "red")
    assert queue.calls() == {"c-1": 1}
    at[0] = 5
    queue.acknowledge("c-1", "unknown")
    assert queue.calls() == {}
    at[0] = 5 + NAMELESS_S
    assert queue.calls() == {"c-1": 2}
    queue.acknowledge("c-1", "unknown")
    assert queue.calls() == {"c-1": 2}, "once is all it is worth"
    queue.acknowledge("c-1", "chantal-uwimana")
    assert queue.calls() == {}
    at[0] = 1000
    assert queue.due_alarms() == []
    queue.close()


def test_a_stranger_takes_nobody_off_the_queue_and_stops_no_escalation(post: Post, nurse: Tablet) -> None:
    one = Consultation(nurse)
    one.keep(RED)
    stranger, operator = Tablet(page_of(post)), Tablet(page_of(post)).sign_in("odile-operator")
    assert one.deed("seen", stranger) in (303, 401)
    assert one.deed("seen", operator) == 403
    assert one.deed("left", operator) == 403
    assert one.deed("acknowledge", stranger) in (200, 303)
    waiting = one.waits(post)
    assert waiting
    assert not waiting.answered
    assert "I go to her" in nurse.get("/queue/rows").text
    assert one.deed("acknowledge") in (200, 303)
    waiting = one.waits(post)
    assert waiting
    assert waiting.answered
    one.deed("seen")


# --- the queue --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "deed", "then", "waits"),
    [
        (WELL, "seen", RED, True),
        (WELL, "left", RED, True),
        (RED, "left", RED, True),
        (RED, "seen", RED, False),
        (RED, "seen", WELL, False),
        (WELL, "left", WELL, False),
    ],
)
def test_whoever_got_worse_waits_again(
    post: Post, nurse: Tablet, first: dict[str, Any], deed: str, then: dict[str, Any], waits: bool
) -> None:
    one = Consultation(nurse)
    one.send(first, keep="no")
    assert one.deed(deed) in (200, 303)
    assert one.waits(post) is None
    one.send(then, keep="no")
    assert (one.waits(post) is not None) == waits
    if waits:
        one.deed("seen")


def test_signing_an_older_assessment_leaves_a_newer_emergency_in_the_queue(post: Post, nurse: Tablet) -> None:
    one = Consultation(nurse)
    old = one.keep(WELL)
    new = one.keep(RED)
    doctor = Tablet(page_of(post)).sign_in("dr-musa")
    assert f'href="/consultation/{new}"' in doctor.get(f"/consultation/{old}").text
    sign = {"patient": one.patient, "choice": "accept", "reason": ""}
    assert doctor.post(f"/consultation/{old}/decide", sign).status_code == 303
    waiting = one.waits(post)
    assert waiting
    assert waiting.level == "red"
    assert not waiting.answered
    assert doctor.post(f"/consultation/{new}/decide", sign).status_code == 303
    assert one.waits(post) is None


@pytest.mark.parametrize("days", [None, 0, 1])
def test_an_emergency_of_another_system_waits_under_an_id_of_this_box(post: Post, days: int | None) -> None:
    today = datetime.date(2026, 11, 29)
    day = None if days is None else (today - datetime.timedelta(days=days)).isoformat()

    def imported(box_: Box) -> tuple[Case, Assessment]:
        data = {"id": "patient-001", "vitals": RED, "patient": {"age_years": 30}}
        line = case_line(json.dumps(data).encode(), "bundle")
        assert line.case
        return msgspec.structs.replace(line.case, date=day), assess(box_, line)

    def wait(kept: Records, index: int) -> None:
        wait_for_imported(kept, case, said, index, today)

    indexes = [900_000 + next(COUNT) for _ in range(2)]
    case, said = asyncio.run(post.engine(imported))
    for index in indexes:
        for _ in range(2):  # sent again, it is one
            asyncio.run(post.records(partial(wait, index=index)))
    every = asyncio.run(post.records(lambda kept: kept.queue.waiting()))
    found = [entry for entry in every if entry.case_id in {f"import-{index}" for index in indexes}]
    assert [entry.level for entry in found] == ["red", "red"]
    for entry in found:
        asyncio.run(post.records(lambda kept, who=entry.case_id: kept.queue.seen(who, "test")))  # type: ignore[misc]


def test_nobody_points_a_place_in_the_queue_at_another_patient(post: Post, nurse: Tablet) -> None:
    real = Consultation(nurse)
    index = real.keep(RED)
    evil = Consultation(Tablet(page_of(post)), "Evil Fake")
    evil.case = real.case
    assert evil.send(WELL, owner="").status_code == 422
    assert f"/consultation/{index}" in nurse.get("/queue/rows").text
    assert "Evil" not in nurse.get("/queue/rows").text
    real.deed("seen")


# --- two patients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "person",
    [{"name": "Jean Bosco"}, {"born": "2022"}, {"sex": "male"}],
)
def test_what_was_typed_of_another_is_not_recorded_under_the_patient_who_was_picked(
    nurse: Tablet, post: Post, person: dict[str, str]
) -> None:
    marie = Consultation(nurse, "Marie Mukamana")
    marie.keep(WELL)
    before = len(recorded(post, "assessment"))
    second = Consultation(nurse, "Marie Mukamana")
    second.patient = marie.patient
    answer = second.send(RED, person=person)
    assert answer.status_code == 422
    assert "who was picked" in answer.json()["error"]
    assert len(recorded(post, "assessment")) == before
    assert second.waits(post), "she is an emergency all the same"
    second.deed("seen")
    assert second.send(WELL, person={"name": " marie  MUKAMANA "}).status_code == 200


def test_who_was_helped_first_is_registered_later(nurse: Tablet, post: Post) -> None:
    one = Consultation(nurse, "")
    one.keep(RED)
    one.name = "Aline Uwera"
    one.keep(RED | {"heart_rate_bpm": 120})
    person = asyncio.run(post.records(lambda kept: kept.opened().person(one.patient)))
    assert (person.name, person.born, person.sex) == ("Aline Uwera", "1996", "female")
    one.name = "Somebody Else"
    assert one.send(RED | {"heart_rate_bpm": 121}).status_code == 422
    one.deed("seen")


def test_a_consultation_belongs_to_one_patient(nurse: Tablet) -> None:
    one = Consultation(nurse)
    one.keep(WELL)
    one.patient = f"p-other-{next(COUNT):06d}"
    answer = one.send(WELL)
    assert answer.status_code == 422
    assert "another patient" in answer.json()["error"]


def test_a_case_marked_as_another_patients_says_so_and_is_not_signed(post: Post, nurse: Tablet) -> None:
    one = Consultation(nurse)
    index = one.keep(WELL)

    def mark(kept: Any) -> None:
        store = kept.opened()
        case = basis_of(store, store.entry(index)).case
        correct(store, "chantal-uwimana", case, WRONG_PATIENT, "p-else", "wrong one was picked")

    asyncio.run(post.records(mark))
    doctor = Tablet(page_of(post)).sign_in("dr-musa")
    page = doctor.get(f"/consultation/{index}").text
    assert "Marked as another patient" in page
    assert f"/consultation/{index}/decide" not in page
    sign = {"patient": one.patient, "choice": "accept", "reason": ""}
    assert doctor.post(f"/consultation/{index}/decide", sign).status_code == 422


def test_a_value_that_was_corrected_is_shown_by_its_name_beside_the_old_urgency(
    post: Post, nurse: Tablet
) -> None:
    one = Consultation(nurse)
    index = one.keep(WELL)

    def corrected(kept: Records) -> None:
        store = kept.opened()
        case = basis_of(store, store.entry(index)).case
        correct(store, "chantal-uwimana", case, "vitals.spo2_percent", 70, "read from the wrong line")

    asyncio.run(post.records(corrected))
    page = words(nurse.get(f"/consultation/{index}").text)
    assert "Corrected after this assessment: assess again." in page
    assert "oxygen saturation: 98 → 70" in page


def test_a_site_that_takes_the_right_to_see_patients_takes_the_names_in_the_queue_too(
    post: Post, nurse: Tablet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Consultation(nurse, "Hidden Hirwa")
    one.keep(RED)
    assert "Hidden Hirwa" in nurse.get("/queue/rows").text
    site = SimpleNamespace(site="post 7", may={"see-patients": ()}, shifts=())
    monkeypatch.setattr(site_rules, "configuration_now", lambda _: site)
    rows = nurse.get("/queue/rows").text
    assert one.case in rows
    assert "Hidden Hirwa" not in rows
    monkeypatch.undo()
    one.deed("seen")


# --- without a name ---------------------------------------------------------------------------------------


def test_who_may_not_record_does_not_do_so_without_a_name(post: Post) -> None:
    auditor = Tablet(page_of(post)).sign_in("alice-auditor")
    assert Consultation(auditor).send(WELL, owner="").status_code == 403


def test_records_without_a_name_are_taken_at_a_pace(post: Post) -> None:
    stranger = Tablet(page_of(post, nameless_pace=Pace(2, 1e-6)))
    codes = [Consultation(stranger).send(WELL, owner="").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert Consultation(stranger).send(RED, keep="no").status_code == 200, "helped all the same"


def test_no_picture_is_written_in_clear_while_it_comes() -> None:
    assert MultiPartParser.spool_max_size > PICTURE_BYTES


def test_names_of_many_made_up_medicines_are_not_spelled_out_one_by_one(
    nurse: Tablet, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["+".join(f"{a}{b}moxicilan" for a in "aeiou" for b in "lmnr")[:199] for _ in range(60)]
    listed = {"medications": [{"name": f"{n}{name}"[:199]} for n, name in enumerate(names)]}
    looked: list[str] = []
    near = difflib.get_close_matches

    def counted(word: str, *rest: Any, **more: Any) -> list[str]:
        looked.append(word)
        return near(word, *rest, **more)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    assert Consultation(nurse).send(WELL, keep="no", case=listed).status_code == 200
    assert not [word for word in looked if "moxicilan" in word], "6 to 11 s of work"
    listed["medications"].append({"name": "amoxicilin"})
    assert (
        Consultation(nurse)
        .send(WELL, keep="no", case={"medications": listed["medications"][-1:]})
        .status_code
        == 200
    )
    assert "amoxicilin" in looked


def test_an_arrival_of_the_locked_box_under_anothers_id_becomes_a_patient_of_its_own(
    post: Post, nurse: Tablet
) -> None:
    marie = Consultation(nurse, "Marie Mukamana")
    marie.keep(WELL)
    asyncio.run(post.records(lambda kept: kept.lock()))
    from tablet_bench import PASSPHRASE

    stranger = Tablet(page_of(post))
    other, same = Consultation(stranger, "Jean Bosco"), Consultation(stranger, "Marie Mukamana")
    other.patient = same.patient = marie.patient
    assert other.send(RED, owner="").status_code == 200
    assert same.send(WELL, owner="").status_code == 200
    asyncio.run(post.unlock(PASSPHRASE))
    assert [e.by for e in recorded(post, "case") if e.patient == marie.patient] == [
        "chantal-uwimana",
        "unknown",
    ]
    persons = asyncio.run(post.records(lambda kept: kept.opened().search("Jean Bosco")))
    assert len(persons) == 1
    assert persons[0].id != marie.patient
    assert [e.patient for e in recorded(post, "assessment")].count(persons[0].id) == 1
    other.deed("seen", Tablet(page_of(post)).sign_in("chantal-uwimana"))
