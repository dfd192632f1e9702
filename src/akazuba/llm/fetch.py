"""Fetches a language model over http(s), for whoever sets up a box.

A file gets its name only when its SHA-256 is the expected one. Until then it is NAME.gguf.part, which
outlives a cut line, a full disk and this process; the next fetch goes on from there. NAME.gguf.part.json says
what the server said of the file that it is a part of.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Annotated
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

import msgspec
from msgspec import Meta

from akazuba.datafile import read_rows, refuse_repeats
from akazuba.errors import InputError, ModelError, why_not_opened
from akazuba.llm.model import GGUF_MAGIC
from akazuba.records import Value

MODELS = Path(__file__).parent / "models.json"
LARGEST = 64 * 2**30
"""Bytes of a file of which nobody said how large it is."""
TRIES = 5
"""So many in a row that bring nothing new, and it is left for another day."""
_NAME, _DIGEST = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z", r"^[0-9a-f]{64}\Z"
_PASSING = {408, 425, 429, 500, 502, 503, 504}

Digest = Annotated[str, Meta(pattern=_DIGEST)]
Ask = Callable[[dict[str, str]], HTTPResponse]
Progress = Callable[[int, int], None]
"""Bytes that are there, and bytes of the whole (0: not known). It goes back when a fetch starts anew."""


class KnownModel(Value, frozen=True):
    """A GGUF file and where it lies; here it becomes NAME.gguf.

    sha256, size_bytes: None where the makers could not confirm them; `note` says where they are from.
    languages: ISO 639-1, as its authors name them. mmproj_url: of the projector with which it reads pictures.
    """

    name: Annotated[str, Meta(pattern=_NAME)]
    title: str
    url: str
    sha256: Digest | None
    size_bytes: int | None
    licence: str
    languages: tuple[str, ...]
    note: str
    mmproj_url: str | None = None
    mmproj_sha256: Digest | None = None

    @property
    def projector(self) -> KnownModel | None:
        """A file to fetch as well: NAME-mmproj.gguf."""
        if self.mmproj_url is None:
            return None
        name, url, digest = f"{self.name}-mmproj", self.mmproj_url, self.mmproj_sha256
        return KnownModel(name, self.title, url, digest, None, self.licence, (), self.note)


def known_models() -> dict[str, KnownModel]:
    """By name, in the file's order. Raises ArtefactError."""
    rows = msgspec.json.decode(MODELS.read_bytes(), type=list[msgspec.Raw])
    models = read_rows(rows, KnownModel, f"{MODELS.name}, model")
    refuse_repeats(f"{MODELS.name}, model", (model.name for model in models))
    return {model.name: model for model in models}


def model_named(name_or_url: str) -> KnownModel:
    """A known model, or the file at an address, of which nothing is known. Raises InputError."""
    if found := known_models().get(name_or_url):
        return found
    if "://" not in name_or_url:
        raise InputError("model", f"{', '.join(known_models())} or an address", repr(name_or_url))
    _refuse_other_addresses(name_or_url)
    name = unquote(urlsplit(name_or_url).path).rpartition("/")[2].removesuffix(".gguf")
    if not re.match(_NAME, name):
        raise InputError("model", "an address that ends with a file's name", repr(name_or_url))
    return KnownModel(name, name, name_or_url, None, None, "not known", (), "named by its address")


class SafeRedirects(HTTPRedirectHandler):
    """A few, and none that leaves https: over http, anybody on the way may answer."""

    max_redirections = 5

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        target = urlsplit(newurl)
        if target.scheme not in {req.type, "https"}:
            fp.close()
            found = f"one to {target.scheme}://{target.netloc}"
            raise ModelError(req.full_url, f"a redirect that stays with {req.type}", found)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    source: KnownModel,
    folder: Path,
    progress: Progress | None = None,
    *,
    sha256: str | None = None,
    opener: OpenerDirector | None = None,
    pause: Callable[[float], None] = time.sleep,
    timeout_s: float = 30.0,
) -> Path:
    """The file in `folder`, fetched unless it is there; one of its name with another digest gives way to it.

    sha256: needed where `source` has none. pause: waits so many seconds before another try. timeout_s: the
    longest that the line may be silent. Raises InputError for what was asked, ModelError for what came of it.
    """
    digest = _expected(source, sha256)
    _refuse_other_addresses(source.url)
    through = opener or build_opener(SafeRedirects())

    def ask(headers: dict[str, str]) -> HTTPResponse:
        request = Request(source.url, headers=headers)  # noqa: S310 (checked above)
        answer: HTTPResponse = through.open(request, timeout=timeout_s)
        return answer

    target = folder / f"{source.name}.gguf"
    try:
        if target.is_file() and _sha256(target) == digest:
            return target
        with _alone(target):
            part = _Part(target, digest)
            _download(source, part, ask, progress or (lambda *_: None), pause)
            _accept(source, part, target)
    except OSError as problem:  # the line's own faults are ModelError by now
        expected = "a folder that takes the whole file (what came is kept)"
        raise ModelError(str(folder), expected, why_not_opened(problem)) from problem
    return target


def _expected(source: KnownModel, given: str | None) -> str:
    digest = (given or source.sha256 or "").lower()
    if not re.match(_DIGEST, digest):
        raise InputError(
            f"--sha256 of {source.name}", "64 hexadecimal digits", repr(given) if given else "none"
        )
    if source.sha256 not in {None, digest}:
        raise InputError(f"--sha256 of {source.name}", f"{source.sha256}, which is known", digest)
    return digest


def _refuse_other_addresses(url: str) -> None:
    if not re.match(r"(?i)https?://[\w.-]+(:\d{1,5})?/[!-~]*\Z", url, re.ASCII):
        raise InputError("model", "an address such as https://host/model.gguf", repr(url))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One fetch of a file at a time. The lock file stays: who removes it may remove another's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise ModelError(str(target), "one fetch at a time", "another one under way") from problem
        yield


class _CutError(Exception):
    """Another try may help."""


class _State(msgspec.Struct, frozen=True):
    """validator: the server's name of this state of its file, for If-Range. total: bytes of all of it."""

    sha256: str
    validator: str = ""
    total: int | None = None


class _Part:
    """NAME.gguf.part and NAME.gguf.part.json; both start anew when they are of another digest, or of none."""

    def __init__(self, target: Path, digest: str) -> None:
        self.path, self._side = (target.with_name(target.name + end) for end in (".part", ".part.json"))
        try:
            self.state = msgspec.json.decode(self._side.read_bytes(), type=_State)
        except (OSError, msgspec.DecodeError):
            self.state = _State("")
        if self.state.sha256 != digest:
            self.begin(_State(digest))

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, state: _State) -> None:
        self.drop()
        self._side.write_bytes(msgspec.json.encode(state))
        self.state = state

    def drop(self) -> None:
        for file in (self.path, self._side):
            file.unlink(missing_ok=True)


def _download(
    source: KnownModel, part: _Part, ask: Ask, progress: Progress, pause: Callable[[float], None]
) -> None:
    furthest, fruitless = part.size, 0
    while True:
        try:
            return _once(source, part, ask, progress)
        except _CutError as cut:
            fruitless = 0 if part.size > furthest else fruitless + 1
            furthest = max(part.size, furthest)
            if fruitless == TRIES:
                found = f"{cut}, {TRIES} times in a row ({part.size} bytes are kept)"
                raise ModelError(source.name, f"the whole file from {source.url}", found) from cut
        pause(2.0**fruitless)


def _once(source: KnownModel, part: _Part, ask: Ask, progress: Progress) -> None:
    """One request, written to its end. Raises _CutError when another one may help."""
    headers = {"User-Agent": "akazuba"}
    if have := part.size:
        if have == (part.state.total or source.size_bytes):
            return
        headers["Range"] = f"bytes={have}-"
        if part.state.validator:
            headers["If-Range"] = part.state.validator
    try:
        answer = ask(headers)
    except HTTPError as refusal:
        with refusal:
            if not have or refusal.code != 416:
                raise _refused(source, refusal) from refusal
            if refusal.headers.get("Content-Range") != f"bytes */{have}":
                part.drop()
                raise _CutError("a shorter file than before") from refusal
            return
    except (OSError, HTTPException) as problem:
        raise _cut(problem) from problem
    with answer:
        _write(source, part, answer, progress)


def _refused(source: KnownModel, refusal: HTTPError) -> Exception:
    said = f"{refusal.code} {refusal.reason}"
    if refusal.code in _PASSING:
        return _CutError(said)
    if refusal.code in {401, 403}:
        said += " (where a licence must be accepted first, fetch the file by hand)"
    elif refusal.code < 400:
        said = f"more than {SafeRedirects.max_redirections} redirects, or one in a circle"
    return ModelError(source.name, f"the file at {source.url}", said)


def _cut(problem: Exception) -> _CutError:
    reason = problem.reason if isinstance(problem, URLError) else problem
    return _CutError(str(reason) or type(reason).__name__)


def _write(source: KnownModel, part: _Part, answer: HTTPResponse, progress: Progress) -> None:
    done, found = _described(answer, part.state.sha256)
    same = found.total in {None, part.state.total} and found.validator in {"", part.state.validator}
    if done and (done != part.size or not same):
        part.drop()
        raise _CutError("another file than before")
    if found.total and found.total != (source.size_bytes or min(found.total, LARGEST)):
        raise ModelError(source.name, f"{source.size_bytes or LARGEST} bytes", str(found.total))
    if not done:
        part.begin(found)
    whole = part.state.total or source.size_bytes or 0
    if whole - done > (free := shutil.disk_usage(part.path.parent).free):
        raise ModelError(str(part.path.parent), f"room for {whole - done} bytes", f"{free}")
    with part.path.open("ab") as file:
        for chunk in _chunks(answer):
            done += len(chunk)
            if done > (whole or LARGEST):
                part.drop()
                raise ModelError(source.name, f"{whole or LARGEST} bytes", "more")
            file.write(chunk)
            progress(done, whole)
    if done < whole:
        raise _CutError(f"an end after {done} of {whole} bytes")


def _described(answer: HTTPResponse, digest: str) -> tuple[int, _State]:
    """Where it begins, and what it says of the file. If-Range takes no weak ETag (RFC 9110, 13.1.5)."""
    begin, total = 0, answer.length
    if answer.status == 206:
        span = re.match(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)\Z", answer.headers.get("Content-Range", ""))
        begin, total = (int(span[1]), int(span[2]) if span[2] != "*" else None) if span else (-1, None)
    etag = answer.headers.get("ETag", "W/")
    return begin, _State(digest, answer.headers.get("Last-Modified", "") if etag[:2] == "W/" else etag, total)


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read1(2**18):
            yield chunk
    except (OSError, HTTPException) as problem:
        raise _cut(problem) from problem


def _accept(source: KnownModel, part: _Part, target: Path) -> None:
    """Gives the file its name, when it is the one."""
    with part.path.open("rb") as file:
        os.fsync(file.fileno())
        begins = file.read(len(GGUF_MAGIC))
    if begins != GGUF_MAGIC:
        part.drop()
        raise ModelError(source.name, f"a file that begins with {GGUF_MAGIC!r}", repr(begins))
    if (found := _sha256(part.path)) != part.state.sha256:
        part.drop()
        raise ModelError(source.name, f"SHA-256 {part.state.sha256}", found)
    part.path.replace(target)
    part.drop()
