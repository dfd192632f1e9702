"""The tablet while the box is away: nothing is lost or sent twice, and nobody reads another's drafts."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest
from tablets import PINS, Served, Tablet, until

pytestmark = pytest.mark.enable_socket

NOTE = "cough and runny nose for 2 days"
ALL_KEPT = """async () => {
  const file = await drafts.opened, names = [...file.objectStoreNames];
  const all = (name) => new Promise((done) => {
    const asked = file.transaction(name).objectStore(name).getAll();
    asked.onsuccess = () => done(asked.result);
  });
  const text = (value) => JSON.stringify(value, (_, each) =>
    each instanceof ArrayBuffer ? new TextDecoder("latin1").decode(each) : each);
  return (await Promise.all(names.map(all))).map(text).join();
}"""


def begin(tablet: Tablet, name: str, note: str = NOTE) -> str:
    """A form with a name and a complaint; the id of its case."""
    tablet.open("/consultation#patient")
    tablet.page.fill("[name='person.name']", name)
    tablet.page.fill("[name=age]", "34")
    tablet.page.click("#patient a.primary")
    tablet.page.fill("[name=note]", note)
    saved = "drafts.get(draft.id).then((kept) => kept && kept.fields.note === form.elements.note.value)"
    until(tablet.page, saved)
    id_: str = tablet.page.evaluate("draft.id")
    return id_


def finish(page: Any) -> None:
    page.evaluate("location.hash = 'vitals'")
    page.click("#vitals [data-assess]")


def recorded(box: Served, case_id: str) -> list[Any]:
    return [entry for entry in box.recorded("case") if msgspec.json.decode(entry.body)["id"] == case_id]


def case_of(box: Served, case_id: str) -> Any:
    known = (msgspec.json.decode(entry.body) for entry in box.recorded("case"))
    return next(each for each in known if each["id"] == case_id)


def test_the_shell_holds_nothing_of_a_user_or_this_tablet(tablet: Tablet) -> None:
    tablet.sign_in("dr-musa")
    tablet.has_shell()
    kept = tablet.page.evaluate(
        r"""async () => {
          const texts = [];
          for (const name of await caches.keys()) {
            const cache = await caches.open(name);
            for (const request of await cache.keys()) texts.push(await (await cache.match(request)).text());
          }
          return texts.join("\n");
        }"""
    )
    cookies = {cookie["name"]: cookie["value"] for cookie in tablet.context.cookies()}
    assert '<form id="consultation"' in kept
    assert not [word for word in ("Musa", "dr-musa", *cookies.values()) if len(word) > 2 and word in kept]


def test_the_box_goes_away_in_mid_case_and_comes_back(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    tablet.has_shell()
    id_ = begin(tablet, "Offline Ora")
    tablet.away()
    page.wait_for_selector("#connection.warn")
    page.reload()
    page.wait_for_selector("#consultation[data-ready]")
    assert page.locator("[name='person.name']").input_value() == "Offline Ora"
    assert page.locator("[name=note]").input_value() == NOTE
    finish(page)
    page.wait_for_selector("#failed:not([hidden])")
    tablet.shot("away")
    assert page.evaluate("draft.state") == "waiting"
    assert recorded(box, id_) == []
    tablet.back()
    page.wait_for_selector("#answer .assessment[data-kept=open]")
    assert [entry.by for entry in recorded(box, id_)] == ["chantal-uwimana"]
    assert page.evaluate("drafts.all()") == []


def test_what_was_finished_offline_is_listed_and_sent_from_any_page(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    tablet.has_shell()
    tablet.open("/consultation")
    tablet.away()
    first = begin_here(page, "Waiting Wema")
    page.click("#failed a")
    until(page, f"typeof draft !== 'undefined' && draft && draft.id !== '{first}'")
    page.wait_for_selector("#consultation[data-ready]")
    second = begin_here(page, "Waiting Wimana")
    page.goto(tablet.url)
    page.wait_for_selector("#drafts li >> nth=1")
    listed = page.locator("#drafts").inner_text()
    assert "Waiting Wema" in listed
    assert "Waiting Wimana" in listed
    tablet.shot("listed")
    tablet.back()
    page.wait_for_selector("#drafts", state="hidden")
    assert (len(recorded(box, first)), len(recorded(box, second))) == (1, 1)


def begin_here(page: Any, name: str) -> str:
    page.evaluate("location.hash = 'patient'")
    page.fill("[name='person.name']", name)
    page.fill("[name=age]", "30")
    finish(page)
    page.wait_for_selector("#failed:not([hidden])")
    until(page, "drafts.get(draft.id).then((kept) => kept && kept.state === 'waiting')")
    id_: str = page.evaluate("draft.id")
    return id_


def test_red_is_shown_without_the_box(tablet: Tablet) -> None:
    page = tablet.page
    tablet.open("/")
    tablet.has_shell()
    tablet.away()
    page.click("a.tile.red")
    page.wait_for_selector("#consultation[data-ready]")
    page.click(".sign:visible >> nth=0")
    assert page.locator("#red h2").is_visible()
    page.click("#emergency [data-assess]")
    page.wait_for_selector("#failed:not([hidden])")
    assert page.locator("#red li").first.is_visible()
    tablet.shot("red")


def test_an_answer_that_was_lost_leaves_one_record(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, "Lost Lwanga")
    finish(page)
    page.wait_for_selector("#answer .assessment")

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route("**/consultation/assess", lose)
    page.click("[data-keep]")
    page.wait_for_selector("#failed:not([hidden])")
    assert len(recorded(box, id_)) == 1
    page.unroute("**/consultation/assess")
    page.wait_for_selector("#answer .assessment[data-kept=open]")
    assert len(recorded(box, id_)) == 1


def test_sent_twice_at_once_it_is_recorded_once(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, "Double Dusabe")
    page.evaluate(
        """async () => {
          await sending.dated(draft);
          const once = () => box.post("/consultation/assess", () => sending.packed(draft, true));
          await Promise.all([once(), once()]);
        }"""
    )
    assert len(recorded(box, id_)) == 1


@pytest.mark.parametrize("days", [-400, 400])
def test_a_wrong_clock_of_the_tablet_changes_no_date_and_no_age(
    tablet: Tablet, box: Served, days: int
) -> None:
    page = tablet.page
    today = datetime.datetime.now().astimezone()
    page.clock.set_system_time(today + datetime.timedelta(days=days))
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, f"Skewed Sibo {days}")
    page.evaluate("location.hash = 'patient'")
    page.fill("[name=age]", "")
    page.fill("[name='person.born']", (today.date() - datetime.timedelta(days=40)).isoformat())
    until(page, "form.elements.age.value !== ''")
    finish(page)
    page.wait_for_selector("#answer .assessment")
    page.click("[data-keep]")
    page.wait_for_selector("#answer .assessment[data-kept=open]")
    case = case_of(box, id_)
    assert case["date"] in {today.date().isoformat(), datetime.date.today().isoformat()}  # noqa: DTZ011
    assert case["patient"]["age_days"] == 40


def test_a_session_that_is_over_loses_nothing_typed(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, "Expired Esther")
    cookie = next(c for c in tablet.context.cookies() if c["name"] == "akazuba_session")
    tablet.context.add_cookies([{**cookie, "value": "0" * 64}])
    finish(page)
    page.wait_for_selector("#answer .assessment")  # she is helped all the same
    page.click("[data-keep]")
    page.wait_for_selector("#sign-in[open]")
    tablet.shot("dialog")
    assert page.locator("#sign-in input[value=chantal-uwimana]").is_checked()
    page.fill("#sign-in [name=pin]", PINS["chantal-uwimana"])
    page.click("#sign-in button.primary")
    page.wait_for_selector("#answer .assessment[data-kept=open]")
    assert [entry.by for entry in recorded(box, id_)] == ["chantal-uwimana"]
    assert page.locator("[name=note]").input_value() == NOTE


def test_another_user_does_not_read_what_was_typed_before_her(tablet: Tablet) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, "Secret Semana", "a secret complaint")
    page.click("#me summary")
    page.click("#me form[action='/sign-out'] button")
    page.wait_for_url("**/sign-in")
    kept = page.evaluate(ALL_KEPT)
    assert id_ in kept
    assert "Secret" not in kept
    assert "complaint" not in kept
    tablet.open("/")
    page.wait_for_selector("#drafts li")
    assert page.locator("#drafts a.button").count() == 0
    tablet.sign_in("dr-musa")
    page.wait_for_selector("#drafts li")
    assert "Secret" not in page.locator("#drafts").inner_text()
    tablet.open(f"/consultation?draft={id_}")
    assert page.locator("#shut").is_visible()
    assert page.locator("[name='person.name']").input_value() == ""
    tablet.sign_in("chantal-uwimana")
    page.click(f"#drafts li[data-id='{id_}'] a")
    page.wait_for_selector("#consultation[data-ready]")
    assert page.locator("[name='person.name']").input_value() == "Secret Semana"


def test_a_waiting_case_is_not_recorded_for_somebody_else(tablet: Tablet, box: Served) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    tablet.has_shell()
    tablet.open("/consultation")
    tablet.away()
    id_ = begin_here(page, "Handed Over")
    cookie = next(c for c in tablet.context.cookies() if c["name"] == "akazuba_session")
    tablet.context.add_cookies([{**cookie, "value": "0" * 64}])
    page.goto(tablet.url)
    page.wait_for_selector("#drafts li")
    tablet.back()
    until(
        page,
        "box.user === null && drafts.get(draftId).then((kept) => kept.told)".replace("draftId", f"'{id_}'"),
    )
    assert recorded(box, id_) == []
    tablet.open("/queue")
    assert page.locator(f"#rows [formaction='/queue/{id_}/seen']").count() == 1
    tablet.sign_in("chantal-uwimana")
    page.wait_for_selector("#drafts", state="hidden")
    assert [entry.by for entry in recorded(box, id_)] == ["chantal-uwimana"]


def test_removing_asks_first(tablet: Tablet) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, "Removed Rwema")
    tablet.open("/")
    gone = f"#drafts li[data-id='{id_}'] button"
    page.click(gone)
    page.click("#sure button[value=no]")
    assert page.locator(gone).count() == 1
    page.click(gone)
    page.click("#sure button[value=yes]")
    page.wait_for_selector(gone, state="detached")
    assert page.evaluate(f"drafts.get('{id_}')") is None


def test_a_tablet_nobody_touches_does_not_keep_a_session_open(tablet: Tablet) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/state" in request.url else None)
    page.evaluate("localStorage.setItem('touched', String(Date.now() - 120_000))")
    page.evaluate("watch()")
    until(page, "true")
    assert [url for url in asked if not url.endswith("?quiet")] == []
    assert asked


def test_pictures_of_a_draft_outlive_a_reload(tablet: Tablet) -> None:
    page = tablet.page
    tablet.sign_in("chantal-uwimana")
    id_ = begin(tablet, "Pictured Pendo")
    page.evaluate("location.hash = 'pictures'")
    picture = {"name": "arm.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + bytes(64)}
    page.set_input_files("[data-kind=skin-photo]", files=[picture])
    page.wait_for_selector("#picture-list li")
    until(page, f"drafts.get('{id_}').then((kept) => kept.pictures.length === 1)")
    page.reload()
    page.wait_for_selector("#picture-list li")
    sizes = page.evaluate("draft.pictures.map((each) => each.blob.size)")
    assert sizes == [72]
