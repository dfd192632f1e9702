"""Patients on the tablet: found, read, named, corrected."""

# ruff: noqa: F401, F811 - the fixtures of patient_bench are imported by name

from __future__ import annotations

import datetime
import re

import pytest
from patient_bench import EVIL, TODAY, Tablet, app, case_of, last_assessment, post, tablet

from akazuba.errors import InputError
from akazuba.governance.audit_reads import searches_of, who_read
from akazuba.governance.decisions import outcomes_of
from akazuba.records import Case, Patient
from akazuba.web.patient_charts import drawings
from akazuba.web.patient_deeds import medicines_of, value_of
from akazuba.web.patient_view import Line, age_today

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
