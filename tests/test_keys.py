"""Identities, enrolment and envelopes: what is believed, and every way in which it is not."""

import multiprocessing
import os
import signal
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.privacy.keys.enrolment import (
    CLOCK_TOLERANCE_S,
    OVERLAP_S,
    YEAR_S,
    Enrolment,
    Request,
    Role,
    enrol,
    only,
    request,
    requested,
    revoke,
)
from akazuba.privacy.keys.envelope import (
    SUITES,
    Hello,
    Offer,
    QuantumKey,
    accept,
    connect,
    prepare,
    read_offer,
)
from akazuba.privacy.keys.identity import SIGNATURE_BYTES, Identity, PublicIdentity, new_identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.session import WINDOW
from akazuba.privacy.keys.signed import Signed, sign, unwrap, verified
from akazuba.privacy.keys.store import KeyStore
from akazuba.privacy.ledger import QuantumKeyUsed

NOW = 1_790_000_000
DAY = 86_400
AUTHORITY, BOX, GATEWAY, STRANGER = (new_identity(os.urandom) for _ in range(4))
QUANTUM = QuantumKey("0c3a-1", bytes(range(32)), simulated=True)


class Note(msgspec.Struct, frozen=True):
    text: str


def enrolled(identity: Identity, name: str, role: Role, serial: int = 1, now: int = NOW) -> bytes:
    return enrol(
        AUTHORITY,
        "rwanda",
        requested(request(identity, "rwanda", name, role, now), "rwanda", now),
        serial,
        now,
    )


@pytest.fixture
def registry() -> Registry:
    made = Registry("rwanda", AUTHORITY.public)
    made.believe(enrolled(BOX, "health post 7", "terminal", 1), NOW)
    made.believe(enrolled(GATEWAY, "gateway north", "gateway", 2), NOW)
    return made


def once() -> Callable[[bytes, int], bool]:
    seen = set[bytes]()

    def first_time(hello: bytes, until: int) -> bool:
        assert until > NOW
        new = hello not in seen
        seen.add(hello)
        return new

    return first_time


def resigned(
    identity: Identity, data: bytes, kind: str, message: type[msgspec.Struct], **changes: object
) -> bytes:
    said = msgspec.msgpack.decode(unwrap(data, kind).payload, type=message)
    return sign(identity, kind, msgspec.structs.replace(said, **changes))


# --- signatures ------------------------------------------------------------------------------------


def test_both_signatures_must_hold() -> None:
    signature = BOX.sign("note", b"hello")
    BOX.public.verify("note", b"hello", signature)
    assert len(signature) == SIGNATURE_BYTES
    for at in (0, 63, 64, len(signature) - 1):
        forged = bytearray(signature)
        forged[at] ^= 1
        with pytest.raises(UntrustedError, match="does not verify"):
            BOX.public.verify("note", b"hello", bytes(forged))


def test_half_of_one_signer_and_half_of_another_is_no_signature() -> None:
    half = BOX.sign("note", b"x")[:64] + STRANGER.sign("note", b"x")[64:]
    for public in (BOX.public, STRANGER.public):
        with pytest.raises(UntrustedError):
            public.verify("note", b"x", half)
    mixed = PublicIdentity(BOX.public.ed25519, STRANGER.public.mldsa65)
    assert mixed.key_id not in (BOX.public.key_id, STRANGER.public.key_id)


def test_a_signature_under_one_kind_is_none_under_another() -> None:
    with pytest.raises(UntrustedError):
        BOX.public.verify("offer", b"hello", BOX.sign("hello", b"hello"))


def test_a_secret_is_never_printed() -> None:
    assert BOX.ed25519_seed.hex() not in repr(BOX)
    assert str(BOX.ed25519_seed) not in repr(BOX)
    assert "\\x01" not in repr(QUANTUM)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_altered_byte_is_noticed(data: st.DataObject) -> None:
    signed = bytearray(sign(BOX, "note", Note("38.5 °C")))
    at = data.draw(st.integers(0, len(signed) - 1))
    signed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UntrustedError):
        verified(bytes(signed), "note", Note, only(BOX.public))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(UntrustedError):
        verified(data, "note", Note, only(BOX.public))


def test_nothing_too_long_is_read() -> None:
    with pytest.raises(UntrustedError, match="at most"):
        unwrap(bytes(64 * 1024 * 1024 + 1), "note")


def test_keys_of_the_wrong_length_verify_nothing() -> None:
    with pytest.raises(UntrustedError):
        PublicIdentity(b"short", BOX.public.mldsa65).verify("note", b"x", BOX.sign("note", b"x"))


# --- enrolment, rotation, revocation, expiry ----------------------------------------------------------


def test_a_member_is_known_by_name_and_role(registry: Registry) -> None:
    found = registry.member(BOX.public.key_id, ["terminal"], NOW)
    assert (found.name, found.role, found.programme) == ("health post 7", "terminal", "rwanda")


@pytest.mark.parametrize(
    ("key_id", "roles", "later", "match"),
    [
        (STRANGER.public.key_id, ["terminal"], 0, "enrolled"),
        (BOX.public.key_id, ["gateway"], 0, "expected gateway, found terminal"),
        (BOX.public.key_id, ["terminal"], 3 * YEAR_S, "one that ended"),
        (BOX.public.key_id, ["terminal"], -2 * DAY, "clock"),
    ],
    ids=["a stranger", "another role", "ended", "before its time"],
)
def test_who_is_not_a_member_in_time_and_role_is_refused(
    registry: Registry, key_id: str, roles: list[Role], later: int, match: str
) -> None:
    with pytest.raises(UntrustedError, match=match):
        registry.member(key_id, roles, NOW + later)


def test_an_enrolment_by_somebody_else_is_refused(registry: Registry) -> None:
    forged = enrol(
        STRANGER, "rwanda", requested(request(STRANGER, "rwanda", "x", "gateway", NOW), "rwanda", NOW), 3, NOW
    )
    with pytest.raises(UntrustedError, match="authority"):
        registry.believe(forged, NOW)
    by_a_box = enrol(
        BOX, "rwanda", requested(request(STRANGER, "rwanda", "x", "gateway", NOW), "rwanda", NOW), 3, NOW
    )
    with pytest.raises(UntrustedError, match="authority"):
        registry.believe(by_a_box, NOW)


def test_an_enrolment_of_another_programme_is_refused(registry: Registry) -> None:
    with pytest.raises(UntrustedError, match="programme"):
        registry.believe(
            enrol(
                AUTHORITY,
                "kenya",
                requested(request(BOX, "kenya", "x", "terminal", NOW), "kenya", NOW),
                9,
                NOW,
            ),
            NOW,
        )


def test_a_request_proves_that_the_asker_holds_the_key() -> None:
    asked = request(BOX, "rwanda", "health post 7", "terminal", NOW)
    stolen = resigned(STRANGER, asked, "enrolment-request", Request)
    with pytest.raises(UntrustedError):
        requested(stolen, "rwanda", NOW)


def test_a_key_is_rotated_with_the_consent_of_the_old_one(registry: Registry) -> None:
    old = registry.member(BOX.public.key_id, ["terminal"], NOW)
    new = new_identity(os.urandom)
    asked = request(new, "rwanda", old.name, old.role, NOW + DAY, replaced=BOX)
    registry.believe(
        enrol(AUTHORITY, "rwanda", requested(asked, "rwanda", NOW + DAY, old), 3, NOW + DAY), NOW + DAY
    )
    assert registry.member(new.public.key_id, ["terminal"], NOW + DAY).name == old.name
    assert registry.member(BOX.public.key_id, ["terminal"], NOW + OVERLAP_S).name == old.name
    with pytest.raises(UntrustedError, match="one that ended"):
        registry.member(BOX.public.key_id, ["terminal"], NOW + DAY + OVERLAP_S + CLOCK_TOLERANCE_S + 1)


def test_nobody_rotates_the_key_of_another(registry: Registry) -> None:
    old = registry.member(BOX.public.key_id, ["terminal"], NOW)
    new = new_identity(os.urandom)
    with pytest.raises(UntrustedError):
        requested(request(new, "rwanda", old.name, old.role, NOW, replaced=STRANGER), "rwanda", NOW, old)
    with pytest.raises(UntrustedError, match="gateway"):
        requested(request(new, "rwanda", old.name, "gateway", NOW, replaced=BOX), "rwanda", NOW, old)
    alone = resigned(
        new, request(new, "rwanda", old.name, old.role, NOW), "enrolment-request", Request, replaces="0" * 64
    )
    with pytest.raises(UntrustedError, match="replacing nothing"):
        requested(alone, "rwanda", NOW)


def test_a_revoked_key_is_refused_with_its_reason(registry: Registry) -> None:
    registry.believe_revocations(
        revoke(AUTHORITY, "rwanda", 1, {BOX.public.key_id: "box stolen"}, NOW, 7 * DAY), NOW
    )
    with pytest.raises(UntrustedError, match="box stolen"):
        registry.member(BOX.public.key_id, ["terminal"], NOW)
    assert registry.overdue_s(NOW) == 0
    assert registry.overdue_s(NOW + 8 * DAY) == DAY


def test_an_older_list_or_one_that_forgets_a_key_is_refused(registry: Registry) -> None:
    first = revoke(AUTHORITY, "rwanda", 1, {BOX.public.key_id: "stolen"}, NOW, DAY)
    registry.believe_revocations(revoke(AUTHORITY, "rwanda", 2, {BOX.public.key_id: "stolen"}, NOW, DAY), NOW)
    with pytest.raises(UntrustedError, match="number 3 or later"):
        registry.believe_revocations(first, NOW)
    with pytest.raises(UntrustedError, match="still revoked"):
        registry.believe_revocations(revoke(AUTHORITY, "rwanda", 3, {}, NOW, DAY), NOW)


def test_the_authority_can_hand_over_to_a_new_key(registry: Registry) -> None:
    heir = new_identity(os.urandom)
    registry.believe(enrolled(heir, "authority 2027", "authority", 3), NOW)
    asked = requested(request(STRANGER, "rwanda", "post 8", "terminal", NOW), "rwanda", NOW)
    registry.believe(enrol(heir, "rwanda", asked, 4, NOW), NOW)
    gone = {AUTHORITY.public.key_id: "replaced"}
    with pytest.raises(UntrustedError, match="by itself alone"):
        registry.believe_revocations(revoke(heir, "rwanda", 1, gone, NOW, 7 * DAY), NOW)
    registry.believe_revocations(revoke(AUTHORITY, "rwanda", 1, gone, NOW, 7 * DAY), NOW)
    registry.believe_revocations(revoke(heir, "rwanda", 2, gone, NOW, 7 * DAY), NOW)
    with pytest.raises(UntrustedError, match="replaced"):
        registry.believe(enrolled(new_identity(os.urandom), "post 9", "terminal", 5), NOW)


def test_a_clock_before_what_the_authority_signed_is_called_wrong(registry: Registry) -> None:
    with pytest.raises(UntrustedError, match="clock: expected a time after"):
        registry.check_clock(0)


def test_an_enrolment_never_changes_name_or_role(registry: Registry) -> None:
    with pytest.raises(UntrustedError, match="health post 7 as terminal"):
        registry.believe(enrolled(BOX, "health post 7", "gateway", 5), NOW)


# --- envelopes --------------------------------------------------------------------------------------


def test_a_letter_is_read_by_its_receiver_only(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    hello, there = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    back = accept(GATEWAY, offer, hello, registry, ["terminal"], NOW, first_time=once())
    record = there.seal(b"an update")
    assert b"an update" not in record
    assert back.open(record) == b"an update"
    assert there.open(back.seal(b"received")) == b"received"
    assert back.peer.name == "health post 7"
    assert there.protection == back.protection
    with pytest.raises(UntrustedError):
        there.open(there.seal(b"to myself"))


def test_the_session_key_needs_every_secret(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom, qkd="prefer", sae="sae-2")
    hello, there = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom, quantum=QUANTUM)
    record = there.seal(b"x")
    key = lambda _: QUANTUM  # noqa: E731
    wrong = [
        (replace(offer, x25519_seed=os.urandom(32)), key),
        (replace(offer, mlkem768_seed=os.urandom(64)), key),
        (offer, lambda _: replace(QUANTUM, key=bytes(32))),
    ]
    for prepared, quantum_key in wrong:
        opened = accept(
            GATEWAY,
            prepared,
            hello,
            registry,
            ["terminal"],
            NOW,
            first_time=once(),
            quantum_key=quantum_key,
        )
        with pytest.raises(UntrustedError, match="altered"):
            opened.open(record)
    right = accept(GATEWAY, offer, hello, registry, ["terminal"], NOW, first_time=once(), quantum_key=key)
    assert right.open(record) == b"x"
    assert right.protection.quantum == QuantumKeyUsed(QUANTUM.key_id, simulated=True)


def test_every_session_has_keys_of_its_own(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    _, first = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    _, second = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    assert first.seal(b"the same") != second.seal(b"the same")


def test_a_replayed_hello_is_refused(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    hello, _ = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    seen = once()
    accept(GATEWAY, offer, hello, registry, ["terminal"], NOW, first_time=seen)
    with pytest.raises(UntrustedError, match="not used before"):
        accept(GATEWAY, offer, hello, registry, ["terminal"], NOW, first_time=seen)


def test_records_are_taken_once_in_any_order_within_the_window(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    hello, there = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    back = accept(GATEWAY, offer, hello, registry, ["terminal"], NOW, first_time=once())
    records = [there.seal(str(i).encode()) for i in range(WINDOW + 2)]
    for i in (2, 0, 1, WINDOW + 1):
        assert back.open(records[i]) == str(i).encode()
    for again in (0, 1, 2, WINDOW + 1):
        with pytest.raises(UntrustedError, match="did not come before"):
            back.open(records[again])
    assert back.open(records[WINDOW]) == str(WINDOW).encode()


def test_an_altered_record_does_not_block_the_sound_one(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    hello, there = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    back = accept(GATEWAY, offer, hello, registry, ["terminal"], NOW, first_time=once())
    record = there.seal(b"x")
    for at in (0, 7, 8, len(record) - 1):
        forged = bytearray(record)
        forged[at] ^= 1
        with pytest.raises(UntrustedError):
            back.open(bytes(forged))
    for wrong in (b"", record[:23]):
        with pytest.raises(UntrustedError, match="bytes"):
            back.open(wrong)
    assert back.open(record) == b"x"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"suite": SUITES[1]}, "the best that both know"),
        ({"suite": "NULL"}, "the best that both know"),
        ({"suites": ("NULL",)}, "suite"),
        ({"offer": bytes(48)}, "another one"),
        ({"sent": NOW - 30 * DAY}, "sent from"),
        ({"sent": NOW + 30 * DAY}, "sent from"),
        ({"x25519": bytes(32)}, "low order"),
        ({"quantum_key": "k1", "quantum_key_simulated": False}, "fetches none"),
        ({"qkd": "require"}, "required"),
    ],
)
def test_a_hello_that_was_bent_is_refused(registry: Registry, changes: dict[str, object], match: str) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    hello, _ = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    bent = resigned(BOX, hello, "hello", Hello, **changes)
    with pytest.raises(UntrustedError, match=match):
        accept(GATEWAY, offer, bent, registry, ["terminal"], NOW, first_time=once())


def test_an_offer_with_a_key_that_is_none_is_refused(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    broken = resigned(GATEWAY, offer.offer, "offer", Offer, mlkem768=b"\xff" * 1184)
    with pytest.raises(UntrustedError, match="ML-KEM-768 key"):
        connect(BOX, broken, registry, ["gateway"], NOW, os.urandom)


def test_a_suite_taken_out_of_the_list_on_the_way_is_noticed(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    bent = bytearray(offer.offer)
    at = offer.offer.index(b"AES256GCM")
    bent[at : at + 9] = b"XXX256GCM"
    with pytest.raises(UntrustedError, match="signature"):
        connect(BOX, bytes(bent), registry, ["gateway"], NOW, os.urandom)


def test_two_ends_meet_at_the_best_suite_that_both_know(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom, suites=["FUTURE", *SUITES])
    hello, there = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom, suites=SUITES[1:])
    back = accept(GATEWAY, offer, hello, registry, ["terminal"], NOW, first_time=once())
    assert there.protection.suite == back.protection.suite == SUITES[1]
    assert back.open(there.seal(b"x")) == b"x"


def test_an_offer_without_a_known_suite_is_refused(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom, suites=["RC4"])
    with pytest.raises(UntrustedError, match="RC4"):
        read_offer(offer.offer, registry, ["gateway"], NOW)


def test_an_offer_has_an_end(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom, holds_s=DAY)
    hello, _ = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    with pytest.raises(UntrustedError, match="one that holds"):
        connect(BOX, offer.offer, registry, ["gateway"], NOW + 2 * DAY, os.urandom)
    with pytest.raises(UntrustedError, match="sent from"):
        accept(GATEWAY, offer, hello, registry, ["terminal"], NOW + 2 * DAY, first_time=once())


@pytest.mark.parametrize(("ours", "theirs"), [("require", "prefer"), ("off", "require")])
def test_nothing_goes_without_a_quantum_key_that_is_required(
    registry: Registry, ours: str, theirs: str
) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom, qkd=theirs, sae="sae-2")  # type: ignore[arg-type]
    with pytest.raises(UntrustedError, match="required"):
        connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom, qkd=ours)  # type: ignore[arg-type]


def test_a_short_quantum_key_is_refused(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom, qkd="prefer")
    with pytest.raises(InputError, match="32 bytes"):
        connect(
            BOX,
            offer.offer,
            registry,
            ["gateway"],
            NOW,
            os.urandom,
            quantum=replace(QUANTUM, key=b"short"),
        )


def test_a_simulated_key_cannot_pass_as_a_real_one(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom, qkd="prefer")
    claimed = replace(QUANTUM, simulated=False)
    hello, _ = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom, quantum=claimed)
    with pytest.raises(UntrustedError, match="simulated"):
        accept(
            GATEWAY,
            offer,
            hello,
            registry,
            ["terminal"],
            NOW,
            first_time=once(),
            quantum_key=lambda _: QUANTUM,
        )


def test_a_stranger_or_the_wrong_role_opens_nothing(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    hello, _ = connect(STRANGER, offer.offer, registry, ["gateway"], NOW, os.urandom)
    with pytest.raises(UntrustedError, match="enrolled"):
        accept(GATEWAY, offer, hello, registry, ["terminal"], NOW, first_time=once())
    hello, _ = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    with pytest.raises(UntrustedError, match="coordinator"):
        accept(GATEWAY, offer, hello, registry, ["coordinator"], NOW, first_time=once())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_altered_hello_is_accepted(data: st.DataObject) -> None:
    registry = Registry("rwanda", AUTHORITY.public)
    registry.believe(ENROLLED_BOX, NOW)
    registry.believe(ENROLLED_GATEWAY, NOW)
    hello = bytearray(HELLO)
    hello[data.draw(st.integers(0, len(hello) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UntrustedError):
        accept(GATEWAY, OFFER, bytes(hello), registry, ["terminal"], NOW, first_time=once())


ENROLLED_BOX = enrolled(BOX, "health post 7", "terminal")
ENROLLED_GATEWAY = enrolled(GATEWAY, "gateway north", "gateway")
OFFER = prepare(GATEWAY, NOW, os.urandom)
_KNOWN = Registry("rwanda", AUTHORITY.public)
_KNOWN.believe(ENROLLED_BOX, NOW)
_KNOWN.believe(ENROLLED_GATEWAY, NOW)
HELLO, _ = connect(BOX, OFFER.offer, _KNOWN, ["gateway"], NOW, os.urandom)


# --- the file -----------------------------------------------------------------------------------------


def opened(path: Path, now: int = NOW) -> KeyStore:
    return KeyStore(path / "keys.sqlite3", lambda: now)


def test_a_box_keeps_its_identity_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    identity = store.identity()
    store.close()
    again = opened(tmp_path)
    assert again.identity().public == identity.public
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    again.close()


def test_what_was_believed_is_verified_again_at_each_start(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.join("rwanda", AUTHORITY.public)
    registry = store.registry()
    store.believe(registry, "enrolment", ENROLLED_BOX)
    listed = revoke(AUTHORITY, "rwanda", 1, {GATEWAY.public.key_id: "stolen"}, NOW, DAY)
    store.believe(registry, "revocations", listed)
    with pytest.raises(UntrustedError):
        store.believe(registry, "enrolment", ENROLLED_GATEWAY[:-1])
    store.close()
    again = opened(tmp_path)
    registry = again.registry()
    assert [member.name for member in registry] == ["health post 7"]
    assert registry.overdue_s(NOW) == 0
    forged = bytearray(ENROLLED_BOX)
    forged[-1] ^= 1
    again._file.execute("UPDATE believed SET bytes = ? WHERE id = 1", (bytes(forged),))
    with pytest.raises(ArtefactError, match="a sound enrolment"):
        again.registry()
    again.close()


def test_a_box_belongs_to_one_programme(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(InputError, match="joined"):
        store.registry()
    store.join("rwanda", AUTHORITY.public)
    store.join("rwanda", AUTHORITY.public)
    with pytest.raises(InputError, match="to which this box belongs"):
        store.join("rwanda", STRANGER.public)
    store.close()


def test_an_ended_offer_leaves_no_secret_on_the_disk(tmp_path: Path) -> None:
    store = opened(tmp_path)
    offer = store.offer(holds_s=DAY)
    kept = store.offer(holds_s=30 * DAY)
    assert {o.offer_id for o in store.offers()} == {offer.offer_id, kept.offer_id}
    store.close()
    later = opened(tmp_path, NOW + 2 * DAY)
    assert [o.offer_id for o in later.offers()] == [kept.offer_id]
    later.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert kept.mlkem768_seed in stored
    assert offer.mlkem768_seed not in stored
    assert offer.x25519_seed not in stored


def test_a_letter_is_read_after_a_restart_and_a_rotation_but_not_twice(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.join("rwanda", AUTHORITY.public)
    registry = store.registry()
    store.believe(registry, "enrolment", ENROLLED_BOX)
    store.believe(registry, "enrolment", enrolled(store.identity(), "gateway north", "gateway", 2))
    offer = store.offer()
    old = store.identity()
    hello, there = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    coming = store.next_identity()
    store.close()
    store = opened(tmp_path)
    assert store.rotate() == coming == store.identity()
    store.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert old.ed25519_seed not in stored
    again = opened(tmp_path)
    (prepared,) = again.offers()
    registry = again.registry()
    taken = accept(
        again.identity(), prepared, hello, registry, ["terminal"], NOW, first_time=again.first_time
    )
    assert taken.open(there.seal(b"late")) == b"late"
    with pytest.raises(UntrustedError, match="not used before"):
        accept(again.identity(), prepared, hello, registry, ["terminal"], NOW, first_time=again.first_time)
    again.close()


def _remembers(path: Path, told: "multiprocessing.connection.Connection") -> None:
    store = opened(path)
    for i in range(1_000_000):
        assert store.first_time(i.to_bytes(8, "big"), NOW + DAY)
        told.send(i)


def test_a_hello_that_was_taken_stays_taken_after_kill_9(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_remembers, args=(tmp_path, there))
    process.start()
    taken = [here.recv() for _ in range(20)]
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    while here.poll():
        taken.append(here.recv())
    store = opened(tmp_path)
    assert not any(store.first_time(i.to_bytes(8, "big"), NOW + DAY) for i in taken)
    store.close()


def test_a_file_that_is_no_key_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite3").write_bytes(b"not a database, but long enough to be read as one" * 40)
    with pytest.raises(ArtefactError, match="keys"):
        opened(tmp_path)


def test_an_enrolment_reads_back() -> None:
    given, signer = verified(ENROLLED_BOX, "enrolment", Enrolment, only(AUTHORITY.public))
    assert signer == AUTHORITY.public.key_id
    assert given.public == BOX.public


def test_an_ended_authority_enrols_and_revokes_nobody(registry: Registry) -> None:
    heir = new_identity(os.urandom)
    asked = requested(request(heir, "rwanda", "authority 2027", "authority", NOW), "rwanda", NOW)
    registry.believe(enrol(AUTHORITY, "rwanda", asked, 3, NOW, validity_s=DAY), NOW)
    late = NOW + 5 * YEAR_S
    asked = requested(request(STRANGER, "rwanda", "x", "coordinator", late), "rwanda", late)
    for signed_at in (late, NOW):
        with pytest.raises(UntrustedError, match="ended"):
            registry.believe(enrol(heir, "rwanda", asked, 4, signed_at), late)
    with pytest.raises(UntrustedError, match="ended"):
        registry.believe_revocations(revoke(heir, "rwanda", 1, {}, late, DAY), late)


def test_a_post_dated_signature_does_not_stop_the_programme(registry: Registry) -> None:
    with pytest.raises(UntrustedError, match="signed before"):
        registry.believe(enrolled(STRANGER, "post 8", "terminal", 3, NOW + 40 * DAY), NOW)
    assert registry.member(BOX.public.key_id, ["terminal"], NOW)
    registry.believe_revocations(revoke(AUTHORITY, "rwanda", 1, {}, NOW, DAY), NOW)
    registry.believe_revocations(revoke(AUTHORITY, "rwanda", 2, {}, NOW - 400 * DAY, DAY), NOW)
    assert registry.time_floor == NOW
    with pytest.raises(UntrustedError, match="number 3 or later"):
        registry.believe_revocations(revoke(AUTHORITY, "rwanda", 2, {"0" * 64: "x"}, NOW, DAY), NOW)


def test_a_second_successor_keeps_no_old_key_alive(registry: Registry) -> None:
    old = registry.member(BOX.public.key_id, ["terminal"], NOW)
    for serial, later in ((3, 0), (4, 50 * DAY)):
        new = new_identity(os.urandom)
        asked = request(new, "rwanda", old.name, old.role, NOW + later, replaced=BOX)
        wanted = requested(asked, "rwanda", NOW + later, old)
        registry.believe(enrol(AUTHORITY, "rwanda", wanted, serial, NOW + later), NOW + later)
    with pytest.raises(UntrustedError, match="ended"):
        registry.member(BOX.public.key_id, ["terminal"], NOW + OVERLAP_S + 2 * DAY)


def test_an_old_request_or_one_to_another_programme_is_refused() -> None:
    asked = request(BOX, "rwanda", "post", "terminal", NOW)
    with pytest.raises(UntrustedError, match="asked in"):
        requested(asked, "rwanda", NOW + 2 * YEAR_S)
    with pytest.raises(UntrustedError, match="one to kenya"):
        requested(asked, "kenya", NOW)


def test_two_processes_believe_the_same(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.join("rwanda", AUTHORITY.public)
    registries = first.registry(), second.registry()
    early = revoke(AUTHORITY, "rwanda", 1, {}, NOW, DAY)
    second.believe(registries[1], "revocations", revoke(AUTHORITY, "rwanda", 2, {}, NOW, DAY))
    with pytest.raises(UntrustedError, match="number 3 or later"):
        first.believe(registries[0], "revocations", early)
    for _ in range(3):
        first.believe(registries[0], "enrolment", ENROLLED_BOX)
    assert second.registry().member(BOX.public.key_id, ["terminal"], NOW)
    (rows,) = first._file.execute("SELECT COUNT(*) FROM believed").fetchone()
    assert rows == 2
    first.close()
    second.close()


def test_there_is_one_way_to_write_a_message() -> None:
    signed = sign(BOX, "note", Note("x"))
    signer, payload, signature = msgspec.msgpack.decode(signed)
    longer = b"\xdc\x00\x03" + b"".join(msgspec.msgpack.encode(x) for x in (signer, payload, signature))
    assert msgspec.msgpack.decode(longer, type=Signed) == msgspec.msgpack.decode(signed, type=Signed)
    with pytest.raises(UntrustedError, match="one way to write it"):
        unwrap(longer, "note")


def test_threads_never_share_a_nonce(registry: Registry) -> None:
    offer = prepare(GATEWAY, NOW, os.urandom)
    _, there = connect(BOX, offer.offer, registry, ["gateway"], NOW, os.urandom)
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda _: there.seal(b"x")[:8], range(4000)))
    assert len(set(records)) == 4000
