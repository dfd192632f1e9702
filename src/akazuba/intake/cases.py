"""Cases from a file or from standard input: one case JSON, NDJSON (one case a line) or a FHIR Bundle.

JSON is read here, once. A file is streamed: of an NDJSON file only the current line is held, so a
batch of any length needs the memory of its longest line. A JSON array of cases is refused with a
word on NDJSON, because it could not be streamed and one slip would lose the whole batch.

    a whole file that is not text, is missing or empty      InputError from `read_cases`
    one case of it that cannot be used                      its CaseLine has `error`; the others go on
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NoReturn

from akazuba.errors import CaseError, InputError, encodable, why_not_opened
from akazuba.fhir import case_from_bundle
from akazuba.intake.checks import case_from, shown
from akazuba.records import Case

MAX_CASE_BYTES = 2 * 1024**2
MAX_BUNDLE_BYTES = 16 * 1024**2
"""A FHIR Bundle may carry its pictures inline (base64), about 12 MiB of them."""

_BOM = b"\xef\xbb\xbf"
_BUNDLE = re.compile(rb'"resourceType"\s*:\s*"Bundle"')
_ID_AT_START = re.compile(rb'\s*\{\s*"id"\s*:\s*"([^"\\\x00-\x1f]{1,200})"')


@dataclass(frozen=True)
class CaseLine:
    """One case of a source: `case`, or `error` when it cannot be used.

    item: where it stands, such as "cases.ndjson:3".
    case_id: the case's id; that of a refused case where it can be read, else `item`.
    input_sha256: of the case's bytes without white space around them (of the beginning when too long).
    base: folder that relative image paths start from.
    attachments: images that came inline, by the path that the case's `images` name them with.
    ignored: what of a FHIR Bundle was not read, with its count, such as {"Immunization": 2}.
    """

    item: str
    case_id: str
    case: Case | None
    error: CaseError | None
    input_sha256: str
    base: Path
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    ignored: Mapping[str, int] = field(default_factory=dict)


def parse_case(data: bytes, item: str, today: date | None = None) -> Case:
    """Reads one case JSON.

    item: names the case when no field can be blamed (broken JSON, say).
    today: a date of the case more than a day later is refused; None when no clock is trusted.
    Raises CaseError, whose item is otherwise the dotted path of the field ("images[1].kind").

    >>> parse_case(b'{"id": "c1", "vitals": {"spo2_percent": 0.93}}', "c1.json")
    Traceback (most recent call last):
    akazuba.errors.CaseError: vitals.spo2_percent: expected 20 to 100 %,
        found 0.93, which looks like a fraction: that would be 93 %
    """
    return case_from(_json(data, item), today)


def read_cases(source: str) -> Iterator[CaseLine]:
    """Gives every case of a file, or of standard input when `source` is "-", in order.

    Raises InputError when the file as a whole cannot be used: missing, a folder, unreadable, empty,
    not text.
    """
    item = "stdin" if source == "-" else encodable(source)
    base = Path() if source == "-" else Path(source).parent
    today = _today()
    with _opened(source, item) as stream:
        lines = _lines(stream)
        head: list[_Line] = []
        filled: list[_Line] = []
        while len(filled) < 2 and (line := next(lines, None)):
            head.append(line)
            filled += [line] if line.text else []
        if not filled:
            raise InputError(item, "a case as JSON, one case a line, or a FHIR Bundle", "an empty file")
        _refuse_binary(b"\n".join(line.text for line in filled)[:4096], item)
        if len(filled) == 1:
            yield _case_line(filled[0], item, base, today)
        elif _is_unfinished(filled[0].text) and not _is_object(filled[1].text):
            yield _case_line(_joined(chain(head, lines)), item, base, today)
        else:
            for line in chain(head, lines):
                if line.text:
                    yield _case_line(line, f"{item}:{line.number}", base, today)


# --- the bytes of one case ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """One line, or a document of many; only its beginning when it is longer than `limit` bytes."""

    number: int
    raw: bytes
    limit: int
    too_long: bool = False

    @property
    def text(self) -> bytes:
        return self.raw.strip()


@contextmanager
def _opened(source: str, item: str) -> Iterator[BinaryIO]:
    """The bytes of a source. Raises InputError when it cannot be opened, or not be read to its end."""
    if source == "-" and sys.stdin is None:
        raise InputError(item, "a case", "nothing: it is closed")
    if "\0" in source:
        raise InputError(item, "a file", "a name with a NUL in it")
    try:
        with nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb") as stream:
            yield stream
    except FileNotFoundError as problem:
        raise InputError(item, "a file", "nothing of that name") from problem
    except IsADirectoryError as problem:
        raise InputError(item, "a file", "a folder") from problem
    except OSError as problem:
        raise InputError(item, "a file that can be read", why_not_opened(problem)) from problem


def _lines(stream: BinaryIO) -> Iterator[_Line]:
    """Every line, blank ones too, without a byte order mark; no more than its limit is ever held."""
    number, limit = 0, MAX_CASE_BYTES
    while raw := stream.readline(MAX_CASE_BYTES + 1):
        number += 1
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if _BUNDLE.search(raw[:4096]):
            limit = MAX_BUNDLE_BYTES
        if not raw.endswith(b"\n") and limit > MAX_CASE_BYTES:
            raw += stream.readline(limit + 1 - len(raw))
        if raw.endswith(b"\n") or len(raw) <= limit:
            yield _Line(number, raw, limit)
            continue
        yield _Line(number, raw[:4096], limit, too_long=True)
        del raw
        while (rest := stream.readline(MAX_CASE_BYTES)) and not rest.endswith(b"\n"):
            pass


def _joined(lines: Iterator[_Line]) -> _Line:
    """A document of many lines as one."""
    parts: list[bytes] = []
    size, limit = 0, MAX_CASE_BYTES
    for line in lines:
        parts.append(line.raw)
        size += len(line.raw)
        limit = line.limit
        if line.too_long or size > limit:
            return _Line(1, parts[0], limit, too_long=True)
    return _Line(1, b"".join(parts), limit)


def _refuse_binary(beginning: bytes, item: str) -> None:
    """Refuses a picture, a PDF, an archive … as a whole, where every "line" would be an error."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{")):
        raise InputError(item, "text in UTF-8", "text in UTF-16 (save it again as UTF-8)")
    if beginning[:1] not in (b"{", b"[") and re.search(rb"[\0-\x08\x0e-\x1f\x80-\xff]", beginning):
        raise InputError(item, "a case as text (JSON in UTF-8)", "a file that is no such text")


def _is_unfinished(text: bytes) -> bool:
    """Whether a line is the beginning of JSON that goes on below it."""
    try:
        json.loads(text)
    except json.JSONDecodeError as problem:
        return problem.pos >= len(problem.doc) and problem.doc[:1] in "{["
    except (ValueError, RecursionError):
        return False
    return False


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


# --- one case -----------------------------------------------------------------------------------


def case_line(text: bytes, item: str) -> CaseLine:
    """One case that is no file's: from another program. Whatever is wrong with it stands in the line."""
    limit = MAX_BUNDLE_BYTES if _BUNDLE.search(text[:4096]) else MAX_CASE_BYTES
    too_long = len(text) > limit
    line = _Line(1, text[:4096] if too_long else text, limit, too_long)
    return _case_line(line, item, Path(), _today())


def _case_line(line: _Line, item: str, base: Path, today: date | None) -> CaseLine:
    """Reads one case; whatever is wrong with it stands in the line, so that the next one is read."""
    text = line.text
    digest = hashlib.sha256(text).hexdigest()
    case_id = match[1].decode("utf-8", "replace") if (match := _ID_AT_START.match(text)) else item
    attachments: Mapping[str, bytes] = {}
    ignored: Mapping[str, int] = {}
    try:
        _refuse_too_long(line, item)
        value = _json(text, item)
        if isinstance(value, dict) and isinstance(value.get("id"), str) and value["id"]:
            case_id = encodable(value["id"][:200])
        if isinstance(value, dict) and "resourceType" in value:
            reading = case_from_bundle(value)
            attachments = reading.attachments
            ignored = {encodable(name): count for name, count in reading.ignored.items()}
            value = {"id": item[-200:], **reading.case}
            case_id = encodable(str(value["id"])[:200])
        case = case_from(value, today)
    except CaseError as error:
        return CaseLine(item, case_id, None, error, digest, base)
    return CaseLine(item, case.id, case, None, digest, base, attachments, ignored)


def _refuse_too_long(line: _Line, item: str) -> None:
    if line.too_long:
        raise CaseError(item, f"at most {line.limit / 1024**2:g} MiB for one case", "more")


def _json(data: bytes, item: str) -> object:
    """Parses JSON strictly: each key once, no endless numbers, UTF-8 only. Raises CaseError."""
    try:
        text = data.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as problem:
        found = f"byte {data[problem.start]:#04x} at {problem.start}"
        raise CaseError(item, "text in UTF-8", found) from problem
    try:
        value: object = json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_constant=float)
    except json.JSONDecodeError as problem:
        _refuse_text(item, text, problem)
    except RecursionError as problem:
        raise CaseError(item, "a case of 3 levels of nesting", "hundreds of levels") from problem
    if isinstance(value, list):
        raise CaseError(item, "one case, or one case a line (NDJSON)", f"a JSON array of {len(value)}")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise CaseError(shown(key), "each field once", "it twice")
            seen.add(key)
    return value


def _integer(digits: str) -> int | float:
    """A whole number; as a float when no field could hold it, so that it is refused by its place."""
    return int(digits) if len(digits) <= 18 else float(digits)


def _refuse_text(item: str, text: str, problem: json.JSONDecodeError) -> NoReturn:
    if not text.strip():
        found = "nothing"
    elif text.lstrip().startswith("<"):
        found = "XML or HTML (FHIR is read as JSON)"
    elif problem.pos >= len(text):
        found = "JSON that ends too early"
    else:
        found = f"{problem.msg} at line {problem.lineno}, column {problem.colno}"
    raise CaseError(item, "a case as JSON", found) from problem


def _today() -> date | None:
    """Today by the box's clock; None when the clock was lost (it then starts in 1970 or 2000)."""
    day = datetime.now().astimezone().date()
    return day if day.year >= 2025 else None
