"""The whole way by commands and HTTP: enrol, publish, train, send, sum, and Flower's messages in between."""

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvicorn
from click.testing import CliRunner, Result

from akazuba.cli.federate import federate
from akazuba.diagnosis.network import Network
from akazuba.errors import InputError
from akazuba.federation.board import Board
from akazuba.federation.coordinator import Coordinator
from akazuba.federation.doors import HttpLink, app
from akazuba.federation.exchange import Sums, replied
from akazuba.federation.folding import Rules
from akazuba.federation.gateway import FILE, Gateway
from akazuba.federation.outbox import Outbox
from akazuba.federation.sending import CHUNK_BYTES, LinkError, Parcel, Sender
from akazuba.federation.terminal import OwnCases, Training, own_cases, train
from akazuba.federation.updates import ModelRelease, Update, released
from akazuba.privacy.keys.identity import new_identity
from akazuba.privacy.keys.signed import read, sign, unwrap
from akazuba.privacy.keys.store import KeyStore
from akazuba.privacy.ledger import Ledger


def now() -> int:
    import time

    return int(time.time())


def box(home: Path, *arguments: str) -> Result:
    done = CliRunner(env={"AKAZUBA_HOME": str(home)}).invoke(federate, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


@pytest.fixture
def programme(tmp_path: Path) -> Path:
    """An authority, a coordinator, a gateway and two terminals that believe one another; each in its
    folder.
    """
    root, enrolments = tmp_path / "root.key", []
    assert box(tmp_path / "authority", "request", "authority", "--out", str(root)).exit_code == 0
    roles = {"coordinator": "coordinator", "gateway": "gateway", "a": "terminal", "b": "terminal"}
    for name, role in roles.items():
        asked, given = tmp_path / f"{name}.request", tmp_path / f"{name}.enrolment"
        done = box(tmp_path / name, "request", role, "--name", name, "--root", str(root), "--out", str(asked))
        assert done.exit_code == 0, done.output
        done = box(tmp_path / "authority", "enrol", str(asked), "--out", str(given))
        assert f"{name} as {role}" in done.output
        enrolments.append(str(given))
    for name in roles:
        assert box(tmp_path / name, "believe", *enrolments).exit_code == 0
    return tmp_path


def cases(path: Path, seed: int, number: int = 60) -> Path:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(number, 3)).astype(np.float32)
    may = np.arange(number) % 5 != 0
    np.savez(
        path,
        inputs=inputs,
        labels=(inputs[:, 0] > 0).astype(np.int64),
        confirmed=may,
        consented=np.ones(number, bool),
    )
    return path


@contextmanager
def coordinator(home: Path, buffer: int = 2) -> Iterator[Coordinator]:
    with closing(KeyStore(home / "keys.sqlite3", now)) as keys:
        start = Network(3).start(0)
        made = Coordinator(
            home / "coordinator.sqlite3",
            Rules(buffer=buffer),
            start,
            keys.identity(),
            keys.registry(),
            now,
            os.urandom,
        )
        with closing(made):
            yield made


@contextmanager
def door(home: Path) -> Iterator[str]:
    """A gateway's door on a free port of this machine, in a thread that opens the ledger itself."""
    listening = socket.create_server(("127.0.0.1", 0))
    servers: list[uvicorn.Server] = []

    def run() -> None:
        with closing(KeyStore(home / "keys.sqlite3", now)) as keys:
            gateway = Gateway(home / FILE, keys.identity(), keys.registry(), now)
            board = Board(home / "round", keys.registry(), now, gateway.publish)
            server = uvicorn.Server(uvicorn.Config(app(gateway, board), log_level="error", ws="none"))
            servers.append(server)
            server.run([listening])
            gateway.close()

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive() and not (servers and servers[0].started):
        thread.join(0.02)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        servers[0].should_exit = True
        thread.join(10)
        listening.close()


@contextmanager
def gateway_of(home: Path) -> Iterator[tuple[Gateway, KeyStore]]:
    with (
        closing(KeyStore(home / "keys.sqlite3", now)) as keys,
        closing(Gateway(home / FILE, keys.identity(), keys.registry(), now)) as opened,
    ):
        yield opened, keys


@pytest.mark.enable_socket
def test_from_a_terminals_cases_to_a_version_over_http(programme: Path) -> None:
    with coordinator(programme / "coordinator") as made:
        with gateway_of(programme / "gateway") as (opened, _):
            opened.publish(made.release())
        with door(programme / "gateway") as url:
            for seed, name in enumerate("ab"):
                path = cases(programme / f"{name}.npz", seed)
                done = box(programme / name, "join", url, "--cases", str(path), "--features", "3")
                assert done.exit_code == 0, done.output
                assert "48 cases used, 12 neither confirmed nor consented left out" in done.output
                assert "accepted 1, refused 0, still waiting 0" in done.output
        with gateway_of(programme / "gateway") as (opened, keys):
            asking = msgspec.msgpack.encode(made.asking([]))
            told = msgspec.msgpack.decode(
                replied(opened, keys.identity(), keys.registry().programme, asking), type=Sums
            )
            reply = made.take(told.sums[0])
        assert reply.made is not None
        assert made.folding.version == 1
        network, random = Network(3), np.random.default_rng(9)
        inputs = random.normal(size=(500, 3)).astype(np.float32)
        assert network.accuracy(made.folding.model, inputs, (inputs[:, 0] > 0).astype(np.int64)) > 0.9
    with Ledger(programme / "a") as ledger:
        (left,) = ledger.departures()
        assert left.kind == "model-update"


@pytest.mark.enable_socket
def test_by_stick_there_and_back(programme: Path) -> None:
    usb = programme / "usb"
    usb.mkdir()
    with coordinator(programme / "coordinator") as made, gateway_of(programme / "gateway") as (opened, _):
        opened.publish(made.release())
    assert "answered 0" in box(programme / "gateway", "import", str(usb)).output  # brings the model
    done = box(programme / "a", "import", str(usb))
    assert done.exit_code == 0, done.output
    path = cases(programme / "a.npz", 1)
    done = box(programme / "a", "join", "http://127.0.0.1:9", "--cases", str(path), "--features", "3")
    assert done.exit_code == 1  # nobody is there: it waits
    assert "still waiting 1" in done.output
    assert "on the stick: 1" in box(programme / "a", "export", str(usb)).output
    assert "answered 1, not taken 0" in box(programme / "gateway", "import", str(usb)).output
    assert "answers 1, still waiting 0" in box(programme / "a", "import", str(usb)).output
    with gateway_of(programme / "gateway") as (opened, _):
        assert opened.waiting() == 1


@pytest.mark.enable_socket
def test_the_door_refuses_what_is_too_long_or_malformed(programme: Path) -> None:
    with door(programme / "gateway") as url, closing(HttpLink(url)) as link:
        assert link.model() is None
        assert link.announce(b"nonsense").state == "later"
        with pytest.raises(LinkError, match=r"413|connection"):
            link.announce(bytes(20_000))
        assert "announce" in link.put("0" * 64, 0, bytes(CHUNK_BYTES + 1)).because
        with pytest.raises(LinkError, match="400"):
            link.put("0" * 64, -1, b"")
        assert link.put("0" * 64, 0, b"x").state == "later"


def announced(home: Path, data: bytes) -> tuple[bytes, str]:
    """A terminal's signed parcel for some bytes, and their SHA-256."""
    digest = sha256(data).hexdigest()
    with closing(KeyStore(home / "keys.sqlite3", now)) as keys:
        parcel = Parcel(keys.registry().programme, "0" * 64, digest, len(data), now())
        return sign(keys.identity(), "parcel", parcel), digest


@pytest.mark.enable_socket
def test_what_of_a_piece_came_before_the_line_broke_is_kept_and_spoilt_bytes_are_noticed(
    programme: Path,
) -> None:
    parcel, digest = announced(programme / "a", bytes(300_000))
    with door(programme / "gateway") as url, closing(HttpLink(url)) as link:
        assert link.announce(parcel).have == 0
        host, _, port = url.removeprefix("http://").partition(":")
        head = f"PUT /federation/parcels/{digest}?at=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
        with socket.create_connection((host, int(port))) as line:
            line.sendall(head.encode() + bytes(150_000))
            while link.announce(parcel).have < 150_000:
                pass
        assert link.put(digest, 0, bytes(10)).have == 150_000  # not one that fits on
        have = link.put(digest, 150_000, bytes(150_001)).have  # longer than was announced: not all of it
        assert 150_000 <= have < 300_000
        status = link.put(digest, have, bytes(299_999 - have) + b"x")
        assert (status.state, "other bytes" in status.because) == ("later", True)
        assert link.announce(parcel).have == 0


@pytest.mark.enable_socket
def test_a_door_without_room_says_so_and_goes_on(programme: Path) -> None:
    parcel, digest = announced(programme / "a", bytes(5000))
    folder = programme / "gateway" / f"{FILE}.parcels"
    folder.write_bytes(b"in the way")
    with door(programme / "gateway") as url, closing(HttpLink(url)) as link:
        link.announce(parcel)
        status = link.put(digest, 0, bytes(5000))
        assert (status.state, "room for 5000 bytes" in status.because) == ("later", True)
        folder.unlink()
        assert "other bytes" not in link.put(digest, 0, bytes(4000)).because
        assert link.put(digest, 4000, bytes(1000)).because == "it is not taken now"  # no update


@pytest.mark.enable_socket
def test_terminals_at_the_same_time_are_each_answered_for_their_own(programme: Path) -> None:
    with coordinator(programme / "coordinator") as made, gateway_of(programme / "gateway") as (opened, _):
        opened.publish(made.release())
    with door(programme / "gateway") as url:

        def sent(name: str) -> set[str]:
            with (
                closing(KeyStore(programme / name / "keys.sqlite3", now)) as keys,
                closing(Outbox(programme / name / "several", now)) as outbox,
                closing(HttpLink(url)) as link,
            ):
                release = released(link.model() or b"", keys.registry(), now())
                own, network = own_cases(cases(programme / f"{name}.npz", 1)), Network(3)
                for _ in range(5):
                    train(outbox, keys.identity(), release, network, own, Training(), now)
                waiting = {one.id for one in outbox.waiting()}
                done = Sender(outbox, keys.identity(), keys.registry(), now).send_all(link)
                assert (done.accepted, done.left) == (5, 0)
                assert {one.id for one in outbox.answered()} == waiting
                return waiting

        with ThreadPoolExecutor(2) as pool:
            ids = set[str]().union(*pool.map(sent, "ab"))
    with gateway_of(programme / "gateway") as (opened, _):
        assert set(opened.waiting_ids()) == ids
        assert opened.tally() == {"accepted": 10}
        assert not list(opened.parcels._folder.iterdir())


def test_too_few_cases_and_bent_files_are_refused(programme: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="inputs, labels"):
        own_cases(tmp_path / "none.npz")
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"PK nonsense")
    with pytest.raises(InputError, match="inputs, labels"):
        own_cases(bad)
    bad.write_bytes(b"")
    with pytest.raises(InputError, match="inputs, labels"):
        own_cases(bad)
    np.savez(
        bad,
        inputs=np.zeros((3, 2)),
        labels=np.zeros(2, int),
        confirmed=np.ones(3, bool),
        consented=np.ones(3),
    )
    with pytest.raises(InputError, match="yes-or-no"):
        own_cases(bad)
    with pytest.raises(InputError, match="http"):
        HttpLink("ftp://gateway")


def test_a_terminal_tells_what_it_sees_of_the_drift_but_not_under_noise(tmp_path: Path) -> None:
    network, random, clock = Network(3), np.random.default_rng(2), [1_790_000_000]
    truth = random.normal(size=3)

    def then_and_now(sign: float) -> OwnCases:
        inputs = random.normal(size=(200, 3)).astype(np.float32)
        return OwnCases(inputs, (inputs @ truth * sign > 0).astype(np.int64), 0)

    first = then_and_now(1)
    learned = network.trained(network.start(0), first.inputs, first.labels, steps=200, rate=0.5)
    numbers = learned.astype("<f4").tobytes()
    release = ModelRelease("test", 0, clock[0], numbers, 1.0, 1e5, 0.5, 100, 0.02)
    identity = new_identity(os.urandom)

    def metrics(cases: OwnCases, of: ModelRelease) -> dict[str, float]:
        with closing(Outbox(tmp_path / "outbox", lambda: clock[0])) as outbox:
            kept = train(outbox, identity, of, network, cases, Training(), lambda: clock[0])
            data = unwrap(outbox.read(kept.id), "model-update").payload
        return read(data, "model-update", Update).metrics

    assert "look_excess" not in metrics(then_and_now(1), release)
    clock[0] += 3 * 86_400
    calm = metrics(then_and_now(1), release)
    assert calm["look_elapsed_s"] == 3 * 86_400
    assert abs(calm["look_excess"]) < 0.1
    assert metrics(then_and_now(-1), release)["look_excess"] > 0.5
    assert metrics(then_and_now(-1), msgspec.structs.replace(release, grid=0.1)) == {}


def test_serve_wants_tls_or_says_plain(programme: Path) -> None:
    done = box(programme / "coordinator", "serve", "--features", "3")
    assert done.exit_code == 2
    assert "--plain" in done.output
    assert box(programme / "a", "serve", "--features", "3", "--plain").exit_code == 2  # a terminal


# Flower's messages, without its processes

needs_flower = pytest.mark.skipif(not find_spec("flwr"), reason="needs the [federation] extra")


class InMemoryGrid:
    """Flower's Grid as far as `coordinate` uses it: nodes in this process, of which some are away."""

    def __init__(self, nodes: dict[int, Callable[[bytes], bytes]]) -> None:
        self.nodes, self.away = nodes, set[int]()
        self.replies: dict[str, Any] = {}
        self.pulled_offline = False
        self._of: dict[str, int] = {}

    def get_node_ids(self) -> Iterable[int]:
        return [node for node in self.nodes if node not in self.away]

    def push_messages(self, messages: Iterable[Any]) -> Iterable[str]:
        from flwr.app import ConfigRecord, RecordDict

        ids = []
        for number, message in enumerate(messages, start=len(self._of)):
            node = message.metadata.dst_node_id
            data = self.nodes[node](message.content["asking"]["bytes"])
            ids.append(f"m{number}")
            self._of[ids[-1]] = node
            reply = _Reply(ids[-1], RecordDict({"sums": ConfigRecord({"bytes": data})}))
            self.replies[ids[-1]] = reply
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Any]:
        wanted = list(message_ids)
        self.pulled_offline |= any(self._of[one] in self.away for one in wanted)
        return [self.replies.pop(one) for one in wanted if one in self.replies]


class _Reply:
    def __init__(self, message_id: str, content: Any) -> None:
        self.content = content
        self.metadata = type("Metadata", (), {"reply_to_message_id": message_id})()

    def has_error(self) -> bool:
        return False


@needs_flower
@pytest.mark.enable_socket
def test_a_coordinator_asks_over_flower_and_never_for_who_is_away(
    programme: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from akazuba.federation.flower import coordinate

    for name in ("_task_id", "_run_id", "_node_id"):  # as inside a running ServerApp
        monkeypatch.setattr(f"flwr.supercore.task_identity.TaskIdentity.{name}", 1)

    with coordinator(programme / "coordinator") as made, gateway_of(programme / "gateway") as (opened, keys):
        opened.publish(made.release())
        for seed, name in enumerate("ab"):
            usb = programme / f"usb {name}"
            usb.mkdir()
            box(programme / "gateway", "import", str(usb))
            box(programme / name, "import", str(usb))
            path = cases(programme / f"{name}.npz", seed)
            box(programme / name, "join", "http://127.0.0.1:9", "--cases", str(path), "--features", "3")
            box(programme / name, "export", str(usb))
            box(programme / "gateway", "import", str(usb))
        registry, identity, turns, said = keys.registry(), keys.identity(), [0], list[str]()
        grid = InMemoryGrid(
            {
                1: lambda asking: replied(opened, identity, registry.programme, asking),
                2: lambda _: b"not msgpack",
            }
        )

        def until() -> bool:
            turns[0] += 1
            grid.away = {1} if turns[0] in (2, 3) else set()
            return turns[0] > 8

        coordinate(grid, made, until, said.append, pause_s=0.0)  # type: ignore[arg-type]
        assert made.folding.version == 1
        assert opened.waiting() == 0
        assert not grid.pulled_offline
        assert any("node 2: gateway: expected a gateway's sums" in text for text in said)


@needs_flower
def test_serves_settings_become_rules_and_more_epsilon_is_less_noise() -> None:
    from akazuba.federation.flower import _rules

    plain = {"buffer": 7, "robust": "", "epsilon": 0.0, "delta": 1e-6, "participations": 50}
    rules, accounts = _rules(plain)
    assert (rules.buffer, rules.noise_multiplier, rules.robust, accounts) == (7, 0.0, None, None)
    assert _rules(plain | {"robust": "krum"})[0].robust == "krum"
    noise = [_rules(plain | {"epsilon": epsilon})[0].noise_multiplier for epsilon in (1.0, 3.0, 8.0)]
    assert noise == sorted(noise, reverse=True)
    with pytest.raises(InputError, match="noise or a robust centre"):
        _rules(plain | {"robust": "krum", "epsilon": 1.0})
