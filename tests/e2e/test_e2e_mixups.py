"""What a tablet shows is of this patient, of what the form holds now, and for whoever is signed in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tablets import PINS, Served, Tablet, until

pytestmark = pytest.mark.enable_socket

NOTE = "runny nose for 2 days"
CALM = {"temperature_c": "36.8", "heart_rate_bpm": "76", "respiratory_rate_bpm": "16"} | {
    "systolic_mmhg": "120",
    "diastolic_mmhg": "76",
    "spo2_percent": "98",
}
KEYS = """async () => {
  const file = await drafts.opened;
  return new Promise((done) => {
    const asked = file.transaction("key").objectStore("key").count();
    asked.onsuccess = () => done(asked.result);
  });
}"""


def begin(tablet: Tablet, name: str, note: str = NOTE, page: Any = None) -> str:
    """A form with a patient who is well; the id of its case."""
    page = page or tablet.page
    page.goto(f"{tablet.url}/consultation#patient")
    page.wait_for_selector("#consultation[data-ready]")
    page.fill("[name='person.name']", name)
    page.fill("[name=age]", "34")
    page.select_option("[name='patient.sex']", "female")
    page.select_option("[name='patient.pregnant']", "false")
    to(page, "note")
    page.fill("[name=note]", note)
    measure(page, CALM)
    until(page, "drafts.get(draft.id).then((kept) => kept && 'vitals.consciousness' in kept.fields)")
    id_: str = page.evaluate("draft.id")
    return id_


def measure(page: Any, values: dict[str, str]) -> None:
    to(page, "vitals")
    for name, value in values.items():
        page.fill(f"[name='vitals.{name}']", value)
    page.select_option("[name='vitals.consciousness']", "alert")


def to(page: Any, step: str) -> None:
    page.click(f".steps a[data-step={step}]")


def assess(page: Any) -> None:
    page.evaluate("location.hash = 'vitals'")
    page.click("#vitals [data-assess]")
    page.wait_for_selector("#answer .assessment:visible")


def keep(page: Any) -> None:
    page.click("#answer [data-keep]")
    page.wait_for_selector("[data-decide]:visible")


def recorded(tablet: Tablet, name: str) -> str:
    """The id of a patient whom the box knows from now on."""
    begin(tablet, name)
    assess(tablet.page)
    keep(tablet.page)
    id_: str = tablet.page.evaluate("draft.person")
    return id_


def pick(page: Any, typed: str, id_: str) -> None:
    to(page, "patient")
    page.fill("[name='person.name']", typed)
    page.click(f"#known [data-patient='{id_}']")
    page.wait_for_selector("#picked button:visible")


def kept_of(box: Served, case_id: str) -> list[tuple[str, str]]:
    """Under which patient a case is kept, and by whom."""
    found = [entry for entry in box.recorded("case") if msgspec.json.decode(entry.body)["id"] == case_id]
    return [(entry.patient, entry.by) for entry in found]


def second_tab(tablet: Tablet) -> Any:
    page = tablet.context.new_page()
    page.on("pageerror", lambda error: tablet.errors.append(str(error)))
    page.goto(tablet.url)
    until(page, "box.state !== null")
    return page


def sign_out(page: Any) -> None:
    page.click("#me summary")
    page.click("#me form[action='/sign-out'] button")
    page.wait_for_url("**/sign-in")


def sign_in(page: Any, who: str) -> None:
    page.check(f"main input[value={who}]")
    page.fill("main [name=pin]", PINS[who])
    page.click("main button.primary")
    until(page, f"drafts.owner === '{who}'")


def sign_in_over(page: Any, who: str) -> None:
    """In the dialog over a page."""
    page.wait_for_selector("#sign-in[open]")
    page.check(f"#sign-in input[value={who}]")
    page.fill("#sign-in [name=pin]", PINS[who])
    page.click("#sign-in button.primary")


def end_session(tablet: Tablet) -> None:
    cookie = next(each for each in tablet.context.cookies() if each["name"] == "akazuba_session")
    tablet.context.add_cookies([{**cookie, "value": "0" * 64}])


def is_closed(page: Any, *texts: str) -> None:
    """The form says whose it is, and nothing that was typed stands on the page."""
    page.wait_for_selector("#shut:visible")
    until(page, "document.querySelector('#shut p').textContent.includes('Chantal Uwimana')")
    assert not page.locator("#parts").is_visible()
    shown = page.evaluate("[...form.elements].map((each) => each.value).join() + document.body.innerText")
    assert [text for text in texts if text in shown] == []
    assert page.evaluate("draft") is None


def test_an_answer_is_gone_once_the_form_says_something_else(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in()
    id_ = begin(tablet, "Stale Solange")
    assess(page)
    assert page.get_attribute("#answer .assessment", "data-level") == "green"
    to(page, "vitals")
    page.fill("[name='vitals.spo2_percent']", "70")
    assert page.locator("#answer .assessment").count() == 0
    page.select_option("[name='vitals.consciousness']", "unresponsive")
    to(page, "result")
    page.wait_for_selector("#answer .assessment[data-level=red]:visible")
    keep(page)
    to(page, "note")
    page.fill("[name=note]", f"{NOTE}, and vomits")
    assert page.locator("[data-decide]").count() == 0
    to(page, "result")
    page.wait_for_selector("#answer .assessment[data-level=red]:visible")
    assert page.locator("[data-decide]").count() == 0
    keep(page)
    assert len(kept_of(box, id_)) == 2


def assess_and_hold(page: Any) -> Any:
    """Asks, and keeps the question from the box until it is told to go on."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/consultation/assess", hold)
    page.evaluate("location.hash = 'vitals'")
    page.click("#vitals [data-assess]")
    while not held:
        page.wait_for_timeout(20)
    return held[0]


def test_an_answer_that_comes_late_is_not_shown_for_what_was_typed_meanwhile(tablet: Tablet) -> None:
    page = tablet.page
    tablet.open("/consultation")
    begin(tablet, "Slow Sifa")
    held = assess_and_hold(page)
    to(page, "vitals")
    page.select_option("[name='vitals.consciousness']", "unresponsive")
    held.continue_()
    until(page, "document.getElementById('progress').textContent === ''")
    assert page.locator("#answer .assessment").count() == 0
    to(page, "result")
    page.wait_for_selector("#answer .assessment[data-level=red]:visible")


def test_a_number_that_is_asked_back_meanwhile_leaves_the_buttons_working(tablet: Tablet) -> None:
    page = tablet.page
    tablet.open("/consultation")
    begin(tablet, "Hasty Hawa")
    held = assess_and_hold(page)
    to(page, "vitals")
    page.fill("[name='vitals.temperature_c']", "98.6")
    page.evaluate("assess()")  # as when the box is back
    held.continue_()
    until(page, "!document.querySelector('#vitals [data-assess]').disabled")
    page.fill("[name='vitals.temperature_c']", "36.8")
    assess(page)


def test_a_token_that_is_renewed_meanwhile_is_used(tablet: Tablet) -> None:
    page = tablet.page
    tablet.open("/consultation")
    begin(tablet, "Token Thea")
    page.evaluate("box.csrf = 'x'.repeat(64)")  # of a page that was opened without the box
    held = assess_and_hold(page)
    page.evaluate("box.look()")  # the look at the box, every five seconds
    held.continue_()
    page.wait_for_selector("#answer .assessment:visible")


def test_whoever_is_renamed_is_no_longer_who_was_picked(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in()
    known = recorded(tablet, "Béatrice Known")
    id_ = begin(tablet, "", "cough")
    pick(page, "beatrice", known)
    assert "Béatrice Known" in page.locator("#picked").inner_text()
    to(page, "note")
    page.fill("[name=allergies]", "latex")
    to(page, "patient")
    page.fill("[name='person.name']", "beatrice  KNOWN")
    assert page.evaluate("draft.person") == known  # the same name, otherwise written
    page.fill("[name='person.name']", "Jean Bosco")
    assert page.evaluate("draft.known") is False
    assert "no longer Béatrice Known" in page.locator("#picked").inner_text()
    assert page.locator("[name='patient.sex']").input_value() == ""  # it came from her record
    assert page.locator("[name=allergies]").input_value() == "latex"
    assess(page)
    assert page.locator("#answer .for-patient").first.inner_text() == "Jean Bosco"
    keep(page)
    assert "Jean Bosco" in page.locator("#answer .decide .for-patient").inner_text()
    (under, by), *more = kept_of(box, id_)
    assert (under != known, by, more) == (True, "dr-musa", [])


def test_who_was_picked_by_mistake_is_put_back_with_one_button(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in()
    known = recorded(tablet, "Mistaken Mukamana")
    first = begin(tablet, "")
    pick(page, "mistaken", known)
    assess(page)
    keep(page)
    to(page, "patient")
    page.click("#picked button")
    assert page.locator("[data-decide]").count() == 0
    assert page.locator("[name='person.name']").input_value() == ""
    assert "stays with Mistaken Mukamana" in page.locator("#picked").inner_text()
    assess(page)
    assert page.locator("#answer .for-patient").first.inner_text() == "not registered"
    keep(page)
    second, person = page.evaluate("[draft.id, draft.person]")
    assert [under for under, _ in kept_of(box, first)] == [known]
    assert [under for under, _ in kept_of(box, second)] == [person]


def test_nobody_takes_over_what_another_typed(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, "Tab One Patient", "cough of tab one")
    other = second_tab(tablet)
    sign_out(other)
    is_closed(page, "Tab One", "cough of")
    assert page.evaluate(KEYS) == 0
    sign_in(other, "dr-musa")
    page.evaluate("box.look()")
    until(page, "drafts.owner === 'dr-musa'")
    is_closed(page, "Tab One", "cough of")
    tablet.shot("closed")
    page.click("#shut [data-open]")
    sign_in_over(page, "chantal-uwimana")
    page.wait_for_selector("#parts:visible")
    assert page.locator("[name='person.name']").input_value() == "Tab One Patient"
    assert page.evaluate("[draft.id, draft.owner]") == [id_, "chantal-uwimana"]
    assert kept_of(box, id_) == []


def test_who_signs_in_over_anothers_form_closes_it(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, "Over Odette", "cough of Odette")
    end_session(tablet)
    assess(page)
    page.click("#answer [data-keep]")
    sign_in_over(page, "dr-musa")
    is_closed(page, "Odette")
    assert kept_of(box, id_) == []
    assert page.evaluate(f"drafts.get('{id_}').then((kept) => [kept.shut, kept.owner])") == [
        True,
        "chantal-uwimana",
    ]


def test_nobodys_form_goes_on_with_whoever_signs_in(tablet: Tablet) -> None:
    page = tablet.page
    begin(tablet, "Nobody's Nadine")
    assert page.evaluate("draft.owner") == ""
    other = second_tab(tablet)
    other.goto(f"{tablet.url}/sign-in")
    sign_in(other, "dr-musa")
    until(page, "draft.owner === 'dr-musa'")
    assert page.locator("[name='person.name']").input_value() == "Nobody's Nadine"


def test_a_form_is_not_there_for_whoever_comes_by_later(tablet: Tablet) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    tablet.has_shell()
    begin(tablet, "Secret Patient", "a secret complaint")
    address, other = page.url, second_tab(tablet)
    end_session(tablet)
    page.evaluate("localStorage.setItem('touched', String(Date.now() - 11 * 60_000))")
    page.evaluate("watch()")
    page.wait_for_url("**/sign-in?next=*")
    assert page.evaluate(KEYS) == 0
    other.wait_for_url("**/sign-in?next=*")  # what the other tab shows was shown to her too
    page.go_back()
    is_closed(page, "Secret", "secret")
    other.goto(address)
    is_closed(other, "Secret", "secret")
    tablet.away()
    page.reload()  # without the box too: her key is not here
    page.wait_for_selector("#shut:visible")
    assert page.locator("[name='person.name']").input_value() == ""


def test_a_key_that_was_left_behind_opens_nothing(tablet: Tablet) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    begin(tablet, "Left Liliane", "left complaint")
    address = page.url
    page.goto("about:blank")
    end_session(tablet)
    page.goto(address)
    is_closed(page, "Liliane", "left complaint")
    until(page, "drafts.owner === ''")
    assert page.evaluate(KEYS) == 0


def test_what_is_kept_to_open_the_page_holds_nothing_of_a_patient(tablet: Tablet) -> None:
    page = tablet.page
    tablet.sign_in()
    tablet.has_shell()
    id_ = begin(tablet, "Cached Consolata", "a cached complaint")
    assess(page)
    keep(page)
    person = page.evaluate("draft.person")
    for path in ("/queue", f"/patients/{person}", f"/consultation?patient={person}"):
        page.goto(tablet.url + path)
    paths, texts = page.evaluate(
        r"""async () => {
          const paths = [], texts = [];
          for (const name of await caches.keys()) {
            const cache = await caches.open(name);
            for (const request of await cache.keys()) {
              paths.push(request.url.slice(location.origin.length));
              texts.push(await (await cache.match(request)).text());
            }
          }
          return [paths, texts.join("\n")];
        }"""
    )
    assert {"/", "/consultation"} < set(paths)
    assert [
        path for path in paths if not path.startswith("/static/") and "." not in path and "?" in path
    ] == []
    assert [word for word in ("Consolata", "cached complaint", id_, person) if word in texts] == []
