"""A box for `web.py`: 6,000 patients, its users, recorded consultations, and `akazuba serve` in a process of
its own. The consultations are the built-in examples, each assessed once by the engine and recorded again and
again under other ids and patients.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

sys.path.append(str(Path(__file__).parent))

import records as stored

from akazuba.box import open_box
from akazuba.governance.decisions import record_consultation
from akazuba.governance.pins import weakness
from akazuba.governance.roles import Role
from akazuba.governance.users import PASSPHRASE, add
from akazuba.records import Assessment
from akazuba.settings import Settings
from akazuba.storage.store import Store
from akazuba.storage.unlocking import set_up
from akazuba.web.consulting import Came, answered

EXAMPLES = Path(__file__).resolve().parent.parent / "src" / "akazuba" / "examples"
OF_THE_DAY = "a passphrase of the day"
TABLETS, CONSULTATIONS = 20, 400
SAID = "serve.stderr"
"""In the home: what the process wrote of its troubles."""


@dataclass(frozen=True)
class Member:
    """Of the staff. id: what she signs in with."""

    id: str
    role: Role
    pin: str


@dataclass(frozen=True)
class Example:
    """A case of the examples' folder, with its pictures by the path that it names them with."""

    name: str
    case: Mapping[str, Any]
    pictures: Mapping[str, bytes]

    def data(self, id_: str, **more: object) -> bytes:
        """The case as JSON under another id. more: fields of it that are others."""
        return json.dumps({**self.case, "id": id_, **more}).encode()


def examples() -> list[Example]:
    found = []
    for path in sorted(EXAMPLES.glob("*.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        named = [image["path"] for image in case.get("images", ())]
        found.append(Example(path.stem, case, {name: (EXAMPLES / name).read_bytes() for name in named}))
    return found


def staff() -> list[Member]:
    """A supervisor first, then an auditor, then a clinician for each tablet: a user has few sessions."""
    chance = random.Random(9)

    def pin(digits: int) -> str:
        while weakness(drawn := "".join(chance.choices("0123456789", k=digits))):
            pass
        return drawn

    rest = [
        Member(f"clinician-{'abcdefghijklmnopqrstuvwxyz'[i]}", "clinician", pin(4)) for i in range(TABLETS)
    ]
    return [Member("head", "supervisor", pin(6)), Member("reader", "auditor", pin(6)), *rest]


def made(home: Path, consultations: int = CONSULTATIONS) -> list[Member]:
    """Builds the box, sets its store up and fills it."""
    people, members = stored.people(), staff()
    engine = open_box(Settings(home, llm="off"))
    shown = [(each, answered(engine, Came(each.data(each.name), each.pictures))) for each in examples()]
    key = set_up(home, OF_THE_DAY)
    with closing(Store(home, key, stored.now_ms)) as store:
        for member in members:
            by = PASSPHRASE if member.role == "supervisor" else members[0].id
            add(store, by, member.id.replace("-", " ").title(), member.role, member.pin)
        for person in people:
            store.admit(person, members[2].id)
        for number in range(consultations):
            example, answer = shown[number % len(shown)]
            data = example.data(f"c-earlier-{number}")
            document = _of(answer.assessment, f"c-earlier-{number}", data)
            patient = people[number * 7 % len(people)].id
            record_consultation(store, data, document, members[2].id, patient, pictures=example.pictures)
    return members


def _of(assessment: Assessment, id_: str, data: bytes) -> bytes:
    """The same assessment of a case that differs in its id only."""
    known = msgspec.structs.replace(assessment.provenance, input_sha256=sha256(data.strip()).hexdigest())
    return msgspec.json.encode(msgspec.structs.replace(assessment, case_id=id_, provenance=known))


@dataclass(frozen=True)
class Served:
    """`akazuba serve` of one home. started_s: from the command to the address on its output. authority: the
    file that says whom to trust, with TLS.
    """

    pid: int
    url: str
    started_s: float
    authority: str = ""


@contextmanager
def served(home: Path, *, tls: bool = False) -> Iterator[Served]:
    """On a free port of 127.0.0.1, without a language model, until the block ends."""
    command = [str(Path(sys.executable).parent / "akazuba"), "serve", "--port", "0"]
    command += ["--tls"] if tls else []
    environment = {**os.environ, "AKAZUBA_HOME": str(home), "AKAZUBA_LLM": "off", "PYTHONUNBUFFERED": "1"}
    with (home / SAID).open("w", encoding="utf-8") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        began = time.perf_counter()
        url = process.stdout.readline().strip().rstrip("/") if process.stdout else ""
        took = round(time.perf_counter() - began, 2)
        if not url.startswith("http"):
            raise SystemExit(f"error: akazuba serve: expected its address, found {url!r}")
        authority = process.stdout.readline().strip().rpartition(": ")[2] if tls and process.stdout else ""
        yield Served(process.pid, url, took, authority)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def tracebacks(home: Path) -> int:
    return (
        (home / SAID).read_text(encoding="utf-8", errors="replace").count("Traceback (most recent call last)")
    )


def memory(pid: int) -> dict[str, float]:
    """MiB of a process and its children, by the kernel: resident, proportional (what several share is divided
    among them), and the most that was ever resident.
    """
    family, found = [pid], {"rss": 0.0, "pss": 0.0, "peak": 0.0}
    for each in family:
        family += _children(each)
    for each in family:
        rollup, status = Path(f"/proc/{each}/smaps_rollup"), Path(f"/proc/{each}/status")
        found["rss"] += _kib(rollup, "Rss:") / 1024
        found["pss"] += _kib(rollup, "Pss:") / 1024
        found["peak"] += _kib(status, "VmHWM:") / 1024
    return {name: round(value, 1) for name, value in found.items()}


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text(encoding="ascii").split()]


def _kib(path: Path, name: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
