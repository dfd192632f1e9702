"""What a patient agrees to: each purpose with the very text that is shown to her, given and withdrawn."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import partial
from typing import Literal
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.errors import InputError, encodable
from akazuba.governance import consent
from akazuba.governance.consent import Allowed, By, Consent, Withdrawal, Word, known_purpose, may, words
from akazuba.governance.consent_texts import Text, newest, text_of
from akazuba.web import access
from akazuba.web.pages import page
from akazuba.web.patient_view import day_of
from akazuba.web.patients import Read, asked_patient, read_of
from akazuba.web.post import Records, now_ms
from akazuba.wording.catalogue import ENGLISH, languages

DAY_MS = 86_400_000
TITLES = {
    "care": "Being treated here",
    "sharing": "Being counted in numbers that are sent",
    "training": "Helping to improve the box's programs",
    "export": "Handing out the record",
}


def routes() -> list[BaseRoute]:
    return [
        Route("/patients/{id}/consent", consent_page),
        Route("/patients/{id}/consent/{deed}", said, methods=["POST"]),
    ]


@dataclass(frozen=True)
class Purpose:
    """text: as it is shown and hashed. allowed: how it stands now."""

    text: Text
    title: str
    allowed: Allowed
    refused: bool


@dataclass(frozen=True)
class Told:
    """One word of hers, as the log has it."""

    index: int
    day: str
    by: str
    purposes: tuple[str, ...]
    given: bool
    said_by: By
    ends: str
    text: str


async def consent_page(request: Request) -> Response:
    patient = asked_patient(request)
    granted = await access.demand(request, "consent", patient)
    known, wanted = languages(), request.query_params.get("lang", access.visitor(request).language)
    language = wanted if wanted in known else ENGLISH
    shown = newest(language)

    def work(kept: Records) -> tuple[Read, list[Purpose], list[Told]]:
        read = read_of(kept, granted, patient, "consent opened")
        store, at = kept.opened(), now_ms()
        said = words(store, patient)
        purposes = []
        for text in shown:
            last = consent.newest_word(said, text.purpose)
            refused = last is not None and isinstance(last.said, Withdrawal)
            allowed = may(store, patient, text.purpose, at)
            purposes.append(Purpose(text, TITLES[text.purpose], allowed, refused))
        return read, purposes, [_told(word) for word in reversed(said)]

    read, purposes, told = await access.post_of(request).records(work)
    return await page(
        request,
        "consent.html",
        person=read.person,
        purposes=purposes,
        told=told,
        shown_in=language,
        instead=wanted in languages(access.post_of(request).plugins.languages) and wanted not in known,
        known=known,
        tomorrow=(day_of(now_ms()) + datetime.timedelta(days=1)).isoformat(),
    )


def _told(word: Word) -> Told:
    given = isinstance(word.said, Consent)
    text = ""
    if isinstance(word.said, Consent):
        shown = word.said.shown
        known = text_of(shown.sha256)
        text = known.text if known else f"{shown.language}, {shown.version}, SHA-256 {shown.sha256[:16]}"
    ends = "" if word.until_ms is None else day_of(word.until_ms - 1).isoformat()
    entry = word.entry
    day = day_of(entry.at_ms).isoformat()
    return Told(entry.index, day, entry.by, word.said.purposes, given, word.said.by, ends, text)


async def said(request: Request) -> Response:
    """`give` or `withdraw`."""
    form, patient, deed = await access.posted(request), asked_patient(request), request.path_params["deed"]
    granted = await access.demand(request, "consent", patient)
    purpose, by = known_purpose(access.field(form, "purpose", 20)), _by(form)
    language = access.field(form, "language", 3)
    if deed == "give":
        given = Consent((purpose,), by, _shown(form, purpose, language), _until_ms(form))
        work = partial(_give, patient=patient, by=granted.user.id, given=given)
    elif deed == "withdraw":
        because = encodable(access.field(form, "because", 500).strip())
        work = partial(
            _withdraw, patient=patient, by=granted.user.id, taken=Withdrawal((purpose,), by, because)
        )
    else:
        raise InputError("consent", "give or withdraw", repr(deed[:20]))
    await access.post_of(request).records(work)
    return RedirectResponse(f"/patients/{quote(patient, safe='')}/consent?lang={quote(language)}", 303)


def _give(kept: Records, patient: str, by: str, given: Consent) -> None:
    consent.give(kept.opened(), patient, by, given, now_ms())


def _withdraw(kept: Records, patient: str, by: str, taken: Withdrawal) -> None:
    consent.withdraw(kept.opened(), patient, by, taken)


def _shown(form: FormData, purpose: str, language: str) -> consent.Shown:
    """Of the text that the page showed. Raises InputError where it is not the newest any more."""
    text = next((one for one in newest(language) if one.purpose == purpose), None)
    digest = access.field(form, "sha256", 64)
    if text is None or text.sha256 != digest:
        raise InputError("consent, text", "the text that this page shows: load it again", "another")
    return consent.shown(text.text, text.version, text.language)


def _by(form: FormData) -> By:
    who: Literal["patient", "guardian"]
    who = "guardian" if access.field(form, "who", 20) == "guardian" else "patient"
    relation = encodable(access.field(form, "relation", 100).strip())
    return By(who, relation)


def _until_ms(form: FormData) -> int | None:
    """The end of the last day, UTC. Raises InputError."""
    text = access.field(form, "until", 10)
    if not text:
        return None
    try:
        day = datetime.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=datetime.UTC)
    except ValueError as problem:
        raise InputError("consent, until", "a day such as 2027-05-17", repr(text)) from problem
    return int(day.timestamp()) * 1000 + DAY_MS
