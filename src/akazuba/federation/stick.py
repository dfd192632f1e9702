"""A stick carries what a line cannot: updates to a gateway, its answers and the newest model back.

A terminal's copy stays in its outbox until a signed answer came back, so a stick may be lost. What is on it
is signed and not encrypted: whoever finds it reads the updates, which is why they are clipped, and noised or
masked where the programme says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from akazuba.durable import write_durably
from akazuba.errors import ArtefactError, InputError, why_not_opened
from akazuba.federation.outbox import Outbox
from akazuba.privacy.keys.signed import MAX_BYTES

FOLDER = "akazuba-federation"
UPDATE, ANSWER, MODEL = ".update", ".answer", ".model"


def export(outbox: Outbox, stick: Path) -> list[Path]:
    """Writes every update that waits and is not there yet; the files, the oldest first.

    Each is whole on the stick when this returns, whenever it is pulled out. Raises InputError for a folder
    that is not there, ArtefactError when it is full or write-protected (what was written before stays).
    """
    if not stick.is_dir():
        raise InputError(str(stick), "a folder, where the stick is mounted", "none")
    written = []
    for one in outbox.waiting():
        path = stick / FOLDER / f"{one.id}{UPDATE}"
        if not path.exists():
            put(path, outbox.read(one.id))
        written.append(path)
    return written


def found(stick: Path, ending: str) -> Iterator[tuple[Path, bytes]]:
    """The files of one kind on a stick, in the order of their names. Raises InputError for one that cannot be
    read or is too large.
    """
    for path in sorted((stick / FOLDER).glob(f"*{ending}")):
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as problem:
            raise InputError(str(path), "a file that can be read", why_not_opened(problem)) from problem
        if len(data) > MAX_BYTES:
            raise InputError(str(path), f"at most {MAX_BYTES} bytes", "more")
        yield path, data


def put(path: Path, data: bytes) -> None:
    """Raises ArtefactError when there is no room."""
    try:
        write_durably(path, data)
    except OSError as problem:
        expected = f"room for {len(data)} bytes on the stick"
        raise ArtefactError(str(path), expected, why_not_opened(problem)) from problem


def deliver(stick: Path, take: Callable[[bytes], bytes | None]) -> tuple[int, int]:
    """At a gateway: hands each update on the stick to `take` and puts its signed answer beside it. Updates
    that were answered before are answered again. Returns the numbers of answers and of updates without one.
    """
    answers = without = 0
    for path, data in found(stick, UPDATE):
        answer = take(data)
        if answer is None:
            without += 1
        else:
            put(path.with_suffix(ANSWER), answer)
            answers += 1
    return answers, without


def collect(stick: Path, answered: Callable[[bytes], object]) -> int:
    """Back at the terminal: takes the answers in and removes the updates that they are about."""
    taken = 0
    for path, data in found(stick, ANSWER):
        answered(data)
        path.with_suffix(UPDATE).unlink(missing_ok=True)
        path.unlink()
        taken += 1
    return taken
