"""A request to a key management entity, read and checked: what is wrong with it is an answer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from akazuba.privacy.qkd import messages
from akazuba.privacy.qkd.messages import Extension, KeyId, KeyIds, KeyRequest, decoded

Said = TypeVar("Said")


@dataclass(frozen=True)
class Request:
    """path: still percent-encoded. media: the Content-Type, "" for none."""

    method: str
    path: str
    query: str = ""
    media: str = ""
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Answer:
    """body: JSON, or nothing (401 has no data model)."""

    status: int
    body: bytes = field(default=b"", repr=False)
    allow: str = ""


class RefusedError(Exception):
    """The answer to a request that cannot be met; `Kme.answer` turns it into one."""

    def __init__(
        self, status: int, message: str = "", details: Sequence[Extension] = (), allow: str = ""
    ) -> None:
        super().__init__(message)
        body = messages.Error(message, tuple(details))
        self.answer = Answer(status, msgspec.json.encode(body) if message else b"", allow)


def bad(message: str) -> NoReturn:
    raise RefusedError(400, message)


def known(caller: str | None, wanted: str) -> None:
    if caller != wanted:
        raise RefusedError(401)


def only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise RefusedError(405, "no such method", allow=", ".join(methods))


def read(body: bytes, kind: type[Said]) -> Said:
    said = decoded(body, kind)
    if isinstance(said, str):
        raise RefusedError(400, "Bad request format", [{"found": said[:200]}])
    return said


def _posted(request: Request, kind: type[Said]) -> Said:
    if request.media.split(";")[0].strip().lower() not in ("", "application/json"):
        bad("the body shall be application/json")
    return read(request.body, kind)


def _asked(request: Request, *names: str) -> dict[str, str]:
    """The query of a GET, which may hold these names once each."""
    try:
        pairs = parse_qsl(request.query, keep_blank_values=True, errors="strict", max_num_fields=8)
    except ValueError:
        bad("Bad request format")
    if any(name not in names for name, _ in pairs) or len(dict(pairs)) != len(pairs):
        bad(f"the query shall hold {' and '.join(names)} at most, once each")
    return dict(pairs)


def key_request(request: Request) -> KeyRequest:
    """Clause 5.3: GET with `number` and `size` at most; POST with a Key request, or without a body."""
    if request.method == "POST":
        return _posted(request, KeyRequest) if request.body else KeyRequest()
    given = _asked(request, "number", "size")
    if not all(text.isascii() and text.isdigit() and len(text) < 10 and int(text) for text in given.values()):
        bad("number and size shall be positive integers")
    size = given.get("size")
    return KeyRequest(int(given.get("number", "1")), msgspec.UNSET if size is None else int(size))


def key_ids(request: Request) -> Sequence[KeyId]:
    """Clause 5.4: GET with one key_ID; POST with Key IDs."""
    if request.method == "POST":
        return _posted(request, KeyIds).key_IDs
    given = _asked(request, "key_ID")
    return [KeyId(text) for text in given.values()]


def steps(request: Request) -> list[str]:
    """Of the path, decoded."""
    try:
        return [unquote(step, errors="strict") for step in request.path.split("/")]
    except UnicodeDecodeError:
        bad("the path shall be UTF-8")
