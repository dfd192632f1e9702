"""A post with patients, and a tablet on which somebody is signed in."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from door_bench import opened_post
from starlette.applications import Starlette

from akazuba.governance.consent_texts import newest
from akazuba.governance.users import PASSPHRASE, add
from akazuba.storage.person import Person
from akazuba.storage.store import Recorded, Store
from akazuba.web.app import create_app
from akazuba.web.consulting import Came, answered, keep
from akazuba.web.guard import Pace
from akazuba.web.post import Post

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


def shown_text(purpose: str) -> dict[str, str]:
    text = next(text for text in newest("en") if text.purpose == purpose)
    return {"purpose": purpose, "language": "en", "sha256": text.sha256}
