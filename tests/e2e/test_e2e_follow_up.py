"""A chronic patient's follow-up on a tablet: what is typed outlives the Wi-Fi, the session and the page."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tablets import PINS, Served, Tablet, until

pytestmark = pytest.mark.enable_socket

SEND_CASE = """async ([given, person]) => {
  const sent = new FormData();
  const fields = { case: given, person, keep: "yes", owner: box.user };
  for (const [name, value] of Object.entries(fields)) sent.set(name, value);
  await box.post("/consultation/assess", sent);
}"""
NAMES = iter(("Ada", "Berta", "Celine", "Dora", "Esther", "Flora", "Gloria"))


def her_form(tablet: Tablet, who: str = "chantal-uwimana") -> str:
    """A patient with hypertension, whom a nurse has before her; her id."""
    name = next(NAMES)
    id_ = f"p-{name.lower()}-0001"
    case = {
        "id": f"c-{name.lower()}-0001",
        "date": "2026-06-01",
        "patient": {"age_years": 52, "sex": "female"},
        "conditions": ["hypertension"],
        "vitals": {"systolic_mmhg": 131, "diastolic_mmhg": 84},
        "medications": [{"name": "amlodipine", "dose_mg": 5}],
        "allergies": [],
        "language": "en",
    }
    tablet.sign_in(who)
    person = {"id": id_, "name": f"{name} Uwase", "sex": "female", "born": "1974-03-02"}
    tablet.page.evaluate(SEND_CASE, [json.dumps(case), json.dumps(person)])
    opened(tablet, id_)
    return id_


def opened(tablet: Tablet, id_: str) -> None:
    tablet.open(f"/follow-up/{id_}")
    tablet.page.wait_for_selector("[data-follow-up][data-ready]")


def typed(tablet: Tablet, systolic: str = "128") -> str:
    """The id of the draft, once it is kept."""
    page = tablet.page
    page.fill("[name='q.systolic_mmhg']", systolic)
    page.fill("[name='q.diastolic_mmhg']", "80")
    until(page, "drafts.get(draft.id).then((kept) => kept && kept.fields['q.diastolic_mmhg'] === '80')")
    id_: str = page.evaluate("draft.id")
    return id_


def systolic(tablet: Tablet) -> str:
    value: str = tablet.page.locator("[name='q.systolic_mmhg']").input_value()
    return value


def visits(box: Served, visit: str) -> list[Any]:
    known = [(entry.by, msgspec.json.decode(entry.body)) for entry in box.recorded("case")]
    return [(by, case) for by, case in known if case["id"] == visit]


def test_what_was_typed_is_there_after_the_page_was_loaded_again(tablet: Tablet, box: Served) -> None:
    id_ = her_form(tablet)
    visit = typed(tablet)
    tablet.page.reload()
    tablet.page.wait_for_selector("[data-follow-up][data-ready]")
    assert systolic(tablet) == "128"
    opened(tablet, id_)  # from her page, without the draft's id
    assert (tablet.page.evaluate("draft.id"), systolic(tablet)) == (visit, "128")
    tablet.shot("restored")
    tablet.page.click("[data-send]")
    tablet.page.wait_for_url("**/visit/*")
    assert [by for by, _ in visits(box, visit)] == ["chantal-uwimana"]
    assert tablet.page.evaluate("drafts.all()") == []
    opened(tablet, id_)
    assert systolic(tablet) == ""


def test_without_the_box_it_waits_on_the_tablet_and_is_sent_once(tablet: Tablet, box: Served) -> None:
    her_form(tablet)
    visit = typed(tablet, "126")
    tablet.away()
    tablet.page.click("[data-send]")
    tablet.page.wait_for_selector("[data-error]:not([hidden])")
    tablet.shot("away")
    assert "kept on this tablet" in tablet.page.locator("[data-error]").inner_text()
    until(tablet.page, "drafts.get(draft.id).then((kept) => kept.state === 'waiting')")
    assert visits(box, visit) == []
    tablet.back()
    tablet.page.wait_for_url("**/visit/*")
    ((by, case),) = visits(box, visit)
    assert (by, case["vitals"]["systolic_mmhg"]) == ("chantal-uwimana", 126)
    assert tablet.page.evaluate("drafts.all()") == []


def test_what_waits_is_listed_by_name_and_sent_from_another_page(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    her_form(tablet)
    tablet.has_shell()
    visit = typed(tablet)
    tablet.away()
    page.click("[data-send]")
    until(page, "drafts.get(draft.id).then((kept) => kept.state === 'waiting')")
    page.goto(tablet.url)
    page.wait_for_selector("#drafts li")
    assert "Uwase" in page.locator("#drafts").inner_text()
    assert page.locator("#drafts li a").count() == 0, "its page opens only while the box answers"
    tablet.shot("listed")
    tablet.back()
    page.wait_for_selector("#drafts", state="hidden")
    assert len(visits(box, visit)) == 1


def test_an_answer_that_was_lost_leaves_one_visit(tablet: Tablet, box: Served) -> None:
    her_form(tablet)
    visit = typed(tablet)

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    tablet.page.route("**/follow-up/*", lose, times=1)
    tablet.page.click("[data-send]")
    tablet.page.wait_for_selector("[data-error]:not([hidden])")
    tablet.page.wait_for_url("**/visit/*")
    assert len(visits(box, visit)) == 1


def test_a_session_that_is_over_is_opened_again_over_the_form(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    her_form(tablet)
    visit = typed(tablet)
    tablet.context.clear_cookies()
    page.click("[data-send]")
    page.wait_for_selector("#sign-in[open]")
    page.check("#sign-in input[value=chantal-uwimana]")
    page.fill("#sign-in [name=pin]", PINS["chantal-uwimana"])
    page.click("#sign-in button.primary")
    page.wait_for_url("**/visit/*")
    assert [by for by, _ in visits(box, visit)] == ["chantal-uwimana"]


def test_another_nurse_sees_nothing_of_it_and_it_is_there_for_the_one_who_typed_it(
    tablet: Tablet, box: Served
) -> None:
    page = tablet.page
    id_ = her_form(tablet)
    visit = typed(tablet, "147")
    tablet.context.clear_cookies()
    page.click("[data-send]")
    page.wait_for_selector("#sign-in[open]")
    page.check("#sign-in input[value=dr-musa]")
    page.fill("#sign-in [name=pin]", PINS["dr-musa"])
    with page.expect_navigation():
        page.click("#sign-in button.primary")
    page.wait_for_selector("[data-follow-up][data-ready]")
    assert systolic(tablet) == ""
    assert visits(box, visit) == []
    page.goto(f"{tablet.url}/follow-up/{id_}?draft={visit}")
    page.wait_for_selector("[data-follow-up][data-ready]")
    assert systolic(tablet) == ""
    page.goto(tablet.url)
    page.wait_for_selector("#drafts li")
    assert "Uwase" not in page.locator("#drafts").inner_text()
    tablet.sign_in("chantal-uwimana")
    opened(tablet, id_)
    assert systolic(tablet) == "147"


def test_a_picked_patients_allergies_stand_with_their_day_until_she_is_put_back(tablet: Tablet) -> None:
    page = tablet.page
    id_ = her_form(tablet)
    tablet.open(f"/consultation?patient={id_}#patient")
    picked = page.locator("#picked p")
    until(page, "document.querySelector('#picked p').textContent.includes('(2026-06-01)')")
    assert picked.inner_text().endswith("Allergies: none known (2026-06-01)")
    tablet.shot("picked")
    page.click("#picked button")
    assert "2026-06-01" not in picked.inner_text()
