"""Patients on the tablet: found, read, named, corrected, asked, handed out, erased, printed, followed up."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
from door_bench import opened_post
from starlette.applications import Starlette

from akazuba.errors import InputError
from akazuba.governance import sessions
from akazuba.governance.audit_reads import searches_of, who_read
from akazuba.governance.consent import PURPOSES, By, Consent, give, may, shown
from akazuba.governance.consent_texts import newest, text_of, texts
from akazuba.governance.decisions import outcomes_of
from akazuba.governance.users import PASSPHRASE, add
from akazuba.records import Case, Patient
from akazuba.storage.file import BUSY_S
from akazuba.storage.person import Person
from akazuba.storage.store import Recorded, Store
from akazuba.web.app import STATIC, create_app
from akazuba.web.consulting import Came, answered, keep
from akazuba.web.guard import Pace
from akazuba.web.patient_charts import drawings
from akazuba.web.patient_deeds import NONE, SEPARATORS, medicines_of, value_of
from akazuba.web.patient_view import Line, age_today
from akazuba.web.post import Post
from akazuba.wording.catalogue import languages

ORIGIN = "http://box.example"
TODAY = datetime.date.today()  # noqa: DTZ011 - the day at the post, as the page takes it
EVIL = '<script>alert("x")</script>\' OR 1=1; --'
PINS = {"supervisor": "583920", "nurse": "7351", "clinician": "8264", "auditor": "926417"}

Done = TypeVar("Done")


def case_of(id_: str, day: str, **vitals: float) -> dict[str, Any]:
    return {
        "id": f"c-{id_}",
        "date": day,
        "patient": {"age_years": 52, "sex": "male", "weight_kg": 80, "height_cm": 170},
        "note": "comes for the blood pressure",
        "vitals": vitals,
        "conditions": ["hypertension"],
        "medications": [{"name": "amlodipine", "dose_mg": 5}],
        "allergies": ["penicillin"],
        "answers": {
            "cardiovascular_disease": "no",
            "previous_stroke": "no",
            "previous_myocardial_infarction": "no",
            "chronic_kidney_disease": "no",
            "diabetes": "no",
            "smoker": "yes",
            "hypertensive_emergency_symptoms": "no",
        },
    }


@dataclass
class Browser:
    """A browser with its cookies. Each request has an event loop of its own."""

    app: Starlette
    cookies: httpx.Cookies

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url=ORIGIN, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **parts)
                self.cookies = client.cookies
                return answer

        return asyncio.run(asked())

    def get(self, path: str, **parts: Any) -> httpx.Response:
        return self.request("GET", path, **parts)

    def post(self, path: str, **parts: Any) -> httpx.Response:
        return self.request("POST", path, **parts)


@dataclass
class Tablet:
    """A tablet on which somebody is signed in, and the records behind it."""

    post: Post
    client: Browser
    surname: str = ""
    her: str = ""
    other: str = ""
    unnamed: str = ""

    def get(self, path: str, **query: str) -> httpx.Response:
        return self.client.get(path, params=query or None, headers={"accept": "text/html"})

    def send(self, path: str, **form: str) -> httpx.Response:
        csrf = self.client.get("/state").json()["csrf"]
        headers = {"origin": ORIGIN, "accept": "text/html"}
        return self.client.post(path, data={"csrf": csrf, **form}, headers=headers)

    def sign_in(self, role: str) -> Tablet:
        self.send("/sign-out")
        assert self.send("/sign-in", user=f"the-{role}", pin=PINS[role]).status_code == 303
        return self

    def store(self, work: Callable[[Store], Done]) -> Done:
        return asyncio.run(self.post.records(lambda kept: work(kept.opened())))

    def entries(self, kind: str, patient: str | None = None) -> list[Recorded]:
        return self.store(lambda store: [*store.entries(kind=kind, patient=patient)])

    def consulted(self, patient: str, case: dict[str, Any]) -> int:
        """Recorded as a consultation on the page is."""

        async def work() -> int | None:
            found = await self.post.engine(lambda box: answered(box, Came(json.dumps(case).encode(), {})))
            person = await self.post.records(lambda kept: kept.opened().person(patient))
            kept = await self.post.records(lambda kept: keep(kept, found, person, "the-nurse", known=True))
            return kept.assessment

        index = asyncio.run(work())
        assert index is not None
        return index


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    made = opened_post(tmp_path_factory.mktemp("patients"), terminology_home)

    def people(store: Store) -> None:
        add(store, PASSPHRASE, "The supervisor", "supervisor", PINS["supervisor"])
        for role in ("nurse", "clinician", "auditor"):
            add(store, "the-supervisor", f"The {role}", role, PINS[role])  # type: ignore[arg-type]

    asyncio.run(made.records(lambda kept: people(kept.opened())))
    yield made
    made.close()


@pytest.fixture(scope="module")
def app(post: Post) -> Starlette:
    fast = Pace(1e9, 1e9)
    return create_app(post, any_pace=fast, keys_pace=fast)


_NUMBERS = itertools.count()


@pytest.fixture
def tablet(post: Post, app: Starlette) -> Tablet:
    """With a nurse, and patients whom no other test knows."""
    number = next(_NUMBERS)
    word = "".join(chr(ord("a") + digit) for digit in divmod(number, 26))
    made = Tablet(post, Browser(app, httpx.Cookies()), f"Ingabire{word}")
    made.her, made.other, made.unnamed = (f"p-{name}-{number:05}" for name in ("her", "other", "unnamed"))

    def patients(store: Store) -> None:
        store.admit(Person(made.her, f"Béatrice {made.surname}", "1974-03-02", "male", "Huye"), "the-nurse")
        store.admit(Person(made.other, f"Bosco {made.surname}", "2001", "male"), "the-nurse")
        store.admit(Person(made.unnamed, f"unregistered {number:06}"), "unknown")

    made.store(patients)
    made.sign_in("nurse")
    for day, numbers in VISITS.items():
        made.consulted(made.her, case_of(f"{number:04}-{day}", day, **numbers))
    return made


VISITS = {
    "2026-03-02": {"systolic_mmhg": 152, "diastolic_mmhg": 96, "temperature_c": 36.6},
    "2026-06-01": {"systolic_mmhg": 131, "diastolic_mmhg": 84, "heart_rate_bpm": 80},
}


def last_assessment(tablet: Tablet) -> int:
    return tablet.entries("assessment", tablet.her)[-1].index


# --- finding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["{} beatrice", "BÉATRICE {}", "  béa  {} "])
def test_a_patient_is_found_by_parts_of_her_name_whatever_accents_and_capitals(
    tablet: Tablet, name: str
) -> None:
    name = name.format(tablet.surname)
    page = tablet.send("/patients", name=name).text
    assert f"Béatrice {tablet.surname}" in page
    assert "born 1974-03-02" in page
    assert "Huye" in page
    assert f'data-patient="{tablet.her}"' in tablet.send("/patients/find", name=name).text


def test_a_search_is_one_entry_however_many_it_shows_and_keeps_no_name(tablet: Tablet) -> None:
    before = len(tablet.entries("search"))
    tablet.send("/patients/find", name=tablet.surname)
    entries = tablet.entries("search")
    assert len(entries) == before + 1
    body = (entries[-1].body or b"").decode()
    assert {f"Patient/{tablet.her}", f"Patient/{tablet.other}"} <= set(re.findall(r"Patient/[\w-]+", body))
    assert "ngabire" not in body
    assert entries[-1].by == "the-nurse"
    assert entries[-1].patient == ""


def test_a_search_is_an_audit_event_of_fhir(tablet: Tablet) -> None:
    from fhir.resources.R4B.auditevent import AuditEvent

    tablet.send("/patients/find", name=tablet.surname)
    event = AuditEvent.model_validate_json(tablet.entries("search")[-1].body or b"")
    assert event.meta.profile[0].endswith("IHE.BasicAudit.Query")
    assert event.action == "E"


def test_whoever_asks_who_saw_her_learns_of_searches_too(tablet: Tablet) -> None:
    tablet.send("/patients/find", name=f"Bosco {tablet.surname}")
    assert tablet.store(lambda store: searches_of(store, tablet.other))[-1].by == "the-nurse"
    last = tablet.store(lambda store: searches_of(store, tablet.her))
    tablet.send("/patients/find", name=f"Bosco {tablet.surname}")
    assert tablet.store(lambda store: searches_of(store, tablet.her)) == last


def test_an_empty_or_hostile_name_finds_nobody(tablet: Tablet) -> None:
    assert "data-patient" not in tablet.send("/patients/find", name=" ").text
    page = tablet.send("/patients", name=f"{EVIL} nobody")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "Nobody of that name" in page.text
    assert tablet.send("/patients", name="x" * 201).status_code == 422


def test_an_auditor_finds_no_patient(tablet: Tablet) -> None:
    tablet.sign_in("auditor")
    for path in (
        "/patients",
        f"/patients/{tablet.her}",
        f"/patients/{tablet.her}/card",
    ):
        answer = tablet.client.get(path)
        assert answer.status_code == 403, path
        assert "Béatrice" not in answer.text
    assert tablet.send("/patients/find", name="Ingabire").status_code == 403


def test_nobody_signed_in_reads_nothing(tablet: Tablet) -> None:
    tablet.send("/sign-out")
    for path in (f"/patients/{tablet.her}/card", f"/follow-up/{tablet.her}"):
        assert tablet.client.get(path).status_code == 401, path
    assert tablet.send("/patients/find", name="Ingabire").status_code == 401


def test_a_name_that_is_searched_for_stands_in_no_address(tablet: Tablet) -> None:
    assert tablet.get("/patients/find", name=tablet.surname).status_code == 422, "taken for an id"
    assert tablet.surname not in tablet.get("/patients", name=tablet.surname).text


# --- reading ----------------------------------------------------------------------------------------


def test_a_history_shows_each_consultation_and_the_read_comes_first(tablet: Tablet) -> None:
    before = len(tablet.store(lambda store: who_read(store, tablet.her)))
    page = tablet.get(f"/patients/{tablet.her}").text
    for text in (tablet.surname, "penicillin", "hypertension", "amlodipine 5 mg", "2026-03-02"):
        assert text in page
    assert f'href="/consultation/{last_assessment(tablet)}"' in page
    reads = tablet.store(lambda store: who_read(store, tablet.her))
    assert len(reads) == before + 1
    assert (reads[-1].by, reads[-1].why) == ("the-nurse", "history opened")


def test_a_measurement_over_time_has_a_drawing_and_its_numbers_beside(tablet: Tablet) -> None:
    page = tablet.get(f"/patients/{tablet.her}").text
    figure = next(
        part for part in page.split("<figure") if part.count("systolic blood pressure") and "<svg" in part
    )
    assert 'role="img"' in figure
    assert "<td>152</td><td>96</td>" in figure
    assert "<td>131</td><td>84</td>" in figure
    assert 'style="' not in page


def test_who_read_is_shown_to_a_supervisor_only(tablet: Tablet) -> None:
    assert "Who read this record" not in tablet.get(f"/patients/{tablet.her}").text
    page = tablet.sign_in("supervisor").get(f"/patients/{tablet.her}").text
    assert "Who read this record" in page
    assert "history opened" in page


def test_an_unknown_patient_is_refused_with_words(tablet: Tablet) -> None:
    answer = tablet.client.get("/patients/p-nobody-at-all")
    assert answer.status_code == 422
    assert "unknown or erased" in answer.json()["error"]


def test_a_card_fills_a_new_consultation_with_what_stays_true(tablet: Tablet) -> None:
    fields = tablet.client.get(f"/patients/{tablet.her}/card").json()["fields"]
    years = TODAY.year - 1974 - ((TODAY.month, TODAY.day) < (3, 2))
    assert fields["person.name"] == f"Béatrice {tablet.surname}"
    assert (fields["age"], fields["age_unit"]) == (str(years), "age_years")
    assert fields["allergies"] == "penicillin"
    assert fields["medications"] == "amlodipine"
    assert fields["conditions"] == "hypertension"
    assert tablet.entries("read", tablet.her)


def test_a_card_dates_every_allergy_that_was_ever_named(tablet: Tablet) -> None:
    path, case = f"/patients/{tablet.her}/card", case_of(f"{tablet.her}-later", "2026-09-01")
    hers = {"name": "penicillin", "day": "2026-06-01"}
    assert tablet.client.get(path).json()["allergies"] == {"asked": "2026-06-01", "named": [hers]}
    tablet.consulted(tablet.her, case | {"allergies": ["eggs"]})
    eggs = {"name": "eggs", "day": "2026-09-01"}
    assert tablet.client.get(path).json()["allergies"] == {"asked": "2026-09-01", "named": [eggs, hers]}


def test_a_card_does_not_say_none_where_nobody_asked(tablet: Tablet) -> None:
    answer = tablet.client.get(f"/patients/{tablet.other}/card").json()
    assert answer["allergies"] is None
    fields = answer["fields"]
    assert fields["allergies"] is None
    assert fields["medications"] is None


@pytest.mark.parametrize(
    ("born", "age"),
    [
        ("2026-11-20", ("age_days", 9)),
        ("2026-09-20", ("age_months", 2)),
        ("2021-12-01", ("age_months", 59)),
        ("2021-11-29", ("age_years", 5)),
        ("1990-12", ("age_years", 35)),
        ("1990", ("age_years", 35)),
        ("2023", None),
        ("2027-01-01", None),
        ("soon", None),
        ("2026-02-30", None),
    ],
)
def test_an_age_is_never_more_exact_than_the_birth(born: str, age: tuple[str, float] | None) -> None:
    assert age_today(born, None, datetime.date(2026, 11, 29)) == age


def test_a_small_childs_age_in_whole_years_is_asked_again() -> None:
    coarse = Case("c", patient=Patient(age_years=2)), "2026-10-01"
    fine = Case("c", patient=Patient(age_months=26)), "2026-10-01"
    grown = Case("c", patient=Patient(age_years=30)), "2024-11-29"
    day = datetime.date(2026, 11, 29)
    assert age_today("", coarse, day) is None
    assert age_today("", fine, day) == ("age_months", 27)
    assert age_today("", grown, day) == ("age_years", 31)


def test_a_single_value_is_told_and_not_drawn() -> None:
    (one,) = drawings([Line("weight", "kg", ((datetime.date(2026, 1, 1), 12.0),))])
    assert one.curves == ()
    assert one.rows == (("2026-01-01", ("12",)),)


# --- naming, outcome, correction --------------------------------------------------------------------


def test_who_was_helped_without_a_name_gets_hers(tablet: Tablet) -> None:
    path = f"/patients/{tablet.unnamed}"
    assert "before anybody asked for her name" in tablet.get(path).text
    answer = tablet.send(
        f"{path}/particulars", name=f"Ange Uwase {tablet.surname}", born="1990-05", sex="female", place="Huye"
    )
    assert answer.status_code == 303
    page = tablet.get(path).text
    assert "Ange Uwase" in page
    assert "before anybody asked" not in page
    assert tablet.unnamed in tablet.send("/patients/find", name=f"uwase ange {tablet.surname}").text


@pytest.mark.parametrize(("field", "value"), [("born", "5 May"), ("sex", "f"), ("name", " ")])
def test_particulars_that_cannot_be_are_refused(tablet: Tablet, field: str, value: str) -> None:
    form = {"name": "Bosco", "born": "2001", "sex": "male", "place": "", field: value}
    assert tablet.send(f"/patients/{tablet.other}/particulars", **form).status_code == 422
    assert tablet.store(lambda store: store.person(tablet.other)).born == "2001"


def test_a_hostile_name_comes_back_escaped_everywhere(tablet: Tablet) -> None:
    tablet.send(f"/patients/{tablet.unnamed}/particulars", name=EVIL, born="", sex="", place=EVIL)
    index = tablet.consulted(
        tablet.unnamed, {"id": f"c-{tablet.unnamed}", "note": EVIL, "conditions": [EVIL]}
    )
    base = f"/patients/{tablet.unnamed}"
    for path in ("", "/particulars", "/consent", "/export", f"/print/{index}", f"/outcome/{index}"):
        page = tablet.get(base + path)
        assert page.status_code == 200, path
        assert "<script>alert" not in page.text
    assert "<script>alert" not in tablet.send("/patients", name="script").text
    assert tablet.get(f"/follow-up/{tablet.unnamed}").status_code == 200


def test_an_outcome_says_what_of_the_advice_was_right_and_wrong(tablet: Tablet) -> None:
    index = last_assessment(tablet)
    page = tablet.get(f"/patients/{tablet.her}/outcome/{index}").text
    names = re.findall(r'name="name\.(\d+)" value="([^"]+)"', page)
    assert names[0][1].startswith("triage.level: ")
    given = {f"name.{number}": item for number, item in names}
    told = {"what": "well three months later", "source": "visit", "level": "green"}
    answer = tablet.send(
        f"/patients/{tablet.her}/outcome/{index}", **told, **given, **{"item.1": "wrong", "item.2": "right"}
    )
    assert answer.status_code == 303
    (outcome,) = tablet.store(lambda store: outcomes_of(store, index))
    assert outcome.outcome.refuted == (names[0][1],)
    assert outcome.outcome.borne_out == (names[1][1],)
    assert "well three months later" in tablet.get(f"/patients/{tablet.her}").text


def test_an_outcome_of_another_patients_assessment_is_refused(tablet: Tablet) -> None:
    index = last_assessment(tablet)
    assert tablet.client.get(f"/patients/{tablet.other}/outcome/{index}").status_code == 422
    assert tablet.send(f"/patients/{tablet.other}/outcome/{index}", what="she is well").status_code == 422


def test_a_corrected_value_is_shown_and_what_came_stays(tablet: Tablet) -> None:
    case = tablet.entries("case", tablet.her)[0]
    path = f"/patients/{tablet.her}/correction/{case.index}"
    assert "systolic blood pressure (mmHg): 152" in tablet.get(path).text
    form = {"field": "vitals.systolic_mmhg", "value": "142", "why": "misread the dial"}
    assert tablet.send(path, **form).status_code == 303
    page = tablet.get(f"/patients/{tablet.her}").text
    assert "Corrected after this assessment: assess again." in page
    assert "systolic blood pressure: 152 → <strong>142</strong> mmHg" in page
    assert "<td>142</td><td>96</td>" in page
    assert tablet.entries("case", tablet.her)[0].body == case.body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vitals.systolic_mmhg", "1420"),
        ("vitals.systolic_mmhg", "high"),
        ("id", "x"),
        ("vitals.__class__", "1"),
    ],
)
def test_a_correction_that_no_case_can_hold_is_refused(tablet: Tablet, field: str, value: str) -> None:
    index = tablet.entries("case", tablet.her)[0].index
    form = {"field": field, "value": value, "why": "a slip of the key"}
    before = len(tablet.entries("correction", tablet.her))
    assert tablet.send(f"/patients/{tablet.her}/correction/{index}", **form).status_code == 422
    assert len(tablet.entries("correction", tablet.her)) == before


def test_what_was_entered_for_another_patient_is_not_shown_as_hers(tablet: Tablet) -> None:
    index = tablet.consulted(
        tablet.other, {"id": f"c-{tablet.other}", "conditions": ["epilepsy"], "date": "2026-01-05"}
    )
    case = tablet.entries("case", tablet.other)[-1].index
    form = {"field": "patient id", "value": tablet.her, "why": "wrong card taken"}
    assert tablet.send(f"/patients/{tablet.other}/correction/{case}", **form).status_code == 303
    page = tablet.get(f"/patients/{tablet.other}").text
    assert "entered here by mistake" in page
    assert "epilepsy" not in page
    assert tablet.client.get(f"/patients/{tablet.other}/card").json()["fields"]["conditions"] is None
    for path in ("print", "outcome"):
        assert tablet.client.get(f"/patients/{tablet.other}/{path}/{index}").status_code == 422


def test_typed_values_become_what_a_case_holds() -> None:
    assert value_of("medications", "amlodipine 5 mg, paracetamol") == [
        {"name": "amlodipine", "dose_mg": 5.0},
        {"name": "paracetamol"},
    ]
    assert medicines_of([]) == []
    assert value_of("allergies", "none") == []
    assert value_of("allergies", "") is None
    with pytest.raises(InputError, match=r"vitals\.spo2_percent: expected a number"):
        value_of("vitals.spo2_percent", "93 %")


# --- consent ----------------------------------------------------------------------------------------


def test_each_language_of_the_page_has_a_text_for_each_purpose() -> None:
    for language in languages():
        shown_texts = newest(language)
        assert tuple(text.purpose for text in shown_texts) == PURPOSES
        assert {text.review for text in shown_texts} == {"not reviewed by a lawyer or a clinician"}
    assert len({text.sha256 for text in texts()}) == len(texts())


@pytest.mark.parametrize("language", ["en", "fr", "sw", "rw", "zh"])
def test_the_very_text_on_the_screen_is_what_the_log_keeps_the_hash_of(tablet: Tablet, language: str) -> None:
    page = tablet.get(f"/patients/{tablet.other}/consent", lang=language).text
    section = page.split('id="h-export"')[1]
    text = re.search(r'<p class="shown" lang="\w+">(.*?)</p>', section, re.DOTALL)
    digest = re.search(r'name="sha256" value="([0-9a-f]{64})"', section)
    assert text
    assert digest
    plain = text[1].replace("&#39;", "'").replace("&#34;", '"').replace("&amp;", "&")
    assert sha256(plain.encode()).hexdigest() == digest[1]
    form = {"purpose": "export", "language": language, "sha256": digest[1], "who": "patient"}
    assert tablet.send(f"/patients/{tablet.other}/consent/give", **form).status_code == 303
    said = msgspec.json.decode(tablet.entries("consent", tablet.other)[-1].body or b"", type=Consent)
    assert said.shown.sha256 == digest[1]
    assert said.shown.language == language
    kept = text_of(said.shown.sha256)
    assert kept is not None
    assert kept.text == plain


def test_a_text_that_is_not_on_the_page_any_more_is_agreed_to_by_nobody(tablet: Tablet) -> None:
    form = {"purpose": "sharing", "language": "en", "sha256": "0" * 64}
    assert tablet.send(f"/patients/{tablet.other}/consent/give", **form).status_code == 422
    assert not tablet.store(lambda store: may(store, tablet.other, "sharing", 0)).yes


def _text(purpose: str) -> dict[str, str]:
    text = next(text for text in newest("en") if text.purpose == purpose)
    return {"purpose": purpose, "language": "en", "sha256": text.sha256}


def test_a_guardian_agrees_with_her_relation_until_a_day(tablet: Tablet) -> None:
    path = f"/patients/{tablet.other}/consent/give"
    assert tablet.send(path, **_text("training"), who="guardian").status_code == 422
    until = (TODAY + datetime.timedelta(days=30)).isoformat()
    form = {**_text("training"), "who": "guardian", "relation": "mother", "until": until}
    assert tablet.send(path, **form).status_code == 303
    page = tablet.get(f"/patients/{tablet.other}/consent").text
    assert "guardian (mother)" in page
    assert f"until {until}" in page
    assert tablet.send(path, **{**form, "until": "2020-01-01"}).status_code == 422


def test_what_was_given_is_taken_back_at_once(tablet: Tablet) -> None:
    path = f"/patients/{tablet.other}/consent"
    tablet.send(f"{path}/give", **_text("sharing"))
    assert tablet.store(lambda store: may(store, tablet.other, "sharing", 2**50)).yes
    assert tablet.send(f"{path}/withdraw", **_text("sharing"), because="thought again").status_code == 303
    assert not tablet.store(lambda store: may(store, tablet.other, "sharing", 2**50)).yes
    assert "withdrawn by the patient" in tablet.get(path).text
    assert tablet.send(f"{path}/forget", **_text("sharing")).status_code == 422


# --- handing out, erasing, printing -----------------------------------------------------------------


def test_a_record_is_handed_out_where_she_agreed_and_refused_with_the_reason_where_not(
    tablet: Tablet,
) -> None:
    tablet.sign_in("supervisor")
    form = {"to": "Huye hospital", "why": "referral"}
    answer = tablet.send(f"/patients/{tablet.her}/export", **form)
    assert answer.status_code == 422
    assert "nobody agreed to export" in answer.text
    assert tablet.entries("export-refused", tablet.her)
    tablet.store(
        lambda store: give(
            store, tablet.her, "the-nurse", Consent(("export",), By("patient"), shown("t", "1", "en")), 0
        )
    )
    answer = tablet.send(f"/patients/{tablet.her}/export", **form)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["content-disposition"] == f'attachment; filename="patient-{tablet.her}.json"'
    assert answer.json()["resourceType"] == "Bundle"
    (exported,) = tablet.entries("exported", tablet.her)
    assert json.loads(exported.body or b"")["sha256"] == sha256(answer.content).hexdigest()


def test_a_nurse_hands_nothing_out_without_breaking_the_glass(tablet: Tablet) -> None:
    form = {"to": "Huye hospital", "why": "referral"}
    assert tablet.send(f"/patients/{tablet.her}/export", **form).status_code == 403
    assert "data-glass" in tablet.get(f"/patients/{tablet.her}/export").text
    glass = {"action": "export", "patient": tablet.her, "reason": "transfer at night, no supervisor here"}
    assert tablet.send("/glass", **glass).status_code == 200
    assert "nobody agreed to export" in tablet.send(f"/patients/{tablet.her}/export", **form).text
    tablet.send(f"/patients/{tablet.her}/consent/give", **_text("export"))
    assert tablet.send(f"/patients/{tablet.her}/export", **form).status_code == 200


def test_erasing_takes_her_name_and_leaves_nothing_readable(tablet: Tablet) -> None:
    id_ = "p-to-erase-001"
    tablet.store(lambda store: store.admit(Person(id_, "Zawadi Neema", "1980"), "the-nurse"))
    tablet.consulted(id_, {"id": "c-erase-00001", "note": "cough"})
    assert tablet.send(f"/patients/{id_}/erase", name="Zawadi Neema", why="asked for it").status_code == 403
    tablet.sign_in("supervisor")
    path = f"/patients/{id_}/erase"
    for form in ({"name": "Zawadi", "why": "asked for it"}, {"name": "Zawadi Neema", "why": " "}):
        assert tablet.send(path, **form).status_code == 422
    named = tablet.send(path, name="Zawadi Neema", why="Zawadi Neema asked for it")
    assert named.status_code == 422
    assert tablet.store(lambda store: store.person(id_)).name == "Zawadi Neema"
    assert tablet.send(path, name="zawadi neema", why="asked for it").status_code == 200
    assert tablet.client.get(f"/patients/{id_}").status_code == 422
    assert "Zawadi" not in tablet.send("/patients", name="neema zawadi").text.split('id="found"')[1]
    assert all(entry.body is None for entry in tablet.entries("case", id_))


def test_who_is_erased_while_somebody_reads_is_erased_and_the_page_says_what_is_left(tablet: Tablet) -> None:
    key = tablet.store(lambda store: store.key)
    tablet.store(lambda store: store._file.execute("PRAGMA busy_timeout = 50"))
    with closing(Store(tablet.post.settings.home, key, lambda: 0, read_only=True)) as reader:
        entries = reader.entries()
        next(entries)
        tablet.sign_in("supervisor")
        page = tablet.send(
            f"/patients/{tablet.other}/erase", name=f"Bosco {tablet.surname}", why="asked for it"
        )
        entries.close()
    assert page.status_code == 200
    assert "Nothing of this patient can be read" in page.text
    tablet.store(lambda store: store._file.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}"))
    assert "Somebody is reading the file now" in page.text
    assert tablet.client.get(f"/patients/{tablet.other}").status_code == 422


def test_a_letter_says_who_signed_where_it_stands_and_that_nobody_reviewed_it(tablet: Tablet) -> None:
    index = last_assessment(tablet)
    leaf = tablet.store(lambda store: store.node(0, index)).hex()
    page = tablet.get(f"/patients/{tablet.her}/print/{index}", kind="letter").text
    sheet = page.split('<article class="sheet a4"')[1]
    for text in (
        "NOT SIGNED",
        "Not reviewed by a clinician",
        f"entry {index} of the log",
        leaf,
        "penicillin",
        "131 mmHg",
    ):
        assert text in sheet
    tablet.sign_in("clinician")
    signed = {"patient": tablet.her, "choice": "refuse", "reason": "the patient is somebody else"}
    assert tablet.send(f"/consultation/{index}/decide", **signed).status_code == 303
    sheet = tablet.get(f"/patients/{tablet.her}/print/{index}").text
    assert "NOT SIGNED" not in sheet
    assert "by the-clinician (clinician)" in sheet
    assert "do not follow it" in sheet


def test_a_plan_is_in_her_language_on_a_strip(tablet: Tablet) -> None:
    index = last_assessment(tablet)
    page = tablet.get(f"/patients/{tablet.her}/print/{index}", kind="plan", paper="receipt", lang="fr").text
    sheet = page.split('<article class="sheet receipt" lang="fr"')[1]
    assert "À FAIRE" in sheet
    assert "Traduit par les créateurs de la boîte" in sheet
    assert tablet.client.get(f"/patients/{tablet.her}/print/{index}?lang=xx").status_code == 422


# --- follow-up --------------------------------------------------------------------------------------


def visit_form(tablet: Tablet) -> tuple[str, dict[str, str]]:
    """The page, and what it would send if nothing was touched."""
    page = tablet.get(f"/follow-up/{tablet.her}").text
    form = page.split("data-follow-up")[1].split("</form>")[0]
    given = dict(re.findall(r'<input name="(medications|allergies)"[^>]*value="([^"]*)"', form))
    given |= dict(re.findall(r'name="(visit)" value="([^"]*)"', form))
    return form, given


def test_a_follow_up_asks_what_the_protocol_asks_and_no_more(tablet: Tablet) -> None:
    form, given = visit_form(tablet)
    asked = set(re.findall(r'name="q\.(\w+)"', form))
    assert {"systolic_mmhg", "diastolic_mmhg", "hypertensive_emergency_symptoms"} <= asked
    assert not asked & {"temperature_c", "spo2_percent", "cough_days", "pregnant", "first_visit"}
    assert given["medications"] == "amlodipine 5 mg"
    assert given["allergies"] == "penicillin"


def test_a_measured_number_is_never_prefilled_and_danger_is_asked_anew(tablet: Tablet) -> None:
    form, _ = visit_form(tablet)
    systolic = re.search(r'<input id="q-systolic_mmhg"[^>]*>', form)
    assert systolic
    assert "value=" not in systolic[0]
    assert "last time: 131" in form
    same = set(re.findall(r'data-same="q\.(\w+)"', form))
    assert {"diabetes", "previous_stroke"} <= same
    assert "hypertensive_emergency_symptoms" not in same
    assert "systolic_mmhg" not in same
    checked = re.findall(r'<input type="radio" name="q\.\w+" value="(\w*)" checked>', form)
    assert set(checked) == {""}


PRESS_S, POINT_S, KEY_S, THINK_S = 0.1, 1.1, 0.28, 1.35
"""B, P, K and M of the Keystroke-Level Model (Card, Moran and Newell 1980), a finger in the mouse's place."""


def test_a_stable_visit_is_tapped_within_13_seconds(tablet: Tablet) -> None:
    """By the model, without measuring, talking and waiting: every field that this form needs is counted."""
    form, given = visit_form(tablet)
    typed = {"q.systolic_mmhg": "126", "q.diastolic_mmhg": "78"}
    anew = re.findall(r"asked-anew.*?</fieldset>", form, re.DOTALL)
    answered_anew = {re.findall(r"q[.]\w+", part)[0]: "no" for part in anew}
    same = {
        f"q.{name}": "no" for name in re.findall(r'data-same="q\.(\w+)"', form)
    }  # all were `no` last time
    taps = 1 + len(typed) + len(answered_anew) + 1 + 1  # open, fields, answers, all as last time, record
    keys = sum(map(len, typed.values()))
    thought = len(typed) + len(answered_anew)
    assert taps * (POINT_S + PRESS_S) + keys * KEY_S + thought * THINK_S <= 13

    answer = tablet.send(f"/follow-up/{tablet.her}", **given, **typed, **same, **answered_anew)
    assert answer.status_code == 303
    page = tablet.get(answer.headers["location"]).text
    assert "Compared with last time (2026-06-01)" in page
    assert "131 → <strong>126</strong>" in page
    assert "lower" in page
    assert "heart rate (80)" in page.split("Not taken now")[1]
    assert "continue amlodipine: 5 mg" in " ".join(page.split())
    assert "follow-up" in page


def test_a_visit_sent_twice_is_recorded_once(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    form = {**given, "q.systolic_mmhg": "128", "q.diastolic_mmhg": "80"}
    first, second = (tablet.send(f"/follow-up/{tablet.her}", **form).headers["location"] for _ in range(2))
    assert first == second


def test_a_visit_with_a_slip_is_asked_back_and_nothing_is_recorded(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    before = len(tablet.entries("assessment", tablet.her))
    for form in ({"q.systolic_mmhg": "1280"}, {"q.diabetes": "perhaps"}, {"visit": "c-1"}):
        assert tablet.send(f"/follow-up/{tablet.her}", **{**given, **form}).status_code == 422
    assert len(tablet.entries("assessment", tablet.her)) == before


def test_what_another_nurse_typed_is_not_recorded_for_her_who_is_here(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    before = len(tablet.entries("assessment", tablet.her))
    answer = tablet.send(f"/follow-up/{tablet.her}", **given, owner="the-clinician")
    assert answer.status_code == 401
    assert len(tablet.entries("assessment", tablet.her)) == before
    assert (
        "/visit/" in tablet.send(f"/follow-up/{tablet.her}", **given, owner="the-nurse").headers["location"]
    )


def test_a_visit_that_is_sent_days_later_is_of_the_day_of_its_form(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    day = TODAY - datetime.timedelta(days=3)
    form = {**given, "visit": f"c-{day:%Y%m%d}-{given['visit'][-10:]}", "q.systolic_mmhg": "212"}
    assert tablet.send(f"/follow-up/{tablet.her}", **form).status_code == 303
    case = json.loads(tablet.entries("case", tablet.her)[-1].body or b"")
    assert case["date"] == day.isoformat()
    assert form["visit"] not in tablet.get("/queue").text, "she was seen days ago"
    tomorrow = TODAY + datetime.timedelta(days=1)
    for wrong in (f"c-{tomorrow:%Y%m%d}-0123456789", "c-20261341-0123456789"):
        assert tablet.send(f"/follow-up/{tablet.her}", **{**given, "visit": wrong}).status_code == 422


def test_an_answer_to_what_is_not_asked_any_more_is_asked_back_and_not_dropped(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    path = f"/follow-up/{tablet.her}"
    assert tablet.send(path, **given, **{"q.foot_ulcer": "yes"}).status_code == 422
    assert tablet.send(path, **given, **{"q.foot_ulcer": ""}).status_code == 303


def test_both_ends_take_the_same_words_for_an_empty_list() -> None:
    script = (STATIC / "sending.js").read_text("utf-8")
    (words, separators), *_ = re.findall(r"\^\(([^)]+)\)\\\.\?\$/i.*?split\(/(\[[^]]+\])/", script)
    assert set(words.split("|")) == set(NONE)
    assert separators == SEPARATORS


def test_a_grave_number_at_a_follow_up_is_red_and_waits_in_the_queue(tablet: Tablet) -> None:
    _, given = visit_form(tablet)
    form = {"q.systolic_mmhg": "212", "q.diastolic_mmhg": "124", "q.hypertensive_emergency_symptoms": "yes"}
    page = tablet.get(tablet.send(f"/follow-up/{tablet.her}", **{**given, **form}).headers["location"]).text
    assert 'data-level="red"' in page
    before = len(tablet.entries("search"))
    for _ in range(3):
        queue = tablet.get("/queue/rows").text
        assert given["visit"] in queue
        assert f"Béatrice {tablet.surname}" in queue
    (shown,) = tablet.entries("search")[before:]
    assert f"Patient/{tablet.her}".encode() in (shown.body or b""), "written down once a session"
    tablet.sign_in("auditor")
    assert given["visit"] in tablet.get("/queue").text
    assert "Béatrice" not in tablet.get("/queue").text
    tablet.send("/sign-out")
    assert "Béatrice" not in tablet.get("/queue").text


def test_a_screen_that_renews_itself_keeps_no_session_open(tablet: Tablet) -> None:
    def used() -> bytes | None:
        return tablet.store(lambda store: store.recall(sessions._SESSIONS))

    tablet.get("/queue")
    before = used()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "TOUCH_S", 0.0)
        tablet.get("/queue/rows")
        assert used() == before
        tablet.get("/queue")
        assert used() != before


def test_a_patient_without_a_long_illness_has_no_follow_up_form(tablet: Tablet) -> None:
    assert "data-follow-up" not in tablet.get(f"/follow-up/{tablet.other}").text


def test_a_follow_up_needs_somebody_who_records(tablet: Tablet) -> None:
    tablet.sign_in("supervisor")
    assert tablet.client.get(f"/follow-up/{tablet.her}").status_code == 403


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ("diabetes", "foot_ulcer"),
        ("asthma", "daytime_symptoms_per_week"),
        ("copd", "exacerbation"),
        ("epilepsy", "adherence"),
        ("hiv", "night_sweats"),
        ("tuberculosis", "tb_phase"),
    ],
)
def test_each_long_illness_has_its_own_questions(tablet: Tablet, condition: str, asked: str) -> None:
    case = {"id": f"c-{tablet.other}", "patient": {"age_years": 40}, "conditions": [condition]}
    tablet.consulted(tablet.other, case)
    form = tablet.get(f"/follow-up/{tablet.other}").text
    assert f'name="q.{asked}"' in form
    assert "not reviewed by a clinician" in form


def test_a_diagnosis_goes_on_and_its_absence_is_asked_again(tablet: Tablet) -> None:
    case = case_of(tablet.other, "2026-07-01", systolic_mmhg=128, diastolic_mmhg=80)
    case["answers"] |= {"diabetes": "yes"}
    tablet.consulted(tablet.other, case)
    form = tablet.get(f"/follow-up/{tablet.other}").text
    assert 'name="q.diabetes"' not in form
    assert 'name="q.previous_stroke"' in form
    assert "HEARTS-D" in form
    assert "Does the patient have diabetes (diagnosed)?" in form.split("taken on:")[1].split("</p>")[0]


def test_a_patient_who_refuses_care_is_not_followed_up(tablet: Tablet) -> None:
    tablet.send(f"/patients/{tablet.her}/consent/withdraw", **_text("care"))
    _, given = visit_form(tablet)
    before = len(tablet.entries("assessment", tablet.her))
    answer = tablet.send(f"/follow-up/{tablet.her}", **given)
    assert answer.status_code == 422
    assert "refuse" in answer.text
    assert len(tablet.entries("assessment", tablet.her)) == before


def test_while_the_box_is_locked_nobody_is_shown(tablet: Tablet) -> None:
    from door_bench import PASSPHRASE as TODAYS

    tablet.send("/lock")
    try:
        for path in ("/patients", f"/patients/{tablet.her}", f"/follow-up/{tablet.her}"):
            answer = tablet.client.get(path)
            assert answer.status_code == 423, path
            assert "Béatrice" not in answer.text
    finally:
        asyncio.run(tablet.post.unlock(TODAYS))
