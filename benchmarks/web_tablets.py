"""The tablets of `web.py`: clients of their own cookies, sessions and addresses, with a person's pauses.

One consultation is: the page, arrived, the name looked up twice while it is typed, the patient's card,
assessed, up to three questions, kept, signed, the queue; the tablet asks `/state` every 5 s besides, and the
queue's rows while that page is open, as the page's own scripts do. Between two steps the person pauses for a
log-normal time (median `PAUSE_S`, `SIGMA`, at most `LONGEST_S`): a consultation takes about three quarters of
a minute, several times as fast as people are, so 20 such tablets are a harder crowd than a health post has.
Half of the patients are known; one in ten is left in the queue; four languages take turns.

All bounded: a number of tablets, a number of seconds, 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from web_box import Example, Member

PAUSE_S, LONGEST_S = 3.0, 15.0
TIMEOUT_S = 10.0
STATE_S, ROWS_S = 5.0, 3.0
LANGUAGES = ("en", "fr", "sw", "rw")
SIGMA, LAST_S, KNOWN, MOST_CONSULTATIONS = 0.5, 30.0, 0.5, 500
ALONE = 40
"""Number of the tablet that works alone, in English; those of a crowd are below it."""

LEFT_WAITING = 0.1
"""Share of consultations that nobody signs: the queue fills, and its alarms have somebody to call for."""

Answer = TypeVar("Answer")
PICTURE_KINDS = {"jpg": "image/jpeg", "png": "image/png"}


@dataclass
class Heard:
    """What the clients measured: milliseconds by kind of request, and what went wrong, by kind and answer."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: Counter[str] = field(default_factory=Counter)
    signed: int = 0

    def failed(self, kind: str, what: object) -> None:
        self.wrong[f"{kind}: {what}"] += 1


class Tablet:
    """One browser's worth of cookies, from an address of its own (the box counts requests by address)."""

    def __init__(self, url: str, number: int, heard: Heard, trust: ssl.SSLContext | bool = True) -> None:
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.0.{number + 2}", verify=trust)
        headers = {"Origin": url, "Accept-Language": LANGUAGES[number % len(LANGUAGES)]}
        self._http = httpx.AsyncClient(base_url=url, transport=transport, headers=headers, timeout=TIMEOUT_S)
        self.heard, self._csrf = heard, ""

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, kind: str, path: str, *, part: bool = False, **asked: str) -> httpx.Response | None:
        headers = {"X-Fragment": "1"} if part else {"Accept": "text/html"}
        return await self._timed(kind, "GET", path, params=asked, headers=headers)

    async def post(
        self,
        kind: str,
        path: str,
        given: Mapping[str, str],
        pictures: Mapping[str, bytes] | None = None,
        *,
        part: bool = True,
    ) -> httpx.Response | None:
        """A form as FormData sends it, with the page's token."""
        fields: list[tuple[str, Any]] = [(name, (None, value)) for name, value in given.items()]
        for name, data in (pictures or {}).items():
            fields.append(("picture", (name, data, PICTURE_KINDS[name.rpartition(".")[2]])))
        headers = {"X-Csrf-Token": self._csrf} | ({"X-Fragment": "1"} if part else {"Accept": "text/html"})
        return await self._timed(kind, "POST", path, files=fields, headers=headers)

    async def _timed(self, kind: str, method: str, path: str, **given: Any) -> httpx.Response | None:
        """None after an error, which is counted."""
        began = time.perf_counter()
        try:
            answer = await self._http.request(method, path, **given)
        except httpx.HTTPError as problem:
            self.heard.failed(kind, type(problem).__name__)
            return None
        self.heard.times[kind].append(1000 * (time.perf_counter() - began))
        if not 200 <= answer.status_code < 400:
            self.heard.failed(kind, f"{answer.status_code} {answer.text[:120]}")
            return None
        return answer

    async def sign_in(self, who: Member) -> None:
        """The page, the PIN, the first screen."""
        await self.look()
        await self.get("sign-in page", "/sign-in")
        given = {"csrf": self._csrf, "user": who.id, "pin": who.pin, "next": "/"}
        await self.post("sign in", "/sign-in", given, part=False)
        known = await self.look()
        if not known or not known["user"]:
            self.heard.failed("sign in", "nobody is signed in after it")

    async def unlock(self, passphrase: str) -> None:
        await self.look()
        await self.post("unlock", "/unlock", {"passphrase": passphrase}, part=False)

    async def look(self) -> dict[str, Any] | None:
        answer = await self.get("state", "/state", part=True)
        if answer is None:
            return None
        known: dict[str, Any] = answer.json()
        self._csrf = known["csrf"]
        return known


def packed(
    example: Example, id_: str, patient: Mapping[str, str], said: Said | None = None
) -> dict[str, str]:
    """What the page's own script sends. said: the answers to questions so far."""
    findings = [*example.case.get("findings", ()), *said.findings]
    data = example.data(id_, findings=findings, tests=[*example.case.get("tests", ()), *said.tests])
    return {
        "case": data.decode(),
        "person": json.dumps(patient),
        "unanswered": json.dumps(said.unanswered),
    }


@dataclass
class Said:
    """Answers to questions, as the page adds them to the case."""

    findings: list[dict[str, Any]] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)

    def answer(self, question: str, word: str) -> None:
        if word == "unknown":
            self.unanswered.append(question)
        elif question.startswith("test:"):
            self.tests.append({"id": question[5:], "result": "positive" if word == "yes" else "negative"})
        else:
            self.findings.append({"id": question, "present": word == "yes"})


def question_of(html: str) -> str | None:
    found = re.search(r'data-question="([^"]+)"', html)
    return found[1] if found else None


def index_of(html: str) -> str | None:
    """Of the assessment in the log, once it is kept."""
    found = re.search(r'data-index="(\d+)"', html)
    return found[1] if found else None


@dataclass(frozen=True)
class Crowd:
    """Who does what. names: of stored patients, by id. trust: whom a tablet trusts, with TLS."""

    url: str
    members: Sequence[Member]
    examples: Sequence[Example]
    names: Mapping[str, str]
    trust: ssl.SSLContext | bool = True


async def busy(crowd: Crowd, tablets: int, seconds: float, heard: Heard, seed: int = 1) -> None:
    """`tablets` at once for `seconds`, and at most `LAST_S` longer for what has begun."""
    ends = time.monotonic() + seconds
    await asyncio.gather(*(_nurse(crowd, number, ends, heard, seed) for number in range(tablets)))


async def _nurse(crowd: Crowd, number: int, ends: float, heard: Heard, seed: int) -> None:
    chance = random.Random(f"{seed} {number}")
    tablet = Tablet(crowd.url, number, heard, crowd.trust)
    asking = None
    try:
        await asyncio.sleep(chance.uniform(0, PAUSE_S))
        await tablet.sign_in(crowd.members[number % len(crowd.members)])
        asking = asyncio.create_task(_every(STATE_S, tablet.look))
        for count in range(MOST_CONSULTATIONS):
            if time.monotonic() > ends:
                break
            visit = _visit(crowd, tablet, f"c-load-{seed}-{number}-{count}", chance)
            with suppress(TimeUpError):
                await _consultation(visit, Person(chance, ends + LAST_S))
    finally:
        if asking:
            asking.cancel()
        await tablet.close()


async def _every(seconds: float, what: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await what()


class TimeUpError(Exception):
    """The run is over."""


@dataclass(frozen=True)
class Person:
    """Who pauses. ends: when the run is over, by the monotonic clock."""

    chance: random.Random
    ends: float

    async def pause(self, seconds: float | None = None) -> None:
        wait = min(LONGEST_S, self.chance.lognormvariate(0, SIGMA) * PAUSE_S) if seconds is None else seconds
        if time.monotonic() + wait > self.ends:
            raise TimeUpError
        await asyncio.sleep(wait)


@dataclass(frozen=True)
class Visit:
    """One patient at one tablet. known: her id where the box knows her, else ""."""

    tablet: Tablet
    case: str
    example: Example
    name: str
    known: str

    @property
    def patient(self) -> dict[str, str]:
        return {"id": self.known} if self.known else {"id": f"p-{self.case}", "name": f"New {self.case}"}

    @property
    def end(self) -> str:
        """Of a kind of request: pictures take longer, so they are counted by themselves."""
        return ", picture" if self.example.pictures else ""

    async def assess(self, kind: str, said: Said, *, keep: bool) -> str:
        """The answer, "" after an error."""
        given = packed(self.example, self.case, self.patient, said) | {"keep": "yes" if keep else "no"}
        answer = await self.tablet.post(kind + self.end, "/consultation/assess", given, self.example.pictures)
        return answer.text if answer else ""


def _visit(crowd: Crowd, tablet: Tablet, case: str, chance: random.Random) -> Visit:
    example, id_ = chance.choice(crowd.examples), chance.choice(list(crowd.names))
    return Visit(tablet, case, example, crowd.names[id_], id_ if chance.random() < KNOWN else "")


async def _consultation(visit: Visit, person: Person) -> None:
    tablet, heard = visit.tablet, visit.tablet.heard
    await _arrives(visit, person)
    said = await _asked(visit, person)
    await person.pause()
    answer = await visit.assess("keep", said, keep=True)
    index = index_of(answer)
    if index is None:
        if answer:
            heard.failed("keep", "no index of what was kept")
        return
    await person.pause()
    if person.chance.random() >= LEFT_WAITING:
        given = {"patient": visit.patient["id"], "choice": "accept", "reason": ""}
        if await tablet.post("decide", f"/consultation/{index}/decide", given):
            heard.signed += 1
        await tablet.get("page: kept", f"/consultation/{index}")
        await person.pause()
    await tablet.get("page: queue", "/queue")
    for _ in range(2):
        await person.pause(ROWS_S)
        await tablet.get("queue rows", "/queue/rows", part=True)
    if visit.known:
        await tablet.get("page: patient", f"/patients/{visit.known}")
        await person.pause()
    await tablet.get("page: first", "/")


async def _arrives(visit: Visit, person: Person) -> None:
    """The page, the danger signs, her name looked up twice while it is typed."""
    await visit.tablet.get("page: consultation", "/consultation")
    await person.pause()
    await visit.tablet.post("arrive", "/consultation/arrive", {"id": visit.case})
    for typed in (visit.name[:4], visit.name):
        await person.pause()
        await visit.tablet.post("search", "/patients/find", {"name": typed})
    if visit.known:
        await visit.tablet.get("card", f"/patients/{visit.known}/card", part=True)


async def _asked(visit: Visit, person: Person) -> Said:
    """Assessed, and up to three questions answered."""
    said = Said()
    for turn in range(4):
        await person.pause()
        question = question_of(await visit.assess("question" if turn else "assess", said, keep=False))
        if question is None or turn == 3:
            break
        said.answer(question, person.chance.choice(("yes", "no", "no", "unknown")))
    return said


async def idle(crowd: Crowd, rounds: int, heard: Heard) -> None:
    """One tablet alone, every kind of tap `rounds` times, 30 ms apart; examples assessed, kept, signed."""
    tablet = Tablet(crowd.url, ALONE, heard)
    chance = random.Random(4)
    ids = list(crowd.names)
    try:
        await tablet.sign_in(crowd.members[0])
        for number in range(rounds):
            id_ = chance.choice(ids)
            typed = chance.choice(
                (crowd.names[id_], crowd.names[id_][:3], crowd.names[id_].split()[0].lower())
            )
            await _apart(tablet.get("page: first", "/"))
            await _apart(tablet.get("page: consultation", "/consultation"))
            await _apart(tablet.post("search", "/patients/find", {"name": typed}))
            await _apart(tablet.get("card", f"/patients/{id_}/card", part=True))
            await _apart(tablet.get("page: patient", f"/patients/{id_}"))
            await _apart(tablet.post("arrive", "/consultation/arrive", {"id": f"c-idle-{number}"}))
            await _apart(tablet.get("page: queue", "/queue"))
            await _apart(tablet.get("queue rows", "/queue/rows", part=True))
            await _apart(tablet.look())
            await _apart(tablet.post("queue deed", f"/queue/c-idle-{number}/left", {"why": "measured"}))
        for number in range(rounds):
            example = crowd.examples[number % len(crowd.examples)]
            visit = Visit(tablet, f"c-idle-case-{number}", example, "", chance.choice(ids))
            await _assessed_alone(visit)
    finally:
        await tablet.close()


async def _assessed_alone(visit: Visit) -> None:
    said = Said()
    question = question_of(await _apart(visit.assess("assess", said, keep=False)))
    if question:
        said.answer(question, "no")
        await _apart(visit.assess("question", said, keep=False))
    index = index_of(await _apart(visit.assess("keep", said, keep=True)))
    if index:
        given = {"patient": visit.known, "choice": "accept", "reason": ""}
        await _apart(visit.tablet.post("decide", f"/consultation/{index}/decide", given))
        await _apart(visit.tablet.get("page: kept", f"/consultation/{index}"))


async def _apart(request: Awaitable[Answer]) -> Answer:
    answer = await request
    await asyncio.sleep(0.03)
    return answer


async def red_and_waiting(crowd: Crowd, heard: Heard) -> str:
    """A red patient to whom nobody comes: her alarms are looked for in the queue's file afterwards."""
    tablet = Tablet(crowd.url, ALONE + 4, heard)
    case = "c-red-and-waiting"
    red = next(each for each in crowd.examples if each.name == "adult-cough")
    vitals = {"respiratory_rate_bpm": 44, "spo2_percent": 80, "consciousness": "unresponsive"}
    try:
        await tablet.look()
        data = red.data(case, vitals={**red.case["vitals"], **vitals}).decode()
        given = {"case": data, "person": "{}", "unanswered": "[]", "keep": "no"}
        await tablet.post("arrive", "/consultation/arrive", {"id": case})
        await tablet.post("assess", "/consultation/assess", given)
    finally:
        await tablet.close()
    return case


async def unlocked(url: str, passphrase: str, heard: Heard, trust: ssl.SSLContext | bool = True) -> None:
    tablet = Tablet(url, ALONE + 4, heard, trust)
    try:
        await tablet.unlock(passphrase)
        known = await tablet.look()
        if not known or known["state"] != "open":
            heard.failed("unlock", "the box is not open after it")
    finally:
        await tablet.close()
