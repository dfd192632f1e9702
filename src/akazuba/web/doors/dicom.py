"""The DICOM door: STOW-RS (DICOM PS3.18, 10.5), a watched folder, and the list from which a nurse attaches.

What comes in is decoded in a process of its own, reduced, and stripped of every word; the box is no archive
and says so in its answer. Failure reasons: PS3.18, I.2.2 and PS3.4, B.2.3.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from akazuba.durable import write_durably
from akazuba.errors import AkazubaError, ImageError, InputError, LockedError, why_not_opened
from akazuba.intake import films
from akazuba.intake.films import Head
from akazuba.intake.images import MAX_FILE_BYTES
from akazuba.web import access, arriving
from akazuba.web.doors.tokens import TokenError, program
from akazuba.web.log_screen import moment
from akazuba.web.pages import fragment, page
from akazuba.web.post import Lane, Post

WRITE = "system/*.write"
MOST_PARTS = 16
INBOX, REFUSED, SOURCE = "inbox-dicom", "refused", "inbox"
EVERY_S = 5.0
"""Between two looks into the folder: what is as large and as old at the second is whole."""

UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart")
CANNOT_UNDERSTAND, NOT_SUPPORTED, OUT_OF_RESOURCES = 0xC000, 0x0122, 0xA700
DISCARDED = 0xB006
"""Elements were discarded: all of them but the picture, reduced to 1024 pixels."""

FILMS = Lane("films")
"""One file at a time: each may need the memory that a decoder is allowed."""

Json = dict[str, object]


def routes() -> list[BaseRoute]:
    return [
        Route("/dicom-web/studies", store, methods=["POST"]),
        Route("/pictures", pictures_page),
        Route("/pictures/rows", rows),
        Route("/pictures/{id:str}/image", image),
        Route("/pictures/{id:str}/take", take, methods=["POST"]),
        Route("/pictures/{id:str}/discard", discard, methods=["POST"]),
    ]


# --- STOW-RS --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """One part of a request. reason: why it failed, 0 when it did not."""

    head: Head
    reason: int = 0
    words: str = ""


async def store(request: Request) -> Response:
    """202 with what was taken in and what was not, 409 when nothing was, 400 and 415 for another request."""
    try:
        who = await program(request, WRITE)
        kind, boundary = _boundary(request.headers.get("content-type", ""))
        if kind is None:
            expected = 'multipart/related; type="application/dicom"'
            found = request.headers.get("content-type", "none")[:80]
            return _error(415, f"Content-Type: expected {expected}, found {found}")
        found_parts = await asyncio.to_thread(parts, await request.body(), boundary)
    except TokenError as problem:
        return JSONResponse({"error": problem.words}, problem.status, problem.headers)
    except InputError as problem:
        return _error(400, str(problem))
    post: Post = request.app.state.post
    done = [
        await _stored(post, who.log_name, f"part {number}", part)
        for number, part in enumerate(found_parts, 1)
    ]
    status = 409 if all(each.reason for each in done) else 202
    words = "; ".join(each.words for each in done if each.words)
    headers = {"Warning": f'299 akazuba "{_ascii(words)}"'} if words else {}
    return Response(msgspec.json.encode(answer(done)), status, headers, "application/dicom+json")


async def _stored(post: Post, source: str, name: str, part: Part) -> Stored:
    if part.kind != "application/dicom":
        words = f"{name}: expected application/dicom, found {part.kind[:60] or 'nothing'}"
        return Stored(Head(), CANNOT_UNDERSTAND, words)
    head, film = await FILMS(partial(films.read, part.data, name))
    if isinstance(film, ImageError):
        reason = NOT_SUPPORTED if head.sop_class else CANNOT_UNDERSTAND
        return Stored(head, reason, str(film))
    try:
        await post.records(partial(arriving.take_in, source=source, data=part.data, head=head, film=film))
    except AkazubaError as problem:
        return Stored(head, OUT_OF_RESOURCES, str(problem))
    return Stored(head)


def answer(done: list[Stored]) -> Json:
    """PS3.18, I.2.1: no Retrieve URL, for nothing is served; what was taken in, and what not."""
    named = [each for each in done if each.reason and each.head.sop_instance]
    sequences = {
        "00081198": [{**_named(each.head), "00081197": _value("US", each.reason)} for each in named],
        "00081199": [
            {**_named(each.head), "00081196": _value("US", DISCARDED)} for each in done if not each.reason
        ],
        "0008119A": [
            {"00081197": _value("US", each.reason)}
            for each in done
            if each.reason and not each.head.sop_instance
        ],
    }
    return {
        "00081190": {"vr": "UR"},
        **{tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items},
    }


def _named(head: Head) -> Json:
    return {"00081150": _value("UI", head.sop_class), "00081155": _value("UI", head.sop_instance)}


def _value(vr: str, value: object) -> Json:
    return {"vr": vr, "Value": [value]} if value != "" else {"vr": vr}


@dataclass(frozen=True)
class Part:
    """kind: its media type, without parameters."""

    kind: str
    data: bytes


def parts(body: bytes, boundary: bytes) -> list[Part]:
    r"""Of a multipart/related body (RFC 2387). Raises InputError for a broken, unfinished or empty one.

    >>> parts(b"--b\r\nContent-Type: application/dicom\r\n\r\n\0\r\n--b--\r\n", b"b")
    [Part(kind='application/dicom', data=b'\x00')]
    """
    found, ended = list[Part](), [False]
    header = dict[bytes, bytes]()
    name, value, data = bytearray(), bytearray(), bytearray()

    def begin() -> None:
        header.clear()
        data.clear()

    def header_end() -> None:
        header[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def end() -> None:
        if len(found) >= MOST_PARTS:
            raise InputError("body", f"at most {MOST_PARTS} parts", "more")
        kind = parse_options_header(header.get(b"content-type", b""))[0].decode("ascii", "replace")
        found.append(Part(kind.lower(), bytes(data)))

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_header_field": lambda all_, first, last: name.extend(all_[first:last]),
            "on_header_value": lambda all_, first, last: value.extend(all_[first:last]),
            "on_header_end": header_end,
            "on_part_data": lambda all_, first, last: data.extend(all_[first:last]),
            "on_part_end": end,
            "on_end": lambda: ended.__setitem__(0, True),
        },
    )
    try:
        parser.write(body)
    except MultipartParseError as problem:
        raise InputError("body", "multipart/related as RFC 2387 has it", str(problem)[:120]) from problem
    if not ended[0] or not found:
        raise InputError("body", "one part or more and an end", "an unfinished body" if found else "none")
    return found


def _boundary(content_type: str) -> tuple[str | None, bytes]:
    kind, options = parse_options_header(content_type)
    of = options.get(b"type", b"").lower()
    boundary = options.get(b"boundary", b"")
    fits = kind == b"multipart/related" and of == b"application/dicom" and 0 < len(boundary) <= 70
    return ("multipart/related" if fits else None), boundary


def _error(status: int, error: str) -> Response:
    return JSONResponse({"error": error}, status)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode().replace('"', "'").replace("\r", " ").replace("\n", " ")


# --- the watched folder ---------------------------------------------------------------------------------

Seen = Mapping[Path, tuple[int, int, int]]


async def watch(post: Post) -> None:
    """As long as the page is served: takes in what lies in `inbox-dicom/` under the box's home."""
    seen: Seen = {}
    while True:
        with suppress(AkazubaError, OSError):  # a full disk, say: the next look meets it too
            seen = await look(post, seen)
        await asyncio.sleep(EVERY_S)


async def look(post: Post, seen: Seen) -> Seen:
    """One look. Files that stood there at the last one, as large and as old, are taken in or refused."""
    inbox = post.settings.home / INBOX
    if post.state == "none":
        return {}
    now = await asyncio.to_thread(_files, inbox)
    for path, mark in now.items():
        if seen.get(path) == mark:
            await _taken(post, inbox, path, mark)
    return now


def _files(inbox: Path) -> dict[Path, tuple[int, int, int]]:
    """Size, age and inode by path. An empty file is one that somebody is about to write."""
    inbox.mkdir(mode=0o700, exist_ok=True)
    found = {}
    for folder, folders, names in os.walk(inbox):
        if Path(folder) == inbox and REFUSED in folders:
            folders.remove(REFUSED)
        for name in names:
            path = Path(folder) / name
            with suppress(FileNotFoundError):
                about = path.lstat()
                if about.st_size and not name.startswith(".") and not name.lower().endswith(UNFINISHED):
                    found[path] = (about.st_size, about.st_mtime_ns, about.st_ino)
    return found


async def _taken(post: Post, inbox: Path, path: Path, mark: tuple[int, int, int]) -> None:
    """The file goes only once its picture is sealed and on the disk."""
    try:
        data = await asyncio.to_thread(_read, path, mark)
        if data is None:
            return
        head, film = await FILMS(partial(films.read, data, path.name))
        if isinstance(film, ImageError):
            raise film
    except ImageError as problem:
        await asyncio.to_thread(_refuse, inbox, path, str(problem))
        return
    try:
        await post.records(partial(arriving.take_in, source=SOURCE, data=data, head=head, film=film))
    except (InputError, LockedError):
        return  # too many wait, or nothing can: it stays where it is
    await asyncio.to_thread(path.unlink, missing_ok=True)


def _read(path: Path, mark: tuple[int, int, int]) -> bytes | None:
    """None when it changed meanwhile. No link is followed: it could lead to any file of this box."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise ImageError(path.name, "a file, no link", why_not_opened(problem)) from problem
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ImageError(path.name, "a file", "a device or pipe")
        if about.st_size > MAX_FILE_BYTES:
            raise ImageError(path.name, f"at most {MAX_FILE_BYTES} bytes", f"{about.st_size} bytes")
        data = file.read(MAX_FILE_BYTES + 1)
        after = os.fstat(file.fileno())
    return data if (after.st_size, after.st_mtime_ns, after.st_ino) == mark and len(data) == mark[0] else None


def _refuse(inbox: Path, path: Path, why: str) -> None:
    folder = inbox / REFUSED
    folder.mkdir(mode=0o700, exist_ok=True)
    name, number = path.name, 1
    while os.path.lexists(folder / name):
        number += 1
        name = f"{path.stem}-{number}{path.suffix}"
    with suppress(FileNotFoundError):
        path.rename(folder / name)
        write_durably(folder / f"{name}.reason.txt", f"{why}\n".encode("utf-8", "replace"))


# --- for the nurse --------------------------------------------------------------------------------------


async def pictures_page(request: Request) -> Response:
    return await page(request, "pictures.html", lines=await _lines(request), whys=arriving.WHYS)


async def rows(request: Request) -> Response:
    """For the consultation's step: each has a button with `data-arrived`."""
    return fragment(request, "pictures_rows.html", lines=await _lines(request), whys=())


async def _lines(request: Request) -> list[tuple[arriving.Line, str]]:
    granted = await access.demand(request, "record")
    found = await access.post_of(request).records(lambda kept: arriving.waiting(kept, granted.user.id))
    return [(line, moment(line.about.at_ms)) for line in found]


async def image(request: Request) -> Response:
    granted = await access.demand(request, "record")
    id_ = request.path_params["id"]
    png = await access.post_of(request).records(lambda kept: arriving.opened(kept, granted.user.id, id_))
    return Response(png, media_type="image/png")


async def take(request: Request) -> Response:
    """The picture itself, for the consultation `case` on this tablet."""
    form = await access.posted(request)
    granted = await access.demand(request, "record")
    id_, case = request.path_params["id"], access.field(form, "case", 64)
    png = await access.post_of(request).records(lambda kept: arriving.take(kept, granted.user.id, id_, case))
    return Response(png, media_type="image/png")


async def discard(request: Request) -> Response:
    form = await access.posted(request)
    granted = await access.demand(request, "record")
    id_, because = request.path_params["id"], access.field(form, "because", 80)
    await access.post_of(request).records(lambda kept: arriving.discard(kept, granted.user.id, id_, because))
    return RedirectResponse("/pictures", 303)
