"""The page on the tablet: how fast it loads, answers and saves, for one and for 20 tablets; what it weighs;
how long a consultation takes by taps; whether everybody can use it.

    python benchmarks/web.py [--quick] [--json] [--save] [--seconds N] [--no-browser]

A real `akazuba serve` on 127.0.0.1 with 6,000 patients and 400 recorded consultations, no language model, no
TLS (but in `tls`: 60 s of the same tablets over the clinic's own authority, and what a handshake costs);
clients and browser in other processes of the same machine, so that they take their share of its cores. Times
are those of the client, from the first byte sent to the last received. `_idle`: one tablet alone; without a
suffix: while 20 tablets work (`web_tablets.py` says how people pause). A tap is every page and small form of
a consultation but the assessing itself; `assess` is an assessment, with pictures or without, the first and
after each question; `save` is the whole request that records what was shown, and the decision. p95 with a 95
% interval, bootstrapped over requests. Where others use the machine too (`load_average_before`) times are
theirs as well; `server_cpu_s` is not. `consult_minutes` and `paper_minutes` are modelled (`web_person.py`),
waits are measured. `--quick`: 20 tablets for 60 s instead of 10 minutes, fewer repeats.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from figures import options_of, tell

sys.path.append(str(Path(__file__).parent))

import records as stored
import web_box as box
import web_browser
import web_person as person
import web_tablets as tablets

from akazuba.storage.beside import Beside
from akazuba.training.measure import bootstrap
from akazuba.waiting.queue import ALARM_AFTER_S, FILE as QUEUE, WHAT

WANTED = {
    "first_load_kb": 200,
    "first_load_s_slow_4g": 1,
    "tap_ms_p95": 100,
    "assess_ms_p95": 500,
    "save_ms_p95": 100,
    "errors": 0,
    "box_rss_mb": 200,
    "consult_minutes": 3,
    "axe_violations": 0,
}
QUICK_S, LONG_S, TLS_S = 60.0, 600.0, 60.0
HANDSHAKES = 200
STANDARD, NAME, PLACE = "adult-cough", "Mukamana Grace", "Kabeza"
TAPS = (
    "page: first",
    "page: consultation",
    "page: queue",
    "page: patient",
    "page: kept",
    "search",
    "card",
    "arrive",
    "queue rows",
    "queue deed",
)
ASSESSED = ("assess", "assess, picture", "question", "question, picture")
SAVED = ("keep", "keep, picture", "decide")
LATE_S = 2.0
"""An alarm that comes later than so much after it was due counts as late: the box looks every second."""


def measured(seconds: float, *, quick: bool, in_browser: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "tablets": box.TABLETS,
        "seconds_of_load": seconds,
        "load_average_before": round(os.getloadavg()[0], 2),
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "box"
        members = box.made(home)
        people = {one.id: one.name for one in stored.people()}
        facts |= {"patients": len(people), "consultations_stored": box.CONSULTATIONS}
        with box.served(home) as serving:
            facts["start_s"] = serving.started_s
            facts |= _memory("at_start", serving.pid)
            crowd = tablets.Crowd(serving.url, members[2:], box.examples(), people)
            heard = tablets.Heard()
            asyncio.run(tablets.unlocked(serving.url, box.OF_THE_DAY, heard))
            facts["unlock_ms"] = round(heard.times["unlock"][0], 1) if heard.times["unlock"] else None
            asyncio.run(tablets.idle(crowd, 30 if quick else 200, heard))
            facts |= latencies(heard.times, "_idle")
            if in_browser:
                facts |= _browsed(serving.url, members, quick=quick)
            facts |= _crowded(crowd, serving.pid, seconds, heard)
            facts |= alarms(home / QUEUE)
            facts |= _memory("", serving.pid)
        with box.served(home, tls=True) as serving:
            facts["tls"] = secured(serving, crowd, min(seconds, TLS_S))
        facts["server_tracebacks"] = box.tracebacks(home)
    facts["errors"] = sum(heard.wrong.values()) + facts["tls"]["errors"] + facts["server_tracebacks"]
    facts["errors_are"] = dict(heard.wrong.most_common(20))
    facts["wanted"] = WANTED
    return facts


def _crowded(crowd: tablets.Crowd, pid: int, seconds: float, heard: tablets.Heard) -> dict[str, Any]:
    busy = tablets.Heard(wrong=heard.wrong)

    async def together() -> None:
        await tablets.red_and_waiting(crowd, busy)
        await tablets.busy(crowd, box.TABLETS, seconds, busy)

    before = box.cpu_s(pid)
    asyncio.run(together())
    requests = sum(len(times) for times in busy.times.values())
    return {
        **latencies(busy.times, ""),
        "consultations_signed": busy.signed,
        "requests": requests,
        "requests_per_s": round(requests / seconds, 1),
        "server_cpu_s": round(box.cpu_s(pid) - before, 1),
    }


def secured(serving: box.Served, crowd: tablets.Crowd, seconds: float) -> dict[str, Any]:
    """The same tablets over TLS, of one box. `tls_*`: of a connection as a tablet makes it first, without
    resuming; `tcp_ms`: the part of it that is there without TLS.
    """
    trust = ssl.create_default_context(cafile=serving.authority)
    heard, over = tablets.Heard(), replace(crowd, url=serving.url, trust=trust)
    asyncio.run(tablets.unlocked(serving.url, box.OF_THE_DAY, heard, trust))
    shaken = handshakes(serving, trust, HANDSHAKES)
    before = box.cpu_s(serving.pid)
    asyncio.run(tablets.busy(over, box.TABLETS, seconds, heard, seed=2))
    facts = latencies(heard.times, "")
    del facts["by_kind_ms"]
    return {
        "seconds_of_load": seconds,
        **facts,
        **shaken,
        "errors": sum(heard.wrong.values()),
        "errors_are": dict(heard.wrong.most_common(20)),
        "consultations_signed": heard.signed,
        "requests": sum(len(times) for times in heard.times.values()),
        "server_cpu_s": round(box.cpu_s(serving.pid) - before, 1),
    }


def handshakes(serving: box.Served, trust: ssl.SSLContext, times: int) -> dict[str, Any]:
    """Of new connections, one after another: milliseconds at the client, and of the server's processor."""
    where = urlsplit(serving.url)
    address = (where.hostname or "", where.port or 443)
    tcp, tls, version = list[float](), list[float](), ""
    before = box.cpu_s(serving.pid)
    for _ in range(times):
        began = time.perf_counter()
        with socket.create_connection(address, 10) as plain:
            connected = time.perf_counter()
            with trust.wrap_socket(plain, server_hostname=address[0]) as shaken:
                tls.append(1000 * (time.perf_counter() - connected))
                version = f"{shaken.version()}, {(shaken.cipher() or ('',))[0]}"
        tcp.append(1000 * (connected - began))
    return {
        "version": version,
        "tcp_ms_p50": round(median(tcp), 2),
        "tls_ms_p50": round(median(tls), 2),
        "tls_ms_p95": p95(tls),
        "tls_server_cpu_ms": round(1000 * (box.cpu_s(serving.pid) - before) / times, 2),
    }


def _memory(when: str, pid: int) -> dict[str, float]:
    end = f"_{when}" if when else ""
    now = box.memory(pid)
    facts = {f"box_rss_mb{end}": now["rss"], f"box_pss_mb{end}": now["pss"]}
    return facts if when else {**facts, "box_peak_rss_mb": now["peak"]}


def latencies(times: Mapping[str, Sequence[float]], end: str) -> dict[str, Any]:
    """p95 of taps, assessing and saving, and of each kind by itself: median, p95, number."""
    facts: dict[str, Any] = {}
    for name, kinds in (("tap", TAPS), ("assess", ASSESSED), ("save", SAVED)):
        whole = [value for kind in kinds for value in times.get(kind, ())]
        if whole:
            facts[f"{name}_ms_p95{end}"] = p95(whole)
            facts[f"{name}_ms_p50{end}"] = round(median(whole), 1)
    facts[f"by_kind_ms{end}"] = {
        kind: {"p50": round(median(some), 1), "p95": round(float(np.percentile(some, 95)), 1), "n": len(some)}
        for kind, some in sorted(times.items())
        if some
    }
    return facts


def p95(values: Sequence[float]) -> dict[str, float]:
    """With its interval.

    >>> p95([1.0] * 99 + [100.0])["value"]
    1.0
    """
    some = np.asarray(values)
    found = bootstrap(
        lambda chosen: float(np.percentile(some[chosen], 95)), [str(i) for i in range(len(some))]
    )
    return {name: round(value, 1) for name, value in found.as_dict().items()} | {"n": len(some)}


def mean(values: Sequence[float]) -> dict[str, float]:
    some = np.asarray(values)
    found = bootstrap(lambda chosen: float(some[chosen].mean()), [str(i) for i in range(len(some))])
    return {name: round(value, 3) for name, value in found.as_dict().items()} | {"n": len(some)}


def alarms(queue: Path) -> dict[str, Any]:
    """What the queue's file says of red patients: each alarm that was due, and when it was raised."""
    query = "SELECT case_id, kind, level, monotonic_s FROM transition ORDER BY id"
    with closing(Beside(queue, WHAT)) as file:
        return lateness(file.rows(query), now_s=time.clock_gettime(time.CLOCK_BOOTTIME))


def lateness(rows: Sequence[tuple[str, str, str, float]], now_s: float) -> dict[str, Any]:
    """rows: of the queue's file, in order. An alarm is due so long after a patient became red as the queue
    says, unless somebody came before it or within LATE_S of it, or that is still to come.
    """
    red: dict[str, float] = {}
    answered: dict[str, float] = {}
    raised: dict[str, list[float]] = {}
    for case, kind, level, at in rows:
        if kind == "triaged" and level == "red":
            red.setdefault(case, at)
        elif kind in ("acknowledged", "seen", "left"):
            answered.setdefault(case, at)
        elif kind in ("alarm", "escalated"):
            raised.setdefault(case, []).append(at)
    waits, missed = list[float](), 0
    for case, since in red.items():
        until = min(answered.get(case, now_s), now_s)
        for step, after in enumerate(ALARM_AFTER_S):
            if until < since + after + LATE_S:
                break
            if step < len(raised.get(case, ())):
                waits.append(raised[case][step] - since - after)
            else:
                missed += 1
    return {
        "alarms_due": len(waits) + missed,
        "alarms_missed": missed,
        "alarms_late": sum(wait > LATE_S for wait in waits),
        "alarm_after_s_worst": round(max(waits, default=0.0), 2),
    }


def _browsed(url: str, members: Sequence[box.Member], *, quick: bool) -> dict[str, Any]:
    if why := web_browser.missing():
        return {"browser_skipped": why}
    facts = dict(web_browser.first_load(url, 3 if quick else 20))
    for name in [key for key in facts if key.startswith("first_load_s")]:
        facts[name] = mean(facts[name])
    example = next(each for each in box.examples() if each.name == STANDARD)
    steps = web_browser.consultation(url, members[2], example, NAME, PLACE)
    paper = person.on_paper(example.case, NAME, PLACE, person.PLAN)
    facts |= {
        "consult_minutes": person.among_people(steps),
        "paper_minutes": person.among_people(paper),
        "consult_waited_s": round(sum(step.waited_s for step in steps), 2),
        "consult_taps": person.count(steps, "P"),
        "consult_keystrokes": person.count(steps, "K"),
        "consult_words_read": person.count(steps, "R"),
        "consult_minutes_is": "modelled (Keystroke-Level Model) with measured waits; paper by the same model",
        "consult_case": STANDARD,
    }
    passing = ["/sign-in", "/unlock", "/consultation/9", "/more"]
    passing += [f"/consultation#{step}" for step in ("emergency", "patient", "note", "vitals", "pictures")]
    seen = web_browser.accessible(url, [members[2], members[0], members[1]], passing, once=quick)
    if "skipped" in seen:
        return facts | {"axe_skipped": seen["skipped"]}
    return facts | {
        "axe_violations": len(seen["violations"]),
        "axe_are": seen["violations"],
        "axe_pages": len(seen["pages"]),
        "axe_pages_are": seen["pages"],
    }


def main() -> None:
    flags = ("quick: 60 s of 20 tablets, fewer repeats", "no-browser: leave out what needs chromium")
    arguments = options_of(__doc__, "json", "save", *flags)
    arguments.add_argument("--seconds", type=float, help="how long the tablets work (at most 3600)")
    given = arguments.parse_args()
    seconds = min(3600.0, given.seconds or (QUICK_S if given.quick else LONG_S))
    began = time.monotonic()
    facts = measured(seconds, quick=given.quick, in_browser=not given.no_browser)
    facts["seconds"] = round(time.monotonic() - began, 1)
    tell(facts, given, __file__, lines=True)


if __name__ == "__main__":
    main()
