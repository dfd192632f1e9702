"""What a patient agreed to on the tablet; her record handed out, erased and printed."""

# ruff: noqa: F401, F811 - the fixtures of patient_bench are imported by name

from __future__ import annotations

import datetime
import json
import re
from contextlib import closing
from hashlib import sha256

import msgspec
import pytest
from patient_bench import TODAY, Tablet, app, last_assessment, post, shown_text, tablet

from akazuba.governance.consent import PURPOSES, By, Consent, give, may, shown
from akazuba.governance.consent_texts import newest, text_of, texts
from akazuba.storage.file import BUSY_S
from akazuba.storage.person import Person
from akazuba.storage.store import Store
from akazuba.wording.catalogue import languages

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


def test_a_guardian_agrees_with_her_relation_until_a_day(tablet: Tablet) -> None:
    path = f"/patients/{tablet.other}/consent/give"
    assert tablet.send(path, **shown_text("training"), who="guardian").status_code == 422
    until = (TODAY + datetime.timedelta(days=30)).isoformat()
    form = {**shown_text("training"), "who": "guardian", "relation": "mother", "until": until}
    assert tablet.send(path, **form).status_code == 303
    page = tablet.get(f"/patients/{tablet.other}/consent").text
    assert "guardian (mother)" in page
    assert f"until {until}" in page
    assert tablet.send(path, **{**form, "until": "2020-01-01"}).status_code == 422


def test_what_was_given_is_taken_back_at_once(tablet: Tablet) -> None:
    path = f"/patients/{tablet.other}/consent"
    tablet.send(f"{path}/give", **shown_text("sharing"))
    assert tablet.store(lambda store: may(store, tablet.other, "sharing", 2**50)).yes
    assert (
        tablet.send(f"{path}/withdraw", **shown_text("sharing"), because="thought again").status_code == 303
    )
    assert not tablet.store(lambda store: may(store, tablet.other, "sharing", 2**50)).yes
    assert "withdrawn by the patient" in tablet.get(path).text
    assert tablet.send(f"{path}/forget", **shown_text("sharing")).status_code == 422


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
    tablet.send(f"/patients/{tablet.her}/consent/give", **shown_text("export"))
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
