"""A box has its log cosigned by another over a network, in the form of C2SP tlog-witness."""

import asyncio
import json
import shutil
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.middleware import Middleware

from akazuba.cli.audit import audit
from akazuba.cli.audit_witness import posting
from akazuba.errors import InputError, LockedError, UntrustedError
from akazuba.governance.audit_anchors import keep, kept_notes, last_note, log_keys, verify_kept
from akazuba.governance.checkpoint import Verifier, read_checkpoint, read_note
from akazuba.governance.cosigning import learn_log
from akazuba.governance.cosigning_net import (
    MAX_ANSWER_BYTES,
    MAX_BODY_BYTES,
    MAX_PROOF,
    ROUTE,
    SIZE_TYPE,
    Answered,
    ask_witness,
    asked,
    read_asked,
    witness_answer,
)
from akazuba.governance.witness import cosignatures
from akazuba.merkle import consistency_proof
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import Cost, StoreKey, set_up
from akazuba.web.clinic_ca import Certificates, certificates
from akazuba.web.doors import witness
from akazuba.web.doors.witness import routes
from akazuba.web.guard import Guard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
PASS = "a long passphrase"  # noqa: S105 - of this test


@dataclass
class Box:
    home: Path
    key: StoreKey
    store: Store
    now: int = 1_790_000_000

    def now_s(self) -> int:
        return self.now

    def grow(self, number: int = 3) -> str:
        self.store.add(*(Entry("note", "box", self.home.name.encode()) for _ in range(number)))
        keep(self.home, self.store, self.now_s)
        return last_note(self.store)

    @property
    def verifier(self) -> Verifier:
        return log_keys(self.store)[-1]

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.store.entries()]


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[tuple[Box, Box]]:
    """The first one's log is to be cosigned by the second, which knows it."""
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            key = set_up(tmp_path / name, PASS, cost=Cost(8, 1, 1))
            store = stack.enter_context(closing(Store(tmp_path / name, key, lambda: 1_790_000_000_000)))
            made.append(Box(tmp_path / name, key, store))
            made[-1].grow()
        learn_log(made[1].store, "operator", made[0].verifier)
        yield made[0], made[1]


def direct(box: Box) -> Callable[[bytes], tuple[int, bytes]]:
    return lambda body: witness_answer(box.home, box.store, body, box.now_s)[:2]


def request(box: Box, old: int) -> bytes:
    note = last_note(box.store)
    size = read_checkpoint(read_note(note).text).size
    return asked(old, consistency_proof(old, size, box.store.node) if old else [], note)


def answered(box: Box, body: bytes) -> Answered:
    return witness_answer(box.home, box.store, body, box.now_s)


# --- there and back ----------------------------------------------------------------------------------------


def test_the_last_checkpoint_comes_back_cosigned_and_counts(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    for _ in range(3):
        note = one.grow()
        stand, names = ask_witness(one.home, one.store, "operator", [two.verifier], direct(two))
        assert names == [two.verifier.name]
        assert stand == read_checkpoint(read_note(note).text)
        judged = verify_kept(one.home, one.store, witnesses=[two.verifier])
        assert judged.sound
        assert max(it.size for it in judged.anchors if it.witnesses) == stand.size
    assert two.kinds().count("witnessed") == 3
    assert one.kinds().count("cosigned") == 3


def test_a_log_that_forgot_where_the_witness_stood_is_told(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    said = answered(two, request(one, 0))
    assert said.status == 200
    size = read_checkpoint(read_note(last_note(one.store)).text).size
    one.grow()
    assert answered(two, request(one, 0))[:3:2] == (409, SIZE_TYPE)
    bodies = list[bytes]()

    def post(body: bytes) -> tuple[int, bytes]:
        bodies.append(body)
        return direct(two)(body)

    ask_witness(one.home, one.store, "operator", [two.verifier], post)
    assert [read_asked(body)[0] for body in bodies] == [0, size]


def test_an_answer_that_was_lost_is_given_again_and_logged_once(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    first = answered(two, request(one, 0))
    size = read_checkpoint(read_note(last_note(one.store)).text).size
    again = [answered(two, request(one, size)) for _ in range(3)]
    assert {said.body for said in again} == {first.body}
    assert two.kinds().count("witnessed") == 2, "the second one says that it had seen it"
    note = last_note(one.store) + first.body.decode()
    assert set(cosignatures(note, [two.verifier])) == {two.verifier.name}


# --- what the witness refuses ----------------------------------------------------------------------------


def test_an_unknown_log_its_own_and_a_forged_checkpoint_are_refused(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    before = two.store.size
    assert answered(one, request(two, 0)).status == 404, "it never learnt of it"
    assert answered(two, request(two, 0)).status == 404, "no box is its own witness"
    note = last_note(one.store)
    lines = note.splitlines(keepends=True)
    lines[1] = "9999\n"
    assert answered(two, asked(0, [], "".join(lines))).status == 403
    half = "".join(note.splitlines(keepends=True)[:-1])
    assert answered(two, asked(0, [], half)).status == 403, "both signatures count or none"
    assert two.store.size == before, "strangers fill no log"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old\n\n",
        b"old 01\n\nx",
        b"old -1\n\nx",
        b"old 0\nnot base64\n\nx\n",
        b"old 0\n" + b64encode(bytes(31)) + b"\n\nx\n",
        b"old 0\n" + (b64encode(bytes(32)) + b"\n") * (MAX_PROOF + 1) + b"\nx\n",
        b"old 0\n\nno note",
        b"old 0\n\n\xff\xfe\n",
        b"old 0\n\n" + b"x" * MAX_BODY_BYTES,
    ],
)
def test_what_is_no_request_is_refused_in_words(boxes: tuple[Box, Box], body: bytes) -> None:
    said = answered(boxes[1], body)
    assert said.status == 400
    assert b"expected" in said.body


def test_a_proof_that_does_not_hold_is_refused_and_logged_once(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    assert answered(two, request(one, 0)).status == 200
    size = read_checkpoint(read_note(last_note(one.store)).text).size
    note = one.grow()
    before = two.store.size
    for _ in range(3):
        assert answered(two, asked(size, [bytes(32)], note)).status == 422
        assert answered(two, asked(size + 50, [], note)).status == 400
    assert two.kinds().count("witness-refused") == 1
    assert two.store.size == before + 1
    assert answered(two, request(one, size)).status == 200, "the right proof still does"


def test_signatures_of_strangers_reach_neither_the_witness_nor_its_log(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    assert answered(two, request(one, 0)).status == 200
    size = read_checkpoint(read_note(last_note(one.store)).text).size
    before = two.store.size
    for number in range(4):
        stranger = b64encode(number.to_bytes(4, "big") + bytes(64)).decode()
        body = request(one, size) + f"— stranger {stranger}\n".encode()
        assert answered(two, body).status == 200
    assert two.store.size <= before + 1


@pytest.mark.parametrize(("more", "named"), [(0, "another one of"), (4, "proof does not hold")])
def test_another_history_is_caught_and_not_cosigned(
    boxes: tuple[Box, Box], tmp_path: Path, more: int, named: str
) -> None:
    """As many entries as the true one has, or more."""
    one, two = boxes
    shutil.copytree(one.home, tmp_path / "fork")
    one.grow(5)
    ask_witness(one.home, one.store, "operator", [two.verifier], direct(two))
    with closing(Store(tmp_path / "fork", one.key, lambda: 1_790_000_000_000)) as forked:
        fork = Box(tmp_path / "fork", one.key, forked)
        fork.grow(5 + more)
        with pytest.raises(UntrustedError, match=named):
            ask_witness(fork.home, fork.store, "operator", [two.verifier], direct(two))
        assert "cosigned" not in fork.kinds()
    assert "log-lied" in two.kinds()


def test_a_witness_whose_clock_went_back_signs_nothing_and_accuses_nobody(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    assert answered(two, request(one, 0)).status == 200
    one.now += 10_000
    size = read_checkpoint(read_note(last_note(one.store)).text).size
    one.grow()
    two.now -= 10_000
    assert answered(two, request(one, size)).status == 503
    with pytest.raises(InputError, match="later"):
        ask_witness(one.home, one.store, "operator", [two.verifier], direct(two))


# --- what the log refuses ----------------------------------------------------------------------------------


def test_a_store_that_was_put_back_learns_it_from_the_witness(boxes: tuple[Box, Box], tmp_path: Path) -> None:
    one, two = boxes
    shutil.copytree(one.home, tmp_path / "old")
    one.grow(20)
    ask_witness(one.home, one.store, "operator", [two.verifier], direct(two))
    with (
        closing(Store(tmp_path / "old", one.key, lambda: 1_790_000_000_000)) as old,
        pytest.raises(UntrustedError, match="this store is an older one"),
    ):
        ask_witness(tmp_path / "old", old, "operator", [two.verifier], direct(two))


@pytest.mark.parametrize(
    ("status", "body", "named"),
    [
        (404, b"", "does not know this log"),
        (403, b"", "another key"),
        (503, b"", "locked"),
        (500, b"oops", "another answer"),
        (200, b"", "cosignature"),
        (200, b"\xff", "UTF-8"),
        (200, "— somebody AAAAAAAAAA==\n".encode(), "cosignature"),
        (200, bytes(MAX_ANSWER_BYTES + 1), "longer"),
        (409, b"many\n", "the size that it saw"),
        (409, b"1\n", "another one of 1"),
        (422, b"", "proof does not hold"),
    ],
)
def test_an_answer_that_does_not_hold_is_not_kept(
    boxes: tuple[Box, Box], status: int, body: bytes, named: str
) -> None:
    one, two = boxes
    before = kept_notes(one.home)
    with pytest.raises((InputError, UntrustedError), match=named):
        ask_witness(one.home, one.store, "operator", [two.verifier], lambda _: (status, body))
    assert kept_notes(one.home) == before
    assert "cosigned" not in one.kinds()


def test_a_cosignature_of_another_state_is_not_kept(boxes: tuple[Box, Box]) -> None:
    one, two = boxes
    old = answered(two, request(one, 0)).body
    one.grow()
    with pytest.raises(UntrustedError, match="does not verify"):
        ask_witness(one.home, one.store, "operator", [two.verifier], lambda _: (200, old))


# --- over a network ----------------------------------------------------------------------------------------


@dataclass
class Serving:
    box: Box
    paths: list[str] = field(default_factory=list)


@contextmanager
def served(box: Box, certified: Certificates | None = None) -> Iterator[tuple[str, Serving]]:
    """As the page would, with the store opened for each request. certified: over TLS."""
    state = Serving(box)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.paths.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with closing(Store(box.home, box.key, lambda: 1_790_000_000_000)) as store:
                said = witness_answer(box.home, store, body, box.now_s)
            self.send_response(said.status)
            self.send_header("Content-Type", said.media_type)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certified is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certified.certificate, certified.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{'https' if certified else 'http'}://127.0.0.1:{server.server_port}", state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(home: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0) -> Result:
    monkeypatch.setenv("AKAZUBA_HOME", str(home))
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", PASS)
    done = CliRunner().invoke(audit, list(arguments))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def test_the_command_has_the_log_cosigned_over_http(
    boxes: tuple[Box, Box], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = boxes
    for box in boxes:
        box.store.close()
    keys = {name: str(tmp_path / f"{name}.key") for name in ("one", "two")}
    run(one.home, monkeypatch, "key", "--out", keys["one"])
    run(two.home, monkeypatch, "key", "--out", keys["two"])
    assert "from now on" in run(two.home, monkeypatch, "witness", "--key", keys["one"]).output
    with served(two) as (url, state):
        words = ("witness", "--url", url, "--witness", keys["two"])
        first = run(one.home, monkeypatch, *words)
        run(one.home, monkeypatch, *words)
        run(one.home, monkeypatch, "witness", "--url", f"{url}/other/", "--witness", keys["two"])
    assert "are cosigned by" in first.output
    assert ROUTE in state.paths
    assert f"/other{ROUTE}" in state.paths
    said = run(one.home, monkeypatch, "verify", "--witness", keys["two"], "--json")
    assert json.loads(said.stdout)["witnesses"]
    gone = run(one.home, monkeypatch, *words, code=2)
    assert "an answer of the witness" in gone.output


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--url", "https://box"),
        ("--url", "ftp://box", "--witness", "KEY"),
        ("--url", "https://", "--witness", "KEY"),
        ("--url", "https://box:99999", "--witness", "KEY"),
        ("--url", "https://box/?x=1", "--witness", "KEY"),
        ("--url", "https://box", "--witness", "KEY", "--ca", "nowhere.pem"),
        ("checkpoint.txt", "--url", "https://box", "--witness", "KEY"),
        ("--url", "https://box", "--witness", "KEY", "--key", "KEY"),
    ],
)
def test_unusable_words_are_said(
    boxes: tuple[Box, Box], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for box in boxes:
        box.store.close()
    run(boxes[1].home, monkeypatch, "key", "--out", str(tmp_path / "key"))
    given = [str(tmp_path / "key") if word == "KEY" else word for word in words]
    assert "expected" in run(boxes[0].home, monkeypatch, "witness", *given, code=2).output


def test_a_certificate_counts_when_its_ca_is_given(boxes: tuple[Box, Box], tmp_path: Path) -> None:
    one, two = boxes
    made = certificates(tmp_path, ["localhost", "127.0.0.1"])
    body = request(one, 0)
    two.store.close()
    with served(two, made) as (url, state):
        with pytest.raises(InputError, match="certificate"):
            posting(url, None)(body)
        assert state.paths == []
        assert posting(url, made.authority)(body)[0] == 200


# --- the door of the page's server ------------------------------------------------------------------------


@dataclass
class Post:
    """What the door asks of the opened box. box: None while it is locked."""

    box: Box | None

    async def records(self, work: Callable[[object], Answered]) -> Answered:
        return work(self)

    @property
    def home(self) -> Path:
        return self.box.home if self.box else Path()

    def opened(self) -> Store:
        if self.box is None:
            raise LockedError("records", "an unlocked store", "it is locked")
        return self.box.store


def door(box: Box | None) -> Callable[[bytes], tuple[int, bytes]]:
    app = Starlette(routes=routes(), middleware=[Middleware(Guard)])
    app.state.post = Post(box)

    def posted(body: bytes) -> tuple[int, bytes]:
        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://box.example") as client:
                return await client.post(ROUTE, content=body)

        answer = asyncio.run(sent())
        return answer.status_code, answer.content

    return posted


def test_the_page_of_a_box_cosigns_without_cookie_and_token(
    boxes: tuple[Box, Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = boxes
    monkeypatch.setattr(witness, "now_s", two.now_s)
    _, names = ask_witness(one.home, one.store, "operator", [two.verifier], door(two))
    assert names == [two.verifier.name]
    assert door(two)(b"x" * (MAX_BODY_BYTES + 1))[0] == 413
    assert door(two)(b"nonsense")[0] == 400
    assert door(None)(request(one, 0))[0] == 503
