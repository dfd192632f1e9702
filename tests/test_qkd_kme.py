"""A pair of key management entities without sockets: what they deliver, refuse and forget."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.errors import ArtefactError, InputError
from akazuba.privacy.qkd.configuration import Limits, Peer, Site, checked, read_site, trial_sites
from akazuba.privacy.qkd.kme import Kme
from akazuba.privacy.qkd.messages import NOT_FOUND, Block, Reservation, Voids
from akazuba.privacy.qkd.requests import Answer, Request
from akazuba.privacy.qkd.store import Store

SAES = {"sae-1": "kme-a", "sae-2": "kme-b", "sae-3": "kme-b", "sae-4": "kme-a"}


def block(number: int, size: int = 4096, *, seed: int = 1, simulated: bool = True) -> Block:
    return Block(number, Random(f"{seed} {number}").randbytes(size), simulated)


class End:
    """One KME; `other` is set afterwards. answers: what becomes of the peer's answer before it is seen."""

    other: End

    def __init__(self, site: Site, path: Path, clock: list[float]) -> None:
        self.site, self.path, self.clock = site, path, clock
        self.answers: Callable[[str, Answer], Answer] = lambda _, answer: answer
        self.asked = list[tuple[str, bytes]]()
        self.start()

    def start(self) -> None:
        even = self.site.id < self.site.peer.id
        self.store = Store(self.path, even=even, now=lambda: self.clock[0], unclaimed_s=3600)
        self.kme = Kme(self.site, self.store, self.tell)

    def tell(self, path: str, body: bytes) -> Answer:
        self.asked.append((path, body))
        answer = self.other.kme.answer(Request("POST", path, body=body), self.site.id)
        return self.answers(path, answer)

    def link(self, given: Block) -> Answer:
        return self.kme.answer(Request("POST", "/link/v1/blocks", body=msgspec.json.encode(given)), "link")

    def post(self, sae: str, path: str, body: object) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.kme.answer(Request("POST", f"/api/v1/keys/{path}", "", "application/json", raw), sae)

    def enc(self, master: str = "sae-1", slave: str = "sae-2", **asked: object) -> Answer:
        return self.post(master, f"{slave}/enc_keys", asked)

    def dec(self, keys: dict[str, bytes], slave: str = "sae-2", master: str = "sae-1") -> Answer:
        return self.post(slave, f"{master}/dec_keys", {"key_IDs": [{"key_ID": each} for each in keys]})

    def stored(self) -> int:
        sae, other = ("sae-1", "sae-2") if self.site.id == "kme-a" else ("sae-2", "sae-1")
        answer = self.kme.answer(Request("GET", f"/api/v1/keys/{other}/status"), sae)
        return json.loads(answer.body)["stored_key_count"]


def keys(answer: Answer) -> dict[str, bytes]:
    assert answer.status == 200, answer
    said = json.loads(answer.body)["keys"]
    return {key["key_ID"]: base64.b64decode(key["key"]) for key in said}


def message(answer: Answer) -> str:
    return json.loads(answer.body)["message"]


def make_pair(folder: Path, limits: Limits | None = None) -> tuple[End, End]:
    sites = trial_sites(("kme-a", "kme-b"), SAES, "link", (1, 2))
    clock = [1000.0]
    a, b = (
        End(msgspec.structs.replace(site, limits=limits or Limits()), folder / f"{site.id}.sqlite", clock)
        for site in sites
    )
    a.other, b.other = b, a
    return a, b


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[End, End]]:
    with ExitStack() as stack:
        ends = make_pair(tmp_path)
        for end in ends:
            stack.callback(lambda end=end: end.store.close())
        for number in range(2):
            for end in ends:
                assert end.link(block(number)).status == 200
        yield ends


def refuse_to_answer(_: str, __: Answer) -> Answer:
    raise ConnectionResetError


Pair = tuple[End, End]


def test_a_key_reaches_both_saes_and_leaves_the_pool(pair: Pair) -> None:
    a, b = pair
    before = a.stored()
    got = keys(a.enc(number=3))
    assert keys(b.dec(got)) == got
    assert a.stored() == before - 3
    assert message(b.dec(got)) == NOT_FOUND


def test_both_ends_hold_half_of_every_block_to_draw_from(pair: Pair) -> None:
    a, b = pair
    assert a.stored() + b.stored() == 2 * (4096 - 32) // 32
    assert abs(a.stored() - b.stored()) <= 32


def test_a_block_is_drawn_from_only_when_both_ends_hold_it(pair: Pair) -> None:
    a, b = pair
    before = a.stored()
    assert a.link(block(2)).status == 200
    assert a.stored() == before
    assert b.link(block(2)).status == 200
    assert a.stored() > before


def test_a_block_is_taken_in_once(pair: Pair) -> None:
    a, _ = pair
    before = a.stored()
    assert a.link(block(1)).status == 200
    assert a.stored() == before
    assert a.link(block(1, seed=2)).status == 409


def test_blocks_that_differ_are_thrown_away_at_both_ends(pair: Pair) -> None:
    a, b = pair
    before = a.stored(), b.stored()
    a.link(block(2, seed=1))
    b.link(block(2, seed=2))
    assert (a.stored(), b.stored()) == before
    assert a.store.held_bytes() == b.store.held_bytes() == 2 * (4096 - 32)


def test_ends_out_of_step_are_noticed_and_no_key_is_delivered(pair: Pair) -> None:
    a, b = pair
    with b.store._writing() as file:
        file.execute("UPDATE part SET bits = zeroblob(LENGTH(bits)) WHERE block = 0")
    assert a.enc().status == 503
    got = keys(a.enc())  # from the next block
    assert keys(b.dec(got)) == got
    assert b.store._one("SELECT COUNT(*) FROM part WHERE block = 0") == 0
    assert a.store._one("SELECT COUNT(*) FROM part WHERE block = 0") == 0


def test_a_store_put_back_from_an_old_copy_delivers_no_bits_twice(pair: Pair, tmp_path: Path) -> None:
    a, b = pair
    a.store.close()
    shutil.copy(a.path, tmp_path / "old")
    a.start()
    got = keys(a.enc(number=10))
    a.store.close()
    shutil.copy(tmp_path / "old", a.path)
    a.start()
    assert a.enc(number=10).status == 503
    again = keys(a.enc(number=10))
    assert not set(got.values()) & set(again.values())
    assert keys(b.dec(again)) == again


def test_used_bits_are_erased_from_the_disk(pair: Pair) -> None:
    a, b = pair
    got = keys(a.enc(number=20))
    keys(b.dec(got))
    for end in pair:
        assert end.kme.settle()
        disk = b"".join(path.read_bytes() for path in end.path.parent.glob(f"{end.path.name}*"))
        assert block(1).bits[3000:3032] in disk  # what is unused stands there
        assert not any(key in disk for key in got.values())


def test_the_store_is_its_owners_only_and_one_process_at_a_time(pair: Pair) -> None:
    a, _ = pair
    for path in a.path.parent.glob(f"{a.path.name}*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ArtefactError, match="locked"):
        Store(a.path, even=True, now=lambda: 0.0)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"not a database" * 100)
    with pytest.raises(ArtefactError):
        Store(tmp_path / "store", even=True, now=lambda: 0.0)


def test_keys_that_nobody_claims_expire(pair: Pair) -> None:
    a, b = pair
    got = keys(a.enc())
    b.clock[0] += 3601
    assert message(b.dec(got)) == NOT_FOUND
    b.kme.settle()
    assert b.store._one("SELECT COUNT(*) FROM key") == 0


def test_a_peer_that_is_away_costs_one_draw_and_no_more(pair: Pair) -> None:
    a, b = pair
    before = a.stored()
    a.answers = refuse_to_answer
    for _ in range(5):
        assert a.enc().status == 503
    assert a.stored() == before - 1
    a.answers = lambda _, answer: answer
    got = keys(a.enc())
    assert keys(b.dec(got)) == got


def test_a_reservation_whose_answer_is_lost_is_void_at_both(pair: Pair) -> None:
    a, b = pair
    a.answers = refuse_to_answer
    assert a.enc(number=2).status == 503
    assert b.store._one("SELECT COUNT(*) FROM key") == 2
    a.answers = lambda _, answer: answer
    assert a.kme.settle()
    assert b.store._one("SELECT COUNT(*) FROM key") == 0
    assert a.store.void_untold() == ()


def test_a_reservation_that_comes_twice_is_one_and_one_that_was_void_stays_refused(pair: Pair) -> None:
    a, b = pair
    got = keys(a.enc(number=2))
    said = next(body for path, body in a.asked if path.endswith("reservations"))
    again = Request("POST", "/peer/v1/reservations", body=said)
    assert b.kme.answer(again, "kme-a").status == 200
    assert keys(b.dec(got)) == got
    assert b.kme.answer(again, "kme-a").status == 200
    assert message(b.dec(got)) == NOT_FOUND
    voids = msgspec.json.encode(Voids((msgspec.json.decode(said, type=Reservation),)))
    assert b.kme.answer(Request("POST", "/peer/v1/voids", body=voids), "kme-a").status == 200
    assert b.kme.answer(again, "kme-a").status == 409


@pytest.mark.parametrize(
    "change",
    [
        {"master": "sae-2"},
        {"slaves": ["sae-99"]},
        {"slaves": ["sae-2", "sae-2"]},
        {"size": 100_000},
        {"key_ids": ["no uuid"]},
        {"check": ""},
        {"slices": [[0, 0, -1, 32]]},
        {"slices": [[0, 0, 0, True]]},
        {"slices": []},
        {"more": 1},
    ],
)
def test_a_reservation_that_is_none_is_refused(pair: Pair, change: dict[str, object]) -> None:
    a, b = pair
    keys(a.enc())
    said = {**json.loads(a.asked[-1][1]), "reservation": str(uuid.UUID(int=7)), **change}
    before = b.store.held_bytes()
    answer = b.kme.answer(Request("POST", "/peer/v1/reservations", body=json.dumps(said).encode()), "kme-a")
    assert answer.status == 400
    assert b.store.held_bytes() == before


def test_only_the_peer_and_the_link_are_heard_on_their_paths(pair: Pair) -> None:
    a, _ = pair
    for path, good in (("/peer/v1/blocks", "kme-b"), ("/link/v1/blocks", "link")):
        for caller in ("sae-1", "kme-a", "kme-b", "link", "nobody", None):
            if caller != good:
                assert a.kme.answer(Request("POST", path, body=b"{}"), caller) == Answer(401)
        assert a.kme.answer(Request("POST", path, body=b"{}"), good).status == 400
    assert a.kme.answer(Request("GET", "/api/v1/keys/sae-2/status"), None) == Answer(401)
    assert a.kme.answer(Request("POST", "/peer/v1/elsewhere"), "kme-b").status == 404


def test_one_way_use_never_fills_the_pool(tmp_path: Path) -> None:
    """Only sae-1 asks: the half that kme-b would draw from makes room."""
    with ExitStack() as stack:
        ends = make_pair(tmp_path, Limits(max_key_count=300))
        for end in ends:
            stack.callback(lambda end=end: end.store.close())
        a, b = ends
        seen = set[bytes]()
        for number in range(12):
            for end in ends:
                assert end.link(block(number)).status == 200, number
            while a.stored() >= 20:
                given = keys(a.enc(number=20))
                assert keys(b.dec(given)) == given
                seen |= set(given.values())
        assert len(seen) > 2 * 300, "more keys than the pool ever holds"
        assert keys(a.dec(keys(b.enc("sae-2", "sae-1")), "sae-1", "sae-2"))


def test_a_full_pool_takes_no_more(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path, Limits(max_key_count=100))
    assert a.link(block(0)).status == 200
    assert a.link(block(1)).status == 503
    a.store.close()
    b.store.close()


def test_an_empty_pool_delivers_nothing(tmp_path: Path) -> None:
    a, b = make_pair(tmp_path)
    assert message(a.enc()) == "insufficient key material"
    a.store.close()
    b.store.close()


def test_a_key_says_whether_any_of_its_bits_are_simulated(tmp_path: Path) -> None:
    ends = make_pair(tmp_path)
    for number, simulated in enumerate((False, True)):
        for end in ends:
            end.link(block(number, 32 + 1024 + 48, simulated=simulated))
    a, b = ends
    seen = [
        json.loads(end.enc(*saes).body)["keys"][0]
        for end, saes in ((a, ()), (b, ("sae-2", "sae-1")), (b, ("sae-2", "sae-1")))
    ]
    assert [key["key_extension"]["akazuba_simulated"] for key in seen] == [False, False, True]
    a.store.close()
    b.store.close()


def test_both_ends_as_masters_at_once_deliver_every_bit_once(pair: Pair) -> None:
    a, b = pair
    got: dict[str, list[dict[str, bytes]]] = {"sae-1": [], "sae-2": []}

    def draw(end: End, master: str, slave: str) -> None:
        for _ in range(5):
            got[master].append(keys(end.enc(master, slave, number=4, size=128)))

    threads = [threading.Thread(target=draw, args=(a, "sae-1", "sae-2")) for _ in range(2)]
    threads += [threading.Thread(target=draw, args=(b, "sae-2", "sae-1")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(keys(b.dec(each)) == each for each in got["sae-1"])
    assert all(keys(a.dec(each, "sae-1", "sae-2")) == each for each in got["sae-2"])
    every = [key for batches in got.values() for each in batches for key in each.values()]
    assert len(every) == len(set(every)) == 80


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(1, 6),
            st.sampled_from([64, 128, 256, 4096]),
            st.sampled_from(["well", "well", "lost", "unreachable", "restart"]),
        ),
        max_size=12,
    )
)
def test_whatever_fails_between_no_bits_are_delivered_twice(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int, int, str]]
) -> None:
    ends = make_pair(tmp_path_factory.mktemp("ends"))
    for number in range(2):
        for end in ends:
            end.link(block(number, 3000))
    pool = b"".join(block(number, 3000).bits[32:] for number in range(2))
    used = list[tuple[int, int]]()
    for name, number, size, fate in acts:
        end, saes = (ends[0], ("sae-1", "sae-2")) if name == "a" else (ends[1], ("sae-2", "sae-1"))
        end.answers = {"lost": refuse_to_answer}.get(fate, lambda _, answer: answer)
        if fate == "unreachable":
            end.kme = Kme(end.site, end.store, lambda *_: refuse_to_answer("", Answer(0)))
        answer = end.enc(*saes, number=number, size=size)
        end.answers = lambda _, answer: answer
        end.kme = Kme(end.site, end.store, end.tell)
        if fate == "restart":
            end.store.close()
            end.start()
        assert answer.status in (200, 503)
        if answer.status == 200:
            got = keys(answer)
            assert keys(end.other.dec(got, saes[1], saes[0])) == got
            joined = b"".join(got.values())
            used += [(pool.find(joined[at : at + 8]), 8) for at in range(0, len(joined), 8)]
    assert all(start >= 0 for start, _ in used)
    assert len(set(used)) == len(used)
    assert all(end.kme.settle() for end in ends)
    for end in ends:
        end.store.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD", ""]),
    st.one_of(
        st.sampled_from(
            ["/api/v1/keys/sae-2/enc_keys", "/api/v1/keys/sae-2/dec_keys", "/api/v1/keys/sae-2/status"]
        ),
        st.sampled_from(["/peer/v1/reservations", "/peer/v1/voids", "/peer/v1/blocks", "/link/v1/blocks"]),
        st.text(max_size=40),
    ),
    st.text(max_size=40),
    st.one_of(
        st.binary(max_size=80),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["number", "size", "key_IDs", "key_ID", "slices", "marks", "bits", "x"]),
                    inner,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    st.sampled_from(["sae-1", "kme-b", "link"]),
)
def test_every_request_has_an_answer(
    pair: Pair, method: str, path: str, query: str, body: bytes, caller: str
) -> None:
    answer = pair[0].kme.answer(Request(method, path, query, "application/json", body), caller)
    assert answer.status in (200, 400, 401, 404, 405, 409, 503)
    assert answer.status in (200, 401) or message(answer)


def test_what_is_printed_of_a_message_holds_no_key(pair: Pair) -> None:
    a, _ = pair
    drawn = a.store.draw("sae-1", ["sae-2"], 1, 32)
    answer = a.enc()
    secret = drawn.keys[0].bits
    for text in (repr(drawn), repr(answer), repr(block(1)), repr(Request("POST", "/", body=secret))):
        assert repr(secret)[2:10] not in text
        assert base64.b64encode(secret).decode()[:10] not in text
    assert next(iter(keys(answer).values())).hex()[:8] not in repr(answer)


SITE = Site(
    "kme-a", Peer("kme-b", "https://127.0.0.1:1"), {"sae-1": "kme-a"}, "link", "s", "c", "k", "a"
)  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        msgspec.structs.replace(SITE, link="sae-1"),
        msgspec.structs.replace(SITE, peer=Peer("kme-a", SITE.peer.url)),
        msgspec.structs.replace(SITE, peer=Peer("kme-b", "http://127.0.0.1:1")),
        msgspec.structs.replace(SITE, saes={"sae-1": "kme-c"}),
        msgspec.structs.replace(SITE, limits=Limits(key_size=8)),
        msgspec.structs.replace(SITE, limits=Limits(max_key_size=65_536, max_key_per_request=1024)),
    ],
)
def test_a_configuration_whose_parts_do_not_fit_is_refused(changed: Site) -> None:
    with pytest.raises(InputError):
        checked(changed)


@pytest.mark.parametrize(
    "change", [{"id": "a b"}, {"port": 70_000}, {"port": True}, {"more": 1}, {"limits": {"key_size": 257}}]
)
def test_a_configuration_of_other_types_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "kme.json"
    path.write_bytes(msgspec.json.encode(SITE))
    assert read_site(path) == SITE
    path.write_bytes(msgspec.json.encode({**msgspec.to_builtins(SITE), **change}))
    with pytest.raises(InputError):
        read_site(path)
    with pytest.raises(InputError):
        read_site(tmp_path / "missing.json")
